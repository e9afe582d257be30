"""What a sweep sees of all jobs on its way, kept for operators to look at. It decides nothing."""

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
    Collects what one sweep for the minute `at` sees.

    `listed` has what waits by queue, where this sweep has come to the end of a listing.
    """

    table: Table
    at: datetime
    listed: Waits | None = None
    _arrays: dict[str, OpenArray] = field(default_factory=dict)
    _begun: Waits | None = None

    # ---- Arrays ---------------------------------------------------------------------------

    def see_arrays(self, heads: Mapping[str, Array], details: Mapping[str, Detail]) -> None:
        """These arrays were known to be open, and AWS Batch described them so."""
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
        """Keep the arrays at work, where this sweep has seen to all of them."""
        known = items.read_arrays(self.table)
        # A sweep that is repeated finds no reminders of what the first one has seen.
        if known and (known.at >= self.at or not (known.count or self._arrays)):
            return
        if known or self._arrays:
            seen = kept_arrays(self._arrays.values(), self.at)
            self._keep(items.put_arrays(replace(seen, version=known.version if known else 0)))

    # ---- What waits -----------------------------------------------------------------------

    def begin_listing(self, began_at: datetime) -> None:
        """A listing of all jobs that began then goes on."""
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
        """A page of the listing shows jobs in RUNNABLE; `known` says since when they are."""
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
        """Keep what a listing has shown that is not over, for the next sweep to go on with."""
        if self._begun:
            self._keep(items.put_waits(self._begun, "WAITS-BEGUN"))

    def end_listing(self) -> None:
        """Keep what the listing has shown that is over."""
        if self._begun is None:
            return
        before = items.read_waits(self.table)
        version = before.version if before else 0
        self.listed = self._begun
        self._begun = None
        if before or self.listed.queues:
            self._keep(items.put_waits(replace(self.listed, version=version)))

    def _keep(self, put: Put) -> None:
        with suppress(StaleItemError):  # Another sweep has kept what it saw in the same minute.
            self.table.write([put])
