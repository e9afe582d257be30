"""The table in memory, for replays, simulations and tests."""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence

from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.table import FIRST, LAST, Key, Listener, Put, check, next_version, stale


class MemoryTable:
    """
    The same table, in memory. `listener` is called with each write, as the stream would deliver it.
    """

    def __init__(self, listener: Listener | None = None) -> None:
        self._partitions: dict[str, dict[str, Item]] = defaultdict(dict)
        self._keys: dict[str, list[str]] = defaultdict(list)  # in order, by partition
        self._listener = listener

    def get(self, pk: str, sk: str) -> Item | None:
        return self._partitions.get(pk, {}).get(sk)

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        items = {key: self.get(*key) for key in keys}
        return {key: item for key, item in items.items() if item is not None}

    def query(self, pk: str, *, first: str = FIRST, last: str = LAST) -> Iterator[Item]:
        keys = self._keys.get(pk, [])
        found = keys[bisect_left(keys, first) : bisect_right(keys, last)]
        return iter([self._partitions[pk][sk] for sk in found])

    def latest(self, pk: str, most: int, *, first: str = FIRST, last: str = LAST) -> list[Item]:
        return list(self.query(pk, first=first, last=last))[::-1][: max(0, most)]

    def write(self, puts: Sequence[Put]) -> None:
        check(puts)
        before = self.get_many([put.key for put in puts])
        for put in puts:
            known = before.get(put.key)
            if (known["version"] if known else 0) != put.read:
                raise stale(puts)
        for put in puts:
            item = next_version(put)
            pk, sk = put.key
            if sk not in self._partitions[pk]:
                insort(self._keys[pk], sk)
            self._partitions[pk][sk] = item
            if self._listener:
                self._listener("MODIFY" if put.read else "INSERT", before.get(put.key), item)

    def every_item(self) -> Iterator[Item]:
        """Yield all items, in order of their keys."""
        for pk in sorted(self._keys):
            yield from self.query(pk)
