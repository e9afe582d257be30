"""What arrays and single jobs cost in the table, and in invocations of `job_events`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from unittest.mock import patch

from batch_watchdog.use_cases.job_events import JobEventIntake, Message
from local.aws import stack as stacks
from local.replay.event_log import Content, Line
from local.replay.replay import replay
from tests import logs
from tests.benchmarks.measuring import Figure, without_collector
from tests.benchmarks.table_units import Units

_LIMIT = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "6h" }\n'
_CHILDREN = 10_000
_CHANGES = ("RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED")


_WRITES = "a batch holds what comes within 10 s, and is a write for each array or bucket in it"
_READS = (
    "each batch reads the guards, the array and its parts, consistently; a sweep reads about 20"
    " a minute, whatever comes"
)
_SINGLES = "a job's stay is written with those that come within the same 10 s: few, at this rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What jobs have cost: `units` of the table, and `invocations` of `job_events`."""

    jobs: int
    events: int
    units: Units
    invocations: int


def figures() -> Iterator[Figure]:
    yield from _of_an_array(0, write=80, read=100, invocations=42)
    yield from _of_an_array(60, write=100, read=130, invocations=43)
    yield from _of_an_array(600, write=200, read=250, invocations=65)
    yield _of_singles(700, goal=0.02)
    yield _of_singles(70, goal=0.06)


def _of_an_array(seconds: int, **goals: float) -> Iterator[Figure]:
    cost = of_an_array(seconds)
    measured = {
        "write": cost.units.written,
        "read": cost.units.read,
        "invocations": cost.invocations,
    }
    for what, value in measured.items():
        yield Figure(
            name=f"an array of {_CHILDREN:,} with a limit, events within {seconds} s",
            value=value,
            unit=what if what == "invocations" else f"{what} units",
            goal=goals[what],
            is_count=True,
            why=_WRITES if what != "read" else _READS,
        )


def _of_singles(per_minute: int, goal: float) -> Figure:
    cost = of_singles(per_minute)
    kinds = cost.units.by_kind.most_common(4)
    return Figure(
        name=f"single jobs with a limit, {per_minute} a minute",
        value=cost.units.written / cost.jobs,
        unit="write units a job",
        goal=goal,
        is_count=True,
        note=", ".join(f"{kind} {n / cost.jobs:.3f}" for kind, n in kinds),
        why=_SINGLES,
    )


@cache
def of_an_array(seconds: int) -> Cost:
    """An array of 10,000 with a limit, whose 40,000 events come within so many seconds."""
    array_id = "5f3a1c9e-7b42-4d0e-9a65-2c8e1f0b7d34"
    events = [
        (
            logs.NOON + timedelta(seconds=seconds * (order * _CHILDREN + index) / 40_000),
            {
                "jobId": f"{array_id}:{index}",
                "status": status,
                "arrayProperties": {"index": index, "statusSummary": {}},
            },
        )
        for order, status in enumerate(_CHANGES)
        for index in range(_CHILDREN)
    ]
    summary = dict.fromkeys(logs.STATES, 0) | {"SUCCEEDED": _CHILDREN}
    parent = {
        "jobId": array_id,
        "status": "SUCCEEDED",
        "arrayProperties": {"size": _CHILDREN, "statusSummary": summary},
    }
    events.append((logs.NOON + timedelta(seconds=seconds + 1), parent))
    return _replayed(events, _CHILDREN)


@cache
def of_singles(per_minute: int) -> Cost:
    """Single jobs with a limit, of which so many are submitted in a minute, for half an hour."""
    count = per_minute * 30
    events = [
        (
            logs.NOON + timedelta(minutes=number / per_minute, seconds=20 * order),
            {"jobId": f"job-{number:06}", "status": status},
        )
        for number in range(count)
        for order, status in enumerate(_CHANGES)
    ]
    return _replayed(events, count)


def _replayed(events: Sequence[tuple[datetime, Mapping[str, Any]]], jobs: int) -> Cost:
    """Have the whole stack see the events of so many jobs."""
    lines = [
        Line(kind="event", content=Content(logs.event(at, detail)), at=at, deliver_at=at)
        for at, detail in sorted(events, key=lambda each: each[0])
    ]
    units, handle, batches = Units(), JobEventIntake.handle, 0

    def counted(intake: JobEventIntake, messages: Sequence[Message]) -> list[str]:
        nonlocal batches
        batches += 1
        return handle(intake, messages)

    with without_collector(), units.counted(), patch.object(JobEventIntake, "handle", counted):
        replay(lines, stack=stacks.read(), write_row=lambda _: None, policy=_LIMIT)
    return Cost(jobs=jobs, events=len(events), units=units, invocations=batches)
