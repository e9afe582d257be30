"""
Do what is due for budgets: count what the messages of the last minute show about runs, and check
the runs that are believed to go on.
"""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batch_watchdog.aws.batch import BatchApi, Detail, one_call_each
from batch_watchdog.budgets import facts as fact_rows
from batch_watchdog.budgets import items, shown_runs
from batch_watchdog.budgets.arrivals import facts_of
from batch_watchdog.budgets.counting import BudgetCounter
from batch_watchdog.budgets.facts import BudgetKey, Fact
from batch_watchdog.budgets.ledger_items import Ledger
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.budgets.runs import expected_run, lacks_its_runs
from batch_watchdog.budgets.shown_runs import Shown
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.store.reminders import Reminders
from batch_watchdog.store.table import Table

_PROMPT = timedelta(minutes=2)  # If a start arrives later, the run may have ended since.


@dataclass(slots=True, kw_only=True)
class BudgetKeeper:
    """
    Counts and checks runs at `now`. `failed` has the errors of what is to be done again.

    Once the time is up, AWS Batch is asked nothing more. `count` and `check` return how many of the
    facts, from the first on, they have handled: at least one, if there are any.
    """

    table: Table
    batch: BatchApi
    policy: Policy
    now: datetime
    out_of_time: Callable[[], bool]
    failed: list[Exception] = field(default_factory=list)

    @property
    def _counter(self) -> BudgetCounter:
        return BudgetCounter(table=self.table, policy=self.policy, now=self.now, failed=self.failed)

    def count(self, facts: Sequence[Fact]) -> int:
        """Count facts, each start and end once. For late starts, count what Batch shows now."""
        joined = fact_rows.latest(facts)
        late = {
            fact: None
            for fact in joined
            if fact.run.start and fact.run.start < to_ms(self.now - _PROMPT) and not fact.run.stop
        }
        if not late:
            self._counter.count(joined)
            return len(facts)
        shown, not_asked = self._shown(facts, late)
        shown = {job_id: job for job_id, job in shown.items() if not job.lacks_runs}
        proven = [fact for fact in joined if fact not in late]
        asked = [fact for fact in late if fact.run.job_id not in not_asked]
        omitted = [fact for fact in asked if fact.run.job_id not in shown]
        Reminders(self.table).file(items.soon_again(omitted, self.now))
        for fact in asked:
            if job := shown.get(fact.run.job_id):
                proven += shown_runs.of_late_start(fact, job)
        self._counter.count(fact_rows.latest(proven))
        return _handled(facts, not_asked)

    def _shown(
        self, facts: Iterable[Fact], wanted: Iterable[Fact]
    ) -> tuple[dict[str, Shown], set[str]]:
        """
        Return what Batch shows now of the jobs of the `wanted` facts, by job id; it may omit some.

        Batch is asked about them in the order of `facts`. Also return the jobs that there was no
        time to ask about.
        """
        ids = {fact.run.job_id for fact in wanted}
        jobs = {fact.run.job_id: fact.service for fact in facts if fact.run.job_id in ids}
        shown = {}
        for some, details in self._details(jobs):
            ids.difference_update(some)
            for job_id, detail in details.items():
                try:
                    job = event_from_detail(detail, self.now)
                except ITEM_ERRORS as error:
                    self.failed.append(error)
                else:
                    shown[job_id] = Shown(
                        status=job.status,
                        facts=list(facts_of(job, detail, ())),
                        expected=expected_run(detail),
                        lacks_runs=lacks_its_runs(detail),
                    )
        return shown, ids

    def _details(
        self, jobs: Mapping[str, bool]
    ) -> Iterator[tuple[Sequence[str], Mapping[str, Detail]]]:
        """
        Yield jobs with what Batch shows of them, a call at a time, until the time is up.

        `jobs` says by id whether they are service jobs.
        """
        for some, service in one_call_each(jobs, jobs.__getitem__, self.out_of_time):
            describe = self.batch.describe_service if service else self.batch.describe
            try:
                details = describe(some)
            except ITEM_ERRORS as error:  # Batch is asked about them again.
                self.failed.append(error)
                details = {}
            yield some, details

    def check(self, facts: Sequence[Fact]) -> int:
        """Check whether these runs go on. Count the ends that no event reported."""
        left = self._not_ended(facts)
        if any(not fact.run.start for fact in left):
            began = {
                (fact.run.job_id, fact.run.attempt)
                for fact in items.believed(self.table, self.now)
                if fact.run.start
            }
            left = [
                fact
                for fact in left
                if fact.run.start or (fact.run.job_id, fact.run.attempt) not in began
            ]
        shown, not_asked = self._shown(facts, left)
        found: list[Fact] = []
        going_on: list[Fact] = []
        again: list[Fact] = []
        for fact in left:
            if fact.run.job_id in not_asked:
                continue
            job = shown.get(fact.run.job_id)
            answer = shown_runs.answer(fact, job)
            if job and job.expected:
                going_on.append(replace(fact, run=job.expected))
            found += answer.facts
            going_on += [fact] if answer.goes_on else []
            again += [fact] if answer.ask_again else []
        seen = [replace(fact, seen=to_ms(self.now), missed=0) for fact in going_on]
        Reminders(self.table).file(items.checks(seen, self.now))
        Reminders(self.table).file(items.soon_again(again, self.now))
        self._counter.count(fact_rows.latest(found))
        return _handled(facts, not_asked)

    def _not_ended(self, facts: Sequence[Fact]) -> list[Fact]:
        """Return the facts whose end some budgets have not counted, with these budgets only."""
        by_budget: dict[BudgetKey, list[Fact]] = defaultdict(list)
        for fact in facts:
            for key in fact.budgets:
                by_budget[key].append(fact)
        left: dict[tuple[str, int], Fact] = {}
        for (name, counts), some in by_budget.items():
            budget = self.policy.budget_named(name)
            if budget is None or budget.counting != counts:
                continue
            ledger = Ledger(self.table, (name, counts))
            ledger.read_ends(min(max(fact.seen, fact.run.start) for fact in some))
            for fact in some:
                run = fact.run
                if not ledger.knows_end(run.job_id, run.attempt):
                    known = left.get((run.job_id, run.attempt), replace(fact, budgets=()))
                    # Each budget has filed the run separately.
                    kept = known if known.run.start else fact
                    budgets = tuple(dict.fromkeys((*known.budgets, (name, counts))))
                    left[run.job_id, run.attempt] = replace(kept, budgets=budgets)
        return list(left.values())


def _handled(facts: Sequence[Fact], not_asked: Container[str]) -> int:
    """Return how many facts, from the first on, are about jobs that there was time for."""
    left = (number for number, fact in enumerate(facts) if fact.run.job_id in not_asked)
    return next(left, len(facts))
