"""
What AWS Batch says of jobs, as it arrives from EventBridge.

The shapes are lenient where AWS is free to differ: unknown fields are passed over, optional
parts may be missing or null, unknown states are kept as sent. What makes a change a change,
a job, a state and a time, must be there. Text that is longer than any that AWS sends is cut, so
that whatever is kept of it fits into an item of the table, and into a notice.
https://docs.aws.amazon.com/batch/latest/userguide/batch_job_events.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from batch_watchdog.errors import MalformedEventError

# Array jobs have 2 to 10,000 children. https://docs.aws.amazon.com/batch/latest/userguide/array_jobs.html
ARRAY_MAX = 10_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

WAITING = ("SUBMITTED", "PENDING", "RUNNABLE", "SCHEDULED")
STARTED = ("STARTING", "RUNNING")
ENDED = ("SUCCEEDED", "FAILED")

type JobKind = Literal["single", "array", "child", "multi-node", "node", "service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One job's change into a state. `at` is the event's own time, in UTC."""

    at: datetime
    job_id: str
    job_name: str
    queue: str  # ARN
    definition: str  # ARN; "" for service jobs
    status: str
    kind: JobKind
    parent_id: str = ""  # of an array child
    index: int = -1  # of an array child
    size: int | None = None  # of an array parent
    summary: Mapping[str, int] = field(default_factory=dict)  # children by state, of a parent
    attempts: int = 0  # attempts made so far
    not_before: datetime | None = None  # Batch proves: it entered its state then, or later
    reason: str = ""
    container_reason: str = ""
    exit_code: int | None = None
    log_stream: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """Batch says that the job at the head of a queue blocks it. `queue` is an ARN."""

    at: datetime
    queue: str
    job_id: str
    job_name: str
    reason: str
    service: bool


def resource_name(arn: str) -> str:
    """The name in an ARN ("arn:…:job-queue/gpu" is "gpu"); a plain name stays as it is."""
    return arn.rpartition("/")[2]


def array_child(job_id: str) -> tuple[str, int] | None:
    """Parent and index, where `job_id` is an array child's ("id:7")."""
    parent, colon, index = job_id.rpartition(":")
    if colon and parent and re.fullmatch(r"[0-9]+", index):
        return parent, int(index)
    return None


def parse_event(body: str) -> Change | Blocked:
    """
    Read one Batch event from its JSON text.

    Raises:
        MalformedEventError: it is no Batch event; says which part, and what was expected.
    """
    try:
        event = _read(body)
    except ValidationError as error:
        raise MalformedEventError(
            "; ".join(
                f"{'.'.join(map(str, each['loc'])) or 'event'}: {each['msg']}"
                for each in error.errors(include_url=False, include_input=False)[:5]
            )
        ) from error
    return (
        event.to_blocked() if "Blocked" in event.detail_type else _change(event.detail, event.time)
    )


def _read(body: str) -> "_Event":
    body = body.removeprefix("\ufeff")
    try:
        return _Event.model_validate_json(body)
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] != "json_invalid":
            raise
    # Python's own reader takes what the fast one refuses: half a surrogate pair, above all.
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise MalformedEventError(f"event: not JSON: {error}") from error
    return _Event.model_validate_json(text.encode("utf-8", "replace"))


# ---- The shapes on the wire ---------------------------------------------------------------


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


def _in_utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


# Before it, a limit added to a time is still a time, in every zone.
TIMES_END = datetime(9000, 1, 1, tzinfo=UTC)

type Time = Annotated[AwareDatetime, Field(ge=EPOCH, lt=TIMES_END), AfterValidator(_in_utc)]
type _Count = Annotated[int, Field(ge=0, le=ARRAY_MAX)]
type _Id = Annotated[str, Field(min_length=1, max_length=256)]


def _at_most(length: int) -> AfterValidator:
    # Half a surrogate pair is kept in JSON, and nowhere else.
    return AfterValidator(lambda text: text[:length].encode("utf-8", "replace").decode())


def _known_code(code: int) -> int | None:
    # As 32 bits, whether they are read with a sign or not.
    return code if -(2**31) <= code < 2**32 else None


