"""
The sweep: do all that is due, once a minute.

All long work is done in slices. After each slice the remaining time is checked, and after much
work the cursor is saved. So a sweep that ends early, or is killed, keeps its progress.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from batch_watchdog.actions.unfinished import UnfinishedActionChecker
from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.budgets.announcer import BudgetAnnouncer
from batch_watchdog.budgets.listing import BudgetListing
from batch_watchdog.budgets.workflow import BudgetKeeper
from batch_watchdog.core.errors import MalformedEventError
from batch_watchdog.core.job_event import Time
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.guards.queue_updates import QueueUpdateRetrier
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.health.workflow import DailyCheck
from batch_watchdog.limits import exemption_items
from batch_watchdog.limits.decisions import LimitRecorder
from batch_watchdog.limits.workflow import LimitEnforcer
from batch_watchdog.measures.measures import Meter
from batch_watchdog.policy.loader import PolicyLoader
from batch_watchdog.policy.model import Policy
from batch_watchdog.rule_reports.workflow import WeeklyReport
from batch_watchdog.store import operator_hold, sweep_cursor
from batch_watchdog.store.reminders import minute_of
from batch_watchdog.store.table import Table
from batch_watchdog.use_cases import budget_watch
from batch_watchdog.use_cases.due_reminders import DueReminders
from batch_watchdog.use_cases.full_listing import FullListing
from batch_watchdog.use_cases.refiling import StayRefiler
from batch_watchdog.use_cases.sweep_measures import measures
from batch_watchdog.use_cases.sweep_overview import SweepOverview
from batch_watchdog.use_cases.sweep_progress import SweepProgress

_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


def time_of(event: object, now: datetime) -> datetime:
    """
    Return the time that the schedule's event is for, or `now` if that time lies in the future.

    A future time would be saved as the sweep's progress, and nothing would be due until then.

    Raises:
        MalformedEventError: the event has no time, or one without a zone.
    """
    match event:
        case {"time": str(text)}:
            with suppress(ValidationError):
                return min(_TIME.validate_python(text), now)
    raise MalformedEventError('a sweep expects {"time": "2026-01-01T12:00:00Z"}, by the schedule')


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """
    Does what is due, once a minute. `inquiry` makes a new diagnosis for each sweep, for its time.

    A sweep may run minutes after the time that it is for: `clock` returns the present time.
    """

    table: Table
    batch: BatchApi
    inquiry: Callable[[datetime], DiagnosisGatherer]
    policies: PolicyLoader
    clock: Callable[[], datetime]
    daily: DailyCheck
    meter: Meter | None = None

    def sweep(self, now: datetime, *, out_of_time: Callable[[], bool]) -> None:
        """
        Do everything that is due at `now`.

        What is not reached before the time is up stays due, and the next sweep continues there.

        Raises:
            ExceptionGroup: nothing could be decided about some jobs, arrays, queues, guards or
                actions. All else has been done, and these are due again soon.
        """
        minute, policy = minute_of(now), self.policies.settle(now)
        cursor = sweep_cursor.begin(self.table, minute)
        early = self._process_what_is_due(policy, out_of_time)
        progress = SweepProgress(table=self.table, cursor=cursor, clock=self.clock)
        limits, overview = self._limits(policy, now), SweepOverview(table=self.table, at=minute)
        budgets = BudgetKeeper(
            table=self.table,
            batch=self.batch,
            policy=policy,
            now=self.clock(),
            out_of_time=out_of_time,
        )
        runs = BudgetListing(
            table=self.table,
            batch=self.batch,
            policy=policy,
            now=self.clock(),
            out_of_time=out_of_time,
            failed=budgets.failed,
        )
        due = DueReminders(
            table=self.table,
            batch=self.batch,
            limits=limits,
            budgets=budgets,
            progress=progress,
            overview=overview,
            minute=minute,
            clock=self.clock,
            out_of_time=out_of_time,
        )
        stays = StayRefiler(
            table=self.table,
            limits=limits,
            progress=progress,
            minute=minute,
            out_of_time=out_of_time,
        )
        listing = FullListing(
            table=self.table,
            batch=self.batch,
            policy=policy,
            progress=progress,
            overview=overview,
            minute=minute,
            now=now,
            clock=self.clock,
            out_of_time=out_of_time,
        )
        all_done = due.process_all()
        at = self.clock()
        budget_watch.watch(
            BudgetAnnouncer(table=self.table, policy=policy, now=at, failed=budgets.failed),
            GuardUpdater(table=self.table, policy=policy, now=at),
        )
        if all_done:
            progress.cursor = progress.cursor.passed(minute, (), all_of_them=True)
            overview.keep_arrays()
            _take_turns([stays.go_on(), listing.go_on(), runs.go_on()], out_of_time)
            overview.keep_what_is_begun()
        all_seen = all_done and not progress.cursor.refiling
        due.failed += limits.recorder.tell_postponed(all_seen=all_seen)
        if progress.cursor != progress.before:
            progress.save()
        WeeklyReport(table=self.table, policy=policy, now=self.clock(), failed=due.failed).process()
        if not out_of_time():
            self.daily.process(policy, self.clock())
        if self.meter:
            swept = progress.cursor.minute
            self.meter(measures(self.table, policy, swept, overview.listed, self.clock()))
        failed = [*early, *due.failed, *listing.failed, *budgets.failed, *limits.failed.values()]
        if failed:
            raise ExceptionGroup("not all that was due could be decided", failed)

    def _process_what_is_due(
        self, policy: Policy, out_of_time: Callable[[], bool]
    ) -> list[Exception]:
        """
        Handle guards whose time has passed, actions without a result, and updates of queues.

        Returns the errors of what could not be decided.
        """
        guards = GuardUpdater(table=self.table, policy=policy, now=self.clock())
        failed = guards.time_passes()
        actions = UnfinishedActionChecker(table=self.table, policy=policy, now=self.clock())
        failed += actions.process(out_of_time)
        queues = QueueUpdateRetrier(
            table=self.table, batch=self.batch, policy=policy, now=self.clock()
        )
        return failed + queues.process(out_of_time)

    def _limits(self, policy: Policy, now: datetime) -> LimitEnforcer:
        held = operator_hold.read(self.table).is_on
        return LimitEnforcer(
            table=self.table,
            batch=self.batch,
            recorder=LimitRecorder(table=self.table, policy=policy, now=now, held=held),
            inquiry=self.inquiry(self.clock()),
            policy=policy,
            now=now,
            clock=self.clock,
            exempt=exemption_items.read_all(self.table, now),
            held=held,
        )


def _take_turns(work: Iterable[Iterator[bool]], out_of_time: Callable[[], bool]) -> None:
    """Do a slice of each in turn, until all are done or the time is up."""
    left = list(work)
    while left:
        for step in tuple(left):
            if out_of_time():
                return
            if not next(step, False):
                left.remove(step)
