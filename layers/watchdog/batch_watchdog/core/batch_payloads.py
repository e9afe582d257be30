"""
The events of AWS Batch, as EventBridge delivers them.

The shapes are lenient where AWS is free to differ: unknown fields are passed over, optional
parts may be missing or null, unknown states are kept as sent. What makes a change a change,
a job, a state and a time, must be there. Text that is longer than any that AWS sends is cut, so
that whatever is kept of it fits into an item of the table, and into a notice.
https://docs.aws.amazon.com/batch/latest/userguide/batch_job_events.html
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
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
)
from batch_watchdog.notices.links import DEFAULT_PLACE, LogPlace


def parse_event(body: str) -> JobEvent | QueueBlocked:
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


# What is only read of jobs that failed, or matters for a detail, is read as `Any` and looked at
# later: that is faster, and no event is refused for it.
class _Container(_Lenient):
    name: _Name | None = None
    exitCode: _Code | None = None  # noqa: N815
    reason: _Text | None = None
    logStreamName: _Stream | None = None  # noqa: N815
    essential: Any = None
    dependsOn: Any = None  # noqa: N815
    logConfiguration: Any = None  # noqa: N815


class _Task(_Lenient):
    containers: list[_Container] | None = None


class _EcsProperties(_Lenient):
    taskProperties: list[_Task] | None = None  # noqa: N815


class _PodProperties(_Lenient):
    podName: Any = None  # noqa: N815
    containers: list[_Container] | None = None
    initContainers: list[_Container] | None = None  # noqa: N815


class _EksProperties(_Lenient):
    podProperties: _PodProperties | None = None  # noqa: N815


def _known_millis(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# A time that is no more than a proof: one of another type than AWS's proves nothing.
type _Millis = Annotated[int | None, BeforeValidator(_known_millis)]


class _Attempt(_Lenient):
    podName: Any = None  # noqa: N815
    container: _Container | None = None
    containers: list[_Container] | None = None  # of an EKS attempt
    initContainers: list[_Container] | None = None  # noqa: N815 - of an EKS attempt
    taskProperties: list[_Task] | None = None  # noqa: N815 - of several containers
    startedAt: _Millis = None  # noqa: N815
    stoppedAt: int | None = None  # noqa: N815

    def parts(self) -> bool:
        """Whether it shows several containers."""
        return bool(self.containers or self.initContainers or self.taskProperties)


class _PreemptedAttempt(_Lenient):
    startedAt: _Millis = None  # noqa: N815
    stoppedAt: _Millis = None  # noqa: N815


class _PreemptionSummary(_Lenient):
    recentPreemptedAttempts: list[_PreemptedAttempt] | None = None  # noqa: N815


class _ArrayProperties(_Lenient):
    size: Annotated[int, Field(ge=1, le=ARRAY_MAX)] | None = None
    index: Annotated[int, Field(ge=0, lt=ARRAY_MAX)] | None = None
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
    stoppedAt: _Millis = None  # noqa: N815
    preemptionSummary: _PreemptionSummary | None = None  # noqa: N815 - of a service job
    dependsOn: Any = None  # noqa: N815
    tags: dict[_Name, _Name | None] | None = None

    def made(self) -> list[_Attempt]:
        return self.attempts or self.eksAttempts or []

    def not_before(self) -> datetime | None:
        """
        The latest time that lies before the job's time in its state, or begins it.

        A job may come back to RUNNABLE without a new attempt: a service job is preempted, or taken
        back after it was SCHEDULED. AWS does not say whether `attempts` counts a preempted run.
        So each start and each end of a run counts, and each time at which the job was handed on:
        in RUNNABLE it came before, and in SCHEDULED or RUNNING it begins the state.
        https://docs.aws.amazon.com/batch/latest/APIReference/API_DescribeServiceJob.html
        """
        preempted = self.preemptionSummary and self.preemptionSummary.recentPreemptedAttempts
        runs: Iterable[_Attempt | _PreemptedAttempt] = (*self.made(), *(preempted or ()))
        millis = [
            *(at for run in runs for at in (run.startedAt, run.stoppedAt)),
            self.scheduledAt,
            self.startedAt,
            self.stoppedAt if self.status not in ENDED else None,
        ]
        return max(filter(None, map(from_millis, millis)), default=None)

    def ending(self) -> "_End":
        """How the container ended whose end tells most of the job's."""
        made = self.made()
        latest = made[-1] if made else _NO_ATTEMPT
        several = self._several(latest)
        own = [each for each in (self.container, latest.container) if each]
        if not several:
            return _end_of(own)
        ends = [_end_of(seen) for seen in several.values()]
        if any(each.exitCode is not None or each.reason for each in own):
            ends.insert(0, _end_of(own))
        awaited = {name for end in ends for name in _awaited_success(end.depends_on)}
        return min(ends, key=lambda end: end.rank(awaited))

    def pod_name(self) -> Any:
        """The name of the pod of its latest attempt, for a job on EKS."""
        pod = (self.eksProperties and self.eksProperties.podProperties) or _NO_POD
        made = self.made()
        return (made[-1].podName if made else None) or pod.podName

    def _several(self, latest: _Attempt) -> "dict[tuple[str, str | int], list[_Container]]":
        """
        A job's several containers, each as the job and then its latest attempt show it.

        Init containers come first, as they run first.
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
            ("task", _in_tasks(tasks)),
            ("task", _in_tasks(latest.taskProperties)),
        )
        found: dict[tuple[str, str | int], list[_Container]] = {}
        for place, containers in shown:
            for at, each in enumerate(containers or ()):
                found.setdefault((place, each.name or at), []).append(each)
        return found


def _in_tasks(tasks: Iterable[_Task] | None) -> list[_Container]:
    return [container for task in tasks or [] for container in task.containers or []]


# ---- Which container ended how ------------------------------------------------------------

_NO_ATTEMPT, _NO_POD, _NO_CONTAINER = _Attempt(), _PodProperties(), _Container()
_STOPPED = (137, 143)  # by SIGKILL or SIGTERM: mostly since another container had ended


class _End(NamedTuple):
    """How one container ended, as far as is known."""

    name: str
    exit_code: int | None
    reason: str
    stream: str
    essential: bool
    depends_on: Any
    log: Any

    def rank(self, awaited: set[str]) -> tuple[bool, bool, int]:
        """
        The lower, the likelier it is that this container made the job fail.

        Those that failed come first. Of these, the essential ones do (another's failure does not
        end a task), and those for whose success another container waits, which may not be
        essential. Then a code of its own counts more than having been stopped.
        """
        matters = self.essential or self.name in awaited
        out_of_memory = "memory" in self.reason.lower() or "oomkilled" in self.reason.lower()
        if self.exit_code in _STOPPED and not out_of_memory:
            how = 2
        elif self.exit_code:
            how = 0
        elif self.exit_code is None:
            how = 1 if self.reason else 4
        else:  # A pod's container that ended well has the reason "Completed".
            how = 3 if self.reason and self.reason != "Completed" else 5
        return how > 2, not matters, how  # noqa: PLR2004


def _end_of(seen: Sequence[_Container]) -> _End:
    """One container, as the first that shows a part of it has it."""
    first = seen[0] if seen else _NO_CONTAINER
    exit_code, reason, stream = first.exitCode, first.reason, first.logStreamName
    for other in seen[1:]:
        exit_code = other.exitCode if exit_code is None else exit_code
        reason, stream = reason or other.reason, stream or other.logStreamName
    return _End(
        first.name or "",
        exit_code,
        reason or "",
        stream or "",
        first.essential is not False,
        first.dependsOn,
        first.logConfiguration,
    )


def _awaited_success(depends_on: Any) -> Iterator[str]:
    """The containers of its task that a container starts after only if they succeed."""
    for each in depends_on if isinstance(depends_on, list) else ():
        match each:
            case {"containerName": str(name), "condition": "SUCCESS"}:
                yield name


# ---- Where its log is ---------------------------------------------------------------------


def _place_of(log: Any) -> LogPlace:
    """
    Where a logConfiguration sends a log.

    https://docs.aws.amazon.com/batch/latest/APIReference/API_LogConfiguration.html
    """
    if not isinstance(log, Mapping):
        return DEFAULT_PLACE
    options = log.get("options")
    options = options if isinstance(options, Mapping) else {}
    return LogPlace(
        driver=_short(log.get("logDriver")),
        group=_short(options.get("awslogs-group")),
        region=_short(options.get("awslogs-region")),
    )


_NODES = re.compile(r"([0-9]{0,6})(:?)([0-9]{0,6})")


def _log_of_nodes(nodes: Mapping[str, Any]) -> Any:
    """The logConfiguration of a multi-node job's main node: of the narrowest range that has it."""
    main, ranges = nodes.get("mainNode"), nodes.get("nodeRangeProperties")
    found: list[tuple[int, int, Any]] = []
    for each in ranges if isinstance(ranges, list) else ():
        targets = each.get("targetNodes") if isinstance(each, Mapping) else None
        span = _NODES.fullmatch(targets) if isinstance(targets, str) else None
        if span and isinstance(main, int):
            low = int(span[1] or 0)
            high = int(span[3] or ARRAY_MAX) if span[2] else low
            if low <= main <= high:
                found.append((high - low, len(found), _log_in_range(each)))
    return min(found)[2] if found else None


