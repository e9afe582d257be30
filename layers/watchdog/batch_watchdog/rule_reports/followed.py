"""
Follow jobs that a limit has stopped, or would have stopped, to their end. Pure.

The runs that Batch shows of a job give the second in which it went on, however late the check is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from batch_watchdog.budgets.periods import to_ms, to_time
from batch_watchdog.budgets.runs import Run
from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.policy.tables import Action, Mode

RULE_MAX = 500  # characters of a rule's name

# "went-on": it started after all, or (for a limit on RUNNING) it succeeded, even by a retry.
type How = Literal["went-on", "ended", "stopped", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleKey:
    """
    A limit as it was when it was passed. A limit whose length changes is judged anew.

    `limit_seconds` is 0 for limits that jobs set by their own tags, as each may set another one.
    """

    rule: str
    status: str
    limit_seconds: int
    action: Action
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedJob:
    """
    A job that was in its state since `since`, and was found at `decided_at` to have passed a limit.

    `about` names the stay. `missed` counts the checks since Batch last showed the job.
    """

    job_id: str
    about: str
    key: RuleKey
    since: datetime
    decided_at: datetime
    service: bool = False
    missed: int = 0

    @property
    def once(self) -> str:
        """The name by which its end is counted once."""
        return f"followed:{self.key.mode}:{self.about}"


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """
    The outcome of a followed job, and its time.

    `run_over` is when the run that had lasted too long ended: a retry may end much later.
    """

    how: How
    at: datetime
    run_over: datetime | None = None

    @property
    def left_at(self) -> datetime:
        """When the job left the state that its limit is for."""
        return self.run_over or self.at


def end_of(followed: FollowedJob, job: JobEvent, runs: Sequence[Run], now: datetime) -> End | None:
    """Return the outcome of a job, as Batch shows it `now`; None while it is open."""
    if followed.key.status == "RUNNING":
        return _end_of_run(followed, job, runs, now)
    # Not since `decided_at`: a job may have started in the second of that decision.
    since = to_ms(followed.since)
    begun = [run.start for run in runs if run.start >= since]
    if begun:
        return End(how="went-on", at=to_time(min(begun)))
    if not job.ended:
        return None
    stops = [run.stop for run in runs if run.stop >= since]
    return _end(job, to_time(max(stops)) if stops else now)


def _end_of_run(
    followed: FollowedJob, job: JobEvent, runs: Sequence[Run], now: datetime
) -> End | None:
    """
    Return the outcome of a job that ran for too long, whichever attempt it comes from.

    AWS Batch does not retry a job that was terminated: a stop would have prevented later attempts.
    """
    if not job.ended:
        return None
    decided = to_ms(followed.decided_at)
    latest = max((run for run in runs if 0 < run.start <= decided), key=_start, default=None)
    if latest is None or not latest.stop:
        return _end(job, now)
    ended = _end(job, to_time(max(run.stop for run in runs)))
    return replace(ended, run_over=to_time(latest.stop))


def _start(run: Run) -> int:
    return run.start


def _end(job: JobEvent, at: datetime) -> End:
    if job.status == "SUCCEEDED":
        return End(how="went-on", at=at)
    return End(how="stopped" if job.reason.startswith(STOP_MARK) else "ended", at=at)
