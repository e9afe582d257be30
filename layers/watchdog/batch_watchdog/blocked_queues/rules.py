"""
Track blocked queues, to announce a blockage when it begins and ends, not with each event of Batch.

Batch sends "Batch Job Queue Blocked" for the job at the head of a queue, and no event when the
blockage ends. A fair-share queue may have several heads, and each may be blocked: the blockage ends
when none of them is blocked.
https://docs.aws.amazon.com/batch/latest/userguide/batch-job-queue-blocked-events.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.job_event import QueueBlocked
from batch_watchdog.core.payload_parts import is_stop_accepted
from batch_watchdog.notices.text import fact

HEADS_MAX = 20  # heads of one queue that are stored
NAMED_MAX = 5  # heads that a text names
MISSED_MAX = 5  # checks in a row in which Batch may not return a job; after one more it is gone

type Outcome = Literal[
    "",  # it still blocks the queue
    "started",
    "succeeded",
    "failed",
    "cancelled-by-watchdog",
    "cancelled-by-others",
    "forgotten",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """
    A job that blocked its queue at a time, with the outcome and its reason.

    `named` is whether a notice has named it; an earlier version did not store that. `missed` counts
    the latest checks, in a row, in which Batch did not return it.
    """

    job_id: str
    job_name: str
    at: datetime
    outcome: Outcome = ""
    reason: str = ""
    named: bool = True
    missed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blockage:
    """
    A queue that is blocked since a time, with the job of the latest event. `queue` is an ARN.

    `heads` are the jobs that Batch has reported as blocked, this one included.
    """

    queue: str
    since: datetime
    latest: datetime
    job_id: str
    job_name: str
    reason: str
    service: bool = False
    told: bool = False
    over: bool = False
    heads: tuple[Head, ...] = ()
    version: int = 0

    @property
    def seen_heads(self) -> tuple[Head, ...]:
        """The heads. An item of an earlier version has only the job that was reported last."""
        own = Head(job_id=self.job_id, job_name=self.job_name, at=self.latest)
        return self.heads or (own,)

    @property
    def blocking(self) -> tuple[Head, ...]:
        return tuple(head for head in self.seen_heads if not head.outcome)

    @property
    def needs_notice(self) -> bool:
        """Whether it must be announced: Batch returned all blocking heads, and none was named."""
        blocking = self.blocking
        if not blocking or self.is_unsure:
            return False
        return not (self.told and any(head.named for head in blocking))

    @property
    def is_unsure(self) -> bool:
        """Whether Batch did not return all heads that may block the queue in the latest check."""
        return any(head.missed for head in self.blocking)

    def announced(self) -> "Blockage":
        """Return the blockage after a notice has named all heads that block now."""
        heads = (head if head.outcome else replace(head, named=True) for head in self.seen_heads)
        return replace(self, told=True, heads=tuple(heads))


def take_in(known: Blockage | None, event: QueueBlocked) -> Blockage:
    """Return the blockage after one of Batch's events. Older and repeated events add nothing."""
    head = Head(job_id=event.job_id, job_name=fact(event.job_name), at=event.at, named=False)
    heads = {each.job_id: each for each in known.seen_heads} if known else {}
    # Only an older event of the same job is ignored: another job's may have arrived late.
    if known and event.job_id in heads and event.at <= heads[event.job_id].at:
        return known
    if known is None or known.over:
        return Blockage(
            queue=event.queue,
            since=event.at,
            latest=event.at,
            job_id=event.job_id,
            job_name=event.job_name,
            reason=event.reason,
            service=event.service,
            heads=(head,),
            version=known.version if known else 0,
        )
    before = heads.get(event.job_id)
    head = replace(head, named=before is not None and not before.outcome and before.named)
    after = replace(known, heads=_kept(heads | {event.job_id: head}))
    if event.at < known.latest:
        return after
    return replace(
        after,
        latest=event.at,
        job_id=event.job_id,
        job_name=event.job_name,
        reason=event.reason,
        service=event.service,
    )


def _kept(heads: Mapping[str, Head]) -> tuple[Head, ...]:
    """Return the heads in order of time. Of too many, keep those that block, then the latest."""
    latest = sorted(heads.values(), key=lambda head: (not head.outcome, head.at), reverse=True)
    return tuple(sorted(latest[:HEADS_MAX], key=lambda head: (head.at, head.job_id)))


def look(blockage: Blockage, details: Mapping[str, Mapping[str, Any]], now: datetime) -> Blockage:
    """Update the blockage by the details that Batch returned of the jobs that blocked the queue."""
    heads = tuple(
        head if head.outcome else _after(head, details.get(head.job_id), now)
        for head in blockage.seen_heads
    )
    return replace(blockage, heads=heads, over=all(head.outcome for head in heads))


def _after(head: Head, detail: Mapping[str, Any] | None, now: datetime) -> Head:
    if detail is None:  # A response may lack a job that exists.
        if head.missed < MISSED_MAX:
            return replace(head, missed=head.missed + 1)
        return replace(head, outcome="forgotten")
    head = replace(head, missed=0)
    job = event_from_detail(detail, now)
    if job.status == "RUNNABLE":
        return head
    if job.status != "FAILED":
        outcome: Outcome = "succeeded" if job.status == "SUCCEEDED" else "started"
        return replace(head, outcome=outcome, reason=fact(job.status))
    began = bool(job.attempts or detail.get("startedAt"))
    flagged = is_stop_accepted(detail)
    if job.reason.startswith(STOP_MARK):
        outcome = "cancelled-by-watchdog"
    elif flagged or (not began and _CANCELLED.search(job.reason)):
        outcome = "cancelled-by-others"
    else:
        outcome = "failed"
    return replace(head, outcome=outcome, reason=fact(job.reason))


_CANCELLED = re.compile(r"cancel|terminat", re.IGNORECASE)
