"""
Decide whether a stop that was asked for is still meant, immediately before its call. Pure.

Seconds or minutes lie between a decision and its call. Meanwhile the policy may have changed, the
job may have been exempted or tagged, or its state may have changed. So each job is judged again: by
the policy in force, by what Batch shows of the job now, by the exemptions, and by the guard or the
array whose stop it is. The answer is why the job is not stopped, or "" if it is.

A job is not stopped on incomplete facts: a job that Batch does not show, or shows without the parts
that decide which rule applies, is left alone. The code that asked for the stop checks again later,
and decides anew.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batch_watchdog.arrays import rules as array_rules
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import StopJobs
from batch_watchdog.core.errors import MalformedEventError
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.core.payload_parts import shows
from batch_watchdog.guards import precedence
from batch_watchdog.guards.state import GuardState
from batch_watchdog.limits import rules as limit_rules
from batch_watchdog.policy.model import Policy

# What a rule may match. Of a job without tags, Batch shows `tags` as an empty map.
_NAMED_BY = ("jobName", "jobQueue", "tags", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """
    The facts by which a stop is judged, as they are at `now`.

    `exempt` are the jobs, and arrays with all their children, that an operator has exempted from
    limits. `array` is what Batch shows of the array whose rule asked for the stop. `seen_since` has
    by job when an event last reported that it came into a state (for jobs that are terminated
    because they have started: a state in which they wait). Batch itself need not show that a job
    has left its state and come back.
    """

    policy: Policy
    now: datetime
    exempt: Collection[str] = ()
    guards: Mapping[str, GuardState] = field(default_factory=dict)
    array: Mapping[str, Any] | None = None
    seen_since: Mapping[str, datetime] = field(default_factory=dict)


def says_on_what_it_rests(stop: StopJobs) -> bool:
    """
    Whether a stop carries the facts for judging it again. Stops of an older watchdog version do
    not.
    """
    by_limit = bool(stop.status) and len(stop.since) == len(stop.job_ids)
    return by_limit or bool(stop.guard and stop.run_id) or bool(stop.array_id)


def why_not(stop: StopJobs, place: int, detail: Mapping[str, Any] | None, grounds: Grounds) -> str:
    """
    Return why the job at this place of a stop is not to be stopped now, or "" if it is.

    `detail` is what Batch shows of the job, or None if Batch does not show it.
    """
    if detail is None:
        return "AWS Batch does not show the job"
    job = _read(detail, stop, grounds.now)
    if job is None:
        return "AWS Batch shows only a part of the job"
    if job.ended:
        return "the job has ended"
    if stop.status:
        return _not_over_its_limit(stop, stop.since[place], job, grounds)
    if stop.guard:
        return _not_for_its_guard(stop, job, grounds)
    return _not_for_its_array(stop, grounds)


def _read(detail: Mapping[str, Any], stop: StopJobs, now: datetime) -> JobEvent | None:
    named_by = _NAMED_BY if stop.service else (*_NAMED_BY, "jobDefinition")
    if not shows(detail, named_by):
        return None
    try:
        return event_from_detail(detail, now)
    except (MalformedEventError, ValueError):  # pydantic's error is a ValueError
        return None


def _not_over_its_limit(stop: StopJobs, since: datetime, job: JobEvent, grounds: Grounds) -> str:
    if job.kind in ("array", "node"):
        return "an array has no limit, its children have"
    if {job.job_id, job.parent_id} & set(grounds.exempt):
        return "an operator has exempted the job"
    seen = grounds.seen_since.get(job.job_id, since)
    if stop.escalates and seen > since:
        return "the job has waited again since"
    since = max(since, seen)
    return limit_rules.why_not(stop, since, job, grounds.policy, grounds.now)


def _not_for_its_guard(stop: StopJobs, job: JobEvent, grounds: Grounds) -> str:
    return precedence.may_still_stop(
        grounds.guards, grounds.policy, stop.guard, stop.run_id, job, job.status, grounds.now
    )


def _not_for_its_array(stop: StopJobs, grounds: Grounds) -> str:
    if grounds.array is None:
        return "AWS Batch does not show the array"
    array = _read(grounds.array, stop, grounds.now)
    if array is None:
        return "AWS Batch shows only a part of the array"
    if array.ended:
        return "the array has ended"
    return array_rules.why_rest_goes_on(array, array.summary, grounds.policy)
