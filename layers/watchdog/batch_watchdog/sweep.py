"""What time tells: once a minute, all that is due."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched

from batch_watchdog.array_watch import ArrayWatch
from batch_watchdog.batch_api import BatchApi
from batch_watchdog.policy import Policy
from batch_watchdog.recorder import Outcome, Recorder
from batch_watchdog.store import cursor as cursors
from batch_watchdog.store.arrays import Arrays
from batch_watchdog.store.table import Table
from batch_watchdog.store.wheel import MINUTE, Entry, Wheel, minute_of

_ENTRIES_MAX = 100  # seen to in one go
_ARRAYS_MAX = 500  # reminded of by one entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    table: Table
    batch: BatchApi
    policy: Callable[[], Policy]

    def sweep(self, now: datetime, *, out_of_time: Callable[[], bool]) -> None:
        """
        See to everything that is due at `now`.

        What is not reached before the time is up stays due, and the next sweep goes on there.
        """
        wheel = Wheel(self.table)
        cursor = cursors.read(self.table, minute_of(now))
        for minute in cursor.to_sweep(minute_of(now)):
            seen = cursor.seen.get(minute, frozenset())
            entries = [entry for entry in wheel.due(minute) if entry.key not in seen]
            done = self._see_to(entries, now, out_of_time)
            whole = len(done) == len(entries)
            cursor = cursor.passed(minute, [entry.key for entry in done], whole=whole)
            if not whole:
                break
        cursors.write(self.table, cursor)

    def _see_to(
        self, entries: Sequence[Entry], now: datetime, out_of_time: Callable[[], bool]
    ) -> list[Entry]:
        done: list[Entry] = []
        for some in batched(entries, _ENTRIES_MAX, strict=False):
            if out_of_time():
                break
            self._arrays({job_id for entry in some for job_id in entry.content}, now)
            done += some
        return done

    def _arrays(self, job_ids: set[str], now: datetime) -> None:
        heads = Arrays(self.table).heads(job_ids)
        waiting = sorted(job_id for job_id, array in heads.items() if not array.announced)
        details = self.batch.describe(waiting)
        watch = ArrayWatch(table=self.table, batch=self.batch, policy=self.policy())

        def decide(job_id: str) -> Outcome:
            return watch.ask(job_id, details.get(job_id), now)

        # First the reminders for the next minute, then the news: a crash in between repeats
        # the question, and the other order could lose it.
        for some in batched(waiting, _ARRAYS_MAX, strict=False):
            reminder = Entry(minute=minute_of(now) + MINUTE, kind="array", content=list(some))
            Wheel(self.table).file([reminder])
        Recorder(table=self.table, asked_by="sweep").decide(waiting, decide, now)
