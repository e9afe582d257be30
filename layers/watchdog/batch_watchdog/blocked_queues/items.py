"""Read and write blockages: one item for each queue."""

from datetime import datetime, timedelta

from pydantic import TypeAdapter

from batch_watchdog.blocked_queues.rules import Blockage
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.table import Put, Table

KEPT = timedelta(days=30)

_ADAPTER = TypeAdapter(Blockage)


def read(table: Table, queue: str) -> Blockage | None:
    """Read the latest blockage of a queue, named by its ARN; None if there is none."""
    item = table.get(f"BLOCKED#{queue}", "HEAD")
    if item is None:
        return None
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def put(blockage: Blockage, now: datetime) -> Put:
    """Return the write of a blockage."""
    body = pack(_ADAPTER.dump_python(blockage, mode="json", exclude={"version"}))
    item: Item = {
        "pk": f"BLOCKED#{blockage.queue}",
        "sk": "HEAD",
        "body": body,
        "expires_at": int((now + KEPT).timestamp()),
    }
    return Put(item, read=blockage.version)
