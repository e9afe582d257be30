"""Track how far one sweep has come, and save it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.store import sweep_cursor
from batch_watchdog.store.sweep_cursor import Cursor
from batch_watchdog.store.table import Table

_UNSAVED_MAX = 500  # reminders handled since the cursor was saved
_UNSAVED_FOR = timedelta(seconds=5)
_TRIES = 5  # to write the cursor, against other sweeps


@dataclass(slots=True, kw_only=True)
class SweepProgress:
    """The cursor of one sweep, which another sweep may move at the same time."""

    table: Table
    cursor: Cursor
    clock: Callable[[], datetime]
    before: Cursor = field(init=False)  # as it was last read or written
    saved_at: datetime = field(init=False)
    unsaved: int = 0

    def __post_init__(self) -> None:
        self.before = self.cursor
        self.saved_at = self.clock()

    def moved(self, cursor: Cursor, reminders: int) -> None:
        """Move the cursor past this number of `reminders`; save it if much would be done again."""
        self.cursor = cursor
        self.unsaved += reminders
        if self.unsaved >= _UNSAVED_MAX or self.clock() - self.saved_at >= _UNSAVED_FOR:
            self.save()

    def save(self) -> None:
        """Save how far this sweep has come."""
        self.unsaved, self.saved_at = 0, self.clock()
        for _ in range(_TRIES):
            try:
                sweep_cursor.write(self.table, self.cursor)
            except StaleItemError:
                other = sweep_cursor.read(self.table, self.before.minute)
                self.cursor = self.cursor.joined(self.before, other)
                self.before = other
            else:
                self.before = self.cursor = replace(self.cursor, version=self.cursor.version + 1)
                return
