"""Build the notices about blocked queues: that a queue is blocked, and that it no longer is."""

from collections.abc import Sequence
from datetime import datetime

from batch_watchdog.blocked_queues.rules import NAMED_MAX, Blockage, Head
from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.job_event import STARTED, resource_name
from batch_watchdog.core.stop_cause import stopper_in, stopper_words
from batch_watchdog.diagnosis.findings import Finding, finding_lines
from batch_watchdog.notices.links import job_link, queue_link
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Name, Phrase, kept, lines, say, subject
from batch_watchdog.notices.text import fact, iso, plain


def began(blockage: Blockage, findings: Sequence[Finding]) -> Notice:
    """Build the notice that a queue is blocked, and why."""
    queue = Name(plain(resource_name(blockage.queue)))
    heads = blockage.blocking
    parts = {
        "queue": queue,
        "since": blockage.since,
        "jobs": _enumerated([_name(head) for head in heads]),
    }
    body: list[str] = [
        say(
            "The queue {queue} is blocked since {since}: its first jobs, {jobs}, cannot start, and "
            "those behind them wait.",
            **parts,
        )
        if len(heads) > 1
        else say(
            "The queue {queue} is blocked since {since}: its first job, {jobs}, cannot start, and "
            "those behind it wait.",
            **parts,
        ),
        _batchs_reason(blockage.reason),
        *finding_lines(findings),
    ]
    return _notice(
        blockage,
        state="blocked",
        head=subject("Queue blocked: {queue}", queue=queue),
        body=[*body, "", say("Another notice follows when it is over.")],
        findings=findings,
    )


def ended(blockage: Blockage, now: datetime) -> Notice:
    """Build the notice that a queue is no longer blocked, with the outcome of its jobs."""
    queue = Name(plain(resource_name(blockage.queue)))
    heads = blockage.seen_heads
    body: list[str] = [
        say("The queue {queue} is no longer blocked.", queue=queue),
        *(_outcome_line(head) for head in heads[-NAMED_MAX:]),
    ]
    if len(heads) > NAMED_MAX:
        body.append(say("The facts have {n} more that blocked it.", n=len(heads) - NAMED_MAX))
    body.append(
        say(
            "It was blocked for {lasted}, since {since}.",
            lasted=now - blockage.since,
            since=blockage.since,
        )
    )
    stoppers = _stoppers(blockage)
    head = (
        subject(
            "Queue no longer blocked: {queue} ({stopper} cancelled its job)",
            stopper=stopper_words(stoppers[-1]),
            queue=queue,
        )
        if stoppers
        else subject("Queue no longer blocked: {queue}", queue=queue)
    )
    return _notice(blockage, state="ended", head=head, body=body, findings=())


def _stoppers(blockage: Blockage) -> list[str]:
    """Return the guards and rules that cancelled jobs that blocked the queue."""
    ours = (head for head in blockage.seen_heads if head.outcome == "cancelled-by-watchdog")
    return list(dict.fromkeys(stopper_in(head.reason) for head in ours))


def _batchs_reason(reason: str) -> Phrase:
    if not reason:
        return say("Batch gives no reason.")
    return say("Batch's reason: {reason}", reason=plain(reason, 500))


def _outcome_line(head: Head) -> str:  # noqa: PLR0911 - one of each kind
    job, reason = _name(head), plain(head.reason, 500)
    match head.outcome:
        case "cancelled-by-watchdog":
            return say(
                "The job {job}, which blocked it, was cancelled by this watchdog: {rule}.",
                job=job,
                rule=kept(plain(head.reason.removeprefix(STOP_MARK), 500)),
            )
        case "cancelled-by-others":
            return say(
                "The job {job}, which blocked it, was cancelled, and not by this watchdog. Batch's "
                "reason: {reason}",
                job=job,
                reason=reason,
            )
        case "failed" if reason:
            return say(
                "The job {job}, which blocked it, has failed. Batch's reason: {reason}",
                job=job,
                reason=reason,
            )
        case "failed":
            return say("The job {job}, which blocked it, has failed.", job=job)
        case "forgotten":
            return say("The job {job}, which blocked it, is no longer known to Batch.", job=job)
        case "succeeded":
            return say("The job {job}, which blocked it, has started, and has succeeded.", job=job)
        case _ if head.reason in STARTED:
            return say(
                "The job {job}, which blocked it, has started: it is {status} now.",
                job=job,
                status=reason,
            )
        case _:
            return say(
                "The job {job}, which blocked it, is not RUNNABLE any more: it is {status} now.",
                job=job,
                status=reason,
            )


def _name(head: Head) -> str:
    return plain(head.job_name, 60) or plain(head.job_id)


def _enumerated(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_MAX])
    if len(names) <= NAMED_MAX:
        return shown
    return say("{first} and {n} more", first=shown, n=len(names) - NAMED_MAX)


def _notice(
    blockage: Blockage, *, state: str, head: str, body: Sequence[str], findings: Sequence[Finding]
) -> Notice:
    shown = [each for each in blockage.seen_heads if state == "ended" or not each.outcome]
    # A second notice on one blockage, about heads that the first did not name.
    again = f":{blockage.blocking[0].job_id}" if state == "blocked" and blockage.told else ""
    return Notice(
        kind="queue-blocked",
        id=f"queue-blocked:{resource_name(blockage.queue)}:{iso(blockage.since)}:{state}{again}",
        severity="warning" if state == "blocked" else "info",
        subject=head,
        text=lines(
            [
                *body,
                "",
                *(
                    say("Job:   {link}", link=job_link(blockage.queue, each.job_id))
                    for each in shown[-NAMED_MAX:]
                ),
                say("Queue: {link}", link=queue_link(blockage.queue)),
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
            "cancelled_by": _stoppers(blockage),
            "findings": [finding.code for finding in findings],
            "evidence": [finding.evidence for finding in findings],
        },
    )
