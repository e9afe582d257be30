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
        self, changes: Mapping[str, JobEvent], bodies: Mapping[str, str], now: datetime
    ) -> None:
        """File what job events (by message id) show about runs, for the next sweep to count."""
        if not self.policy.budget:
            return
        told = [
            (change, bodies[key]) for key, change in changes.items() if _may_tell_of_runs(change)
        ]
        counted = self._counted([change for change, _ in told])
        facts: list[Fact] = []
        expected: list[Fact] = []
        for change, body in told:
            if budgets := counted.get(change.job_id):
                detail = json.loads(body.removeprefix("\ufeff"))["detail"]
                facts += facts_of(change, detail, budgets)
                expected += _expected(change, detail, budgets)
        self._with_requests(facts)
        Reminders(self.table).file(items.to_be_counted(facts, now))
        # If neither the start nor the end is reported, a later check of the job shows them.
        Reminders(self.table).file(items.to_be_looked_at(expected, now))

    def _counted(self, changes: Sequence[JobEvent]) -> dict[str, tuple[BudgetKey, ...]]:
        """Return the budgets that count each job, by job id."""
        asking = [budget.match for budget in self.policy.budget if budget.match.tags]
        tagged = with_tags(
            changes,
            lambda change: any(match.may_match(change) for match in asking),
            self.batch.describe,
            self.batch.describe_service,
        )
        found = {}
        for change in tagged:
            if keys := counting(self.policy, change):
                found[change.job_id] = keys
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


def facts_of(change: JobEvent, detail: Detail, budgets: tuple[BudgetKey, ...]) -> Iterator[Fact]:
    """Yield a fact for each run that a job shows at the time of a change."""
    amounts = amounts_of(detail)
    for run in runs.runs_of(detail, to_ms(change.at)):
        yield _fact(change, run, amounts, budgets)


def _expected(change: JobEvent, detail: Detail, budgets: tuple[BudgetKey, ...]) -> Iterator[Fact]:
    if run := runs.expected_run(detail):
        fact = _fact(change, run, amounts_of(detail), budgets)
        # Rounded down to a quarter of an hour, so that the runs of one quarter share a row.
        yield replace(fact, seen=to_ms(change.at) // _QUARTER * _QUARTER)


def _fact(
    change: JobEvent, run: runs.Run, amounts: Amounts, budgets: tuple[BudgetKey, ...]
) -> Fact:
    return Fact(
        run=run,
        budgets=budgets,
        name=change.job_name,
        queue=change.queue,
        amounts=amounts,
        service=change.kind == "service",
    )


def _may_tell_of_runs(change: JobEvent) -> bool:
    if change.kind in ("array", "node"):
        return False
    ran = change.attempts or change.kind == "service"
    return bool(ran) or change.status in STARTED or change.status in ENDED
