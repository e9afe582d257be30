"""
Read the events of AWS Batch, as EventBridge delivers them.

The models are lenient where AWS may change the format: unknown fields are ignored, optional parts
may be missing or null, unknown states are kept as sent. A job, a state and a time must be there,
as there is no job event without them. Text that is longer than any that AWS sends is cut, so that
it fits into an item of the table, and into a notice.
https://docs.aws.amazon.com/batch/latest/userguide/batch_job_events.html
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

from pydantic import AliasChoices, Field, ValidationError

from batch_watchdog.core.container_end import (
    ContainerEnd,
    awaited_success,
    end_of,
    log_of_nodes,
    place_of,
)
from batch_watchdog.core.errors import MalformedEventError
from batch_watchdog.core.job_event import (
    ARRAY_MAX,
    ENDED,
    JobEvent,
    JobKind,
    QueueBlocked,
    Time,
    array_child,
    from_millis,
    known_millis,
)
from batch_watchdog.core.payload_parts import (
    NAME_MAX,
    TEXT_MAX,
    ContainerPayload,
    EcsProperties,
    EksProperties,
    LenientModel,
    PodProperties,
    PreemptedAttempt,
    PreemptionSummary,
    TaskPayload,
    cut,
    in_tasks,
    shortened,
)
from batch_watchdog.notices.links import DEFAULT_PLACE, LogPlace


def parse_event(body: str) -> JobEvent | QueueBlocked:
    """
    Read one Batch event from its JSON text.

    Raises:
        MalformedEventError: it is not a Batch event; says which part, and what was expected.
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
    # Python's json module accepts what pydantic's parser refuses: above all unpaired surrogates.
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise MalformedEventError(f"event: not JSON: {error}") from error
    return _Event.model_validate_json(text.encode("utf-8", "replace"))


type _Count = Annotated[int, Field(ge=0, le=ARRAY_MAX)]
type _Id = Annotated[str, Field(min_length=1, max_length=256)]

_TAGS_MAX = 100  # AWS allows 50


class _Attempt(LenientModel):
    podName: Any = None  # noqa: N815
    container: ContainerPayload | None = None
    containers: list[ContainerPayload] | None = None  # of an EKS attempt
    initContainers: list[ContainerPayload] | None = None  # noqa: N815 - of an EKS attempt
    taskProperties: list[TaskPayload] | None = None  # noqa: N815 - of several containers
    startedAt: Any = None  # noqa: N815
    stoppedAt: Any = None  # noqa: N815

    def parts(self) -> bool:
        """Whether it has a list of containers."""
        return bool(self.containers or self.initContainers or self.taskProperties)


class _ArrayProperties(LenientModel):
    size: Annotated[int, Field(ge=1, le=ARRAY_MAX)] | None = None
    index: Annotated[int, Field(ge=0, lt=ARRAY_MAX)] | None = None
    statusSummary: dict[str, _Count | None] | None = None  # noqa: N815

    def summary(self) -> dict[str, int]:
        return {state: count or 0 for state, count in (self.statusSummary or {}).items()}


