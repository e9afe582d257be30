"""Announce what is due about budgets, and give it to the guards as evidence, each minute."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from batch_watchdog.budgets import rules
from batch_watchdog.budgets.announcer import BudgetAnnouncer
from batch_watchdog.budgets.notices import in_words
from batch_watchdog.budgets.periods import period_of, to_ms, to_time
from batch_watchdog.budgets.state import BudgetState
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.policy.budget_tables import Budget
from batch_watchdog.policy.model import Policy


def watch(budgets: BudgetAnnouncer, guards: GuardUpdater) -> None:
    """
    Announce budgets, give their evidence to the guards, and apply the passing of time to these.

    If another sweep is writing a budget at the same time, its evidence may not have reached the
    guards that name it. These guards wait for the next sweep.
    """
    asked = asked_of(budgets.policy)
    states = budgets.announce(asked)
    evidence = [
        each
        for name, percents in asked.items()
        if name in states and (budget := budgets.policy.budget_named(name))
        for each in _evidence(budget, states[name], percents, to_ms(budgets.now))
    ]
    # Where the policy has raised a limit, the share that is not reached any more comes first: a
    # share that is reached now must not keep a stage to which another one has led.
    failed = guards.receive(sorted(evidence, key=lambda each: each.state == "ALARM"))
    budgets.failed += failed
    if not failed:  # A guard that missed its evidence would decide by an old state.
        budgets.failed += guards.time_passes_once_budgets_counted(states)


def asked_of(policy: Policy) -> Mapping[str, set[float]]:
    """Return, by budget, the shares in per cent that raise stages of guards."""
    asked: dict[str, set[float]] = defaultdict(set)
    for guard in policy.guard:
        for stage in guard.stage:
            for share in stage.budgets:
                asked[share.name].add(share.percent)
    return asked


def _evidence(
    budget: Budget, state: BudgetState, percents: set[float], now: int
) -> Iterator[Evidence]:
    """
    Yield evidence of each share: in ALARM once it was reached in this period, else OK.

    It stays in ALARM whatever has been counted since. What was reached before the policy changed
    the budget's limits, or what it counts, is not in ALARM any more.
    """
    reading = rules.read(state, budget, now)
    used = ", ".join(
        f"{amount:,.6g} of {budget.limits[unit]:,.6g} {unit}"
        for unit, amount in reading.used.items()
    )
    for percent in sorted(percents):
        told_at = state.told.get(rules.key_of(percent))
        yield Evidence(
            source="live",
            alarm=budget.name,
            names=frozenset({budget.name}),
            state="OK" if told_at is None else "ALARM",
            at=to_time(now if told_at is None else told_at),
            amount=used,
            threshold=f"{rules.key_of(percent)} %",
            detail=in_words(budget, reading),
            over_at=to_time(period_of(budget, state.use.day).ends),
            share=percent,
        )
