"""
The wheel: reminders, filed by the minute in which they come due.

An entry holds all that one batch files for one minute, and its key comes from its content, so
a repeat lands on itself. Nothing is updated or taken back when a job moves on: an entry is
only a reminder, and the truth is asked for when it is due. Entries expire by themselves.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from batch_watchdog.errors import StaleItemError
from batch_watchdog.store.table import Put, Table, pack, unpack

MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=7)  # after it was due, for an operator to look at

# A minute's entries are spread over this many partitions, as one takes 1,000 write units a second.
_SHARDS = 4

type Kind = Literal["array", "stay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Reminders of one kind for one minute; `content` is JSON, made by the kind's module."""

    minute: datetime
    kind: Kind
    content: Any

    @property
    def key(self) -> str:
        """The same for the same content."""
        return f"{self.kind}#{hashlib.sha256(pack(self.content)).hexdigest()[:24]}"


def minute_of(at: datetime) -> datetime:
    """The whole minute that `at` lies in."""
    return at.replace(second=0, microsecond=0)


def minute_from(at: datetime) -> datetime:
    """The first whole minute that is not before `at`."""
    return minute_of(at + MINUTE - timedelta(microseconds=1))


class Wheel:
    """The wheel in the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def puts(self, entries: Sequence[Entry]) -> list[Put]:
        """The writes that file entries, for a write together with other items."""
        return [_put(entry) for entry in entries]

    def file(self, entries: Sequence[Entry]) -> None:
        """File entries; one that has been filed before is left as it is."""
        for entry in entries:
            with suppress(StaleItemError):  # It is there already, with the same content.
                self._table.write([_put(entry)])

    def due(self, minute: datetime) -> Iterator[Entry]:
        """What was filed for a minute; read page by page."""
        for shard in range(_SHARDS):
            for item in self._table.query(_partition(minute, shard)):
                kind: Any = str(item["sk"]).partition("#")[0]
                yield Entry(minute=minute, kind=kind, content=unpack(item["content"]))


def _put(entry: Entry) -> Put:
    shard = int(entry.key[-1], 16) % _SHARDS
    return Put(
        {
            "pk": _partition(entry.minute, shard),
            "sk": entry.key,
            "content": pack(entry.content),
            "expires_at": int((entry.minute + KEPT).timestamp()),
        }
    )


def _partition(minute: datetime, shard: int) -> str:
    return f"WHEEL#{minute.astimezone(UTC):%Y-%m-%dT%H:%MZ}#{shard}"
