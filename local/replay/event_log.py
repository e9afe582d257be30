"""
Reads a replay's input: a log of events, in any form in which it is kept.

A problem of a file's form is an error before anything runs. A line that is not a valid event is
kept with its problem: the replay shows it as a dead letter.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

from local.batch.packed import PackedEvent, pack
from local.replay.errors import InputError
from local.replay.log_files import WHERE_EVENTS_ARE, files_of, name_of, pieces_of
from local.replay.log_forms import Unwrapped, unwrapped
from local.replay.log_values import Found, TooDeep, values_of
from local.replay.words import named

# AWS Batch began in 2016. A time far from these years is a mistake, and it would take hours to
# run the clock there minute by minute.
_YEARS = range(2010, 2101)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

type Kind = Literal["event", "sns", "command", "malformed"]


class Content(NamedTuple):
    """The value of a line, and its own text in the file: "" if it was within another object."""

    value: Any
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """
    One line of the log.

    `at` is its own time; `deliver_at` is None if it was lost before delivery. `text` is its own
    text in the file, or "" if it was within another object. `problem` says what is malformed. Each
    use of a packed line's `value` parses the text again.
    """

    kind: Kind
    content: PackedEvent | Content
    at: datetime
    deliver_at: datetime | None
    problem: str = ""

    @property
    def value(self) -> Any:
        return self.content.value

    @property
    def text(self) -> str:
        return self.content.text

    @property
    def from_batch(self) -> bool:
        if isinstance(self.content, PackedEvent):
            return self.content.from_batch
        return self.kind == "event" and self.value["source"] == "aws.batch"


def parse_time(value: Any) -> datetime | None:
    """Return an ISO 8601 time as UTC, also if it has no zone; None for other text or years."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if at.year in _YEARS else None


# ---- The log ------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """Counts what was taken from a log, and what was passed over."""

    files: int = 0
    taken: int = 0
    repeated: int = 0  # in an earlier file too
    passed: int = 0
    first_passed: str = ""  # where, and why
    other_files: list[str] = field(default_factory=list)  # those without an event, and why

    def pass_over(self, place: str, why: str) -> None:
        self.passed += 1
        self.first_passed = self.first_passed or f"{place}: {why}"

    def __str__(self) -> str:
        files = "" if self.files == 1 else f" from {self.files:,} files"
        parts = [f"{self.taken:,} {'entry' if self.taken == 1 else 'entries'} taken{files}"]
        if self.repeated:
            parts.append(f"{self.repeated:,} passed over that a file before has too")
        if self.passed:
            parts.append(f"{self.passed:,} passed over, the first: {self.first_passed}")
        if self.other_files:
            parts.append(
                f"{len(self.other_files):,} files passed over, the first: {self.other_files[0]}"
            )
        return "; ".join(parts)


def read_log(path: Path, tally: Tally | None = None) -> list[Line]:
    """
    Read a log: a file in any of the forms that AWS gives, a folder of them, or `-`.

    Raises:
        InputError: it cannot be read, a line is not a JSON object or has a wrong envelope, or
            there is no event in any file.
    """
    lines: list[Line] = []
    for each in _by_file(path, tally or Tally()):
        of_file = list(map(_packed, each))
        # Insights lists the latest first. Within a second, only the order in the file is known.
        lines += reversed(of_file) if _descend(of_file) else of_file
    return _with_times(lines)


def lines_of(path: Path, tally: Tally) -> Iterator[Line]:
    """
    Yield the lines of a log while it is read: even a long log needs little memory.

    Lines before the first one with a time get 1970 as their time. `tally` is kept up to date.

    Raises:
        InputError: as `read_log`.
    """
    return chain.from_iterable(_by_file(path, tally))


def expect_any(path: Path, tally: Tally) -> None:
    """
    Check that at least one entry was taken from a log.

    Raises:
        InputError: none was.
    """
    if not tally.taken:
        raise InputError(f"{name_of(path)}: no event is in it{WHERE_EVENTS_ARE}")


def _packed(line: Line) -> Line:
    """Return the line with its event packed, as a log has many events."""
    packed = pack(line.value, line.text) if line.kind == "event" else None
    return replace(line, content=packed) if packed else line


def _by_file(path: Path, tally: Tally) -> Iterator[Iterator[Line]]:
    files = files_of(path)
    if len(files) == 1:
        yield _lines_in(files[0], tally)
        return
    seen: set[bytes] = set()
    for file in files:
        yield _not_seen(_lines_if_any(file, tally), seen, tally)
    if tally.other_files and not tally.taken:
        raise InputError(tally.other_files[0])


def _lines_if_any(file: Path, tally: Tally) -> Iterator[Line]:
    """Yield the lines of one file of many; a file that is not a log is passed over."""
    before = tally.taken + tally.repeated
    try:
        yield from _lines_in(file, tally)
    except InputError as error:
        if tally.taken + tally.repeated > before:
            raise
        tally.other_files.append(str(error))


def _not_seen(lines: Iterator[Line], seen: set[bytes], tally: Tally) -> Iterator[Line]:
    """Yield the lines that no earlier file has. Repeats in one file are repeated deliveries."""
    own = set()
    for line in lines:
        mark = _mark(line)
        if mark in seen:
            tally.taken -= 1
            tally.repeated += 1
        else:
            own.add(mark)
            yield line
    seen |= own


def _mark(line: Line) -> bytes:
    """Return a mark that is the same for the same line in any form."""
    what: Any = line.value
    if line.kind == "event" and isinstance(line.value.get("id"), str):
        what = [line.value[key] for key in ("id", "source", "detail-type")]
        what.append(line.value.get("detail"))
    late = line.deliver_at if line.deliver_at != line.at else "in time"
    text = json.dumps([line.kind, what, str(late)], sort_keys=True)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _descend(lines: Sequence[Line]) -> bool:
    """Check whether the lines are in descending order of time."""
    return all(a.at >= b.at for a, b in pairwise(lines)) and any(
        a.at > b.at for a, b in pairwise(lines)
    )


