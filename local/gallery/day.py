"""Run the stack on a simulated AWS for a scene of the gallery, and collect its notices."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from batch_watchdog.notices.text import iso
from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Listener
from local.aws.clock import Order
from local.aws.dispatcher import Dispatcher
from local.aws.stack import Stack
from local.batch.simulated import SimulatedBatch
from local.batch.world import managed_environment
from local.replay.replay import Row, Rows

MORNING = datetime(2026, 1, 5, 9, tzinfo=UTC)  # a Monday
_TOPIC = "arn:aws:sns:us-east-1:111122223333:billing-alarms"
_ARN = "arn:aws:batch:us-east-1:111122223333:"
_NAME = re.compile(r"\$([a-z0-9-]+)")
_ENVIRONMENTS = {"cpu": 1024, "small": 4, "gpu": 64}  # vCPUs; each has a queue of the same name


class Day:
    """
    The stack with a policy, from 09:00 on. `told` holds the notices, in order.

    In a policy, "$gpu" is replaced by the name of the queue gpu, and so on. With `long`, all names
    of jobs, queues, guards and budgets have their maximum length. `notify` holds lines of the
    policy's table [notify]. With `alarms`, CloudWatch answers that there are no alarms; else, it
    refuses to answer.
    """

    def __init__(
        self,
        stack: Stack,
        policy: str,
        notify: str = "",
        *,
        long: bool = False,
        alarms: bool = False,
    ) -> None:
        self._long = long
        self._notify = notify
        self._names = {each.environment["POLICY_PARAMETER"] for each in stack.functions.values()}
        self.told: list[Row] = []
        self.batch = SimulatedBatch(
            emit=lambda event: self._dispatcher.emitted(event),  # noqa: PLW0108 - it is made below
            explains=True,
        )
        whole = self._whole(policy)
        self._rows = Rows(self.batch, self._write_row, whole)
        self._dispatcher = Dispatcher(
            stack,
            self.batch,
            self._rows,
            parameters=dict.fromkeys(self._names, whole),
            make_table=self._table,
            policy_max_age=0,
            responders={"cloudwatch": _no_alarms} if alarms else {},
        )
        self.batch.add_world(self._world())
        self._dispatcher.run(MORNING)
        self._dispatcher.start(MORNING)

    @property
    def now(self) -> datetime:
        return self._dispatcher.clock.now

    @property
    def chat(self) -> list[Any]:
        """The messages to the chat topic, if the stack has one."""
        return [message for _, message in self._dispatcher.chat]

    # ---- What happens ---------------------------------------------------------------------

    def submit(self, name: str, queue: str, **job: Any) -> str:
        """Submit a job, and return its id."""
        return self.batch.submit(self._name(name, 128), self._name(queue, 128), **job)

    def moves(self, name: str, queue: str, *moves: tuple[str, float, bool]) -> None:
        """
        Let a job go through states, without the simulated Batch's own scheduling.

        Each of `moves` is a state, seconds from now, and whether a stop of the job was accepted.
        """
        job_id = f"{name}-id"
        events = [
            {
                "id": f"{job_id}-{number}",
                "detail-type": "Batch Job State Change",
                "source": "aws.batch",
                "account": "111122223333",
                "region": "us-east-1",
                "time": iso(self.now + timedelta(seconds=second)),
                "detail": {
                    "jobId": job_id,
                    "jobName": self._name(name, 128),
                    "jobQueue": f"{_ARN}job-queue/{self._name(queue, 128)}",
                    "jobDefinition": f"{_ARN}job-definition/{name}:1",
                    "status": status,
                    "createdAt": int(self.now.timestamp() * 1_000),
                    "attempts": [],
                }
                | ({"isCancelled": True} if stopping else {}),
            }
            for number, (status, second, stopping) in enumerate(moves)
        ]
        self.batch.load(events)
        for event in events:
            at = datetime.fromisoformat(str(event["time"]))
            self._dispatcher.clock.at(at, Order.DELIVERY, self._dispatcher.deliver, event)

    def hold_updating(self, queue: str, seconds: float) -> None:
        """Make a queue refuse updates for some seconds, so that it cannot be opened or closed."""
        self.batch.hold_updating(self._name(queue, 128), seconds)

    def pass_time(self, *, minutes: float) -> None:
        self._dispatcher.run(self.now + timedelta(minutes=minutes))

    def pass_quiet_time(self, *, days: float) -> None:
        """Let days pass in which nothing happens, without running their sweeps."""
        end = self.now + timedelta(days=days)
        self._dispatcher.sleep_until(end)
        self._dispatcher.run(end)

    def put_policy(self, policy: str) -> None:
        """Put another policy in force, as an operator."""
        for name in self._names:
            self._dispatcher.parameters[name] = self._whole(policy)

    def command(self, command: str, **arguments: Any) -> None:
        """Give the console a command, as an operator."""
        by = arguments.pop("by", "admin@example.com")
        asked = {"command": command, "by": by} | arguments
        if "guard" in asked:
            asked["guard"] = self._name(asked["guard"], 64)
        refused = self._dispatcher.command({"command": asked})
        if refused:
            raise ValueError(refused)

    def alarm(self, name: str, state: str) -> None:
        """Put a CloudWatch alarm into a state, and deliver its message by SNS."""
        message = {
            "AlarmName": name,
            "AlarmArn": f"arn:aws:cloudwatch:us-east-1:111122223333:alarm:{name}",
            "NewStateValue": state,
            "OldStateValue": "OK" if state == "ALARM" else "ALARM",
            "NewStateReason": "Threshold Crossed: 1 datapoint [812.0 (05/01/26 03:00:00)] was "
            "greater than the threshold (800.0).",
            "StateChangeTime": self.now.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
        }
        self.receive(json.dumps(message), f"{state}: {name}")

    def budget_message(self, name: str, percent: int) -> None:
        """Deliver AWS Budgets' message that a budget of 1,000 USD has exceeded a threshold."""
        self.receive(
            f"AWS Budget Notification January 05, 2026\nAWS Account 111122223333\n\n"
            f"Budget Name: {name}\nBudget Type: Cost\nBudgeted Amount: $1,000.00\n"
            f"Alert Type: ACTUAL\nAlert Threshold: > ${percent * 10:.2f}\n"
            f"ACTUAL Amount: ${percent * 10 + 12:.2f}\n",
            f"AWS Budgets: {name} has exceeded your alert threshold",
        )

    def receive(self, message: str, subject: str) -> None:
        """Deliver a message about spending by SNS."""
        notification = {
            "Type": "Notification",
            "MessageId": f"{subject} {self.now:%H:%M:%S}",
            "TopicArn": _TOPIC,
            "Subject": subject,
            "Message": message,
            "Timestamp": self.now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        }
        record = {"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": notification}

        def notify() -> None:
            self._dispatcher.notify({"Records": [record]})

        self._dispatcher.clock.at(self.now, Order.DELIVERY, notify)

    # ---- Names ----------------------------------------------------------------------------

    def _name(self, name: str, most: int) -> str:
        return f"{name}-{'and-so-on-' * 13}"[:most] if self._long else name

    def _whole(self, policy: str) -> str:
        def named(match: re.Match[str]) -> str:
            is_queue = match[1] in _ENVIRONMENTS
            return self._name(match[1], 128 if is_queue else 64)

        return f"{_NAME.sub(named, policy)}\n[notify]\n{self._notify}\n"

    def _world(self) -> dict[str, Any]:
        return {
            "jobQueues": [
                {
                    "jobQueueName": self._name(name, 128),
                    "computeEnvironmentOrder": [
                        {"order": 1, "computeEnvironment": f"{_ARN}compute-environment/{name}"}
                    ],
                }
                for name in _ENVIRONMENTS
            ],
            "computeEnvironments": [
                managed_environment(_ARN, name, most) for name, most in _ENVIRONMENTS.items()
            ],
        }

    # ---- The record of the run ------------------------------------------------------------

    def _table(self, listener: Listener) -> MemoryTable:
        def received(name: str, old: Item | None, item: Item) -> None:
            self._rows.recorded(self._dispatcher.clock.now, old, item)
            listener(name, old, item)

        return MemoryTable(received)

    def _write_row(self, row: Row) -> None:
        if row["kind"] == "notice":
            self.told.append(row)


def _no_alarms(operation: str, _: Mapping[str, Any]) -> dict[str, Any]:
    if operation == "DescribeAlarms":
        return {"MetricAlarms": [], "CompositeAlarms": []}
    return {"Datapoints": []}
