"""Stays: the time that a job spends in one state without a break."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from batch_watchdog.core.job_event import ENDED, STARTED, WAITING, JobEvent, from_millis
from batch_watchdog.policy.model import LIMITED, Policy, knows_tags

NO_CAUSE = "undetermined"  # a check has shown no cause
UNLIMITED_AGAIN = timedelta(hours=6)  # for a job that nothing limits: its tags may change


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """
    A job that was in a state at `since`, after `attempts` attempts.

    `stops` counts the stops of the job that were recorded, and `unasked` those of them that were
    not requested from Batch after all. `stopped_at` is when the latest stop was recorded, while its
    result is unknown, or it was accepted and still applies. `left_alone` says that operators are
    notified that the stop was not made. `tags_known` is False where the event did not show the
    job's own tags, and the job has not been checked yet. `missed` counts the checks since Batch
    last showed the whole job. `cause` is why the job did not go on at the latest check ("" before
    the first one), and `cause_since` is when this cause was first seen in place of another one.
    """

    job_id: str
    status: str
    since: datetime
    attempts: int
    service: bool = False
    stops: int = 0
    stopped_at: datetime | None = None
    tags_known: bool = True
    missed: int = 0
    cause: str = ""
    cause_since: datetime | None = None
    unasked: int = 0
    left_alone: bool = False

    @property
    def asked(self) -> int:
        """How often Batch was asked to stop the job, as far as is known."""
        return self.stops - self.unasked

    @property
    def awaits_stop(self) -> bool:
        """Whether a stop was recorded whose result, or the job's end, is still awaited."""
        return self.stops > 0 and self.stopped_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A job that entered a state at a time, after `attempts` attempts, as an event reports."""

    job_id: str
    status: str
    attempts: int
    at: datetime


def begin(
    event: JobEvent, policy: Policy, now: datetime, unlimited_after: timedelta | None = None
) -> tuple[datetime, Stay] | None:
    """
    Return when to check first the stay that a change begins, and the stay; None for no check.

    A job's own tag may limit its time in any state, and more strictly than every rule. An event may
    lack the tags (those of service jobs always do). Then the next sweep checks the job, even if the
    policy has no limit. It also does so if the event shows no name or no queue: rules may match
    them.

    With `unlimited_after`, the change is a job that Batch has described, with its tags. If nothing
    limits the job, it is checked after this time.
    """
    if event.kind in ("array", "node"):
        return None  # A parent waits for its children, and a node for its job.
    is_whole = knows_tags(event.tags) and event.job_name and event.queue
    tags_known = unlimited_after is not None or bool(is_whole)
    after = policy.first_due_after(event, event.status) if tags_known else timedelta()
    if not tags_known and event.status not in LIMITED:
        return None
    after = unlimited_after if after is None else after
    if after is None:
        return None
    since = min(event.at, now)  # A clock that is ahead must not delay a limit.
    return since + after, Stay(
        job_id=event.job_id,
        status=event.status,
        since=since,
        attempts=event.attempts,
        service=event.kind == "service",
        tags_known=tags_known,
    )


def sightings(events: Iterable[JobEvent], sent_at: datetime) -> Iterator[Sighting]:
    """
    Yield what to store of the changes of one batch, so that no stay seems to last after its end.

    It is the latest change of each job: a stay in that state begins then, and a stay in another
    state not earlier. If a job has started and waits again, its start is stored too, to separate
    the two waits. A job that has ended comes back to no state. The batch was complete at `sent_at`,
    so no time is later: a clock that is ahead must not delay a limit.

    Changes are stored whether or not a limit applies now. A policy, a tag or an exemption may
    change, and the stay must not seem to have lasted all that time.
    """
    latest: dict[str, JobEvent] = {}
    started: dict[str, JobEvent] = {}
    for event in sorted(events, key=_order):
        if event.kind not in ("array", "node"):
            latest[event.job_id] = event
            if event.status in STARTED:
                started[event.job_id] = event
    back = (started[job_id] for job_id in started if latest[job_id].status in WAITING)
    for event in (*back, *latest.values()):
        if not event.ended:
            yield Sighting(
                job_id=event.job_id,
                status=event.status,
                attempts=event.attempts,
                at=min(event.at, sent_at),
            )


_STATES = (*WAITING, *STARTED, *ENDED)  # in the order in which a job passes them


def _order(event: JobEvent) -> tuple[bool, datetime, int, int]:
    rank = _STATES.index(event.status) if event.status in _STATES else 0
    return event.ended, event.at, event.attempts, rank


def _told(seen: Sighting) -> tuple[datetime, int]:
    return seen.at, _STATES.index(seen.status)


def begins(stay: Stay, seen: Sighting) -> bool:
    """Check whether an event begins a stay of this state and attempt: it has filed a reminder."""
    return (seen.status, seen.attempts) == (stay.status, stay.attempts)


def placed(stay: Stay, seen: Iterable[Sighting]) -> Stay:
    """
    Return the stay, with a beginning no earlier than the events of the same job allow.

    A job may leave a state and come back to it without a new attempt, and either event may be lost
    or late. So a later event of any state ends the time before it: with another state, as the job
    was not in this one then; with the same state, as the job entered it then. AWS does not say that
    it reports one entry into a state with two times. If it does, the limit counts from the later
    time, which stops no job too early.
    """
    return replace(stay, since=max([stay.since, *(each.at for each in seen)]))


def first_known(stay: Stay, seen: Iterable[Sighting]) -> datetime:
    """
    Return since when the stay, as `placed` returned it, is known: its name contains this time.

    It is the time of the latest event, if that event begins the stay. So all reminders of one stay
    have one name, and nothing is announced or done about it twice. A job that was found by listing
    may have been in its state for longer, and its event may arrive late.
    """
    latest = max(seen, key=lambda each: (each.at, begins(stay, each)), default=None)
    return min(stay.since, latest.at) if latest and begins(stay, latest) else stay.since


def waits_anew(stay: Stay, seen: Iterable[Sighting]) -> bool:
    """Check whether later events show that a job has gone back from a state to an earlier one."""
    later = (each for each in seen if each.at > stay.since and each.status in _STATES)
    ranks = [_STATES.index(each.status) for each in sorted(later, key=_told)]
    return any(then < before for before, then in pairwise(ranks))


def lasts(stay: Stay, job: JobEvent) -> bool:
    """Check whether the job is still in this state and attempt."""
    return (job.status, job.attempts) == (stay.status, stay.attempts)


def proven_since(since: datetime, job: JobEvent) -> datetime:
    """Return since when the job is certainly in its state, if it was in it at `since`."""
    return max(since, job.not_before or since)


_BEGUN_AT: Mapping[str, str] = {"SCHEDULED": "scheduledAt", "RUNNING": "startedAt"}


def came_back(stay: Stay, job: JobEvent, detail: Mapping[str, Any]) -> bool:
    """
    Check whether a job came back to the state of a stay at a time that Batch does not show.

    The stay begins at the latest proven time. If the job did not enter this state then, an earlier
    run ended then: a service job was preempted, and waited in between.
    """
    shown = detail.get(_BEGUN_AT.get(job.status, ""))
    return job.status in _BEGUN_AT and stay.since == job.not_before != from_millis(shown)


def seen_with(stay: Stay, cause: str | None, now: datetime) -> Stay:
    """Return the stay with the cause that a check at `now` has shown for the job's wait."""
    shown = cause or NO_CAUSE
    if stay.cause == shown:
        return stay
    return replace(stay, cause=shown, cause_since=now if stay.cause else None)
