"""
How far the sweep has come: with due reminders, with a new policy, and with listing all jobs.

The cursor is written as the work goes on, so that a sweep that is killed keeps what it has done.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.store.item_codec import pack, unpack
from batch_watchdog.store.reminders import Reminder
from batch_watchdog.store.table import Put, Table

# A reminder that is filed for a minute after the sweep has read it is late by less than this: a
# function's time limit, and the difference between two clocks.
LOOKBACK = timedelta(minutes=3)

_KEY = ("SWEEP", "CURSOR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    How far a listing of all jobs has come: the page to be read next.

    It is a page of a queue's jobs in one state; `token` leads to it, unless it is the first. Of the
    arrays on that page, those up to `parent` are done; but where `child_status` is given, the
    children of `parent` are being listed, in that state, and `child_token` leads to their next
    page.
    """

    queue: str
    service: bool
    status: str
    token: str | None = None
    parent: str = ""
    child_status: str = ""
    child_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """
    A listing of all jobs that has begun; `place` is None before its first page.

    `failed` says that some of the jobs could not be listed.
    """

    began_at: datetime
    place: Place | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refiling:
    """
    How far the stays on the wheel have been filed anew by a new policy, whose version is `policy`.

    All entries before `minute` are done, those of that minute before the key `entry`, and the first
    `number` stays of this entry.
    """

    policy: str
    minute: datetime
    entry: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """
    How far the sweep has come.

    `minute` is the last one of which all reminders have been handled; `seen` has by minute the keys
    of the entries that have been handled. For an entry that has been handled in part, `begun` says
    how many of its reminders are done. `listed_at` is when the last listing of all jobs began, and
    `listing` is the one that is under way; `relist` asks for another as soon as it is over.
    `listings_failed` counts the latest listings, in a row, that could not show all jobs. `policy`
    is the version by which the whole wheel is filed.
    """

    minute: datetime
    seen: Mapping[datetime, frozenset[str]] = field(default_factory=dict)
    begun: Mapping[datetime, Mapping[str, int]] = field(default_factory=dict)
    listed_at: datetime | None = None
    listing: Listing | None = None
    relist: bool = False
    listings_failed: int = 0
    policy: str = ""
    refiling: Refiling | None = None
    version: int = 0

    @property
    def first(self) -> datetime:
        """
        The first minute to read: the last few are read again, for reminders that were filed late.
        """
        return self.minute - LOOKBACK

    def has_seen(self, entry: Reminder) -> bool:
        return entry.key in self.seen.get(entry.minute, ())

    def done_of(self, entry: Reminder) -> int:
        """Return how many of an entry's reminders have been handled."""
        return self.begun.get(entry.minute, {}).get(entry.key, 0)

    def passed(self, now: datetime, entries: Iterable[Reminder], *, all_of_them: bool) -> "Cursor":
        """
        Return the cursor after these entries have been handled, or all that were due at `now`.

        It never goes back: a sweep may run late, after others for later minutes.
        """
        minute = max(now, self.minute) if all_of_them else self.minute
        seen = {at: set(keys) for at, keys in self.seen.items()}
        for entry in entries:
            seen.setdefault(entry.minute, set()).add(entry.key)
        return replace(
            self,
            minute=minute,
            seen={at: frozenset(keys) for at, keys in seen.items() if at >= minute - LOOKBACK},
            begun={
                at: left
                for at, parts in self.begun.items()
                if at >= minute - LOOKBACK
                and (left := {k: n for k, n in parts.items() if k not in seen.get(at, ())})
            },
        )

    def came_to(self, entry: Reminder, number: int) -> "Cursor":
        """Return the cursor after the first `number` reminders of an entry."""
        parts = {**self.begun.get(entry.minute, {}), entry.key: number}
        return replace(self, begun={**self.begun, entry.minute: parts})

    def joined(self, before: "Cursor", other: "Cursor") -> "Cursor":
        """
        Return this cursor, with what another sweep has done meanwhile.

        `before` is what both began with. An entry that either of them has handled counts as
        handled. For the rest, this cursor counts where it has moved: at worst, something is done
        twice, which does no harm.
        """
        seen = {
            at: self.seen.get(at, frozenset()) | other.seen.get(at, frozenset())
            for at in {*self.seen, *other.seen}
        }
        begun = {
            at: {**other.begun.get(at, {}), **self.begun.get(at, {})}
            for at in {*self.begun, *other.begun}
        }
        moved = {
            name: getattr(self, name)
            for name in (
                "listed_at",
                "listing",
                "relist",
                "listings_failed",
                "policy",
                "refiling",
            )
            if getattr(self, name) != getattr(before, name)
        }
        both = replace(other, seen=seen, begun=begun, **moved)
        return both.passed(self.minute, (), all_of_them=True)


_ADAPTER = TypeAdapter(Cursor)


def read(table: Table, now: datetime) -> Cursor:
    """Read the cursor; before the first sweep ever, one that has come to `now`."""
    item = table.get(*_KEY)
    if item is None:
        return Cursor(minute=now)
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def begin(table: Table, now: datetime) -> Cursor:
    """
    Read the cursor, to go on from it. Before the first sweep ever, write one that has come to
    `now`.

    So even if the first sweeps are killed, those after them read what was due at the first.
    """
    cursor = read(table, now)
    if cursor.version:
        return cursor
    with suppress(StaleItemError):  # Another sweep is the first one.
        write(table, cursor)
    return read(table, now)


def write(table: Table, cursor: Cursor) -> None:
    """
    Write the cursor.

    Raises:
        StaleItemError: another sweep has moved it meanwhile.
    """
    dumped = _ADAPTER.dump_python(cursor, mode="json", exclude={"version"})
    pk, sk = _KEY
    table.write([Put({"pk": pk, "sk": sk, "body": pack(dumped)}, read=cursor.version)])
