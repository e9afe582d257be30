"""
Handle the actions that have no result after the stream has given up: repeat or announce them.

The stream tries an action ten times, or for an hour, and then drops it. So the sweep reads the
actions in order of time, each once, some minutes after they were written, and remembers those
without a result:

* A notice, a message for a chat, or a queue's opening or closing is recorded as a new action, which
  the stream hands on; the old action's result names the new one. That is done a few times, at
  growing intervals. Then the action is given up, and operators are notified.
* A stop is not made any more: the code that asked for it checks again, and decides anew.
* A stop run is started again by the sweep, when it is due.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import batched, islice
from typing import assert_never

from batch_watchdog.actions import cursor_items as action_cursor
from batch_watchdog.actions.cursor_items import ActionCursor, Unfinished
from batch_watchdog.core.effects import (
    Announce,
    Chat,
    Effect,
    SetQueueState,
    StartRun,
    StopJobs,
)
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.limits.stop_results import settled
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Phrase, counted, lines, say, subject
from batch_watchdog.notices.text import iso, plain
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import sweep_cursor
from batch_watchdog.store.actions import Action, Actions, day_of
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.table import Table

_AGE = timedelta(minutes=5)  # of an action without a result, before it is handled
_TRIES_MAX = 6  # each twice as long after the one before: five hours in all
_BEGUN_BEFORE = timedelta(hours=1)  # the first sweep ever reads the actions from then on
_READ_AT_ONCE = 100  # actions, between two checks of the time that is left
_UNFINISHED_MAX = 500  # remembered at a time; more are read when some of these have a result
_GIVEN_UP = "watchdog-trouble:given-up:"
_LAST = "~"  # after all sort keys of a day


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedActionChecker:
    """Handles the actions without a result, at `now`."""

    table: Table
    policy: Policy
    now: datetime

    def process(self, out_of_time: Callable[[], bool]) -> list[Exception]:
        """
        Read new actions, and handle those that are due, until the time is up.

        Returns the errors because of which some of them could not be handled.
        """
        failed: list[Exception] = []
        begin_at = iso(self.now - _BEGUN_BEFORE)
        before = action_cursor.read(self.table, begin_at)
        cursor, end = before, self._end()
        for some in batched(self._new(before, end), _READ_AT_ONCE, strict=False):
            if out_of_time() or len(cursor.unfinished) >= _UNFINISHED_MAX:
                break
            lacking = [_unfinished(item) for item in some if "result" not in item]
            cursor = replace(
                cursor,
                read_to=str(some[-1]["sk"]),
                unfinished=[*cursor.unfinished, *lacking],
            )
        else:  # The days before have been read whole, even if they had no action.
            cursor = replace(cursor, read_to=max(cursor.read_to, iso(_midnight(end))))
        cursor = self._process_due(cursor, out_of_time, failed)
        if cursor != before:
            with suppress(StaleItemError):  # Another sweep has done the same.
                self.table.write([action_cursor.put(cursor)])
        return failed

    def _end(self) -> str:
        """Return the time up to which actions are read."""
        # When an action is written, its time is not before the minute to which the sweep has
        # come. So an action that is written later does not sort before those read here.
        swept = sweep_cursor.read(self.table, self.now).minute - sweep_cursor.LOOKBACK
        return iso(min(self.now - _AGE, swept))

    def _new(self, cursor: ActionCursor, end: str) -> Iterator[Item]:
        """Yield the actions up to `end` that have not been read, in order, across the days."""
        day, first = _midnight(cursor.read_to), cursor.read_to + " "  # after the last one read
        while iso(day) <= end:
            yield from self.table.query(day_of(iso(day)), first=first, last=min(end, _end_of(day)))
            day += timedelta(days=1)
            first = iso(day)

    def _process_due(
        self, cursor: ActionCursor, out_of_time: Callable[[], bool], failed: list[Exception]
    ) -> ActionCursor:
        due = [each for each in cursor.unfinished if each.due_at <= self.now]
        left = [each for each in cursor.unfinished if each.due_at > self.now]
        given_up: list[Action] = []
        actions = Actions(self.table)
        for number, each in enumerate(due):
            if out_of_time():
                left += islice(due, number, None)
                break
            try:
                action = actions.get(day_of(each.sk), each.sk)
                if action is None or action.result is not None:
                    continue
                if not self._is_settled(actions, action):
                    given_up.append(action)
            except StaleItemError:  # `act` is working on it now.
                left.append(each)
            except ITEM_ERRORS as error:  # The sweep raises it, when it has seen to all others.
                failed.append(error)
                left.append(each)
        self._give_up(given_up)
        return replace(cursor, unfinished=sorted(left, key=lambda each: each.sk))

    def _is_settled(self, actions: Actions, action: Action) -> bool:
        """Handle an action; return False if it is to be given up."""
        match action.effect:
            case StopJobs():
                anew = "it was not carried out in time: it is decided anew"
                result = action.progress.ended(overtaken=anew)
                actions.record(action, result, settled(self.table, action, result, self.now))
            case StartRun():
                actions.record(action, {"overtaken": "the sweep starts the run when it is due"})
            case Announce() | Chat() | SetQueueState():
                if action.tries >= _TRIES_MAX:
                    return False
                actions.hand_on(action, self.now)
            case _:
                assert_never(action.effect)
        return True

    def _give_up(self, given_up: Sequence[Action]) -> None:
        """
        Notify operators, then record the results. If this ends in between, operators are notified
        again.
        """
        actions = Actions(self.table)
        if about := [action for action in given_up if not _is_about_this(action.effect)]:
            notice = Announce(notices=(_notice(about),))
            with suppress(StaleItemError):  # Another sweep has just announced it.
                self.table.write(actions.puts([notice], self.now, "sweep"))
        for action in given_up:
            with suppress(StaleItemError):  # `act` has carried it out at last.
                actions.record(action, {"given_up": f"tried {action.tries + 1} times"})


def _unfinished(item: Item) -> Unfinished:
    tries = int(item.get("tries", 0))
    at = datetime.fromisoformat(str(item["at"]))
    return Unfinished(sk=str(item["sk"]), due_at=at + _AGE * 2**tries)


def _is_about_this(effect: Effect) -> bool:
    """Whether this is the notice below: it is not announced that this notice failed."""
    match effect:
        case Announce(notices=[first, *_]):
            return first.id.startswith(_GIVEN_UP)
        case Chat(messages=[first, *_]):
            return str(first["id"]).startswith(_GIVEN_UP)
        case _:
            return False


def _notice(given_up: Sequence[Action]) -> Notice:
    """Build the notice that actions were never carried out."""
    body = [
        say("- {at}: {action}", at=_time_of(each), action=_in_short(each)) for each in given_up[:20]
    ]
    if len(given_up) > len(body):
        body.append(say("- … and {n} more", n=len(given_up) - len(body)))
    return Notice(
        kind="watchdog-trouble",
        id=f"{_GIVEN_UP}{given_up[0].sk}",
        severity="critical",
        subject=subject(
            "{actions} could not be carried out: given up",
            actions=counted(len(given_up), "{n} action", "{n} actions"),
        ),
        text=lines(
            [
                say(
                    "The watchdog has tried each of these {n} times within five hours:",
                    n=_TRIES_MAX + 1,
                ),
                *body,
                "",
                say(
                    "What to do: see the log of the function act, and do by hand what is missing. "
                    "The actions are in the table, with their time and who asked for them."
                ),
            ]
        ),
        facts={"actions": [f"{action.pk}/{action.sk}" for action in given_up[:100]]},
    )


def _in_short(action: Action) -> Phrase:
    """Describe an action in one line."""
    match action.effect:
        case Announce(notices=notices):
            return say("{n} notices of the kind {kind}", n=len(notices), kind=notices[0].kind)
        case Chat(messages=messages):
            return say("{n} messages for the chat", n=len(messages))
        case SetQueueState(queue=queue, state=state):
            return say("set the queue {queue} to {state}", queue=plain(queue), state=state)
        case _:
            return say("{kind}", kind=type(action.effect).__name__)


def _time_of(action: Action) -> datetime:
    return datetime.fromisoformat(action.at)


def _midnight(sk: str) -> datetime:
    return datetime.fromisoformat(sk[:10]).replace(tzinfo=UTC)


def _end_of(day: datetime) -> str:
    return iso(day)[:10] + _LAST
