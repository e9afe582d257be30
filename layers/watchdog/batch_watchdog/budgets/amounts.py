"""
Amounts: what a budget counts, as whole numbers, so that repeated additions and subtractions are
exact.

Amounts are four numbers in the order of `UNITS`: thousandths of a vCPU, thousandths of a GPU, KiB
of memory, instances. Use is such an amount times milliseconds.
"""

import json
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from batch_watchdog.diagnosis.lenient import items, mapping, number
from batch_watchdog.diagnosis.needs import is_service_job, needs_of
from batch_watchdog.policy.budget_tables import UNITS, Budget

type Amounts = tuple[int, int, int, int]

NOTHING: Amounts = (0, 0, 0, 0)

_MOST = 10**12  # of one job; a larger number counts as 0
_HOUR = 3_600_000  # ms
# One hour of each unit, as an amount times milliseconds.
_A_UNIT_HOUR = (1_000 * _HOUR, 1_000 * _HOUR, 1_048_576 * _HOUR, _HOUR)


def amounts_of(detail: Mapping[str, Any]) -> Amounts:
    """Return what a job takes while it runs, from its event or DescribeJobs. Never raises."""
    if is_service_job(detail):
        return 0, 0, 0, _instances(detail)
    nodes = mapping(detail.get("nodeProperties"))
    if nodes and not number(nodes.get("numNodes")):  # One serializer writes it for every job.
        detail = {name: value for name, value in detail.items() if name != "nodeProperties"}
    asks = needs_of(detail).asks
    return (
        _whole(sum(ask.vcpus * ask.nodes for ask in asks) * 1_000),
        _whole(sum(ask.gpus * ask.nodes for ask in asks) * 1_000),
        _whole(sum(ask.memory_mib * ask.nodes for ask in asks) * 1_024),
        0,
    )


def added(one: Iterable[int], other: Iterable[int], times: int = 1) -> Amounts:
    """Return `one` plus `times` times `other`."""
    first, second, third, fourth = (a + b * times for a, b in zip(one, other, strict=True))
    return first, second, third, fourth


def scaled(amounts: Amounts, by: int) -> Amounts:
    return added(NOTHING, amounts, by)


def in_units(used: Mapping[str, Amounts], budget: Budget) -> dict[str, float]:
    """Convert use by queue to hours of each unit and to USD; only the limited units."""
    total, usd = [0.0] * len(UNITS), 0.0
    for queue, amounts in used.items():
        hours = [each / whole for each, whole in zip(amounts, _A_UNIT_HOUR, strict=True)]
        total = [a + b for a, b in zip(total, hours, strict=True)]
        usd += sum(a * b for a, b in zip(hours, budget.prices_in(queue), strict=True))
    units = {"usd": usd, **dict(zip(UNITS, total, strict=True))}
    return {unit: units[unit] for unit in budget.limits}


def percent_of(units: Mapping[str, float], budget: Budget) -> float:
    """Return how much of a budget that is, in per cent of the limit of which most is used."""
    return max(100 * units[unit] / limit for unit, limit in budget.limits.items())


def _whole(number_of: float) -> int:
    return round(number_of) if isfinite(number_of) and 0 < number_of < _MOST else 0


def _instances(detail: Mapping[str, Any]) -> int:
    """Return how many instances a service job's request names; 0 if it is not shown or has none."""
    payload = mapping(detail.get("serviceRequestPayload"))
    if not payload:
        payload = mapping(_json(detail.get("serviceRequestPayload")))
    config = mapping(payload.get("ResourceConfig"))
    groups = items(config.get("InstanceGroups")) or [config]
    counts = (number(mapping(each).get("InstanceCount")) or 0 for each in groups)
    return _whole(sum(int(count) for count in counts if count < _MOST))


def _json(text: object) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
