"""
Stop runs: how far one has come, what it found, and what that comes to. All of it pure.

A run looks through its guard's scope, list by list (a queue's jobs in one state), and stops what
it must. Then it looks again, until there is nothing left to stop, and reports. While the stage
lasts it goes on looking from time to time, for what no event told of.

What it found is kept in chunks: the ids are written down before any of them is stopped, and the
result after. A chunk that was begun and not finished is gone on with; but its jobs are judged again
before they are stopped. Nothing is counted on the way: the report is made of the chunks.

A stop that Batch has accepted has not ended the job yet. So each look writes down which of the jobs
are still there. When it is over, Batch is asked how those ended that were asked to stop: what is
known of them is written down too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.job_event import ENDED, STARTED, WAITING
from batch_watchdog.guards.state import StageEntry, StopAction
from batch_watchdog.guards.stop_run.listed import Listed
from batch_watchdog.policy.guard_tables import Guard

QUIET = timedelta(minutes=3)  # until a run that should be at work is taken to be lost
PATROL = timedelta(minutes=3)  # from one look to the next, once all is stopped
LOOK_AGAIN = timedelta(seconds=30)  # from stopping to looking whether it took
CLOSING = timedelta(seconds=3)  # for queues to be closed, before any job is stopped
LOOKS_MAX = 5  # before the report
STILL_THERE = timedelta(minutes=10)  # after an accepted stop, until operators are to know
JUDGED_FOR = timedelta(seconds=30)  # until a job that was judged is judged again

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

    `queues` are the ARNs of this look, each with whether it holds service jobs; `place` is the
    list that is being read and `token` its next page. `chunks` counts those written, and
    `pending` says that the last of them has not been stopped to its end. `carry` are jobs that
    were found and did not fill a call, by whether they are service jobs. `accepted` counts the
    stops of this look, `asked` all of them, `alive` the jobs that this look found although their
    stop was accepted. This look began at `looked_at`, the last one that came to its end at
    `known_at`. It is `thorough` where the look before it stopped jobs. Of what was asked before
    `settled_at`, `settled` in number, it is known how it ended. `warned` says that operators know
    of jobs that do not end. `would_close` are queues that in observe mode would have been closed; a
    run that is `observing` only counts. `policy` is the version by which this look judges: by
    another, the look begins anew.

    Before `not_before` there is nothing to do; once `due_at` has passed, the sweep starts it.
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
    warned: bool = False
    reported: bool = False
    would_close: tuple[str, ...] = ()
    policy: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """
    Jobs that a run found, and what it did about them.

    `stop` are those to be stopped, of which the first `asked` have been, but for the `refused`,
    which are by id, with why. `arrays` are the parents among them: how many of their children
    waited, and how many had started; `failed_before` has how many had failed. `escaped` ran or
    ended before they were stopped. `alive` are jobs whose stop Batch has accepted, and that are
    still there: 1, or how many of an array's children. `ended` are jobs that Batch has shown to
    have ended by their stop: 1, or how many of an array's children may have: they have failed
    since, at `cancel` not at work. Of those that are `over` there is nothing more to learn.

    Jobs that were stopped on their arrival have `arrived`: it is not known whether Batch was asked.
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


# ---- How a run goes -----------------------------------------------------------------------


def begin(guard: str, entry: StageEntry, now: datetime) -> Run:
    """The run of a stage that has just been entered."""
    return Run(
        run_id=entry.run_id,
        guard=guard,
        due_at=now + QUIET,
        not_before=now,
        observing=entry.mode == "observe",
    )


def listings(run: Run, action: StopAction) -> Sequence[Listing]:
    """
    The lists of one look, in order.

    What waits comes first: capacity that a stopped job gives back must not start another. At
    `cancel` what has started is only counted, for the report; and later on where jobs were stopped
    just before: they may have started all the same.
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
    """The run at the beginning of a look through these queues, by this version of the policy."""
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
    """The run when a look has stopped jobs, or found some that do not end: it looks again."""
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
    Whether to look again at once when a look is over.

    Before the report also where jobs do not end; later on, the next look is soon enough for them.
    """
    return bool(run.accepted or (run.alive and not run.reported)) and run.look < LOOKS_MAX


def must_be_sure(run: Run) -> bool:
    """Whether this look may be the last one before something is said of jobs that do not end."""
    return run.reported or run.look >= LOOKS_MAX


def rest(run: Run, now: datetime) -> Run:
    """The run when there was nothing to stop, or no use in trying."""
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
    """Why a guard stops a job, for Batch to keep; the same for all jobs of one stage."""
    return f'{STOP_MARK}guard "{guard}" is at {entry.stage}: {entry.why}'


# ---- What is done about a job -------------------------------------------------------------


type Verdict = Literal["stop", "stop children", "asked", "left", "spared", "no matter"]


def judge(
    rule: Guard, job: Listed, summary: Mapping[str, Any], status: str, action: StopAction
) -> Verdict:
    """
    Say what a run does about a job, or an array as a whole, that is in this state.

    A stop that Batch has accepted, whoever asked for it, is not asked for again ("asked"); but a
    cancel does not end what has started, and a stopped array's children may have been passed over.
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
    """Of a job whose stop Batch has accepted, and that is still there: what is to end of it."""
    counts = children(summary)
    if counts is None:
        return 1
    waiting, started = counts
    return waiting if action == "cancel" else waiting + started


def how_it_ended(detail: Mapping[str, Any], reason: str) -> Literal["stopped", "escaped"] | None:
    """
    Whether a job has ended by a stop with this reason, or otherwise; None where it has not ended.

    Only a reason proves it: a cancel that came too late is accepted as well, and ends nothing.
    """
    if detail.get("status") not in ENDED:
        return None
    is_ours = detail["status"] == "FAILED" and detail.get("statusReason") == reason
    return "stopped" if is_ours else "escaped"


def failed_waiting(child: Mapping[str, Any], reason: str) -> bool:
    """
    Whether an array's child that has failed may have been cancelled, and not have failed at work.

    AWS does not say whether the reason given for an array becomes that of its children. What a
    limit has stopped has the limit's reason.
    """
    shown = child.get("statusReason") or ""
    by_another = shown.startswith(STOP_MARK) and shown != reason
    return shown == reason or not (child.get("startedAt") or by_another)


def failed_children(detail: Mapping[str, Any]) -> int | None:
    """How many of an array's children have failed; None where Batch does not say."""
    counts = detail.get("arrayProperties", {}).get("statusSummary") or {}
    return int(counts.get("FAILED", 0)) if any(counts.values()) else None


def is_array(summary: Mapping[str, Any]) -> bool:
    """Whether this is an array's parent."""
    return bool(summary.get("arrayProperties", {}).get("size"))


def children(summary: Mapping[str, Any]) -> tuple[int, int] | None:
    """How many of an array's children wait, and how many have started; None for other jobs."""
    if not is_array(summary):
        return None
    properties = summary["arrayProperties"]
    counts: Mapping[str, int] = properties.get("statusSummary") or {}
    if not any(counts.values()):  # They are not there yet.
        return int(properties["size"]), 0
    return sum(counts.get(status, 0) for status in WAITING), sum(
        counts.get(status, 0) for status in STARTED
    )
