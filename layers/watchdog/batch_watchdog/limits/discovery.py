"""
List all jobs, to find those that are under a limit and whose events were not received.

The list is read a page at a time. Only jobs without a reminder are described. A reminder is then
filed for each of them, even if nothing limits the job, so that no job is described in each listing.

A retry whose events were lost looks like the stay before it. If a summary shows that the job has
run since, the job is described. If a page shows few jobs, all of them are described, within a few
calls a sweep. Any other such retry shows when the reminder of the stay before it comes due.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import batched

from batch_watchdog.aws.batch import DESCRIBE_MAX, BatchApi, Detail, kinds_of
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.job_event import JobEvent, from_millis
from batch_watchdog.limits import stay_items, stays
from batch_watchdog.limits.decisions import is_whole
from batch_watchdog.limits.stays import UNLIMITED_AGAIN, Stay
from batch_watchdog.policy.child_tags import TaggedJobs
from batch_watchdog.policy.model import LIMITED, Policy
from batch_watchdog.store import reminders as reminder_items
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.store.sweep_cursor import Place
from batch_watchdog.store.table import Table

_SPARE_CALLS = 10  # of one sweep, for jobs that have a reminder
_SAME = timedelta(minutes=1)  # Two clocks may differ, and events have whole seconds.


# Called with a page of jobs in RUNNABLE: their queue, their summaries, the stays that are known by
# job and state, and the time.
type Waiting = Callable[[str, Sequence[Detail], Mapping[tuple[str, str], Stay], datetime], object]
type _Page = tuple[Sequence[Detail], str | None]  # summaries, and the token of the next page


@dataclass(slots=True, kw_only=True)
class JobFiler:
    """
    Files reminders of jobs that a list shows.

    `known` are the stays that are filed, by job and state; of several the latest. `clock` returns
    the current time: a job that is found has waited at least since the answer that showed it.
    `failed` has the errors of queues and jobs that could not be read, and `arrays` the arrays
    whose tags have been read.
    """

    table: Table
    batch: BatchApi
    policy: Policy
    clock: Callable[[], datetime]
    known: Mapping[tuple[str, str], Stay]
    out_of_time: Callable[[], bool]
    failed: list[Exception] = field(default_factory=list)
    spare_calls: int = _SPARE_CALLS
    arrays: dict[str, Detail | None] = field(default_factory=dict)

    def file(self, summaries: Sequence[Detail], *, service: bool) -> bool:
        """File reminders of jobs that have none; return whether there was time for all of them."""
        jobs = [each for each in summaries if not _is_array(each)]
        unknown = [each["jobId"] for each in jobs if not self._is_known(each)]
        calls = len(jobs) if service else 1
        if 0 < len(jobs) <= DESCRIBE_MAX and calls <= self.spare_calls:
            unknown = [each["jobId"] for each in jobs]
            self.spare_calls -= calls
        jobs_shown = TaggedJobs(self.batch.describe, self.arrays)
        describe = self.batch.describe_service if service else jobs_shown.described
        found: list[tuple[datetime, Stay]] = []
        done = 0
        for some in batched(unknown, 1 if service else DESCRIBE_MAX, strict=False):
            if done and self.out_of_time():
                break
            try:
                found += self._begun(describe(some).values())
            except ITEM_ERRORS as error:
                self.failed.append(error)
            done += len(some)
        due = stay_items.entries(found, self.clock(), policy=self.policy.version)
        reminder_items.Reminders(self.table).file(due)
        return done == len(unknown)

    def _is_known(self, summary: Detail) -> bool:
        stay = self.known.get((summary["jobId"], summary["status"]))
        if stay is None:
            return False
        # A job that has run since then waits, or runs, in another attempt.
        times = (from_millis(summary.get(name)) for name in ("startedAt", "stoppedAt"))
        return all(time is None or time <= stay.since + _SAME for time in times)

    def _begun(self, details: Iterable[Detail]) -> Iterator[tuple[datetime, Stay]]:
        """Yield the stays of jobs that were just described, each with its first check's time."""
        now = self.clock()
        for detail in details:
            try:
                job = event_from_detail(detail, now)
            except ITEM_ERRORS as error:
                self.failed.append(error)
                continue
            stay = self.known.get((job.job_id, job.status))
            if (
                stay
                and stays.lasts(stay, job)
                and stay.since == stays.proven_since(stay.since, job)
            ):
                continue
            shows_all = job.status in LIMITED and is_whole(detail)
            unlimited_after = UNLIMITED_AGAIN if shows_all else None
            job = replace(job, at=_since(job, detail, now))
            begun = stays.begin(job, self.policy, now, unlimited_after)
            if begun:
                yield begun


