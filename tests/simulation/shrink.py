"""Making a history that breaks an invariant smaller, while it still breaks it."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from tests.simulation.history import History
from tests.simulation.invariants import broken
from tests.simulation.plan import Plan

_RUNS_MAX = 60


def shrunk(plan: Plan, invariant: str, run: Callable[[Plan], History]) -> Plan:
    """The plan without the steps and faults that do not matter, as far as a few runs can tell."""
    runs = 0
    while runs < _RUNS_MAX:
        for smaller in _smaller(plan):
            runs += 1
            if any(each.startswith(invariant) for each in broken(run(smaller))):
                plan = smaller
                break
            if runs >= _RUNS_MAX:
                return plan
        else:
            return plan
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    for name in ("rates", "event_rates"):
        rates: Any = getattr(plan, name)
        for each in fields(rates):
            if getattr(rates, each.name):
                yield replace(plan, **{name: replace(rates, **{each.name: 0.0})})
    for at in range(len(plan.steps)):
        yield replace(plan, steps=plan.steps[:at] + plan.steps[at + 1 :])


def told(plan: Plan) -> Iterator[str]:
    """A plan in words."""
    yield f"{plan.minutes} min, {dict(plan.batch)}, broken {sorted(plan.broken)}"
    for rates in (plan.rates, plan.event_rates):
        shown: Any = rates
        yield str({f.name: getattr(shown, f.name) for f in fields(shown) if getattr(shown, f.name)})
    for step in plan.steps:
        yield f"{int(step.at // 60):4}:{int(step.at % 60):02} {step.kind} {dict(step.what)}"
    yield from plan.policy.splitlines()
