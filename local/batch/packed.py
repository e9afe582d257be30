"""Keeps the events of a log compressed, so that a month of them fits into memory."""

import json
import zlib
from typing import Any


class PackedEvent:
    """An event, kept as compressed text. Each use of `value` parses the text again."""

    __slots__ = ("_is_text", "_packed", "from_batch")

    def __init__(self, packed: bytes, *, is_text: bool, from_batch: bool) -> None:
        self._packed = packed
        self._is_text = is_text
        self.from_batch = from_batch

    @property
    def value(self) -> Any:
        return json.loads(self._unpacked)

    @property
    def text(self) -> str:
        """The event's own text in the file; "" if it was an object within another one."""
        return self._unpacked if self._is_text else ""

    @property
    def _unpacked(self) -> str:
        return zlib.decompress(self._packed).decode("utf-8", "surrogatepass")


def pack(value: Any, text: str) -> PackedEvent | None:
    """Pack an event; None if unpacking would not give the same value."""
    whole = text or json.dumps(value)
    try:
        if json.loads(whole) != value:
            return None
    except (ValueError, RecursionError):
        return None
    packed = zlib.compress(whole.encode("utf-8", "surrogatepass"), 1)
    from_batch = isinstance(value, dict) and value.get("source") == "aws.batch"
    return PackedEvent(packed, is_text=bool(text), from_batch=from_batch)
