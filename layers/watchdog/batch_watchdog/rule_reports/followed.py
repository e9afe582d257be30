"""
Followed jobs: a limit has stopped them, or would have, and they are followed to their end. Pure.

What Batch shows of a job's runs tells to the second when it went on, however late somebody looks.
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

# "went-on": it started after all, or (of a limit on RUNNING) it succeeded, if by a retry.
type How = Literal["went-on", "ended", "stopped", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleKey:
    """
    A limit as it was when it was passed: one whose span changes is judged anew.

    `limit_seconds` is 0 for limits that jobs set by tags of their own, each another one.
    """

    rule: str
    status: str
    limit_seconds: int
    action: Action
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedJob:
    """
    A job that was in its state since `since`; that its limit is passed was decided at `decided_at`.

    `about` names the stay. `missed` counts the looks since Batch last showed the job.
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
    What became of a followed job, and when.

    `run_over` is when the run was over that had lasted too long: a retry may end much later.
    """

    how: How
    at: datetime
    run_over: datetime | None = None

    @property
    def left_at(self) -> datetime:
        """When the job left the state that its limit is for."""
        return self.run_over or self.at


def end_of(followed: FollowedJob, job: JobEvent, runs: Sequence[Run], now: datetime) -> End | None:
    """What became of a job, as Batch shows it `now`; None while that is open."""
    if followed.key.status == "RUNNING":
        return _end_of_run(followed, job, runs, now)
    # A job may have started in the second in which it was decided that it waits too long.
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
    The end of a job that ran for too long, whichever attempt brings it about.

    AWS Batch does not retry a job that was terminated: a stop would have cost it later attempts.
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
