"""How far the sweep has come, and which entries of the last few minutes it has seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from batch_watchdog.store.table import Put, Table, pack, unpack
from batch_watchdog.store.wheel import Entry

# Who files for a minute that the sweep has just read is late by less than this: a function's
# time limit, and the difference between two clocks.
LOOKBACK = timedelta(minutes=3)

_KEY = ("SWEEP", "CURSOR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """
    `minute` is the last one that was swept whole; `seen` are entries' keys by minute.

    `listed_at` is when all waiting jobs were last listed, and `policy` the version by which the
    wheel has been filed.
    """

    minute: datetime
    seen: Mapping[datetime, frozenset[str]] = field(default_factory=dict)
    listed_at: datetime | None = None
    policy: str = ""
    version: int = 0

    @property
    def first(self) -> datetime:
        """The first minute to read: the last few are read again, for latecomers."""
        return self.minute - LOOKBACK

    def has_seen(self, entry: Entry) -> bool:
        return entry.key in self.seen.get(entry.minute, ())

    def passed(self, now: datetime, entries: Iterable[Entry], *, all_of_them: bool) -> "Cursor":
        """The cursor after these entries have been seen to, or all that were due at `now`."""
        minute = now if all_of_them else self.minute
        seen = {at: set(keys) for at, keys in self.seen.items()}
        for entry in entries:
            seen.setdefault(entry.minute, set()).add(entry.key)
        kept = {at: frozenset(keys) for at, keys in seen.items() if at >= minute - LOOKBACK}
        return replace(self, minute=minute, seen=kept)


_ADAPTER = TypeAdapter(Cursor)


def read(table: Table, now: datetime) -> Cursor:
    """The cursor; before the first sweep ever, one that has come to `now`."""
    item = table.get(*_KEY)
    if item is None:
        return Cursor(minute=now)
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def write(table: Table, cursor: Cursor) -> None:
    """
    Keep the cursor.

    Raises:
        StaleItemError: another sweep has moved it meanwhile.
    """
    dumped = _ADAPTER.dump_python(cursor, mode="json", exclude={"version"})
    pk, sk = _KEY
    table.write([Put({"pk": pk, "sk": sk, "body": pack(dumped)}, read=cursor.version)])
