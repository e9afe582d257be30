"""
Deploy the billing alarms of a stack that is not in us-east-1.

    python -m local deploy-billing [--stack NAME]

AWS publishes the charges in us-east-1 only, so the alarms are a separate stack there.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

from local.commands import live_stack
from local.commands.deploy import BILLING_REGION, parameters_of, stack_name, told
from local.commands.live_stack import LiveError, told_in_words
from local.commands.questions import thresholds

_BILLING_TEMPLATE = Path("template-us-east-1.yaml")


def main(arguments: Sequence[str]) -> int:
    """Create or update the stack of the alarms. Return the exit status."""
    return told(lambda: _deploy_billing(stack_name(arguments, "deploy-billing")))


def _deploy_billing(name: str) -> int:
    can_ask = sys.stdin.isatty()
    stack = live_stack.find(name)
    if stack.region == BILLING_REGION:
        raise LiveError(
            f"The stack {name} is in {BILLING_REGION} itself: it has the alarms. make deploy asks "
            "for the thresholds."
        )
    if not re.match("[a-z]{2}-(?!gov|iso)", stack.region) or stack.region.startswith("cn-"):
        raise LiveError(f"AWS publishes no charges in {BILLING_REGION} for {stack.region}.")
    # Both stacks have the same name: SpendFromUsEast1 lets only topics of that name invoke the
    # function.
    present = parameters_of(name, BILLING_REGION)
    soft, hard = thresholds(present or {}, input, can_ask=can_ask)
    if not soft:
        raise LiveError("Nothing was deployed: without thresholds there is no alarm.")
    values = {
        "SpendFunctionArn": stack.output("SpendFunctionArn"),
        "AlarmPrefix": name,
        "SoftThreshold": soft,
        "HardThreshold": hard,
        "NoticeEmail": (present or {}).get("NoticeEmail", ""),
    }
    print(f"Stack {name} in {BILLING_REGION}: alarms at {soft} and {hard} USD a month.")
    with told_in_words():
        changed = _put_stack(name, values, present)
    print("It is there." if changed else "It was so already.")
    print(f"A guard of the policy names them: {name}-spend-soft, {name}-spend-hard.")
    print("Turn on billing alerts in the account's billing preferences.")
    return 0


def _put_stack(name: str, values: Mapping[str, str], present: Mapping[str, str] | None) -> bool:
    """Create or update a stack, and wait until it is done. Return whether anything changed."""
    stacks = boto3.client("cloudformation", region_name=BILLING_REGION)
    given: dict[str, Any] = {
        "StackName": name,
        "TemplateBody": _BILLING_TEMPLATE.read_text(encoding="utf-8"),
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value} for key, value in values.items()
        ],
    }
    try:
        if present is None:
            stacks.create_stack(**given)
        else:
            stacks.update_stack(**given)
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return False
        raise
    waiter = stacks.get_waiter(
        "stack_create_complete" if present is None else "stack_update_complete"
    )
    try:
        waiter.wait(StackName=name)
    except WaiterError as error:
        raise LiveError(
            f"The stack {name} in {BILLING_REGION} was not put: its events say why "
            f"(aws cloudformation describe-stack-events --stack-name {name} "
            f"--region {BILLING_REGION})."
        ) from error
    return True