def _lines_in(file: Path, tally: Tally) -> Iterator[Line]:
    """
    Yield the lines of one file, and count them.

    Raises:
        InputError: it has lines, but none of them is an event, a message or a command.
    """
    tally.files += 1
    name, head, problem, at = name_of(file), list[Line](), "", _EPOCH
    sound = False
    for found in values_of(pieces_of(file), name):
        place = f"{name}:{found.line}"
        for each in _contents(found, place):
            if each.passed:
                tally.pass_over(place, each.passed)
                problem = problem or f"{place}: {each.passed}"
                continue
            line = _line(each.value, each.text, place, at)
            at = line.at
            if not sound and line.kind == "malformed":
                head.append(line)
                problem = problem or f"{place}: {line.problem}"
                continue
            tally.taken += 1 + len(head)
            yield from head
            yield line
            sound, head = True, []
    if problem and not sound:
        raise InputError(
            f"{problem}. There is no event in all of it: expected events as EventBridge delivers "
            "them (with source, detail-type, time and detail), bare or as CloudWatch Logs, SNS "
            "or SQS wrap them"
        )


def _contents(found: Found, place: str) -> Sequence[Unwrapped]:
    if found.passed:
        return [Unwrapped(None, "", found.passed)]
    if isinstance(found.value, TooDeep):
        return [Unwrapped(found.value, found.text)]
    inner = unwrapped(found.value)
    if inner is not None:
        return inner
    if not isinstance(found.value, dict):
        raise InputError(f"{place}: {named(found.value)}, expected a JSON object")
    return [Unwrapped(found.value, found.text)]


def _with_times(lines: list[Line]) -> list[Line]:
    """Give the first known time to the lines before it."""
    first = next((line.at for line in lines if line.at != _EPOCH), _EPOCH)
    for number, line in enumerate(lines):
        if line.at != _EPOCH:
            break
        deliver_at = first if line.deliver_at == _EPOCH else line.deliver_at
        lines[number] = replace(line, at=first, deliver_at=deliver_at)
    return lines


def _line(value: Any, text: str, place: str, before: datetime) -> Line:
    if isinstance(value, TooDeep):
        return Line(
            kind="malformed",
            content=Content(text),
            at=before,
            deliver_at=before,
            problem="nested too deeply",
        )
    if "detail-type" in value or "source" in value:
        return _bare(value, text, before)
    if "event" in value:
        return _envelope(value, place, before)
    if "command" in value:
        return _command(value, place, before)
    return _bare(value, text, before)


def _bare(value: dict[str, Any], text: str, before: datetime) -> Line:
    problem = ""
    kind: Kind = "event"
    given: tuple[Any, ...] = (value.get("time"), value.get("event_time"))
    if "Records" in value:
        kind = "sns"
        problem = _problem_of_records(value["Records"])
        given = () if problem else (value["Records"][0]["Sns"].get("Timestamp"),)
    elif isinstance(value.get("alarmData"), dict) and "detail-type" not in value:
        kind = "sns"  # A CloudWatch alarm's Lambda action invokes the same function as a topic.
    else:
        problem = _problem_of_event(value)
    at = next((at for each in given if (at := parse_time(each))), before)
    kind = "malformed" if problem else kind
    content = Content(value, text)
    return Line(kind=kind, content=content, at=at, deliver_at=at, problem=problem)


def _problem_of_event(value: Mapping[str, Any]) -> str:
    """Return why EventBridge would not have delivered this; "" if it would."""
    if "source" not in value and "jobId" in value and "status" in value:
        return "the detail of an event alone: source, detail-type and time are missing"
    for key in ("source", "detail-type"):
        if not isinstance(value.get(key), str) or not value[key]:
            found = named(value[key]) if key in value else "missing"
            return f"no EventBridge event: {key} is {found}, expected text"
    return ""


def _problem_of_records(records: Any) -> str:
    if not isinstance(records, list) or not records:
        return "Records: expected a list of SNS records"
    for number, record in enumerate(records):
        if not isinstance(record, dict) or not isinstance(record.get("Sns"), dict):
            return f"Records[{number}]: no SNS record, expected an object with Sns"
    return ""


def _envelope(value: dict[str, Any], place: str, before: datetime) -> Line:
    if not isinstance(value["event"], dict):
        raise InputError(f"{place}: event: {named(value['event'])}, expected an object")
    deliver = value.get("deliver")
    if not isinstance(deliver, bool | None):
        raise InputError(f"{place}: deliver: {named(deliver)}, expected true or false")
    line = _bare(value["event"], "", before)
    deliver_at = _time_in(value, "deliver_at", place) or line.at
    return replace(line, deliver_at=None if deliver is False else deliver_at)


def _command(value: dict[str, Any], place: str, before: datetime) -> Line:
    command = value["command"]
    if not isinstance(command, dict):
        raise InputError(f"{place}: command: {named(command)}, expected an object")
    at = _time_in(value, "time", place) or before
    return Line(kind="command", content=Content(command), at=at, deliver_at=at)


def _time_in(value: Mapping[str, Any], key: str, place: str) -> datetime | None:
    given = value.get(key)
    at = parse_time(given)
    if given is not None and at is None:
        shown = json.dumps(given)[:60] if isinstance(given, str) else named(given)
        raise InputError(
            f'{place}: {key}: {shown}, expected an ISO 8601 time such as "2026-01-01T12:00:00Z"'
        )
    return at