# More characters than any that AWS sends; the key of an item has room for 2,048 bytes.
type _Name = Annotated[str, _at_most(500)]
type _Text = Annotated[str, _at_most(4_000)]
type _Stream = Annotated[str, _at_most(512)]
type _Code = Annotated[int, AfterValidator(_known_code)]

_TAGS_MAX = 100  # AWS allows 50


class _Container(_Lenient):
    exitCode: _Code | None = None  # noqa: N815
    reason: _Text | None = None
    logStreamName: _Stream | None = None  # noqa: N815


class _Task(_Lenient):
    containers: list[_Container] | None = None


class _EcsProperties(_Lenient):
    taskProperties: list[_Task] | None = None  # noqa: N815


class _PodProperties(_Lenient):
    containers: list[_Container] | None = None


class _EksProperties(_Lenient):
    podProperties: _PodProperties | None = None  # noqa: N815


def _known_millis(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# A time that is no more than a proof: one of another type than AWS's proves nothing.
type _Millis = Annotated[int | None, BeforeValidator(_known_millis)]


class _Attempt(_Lenient):
    container: _Container | None = None
    containers: list[_Container] | None = None  # of an EKS attempt
    taskProperties: list[_Task] | None = None  # noqa: N815 - of several containers
    stoppedAt: int | None = None  # noqa: N815


class _PreemptedAttempt(_Lenient):
    stoppedAt: _Millis = None  # noqa: N815


class _PreemptionSummary(_Lenient):
    recentPreemptedAttempts: list[_PreemptedAttempt] | None = None  # noqa: N815


class _ArrayProperties(_Lenient):
    size: Annotated[int, Field(ge=1, le=ARRAY_MAX)] | None = None
    index: int | None = None
    statusSummary: dict[str, _Count | None] | None = None  # noqa: N815

    def summary(self) -> dict[str, int]:
        return {state: count or 0 for state, count in (self.statusSummary or {}).items()}


class _Detail(_Lenient):
    jobId: _Id  # noqa: N815
    jobName: _Name | None = None  # noqa: N815
    jobQueue: _Name | None = None  # noqa: N815
    jobDefinition: _Name | None = None  # noqa: N815
    status: Annotated[str, Field(min_length=1, max_length=64)]
    statusReason: _Text | None = None  # noqa: N815
    attempts: list[_Attempt] | None = None
    eksAttempts: list[_Attempt] | None = None  # noqa: N815
    container: _Container | None = None
    ecsProperties: _EcsProperties | None = None  # noqa: N815
    eksProperties: _EksProperties | None = None  # noqa: N815
    arrayProperties: _ArrayProperties | None = None  # noqa: N815
    nodeProperties: dict[str, Any] | None = None  # noqa: N815
    serviceJobType: str | None = None  # noqa: N815
    scheduledAt: _Millis = None  # noqa: N815 - of a service job
    startedAt: _Millis = None  # noqa: N815
    preemptionSummary: _PreemptionSummary | None = None  # noqa: N815 - of a service job
    tags: dict[_Name, _Name | None] | None = None

    def made(self) -> list[_Attempt]:
        return self.attempts or self.eksAttempts or []

    def not_before(self) -> datetime | None:
        """
        The latest time that lies before the job's time in its state, or begins it.

        A job may come back to RUNNABLE without a new attempt: a service job is preempted, or taken
        back after it was SCHEDULED. AWS does not say whether `attempts` counts a preempted run.
        So each run that has ended counts, and each time at which the job was handed on or started:
        in RUNNABLE it came before, and in SCHEDULED or RUNNING it begins the state.
        https://docs.aws.amazon.com/batch/latest/APIReference/API_DescribeServiceJob.html
        """
        preempted = self.preemptionSummary and self.preemptionSummary.recentPreemptedAttempts
        millis = [
            *(attempt.stoppedAt for attempt in self.made()),
            *(attempt.stoppedAt for attempt in preempted or ()),
            self.scheduledAt,
            self.startedAt,
        ]
        return max(filter(None, map(from_millis, millis)), default=None)

    def ending(self) -> _Container:
        """The container whose end tells most: the job's own, else the first that failed."""
        several = [
            *_in_tasks(self.ecsProperties.taskProperties if self.ecsProperties else None),
            *(
                (
                    self.eksProperties
                    and self.eksProperties.podProperties
                    and self.eksProperties.podProperties.containers
                )
                or []
            ),
        ]
        for attempt in self.made()[-1:]:
            several += [attempt.container] if attempt.container else []
            several += [*(attempt.containers or []), *_in_tasks(attempt.taskProperties)]
        own = self.container or _Container()
        if own.exitCode is not None or own.reason:
            several.insert(0, own)
        failed = next((each for each in several if each.exitCode or each.reason), None)
        chosen = failed or next(iter(several), own)
        stream = chosen.logStreamName or own.logStreamName
        if stream == chosen.logStreamName:
            return chosen
        return chosen.model_copy(update={"logStreamName": stream})


def _in_tasks(tasks: list[_Task] | None) -> list[_Container]:
    return [container for task in tasks or [] for container in task.containers or []]


class _Event(_Lenient):
    # One consumer has seen the time under another name.
    time: Time = Field(validation_alias=AliasChoices("time", "event_time"))
    detail_type: str = Field(default="", alias="detail-type")
    detail: _Detail

    def to_blocked(self) -> Blocked:
        detail = self.detail
        return Blocked(
            at=self.time,
            queue=detail.jobQueue or "",
            job_id=detail.jobId,
            job_name=detail.jobName or "",
            reason=detail.statusReason or "",
            service=detail.serviceJobType is not None,
        )


def change_of(detail: Mapping[str, Any], at: datetime) -> Change:
    """
    A job as DescribeJobs or ListJobs shows it at a time, in the same form as its events.

    Raises:
        pydantic.ValidationError: it has no id, no state, or parts of another type than AWS's.
    """
    try:
        return _change(_Detail.model_validate(detail), at)
    except ValidationError:  # Half a surrogate pair in a text, above all: see `_read`.
        text = json.dumps(detail, ensure_ascii=False, default=str)
        return _change(_Detail.model_validate_json(text.encode("utf-8", "replace")), at)


def _change(detail: _Detail, at: datetime) -> Change:
    array = detail.arrayProperties or _ArrayProperties()
    child = array_child(detail.jobId)
    if child and not child[1] < ARRAY_MAX:
        raise MalformedEventError(
            f"detail.jobId: index {child[1]} is not below {ARRAY_MAX}, the largest array"
        )
    is_child = child is not None or array.index is not None
    summary = {} if is_child else array.summary()
    # A parent has a size; should it be missing, its children add up to it once all have ended.
    ended = sum(summary.get(state, 0) for state in ENDED) if detail.status in ENDED else 0
    size = None if is_child else array.size or ended or None
    is_parent = size is not None or any(summary.values())
    made, container = detail.made(), detail.ending()
    return Change(
        at=at,
        job_id=detail.jobId,
        job_name=detail.jobName or "",
        queue=detail.jobQueue or "",
        definition=detail.jobDefinition or "",
        status=detail.status,
        kind=_kind(detail, is_child=child is not None, is_parent=is_parent),
        parent_id=child[0] if child else "",
        index=child[1] if child else -1,
        size=size,
        summary=summary,
        attempts=len(made),
        not_before=detail.not_before(),
        reason=detail.statusReason or "",
        container_reason=container.reason or "",
        exit_code=container.exitCode,
        log_stream=container.logStreamName or "",
        tags={key: value or "" for key, value in islice((detail.tags or {}).items(), _TAGS_MAX)},
    )


def _kind(detail: _Detail, *, is_child: bool, is_parent: bool) -> JobKind:
    if detail.serviceJobType is not None:
        return "service"
    if is_child:
        return "child"
    if "#" in detail.jobId:
        return "node"
    if is_parent:
        return "array"
    return "multi-node" if (detail.nodeProperties or {}).get("numNodes") else "single"


def from_millis(millis: int | None) -> datetime | None:
    """A time that Batch's API tells in milliseconds; None where it is 0, missing or no time."""
    if millis is None or not 0 < millis < TIMES_END.timestamp() * 1000:
        return None
    return EPOCH + timedelta(milliseconds=millis)
