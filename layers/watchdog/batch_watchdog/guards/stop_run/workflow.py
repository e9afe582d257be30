"""
Carry out a stop run, as far as one invocation gets.

All calls to AWS Batch here go at one rate, which all runs share.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import batched

from botocore.exceptions import BotoCoreError, ClientError

from batch_watchdog.aws.batch import BatchApi, kinds_of
from batch_watchdog.aws.queues import StopQueue
from batch_watchdog.aws.rate_limiter import RateLimiter
from batch_watchdog.core.effects import Announce
from batch_watchdog.core.errors import HeldBackError, OutOfTimeError, StaleItemError, ThrottledError
from batch_watchdog.guards import queue_update_items, stages
from batch_watchdog.guards.inputs import QueuesFoundOpen
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.stop_run import notices as run_notices
from batch_watchdog.guards.stop_run import run as stop_run
from batch_watchdog.guards.stop_run.ends import EndsReader
from batch_watchdog.guards.stop_run.listing import PageReader
from batch_watchdog.guards.stop_run.run import Run
from batch_watchdog.guards.stop_run.session import RunSession, RunStage
from batch_watchdog.guards.stop_run.still_there import StillThere, still_there
from batch_watchdog.guards.stop_run.stopping import JobStopper
from batch_watchdog.guards.stop_run.tally import tally
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.table import Table

_QUEUES_AT_ONCE = 50
_BREATHER_S = 20  # until the next try, after AWS has throttled all tries of a call
_TURN_S = 5  # until the next try, while another run has the turn


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRunner:
    """Carries out stop runs. The calls of `batch` wait for `pace`."""

    table: Table
    batch: BatchApi
    pace: RateLimiter
    queue: StopQueue
    policy: Callable[[], Policy]

    def work(self, run_id: str, now: datetime, *, time_left: Callable[[], float]) -> None:
        """
        Continue a run until it is done, or rests, or this invocation's time is up.

        A run whose guard has gone on to another stage ends here. A run that an operator's hold or a
        changed mode of the policy holds back stays where it is: the sweep starts it again.
        """
        run = run_items.read(self.table, run_id)
        if run is None or stop_run.is_over(run) or now < run.not_before:
            return
        try:
            holder = run_items.take_turn(self.table, run_id, now)
        except StaleItemError:
            holder = ""  # Another invocation has just taken it.
        if holder is None:
            self._work(run, now, time_left)
        elif holder != run_id:
            self.queue.send(run_id, _TURN_S)

    def _work(self, run: Run, now: datetime, time_left: Callable[[], float]) -> None:
        self.pace.begin(time_left)
        session = RunSession(
            table=self.table,
            batch=self.batch,
            pace=self.pace,
            policy=self.policy,
            run=run,
            began=now,
            time_left=time_left,
        )
        work = RunInvocation(session=session)
        again_in: timedelta | None
        try:
            again_in = work.go_on()
        except ThrottledError:
            again_in = timedelta(seconds=_BREATHER_S)
        except OutOfTimeError:
            again_in = timedelta()
        except HeldBackError:
            again_in = None
        except StaleItemError:  # It is not known whether another invocation goes on.
            again_in = timedelta(seconds=_TURN_S)
        except (ClientError, BotoCoreError):  # SQS sends the message again: the turn must be free.
            self._end_turn(run, now)
            raise
        self._end_turn(run, now)
        if again_in is not None:
            self.queue.send(run.run_id, int(again_in.total_seconds()))

    def _end_turn(self, run: Run, now: datetime) -> None:
        with suppress(StaleItemError):
            run_items.end_turn(self.table, run.run_id, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInvocation:
    """One invocation's work on a run."""

    session: RunSession

    def go_on(self) -> timedelta | None:
        """
        Work on the run; return after how long to continue, or None if that is left to the sweep.

        Raises:
            OutOfTimeError: there is no time left.
            HeldBackError: the run must not continue.
            StaleItemError: another writer has changed the run or its guard.
        """
        stage = self.session.stage()
        by_other_rules = self.session.run.policy != self.session.policy().version
        if (self.session.run.phase != "listing" or by_other_rules) and self._begin_look(stage):
            return stop_run.CLOSING
        stopper = JobStopper(session=self.session)
        if self.session.run.pending:
            stopper.stop_chunk(stopper.last_chunk(), judged_at=None)
        reader = PageReader(session=self.session, stopper=stopper)
        listings = stop_run.listings(self.session.run, stage.entry.stage)
        while self.session.run.place < len(listings):
            reader.read(listings[self.session.run.place], self.session.stage())
        reader.stop_carried()
        return self._conclude(self.session.stage(), stopper)

    def _begin_look(self, stage: RunStage) -> bool:
        """
        Find the queues in scope, and close those that are open; return whether any were closed.
        """
        queues = [
            queue
            for queue in self.session.patiently(lambda: list(self.session.batch.queues()))
            if stage.rule.covers_queue(queue["jobQueueArn"])
        ]
        open_ones = [each["jobQueueArn"] for each in queues if each.get("state") == "ENABLED"]
        closes = stages.closes_queues(stage.rule, stage.entry.stage)
        closed_some = closes and not self.session.run.observing and self._close(open_ones)
        kinds = [(each["jobQueueArn"], service) for each in queues for service in kinds_of(each)]
        self.session.run = replace(
            stop_run.look(self.session.run, kinds, self.session.policy().version, self.session.now),
            would_close=tuple(open_ones) if closes and self.session.run.observing else (),
            not_before=self.session.now + stop_run.CLOSING
            if closed_some
            else self.session.run.not_before,
        )
        self.session.save()
        return closed_some

    def _close(self, queues: Sequence[str]) -> bool:
        watch = GuardUpdater(
            table=self.session.table, policy=self.session.policy(), now=self.session.now
        )
        recorder = Recorder(table=self.session.table, asked_by="stop_jobs")
        closed_some = False
        for some in batched(queues, _QUEUES_AT_ONCE, strict=False):
            found = QueuesFoundOpen(
                now=self.session.now, run_id=self.session.run.run_id, queues=some
            )

            def decide(name: str, found: QueuesFoundOpen = found) -> Outcome:
                nonlocal closed_some
                decision, outcome = watch.decide(name, found)
                closed_some = closed_some or bool(decision.effects)
                return outcome

            if recorder.decide([self.session.run.guard], decide, self.session.now):
                raise StaleItemError(self.session.run.guard)
        return closed_some

    def _conclude(self, stage: RunStage, stopper: JobStopper) -> timedelta | None:
        """End a look: look again soon, or rest; report when the run rests for the first time."""
        if stop_run.must_look_again(self.session.run):
            self.session.run = stop_run.again(self.session.run, self.session.now)
            self.session.save()
            return stop_run.LOOK_AGAIN
        if not self.session.run.observing:
            EndsReader(session=self.session, stopper=stopper).settle(stage)
        rested = stop_run.rest(self.session.run, self.session.now)
        notices = [] if self.session.run.reported else [self._report(stage, rested)]
        asked_before = self.session.now - stop_run.STILL_THERE
        if there := self._still_there(asked_before):
            rested = replace(rested, warned_until=asked_before, warned_chunks=there.chunks)
            notices.append(
                run_notices.still_there(rested.guard, stage.entry, there, self.session.now)
            )
        recorder = Recorder(table=self.session.table, asked_by="stop_jobs")
        outcome = Outcome(
            puts=[run_items.put(rested, self.session.now)],
            effects=[Announce(notices=(notice,)) for notice in notices],
        )
        recorder.write([outcome], self.session.now)
        return None

    def _report(self, stage: RunStage, rested: Run) -> Notice:
        found = run_items.found(self.session.table, self.session.run.run_id)
        closed: Sequence[str] = self.session.run.would_close
        not_closed: Sequence[str] = ()
        if stage.closed and not self.session.run.observing:
            not_yet = queue_update_items.read(self.session.table).not_yet_closed
            closed = [queue for queue in stage.closed if queue not in not_yet]
            not_closed = [queue for queue in stage.closed if queue in not_yet]
        return run_notices.report(
            self.session.run.guard,
            stage.entry,
            tally(found, stage.entry.stage, rested),
            at=self.session.now,
            queues_closed=closed,
            queues_not_closed=not_closed,
        )

    def _still_there(self, asked_before: datetime) -> StillThere | None:
        """
        Return the jobs that are still there long after their stop was accepted, and of which
        operators have not been notified yet.
        """
        run = self.session.run
        if not run.alive or run.looked_at is None:
            return None
        asked_after = run.warned_until
        return still_there(
            partial(
                run_items.found, self.session.table, run.run_id, run.warned_chunks, asked_after
            ),
            since=run.looked_at,
            asked_before=asked_before,
            asked_after=asked_after,
        )
