"""Read the lists of a stop run's queues, page by page, and judge the jobs on them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from botocore.exceptions import ClientError

from batch_watchdog.aws.batch import STOP_MAX, Detail
from batch_watchdog.core.job_event import ENDED, STARTED, WAITING, array_child
from batch_watchdog.core.payload_parts import shows
from batch_watchdog.guards.stop_run import run as stop_run
from batch_watchdog.guards.stop_run.listed import Listed, as_listed, named_by, needs_tags
from batch_watchdog.guards.stop_run.run import Listing
from batch_watchdog.guards.stop_run.session import RunSession, RunStage
from batch_watchdog.guards.stop_run.stopping import FoundJobs, JobStopper

_CHUNK_MAX = 1_100  # jobs to stop: a page, and what is carried over; an id takes 20 bytes


@dataclass(slots=True, kw_only=True)
class PageReader:
    """
    Reads pages, and stops the jobs on them in full calls; the jobs left over are carried on.

    `carried_at` has when the jobs in the run's `carry` were judged. If it has no time, an earlier
    invocation judged them.
    """

    session: RunSession
    stopper: JobStopper
    carried_at: dict[bool, datetime] = field(default_factory=dict)

    def read(self, listing: Listing, stage: RunStage) -> None:
        """Read one page of a list, judge the jobs on it, and stop those that must be stopped."""
        now = self.session.now
        page, token = self._page(listing, self.session.run.token)
        summaries = [each for each in page if not _is_part(each["jobId"])]
        carried = self.session.run.carry.get(listing.service, ())
        judged_at = self.carried_at.pop(listing.service, None) if carried else now
        found = FoundJobs(stop=list(carried), judged_at=judged_at)
        for job, summary in self._with_tags(summaries, listing, stage, found):
            self._judge(job, summary, listing.status, stage, found)
            while len(found.stop) >= _CHUNK_MAX:
                # The carried jobs are written down here. The rest of the page is not judged yet:
                # if the invocation ends here, the next one reads the page again.
                self.session.run = replace(
                    self.session.run, carry={**self.session.run.carry, listing.service: ()}
                )
                self.stopper.write_down(_cut(found, _CHUNK_MAX), stage, service=listing.service)
        if stop_run.must_be_sure(self.session.run):
            self._make_sure(found, stage, service=listing.service)
        full = _cut(found, len(found.stop) - len(found.stop) % STOP_MAX)
        if found.stop and found.judged_at:
            self.carried_at[listing.service] = found.judged_at
        self.session.run = replace(
            self.session.run,
            place=self.session.run.place if token else self.session.run.place + 1,
            token=token,
            carry={**self.session.run.carry, listing.service: tuple(found.stop)},
        )
        self.stopper.write_down(full, stage, service=listing.service)

    def _page(self, listing: Listing, token: str | None) -> tuple[Sequence[Detail], str | None]:
        batch, service = self.session.batch, listing.service
        page = partial(batch.page, listing.queue, listing.status, token, service=service)
        try:
            return self.session.patiently(page)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ClientException":
                raise
        # With a token: it has expired, and the list is read from the start. Without one: the
        # queue is gone, or does not hold jobs of this kind.
        return self._page(listing, None) if token else ((), None)

    def _with_tags(
        self, summaries: Sequence[Detail], listing: Listing, stage: RunStage, found: FoundJobs
    ) -> Iterator[tuple[Listed, Detail]]:
        """
        Yield the jobs with all parts that decide about them, and their summaries.

        A job of which these parts are not known is left out. Unless it is known to have ended, it
        is still there, whether it was asked to stop or not: `found` gets it as alive.
        """
        jobs = {each["jobId"]: as_listed(each, listing.queue) for each in summaries}
        names = named_by(stage.rule, service=listing.service)
        needing = [
            each["jobId"]
            for each in summaries
            if not shows(each, names)
            or needs_tags(stage.rule, jobs[each["jobId"]], listing.status, stage.entry.stage)
        ]
        known = self.session.described(needing, service=listing.service)
        # A missing part might spare the job: the next look asks again.
        clear = {
            job_id: as_listed(detail, listing.queue)
            for job_id, detail in known.items()
            if shows(detail, ("tags", *names))
        }
        unclear = set(needing) - clear.keys()
        for summary in summaries:
            job_id = summary["jobId"]
            if job_id not in unclear:
                yield clear.get(job_id, jobs[job_id]), summary
            elif known.get(job_id, {}).get("status") not in ENDED:
                found.alive[job_id] = 1

    def _judge(
        self, job: Listed, summary: Detail, status: str, stage: RunStage, found: FoundJobs
    ) -> None:
        job_id, action = summary["jobId"], stage.entry.stage
        verdict = stop_run.judge(stage.rule, job, summary, status, action)
        match verdict:
            case "stop children" | "asked":
                if there := stop_run.still_there(summary, action):
                    found.alive[job_id] = there
                    counts = stop_run.children(summary)
                    if counts and action == "cancel":
                        found.arrays[job_id] = counts  # The started ones were not cancelled.
                if verdict == "stop children":
                    found.stop += self._children(job, summary, stage)
            case "stop" | "left" | "spared":
                found.take_in(summary, verdict)

    def _make_sure(self, found: FoundJobs, stage: RunStage, *, service: bool) -> None:
        """
        Describe the jobs that a list shows although their stop was accepted: the list may be out of
        date.
        """
        for job_id, detail in self.session.described(list(found.alive), service=service).items():
            status = str(detail.get("status"))
            if status not in ENDED:
                if stop_run.is_array(detail):
                    found.alive[job_id] = stop_run.still_there(detail, stage.entry.stage)
                continue
            del found.alive[job_id]
            if status == "SUCCEEDED" and not stop_run.is_array(detail):
                found.escaped.append(job_id)

    def _children(self, job: Listed, array: Detail, stage: RunStage) -> Iterator[str]:
        """Yield the children of an array that its stop has not reached."""
        counts: Mapping[str, int] = array["arrayProperties"].get("statusSummary") or {}
        for status in (*WAITING, *STARTED):
            if counts.get(status):
                read = partial(self.session.list_children, array["jobId"], status)
                for child in self.session.patiently(read):
                    if stop_run.judge(stage.rule, job, child, status, stage.entry.stage) == "stop":
                        yield child["jobId"]

    def stop_carried(self) -> None:
        """Stop the jobs that were carried over, after all pages have been read."""
        for service, ids in sorted(self.session.run.carry.items()):
            carry = {**self.session.run.carry, service: ()}
            self.session.run = replace(self.session.run, carry=carry)
            found = FoundJobs(stop=list(ids), judged_at=self.carried_at.pop(service, None))
            self.stopper.write_down(found, self.session.stage(), service=service)


def _is_part(job_id: str) -> bool:
    """Whether this is an array's child or a node: the whole job is judged and stopped instead."""
    return "#" in job_id or array_child(job_id) is not None


def _cut(found: FoundJobs, count: int) -> FoundJobs:
    """Take out everything that was found, except the jobs to stop beyond the first `count`."""
    cut = replace(found, stop=found.stop[:count])
    del found.stop[:count]
    found.left, found.spared, found.escaped = [], [], []
    found.arrays, found.failed_before, found.alive = {}, {}, {}
    return cut
