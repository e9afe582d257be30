"""
Compares a policy's stops with the log: how the jobs that it would have stopped went on there.

A job that ran after the stop in the log would have lost that work. If a job never ran after it,
its wait after the stop was useless, and would have been saved.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.core.job_event import ENDED, EPOCH
from batch_watchdog.core.stop_cause import stopper_in
from local.replay.event_log import Line

type Row = Mapping[str, Any]

_STOPPING = frozenset(
    {
        "CancelJob",
        "CancelJobs",
        "TerminateJob",
        "TerminateJobs",
        "TerminateServiceJob",
        "TerminateServiceJobs",
    }
)


@dataclass(frozen=True, slots=True)
class Stop:
    """A job that was stopped, or would have been, and by which rule."""

    job_id: str
    rule: str
    at: datetime


@dataclass(slots=True)
class RuleTotal:
    """The totals of a rule. `started` counts the stopped jobs that ran after that in the log."""

    rule: str
    stopped: int = 0
    started: int = 0
    saved: timedelta = timedelta()
    lost: timedelta = timedelta()


@dataclass(slots=True)
class Life:
    """When a job ran, and when it ended, in the log."""

    ran: list[tuple[datetime, datetime]] = field(default_factory=list)
    ended_at: datetime | None = None
    running_since: datetime | None = None


def stops_in(rows: Iterable[Row]) -> list[Stop]:
    """
    Return the first stop of each job in the rows, with its rule.

    A limit in observe mode shows only in notices; guards and array rules show in their calls.
    """
    first: dict[str, Stop] = {}
    for row in rows:
        if row["kind"] == "call" and row["api"] in _STOPPING:
            rule = stopper_in(row["reason"] or "") or str(row["reason"] or "no reason")
            found = [(str(job), rule) for job in row["jobs"]]
        elif row["kind"] == "notice" and row["notice"] == "limit-enforced":
            facts = row["facts"]
            found = [(str(facts["job_id"]), str(facts.get("rule", "")))]
        else:
            continue
        at = datetime.fromisoformat(row["at"])
        for job_id, rule in found:
            if job_id not in first or at < first[job_id].at:
                first[job_id] = Stop(job_id, rule, at)
    return list(first.values())


def totals(stops: Sequence[Stop], lines: Iterable[Line]) -> list[RuleTotal]:
    """Return each rule's totals, from how the log shows the jobs after their stops."""
    lives, end = _lives(lines, {stop.job_id for stop in stops})
    children: dict[str, list[str]] = {}
    for job_id in lives:
        parent, colon, _ = job_id.partition(":")
        if colon:
            children.setdefault(parent, []).append(job_id)
    by_rule: dict[str, RuleTotal] = {}
    for stop in stops:
        total = by_rule.setdefault(stop.rule, RuleTotal(stop.rule))
        total.stopped += 1
        own = [
            job_id for job_id in (stop.job_id, *children.get(stop.job_id, ())) if job_id in lives
        ]
        ran = sum((_ran_after(lives[job_id], stop.at, end) for job_id in own), timedelta())
        if ran:
            total.started += 1
            total.lost += ran
        elif own:
            ended_at = lives[own[0]].ended_at or end
            total.saved += max(timedelta(), ended_at - stop.at)
    return sorted(by_rule.values(), key=lambda total: (-total.stopped, total.rule))


def by_hour(rows: Iterable[Row]) -> dict[str, list[Counter[str]]]:
    """Count notices, stopped jobs and dead letters in each hour of each day (UTC)."""
    days: dict[str, list[Counter[str]]] = {}
    for row in rows:
        if "at" not in row:
            continue
        at = datetime.fromisoformat(row["at"])
        hours = days.setdefault(f"{at:%Y-%m-%d}", [Counter() for _ in range(24)])
        if row["kind"] == "call" and row["api"] in _STOPPING:
            hours[at.hour]["jobs stopped"] += len(row["jobs"])
        elif row["kind"] == "notice" and "folded_into" not in row:
            hours[at.hour]["messages"] += 1
        elif row["kind"] == "dead-letter":
            hours[at.hour]["dead letters"] += 1
    return dict(sorted(days.items()))


def _ran_after(life: Life, at: datetime, end: datetime) -> timedelta:
    spans = [*life.ran, *([(life.running_since, end)] if life.running_since else [])]
    return sum((max(timedelta(), last - max(first, at)) for first, last in spans), timedelta())


def _lives(lines: Iterable[Line], wanted: set[str]) -> tuple[dict[str, Life], datetime]:
    lives: dict[str, Life] = {}
    batch = sorted((line for line in lines if line.from_batch), key=lambda line: line.at)
    for line in batch:
        detail = line.value.get("detail")
        job_id = detail.get("jobId") if isinstance(detail, dict) else None
        if not isinstance(job_id, str) or not {job_id, job_id.partition(":")[0]} & wanted:
            continue
        life, status = lives.setdefault(job_id, Life()), detail.get("status")
        if life.running_since and status != "RUNNING":
            life.ran.append((life.running_since, line.at))
            life.running_since = None
        if status == "RUNNING":
            life.running_since = life.running_since or line.at
        elif status in ENDED:
            life.ended_at = line.at
    end = batch[-1].at if batch else EPOCH
    return lives, end
