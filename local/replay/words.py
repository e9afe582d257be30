"""Names the kinds of values in a file, for error messages."""

from typing import Any


def named(value: Any) -> str:
    """Return the kind of a JSON value, in words."""
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
