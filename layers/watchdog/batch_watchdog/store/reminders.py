"""
The wheel: reminders, filed by the minute in which they come due.

An entry holds all that one batch files for one minute, and its key comes from its content, so
a repeat lands on itself. Nothing is updated or taken back when a job moves on: an entry is
only a reminder, and the truth is asked for when it is due. Entries expire by themselves.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from batch_watchdog.store.item_codec import Item, binary
from batch_watchdog.store.table import Put, Table, create

MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=7)  # after it was due, for an operator to look at
LATEST_AFTER = timedelta(days=60)  # No reminder is later from now; a limit is at most 30 days.

# Entries are spread over this many partitions, as one takes 1,000 write units a second.
_SHARDS = 4

# Runs: what budgets are to count ("use"), and what is believed to go on ("run").
# A stay is due to be looked at; "held" and "braked" ones have been looked at, and their stops wait.
# "followed" jobs have passed a limit, and it is looked at what becomes of them.
type Kind = Literal[
    "use", "run", "stay", "held", "braked", "followed", "array", "blocked", "chain", "thread"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder:
    """
    Reminders of one kind for one minute, packed.

    `policy` is the version of the policy by which they were filed, where that is known. It makes
    no difference to which entry this is.
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
        """What tells this entry from all others."""
        return f"{self.kind}#{self.digest}"


def minute_of(at: datetime) -> datetime:
    """The whole minute that `at` lies in."""
    return at.replace(second=0, microsecond=0)


def minute_from(at: datetime) -> datetime:
    """The first whole minute that is not before `at`."""
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
        """What was filed for the minutes from `first` to `last`; read page by page."""
        for shard in range(_SHARDS):
            items = self._table.query(_pk(shard), first=_text(first), last=f"{_text(last)}~")
            yield from map(_to_entry, items)


def put(entry: Reminder) -> Put:
    """The write that files an entry, for a write together with other items."""
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