@dataclass(slots=True, kw_only=True)
class Discovery:
    """
    The part of a listing of all jobs that one sweep reads; `filer` files reminders of the jobs.

    `waiting` is called with each page of jobs in RUNNABLE, after the page is filed.
    """

    filer: JobFiler
    waiting: Waiting = lambda *_: None
    _queue_page: tuple[Place, _Page] | None = None  # the one that was read last

    def go_on(self, place: Place | None) -> Iterator[Place | None]:
        """
        Read on from a place, or from the first page, and file reminders of jobs that have none.

        Yields:
            The place of the next page, after each page that was read; None after the last one. It
            ends early if the time is up in the middle of a page.
        """
        try:
            places = self._listings(place)
        except ITEM_ERRORS as error:
            self.filer.failed.append(error)
            return
        if not places:
            yield None
        for number, first in enumerate(places, 1):
            here: Place | None = first
            while here:
                try:
                    there = self._read(here)
                except ITEM_ERRORS as error:
                    self.filer.failed.append(error)
                    # All other listings go on.
                    there = _after_array(here) if here.child_status else None
                if there == here:
                    return
                here = there
                yield here or next(iter(places[number:]), None)

    def _listings(self, place: Place | None) -> list[Place]:
        """Return where to begin each listing that is left, from a place on."""
        names = sorted(
            (queue["jobQueueArn"], service, status)
            for queue in self.filer.batch.queues()
            for service in kinds_of(queue)
            for status in self._listed(service=service)
        )
        places = [
            Place(queue=queue, service=service, status=each) for queue, service, each in names
        ]
        if place is None:
            return places
        left = [each for each in places if _order(each) > _order(place)]
        # The queue of `place` may be gone, or its state may no longer be limited.
        return [place, *left] if _order(place) in map(_order, places) else left

    def _listed(self, *, service: bool) -> list[str]:
        """Return the states to list: the limited ones, and PENDING, the state of arrays at work."""
        limited = self._limited(service=service)
        return limited if service or "PENDING" in limited else [*limited, "PENDING"]

    def _limited(self, *, service: bool) -> list[str]:
        # RUNNABLE is always listed: a job's own tag may limit it where no rule does.
        return [
            status
            for status in LIMITED
            if (service or status != "SCHEDULED")
            and (status == "RUNNABLE" or self.filer.policy.has_limits(status))
        ]

    def _read(self, place: Place) -> Place | None:
        """
        Read one page, and file reminders of its jobs.

        Returns:
            The next place of the same listing, if there is one; the same place if the time was up
            before all jobs were filed.
        """
        if place.child_status:
            return self._read_children(place)
        summaries, token = self._page_at(place)
        is_limited = place.status in self._limited(service=place.service)
        if (
            is_limited
            and not place.parent
            and not self.filer.file(summaries, service=place.service)
        ):
            return place
        if place.status == "RUNNABLE" and not place.parent:
            self._report_waiting(place, summaries)
        # A queue's list may lack the children of its arrays, so these are listed on their own.
        parents = [each["jobId"] for each in summaries if _is_array(each)]
        parent = min((each for each in parents if each > place.parent), default=None)
        if parent and not place.service:
            return replace(place, parent=parent, child_status=self._limited(service=False)[0])
        return replace(place, token=token, parent="") if token else None

    def _report_waiting(self, place: Place, summaries: Sequence[Detail]) -> None:
        jobs = [each for each in summaries if not _is_array(each)]
        self.waiting(place.queue, jobs, self.filer.known, self.filer.clock())

    def _page_at(self, place: Place) -> _Page:
        at = replace(place, parent="")
        if self._queue_page is None or self._queue_page[0] != at:
            page = self.filer.batch.page(
                place.queue, place.status, place.token, service=place.service
            )
            self._queue_page = at, page
        return self._queue_page[1]

    def _read_children(self, place: Place) -> Place | None:
        page = self.filer.batch.page_of_children(
            place.parent, place.child_status, place.child_token
        )
        summaries, token = page
        if not self.filer.file(summaries, service=False):
            return place
        if place.child_status == "RUNNABLE":
            self._report_waiting(place, summaries)
        if token:
            return replace(place, child_token=token)
        states = self._limited(service=False)
        at = states.index(place.child_status) if place.child_status in states else len(states)
        later = states[at + 1 :]
        if later:
            return replace(place, child_status=later[0], child_token=None)
        return _after_array(place)


def _order(place: Place) -> tuple[str, bool, str]:
    return place.queue, place.service, place.status


def _after_array(place: Place) -> Place:
    return replace(place, child_status="", child_token=None)


def _is_array(summary: Detail) -> bool:
    return bool((summary.get("arrayProperties") or {}).get("size"))


def _since(job: JobEvent, detail: Detail, now: datetime) -> datetime:
    """Return since when a job is certainly in its state: a time that Batch shows, or `now`."""
    name = {"SUBMITTED": "createdAt", "RUNNING": "startedAt"}.get(job.status, "")
    proven = from_millis(detail.get(name))
    if proven is None or (job.status == "RUNNING" and proven != job.not_before):
        return now
    return min(proven, now)
