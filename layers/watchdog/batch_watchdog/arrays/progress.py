"""
Track the progress of one array job: what is known of it, and when it is done.

Outcomes are a union over the children's indices, so order and repeats do not matter. They are
kept in parts of 4,000 indices, one byte an index: 0 is unknown, 1 is succeeded, and from 2 on is
failed, by the part's own list of causes. Compressed, a part is mostly smaller than 1 KB.

An array is done when Batch reports that the parent has ended and every failure is known, or when
every index has been counted, whichever comes first. The sweep asks Batch for what events leave out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.failure_cause import (
    OTHER,
    OTHER_STOP,
    REASON_MAX,
    FailureCause,
    cause_of,
    whole_reason,
)
from batch_watchdog.core.job_event import ENDED, JobEvent, from_millis
from batch_watchdog.core.known_causes import known_cause
from batch_watchdog.core.stop_cause import stopper_in
from batch_watchdog.notices.links import DEFAULT_PLACE, LogPlace
from batch_watchdog.notices.text import fact


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCounts:
    """How many children have ended, and how, as far as is known."""

    size: int
    succeeded: int
    failed: int
    stopped: int = 0
    fell: int = 0  # failed, but not on their own as far as is known

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.stopped + self.fell


PART_SIZE = 4_000  # indices
FORGOTTEN_AFTER = timedelta(minutes=10)  # from the array's end, if no answer shows it
STRAGGLERS_WAIT = timedelta(seconds=60)  # from the parent's end, for children's late events

UNKNOWN_CODE, SUCCEEDED_CODE, FAILED_CODE = 0, 1, 2
_CAUSES_MAX = 60  # of a part; further causes are counted as one, and so are further stops


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCause:
    """
    A cause in a part, and the log of the lowest index that failed by it and has a log.

    `words` is Batch's own text about the lowest index whose text differs from the cause. If it had
    to be cut, `code` is that of the known cause that the whole text shows.
    """

    cause: FailureCause
    words: str = ""
    words_index: int = -1
    code: str = ""
    log_index: int = -1
    log_stream: str = ""
    log_place: LogPlace = DEFAULT_PLACE
    container: str = ""  # whose log it is, where a child has several

    @property
    def has_log(self) -> bool:
        return self.log_index >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The outcomes of indices `number` × 4,000 and following."""

    number: int
    outcomes: bytes = b""
    causes: tuple[KnownCause, ...] = ()
    version: int = 0

    def counted(self) -> int:
        return len(self.outcomes) - self.outcomes.count(UNKNOWN_CODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """
    One array job. `size` is None until the parent's event, or Batch's answer, has shown it.

    `ended_at`, `status` and `summary` (children by state) are what Batch reported of the parent.
    """

    job_id: str
    job_name: str
    queue: str
    definition: str
    first_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    ended_at: datetime | None = None
    status: str = ""
    reason: str = ""
    summary: Mapping[str, int] = field(default_factory=dict)
    announced: bool = False
    told_percent: int = 0
    rest_told: bool = False  # in observe mode: it is announced that the rest would be stopped
    rest_stopped_at: datetime | None = None
    rest_stopped_by: str = ""  # the rule, as its label
    rest_stop_known: bool = False  # the stop's result is known
    depends_on: tuple[str, ...] = ()  # ids of jobs
    version: int = 0

    @property
    def failed_by_batch(self) -> int | None:
        """How many children failed, if Batch's own count is known and complete."""
        ended = sum(self.summary.get(state, 0) for state in ENDED)
        return self.summary.get("FAILED", 0) if self.ended_at and ended == self.size else None

    @property
    def stopper(self) -> str:
        """The guard or rule that stopped the whole array, by Batch's reason or our own record."""
        return stopper_in(self.reason) or self.rest_stopped_by


def part_of(index: int) -> int:
    """Return the number of the part that holds an index."""
    return index // PART_SIZE


def parts_in(size: int) -> int:
    """Return how many parts an array of `size` has."""
    return part_of(size - 1) + 1


# ---- Adding what happens ------------------------------------------------------------------


def begin(event: JobEvent) -> Array:
    """Build an array from the first change that was received, of the parent or of a child."""
    return Array(
        job_id=event.parent_id or event.job_id,
        job_name=event.job_name,
        queue=event.queue,
        definition=event.definition,
        first_at=event.at,
        tags=_own(event.tags),
    )


def take_in(array: Array, event: JobEvent) -> Array:
    """Add what a change shows of the array. How a child ended is added by `unite`."""
    array = _named(array, event.job_name, event.queue, event.definition, event.tags)
    if event.kind != "array":
        return array
    array = replace(
        array,
        size=array.size or event.size,
        depends_on=array.depends_on or event.depends_on,
    )
    return _end(array, event.status, event.reason, event.summary, event.at)


def ask(array: Array, detail: Mapping[str, Any], now: datetime) -> Array:
    """Add what Batch's answer about the parent (a JobDetail) shows."""
    job = event_from_detail(detail, now)
    array = _named(array, job.job_name, job.queue, job.definition, job.tags)
    array = replace(
        array,
        # Tags can change, and `act` uses the current ones.
        tags=array.tags if detail.get("tags") is None else _own(job.tags),
        size=array.size or job.size,
        depends_on=array.depends_on or job.depends_on,
    )
    if array.size is None:
        return array
    stopped_at = from_millis(detail.get("stoppedAt"))
    return _end(array, job.status, job.reason, job.summary, stopped_at or now)


def _named(
    array: Array, job_name: str, queue: str, definition: str, tags: Mapping[str, str]
) -> Array:
    """Return the array, with the missing ones of its names and tags."""
    own = array.tags or _own(tags)
    if array.job_name and array.queue and array.definition and own == array.tags:
        return array
    return replace(
        array,
        job_name=array.job_name or job_name,
        queue=array.queue or queue,
        definition=array.definition or definition,
        tags=own,
    )


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags without the one that Batch adds in events."""
    return {name: value for name, value in tags.items() if name != "resourceArn"}


def _end(array: Array, status: str, reason: str, summary: Mapping[str, int], at: datetime) -> Array:
    if status not in ENDED or array.failed_by_batch is not None:
        return array
    counts = {state: summary[state] for state in ENDED if state in summary}
    return replace(
        array,
        status=status,
        reason=fact(reason),
        summary=counts or array.summary,
        ended_at=array.ended_at or at,
    )


def unite(part: Part, events: Iterable[JobEvent]) -> Part:
    """
    Add children's final states to their part; all other states add nothing.

    A child reported as both failed and succeeded (which Batch never does) has succeeded.
    """
    outcomes = bytearray(part.outcomes)
    causes = list(part.causes)
    numbers = {known.cause: number for number, known in enumerate(causes)}
    for event in events:
        if not event.ended:
            continue
        at = event.index - part.number * PART_SIZE
        outcomes.extend(bytes(max(0, at + 1 - len(outcomes))))
        if event.status == "SUCCEEDED":
            outcomes[at] = SUCCEEDED_CODE
        elif outcomes[at] == UNKNOWN_CODE:
            number = _number(cause_of(event), numbers, causes)
            causes[number] = _with_words(with_log(causes[number], event), event)
            outcomes[at] = FAILED_CODE + number
    return replace(part, outcomes=bytes(outcomes), causes=tuple(causes))


def _number(cause: FailureCause, numbers: dict[FailureCause, int], causes: list[KnownCause]) -> int:
    if cause not in numbers and len(causes) >= _CAUSES_MAX - 2:  # Room for OTHER, OTHER_STOP.
        cause = OTHER_STOP if cause.stopper else OTHER
    if cause not in numbers:
        numbers[cause] = len(causes)
        causes.append(KnownCause(cause=cause))
    return numbers[cause]


def with_log(known: KnownCause, event: JobEvent) -> KnownCause:
    if not (event.log_stream or event.log_place.log_group is None):
        return known
    if known.has_log and known.log_index < event.index:
        return known
    return replace(
        known,
        log_index=event.index,
        log_stream=fact(event.log_stream),
        log_place=event.log_place,
        container=fact(event.container),
    )


def _with_words(known: KnownCause, event: JobEvent) -> KnownCause:
    if 0 <= known.words_index < event.index or known.cause.stopper:
        return known
    words = whole_reason(event.reason, event.container_reason)
    if words == known.cause.reason:
        return known
    if len(words) <= REASON_MAX:
        return replace(known, words=words, words_index=event.index, code="")
    found = known_cause(event.exit_code, words)
    return replace(
        known,
        words=f"{words[: REASON_MAX - 1]}…",
        words_index=event.index,
        code=found.code if found else "",
    )


# ---- The end of an array ------------------------------------------------------------------


def clipped(part: Part, size: int) -> Part:
    """Return the part without indices beyond an array of this size."""
    return replace(part, outcomes=part.outcomes[: max(0, size - part.number * PART_SIZE)])


def failed_indices(parts: Iterable[Part]) -> list[int]:
    """Return the indices known to have failed, in order."""
    return [
        part.number * PART_SIZE + at
        for part in sorted(parts, key=lambda part: part.number)
        for at, outcome in enumerate(part.outcomes)
        if outcome >= FAILED_CODE
    ]


def indices_without_result(array: Array, parts: Iterable[Part]) -> list[int]:
    """
    Return the indices whose end is not known, in order, of an array that Batch calls FAILED.

    They never began if the array failed before any child existed. If Batch has counted all
    children, no index is without a result.
    """
    if array.status != "FAILED" or array.failed_by_batch is not None or array.size is None:
        return []
    known = {part.number: part.outcomes for part in parts}
    outcomes = b"".join(
        known.get(number, b"").ljust(PART_SIZE, bytes([UNKNOWN_CODE]))
        for number in range(parts_in(array.size))
    )
    return [at for at, outcome in enumerate(outcomes[: array.size]) if outcome == UNKNOWN_CODE]


def may_be_done(array: Array, part: Part) -> bool:
    """Check whether nothing in this part is awaited: it is full, or the parent has ended."""
    if array.size is None:
        return False
    full = min(PART_SIZE, array.size - part.number * PART_SIZE)
    return array.ended_at is not None or part.counted() >= full


def is_done(array: Array, parts: Sequence[Part]) -> bool:
    """Check whether all facts of the end's notice are known: counts, and each failed index."""
    if array.size is None:
        return False
    failed = sum(
        len(part.outcomes) - part.outcomes.count(UNKNOWN_CODE) - part.outcomes.count(SUCCEEDED_CODE)
        for part in parts
    )
    if array.failed_by_batch is not None:
        return failed == array.failed_by_batch
    return sum(part.counted() for part in parts) >= array.size


def lacks_only_stragglers(array: Array, now: datetime) -> bool:
    """Check whether the parent ended so recently that children's events may still arrive."""
    return array.ended_at is not None and abs(now - array.ended_at) < STRAGGLERS_WAIT


def is_forgotten(array: Array, now: datetime) -> bool:
    """Check whether an array that an answer lacks counts as forgotten: one answer may omit it."""
    return array.ended_at is not None and now - array.ended_at >= FORGOTTEN_AFTER
