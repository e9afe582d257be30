"""
How decisions get into the table: new state and actions in one write.

What several arrays or jobs gave rise to in one go is written together where it fits, so that
operators get one action, and one digest, in place of many.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from batch_watchdog.effects import Announce, Effect
from batch_watchdog.errors import StaleItemError
from batch_watchdog.store.actions import Actions
from batch_watchdog.store.table import TRANSACTION_MAX, Put, Table

_TRIES = 5  # of one decision, against others that write the same item
_ACTIONS_ROOM = 20  # items of a write that are left to the actions


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one decision wants written: items, and effects to be recorded with them."""

    puts: Sequence[Put] = ()
    effects: Sequence[Effect] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Writes outcomes. `asked_by` names the function, for the audit trail."""

    table: Table
    asked_by: str

    def decide[K: Hashable](
        self, keys: Iterable[K], decide: Callable[[K], Outcome], now: datetime
    ) -> list[K]:
        """
        Decide about each key, and write the outcomes, together where that works.

        Where someone else has been faster, it is decided again and written on its own. `decide`
        must read anew each time, and may raise StaleItemError itself.

        Returns:
            Those that even so could not be written. They are to be tried again later.
        """
        outcomes: dict[K, Outcome] = {}
        lost = []
        for key in keys:
            try:
                outcomes[key] = decide(key)
            except StaleItemError:
                lost.append(key)
        for chunk in _chunks(outcomes):
            try:
                self.write(chunk.values(), now)
            except StaleItemError:
                lost += chunk
        return [key for key in lost if not self._written(key, decide, now)]

    def write(self, outcomes: Iterable[Outcome], now: datetime) -> None:
        """
        Write these outcomes, all or none.

        Raises:
            StaleItemError: one of them rests on an item that has changed since.
        """
        outcomes = list(outcomes)
        effects = _folded(effect for outcome in outcomes for effect in outcome.effects)
        puts = [put for outcome in outcomes for put in outcome.puts]
        actions = Actions(self.table).puts(effects, now, self.asked_by)
        self.table.write([*puts, *actions])

    def _written[K](self, key: K, decide: Callable[[K], Outcome], now: datetime) -> bool:
        for _ in range(_TRIES):
            try:
                self.write([decide(key)], now)
            except StaleItemError:
                continue
            return True
        return False


def _folded(effects: Iterable[Effect]) -> list[Effect]:
    """The effects, with all notices of one kind in one announcement."""
    every = list(effects)
    announcements = [effect for effect in every if isinstance(effect, Announce)]
    others = [effect for effect in every if not isinstance(effect, Announce)]

    def kind_of(announce: Announce) -> str:
        return announce.notices[0].kind

    folded: list[Effect] = [
        Announce(
            notices=tuple(notice for announce in group for notice in announce.notices),
            digest_over=group[0].digest_over,
        )
        for _, of_kind in groupby(sorted(announcements, key=kind_of), key=kind_of)
        for group in [list(of_kind)]
    ]
    return others + folded


def _chunks[K: Hashable](outcomes: Mapping[K, Outcome]) -> Iterable[dict[K, Outcome]]:
    """The outcomes that want anything, in portions that fit into one write each."""
    chunk: dict[K, Outcome] = {}
    items = 0
    for key, outcome in outcomes.items():
        size = len(outcome.puts) + sum(not isinstance(e, Announce) for e in outcome.effects)
        if not outcome.puts and not outcome.effects:
            continue
        if chunk and items + size > TRANSACTION_MAX - _ACTIONS_ROOM:
            yield chunk
            chunk, items = {}, 0
        chunk[key] = outcome
        items += size
    if chunk:
        yield chunk
