"""Stays: the time that a job spends in one state without a break."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from batch_watchdog.core.job_event import ENDED, STARTED, WAITING, JobEvent, from_millis
from batch_watchdog.policy.model import LIMITED, Policy, knows_tags

NO_CAUSE = "undetermined"  # a look has shown no cause
UNLIMITED_AGAIN = timedelta(hours=6)  # at a job that nothing limits, should its tags change


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """
    A job that was in a state at `since`, after so many attempts.

    `stops` counts the stops of it that were recorded, and `unasked` those of them for which Batch
    was not asked after all. `stopped_at` is when the latest one was recorded, as long as nobody
    has seen its result, or it was accepted and is meant. `left_alone` says that operators know
    that it was not made. `tags_known` is False where the event did not show the job's own tags,
    and nobody has looked yet. `missed` counts the looks since Batch last showed the job. `cause`
    is why it did not go on at the latest look ("" before the first one), and `cause_since` is when
    this cause was first seen in the place of another one.
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
        """How often Batch was asked to stop it, as far as is known."""
        return self.stops - self.unasked

    @property
    def awaits_stop(self) -> bool:
        """Whether a stop of it was recorded, and may take its time."""
        return self.stops > 0 and self.stopped_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A job that came into a state at a time, after so many attempts, as an event says."""

    job_id: str
    status: str
    attempts: int
    at: datetime


def begin(
    change: JobEvent, policy: Policy, now: datetime, unlimited_after: timedelta | None = None
) -> tuple[datetime, Stay] | None:
    """
    A stay that a change begins, and when to look at it first; None where nothing limits it.

    A job's own tag may limit its time in any state, and shorter than every rule. An event need not
    show the tags (those of service jobs never do), and then the next sweep looks at the job, also
    where the policy has no limit. So it does where the event shows no name or no queue: rules may
    ask for them.

    A job that Batch has described shows its tags. With `unlimited_after`, the change is such a job,
    and one that nothing limits is looked at after so long.
    """
    if change.kind in ("array", "node"):
        return None  # A parent waits for its children, and a node for its job.
    is_whole = knows_tags(change.tags) and change.job_name and change.queue
    tags_known = unlimited_after is not None or bool(is_whole)
    after = policy.first_due_after(change, change.status) if tags_known else timedelta()
    if not tags_known and change.status not in LIMITED:
        return None
    after = unlimited_after if after is None else after
    if after is None:
        return None
    since = min(change.at, now)  # A clock that is ahead must not put off a limit.
    return since + after, Stay(
        job_id=change.job_id,
        status=change.status,
        since=since,
        attempts=change.attempts,
        service=change.kind == "service",
        tags_known=tags_known,
    )


def sightings(changes: Iterable[JobEvent], sent_at: datetime) -> Iterator[Sighting]:
    """
    What to keep of the changes of one batch, so that no stay is taken to last on after its end.

    It is the latest change of each job: a stay of that state begins then, and one of another
    state not before. Where a job has started and waits again, its start is kept too: it tells the
    two stays apart. A job that has ended comes back to no state. The batch was complete at
    `sent_at`: a clock that is ahead must not put off a limit.

    They are kept whether or not a limit applies now. A policy, a tag or an exemption may change,
    and the stay must not seem to have lasted all that time.
    """
    latest: dict[str, JobEvent] = {}
    started: dict[str, JobEvent] = {}
    for change in sorted(changes, key=_order):
        if change.kind not in ("array", "node"):
            latest[change.job_id] = change
            if change.status in STARTED:
                started[change.job_id] = change
    back = (started[job_id] for job_id in started if latest[job_id].status in WAITING)
    for change in (*back, *latest.values()):
        if not change.ended:
            yield Sighting(
                job_id=change.job_id,
                status=change.status,
                attempts=change.attempts,
                at=min(change.at, sent_at),
            )


_STATES = (*WAITING, *STARTED, *ENDED)  # in the order in which a job passes them


def _order(change: JobEvent) -> tuple[bool, datetime, int, int]:
    rank = _STATES.index(change.status) if change.status in _STATES else 0
    return change.ended, change.at, change.attempts, rank


def _told(seen: Sighting) -> tuple[datetime, int]:
    return seen.at, _STATES.index(seen.status)


def begins(stay: Stay, seen: Sighting) -> bool:
    """Whether an event begins a stay of this state and attempt: it has filed a reminder of it."""
    return (seen.status, seen.attempts) == (stay.status, stay.attempts)


def placed(stay: Stay, seen: Iterable[Sighting]) -> Stay:
    """
    The stay, begun no earlier than events of the same job allow.

    A job may leave a state and come back to it without a new attempt, and either event may be lost
    or late. So a later event of any state ends what was before: of another state, as the job was
    not in this one then; of the same, as it came into it then. AWS does not say that it reports
    one coming into a state at two times. Should it, the limit is counted from the later one, which
    stops nobody too soon.
    """
    return replace(stay, since=max([stay.since, *(each.at for each in seen)]))


def first_known(stay: Stay, seen: Iterable[Sighting]) -> datetime:
    """
    Since when the stay, as it was `placed`, is known: it is named by that.

    It is the time of the latest event, where that one begins the stay. So all reminders of one stay
    have one name, and nothing is said or done about it twice. A job that was found by listing may
    have been in its state for longer, and its event comes late.
    """
    latest = max(seen, key=lambda each: (each.at, begins(stay, each)), default=None)
    return min(stay.since, latest.at) if latest and begins(stay, latest) else stay.since


def waits_anew(stay: Stay, seen: Iterable[Sighting]) -> bool:
    """Whether events tell that a job has come back: into a state that lies before a later one."""
    later = (each for each in seen if each.at > stay.since and each.status in _STATES)
    ranks = [_STATES.index(each.status) for each in sorted(later, key=_told)]
    return any(then < before for before, then in pairwise(ranks))


def lasts(stay: Stay, job: JobEvent) -> bool:
    """Whether the job is still in this very stay."""
    return (job.status, job.attempts) == (stay.status, stay.attempts)


def proven_since(since: datetime, job: JobEvent) -> datetime:
    """Since when the job is in its state for certain, where it was in it at `since`."""
    return max(since, job.not_before or since)


_BEGUN_AT: Mapping[str, str] = {"SCHEDULED": "scheduledAt", "RUNNING": "startedAt"}


def came_back(stay: Stay, job: JobEvent, detail: Mapping[str, Any]) -> bool:
    """
    Whether a job came back into the state of a stay at a time that nothing shows.

    The stay is moved to the latest time that is proven. Where that is not when the job came into
    this state, a run before has ended then: a service job was preempted, and waited meanwhile.
    """
    shown = detail.get(_BEGUN_AT.get(job.status, ""))
    return job.status in _BEGUN_AT and stay.since == job.not_before != from_millis(shown)


def waited(stay: Stay, job: JobEvent, now: datetime) -> timedelta:
    """How long the stay has lasted for certain."""
    return now - proven_since(stay.since, job)


def seen_with(stay: Stay, cause: str | None, now: datetime) -> Stay:
    """The stay after a look at `now` that showed why the job does not go on."""
    shown = cause or NO_CAUSE
    if stay.cause == shown:
        return stay
    return replace(stay, cause=shown, cause_since=now if stay.cause else None)
