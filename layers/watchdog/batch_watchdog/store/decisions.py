"""
Write decisions into the table: new state and actions in one write.

Decisions that are made at once about several arrays or jobs are written together where they fit, so
that operators get one action, and one digest, instead of many. Where they do not fit into one write
(100 items, 400 KB an item, 4 MB), they are split, down to the decision about one key; and where
that does not fit, into the decisions about its `halves`. A key whose write is refused even so is
reported with its error, and all others are written.

Before a decision is written, nothing else may be written for it, except what may be repeated and is
not a decision: reminders, and the parts of an array.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batch_watchdog.core.effects import Announce, Effect, StopJobs
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.notices.notice import Notice
from batch_watchdog.store.actions import Actions
from batch_watchdog.store.once import OnceKey, OnceLedger, by_bucket
from batch_watchdog.store.table import TRANSACTION_MAX, Key, Put, Table

# Errors about one job, array or queue: AWS does not answer, or its answer is not as expected.
ITEM_ERRORS = (ClientError, BotoCoreError, LookupError, TypeError, ValueError)

# Raised by a write if the fault lies in what is to be written, and not in the table.
_REFUSED = (TypeError, ValueError)

_TRIES = 5  # of one decision, against others that write the same item
_ACTIONS_ROOM = 20  # items of a write that are kept free for the actions


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one decision writes: items, and effects that are recorded with them."""

    puts: Sequence[Put] = ()
    effects: Sequence[Effect] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written[K: Hashable]:
    """
    The keys about which nothing is written.

    For the `lost` keys, another writer was faster each time: they are to be tried again later.
    About the `failed` keys nothing could be decided or written, because of the error that is given.
    """

    lost: Sequence[K] = ()
    failed: Mapping[K, Exception] = field(default_factory=dict)

    def raise_failed(self) -> None:
        """
        Raise the failures, if there are any.

        Raises:
            ExceptionGroup: there are some.
        """
        if self.failed:
            errors = list(self.failed.values())
            raise ExceptionGroup(f"nothing was decided about {len(errors)}", errors)


