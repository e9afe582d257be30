"""
Finds in a log of events how long jobs waited in RUNNABLE, by queue and job definition.

A job can wait several times: each attempt begins another stay. If a job still waits when the log
ends, the log shows only a part of its stay.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from batch_watchdog.core.job_event import STARTED, WAITING, resource_name
from batch_watchdog.policy.model import TAG_PREFIX
from local.replay.event_log import Line

type End = Literal["started", "never started", "still waiting"]

_KINDS = ("Batch Job State Change", "Batch Service Job State Change")
_ORDER = (*WAITING, "SCHEDULED", *STARTED, "FAILED", "SUCCEEDED")
_RANK = {status: rank for rank, status in enumerate(dict.fromkeys(_ORDER))}
_RUNNABLE = _RANK["RUNNABLE"]


class Group(NamedTuple):
    """Jobs that are likely to wait alike. Both are names; the definition's is without revision."""

    queue: str
    definition: str


class Stay(NamedTuple):
    """One job's uninterrupted time in RUNNABLE."""

    job_id: str
    seconds: float
    end: End


class _Change(NamedTuple):
    """One event of a job. Sorted as tuples, events are in the order in which they took effect."""

    at_ms: int
    attempts: int
    rank: int
    ran_ms: int  # when it began to run, as far as the event shows it


@dataclass(slots=True)
class _Life:
    queue: str = ""
    definition: str = ""
    own_limit: bool = False
    changes: list[_Change] = field(default_factory=list)


@dataclass(slots=True)
class History:
    """The waits that a log shows."""

    stays: dict[Group, list[Stay]] = field(default_factory=dict)
    jobs: int = 0
    first: datetime | None = None
    last: datetime | None = None
    own_limits: set[str] = field(default_factory=set)  # jobs with a limit in their own tags

    @property
    def span(self) -> timedelta:
        return self.last - self.first if self.first and self.last else timedelta()

    def group_of(self) -> Mapping[str, Group]:
        """Return the group of each job that waited."""
        return {stay.job_id: group for group, stays in self.stays.items() for stay in stays}


def history_of(lines: Iterable[Line]) -> History:
    """Read the waits from a log. Its events may be in any order, and repeated."""
    lives: dict[str, _Life] = {}
    for line in lines:
        if line.from_batch and line.value["detail-type"] in _KINDS:
            _note(line.value.get("detail"), line.at, lives)
    times = [change.at_ms for life in lives.values() for change in life.changes]
    history = History(jobs=len(lives))
    if not times:
        return history
    end_ms = max(times)
    history.first, history.last = _time(min(times)), _time(end_ms)
    for job_id, life in lives.items():
        stays = list(_stays(job_id, life.changes, end_ms))
        if stays:
            group = Group(life.queue, life.definition)
            history.stays.setdefault(group, []).extend(stays)
        if life.own_limit:
            history.own_limits.add(job_id)
    return history


def _note(detail: Any, at: datetime, lives: dict[str, _Life]) -> None:
    if not isinstance(detail, dict):
        return
    job_id, status = detail.get("jobId"), detail.get("status")
    if not isinstance(job_id, str) or not isinstance(status, str) or "#" in job_id:
        return  # A node of a multi-node job is not a job of its own.
    if status not in _RANK:
        return
    life = lives.setdefault(job_id, _Life())
    attempts = detail.get("attempts")
    life.changes.append(
        _Change(
            at_ms=round(at.timestamp() * 1000),
            attempts=len(attempts) if isinstance(attempts, list) else 0,
            rank=_RANK[status],
            ran_ms=_ms(detail.get("startedAt")),
        )
    )
    life.queue = _name(detail.get("jobQueue")) or life.queue
    life.definition = _name(detail.get("jobDefinition")).partition(":")[0] or life.definition
    tags = detail.get("tags")
    life.own_limit |= isinstance(tags, dict) and TAG_PREFIX + "RUNNABLE" in tags


def _name(arn: Any) -> str:
    return resource_name(arn) if isinstance(arn, str) else ""


def _ms(value: Any) -> int:
    return value if type(value) is int else 0


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _stays(job_id: str, changes: Sequence[_Change], end_ms: int) -> Iterator[Stay]:
    """
    Yield a job's stays in RUNNABLE.

    If the event that ended a stay is lost, the stay lasts up to the next event: rather too long.
    """
    since: _Change | None = None
    for change in sorted(set(changes)):
        if since is not None:
            again = change.attempts > since.attempts
            if change.rank <= _RUNNABLE and not again:
                continue  # repeated, or late
            ran = again or change.rank != _RANK["FAILED"] or change.ran_ms >= since.at_ms
            seconds = (change.at_ms - since.at_ms) / 1000
            yield Stay(job_id, seconds, "started" if ran else "never started")
        since = change if change.rank == _RUNNABLE else None
    if since is not None:
        yield Stay(job_id, (end_ms - since.at_ms) / 1000, "still waiting")
