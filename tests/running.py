"""Stop runs at work on a simulated AWS Batch: the queue, the sweep and a death now and then."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any

from batch_watchdog.aws.settings import Settings
from batch_watchdog.guards.inputs import StageSet
from batch_watchdog.guards.state import StageName
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.store.decisions import Recorder
from batch_watchdog.store.item_codec import Item, to_image
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import FIRST, LAST, Key, Listener, Put
from batch_watchdog.wiring import Container
from local.aws.errors import session
from local.aws.functions import Crash
from local.batch.simulated import SimulatedBatch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TIME_S = 60.0  # of an invocation
COMES_BACK = timedelta(seconds=390)  # a message of which the function died

POLICY = """
mode = "enforce"

[[guard]]
name = "monthly"
release = "manual"
spare = { name = "spared-*" }

[[guard.stage]]
alarms = []
action = "cancel"
close_queues = true

[[guard.stage]]
alarms = []
action = "terminate"
"""


class Running:
    """
    The use cases around one guard, whose stages an operator sets. Its queue is `gpu`.

    Each call of stop_jobs to AWS or to the table is counted, at its begin and at its end; it
    dies at those in `deaths`. `most` are the calls a second that are configured.
    """

    def __init__(self, policy: str = POLICY, *, most: float = 40, **batch: Any) -> None:
        self.now = NOON
        self.batch = SimulatedBatch(emit=lambda event: None, **batch)  # noqa: ARG005
        self.batch.add_world({"jobQueues": [{"jobQueueName": "gpu", "jobQueueType": "ECS"}]})
        self.batch.advance_to(NOON - 5 * MINUTE)
        self.policy = policy
        self.calls: Counter[str] = Counter()
        self.throttled = 0
        self.invocations = 0
        self.longest = timedelta()  # invocation
        self.deaths: set[int] = set()
        self.steps = 0
        self._at_work = False
        self._meanwhile: list[tuple[datetime, Callable[[], object]]] = []
        self._messages: list[tuple[datetime, int, str]] = []
        self._sent = 0
        self._actions: list[Item] = []
        self._published: list[Mapping[str, Any]] = []
        self.table = _StepwiseTable(self._written, self._step)
        self._container = Container(
            settings=Settings(
                table_name="table",
                topic_arn="arn:aws:sns:us-east-1:111122223333:notices",
                dead_letter_queue_url="https://sqs/dead-letters",
                policy_parameter="/policy",
                stop_queue_url="https://sqs/stop",
                stop_calls_per_second=most,
            ),
            session=session(
                {
                    "batch": self._answer_batch,
                    "sns": self._publish,
                    "sqs": self._send,
                    "ssm": lambda *_: {"Parameter": {"Value": self.policy}},
                }
            ),
            policy_max_age=0,
            pause=self._pause,
        )
        self._container.table = self.table

    # ---- What happens ---------------------------------------------------------------------

    def submit(self, count: int = 1, name: str = "render", **job: Any) -> list[str]:
        """Jobs that wait for ever: their queue has no compute environment."""
        return [self.batch.submit(name, "gpu", **job) for _ in range(count)]

    def enter(self, stage: StageName, guard: str = "monthly") -> "Running":
        """An operator sets a stage, now; what has been submitted so far has come to wait."""
        self.batch.advance_to(self.now)
        policy = self._container.policies.current()
        watch = GuardUpdater(table=self.table, policy=policy, now=self.now)
        guard_input = StageSet(now=self.now, stage=stage, by="jane")
        recorder = Recorder(table=self.table, asked_by="test")
        assert not recorder.decide([guard], lambda g: watch.decide(g, guard_input)[1], self.now)
        self._act()
        return self

    def lose_messages(self) -> None:
        """Whatever was sent to stop_jobs does not arrive."""
        self._messages.clear()

    def double_messages(self) -> None:
        """Whatever was sent to stop_jobs arrives twice."""
        for _, _, run_id in list(self._messages):
            self._put(run_id, timedelta())

    def meanwhile(self, *, seconds: float, do: Callable[[], object]) -> None:
        """Have something done so long after noon, even if stop_jobs is at work then."""
        self._meanwhile.append((NOON + timedelta(seconds=seconds), do))

    def call_again(self) -> int:
        """Call stop_jobs for the run that is at work; how many messages it sends."""
        sent, run_id = self._sent, f"monthly:cancel:{NOON:%Y-%m-%dT%H:%M:%SZ}"
        self._container.stop_runner.work(run_id, self.now, time_left=lambda: TIME_S)
        return self._sent - sent

    def give_room(self, *, vcpus: int) -> None:
        """The queue's first jobs start."""
        name = "some"
        self.batch.add_world(
            {
                "jobQueues": [
                    {
                        "jobQueueName": "gpu",
                        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": name}],
                    }
                ],
                "computeEnvironments": [
                    {"computeEnvironmentName": name, "computeResources": {"maxvCpus": vcpus}}
                ],
            }
        )
        self._move_to(self.now + timedelta(seconds=2))

    def run(self, *, minutes: float) -> "Running":
        """Let so many minutes pass, with a sweep at each whole one."""
        until = self.now + timedelta(minutes=minutes)
        while self.now < until:
            minute = self.now.replace(second=0, microsecond=0) + MINUTE
            message_at = self._messages[0][0] if self._messages else until
            self._move_to(min(minute, message_at, until))
            if message_at <= self.now and self._messages:
                self._deliver()
            elif minute <= self.now:
                self._sweep(minute)
            self._act()
        return self

    def _sweep(self, minute: datetime) -> None:
        policy = self._container.policies.settle(minute)
        GuardUpdater(table=self.table, policy=policy, now=minute).time_passes()

    def _deliver(self) -> None:
        _, _, run_id = heappop(self._messages)
        self.invocations += 1
        began = self.now
        try:
            with self._work():
                self._container.stop_runner.work(
                    run_id,
                    began,
                    time_left=lambda: TIME_S - (self.now - began).total_seconds(),
                )
            self.longest = max(self.longest, self.now - began)
        except Crash:
            # The container is gone, and with it what it remembered.
            vars(self._container).pop("stop_runner")
            self._put(run_id, COMES_BACK)

    @contextmanager
    def _work(self) -> Iterator[None]:
        self._at_work = True
        try:
            yield
        finally:
            self._at_work = False

    def _act(self) -> None:
        while self._actions:
            self._container.actor.carry_out(
                to_image(self._actions.pop(0)), out_of_time=lambda: False
            )

    def _move_to(self, at: datetime) -> None:
        self.now = max(self.now, at)
        if self.now > self.batch.now:
            self.batch.advance_to(self.now)
        due = [each for each in self._meanwhile if each[0] <= self.now]
        for each in due:
            self._meanwhile.remove(each)
            each[1]()

    def _pause(self, seconds: float) -> None:
        self._move_to(self.now + timedelta(seconds=seconds))

    # ---- What came of it ------------------------------------------------------------------

    @property
    def stops(self) -> Counter[str]:
        """How often each job's stop was asked for and let through."""
        calls = (call for call in self.batch.journal if not call.error)
        return Counter(job for call in calls for job in call.jobs)

    @property
    def stop_calls(self) -> int:
        return sum(1 for call in self.batch.journal if call.jobs and not call.error)

    @property
    def took(self) -> timedelta:
        """From the stage's beginning to the last stop."""
        return max(call.at for call in self.batch.journal if call.jobs and not call.error) - NOON

    def told(self, kind: str) -> list[Mapping[str, Any]]:
        """The facts of the notices of a kind."""
        told = [json.loads(json.loads(each["Message"])["default"]) for each in self._published]
        return [content["facts"] for content in told if content["notice"] == kind]

    def reports(self) -> list[Mapping[str, Any]]:
        return self.told("guard-report")

    def report(self) -> Mapping[str, Any]:
        (facts,) = self.reports()
        return facts

    def alive(self) -> int:
        """How many jobs of the queue, not counting children, have not ended."""
        states = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
        return sum(len(list(self._listed(state))) for state in states)

    def _listed(self, status: str) -> Iterator[Any]:
        token: dict[str, str] = {}
        while True:
            answer = self.batch.call("ListJobs", {"jobQueue": "gpu", "jobStatus": status, **token})
            yield from answer["jobSummaryList"]
            if "nextToken" not in answer:
                return
            token = {"nextToken": answer["nextToken"]}

    # ---- AWS ------------------------------------------------------------------------------

    def _answer_batch(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        self._step()
        self.calls[operation] += 1
        answer = self.batch.call(operation, params)
        self._step()
        return answer

    def _publish(self, _: str, params: dict[str, Any]) -> dict[str, Any]:
        self._published.append(params)
        return {"MessageId": "1"}

    def _send(self, _: str, params: dict[str, Any]) -> dict[str, Any]:
        self._step()
        run_id = json.loads(params["MessageBody"])["run_id"]
        self._put(run_id, timedelta(seconds=params.get("DelaySeconds", 0)))
        self._step()
        return {"MessageId": "1", "MD5OfMessageBody": ""}

    def _put(self, run_id: str, delay: timedelta) -> None:
        self._sent += 1
        heappush(self._messages, (self.now + delay, self._sent, run_id))

    def _written(self, name: str, _: Item | None, item: Item) -> None:
        if name == "INSERT" and str(item["pk"]).startswith("ACTION#"):
            self._actions.append(item)

    def _step(self) -> None:
        if self._at_work:
            self.steps += 1
            if self.steps in self.deaths:
                raise Crash(f"at step {self.steps}")


class _StepwiseTable(MemoryTable):
    """A table of which each read, and both ends of each write, are a step."""

    def __init__(self, listener: Listener, step: Callable[[], None]) -> None:
        super().__init__(listener)
        self._step = step

    def get(self, pk: str, sk: str) -> Item | None:
        self._step()
        return super().get(pk, sk)

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        self._step()
        return super().get_many(keys)

    def query(self, pk: str, *, first: str = FIRST, last: str = LAST) -> Iterator[Item]:
        self._step()
        return super().query(pk, first=first, last=last)

    def latest(self, pk: str, most: int, *, first: str = FIRST, last: str = LAST) -> list[Item]:
        self._step()
        return super().latest(pk, most, first=first, last=last)

    def write(self, puts: Sequence[Put]) -> None:
        self._step()
        super().write(puts)
        self._step()
