"""
Read the budgets each minute, and announce what is due.

The use of a budget at any time is computed from its one item in the table.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from batch_watchdog.budgets import items, notices, rules
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.budgets.rules import Reading
from batch_watchdog.budgets.state import BudgetState
from batch_watchdog.core.effects import Announce
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.table import Table


@dataclass(slots=True, kw_only=True)
class BudgetAnnouncer:
    """Reads and announces budgets at `now`. `failed` has the errors of what is to be done again."""

    table: Table
    policy: Policy
    now: datetime
    failed: list[Exception] = field(default_factory=list)

    def readings(self) -> list[Reading]:
        """Return the reading of each budget now."""
        states = items.read_all(self.table)
        return [
            rules.read(rules.at_time(states.get(each.name), each, at), each, at)
            for each in self.policy.budget
            for at in [to_ms(self.now)]
        ]

    def announce(self, asked: Mapping[str, Collection[float]]) -> dict[str, BudgetState]:
        """
        Announce what is due for each budget, and return the states that result.

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
            state, reached = rules.newly_reached(state, budget, reading, asked.get(name, ()))
            found[name] = state
            if kept and not _is_worth_writing(kept, state):
                return Outcome()
            announced = tuple(
                notices.threshold_notice(budget, reading, each, state.told_by) for each in reached
            )
            effects = [Announce(notices=announced[n : n + 1]) for n in range(len(announced))]
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
    """Whether something was announced or changed, or a day is over with jobs still running."""
    day_is_over = state.use.day != kept.use.day and bool(kept.use.running)
    anew = state.use.counting != kept.use.counting
    return day_is_over or anew or (state.told, state.limits) != (kept.told, kept.limits)
