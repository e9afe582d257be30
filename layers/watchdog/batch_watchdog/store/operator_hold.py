"""
The hold: an operator has stopped the watchdog from changing anything.

Whatever is due stays due, and is decided anew afterwards. But a queue's opening or closing has
been decided once and for all, so it is kept here, to be done when the hold is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import TypeAdapter

from batch_watchdog.effects import SetQueueState
from batch_watchdog.store.table import Put, Table, pack, unpack

_KEY = ("CONTROL", "HOLD")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorHold:
    """Since when the watchdog is held, by whom and why; `since` is None while it is not."""

    since: datetime | None = None
    by: str = ""
    why: str = ""
    queues: Mapping[str, SetQueueState] = field(default_factory=dict)  # what waits, by queue
    version: int = 0

    @property
    def is_on(self) -> bool:
        return self.since is not None


_ADAPTER = TypeAdapter(OperatorHold)


def read(table: Table) -> OperatorHold:
    """The hold, as it is now."""
    item = table.get(*_KEY)
    if item is None:
        return OperatorHold()
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def put(hold: OperatorHold) -> Put:
    """The write of the hold."""
    pk, sk = _KEY
    body = pack(_ADAPTER.dump_python(hold, mode="json", exclude={"version"}))
    return Put({"pk": pk, "sk": sk, "body": body}, read=hold.version)
