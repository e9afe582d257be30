"""
Test after a deployment whether the stack works: follow a made-up event to the table and the log.

    python -m local smoke [--stack NAME]

The event's job does not exist, so no real job is affected. AWS allows nobody to put events of its
own services on the bus. So the event is sent to the queue, and EventBridge is asked whether the
rule's pattern matches it. All subscribers receive a notice that says it is a test.
"""

import argparse
import json
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batch_watchdog.limits import sighting_items
from batch_watchdog.notices.text import iso, plain
from batch_watchdog.store.actions import PREFIX
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.table import DynamoTable
from local.commands import live_stack
from local.commands.live_stack import DEFAULT_NAME, LiveError, LiveStack, told_in_words

NAME = "batch-watchdog-smoke-test"  # of the job, and of its queue
PATIENCE = timedelta(minutes=2)
_PAUSE = 5  # seconds between two checks
_LINE_MAX = 300  # characters of a log's line


class StepError(Exception):
    """A step failed. The message says which resource is concerned, and what is wrong."""


@dataclass(kw_only=True)
class Smoke:
    """
    The steps of the test, on a deployed stack. `clock` returns the time, and `sleep` waits.

    If a step fails, the steps that need its result are left out.
    """

    stack: LiveStack
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = print
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.job_id = f"00000000-{uuid.uuid4()}"[:36]

    def run(self) -> int:
        """Make each step, and print its result. Return the exit status."""
        self._step("rule", self._rule)
        if self._step("queue", self._send) and self._step("table", self._written):
            self._step("log", self._logged)
        self._step("notice", self._notice)
        self._step("check", self._check)
        self._step("clean up", self._clean_up)
        if self.failed:
            self.say(f"The stack does not work: {', '.join(self.failed)}.")
            return 1
        self.say("The stack works.")
        return 0

    def _step(self, name: str, make: Callable[[], str]) -> bool:
        try:
            self.say(f"ok      {name}: {make()}")
        except StepError as error:
            problem = str(error)
        except ClientError as error:
            told = error.response["Error"]
            problem = f"{told['Code']} for {error.operation_name}: {plain(told['Message'], 300)}"
        except BotoCoreError as error:
            problem = plain(str(error), 300)
        else:
            return True
        self.failed.append(name)
        self.say(f"FAILED  {name}: {problem}")
        return False

    # ---- The stack ------------------------------------------------------------------------

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """The resources' physical ids by logical ones."""
        pages = self._client("cloudformation").get_paginator("list_stack_resources")
        return {
            each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
            for page in pages.paginate(StackName=self.stack.name)
            for each in page["StackResourceSummaries"]
        }

    def _client(self, service: str) -> Any:
        return self.stack.session.client(service)

    def _resource(self, logical_id: str) -> str:
        """Return the physical id of a resource."""
        try:
            return self._names[logical_id]
        except KeyError:
            raise StepError(f"the stack has no {logical_id}: update it (make deploy)") from None

    @property
    def _table(self) -> DynamoTable:
        return DynamoTable(self._client("dynamodb"), self._resource("Table"))

    def _ask(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        """Invoke the console with a command, and return its answer."""
        function = self._resource("ConsoleFunction")
        answer = self._client("lambda").invoke(
            FunctionName=function, Payload=json.dumps(command).encode()
        )
        content = answer["Payload"].read()
        found = json.loads(content)
        if answer.get("FunctionError") or not isinstance(found, dict) or "error" in found:
            told = plain(content.decode(errors="replace"), _LINE_MAX)
            raise StepError(
                f"ConsoleFunction ({function}) answers {told}{self._why('ConsoleLogs')}"
            )
        return found

    def _why(self, logs: str) -> str:
        """Return the last line of a log that looks like an error, as the end of a sentence."""
        try:
            lines = self._lines(logs, '?ERROR ?Error ?error ?Exception ?"timed out"')
        except (ClientError, StepError) as error:
            return f". ({logs} cannot be read: {plain(str(error), _LINE_MAX)})"
        if not lines:
            return f". ({logs} tells of no error.)"
        return f". {logs} ({self._resource(logs)}): {plain(lines[-1], _LINE_MAX)}"

    def _lines(self, logs: str, pattern: str = "") -> list[str]:
        pages = self._client("logs").get_paginator("filter_log_events")
        since = round((self.began - timedelta(seconds=5)).timestamp() * 1000)
        chosen = {"filterPattern": pattern} if pattern else {}
        return [
            str(each["message"])
            for page in pages.paginate(logGroupName=self._resource(logs), startTime=since, **chosen)
            for each in page["events"]
        ]

    def _wait_for(self, happened: Callable[[], str]) -> str:
        """Wait until `happened` returns a text, and return it; "" if that takes too long."""
        until = self.clock() + PATIENCE
        while not (said := happened()):
            if self.clock() > until:
                return ""
            self.sleep(_PAUSE)
        return said

    # ---- The steps ------------------------------------------------------------------------

    @cached_property
    def event(self) -> dict[str, Any]:
        """The event that EventBridge would deliver for a waiting job. The job does not exist."""
        partition = "aws"
        if self.stack.region.startswith(("cn-", "us-gov-")):
            partition = "aws-cn" if self.stack.region.startswith("cn-") else "aws-us-gov"
        arn = f"arn:{partition}:batch:{self.stack.region}:{self.stack.account}"
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Batch Job State Change",
            "source": "aws.batch",
            "account": self.stack.account,
            "time": iso(self.began),
            "region": self.stack.region,
            "resources": [f"{arn}:job/{self.job_id}"],
            "detail": {
                "jobArn": f"{arn}:job/{self.job_id}",
                "jobName": NAME,
                "jobId": self.job_id,
                "jobQueue": f"{arn}:job-queue/{NAME}",
                "jobDefinition": f"{arn}:job-definition/{NAME}:1",
                "status": "RUNNABLE",
                "attempts": [],
                "createdAt": round(self.began.timestamp() * 1000),
                "dependsOn": [],
                "parameters": {},
                "tags": {},
            },
        }

    def _rule(self) -> str:
        """Check that the rule is enabled, matches the event, and has the queue as a target."""
        events, rule = self._client("events"), self._resource("JobEventsRule")
        name = rule.rpartition("/")[2]
        described = events.describe_rule(Name=name)
        if described["State"] != "ENABLED":
            raise StepError(
                f"JobEventsRule ({name}) is {described['State']}: no event of AWS Batch arrives. "
                f"aws events enable-rule --region {self.stack.region} --name {name}"
            )
        answer = events.test_event_pattern(
            EventPattern=described["EventPattern"], Event=json.dumps(self.event)
        )
        if not answer["Result"]:
            raise StepError(
                f"JobEventsRule ({name}) does not want events of AWS Batch: its pattern is "
                f"{plain(described['EventPattern'], _LINE_MAX)}"
            )
        queue = self._resource("JobEventsQueue").rpartition("/")[2]
        targets = [each["Arn"] for each in events.list_targets_by_rule(Rule=name)["Targets"]]
        if not any(arn.endswith(f":{queue}") for arn in targets):
            raise StepError(f"JobEventsRule ({name}) has no target JobEventsQueue ({queue})")
        return f"JobEventsRule ({name}) brings events of AWS Batch into JobEventsQueue"

    def _send(self) -> str:
        url = self._resource("JobEventsQueue")
        try:
            self._client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(self.event))
        except ClientError as error:
            told = error.response["Error"]
            raise StepError(
                f"JobEventsQueue ({url}) does not take the event: {told['Code']}: "
                f"{plain(told['Message'], _LINE_MAX)}"
            ) from error
        return f"an event of the job {self.job_id} that does not exist is in JobEventsQueue"

    def _written(self) -> str:
        """Wait until job_events has written the event to the table."""

        def happened() -> str:
            found = sighting_items.read(self._table, self.began, [self.job_id])
            return "job_events has written it into the table" if found else ""

        said = self._wait_for(happened)
        if not said:
            raise StepError(
                f"JobEventsFunction ({self._resource('JobEventsFunction')}) has written nothing in "
                f"{PATIENCE.seconds // 60} minutes{self._mapping()}{self._why('JobEventsLogs')}"
            )
        return said

    def _mapping(self) -> str:
        """Return what is wrong with the queue's event source mapping, as a part of a sentence."""
        function = self._resource("JobEventsFunction")
        answer = self._client("lambda").list_event_source_mappings(FunctionName=function)
        states = [each["State"] for each in answer["EventSourceMappings"]]
        if states == ["Enabled"]:
            return ""
        return f"; its event source mapping is {', '.join(states) or 'missing'}"

    def _logged(self) -> str:
        """Wait until job_events has written to its log."""
        said = self._wait_for(lambda: "yes" if self._lines("JobEventsLogs") else "")
        if not said:
            raise StepError(
                f"JobEventsLogs ({self._resource('JobEventsLogs')}) has no line: may JobEventsRole "
                "write it?"
            )
        return "JobEventsLogs has lines of it"

    def _notice(self) -> str:
        """Ask for a test notice; wait until act has published it, or kept it for a digest."""
        before = set(self._actions())
        self._ask({"command": "test-notice", "by": "make smoke"})

        def happened() -> str:
            new = [result for key, result in self._actions().items() if key not in before]
            ended = [result for result in new if result is not None]
            if any(result.get("message_ids") for result in ended):
                return "a test notice was published to the topic"
            return "a test notice is kept for a digest: one was sent not long ago" if ended else ""

        said = self._wait_for(happened)
        if not said:
            raise StepError(
                f"ActFunction ({self._resource('ActFunction')}) has not published the test notice "
                f"in {PATIENCE.seconds // 60} minutes{self._why('ActLogs')}"
            )
        return said

    def _actions(self) -> dict[str, Mapping[str, Any] | None]:
        """
        Return the results of the test notices that `make smoke` asked for today and yesterday.

        They are by sort key in the table. The result of an action that has none yet is None.
        """
        today = self.clock().date()
        return {
            str(item["sk"]): unpack(item["result"]) if "result" in item else None
            for day in (today - timedelta(days=1), today)
            for item in self._table.query(f"{PREFIX}{day.isoformat()}")
            if str(item.get("asked_by", "")) == "console (make smoke)"
        }

    def _check(self) -> str:
        """Run the watchdog's own check. Doubtful problems do not make this step fail."""
        found = self._ask({"command": "check"})
        # A stack also works if no job has run yet, or a queue of the policy does not exist yet.
        doubtful: list[str] = []
        problems: list[str] = []
        for each in found.get("problems", ()):
            some = doubtful if each.get("doubtful") else problems
            some.append(f"{each['what']} {each['what_to_do']}")
        problems += [f"{what}: {why}" for what, why in found.get("not_known", {}).items()]
        if problems:
            raise StepError(_lines_below(problems + doubtful))
        fine = "the watchdog finds nothing wrong"
        return f"{fine}, but see whether this is so:{_lines_below(doubtful)}" if doubtful else fine

    def _clean_up(self) -> str:
        """Delete the items that hold nothing but this test's job."""
        keys = list(sighting_items.keys_of_only(self._table, self.began, self.job_id))
        client = self._client("dynamodb")
        for pk, sk in keys:
            client.delete_item(
                TableName=self._resource("Table"), Key={"pk": {"S": pk}, "sk": {"S": sk}}
            )
        return f"{len(keys)} items deleted; the test notice stays on record"


def _lines_below(problems: Sequence[str]) -> str:
    return "\n        ".join(["", *(plain(each, 500) for each in problems)])


def main(arguments: Sequence[str]) -> int:
    """
    Test a stack.

    Returns:
        The exit status: 0 if it works, 1 if a step fails, 2 if it cannot be found or reached.
    """
    parser = argparse.ArgumentParser(
        prog="python -m local smoke", description="Does the stack do its work?"
    )
    parser.add_argument("--stack", default=DEFAULT_NAME, help="the stack's name")
    options = parser.parse_args(arguments)
    try:
        stack = live_stack.find(options.stack)
        print(stack, flush=True)
        with told_in_words():
            return Smoke(stack=stack).run()
    except LiveError as error:
        print(error, file=sys.stderr)
        return 2