def _log_in_range(node_range: Mapping[str, Any]) -> Any:
    match node_range:
        case {"container": {"logConfiguration": log}}:
            return log
        case {"ecsProperties": {"taskProperties": [{"containers": [*containers]}, *_]}}:
            essential = (
                each
                for each in containers
                if isinstance(each, Mapping) and each.get("essential") is not False
            )
            return next(essential, {}).get("logConfiguration")
    return None


def _short(text: Any) -> str:
    """A text of bounded length, and fit for UTF-8; empty for anything else."""
    return text[:512].encode("utf-8", "replace").decode() if isinstance(text, str) else ""


def _ids_in(depends_on: Any) -> tuple[str, ...]:
    """The ids in a job's `dependsOn`, which holds 20 at most."""
    if not isinstance(depends_on, list):
        return ()
    ids = (each.get("jobId") for each in depends_on[:20] if isinstance(each, Mapping))
    return tuple(dict.fromkeys(each for each in map(_short, ids) if 0 < len(each) <= _ID_KEPT))


_ID_KEPT = 64  # characters of an id in `dependsOn`: an id of Batch's has 36, a child's up to 41


class _Event(_Lenient):
    # One consumer has seen the time under another name.
    time: Time = Field(validation_alias=AliasChoices("time", "event_time"))
    detail_type: str = Field(default="", alias="detail-type")
    detail: _Detail

    def to_blocked(self) -> QueueBlocked:
        detail = self.detail
        _child(detail)
        return QueueBlocked(
            at=self.time,
            queue=detail.jobQueue or "",
            job_id=detail.jobId,
            job_name=detail.jobName or "",
            reason=detail.statusReason or "",
            service=detail.serviceJobType is not None,
        )


