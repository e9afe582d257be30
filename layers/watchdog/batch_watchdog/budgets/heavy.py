"""
Track who uses most of a budget: jobs and arrays by name, a bounded number of them. Pure.

They are measured in one unit, the first that the budget limits. If there are more names than are
kept, the smallest is dropped. A dropped name that comes back shows only what it has used since.
"""

from collections.abc import Mapping

from batch_watchdog.budgets.amounts import Amounts
from batch_watchdog.budgets.runs import Run
from batch_watchdog.budgets.state import Heavy
from batch_watchdog.policy.budget_tables import UNITS, Budget

_KEPT = 24
_NAME_MAX = 60  # characters
_NANO = 10**9


def weight(budget: Budget, queue: str, amounts: Amounts) -> int:
    """Return how much an hour of these amounts is, in the unit in which users are measured."""
    unit = next(iter(budget.limits))
    if unit != "usd":
        return amounts[UNITS.index(unit)]
    units = (1_000, 1_000, 1_048_576, 1)
    prices = budget.prices_in(queue)
    return round(_NANO * sum(a / u * p for a, u, p in zip(amounts, units, prices, strict=True)))


def with_begun(
    heavy: Mapping[str, Heavy], name: str, run: Run, share: int, begins: int
) -> dict[str, Heavy]:
    """Add a run of this name that has begun. `begins` is when the period begins."""
    known = heavy.get(name[:_NAME_MAX], Heavy())
    return _kept(
        heavy,
        name,
        Heavy(
            used=known.used,
            running=known.running + share,
            starts=known.starts + share * max(run.start, begins),
        ),
        max(run.start, begins),
    )


def with_taken_off(
    heavy: Mapping[str, Heavy], name: str, run: Run, share: int, begins: int
) -> dict[str, Heavy]:
    """Take off a run of this name that no longer goes on, with the arguments of `with_begun`."""
    known = heavy.get(name[:_NAME_MAX])
    if known is None or known.running < share:
        return dict(heavy)  # The name was dropped meanwhile.
    starts = known.starts - share * max(run.start, begins)
    left = Heavy(used=known.used, running=known.running - share, starts=starts)
    return {**heavy, name[:_NAME_MAX]: left}


def with_ended(
    heavy: Mapping[str, Heavy], name: str, run: Run, share: int, begins: int
) -> dict[str, Heavy]:
    """Add the whole of a run of this name that has ended."""
    known = heavy.get(name[:_NAME_MAX], Heavy())
    used = known.used + share * max(0, run.stop - max(run.start, begins))
    changed = Heavy(used=used, running=known.running, starts=known.starts)
    return _kept(heavy, name, changed, run.stop)


def in_new_period(heavy: Mapping[str, Heavy], begins: int) -> dict[str, Heavy]:
    return {
        name: Heavy(running=each.running, starts=each.running * begins)
        for name, each in heavy.items()
        if each.running > 0
    }


def most(heavy: Mapping[str, Heavy], now: int, count: int) -> list[tuple[str, float]]:
    """Return who uses most, each with its share of what all these names use, in per cent."""
    used = {name: each.used + each.running * now - each.starts for name, each in heavy.items()}
    total = sum(amount for amount in used.values() if amount > 0)
    first = sorted(used.items(), key=lambda item: (-item[1], item[0]))[:count]
    return [(name, 100 * amount / total) for name, amount in first if amount > 0]


def _kept(heavy: Mapping[str, Heavy], name: str, changed: Heavy, now: int) -> dict[str, Heavy]:
    left = {**heavy, name[:_NAME_MAX]: changed}
    if len(left) > _KEPT:
        least = min(
            left, key=lambda each: left[each].used + left[each].running * now - left[each].starts
        )
        del left[least]
    return left
