"""
Keep and compute a budget's use, in a state of bounded size. Pure.

Two sums suffice for all runs that go on: the amounts, and the amounts times their starts. The use
of these runs at any time is the first sum times that time, less the second. The use on days that
are over, and by runs that have ended, is kept by day: a run over midnight is split there, and late
data is added to its own day.

An end takes off exactly what its start has added, and then adds the whole run. The ledger ensures
that each start and each end counts once.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from batch_watchdog.budgets.amounts import NOTHING, Amounts, added, in_units, percent_of, scaled
from batch_watchdog.budgets.periods import Period, day_begins, day_of, period_of, split
from batch_watchdog.budgets.runs import Run
from batch_watchdog.policy.budget_tables import Budget

_MOMENT = 2 * 60_000  # ms
_DAYS_KEPT = timedelta(days=8)  # at least, for late data
_QUEUES_MAX = 60  # that are kept apart; an account has 50
_OTHERS = "other queues"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """
    The runs that go on: the sum of their amounts, and the sum of each amount times its start.

    A start before today counts as the beginning of today.
    """

    amounts: Amounts = NOTHING
    starts: Amounts = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """
    The use of a budget, by queue (an ARN).

    `counting` is a digest of which jobs are counted, `since` is when counting began, and `day` is
    the day of the latest change. `days` has the use on each day that is over and, for `day`, the
    use by runs that have ended. `jobs` counts the runs that go on, and `guessed` those of them
    whose start was not shown.
    """

    counting: str
    since: int
    day: date
    days: Mapping[date, Mapping[str, Amounts]] = field(default_factory=dict)
    running: Mapping[str, Running] = field(default_factory=dict)
    jobs: int = 0
    guessed: int = 0


def begin_counting(budget: Budget, now: int) -> Use:
    return Use(counting=budget.counting, since=now, day=day_of(now, budget.zone))


# ---- Changes ------------------------------------------------------------------------------


def on_day_of(use: Use, budget: Budget, now: int) -> Use:
    """Return the use on the day of `now`: each run that goes on has used the days up to it."""
    today = day_of(now, budget.zone)
    if today <= use.day:
        return use
    days = {day: dict(queues) for day, queues in use.days.items()}
    running = {}
    kept = first_kept(budget, today)
    for queue, each in use.running.items():
        began = day_begins(use.day, budget.zone)
        # The days are added as if all had begun at midnight: this corrects for the real starts.
        _put(days, use.day, queue, added(scaled(each.amounts, began), each.starts, -1))
        for day, ms in split(began, day_begins(today, budget.zone), budget.zone, use.day):
            _put(days, day, queue, scaled(each.amounts, ms))
        starts = scaled(each.amounts, day_begins(today, budget.zone))
        running[queue] = replace(each, starts=starts)
    days = {day: queues for day, queues in days.items() if day >= kept}
    return replace(use, day=today, days=days, running=running)


def first_kept(budget: Budget, today: date) -> date:
    """Return the first day whose use is kept."""
    return min(period_of(budget, today).first, today - _DAYS_KEPT)


def begun(use: Use, budget: Budget, run: Run, queue: str, amounts: Amounts) -> Use:
    """Add a run that has begun, and goes on."""
    use = _with_running(use, budget, run, queue, amounts, 1)
    return replace(use, jobs=use.jobs + 1, guessed=use.guessed + run.guessed)


def taken_off(use: Use, budget: Budget, run: Run, queue: str, amounts: Amounts) -> Use:
    """Undo `begun`, with the same arguments, for a run that no longer goes on."""
    use = _with_running(use, budget, run, queue, amounts, -1)
    jobs, guessed = max(0, use.jobs - 1), max(0, use.guessed - run.guessed)
    return replace(use, jobs=jobs, guessed=guessed)


def ended(use: Use, budget: Budget, run: Run, queue: str, amounts: Amounts) -> Use:
    """Add the whole of a run that has ended."""
    return _with_span(use, budget, (run.start, run.stop), queue, amounts, 1)


def _with_running(  # noqa: PLR0913, PLR0917 - a run, and what it takes
    use: Use, budget: Budget, run: Run, queue: str, amounts: Amounts, times: int
) -> Use:
    """Add a run that goes on; `times` is -1 to take it off again."""
    midnight = day_begins(use.day, budget.zone)
    use = _with_span(use, budget, (run.start, midnight), queue, amounts, times)
    queue = _told_apart(queue, use.running)
    known = use.running.get(queue, Running())
    starts = scaled(amounts, max(run.start, midnight))
    left = Running(
        amounts=added(known.amounts, amounts, times), starts=added(known.starts, starts, times)
    )
    running = {**use.running, queue: left}
    return replace(use, running={name: each for name, each in running.items() if each != Running()})


def _with_span(  # noqa: PLR0913, PLR0917 - a run, and what it takes
    use: Use, budget: Budget, of: tuple[int, int], queue: str, amounts: Amounts, times: int
) -> Use:
    days = dict(use.days)
    for day, ms in split(*of, budget.zone, first_kept(budget, use.day)):
        queues = dict(days.get(day, {}))
        name = _told_apart(queue, queues)
        queues[name] = added(queues.get(name, NOTHING), amounts, ms * times)
        days[day] = queues
    return replace(use, days=days)


def _told_apart(queue: str, known: Mapping[str, object]) -> str:
    return queue if queue in known or len(known) < _QUEUES_MAX else _OTHERS


def _put(days: dict[date, dict[str, Amounts]], day: date, queue: str, amounts: Amounts) -> None:
    queues = days.setdefault(day, {})
    queues[queue] = added(queues.get(queue, NOTHING), amounts)


# ---- What is used -------------------------------------------------------------------------


def used_on(use: Use, budget: Budget, now: int) -> dict[date, dict[str, Amounts]]:
    """Return what has been used up to `now`, by day and queue."""
    use = on_day_of(use, budget, now)
    days = {day: dict(queues) for day, queues in use.days.items()}
    for queue, each in use.running.items():
        _put(days, use.day, queue, added(scaled(each.amounts, now), each.starts, -1))
    return days


def used_in(use: Use, budget: Budget, now: int, period: Period) -> dict[str, float]:
    """Return what has been used in a period up to `now`, by unit."""
    total: dict[str, Amounts] = defaultdict(lambda: NOTHING)
    for day, queues in used_on(use, budget, now).items():
        if period.first <= day < period.after:
            for queue, amounts in queues.items():
                total[queue] = added(total[queue], amounts)
    return {unit: max(0.0, amount) for unit, amount in in_units(total, budget).items()}


def rate_of(use: Use, budget: Budget) -> dict[str, float]:
    """Return what the present runs use in an hour, by unit."""
    an_hour = {queue: scaled(each.amounts, 3_600_000) for queue, each in use.running.items()}
    return in_units(an_hour, budget)


def reached_at(use: Use, budget: Budget, now: int, percent: float) -> int | None:
    """
    Return when `percent` of the budget is used, at the present rate. It may be after the period.

    If that much is used already, the time lies in the past. A time more than two minutes ago, or
    before the period, becomes `now`: a caller that asks each minute would have found it before.
    None if it is never reached.
    """
    period = period_of(budget, day_of(now, budget.zone))
    used, rates = used_in(use, budget, now, period), rate_of(use, budget)
    times = []
    for unit, limit in budget.limits.items():
        left = limit * percent / 100 - used[unit]
        if rates[unit] > 0:
            times.append(now + round(left / rates[unit] * 3_600_000))
        elif left <= 0:
            times.append(now)
    reached = min(times, default=None)
    if reached is None:
        return None
    is_long_ago = reached < max(now - _MOMENT, period.begins)
    return now if is_long_ago and percent_of(used, budget) >= percent else reached
