"""What time tells: once a minute, all that is due."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import batched

from pydantic import TypeAdapter, ValidationError

from batch_watchdog import blocked_watch
from batch_watchdog.array_watch import ArrayWatch, reminder
from batch_watchdog.batch_api import BatchApi
from batch_watchdog.blocked_watch import BlockedWatch
from batch_watchdog.changes import Time
from batch_watchdog.errors import MalformedEventError, StaleItemError
from batch_watchdog.guard_watch import GuardWatch
from batch_watchdog.inquiry import Inquiry
from batch_watchdog.limit_watch import LimitWatch
from batch_watchdog.policies import Policies
from batch_watchdog.policy import Policy
from batch_watchdog.recorder import Outcome, Recorder
from batch_watchdog.store import cursor as cursors
from batch_watchdog.store import exemptions, operator_hold, stays
from batch_watchdog.store.arrays import Arrays
from batch_watchdog.store.cursor import Cursor
from batch_watchdog.store.table import Table, unpack
from batch_watchdog.store.wheel import MINUTE, Entry, Kind, Wheel, minute_of

_KINDS: Sequence[Kind] = ("stay", "array", "blocked")  # in the order in which they are seen to
_ENTRIES_MAX = 50  # seen to in one go, between two looks at the time that is left
_ARRAYS_MAX = 500  # reminded of by one entry
_LISTED_EVERY = timedelta(minutes=15)
_FAR = timedelta(days=60)  # ahead of the latest reminder; a limit is at most 30 days


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """
    What is due, once a minute. `inquiry` makes a new one for each sweep.

    A sweep may run minutes after the time that it is for: `clock` says what time it is.
    """

    table: Table
    batch: BatchApi
    inquiry: Callable[[], Inquiry]
    policies: Policies
    clock: Callable[[], datetime]

    def sweep(self, now: datetime, *, out_of_time: Callable[[], bool]) -> None:
        """
        See to everything that is due at `now`.

        What is not reached before the time is up stays due, and the next sweep goes on there.

        Raises:
            ExceptionGroup: nothing could be decided about some jobs, arrays or queues. All else has
                been seen to, and these are due again in the next minute.
        """
        minute, policy, inquiry = minute_of(now), self.policies.settle(now), self.inquiry()
        GuardWatch(table=self.table, policy=policy, now=self.clock()).time_passes()
        cursor = cursors.read(self.table, minute)
        limits = LimitWatch(
            table=self.table,
            batch=self.batch,
            inquiry=inquiry,
            policy=policy,
            now=now,
            clock=self.clock,
            exempt=exemptions.read_all(self.table, now),
            held=operator_hold.read(self.table).is_on,
        )
        due = self._due(cursor, minute)
        seen_to: list[Entry] = []
        failed: list[Exception] = []
        for kind in _KINDS:
            for some in batched(due[kind], _ENTRIES_MAX, strict=False):
                if out_of_time():
                    break
                failed += self._see_to(kind, some, limits)
                seen_to += some
        all_of_them = len(seen_to) == sum(map(len, due.values()))
        cursor = cursor.passed(minute, seen_to, all_of_them=all_of_them)
        if all_of_them and not out_of_time():
            cursor = self._look_around(cursor, limits, policy, now)
        with suppress(StaleItemError):  # Another sweep saw to the same, and goes on from here.
            cursors.write(self.table, cursor)
        failed += limits.failed.values()
        if failed:
            raise ExceptionGroup("not all that was due could be decided", failed)

    def _due(self, cursor: Cursor, minute: datetime) -> dict[Kind, list[Entry]]:
        due: dict[Kind, list[Entry]] = defaultdict(list)
        for entry in Wheel(self.table).between(cursor.first, minute):
            if not cursor.has_seen(entry):
                due[entry.kind].append(entry)
        return due

    def _see_to(
        self, kind: Kind, entries: Iterable[Entry], limits: LimitWatch
    ) -> Sequence[Exception]:
        """See to entries; return why nothing could be decided about some of them."""
        contents = [unpack(entry.content) for entry in entries]
        match kind:
            case "stay":
                limits.see_to(stay for rows in contents for stay in stays.read(rows))
                return ()
            case "array":
                job_ids = {job_id for ids in contents for job_id in ids}
                return self._arrays(job_ids, limits.policy, limits.now)
            case "blocked":
                return self._blocked(set(contents), limits.inquiry, limits.now)

    def _arrays(self, job_ids: set[str], policy: Policy, now: datetime) -> Sequence[Exception]:
        heads = Arrays(self.table).heads(job_ids)
        open_ids = sorted(job_id for job_id, array in heads.items() if not array.announced)
        details = self.batch.describe(open_ids)
        watch = ArrayWatch(table=self.table, batch=self.batch, policy=policy)

        def decide(job_id: str) -> Outcome:
            return watch.ask(job_id, details.get(job_id), now)

        # First the reminders for the next minute, then the news: a crash in between repeats
        # the question, and the other order could lose it.
        for some in batched(open_ids, _ARRAYS_MAX, strict=False):
            Wheel(self.table).file([reminder(some, now)])
        try:
            Recorder(table=self.table, asked_by="sweep").decide(open_ids, decide, now)
        except ExceptionGroup as group:
            return group.exceptions
        return ()

    def _blocked(self, queues: set[str], inquiry: Inquiry, now: datetime) -> Sequence[Exception]:
        watch = BlockedWatch(table=self.table, batch=self.batch, inquiry=inquiry, now=now)
        try:
            Recorder(table=self.table, asked_by="sweep").decide(sorted(queues), watch.ask, now)
        except ExceptionGroup as group:
            again = minute_of(now) + MINUTE
            Wheel(self.table).file(blocked_watch.reminder(queue, again) for queue in sorted(queues))
            return group.exceptions
        return ()

    def _look_around(
        self, cursor: Cursor, limits: LimitWatch, policy: Policy, now: datetime
    ) -> Cursor:
        """See to what no reminder brings: a new policy, and jobs that no event told of."""
        is_new = cursor.policy != policy.version
        if not is_new and cursor.listed_at and now < cursor.listed_at + _LISTED_EVERY:
            return cursor
        ahead = [
            stay
            for entry in Wheel(self.table).between(minute_of(now), now + _FAR)
            if entry.kind == "stay"
            for stay in stays.read(unpack(entry.content))
        ]
        if is_new and cursor.policy:
            # A stop is given its time.
            limits.see_to(stay for stay in ahead if not stay.awaits_stop)
        limits.find(ahead)
        return replace(cursor, listed_at=now, policy=policy.version)
