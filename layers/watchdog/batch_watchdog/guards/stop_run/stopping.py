"""
Write down what a stop run found, and stop the jobs.

Ids are written down before any of the jobs is stopped, and the result after. So the next invocation
goes on where this one ended, whether it ended in good order or not.

Each stop is decided immediately before its call: the guard, the policy and the hold are read, and
jobs that were judged too long ago, or by another invocation, are described and judged again.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from batch_watchdog.aws.batch import PASSING, REASON_MAX, STOP_MAX, Detail
from batch_watchdog.core.errors import HeldBackError, OutOfTimeError, StaleItemError, ThrottledError
from batch_watchdog.core.job_event import ENDED
from batch_watchdog.core.payload_parts import shows
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.stop_run import run as stop_run
from batch_watchdog.guards.stop_run.listed import as_listed, named_by
from batch_watchdog.guards.stop_run.run import Chunk
from batch_watchdog.guards.stop_run.session import DESCRIBED_AT_ONCE, RunSession, RunStage

_SERVICE_JOBS_AT_ONCE = 10  # judged again; each takes a call
_ROUNDS = 5  # for jobs whose stop was throttled or failed on Batch's side
_PAGES_MAX = 10  # that are read again, at most, after an invocation dies


class _OutdatedError(Exception):
    """The jobs were judged too long ago, or by another policy."""


@dataclass(slots=True, kw_only=True)
class FoundJobs:
    """
    Jobs that are to be written down next: those to stop, and others.

    The jobs to stop were judged at `judged_at`, or later; None if the time is not known.
    """

    judged_at: datetime | None = None
    stop: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    arrays: dict[str, tuple[int, int]] = field(default_factory=dict)
    failed_before: dict[str, int] = field(default_factory=dict)
    escaped: list[str] = field(default_factory=list)
    alive: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    over: list[str] = field(default_factory=list)

    def take_in(self, summary: Detail, verdict: Literal["stop", "left", "spared"]) -> None:
        """Add a job by its verdict; of an array, also the counts of its children."""
        by_verdict = {"stop": self.stop, "left": self.left, "spared": self.spared}
        by_verdict[verdict].append(summary["jobId"])
        if counts := stop_run.children(summary):
            self.arrays[summary["jobId"]] = counts
            self.failed_before[summary["jobId"]] = stop_run.failed_children(summary) or 0

    @property
    def is_empty(self) -> bool:
        not_stopped = self.left or self.spared or self.escaped or self.alive
        return not (self.stop or self.arrays or not_stopped or self.ended or self.over)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """
    The chunk's jobs before the index `upto` were judged, at this time, by this version of the
    policy.
    """

    upto: int
    at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStopper:
    """Stops the jobs that a run finds, after they are written down."""

    session: RunSession

    def write_down(self, found: FoundJobs, stage: RunStage, *, service: bool) -> None:
        """Write down what was found, and how far the run has come; then stop the jobs."""
        if found.is_empty:
            self.session.unwritten += (
                1  # The run is written with the next chunk, or after more pages.
            )
            if self.session.unwritten >= _PAGES_MAX:
                self.session.save()
            return
        chunk = Chunk(
            number=self.session.run.chunks,
            at=self.session.now,
            how=stage.entry.stage,
            reason=stop_run.stop_reason(self.session.run.guard, stage.entry),
            rule=f'guard "{self.session.run.guard}"',
            service=service,
            stop=tuple(dict.fromkeys(found.stop)),
            left=tuple(found.left),
            spared=tuple(found.spared),
            arrays=found.arrays,
            failed_before=found.failed_before,
            escaped=tuple(found.escaped),
            alive=found.alive,
            ended=found.ended,
            over=tuple(found.over),
            # In observe mode, a job that would be stopped counts as stopped.
            asked=len(found.stop) if self.session.run.observing else 0,
        )
        must_stop = bool(chunk.stop) and not self.session.run.observing
        self.session.run = replace(
            self.session.run,
            chunks=self.session.run.chunks + 1,
            pending=must_stop,
            alive=self.session.run.alive + len(chunk.alive),
        )
        self.session.save(chunk)
        if must_stop:
            # A service job cannot be cancelled: what has begun since it was listed would end.
            may_end_it = service and stage.entry.stage == "cancel"
            self.stop_chunk(replace(chunk, version=1), None if may_end_it else found.judged_at)

    def last_chunk(self) -> Chunk:
        number = self.session.run.chunks - 1
        chunk = run_items.read_chunk(self.session.table, self.session.run.run_id, number)
        if chunk is None:  # It is written together with the run's head, which counts it.
            raise StaleItemError(f"{self.session.run.run_id}: chunk {number} is gone")
        return chunk

    def stop_chunk(self, chunk: Chunk, judged_at: datetime | None) -> None:
        """
        Stop the jobs of a chunk, from the first that was not asked to stop yet; write down the
        result.
        """
        judged = _Judged(
            upto=len(chunk.stop) if judged_at else chunk.asked,
            at=judged_at or self.session.now,
            by=self.session.run.policy,
        )
        tries: Counter[str] = Counter()
        try:
            while chunk.asked < len(chunk.stop):
                if chunk.asked >= judged.upto:
                    chunk, judged = _judge_again(self.session, chunk, self.session.stage())
                try:
                    chunk = self._stop_some(chunk, judged, tries)
                except _OutdatedError:
                    judged = replace(judged, upto=chunk.asked)
        except (OutOfTimeError, ThrottledError, HeldBackError):
            self.session.save(chunk)
            raise
        self.session.run = replace(
            self.session.run,
            pending=False,
            accepted=self.session.run.accepted + len(chunk.stop) - len(chunk.refused),
            asked=self.session.run.asked + len(chunk.stop),
        )
        self.session.save(chunk)

    def _stop_some(self, chunk: Chunk, judged: _Judged, tries: Counter[str]) -> Chunk:
        """
        Stop up to 50 of the judged jobs, and return the chunk with the results.

        Raises:
            _OutdatedError: the jobs must be judged again first.
            HeldBackError: the run must not continue.
        """
        first = chunk.asked
        some = chunk.stop[first : min(judged.upto, first + STOP_MAX)]
        if not some:
            return chunk

        def stop() -> Mapping[str, tuple[str, str]]:
            stage = self.session.stage()
            if self.session.now - judged.at > stop_run.JUDGED_FOR or stage.policy != judged.by:
                raise _OutdatedError
            return self.session.batch.stop_some(
                chunk.how, some, chunk.reason, service=chunk.service
            )

        errors = self.session.patiently(stop)
        passing = [job_id for job_id, (code, _) in errors.items() if code in PASSING]
        tries.update(passing)
        later = {job_id for job_id in passing if tries[job_id] < _ROUNDS}
        refused = {
            # Without the job's id, the same reason of several jobs is counted as one.
            job_id: ": ".join(filter(None, error)).replace(job_id, "…")
            for job_id, error in errors.items()
            if error[0] not in PASSING
        }
        given_up = set(passing) - later
        refused |= dict.fromkeys(given_up, "throttled, or failed on the side of Batch")
        if later:
            self.session.pace.throttled()
        done = [job_id for job_id in some if job_id not in later]
        again = [job_id for job_id in some if job_id in later]
        stops = (*chunk.stop[:first], *done, *again, *chunk.stop[first + len(some) :])
        return replace(
            chunk,
            stop=stops,
            asked=first + len(done),
            refused={**chunk.refused, **refused},
        )


def _judge_again(session: RunSession, chunk: Chunk, stage: RunStage) -> tuple[Chunk, _Judged]:
    """
    Judge the next jobs of a chunk as they are now.

    Jobs that must not be stopped any more are removed from those to be stopped. A job whose stop
    Batch has accepted, or that has ended by it, counts as asked: an earlier invocation may have
    stopped it and not written that down.
    """
    now = session.now
    first = chunk.asked
    last = first + (_SERVICE_JOBS_AT_ONCE if chunk.service else DESCRIBED_AT_ONCE)
    some, rest = chunk.stop[first:last], chunk.stop[last:]
    details = session.described(some, service=chunk.service)
    names = ("jobQueue", "status", "tags", *named_by(stage.rule, service=chunk.service))
    again = FoundJobs()
    asked: list[str] = []
    for job_id in some:
        detail = details.get(job_id)
        if detail is None:
            continue  # If Batch has the job after all, the next look finds it.
        status = str(detail.get("status"))
        if status in ENDED:
            is_ours = detail.get("statusReason") == chunk.reason[:REASON_MAX]
            (asked if is_ours and status == "FAILED" else again.escaped).append(job_id)
            continue
        if not shows(detail, names):
            continue  # A missing part might spare the job.
        job = as_listed(detail, detail["jobQueue"])
        verdict = stop_run.judge(stage.rule, job, detail, status, stage.entry.stage)
        match verdict:
            case "asked" | "stop children":
                asked.append(job_id)
            case "stop" | "left" | "spared":
                again.take_in(detail, verdict)
    chunk = replace(
        chunk,
        stop=(*chunk.stop[:first], *asked, *again.stop, *rest),
        asked=first + len(asked),
        left=(*chunk.left, *again.left),
        spared=(*chunk.spared, *again.spared),
        escaped=(*chunk.escaped, *again.escaped),
        arrays={**chunk.arrays, **again.arrays},
        failed_before={**chunk.failed_before, **again.failed_before},
    )
    return chunk, _Judged(upto=chunk.asked + len(again.stop), at=now, by=stage.policy)
