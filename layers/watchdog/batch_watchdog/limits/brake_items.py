"""
The brake: how many jobs limits have stopped in the last hour.

Stops are counted in the write that records them, so a stop counts when it is recorded, and only
then. One that is recorded and not carried out later (since it is no longer meant) stays counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from batch_watchdog.notices.text import iso
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.reminders import minute_of
from batch_watchdog.store.table import Put, Table

_KEY = ("SAFETY", "BRAKE")
_WINDOW = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """The stops of the last hour, by minute, as they were read."""

    counts: Mapping[str, int]
    version: int = 0

    def allowed(self, wanted: int, most: int) -> int:
        """How many of the wanted stops are allowed, of at most so many in an hour."""
        return max(0, min(wanted, most - sum(self.counts.values())))

    def put(self, stops: int, now: datetime) -> Put:
        """The write that counts stops. It is refused where others have counted meanwhile."""
        minute = iso(minute_of(now))
        counts = {**self.counts, minute: self.counts.get(minute, 0) + stops}
        body: Item = {"pk": _KEY[0], "sk": _KEY[1], "body": pack(counts)}
        return Put(body, read=self.version)


def read(table: Table, now: datetime) -> Brake:
    """The brake, as it is now."""
    item = table.get(*_KEY)
    if item is None:
        return Brake(counts={})
    since = iso(now - _WINDOW)
    counts = {minute: count for minute, count in unpack(item["body"]).items() if minute > since}
    return Brake(counts=counts, version=int(item["version"]))
