"""Handle all reminders that are due, in slices."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import batched
from typing import Any

from batch_watchdog.arrays.open_arrays import OpenArrayChecker
from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.blocked_queues.workflow import BlockedQueueChecker
from batch_watchdog.budgets.workflow import BudgetKeeper
from batch_watchdog.failed_jobs.workflow import FailureChainReporter
from batch_watchdog.limits.workflow import LimitEnforcer
from batch_watchdog.rule_reports.workflow import FollowUp
from batch_watchdog.store.reminders import Kind, Reminder, Reminders
from batch_watchdog.store.table import Table
from batch_watchdog.threads import workflow as threads
from batch_watchdog.use_cases.reminder_rows import SLICES, Row, rows_of
from batch_watchdog.use_cases.sweep_overview import SweepOverview
from batch_watchdog.use_cases.sweep_progress import SweepProgress


@dataclass(slots=True, kw_only=True)
class DueReminders:
    """The reminders that are due at `minute`. `failed` gets the errors of what was not decided."""

    table: Table
    batch: BatchApi
    limits: LimitEnforcer
    budgets: BudgetKeeper
    progress: SweepProgress
    overview: SweepOverview
    minute: datetime
    clock: Callable[[], datetime]
    out_of_time: Callable[[], bool]
    failed: list[Exception] = field(default_factory=list)

    def process_all(self) -> bool:
        """Handle the entries that are due, the oldest first; return whether all are done."""
        due: dict[datetime, dict[Kind, list[Reminder]]] = defaultdict(lambda: defaultdict(list))
        for entry in Reminders(self.table).between(self.progress.cursor.first, self.minute):
            if not self.progress.cursor.has_seen(entry):
                due[entry.minute][entry.kind].append(entry)
        for minute, by_kind in sorted(due.items()):
            for kind, most in SLICES.items():
                if not self._process_entries(kind, by_kind[kind], most):
                    return False
            cursor = self.progress.cursor
            if minute > cursor.minute:
                self.progress.cursor = cursor.passed(minute, (), all_of_them=True)
                if minute < self.minute:  # There is a backlog, and this sweep may be killed too.
                    self.progress.save()
        return True

    def _process_entries(self, kind: Kind, entries: Iterable[Reminder], most: int) -> bool:
        for some in batched(self._rows(entries), most, strict=False):
            done = self._process(kind, [row.content for row in some])
            cursor = self.progress.cursor
            seen = [row.entry for row in some[:done] if row.is_last]
            cursor = cursor.passed(cursor.minute, seen, all_of_them=False)
            if not some[done - 1].is_last:
                cursor = cursor.came_to(some[done - 1].entry, some[done - 1].number)
            self.progress.moved(cursor, done)
            if self.out_of_time():
                return False
        return True

    def _rows(self, entries: Iterable[Reminder]) -> Iterator[Row]:
        """Yield the reminders that are left. Entries that must wait on are filed again."""
        for entry in entries:
            if self.limits.recorder.wait_on(entry):
                cursor = self.progress.cursor
                self.progress.cursor = cursor.passed(cursor.minute, [entry], all_of_them=False)
            else:
                done = self.progress.cursor.done_of(entry)
                yield from (row for row in rows_of(entry) if row.number > done)

    def _process(self, kind: Kind, contents: Sequence[Any]) -> int:
        """Handle reminders of one kind; return how many, from the first on, are done."""
        policy, now = self.limits.policy, self.limits.now
        match kind:
            case "array":
                self.failed += OpenArrayChecker(
                    table=self.table,
                    batch=self.batch,
                    policy=policy,
                    held=self.limits.held,
                    now=now,
                    clock=self.clock,
                    out_of_time=self.out_of_time,
                    seen=self.overview.see_arrays,
                ).process(contents)
            case "blocked":
                self.failed += BlockedQueueChecker(
                    table=self.table,
                    batch=self.batch,
                    inquiry=self.limits.inquiry,
                    policy=policy,
                    now=self.clock(),
                ).process(contents, self.out_of_time)
            case "chain":
                FailureChainReporter(
                    table=self.table, batch=self.batch, policy=policy, now=now
                ).process(contents)
            case "use":
                return self.budgets.count(contents)
            case "run":
                return self.budgets.check(contents)
            case "followed":
                return FollowUp(
                    table=self.table,
                    batch=self.batch,
                    now=now,
                    out_of_time=self.out_of_time,
                    failed=self.failed,
                ).check(contents)
            case "thread":
                threads.close_windows(self.table, [key for key, _ in contents], now)
            case _:
                return self.limits.process(contents, self.out_of_time)
        return len(contents)
