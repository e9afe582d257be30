"""
The hold: an operator has stopped the watchdog from changing anything.

Whatever is due stays due, and is decided anew afterwards. But a queue's opening or closing is not
decided again, so it is kept here, and carried out when the hold is over.

Holds that are over are kept too: the time under a hold does not count where a guard's stage becomes
harder by time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from batch_watchdog.core.effects import SetQueueState
from batch_watchdog.store.item_codec import pack, unpack
from batch_watchdog.store.table import Put, Table

_KEY = ("CONTROL", "HOLD")
_KEPT = timedelta(days=40)  # longer than a stage may last before the next, which is 30 days
_KEPT_MAX = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorHold:
    """Since when the watchdog is held, by whom and why; `since` is None while it is not."""

    since: datetime | None = None
    by: str = ""
    why: str = ""
    queues: Mapping[str, SetQueueState] = field(default_factory=dict)  # what waits, by queue
    past: tuple[tuple[datetime, datetime], ...] = ()  # holds that are over, in order of time
    version: int = 0

    @property
    def is_on(self) -> bool:
        return self.since is not None

    def spans(self, now: datetime) -> tuple[tuple[datetime, datetime], ...]:
        """Return the periods of the holds, until now at the latest."""
        return (*self.past, (self.since, now)) if self.since else self.past

    def resumed(self, now: datetime) -> "OperatorHold":
        """Return the hold after it has ended."""
        spans = [span for span in self.spans(now) if span[1] > now - _KEPT]
        while len(spans) > _KEPT_MAX:
            # The two oldest are merged: the time between them does not count either, so that no
            # stage becomes harder too soon.
            spans[:2] = [(spans[0][0], spans[1][1])]
        return replace(OperatorHold(version=self.version), past=tuple(spans))


_ADAPTER = TypeAdapter(OperatorHold)


def read(table: Table) -> OperatorHold:
    """Read the hold, as it is now."""
    item = table.get(*_KEY)
    if item is None:
        return OperatorHold()
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def put(hold: OperatorHold) -> Put:
    """Build the write of the hold."""
    pk, sk = _KEY
    body = pack(_ADAPTER.dump_python(hold, mode="json", exclude={"version"}))
    return Put({"pk": pk, "sk": sk, "body": body}, read=hold.version)
