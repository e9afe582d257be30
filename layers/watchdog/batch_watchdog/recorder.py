"""
How decisions get into the table: new state and actions in one write.

What several arrays or jobs gave rise to in one go is written together where it fits, so that
operators get one action, and one digest, in place of many.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from botocore.exceptions import BotoCoreError, ClientError

from batch_watchdog.effects import Announce, Effect, StopJobs
from batch_watchdog.errors import StaleItemError
from batch_watchdog.store.actions import Actions
from batch_watchdog.store.table import TRANSACTION_MAX, Put, Table

# What may go wrong with one job, array or queue: AWS does not answer, or not what it should.
UNDECIDABLE = (ClientError, BotoCoreError, LookupError, TypeError, ValueError)

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

        Where someone else has been faster, it is decided again, together once more (so that a
        lost race does not turn one digest into many notices), and then each on its own. `decide`
        must read anew each time, and may raise StaleItemError itself.

        Returns:
            Those that even so could not be written. They are to be tried again later.

        Raises:
            ExceptionGroup: there are keys about which nothing could be decided. All others are
                decided, and written.
        """
        failed: dict[K, Exception] = {}

        def tried(key: K) -> Outcome:
            try:
                return decide(key)
            except UNDECIDABLE as error:  # It is raised below, when all others are written.
                failed[key] = error
                return Outcome()

        lost = self._together(self._together(keys, tried, now), tried, now)
        lost = [key for key in lost if not self._written(key, tried, now)]
        if failed:
            raise ExceptionGroup(f"nothing was decided about {len(failed)}", list(failed.values()))
        return lost

    def _together[K: Hashable](
        self, keys: Iterable[K], decide: Callable[[K], Outcome], now: datetime
    ) -> list[K]:
        """Decide about the keys, write as much as fits at a time, and say which are lost."""
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
        return lost

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
    """The effects, with all notices of one kind in one, and all stops for one reason."""
    groups: dict[Hashable, list[Effect]] = defaultdict(list)
    for effect in effects:
        groups[_sort_of(effect)].append(effect)
    return [_as_one(group) for group in groups.values()]


def _sort_of(effect: Effect) -> Hashable:
    """What effects that can be one have in common."""
    match effect:
        case Announce():
            return effect.notices[0].kind
        case StopJobs():
            return replace(effect, job_ids=(), since=())
        case _:
            return effect


def _as_one(group: Sequence[Effect]) -> Effect:
    first = group[0]
    match first:
        case Announce():
            every = (effect for effect in group if isinstance(effect, Announce))
            return replace(first, notices=tuple(n for each in every for n in each.notices))
        case StopJobs():
            stops = [effect for effect in group if isinstance(effect, StopJobs)]
            return replace(
                first,
                job_ids=tuple(job for each in stops for job in each.job_ids),
                since=tuple(at for each in stops for at in each.since),
            )
        case _:
            return first


def _chunks[K: Hashable](outcomes: Mapping[K, Outcome]) -> Iterable[dict[K, Outcome]]:
    """The outcomes that want anything, in portions that fit into one write each."""
    chunk: dict[K, Outcome] = {}
    items = 0
    for key, outcome in outcomes.items():
        if not outcome.puts and not outcome.effects:
            continue
        sorts = {_sort_of(each) for each in outcome.effects if not isinstance(each, Announce)}
        size = len(outcome.puts) + len(sorts)
        if chunk and items + size > TRANSACTION_MAX - _ACTIONS_ROOM:
            yield chunk
            chunk, items = {}, 0
        chunk[key] = outcome
        items += size
    if chunk:
        yield chunk
