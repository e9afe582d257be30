"""
Count what jobs use, and tell when it is much.

What the messages of a minute say of runs is counted in one write a budget: each start and each end
once, by its ledger. Then each budget is looked at: what is used now is one expression of one item.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.budgets import facts as fact_rows
from batch_watchdog.budgets import items, looks, notices, rules
from batch_watchdog.budgets.arrivals import facts_of
from batch_watchdog.budgets.facts import BudgetKey, Fact
from batch_watchdog.budgets.ledger_items import Ledger, Side
from batch_watchdog.budgets.looks import Shown
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.budgets.rules import Reading
from batch_watchdog.budgets.runs import Run
from batch_watchdog.budgets.state import BudgetState
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import Announce
from batch_watchdog.policy.budget_tables import Budget
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import ITEM_ERRORS, Outcome, Recorder
from batch_watchdog.store.reminders import Reminders
from batch_watchdog.store.table import Table

_MINUTES_MAX = 60  # of the ledger, that are written at once
_FACTS_MAX = 20_000
_PROMPT = timedelta(minutes=2)  # A start that comes later may have ended since.
_GUESSED = 500  # A start that was guessed is not one that was shown: it has its own number.


@dataclass(slots=True, kw_only=True)
class BudgetKeeper:
    """The budgets of the policy at `now`. `failed` has the errors of what is to be done again."""

    table: Table
    batch: BatchApi
    policy: Policy
    now: datetime
    failed: list[Exception] = field(default_factory=list)

    def count(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count the facts of these rows, each start and each end once."""
        facts = fact_rows.latest(fact for row in rows for fact in fact_rows.read(row))
        self.count_facts(self._proven(facts))

    def count_facts(self, facts: Collection[Fact]) -> None:
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
                # They are counted again, with what comes in the next minute.
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
        believed = self._believed(state, facts, ledger)
        going_on: list[Fact] = []
        for fact in sorted(facts, key=lambda fact: (bool(fact.run.stop), fact.run.start)):
            key = fact.run.job_id, fact.run.attempt
            if fact.run.stop:
                state = _ended(state, budget, fact, ledger, believed.get(key))
            elif _is_new(fact, ledger, believed.get(key)):
                state = rules.begin(state, budget, fact)
                going_on.append(replace(fact, budgets=((name, budget.counting),)))
                believed[key] = fact
        puts = list(ledger.puts(self.now))
        if not puts:
            return Outcome()
        # A reminder of what is not counted after all does no harm.
        Reminders(self.table).file(items.to_be_looked_at(going_on, self.now))
        return Outcome(puts=[items.put(state, self.now), *puts])

    def _believed(
        self, state: BudgetState, facts: Sequence[Fact], ledger: Ledger
    ) -> dict[tuple[str, int], Fact]:
        """The runs that go on, as they were counted; only where that need be known."""
        unseen = [fact for fact in facts if fact.run.stop and not _shows_its_start(fact, ledger)]
        guessed = state.use.guessed or any(fact.run.guessed for fact in facts)
        if not (unseen and state.use.jobs) and not guessed:
            return {}
        wanted = {(fact.run.job_id, fact.run.attempt) for fact in facts}
        going_on = [
            fact
            for fact in items.believed(self.table, self.now)
            if (fact.run.job_id, fact.run.attempt) in wanted
        ]
        ledger.read(("S", fact.run.start) for fact in going_on)
        return {
            (fact.run.job_id, fact.run.attempt): fact
            for fact in going_on
            if ledger.knows("S", fact.run.start, fact.run.job_id, _number_of(fact.run))
        }

    def _proven(self, facts: Sequence[Fact]) -> list[Fact]:
        """The facts; of guessed starts that come late, what Batch shows now."""
        late = [
            fact
            for fact in facts
            if fact.run.guessed and fact.run.start < to_ms(self.now - _PROMPT) and not fact.run.stop
        ]
        if not late:
            return list(facts)
        shown = self._shown(late)
        proven = [fact for fact in facts if fact not in late]
        for fact in late:
            for each in shown[fact.run.job_id].facts if fact.run.job_id in shown else ():
                if each.run.guessed and not each.run.stop:
                    each = replace(each, run=replace(each.run, start=fact.run.start))  # noqa: PLW2901
                proven.append(replace(each, budgets=fact.budgets))
        return fact_rows.latest(proven)

    def _shown(self, facts: Iterable[Fact]) -> dict[str, Shown]:
        """What Batch shows now of the jobs of some facts, by job; nothing of those it omits."""
        jobs = {fact.run.job_id: fact.service for fact in facts}
        details = self.batch.describe(each for each, service in jobs.items() if not service)
        details |= self.batch.describe_service(each for each, service in jobs.items() if service)
        shown = {}
        for job_id, detail in details.items():
            try:
                job = event_from_detail(detail, self.now)
            except ITEM_ERRORS as error:
                self.failed.append(error)
            else:
                shown[job_id] = Shown(status=job.status, facts=list(facts_of(job, detail, ())))
        return shown

    def look_at(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """See whether the runs of these rows go on. An end of which no event told is counted."""
        left = self._not_ended([fact for row in rows for fact in fact_rows.read(row)])
        if not left:
            return
        shown = self._shown(left)
        found: list[Fact] = []
        going_on: list[Fact] = []
        again: list[Fact] = []
        for fact in left:
            answer = looks.answer(fact, shown.get(fact.run.job_id))
            found += answer.facts
            going_on += [fact] if answer.goes_on else []
            again += [fact] if answer.ask_again else []
        seen = [replace(fact, seen=to_ms(self.now), missed=0) for fact in going_on]
        Reminders(self.table).file(items.to_be_looked_at(seen, self.now))
        Reminders(self.table).file(items.soon_again(again, self.now))
        self.count_facts(fact_rows.latest(found))

    def _not_ended(self, facts: Sequence[Fact]) -> list[Fact]:
        """Those of the facts whose ends were not counted by all of their budgets."""
        by_budget: dict[BudgetKey, list[Fact]] = defaultdict(list)
        for fact in facts:
            for key in fact.budgets:
                by_budget[key].append(fact)
        left: dict[tuple[str, int], Fact] = {}
        for (name, counts), some in by_budget.items():
            budget = self.policy.budget_named(name)
            if budget is None or budget.counting != counts:
                continue
            ledger = Ledger(self.table, (name, counts))
            ledger.read_ends(min(max(fact.seen, fact.run.start) for fact in some))
            for fact in some:
                if not ledger.knows_end(fact.run.job_id, fact.run.attempt):
                    left[fact.run.job_id, fact.run.attempt] = fact
        return list(left.values())

    # ---- How the budgets stand ------------------------------------------------------------

    def readings(self) -> list[Reading]:
        """How each budget stands now."""
        states = items.read_all(self.table)
        return [
            rules.read(rules.at_time(states.get(each.name), each, at), each, at)
            for each in self.policy.budget
            for at in [to_ms(self.now)]
        ]

    def tell(self, asked: Mapping[str, Collection[float]]) -> dict[str, BudgetState]:
        """
        Tell of each budget what is to be told, and return how they are kept then.

        `asked` are the percentages, by budget, at which guards are raised.
        """
        if not self.policy.budget:
            return {}
        before = items.read_all(self.table)
        found: dict[str, BudgetState] = {}
        at = to_ms(self.now)

        def decide(name: str) -> Outcome:
            budget = self.policy.budget_named(name)
            if budget is None:
                return Outcome()
            kept = before.pop(name, None) or items.read(self.table, name)
            state = rules.at_time(kept, budget, at)
            reading = rules.read(state, budget, at)
            state, rings = rules.ring(state, budget, reading, asked.get(name, ()))
            found[name] = state
            if kept and not _is_worth_writing(kept, state):
                return Outcome()
            told = tuple(notices.rung(budget, reading, ring, state.limits) for ring in rings)
            effects = [Announce(notices=told[n : n + 1]) for n in range(len(told))]
            return Outcome(puts=[items.put(state, self.now)], effects=effects)

        names = [budget.name for budget in self.policy.budget]
        written = Recorder(table=self.table, asked_by="sweep").write_each(names, decide, self.now)
        self.failed += written.failed.values()
        return {
            name: state
            for name, state in found.items()
            if name not in written.lost and name not in written.failed
        }


def _is_worth_writing(kept: BudgetState, state: BudgetState) -> bool:
    """Whether something was told, or a day is over in which something ran."""
    day_is_over = state.use.day != kept.use.day and bool(kept.use.running)
    anew = state.use.counting != kept.use.counting
    return day_is_over or anew or (state.told, state.limits) != (kept.told, kept.limits)


def _number_of(run: Run) -> int:
    return run.attempt + _GUESSED * run.guessed


def _shows_its_start(fact: Fact, ledger: Ledger) -> bool:
    """Whether an end shows the start, and the amounts, as they were counted."""
    run = fact.run
    shown = bool(run.start) and not run.guessed and any(fact.amounts)
    return shown and ledger.knows("S", run.start, run.job_id, run.attempt)


def _is_new(fact: Fact, ledger: Ledger, believed: Fact | None) -> bool:
    """Whether a start is new; it is in the ledger then."""
    run = fact.run
    if ledger.knows("S", run.start, run.job_id, _number_of(run)) or not any(fact.amounts):
        return False
    if believed:
        return False
    ledger.count("S", run.start, run.job_id, _number_of(run))
    return True


def _ended(
    state: BudgetState, budget: Budget, fact: Fact, ledger: Ledger, believed: Fact | None
) -> BudgetState:
    """Count an end, if it is new, and take off how its start was counted, if it was."""
    run = fact.run
    if ledger.knows("E", run.stop, run.job_id, run.attempt):
        return state
    began = believed
    if began is None and _shows_its_start(fact, ledger):
        began = replace(fact, run=replace(run, stop=0))
    if began:
        amounts = fact.amounts if any(fact.amounts) else began.amounts
        start = run.start or min(began.run.start, run.stop)
        fact = replace(fact, run=replace(run, start=start), amounts=amounts)
    elif not run.start or not any(fact.amounts):
        return state  # It never ran, as far as anybody knows.
    ledger.count("E", run.stop, run.job_id, run.attempt)
    if run.start:  # Should its start come later, it counts nothing.
        ledger.count("S", run.start, run.job_id, run.attempt)
    return rules.end(state, budget, fact, began)


def _times_of(facts: Iterable[Fact]) -> Iterator[tuple[Side, int]]:
    for fact in facts:
        if fact.run.start:
            yield "S", fact.run.start
        if fact.run.stop:
            yield "E", fact.run.stop


def _portions(facts: Sequence[Fact]) -> Iterator[list[Fact]]:
    """Facts in portions that touch few items of the ledger each."""
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
