"""Store arrays: a head, and parts of 4,000 indices each."""

import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from batch_watchdog.arrays.progress import Array, Part, clipped, parts_in
from batch_watchdog.store.item_codec import Item, binary, pack, unpack
from batch_watchdog.store.table import Key, Put, Table

# After its last change. An open array may run for months without one, and must not be forgotten.
KEPT = timedelta(days=365)

_ARRAY = TypeAdapter(Array)
_PART = TypeAdapter(Part)


class Arrays:
    """Arrays in the table. Each write names the version of the item that was read."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read(self, job_id: str, numbers: Iterable[int]) -> tuple[Array | None, dict[int, Part]]:
        """Read an array, or None where it is not known, and these of its parts, in one read."""
        keys = {number: _part_key(job_id, number) for number in numbers}
        head = _head_key(job_id)
        items = self._table.get_many([head, *keys.values()])
        parts = {
            number: _to_part(items[key]) if key in items else Part(number=number)
            for number, key in keys.items()
        }
        return _to_array(items[head]) if head in items else None, parts

    def heads(self, job_ids: Iterable[str]) -> dict[str, Array]:
        """Read the arrays that are known, by job id."""
        items = self._table.get_many([_head_key(job_id) for job_id in job_ids])
        return {array.job_id: array for array in map(_to_array, items.values())}

    def all_parts(self, array: Array) -> Sequence[Part]:
        """Read all parts of an array whose size is known, without indices beyond it."""
        size = array.size or 0
        parts = self.read(array.job_id, range(parts_in(size)))[1]
        return [clipped(part, size) for part in parts.values()]

    def put(self, array: Array, now: datetime) -> Put:
        """Build the write of a head."""
        pk, sk = _head_key(array.job_id)
        body = pack(_ARRAY.dump_python(array, mode="json", exclude={"version"}))
        item: Item = {"pk": pk, "sk": sk, "body": body, "expires_at": _expiry(now)}
        return Put(item, read=array.version)

    def put_part(self, job_id: str, part: Part, now: datetime) -> Put:
        """Build the write of a part."""
        pk, sk = _part_key(job_id, part.number)
        causes = _PART.dump_python(part, mode="json", include={"causes"})["causes"]
        item: Item = {
            "pk": pk,
            "sk": sk,
            "outcomes": zlib.compress(part.outcomes, 9),
            "causes": pack(causes),
            "expires_at": _expiry(now),
        }
        return Put(item, read=part.version)


def _head_key(job_id: str) -> Key:
    return f"ARRAY#{job_id}", "HEAD"


def _part_key(job_id: str, number: int) -> Key:
    return f"ARRAY#{job_id}", f"PART#{number}"


def _expiry(now: datetime) -> int:
    return int((now + KEPT).timestamp())


def _to_array(item: Item) -> Array:
    return _ARRAY.validate_python(unpack(item["body"]) | {"version": item["version"]})


def _to_part(item: Item) -> Part:
    return _PART.validate_python(
        {
            "number": int(str(item["sk"]).removeprefix("PART#")),
            "outcomes": zlib.decompress(binary(item["outcomes"])),
            "causes": unpack(item["causes"]),
            "version": item["version"],
        }
    )
