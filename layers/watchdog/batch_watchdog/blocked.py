"""
Blocked queues: told when they begin and when they end, and not with each of Batch's events.

Batch says "Batch Job Queue Blocked" of the job at the head of a queue, and never that it is
over. A fair-share queue may have several heads, each of which may be blocked: it is over when
none of them is. https://docs.aws.amazon.com/batch/latest/userguide/batch-job-queue-blocked-events.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from batch_watchdog.changes import Blocked, change_of, resource_name
from batch_watchdog.diagnosis import Finding
from batch_watchdog.effects import STOP_MARK
from batch_watchdog.notices import (
    Notice,
    fact,
    iso,
    job_link,
    plain,
    queue_link,
    span,
    subject,
)

HEADS_MAX = 20  # of one queue that are kept, the latest
_NAMED_MAX = 5  # of them in a text

type Outcome = Literal[
    "",  # it is blocked
    "started",
    "succeeded",
    "failed",
    "cancelled-by-watchdog",
    "cancelled-by-others",
    "forgotten",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A job that blocked its queue at a time, and how that ended, and by which reason."""

    job_id: str
    job_name: str
    at: datetime
    outcome: Outcome = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blockage:
    """
    A queue that is blocked since a time, at last seen by this job. `queue` is an ARN.

    `heads` are all jobs by which it was seen, this one among them.
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
        """The heads. What an earlier version wrote has none but the job that was seen last."""
        own = Head(job_id=self.job_id, job_name=self.job_name, at=self.latest)
        return self.heads or (own,)

    @property
    def blocking(self) -> tuple[Head, ...]:
        return tuple(head for head in self.seen_heads if not head.outcome)


def take_in(known: Blockage | None, event: Blocked) -> Blockage:
    """The blockage after one of Batch's events. Older and repeated events add nothing."""
    head = Head(job_id=event.job_id, job_name=fact(event.job_name), at=event.at)
    if known is None or known.over:
        if known and event.at <= known.latest:
            return known
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
    heads = {each.job_id: each for each in known.seen_heads}
    if event.job_id in heads and event.at <= heads[event.job_id].at:
        return known
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
    """The heads in the order of time; where there are too many, the latest that still block."""
    latest = sorted(heads.values(), key=lambda head: (not head.outcome, head.at), reverse=True)
    return tuple(sorted(latest[:HEADS_MAX], key=lambda head: (head.at, head.job_id)))


def look(blockage: Blockage, details: Mapping[str, Mapping[str, Any]], now: datetime) -> Blockage:
    """The blockage, given what Batch answers about the jobs that blocked the queue."""
    heads = tuple(
        head if head.outcome else _after(head, details.get(head.job_id), now)
        for head in blockage.seen_heads
    )
    return replace(blockage, heads=heads, over=all(head.outcome for head in heads))


def _after(head: Head, detail: Mapping[str, Any] | None, now: datetime) -> Head:
    if detail is None:
        return replace(head, outcome="forgotten")
    job = change_of(detail, now)
    if job.status == "RUNNABLE":
        return head
    if job.status != "FAILED":
        outcome: Outcome = "succeeded" if job.status == "SUCCEEDED" else "started"
        return replace(head, outcome=outcome, reason=fact(job.status))
    began = bool(job.attempts or detail.get("startedAt"))
    flagged = bool(detail.get("isCancelled") or detail.get("isTerminated"))
    if job.reason.startswith(STOP_MARK):
        outcome = "cancelled-by-watchdog"
    elif flagged or (not began and _CANCELLED.search(job.reason)):
        outcome = "cancelled-by-others"
    else:
        outcome = "failed"
    return replace(head, outcome=outcome, reason=fact(job.reason))


_CANCELLED = re.compile(r"cancel|terminat", re.IGNORECASE)


