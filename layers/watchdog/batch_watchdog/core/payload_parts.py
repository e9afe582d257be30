"""
Parts of the payloads of AWS Batch: containers, tasks and pods.

The models only check types, which pydantic does without calling Python. Whoever reads a text or a
time of them bounds it with `cut`, `shortened` or `from_millis`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from batch_watchdog.core.job_event import STARTED


class LenientModel(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


# More characters than any that AWS sends; the key of an item has room for 2,048 bytes.
NAME_MAX = 500
TEXT_MAX = 4_000

_NOTHING = (None, "")


def cut(text: str | None, length: int) -> str:
    """A text of bounded length, and fit for UTF-8: Python may hold half a surrogate pair."""
    if not text or (text.isascii() and len(text) <= length):
        return text or ""
    return text[:length].encode("utf-8", "replace").decode()


def shortened(text: Any) -> str:
    """As `cut`, to 512 characters; empty for anything else than text."""
    return cut(text, 512) if isinstance(text, str) else ""


# What is only read of jobs that failed, or matters for a detail, is read as `Any` and looked at
# later: that is faster, and no event is refused for it.
class ContainerPayload(LenientModel):
    name: str | None = None
    exitCode: int | None = None  # noqa: N815
    reason: str | None = None
    logStreamName: str | None = None  # noqa: N815
    essential: Any = None
    dependsOn: Any = None  # noqa: N815
    logConfiguration: Any = None  # noqa: N815


class TaskPayload(LenientModel):
    containers: list[ContainerPayload] | None = None


class EcsProperties(LenientModel):
    taskProperties: list[TaskPayload] | None = None  # noqa: N815


class PodProperties(LenientModel):
    podName: Any = None  # noqa: N815
    containers: list[ContainerPayload] | None = None
    initContainers: list[ContainerPayload] | None = None  # noqa: N815


class EksProperties(LenientModel):
    podProperties: PodProperties | None = None  # noqa: N815


class PreemptedAttempt(LenientModel):
    startedAt: Any = None  # noqa: N815
    stoppedAt: Any = None  # noqa: N815


class PreemptionSummary(LenientModel):
    recentPreemptedAttempts: list[PreemptedAttempt] | None = None  # noqa: N815


def in_tasks(tasks: Iterable[TaskPayload] | None) -> list[ContainerPayload]:
    return [container for task in tasks or [] for container in task.containers or []]


def shows(detail: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether a JobDetail shows all of these: a text that is empty is as good as none."""
    return all(detail.get(name) not in _NOTHING for name in names)


def is_for_service_jobs(queue: Mapping[str, Any]) -> bool:
    """Whether a job queue (JobQueueDetail) says that it holds service jobs."""
    return str(queue.get("jobQueueType") or "").startswith("SAGEMAKER")


def shows_its_attempts(detail: Mapping[str, Any]) -> bool:
    """Whether a job shows its attempts: an empty `eksAttempts` is shown of other jobs, too."""
    return isinstance(detail.get("attempts"), list) or bool(detail.get("eksAttempts"))


def is_stop_accepted(detail: Mapping[str, Any]) -> bool:
    """
    Whether a JobDetail shows that Batch has accepted a stop of the job, whoever asked for it.

    That does not mean that the job has ended.
    https://docs.aws.amazon.com/batch/latest/APIReference/API_JobDetail.html
    """
    return bool(detail.get("isCancelled") or detail.get("isTerminated"))


def is_being_stopped(detail: Mapping[str, Any]) -> bool:
    """
    Whether a JobDetail shows that Batch has accepted a stop that can end the job as it is.

    A cancel does nothing to a job that has started.
    https://docs.aws.amazon.com/batch/latest/APIReference/API_CancelJob.html
    """
    has_started = detail.get("status") in STARTED
    return bool(detail.get("isTerminated") or (detail.get("isCancelled") and not has_started))
