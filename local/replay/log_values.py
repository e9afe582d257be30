"""
Reads the values in a log's text: JSON in any layout, lines with a time before the JSON, or CSV.

JSON values may be one per line, over many lines, one after the other, or in an array. A file whose
first line begins with a time is what CloudWatch Logs exports or `aws logs tail` prints.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from local.replay.errors import InputError
from local.replay.log_files import Piece

_BLANK = re.compile(r"[\ufeff \t\r\n]*")
_BLANK_IN_ARRAY = re.compile(r"[\ufeff \t\r\n,]*")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[0-9.,:+Z-]*(?=\s)")
_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)
_MESSAGE_COLUMNS = {"@message", "message"}

_decoder = json.JSONDecoder()
# Python refuses integers of thousands of digits, because they take too long. JSON allows them.
_lenient = json.JSONDecoder(parse_int=float)

csv.field_size_limit(1 << 28)


class Found(NamedTuple):
    """A value, its text and its line; or, in `passed`, why there is none on this line."""

    line: int
    value: Any
    text: str = ""
    passed: str = ""


class TooDeep(NamedTuple):
    """An object that is nested too deeply to be read."""

    text: str


class _NotJsonError(Exception):
    def __init__(self, line: int, column: int, why: str) -> None:
        super().__init__(f"{line}: not JSON ({why} at column {column}), expected a JSON object")


def values_of(pieces: Iterable[Piece], name: str) -> Iterator[Found]:
    """
    Yield every value in a log's text. `name` is the file's name in errors.

    Raises:
        InputError: something is not JSON where only JSON is expected.
    """
    pieces = iter(pieces)
    for first in pieces:
        text = first.text.lstrip("\ufeff \t\r\n")
        if not text:
            continue
        if _TIME.match(_COLOUR.sub("", text[:100])):
            yield from _messages(chain([Piece(first.line, text)], pieces))
        elif text[0] not in "{[" and _MESSAGE_COLUMNS & set(_columns(text)):
            yield from _csv_rows(chain([Piece(first.line, text)], pieces))
        else:
            try:
                yield from _Json(chain([first], pieces)).values()
            except _NotJsonError as error:
                raise InputError(f"{name}:{error}") from error


# ---- JSON ---------------------------------------------------------------------------------


class _Json:
    """Reads JSON values from pieces of text."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._piece = Piece(0, "")
        self._at = 0

    def values(self) -> Iterator[Found]:
        in_array, with_arrays = False, None
        for piece in self._pieces:
            self._piece, self._at = piece, 0
            while self._skip(in_array):
                opening = self._piece.text[self._at]
                if with_arrays is None:
                    with_arrays = opening == "["
                if in_array and opening == "]":
                    in_array = False
                elif not in_array and with_arrays and opening == "[":
                    in_array = True
                else:
                    yield self._value()
                    continue
                self._at += 1
        if in_array:
            raise _NotJsonError(self._piece.line, len(self._piece.text) + 1, "the array has no end")

    def _skip(self, in_array: bool) -> bool:  # noqa: FBT001
        """Skip what is blank; return False if the piece has nothing more."""
        blank = _BLANK_IN_ARRAY if in_array else _BLANK
        found = blank.match(self._piece.text, self._at)
        self._at = found.end() if found else self._at
        return self._at < len(self._piece.text)

    def _value(self) -> Found:
        line, text = self._piece.line, self._piece.text
        try:
            value, end = _decoded(text, self._at)
        except json.JSONDecodeError as error:
            if text[self._at] not in "{[":
                raise _NotJsonError(line, error.pos + 1, error.msg) from error
        except RecursionError:
            pass
        else:
            found = Found(line, value, text[self._at : end])
            self._at = end
            return found
        # The value goes on in the next pieces, or is malformed, or nested too deeply.
        column = self._at
        whole = self._whole()
        try:
            return Found(line, _decoded(whole, 0)[0], whole)
        except json.JSONDecodeError as error:
            column = column if error.lineno == 1 else 0
            raise _NotJsonError(line + error.lineno - 1, column + error.colno, error.msg) from error
        except RecursionError:
            return Found(line, TooDeep(whole) if whole.startswith("{") else [], whole)

    def _whole(self) -> str:
        """Return a value's text up to its closing bracket, or to where it cannot be JSON."""
        parts: list[str] = []
        depth, quoted = 0, False
        while True:
            text, at = self._piece.text, self._at
            while at < len(text):
                if quoted:
                    inside = _INSIDE.match(text, at)
                    at = inside.end() if inside else at
                    if at < len(text):
                        quoted, at = False, at + 1
                    continue
                mark = _OUTSIDE.search(text, at)
                if mark is None:
                    break
                at = mark.end()
                if mark[0] == '"':
                    quoted = True
                    continue
                depth += 1 if mark[0] in "{[" else -1
                if depth <= 0:
                    parts.append(text[self._at : at])
                    self._at = at
                    return "".join(parts)
            parts.append(text[self._at :])
            self._at = len(text)
            if quoted and text.endswith("\n"):
                return "".join(parts)  # A JSON string cannot go on in the next line.
            following = next(self._pieces, None)
            if following is None:
                return "".join(parts)
            self._piece, self._at = following, 0


def parsed(text: str) -> Any:
    """Parse a JSON text. With integers that Python refuses, all integers become floats."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(text, parse_int=float)


def _decoded(text: str, at: int) -> tuple[Any, int]:
    try:
        return _decoder.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _lenient.raw_decode(text, at)


# ---- Lines that begin with a time ---------------------------------------------------------


def _messages(pieces: Iterator[Piece]) -> Iterator[Found]:
    """
    Yield the objects in lines such as `2026-01-01T12:00:00Z stream {…}`.

    A line extends up to the next such line. Without a JSON object, it is passed over.
    """
    line, parts = 0, [""]
    for piece in pieces:
        text = _COLOUR.sub("", piece.text)
        if _TIME.match(text):
            if line:
                yield _message(line, "".join(parts))
            line, parts = piece.line, []
        parts.append(text)
    yield _message(line, "".join(parts))


def _message(line: int, text: str) -> Found:
    begins = text.find("{")
    if begins < 0:
        return Found(line, None, "", "no JSON object")
    try:
        value, end = _decoded(text, begins)
    except json.JSONDecodeError as error:
        return Found(line, None, "", f"not JSON ({error.msg})")
    except RecursionError:
        return Found(line, None, "", "nested too deeply")
    return Found(line, value, text[begins:end])


# ---- CSV ----------------------------------------------------------------------------------


def _columns(line: str) -> list[str]:
    return next(csv.reader([line]), [])


def _csv_rows(pieces: Iterator[Piece]) -> Iterator[Found]:
    """Yield the rows of a CSV file of the AWS console; quoted cells may hold line breaks."""
    line = 1

    def lines() -> Iterator[str]:
        nonlocal line
        for piece in pieces:
            line = piece.line
            yield piece.text

    try:
        for row in csv.DictReader(lines()):
            message = row.get("@message") or row.get("message") or ""
            yield Found(line, {"message": message, "timestamp": row.get("@timestamp")})
    except csv.Error as error:
        yield Found(line, None, "", f"no CSV: {error}")
