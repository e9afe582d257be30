"""The sweep's cursor for actions: how far it has read, and which of them had no result yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from batch_watchdog.store.item_codec import pack, unpack
from batch_watchdog.store.table import Put, Table

_KEY = ("SWEEP", "ACTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """An action without a result, by its sort key, and when it is to be handled."""

    sk: str
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionCursor:
    """`read_to` is the sort key of the last action that was read."""

    read_to: str
    unfinished: Sequence[Unfinished] = ()
    version: int = 0


_ADAPTER = TypeAdapter(ActionCursor)


def read(table: Table, begin_at: str) -> ActionCursor:
    """Read the cursor; before the first sweep ever, one that has read to `begin_at`."""
    item = table.get(*_KEY)
    if item is None:
        return ActionCursor(read_to=begin_at)
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def put(cursor: ActionCursor) -> Put:
    """Build the write of the cursor."""
    pk, sk = _KEY
    body = pack(_ADAPTER.dump_python(cursor, mode="json", exclude={"version"}))
    return Put({"pk": pk, "sk": sk, "body": body}, read=cursor.version)
