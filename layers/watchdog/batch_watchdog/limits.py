"""
Limits: how long a job's stay in a state may last, and what is said and done when it lasts longer.

A stay is one job's time in one state, in one attempt. Whoever asks about it holds a time at
which the job is known to have been in that state in that attempt, and what Batch says of the
job now; if it is the same state and attempt, it has been there ever since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from batch_watchdog.changes import STARTED, Change, resource_name
from batch_watchdog.diagnosis import CAUSE_OF, Finding
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
from batch_watchdog.policy import Limit, Policy

LOOK_AGAIN = timedelta(minutes=15)  # at a job whose cause may yet become one with a shorter limit
OBSERVED_AGAIN = timedelta(hours=1)  # at a job of which everything is said, should a policy change
VERIFY_AFTER = timedelta(minutes=2)  # from asking for a stop to looking whether it took
ACCEPTED_AGAIN = timedelta(minutes=5)  # at a job whose stop was accepted, and that is still there
STOPS_MAX = 5  # tries to stop one job


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """
    A job that was in a state at `since`, after so many attempts.

    `stops` counts how often it was asked to stop; from the first on, this is about what came of
    it.
    """

    job_id: str
    status: str
    since: datetime
    attempts: int
    service: bool = False
    stops: int = 0


type Step = Literal["warn", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a stay calls for now, by which limit, and when to look again."""

    step: Step | None
    limit_span: timedelta | None
    again_in: timedelta


def begin(change: Change, policy: Policy, now: datetime) -> tuple[datetime, Stay] | None:
    """A stay that a change begins, and when to look at it first; None where nothing limits it."""
    if change.kind in ("array", "node"):
        return None  # A parent waits for its children, and a node for its job.
    after = policy.first_due_after(change, change.status)
    if after is None:
        return None
    since = min(change.at, now)  # A clock that is ahead must not put off a limit.
    return since + after, Stay(
        job_id=change.job_id,
        status=change.status,
        since=since,
        attempts=change.attempts,
        service=change.kind == "service",
    )


def lasts(stay: Stay, job: Change) -> bool:
    """Whether the job is still in this very stay."""
    return (job.status, job.attempts) == (stay.status, stay.attempts)


def waited(stay: Stay, job: Change, now: datetime) -> timedelta:
    """How long the stay has lasted for certain."""
    since = max(stay.since, job.attempt_stopped_at or stay.since)
    return now - since


def judge(limit: Limit, lasted: timedelta, findings: Sequence[Finding]) -> Verdict:
    """Say what a stay that has `lasted` so long calls for, given why the job is stuck."""
    cause = CAUSE_OF[findings[0].code] if findings else None
    after = limit.after_for(cause)
    if after is not None and lasted >= after:
        return Verdict(step="stop", limit_span=after, again_in=OBSERVED_AGAIN)
    warned = limit.warn_after is not None and lasted >= limit.warn_after
    spans = (limit.warn_after, limit.after, *limit.after_by_cause.values())
    ahead = [span - lasted for span in spans if span is not None and span > lasted]
    if any(span <= lasted for span in limit.after_by_cause.values()):
        ahead.append(LOOK_AGAIN)
    return Verdict(
        step="warn" if warned else None,
        limit_span=after if after is not None else limit.after,
        again_in=min(ahead, default=OBSERVED_AGAIN),
    )


def stop_reason(stay: Stay, limit: Limit, limit_span: timedelta) -> str:
    """Why a job is stopped, for Batch to keep; the same for all jobs of one rule."""
    return (
        f"{STOP_MARK}{stay.status} for more than {span(limit_span.total_seconds())}, {limit.rule}"
    )


# ---- What became of a stop ----------------------------------------------------------------

type Fate = Literal["gone", "accepted", "escaped", "refused"]


def fate(stay: Stay, job: Change, *, accepted: bool, terminated: bool) -> Fate:
    """
    What became of the latest stop of a job.

    `accepted` and `terminated` are Batch's isCancelled or isTerminated, and isTerminated. A
    cancelled job may stay RUNNABLE until it reaches the head of its queue; one that has slipped
    into STARTING has escaped, as cancelling does nothing to it.
    https://docs.aws.amazon.com/batch/latest/APIReference/API_CancelJob.html
    """
    if lasts(stay, job):
        return "accepted" if accepted else "refused"
    if job.status in STARTED and job.attempts == stay.attempts:
        return "accepted" if terminated else "escaped"
    if job.status == "SUCCEEDED":
        return "escaped"
    return "gone"


# ---- Notices ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A job that overstays: all that a notice about it tells."""

    stay: Stay
    job: Change
    limit: Limit
    limit_span: timedelta | None
    lasted: timedelta
    findings: Sequence[Finding] = ()

    @property
    def enforced(self) -> bool:
        return self.limit.mode == "enforce" and self.limit.action != "warn"

    @property
    def about(self) -> str:
        """The stay by name: what is decided about it is decided once."""
        return f"{self.stay.job_id}:{self.stay.attempts}:{self.stay.status}"

    @property
    def name(self) -> str:
        return plain(self.job.job_name, 60) or plain(self.job.job_id)


def warning(case: Case) -> Notice:
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


def overstayed(case: Case) -> Notice:
    """The notice that a job has passed its limit, and what is, or would be, done."""
    limit = f"its limit of {_span(case.limit_span)}" if case.limit_span else "its limit"
    if case.limit.action == "warn":
        return _notice(
            case,
            kind="limit-warning",
            id_=f"limit-warning:{case.about}:after",
            severity="warning",
            head=f"{case.stay.status} for {_span(case.lasted)}, over its limit: {case.name}",
            news=[f"It has passed {limit}. The policy asks only to tell of it."],
        )
    done = "cancelled" if case.limit.action == "cancel" else "terminated"
    if case.enforced:
        news = [f"It has passed {limit}, and is being {done}.", "It is looked at again afterwards."]
    else:
        news = [
            f"It has passed {limit}, and would be {done}.",
            'Nothing was done: this is observe mode. mode = "enforce" in the policy would do it.',
        ]
    verb = done if case.enforced else f"would be {done}"
    return _notice(
        case,
        kind="limit-enforced",
        id_=f"limit-enforced:{case.about}" + ("" if case.enforced else ":observed"),
        severity="warning",
        head=f"Job {verb}, {case.stay.status} for {_span(case.lasted)}: {case.name}",
        news=news,
    )


def escaped(case: Case, *, escalated: bool) -> Notice:
    """The notice that a job has started in spite of its stop."""
    then = (
        "It is being terminated now, as the policy says (escalate)."
        if escalated
        else "It is left to run. To stop it all the same, terminate it."
    )
    return _notice(
        case,
        kind="limit-escaped",
        id_=f"limit-escaped:{case.about}",
        severity="warning",
        head=f"Job started in spite of its stop: {case.name}",
        news=[f"It was to be stopped, and is {plain(case.job.status)} now.", then],
    )


def unstoppable(case: Case) -> Notice:
    """The notice that a job is still there after all tries to stop it."""
    name = f"{case.about}:unstoppable"
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:{name}",
        severity="critical",
        subject=subject(f"Job cannot be stopped: {case.name}"),
        text="\n".join(
            [
                f"Batch was asked {case.stay.stops} times to stop the job {case.name}, and it is",
                f"still {plain(case.job.status)}. The watchdog gives up on it.",
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


def _notice(  # noqa: PLR0913
    case: Case,
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


def _facts(case: Case) -> dict[str, Any]:
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