def began(blockage: Blockage, findings: Sequence[Finding]) -> Notice:
    """The notice that a queue is blocked, and why."""
    queue = plain(resource_name(blockage.queue), 60)
    heads = blockage.blocking
    several = len(heads) > 1
    lines = [
        f"The queue {queue} is blocked since {iso(blockage.since)}: "
        f"its first job{'s' * several}, {_enumerated([_name(head) for head in heads])},",
        f"cannot start, and those behind {'them' if several else 'it'} wait.",
        f"Batch's reason: {plain(blockage.reason, 500) or 'none given'}",
    ]
    for finding in findings[:1]:
        lines += ["", f"{finding.code}: {finding.evidence}", f"What to do: {finding.remedy}"]
        lines.append(f"See {finding.page}")
    lines += [f"Besides: {finding.code}: {finding.evidence}" for finding in findings[1:]]
    return _notice(
        blockage,
        state="blocked",
        head=f"Queue blocked: {queue}",
        lines=[*lines, "", "Another notice follows when it is over."],
        findings=findings,
    )


def ended(blockage: Blockage, now: datetime) -> Notice:
    """The notice that a queue is no longer blocked, and what became of the jobs that did it."""
    queue = plain(resource_name(blockage.queue), 60)
    lasted = span((now - blockage.since).total_seconds())
    heads = blockage.seen_heads
    lines = [
        f"The queue {queue} is no longer blocked.",
        *(_tell_outcome(head) for head in heads[-_NAMED_MAX:]),
    ]
    if len(heads) > _NAMED_MAX:
        lines.append(f"The facts have {len(heads) - _NAMED_MAX} more that blocked it.")
    lines.append(f"It was blocked for {lasted}, since {iso(blockage.since)}.")
    return _notice(
        blockage, state="ended", head=f"Queue no longer blocked: {queue}", lines=lines, findings=()
    )


def _tell_outcome(head: Head) -> str:
    job, reason = f"The job {_name(head)}, which blocked it,", plain(head.reason, 500)
    match head.outcome:
        case "cancelled-by-watchdog":
            rule = plain(head.reason.removeprefix(STOP_MARK), 500)
            return f"{job} was cancelled by this watchdog: {rule}."
        case "cancelled-by-others":
            return f"{job} was cancelled, and not by this watchdog. Batch's reason: {reason}"
        case "failed":
            return f"{job} has failed. Batch's reason: {reason or 'none given'}"
        case "forgotten":
            return f"{job} is no longer known to Batch."
        case "succeeded":
            return f"{job} has started, and has succeeded."
        case _:
            return f"{job} has started: it is {reason} now."


def _name(head: Head) -> str:
    return plain(head.job_name, 60) or plain(head.job_id)


def _enumerated(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_MAX])
    return shown if len(names) <= _NAMED_MAX else f"{shown} and {len(names) - _NAMED_MAX} more"


def _notice(
    blockage: Blockage, *, state: str, head: str, lines: Sequence[str], findings: Sequence[Finding]
) -> Notice:
    shown = [each for each in blockage.seen_heads if state == "ended" or not each.outcome]
    return Notice(
        kind="queue-blocked",
        id=f"queue-blocked:{resource_name(blockage.queue)}:{iso(blockage.since)}:{state}",
        severity="warning" if state == "blocked" else "info",
        subject=subject(head),
        text="\n".join(
            [
                *lines,
                "",
                *(
                    f"Job:   {job_link(blockage.queue, each.job_id)}"
                    for each in shown[-_NAMED_MAX:]
                ),
                f"Queue: {queue_link(blockage.queue)}",
            ]
        ),
        facts={
            "queue": fact(resource_name(blockage.queue)),
            "state": state,
            "since": iso(blockage.since),
            "job_id": fact(blockage.job_id),
            "job_name": fact(blockage.job_name),
            "reason": fact(blockage.reason),
            "heads": [
                {
                    "job_id": fact(each.job_id),
                    "job_name": fact(each.job_name),
                    "outcome": each.outcome or "blocked",
                    "reason": fact(each.reason),
                }
                for each in blockage.seen_heads
            ],
            "findings": [finding.code for finding in findings],
            "evidence": [finding.evidence for finding in findings],
        },
    )
