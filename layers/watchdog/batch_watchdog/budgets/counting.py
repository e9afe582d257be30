"""
Count facts about runs: each start and each end once, with one write for each portion of a budget.

Facts may be repeated, late, and in any order. A fact that is in the ledger already adds nothing. An
end whose start was never seen adds the whole run; a start that arrives after its end adds nothing.
A run whose attempt has no number is the one that was counted with the same start, or the same end.
"""

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from batch_watchdog.budgets import items, rules
from batch_watchdog.budgets.facts import Fact
from batch_watchdog.budgets.ledger_items import Ledger, Side
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.budgets.runs import Run, is_unnumbered, unnumbered
from batch_watchdog.budgets.state import BudgetState
from batch_watchdog.policy.budget_tables import Budget
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.reminders import Reminders
from batch_watchdog.store.table import Table

_MINUTES_MAX = 60  # of the ledger, for each write
_FACTS_MAX = 20_000
_BEGUN: tuple[Side, ...] = ("S", "T")
_NUMBERS = tuple(reversed(range(10)))  # AWS Batch makes up to ten attempts
_GUESSED = 500  # A guessed start has its own number, apart from that of a shown start.
_WITH_AMOUNTS = 10**15  # A start with its amounts has its own number, too.


@dataclass(slots=True, kw_only=True)
class BudgetCounter:
    """Counts runs for the policy's budgets at `now`. `failed` has the errors."""

    table: Table
    policy: Policy
    now: datetime
    failed: list[Exception] = field(default_factory=list)

    def count(self, facts: Collection[Fact]) -> None:
        """Count facts, each of which must be about a different run."""
        by_budget: dict[str, list[Fact]] = defaultdict(list)
        for fact in facts:
            for name, key in fact.budgets:
                budget = self.policy.budget_named(name)
                if budget and budget.counting == key:
                    by_budget[name].append(fact)
        recorder = Recorder(table=self.table, asked_by="sweep")
        for name, some in by_budget.items():
            for portion in _portions(some):
                written = recorder.write_each(
                    [(name, tuple(portion))], lambda key: self._counted(*key), self.now
                )
                self.failed += written.failed.values()
                # They are filed again, to be counted with the facts of the next minute.
                lost = [fact for _, facts in written.lost for fact in facts]
                lost += [fact for _, facts in written.failed for fact in facts]
                Reminders(self.table).file(items.to_be_counted(lost, self.now))

    def _counted(self, name: str, facts: Sequence[Fact]) -> Outcome:
        budget = self.policy.budget_named(name)
        if budget is None:
            return Outcome()
        before = items.read(self.table, name)
        state = rules.at_time(before, budget, to_ms(self.now))
        ledger = Ledger(self.table, (name, budget.counting))
        ledger.read(_times_of(facts))
        # A start that arrives after its end adds nothing, even if the end shows another start.
        starts = [fact.run.start for fact in facts if not fact.run.stop]
        ledger.read(("T", fact.run.start) for fact in facts if fact.run.stop)
        if starts:
            ledger.read_ends(min(starts))
        facts = [_as_counted(fact, ledger) for fact in facts]
        believed = self._believed(state, facts, ledger)
        going_on: list[Fact] = []
        for fact in sorted(facts, key=lambda fact: (bool(fact.run.stop), fact.run.start)):
            fact = _as_counted(fact, ledger)  # noqa: PLW2901 - as those before it were
            began = _going_on(fact.run, believed)
            if fact.run.stop and not _is_counted_end(fact.run, ledger):
                state = _ended(state, budget, fact, ledger, began)
                if began:  # The start is taken off once, even if more ends have arrived.
                    believed[fact.run.job_id].remove(began)
            elif not fact.run.stop and _is_new(fact, ledger, began):
                state = rules.begin(state, budget, fact)
                going_on.append(replace(fact, budgets=((name, budget.counting),)))
                believed[fact.run.job_id].append(fact)
        puts = list(ledger.puts(self.now))
        if not puts:
            return Outcome()
        # A reminder of a run that is not counted in the end does no harm.
        Reminders(self.table).file(items.checks(going_on, self.now))
        return Outcome(puts=[items.put(state, self.now), *puts])

    def _believed(
        self, state: BudgetState, facts: Sequence[Fact], ledger: Ledger
    ) -> dict[str, list[Fact]]:
        """Return the runs that go on, as they were counted, by job; none if they are not needed."""
        found: dict[str, list[Fact]] = defaultdict(list)
        unseen = [
            fact
            for fact in facts
            if fact.run.stop
            and not (_shows_its_start(fact, ledger) and _shows_its_amounts(fact, ledger))
        ]
        guessed = state.use.guessed or any(fact.run.guessed for fact in facts)
        if not (unseen and state.use.jobs) and not guessed:
            return found
        wanted = {fact.run.job_id for fact in facts}
        going_on = [
            fact for fact in items.believed(self.table, self.now) if fact.run.job_id in wanted
        ]
        if not going_on:
            return found
        ledger.read((side, fact.run.start) for fact in going_on for side in _BEGUN)
        ledger.read_ends(min(max(fact.seen, fact.run.start) for fact in going_on))
        for fact in going_on:
            if _goes_on(fact.run, ledger):
                found[fact.run.job_id].append(fact)
        return found


