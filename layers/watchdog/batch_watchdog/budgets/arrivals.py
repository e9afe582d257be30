"""
File what a batch of messages shows about runs, for the next sweep to count.

A job that no budget counts is not filed, and the detail of its message is not read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from batch_watchdog.aws.batch import BatchApi, Detail
from batch_watchdog.budgets import items, runs
from batch_watchdog.budgets.amounts import Amounts, amounts_of
from batch_watchdog.budgets.facts import BudgetKey, Fact
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.core.job_event import ENDED, STARTED, JobEvent
from batch_watchdog.policy.budget_tables import Budget
from batch_watchdog.policy.child_tags import with_tags
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.reminders import Reminders
from batch_watchdog.store.table import Table

_QUARTER = 15 * 60_000  # ms


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetIntake:
    """Files what one batch of messages shows about the runs that budgets count."""

    table: Table
    batch: BatchApi
    policy: Policy

    def file(
        self, events: Mapping[str, JobEvent], bodies: Mapping[str, str], now: datetime
    ) -> None:
        """File what job events (by message id) show about runs, for the next sweep to count."""
        if not self.policy.budget:
            return
        kept = [(event, bodies[key]) for key, event in events.items() if _may_show_runs(event)]
        counted = self._counted([event for event, _ in kept])
        facts: list[Fact] = []
        expected: list[Fact] = []
        for event, body in kept:
            if budgets := counted.get(event.job_id):
                detail = json.loads(body.removeprefix("\ufeff"))["detail"]
                facts += facts_of(event, detail, budgets)
                expected += _expected(event, detail, budgets)
        self._with_requests(facts)
        Reminders(self.table).file(items.to_be_counted(facts, now))
        # If neither the start nor the end is reported, a later check of the job shows them.
        Reminders(self.table).file(items.checks(expected, now))

    def _counted(self, events: Sequence[JobEvent]) -> dict[str, tuple[BudgetKey, ...]]:
        """Return the budgets that count each job, by job id."""
        asking = [budget.match for budget in self.policy.budget if budget.match.tags]
        tagged = with_tags(
            events,
            lambda event: any(match.may_match(event) for match in asking),
            self.batch.describe,
            self.batch.describe_service,
        )
        found = {}
        for event in tagged:
            if keys := counting(self.policy, event):
                found[event.job_id] = keys
        return found

    def _with_requests(self, facts: list[Fact]) -> None:
        """Ask AWS Batch how many instances service jobs have, if a budget counts instances."""
        names = {budget.name for budget in self.policy.budget if counts_instances(budget)}
        asked = {
            fact.run.job_id
            for fact in facts
            if fact.service and not any(fact.amounts) and names & {name for name, _ in fact.budgets}
        }
        shown = self.batch.describe_service(sorted(asked))
        for place, fact in enumerate(facts):
            if detail := shown.get(fact.run.job_id):
                facts[place] = replace(fact, amounts=amounts_of(detail))


def counts_instances(budget: Budget) -> bool:
    return budget.instance_hours is not None or any(each.instance_hour for each in budget.rates)


def counting(policy: Policy, job: JobEvent) -> tuple[BudgetKey, ...]:
    """Return the budgets that count a job. The tags of the job must be known."""
    return tuple(
        (budget.name, budget.counting) for budget in policy.budget if budget.match.matches(job)
    )


def facts_of(event: JobEvent, detail: Detail, budgets: tuple[BudgetKey, ...]) -> Iterator[Fact]:
    """Yield a fact for each run that a job shows at the time of a change."""
    amounts = amounts_of(detail)
    for run in runs.runs_of(detail, to_ms(event.at)):
        yield _fact(event, run, amounts, budgets)


def _expected(event: JobEvent, detail: Detail, budgets: tuple[BudgetKey, ...]) -> Iterator[Fact]:
    if run := runs.expected_run(detail):
        fact = _fact(event, run, amounts_of(detail), budgets)
        # Rounded down to a quarter of an hour, so that the runs of one quarter share a row.
        yield replace(fact, seen=to_ms(event.at) // _QUARTER * _QUARTER)


def _fact(event: JobEvent, run: runs.Run, amounts: Amounts, budgets: tuple[BudgetKey, ...]) -> Fact:
    return Fact(
        run=run,
        budgets=budgets,
        name=event.job_name,
        queue=event.queue,
        amounts=amounts,
        service=event.kind == "service",
    )


def _may_show_runs(event: JobEvent) -> bool:
    if event.kind in ("array", "node"):
        return False
    ran = event.attempts or event.kind == "service"
    return bool(ran) or event.status in STARTED or event.status in ENDED
