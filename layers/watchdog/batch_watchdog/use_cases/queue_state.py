"""
Open and close queues, as guards have decided.

Batch refuses an update of a queue while another one is in progress. An update that is refused, or
must wait, is kept for the sweep.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from batch_watchdog.aws.batch import PASSING, BatchApi
from batch_watchdog.core.effects import SetQueueState
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import precedence, queue_update_items
from batch_watchdog.guards.queue_update_items import QueueUpdate
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.actions import Action, Actions
from batch_watchdog.store.table import Table

_REFUSED_AGAIN = timedelta(minutes=1)  # until a refused update of a queue is checked
_DONE_KEPT = timedelta(minutes=20)  # longer than any try of an action waits for its turn
_WHY_MAX = 500  # characters of an error
_NO_ANSWER = "AWS Batch has not answered yet"
# A closing that was refused, and then the reopening of the same queue.
_NEVER_CLOSED = ("DISABLED", "ENABLED")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStateSetter:
    """Carries out what guards decide about queues; `clock` returns the present time."""

    table: Table
    batch: BatchApi
    policy: Callable[[], Policy]
    clock: Callable[[], datetime]

    def set_state(self, action: Action, effect: SetQueueState) -> Any:
        states = guard_items.read_all(self.table)
        verdict, why = precedence.judge_queue(effect, states, self.policy(), self.clock())
        if verdict == "drop":
            if any(effect.queue in state.closed for state in states.values()):
                # A guard has recorded the queue as closed by it: the sweep checks whether it is.
                self._remember(effect, why=why, refused=False)
            return {"overtaken": why}
        if held_back := self._hold_back(effect):
            return held_back
        known = queue_update_items.read(self.table).by_queue.get(effect.queue)
        if known and known.refused and (known.effect.state, effect.state) == _NEVER_CLOSED:
            self._forget(effect.queue)
            return {"overtaken": "the queue was never closed, as AWS Batch refused it"}
        if verdict == "wait":
            self._remember(effect, why=why, refused=False)
            return {"waits": why}
        call = self._begin_update(effect)
        try:
            self.batch.set_queue_state(effect.queue, effect.state)
        except ClientError as error:
            details = error.response["Error"]
            if details["Code"] in PASSING:
                raise
            why = plain(f"{details['Code']}: {details.get('Message', '')}", _WHY_MAX)
            latest = Actions(self.table).get(action.pk, action.sk)
            if latest is None or latest.result is None:
                self._remember(effect, why=why, refused=True, call=call)
            return {"refused": why}
        return {"state": effect.state}

    def _hold_back(self, effect: SetQueueState) -> Mapping[str, str] | None:
        """Keep an update until an operator's hold is over; return None if there is no hold."""
        while (held := operator_hold.read(self.table)).is_on:
            waits = held.queues.get(effect.queue)
            updates = queue_update_items.read(self.table)
            if waits and waits.state != effect.state and not updates.may_be_made(waits):
                # The queue is in the wanted state. The update that waits is dropped after the hold.
                return {"overtaken": f"{waits.state} was never set, as {held.by} held the watchdog"}
            queues = {**held.queues, effect.queue: effect}
            with suppress(StaleItemError):  # It has changed, and may be over.
                self.table.write([operator_hold.put(replace(held, queues=queues))])
                return {"held_by": held.by}
        return None

    def _begin_update(self, effect: SetQueueState) -> int:
        """
        Record that Batch is called now.

        Until there is an answer, the state of the queue is not known: Batch may refuse our call
        because of the call of another try of this action.

        Returns:
            The number of this call, or 0 if another call has no answer yet.
        """
        while True:
            updates, now = queue_update_items.read(self.table), self.clock()
            known = updates.by_queue.get(effect.queue)
            if known is None or known.effect.state != effect.state:
                # After a reopening that was not made, the queue is still closed by a guard.
                is_closed = known is not None and effect.state == "DISABLED" and not known.done
                known = QueueUpdate(
                    effect=effect,
                    since=now,
                    due_at=now + _REFUSED_AGAIN,
                    why=_NO_ANSWER,
                    refused=not is_closed,  # No call of it has been made.
                )
            update = replace(known, refused=False, calls=known.calls + 1)
            with suppress(StaleItemError):  # Another try has begun just now.
                self.table.write([queue_update_items.put(updates.having(effect.queue, update))])
                return update.calls if known.refused else 0

    def _remember(self, effect: SetQueueState, *, why: str, refused: bool, call: int = 0) -> None:
        """
        Keep an update of a queue for the sweep to check.

        It counts as `refused` only if `call` is the only one since the last refusal.
        """
        now = self.clock()
        while True:
            updates = queue_update_items.read(self.table)
            known = updates.by_queue.get(effect.queue)
            is_only_call = known is not None and call == known.calls > 0
            if known is None or known.effect.state != effect.state:
                known = QueueUpdate(effect=effect, since=now, due_at=now + _REFUSED_AGAIN, why=why)
            update = replace(
                known,
                due_at=max(known.due_at, now + _REFUSED_AGAIN),
                why=why,
                refused=refused and is_only_call,
            )
            with suppress(StaleItemError):
                self.table.write([queue_update_items.put(updates.having(effect.queue, update))])
                return

    def done(self, effect: SetQueueState) -> None:
        """Record for a while that an update was made: other tries of it may still be refused."""
        while True:
            updates = queue_update_items.read(self.table)
            known = updates.by_queue.get(effect.queue)
            if known is None or known.effect.state != effect.state:
                return
            update = replace(known, done=True, refused=False, due_at=self.clock() + _DONE_KEPT)
            with suppress(StaleItemError):
                self.table.write([queue_update_items.put(updates.having(effect.queue, update))])
                return

    def _forget(self, queue: str) -> None:
        """Drop the update that was kept for a queue: the queue is in the wanted state."""
        while queue in (updates := queue_update_items.read(self.table)).by_queue:
            with suppress(StaleItemError):
                self.table.write([queue_update_items.put(updates.having(queue, None))])
