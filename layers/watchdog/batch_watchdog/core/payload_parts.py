"""Parts of the payloads of AWS Batch: text of bounded length, containers, tasks and pods."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


class LenientModel(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


def at_most(length: int) -> AfterValidator:
    # Half a surrogate pair is kept in JSON, and nowhere else.
    return AfterValidator(lambda text: text[:length].encode("utf-8", "replace").decode())


def _known_code(code: int) -> int | None:
    # As 32 bits, whether they are read with a sign or not.
    return code if -(2**31) <= code < 2**32 else None


# More characters than any that AWS sends; the key of an item has room for 2,048 bytes.
type Name = Annotated[str, at_most(500)]
type Text = Annotated[str, at_most(4_000)]
type Stream = Annotated[str, at_most(512)]
type ExitCode = Annotated[int, AfterValidator(_known_code)]


# What is only read of jobs that failed, or matters for a detail, is read as `Any` and looked at
# later: that is faster, and no event is refused for it.
class ContainerPayload(LenientModel):
    name: Name | None = None
    exitCode: ExitCode | None = None  # noqa: N815
    reason: Text | None = None
    logStreamName: Stream | None = None  # noqa: N815
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


def _known_millis(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# A time that is no more than a proof: one of another type than AWS's proves nothing.
type Millis = Annotated[int | None, BeforeValidator(_known_millis)]


class PreemptedAttempt(LenientModel):
    startedAt: Millis = None  # noqa: N815
    stoppedAt: Millis = None  # noqa: N815


class PreemptionSummary(LenientModel):
    recentPreemptedAttempts: list[PreemptedAttempt] | None = None  # noqa: N815


def in_tasks(tasks: Iterable[TaskPayload] | None) -> list[ContainerPayload]:
    return [container for task in tasks or [] for container in task.containers or []]


def is_stop_accepted(detail: Mapping[str, Any]) -> bool:
    """
    Whether a JobDetail shows that Batch has accepted a stop of the job, whoever asked for it.

    That does not mean that the job has ended.
    https://docs.aws.amazon.com/batch/latest/APIReference/API_JobDetail.html
    """
    return bool(detail.get("isCancelled") or detail.get("isTerminated"))
