"""
Read API responses without trusting their shape.

A diagnosis must not fail because of a response: a value that is missing, null or of another type
than documented counts as "not said".
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_MILLIS_FROM = 100_000_000_000  # as seconds, the year 5138; as milliseconds, 1973
_SECONDS_MAX = 253_402_300_799  # the end of the year 9999


def mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in items(value) if isinstance(each, str) and each)


def number(value: Any) -> float | None:
    """A number that is finite and not negative, also where AWS writes it as text ("0.25")."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) and read >= 0 else None


def moment(value: Any) -> datetime | None:
    """A time given in seconds or milliseconds since 1970; 0 means "not yet"."""
    read = number(value)
    if not read:
        return None
    seconds = read / 1000 if read >= _MILLIS_FROM else read
    return datetime.fromtimestamp(seconds, UTC) if seconds <= _SECONDS_MAX else None
