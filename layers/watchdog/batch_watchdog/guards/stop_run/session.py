"""
What all parts of a stop run's invocation share: the run, its stage, the calls to AWS Batch, and the
clock.

The stage is read from the table each time it is needed, so that nothing is done for a stage that
has ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import batched

from botocore.exceptions import ClientError

from batch_watchdog.aws.batch import PASSING, BatchApi, Detail
from batch_watchdog.aws.rate_limiter import RateLimiter
from batch_watchdog.core.errors import HeldBackError, OutOfTimeError, ThrottledError
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import stages
from batch_watchdog.guards.state import StageEntry
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.stop_run import run as stop_run
from batch_watchdog.guards.stop_run.run import Chunk, Run
from batch_watchdog.policy.child_tags import TaggedJobs
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.table import Table

DESCRIBED_AT_ONCE = 100

_SPARE_S = 15.0  # of an invocation, kept back to finish what has been begun
_TRIES = 12  # of one call, while it is throttled


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStage:
    """
    The stage that a run is for, with its guard's rule, the policy's version, and the queues that
    the guard has closed.
    """

    rule: Guard
    policy: str
    entry: StageEntry
    closed: Sequence[str]


@dataclass(slots=True, kw_only=True)
class RunSession:
    """
    One invocation's work on a run. `run` is the run as it was last written, or its progress since.

    `began` is when the invocation began, and `time_left` returns the seconds that are left to it.
    The calls of `batch` wait for `pace`. `unwritten` counts the pages since the last write that had
    nothing to write down.
    """

    table: Table
    batch: BatchApi
    pace: RateLimiter
    policy: Callable[[], Policy]
    run: Run
    began: datetime
    time_left: Callable[[], float]
    unwritten: int = 0

    @property
    def now(self) -> datetime:
        return self.began + timedelta(seconds=int(self.pace.elapsed))

    def stage(self) -> RunStage:
        """
        Return the stage that the run is for.

        Raises:
            HeldBackError: the guard has left the stage; the policy has lost the guard, or has
                another mode than when the stage was entered; nothing asks for the stage any more;
                or an operator's hold is on.
        """
        table, policy, name = self.table, self.policy(), self.run.guard
        state = guard_items.read(table, name)
        rule = policy.guard_named(name)
        entry = state.entry if state and stages.is_current(state, self.run.run_id) else None
        if not (state and rule and entry) or entry.mode != policy.mode_of(rule):
            raise HeldBackError(self.run.run_id)
        if stages.why_not_meant(state, rule, self.now):
            raise HeldBackError(self.run.run_id)
        if operator_hold.read(table).is_on:
            raise HeldBackError(self.run.run_id)
        return RunStage(rule=rule, policy=policy.version, entry=entry, closed=state.closed)

    def described(self, job_ids: Sequence[str], *, service: bool) -> dict[str, Detail]:
        """Return the jobs as Batch knows them now, by id; unknown jobs are left out."""
        known: dict[str, Detail] = {}
        jobs = TaggedJobs(self.batch.describe)
        describe = self.batch.describe_service if service else jobs.described
        at_once = 1 if service else DESCRIBED_AT_ONCE
        for some in batched(job_ids, at_once, strict=False):
            known |= self.patiently(partial(describe, some))
        return known

    def list_children(self, array_id: str, status: str) -> list[Detail]:
        return list(self.batch.children(array_id, status))

    def patiently[T](self, call: Callable[[], T]) -> T:
        """
        Make a call, and repeat it while it is throttled or fails on Batch's side.

        Raises:
            OutOfTimeError: there is no time left, or (ThrottledError) no try has succeeded.
        """
        for _ in range(_TRIES):
            if self.time_left() < _SPARE_S:
                raise OutOfTimeError(self.run.run_id)
            try:
                answer = call()
            except ClientError as error:
                if error.response["Error"]["Code"] not in PASSING:
                    raise
                self.pace.throttled()
            else:
                self.pace.passed()
                return answer
        raise ThrottledError(self.run.run_id)

    def save(self, chunk: Chunk | None = None) -> None:
        if self.run.phase == "listing":
            self.run = replace(self.run, due_at=self.now + stop_run.QUIET)
        puts = [run_items.put(self.run, self.now)]
        if chunk:
            puts.append(run_items.put_chunk(self.run.run_id, chunk))
        self.table.write(puts)
        self.run = replace(self.run, version=self.run.version + 1)
        self.unwritten = 0
