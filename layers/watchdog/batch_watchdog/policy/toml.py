"""
Read a TOML text into a table, or report everything that is wrong with it, with line numbers.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from batch_watchdog.core.errors import PolicyError, Problem
from batch_watchdog.policy.durations import shown
from batch_watchdog.policy.match import Table
from batch_watchdog.policy.tables import RunnableLimit, StateLimit
from batch_watchdog.policy.toml_positions import KeyPath, lines_of_keys

type Found = tuple[KeyPath, str]  # a place in the tree, and what is wrong there


def read_table[T: Table](
    kind: type[T], text: str, more: Callable[[dict[str, Any]], Iterable[Found]]
) -> T:
    """
    Read a TOML text as a table of this kind.

    `more` returns what is wrong with the tree as a whole, which a single table cannot check.

    Raises:
        PolicyError: names everything that is wrong, each with its line and key.
    """
    # Some editors begin a file with a byte order mark, which `tomllib` does not accept.
    text = text.removeprefix("\ufeff")
    tree, lines = _read_toml(text)
    found = list(more(tree))
    try:
        table = kind.model_validate(tree)
    except ValidationError as error:
        found += _found(kind, error)
    else:
        if not found:
            return table
    problems = [_problem(path, message, lines) for path, message in found]
    raise PolicyError(sorted(problems, key=lambda problem: problem.line))


def _read_toml(text: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        return tomllib.loads(text), lines_of_keys(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).rpartition(" (at ")
        place_line = re.match(r"line ([0-9]+)", place)
        line = int(place_line[1]) if place_line else max(1, len(text.splitlines()))
        raise PolicyError([Problem(line=line, key="", message=f"not TOML: {message}")]) from error
    except (ValueError, RecursionError) as error:
        # A number with thousands of digits, or thousands of brackets. The longest line is named,
        # as the error has no position.
        lines = text.split("\n")
        line = 1 + lines.index(max(lines, key=len))
        is_deep = isinstance(error, RecursionError)
        message = "nested too deeply" if is_deep else "a number of too many digits"
        raise PolicyError([Problem(line=line, key="", message=message)]) from error


def _found(kind: type[Table], error: ValidationError) -> Iterator[Found]:
    for each in error.errors(include_url=False):
        if each["type"] == "contradiction":
            for path, message in each["ctx"]["found"]:
                yield (*each["loc"], *path), message
        elif each["type"] == "too_short" and each["input"]:
            pass  # There were enough elements; those refused are reported separately.
        else:
            yield each["loc"], _message(kind, each)


def _message(kind: type[Table], error: ErrorDetails) -> str:
    path, given, text = error["loc"], error["input"], error["msg"]
    match error["type"]:
        case "extra_forbidden":
            return _about_unknown_key(_table_at(kind, path[:-1]), str(path[-1]))
        case "missing":
            about = _field_at(kind, path).description or ""
            return f"is missing: {about.rstrip('.').replace('\n', ' ')}"
        case "value_error":
            return text.removeprefix("Value error, ")
        case "tuple_type" if isinstance(given, dict) and any(_tables_of(_field_at(kind, path))):
            header = ".".join(part for part in path if isinstance(part, str))
            return f"expected a list of tables: write [[{header}]] in place of [{header}]"
    for theirs, ours in _WORDS:
        text = re.sub(theirs, ours, text)
    return text if error["type"] in ("too_short", "too_long") else f"{text}, not {shown(given)}"


# Patterns in pydantic's messages, and their replacements in the terms of TOML.
_WORDS = (
    (r"^Input should be", "expected"),
    (r"a valid (dictionary|mapping).*", "a table"),
    (r"a valid tuple", "a list"),
    (r"a valid string", "a string"),
    (r"a valid integer", "a whole number"),
    (r"a valid number", "a number"),
    (r"a valid boolean", "true or false"),
    (r"^(String|Tuple|Value) should have", "expected"),
    (r" after validation", ""),
)


def _about_unknown_key(table: type[Table], key: str) -> str:
    if issubclass(table, StateLimit) and key in RunnableLimit.model_fields:
        return "only a limit of RUNNABLE can have this key"
    return f"unknown key{did_you_mean(key, list(table.model_fields))}"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a hint for an unknown word: the known word most like it, or all known words."""
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), folded, n=1)
    return f"; did you mean {folded[close[0]]}?" if close else f"; expected {_one_of(known)}"


def _one_of(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _table_at(kind: type[Table], path: KeyPath) -> type[Table]:
    """Return the kind of table at a path from the root."""
    for part in path:
        if isinstance(part, str):
            kind = _tables_of(kind.model_fields[part])[0]
    return kind


def _field_at(kind: type[Table], path: KeyPath) -> FieldInfo:
    return _table_at(kind, path[:-1]).model_fields[str(path[-1])]


def _tables_of(field: FieldInfo) -> list[type[Table]]:
    return list(_tables_in(field.annotation))


def _tables_in(annotation: Any) -> Iterator[type[Table]]:
    if isinstance(annotation, type) and issubclass(annotation, Table):
        yield annotation
    for part in get_args(annotation):
        yield from _tables_in(part)


def _problem(path: KeyPath, message: str, lines: Mapping[KeyPath, int]) -> Problem:
    # A path may not be in the text: the only element of a list that was written without brackets,
    # or pydantic's mark "[key]", which means a table's key and not its value.
    while path and path not in lines and (isinstance(path[-1], int) or path[-1] == "[key]"):
        path = path[:-1]
    known = path
    while known and known not in lines:
        known = known[:-1]
    return Problem(line=lines.get(known, 1), key=_dotted(path), message=message)


def _dotted(path: Iterable[str | int]) -> str:
    key = ""
    for part in path:
        if isinstance(part, int):
            key += f"[{part + 1}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            key += f"{'.' if key else ''}{part if bare else shown(part)}"
    return key
