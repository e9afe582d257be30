"""
The brake: how many jobs limits have stopped in the last hour.

Stops are counted in the write that records them, so that no more are recorded than are allowed.
The write of their result counts anew: those that Batch has accepted in the minute of the result,
and none that it has not. One that is tried again then counts anew.
"""

from collections.abc import Iterable, Mapping
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
        return self._put(_plus(self.counts, now, stops))

    def settled(self, recorded: int, at: datetime, stopped: int, now: datetime) -> Iterable[Put]:
        """
        The write that counts so many as `stopped` `now`, in place of those `recorded` at a time.

        There is none where the same is counted.
        """
        counts = _plus(_plus(self.counts, at, -recorded), now, stopped)
        return [self._put(counts)] if counts != self.counts else []

    def _put(self, counts: Mapping[str, int]) -> Put:
        body: Item = {"pk": _KEY[0], "sk": _KEY[1], "body": pack(counts)}
        return Put(body, read=self.version)


def _plus(counts: Mapping[str, int], at: datetime, more: int) -> Mapping[str, int]:
    """The counts with more in the minute of a time; those of an hour ago are not kept."""
    minute = iso(minute_of(at))
    count = max(0, counts.get(minute, 0) + more)
    others = {each: known for each, known in counts.items() if each != minute}
    return others | ({minute: count} if count else {})


def read(table: Table, now: datetime) -> Brake:
    """The brake, as it is now."""
    item = table.get(*_KEY)
    if item is None:
        return Brake(counts={})
    since = iso(now - _WINDOW)
    counts = {minute: count for minute, count in unpack(item["body"]).items() if minute > since}
    return Brake(counts=counts, version=int(item["version"]))
