"""
Array progress: what is known of one array job, and when it is done.

Outcomes are a union over the children's indices, so order and repeats do not matter. They are
kept in parts of 4,000 indices, one byte an index: 0 unknown, 1 succeeded, and from 2 on
failed, by the part's own list of causes. Compressed, a part is mostly smaller than 1 KB.

An array is done when Batch says so of the parent and every failure is known, or when every
index has been counted, whichever comes first. What events leave open, the sweep asks for.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.changes import (
    ENDED,
    Change,
    blames_a_dependency,
    change_of,
    from_millis,
    resource_name,
)
from batch_watchdog.notices import (
    DEFAULT_PLACE,
    LogPlace,
    Notice,
    fact,
    iso,
    job_link,
    log_group,
    log_text,
    plain,
    queue_link,
    ranges,
    shorten,
    span,
    subject,
)

PART_SIZE = 4_000  # indices
GROUPS_MAX = 20  # groups of failures that a notice tells apart; the rest is "other"
FORGOTTEN_AFTER = timedelta(minutes=10)  # from its end, where no answer shows the array
STRAGGLERS_WAIT = timedelta(seconds=60)  # from the parent's end, for children's late events

_UNKNOWN, _SUCCEEDED, _FAILED = 0, 1, 2
_CAUSES_MAX = 60  # a part's; further causes are counted as one
_REASON_MAX = 300  # characters


@dataclass(frozen=True, slots=True, order=True)
class Cause:
    """What failures of a group share; ids and numbers in the reason are replaced by "*"."""

    exit_code: int | None
    reason: str

    @property
    def follows(self) -> bool:
        """Whether it is the consequence of another failure: of a job that these depend on."""
        return self.exit_code is None and blames_a_dependency(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCause:
    """A cause in a part, and the log of the lowest index that it hit and that has one."""

    cause: Cause
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
        return len(self.outcomes) - self.outcomes.count(_UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """
    One array job. `size` is None until the parent, or Batch when asked, has told it.

    `ended_at`, `status` and `summary` (children by state) are Batch's word on the parent.
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
    rest_told: bool = False  # what would be stopped, in observe mode
    rest_stopped_at: datetime | None = None
    depends_on: tuple[str, ...] = ()  # ids of jobs
    version: int = 0

    @property
    def failed_by_batch(self) -> int | None:
        """How many children failed, where Batch's own count is known and whole."""
        ended = sum(self.summary.get(state, 0) for state in ENDED)
        return self.summary.get("FAILED", 0) if self.ended_at and ended == self.size else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Failures that share a cause."""

    cause: Cause
    indices: tuple[int, ...]
    example: KnownCause | None = None  # with the log of one of them
    unseen: int = 0  # counted by Batch, with no index known

    @property
    def count(self) -> int:
        return len(self.indices) + self.unseen

    @property
    def log_stream(self) -> str:
        return self.example.log_stream if self.example else ""

    @property
    def log_place(self) -> LogPlace:
        return self.example.log_place if self.example else DEFAULT_PLACE

    @property
    def container(self) -> str:
        return self.example.container if self.example else ""


def part_of(index: int) -> int:
    """The number of the part that holds an index."""
    return index // PART_SIZE


def parts_in(size: int) -> int:
    """How many parts an array of `size` has."""
    return part_of(size - 1) + 1


# ---- Taking in what happens ---------------------------------------------------------------


def begin(change: Change) -> Array:
    """What is known of an array after the first change seen, of the parent or of a child."""
    return Array(
        job_id=change.parent_id or change.job_id,
        job_name=change.job_name,
        queue=change.queue,
        definition=change.definition,
        first_at=change.at,
        tags=_own(change.tags),
    )


def take_in(array: Array, change: Change) -> Array:
    """What a change tells of the array. How a child ended is no part of it: see `unite`."""
    array = _named(array, change.job_name, change.queue, change.definition, change.tags)
    if change.kind != "array":
        return array
    array = replace(
        array,
        size=array.size or change.size,
        depends_on=array.depends_on or change.depends_on,
    )
    return _end(array, change.status, change.reason, change.summary, change.at)


def ask(array: Array, detail: Mapping[str, Any], now: datetime) -> Array:
    """What Batch's answer about the parent (a JobDetail) adds."""
    job = change_of(detail, now)
    array = _named(array, job.job_name, job.queue, job.definition, job.tags)
    array = replace(
        array,
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
    """The array, with what was missing of its names."""
    return replace(
        array,
        job_name=array.job_name or job_name,
        queue=array.queue or queue,
        definition=array.definition or definition,
        tags=array.tags or _own(tags),
    )


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags without the one that Batch adds in events."""
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


def unite(part: Part, changes: Iterable[Change]) -> Part:
    """
    Add children's final states to their part; all other states add nothing.

    A child that both failed and succeeded (which Batch never says) has succeeded.
    """
    outcomes = bytearray(part.outcomes)
    causes = list(part.causes)
    numbers = {known.cause: number for number, known in enumerate(causes)}
    for change in changes:
        if not change.ended:
            continue
        at = change.index - part.number * PART_SIZE
        outcomes.extend(bytes(max(0, at + 1 - len(outcomes))))
        if change.status == "SUCCEEDED":
            outcomes[at] = _SUCCEEDED
        elif outcomes[at] == _UNKNOWN:
            number = _number(cause_of(change), numbers, causes)
            causes[number] = _with_log(causes[number], change)
            outcomes[at] = _FAILED + number
    return replace(part, outcomes=bytes(outcomes), causes=tuple(causes))


def _number(cause: Cause, numbers: dict[Cause, int], causes: list[KnownCause]) -> int:
    if cause not in numbers and len(causes) >= _CAUSES_MAX - 1:
        cause = OTHER
    if cause not in numbers:
        numbers[cause] = len(causes)
        causes.append(KnownCause(cause=cause))
    return numbers[cause]


def _with_log(known: KnownCause, change: Change) -> KnownCause:
    if not (change.log_stream or change.log_place.log_group is None):
        return known
    if known.has_log and known.log_index < change.index:
        return known
    return replace(
        known,
        log_index=change.index,
        log_stream=fact(change.log_stream),
        log_place=change.log_place,
        container=fact(change.container),
    )


# ---- Causes -------------------------------------------------------------------------------

OTHER = Cause(None, "other causes")

_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|\d)+")
_HEX = re.compile(r"[0-9a-fA-F-]{8,}")
_NAMES = frozenset({"EC2", "S3", "x86_64", "arm64", "UTF-8", "SHA256", "sha256", "IPv4", "IPv6"})
_RUN = re.compile(r"\*(?:[.:+,]{1,2}\*)+")


def cause_of(change: Change) -> Cause:
    """The cause of a failure, with ids and numbers in the text made alike."""
    return cause_from(change.exit_code, change.reason, change.container_reason)


def cause_from(exit_code: int | None, reason: str, container_reason: str) -> Cause:
    """As `cause_of`, from the three parts."""
    both = dict.fromkeys(text.strip()[:1_024] for text in (reason, container_reason))
    return Cause(exit_code, normalise(": ".join(text for text in both if text)))


# Where a disk is full, neither the file nor the step at which it filled up is the cause.
_DISK_FULL = re.compile(
    r"\b(\w*Error):.*?\b(no space left on device|disk quota exceeded)\b.*", re.IGNORECASE
)
# What lies below these is named anew each time, often without a digit: tmpqwertyu, a layer's file.
_TEMPORARY = re.compile(
    r"(?<![\w.*-])(/(?:var/|private/)?tmp|/dev/shm|/var/lib/(?:docker|containerd|ecs|kubelet)"
    r"|/run/(?:docker|containerd)|/docker_scratch|/scratch)/[^\s:;,'\"`()\[\]{}|]+"
)
_QUERY = re.compile(r"(?<=[\w/*])\?[^\s'\"`]+")  # of a signed address


def normalise(reason: str) -> str:
    """
    A reason with each id and each number as "*", on one line.

    A word with a digit in it is taken for an id ("i-0abc12", "10.0.0.7", "run_17"), and so is
    a long hexadecimal one; a few names with digits, such as EC2, are left alone. A path below a
    directory for temporary files is an id as a whole. Other paths without digits are left alone:
    it matters which program is missing.
    """
    text = _DISK_FULL.sub(_disk_full, plain(reason, 2_048))
    text = _QUERY.sub("?*", _TEMPORARY.sub(r"\1/*", text))
    text = _TOKEN.sub(_star, text)
    return plain(_RUN.sub("*", text), _REASON_MAX)


def _disk_full(match: re.Match[str]) -> str:
    return f"{match[1]}: {match[2].lower()}"


def _star(match: re.Match[str]) -> str:
    word = match[0]
    if word in _NAMES:
        return word
    return "*" if any(map(str.isdigit, word)) or _HEX.fullmatch(word) else word


# ---- Being done ---------------------------------------------------------------------------


def clipped(part: Part, size: int) -> Part:
    """The part without indices that an array of this size has not."""
    return replace(part, outcomes=part.outcomes[: max(0, size - part.number * PART_SIZE)])


def failed_indices(parts: Iterable[Part]) -> list[int]:
    """The indices known to have failed, in order."""
    return [
        part.number * PART_SIZE + at
        for part in sorted(parts, key=lambda part: part.number)
        for at, outcome in enumerate(part.outcomes)
        if outcome >= _FAILED
    ]


def may_be_done(array: Array, part: Part) -> bool:
    """Whether this part is no reason to wait: it is full, or Batch has said that all ended."""
    if array.size is None:
        return False
    full = min(PART_SIZE, array.size - part.number * PART_SIZE)
    return array.ended_at is not None or part.counted() >= full


def is_done(array: Array, parts: Sequence[Part]) -> bool:
    """Whether all is known that a completion tells: the counts, and each failed index."""
    if array.size is None:
        return False
    failed = sum(
        len(part.outcomes) - part.outcomes.count(_UNKNOWN) - part.outcomes.count(_SUCCEEDED)
        for part in parts
    )
    if array.failed_by_batch is not None:
        return failed == array.failed_by_batch
    return sum(part.counted() for part in parts) >= array.size


def lacks_only_stragglers(array: Array, now: datetime) -> bool:
    """Whether the parent ended so recently that children's events may still be on their way."""
    return array.ended_at is not None and abs(now - array.ended_at) < STRAGGLERS_WAIT


def is_forgotten(array: Array, now: datetime) -> bool:
    """Whether Batch no longer knows an array that an answer lacks: one answer may leave it out."""
    return array.ended_at is not None and now - array.ended_at >= FORGOTTEN_AFTER


def correct(array: Array, parts: Iterable[Part], failures: Sequence[Change]) -> list[Part]:
    """
    The parts with the failures that Batch lists.

    Where its list is as long as its own count, it also takes back what it does not list.
    """
    listed = {child.index for child in failures}
    whole = len(listed) == array.failed_by_batch
    corrected = []
    for part in parts:
        first = part.number * PART_SIZE
        outcomes = bytearray(part.outcomes)
        for at, outcome in enumerate(outcomes):
            taken_back = whole and outcome >= _FAILED and first + at not in listed
            if taken_back or (outcome == _SUCCEEDED and first + at in listed):
                outcomes[at] = _UNKNOWN
        of_part = [child for child in failures if part_of(child.index) == part.number]
        corrected.append(unite(replace(part, outcomes=bytes(outcomes)), of_part))
    return corrected


def without_log(parts: Iterable[Part]) -> list[int]:
    """One index for each cause of which no log is known, though there may be one."""
    found = []
    for part in parts:
        for number, known in enumerate(part.causes):
            at = part.outcomes.find(_FAILED + number)
            if at >= 0 and not known.has_log and not known.cause.follows:
                found.append(part.number * PART_SIZE + at)
    return found


def with_logs(parts: Iterable[Part], children: Iterable[Change]) -> list[Part]:
    """The parts, with the logs of these children for the causes that they failed by."""
    by_number = {part.number: part for part in parts}
    for child in children:
        part = by_number[part_of(child.index)]
        number = part.outcomes[child.index - part.number * PART_SIZE] - _FAILED
        causes = list(part.causes)
        causes[number] = _with_log(causes[number], child)
        by_number[part.number] = replace(part, causes=tuple(causes))
    return list(by_number.values())


def groups(array: Array, parts: Iterable[Part]) -> list[Group]:
    """
    The failures by cause, the largest group first; at most 20 and "other".

    What only followed from other failures comes after these, however many it hit.
    """
    by_cause: dict[Cause, Group] = {}
    for part in sorted(parts, key=lambda part: part.number):
        for number, known in enumerate(part.causes):
            first = part.number * PART_SIZE
            code = _FAILED + number
            hit = tuple(first + at for at, seen in enumerate(part.outcomes) if seen == code)
            if not hit:
                continue
            group = by_cause.get(known.cause, Group(cause=known.cause, indices=()))
            example = group.example or (known if known.has_log else None)
            by_cause[known.cause] = replace(group, indices=group.indices + hit, example=example)
    other = by_cause.pop(OTHER, None)
    by_size = sorted(by_cause.values(), key=lambda group: (-len(group.indices), group.indices))
    followed = [group for group in by_size if group.cause.follows]
    causes = [group for group in by_size if not group.cause.follows]
    # As many consequences as there is room for are named, and one at least.
    room = max(GROUPS_MAX - len(followed), GROUPS_MAX - 1)
    found = [*causes[:room], *followed[: GROUPS_MAX - len(causes[:room])]]
    rest = [*causes[room:], *followed[GROUPS_MAX - len(causes[:room]) :]]
    rest += [other] if other else []
    if rest:
        indices = sorted(index for group in rest for index in group.indices)
        example = next((group.example for group in rest if group.example), None)
        found.append(Group(cause=OTHER, indices=tuple(indices), example=example))
    unseen = (array.failed_by_batch or 0) - sum(len(group.indices) for group in found)
    if unseen > 0 and rest:
        found[-1] = replace(found[-1], unseen=unseen)
    elif unseen > 0:
        reason = normalise(array.reason) or "Batch counts these as failed and tells no more"
        found.append(Group(cause=Cause(None, reason), indices=(), unseen=unseen))
    return found


def completed(array: Array, parts: Sequence[Part]) -> Notice:
    """The notice that an array is done. Counts are Batch's own where it has told them."""
    failed_at = failed_indices(parts)
    by_batch = array.failed_by_batch is not None
    succeeded = (
        array.summary.get("SUCCEEDED", 0)
        if by_batch
        else sum(part.outcomes.count(_SUCCEEDED) for part in parts)
    )
    failed = array.summary.get("FAILED", 0) if by_batch else len(failed_at)
    found = groups(array, parts)
    name = plain(array.job_name, 60) or plain(array.job_id)
    counts = f"{succeeded} of {array.size} succeeded, {failed} failed"
    return Notice(
        kind="array-completed",
        id=f"array-completed:{array.job_id}",
        severity="warning" if failed or array.status == "FAILED" else "info",
        subject=subject(f"Array done, {counts}: {name}"),
        text="\n".join(
            [
                f"The array job {name} in queue {plain(resource_name(array.queue))} is done:",
                f"{counts}.",
                *_tell_time(array),
                *_tell_failures(array, found, failed_at),
                "",
                f"Job:   {job_link(array.queue, array.job_id)}",
                f"Queue: {queue_link(array.queue)}",
            ]
        ),
        facts={
            "job_id": array.job_id,
            "job_name": fact(array.job_name),
            "queue": fact(resource_name(array.queue)),
            "definition": fact(resource_name(array.definition)),
            "status": array.status or ("FAILED" if failed else "SUCCEEDED"),
            "size": array.size,
            "succeeded": succeeded,
            "failed": failed,
            "failed_indices": ranges(failed_at),
            "groups": [_facts_of(group) for group in found],
            "ended_at": iso(array.ended_at) if array.ended_at else None,
        },
    )


def _facts_of(group: Group) -> dict[str, Any]:
    """A group's facts. Those that most groups lack are there only where they say something."""
    facts = {
        "count": group.count,
        "indices": ranges(group.indices),
        "exit_code": group.cause.exit_code,
        "reason": group.cause.reason,
        "log_stream": group.log_stream or None,
    }
    if group.log_stream and group.log_place != DEFAULT_PLACE:
        facts["log_group"] = log_group(group.log_stream, group.log_place)
    if group.container:
        facts["container"] = group.container
    return facts


def _tell_time(array: Array) -> list[str]:
    if array.ended_at is None:
        return []
    took = span((array.ended_at - array.first_at).total_seconds())
    return [f"It ended at {iso(array.ended_at)}, {took} after it was first seen."]


def _tell_failures(array: Array, found: Sequence[Group], failed_at: Sequence[int]) -> list[str]:
    if not found:
        return ["", "Nothing to do."]
    lines = ["", "Why they failed:"]
    for number, group in enumerate(found, start=1):
        code = group.cause.exit_code
        exit_code = "no exit code" if code is None else f"exit code {code}"
        lines.append(
            f"{number}. {group.count} × {exit_code}, {group.cause.reason or 'no reason given'}"
        )
        if group.indices:
            lines.append(f"   indices: {shorten(ranges(group.indices))}")
        if group.cause.follows:
            lines.append("   These never began, as a job that they depend on had failed.")
        log = log_text(array.queue, group.log_stream, group.log_place)
        if log:
            of = f", container {plain(group.container, 60)}" if group.container else ""
            lines.append(f"   log of one{of}: {log}")
    followed = blames_a_dependency(array.reason) or all(group.cause.follows for group in found)
    if array.depends_on and followed:
        named = ", ".join(plain(each, 60) for each in array.depends_on)
        lines += ["", f"The array depends on: {named}"]
    if failed_at:
        lines += ["", f"To resubmit: {shorten(ranges(failed_at), 2_000)}"]
    return lines
