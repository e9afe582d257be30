"""
Check before a deployment what would make it fail, and say whom to ask for what. Changes nothing.

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
    """
    Check the account.

    Returns:
        The exit status: 0 if a deployment can go on, 1 if not, 2 if AWS cannot be reached.
    """
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
    """Print what the checks find. Return the exit status."""
    levels: Counter[str] = Counter()
    for finding in account.findings():
        levels[finding.level] += 1
        print(finding, flush=True)
    if levels["refused"]:
        print(f"{levels['refused']} things stand in the way. Nothing was changed.")
        return 1
    print("Nothing stands in the way: make deploy. Nothing was changed.")
    return 0
