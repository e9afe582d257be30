"""
Build measures, which become CloudWatch metrics.

CloudWatch bills each combination of name and dimension. So a measure has at most one dimension, and
its values are names of rules, guards, budgets and queues: operators choose these, not the users who
submit jobs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from batch_watchdog.core.effects import Announce, Effect, StopJobs, accepted_and_refused
from batch_watchdog.core.job_event import resource_name
from batch_watchdog.notices.text import plain

type Unit = Literal["Count", "Seconds", "Percent"]

NAMESPACE = "BatchWatchdog"  # also in the template
QUEUES_MAX = 20  # whose oldest wait is measured: the ones that wait longest
_VALUE_MAX = 250  # characters; CloudWatch takes 1,024 of ASCII
_STAGES = {"calm": 0, "cancel": 1, "terminate": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A value with its name and, in `by`, its dimension."""

    name: str
    value: float
    unit: Unit = "Count"
    by: Mapping[str, str] | None = None


type Meter = Callable[[Sequence[Measure]], object]


def of_action(effect: Effect, result: Any) -> Iterator[Measure]:
    """Yield the measures of an action just carried out: stops by rule, and ended arrays."""
    match effect:
        case StopJobs():
            by = {"rule": _value(effect.rule)}
            accepted, refused = accepted_and_refused(result)
            left = len(effect.job_ids) - accepted - refused
            for name, count in (("Accepted", accepted), ("Refused", refused), ("Left", left)):
                if count > 0:
                    yield Measure(name=f"Stops{name}", value=count, by=by)
        case Announce():
            ended = [each for each in effect.notices if each.kind == "array-completed"]
            failed = [each for each in ended if each.facts.get("failed")]
            if ended:
                yield Measure(name="ArraysDone", value=len(ended))
                yield Measure(name="ArraysFailed", value=len(failed))
        case _:
            pass


def of_lateness(late: timedelta) -> Measure:
    """Return how late the sweep is with limits that are due."""
    return Measure(name="LimitsLate", value=max(0.0, late.total_seconds()), unit="Seconds")


def of_guard(guard: str, stage: str) -> Measure:
    """Return a guard's stage as a number: calm is 0, cancel 1, terminate 2."""
    return Measure(name="GuardStage", value=_STAGES.get(stage, 0), by={"guard": _value(guard)})


def of_budget(budget: str, percent: float) -> Measure:
    """Return how much of a budget is used."""
    by = {"budget": _value(budget)}
    return Measure(name="BudgetUsed", value=round(percent, 3), unit="Percent", by=by)


def of_waits(oldest: Mapping[str, datetime], now: datetime) -> Iterator[Measure]:
    """Yield how long the oldest wait of each queue has lasted; `oldest` has when it began."""
    for queue, since in sorted(oldest.items(), key=lambda each: each[1])[:QUEUES_MAX]:
        yield Measure(
            name="OldestWait",
            value=max(0.0, (now - since).total_seconds()),
            unit="Seconds",
            by={"queue": _value(resource_name(queue))},
        )


def _value(name: str) -> str:
    """A dimension's value: CloudWatch takes ASCII only, and it must not be empty."""
    return plain(name, _VALUE_MAX).encode("ascii", "replace").decode() or "?"
