"""
Count the children of an array that failed on their own: only their failures can stop the rest.

Batch counts stopped children as FAILED, too. A child's reason shows whether the watchdog stopped
it; `isCancelled` and `isTerminated` show that someone did. A child that a queue's own time limit
cancelled has not failed on its own either. A child that failed with another one does not count: the
other one may have been stopped, in this array or in the one on which it depends. A failure that is
not listed, or cannot be read, does not count.
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
from batch_watchdog.core.stop_cause import is_stop_of_the_rest

# Beside Batch's own states: stopped children, those that the array's own rule stopped as its rest,
# and failures that are not a child's own.
STOPPED, STOPPED_AS_REST, FELL = "STOPPED", "STOPPED_AS_REST", "FELL"


def with_own_failures(
    detail: Mapping[str, Any],
    listed: Iterable[Mapping[str, Any]],
    *,
    stopped_by_rule: bool = False,
) -> dict[str, Any]:
    """
    Return what Batch shows of an array, with only children that failed on their own as `FAILED`.

    ListJobs shows the failed children as `listed`. If the array itself was cancelled or terminated,
    AWS does not say whether its children show that. Then no child counts as failed on its own,
    unless the array was terminated by its own rule (`stopped_by_rule`).
    """
    by_kind = Counter(map(_how, listed))
    properties = detail.get("arrayProperties", {})
    summary = properties.get("statusSummary", {})
    failed = summary.get("FAILED", 0)
    terminated = detail.get("isTerminated") and not stopped_by_rule
    whole = detail.get("isCancelled") or terminated
    own = 0 if whole else min(failed, by_kind["FAILED"])
    stopped = min(failed - own, by_kind[STOPPED])
    as_rest = min(failed - own - stopped, by_kind[STOPPED_AS_REST])
    fell = failed - own - stopped - as_rest
    kinds = {"FAILED": own, STOPPED: stopped, STOPPED_AS_REST: as_rest, FELL: fell}
    told_apart = {**summary, **kinds}
    return {**detail, "arrayProperties": {**properties, "statusSummary": told_apart}}


def _how(child: Mapping[str, Any]) -> str:
    """Return how a child has failed; one that cannot be read has not failed on its own."""
    job = _read(child)
    if job is None:
        return FELL
    if is_stop_of_the_rest(job.reason):
        return STOPPED_AS_REST
    # The exit code is not evidence: it may be from an earlier attempt, or the program's own.
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
