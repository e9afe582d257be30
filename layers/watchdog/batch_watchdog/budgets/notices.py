"""What operators are told of budgets: a threshold is passed, all is used, or will be."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from batch_watchdog.budgets.periods import to_time
from batch_watchdog.budgets.rules import WHOLE, Reading, Ring, key_of
from batch_watchdog.notices.notice import Notice, NoticeKind, Severity, subject
from batch_watchdog.notices.text import fact, iso, plain, span
from batch_watchdog.policy.budget_tables import Budget

_WORDS = {
    "vcpu_hours": "vCPU hours",
    "gpu_hours": "GPU hours",
    "memory_gib_hours": "GiB hours of memory",
    "instance_hours": "instance hours",
    "usd": "USD",
}


def rung(budget: Budget, reading: Reading, ring: Ring, limits: str) -> Notice:
    """The notice of a threshold, or of a forecast. `limits` tells changed limits apart."""
    name = plain(budget.name, 64)
    kind: NoticeKind
    severity: Severity = "warning"
    if ring.percent is None:
        kind, threshold = "budget-forecast", "forecast"
        at = reading.reached_at or reading.at
        title = f'Budget "{name}" will be reached on {_day_and_hour(at, budget.zone)}'
    elif ring.percent == WHOLE:
        kind, threshold, severity = "budget-reached", key_of(WHOLE), "critical"
        title = f'Budget "{name}" is reached ({reading.percent:.0f} % used)'
    else:
        kind, threshold = "budget-warning", key_of(ring.percent)
        title = f'Budget "{name}": {threshold} % used'
    return Notice(
        kind=kind,
        id=f"{kind}:{name}:{reading.period.name}:{threshold}:{limits}",
        severity=severity,
        subject=subject(title),
        text="\n".join([*_standing(budget, reading), "", *_heaviest(reading), *_advice(reading)]),
        facts={**facts_of(reading), "threshold": ring.percent},
    )


def facts_of(reading: Reading) -> dict[str, Any]:
    """How a budget stands, for programs."""
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


def in_words(budget: Budget, reading: Reading) -> str:
    """How a budget stands, on one line."""
    return " ".join(_standing(budget, reading))


def _rounded(units: Any) -> dict[str, float]:
    return {unit: round(amount, 6) for unit, amount in units.items()}


def _standing(budget: Budget, reading: Reading) -> list[str]:
    name, period = plain(budget.name, 64), reading.period
    used = ", ".join(
        f"{_amount(reading.used[unit])} of {_amount(limit)} {_WORDS[unit]}"
        for unit, limit in reading.limit.items()
    )
    lines = [f'Budget "{name}", {budget.per} {period.name} ({budget.time_zone}): {used}']
    lines[0] += f" used, {reading.percent:.1f} %."
    if any(reading.rate_per_hour.values()):
        rate = ", ".join(
            f"{_amount(rate)} {_WORDS[unit]}" for unit, rate in reading.rate_per_hour.items()
        )
        jobs = f"{reading.jobs} job{'s' if reading.jobs != 1 else ''}"
        lines.append(f"{jobs} run now and use {rate} an hour.")
    lines.append(_outlook(budget, reading))
    if reading.counted_since > period.begins:
        lines.append(
            f"It was counted from {iso(to_time(reading.counted_since))} on; of the time before, "
            "what the jobs that ran then show of themselves."
        )
    return lines


def _outlook(budget: Budget, reading: Reading) -> str:
    ends = _day_and_hour(reading.period.ends, budget.zone)
    if reading.percent >= WHOLE:
        return f"It is reached; the period ends on {ends}."
    if reading.reached_at is None:
        return "Nothing that it counts runs now."
    if not reading.is_forecast:
        return f"At the present rate it is not reached before the period ends on {ends}."
    left = span((reading.reached_at - reading.at) / 1_000)
    when = _day_and_hour(reading.reached_at, budget.zone)
    return f"It will be reached on {when} at the present rate: in {left}."


def _heaviest(reading: Reading) -> list[str]:
    if not reading.heaviest:
        return []
    lines = ["Most of it was used by:"]
    lines += [f"- {plain(name, 60) or '?'}: {share:.0f} %" for name, share in reading.heaviest]
    return [*lines, ""]


def _advice(reading: Reading) -> list[str]:
    if reading.percent >= WHOLE:
        return [
            "What to do: a guard's stage that names this budget stops jobs until the period is "
            "over. Raise the limit in the policy if this use is meant."
        ]
    return ["What to do: see whether the jobs above are meant to run, or stop them."]


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 1_000 else f"{number:.4g}"  # noqa: PLR2004


def _day_and_hour(at: int, zone: ZoneInfo) -> str:
    time: datetime = to_time(at).astimezone(zone)
    return f"{time:%A, %Y-%m-%d, about %H:%M} ({zone.key})"
