"""
Store the brake: how many jobs limits have stopped in the last hour.

Stops are counted in the write that records them, so that no more are recorded than are allowed.
The write of their result corrects the count: stops that Batch has accepted, or may have accepted,
count in the minute of the result, and all others do not count. A stop that did not count, and is
tried again, is counted then.
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
        """Return how many of the wanted stops are allowed, of at most `most` in an hour."""
        return max(0, min(wanted, most - sum(self.counts.values())))

    def put(self, stops: int, now: datetime) -> Put:
        """Build the write that counts stops. It is refused if the count has changed meanwhile."""
        return self._put(_plus(self.counts, now, stops))

    def settled(self, recorded: int, at: datetime, stopped: int, now: datetime) -> Iterable[Put]:
        """
        Build the write that counts `stopped` stops at `now` in place of `recorded` stops at `at`.

        There is no write if the counts stay the same.
        """
        counts = _plus(_plus(self.counts, at, -recorded), now, stopped)
        return [self._put(counts)] if counts != self.counts else []

    def _put(self, counts: Mapping[str, int]) -> Put:
        body: Item = {"pk": _KEY[0], "sk": _KEY[1], "body": pack(counts)}
        return Put(body, read=self.version)


def _plus(counts: Mapping[str, int], at: datetime, more: int) -> Mapping[str, int]:
    """Return the counts with `more` added in the minute of `at`."""
    minute = iso(minute_of(at))
    count = max(0, counts.get(minute, 0) + more)
    others = {each: known for each, known in counts.items() if each != minute}
    return others | ({minute: count} if count else {})


def read(table: Table, now: datetime) -> Brake:
    """Read the brake, without the stops of more than an hour ago."""
    item = table.get(*_KEY)
    if item is None:
        return Brake(counts={})
    since = iso(now - _WINDOW)
    counts = {minute: count for minute, count in unpack(item["body"]).items() if minute > since}
    return Brake(counts=counts, version=int(item["version"]))
