"""Read and write units of the table, counted from item sizes as DynamoDB bills them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import FIRST, LAST, Key, Put

_NUMBER_SIZE = 21
_BATCH_GET_MAX = 100  # items


class Units:
    """
    What is read and written while it counts.

    A write costs a unit for each KB of an item, and twice that in a transaction; a consistent read
    one for each 4 KB, by item, or by query. `items` counts the items that are read, and `calls` the
    calls: of BatchGetItem, 100 items each.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
    """

    def __init__(self) -> None:
        self.written = 0
        self.read = 0
        self.items = 0
        self.calls = 0
        self.by_kind: Counter[str] = Counter()

    @contextmanager
    def counted(self) -> Iterator["Units"]:
        get, get_many = MemoryTable.get, MemoryTable.get_many
        query, write = MemoryTable.query, MemoryTable.write

        def count_get(table: MemoryTable, pk: str, sk: str) -> Item | None:
            item = get(table, pk, sk)
            self.calls += 1
            self._read([item] if item else [])
            return item

        def count_get_many(table: MemoryTable, keys: Sequence[Key]) -> dict[Key, Item]:
            found = {key: item for key in keys if (item := get(table, *key))}
            self.calls += -(-len(keys) // _BATCH_GET_MAX)
            for key in keys:
                self._read([found[key]] if key in found else [])
            return found

        def count_query(
            table: MemoryTable, pk: str, *, first: str = FIRST, last: str = LAST
        ) -> Iterator[Item]:
            items = list(query(table, pk, first=first, last=last))
            self.calls += 1
            self._read(items)
            return iter(items)

        def count_write(table: MemoryTable, puts: Sequence[Put]) -> None:
            with (
                patch.object(MemoryTable, "get_many", get_many),
                patch.object(MemoryTable, "get", get),
            ):
                write(table, puts)
            self.calls += 1
            for put in puts:
                units = -(-_size(put.item) // 1_024) * (2 if len(puts) > 1 else 1)
                self.written += units
                self.by_kind[put.key[0].partition("#")[0]] += units

        with (
            patch.object(MemoryTable, "get", count_get),
            patch.object(MemoryTable, "get_many", count_get_many),
            patch.object(MemoryTable, "query", count_query),
            patch.object(MemoryTable, "write", count_write),
        ):
            yield self

    def _read(self, items: Sequence[Item]) -> None:
        self.items += len(items)
        self.read += max(1, -(-sum(map(_size, items)) // 4_096))


def _size(item: Item) -> int:
    return sum(
        len(name) + (len(value) if isinstance(value, bytes | str) else _NUMBER_SIZE)
        for name, value in item.items()
    )
