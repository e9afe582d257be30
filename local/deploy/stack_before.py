"""Check a stack before a deployment: its status, its names, and what earlier ones have left."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from batch_watchdog.core.errors import PolicyError
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.model import parse_policy
from local.deploy.findings import Finding, asked

BROKEN = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")

type Findings = Iterator[Finding]


def outputs_and_status(cloudformation: Any, stack: str) -> tuple[Mapping[str, str], str]:
    """Return the outputs and the status of a stack. The status is "" if there is no stack."""
    try:
        answer = cloudformation.describe_stacks(StackName=stack)
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return {}, ""
    (found,) = answer["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}
    return outputs, str(found["StackStatus"])


@dataclass(frozen=True, slots=True, kw_only=True)
class StackBefore:
    """
    A stack that is to be deployed.

    `remembered` is the file in which `sam deploy --guided` saves its parameters.
    """

    session: Any
    region: str
    stack: str
    remembered: Path

    def findings(self) -> Findings:
        """Yield what the checks find."""
        yield from asked("The stack", self._stack, right="cloudformation:DescribeStacks")
        yield from asked("Tables", self._left_over, right="dynamodb:ListTables")
        yield from asked("The policy", self._policy, right="ssm:GetParameter")
        yield from asked("Subscribers", self._subscribers, right="sns:ListSubscriptionsByTopic")

    def _client(self, service: str) -> Any:
        return self.session.client(service)

    def _stack(self) -> Findings:
        _, status = outputs_and_status(self._client("cloudformation"), self.stack)
        if status in BROKEN:
            yield Finding(
                "refused",
                f"The stack {self.stack} is in {status}: it cannot be updated.",
                f"Delete it first: make undeploy STACK={self.stack}",
            )
        elif status.endswith("_IN_PROGRESS"):
            yield Finding("refused", f"The stack {self.stack} is in {status}.", "Wait for its end.")
        elif status:
            yield Finding("ok", f"The stack {self.stack} is there, and will be updated.")
        else:
            yield Finding("ok", f"The stack {self.stack} will be created.")
            yield from self._names()

    def _names(self) -> Findings:
        """Yield names that a new stack needs, and that other resources have already."""
        group = f"/aws/events/{self.stack}"
        groups = self._client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        if any(each["logGroupName"] == group for each in groups):
            yield Finding(
                "refused",
                f"There is a log group {group}, and the stack would create one of that name.",
                "Choose another STACK=…, or delete it: aws logs delete-log-group --region "
                f"{self.region} --log-group-name {group}",
            )
        alarms = [f"{self.stack}-spend-soft", f"{self.stack}-spend-hard"]
        answer = self._client("cloudwatch").describe_alarms(AlarmNames=alarms)
        for alarm in answer["MetricAlarms"]:
            yield Finding(
                "warning",
                f"There is an alarm {alarm['AlarmName']}, and the stack may create one so called.",
                "Leave the thresholds at 0, delete the alarm, or choose another STACK=…",
            )

    def _left_over(self) -> Findings:
        tables, owned = self._client("dynamodb"), self._tables_of_the_stack()
        left = [
            name
            for page in tables.get_paginator("list_tables").paginate()
            for name in page["TableNames"]
            if name.startswith(f"{self.stack}-Table-") and name not in owned
        ]
        for name in left:
            yield Finding(
                "warning",
                f"The table {name} belongs to no stack: it is left of an earlier one, or of a "
                "creation that failed.",
                "Keep it as a record, or delete it: aws dynamodb update-table --region "
                f"{self.region} --table-name {name} --no-deletion-protection-enabled, then "
                "delete-table.",
            )
        if not left:
            yield Finding("ok", "No table of an earlier stack of this name is left.")

    def _tables_of_the_stack(self) -> set[str]:
        try:
            pages = self._client("cloudformation").get_paginator("list_stack_resources")
            return {
                each["PhysicalResourceId"]
                for page in pages.paginate(StackName=self.stack)
                for each in page["StackResourceSummaries"]
                if each["ResourceType"] == "AWS::DynamoDB::Table"
            }
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            return set()

    def _subscribers(self) -> Findings:
        outputs, _ = outputs_and_status(self._client("cloudformation"), self.stack)
        if topic := outputs.get("TopicArn"):
            pages = self._client("sns").get_paginator("list_subscriptions_by_topic")
            arns = [
                each["SubscriptionArn"]
                for page in pages.paginate(TopicArn=topic)
                for each in page["Subscriptions"]
            ]
            if any(arn.startswith("arn:") for arn in arns):
                yield Finding("ok", "Somebody is subscribed to the notices.")
                return
        elif address := self._address():
            yield Finding(
                "ok", f"{address} will be asked by AWS to confirm a subscription to the notices."
            )
            return
        yield Finding(
            "warning",
            "Nobody would receive the notices.",
            "Give an address for NoticeEmail when make deploy asks, and confirm AWS's e-mail; or "
            "subscribe to the topic in the output TopicArn.",
        )

    def _address(self) -> str:
        """Return the NoticeEmail of an earlier `sam deploy --guided`; "" if there is none."""
        try:
            kept = tomllib.loads(self.remembered.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        overrides = kept.get("default", {}).get("deploy", {}).get("parameters", {})
        given = overrides.get("parameter_overrides", "")
        words = given.split() if isinstance(given, str) else map(str, given)
        for word in words:
            name, _, value = word.partition("=")
            if name == "NoticeEmail":
                return plain(value.strip("\"'"), 100)
        return ""

    def _policy(self) -> Findings:
        name = f"/batch-watchdog/{self.stack}/policy"
        try:
            text = self._client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise
            yield Finding("ok", "Nobody has put a policy: the watchdog will observe.")
            return
        try:
            mode = parse_policy(text).mode
        except PolicyError:
            yield Finding(
                "warning", f"The policy in {name} cannot be used.", "make policy-push FILE=…"
            )
            return
        yield Finding("ok", f"The policy in {name} will be in force at once. Its mode: {mode}.")
