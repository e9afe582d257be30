"""
Keep the openings and closings of queues that AWS Batch has refused, or that wait, in one item.

Batch refuses to change a queue that it is still changing (its status is UPDATING). A guard decides
only once about the queue, so the update is kept here until it has succeeded, or is not wanted any
more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import TypeAdapter

from batch_watchdog.core.effects import SetQueueState
from batch_watchdog.store.item_codec import pack, unpack
from batch_watchdog.store.table import Put, Table

_KEY = ("CONTROL", "QUEUE-UPDATES")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueUpdate:
    """
    An update that is still to be made: since when, when it is checked next, and why.

    `refused` says that Batch has refused the latest call. It is False while no call was made, or
    the answer is not known. `calls` counts the calls that were begun, and `done` says that Batch
    accepted one. `told` says that operators have been notified.
    """

    effect: SetQueueState
    since: datetime
    due_at: datetime
    why: str
    refused: bool = False
    calls: int = 0
    done: bool = False
    told: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueUpdates:
    """All updates that are still to be made, by queue."""

    by_queue: Mapping[str, QueueUpdate] = field(default_factory=dict)
    version: int = 0

    def having(self, queue: str, update: QueueUpdate | None) -> "QueueUpdates":
        """Return a copy with this update of a queue, or without an update of it."""
        others = {name: each for name, each in self.by_queue.items() if name != queue}
        return replace(self, by_queue=others | ({queue: update} if update else {}))

    def may_be_made(self, effect: SetQueueState) -> bool:
        """Check whether Batch was called for this update, and may have made it."""
        known = self.by_queue.get(effect.queue)
        if known is None or known.effect.state != effect.state:
            return False
        return known.calls > 0 and not known.refused

    @property
    def not_yet_closed(self) -> frozenset[str]:
        """Return the queues that are to be closed, and are not known to be closed by Batch."""
        return frozenset(
            queue
            for queue, each in self.by_queue.items()
            if each.effect.state == "DISABLED" and not each.done
        )

    def never_closed(self, held_back: Mapping[str, SetQueueState]) -> frozenset[str]:
        """Return the queues whose closing Batch refused each time, or a hold has held back."""
        refused = {queue for queue in self.not_yet_closed if self.by_queue[queue].refused}
        return frozenset(refused) | {
            queue
            for queue, effect in held_back.items()
            if effect.state == "DISABLED" and not self.may_be_made(effect)
        }


_ADAPTER = TypeAdapter(QueueUpdates)


def read(table: Table) -> QueueUpdates:
    """Read the updates, as they are now."""
    item = table.get(*_KEY)
    if item is None:
        return QueueUpdates()
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def put(updates: QueueUpdates) -> Put:
    """Build the write of the updates."""
    pk, sk = _KEY
    body = pack(_ADAPTER.dump_python(updates, mode="json", exclude={"version"}))
    return Put({"pk": pk, "sk": sk, "body": body}, read=updates.version)
