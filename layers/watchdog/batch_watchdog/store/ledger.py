"""
The ledger: what has been decided once and must not be decided again.

A decision is remembered as eight bytes, in an item for the minute that the decision is about
(when a job failed, since when it waits) and one of 16 shards: a storm of decisions is a few
items, and each is found again whatever batch it comes in.
"""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from batch_watchdog.store.table import Item, Key, Put, Table, binary

KEPT = timedelta(days=60)  # after the latest decision; longer than any job is waited for

_WIDTH = 8  # bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision by name, and the time it is about; both are the same whenever it is made."""

    name: str
    about: datetime

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.name.encode("utf-8", "replace")).digest()[:_WIDTH]

    @property
    def bucket(self) -> Key:
        minute = self.about.astimezone(UTC)
        return f"ONCE#{minute:%Y-%m-%dT%H:%MZ}", f"{self.digest[0] >> 4:x}"


def by_bucket[K: Hashable](entries: Mapping[K, Entry]) -> dict[Key, dict[K, Entry]]:
    """Entries by the item that remembers them: what is decided and written together."""
    buckets: dict[Key, dict[K, Entry]] = defaultdict(dict)
    for name, entry in entries.items():
        buckets[entry.bucket][name] = entry
    return buckets


class Ledger:
    """The ledger in the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def new[K: Hashable](
        self, bucket: Key, entries: Mapping[K, Entry], now: datetime
    ) -> tuple[list[K], list[Put]]:
        """
        Which decisions of a bucket have not been made yet, and the write that records them.

        It belongs into one write with whatever the decisions bring about: should someone else
        make one of them meanwhile, all of it is refused.
        """
        item: Item = self._table.get(*bucket) or {}
        known = binary(item.get("digests", b""))
        seen = {known[at : at + _WIDTH] for at in range(0, len(known), _WIDTH)}
        fresh: dict[K, Entry] = {}
        for name, entry in entries.items():
            if entry.digest not in seen:
                seen.add(entry.digest)
                fresh[name] = entry
        if not fresh:
            return [], []
        digests = known + b"".join(entry.digest for entry in fresh.values())
        expires_at = int((now + KEPT).timestamp())
        pk, sk = bucket
        new_item: Item = {"pk": pk, "sk": sk, "digests": digests, "expires_at": expires_at}
        return list(fresh), [Put(new_item, read=int(item.get("version", 0)))]
