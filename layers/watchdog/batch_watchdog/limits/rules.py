"""
Decide by limits: how long a stay in a state may last, and what is done if it lasts longer.

A stay is one job's time in one state, without a break. Three things are known of it: a time at
which the job was in that state, what Batch shows of the job now, and the events in between. A job
may come back to a state without a new attempt, so the same state and the same number of attempts
prove nothing. A stay therefore begins at the latest of these times: its event, each event since,
and each time that Batch shows of the job's runs or of its being scheduled.

An accepted stop does not mean that the job has ended. A stop is repeated only if it is still to be
made: each check decides from the policy, the tags and the exemptions as they are then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from batch_watchdog.core.effects import STOP_MARK, StopJobs, WaitCause
from batch_watchdog.core.job_event import STARTED, JobEvent
from batch_watchdog.diagnosis.findings import Finding, wait_cause
from batch_watchdog.limits.stays import Stay, lasts, proven_since
from batch_watchdog.notices.text import span
from batch_watchdog.policy.model import Limit, Policy, is_exempt

CHECK_AGAIN = timedelta(minutes=15)  # for a job whose cause may change to one with a shorter limit
SETTLED_AGAIN = timedelta(hours=1)  # for a job with nothing left to do: the policy may change
VERIFY_AFTER = timedelta(minutes=2)  # from recording a stop to checking its result
ACCEPTED_AGAIN = timedelta(minutes=5)  # for a job whose stop was accepted, and that has not ended
UNENDED_AGAIN = timedelta(hours=1)  # the same, once operators are notified
CHANGED_CAUSE = timedelta(minutes=30)  # from a change of cause to a stop by the new cause's limit
STOPS_MAX = 5  # tries to stop one job
MISSED_MAX = 5  # checks, a minute apart, of a job that Batch does not show: then it is gone

# The longest time from an accepted stop to the job's end that is not reported. A terminated
# container has 30 seconds to exit on its own. A cancelled job may stay RUNNABLE until it is the
# first of its queue, and PENDING until the jobs that it depends on have ended.
# https://docs.aws.amazon.com/batch/latest/APIReference/API_CancelJob.html
_ENDS_WITHIN = timedelta(minutes=10)
_WAITING_ENDS_WITHIN = timedelta(hours=1)


type Step = Literal["warn", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StayVerdict:
    """What to do about a stay now, by which limit, and when to check again."""

    step: Step | None
    limit_span: timedelta | None
    again_in: timedelta


def judge(
    limit: Limit,
    lasted: timedelta,
    findings: Sequence[Finding],
    changed: timedelta | None = None,
) -> StayVerdict:
    """
    Decide what to do about a stay that has lasted for `lasted`, given why the job is stuck.

    `changed` is the time since this cause was first seen in place of another one; None if no other
    was seen. When a job no longer waits for capacity, it has just got it. And Batch comments on a
    job's requirements also while an environment grows. So the limit of the new cause stops a job
    only some time later, or once the longest limit has passed.
    """
    after = limit.after_for(wait_cause(findings))
    wait = _still_changing(limit, after, lasted, changed)
    if after is not None and lasted >= after and wait:
        return StayVerdict(step=None, limit_span=after, again_in=wait)
    if after is not None and lasted >= after:
        return StayVerdict(step="stop", limit_span=after, again_in=SETTLED_AGAIN)
    warned = limit.warn_after is not None and lasted >= limit.warn_after
    spans = _spans(limit)
    ahead = [span - lasted for span in (limit.warn_after, *spans) if span and span > lasted]
    if any(span <= lasted for span in spans):  # The limit of another cause has passed.
        ahead.append(CHECK_AGAIN)
    return StayVerdict(
        step="warn" if warned else None,
        limit_span=after if after is not None else limit.after,
        again_in=min(ahead, default=SETTLED_AGAIN),
    )


def _still_changing(
    limit: Limit, after: timedelta | None, lasted: timedelta, changed: timedelta | None
) -> timedelta:
    """Return how long to wait before a new cause's limit stops a job; zero for no wait."""
    if after is None or changed is None:
        return timedelta()
    left = min(after, CHANGED_CAUSE) - changed
    if limit.after is not None:  # Else stays with other causes have no limit.
        left = min(left, max(_spans(limit)) - lasted)
    return max(left, timedelta())


def _spans(limit: Limit) -> list[timedelta]:
    """Return after how long a stay has passed its limit, for each cause that has one."""
    spans = (limit.after, *limit.after_by_cause.values())
    return [span for span in spans if span is not None]


def waited_in_vain(
    limit: Limit, cause: WaitCause | None, since: datetime, until: datetime | None
) -> bool:
    """Check whether a job that has gone on had waited for its whole limit, as the limit is now."""
    after = limit.after_for(cause)
    return after is not None and until is not None and until - since >= after


def stop_reason(stay: Stay, limit: Limit, limit_span: timedelta) -> str:
    """Return the reason for a stop, for Batch to keep; the same for all jobs of one limit."""
    return (
        f"{STOP_MARK}{stay.status} for more than {span(limit_span.total_seconds())}, {limit.rule}"
    )


def why_not(stop: StopJobs, since: datetime, job: JobEvent, policy: Policy, now: datetime) -> str:
    """
    Return why a limit's stop of a job is not to be made at `now`; "" if it is.

    The policy and the job count as they are now. `since` is the beginning of the job's stay, by the
    stop or by a later event.
    """
    return next(_objections(stop, since, job, policy, now), "")


def _objections(
    stop: StopJobs, since: datetime, job: JobEvent, policy: Policy, now: datetime
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
        yield from _objections_to_escalation(stop, since, job, limit)
        return
    if job.status != stop.status:
        yield f"the job is {job.status}"
    if limit.action != stop.how:
        yield f"the policy's action is {limit.action}"
    after = limit.after_for(stop.cause)
    if after is None or now - proven_since(since, job) < after:
        yield "the job's limit has not passed"


def _objections_to_escalation(
    stop: StopJobs, since: datetime, job: JobEvent, limit: Limit
) -> Iterator[str]:
    if not limit.escalate:
        yield "the policy leaves a job to run that has started"
    if job.status not in STARTED:
        yield f"the job is {job.status}"
    if stop.attempts is not None and job.attempts != stop.attempts:
        yield "the job is in another attempt"
    if not waited_in_vain(limit, stop.cause, since, stop.waited_until):
        yield "the job had not waited for the whole limit"


# ---- The outcome of a stop ----------------------------------------------------------------

type StopOutcome = Literal["gone", "accepted", "escaped", "refused"]


def stop_outcome(stay: Stay, job: JobEvent, *, accepted: bool, terminated: bool) -> StopOutcome:
    """
    Return the outcome of the latest stop of a job, which Batch has accepted.

    `accepted` says that Batch shows a stop that can end the job as it is, and `terminated` is its
    isTerminated. An accepted stop does not mean that the job has ended. A cancelled job that has
    moved to STARTING has escaped, as a cancel does nothing to it.
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
    """Return how long an accepted stop may take in a state before operators are notified."""
    waits = status in ("SUBMITTED", "PENDING", "RUNNABLE")
    return _WAITING_ENDS_WITHIN if waits else _ENDS_WITHIN
