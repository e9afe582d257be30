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

LOOK_AGAIN = timedelta(minutes=15)  # at a job whose cause may yet become one with a shorter limit
OBSERVED_AGAIN = timedelta(hours=1)  # at a job of which everything is said, should a policy change
VERIFY_AFTER = timedelta(minutes=2)  # from asking for a stop to looking whether it took
ACCEPTED_AGAIN = timedelta(minutes=5)  # at a job whose stop was accepted, and that is still there
UNENDED_AGAIN = timedelta(hours=1)  # the same, once operators know of it
CHANGED_CAUSE = timedelta(minutes=30)  # from a change of cause to a stop by the new one's limit
STOPS_MAX = 5  # tries to stop one job
MISSED_MAX = 5  # looks, a minute apart, at a job that Batch does not show: then it is gone

# From the stop of a job to its end. A terminated container has 30 seconds to end by itself. A
# cancelled job may stay RUNNABLE until it is the first of its queue, and PENDING until the jobs
# that it depends on have ended.
# https://docs.aws.amazon.com/batch/latest/APIReference/API_CancelJob.html
_ENDS_WITHIN = timedelta(minutes=10)
_WAITING_ENDS_WITHIN = timedelta(hours=1)


type Step = Literal["warn", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StayVerdict:
    """What a stay calls for now, by which limit, and when to look again."""

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
    Say what a stay that has `lasted` so long calls for, given why the job is stuck.

    `changed` is how long ago this cause was first seen in the place of another one; None if no
    other was seen. A job that has waited for capacity has just got it when that cause ends, and
    Batch remarks on a job's requirements also while an environment grows. So the limit of the new
    cause stops a job only some time later, or once the longest limit has passed.
    """
    after = limit.after_for(wait_cause(findings))
    wait = _still_changing(limit, after, lasted, changed)
    if after is not None and lasted >= after and wait:
        return StayVerdict(step=None, limit_span=after, again_in=wait)
    if after is not None and lasted >= after:
        return StayVerdict(step="stop", limit_span=after, again_in=OBSERVED_AGAIN)
    warned = limit.warn_after is not None and lasted >= limit.warn_after
    spans = (limit.warn_after, limit.after, *limit.after_by_cause.values())
    ahead = [span - lasted for span in spans if span is not None and span > lasted]
    if any(span <= lasted for span in limit.after_by_cause.values()):
        ahead.append(LOOK_AGAIN)
    return StayVerdict(
        step="warn" if warned else None,
        limit_span=after if after is not None else limit.after,
        again_in=min(ahead, default=OBSERVED_AGAIN),
    )


def _still_changing(
    limit: Limit, after: timedelta | None, lasted: timedelta, changed: timedelta | None
) -> timedelta:
    """How long to wait before a new cause's limit stops a job; zero if it need not wait."""
    spans = (limit.after, *limit.after_by_cause.values())
    beyond_all = all(span is not None and span <= lasted for span in spans)
    if after is None or changed is None or beyond_all:
        return timedelta()
    return max(min(after, CHANGED_CAUSE) - changed, timedelta())


def waited_in_vain(
    limit: Limit, cause: WaitCause | None, since: datetime, until: datetime | None
) -> bool:
    """Whether a job that has gone on had waited for its whole limit, as the limit is now."""
    after = limit.after_for(cause)
    return after is not None and until is not None and until - since >= after


def stop_reason(stay: Stay, limit: Limit, limit_span: timedelta) -> str:
    """Why a job is stopped, for Batch to keep; the same for all jobs of one rule."""
    return (
        f"{STOP_MARK}{stay.status} for more than {span(limit_span.total_seconds())}, {limit.rule}"
    )


def why_not(stop: StopJobs, since: datetime, job: JobEvent, policy: Policy, now: datetime) -> str:
    """
    Why a limit's stop of a job is not meant at `now`; "" if it is.

    It is judged by the policy and the job as they are now. `since` is what the stop says of this
    job.
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


# ---- What became of a stop ----------------------------------------------------------------

type StopOutcome = Literal["gone", "accepted", "escaped", "refused"]


def stop_outcome(stay: Stay, job: JobEvent, *, accepted: bool, terminated: bool) -> StopOutcome:
    """
    What became of the latest stop of a job, of which Batch has said that it accepts it.

    `accepted` says that Batch shows a stop that can end the job as it is, and `terminated` is its
    isTerminated. That a stop was accepted does not mean that the job has ended. A cancelled job
    that has slipped into STARTING has escaped, as cancelling does nothing to it.
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
