"""The notices about jobs that stay too long."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from batch_watchdog.core.effects import StopJobs
from batch_watchdog.core.job_event import EPOCH, JobEvent, resource_name
from batch_watchdog.diagnosis.findings import Finding
from batch_watchdog.limits.stays import Stay
from batch_watchdog.notices.links import job_link, queue_link
from batch_watchdog.notices.notice import Notice, subject
from batch_watchdog.notices.text import fact, iso, plain, span
from batch_watchdog.policy.model import Limit

# ---- Notices ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueJob:
    """A job that overstays: all that a notice about it tells."""

    stay: Stay
    job: JobEvent
    limit: Limit
    limit_span: timedelta | None
    lasted: timedelta
    findings: Sequence[Finding] = ()
    first_known: datetime | None = None  # where the stay is known from before its `since`

    @property
    def enforced(self) -> bool:
        return self.limit.stops

    @property
    def about(self) -> str:
        """
        The stay by name: what is decided about it is decided once.

        Its beginning belongs to it: a job may come back to a state in the same attempt.
        """
        began = math.ceil((self.first_known or self.stay.since).timestamp())
        at = EPOCH + timedelta(seconds=began)
        return f"{self.stay.job_id}:{self.stay.attempts}:{self.stay.status}:{iso(at)}"

    @property
    def name(self) -> str:
        return plain(self.job.job_name, 60) or plain(self.job.job_id)


def warning(case: OverdueJob) -> Notice:
    """The notice that a job waits for long, and why, while it may still be helped."""
    left = case.limit_span - case.lasted if case.limit_span else None
    will = ""
    if left is not None and left > timedelta():
        does = {"cancel": "cancelled", "terminate": "terminated", "warn": "reported"}
        verb = "it will be" if case.limit.mode == "enforce" else "it would be"
        will = f"Unless that changes, {verb} {does[case.limit.action]} in {_span(left)}."
    return _notice(
        case,
        kind="limit-warning",
        id_=f"limit-warning:{case.about}",
        severity="warning",
        head=f"{case.stay.status} for {_span(case.lasted)}: {case.name}",
        news=["Nothing has been done to it.", *([will] if will else [])],
    )


def overstayed(case: OverdueJob) -> Notice:
    """The notice that a job has passed its limit, and what is, or would be, done."""
    limit = f"its limit of {_span(case.limit_span)}" if case.limit_span else "its limit"
    if case.limit.action == "warn":
        return _notice(
            case,
            kind="limit-warning",
            id_=f"limit-warning:{case.about}:after",
            severity="warning",
            head=f"{case.stay.status} for {_span(case.lasted)}, over its limit: {case.name}",
            news=[f"It has passed {limit}. No job is stopped by this rule as it applies here."],
        )
    done = "cancelled" if case.limit.action == "cancel" else "terminated"
    if case.enforced:
        news = [
            f"It has passed {limit}, and is being {done}.",
            "The watchdog looks again whether it has ended.",
        ]
    else:
        news = [
            f"It has passed {limit}, and would be {done}.",
            'Nothing was done: this is observe mode. mode = "enforce" in the policy would do it.',
        ]
    verb = f"is being {done}" if case.enforced else f"would be {done}"
    return _notice(
        case,
        kind="limit-enforced",
        id_=f"limit-enforced:{case.about}" + _again(case),
        severity="warning",
        head=f"Job {verb}, {case.stay.status} for {_span(case.lasted)}: {case.name}",
        news=news,
    )


def escaped(case: OverdueJob, *, escalated: bool) -> Notice:
    """The notice that a job has started in spite of its stop, which Batch had accepted."""
    then = (
        "It is being terminated now, as the policy says (escalate)."
        if escalated
        else "It is left to run. To stop it all the same, terminate it."
    )
    return _notice(
        case,
        kind="limit-escaped",
        id_=f"limit-escaped:{case.about}" + (_again(case) if escalated else ""),
        severity="warning",
        head=f"Job started in spite of its stop: {case.name}",
        news=[f"It was to be stopped, and is {plain(case.job.status)} now.", then],
    )


def unended(case: OverdueJob, stopped_at: datetime, now: datetime, *, terminated: bool) -> Notice:
    """The notice that a job is still there long after Batch accepted its stop."""
    started = case.job.status not in ("SUBMITTED", "PENDING", "RUNNABLE")
    state, passed = plain(case.job.status), _span(now - stopped_at)
    why = (
        [
            "Its container may not answer, or the agent on its instance: see both, and end the",
            "container or the instance by hand.",
        ]
        if started
        else [
            "AWS Batch may keep a cancelled job until it is the first of its queue, or until the",
            "jobs that it depends on have ended. See what is at the head of the queue.",
        ]
    )
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:{case.about}:not-ended",
        severity="critical" if started else "warning",
        subject=subject(f"Still {state} {passed} after its stop: {case.name}"),
        text="\n".join(
            [
                f"AWS Batch has accepted the stop of the job {case.name} that the watchdog asked",
                f"for at {iso(stopped_at)}. The job has not ended: it is {state}.",
                f"Rule: {plain(case.limit.rule)}",
                "",
                "What to do:",
                *why,
                "The watchdog looks at the job every hour until it has ended.",
                "",
                f"Job:   {job_link(case.job.queue, case.job.job_id)}",
                f"Queue: {queue_link(case.job.queue)}",
            ]
        ),
        facts=_facts(case)
        | {
            "asked_at": iso(stopped_at),
            "asked": "terminate" if terminated else "cancel",
            "status_now": fact(case.job.status),
        },
    )


def unstoppable(case: OverdueJob) -> Notice:
    """The notice that a job is still there after all tries to stop it."""
    name = f"{case.about}:unstoppable"
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:{name}",
        severity="critical",
        subject=subject(f"Job cannot be stopped: {case.name}"),
        text="\n".join(
            [
                f"Batch was asked {case.stay.asked} times to stop the job {case.name}, and it is",
                f"still {plain(case.job.status)}. The watchdog does not try again.",
                f"Rule: {plain(case.limit.rule)}",
                "",
                "What to do: see the results of the stops in the table, and stop the job by hand.",
                f"Job:   {job_link(case.job.queue, case.job.job_id)}",
            ]
        ),
        facts=_facts(case),
    )


def _span(of: timedelta) -> str:
    return span(of.total_seconds())


def _again(case: OverdueJob) -> str:
    """What sets the id apart: a stop that came to nothing is told again when it is made."""
    if not case.enforced:
        return ":observed"
    return f":{case.stay.stops + 1}" if case.stay.left_alone else ""


def left_alone(case: OverdueJob, stop: StopJobs, why: str) -> Notice:
    """The notice that the latest stop, of which operators were told, was not made."""
    how = "terminated" if stop.how == "terminate" else "cancelled"
    return _notice(
        case,
        kind="limit-warning",
        id_=f"limit-warning:{case.about}:left-alone:{case.stay.stops}",
        severity="info",
        head=f"Job was not {how} after all: {case.name}",
        news=[
            f"It was told that the job is being {how}. That was not done:",
            f"{why}.",
            f"The job is {plain(case.job.status)} now. Should it be {how} later, that is told too.",
        ],
    )


def _notice(  # noqa: PLR0913
    case: OverdueJob,
    *,
    kind: Literal["limit-warning", "limit-enforced", "limit-escaped"],
    id_: str,
    severity: Literal["info", "warning"],
    head: str,
    news: Sequence[str],
) -> Notice:
    job = case.job
    lines = [
        f"The job {case.name} in queue {plain(resource_name(job.queue))} has been "
        f"{case.stay.status} for {_span(case.lasted)}.",
        *news,
        f"Rule: {plain(case.limit.rule)}",
    ]
    for finding in case.findings[:1]:
        lines += ["", "Why it is stuck, as far as can be seen:"]
        lines += [f"{finding.code}: {finding.evidence}", f"What to do: {finding.remedy}"]
        lines.append(f"See {finding.page}")
    lines += [f"Besides: {finding.code}: {finding.evidence}" for finding in case.findings[1:]]
    return Notice(
        kind=kind,
        id=id_,
        severity=severity,
        subject=subject(head),
        text="\n".join(
            [
                *lines,
                "",
                f"Job:   {job_link(job.queue, job.job_id)}",
                f"Queue: {queue_link(job.queue)}",
            ]
        ),
        facts=_facts(case),
    )


def _facts(case: OverdueJob) -> dict[str, Any]:
    return {
        "job_id": case.job.job_id,
        "job_name": fact(case.job.job_name),
        "queue": fact(resource_name(case.job.queue)),
        "definition": fact(resource_name(case.job.definition)),
        "status": case.stay.status,
        "since": iso(case.stay.since),
        "attempts": case.stay.attempts,
        "waited_seconds": int(case.lasted.total_seconds()),
        "limit_seconds": int(case.limit_span.total_seconds()) if case.limit_span else None,
        "action": case.limit.action,
        "mode": case.limit.mode,
        "rule": fact(case.limit.rule),
        "findings": [finding.code for finding in case.findings],
        "evidence": [finding.evidence for finding in case.findings],
    }
