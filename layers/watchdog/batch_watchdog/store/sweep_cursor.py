"""
How far the sweep has come: with what is due, with a new policy, and with listing all jobs.

It is kept as the work goes on, so that a sweep that is killed leaves what it has done.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from batch_watchdog.store.item_codec import pack, unpack
from batch_watchdog.store.reminders import Reminder
from batch_watchdog.store.table import Put, Table

# Who files for a minute that the sweep has just read is late by less than this: a function's
# time limit, and the difference between two clocks.
LOOKBACK = timedelta(minutes=3)

_KEY = ("SWEEP", "CURSOR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    How far a listing of all jobs has come: the page to be read next.

    It is a page of a queue's jobs in one state, and behind `token`, if there is one. Of the arrays
    on that page, those up to `parent` are done; where `child_status` is given, the children of
    `parent` are listed, in that state and behind `child_token`.
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

    `failed` says that some of them could not be listed.
    """

    began_at: datetime
    place: Place | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refiling:
    """
    The wheel is filed anew by a new policy, whose version this is.

    All entries before `minute` are done, those of that minute up to the key `entry`, and of this
    one so many stays.
    """

    policy: str
    minute: datetime
    entry: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """
    `minute` is the last one that was swept whole; `seen` are entries' keys by minute.

    Of an entry that has been seen to in part, `begun` says how much is done. `listed_at` is when
    the last listing of all jobs began, and `listing` the one that is under way; `relist` asks for
    another as soon as it is over. `listings_failed` counts the latest ones, in a row, that could
    not show all jobs. `policy` is the version by which the whole wheel is filed.
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
        """The first minute to read: the last few are read again, for latecomers."""
        return self.minute - LOOKBACK

    def has_seen(self, entry: Reminder) -> bool:
        return entry.key in self.seen.get(entry.minute, ())

    def done_of(self, entry: Reminder) -> int:
        """How much of an entry has been seen to."""
        return self.begun.get(entry.minute, {}).get(entry.key, 0)

    def passed(self, now: datetime, entries: Iterable[Reminder], *, all_of_them: bool) -> "Cursor":
        """
        The cursor after these entries have been seen to, or all that were due at `now`.

        It never goes back: a sweep may come late, after others for later minutes.
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
        """The cursor after so much of an entry has been seen to."""
        parts = {**self.begun.get(entry.minute, {}), entry.key: number}
        return replace(self, begun={**self.begun, entry.minute: parts})

    def joined(self, before: "Cursor", other: "Cursor") -> "Cursor":
        """
        This cursor, with what another sweep has done meanwhile.

        `before` is what both began with. What either of them has seen is seen. For the rest this
        one counts where it has moved: at worst, something is done twice, which does no harm.
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
    """The cursor; before the first sweep ever, one that has come to `now`."""
    item = table.get(*_KEY)
    if item is None:
        return Cursor(minute=now)
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def write(table: Table, cursor: Cursor) -> None:
    """
    Keep the cursor.

    Raises:
        StaleItemError: another sweep has moved it meanwhile.
    """
    dumped = _ADAPTER.dump_python(cursor, mode="json", exclude={"version"})
    pk, sk = _KEY
    table.write([Put({"pk": pk, "sk": sk, "body": pack(dumped)}, read=cursor.version)])
