"""
The rules of a stop run: its progress, the lists that it reads, and what it does about a job. All
functions are pure.

A run reads its guard's scope list by list (one list: a queue's jobs in one state), and stops the
jobs that it must stop. One pass through all lists is a look. More looks follow until nothing is
left to stop, or until `LOOKS_MAX`; then the run reports. While the stage lasts, the run looks again
from time to time, for jobs that no event reported.

What a run found is kept in chunks: the ids are written down before any of the jobs is stopped, and
the result after. A chunk that was begun and not finished is continued, but its jobs are judged
again before they are stopped. Nothing is counted on the way: the report is computed from the
chunks.

A stop that Batch has accepted has not ended the job yet. So each look writes down which of the
stopped jobs are still there. Before the run reports or rests, it asks Batch how the jobs ended that
were asked to stop. The answers are written down too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.job_event import ENDED, EPOCH, STARTED, WAITING
from batch_watchdog.guards.state import StageEntry, StopAction
from batch_watchdog.guards.stop_run.listed import Listed
from batch_watchdog.policy.guard_tables import Guard

QUIET = timedelta(minutes=3)  # without progress, until the sweep starts a run again
PATROL = timedelta(minutes=3)  # from one look to the next, after the report
LOOK_AGAIN = timedelta(seconds=30)  # from stopping jobs to the next look
CLOSING = timedelta(seconds=3)  # for queues to close, before any job is stopped
LOOKS_MAX = 5  # before the report
STILL_THERE = timedelta(minutes=10)  # after an accepted stop, until operators are notified
JUDGED_FOR = timedelta(seconds=30)  # after this, a job is judged again before its stop

type Phase = Literal["closing", "listing", "resting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One list that a run reads: a queue's jobs in one state."""

    queue: str
    status: str
    service: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """
    How far a run has come.

    `queues` are the ARNs of this look, each with whether it holds service jobs. `place` is the
    index of the list that is being read, and `token` leads to its next page. `chunks` counts the
    chunks that were written, and `pending` says that the stops of the last one are not finished.
    `carry` has, by whether they are service jobs, the jobs that were found and did not fill a call.

    `accepted` counts the stops of this look, `asked` those of all looks, and `alive` the jobs that
    this look found although their stop was accepted. This look began at `looked_at`, and the last
    look that was finished began at `known_at`. A look is `thorough` if the look before it stopped
    jobs. All stops up to the look that began at `settled_at` are settled (see `Unsettled`): `asked`
    was `settled` then.

    Operators have been notified of jobs that do not end if these were asked to stop up to
    `warned_until`, which is before the chunk with the number `warned_chunks`. `would_close` are
    queues that in observe mode would have been closed. A run that is `observing` only counts.
    `policy` is the version by which this look judges; when the version changes, the look begins
    anew.

    Before `not_before` there is nothing to do. Once `due_at` has passed, the sweep starts the run.
    """

    run_id: str
    guard: str
    due_at: datetime
    not_before: datetime
    observing: bool = False
    phase: Phase = "closing"
    look: int = 1
    queues: tuple[tuple[str, bool], ...] = ()
    place: int = 0
    token: str | None = None
    chunks: int = 0
    pending: bool = False
    carry: Mapping[bool, tuple[str, ...]] = field(default_factory=dict)
    accepted: int = 0
    asked: int = 0
    alive: int = 0
    looked_at: datetime | None = None
    known_at: datetime | None = None
    thorough: bool = False
    settled_at: datetime | None = None
    settled: int = 0
    warned_until: datetime = EPOCH
    warned_chunks: int = 0
    reported: bool = False
    would_close: tuple[str, ...] = ()
    policy: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """
    Jobs that a run found, and what it did about them.

    `stop` are the jobs to be stopped. The first `asked` of them have been; of these, Batch
    `refused` some, which are given by id with the reason. `arrays` are the arrays among the chunk's
    jobs, with how many of their children waited and how many had started; `failed_before` has how
    many had failed. `escaped` jobs ran or ended before they were stopped. `alive` are jobs whose
    stop Batch has accepted and that are still there: 1, or how many of an array's children. `ended`
    are jobs that Batch has shown to have ended by their stop: 1, or how many of an array's children
    may have ended so (they have failed since, and at `cancel` not at work). About jobs that are
    `over`, nothing more can be learnt.

    A chunk that has `arrived` holds jobs that were stopped on their arrival: it is not known
    whether Batch was asked to stop them.
    """

    at: datetime
    how: StopAction
    reason: str
    rule: str
    number: int = 0
    service: bool = False
    stop: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    arrays: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    failed_before: Mapping[str, int] = field(default_factory=dict)
    asked: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)
    escaped: tuple[str, ...] = ()
    alive: Mapping[str, int] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    over: tuple[str, ...] = ()
    arrived: bool = False
    version: int = 0


# ---- The course of a run ------------------------------------------------------------------


def begin(guard: str, entry: StageEntry, now: datetime) -> Run:
    """Return the run of a stage that has just been entered."""
    return Run(
        run_id=entry.run_id,
        guard=guard,
        due_at=now + QUIET,
        not_before=now,
        observing=entry.mode == "observe",
    )


def listings(run: Run, action: StopAction) -> Sequence[Listing]:
    """
    Return the lists of one look, in order.

    Waiting jobs come first, so that the capacity of a stopped job does not start another one. At
    `cancel`, jobs that have started are only counted, for the report. After the report they are
    listed only if the look before stopped jobs, because these may have started all the same.
    """
    started = () if action == "cancel" and run.reported and not run.thorough else STARTED
    return [
        Listing(queue=queue, status=status, service=service)
        for queue, service in run.queues
        for status in (*WAITING, *started)
        if service or status != "SCHEDULED"  # a state of service jobs only
    ]


