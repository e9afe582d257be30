"""
Which children of an array have failed by themselves: their failures stop the rest, stops do not.

Batch counts both as FAILED. A child's reason says whether one of us stopped it, and Batch's mark
that somebody did. What a queue's own time limit cancelled has not failed by itself either. What
fell with another child does not count: that one may have been stopped, in this array or in the one
on which it depends. What is not known stops nobody.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.errors import MalformedEventError
from batch_watchdog.core.failure_cause import cause_of
from batch_watchdog.core.job_event import EPOCH, JobEvent
from batch_watchdog.core.known_causes import QUEUE_LIMIT, known_cause
from batch_watchdog.core.payload_parts import is_stop_accepted

# Beside Batch's own states: what is shown to have been stopped, and the rest of what failed.
STOPPED, FELL = "STOPPED", "FELL"


def with_own_failures(
    detail: Mapping[str, Any],
    listed: Iterable[Mapping[str, Any]],
    *,
    stopped_by_rule: bool = False,
) -> dict[str, Any]:
    """
    What Batch shows of an array, where `FAILED` is only what failed by itself.

    ListJobs shows the failed children as `listed`. Where the array itself was cancelled or
    terminated, AWS does not say whether its children show that: then none is taken to have failed
    by itself, unless it was its own rule that had it terminated (`stopped_by_rule`).
    """
    by_kind = Counter(map(_how, listed))
    properties = detail.get("arrayProperties", {})
    summary = properties.get("statusSummary", {})
    failed = summary.get("FAILED", 0)
    terminated = detail.get("isTerminated") and not stopped_by_rule
    whole = detail.get("isCancelled") or terminated
    own = 0 if whole else min(failed, by_kind["FAILED"])
    stopped = min(failed - own, by_kind[STOPPED])
    told_apart = {**summary, "FAILED": own, STOPPED: stopped, FELL: failed - own - stopped}
    return {**detail, "arrayProperties": {**properties, "statusSummary": told_apart}}


def _how(child: Mapping[str, Any]) -> str:
    """How a child has failed; what cannot be read has not failed by itself."""
    job = _read(child)
    if job is None:
        return FELL
    # The exit code does not tell: it may be that of an attempt before, or a program's own answer.
    cause = cause_of(job)
    known = known_cause(None, cause.reason)
    by_queue = known is not None and known.code == QUEUE_LIMIT
    if cause.stopper or is_stop_accepted(child) or by_queue:
        return STOPPED
    return FELL if cause.follows else "FAILED"


def _read(child: Mapping[str, Any]) -> JobEvent | None:
    try:
        return event_from_detail(child, EPOCH)
    except (MalformedEventError, ValueError):  # pydantic's error is a ValueError
        return None
