"""
What all parts of a stop run's invocation share: the run, its stage, the calls, and the clock.

The stage is read anew each time it is asked for, so that nothing is done for one that has gone.
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

_SPARE_S = 15.0  # of an invocation, kept back for what has been begun
_TRIES = 12  # of one call that is throttled


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStage:
    """The stage that a run is for, by this version of the policy; and what its guard has closed."""

    rule: Guard
    policy: str
    entry: StageEntry
    closed: Sequence[str]


@dataclass(slots=True, kw_only=True)
class RunSession:
    """
    One invocation's hold on a run. `run` is as it was last written, or further on.

    `began` is when the invocation did, and `time_left` its seconds. The calls of `batch` wait for
    `pace`. `unwritten` counts the pages since then with nothing on them that matters.
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
        The stage that the run is for.

        Raises:
            HeldBackError: the guard has moved on, or nothing asks for its stage any more, or an
            operator or the policy holds it back.
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
        """Jobs as Batch knows them now; those that it does not know are left out."""
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
        Make a call, again and again while it is throttled.

        Raises:
            OutOfTimeError: there is no time left, or it is throttled for long.
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
