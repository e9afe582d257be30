"""
Blocked queues: told when they begin and when they end, and not with each of Batch's events.

Batch says "Batch Job Queue Blocked" of the job at the head of a queue, and never that it is
over. https://docs.aws.amazon.com/batch/latest/userguide/batch-job-queue-blocked-events.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from batch_watchdog.changes import Blocked, resource_name
from batch_watchdog.diagnosis import Finding
from batch_watchdog.notices import (
    Notice,
    fact,
    iso,
    job_link,
    plain,
    queue_link,
    region_of,
    span,
    subject,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blockage:
    """A queue that is blocked since a time, at last seen by this job. `queue` is an ARN."""

    queue: str
    since: datetime
    latest: datetime
    job_id: str
    job_name: str
    reason: str
    service: bool = False
    told: bool = False
    over: bool = False
    version: int = 0


def take_in(known: Blockage | None, event: Blocked) -> Blockage:
    """The blockage after one of Batch's events. Older and repeated events add nothing."""
    if known and event.at <= known.latest:
        return known
    goes_on = known is not None and not known.over
    return Blockage(
        queue=event.queue,
        since=known.since if known and goes_on else event.at,
        latest=event.at,
        job_id=event.job_id,
        job_name=event.job_name,
        reason=event.reason,
        service=event.service,
        told=known.told if known and goes_on else False,
        version=known.version if known else 0,
    )


def began(blockage: Blockage, findings: Sequence[Finding]) -> Notice:
    """The notice that a queue is blocked, and why."""
    queue = plain(resource_name(blockage.queue), 60)
    name = plain(blockage.job_name, 60) or plain(blockage.job_id)
    lines = [
        f"The queue {queue} is blocked since {iso(blockage.since)}: its first job, {name},",
        "cannot start, and those behind it wait.",
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
    """The notice that a queue is no longer blocked."""
    queue = plain(resource_name(blockage.queue), 60)
    lasted = span((now - blockage.since).total_seconds())
    lines = [
        f"The queue {queue} is no longer blocked: the job that blocked it has gone on.",
        f"It was blocked for {lasted}, since {iso(blockage.since)}.",
    ]
    return _notice(
        blockage, state="ended", head=f"Queue no longer blocked: {queue}", lines=lines, findings=()
    )


def _notice(
    blockage: Blockage, *, state: str, head: str, lines: Sequence[str], findings: Sequence[Finding]
) -> Notice:
    region = region_of(blockage.queue)
    return Notice(
        kind="queue-blocked",
        id=f"queue-blocked:{resource_name(blockage.queue)}:{iso(blockage.since)}:{state}",
        severity="warning" if state == "blocked" else "info",
        subject=subject(head),
        text="\n".join(
            [
                *lines,
                "",
                f"Job:   {job_link(region, blockage.job_id)}",
                f"Queue: {queue_link(region, blockage.queue)}",
            ]
        ),
        facts={
            "queue": fact(resource_name(blockage.queue)),
            "state": state,
            "since": iso(blockage.since),
            "job_id": fact(blockage.job_id),
            "job_name": fact(blockage.job_name),
            "reason": fact(blockage.reason),
            "findings": [finding.code for finding in findings],
            "evidence": [finding.evidence for finding in findings],
        },
    )