def _goes_on(run: Run, ledger: Ledger) -> bool:
    """Whether the start of a run was counted, and its end was not."""
    number = _number_of(run)
    return (
        ledger.knows("S", run.start, run.job_id, number)
        and not ledger.knows("T", run.start, run.job_id, number)
        and not ledger.knows_end(run.job_id, run.attempt)
    )


def _as_counted(fact: Fact, ledger: Ledger) -> Fact:
    """Return the fact with the attempt number under which the same run was counted, if it was."""
    run = fact.run
    more = _NUMBERS if is_unnumbered(run.attempt) else (unnumbered(run.start),)
    shown: list[tuple[Side, int]] = []
    if run.start and not run.guessed:
        shown.append(("S", run.start))
    if run.stop:
        shown.append(("E", run.stop))
    for side, at in shown:
        for number in (run.attempt, *more):
            if ledger.knows(side, at, run.job_id, number):
                return replace(fact, run=replace(run, attempt=number))
    return fact


def _going_on(run: Run, believed: Mapping[str, Sequence[Fact]]) -> Fact | None:
    """Return how a run was counted, if it is one of those that go on."""
    some = believed.get(run.job_id, ())
    for fact in some:
        if fact.run.attempt == run.attempt:
            return fact
    for fact in some:
        either = is_unnumbered(fact.run.attempt) or is_unnumbered(run.attempt)
        if either and (run.guessed or fact.run.guessed or not run.start):
            return fact
    return None


def _number_of(run: Run) -> int:
    return run.attempt + _GUESSED * run.guessed


def _number_with(fact: Fact) -> int:
    """Return the number under which the ledger keeps a start with its amounts."""
    return _number_of(fact.run) + _WITH_AMOUNTS * (1 + zlib.crc32(repr(fact.amounts).encode()))


def _is_counted_end(run: Run, ledger: Ledger) -> bool:
    return ledger.knows("E", run.stop, run.job_id, run.attempt)


def _shows_its_start(fact: Fact, ledger: Ledger) -> bool:
    """Whether an end shows the start as it was counted."""
    run = fact.run
    shown = bool(run.start) and not run.guessed and any(fact.amounts)
    return shown and ledger.knows("S", run.start, run.job_id, run.attempt)


def _shows_its_amounts(fact: Fact, ledger: Ledger) -> bool:
    """Whether a fact also shows the amounts with which its start was counted."""
    return ledger.knows("S", fact.run.start, fact.run.job_id, _number_with(fact))


def _is_new(fact: Fact, ledger: Ledger, believed: Fact | None) -> bool:
    """Check whether a start is new. If so, enter it in the ledger."""
    run = fact.run
    if ledger.knows("S", run.start, run.job_id, _number_of(run)) or not any(fact.amounts):
        return False
    # Runs of a job do not overlap: if another one has ended since, this one has ended, too.
    more = _NUMBERS if is_unnumbered(run.attempt) else (unnumbered(run.start),)
    if believed or any(ledger.knows_end(run.job_id, n, run.start) for n in (run.attempt, *more)):
        return False
    ledger.count("S", run.start, run.job_id, _number_of(run))
    ledger.count("S", run.start, run.job_id, _number_with(fact))
    return True


def _ended(
    state: BudgetState, budget: Budget, fact: Fact, ledger: Ledger, believed: Fact | None
) -> BudgetState:
    """Count a new end, and take off what its start has added, if the start was counted."""
    run, began = fact.run, believed
    if began:
        ledger.count("T", began.run.start, run.job_id, _number_of(began.run))
    taken_off = ledger.knows("T", run.start, run.job_id, run.attempt)
    if began is None and _shows_its_start(fact, ledger) and not taken_off:
        began = replace(fact, run=replace(run, stop=0))
        if run.stop == run.start:  # No end was shown. Should one be, it counts whole.
            ledger.count("T", run.start, run.job_id, run.attempt)
    if began:
        # Batch may show less later, or in another form: the amounts of the start hold for all.
        fact = replace(fact, amounts=began.amounts)
        if not run.start:
            start = min(began.run.start, run.stop)
            run = replace(run, start=start, attempt=began.run.attempt)
            fact = replace(fact, run=run)
    elif not run.start or not any(fact.amounts):
        return state  # It never ran, as far as is known.
    ledger.count("E", run.stop, run.job_id, run.attempt)
    return rules.end(state, budget, fact, began)


def _times_of(facts: Iterable[Fact]) -> Iterator[tuple[Side, int]]:
    for fact in facts:
        if fact.run.start:
            yield "S", fact.run.start
        if fact.run.stop:
            yield "E", fact.run.stop


def _portions(facts: Sequence[Fact]) -> Iterator[list[Fact]]:
    """Yield facts in portions, each of which touches few items of the ledger."""
    portion: list[Fact] = []
    minutes: set[tuple[str, int]] = set()
    for fact in sorted(facts, key=lambda fact: (fact.run.start, fact.run.stop)):
        mine = {(side, at // 60_000) for side, at in _times_of([fact])}
        if len(minutes | mine) > _MINUTES_MAX or len(portion) >= _FACTS_MAX:
            yield portion
            portion, minutes = [], set()
        portion.append(fact)
        minutes |= mine
    if portion:
        yield portion
