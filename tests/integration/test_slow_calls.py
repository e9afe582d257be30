"""Very many jobs, and calls that take as long as real ones: no sweep may be killed."""

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batch_watchdog.rule_reports import follow_items
from batch_watchdog.rule_reports.followed import FollowedJob, RuleKey
from batch_watchdog.store import sweep_cursor
from batch_watchdog.store.reminders import Reminders
from local.aws.dispatcher import Dispatcher
from local.aws.functions import Outcome
from local.aws.sources import Call
from local.aws.stack import Stack
from local.batch.simulated import SimulatedBatch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECONDS_A_CALL = 0.15
SAMPLES = 100  # spread over all jobs: only these come to their limit while a test looks

# At most so long after it began to wait a job is stopped: the sweep that lists all jobs comes
# every 15 minutes, and what is due is stopped within two.
AT_LATEST = timedelta(minutes=10 + 15 + 2)
LIMITS = """
[[limit]]
match = { name = "sample" }
RUNNABLE = { after = "10m", action = "cancel" }
[[limit]]
RUNNABLE = { after = "20h", action = "warn" }
"""

# To describe a service job takes a call each: a sweep has no time for so many of them.
TRAINING = 600
BUDGET = """
[[budget]]
name = "all"
instance_hours = 100_000
"""
LOOKED_AT = NOON + 15 * MINUTE


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Hundreds of thousands of jobs stay: the collector need not look at them again and again."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


class Crowd:
    """So many jobs wait since noon, and so many of them are known by their events."""

    def __init__(
        self, stack: Stack, jobs: int, known: int, *, limits: str = LIMITS, more: str = ""
    ) -> None:
        self._stack = stack
        self._told = known
        self.problems: list[str] = []  # of sweeps
        self._sweeping = False
        self.described: list[tuple[datetime, str]] = []  # service jobs, by sweeps
        self.sweeps = 0
        self.batch = SimulatedBatch(emit=self._emitted)
        names = {each.environment["POLICY_PARAMETER"] for each in stack.functions.values()}
        self.dispatcher = Dispatcher(
            stack,
            self.batch,
            self,
            parameters=dict.fromkeys(names, f'mode = "enforce"{more}{limits}'),
            responders={"batch": self._answer},
            call_seconds={"batch": SECONDS_A_CALL},
            around=self._around,
        )
        self.dispatcher.run(NOON)
        self.batch.add_world({"jobQueues": [{"jobQueueName": "q"}, {"jobQueueName": "training"}]})
        every = jobs // SAMPLES
        ids = [
            self.batch.submit("other" if number % every else "sample", "q")
            for number in range(jobs)
        ]
        self.samples = set(ids[::every])

    def _emitted(self, event: dict[str, Any]) -> None:
        if self._told > 0:
            self._told -= 1
            self.dispatcher.emitted(event)

    def _answer(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = self.batch.call(operation, params)
        if operation != "DescribeServiceJob":
            return answer
        if self._sweeping:
            self.described.append((self.batch.now, params["jobId"]))
        return answer | {"serviceRequestPayload": '{"ResourceConfig": {"InstanceCount": 1}}'}

    def _around(self, call: Call) -> Call:
        def called(arn: str, event: Any) -> Outcome:
            self._sweeping = self._stack.functions[arn].folder.name == "sweep"
            outcome = call(arn, event)
            if self._sweeping:
                self.sweeps += 1
                self.problems += [outcome.error] if outcome.error else []
            self._sweeping = False
            return outcome

        return called

    def published(self, at: datetime, message: Mapping[str, Any]) -> None:
        """Not looked at."""

    def dead_letter(self, at: datetime, reason: str, event: Any) -> None:
        self.problems.append(f"{at:%H:%M:%S}: {reason}: {event!r:.80}")

    def train(self) -> list[str]:
        """Have service jobs run from now on, for days."""
        return [
            self.batch.submit("train", "training", service=True, seconds=1_000_000)
            for _ in range(TRAINING)
        ]

    def follow(self, jobs: Iterable[str]) -> None:
        """Have jobs followed that have just passed a limit: all of them in one row."""
        key = RuleKey(
            rule="a", status="RUNNING", limit_seconds=9, action="terminate", mode="observe"
        )
        followed = [
            FollowedJob(job_id=job, about=job, key=key, since=NOON, decided_at=NOON, service=True)
            for job in jobs
        ]
        Reminders(self.dispatcher.table).file(follow_items.entries(followed, NOON))

    def run(self, until: datetime = NOON + AT_LATEST) -> "Crowd":
        """Let time pass: until the last job must have been stopped, or a sweep has failed."""
        self.dispatcher.start(NOON + timedelta(minutes=1))
        while not self.problems and self.dispatcher.step(until):
            pass
        return self

    def stopped(self) -> dict[str, datetime]:
        return {job: call.at for call in self.batch.journal for job in call.jobs}


@pytest.mark.scale
@pytest.mark.parametrize(
    ("jobs", "known"),
    [
        pytest.param(60_000, 60_000, id="60,000 known by event"),
        pytest.param(60_000, 0, id="60,000 only listed"),
        pytest.param(200_000, 100_000, id="200,000, of which half are known by event"),
        pytest.param(200_000, 0, id="200,000 only listed"),
    ],
)
def test_every_sweep_ends_within_its_time_and_each_job_is_under_its_limit(
    stack: Stack, jobs: int, known: int
) -> None:
    crowd = Crowd(stack, jobs, known).run()

    assert crowd.problems == []
    assert crowd.sweeps > 15
    stopped = crowd.stopped()
    assert stopped.keys() == crowd.samples
    assert max(stopped.values()) <= NOON + AT_LATEST
    assert min(stopped.values()) >= NOON + timedelta(minutes=10)


def test_few_jobs_are_seen_to_although_each_call_takes_its_time(stack: Stack) -> None:
    crowd = Crowd(stack, jobs=1_000, known=500).run()

    assert crowd.problems == []
    assert crowd.stopped().keys() == crowd.samples


@pytest.mark.parametrize("why", ["a budget", "a rule's report"])
def test_what_a_sweep_has_no_time_to_look_at_is_left_to_the_next_and_each_job_is_looked_at_once(
    stack: Stack, why: str
) -> None:
    limits = LIMITS.replace("10m", "15m")  # The jobs that wait are due then, too.
    more = BUDGET if why == "a budget" else ""
    crowd = Crowd(stack, jobs=100, known=10_000, limits=limits, more=more)
    training = crowd.train()
    if why == "a rule's report":
        crowd.follow(training)
    last = LOOKED_AT + 10 * MINUTE
    crowd.run(last + timedelta(seconds=59))

    assert crowd.problems == []
    looks = Counter(job for at, job in crowd.described if at >= LOOKED_AT)
    assert looks == Counter(training)
    assert max(at for at, _ in crowd.described) > LOOKED_AT + MINUTE
    assert crowd.stopped().keys() == crowd.samples
    assert max(crowd.stopped().values()) <= LOOKED_AT + 3 * MINUTE
    assert sweep_cursor.read(crowd.dispatcher.table, last).minute == last
