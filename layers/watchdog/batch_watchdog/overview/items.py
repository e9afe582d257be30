"""The overview in the table: one item each for arrays, waiting jobs, and a listing under way."""

from typing import Literal

from pydantic import TypeAdapter

from batch_watchdog.overview.state import OpenArrays, Waits
from batch_watchdog.store.item_codec import pack, unpack
from batch_watchdog.store.table import Key, Put, Table

type Listed = Literal["WAITS", "WAITS-BEGUN"]  # from a listing that is complete, or under way

_PK = "OVERVIEW"
_ARRAYS_KEY: Key = (_PK, "ARRAYS")

_ARRAYS = TypeAdapter(OpenArrays)
_WAITS = TypeAdapter(Waits)


def read_arrays(table: Table) -> OpenArrays | None:
    """Read the arrays that were at work at a sweep's last check; None before the first."""
    item = table.get(*_ARRAYS_KEY)
    if item is None:
        return None
    return _ARRAYS.validate_python(unpack(item["body"]) | {"version": item["version"]})


def put_arrays(arrays: OpenArrays) -> Put:
    """Build the write of the arrays at work."""
    body = pack(_ARRAYS.dump_python(arrays, mode="json", exclude={"version"}))
    return Put({"pk": _PK, "sk": _ARRAYS_KEY[1], "body": body}, read=arrays.version)


def read_waits(table: Table, which: Listed = "WAITS") -> Waits | None:
    """Read the waiting jobs by queue, as a listing has found them; None before the first."""
    item = table.get(_PK, which)
    if item is None:
        return None
    return _WAITS.validate_python(unpack(item["body"]) | {"version": item["version"]})


def put_waits(waits: Waits, which: Listed = "WAITS") -> Put:
    """Build the write of the waiting jobs by queue."""
    body = pack(_WAITS.dump_python(waits, mode="json", exclude={"version"}))
    return Put({"pk": _PK, "sk": which, "body": body}, read=waits.version)
