"""
Limits: how long a job's stay in a state may last, and what is said and done when it lasts longer.

A stay is one job's time in one state, without a break. Known of it is a time at which the job was
in that state, what Batch says of the job now, and what events have said of it in between. A job
may come back to a state without a new attempt, so the same state and the same number of attempts
prove nothing: a stay begins at the latest of its event, all times that Batch shows of runs that
have ended or of the job's being handed on, and each event since.

That Batch has accepted a stop does not mean that the job has ended. And a stop that was asked for
is repeated only if it is still meant: each look decides from the policy, the tags and the
exemptions as they are then.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from batch_watchdog.changes import ENDED, EPOCH, STARTED, WAITING, Change, resource_name
from batch_watchdog.diagnosis import CAUSE_OF, Finding
from batch_watchdog.effects import STOP_MARK, StopJobs
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
from batch_watchdog.policy import LIMITED, Limit, Policy, is_exempt, knows_tags

LOOK_AGAIN = timedelta(minutes=15)  # at a job whose cause may yet become one with a shorter limit
UNLIMITED_AGAIN = timedelta(hours=6)  # at a job that nothing limits, should its tags change
OBSERVED_AGAIN = timedelta(hours=1)  # at a job of which everything is said, should a policy change
VERIFY_AFTER = timedelta(minutes=2)  # from asking for a stop to looking whether it took
ACCEPTED_AGAIN = timedelta(minutes=5)  # at a job whose stop was accepted, and that is still there
UNENDED_AGAIN = timedelta(hours=1)  # the same, once operators know of it
STOPS_MAX = 5  # tries to stop one job
MISSED_MAX = 5  # looks, a minute apart, at a job that Batch does not show: then it is gone

# From the stop of a job to its end. A terminated container has 30 seconds to end by itself. A
# cancelled job may stay RUNNABLE until it is the first of its queue, and PENDING until the jobs
# that it depends on have ended.
# https://docs.aws.amazon.com/batch/latest/APIReference/API_CancelJob.html
_ENDS_WITHIN = timedelta(minutes=10)
_WAITING_ENDS_WITHIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """
    A job that was in a state at `since`, after so many attempts.

    `stops` counts how often it was asked to stop. `stopped_at` is when the latest of these stops
    was asked for, as long as it is meant. `tags_known` is False where the event did not show the
    job's own tags, and nobody has looked yet. `missed` counts the looks since Batch last showed
    the job.
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

    @property
    def awaits_stop(self) -> bool:
        """Whether it was asked to stop, and may take its time for it."""
        return self.stops > 0 and self.stopped_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A job that came into a state at a time, after so many attempts, as an event says."""

    job_id: str
    status: str
    attempts: int
    at: datetime


type Step = Literal["warn", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a stay calls for now, by which limit, and when to look again."""

    step: Step | None
    limit_span: timedelta | None
    again_in: timedelta


def begin(
    change: Change, policy: Policy, now: datetime, unlimited_after: timedelta | None = None
) -> tuple[datetime, Stay] | None:
    """
    A stay that a change begins, and when to look at it first; None where nothing limits it.

    A job's own tag may limit its time in any state, and shorter than every rule. An event need not
    show the tags (those of service jobs never do), and then the next sweep looks at the job. But
    where the policy has no limit at all, nothing is filed for an event without tags: own tags count
    there as soon as the waiting jobs are listed.

    A job that Batch has described shows its tags. With `unlimited_after`, the change is such a job,
    and one that nothing limits is looked at after so long.
    """
    if change.kind in ("array", "node"):
        return None  # A parent waits for its children, and a node for its job.
    tags_known = unlimited_after is not None or knows_tags(change.tags)
    after = policy.first_due_after(change, change.status) if tags_known else timedelta()
    if not tags_known and not (policy.limit and change.status in LIMITED):
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


