"""How far the sweep has come, and which entries of the last few minutes it has seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from batch_watchdog.store.table import Put, Table, pack, unpack
from batch_watchdog.store.wheel import MINUTE

# Who files for a minute that the sweep has just read is late by less than this: a function's
# time limit, and the difference between two clocks.
LOOKBACK = timedelta(minutes=3)

_KEY = ("SWEEP", "CURSOR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """`minute` is the last one that was swept whole; `seen` are entries' keys by minute."""

    minute: datetime
    seen: Mapping[datetime, frozenset[str]] = field(default_factory=dict)
    version: int = 0

    def to_sweep(self, now: datetime) -> Iterable[datetime]:
        """The minutes to read until `now`: the last few again, then all since."""
        minute = self.minute - LOOKBACK
        while minute <= now:
            yield minute
            minute += MINUTE

    def passed(self, minute: datetime, keys: Iterable[str], *, whole: bool) -> "Cursor":
        """The cursor after these entries of a minute have been seen to, or all of them."""
        newest = max(self.minute, minute) if whole else self.minute
        seen = {**self.seen, minute: self.seen.get(minute, frozenset()) | frozenset(keys)}
        kept = {at: names for at, names in seen.items() if names and at >= newest - LOOKBACK}
        return replace(self, minute=newest, seen=kept)


_ADAPTER = TypeAdapter(Cursor)


def read(table: Table, now: datetime) -> Cursor:
    """The cursor; on the first sweep ever, one that begins at `now`."""
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
    body = pack(_ADAPTER.dump_python(cursor, mode="json", exclude={"version"}))
    pk, sk = _KEY
    table.write([Put({"pk": pk, "sk": sk, "body": body}, read=cursor.version)])
