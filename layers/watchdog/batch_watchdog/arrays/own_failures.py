"""
Which children of an array have failed by themselves: their failures stop the rest, stops do not.

Batch counts both as FAILED. A child's reason says whether one of us stopped it, and Batch's mark
that somebody did. What is not known stops nobody.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.errors import MalformedEventError
from batch_watchdog.core.failure_cause import cause_of
from batch_watchdog.core.job_event import EPOCH, JobEvent
from batch_watchdog.core.payload_parts import is_stop_accepted

STOPPED = "STOPPED"  # beside Batch's own states
KILLED = (137, 143)  # exit codes of what was terminated: SIGKILL, SIGTERM


def told_apart(summary: Mapping[str, int], listed: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Children by state, where `FAILED` is only what failed by itself. ListJobs shows `listed`."""
    failed = summary.get("FAILED", 0)
    own = min(failed, _own_failures(listed))
    return {**summary, "FAILED": own, STOPPED: failed - own}


def with_own_failures(
    detail: Mapping[str, Any], listed: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """What Batch shows of an array, with its children's states told apart."""
    properties = detail.get("arrayProperties", {})
    summary = told_apart(properties.get("statusSummary", {}), listed)
    return {**detail, "arrayProperties": {**properties, "statusSummary": summary}}


def _own_failures(listed: Iterable[Mapping[str, Any]]) -> int:
    children = [(child, _read(child)) for child in listed]
    others = [job for child, job in children if job and not _was_stopped(child, job)]
    if len(others) == len(children):
        return len(others)
    # What fell with another child may have fallen with one that was stopped.
    return sum(not cause_of(job).follows for job in others)


def _read(child: Mapping[str, Any]) -> JobEvent | None:
    try:
        return event_from_detail(child, EPOCH)
    except (MalformedEventError, ValueError):  # pydantic's error is a ValueError
        return None


def _was_stopped(child: Mapping[str, Any], job: JobEvent) -> bool:
    # One that was asked to end, and ended with a code of its own, has failed.
    may_be_killed = job.exit_code is None or job.exit_code in KILLED
    return bool(cause_of(job).stopper) or (is_stop_accepted(child) and may_be_killed)
