"""
A replay's input: a log of events in JSON Lines, and a file about queues and environments.

What is wrong with a file's form is told before anything runs. What is wrong with an event is kept
beside it: that is for the watchdog to see.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from batch_watchdog.notices.text import plain

# AWS Batch began in 2016. A time far from these years is a mistake, and to let the clock run
# there minute by minute would take hours.
_YEARS = range(2010, 2101)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

type Kind = Literal["event", "sns", "command", "malformed"]


class InputError(Exception):
    """
    A file or an option cannot be used. Nothing but correcting it helps.

    As text it says where, what is wrong, and what was expected.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """
    One line of the log.

    `at` is its own time; `deliver_at` is None if it got lost on its way. `text` is the event as
    it stood in the file, or "" if that was in an envelope. `problem` says what is malformed.
    """

    kind: Kind
    value: Any
    at: datetime
    deliver_at: datetime | None
    text: str = ""
    problem: str = ""

    @property
    def from_batch(self) -> bool:
        return self.kind == "event" and self.value["source"] == "aws.batch"


def parse_time(value: Any) -> datetime | None:
    """An ISO 8601 time of a reasonable year; one without a zone is UTC. None for all else."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if at.year in _YEARS else None


# ---- The log ------------------------------------------------------------------------------


def read_log(path: Path) -> list[Line]:
    """
    Read a log. Blank lines and byte order marks are passed over.

    Raises:
        InputError: it cannot be read, or a line is no JSON object or a wrong envelope.
    """
    lines: list[Line] = []
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                text = _text(raw, f"{path}:{number}").strip("\ufeff \t\r\n")
                if text:
                    # A line without a time is of the time of the line before.
                    before = lines[-1].at if lines else _EPOCH
                    lines.append(_line(text, f"{path}:{number}", before))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    return _with_times(lines)


def _with_times(lines: list[Line]) -> list[Line]:
    """The lines, of which those before the first time that is known take that one."""
    first = next((line.at for line in lines if line.at != _EPOCH), _EPOCH)
    for number, line in enumerate(lines):
        if line.at != _EPOCH:
            break
        deliver_at = first if line.deliver_at == _EPOCH else line.deliver_at
        lines[number] = replace(line, at=first, deliver_at=deliver_at)
    return lines


def _text(raw: bytes, place: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{place}: byte {error.start + 1} is not UTF-8 ({error.reason}), "
            "expected a JSON object in UTF-8"
        ) from error


def _line(text: str, place: str, before: datetime) -> Line:
    try:
        value = _parsed(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{place}: not JSON ({error.msg} at column {error.colno}), expected a JSON object"
        ) from error
    except RecursionError as error:
        if not text.startswith("{"):
            raise InputError(f"{place}: a list, expected a JSON object") from error
        return Line(
            kind="malformed", value=text, at=before, deliver_at=before, problem="nested too deeply"
        )
    if not isinstance(value, dict):
        raise InputError(f"{place}: {_name(value)}, expected a JSON object")
    if "detail-type" in value or "source" in value:
        return _bare(value, text, before)
    if "event" in value:
        return _envelope(value, place, before)
    if "command" in value:
        return _command(value, place, before)
    return _bare(value, text, before)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python refuses numbers of thousands of digits, lest they take too long. JSON does not.
        return json.loads(text, parse_int=float)


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
    return Line(kind=kind, value=value, at=at, deliver_at=at, text=text, problem=problem)


def _problem_of_event(value: Mapping[str, Any]) -> str:
    """Why EventBridge would not have delivered this; "" if it would."""
    for key in ("source", "detail-type"):
        if not isinstance(value.get(key), str) or not value[key]:
            found = _name(value[key]) if key in value else "missing"
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
        raise InputError(f"{place}: event: {_name(value['event'])}, expected an object")
    deliver = value.get("deliver")
    if not isinstance(deliver, bool | None):
        raise InputError(f"{place}: deliver: {_name(deliver)}, expected true or false")
    line = _bare(value["event"], "", before)
    deliver_at = _time_in(value, "deliver_at", place) or line.at
    return replace(line, deliver_at=None if deliver is False else deliver_at)


def _command(value: dict[str, Any], place: str, before: datetime) -> Line:
    command = value["command"]
    if not isinstance(command, dict):
        raise InputError(f"{place}: command: {_name(command)}, expected an object")
    at = _time_in(value, "time", place) or before
    return Line(kind="command", value=command, at=at, deliver_at=at)


def _time_in(value: Mapping[str, Any], key: str, place: str) -> datetime | None:
    given = value.get(key)
    at = parse_time(given)
    if given is not None and at is None:
        shown = json.dumps(given)[:60] if isinstance(given, str) else _name(given)
        raise InputError(
            f'{place}: {key}: {shown}, expected an ISO 8601 time such as "2026-01-01T12:00:00Z"'
        )
    return at


# ---- The world ----------------------------------------------------------------------------


def read_world(path: Path) -> dict[str, Any]:
    """
    Read what there is besides jobs: `jobQueues`, `computeEnvironments`, `snapshots`.

    Raises:
        InputError: it cannot be read, or is not in the shapes of the API's answers.
    """
    try:
        text = path.read_text("utf-8-sig")
        world = _parsed(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8, expected a JSON object") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno}), "
            "expected a JSON object"
        ) from error
    except RecursionError as error:
        lines = text.split("\n")
        line = 1 + lines.index(max(lines, key=len))
        raise InputError(f"{path}:{line}: nested too deeply, expected a JSON object") from error
    if not isinstance(world, dict):
        raise InputError(f"{path}:1: {_name(world)}, expected a JSON object")
    for key, names in (
        ("jobQueues", ("jobQueueName", "jobQueueArn")),
        ("computeEnvironments", ("computeEnvironmentName", "computeEnvironmentArn")),
        ("snapshots", ()),
    ):
        if (problem := _problem_of_world(key, world.get(key, []), names)) is not None:
            line = text.count("\n", 0, max(0, text.find(f'"{key}"'))) + 1
            raise InputError(f"{path}:{line}: {problem}")
    return world


def _problem_of_world(key: str, given: Any, names: tuple[str, ...]) -> str | None:
    if key == "snapshots" and isinstance(given, dict):
        entries: Iterable[tuple[str, Any]] = (
            (f"{key}.{plain(name)}", of) for name, of in given.items()
        )
    elif isinstance(given, list):
        entries = ((f"{key}[{number}]", of) for number, of in enumerate(given))
        names = names or ("jobQueue",)
    else:
        return f"{key}: {_name(given)}, expected a list of objects"
    for place, entry in entries:
        if not isinstance(entry, dict):
            return f"{place}: {_name(entry)}, expected an object"
        if names and not any(isinstance(entry.get(name), str) and entry[name] for name in names):
            return f"{place}: no name, expected {' or '.join(names)}"
    return None


def _name(value: Any) -> str:
    """What a JSON value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
