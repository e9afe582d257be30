"""Check all stays again, and file them anew, after the policy has changed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import batched

from batch_watchdog.limits.workflow import LimitEnforcer
from batch_watchdog.store.reminders import LATEST_AFTER, MINUTE, Reminders
from batch_watchdog.store.sweep_cursor import Refiling
from batch_watchdog.store.table import Table
from batch_watchdog.use_cases.reminder_rows import SLICES, STAYS, Row, rows_of
from batch_watchdog.use_cases.sweep_progress import SweepProgress

_READ_AHEAD = timedelta(days=10)  # of reminders that are read at once


@dataclass(slots=True, kw_only=True)
class StayRefiler:
    """The stays that an older policy has filed for a time after `minute`."""

    table: Table
    limits: LimitEnforcer
    progress: SweepProgress
    minute: datetime
    out_of_time: Callable[[], bool]

    def go_on(self) -> Iterator[bool]:
        """Check and file them anew, a slice a step. Stays that await a stop are left alone."""
        progress, version = self.progress, self.limits.policy.version
        if not progress.cursor.policy:  # The first sweep ever.
            progress.cursor = replace(progress.cursor, policy=version)
        if progress.cursor.policy == version and not progress.cursor.refiling:
            return
        refiling = progress.cursor.refiling
        if refiling is None:
            refiling = Refiling(policy=version, minute=self.minute + MINUTE)
            progress.cursor = replace(progress.cursor, relist=True)
        while refiling.minute <= self.minute + LATEST_AFTER:
            end = self._first_of(refiling) + _READ_AHEAD
            for some in batched(self._ahead(refiling), SLICES["stay"], strict=False):
                done = self.limits.process([row.content for row in some], self.out_of_time)
                last = some[done - 1]
                refiling = replace(
                    refiling, minute=last.entry.minute, entry=last.entry.key, number=last.number
                )
                progress.moved(replace(progress.cursor, refiling=refiling), done)
                yield True
            refiling = Refiling(policy=refiling.policy, minute=end)
            progress.cursor = replace(progress.cursor, refiling=refiling)
            yield True
        progress.cursor = replace(progress.cursor, policy=refiling.policy, refiling=None)

    def _ahead(self, refiling: Refiling) -> list[Row]:
        """Return the next stays that are to be filed anew, in order."""
        first = self._first_of(refiling)
        entries = sorted(
            (
                entry
                for entry in Reminders(self.table).between(first, first + _READ_AHEAD)
                if entry.kind in STAYS and entry.policy != self.limits.policy.version
            ),
            key=lambda entry: (entry.minute, entry.key),
        )
        place = refiling.minute, refiling.entry, refiling.number
        return [
            row
            for entry in entries
            for row in rows_of(entry)
            if (entry.minute, entry.key, row.number) > place and not row.content.awaits_stop
        ]

    def _first_of(self, refiling: Refiling) -> datetime:
        """Return the first minute that may have stays left to be filed anew."""
        return max(refiling.minute, self.minute + MINUTE)
