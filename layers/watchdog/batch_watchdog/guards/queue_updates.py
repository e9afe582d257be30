"""
Retry the openings and closings of queues that AWS Batch has refused, or that wait.

Batch refuses an update while the queue's status is UPDATING, which may take ten minutes. The sweep
compares a refused update with DescribeJobQueues, each minute at first. If the queue is not in the
state that its guard wants, the update is passed to `act` again. Operators are notified of a queue
that stays in the wrong state for long. An update that Batch has accepted is never repeated: if a
person has opened or closed the queue since, it stays so.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.core.effects import Announce, Effect
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.core.job_event import resource_name
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import precedence, queue_update_items
from batch_watchdog.guards.precedence import QueueVerdict
from batch_watchdog.guards.queue_update_items import QueueUpdate, QueueUpdates
from batch_watchdog.guards.state import GuardState
from batch_watchdog.notices.links import queue_link
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Name, kept, lines, say, subject
from batch_watchdog.notices.text import fact, iso, plain
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.decisions import ITEM_ERRORS, Outcome, Recorder
from batch_watchdog.store.table import Table

_TOLD_AFTER = timedelta(minutes=15)
_AT_ONCE = 20  # queues checked in one sweep: one call each


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueUpdateRetrier:
    """Retries the updates of queues that are still to be made, at `now`."""

    table: Table
    batch: BatchApi
    policy: Policy
    now: datetime

    def process(self, out_of_time: Callable[[], bool]) -> list[Exception]:
        """
        Check the updates that are due. If none is due, this is one read.

        While an operator holds the watchdog, or no policy can be read, all updates wait. A queue
        that cannot be checked waits too, and does not delay the others.

        Returns the errors that prevented a decision about some queues.
        """
        updates = queue_update_items.read(self.table)
        due = [queue for queue, each in updates.by_queue.items() if each.due_at <= self.now]
        if not due or not self.policy.readable or operator_hold.read(self.table).is_on:
            return []
        failed: list[Exception] = []
        recorder = Recorder(table=self.table, asked_by="sweep")
        for queue in islice(due, _AT_ONCE):
            updates, states = queue_update_items.read(self.table), guard_items.read_all(self.table)
            if out_of_time() or queue not in updates.by_queue:
                break
            try:
                changed, outcome = self._look(updates, queue, states)
            except ITEM_ERRORS as error:  # The sweep raises it, after all others are checked.
                failed.append(error)
                update = updates.by_queue[queue]
                changed = updates.having(queue, self._later(update, update.why))
                outcome = Outcome()
            puts = [queue_update_items.put(changed), *outcome.puts]
            with suppress(StaleItemError):  # `act` or a guard was faster: the next sweep checks.
                recorder.write([replace(outcome, puts=puts)], self.now)
        return failed

    def _look(
        self, updates: QueueUpdates, queue: str, states: Mapping[str, GuardState]
    ) -> tuple[QueueUpdates, Outcome]:
        update = updates.by_queue[queue]
        if update.done:
            return updates.having(queue, None), Outcome()
        verdict, why = precedence.judge_queue(update.effect, states, self.policy, self.now)
        if verdict == "wait":
            return updates.having(queue, self._later(update, why)), Outcome()
        shown = self.batch.queue(queue) or {}
        state, status = shown.get("state", ""), shown.get("status", "")
        if status == "UPDATING":  # Until it is over, its state may be the old one or the new one.
            return self._again(updates, self._later(update, "its status is UPDATING"))
        if update.effect.state == "DISABLED" and _is_not_closed_by_us(update, state, verdict):
            return updates.having(queue, None), self._not_closed(queue, states)
        if verdict == "drop" or state in ("", update.effect.state):
            return updates.having(queue, None), Outcome()
        return self._again(updates, self._later(update, update.why), update.effect)

    def _again(
        self, updates: QueueUpdates, update: QueueUpdate, *effects: Effect
    ) -> tuple[QueueUpdates, Outcome]:
        """Keep an update; notify operators once if it has lasted for long."""
        if self.now >= update.since + _TOLD_AFTER and not update.told:
            update = replace(update, told=True)
            effects = (*effects, Announce(notices=(_stays_wrong(update),)))
        return updates.having(update.effect.queue, update), Outcome(effects=effects)

    def _not_closed(self, queue: str, states: Mapping[str, GuardState]) -> Outcome:
        """Remove a queue from each guard's `closed`: no guard may reopen what it has not closed."""
        having = [state for state in states.values() if queue in state.closed]
        without = (
            replace(state, closed=tuple(each for each in state.closed if each != queue))
            for state in having
        )
        return Outcome(puts=[guard_items.put(state, self.now) for state in without])

    def _later(self, update: QueueUpdate, why: str) -> QueueUpdate:
        """Return the update, to be checked again: each minute at first, less often later."""
        lasted = self.now - update.since
        minutes = 1 if lasted < _TOLD_AFTER else 5 if lasted < timedelta(hours=2) else 15
        return replace(update, due_at=self.now + timedelta(minutes=minutes), why=why)


def _is_not_closed_by_us(update: QueueUpdate, state: str, verdict: QueueVerdict) -> bool:
    """Check whether the closing was never made: the queue is gone, open, or closed by others."""
    match state:
        case "":
            return True
        case "DISABLED":
            return update.refused
        case _:
            return verdict == "drop"


def _stays_wrong(update: QueueUpdate) -> Notice:
    """Build the notice that a queue cannot be opened, or closed."""
    effect, name = update.effect, Name(plain(resource_name(update.effect.queue)))
    parts = {"at": update.since, "queue": name, "guard": plain(effect.guard)}
    closing = effect.state == "DISABLED"
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:queue:{effect.queue}:{effect.state}:{iso(update.since)}",
        severity="critical",
        subject=subject("Queue cannot be closed: {queue}", queue=name)
        if closing
        else subject("Queue cannot be reopened: {queue}", queue=name),
        text=lines(
            [
                say(
                    "Since {at} the queue {queue} is to be closed for the guard {guard}, and it is "
                    "still open. AWS Batch says:",
                    **parts,
                )
                if closing
                else say(
                    "Since {at} the queue {queue} is to be reopened for the guard {guard}, and it "
                    "is still closed. AWS Batch says:",
                    **parts,
                ),
                kept(plain(update.why, 500)),
                "",
                say("The watchdog goes on trying."),
                say(
                    "What to do: see the queue's status, and set its state to {state} by hand.",
                    state=effect.state,
                ),
                say("Queue: {link}", link=queue_link(effect.queue)),
            ]
        ),
        facts={
            "queue": fact(resource_name(effect.queue)),
            "state": effect.state,
            "guard": fact(effect.guard),
            "since": iso(update.since),
            "why": fact(update.why),
        },
    )
