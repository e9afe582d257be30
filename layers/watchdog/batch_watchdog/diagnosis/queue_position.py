"""
Find a job's place in its queue, and since when it has been there.

GetJobQueueSnapshot lists the first 100 RUNNABLE jobs of a queue in the order in which they start,
and the first of each quota share. A queue with shares has several heads: the first of each share.
https://docs.aws.amazon.com/batch/latest/APIReference/API_GetJobQueueSnapshot.html
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.diagnosis.environments import BatchSnapshot
from batch_watchdog.diagnosis.fit import amount
from batch_watchdog.diagnosis.lenient import items, mapping, moment, number, text
from batch_watchdog.diagnosis.needs import unit_of
from batch_watchdog.notices.phrases import row, say
from batch_watchdog.notices.text import plain

LISTED_MAX = 100  # the most jobs of a queue that a snapshot lists
_HEAD_MAX = timedelta(minutes=10)  # after that time, the head of a queue is stuck for some cause
_NAME_MAX = 80
_SHARES_SHOWN = 3
_TOP = "topCapacityUtilization"  # key of the shares that hold the most


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A job's place in its queue, or in its quota share."""

    number: int  # 1 is the head
    of: int  # how many are listed
    since: datetime | None
    quota_share: str  # harmless; "" is the whole queue
    share: str  # harmless; the share identifier of the job, "" where it has none
    in_share: int | None  # its number among the jobs of its share; None: not known

    @property
    def is_head(self) -> bool:
        return self.number == 1 or self.in_share == 1

    def is_stuck(self, now: datetime) -> bool:
        """
        Whether the job has been at the head for so long that it no longer waits for its turn.

        Where Batch does not say since when, it counts as long: nothing shows that the job has just
        got there. The first job of a share with others before it in the queue still waits for
        these.
        """
        return self.number == 1 and _long_ago(self.since, now)


def place_of(world: BatchSnapshot) -> Place | None:
    """Return the job's place, if the snapshot lists the job."""
    job = mapping(world.job)
    share = text(job.get("shareIdentifier"))
    for quota_share, front in _fronts(world):
        for index, each in enumerate(map(mapping, front)):
            if _is(each, job):
                return Place(
                    number=index + 1,
                    of=len(front),
                    since=moment(each.get("earliestTimeAtPosition")),
                    quota_share=plain(quota_share, _NAME_MAX),
                    share=plain(share, _NAME_MAX),
                    in_share=_in_share(world, front[:index], share),
                )
    return None


def shown(place: Place, now: datetime) -> str:
    """The place for people: "the job is number 1 in the queue, of 1 listed, there since …"."""
    line = (
        say("quota share {quota_share}", quota_share=place.quota_share)
        if place.quota_share
        else say("queue")
    )
    since = say(", there since {since}", since=_since(place.since, now)) if place.since else ""
    share = (
        say(", number {in_share} of its share {share}", in_share=place.in_share, share=place.share)
        if place.in_share
        else ""
    )
    return say(
        "the job is number {number} in the {line}, of {of} listed{since}{share}",
        number=place.number,
        line=line,
        of=place.of,
        since=since,
        share=share,
    )


def stuck_head(world: BatchSnapshot, now: datetime) -> str:
    """Name the job at the head, for people, if it has been there for long; else ""."""
    share = own_quota_share(world)
    front = share or front_of(world)
    head = mapping(front[0]) if front else {}
    since = moment(head.get("earliestTimeAtPosition"))
    job_id = plain(text(head.get("jobArn")).rpartition("/")[2], _NAME_MAX)
    if not job_id or since is None or not _long_ago(since, now):
        return ""
    line = say("quota share") if share else say("queue")
    return say(
        "the first job of the {line}, {job_id}, has not started since {since}",
        line=line,
        job_id=job_id,
        since=_since(since, now),
    )


def own_quota_share(world: BatchSnapshot) -> Sequence[Any]:
    """The jobs at the front of the job's quota share; empty where it has none."""
    name = text(mapping(world.job).get("quotaShareName"))
    return next((front for share, front in _fronts(world) if share and share == name), ())


def held_by_quota_share(world: BatchSnapshot, name: str) -> str:
    """What the jobs of a quota share hold, for people; "" where it is nothing, or not known."""
    shares = items(mapping(_utilization(world).get("quotaShareUtilization")).get(_TOP))
    for share in map(mapping, shares):
        if name and plain(text(share.get("quotaShareName")), _NAME_MAX) == name:
            usage = _usage(share.get("capacityUsage"))
            return row((amount(quantity, unit) for unit, quantity in usage if quantity), " and ")
    return ""


def front_of(world: BatchSnapshot) -> Sequence[Any]:
    """The jobs at the front of the whole queue."""
    return items(mapping(mapping(world.snapshot).get("frontOfQueue")).get("jobs"))


def used(world: BatchSnapshot) -> Mapping[str, float]:
    """What the queue's jobs hold, by capacity unit. A unit that is missing is not known."""
    return dict(_usage(_utilization(world).get("totalCapacityUsage")))


def shares_use(world: BatchSnapshot) -> str:
    """List the shares that hold the most, for people; "" where these are not known."""
    utilization = _utilization(world)
    parts = []
    for of, name in (
        ("fairshareUtilization", "shareIdentifier"),
        ("quotaShareUtilization", "quotaShareName"),
    ):
        shares = items(mapping(utilization.get(of)).get(_TOP))
        for share in map(mapping, shares[:_SHARES_SHOWN]):
            held = [amount(quantity, unit) for unit, quantity in _usage(share.get("capacityUsage"))]
            if held:
                parts.append(
                    say(
                        "{share} {names}",
                        share=plain(text(share.get(name)), _NAME_MAX),
                        names=row(held, " and "),
                    )
                )
    return say("shares hold: {names}", names=row(parts, ", ")) if parts else ""


def _utilization(world: BatchSnapshot) -> Mapping[Any, Any]:
    return mapping(mapping(world.snapshot).get("queueUtilization"))


def _usage(usage: Any) -> Iterable[tuple[str, float]]:
    for each in map(mapping, items(usage)):
        quantity = number(each.get("quantity"))
        if quantity is not None:
            yield unit_of(text(each.get("capacityUnit"))), quantity


def _fronts(world: BatchSnapshot) -> Iterable[tuple[str, Sequence[Any]]]:
    """
    Yield the jobs that are listed of each quota share, then of the whole queue ("").

    Quota shares come first: a job may be far behind in the queue, and yet be next in its share.
    """
    shares = mapping(mapping(mapping(world.snapshot).get("frontOfQuotaShares")).get("quotaShares"))
    for name, front in shares.items():
        yield text(name), items(front)
    yield "", front_of(world)


def _is(listed: Mapping[Any, Any], job: Mapping[Any, Any]) -> bool:
    arn = text(listed.get("jobArn"))
    named = arn == text(job.get("jobArn")) or arn.rpartition("/")[2] == text(job.get("jobId"))
    return bool(arn) and named


def _in_share(world: BatchSnapshot, before: Sequence[Any], share: str) -> int | None:
    if not share:
        return None
    known = mapping(world.shares)
    ids = [text(mapping(each).get("jobArn")).rpartition("/")[2] for each in before]
    if any(job_id not in known for job_id in ids):
        return None
    return 1 + sum(text(known[job_id]) == share for job_id in ids)


def _long_ago(since: datetime | None, now: datetime) -> bool:
    return since is None or now - since > _HEAD_MAX


def _since(since: datetime, now: datetime) -> str:
    return say("{since} ({lasted})", since=since, lasted=now - since)
