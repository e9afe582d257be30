"""Fold notices when they are to be sent, and send what was collected when a window closes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batch_watchdog.core.effects import Announce, Effect
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.notices.notice import Notice
from batch_watchdog.store.actions import Action, Actions
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.reminders import MINUTE, Reminders
from batch_watchdog.store.reminders import put as reminder_put
from batch_watchdog.store.table import Put, Table
from batch_watchdog.threads import items, rules
from batch_watchdog.threads.items import ActiveThreads
from batch_watchdog.threads.notices import digest, digest_of
from batch_watchdog.threads.rules import BUDGET, GUARD, OTHER, Thread

_HOUR = timedelta(hours=1)

type Beside = Callable[[Action, Sequence[Notice], Mapping[str, str]], Iterable[Effect]]
type Decided = tuple[Mapping[str, str], Sequence[Put], Mapping[str, str]]
_AS_IT_IS: Decided = ({}, (), {})


def messages(notices: Sequence[Notice], digest_over: int, at: datetime) -> Sequence[Notice]:
    """Return what is sent for notices that go out at once: each of them, or one digest."""
    is_digest = bool(notices) and notices[0].kind == "digest"
    if is_digest or rules.goes_out_singly(notices, digest_over):
        return notices
    return [digest_of(notices, at)]


def at_once(notices: Iterable[Notice], folded: Mapping[str, str]) -> list[Notice]:
    """Return those of an action's notices that are sent at once."""
    return [each for each in notices if not ({each.id, rules.key_of(each)} & folded.keys())]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeFolder:
    """
    Decides at `now` which notices are sent at once.

    `fold` is the length of a first window. `word` puts the notices that are collected into the
    operators' language and time zone. `beside` returns further effects if notices of an action are
    sent at once, given the action, these notices, and their threads by the notices' ids.
    """

    table: Table
    fold: timedelta
    word: Callable[[Notice], Notice]
    now: datetime
    beside: Beside = lambda *_: ()

    def decide(self, action: Action) -> Action:
        """
        Decide, once, which of an action's notices are sent later; collect these.

        The decision is recorded with what is collected, in one write. So no notice is collected
        twice, or both sent at once and collected, however often the stream delivers the action.

        Returns:
            The action as it is recorded. It has a result if nothing is left to be sent at once.
        """
        actions = Actions(self.table)
        while action.result is None and action.folded is None:
            effect = action.effect
            if not isinstance(effect, Announce):
                return replace(action, folded={})
            decided = _AS_IT_IS
            if not _is_told_as_it_is(effect, self.fold):
                decided = self._decided([self.word(notice) for notice in effect.notices])
            folded, puts, names = decided
            left = at_once(effect.notices, folded)
            result = None if left else {"folded_into": sorted(set(folded.values()))}
            beside = self.beside(action, left, names) if left else ()
            puts = [*puts, *actions.puts(beside, self.now, action.asked_by)]
            if not puts:
                return replace(action, folded=folded)
            try:
                return actions.fold(action, folded, result, puts)
            except StaleItemError:  # Another invocation has changed the same threads.
                action = actions.get(action.pk, action.sk) or action
        return action

    def _decided(self, notices: Sequence[Notice]) -> Decided:
        """
        Decide about notices.

        Returns:
            The ids of the digests of notices that are sent later, by thread or by notice id; the
            writes; and the threads of notices that are sent at once, by notice id.
        """
        by_key: dict[str, list[Notice]] = defaultdict(list)
        for notice in notices:
            by_key[rules.key_of(notice)].append(notice)
        known = items.read(self.table, by_key)
        places, puts = self._places(by_key)
        known |= items.read(self.table, set(places.values()) - by_key.keys())
        by_place: dict[str, list[Notice]] = defaultdict(list)
        for key, place in places.items():
            by_place[place] += by_key[key]
        folded: dict[str, str] = {}
        names: dict[str, str] = {}
        for place, some in by_place.items():
            thread = known.get(place)
            is_new = thread is None or thread.is_over(self.now)
            if thread is None:
                thread = Thread(key=place, opened_at=self.now, closes_at=self.now, window=self.fold)
            if is_new:
                thread = thread.anew(self.now, self.fold)
            changed, first = rules.take_in(thread, some, self.now, is_new=is_new)
            folded |= _folded(some, first, changed.digest_id)
            names |= dict.fromkeys((notice.id for notice in first), changed.id)
            if is_new or changed.closes_at != thread.closes_at:
                puts.append(reminder_put(items.reminder(place, changed.closes_at)))
            if is_new or changed != thread:
                puts.append(items.put(changed))
        return folded, puts, names

    def _places(self, keys: Iterable[str]) -> tuple[dict[str, str], list[Put]]:
        """Return each key's thread (a shared one if too many are active), and the writes."""
        places: dict[str, str] = {}
        active: dict[str, ActiveThreads] = {}
        for key in keys:
            kind = key.partition("|")[0]
            if kind in (GUARD, BUDGET):  # The policy has few, so each has its own.
                places[key] = key
                continue
            if kind not in active:
                active[kind] = items.read_active(self.table, kind, self.now - _HOUR)
            has_room = active[kind].takes(key, self.now)
            places[key] = key if has_room else f"{kind}|{OTHER}"
        return places, [each.put(kind, self.now) for kind, each in active.items() if each.changed]


def close_windows(table: Table, keys: Iterable[str], now: datetime) -> None:
    """
    Send the digests of threads whose windows have closed, and open the next ones.

    A window without notices ends its thread. That is written too, so that nothing is collected
    meanwhile for a digest that would never be sent. If a thread has no room for a digest in this
    hour, the digest is sent later.
    """

    def decide(key: str) -> Outcome:
        thread = items.read(table, [key]).get(key)
        if thread is None or thread.ended or thread.closes_at > now:
            return Outcome()
        if not thread.collected.count:
            return Outcome(puts=[items.put(replace(thread, ended=True))])
        later = thread.has_room_from(now)
        is_sent = later <= now
        following = thread.next_window(now) if is_sent else replace(thread, closes_at=later)
        return Outcome(
            puts=[items.put(following), reminder_put(items.reminder(key, following.closes_at))],
            effects=[Announce(notices=(digest(thread),))] if is_sent else [],
        )

    lost = Recorder(table=table, asked_by="sweep").decide(dict.fromkeys(keys), decide, now)
    Reminders(table).file(items.reminder(key, now + MINUTE) for key in lost)


def _folded(some: Iterable[Notice], first: Iterable[Notice], digest_id: str) -> dict[str, str]:
    """Return the digest, by key if nothing of the key is sent at once, else by notice id."""
    told = {notice.id for notice in first}
    told_keys = {rules.key_of(notice) for notice in first}
    later = (notice for notice in some if notice.id not in told)
    keys = ((notice.id, rules.key_of(notice)) for notice in later)
    return {notice_id if key in told_keys else key: digest_id for notice_id, key in keys}


def _is_told_as_it_is(effect: Announce, fold: timedelta) -> bool:
    return not fold or effect.notices[0].kind == "digest"
