"""List all jobs of all queues every 15 minutes, to find those that no event has reported."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.limits import stay_items
from batch_watchdog.limits.discovery import Discovery, JobFiler
from batch_watchdog.limits.stays import Stay
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.reminders import LATEST_AFTER, Reminders
from batch_watchdog.store.sweep_cursor import Cursor, Listing
from batch_watchdog.store.table import Table
from batch_watchdog.use_cases.reminder_rows import STAYS
from batch_watchdog.use_cases.sweep_overview import SweepOverview
from batch_watchdog.use_cases.sweep_progress import SweepProgress

_LISTED_EVERY = timedelta(minutes=15)
_REPEATED_AFTER = tuple(timedelta(minutes=each) for each in (1, 2, 4, 8))  # where some failed
_OF_A_PAGE = 100  # reminders: as much work as a page of jobs, most of which are known


@dataclass(slots=True, kw_only=True)
class FullListing:
    """The part of a listing that the sweep of `minute` does. `failed` gets its errors."""

    table: Table
    batch: BatchApi
    policy: Policy
    progress: SweepProgress
    overview: SweepOverview
    minute: datetime
    now: datetime
    clock: Callable[[], datetime]
    out_of_time: Callable[[], bool]
    failed: list[Exception] = field(default_factory=list)

    def go_on(self) -> Iterator[bool]:
        """Continue the listing of all jobs, a page at each step; begin a new one when due."""
        progress = self.progress
        cursor = progress.cursor
        listing = cursor.listing
        if listing is None:
            listed_at = None if cursor.relist else cursor.listed_at
            if listed_at and self.now < listed_at + _again_in(cursor.listings_failed):
                return
            listing = Listing(began_at=self.now)
            progress.cursor = replace(cursor, listing=listing, listed_at=self.now, relist=False)
        self.overview.begin_listing(listing.began_at)
        filer = JobFiler(
            table=self.table,
            batch=self.batch,
            policy=self.policy,
            clock=self.clock,
            known=self._known(),
            out_of_time=self.out_of_time,
            failed=self.failed,
        )
        discovery = Discovery(filer=filer, waiting=self.overview.see_waiting)
        for place in discovery.go_on(listing.place):
            listing = replace(listing, place=place, failed=listing.failed or bool(self.failed))
            if place is None:
                self.overview.end_listing()
            progress.moved(_moved(progress.cursor, listing), _OF_A_PAGE)
            yield True

    def _known(self) -> dict[tuple[str, str], Stay]:
        """Return the stays in the wheel, by job and state; of several the latest."""
        known: dict[tuple[str, str], Stay] = {}
        first, last = self.progress.cursor.first, self.minute + LATEST_AFTER
        for entry in Reminders(self.table).between(first, last):
            if entry.kind in STAYS and not self.progress.cursor.has_seen(entry):
                for stay in stay_items.read(unpack(entry.content)):
                    other = known.setdefault((stay.job_id, stay.status), stay)
                    if _latest(stay) > _latest(other):
                        known[stay.job_id, stay.status] = stay
        return known


def _moved(cursor: Cursor, listing: Listing) -> Cursor:
    """Return the cursor after a page of a listing; the listing is over if it has no place left."""
    if listing.place:
        return replace(cursor, listing=listing)
    failed = cursor.listings_failed + 1 if listing.failed else 0
    return replace(cursor, listing=None, listings_failed=failed)


def _again_in(failed: int) -> timedelta:
    """
    Return the time from one listing to the next, after `failed` incomplete ones in a row.

    An error may pass soon. But each listing covers all queues, so the interval grows with each.
    """
    return _REPEATED_AFTER[failed - 1] if 0 < failed <= len(_REPEATED_AFTER) else _LISTED_EVERY


def _latest(stay: Stay) -> tuple[int, datetime]:
    return stay.attempts, stay.since
