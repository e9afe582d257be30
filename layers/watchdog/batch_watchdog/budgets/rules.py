"""
Decide when a budget's thresholds are announced, and keep its count. Pure.

* A threshold is announced once in a period, when that much is used. So is the fact that all is
  used, and the forecast that this will happen within the period.
* What was announced stays so: late data that makes the use smaller changes nothing.
* In a new period, use and announcements begin anew. If an operator changes the limits, only the
  announcements do.
* If other jobs, or other periods, are to be counted, the count begins anew, and shows since when.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from batch_watchdog.budgets import usage
from batch_watchdog.budgets.amounts import percent_of
from batch_watchdog.budgets.facts import Fact
from batch_watchdog.budgets.heavy import (
    in_new_period,
    most,
    weight,
    with_begun,
    with_ended,
    with_taken_off,
)
from batch_watchdog.budgets.periods import Period, day_of, period_of
from batch_watchdog.budgets.state import FORECAST, BudgetState
from batch_watchdog.policy.budget_tables import Budget

WHOLE = 100.0  # per cent
_HEAVIEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """
    The use of a budget at a time (milliseconds), by unit.

    `reached_at` is when all of it is used, at the present rate. Once it is found to be reached, it
    is the time of that. `heaviest` are the jobs and arrays that use most, each with its share in
    per cent.
    """

    budget: str
    at: int
    period: Period
    used: Mapping[str, float]
    limit: Mapping[str, float]
    percent: float
    rate_per_hour: Mapping[str, float]
    reached_at: int | None
    counted_since: int
    jobs: int
    heaviest: tuple[tuple[str, float], ...]

    @property
    def is_forecast(self) -> bool:
        """Whether the budget is not reached yet, but will be before the period ends."""
        at = self.reached_at
        return self.percent < WHOLE and at is not None and at < self.period.ends


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachedThreshold:
    """What to announce now: a threshold in per cent that is reached, or a forecast (None)."""

    percent: float | None


def key_of(percent: float) -> str:
    return f"{percent:.15g}"


def limits_of(budget: Budget) -> str:
    """Return a digest that differs if the limits or the prices do."""
    return _digest([dict(budget.limits), _rates_of(budget)])


def _measure_of(budget: Budget) -> str:
    """Return a digest that differs if `heavy` is measured in another unit, or by other prices."""
    unit = next(iter(budget.limits))
    return _digest([unit, _rates_of(budget) if unit == "usd" else []])


def _rates_of(budget: Budget) -> list[object]:
    return [[each.queue, each.prices] for each in budget.rates]


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what).encode("utf-8", "replace")).hexdigest()[:8]


def at_time(state: BudgetState | None, budget: Budget, now: int) -> BudgetState:
    """Return the state at `now`, by this policy; the first one if there is none."""
    if state is None or state.use.counting != budget.counting:
        use = usage.begin_counting(budget, now)
        return BudgetState(
            budget=budget.name,
            use=use,
            period=period_of(budget, use.day).name,
            limits=limits_of(budget),
            measured=_measure_of(budget),
            changed=state.changed + 1 if state else 0,
            version=state.version if state else 0,
        )
    use = usage.on_day_of(state.use, budget, now)
    period = period_of(budget, use.day)
    if period.name != state.period:
        heavy = in_new_period(state.heavy, period.begins)
        state = replace(state, period=period.name, told={}, heavy=heavy)
    if state.limits != limits_of(budget):
        changed = state.changed + 1
        state = replace(state, limits=limits_of(budget), changed=changed, told={})
    if state.measured != _measure_of(budget):
        state = replace(state, measured=_measure_of(budget), heavy={})
    return replace(state, use=use)


# ---- Counting -----------------------------------------------------------------------------


def begin(state: BudgetState, budget: Budget, fact: Fact) -> BudgetState:
    """Count the start of a run that was not counted before."""
    run, begins = fact.run, period_of(budget, state.use.day).begins
    share = weight(budget, fact.queue, fact.amounts)
    return replace(
        state,
        use=usage.begun(state.use, budget, run, fact.queue, fact.amounts),
        heavy=with_begun(state.heavy, fact.name, run, share, begins),
    )


def end(state: BudgetState, budget: Budget, fact: Fact, began: Fact | None) -> BudgetState:
    """Count the end of a run; `began` is how its start was counted (None: all of it counts now)."""
    run, begins = fact.run, period_of(budget, state.use.day).begins
    use, heavy = state.use, state.heavy
    if began:
        use = usage.taken_off(use, budget, began.run, began.queue, began.amounts)
        share = weight(budget, began.queue, began.amounts)
        heavy = with_taken_off(heavy, began.name, began.run, share, begins)
    share = weight(budget, fact.queue, fact.amounts)
    return replace(
        state,
        use=usage.ended(use, budget, run, fact.queue, fact.amounts),
        heavy=with_ended(heavy, fact.name, run, share, begins),
    )


# ---- Announcing ---------------------------------------------------------------------------


def read(state: BudgetState, budget: Budget, now: int) -> Reading:
    """Return the use of a budget. The state must be that of `at_time`."""
    use, period = state.use, period_of(budget, day_of(now, budget.zone))
    used = usage.used_in(use, budget, now, period)
    percent = percent_of(used, budget)
    told_at = state.told.get(key_of(WHOLE)) if percent >= WHOLE else None
    return Reading(
        budget=budget.name,
        at=now,
        period=period,
        used=used,
        limit=budget.limits,
        percent=percent,
        rate_per_hour=usage.rate_of(use, budget),
        reached_at=told_at or usage.reached_at(use, budget, now, WHOLE),
        counted_since=max(use.since, period.begins),
        jobs=use.jobs,
        heaviest=tuple(most(state.heavy, now, _HEAVIEST)),
    )


def newly_reached(
    state: BudgetState, budget: Budget, reading: Reading, asked: Iterable[float] = ()
) -> tuple[BudgetState, list[ReachedThreshold]]:
    """
    Decide what to announce now. Return the state that records it, and the announcements.

    `asked` are the percentages at which guards are raised. When one is reached, this is recorded
    as well, but announced only if it is also one of the budget's own.
    """
    told = dict(state.told)
    reached = []
    for percent in sorted({*map(float, budget.warn_at), WHOLE, *asked}):
        if reading.percent >= percent and key_of(percent) not in told:
            told[key_of(percent)] = reading.at
            if percent in budget.warn_at or percent == WHOLE:
                reached.append(ReachedThreshold(percent=percent))
    if reading.is_forecast and FORECAST not in told:
        told[FORECAST] = reading.at
        reached.append(ReachedThreshold(percent=None))
    return replace(state, told=told), reached
