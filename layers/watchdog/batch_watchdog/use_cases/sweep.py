"""
The sweep: once a minute, do all that is due.

All long work goes in slices. After each slice the time that is left is asked for, and where much
has been done the cursor is written, so that a sweep that ends early, or is killed, leaves what it
has done.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import batched
from typing import Any

from pydantic import TypeAdapter, ValidationError

from batch_watchdog.actions.unfinished import UnfinishedActionChecker
from batch_watchdog.arrays.items import Arrays
from batch_watchdog.arrays.workflow import ArrayTracker, reminder
from batch_watchdog.aws.batch import DESCRIBE_MAX, BatchApi, Detail
from batch_watchdog.blocked_queues import workflow as blocked_workflow
from batch_watchdog.blocked_queues.workflow import BlockedQueueChecker
from batch_watchdog.budgets.listing import BudgetListing
from batch_watchdog.budgets.telling import BudgetTeller
from batch_watchdog.budgets.workflow import BudgetKeeper
from batch_watchdog.core.errors import MalformedEventError
from batch_watchdog.core.job_event import Time
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.failed_jobs import items as chain_items
from batch_watchdog.failed_jobs.workflow import FailureChainReporter
from batch_watchdog.guards.queue_updates import QueueUpdateRetrier
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.health.workflow import DailyCheck
from batch_watchdog.limits import exemption_items, stay_items
from batch_watchdog.limits.discovery import Discovery, JobFiler
from batch_watchdog.limits.stays import Stay
from batch_watchdog.limits.workflow import LimitEnforcer
from batch_watchdog.policy.loader import PolicyLoader
from batch_watchdog.rule_reports.workflow import FollowUp, WeeklyReport
from batch_watchdog.store import operator_hold, sweep_cursor
from batch_watchdog.store.decisions import ITEM_ERRORS, Outcome, Recorder
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.reminders import MINUTE, Kind, Reminder, Reminders, minute_of
from batch_watchdog.store.sweep_cursor import Listing, Refiling
from batch_watchdog.store.table import Table
from batch_watchdog.threads import workflow as threads
from batch_watchdog.use_cases import budget_watch
from batch_watchdog.use_cases.sweep_progress import SweepProgress

# In the order in which they are seen to within a minute, and how many at a time.
_SLICES: Mapping[Kind, int] = {
    "use": 1_000,
    "run": 200,
    "stay": 1_000,
    "held": 1_000,
    "braked": 1_000,
    "followed": 1,  # Each is up to 2,000 jobs.
    "array": 500,
    "blocked": 50,
    "chain": 2_000,  # What belongs together is announced together.
    "thread": 50,
}
_STAYS = ("stay", "held", "braked")
_LISTED_EVERY = timedelta(minutes=15)
_READ_AHEAD = timedelta(days=1)  # of reminders, with one query
_FAR = timedelta(days=60)  # ahead of the latest reminder; a limit is at most 30 days
_OF_A_PAGE = 100  # reminders that are as much work as a page of jobs most of which are known


_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


def time_of(event: object, now: datetime) -> datetime:
    """
    The minute that the schedule's event is for; `now`, if that is still to come.

    A time to come would be kept as how far the sweep has come, and nothing would be due until then.

    Raises:
        MalformedEventError: it has no time, or one without a zone.
    """
    match event:
        case {"time": str(text)}:
            with suppress(ValidationError):
                return min(_TIME.validate_python(text), now)
    raise MalformedEventError('a sweep expects {"time": "2026-01-01T12:00:00Z"}, by the schedule')
    # Another try comes with the next slice.


@dataclass(frozen=True, slots=True)
class _Row:
    """One reminder in an entry: its number, and whether it is the last one."""

    entry: Reminder
    number: int
    is_last: bool
    content: Any


@dataclass(slots=True, kw_only=True)
class _Sweep:
    """One sweep for the minute `minute`, which is at work at `limits.now`."""

    table: Table
    batch: BatchApi
    limits: LimitEnforcer
    budgets: BudgetKeeper
    runs: BudgetListing
    progress: SweepProgress
    minute: datetime
    clock: Callable[[], datetime]
    out_of_time: Callable[[], bool]
    failed: list[Exception] = field(default_factory=list)

    # ---- What is due ----------------------------------------------------------------------

    def see_to_what_is_due(self) -> bool:
        """See to the entries that are due, the oldest first; return whether these are all done."""
        due: dict[datetime, dict[Kind, list[Reminder]]] = defaultdict(lambda: defaultdict(list))
        for entry in Reminders(self.table).between(self.progress.cursor.first, self.minute):
            if not self.progress.cursor.has_seen(entry):
                due[entry.minute][entry.kind].append(entry)
        for minute, by_kind in sorted(due.items()):
            for kind, most in _SLICES.items():
                if not self._see_to_entries(kind, by_kind[kind], most):
                    return False
            cursor = self.progress.cursor
            if minute > cursor.minute:
                self.progress.cursor = cursor.passed(minute, (), all_of_them=True)
        return True

    def _see_to_entries(self, kind: Kind, entries: Iterable[Reminder], most: int) -> bool:
        for some in batched(self._rows(entries), most, strict=False):
            done = self._see_to(kind, [row.content for row in some])
            cursor = self.progress.cursor
            seen = [row.entry for row in some[:done] if row.is_last]
            cursor = cursor.passed(cursor.minute, seen, all_of_them=False)
            if not some[done - 1].is_last:
                cursor = cursor.came_to(some[done - 1].entry, some[done - 1].number)
            self.progress.moved(cursor, done)
            if self.out_of_time():
                return False
        return True

    def _rows(self, entries: Iterable[Reminder]) -> Iterator[_Row]:
        """What is left to be seen to of the entries."""
        for entry in entries:
            if self.limits.recorder.wait_on(entry):
                cursor = self.progress.cursor
                self.progress.cursor = cursor.passed(cursor.minute, [entry], all_of_them=False)
            else:
                done = self.progress.cursor.done_of(entry)
                yield from (row for row in _rows_of(entry) if row.number > done)

    def _see_to(self, kind: Kind, contents: Sequence[Any]) -> int:
        """See to reminders of one kind; return how many, from the first on, are done."""
        match kind:
            case "array":
                self._see_to_arrays(contents)
            case "blocked":
                self._see_to_blocked(contents)
            case "chain":
                FailureChainReporter(
                    table=self.table,
                    batch=self.batch,
                    policy=self.limits.policy,
                    now=self.limits.now,
                ).see_to(contents)
            case "use":
                self.budgets.count(contents)
            case "run":
                self.budgets.look_at(contents)
            case "followed":
                FollowUp(
                    table=self.table, batch=self.batch, now=self.limits.now, failed=self.failed
                ).see_to(contents)
            case "thread":
                threads.close_windows(self.table, [key for key, _ in contents], self.limits.now)
            case _:
                return self.limits.see_to(contents, self.out_of_time)
        return len(contents)

    def _see_to_arrays(self, job_ids: Iterable[str]) -> None:
        heads = Arrays(self.table).heads(job_ids)
        open_ids = sorted(job_id for job_id, array in heads.items() if not array.announced)
        if not open_ids:
            return
        now = self.limits.now
        watch = ArrayTracker(
            table=self.table,
            batch=self.batch,
            policy=self.limits.policy,
            held=self.limits.held,
        )
        # First the reminders for the next minute, then the news: a crash in between repeats
        # the question, and the other order could lose it.
        Reminders(self.table).file([reminder(open_ids, now)])
        details: dict[str, Detail] = {}
        asked: list[str] = []
        for some in batched(open_ids, DESCRIBE_MAX, strict=False):
            if asked and self.out_of_time():
                break
            try:
                details |= self.batch.describe(some)
            except ITEM_ERRORS as error:
                self.failed.append(error)
            else:
                asked += some
        # What an answer shows is known since it came, and not since the minute of the sweep.
        answered_at = self.clock()

        def decide(job_id: str) -> Outcome:
            if job_id != asked[0] and self.out_of_time():
                return Outcome()  # It has its reminder.
            return watch.ask(job_id, details.get(job_id), answered_at)

        written = Recorder(table=self.table, asked_by="sweep").write_each(asked, decide, now)
        self.failed += written.failed.values()

    def _see_to_blocked(self, queues: Iterable[str]) -> None:
        now, some = self.clock(), sorted(set(queues))
        watch = BlockedQueueChecker(
            table=self.table,
            batch=self.batch,
            inquiry=self.limits.inquiry,
            policy=self.limits.policy,
            now=now,
        )
        left: set[str] = set()

        def decide(queue: str) -> Outcome:
            if queue != some[0] and self.out_of_time():
                left.add(queue)
                return Outcome()
            return watch.ask(queue)

        written = Recorder(table=self.table, asked_by="sweep").write_each(some, decide, now)
        self.failed += written.failed.values()
        again = sorted({*left, *written.failed, *written.lost})
        at = minute_of(now) + MINUTE
        Reminders(self.table).file(blocked_workflow.reminder(queue, at) for queue in again)

    # ---- What no reminder brings ----------------------------------------------------------

    def look_around(self) -> None:
        """See to a new policy, and to jobs that no event told of: a slice of each in turn."""
        steps = [self._file_anew(), self._list_all(), self.runs.go_on()]
        while steps:
            for step in tuple(steps):
                if self.out_of_time():
                    return
                if not next(step, False):
                    steps.remove(step)

    def _file_anew(self) -> Iterator[bool]:
        """Have all stays looked at that an older policy has filed. A stop is given its time."""
        progress, version = self.progress, self.limits.policy.version
        if not progress.cursor.policy:  # The first sweep ever.
            progress.cursor = replace(progress.cursor, policy=version)
        if progress.cursor.policy == version and not progress.cursor.refiling:
            return
        refiling = progress.cursor.refiling
        if refiling is None:
            refiling = Refiling(policy=version, minute=self.minute + MINUTE)
            progress.cursor = replace(progress.cursor, relist=True)
        while refiling.minute <= self.minute + _FAR:
            for some in batched(self._ahead(refiling), _SLICES["stay"], strict=False):
                done = self.limits.see_to([row.content for row in some], self.out_of_time)
                last = some[done - 1]
                refiling = replace(
                    refiling, minute=last.entry.minute, entry=last.entry.key, number=last.number
                )
                progress.moved(replace(progress.cursor, refiling=refiling), done)
                yield True
            minute = refiling.minute + _READ_AHEAD
            refiling = Refiling(policy=refiling.policy, minute=minute)
            progress.cursor = replace(progress.cursor, refiling=refiling)
            yield True
        progress.cursor = replace(progress.cursor, policy=refiling.policy, refiling=None)

    def _ahead(self, refiling: Refiling) -> list[_Row]:
        """The next stays that are to be filed anew, in their order."""
        first = max(refiling.minute, self.minute + MINUTE)
        entries = sorted(
            (
                entry
                for entry in Reminders(self.table).between(first, first + _READ_AHEAD)
                if entry.kind in _STAYS and entry.policy != self.limits.policy.version
            ),
            key=lambda entry: (entry.minute, entry.key),
        )
        place = refiling.minute, refiling.entry, refiling.number
        return [
            row
            for entry in entries
            for row in _rows_of(entry)
            if (entry.minute, entry.key, row.number) > place and not row.content.awaits_stop
        ]

    def _list_all(self) -> Iterator[bool]:
        """Go on with listing all jobs, or begin anew when it is time."""
        progress, now = self.progress, self.limits.now
        cursor = progress.cursor
        listing = cursor.listing
        if listing is None:
            listed_at = None if cursor.relist else cursor.listed_at
            if listed_at and now < listed_at + _LISTED_EVERY:
                return
            listing = Listing(began_at=now)
            progress.cursor = replace(cursor, listing=listing, listed_at=now, relist=False)
        filer = JobFiler(
            table=self.table,
            batch=self.batch,
            policy=self.limits.policy,
            clock=self.clock,
            known=self._known(),
            out_of_time=self.out_of_time,
        )
        for place in Discovery(filer=filer).go_on(listing.place):
            now_at = replace(listing, place=place) if place else None
            progress.moved(replace(progress.cursor, listing=now_at), _OF_A_PAGE)
            yield True
        if filer.failed:
            self.failed += filer.failed
            progress.cursor = replace(progress.cursor, relist=True)

    def _known(self) -> dict[tuple[str, str], Stay]:
        """The stays in the wheel, by job and state; of several the latest."""
        known: dict[tuple[str, str], Stay] = {}
        for entry in Reminders(self.table).between(self.progress.cursor.first, self.minute + _FAR):
            if entry.kind in _STAYS and not self.progress.cursor.has_seen(entry):
                for stay in stay_items.read(unpack(entry.content)):
                    other = known.setdefault((stay.job_id, stay.status), stay)
                    if _latest(stay) > _latest(other):
                        known[stay.job_id, stay.status] = stay
        return known


def _latest(stay: Stay) -> tuple[int, datetime]:
    return stay.attempts, stay.since


def _rows_of(entry: Reminder) -> list[_Row]:
    content = unpack(entry.content)
    match entry.kind:
        case "array" | "use" | "run" | "followed":
            rows = content
        case "blocked" | "thread":
            rows = [content]
        case "chain":
            rows = list(chain_items.read(content))
        case _:
            rows = list(stay_items.read(content))
    return [_Row(entry, number, number == len(rows), row) for number, row in enumerate(rows, 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """
    What is due, once a minute. `inquiry` makes a new one for each sweep, for its time.

    A sweep may run minutes after the time that it is for: `clock` says what time it is.
    """

    table: Table
    batch: BatchApi
    inquiry: Callable[[datetime], DiagnosisGatherer]
    policies: PolicyLoader
    clock: Callable[[], datetime]
    daily: DailyCheck

    def sweep(self, now: datetime, *, out_of_time: Callable[[], bool]) -> None:
        """
        See to everything that is due at `now`.

        What is not reached before the time is up stays due, and the next sweep goes on there.

        Raises:
            ExceptionGroup: nothing could be decided about some jobs, arrays or queues. All else has
                been seen to, and these are due again in the next minute.
        """
        minute, policy = minute_of(now), self.policies.settle(now)
        GuardUpdater(table=self.table, policy=policy, now=self.clock()).time_passes()
        UnfinishedActionChecker(table=self.table, policy=policy, now=self.clock()).see_to(
            out_of_time
        )
        QueueUpdateRetrier(
            table=self.table, batch=self.batch, policy=policy, now=self.clock()
        ).see_to(out_of_time)
        progress = SweepProgress(
            table=self.table, cursor=sweep_cursor.read(self.table, minute), clock=self.clock
        )
        limits = LimitEnforcer(
            table=self.table,
            batch=self.batch,
            inquiry=self.inquiry(self.clock()),
            policy=policy,
            now=now,
            clock=self.clock,
            exempt=exemption_items.read_all(self.table, now),
            held=operator_hold.read(self.table).is_on,
        )
        budgets = BudgetKeeper(table=self.table, batch=self.batch, policy=policy, now=self.clock())
        sweep = _Sweep(
            table=self.table,
            batch=self.batch,
            limits=limits,
            budgets=budgets,
            runs=BudgetListing(
                table=self.table,
                batch=self.batch,
                policy=policy,
                now=self.clock(),
                out_of_time=out_of_time,
                failed=budgets.failed,
            ),
            progress=progress,
            minute=minute,
            clock=self.clock,
            out_of_time=out_of_time,
        )
        done = sweep.see_to_what_is_due()
        at = self.clock()
        budget_watch.watch(
            BudgetTeller(table=self.table, policy=policy, now=at, failed=budgets.failed),
            GuardUpdater(table=self.table, policy=policy, now=at),
        )
        if done:
            progress.cursor = progress.cursor.passed(minute, (), all_of_them=True)
            sweep.look_around()
        if progress.cursor != progress.before:
            progress.save()
        WeeklyReport(
            table=self.table, policy=policy, now=self.clock(), failed=sweep.failed
        ).see_to()
        if not out_of_time():
            self.daily.see_to(policy, self.clock())
        failed = [*sweep.failed, *budgets.failed, *limits.failed.values()]
        if failed:
            raise ExceptionGroup("not all that was due could be decided", failed)
