"""
Queues whose opening or closing Batch has refused, or that wait: tried again until they are right.

Batch refuses an update while the queue's status is UPDATING, which may take ten minutes. What was
refused is compared with DescribeJobQueues, each minute at first, and handed on to `act` again
where the queue is not as its guard wants it. Operators are told of a queue that stays wrong for
long. What Batch has accepted is never repeated: a queue that a person has opened or closed since
is theirs.
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
_AT_ONCE = 20  # queues looked at in one sweep: one call each


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueUpdateRetrier:
    """The updates of queues that are still to be made, at `now`."""

    table: Table
    batch: BatchApi
    policy: Policy
    now: datetime

    def see_to(self, out_of_time: Callable[[], bool]) -> list[Exception]:
        """
        Look at what is due. Where there is nothing, this is one read.

        While an operator holds the watchdog, or no policy can be read, all of it waits. A queue
        that cannot be looked at waits too, and keeps no other from its turn.

        Returns what prevented a decision about some queues.
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
            except ITEM_ERRORS as error:  # The sweep raises it, when it has seen to all others.
                failed.append(error)
                update = updates.by_queue[queue]
                changed = updates.having(queue, self._later(update, update.why))
                outcome = Outcome()
            puts = [queue_update_items.put(changed), *outcome.puts]
            with suppress(StaleItemError):  # `act` or a guard has changed it: the next sweep looks.
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
        """Keep an update; tell operators of it, once, where it has lasted for long."""
        if self.now >= update.since + _TOLD_AFTER and not update.told:
            update = replace(update, told=True)
            effects = (*effects, Announce(notices=(_stays_wrong(update),)))
        return updates.having(update.effect.queue, update), Outcome(effects=effects)

    def _not_closed(self, queue: str, states: Mapping[str, GuardState]) -> Outcome:
        """A guard that has not closed a queue must not reopen it either."""
        having = [state for state in states.values() if queue in state.closed]
        without = (
            replace(state, closed=tuple(each for each in state.closed if each != queue))
            for state in having
        )
        return Outcome(puts=[guard_items.put(state, self.now) for state in without])

    def _later(self, update: QueueUpdate, why: str) -> QueueUpdate:
        """The update, to be looked at again: each minute at first, then more rarely."""
        lasted = self.now - update.since
        minutes = 1 if lasted < _TOLD_AFTER else 5 if lasted < timedelta(hours=2) else 15
        return replace(update, due_at=self.now + timedelta(minutes=minutes), why=why)


def _is_not_closed_by_us(update: QueueUpdate, state: str, verdict: QueueVerdict) -> bool:
    """Whether the closing has never been made: the queue is gone, open, or closed by others."""
    match state:
        case "":
            return True
        case "DISABLED":
            return update.refused
        case _:
            return verdict == "drop"


def _stays_wrong(update: QueueUpdate) -> Notice:
    """The notice that a queue cannot be opened, or closed."""
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
