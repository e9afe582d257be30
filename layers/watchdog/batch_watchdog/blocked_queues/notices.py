"""The notices about blocked queues: it is blocked, and it is free again."""

from collections.abc import Sequence
from datetime import datetime

from batch_watchdog.blocked_queues.rules import NAMED_MAX, Blockage, Head
from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.job_event import STARTED, resource_name
from batch_watchdog.diagnosis.findings import Finding
from batch_watchdog.notices.links import job_link, queue_link
from batch_watchdog.notices.notice import Notice, subject
from batch_watchdog.notices.text import fact, iso, plain, span


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
        *(_tell_outcome(head) for head in heads[-NAMED_MAX:]),
    ]
    if len(heads) > NAMED_MAX:
        lines.append(f"The facts have {len(heads) - NAMED_MAX} more that blocked it.")
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
            what = "has started" if head.reason in STARTED else "is not RUNNABLE any more"
            return f"{job} {what}: it is {reason} now."


def _name(head: Head) -> str:
    return plain(head.job_name, 60) or plain(head.job_id)


def _enumerated(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_MAX])
    return shown if len(names) <= NAMED_MAX else f"{shown} and {len(names) - NAMED_MAX} more"


def _notice(
    blockage: Blockage, *, state: str, head: str, lines: Sequence[str], findings: Sequence[Finding]
) -> Notice:
    shown = [each for each in blockage.seen_heads if state == "ended" or not each.outcome]
    # A second notice on one blockage, about heads that the first did not name.
    again = f":{blockage.blocking[0].job_id}" if state == "blocked" and blockage.told else ""
    return Notice(
        kind="queue-blocked",
        id=f"queue-blocked:{resource_name(blockage.queue)}:{iso(blockage.since)}:{state}{again}",
        severity="warning" if state == "blocked" else "info",
        subject=subject(head),
        text="\n".join(
            [
                *lines,
                "",
                *(f"Job:   {job_link(blockage.queue, each.job_id)}" for each in shown[-NAMED_MAX:]),
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
