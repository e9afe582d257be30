"""
Before a deployment: what would stand in its way, and whom to ask for what. Nothing is changed.

    python -m local deploy-check [--stack NAME]
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import boto3

from local.aws.stack import in_cloudformation
from local.commands.live_stack import DEFAULT_NAME, LiveError, told_in_words
from local.deploy.account import Account

BUILD = Path(".aws-sam/build")
REMEMBERED = Path("samconfig.toml")


def main(arguments: Sequence[str]) -> int:
    """Check the account; the exit status is 1 where something is in the way, 2 without answers."""
    parser = argparse.ArgumentParser(
        prog="python -m local deploy-check", description="What stands in the way of a deployment?"
    )
    parser.add_argument("--stack", default=DEFAULT_NAME, help="the stack's name")
    parser.add_argument("--build", type=Path, default=BUILD, help="what `make build` has built")
    options = parser.parse_args(arguments)
    try:
        with told_in_words():
            session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
            identity = session.client("sts").get_caller_identity()
            region = session.client("sts").meta.region_name
    except LiveError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"account {identity['Account']}, region {region}, stack {options.stack}", flush=True)
    account = Account(
        session=session,
        region=region,
        stack=options.stack,
        template=in_cloudformation(),
        build=options.build,
        remembered=REMEMBERED,
    )
    return report(account)


def report(account: Account) -> int:
    """Print what is found; the answer is the exit status."""
    levels: Counter[str] = Counter()
    for finding in account.findings():
        levels[finding.level] += 1
        print(finding, flush=True)
    if levels["refused"]:
        print(f"{levels['refused']} things stand in the way. Nothing was changed.")
        return 1
    print("Nothing stands in the way: make deploy. Nothing was changed.")
    return 0
