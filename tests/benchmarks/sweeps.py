"""The sweep: when nothing is due, when very many jobs are, and the listing of all jobs."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from batch_watchdog.use_cases.job_events import Message
from tests.benchmarks.measuring import Figure, Work, cpu_seconds, growth, without_collector
from tests.benchmarks.table_units import Units
from tests.makers import an_event, at
from tests.watching import MINUTE, Watching

_TAGS = {"team": "a"}  # Jobs whose events show their tags need no first look.
_POLICY = """
mode = "enforce"
[safety]
max_stops_per_hour = 1000000
[[limit]]
RUNNABLE = { after = "2h", action = "cancel" }
"""
_NOON = at("12:00")


def figures() -> Iterator[Figure]:
    with without_collector():
        yield from _nothing_is_due()
        yield from _stuck_jobs_are_due()
        yield from _all_jobs_are_listed()


class _Crowd(Watching):
    """So many jobs wait since noon, and have been told. `asked` counts the calls of Batch."""

    def __init__(self, jobs: int) -> None:
        events = [an_event("12:00", jobId=f"job-{number:06}", tags=_TAGS) for number in range(jobs)]
        super().__init__(_POLICY, lost=events)
        self.asked: Counter[str] = Counter()
        self.refuses = self._noted
        self.batch.advance_to(_NOON)
        for first in range(0, jobs, 1_000):
            some = events[first : first + 1_000]
            messages = [Message(str(n), json.dumps(event), _NOON) for n, event in enumerate(some)]
            self.job_event_intake.handle(messages)

    def _noted(self, operation: str, _: Mapping[str, Any]) -> bool:
        self.asked[operation] += 1
        return False

    def list_all(self) -> None:
        """Let the sweeps do a first listing of all jobs."""
        self.sweeping(1, 16)()
        self.asked.clear()

    def sweeping(self, first: int, end: int) -> Work:
        """The sweeps of these minutes after noon."""

        def work() -> None:
            for minute in range(first, end):
                self.sweep(_NOON + minute * MINUTE)

        return work


def _nothing_is_due() -> Iterator[Figure]:
    items, seconds = {}, {}
    for jobs in (1_000, 10_000, 100_000):
        crowd, units = _Crowd(jobs), Units()
        crowd.list_all()
        crowd.sweeping(17, 18)()
        with units.counted():
            seconds[jobs] = cpu_seconds(crowd.sweeping(18, 19))
        items[jobs] = units.items
    yield Figure(
        name="a sweep when nothing is due, 100,000 waiting",
        value=items[100_000],
        unit="items read",
        goal=12,
        is_count=True,
        note=f"grows {growth(items)}",
    )
    times = ", ".join(f"{value * 1000:.0f}" for value in seconds.values())
    yield Figure(
        name="the same",
        value=seconds[100_000] * 1000,
        unit="ms of CPU",
        note=f"1,000 to 100,000 waiting: {times}; grows {growth(seconds)}",
    )


def _stuck_jobs_are_due() -> Iterator[Figure]:
    crowd, units = _Crowd(10_000), Units()
    crowd.list_all()
    crowd.sweeping(119, 120)()
    crowd.asked.clear()
    with units.counted():
        seconds = cpu_seconds(crowd.sweeping(120, 122))
    calls = ", ".join(f"{count} {name}" for name, count in sorted(crowd.asked.items()))
    yield Figure(
        name="sweeps with 10,000 stuck jobs due",
        value=seconds,
        unit="s of CPU",
        goal=2,
        note=f"{calls}; {units.written} write and {units.read} read units",
        why="each job is judged and diagnosed, and has a stop and a notice of its own, as phrases",
    )
    yield Figure(
        name="the same",
        value=units.calls,
        unit="calls of the table",
        goal=100,
        is_count=True,
        why="a write holds at most 100 items and 4 MB, and each part of the jobs is read anew",
    )


def _all_jobs_are_listed() -> Iterator[Figure]:
    described, seconds = {}, {}
    for jobs in (1_000, 10_000, 100_000):
        crowd = _Crowd(jobs)
        crowd.list_all()
        seconds[jobs] = cpu_seconds(crowd.sweeping(16, 31))
        described[jobs] = crowd.asked["DescribeJobs"]
    yield Figure(
        name="a listing of 100,000 jobs that wait and are known",
        value=described[100_000],
        unit="DescribeJobs",
        goal=0,
        is_count=True,
        note=f"{seconds[100_000]:.1f} s of CPU; grows {growth(seconds)}",
    )
