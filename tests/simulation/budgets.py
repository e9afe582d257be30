"""
Whether what budgets have counted in a history is what Batch itself saw.

It is judged by what the jobs show at the end, read apart from the package's rules.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.budgets import items, usage
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.notices.text import iso
from tests.simulation import live_budgets
from tests.simulation.history import History

_QUEUES = {"all": "", "gpu": "gpu"}
_UNDER_WAY = timedelta(minutes=2)  # until the sweep has counted what an event told

type Use = tuple[int, int]
"""Thousandths of vCPUs and of GPUs, times milliseconds."""


def i16_a_budgets_use_is_what_batch_saw(seen: History) -> Iterator[str]:
    states = items.read_all(seen.table)
    rules = {budget.name: budget for budget in seen.policies[-1][1].budget}
    for name, queue in _QUEUES.items():
        if name not in rules or name not in states:
            continue
        saw = [
            _uses(detail, seen.ended)
            for detail in seen.details.values()
            if queue in str(detail.get("jobQueue")).rpartition("/")[2]
        ]
        days = usage.used_on(states[name].use, rules[name], to_ms(seen.ended))
        counted = [amounts for queues in days.values() for amounts in queues.values()]
        vcpus, gpus = (sum(each[place] for each in counted) for place in (0, 1))
        expected = _sums(saw)
        if (vcpus, gpus) not in expected:
            yield f"budget {name}: counted {[vcpus, gpus]}, Batch saw {sorted(expected)[:3]}"


def _sums(saw: Iterable[set[Use]]) -> set[Use]:
    """All sums of one use of each job."""
    sums = {(0, 0)}
    for uses in saw:
        sums = {(a + vcpus, b + gpus) for a, b in sums for vcpus, gpus in uses}
    return sums


def i16_what_is_used_up_is_told(seen: History) -> Iterator[str]:
    told = seen.told_ids()
    for name, state in items.read_all(seen.table).items():
        for threshold in state.told:
            kind = {"100": "reached", "forecast": "forecast"}.get(threshold, "warning")
            notice_id = f"budget-{kind}:{name}:{state.period}:{threshold}:{state.told_by}"
            if notice_id not in told:
                yield f"{notice_id} was not told"


def i16_what_is_told_to_be_used_is(seen: History) -> Iterator[str]:
    trees = {at: tomllib.loads(text) for at, text in seen.texts}
    for each in live_budgets.rung(seen, trees):
        if each.against:
            yield f"{each.budget}: {each.percent} % are told at {iso(each.at)}, and {each.against}"


def _uses(detail: Mapping[str, Any], ended: datetime) -> set[Use]:
    """What a job has used; and by what was known of it a moment ago, which may not be counted."""
    if detail.get("serviceJobType") or (detail.get("arrayProperties") or {}).get("size"):
        return {(0, 0)}
    until = to_ms(ended)
    vcpus, gpus = live_budgets.needs(detail)
    made = detail.get("attempts") or detail.get("eksAttempts") or []
    spans = [(each.get("startedAt") or 0, each.get("stoppedAt") or 0) for each in made]
    if detail["status"] == "RUNNING":
        spans.append((detail["startedAt"], until + 1))
    spans = [(start, stop) for start, stop in spans if start and stop]
    changes = {at - 1 for span in spans for at in span}
    known_at = {until, *(at for at in changes if to_ms(ended - _UNDER_WAY) <= at <= until)}
    lasted = {
        sum((stop if stop <= at else until) - start for start, stop in spans if start <= at)
        for at in known_at
    }
    return {(vcpus * each, gpus * each) for each in lasted}
