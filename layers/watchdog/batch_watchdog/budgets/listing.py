"""
Find runs that no job event has reported: list the running jobs and the new ones every 15 minutes.

A running job that is not believed to run is described and counted. So is a new job that has ended,
if its end was not counted: neither of its events arrived. For arrays at work, the children are
listed. If a budget has just begun to count, all running jobs count as unknown, and all jobs of its
period as new, as far as Batch still shows them.

The listing is read page by page, and continues where it stopped.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import batched

from batch_watchdog.aws.batch import DESCRIBE_MAX, BatchApi, Detail, kinds_of
from batch_watchdog.budgets import items, listing_items
from batch_watchdog.budgets.arrivals import counting, facts_of
from batch_watchdog.budgets.counting import BudgetCounter
from batch_watchdog.budgets.facts import Fact, latest
from batch_watchdog.budgets.ledger_items import Ledger
from batch_watchdog.budgets.listing_items import Listing, Part
from batch_watchdog.budgets.periods import period_of, to_ms
from batch_watchdog.budgets.runs import lacks_its_runs, unnumbered
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.core.job_event import ENDED, from_millis
from batch_watchdog.core.payload_parts import shows
from batch_watchdog.policy.child_tags import TaggedJobs
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.store.table import Table

_NAMED_BY = ("jobName", "jobQueue")
_MS = timedelta(milliseconds=1)
_EVERY = timedelta(minutes=15)
_AGAIN = timedelta(minutes=15)  # how much two listings of new jobs overlap
_SHOWN_FOR = timedelta(days=7)  # by Batch, after a job has ended
_ATTEMPTS = 10
_KEPT_EACH = 20  # pages between two writes of the progress
_ARRAYS_MAX = 1_000  # at work, which are listed once more after they have ended

type _Page = tuple[Sequence[Detail], str | None]


@dataclass(slots=True, kw_only=True)
class BudgetListing:
    """The listing for the budgets of a policy, as one sweep continues it."""

    table: Table
    batch: BatchApi
    policy: Policy
    now: datetime
    out_of_time: Callable[[], bool]
    failed: list[Exception] = field(default_factory=list)
    _believed: frozenset[tuple[str, int]] | None = None
    _arrays: dict[str, Detail | None] = field(default_factory=dict)  # whose tags are known

    def go_on(self) -> Iterator[bool]:
        """Continue the listing, or begin a new one if it is due. Yields after each page."""
        if not self.policy.budget:
            return
        before = listing_items.read(self.table)
        try:
            listing = self._begun(before)
        except ITEM_ERRORS as error:  # The next sweep tries again.
            self.failed.append(error)
            return
        pages = 0
        while listing.parts:
            part, *left = listing.parts
            try:
                more = self._read(part, listing)
            except ITEM_ERRORS as error:  # The next listing will show what this one has not.
                self.failed.append(error)
                more = []
            arrays = listing.arrays
            if part.what == "at work":
                found = [each.array for each in more if each.what == "children" and each.array]
                arrays = tuple(dict.fromkeys([*arrays, *found]))[:_ARRAYS_MAX]
            listing = replace(listing, parts=(*more, *left), arrays=arrays)
            pages += 1
            if not listing.parts or pages % _KEPT_EACH == 0 or self.out_of_time():
                try:
                    listing = replace(listing, version=listing_items.write(self.table, listing))
                except StaleItemError:
                    return  # Another sweep continues it.
            yield True

    def _begun(self, before: Listing | None) -> Listing:
        """Return the listing that is under way, else a new one if it is due, else the last one."""
        if before and before.parts:
            return before
        states = items.read_all(self.table).values()
        began_at = before.began_at if before else 0
        anew = [state for state in states if state.use.since > began_at]
        if before and not anew and to_ms(self.now) < began_at + _EVERY // _MS:
            return before
        since = began_at - _AGAIN // _MS if before else to_ms(self.now - _AGAIN)
        for state in anew:
            if budget := self.policy.budget_named(state.budget):
                since = min(since, period_of(budget, state.use.day).begins)
        since = max(since, to_ms(self.now - _SHOWN_FOR))
        parts = [*_parts(self.batch.queues(), self.policy)]
        # Arrays that were at work the last time may have ended since: list them once more.
        for array in before.arrays if before else ():
            parts += [Part(what="children", array=array, status=status) for status in sorted(ENDED)]
        return Listing(
            began_at=to_ms(self.now),
            since=since,
            parts=tuple(parts),
            anew=bool(anew),
            version=before.version if before else 0,
        )

    # ---- One page -------------------------------------------------------------------------

    def _read(self, part: Part, listing: Listing) -> list[Part]:
        """Read one page, and count what is not known. Return what is still to be listed for it."""
        summaries, token = self._page(part, listing)
        parents = [each for each in summaries if _is_array(each)]
        jobs = [each for each in summaries if not _is_array(each)]
        self._take_in(jobs, part, anew=listing.anew)
        more: list[Part] = []
        for parent in parents:
            # Running children are listed only for arrays at work.
            states = ("RUNNING",) if part.what == "at work" else ()
            states = (*states, *sorted(ENDED))
            more += [
                Part(what="children", array=parent["jobId"], queue=part.queue, status=status)
                for status in states
            ]
        return [*more, replace(part, token=token)] if token else more

    def _page(self, part: Part, listing: Listing) -> _Page:
        queue, token, service = part.queue, part.token, part.service
        match part.what:
            case "children":
                return self.batch.page_of_children(part.array, part.status, token)
            case "new":
                return self.batch.page_of_new(queue, listing.since, token, service=service)
            case "at work":
                return self.batch.page(queue, "PENDING", token, service=service)
            case _:
                return self.batch.page(queue, "RUNNING", token, service=service)

    def _take_in(self, summaries: Sequence[Detail], part: Part, *, anew: bool) -> None:
        if self._believed is None:
            self._believed = _believed_runs(items.believed(self.table, self.now))
        believed = frozenset() if anew else self._believed
        unknown = [
            each["jobId"]
            for each in summaries
            if each.get("status") == "RUNNING" and not _is_believed(each, believed)
        ]
        unknown += self._ended_unseen([each for each in summaries if each.get("status") in ENDED])
        facts = [
            fact
            for some in batched(unknown, DESCRIBE_MAX, strict=False)
            for fact in self._facts(some, service=part.service)
        ]
        counter = BudgetCounter(
            table=self.table, policy=self.policy, now=self.now, failed=self.failed
        )
        counter.count(latest(facts))

    def _facts(self, job_ids: Iterable[str], *, service: bool) -> Iterator[Fact]:
        jobs = TaggedJobs(self.batch.describe, self._arrays)
        describe = self.batch.describe_service if service else jobs.described
        for detail in describe(job_ids).values():
            try:
                job = event_from_detail(detail, self.now)
            except ITEM_ERRORS as error:
                self.failed.append(error)
                continue
            if not shows(detail, _NAMED_BY) or lacks_its_runs(detail):
                continue  # It could be counted for the wrong budgets, or twice.
            if budgets := counting(self.policy, job):
                yield from facts_of(job, detail, budgets)

    def _ended_unseen(self, summaries: Sequence[Detail]) -> list[str]:
        """Return the jobs that have ended, and whose end some budget may not have counted."""
        ends = {
            each["jobId"]: (to_ms(start), to_ms(stop))
            for each in summaries
            if (stop := from_millis(each.get("stoppedAt")))
            and (start := from_millis(each.get("startedAt")))
        }
        if not ends:
            return []
        known = [
            _counted(Ledger(self.table, (each.name, each.counting)), ends)
            for each in self.policy.budget
        ]
        return [job_id for job_id in ends if not all(job_id in some for some in known)]


def _parts(queues: Iterable[Detail], policy: Policy) -> Iterator[Part]:
    """Yield what is to be listed of the queues that budgets match."""
    for queue in queues:
        arn = queue["jobQueueArn"]
        if any(each.match.matches_queue(arn) for each in policy.budget):
            for service in kinds_of(queue):
                for what in ("running", "new") if service else ("running", "at work", "new"):
                    yield Part(what=what, queue=arn, service=service)


def _believed_runs(facts: Iterable[Fact]) -> frozenset[tuple[str, int]]:
    """Return the runs by job and start. A guessed start is 0."""
    runs = (fact.run for fact in facts if fact.run.start)
    return frozenset((run.job_id, 0 if run.guessed else run.start) for run in runs)


def _is_believed(summary: Detail, believed: frozenset[tuple[str, int]]) -> bool:
    """Whether the run that a summary shows is believed to go on, not an earlier one of its job."""
    job_id, start = summary["jobId"], from_millis(summary.get("startedAt"))
    return (job_id, 0) in believed or (start is not None and (job_id, to_ms(start)) in believed)


def _counted(ledger: Ledger, ends: Mapping[str, tuple[int, int]]) -> set[str]:
    """Return the jobs whose end was counted. `ends` has, by job, when it began and ended."""
    ledger.read(("E", stop) for _, stop in ends.values())
    return {
        job_id
        for job_id, (start, stop) in ends.items()
        for attempt in (*range(_ATTEMPTS), unnumbered(start))
        if ledger.knows("E", stop, job_id, attempt)
    }


def _is_array(summary: Detail) -> bool:
    return bool((summary.get("arrayProperties") or {}).get("size"))
