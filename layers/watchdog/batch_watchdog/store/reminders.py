"""
The wheel: reminders, filed by the minute in which they are due.

An entry holds all that one batch files for one minute, and its key is derived from its content, so
a repeated write finds the same entry. Nothing is updated or removed when a job's state changes: an
entry is only a reminder, and the facts are read when it is due. Entries expire.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from batch_watchdog.store.item_codec import Item, binary
from batch_watchdog.store.table import Put, Table, create

MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=7)  # after it was due, so that an operator can inspect it
LATEST_AFTER = timedelta(days=60)  # No reminder is due later than that; a limit is at most 30 days.

# Entries are spread over this many partitions, as one takes 1,000 write units a second.
_SHARDS = 4

# "use": runs of jobs that budgets are to count. "run": runs that are believed to go on.
# "stay": stays to be checked. "held", "braked": stays that were checked, and whose stops wait.
# "followed": jobs that have passed a limit; it is checked what happens to them.
type Kind = Literal[
    "use", "run", "stay", "held", "braked", "followed", "array", "blocked", "chain", "thread"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder:
    """
    Reminders of one kind for one minute, packed.

    `policy` is the version of the policy by which they were filed, if that is known. It is not part
    of the entry's key.
    """

    minute: datetime
    kind: Kind
    content: bytes
    policy: str = ""

    @property
    def digest(self) -> str:
        """The same for the same content."""
        return hashlib.sha256(self.content).hexdigest()[:24]

    @property
    def key(self) -> str:
        """Identifies this entry among those of its minute."""
        return f"{self.kind}#{self.digest}"


def minute_of(at: datetime) -> datetime:
    """Return the whole minute that `at` lies in."""
    return at.replace(second=0, microsecond=0)


def minute_from(at: datetime) -> datetime:
    """Return the first whole minute that is not before `at`."""
    return minute_of(at + MINUTE - timedelta(microseconds=1))


class Reminders:
    """The wheel in the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def file(self, entries: Iterable[Reminder]) -> None:
        """File entries; one that has been filed before is left as it is."""
        for entry in entries:
            create(self._table, put(entry))

    def between(self, first: datetime, last: datetime) -> Iterator[Reminder]:
        """Yield what was filed for the minutes from `first` to `last`; read page by page."""
        for shard in range(_SHARDS):
            items = self._table.query(_pk(shard), first=_text(first), last=f"{_text(last)}~")
            yield from map(_to_entry, items)


def put(entry: Reminder) -> Put:
    """Build the write that files an entry, for a write together with other items."""
    item: Item = {
        "pk": _pk(int(entry.digest[-1], 16) % _SHARDS),
        "sk": f"{_text(entry.minute)}#{entry.kind}#{entry.digest}",
        "content": entry.content,
        "policy": entry.policy,
        "expires_at": int((entry.minute + KEPT).timestamp()),
    }
    return Put(item)


def _to_entry(item: Item) -> Reminder:
    minute, kind, _ = str(item["sk"]).split("#")
    known: Any = kind
    return Reminder(
        minute=datetime.fromisoformat(minute),
        kind=known,
        content=binary(item["content"]),
        policy=str(item.get("policy", "")),
    )


def _pk(shard: int) -> str:
    return f"WHEEL#{shard}"


def _text(minute: datetime) -> str:
    return f"{minute.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
