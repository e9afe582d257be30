"""Reads the messages of AWS Budgets."""

import re
from collections.abc import Mapping
from typing import Any

from batch_watchdog.core.errors import EvidenceError
from batch_watchdog.guards.signals.amounts import Amount, read_amounts
from batch_watchdog.guards.signals.evidence import (
    BudgetLimit,
    Envelope,
    Evidence,
    Period,
    names_of,
    value_of,
)
from batch_watchdog.notices.phrases import kept, say
from batch_watchdog.notices.text import fact, plain

_ACCOUNT = re.compile(r"^[ \t]*AWS Account ([0-9]{12})\b", re.MULTILINE)
_PERIOD = re.compile(r"(?:\bcurrent|\bper|\bthis) (day|month|quarter|year)\b|\b(yesterday|today)\b")
_ADJECTIVES: Mapping[str, Period] = {
    "daily": "day",
    "monthly": "month",
    "quarterly": "quarter",
    "annually": "year",
    "yearly": "year",
}
_PERIODS: tuple[Period, ...] = ("day", "month", "quarter", "year")
_BELOW = re.compile(r"<|&lt;|≤|\b(?:less|lower|below|under)\b", re.IGNORECASE)
_COMPARISON = re.compile(
    r"[<>=≤≥]|&[lg]t;|\b(?:greater|more|less|lower|higher|above|below|under|over|than|or|equal|to)\b",
    re.IGNORECASE,
)


def read_budget(lines: Mapping[Any, Any], prose: str, envelope: Envelope) -> Evidence:
    name = value_of(lines, "budgetname")
    kind = value_of(lines, "alerttype", "notificationtype").upper()
    if not kind:
        # The sentence has it too, but it also has the budget's name, which may be any text.
        kinds = [
            kind for kind in ("ACTUAL", "FORECASTED") if value_of(lines, f"{kind.lower()}amount")
        ]
        kind = kinds[0] if len(kinds) == 1 else ""
    if kind not in ("ACTUAL", "FORECASTED"):
        raise EvidenceError(
            f"a Budgets message of {plain(name)!r}: its alert type is neither ACTUAL nor "
            f"FORECASTED, but {plain(kind, 40)!r}"
        )
    if envelope.at is None:
        raise EvidenceError(f"a Budgets message of {plain(name)!r} without a time")
    account = _ACCOUNT.search(prose)
    arn = f"arn:{envelope.partition}:budgets::{account[1]}:budget/{name}" if account else ""
    amount = value_of(lines, f"{kind.lower()}amount", "amount")
    threshold = value_of(lines, "alertthreshold", "threshold")
    budgeted = value_of(lines, "budgetedamount")
    budget_type = plain(value_of(lines, "budgettype"), 60)
    limit = _limit(lines, budget_type, amount, threshold, budgeted)
    shown = plain(threshold.replace(">", "more than").replace("<", "less than"), 60)
    return Evidence(
        source="budget",
        alarm=fact(name),
        names=names_of(name, arn),
        state="ALARM",
        at=envelope.at,
        forecasted=kind == "FORECASTED",
        amount=plain(amount, 60),
        threshold=shown,
        budgeted=plain(budgeted, 60),
        budget_type=budget_type,
        limit=limit,
        period=_period(lines, prose, name),
        detail=say(
            "{kind} amount {amount}, alert threshold {threshold}, budgeted {budgeted}"
            if budgeted
            else "{kind} amount {amount}, alert threshold {threshold}",
            kind=kind,
            amount=plain(amount, 60) or say("unknown"),
            threshold=kept(shown or say("unknown")),
            budgeted=plain(budgeted, 60),
        ),
    )


def _limit(
    lines: Mapping[Any, Any], budget_type: str, amount: str, threshold: str, budgeted: str
) -> BudgetLimit:
    bare = " ".join(_COMPARISON.sub(" ", threshold).split())
    if value_of(lines, "thresholdtype").upper().startswith("PERCENT") and "%" not in bare:
        bare += "%"
    used, limit, whole = read_amounts([amount, bare, budgeted])
    kind = re.sub(r"[^a-z]", "", budget_type.lower()).removesuffix("budget")
    of_money = [each.is_money for each in (used, whole) if each]
    # If the type is missing, the units show whether it is about money.
    is_cost = kind == "cost" or (not kind and bool(of_money) and all(of_money))
    is_ratio = kind.endswith(("utilization", "coverage")) or (
        not kind and used is not None and used.unit == "%"
    )
    percent, percent_slack = _percent(limit, whole)
    amount_of, amount_slack = _in_units(limit, whole)
    return BudgetLimit(
        is_cost=is_cost,
        is_ratio=is_ratio,
        below=bool(_BELOW.search(threshold)),
        amount=amount_of,
        percent=percent,
        amount_slack=amount_slack,
        percent_slack=percent_slack,
    )


def _percent(limit: Amount | None, whole: Amount | None) -> tuple[float | None, float]:
    if limit is None:
        return None, 0.0
    if limit.unit.startswith("%"):
        return float(limit.value), 0.0
    if whole is None or not whole.value or limit.unit.casefold() != whole.unit.casefold():
        return None, 0.0
    return float(100 * limit.value / whole.value), float(50 * limit.step / whole.value)


def _in_units(limit: Amount | None, whole: Amount | None) -> tuple[float | None, float]:
    """Return the threshold in the budget's own units, and by how much it may be off."""
    if limit is None:
        return None, 0.0
    if not limit.unit.startswith("%") or (whole and whole.unit.startswith("%")):
        return float(limit.value), float(limit.step / 2)
    return (float(limit.value * whole.value / 100), 0.0) if whole else (None, 0.0)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _period(lines: Mapping[Any, Any], prose: str, name: str) -> Period:
    said = value_of(lines, "timeunit", "budgetperiod", "period").lower()
    if said:
        return next((each for each in _PERIODS if each == said), _ADJECTIVES.get(said, "month"))
    # The sentence also has the budget's name, which may be any text: "day", or one letter.
    text = _one_line(prose).replace(f"your {_one_line(name)} budget", "your budget")
    sentence = text.partition("Budget Name")[0].lower()
    found = _PERIOD.search(sentence)
    if found is None:
        return "month"
    return next((each for each in _PERIODS if each == found[1]), "day")
