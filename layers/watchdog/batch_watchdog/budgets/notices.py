"""Build the notices of budgets: a threshold is passed, the budget is reached, or will be."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from batch_watchdog.budgets.periods import to_time
from batch_watchdog.budgets.rules import WHOLE, ReachedThreshold, Reading, key_of
from batch_watchdog.notices.notice import Notice, NoticeKind, Severity
from batch_watchdog.notices.phrases import Name, Phrase, lines, row, say, subject
from batch_watchdog.notices.text import fact, iso, plain
from batch_watchdog.policy.budget_tables import Budget

_UNITS: dict[str, Phrase] = {
    "vcpu_hours": say("vCPU hours"),
    "gpu_hours": say("GPU hours"),
    "memory_gib_hours": say("GiB hours of memory"),
    "instance_hours": say("instance hours"),
    "usd": say("USD"),
}
_UNITS_OF_ONE: Mapping[str, Phrase] = _UNITS | {
    "vcpu_hours": say("vCPU hour"),
    "gpu_hours": say("GPU hour"),
    "memory_gib_hours": say("GiB hour of memory"),
    "instance_hours": say("instance hour"),
}
_PERIODS: Mapping[str, Phrase] = {
    "day": say("day"),
    "week": say("week"),
    "month": say("month"),
}
_WEEKDAYS = (
    say("Monday"),
    say("Tuesday"),
    say("Wednesday"),
    say("Thursday"),
    say("Friday"),
    say("Saturday"),
    say("Sunday"),
)


def threshold_notice(
    budget: Budget, reading: Reading, reached: ReachedThreshold, told_by: str
) -> Notice:
    """Build the notice of a threshold or a forecast. `told_by` differs if the budget changed."""
    plain_name = plain(budget.name, 64)
    name = Name(plain_name)
    kind: NoticeKind
    severity: Severity = "warning"
    if reached.percent is None:
        kind, threshold = "budget-forecast", "forecast"
        at = reading.reached_at or reading.at
        title = subject(
            'Budget "{budget}" will be reached on {at}',
            budget=name,
            at=_day_and_hour(at, budget.zone),
        )
    elif reached.percent == WHOLE:
        kind, threshold, severity = "budget-reached", key_of(WHOLE), "critical"
        title = subject(
            'Budget "{budget}" is reached ({percent} % used)',
            budget=name,
            percent=f"{reading.percent:.0f}",
        )
    else:
        kind, threshold = "budget-warning", key_of(reached.percent)
        title = subject(
            'Budget "{budget}": {percent} % passed ({used} % used)',
            budget=name,
            percent=threshold,
            used=f"{reading.percent:.0f}",
        )
    return Notice(
        kind=kind,
        id=f"{kind}:{plain_name}:{reading.period.name}:{threshold}:{told_by}",
        severity=severity,
        subject=title,
        text=lines([*_standing(budget, reading), "", *_heaviest(reading), _advice(reading)]),
        facts={**facts_of(reading), "threshold": reached.percent},
    )


def facts_of(reading: Reading) -> dict[str, Any]:
    """Return the reading of a budget, for programs."""
    at = reading.reached_at
    return {
        "budget": fact(reading.budget),
        "period": reading.period.name,
        "period_begins": iso(to_time(reading.period.begins)),
        "period_ends": iso(to_time(reading.period.ends)),
        "used": _rounded(reading.used),
        "limit": dict(reading.limit),
        "percent": round(reading.percent, 3),
        "rate_per_hour": _rounded(reading.rate_per_hour),
        "reached_at": None if at is None else iso(to_time(at)),
        "counted_at": iso(to_time(reading.at)),
        "counted_since": iso(to_time(reading.counted_since)),
        "running": reading.jobs,
        "heaviest": [
            {"name": fact(name), "percent": round(share, 1)} for name, share in reading.heaviest
        ],
    }


def in_words(budget: Budget, reading: Reading) -> Phrase:
    """Describe the reading of a budget on one line."""
    return row(_standing(budget, reading), " ")


def _rounded(units: Any) -> dict[str, float]:
    return {unit: round(amount, 6) for unit, amount in units.items()}


def _standing(budget: Budget, reading: Reading) -> list[Phrase]:
    period = reading.period
    body = [
        say(
            'Budget "{budget}", {per} {period} ({zone}): {used} used, {percent} %.',
            budget=plain(budget.name, 64),
            per=_PERIODS[budget.per],
            period=period.name,
            zone=budget.time_zone,
            used=row(
                say(
                    "{used} of {limit} {unit}",
                    used=_amount(reading.used[unit]),
                    limit=_amount(limit),
                    unit=_unit(unit, limit),
                )
                for unit, limit in reading.limit.items()
            ),
            percent=f"{reading.percent:.1f}",
        )
    ]
    if any(reading.rate_per_hour.values()):
        rates = row(
            say("{n} {unit}", n=_amount(rate), unit=_unit(unit, rate))
            for unit, rate in reading.rate_per_hour.items()
        )
        body.append(
            say("{n} job runs now and uses {rates} an hour.", n=reading.jobs, rates=rates)
            if reading.jobs == 1
            else say("{n} jobs run now and use {rates} an hour.", n=reading.jobs, rates=rates)
        )
    body.append(_outlook(budget, reading))
    if reading.counted_since > period.begins:
        body.append(
            say(
                "It was counted from {at} on; of the time before, what the jobs that ran then show "
                "of themselves.",
                at=to_time(reading.counted_since),
            )
        )
    return body


def _outlook(budget: Budget, reading: Reading) -> Phrase:
    ends = _day_and_hour(reading.period.ends, budget.zone)
    if reading.percent >= WHOLE:
        return say("It is reached; the period ends on {ends}.", ends=ends)
    if reading.reached_at is None:
        return say("Nothing that it counts runs now.")
    if not reading.is_forecast:
        return say(
            "At the present rate it is not reached before the period ends on {ends}.", ends=ends
        )
    return say(
        "It will be reached on {at} at the present rate: in {left}.",
        at=_day_and_hour(reading.reached_at, budget.zone),
        left=timedelta(milliseconds=reading.reached_at - reading.at),
    )


def _heaviest(reading: Reading) -> list[str]:
    if not reading.heaviest:
        return []
    shares = [
        say("- {name}: {percent} %", name=plain(name, 60) or "?", percent=f"{share:.0f}")
        for name, share in reading.heaviest
    ]
    return [say("Most of it was used by:"), *shares, ""]


def _advice(reading: Reading) -> Phrase:
    if reading.percent >= WHOLE:
        return say(
            "What to do: a guard's stage that names this budget stops jobs until the period is "
            "over. Raise the limit in the policy if this use is meant."
        )
    return say("What to do: see whether the jobs above are meant to run, or stop them.")


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 1_000 else f"{number:.4g}"  # noqa: PLR2004


def _unit(unit: str, number: float) -> Phrase:
    return (_UNITS_OF_ONE if _amount(number) == "1" else _UNITS)[unit]


def _day_and_hour(at: int, zone: ZoneInfo) -> Phrase:
    time = to_time(at).astimezone(zone)
    return say(
        "{weekday}, {day}, about {clock} ({zone})",
        weekday=_WEEKDAYS[time.weekday()],
        day=f"{time:%Y-%m-%d}",
        clock=f"{time:%H:%M}",
        zone=zone.key,
    )
