"""
Parts of the payloads of AWS Batch: containers, tasks and pods.

The models only check types, which pydantic does without calling Python. Code that reads a text or
a time from them must bound it with `cut`, `shortened` or `from_millis`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from batch_watchdog.core.job_event import STARTED


class LenientModel(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


# Longer than any text that AWS sends, in characters; the key of an item has room for 2,048 bytes.
NAME_MAX = 500
TEXT_MAX = 4_000

_NOTHING = (None, "")


def cut(text: str | None, length: int) -> str:
    """Cut a text to a length, and make it fit for UTF-8: Python allows unpaired surrogates."""
    if not text or (text.isascii() and len(text) <= length):
        return text or ""
    return text[:length].encode("utf-8", "replace").decode()


def shortened(text: Any) -> str:
    """As `cut`, to 512 characters; empty for anything that is not text."""
    return cut(text, 512) if isinstance(text, str) else ""


# Fields that are used only for failed jobs, or only for a detail, have the type `Any` and are
# checked later: that is faster, and no event is refused because of them.
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
    """Whether a JobDetail shows all of these fields: an empty text counts as missing."""
    return all(detail.get(name) not in _NOTHING for name in names)


def is_for_service_jobs(queue: Mapping[str, Any]) -> bool:
    """Whether a job queue (JobQueueDetail) is for service jobs, by its type."""
    return str(queue.get("jobQueueType") or "").startswith("SAGEMAKER")


def shows_its_attempts(detail: Mapping[str, Any]) -> bool:
    """Whether a job shows its attempts. An empty `eksAttempts` is shown of other jobs, too."""
    return isinstance(detail.get("attempts"), list) or bool(detail.get("eksAttempts"))


def is_stop_accepted(detail: Mapping[str, Any]) -> bool:
    """
    Whether a JobDetail shows that Batch has accepted a stop of the job, from any caller.

    That does not mean that the job has ended.
    https://docs.aws.amazon.com/batch/latest/APIReference/API_JobDetail.html
    """
    return bool(detail.get("isCancelled") or detail.get("isTerminated"))


def is_being_stopped(detail: Mapping[str, Any]) -> bool:
    """
    Whether a JobDetail shows that Batch has accepted a stop that can end the job in its state.

    A cancel has no effect on a job that has started.
    https://docs.aws.amazon.com/batch/latest/APIReference/API_CancelJob.html
    """
    has_started = detail.get("status") in STARTED
    return bool(detail.get("isTerminated") or (detail.get("isCancelled") and not has_started))
