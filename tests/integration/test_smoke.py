"""The smoke test on a stack with real handlers, whose parts are broken, each in turn."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from batch_watchdog.store.item_codec import to_image
from batch_watchdog.store.memory_table import MemoryTable
from local.aws import stack as stacks
from local.aws.dispatcher import Dispatcher
from local.aws.errors import ApiError, Responder, session
from local.aws.functions import Outcome
from local.aws.patterns import Pattern
from local.aws.sources import Call
from local.aws.stack import Stack
from local.batch.simulated import SimulatedBatch
from local.commands import live_stack
from local.commands.live_stack import LiveStack
from local.deploy import smoke
from local.deploy.smoke import Smoke
from tests.whole import NOON

STACK = stacks.read()
ACCOUNT = "123456789012"


class Live:
    """
    A stack in an account, at work. What is named in `broken` is broken.

    `broken` are folders of functions that fail, resources that are not there, and calls that are
    refused.
    """

    def __init__(self, stack: Stack = STACK) -> None:
        self.stack = stack
        self.broken: set[str] = set()
        self.rule_state = "ENABLED"
        self.pattern = json.dumps({"source": ["aws.batch"]})
        self.targets = [STACK.names["JobEventsQueue"].rpartition("/")[2]]
        self.mappings = ["Enabled"]
        self.subscribed = True
        self.has_events = True
        self.lines: dict[str, list[tuple[datetime, str]]] = {}
        self.messages: list[Mapping[str, Any]] = []
        self.said: list[str] = []
        self.batch = SimulatedBatch(emit=lambda event: self.dispatcher.emitted(event))  # noqa: PLW0108 - it is made below
        self.dispatcher = Dispatcher(
            stack,
            self.batch,
            self,
            policy_max_age=0,
            around=self._around,
            responders={
                "cloudwatch": self._cloudwatch,
                "ec2": lambda *_: {"InstanceTypes": []},
                "sns": self._sns,
                "sqs": self._sqs,
            },
        )
        self.table: MemoryTable = self.dispatcher.table  # type: ignore[assignment]
        self.dispatcher.run(NOON)
        self.dispatcher.start(NOON)
        self.sleep(90)

    # ---- What the functions are told ------------------------------------------------------

    def published(self, at: datetime, message: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.messages.append(message)

    def dead_letter(self, at: datetime, reason: str, event: Any) -> None:
        pass

    def _around(self, call: Call) -> Call:
        def called(arn: str, event: Any) -> Outcome:
            folder = self.stack.functions[arn].folder.name
            logs = self.lines.setdefault(folder, [])
            now = self.dispatcher.clock.now
            if folder in self.broken:
                logs.append((now, f"[ERROR] Runtime.ImportModuleError: {folder} cannot be loaded"))
                return Outcome(error="Runtime.ImportModuleError")
            logs.append((now, "START RequestId: 1"))
            outcome = call(arn, event)
            if outcome.error:
                logs.append((now, f"[ERROR] {outcome.error}"))
            return outcome

        return called

    def _sns(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        self._refuse(operation)
        if operation == "ListSubscriptionsByTopic":
            return {"Subscriptions": [{"SubscriptionArn": "arn:x"}] if self.subscribed else []}
        self.messages.append(params)
        return {"MessageId": "1"}

    def _sqs(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        self._refuse(operation)
        if operation == "GetQueueAttributes":
            return {"Attributes": {"ApproximateNumberOfMessages": "0"}}
        answered: dict[str, Any] = self.dispatcher._answer_sqs(operation, params)  # noqa: SLF001
        return answered

    def _cloudwatch(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        if operation == "GetMetricStatistics":
            return {"Datapoints": [{"Timestamp": NOON, "Sum": 1.0}] * self.has_events}
        return {"MetricAlarms": [], "CompositeAlarms": []}

    def _refuse(self, operation: str) -> None:
        if operation in self.broken:
            raise ApiError("AccessDenied", "not allowed")

    # ---- What the smoke test is told ------------------------------------------------------

    @property
    def live(self) -> LiveStack:
        answers: dict[str, Responder] = {
            "cloudformation": self._cloudformation,
            "dynamodb": self._dynamodb,
            "events": self._events,
            "lambda": self._lambda,
            "logs": self._logs,
            "sqs": self._sqs,
        }
        return LiveStack(
            name="batch-watchdog",
            account=ACCOUNT,
            region="us-east-1",
            outputs={},
            session=session(answers, "us-east-1"),
        )

    def _cloudformation(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        summaries = [
            {
                "LogicalResourceId": logical_id,
                "PhysicalResourceId": name,
                "ResourceType": "x",
                "LastUpdatedTimestamp": NOON,
                "ResourceStatus": "CREATE_COMPLETE",
            }
            for logical_id, name in self.stack.names.items()
            if logical_id not in self.broken
        ]
        return {"StackResourceSummaries": summaries}

    def _events(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "DescribeRule":
                return {"State": self.rule_state, "EventPattern": self.pattern}
            case "TestEventPattern":
                pattern = Pattern(params["EventPattern"])
                return {"Result": pattern.matches(json.loads(params["Event"]))}
            case _:
                arns = [f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}" for name in self.targets]
                return {"Targets": [{"Id": arn, "Arn": arn} for arn in arns]}

    def _lambda(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if operation == "ListEventSourceMappings":
            return {"EventSourceMappings": [{"State": state} for state in self.mappings]}
        self._refuse("InvokeConsole")
        found = self.stack.function_in("console")
        assert found
        assert params["FunctionName"] == found.name
        outcome = self.dispatcher._call(found.arn, json.loads(params["Payload"]))  # noqa: SLF001
        answer = {"errorMessage": outcome.error} if outcome.error else outcome.answer
        failed = {"FunctionError": "Unhandled"} if outcome.error else {}
        return {"Payload": io.BytesIO(json.dumps(answer).encode()), "StatusCode": 200, **failed}

    def _logs(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        self._refuse("FilterLogEvents")
        of = {name: logical_id for logical_id, name in self.stack.names.items()}
        logs = of[params["logGroupName"]].removesuffix("Logs")
        folder = "".join(f"_{each.lower()}" if each.isupper() else each for each in logs)[1:]
        if f"{logs}Logs is empty" in self.broken:
            return {"events": []}
        return {
            "events": [
                {"message": text}
                for at, text in self.lines.get(folder, [])
                if at.timestamp() * 1000 >= params["startTime"]
                and ("ERROR" in text or "filterPattern" not in params)
            ]
        }

    def _dynamodb(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        self._refuse(operation)
        if operation == "DeleteItem":
            pk, sk = params["Key"]["pk"]["S"], params["Key"]["sk"]["S"]
            del self.table._partitions[pk][sk]  # noqa: SLF001
            self.table._keys[pk].remove(sk)  # noqa: SLF001
            return {}
        values = {key[1:]: of["S"] for key, of in params["ExpressionAttributeValues"].items()}
        return {"Items": list(map(to_image, self.table.query(**values)))}

    # ---- The test -------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        self.dispatcher.run(self.dispatcher.clock.now + timedelta(seconds=seconds))

    def smoke(self) -> list[str]:
        """Make the smoke test; what has failed."""
        test = Smoke(
            stack=self.live,
            clock=lambda: self.dispatcher.clock.now,
            sleep=self.sleep,
            say=self.said.append,
        )
        status = test.run()
        assert status == (1 if test.failed else 0)
        return test.failed

    @property
    def failure(self) -> str:
        [line] = [line for line in self.said if line.startswith("FAILED")]
        return line


@pytest.fixture
def live() -> Live:
    return Live()


def sightings(live: Live) -> list[Any]:
    return [item for shard in range(4) for item in live.table.query(f"SIGHTING#{shard}")]


def test_a_stack_that_works_passes_each_step_and_each_is_said(live: Live) -> None:
    assert live.smoke() == []

    assert [line.split(":")[0] for line in live.said] == [
        "ok      rule",
        "ok      queue",
        "ok      table",
        "ok      log",
        "ok      notice",
        "ok      check",
        "ok      clean up",
        "The stack works.",
    ]
    assert len(live.messages) == 1


def test_a_stack_that_no_job_has_run_beside_works_all_the_same(live: Live) -> None:
    live.has_events = False

    assert live.smoke() == []
    assert any(
        "No job event has arrived from AWS Batch for 14 days. If" in line for line in live.said
    )


def test_nothing_is_left_of_the_job(live: Live) -> None:
    live.smoke()

    assert live.said[-2] == "ok      clean up: 1 items deleted; the test notice stays on record"
    assert sightings(live) == []


def test_the_job_is_nobodys_and_nothing_is_done_about_it(live: Live) -> None:
    live.smoke()
    live.sleep(3600)

    assert len(live.messages) == 1


def test_it_can_be_made_again_at_once(live: Live) -> None:
    live.smoke()

    assert live.smoke() == []


# ---- Each part broken ---------------------------------------------------------------------


def _disable(live: Live) -> None:
    live.rule_state = "DISABLED"


def _with_another_pattern(live: Live) -> None:
    live.pattern = json.dumps({"source": ["aws.ecs"]})


def _without_target(live: Live) -> None:
    live.targets = ["another-queue"]


def _break(*names: str) -> Callable[[Live], None]:
    return lambda live: live.broken.update(names)


def _with_a_mapping_that_is_off(live: Live) -> None:
    live.mappings = ["Disabled"]
    live.broken.add("job_events")


def _unsubscribe(live: Live) -> None:
    live.subscribed = False


@pytest.mark.parametrize(
    ("break_", "step", "told"),
    [
        (_disable, "rule", ["JobEventsRule", "is DISABLED", "aws events enable-rule"]),
        (_with_another_pattern, "rule", ["JobEventsRule", "does not want", "aws.ecs"]),
        (_without_target, "rule", ["JobEventsRule", "has no target JobEventsQueue"]),
        (_break("SendMessage"), "queue", ["JobEventsQueue", "AccessDenied: not allowed"]),
        (
            _break("job_events"),
            "table",
            [
                "JobEventsFunction",
                "JobEventsLogs",
                "Error: job_events cannot be loaded",
            ],
        ),
        (
            _with_a_mapping_that_is_off,
            "table",
            ["JobEventsFunction", "its event source mapping is Disabled"],
        ),
        (
            _break("JobEventsLogs is empty"),
            "log",
            ["JobEventsLogs", "no line", "JobEventsRole"],
        ),
        (
            _break("act"),
            "notice",
            ["ActFunction", "ActLogs", "ImportModuleError: act cannot be loaded"],
        ),
        (_break("Publish"), "notice", ["ActFunction", "ActLogs", "AccessDenied"]),
        (_unsubscribe, "check", ["Nobody receives the notices", "NoticeEmail"]),
        (_break("DeleteItem"), "clean up", ["AccessDenied for DeleteItem"]),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_part_that_is_broken_fails_its_step_alone_which_names_the_resource(
    live: Live, break_: Callable[[Live], None], step: str, told: list[str]
) -> None:
    break_(live)

    assert live.smoke() == [step]
    assert live.failure.startswith(f"FAILED  {step}: ")
    assert all(text in live.failure for text in told), live.failure
    assert live.said[-1] == f"The stack does not work: {step}."


def test_a_console_that_fails_fails_both_steps_that_ask_it(live: Live) -> None:
    live.broken.add("console")

    assert live.smoke() == ["notice", "check"]
    failures = [line for line in live.said if line.startswith("FAILED")]
    assert all("ConsoleFunction" in line and "ConsoleLogs" in line for line in failures)


def test_a_sweep_that_does_not_run_fails_the_check(live: Live) -> None:
    live.broken.add("sweep")
    live.sleep(1200)

    assert live.smoke() == ["check"]
    assert "The sweep has not run" in live.failure


def test_a_log_that_may_not_be_read_is_told_and_hides_nothing(live: Live) -> None:
    live.broken |= {"act", "FilterLogEvents"}

    assert live.smoke() == ["log", "notice"]
    assert any("ActLogs cannot be read: " in line for line in live.said)


def test_a_resource_that_the_stack_lacks_is_named(live: Live) -> None:
    live.broken.add("JobEventsQueue")

    assert live.smoke() == ["rule", "queue"]
    assert "the stack has no JobEventsQueue: update it (make deploy)" in live.said[0]


@pytest.mark.parametrize(
    ("region", "partition"),
    [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-west-1", "aws")],
)
def test_the_event_is_one_of_the_stacks_partition(live: Live, region: str, partition: str) -> None:
    event = Smoke(stack=replace(live.live, region=region)).event

    assert event["detail"]["jobArn"].startswith(f"arn:{partition}:batch:{region}:{ACCOUNT}:job/")


def test_where_there_is_no_stack_that_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(name: str) -> LiveStack:
        raise live_stack.LiveError(f"There is no stack {name}")

    monkeypatch.setattr(live_stack, "find", find)

    assert smoke.main(["--stack", "night"]) == 2
    assert capsys.readouterr().err == "There is no stack night\n"
