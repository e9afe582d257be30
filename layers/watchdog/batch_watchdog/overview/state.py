"""
Build the overview of all jobs for operators: the arrays at work, and the waiting jobs by queue.

`at` is its time. Its size is bounded, however many jobs there are. No decision depends on it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batch_watchdog.notices.text import fact

ARRAYS_MAX = 300  # arrays that are shown; of all others only the number
QUEUES_MAX = 200
LONGEST_MAX = 10  # jobs of a queue
# Steps of the time that jobs have waited: up to each of these, and longer.
AGES = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenArray:
    """An array that has not ended. `counts` are its children by state, as AWS Batch counts them."""

    job_id: str
    job_name: str
    queue: str
    first_at: datetime
    size: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenArrays:
    """The arrays at work at `at`: `count` in all, and in `arrays` those that began first."""

    at: datetime
    count: int = 0
    arrays: tuple[OpenArray, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LongWait:
    """A job that waits in RUNNABLE, at least since `since`."""

    job_id: str
    job_name: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueWaits:
    """
    The jobs that wait in RUNNABLE in one queue.

    `by_age` has the numbers of jobs that have waited up to each of `AGES`, and longer.
    """

    queue: str
    count: int = 0
    by_age: tuple[int, ...] = (0,) * (len(AGES) + 1)
    longest: tuple[LongWait, ...] = ()

    @property
    def oldest(self) -> LongWait | None:
        return self.longest[0] if self.longest else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """The waiting jobs by queue, from a listing of all jobs that began at `at`."""

    at: datetime
    queues: Mapping[str, QueueWaits] = field(default_factory=dict)
    version: int = 0


def kept_arrays(arrays: Iterable[OpenArray], at: datetime) -> OpenArrays:
    """Build what is kept of all arrays at work."""
    every = sorted(arrays, key=lambda array: (array.first_at, array.job_id))
    shown = (
        replace(array, job_name=fact(array.job_name), queue=fact(array.queue))
        for array in every[:ARRAYS_MAX]
    )
    return OpenArrays(at=at, count=len(every), arrays=tuple(shown))


def with_waiting(waits: Waits, queue: str, jobs: Iterable[LongWait], now: datetime) -> Waits:
    """Add jobs that wait in a queue. Queues beyond `QUEUES_MAX` are left out."""
    jobs, known = tuple(jobs), waits.queues.get(queue)
    if not jobs or (known is None and len(waits.queues) >= QUEUES_MAX):
        return waits
    known = known or QueueWaits(queue=fact(queue))
    by_age, longest = list(known.by_age), {each.job_id: each for each in known.longest}
    for job in jobs:
        by_age[bisect_right(AGES, now - job.since)] += 1
        longest[job.job_id] = replace(job, job_name=fact(job.job_name))
    first = sorted(longest.values(), key=lambda job: (job.since, job.job_id))[:LONGEST_MAX]
    changed = replace(known, count=sum(by_age), by_age=tuple(by_age), longest=tuple(first))
    return replace(waits, queues={**waits.queues, queue: changed})
