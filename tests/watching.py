"""The use cases at work on a simulated AWS Batch, minute by minute; no template, no dispatcher."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.aws.settings import Settings
from batch_watchdog.measures.measures import Meter
from batch_watchdog.store.item_codec import Item, to_image
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.use_cases.job_events import Message
from batch_watchdog.wiring import Container
from local.aws.errors import ApiError, Responder, session
from local.batch.simulated import SimulatedBatch
from local.batch.state import Call

MINUTE = timedelta(minutes=1)

SETTINGS = Settings(
    table_name="table",
    topic_arn="arn:aws:sns:us-east-1:111122223333:notices",
    dead_letter_queue_url="https://sqs/dead-letters",
    stop_queue_url="https://sqs/stop",
    policy_parameter="/policy",
    stop_calls_per_second=10,
)


class Watching:
    """
    A watchdog and the jobs that it watches.

    `events` are true from their own time on and delivered then, but for those in `lost`. AWS
    Batch refuses calls of which `refuses` says so, and other services answer by `responders`.
    `meter` takes what is measured.
    """

    def __init__(
        self,
        policy: str,
        events: Iterable[Any] = (),
        lost: Iterable[Any] = (),
        meter: Meter | None = None,
        **batch: Any,
    ) -> None:
        self.policy = policy
        self.refuses: Callable[[str, Mapping[str, Any]], bool] = lambda *_: False
        self.published: list[dict[str, Any]] = []
        self._images: deque[Item] = deque()
        self._inbox = deque(sorted(events, key=lambda event: event["time"]))
        self.batch = SimulatedBatch(emit=self._inbox.append, **batch)
        self.batch.load([*self._inbox, *lost])
        self.table = MemoryTable(self._on_write)
        self.responders: dict[str, Responder] = {
            "batch": self._batch,
            "sns": self._sns,
            "ec2": lambda *_: {"InstanceTypes": []},
            "cloudwatch": lambda *_: {},
            "ecs": lambda *_: {"containerInstanceArns": []},
            "ssm": lambda *_: {"Parameter": {"Value": self.policy}},
            "sqs": lambda *_: {},
        }
        container = Container(
            settings=SETTINGS,
            session=session(self.responders),
            policy_max_age=0,
            clock=lambda: self.batch.now,
            meter=meter,
        )
        container.table = self.table
        self.job_event_intake = container.job_event_intake
        self.sweeper = container.sweeper
        self.actor = container.actor
        self.console = container.console

    @property
    def stops(self) -> list[Call]:
        return [call for call in self.batch.journal if call.api != "UpdateJobQueue"]

    def stopped(self) -> dict[str, str]:
        """When each job was stopped first, as a clock ("12:31")."""
        first: dict[str, str] = {}
        for call in self.stops:
            for job_id in call.jobs:
                first.setdefault(job_id, f"{call.at:%H:%M}")
        return first

    def told(self, kind: str) -> list[Mapping[str, Any]]:
        """What was published of a kind: the JSON for programs."""
        messages = [json.loads(json.loads(each["Message"])["default"]) for each in self.published]
        return [message for message in messages if message["notice"] == kind]

    def run(self, first: datetime, last: datetime) -> "Watching":
        """Let the minutes pass, with a sweep at each whole one."""
        now = first
        while now <= last:
            self.batch.advance_to(now)
            due = []
            while self._inbox and self._inbox[0]["time"] <= f"{now:%Y-%m-%dT%H:%M:%SZ}":
                due.append(self._inbox.popleft())
            self.receive(*(event for event in due if not self.batch.is_overruled(event)), now=now)
            self.sweep(now)
            self.act()
            now += MINUTE
        return self

    def forget_until(self, time: datetime) -> None:
        """Deliver nothing of what was told up to a time."""
        text = f"{time:%Y-%m-%dT%H:%M:%SZ}"
        left = [event for event in self._inbox if event["time"] > text]
        self._inbox.clear()
        self._inbox.extend(left)

    def receive(self, *events: Any, now: datetime) -> None:
        """Deliver events, all at once."""
        if events:
            messages = [Message(str(n), json.dumps(event), now) for n, event in enumerate(events)]
            assert self.job_event_intake.handle(messages) == []
            self.act()

    def sweep(self, now: datetime) -> None:
        self.batch.advance_to(now)
        self.sweeper.sweep(now, out_of_time=lambda: False)

    def act(self) -> None:
        while self._images:
            self.actor.carry_out(to_image(self._images.popleft()), out_of_time=lambda: False)

    def _on_write(self, name: str, _: Item | None, item: Item) -> None:
        if name == "INSERT" and str(item["pk"]).startswith("ACTION#"):
            self._images.append(item)

    def _batch(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if self.refuses(operation, params):
            raise ApiError("AccessDeniedException", f"not authorized: batch:{operation}", 403)
        return self.batch.call(operation, params)

    def _sns(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if operation != "Publish":
            return {}
        self.published.append(params)
        return {"MessageId": "1"}
