"""
Deploy the watchdog's stack from a terminal, with few questions.

    python -m local deploy [--stack NAME]

The variables AWS_REGION, EMAIL, SOFT and HARD answer the questions in advance. The values of an
existing stack are the defaults.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

from local.commands.live_stack import DEFAULT_NAME, LiveError, told_in_words
from local.commands.questions import Question, answer_to, thresholds, wrong_email, wrong_region

BILLING_REGION = "us-east-1"
BUILT = Path(".aws-sam/build/template.yaml")
_SAM = (".venv-sam/bin/python", "-m", "samcli")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")


def main(arguments: Sequence[str]) -> int:
    """Deploy the watchdog's stack. Return the exit status."""
    return told(lambda: _deploy(stack_name(arguments, "deploy")))


def told(command: Callable[[], int]) -> int:
    try:
        return command()
    except LiveError as error:
        print(error, file=sys.stderr)
        return 2
    except (EOFError, KeyboardInterrupt):
        print("\nNothing was deployed.", file=sys.stderr)
        return 2


def stack_name(arguments: Sequence[str], command: str) -> str:
    parser = argparse.ArgumentParser(prog=f"python -m local {command}")
    parser.add_argument("--stack", default=DEFAULT_NAME)
    name = str(parser.parse_args(arguments).stack)
    if not _NAME.fullmatch(name):
        raise LiveError(f"STACK={name}: expected a letter, and then letters, digits and hyphens.")
    return name


# ---- The stack ------------------------------------------------------------------------------


def _deploy(name: str) -> int:
    if not BUILT.exists():
        raise LiveError("Nothing is built: make deploy builds it, and deploys it.")
    can_ask = sys.stdin.isatty()
    region = _region(can_ask=can_ask)
    present = parameters_of(name, region)
    known = present or {}
    print(f"Stack {name} in {region}" + ("" if known else " (new)") + ".")
    email = answer_to(
        Question(
            text="E-mail address for notices",
            variable="EMAIL",
            default=known.get("NoticeEmail", ""),
            wrong=wrong_email,
        ),
        input,
        can_ask=can_ask,
    )
    soft = hard = ""
    if region == BILLING_REGION:
        soft, hard = thresholds(known, input, can_ask=can_ask)
    values = {
        "NoticeEmail": email,
        "SoftThreshold": soft or "0",
        "HardThreshold": hard or "0",
        **({"ChatTopic": chat} if (chat := os.environ.get("CHAT")) else {}),
    }
    done = subprocess.run(_sam_deploy(name, region, values, can_ask=can_ask), check=False)  # noqa: S603
    if not done.returncode:
        print("\n".join(_next_steps(name, region, email, has_alarms=bool(soft))))
    return done.returncode


def _region(*, can_ask: bool) -> str:
    known = _known_region()
    question = Question(
        text="Region of your job queues",
        variable="AWS_REGION",
        default=known or BILLING_REGION,
        wrong=wrong_region,
    )
    return known or answer_to(question, input, can_ask=can_ask)


def _known_region() -> str | None:
    with told_in_words():
        return os.environ.get("AWS_REGION") or boto3.Session().region_name


def parameters_of(name: str, region: str) -> Mapping[str, str] | None:
    """
    Return the parameters of an existing stack; None if there is no stack yet.

    Raises:
        LiveError: the stack's creation failed before, so it cannot be updated.
    """
    with told_in_words():
        stacks = boto3.client("cloudformation", region_name=region)
        try:
            (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            return None
    if stack["StackStatus"] == "REVIEW_IN_PROGRESS":
        return None
    if stack["StackStatus"] == "ROLLBACK_COMPLETE":
        raise LiveError(
            f"The stack {name} could not be created before, and is of no use. Its events say why; "
            f"delete it, and deploy again: make undeploy STACK={name}"
        )
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", [])}


def _sam_deploy(
    name: str, region: str, values: Mapping[str, str], *, can_ask: bool
) -> Sequence[str]:
    # Parameters that are not named here keep the values that the stack has.
    overrides = [f"{key}={value}" for key, value in values.items()]
    options = [] if can_ask else ["--no-confirm-changeset"]
    return [*_SAM, "deploy", "--stack-name", name, "--region", region, *options,
            "--no-fail-on-empty-changeset", "--parameter-overrides", *overrides]  # fmt: skip


def _next_steps(name: str, region: str, email: str, *, has_alarms: bool) -> Iterator[str]:
    other = f" STACK={name}" if name != DEFAULT_NAME else ""
    yield "\nWhat is next:"
    if email:
        yield f"- Confirm the subscription: AWS has written to {email}."
    else:
        yield "- Nobody receives notices yet: subscribe to the topic in the output TopicArn."
    if not _known_region():
        yield f"- Say for all other commands where the stack is: export AWS_REGION={region}"
    if region != BILLING_REGION:
        yield f"- For alarms on the account's charges: make deploy-billing{other}"
    if has_alarms:
        yield "- Turn on billing alerts in the account's billing preferences."
        yield f"- Guards of the policy name the alarms: {name}-spend-soft, {name}-spend-hard."
    yield f"- A policy: make policy-push FILE=policy.toml{other}. The stack only observes so far."