def sightings(changes: Iterable[Change], policy: Policy, sent_at: datetime) -> Iterator[Sighting]:
    """
    What to keep of the changes of one batch, so that no stay is taken to last on after its end.

    It is the latest change of each job: a stay of that state begins then, and one of another
    state not before. A job that has ended comes back to no state. The batch was complete at
    `sent_at`: a clock that is ahead must not put off a limit.
    """
    latest: dict[str, Change] = {}
    for change in changes:
        if change.kind not in ("array", "node") and policy.may_limit(change):
            known = latest.setdefault(change.job_id, change)
            if _order(known) < _order(change):
                latest[change.job_id] = change
    for change in latest.values():
        if not change.ended:
            yield Sighting(
                job_id=change.job_id,
                status=change.status,
                attempts=change.attempts,
                at=min(change.at, sent_at),
            )


_STATES = (*WAITING, *STARTED, *ENDED)  # in the order in which a job passes them


def _order(change: Change) -> tuple[bool, datetime, int, int]:
    rank = _STATES.index(change.status) if change.status in _STATES else 0
    return change.ended, change.at, change.attempts, rank


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
    Since when the stay is known, by which it is named.

    A job that was found by listing may have been in its state for longer, and its event comes
    late. It is the same stay, and nothing is said or done about it twice.
    """
    began = stay.since
    for each in sorted(seen, key=lambda each: each.at, reverse=True):
        if not begins(stay, each):
            break
        began = min(began, each.at)
    return began


def lasts(stay: Stay, job: Change) -> bool:
    """Whether the job is still in this very stay."""
    return (job.status, job.attempts) == (stay.status, stay.attempts)


def proven_since(since: datetime, job: Change) -> datetime:
    """Since when the job is in its state for certain, where it was in it at `since`."""
    return max(since, job.not_before or since)


def waited(stay: Stay, job: Change, now: datetime) -> timedelta:
    """How long the stay has lasted for certain."""
    return now - proven_since(stay.since, job)


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


def why_not(stop: StopJobs, since: datetime, job: Change, policy: Policy, now: datetime) -> str:
    """
    Why a limit's stop of a job is not meant at `now`; "" if it is.

    It is judged by the policy and the job as they are now. `since` is what the stop says of this
    job.
    """
    return next(_objections(stop, since, job, policy, now), "")


def _objections(
    stop: StopJobs, since: datetime, job: Change, policy: Policy, now: datetime
) -> Iterator[str]:
    limit = policy.limit_for(job, stop.status)
    if is_exempt(job.tags):
        yield "the job's own tag exempts it"
    if limit is None:
        yield f"nothing limits {stop.status} for the job any more"
        return
    if limit.mode != "enforce":
        yield "the policy only observes"
    if stop.escalates:
        if not limit.escalate:
            yield "the policy leaves a job to run that has started"
        if job.status not in STARTED:
            yield f"the job is {job.status}"
        return
    if job.status != stop.status:
        yield f"the job is {job.status}"
    if limit.action != stop.how:
        yield f"the policy's action is {limit.action}"
    after = limit.after_for(stop.cause)
    if after is None or now - proven_since(since, job) < after:
        yield "the job's limit has not passed"


# ---- What became of a stop ----------------------------------------------------------------

type Fate = Literal["gone", "accepted", "escaped", "refused"]


def fate(stay: Stay, job: Change, *, accepted: bool, terminated: bool) -> Fate:
    """
    What became of the latest stop of a job.

    `accepted` and `terminated` are Batch's isCancelled or isTerminated, and isTerminated. That a
    stop was accepted does not mean that the job has ended. A cancelled job that has slipped into
    STARTING has escaped, as cancelling does nothing to it.
    https://docs.aws.amazon.com/batch/latest/APIReference/API_CancelJob.html
    """
    if lasts(stay, job):
        return "accepted" if accepted else "refused"
    if job.status in STARTED and job.attempts == stay.attempts:
        return "accepted" if terminated else "escaped"
    if job.status == "SUCCEEDED":
        return "escaped"
    return "gone"


def ends_within(status: str) -> timedelta:
    """How long a job may stay in a state after its stop was accepted, before operators know."""
    waits = status in ("SUBMITTED", "PENDING", "RUNNABLE")
    return _WAITING_ENDS_WITHIN if waits else _ENDS_WITHIN


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


def unended(case: Case, stopped_at: datetime, now: datetime, *, terminated: bool) -> Notice:
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