def is_over(run: Run) -> bool:
    """Whether there is nothing more to do, until the guard's next stage."""
    return run.observing and run.reported


def look(run: Run, queues: Iterable[tuple[str, bool]], policy: str, now: datetime) -> Run:
    """Return the run at the beginning of a look through these queues, by this policy version."""
    return replace(
        run,
        phase="listing",
        policy=policy,
        pending=False,
        queues=tuple(queues),
        place=0,
        token=None,
        carry={},
        thorough=run.accepted > 0,
        accepted=0,
        alive=0,
        looked_at=now,
        due_at=now + QUIET,
    )


def again(run: Run, now: datetime) -> Run:
    """
    Return the run after a look that stopped jobs, or found jobs that do not end: it looks again.
    """
    at = now + LOOK_AGAIN
    return replace(
        run,
        phase="closing",
        look=run.look + 1,
        known_at=run.looked_at,
        not_before=at,
        due_at=at + LOOK_AGAIN,
    )


def must_look_again(run: Run) -> bool:
    """
    Whether another look must follow soon after this one.

    Before the report, that is also so while stopped jobs have not ended. After the report, the next
    regular look is soon enough for these.
    """
    return bool(run.accepted or (run.alive and not run.reported)) and run.look < LOOKS_MAX


def must_be_sure(run: Run) -> bool:
    """Whether this may be the last look before operators are notified of jobs that do not end."""
    return run.reported or run.look >= LOOKS_MAX


def rest(run: Run, now: datetime) -> Run:
    """Return the run after a look that no other follows soon: it rests until the next one."""
    at = now + PATROL
    return replace(
        run,
        phase="resting",
        look=1,
        known_at=run.looked_at,
        reported=True,
        not_before=at,
        due_at=at,
    )


def stop_reason(guard: str, entry: StageEntry) -> str:
    """Return why a guard stops a job, for Batch to keep; the same for all jobs of one stage."""
    return f'{STOP_MARK}guard "{guard}" is at {entry.stage}: {entry.why}'


# ---- What is done about a job -------------------------------------------------------------


type Verdict = Literal["stop", "stop children", "asked", "left", "spared", "no matter"]


def judge(
    rule: Guard, job: Listed, summary: Mapping[str, Any], status: str, action: StopAction
) -> Verdict:
    """
    Decide what a run does about a job, or an array as a whole, that is in this state.

    A stop that Batch has accepted is not asked for again, no matter who asked for it ("asked"). But
    a cancel does not end a job that has started, and the stop of an array may have missed some of
    its children ("stop children").
    """
    if not rule.covers(job):
        return "no matter"
    accepted = bool(summary.get("isTerminated"))
    waiting, started = children(summary) or ((1, 0) if status in WAITING else (0, 1))
    if action == "cancel" or not started:
        accepted = accepted or bool(summary.get("isCancelled"))
    if action == "cancel" and not waiting:
        return "left" if started and not summary.get("isTerminated") else "no matter"
    if rule.spares(job):
        return "spared"
    if not accepted:
        return "stop"
    if is_array(summary):
        return "stop children" if waiting + started else "no matter"
    return "asked"


def still_there(summary: Mapping[str, Any], action: StopAction) -> int:
    """
    Of a job that is still there although Batch accepted its stop, return how much is to end: 1, or
    how many of an array's children.
    """
    counts = children(summary)
    if counts is None:
        return 1
    waiting, started = counts
    return waiting if action == "cancel" else waiting + started


def how_it_ended(detail: Mapping[str, Any], reason: str) -> Literal["stopped", "escaped"] | None:
    """
    Decide whether a job ended by a stop with this reason, or otherwise; None if it has not ended.

    Only the reason proves it: Batch also accepts a cancel that came too late, which ends nothing.
    """
    if detail.get("status") not in ENDED:
        return None
    is_ours = detail["status"] == "FAILED" and detail.get("statusReason") == reason
    return "stopped" if is_ours else "escaped"


def failed_waiting(child: Mapping[str, Any], reason: str) -> bool:
    """
    Whether an array's child that has failed may have been cancelled, and not have failed at work.

    AWS does not document whether the reason given for an array becomes that of its children. A
    child that a limit has stopped has the limit's reason.
    """
    shown = child.get("statusReason") or ""
    by_another = shown.startswith(STOP_MARK) and shown != reason
    return shown == reason or not (child.get("startedAt") or by_another)


def failed_children(detail: Mapping[str, Any]) -> int | None:
    """Return how many of an array's children have failed; None if Batch does not show it."""
    counts = detail.get("arrayProperties", {}).get("statusSummary") or {}
    return int(counts.get("FAILED", 0)) if any(counts.values()) else None


def is_array(summary: Mapping[str, Any]) -> bool:
    """Whether this is an array's parent."""
    return bool(summary.get("arrayProperties", {}).get("size"))


def children(summary: Mapping[str, Any]) -> tuple[int, int] | None:
    """
    Return how many of an array's children wait, and how many have started; None for other jobs.
    """
    if not is_array(summary):
        return None
    properties = summary["arrayProperties"]
    counts: Mapping[str, int] = properties.get("statusSummary") or {}
    if not any(counts.values()):  # The children do not exist yet.
        return int(properties["size"]), 0
    return sum(counts.get(status, 0) for status in WAITING), sum(
        counts.get(status, 0) for status in STARTED
    )