class _Detail(LenientModel):
    jobId: _Id  # noqa: N815
    jobName: str | None = None  # noqa: N815
    jobQueue: str | None = None  # noqa: N815
    jobDefinition: str | None = None  # noqa: N815
    status: Annotated[str, Field(min_length=1, max_length=64)]
    statusReason: str | None = None  # noqa: N815
    attempts: list[_Attempt] | None = None
    eksAttempts: list[_Attempt] | None = None  # noqa: N815
    container: ContainerPayload | None = None
    ecsProperties: EcsProperties | None = None  # noqa: N815
    eksProperties: EksProperties | None = None  # noqa: N815
    arrayProperties: _ArrayProperties | None = None  # noqa: N815
    nodeProperties: dict[str, Any] | None = None  # noqa: N815
    serviceJobType: str | None = None  # noqa: N815
    scheduledAt: Any = None  # noqa: N815 - of a service job
    startedAt: Any = None  # noqa: N815
    stoppedAt: Any = None  # noqa: N815
    preemptionSummary: PreemptionSummary | None = None  # noqa: N815 - of a service job
    dependsOn: Any = None  # noqa: N815
    tags: dict[str, str | None] | None = None

    def made(self) -> list[_Attempt]:
        return self.attempts or self.eksAttempts or []

    def not_before(self) -> datetime | None:
        """
        Return the latest time that Batch shows at, or before, the beginning of the current stay.

        A job may come back to RUNNABLE without a new attempt: a service job is preempted, or
        returns after it was SCHEDULED. AWS does not say whether `attempts` counts a preempted run.
        So all starts and ends of runs are used, and the time at which the job was scheduled. In
        RUNNABLE they lie before the stay; in SCHEDULED or RUNNING the latest one begins it.
        https://docs.aws.amazon.com/batch/latest/APIReference/API_DescribeServiceJob.html
        """
        times = [self.scheduledAt, self.startedAt]
        if self.status not in ENDED:
            times.append(self.stoppedAt)
        preempted = self.preemptionSummary and self.preemptionSummary.recentPreemptedAttempts
        runs: Iterable[_Attempt | PreemptedAttempt] = (*self.made(), *(preempted or ()))
        for run in runs:
            times += (run.startedAt, run.stoppedAt)
        return from_millis(max(map(known_millis, times)))

    def ending(self) -> "ContainerEnd":
        """Return the end of the container that most likely made the job fail."""
        made = self.made()
        latest = made[-1] if made else _NO_ATTEMPT
        several = self._several(latest)
        own = [each for each in (self.container, latest.container) if each]
        if not several:
            return end_of(own)
        ends = [end_of(seen) for seen in several.values()]
        if any(each.exitCode is not None or each.reason for each in own):
            ends.insert(0, end_of(own))
        awaited = {name for end in ends for name in awaited_success(end.depends_on)}
        return min(ends, key=lambda end: end.rank(awaited))

    def pod_name(self) -> Any:
        """Return the name of the pod of the latest attempt, for a job on EKS."""
        pod = (self.eksProperties and self.eksProperties.podProperties) or _NO_POD
        made = self.made()
        return (made[-1].podName if made else None) or pod.podName

    def _several(self, latest: _Attempt) -> "dict[tuple[str, str | int], list[ContainerPayload]]":
        """
        Return a job's containers, if it may have several.

        Each container has what the job shows of it, then what the latest attempt shows. Init
        containers come first, as they run first.
        """
        if self.ecsProperties is None and self.eksProperties is None and not latest.parts():
            return {}
        pod = (self.eksProperties and self.eksProperties.podProperties) or _NO_POD
        tasks = (self.ecsProperties and self.ecsProperties.taskProperties) or []
        shown = (
            ("init", pod.initContainers),
            ("init", latest.initContainers),
            ("pod", pod.containers),
            ("pod", latest.containers),
            ("task", in_tasks(tasks)),
            ("task", in_tasks(latest.taskProperties)),
        )
        found: dict[tuple[str, str | int], list[ContainerPayload]] = {}
        for place, containers in shown:
            for at, each in enumerate(containers or ()):
                found.setdefault((place, each.name or at), []).append(each)
        return found


_NO_ATTEMPT, _NO_POD, _NO_END = _Attempt(), PodProperties(), end_of(())


def _ids_in(depends_on: Any) -> tuple[str, ...]:
    """Return the ids in a job's `dependsOn`, which holds 20 at most."""
    if not isinstance(depends_on, list):
        return ()
    ids = (each.get("jobId") for each in depends_on[:20] if isinstance(each, Mapping))
    return tuple(dict.fromkeys(each for each in map(shortened, ids) if 0 < len(each) <= _ID_KEPT))


_ID_KEPT = 64  # characters of an id in `dependsOn`: a job's id has 36, a child's up to 41


class _Event(LenientModel):
    # One consumer of these events has received the time under another name.
    time: Time = Field(validation_alias=AliasChoices("time", "event_time"))
    detail_type: str = Field(default="", alias="detail-type")
    detail: _Detail

    def to_blocked(self) -> QueueBlocked:
        detail = self.detail
        _child(detail)
        return QueueBlocked(
            at=self.time,
            queue=cut(detail.jobQueue, NAME_MAX),
            job_id=detail.jobId,
            job_name=cut(detail.jobName, NAME_MAX),
            reason=cut(detail.statusReason, TEXT_MAX),
            service=detail.serviceJobType is not None,
        )


