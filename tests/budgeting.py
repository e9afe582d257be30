"""
Logs of jobs that use something, and what they use, counted apart from the package.

The count knows each attempt as it was drawn, and adds up spans of time: it reads no event.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from tests import logs

PREFIX = logs.PREFIX
UNITS = ("vcpu_hours", "gpu_hours", "memory_gib_hours")

type Needs = tuple[float, float, float]  # vCPUs, GPUs, GiB


@dataclass(frozen=True, kw_only=True)
class Attempt:
    job_id: str
    queue: str
    team: str
    needs: Needs
    start: datetime
    stop: datetime


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A log's events in order of time, and the attempts that it tells of."""

    events: list[dict[str, Any]]
    attempts: list[Attempt]


def millis(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _required(needs: Needs, *, old: bool = False) -> dict[str, Any]:
    vcpus, gpus, gib = needs
    mib = round(gib * 1_024)
    if old and not gpus and vcpus == int(vcpus):
        return {"vcpus": int(vcpus), "memory": mib, "resourceRequirements": []}
    required = [
        {"type": "VCPU", "value": f"{vcpus:g}"},
        {"type": "MEMORY", "value": str(mib)},
    ]
    return {
        "resourceRequirements": [*required, *([{"type": "GPU", "value": f"{gpus:g}"}] * bool(gpus))]
    }


def _pod(needs: Needs) -> dict[str, Any]:
    vcpus, gpus, gib = needs
    amounts = {"cpu": f"{vcpus:g}", "memory": f"{round(gib * 1_024)}Mi"}
    return {"requests": amounts, "limits": {**amounts, "nvidia.com/gpu": f"{gpus:g}"}}


def _added(parts: Iterable[Needs]) -> Needs:
    vcpus, gpus, gib = (sum(column) for column in zip(*parts, strict=True))
    return vcpus, gpus, gib


def shape(random: Random, kind: str) -> tuple[dict[str, Any], Needs]:
    """The part of a detail that says what a job takes, and what that is."""

    def some(*, gpus: bool = True) -> Needs:
        return (
            random.choice([1.0, 2.0, 4.0, 16.0]),
            random.choice([0.0, 0.0, 1.0, 4.0]) if gpus else 0.0,
            random.choice([0.5, 2.0, 8.0, 30.0]),
        )

    match kind:
        case "fargate":
            needs: Needs = (random.choice([0.25, 0.5, 2.0]), 0.0, random.choice([0.5, 1.0, 4.0]))
            return {"container": _required(needs), "platformCapabilities": ["FARGATE"]}, needs
        case "eks":
            first, second, init = some(), some(), (0.25, 0.0, 0.25)
            containers = [
                {"name": "a", "resources": _pod(first)},
                {"name": "b", "resources": _pod(second)},
            ]
            pod: dict[str, Any] = {
                "containers": containers,
                "initContainers": [{"resources": _pod(init)}],
            }
            detail: dict[str, Any] = {"container": None, "eksProperties": {"podProperties": pod}}
            return detail, _added([first, second])
        case "several":
            parts = [some(), some(gpus=False)]
            tasks = [
                {
                    "containers": [
                        {"name": str(n), **_required(part)} for n, part in enumerate(parts)
                    ]
                }
            ]
            return {"container": None, "ecsProperties": {"taskProperties": tasks}}, _added(parts)
        case "nodes":
            main, rest = some(), some()
            nodes = random.randrange(2, 7)
            ranges = [
                {"targetNodes": "0", "container": _required(main)},
                {"targetNodes": "1:", "container": _required(rest, old=True)},
            ]
            properties = {"numNodes": nodes, "mainNode": 0, "nodeRangeProperties": ranges}
            detail = {"container": None, "nodeProperties": properties}
            return detail, _added([main, *[rest] * (nodes - 1)])
        case _:
            needs = some()
            return {"container": _required(needs, old=random.random() < 0.3)}, needs


def draw(  # noqa: PLR0913 - each has a default
    seed: int,
    *,
    jobs: int = 60,
    begins: datetime = logs.NOON,
    within: timedelta = timedelta(hours=20),
    longest: timedelta = timedelta(hours=6),
    queues: Sequence[str] = ("gpu-a", "gpu-b", "cpu"),
    teams: Sequence[str] = ("imaging", "genome"),
) -> Drawn:
    random = Random(seed)  # noqa: S311 - it need only be the same each time
    events: list[tuple[datetime, dict[str, Any]]] = []
    attempts: list[Attempt] = []
    for number in range(jobs):
        kind = random.choice(["single", "single", "fargate", "eks", "several", "nodes", "array"])
        detail, needs = shape(random, kind)
        queue, team = random.choice(queues), random.choice(teams)
        about = {
            "jobName": f"job-{number % 7}",
            "jobQueue": f"{PREFIX}job-queue/{queue}",
            "tags": {"team": team},
            **detail,
        }
        at = begins + random.random() * within
        parent = f"{kind}-{seed}-{number}"
        ids = [parent]
        if kind == "array":
            ids = [f"{parent}:{index}" for index in range(random.randrange(2, 9))]
        ends = []
        for job_id in ids:
            own = {**about, "jobId": job_id}
            if kind == "array":
                index = int(job_id.rpartition(":")[2])
                own["arrayProperties"] = {"index": index, "statusSummary": {}}
            life = list(_life(random, own, at, longest))
            events += [(when, logs.event(when, told)) for when, told, _ in life]
            for _, _, run in life:
                if run:
                    attempts.append(
                        Attempt(
                            job_id=job_id,
                            queue=queue,
                            team=team,
                            needs=needs,
                            start=run[0],
                            stop=run[1],
                        )
                    )
            ends.append(life[-1][0])
        if kind == "array":
            told = {
                **about,
                "jobId": parent,
                "status": "SUCCEEDED",
                "arrayProperties": {"size": len(ids), "statusSummary": {"SUCCEEDED": len(ids)}},
            }
            when = max(ends) + timedelta(seconds=1)
            events.append((when, logs.event(when, told)))
    events.sort(key=lambda each: each[0])
    return Drawn(events=[event for _, event in events], attempts=attempts)


def _life(
    random: Random, own: Mapping[str, Any], at: datetime, longest: timedelta
) -> Iterator[tuple[datetime, dict[str, Any], tuple[datetime, datetime] | None]]:
    """A job's changes; with the last of an attempt comes when that ran."""
    own = {**own, "createdAt": millis(at)}
    made: list[dict[str, Any]] = []
    eks = "eksProperties" in own
    while True:
        yield at, {**own, "status": "RUNNABLE", **_made(made, eks=eks)}, None
        at += timedelta(seconds=random.randrange(5, 400))
        yield at, {**own, "status": "STARTING", **_made(made, eks=eks)}, None
        at += timedelta(seconds=random.randrange(1, 90))
        start = at + timedelta(milliseconds=random.randrange(1_000))
        running = {**own, "status": "RUNNING", "startedAt": millis(start), **_made(made, eks=eks)}
        yield at, running, None
        stop = start + timedelta(seconds=1) + random.random() ** 2 * longest
        stop = stop.replace(microsecond=stop.microsecond // 1_000 * 1_000)
        at = stop + timedelta(milliseconds=random.randrange(1_400))
        made = [*made, {"startedAt": millis(start), "stoppedAt": millis(stop), "container": {}}]
        last = len(made) > 2 or random.random() < 0.7
        if not last:
            yield at, {**own, "status": "RUNNABLE", **_made(made, eks=eks)}, (start, stop)
            continue
        ended = {
            **own,
            "status": random.choice(["SUCCEEDED", "FAILED"]),
            "startedAt": millis(start),
            "stoppedAt": millis(stop),
            **_made(made, eks=eks),
        }
        yield at, ended, (start, stop)
        return


def _made(made: Sequence[Mapping[str, Any]], *, eks: bool) -> dict[str, Any]:
    return {"attempts": [], "eksAttempts": list(made)} if eks else {"attempts": list(made)}


# ---- The count apart ----------------------------------------------------------------------


def used_by_day(
    attempts: Iterable[Attempt], zone: str, until: datetime | None = None
) -> dict[date, dict[str, float]]:
    """What was used on each day of a time zone, by unit."""
    tz = ZoneInfo(zone)
    days: dict[date, dict[str, float]] = {}
    for attempt in attempts:
        at, stop = attempt.start, min(attempt.stop, until or attempt.stop)
        while at < stop:
            day = at.astimezone(tz).date()
            after = day + timedelta(days=1)
            midnight = datetime(after.year, after.month, after.day, tzinfo=tz).astimezone(UTC)
            hours = (min(stop, midnight) - at) / timedelta(hours=1)
            used = days.setdefault(day, dict.fromkeys(UNITS, 0.0))
            for unit, amount in zip(UNITS, attempt.needs, strict=True):
                used[unit] += amount * hours
            at = midnight
    return days


def used_by(attempts: Iterable[Attempt], first: datetime, at: datetime) -> dict[str, float]:
    """What was used from a time to another, by unit."""
    total = dict.fromkeys(UNITS, 0.0)
    for attempt in attempts:
        hours = (min(attempt.stop, at) - max(attempt.start, first)) / timedelta(hours=1)
        for unit, amount in zip(UNITS, attempt.needs, strict=True):
            total[unit] += amount * max(0.0, hours)
    return total


def due_at(
    attempts: Sequence[Attempt], first: datetime, after: datetime, unit: str, amount: float
) -> datetime | None:
    """When so much of a unit was used since a time; None where it was not before `after`."""
    low, high = first, after
    if used_by(attempts, first, high)[unit] < amount:
        return None
    while high - low > timedelta(milliseconds=10):
        middle = low + (high - low) / 2
        if used_by(attempts, first, middle)[unit] < amount:
            low = middle
        else:
            high = middle
    return high
