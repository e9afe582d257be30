"""
What is known of a budget's use, in a state of bounded size. Pure.

Two sums suffice for all that runs: of the amounts, and of the amounts times their starts. The use
of what runs, at any time, is the first times that time, less the second. What was used on days
that are over, and by what has ended, is kept by day: a run over midnight is split there, and what
arrives late is put where it belongs.

An end takes off exactly what its start has brought, and then counts whole. That each start and
each end counts once is the ledger's business.
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
_DAYS_KEPT = timedelta(days=8)  # at least, for what is late
_QUEUES_MAX = 60  # that are told apart; an account has 50
_OTHERS = "other queues"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What runs: the sum of the amounts, and of each times its start, but no earlier than today."""

    amounts: Amounts = NOTHING
    starts: Amounts = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """
    The use of a budget, by queue (an ARN).

    `counting` says which jobs are counted, `since` from when, and `day` is today, by the latest
    word. `days` has what was used on each day that is over and, today, by what has ended. `jobs`
    counts the runs that go on, and `guessed` those of them whose start was not shown.
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


# ---- What happens -------------------------------------------------------------------------


def on_day_of(use: Use, budget: Budget, now: int) -> Use:
    """The use once the day of `now` has come: what runs has used all of the days before."""
    today = day_of(now, budget.zone)
    if today <= use.day:
        return use
    days = {day: dict(queues) for day, queues in use.days.items()}
    running = {}
    kept = first_kept(budget, today)
    for queue, each in use.running.items():
        began = day_begins(use.day, budget.zone)
        # As if all of it had begun at midnight, and the rest that it has used, or has not yet.
        _put(days, use.day, queue, added(scaled(each.amounts, began), each.starts, -1))
        for day, ms in split(began, day_begins(today, budget.zone), budget.zone, use.day):
            _put(days, day, queue, scaled(each.amounts, ms))
        starts = scaled(each.amounts, day_begins(today, budget.zone))
        running[queue] = replace(each, starts=starts)
    days = {day: queues for day, queues in days.items() if day >= kept}
    return replace(use, day=today, days=days, running=running)


def first_kept(budget: Budget, today: date) -> date:
    """The first day of which the use is kept."""
    return min(period_of(budget, today).first, today - _DAYS_KEPT)


def begun(use: Use, budget: Budget, run: Run, queue: str, amounts: Amounts) -> Use:
    """A run has begun, and goes on."""
    use = _with_running(use, budget, run, queue, amounts, 1)
    return replace(use, jobs=use.jobs + 1, guessed=use.guessed + run.guessed)


def taken_off(use: Use, budget: Budget, run: Run, queue: str, amounts: Amounts) -> Use:
    """A run does not go on any more: as if it had never begun. The numbers are those of `begun`."""
    use = _with_running(use, budget, run, queue, amounts, -1)
    jobs, guessed = max(0, use.jobs - 1), max(0, use.guessed - run.guessed)
    return replace(use, jobs=jobs, guessed=guessed)


def ended(use: Use, budget: Budget, run: Run, queue: str, amounts: Amounts) -> Use:
    """A run that has ended counts whole."""
    return _with_span(use, budget, (run.start, run.stop), queue, amounts, 1)


def _with_running(  # noqa: PLR0913, PLR0917 - a run, and what it takes
    use: Use, budget: Budget, run: Run, queue: str, amounts: Amounts, times: int
) -> Use:
    """The use with a run that goes on; `times` is -1 to take it off again."""
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
    """What has been used at `now`, by day and queue."""
    use = on_day_of(use, budget, now)
    days = {day: dict(queues) for day, queues in use.days.items()}
    for queue, each in use.running.items():
        _put(days, use.day, queue, added(scaled(each.amounts, now), each.starts, -1))
    return days


def used_in(use: Use, budget: Budget, now: int, period: Period) -> dict[str, float]:
    """What has been used at `now` of a period, by unit."""
    total: dict[str, Amounts] = defaultdict(lambda: NOTHING)
    for day, queues in used_on(use, budget, now).items():
        if period.first <= day < period.after:
            for queue, amounts in queues.items():
                total[queue] = added(total[queue], amounts)
    return {unit: max(0.0, amount) for unit, amount in in_units(total, budget).items()}


def rate_of(use: Use, budget: Budget) -> dict[str, float]:
    """What an hour uses, as things run now, by unit."""
    an_hour = {queue: scaled(each.amounts, 3_600_000) for queue, each in use.running.items()}
    return in_units(an_hour, budget)


def reached_at(use: Use, budget: Budget, now: int, percent: float) -> int | None:
    """
    When so much of the budget is used, at the present rate: it may lie beyond the period.

    Where it is used already, the same is right for a moment: whoever asks each minute would have
    found it before. What has been used for longer is found `now`. None where it is never reached.
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
