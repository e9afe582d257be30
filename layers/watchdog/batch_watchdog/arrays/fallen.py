"""Arrays of which no child began, as a job that they depend on had failed: part of that news."""

from collections.abc import Sequence

from batch_watchdog.arrays.groups import unsuccessful
from batch_watchdog.arrays.progress import SUCCEEDED_CODE, Array, Part
from batch_watchdog.core.job_event import JobEvent, blames_a_dependency

# What is said of an array whose children blame a dependency, where Batch says less of itself.
_DEPENDENCY_FAILED = "Dependent Job failed"


def fell_with_another(array: Array, parts: Sequence[Part]) -> bool:
    """
    Whether an array failed only because a job that it depends on had failed.

    Children that wait for each other, or each for one of another array, are another matter: there
    the array has an end of its own.
    """
    if array.status != "FAILED" or not array.depends_on:
        return False
    if array.summary.get("SUCCEEDED") or any(SUCCEEDED_CODE in part.outcomes for part in parts):
        return False
    found = unsuccessful(array, parts)
    followed = (group.cause.follows for group in found.failures)
    return bool(found.failures) and not found.stops and all(followed)


def as_follower(array: Array) -> JobEvent:
    """Such an array as the failure that follows another one."""
    return JobEvent(
        at=array.ended_at or array.first_at,
        job_id=array.job_id,
        job_name=array.job_name,
        queue=array.queue,
        definition=array.definition,
        status="FAILED",
        kind="array",
        size=array.size,
        reason=array.reason if blames_a_dependency(array.reason) else _DEPENDENCY_FAILED,
        depends_on=array.depends_on,
    )
