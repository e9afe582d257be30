"""
Which children of an array have failed by themselves: their failures stop the rest, stops do not.

Batch counts both as FAILED. A child's reason says whether one of us stopped it, and Batch's mark
that somebody did. What a queue's own time limit cancelled has not failed by itself either. What
fell with another child does not count: that one may have been stopped, in this array or in the one
on which it depends. What is not known stops nobody.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.errors import MalformedEventError
from batch_watchdog.core.failure_cause import cause_of
from batch_watchdog.core.job_event import EPOCH, JobEvent
from batch_watchdog.core.known_causes import QUEUE_LIMIT, known_cause
from batch_watchdog.core.payload_parts import is_stop_accepted

STOPPED = "STOPPED"  # beside Batch's own states


def with_own_failures(
    detail: Mapping[str, Any], listed: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """
    What Batch shows of an array, where `FAILED` is only what failed by itself.

    ListJobs shows the failed children as `listed`. Where the array itself was cancelled, AWS does
    not say whether its children show that: then none is taken to have failed by itself.
    """
    properties = detail.get("arrayProperties", {})
    summary = properties.get("statusSummary", {})
    failed = summary.get("FAILED", 0)
    own = 0 if detail.get("isCancelled") else min(failed, _own_failures(listed))
    told_apart = {**summary, "FAILED": own, STOPPED: failed - own}
    return {**detail, "arrayProperties": {**properties, "statusSummary": told_apart}}


def _own_failures(listed: Iterable[Mapping[str, Any]]) -> int:
    return sum(map(_failed_by_itself, listed))


def _failed_by_itself(child: Mapping[str, Any]) -> bool:
    job = _read(child)
    if job is None:
        return False
    # The exit code does not tell: it may be that of an attempt before, or a program's own answer.
    cause = cause_of(job)
    known = known_cause(None, cause.reason)
    stopped = cause.stopper or is_stop_accepted(child) or (known and known.code == QUEUE_LIMIT)
    return not (stopped or cause.follows)


def _read(child: Mapping[str, Any]) -> JobEvent | None:
    try:
        return event_from_detail(child, EPOCH)
    except (MalformedEventError, ValueError):  # pydantic's error is a ValueError
        return None