def event_from_detail(detail: Mapping[str, Any], at: datetime) -> JobEvent:
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


_NO_ARRAY = _ArrayProperties()
_NOT_AN_INDEX = re.compile(r"(.+):(-[0-9]+)", re.DOTALL)


def _child(detail: _Detail) -> tuple[str, int] | None:
    """
    Parent and index, where the job is an array child.

    Raises:
        MalformedEventError: no array has such an index, or the event names another one besides.
    """
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
    told = detail.arrayProperties.index if detail.arrayProperties else None
    if told is not None and told != index:
        raise MalformedEventError(
            f"detail.arrayProperties.index: {told} is not the index {index} of detail.jobId"
        )
    return child


def _change(detail: _Detail, at: datetime) -> JobEvent:
    array = detail.arrayProperties or _NO_ARRAY
    child = _child(detail)
    is_child = child is not None or array.index is not None
    summary = {} if is_child else array.summary()
    # A parent has a size; should it be missing, its children add up to it once all have ended.
    ended = sum(summary.get(state, 0) for state in ENDED) if detail.status in ENDED else 0
    size = None if is_child else array.size or ended or None
    is_parent = size is not None or any(summary.values())
    made, end = detail.made(), detail.ending()
    return JobEvent(
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
        container_reason=end.reason,
        exit_code=end.exit_code,
        container=end.name,
        log_stream=end.stream,
        log_place=_log_place(detail, end),
        depends_on=_ids_in(detail.dependsOn) if detail.dependsOn else (),
        tags={key: value or "" for key, value in islice((detail.tags or {}).items(), _TAGS_MAX)},
    )


def _log_place(detail: _Detail, end: _End) -> LogPlace:
    if detail.eksProperties or detail.eksAttempts:
        return LogPlace(pod=_short(detail.pod_name()) or "not known")
    if end.log is None and detail.nodeProperties:
        return _place_of(_log_of_nodes(detail.nodeProperties))
    return DEFAULT_PLACE if end.log is None else _place_of(end.log)


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
