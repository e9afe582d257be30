"""The stack at work with a guard: jobs, alarms, commands."""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from local.aws.clock import Order
from local.aws.dispatcher import Dispatcher
from local.aws.stack import Stack
from local.batch.simulated import SimulatedBatch
from local.batch.state import Call

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ALARMS = "arn:aws:sns:us-east-1:111122223333:billing"

POLICY = """
mode = "enforce"

[[guard]]
name = "monthly"
spare = { tags = { critical = "true" } }

[[guard.stage]]
alarms = ["soft"]
action = "cancel"
close_queues = true

[[guard.stage]]
alarms = ["hard"]
after_previous = "2h"
action = "terminate"
"""


class Guarding:
    """
    The stack under a policy, at noon.

    There is one environment, of 16 vCPUs, behind the queues `gpu` and `cpu`, which are open (`cpu`
    goes first), and the queue `shut`, which is not.
    """

    def __init__(self, stack: Stack, policy: str = POLICY, **batch: Any) -> None:
        self.batch = SimulatedBatch(emit=lambda event: self.dispatcher.emitted(event), **batch)  # noqa: PLW0108
        self.messages: list[tuple[datetime, Mapping[str, Any]]] = []
        self.letters: list[tuple[datetime, str, Any]] = []
        parameter = next(iter(stack.functions.values())).environment["POLICY_PARAMETER"]
        self.dispatcher = Dispatcher(
            stack,
            self.batch,
            witness=self,
            parameters={parameter: policy},
            policy_max_age=0,
        )
        self.batch.add_world(
            {
                "jobQueues": [
                    {"jobQueueName": name, "priority": priority, "computeEnvironmentOrder": _ORDER}
                    for name, priority in (("gpu", 1), ("cpu", 2))
                ]
                + [{"jobQueueName": "shut", "state": "DISABLED"}],
                "computeEnvironments": [
                    {"computeEnvironmentName": "all", "computeResources": {"maxvCpus": 16}}
                ],
            }
        )
        self.dispatcher.run(NOON)
        self.dispatcher.start(NOON)

    # ---- What happens ---------------------------------------------------------------------

    def submit(self, name: str = "render", queue: str = "gpu", **job: Any) -> str:
        """A job that runs for a day, on four vCPUs, and then succeeds."""
        return self.batch.submit(name, queue, **{"vcpus": 4, "seconds": 86_400} | job)

    def run(self, *, minutes: float) -> "Guarding":
        self.dispatcher.run(self.dispatcher.clock.now + timedelta(minutes=minutes))
        return self

    def alarm(self, name: str, state: str = "ALARM", *, ago: timedelta = timedelta()) -> None:
        """A CloudWatch alarm changes its state, and says so by both ways."""
        self.alarm_by_event(name, state, ago=ago)
        self.alarm_by_sns(name, state, ago=ago)

    def alarm_by_event(self, name: str, state: str, *, ago: timedelta = timedelta()) -> None:
        at = self.dispatcher.clock.now - ago
        detail = {
            "alarmName": name,
            "state": {"value": state, "reason": "Threshold crossed", "timestamp": _stamp(at)},
            "previousState": {"value": "OK" if state == "ALARM" else "ALARM"},
        }
        event = {
            "detail-type": "CloudWatch Alarm State Change",
            "source": "aws.cloudwatch",
            "time": f"{self.dispatcher.clock.now:%Y-%m-%dT%H:%M:%SZ}",
            "detail": detail,
        }
        now = self.dispatcher.clock.now
        self.dispatcher.clock.at(now, Order.DELIVERY, self.dispatcher.deliver, event)

    def alarm_by_sns(self, name: str, state: str, *, ago: timedelta = timedelta()) -> None:
        at = self.dispatcher.clock.now - ago
        message = {
            "AlarmName": name,
            "NewStateValue": state,
            "OldStateValue": "OK" if state == "ALARM" else "ALARM",
            "NewStateReason": "Threshold crossed",
            "StateChangeTime": _stamp(at),
        }
        self.sns(json.dumps(message), subject=f'{state}: "{name}"')

    def budget(self, name: str, threshold: str = "$100.00") -> None:
        """AWS Budgets says that a budget of $100 has passed a threshold."""
        self.sns(
            f"AWS Budget Notification January 01, 2026\nAWS Account 111122223333\n\n"
            f"Budget Name: {name}\nBudget Type: Cost\nBudgeted Amount: $100.00\n"
            f"Alert Type: ACTUAL\nAlert Threshold: > {threshold}\nACTUAL Amount: $105.00\n",
            subject=f"AWS Budgets: {name} has exceeded your alert threshold",
        )

    def sns(self, message: str, *, subject: str = "") -> None:
        now = self.dispatcher.clock.now
        record = {
            "EventSource": "aws:sns",
            "Sns": {
                "Type": "Notification",
                "TopicArn": ALARMS,
                "Subject": subject,
                "Message": message,
                "Timestamp": f"{now:%Y-%m-%dT%H:%M:%S.000Z}",
            },
        }

        def notify() -> None:
            assert self.dispatcher.notify({"Records": [record]})

        self.dispatcher.clock.at(now, Order.DELIVERY, notify)

    def command(self, command: str, **arguments: Any) -> str:
        """An operator asks for something; the answer is why it was refused, or ""."""
        return self.dispatcher.command({"command": {"command": command, **arguments}})

    # ---- What came of it ------------------------------------------------------------------

    @property
    def changes(self) -> list[Call]:
        """All changing calls that Batch has let through."""
        return [call for call in self.batch.journal if not call.error]

    @property
    def stops(self) -> Counter[str]:
        """How often each job was stopped."""
        return Counter(job for call in self.changes for job in call.jobs)

    @property
    def queues_set(self) -> list[tuple[str, str]]:
        return [
            (call.queue.rpartition("/")[2], call.state)
            for call in self.changes
            if call.api == "UpdateJobQueue"
        ]

    def told(self, kind: str) -> list[Mapping[str, Any]]:
        """The notices of a kind."""
        return [message for _, message in self.messages if message["notice"] == kind]

    def kinds(self) -> list[str]:
        """The notices about guards, in order."""
        kinds = [message["notice"] for _, message in self.messages]
        return [kind for kind in kinds if kind.startswith("guard-")]

    def report(self) -> Mapping[str, Any]:
        """The facts of the one report that there is."""
        (notice,) = self.told("guard-report")
        facts: Mapping[str, Any] = notice["facts"]
        return facts

    def describe(self, *job_ids: str) -> list[dict[str, Any]]:
        details = self.batch.call("DescribeJobs", {"jobs": list(job_ids)})["jobs"]
        return [next(each for each in details if each["jobId"] == job_id) for job_id in job_ids]

    def statuses(self, *job_ids: str) -> list[str]:
        return [detail["status"] for detail in self.describe(*job_ids)]

    def state_of(self, queue: str) -> str:
        queues = self.batch.call("DescribeJobQueues", {"jobQueues": [queue]})["jobQueues"]
        return str(queues[0]["state"])

    # ---- As a witness ---------------------------------------------------------------------

    def published(self, at: datetime, message: Mapping[str, Any]) -> None:
        content = json.loads(json.loads(message["Message"])["default"])
        self.messages.append((at, content))

    def dead_letter(self, at: datetime, reason: str, event: Any) -> None:
        self.letters.append((at, reason, event))


_ORDER = [{"order": 1, "computeEnvironment": "all"}]


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.000+0000}"
