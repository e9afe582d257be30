"""
Ask AWS Batch how the jobs ended that a stop run asked to stop.

A list that does not show a job any more does not prove how the job ended. It may have started
before its stop took effect, or have ended without it; and a job that was to be stopped on its
arrival may never have been asked to stop.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import batched, islice

from batch_watchdog.aws.batch import REASON_MAX, Detail
from batch_watchdog.core.errors import OutOfTimeError, ThrottledError
from batch_watchdog.core.job_event import ENDED, STARTED, array_child
from batch_watchdog.core.payload_parts import is_stop_accepted
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.stop_run import run as stop_run
from batch_watchdog.guards.stop_run.session import DESCRIBED_AT_ONCE, RunSession, RunStage
from batch_watchdog.guards.stop_run.stopping import FoundJobs, JobStopper
from batch_watchdog.guards.stop_run.tally import (
    ASKED_AFTER_MAX,
    SERVICE_ASKED_AFTER_MAX,
    Unsettled,
)

_MARKS = {"cancel": "isCancelled", "terminate": "isTerminated"}  # of an accepted stop
_LATE = timedelta(minutes=1)  # a stop on arrival may be written down this long after its own time


@dataclass(frozen=True, slots=True, kw_only=True)
class EndsReader:
    """Asks Batch how jobs ended, when a look is over."""

    session: RunSession
    stopper: JobStopper

    def settle(self, stage: RunStage) -> None:
        """Ask Batch how the jobs ended that were asked to stop, and write down what it shows."""
        table, run = self.session.table, self.session.run
        if run.settled_at and run.asked == run.settled:
            since = run.settled_at - _LATE
            if next(run_items.arrived(table, run.run_id, since), None) is None:
                return
        unsettled = Unsettled(run_items.found(table, run.run_id))
        found = FoundJobs()
        # If Batch throttles, or the time is up, the run goes on: the next look asks again.
        with suppress(OutOfTimeError, ThrottledError):
            jobs = unsettled.jobs[:ASKED_AFTER_MAX]
            for some in batched(jobs, DESCRIBED_AT_ONCE, strict=False):
                details = self.session.described(some, service=False)
                self._take_in_ends(details, unsettled, stage, found)
            for job_id in islice(unsettled.service, SERVICE_ASKED_AFTER_MAX):
                details = self.session.described([job_id], service=True)
                self._take_in_ends(details, unsettled, stage, found)
        over = {*found.escaped, *found.left, *found.over}
        if not {*unsettled.jobs, *unsettled.service} - over:
            self.session.run = replace(
                self.session.run, settled_at=run.looked_at, settled=run.asked
            )
        if not found.is_empty:
            self.stopper.write_down(found, stage, service=False)

    def _take_in_ends(
        self,
        details: Mapping[str, Detail],
        unsettled: Unsettled,
        stage: RunStage,
        found: FoundJobs,
    ) -> None:
        reason = stop_run.stop_reason(self.session.run.guard, stage.entry)[:REASON_MAX]
        for job_id, detail in details.items():
            if stop_run.is_array(detail):
                if job_id in unsettled.arrays:
                    self._take_in_array(detail, unsettled, stage, found)
                continue
            match stop_run.how_it_ended(detail, reason):
                case "stopped":
                    found.ended[job_id] = 1
                    found.over.append(job_id)
                case "escaped":
                    found.escaped.append(job_id)
                case None:
                    self._take_in_alive(job_id, detail, unsettled, stage, found)

    def _take_in_array(
        self, detail: Detail, unsettled: Unsettled, stage: RunStage, found: FoundJobs
    ) -> None:
        array_id = detail["jobId"]
        failed, is_over = stop_run.failed_children(detail), detail.get("status") in ENDED
        if failed is None:
            return
        accepted = is_stop_accepted(detail)
        there = 0 if is_over else stop_run.still_there(detail, stage.entry.stage)
        if there and not accepted:
            return  # It arrived, and was not asked to stop yet: the next look asks.
        if there:
            found.alive[array_id] = there
        if not accepted:
            failed = 0  # The array was never asked to stop: they failed for other reasons.
        elif failed and stage.entry.stage == "cancel":
            reason = stop_run.stop_reason(self.session.run.guard, stage.entry)[:REASON_MAX]
            children = self.session.patiently(
                partial(self.session.list_children, array_id, "FAILED")
            )
            failed = sum(stop_run.failed_waiting(child, reason) for child in children)
        else:
            failed = max(0, failed - unsettled.failed_before.get(array_id, 0))
        if failed != unsettled.arrays[array_id]:
            found.ended[array_id] = failed
        if is_over:
            found.over.append(array_id)

    @staticmethod
    def _take_in_alive(
        job_id: str, detail: Detail, unsettled: Unsettled, stage: RunStage, found: FoundJobs
    ) -> None:
        action = stage.entry.stage
        if action == "cancel" and detail.get("status") in STARTED:
            if detail.get("isTerminated"):  # A service job can only be terminated.
                found.alive[job_id] = 1
            else:
                found.left.append(job_id)
            return
        child = array_child(job_id)
        is_of_stopped_array = child is not None and child[0] in unsettled.arrays
        if detail.get(_MARKS[action]) and not is_of_stopped_array:
            found.alive[job_id] = 1  # A list may not show it yet.