def event_from_detail(detail: Mapping[str, Any], at: datetime) -> JobEvent:
    """
    Read a job as DescribeJobs or ListJobs shows it at a time, in the same form as its events.

    Raises:
        pydantic.ValidationError: it has no id, no state, or parts of another type than AWS's.
        MalformedEventError: it is an array child with an impossible index.
    """
    try:
        return _change(_Detail.model_validate(detail), at)
    except ValidationError:  # Above all an unpaired surrogate in a text: see `_read`.
        text = json.dumps(detail, ensure_ascii=False, default=str)
        return _change(_Detail.model_validate_json(text.encode("utf-8", "replace")), at)


_NO_ARRAY = _ArrayProperties()
_NOT_AN_INDEX = re.compile(r"(.+):(-[0-9]+)", re.DOTALL)


def _child(detail: _Detail) -> tuple[str, int] | None:
    """
    Return parent and index if the job is an array child, else None.

    Raises:
        MalformedEventError: the index is out of range, or the event also names another index.
    """
    if ":" not in detail.jobId:
        return None
    child = array_child(detail.jobId)
    if child is None:
        negative = _NOT_AN_INDEX.fullmatch(detail.jobId)
        if negative:
            raise MalformedEventError(f"detail.jobId: index {negative[2]} is below 0")
        return None
    index = child[1]
    if index >= ARRAY_MAX:
        raise MalformedEventError(
            f"detail.jobId: index {index} is not below {ARRAY_MAX}, the largest array"
        )
    reported = detail.arrayProperties.index if detail.arrayProperties else None
    if reported is not None and reported != index:
        raise MalformedEventError(
            f"detail.arrayProperties.index: {reported} is not the index {index} of detail.jobId"
        )
    return child


def _change(detail: _Detail, at: datetime) -> JobEvent:
    array = detail.arrayProperties or _NO_ARRAY
    child = _child(detail)
    is_child = child is not None or array.index is not None
    summary = {} if is_child else array.summary()
    # A parent has a size. If that is missing, its children add up to it once all have ended.
    ended = sum(summary.get(state, 0) for state in ENDED) if detail.status in ENDED else 0
    size = None if is_child else array.size or ended or None
    is_parent = size is not None or any(summary.values())
    end = detail.ending() if detail.status == "FAILED" else _NO_END
    return JobEvent(
        at=at,
        job_id=detail.jobId,
        job_name=cut(detail.jobName, NAME_MAX),
        queue=cut(detail.jobQueue, NAME_MAX),
        definition=cut(detail.jobDefinition, NAME_MAX),
        status=detail.status,
        kind=_kind(detail, is_child=child is not None, is_parent=is_parent),
        parent_id=child[0] if child else "",
        index=child[1] if child else -1,
        size=size,
        summary=summary,
        attempts=len(detail.made()),
        not_before=detail.not_before(),
        reason=cut(detail.statusReason, TEXT_MAX),
        container_reason=end.reason,
        exit_code=end.exit_code,
        container=end.name,
        log_stream=end.stream,
        log_place=_log_place(detail, end),
        depends_on=_ids_in(detail.dependsOn) if detail.dependsOn else (),
        tags=_tags_in(detail.tags) if detail.tags else {},
    )


def _tags_in(tags: Mapping[str, str | None]) -> dict[str, str]:
    some = islice(tags.items(), _TAGS_MAX)
    return {cut(key, NAME_MAX): cut(value, NAME_MAX) for key, value in some}


def _log_place(detail: _Detail, end: ContainerEnd) -> LogPlace:
    if detail.eksProperties or detail.eksAttempts:
        return LogPlace(pod=shortened(detail.pod_name()) or "not known")
    if end.log is None and detail.nodeProperties:
        return place_of(log_of_nodes(detail.nodeProperties))
    return DEFAULT_PLACE if end.log is None else place_of(end.log)


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
