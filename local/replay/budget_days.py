"""Collects what each budget has used on each day of a replay."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from batch_watchdog.budgets import items, usage
from batch_watchdog.budgets.amounts import Amounts, in_units, percent_of
from batch_watchdog.budgets.periods import period_of, to_ms
from batch_watchdog.budgets.state import BudgetState
from batch_watchdog.core.errors import PolicyError
from batch_watchdog.policy.budget_tables import Budget
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.store.item_codec import Item

type _Days = dict[date, Mapping[str, Amounts]]


class BudgetDays:
    """
    Collects budgets' days from writes to the table, which keeps only some of the days.

    A past day may still change when events arrive late.
    """

    def __init__(self, policy: str | None) -> None:
        try:
            self._budgets = parse_policy(policy or "").budget
        except PolicyError:  # It is reported elsewhere.
            self._budgets = ()
        self._states: dict[str, BudgetState] = {}
        self._days: dict[str, _Days] = defaultdict(dict)

    @property
    def something_runs(self) -> bool:
        """Whether a budget may exceed its limit by the passing of time alone."""
        return any(state.use.running for state in self._states.values())

    def recorded(self, item: Item) -> None:
        """Take over an item that has been written to the table."""
        if item["pk"] == items.PARTITION:
            state = items.to_state(item)
            self._states[state.budget] = state
            self._days[state.budget] |= state.use.days

    def rows(self, now: datetime) -> list[dict[str, Any]]:
        """Return each budget's periods, with the use on each day, at the end of a replay."""
        return [row for budget in self._budgets for row in self._periods(budget, to_ms(now))]

    def _periods(self, budget: Budget, now: int) -> list[dict[str, Any]]:
        state = self._states.get(budget.name)
        if state is None:
            return []
        days = self._days[budget.name] | usage.used_on(state.use, budget, now)
        by_period: dict[date, _Days] = defaultdict(dict)
        for day in sorted(days):
            by_period[period_of(budget, day).first][day] = days[day]
        return [_row(budget, first, some) for first, some in by_period.items()]


def _row(budget: Budget, first: date, days: _Days) -> dict[str, Any]:
    by_day = {day.isoformat(): in_units(queues, budget) for day, queues in days.items()}
    total = {unit: sum(used[unit] for used in by_day.values()) for unit in budget.limits}
    return {
        "budget": budget.name,
        "period": period_of(budget, first).name,
        "used": _rounded(total),
        "limit": dict(budget.limits),
        "percent": round(percent_of(total, budget), 3),
        "days": {day: _rounded(used) for day, used in by_day.items() if any(used.values())},
    }


def _rounded(units: Mapping[str, float]) -> dict[str, float]:
    return {unit: round(amount, 6) for unit, amount in units.items()}
