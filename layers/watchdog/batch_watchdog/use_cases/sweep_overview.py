"""Collect and save what a sweep finds about all jobs, for operators' pages. It decides nothing."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from batch_watchdog.arrays.progress import Array
from batch_watchdog.aws.batch import Detail
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.core.job_event import ENDED
from batch_watchdog.limits.stays import Stay
from batch_watchdog.overview import items
from batch_watchdog.overview.state import (
    LongWait,
    OpenArray,
    Waits,
    kept_arrays,
    with_waiting,
)
from batch_watchdog.store.table import Put, Table


@dataclass(slots=True, kw_only=True)
class SweepOverview:
    """
    Collects what one sweep for the minute `at` finds.

    `listed` has the waiting jobs by queue, if this sweep has come to the end of a listing.
    """

    table: Table
    at: datetime
    listed: Waits | None = None
    _arrays: dict[str, OpenArray] = field(default_factory=dict)
    _begun: Waits | None = None

    # ---- Arrays ---------------------------------------------------------------------------

    def see_arrays(self, heads: Mapping[str, Array], details: Mapping[str, Detail]) -> None:
        """Take in arrays that were known to be open, and their descriptions by AWS Batch."""
        for job_id, array in heads.items():
            detail = details.get(job_id, {})
            if array.announced or detail.get("status") in ENDED:
                continue
            counts = (detail.get("arrayProperties") or {}).get("statusSummary") or {}
            self._arrays[job_id] = OpenArray(
                job_id=job_id,
                job_name=array.job_name,
                queue=array.queue,
                first_at=array.first_at,
                size=array.size,
                counts={state: count for state, count in counts.items() if count},
            )

    def keep_arrays(self) -> None:
        """Save the arrays at work, once this sweep has handled all of them."""
        known = items.read_arrays(self.table)
        # A repeated sweep finds no reminders of the arrays that the first one has handled.
        if known and (known.at >= self.at or not (known.count or self._arrays)):
            return
        if known or self._arrays:
            seen = kept_arrays(self._arrays.values(), self.at)
            self._keep(items.put_arrays(replace(seen, version=known.version if known else 0)))

    # ---- What waits -----------------------------------------------------------------------

    def begin_listing(self, began_at: datetime) -> None:
        """Collect from the listing that began then; continue what an earlier sweep has saved."""
        kept = items.read_waits(self.table, "WAITS-BEGUN")
        if kept is None or kept.at != began_at:
            kept = Waits(at=began_at, version=kept.version if kept else 0)
        self._begun = kept

    def see_waiting(
        self,
        queue: str,
        summaries: Sequence[Detail],
        known: Mapping[tuple[str, str], Stay],
        now: datetime,
    ) -> None:
        """Take in a page of the listing, with jobs in RUNNABLE; `known` says since when."""
        if self._begun is None:
            return
        jobs = []
        for each in summaries:
            stay = known.get((each["jobId"], "RUNNABLE"))
            name = str(each.get("jobName") or "")
            since = min(stay.since, now) if stay else now
            jobs.append(LongWait(job_id=each["jobId"], job_name=name, since=since))
        self._begun = with_waiting(self._begun, queue, jobs, now)

    def keep_what_is_begun(self) -> None:
        """Save what an unfinished listing has shown, for the next sweep to continue."""
        if self._begun:
            self._keep(items.put_waits(self._begun, "WAITS-BEGUN"))

    def end_listing(self) -> None:
        """Save what the finished listing has shown."""
        if self._begun is None:
            return
        before = items.read_waits(self.table)
        version = before.version if before else 0
        self.listed = self._begun
        self._begun = None
        if before or self.listed.queues:
            self._keep(items.put_waits(replace(self.listed, version=version)))

    def _keep(self, put: Put) -> None:
        with suppress(StaleItemError):  # Another sweep has saved what it found in the same minute.
            self.table.write([put])
