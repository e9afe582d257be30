"""
Find the jobs of a stop run that have not ended long after their stop was accepted. Pure.

Operators are notified of each of them once. A stage may last for days, and jobs may arrive and be
stopped at any time of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from batch_watchdog.core.job_event import EPOCH
from batch_watchdog.guards.stop_run.counts import NAMED_MAX
from batch_watchdog.guards.stop_run.run import Chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class StillThere:
    """
    Jobs whose stop AWS Batch accepted long ago: the first ids, how many they are, and when the
    first was asked to stop. No stop before `chunks` (a chunk's number) needs to be read again.
    """

    jobs: tuple[str, ...]
    count: int
    asked_at: datetime
    chunks: int


def still_there(
    chunks: Callable[[], Iterable[Chunk]],
    since: datetime,
    asked_before: datetime,
    asked_after: datetime = EPOCH,
) -> StillThere | None:
    """
    Return the jobs that a look, begun at `since`, found although they were asked to stop before.

    `chunks` reads the chunks of the run, anew each time. They may begin with the first one after
    `asked_after`: operators have been notified of jobs that were asked to stop until then. An array
    counts by its children.
    """
    alive: dict[str, int] = {}
    for chunk in chunks():
        if chunk.at >= since:
            alive |= chunk.alive
    asked: dict[str, datetime] = {}
    read = 0
    for chunk in chunks():
        if chunk.at > asked_before:
            break  # They are in order of time.
        if not chunk.arrived:
            read = chunk.number + 1
        if chunk.at <= asked_after:
            continue
        for job_id in islice(chunk.stop, chunk.asked):
            if job_id in alive and job_id not in chunk.refused:
                asked.setdefault(job_id, chunk.at)
    if not asked:
        return None
    return StillThere(
        jobs=tuple(islice(asked, NAMED_MAX)),
        count=sum(alive[job_id] for job_id in asked),
        asked_at=min(asked.values()),
        chunks=read,
    )
