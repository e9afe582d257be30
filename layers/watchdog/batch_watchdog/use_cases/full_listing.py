"""List all jobs of all queues every 15 minutes, for those of which no event told."""

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
from batch_watchdog.store.sweep_cursor import Listing
from batch_watchdog.store.table import Table
from batch_watchdog.use_cases.reminder_rows import STAYS
from batch_watchdog.use_cases.sweep_progress import SweepProgress

_LISTED_EVERY = timedelta(minutes=15)
_OF_A_PAGE = 100  # reminders that are as much work as a page of jobs most of which are known


@dataclass(slots=True, kw_only=True)
class FullListing:
    """The listing as it goes on in the sweep of `minute`. `failed` gets what went wrong."""

    table: Table
    batch: BatchApi
    policy: Policy
    progress: SweepProgress
    minute: datetime
    now: datetime
    clock: Callable[[], datetime]
    out_of_time: Callable[[], bool]
    failed: list[Exception] = field(default_factory=list)

    def go_on(self) -> Iterator[bool]:
        """Go on with listing all jobs, a page at each step, or begin anew when it is time."""
        progress = self.progress
        cursor = progress.cursor
        listing = cursor.listing
        if listing is None:
            listed_at = None if cursor.relist else cursor.listed_at
            if listed_at and self.now < listed_at + _LISTED_EVERY:
                return
            listing = Listing(began_at=self.now)
            progress.cursor = replace(cursor, listing=listing, listed_at=self.now, relist=False)
        filer = JobFiler(
            table=self.table,
            batch=self.batch,
            policy=self.policy,
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
        first, last = self.progress.cursor.first, self.minute + LATEST_AFTER
        for entry in Reminders(self.table).between(first, last):
            if entry.kind in STAYS and not self.progress.cursor.has_seen(entry):
                for stay in stay_items.read(unpack(entry.content)):
                    other = known.setdefault((stay.job_id, stay.status), stay)
                    if _latest(stay) > _latest(other):
                        known[stay.job_id, stay.status] = stay
        return known


def _latest(stay: Stay) -> tuple[int, datetime]:
    return stay.attempts, stay.since