def _no_halves(_: object) -> Sequence[Any]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Writes outcomes. `asked_by` names the function, for the audit trail."""

    table: Table
    asked_by: str

    def decide[K: Hashable](
        self, keys: Iterable[K], decide: Callable[[K], Outcome], now: datetime
    ) -> list[K]:
        """
        Do the same as `write_each`, for keys that cannot be split.

        Returns:
            The keys for which another writer was faster each time: they are to be tried again
            later.

        Raises:
            ExceptionGroup: there are keys about which nothing could be decided or written. All
                others are written.
        """
        written = self.write_each(keys, decide, now)
        written.raise_failed()
        return list(written.lost)

    def write_each[K: Hashable](
        self,
        keys: Iterable[K],
        decide: Callable[[K], Outcome],
        now: datetime,
        halves: Callable[[K], Sequence[K]] = _no_halves,
    ) -> Written[K]:
        """
        Decide about each key, and write the outcomes, together where that works.

        If another writer has been faster, the keys are decided again, first together (so that a
        lost race does not turn one digest into many notices), and then each on its own. `decide`
        must read anew each time, and may raise StaleItemError itself. A key whose outcome does not
        fit into one write is split by `halves`.
        """
        writing = _Writing(recorder=self, decide=decide, now=now, halves=halves)
        lost = writing.together(writing.together(keys))
        lost = [left for key in lost for left in writing.alone(key)]
        return Written(lost=lost, failed=writing.failed)

    def once[K: Hashable](
        self,
        entries: Mapping[K, OnceKey],
        decide: Callable[[Sequence[K]], Outcome],
        now: datetime,
    ) -> Written[K]:
        """
        Decide once about each entry; `decide` gets those that have not been decided yet.

        Its outcome is written together with the ledger.
        """
        portions = [(key, tuple(some)) for key, some in by_bucket(entries).items()]

        def fresh(portion: tuple[Key, tuple[K, ...]]) -> Outcome:
            bucket, names = portion
            some = {name: entries[name] for name in names}
            new, puts = OnceLedger(self.table).new(bucket, some, now)
            outcome = decide(new) if new else Outcome()
            return Outcome(puts=[*puts, *outcome.puts], effects=outcome.effects)

        written = self.write_each(portions, fresh, now, _halves_of_portion)
        return Written(
            lost=[name for _, names in written.lost for name in names],
            failed={name: error for (_, names), error in written.failed.items() for name in names},
        )

    def announce_once(self, notices: Mapping[OnceKey, Notice], now: datetime) -> Written[OnceKey]:
        """Announce those of the notices whose keys have not been decided before."""

        def decide(fresh: Sequence[OnceKey]) -> Outcome:
            return Outcome(effects=[Announce(notices=tuple(notices[key] for key in fresh))])

        return self.once({key: key for key in notices}, decide, now)

    def write(self, outcomes: Iterable[Outcome], now: datetime) -> None:
        """
        Write these outcomes, all or none.

        Raises:
            StaleItemError: one of them depends on an item that has changed since.
        """
        outcomes = list(outcomes)
        effects = _folded(effect for outcome in outcomes for effect in outcome.effects)
        puts = [put for outcome in outcomes for put in outcome.puts]
        actions = Actions(self.table).puts(effects, now, self.asked_by)
        self.table.write([*puts, *actions])


def halves[K](of: Sequence[K]) -> Sequence[tuple[K, ...]]:
    """Return both halves; nothing for a single element."""
    middle = len(of) // 2
    return [tuple(of[:middle]), tuple(of[middle:])] if middle else []


def _halves_of_portion[K](
    portion: tuple[Key, tuple[K, ...]],
) -> Sequence[tuple[Key, tuple[K, ...]]]:
    bucket, names = portion
    return [(bucket, half) for half in halves(names)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writing[K: Hashable]:
    """One call of `write_each`."""

    recorder: Recorder
    decide: Callable[[K], Outcome]
    now: datetime
    halves: Callable[[K], Sequence[K]]
    failed: dict[K, Exception] = field(default_factory=dict)

    def together(self, keys: Iterable[K]) -> list[K]:
        """Decide about the keys, write as much as fits at a time, and return the lost ones."""
        outcomes: dict[K, Outcome] = {}
        lost = []
        for key in keys:
            try:
                outcomes[key] = self._outcome(key)
            except StaleItemError:
                lost.append(key)
        for chunk in _chunks(outcomes):
            lost += self._write(chunk)
        return lost

    def alone(self, key: K) -> list[K]:
        """Decide about a key, and write it; return it if it is lost, or its lost parts."""
        for _ in range(_TRIES):
            try:
                outcome = self._outcome(key)
            except StaleItemError:
                continue
            lost = self._write({key: outcome})
            if key not in lost:
                return lost
        return [key]

    def _outcome(self, key: K) -> Outcome:
        try:
            return self.decide(key)
        except ITEM_ERRORS as error:  # It is reported when all others are written.
            self.failed[key] = error
            return Outcome()

    def _write(self, chunk: Mapping[K, Outcome]) -> list[K]:
        """Write outcomes, in one write or more; return the lost keys."""
        try:
            self.recorder.write(chunk.values(), self.now)
        except StaleItemError:
            return list(chunk)
        except _REFUSED as error:
            keys = list(chunk)
            if len(keys) == 1:
                return self._in_parts(keys[0], error)
            return [
                lost
                for half in halves(keys)
                for lost in self._write({key: chunk[key] for key in half})
            ]
        return []

    def _in_parts(self, key: K, error: Exception) -> list[K]:
        parts = self.halves(key)
        if not parts:
            self.failed[key] = error
        return [lost for part in parts for lost in self.alone(part)]


def _folded(effects: Iterable[Effect]) -> list[Effect]:
    """Merge the effects: all notices of one kind into one, and all stops for one reason."""
    groups: dict[Hashable, list[Effect]] = defaultdict(list)
    for effect in effects:
        groups[_sort_of(effect)].append(effect)
    return [_as_one(group) for group in groups.values()]


def _sort_of(effect: Effect) -> Hashable:
    """Return a key that is the same for effects that can be merged."""
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
    """Yield the outcomes that write anything, in portions that fit into one write each."""
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
