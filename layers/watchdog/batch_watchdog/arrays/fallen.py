"""Recognise arrays that failed only with a job that they depend on, to report them with it."""

from collections.abc import Sequence

from batch_watchdog.arrays.groups import unsuccessful
from batch_watchdog.arrays.progress import SUCCEEDED_CODE, Array, Part
from batch_watchdog.core.job_event import JobEvent, blames_a_dependency

# The reason for an array whose children blame a dependency, if the array's own reason does not.
_DEPENDENCY_FAILED = "Dependent Job failed"


def fell_with_another(array: Array, parts: Sequence[Part]) -> bool:
    """
    Check whether an array failed only because a job that it depends on had failed.

    An array whose children only depend on each other has no `depends_on`: it has an end of its own.
    """
    if array.status != "FAILED" or not array.depends_on:
        return False
    if array.summary.get("SUCCEEDED") or any(SUCCEEDED_CODE in part.outcomes for part in parts):
        return False
    found = unsuccessful(array, parts)
    followed = (group.cause.follows for group in found.failures)
    return bool(found.failures) and not found.stops and all(followed)


def as_follower(array: Array) -> JobEvent:
    """Build the job event of such an array, as a failure that follows another one."""
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
