"""
The ledger: which decisions have been made once and must not be made again.

A decision is remembered as eight bytes, in an item for the minute that the decision is about (when
a job failed, since when it waits) and one of 16 shards. So very many decisions take few items, and
each is found again, whatever batch it arrives in.

A full item is moved to one of its own, which no longer changes; the first item says how many of
these there are. Every decision writes the first item, so that item alone shows which writer was
faster.
"""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from batch_watchdog.store.item_codec import Item, binary
from batch_watchdog.store.table import Key, Put, Table

KEPT = timedelta(days=60)  # after the latest decision; longer than we wait for any job

_WIDTH = 8  # bytes
_FULL = 4_000 * _WIDTH  # AWS bills a write by its item's size, of at most 400 KB.


@dataclass(frozen=True, slots=True)
class OnceKey:
    """A decision's name, and the time that it is about; both are the same on each try."""

    name: str
    about: datetime

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.name.encode("utf-8", "replace")).digest()[:_WIDTH]

    @property
    def bucket(self) -> Key:
        minute = self.about.astimezone(UTC)
        return f"ONCE#{minute:%Y-%m-%dT%H:%MZ}", f"{self.digest[0] >> 4:x}"


def by_bucket[K: Hashable](entries: Mapping[K, OnceKey]) -> dict[Key, dict[K, OnceKey]]:
    """Group entries by the item that remembers them: these are decided and written together."""
    buckets: dict[Key, dict[K, OnceKey]] = defaultdict(dict)
    for name, entry in entries.items():
        buckets[entry.bucket][name] = entry
    return buckets


def portions[K: Hashable](
    entries: Mapping[K, OnceKey], buckets_max: int, most: int = 1_000
) -> Iterator[tuple[K, ...]]:
    """
    Yield entries in portions that one write is likely to hold: at most `buckets_max` buckets, and
    at most `most` entries unless one bucket has more.
    """
    portion: list[K] = []
    buckets = 0
    for some in by_bucket(entries).values():
        if portion and (buckets == buckets_max or len(portion) + len(some) > most):
            yield tuple(portion)
            portion, buckets = [], 0
        portion += some
        buckets += 1
    if portion:
        yield tuple(portion)


class OnceLedger:
    """The ledger in the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def new[K: Hashable](
        self, bucket: Key, entries: Mapping[K, OnceKey], now: datetime
    ) -> tuple[list[K], list[Put]]:
        """
        Return which decisions of a bucket have not been made yet, and the writes that record them.

        They belong into one write with the effects of the decisions: if another writer makes one of
        the decisions meanwhile, all of it is refused.
        """
        remembered = self.remembered([bucket])
        fresh = remembered.fresh(entries)
        return fresh, remembered.puts([entries[name] for name in fresh], now)

    def remembered(self, buckets: Iterable[Key]) -> "Remembered":
        """Read what is remembered in these buckets."""
        items = self._table.get_many(list(buckets))
        full = [
            _full_key(bucket, number)
            for bucket, item in items.items()
            for number in range(int(item.get("full", 0)))
        ]
        return Remembered({**items, **self._table.get_many(full)} if full else items)


class Remembered:
    """The decisions that some buckets remember, as they were read."""

    def __init__(self, items: Mapping[Key, Item]) -> None:
        self._items = items
        self._digests: dict[Key, set[bytes]] = {}

    def fresh[K: Hashable](self, entries: Mapping[K, OnceKey]) -> list[K]:
        """Return which of these decisions have not been made; each of them once."""
        found: dict[tuple[Key, bytes], K] = {}
        for name, entry in entries.items():
            if entry.digest not in self._known(entry.bucket):
                found.setdefault((entry.bucket, entry.digest), name)
        return list(found.values())

    def puts(self, entries: Iterable[OnceKey], now: datetime) -> list[Put]:
        """Build the writes that record decisions, which must be fresh."""
        return [
            put
            for bucket, some in by_bucket(dict(enumerate(entries))).items()
            for put in self._puts(bucket, [entry.digest for entry in some.values()], now)
        ]

    def _puts(self, bucket: Key, digests: Iterable[bytes], now: datetime) -> Iterator[Put]:
        item: Item = self._items.get(bucket) or {}
        every = binary(item.get("digests", b"")) + b"".join(digests)
        full, expires_at = int(item.get("full", 0)), int((now + KEPT).timestamp())
        while len(every) > _FULL:
            pk, sk = _full_key(bucket, full)
            moved, every = every[:_FULL], every[_FULL:]
            yield Put({"pk": pk, "sk": sk, "digests": moved, "expires_at": expires_at})
            full += 1
        pk, sk = bucket
        new: Item = {"pk": pk, "sk": sk, "digests": every, "full": full, "expires_at": expires_at}
        yield Put(new, read=int(item.get("version", 0)))

    def _known(self, bucket: Key) -> set[bytes]:
        if bucket not in self._digests:
            item: Item = self._items.get(bucket) or {}
            keys = [bucket, *(_full_key(bucket, n) for n in range(int(item.get("full", 0))))]
            every = b"".join(binary(self._items[k]["digests"]) for k in keys if k in self._items)
            digests = (every[at : at + _WIDTH] for at in range(0, len(every), _WIDTH))
            self._digests[bucket] = set(digests)
        return self._digests[bucket]


def _full_key(bucket: Key, number: int) -> Key:
    pk, sk = bucket
    return pk, f"{sk}#{number}"
