"""
Carrying out a stop run, as far as one invocation gets.

Whatever Batch is asked here goes at one pace, shared by all runs. Ids are written down before any
of them is stopped, and the result after. So the next invocation goes on where this one ended, in
good order or not.

Each stop is decided in the second in which it is made: before each call the guard, the policy and
the hold are read, and jobs that were judged too long ago, or by another invocation, are described
and judged again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import batched, islice

from botocore.exceptions import BotoCoreError, ClientError

from batch_watchdog.aws.batch import PASSING, REASON_MAX, STOP_MAX, BatchApi, Detail, kinds_of
from batch_watchdog.aws.queues import StopQueue
from batch_watchdog.aws.rate_limiter import RateLimiter
from batch_watchdog.core.errors import HeldBackError, OutOfTimeError, StaleItemError, ThrottledError
from batch_watchdog.core.job_event import ENDED, STARTED, WAITING, array_child
from batch_watchdog.core.payload_parts import is_stop_accepted
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import stages
from batch_watchdog.guards.inputs import QueuesFoundOpen
from batch_watchdog.guards.state import StageEntry
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.stop_run import notices as run_notices
from batch_watchdog.guards.stop_run import run as stop_run
from batch_watchdog.guards.stop_run.run import Chunk, Listed, Listing, Run
from batch_watchdog.guards.stop_run.tally import Unsettled, still_there, tally
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.table import Table

_SPARE_S = 15.0  # of an invocation, kept back for what has been begun
_CHUNK_MAX = 1_100  # jobs to stop: a page, and what is carried over; an id takes 20 bytes
_DESCRIBED_AT_ONCE = 100
_NAMED_BY = {"jobName", "jobQueue", "tags"}  # what a rule may match
_SERVICE_JOBS_AT_ONCE = 10  # judged again; each takes a call
_QUEUES_AT_ONCE = 50
_TRIES = 12  # of one call that is throttled
_ROUNDS = 5  # for jobs whose stop was throttled or failed on Batch's side
_BREATHER_S = 20  # until the next try, where AWS throttles for long
_PAGES_MAX = 10  # read again, at most, where an invocation dies
_TURN_S = 5  # until the next try, where it is another run's turn
_ASKED_AFTER_MAX = 1_000  # jobs of which is asked, after a look, how they ended
_SERVICE_ASKED_AFTER_MAX = 100  # each takes a call
_MARKS = {"cancel": "isCancelled", "terminate": "isTerminated"}  # of an accepted stop
_LATE = timedelta(minutes=1)  # so late a stop on arrival may be written down, by its own time


class _OutdatedError(Exception):
    """The jobs were judged too long ago, or by another policy."""


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
        Go on with a run, until it is done or rests, or this invocation's seconds are up.

        A run that another stage has overtaken ends here. One that is held back, by an operator
        or by a policy that only observes, stays where it is: the sweep starts it again.
        """
        run = run_items.read(self.table, run_id)
        if run is None or stop_run.is_over(run) or now < run.not_before:
            return
        try:
            holder = run_items.take_turn(self.table, run_id, now)
        except StaleItemError:
            holder = ""  # Somebody, just now.
        if holder is None:
            self._work(run, now, time_left)
        elif holder != run_id:
            self.queue.send(run_id, _TURN_S)

    def _work(self, run: Run, now: datetime, time_left: Callable[[], float]) -> None:
        self.pace.begin(time_left)
        work = RunInvocation(runner=self, run=run, began=now, time_left=time_left)
        again_in: timedelta | None
        try:
            again_in = work.go_on()
        except ThrottledError:
            again_in = timedelta(seconds=_BREATHER_S)
        except OutOfTimeError:
            again_in = timedelta()
        except HeldBackError:
            again_in = None
        except StaleItemError:  # Perhaps somebody else goes on with it; and perhaps nobody.
            again_in = timedelta(seconds=_TURN_S)
        except (ClientError, BotoCoreError):  # The message comes again, and then it has the turn.
            self._end_turn(run, now)
            raise
        self._end_turn(run, now)
        if again_in is not None:
            self.queue.send(run.run_id, int(again_in.total_seconds()))

    def _end_turn(self, run: Run, now: datetime) -> None:
        with suppress(StaleItemError):
            run_items.end_turn(self.table, run.run_id, now)


@dataclass(slots=True, kw_only=True)
class _FoundJobs:
    """
    What is to be written down next: jobs to stop, and jobs that are not.

    The jobs to stop were judged at `judged_at`, or later; None says that it is not known when.
    """

    judged_at: datetime | None = None
    stop: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    arrays: dict[str, tuple[int, int]] = field(default_factory=dict)
    escaped: list[str] = field(default_factory=list)
    alive: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    over: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        not_stopped = self.left or self.spared or self.escaped or self.alive
        return not (self.stop or self.arrays or not_stopped or self.ended or self.over)


@dataclass(slots=True, kw_only=True)
class RunInvocation:
    """
    One invocation's work on a run. `run` is as it was last written, or further on.

    `carried_at` says when the jobs of `run.carry` were judged; without a time, an earlier
    invocation did.
    """

    runner: StopRunner
    run: Run
    began: datetime
    time_left: Callable[[], float]
    unwritten: int = 0  # pages with nothing on them that matters
    carried_at: dict[bool, datetime] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return self.began + timedelta(seconds=int(self.runner.pace.elapsed))

    def go_on(self) -> timedelta | None:
        """
        Work; then say after how long to go on, or None where that is left to the sweep.

        Raises:
            OutOfTimeError: there is no time left.
            HeldBackError: it is not to go on.
            StaleItemError: others have changed the run or its guard.
        """
        stage = self._stage()
        by_other_rules = self.run.policy != self.runner.policy().version
        if (self.run.phase != "listing" or by_other_rules) and self._begin_look(stage):
            return stop_run.CLOSING
        if self.run.pending:
            self._stop_chunk(self._last_chunk(), judged_at=None)
        listings = stop_run.listings(self.run, stage.entry.stage)
        while self.run.place < len(listings):
            self._read(listings[self.run.place], self._stage())
        for service, ids in sorted(self.run.carry.items()):
            self.run = replace(self.run, carry={**self.run.carry, service: ()})
            found = _FoundJobs(stop=list(ids), judged_at=self.carried_at.pop(service, None))
            self._write_down(found, self._stage(), service=service)
        return self._conclude(self._stage())

    def _stage(self) -> "_Stage":
        """
        The stage that the run is for.

        Raises:
            HeldBackError: the guard has moved on, or nothing asks for its stage any more, or an
            operator or the policy holds it back.
        """
        table, policy, name = self.runner.table, self.runner.policy(), self.run.guard
        state = guard_items.read(table, name)
        rule = policy.guard_named(name)
        entry = state.entry if state and stages.is_current(state, self.run.run_id) else None
        if not (state and rule and entry) or entry.mode != policy.mode_of(rule):
            raise HeldBackError(self.run.run_id)
        if stages.why_not_meant(state, rule, self.now):
            raise HeldBackError(self.run.run_id)
        if operator_hold.read(table).is_on:
            raise HeldBackError(self.run.run_id)
        return _Stage(rule=rule, policy=policy.version, entry=entry, closed=state.closed)

    # ---- Queues ---------------------------------------------------------------------------

    def _begin_look(self, stage: "_Stage") -> bool:
        """Find the queues in scope, and close those that are open; whether there were any."""
        queues = [
            queue
            for queue in self._patiently(lambda: list(self.runner.batch.queues()))
            if stage.rule.covers_queue(queue["jobQueueArn"])
        ]
        open_ones = [each["jobQueueArn"] for each in queues if each.get("state") == "ENABLED"]
        closes = stages.closes_queues(stage.rule, stage.entry.stage)
        closed_some = closes and not self.run.observing and self._close(open_ones)
        kinds = [(each["jobQueueArn"], service) for each in queues for service in kinds_of(each)]
        self.run = replace(
            stop_run.look(self.run, kinds, self.runner.policy().version, self.now),
            would_close=tuple(open_ones) if closes and self.run.observing else (),
            not_before=self.now + stop_run.CLOSING if closed_some else self.run.not_before,
        )
        self._save()
        return closed_some

    def _close(self, queues: Sequence[str]) -> bool:
        watch = GuardUpdater(table=self.runner.table, policy=self.runner.policy(), now=self.now)
        recorder = Recorder(table=self.runner.table, asked_by="stop_jobs")
        closed_some = False
        for some in batched(queues, _QUEUES_AT_ONCE, strict=False):
            found = QueuesFoundOpen(now=self.now, run_id=self.run.run_id, queues=some)

            def decide(name: str, found: QueuesFoundOpen = found) -> Outcome:
                nonlocal closed_some
                decision, outcome = watch.decide(name, found)
                closed_some = closed_some or bool(decision.effects)
                return outcome

            if recorder.decide([self.run.guard], decide, self.now):
                raise StaleItemError(self.run.guard)
        return closed_some

    # ---- Lists ----------------------------------------------------------------------------

    def _read(self, listing: Listing, stage: "_Stage") -> None:
        """Read one page of a list, and do what is to be done about the jobs on it."""
        now = self.now
        page, token = self._page(listing, self.run.token)
        summaries = [each for each in page if not _is_part(each["jobId"])]
        carried = self.run.carry.get(listing.service, ())
        judged_at = self.carried_at.pop(listing.service, None) if carried else now
        found = _FoundJobs(stop=list(carried), judged_at=judged_at)
        for job, summary in self._with_tags(summaries, listing, stage, found):
            self._judge(job, summary, listing.status, stage, found)
            while len(found.stop) >= _CHUNK_MAX:
                # What was carried here is written down now. Of the rest of the page nothing is
                # known yet: it is read again, should this be the end.
                self.run = replace(self.run, carry={**self.run.carry, listing.service: ()})
                self._write_down(_cut(found, _CHUNK_MAX), stage, service=listing.service)
        if stop_run.must_be_sure(self.run):
            self._make_sure(found, stage, service=listing.service)
        full = _cut(found, len(found.stop) - len(found.stop) % STOP_MAX)
        if found.stop and found.judged_at:
            self.carried_at[listing.service] = found.judged_at
        self.run = replace(
            self.run,
            place=self.run.place if token else self.run.place + 1,
            token=token,
            carry={**self.run.carry, listing.service: tuple(found.stop)},
        )
        self._write_down(full, stage, service=listing.service)

    def _page(self, listing: Listing, token: str | None) -> tuple[Sequence[Detail], str | None]:
        batch, service = self.runner.batch, listing.service
        page = partial(batch.page, listing.queue, listing.status, token, service=service)
        try:
            return self._patiently(page)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ClientException":
                raise
        # The token is too old: from the start again. Or else the queue is gone, or is none for
        # jobs of this kind.
        return self._page(listing, None) if token else ((), None)

    def _with_tags(
        self, summaries: Sequence[Detail], listing: Listing, stage: "_Stage", found: _FoundJobs
    ) -> Iterator[tuple[Listed, Detail]]:
        """
        The jobs, with their tags where these decide; without those whose tags are not known.

        Such a job is still there, whatever was asked before: that is written to `found`.
        """
        jobs = {each["jobId"]: _listed(each, listing.queue) for each in summaries}
        needing = [
            job_id
            for job_id, job in jobs.items()
            if stop_run.needs_tags(stage.rule, job, listing.status, stage.entry.stage)
        ]
        known = self._described(needing, service=listing.service)
        # Without its tags it is not known whether a job is spared: the next look asks again.
        tags = {job_id: detail["tags"] for job_id, detail in known.items() if "tags" in detail}
        unclear = set(needing) - tags.keys()
        for summary in summaries:
            job_id = summary["jobId"]
            if job_id not in unclear:
                job = jobs[job_id]
                yield replace(job, tags=tags[job_id]) if job_id in tags else job, summary
            elif known.get(job_id, {}).get("status") not in ENDED:
                found.alive[job_id] = 1

    def _judge(
        self, job: Listed, summary: Detail, status: str, stage: "_Stage", found: _FoundJobs
    ) -> None:
        job_id, action = summary["jobId"], stage.entry.stage
        verdict = stop_run.judge(stage.rule, job, summary, status, action)
        counts = stop_run.children(summary)
        if counts and verdict in ("stop", "left", "spared"):
            found.arrays[job_id] = counts
        match verdict:
            case "stop":
                found.stop.append(job_id)
            case "stop children" | "asked":
                if there := stop_run.still_there(summary, action):
                    found.alive[job_id] = there
                if verdict == "stop children":
                    found.stop += self._children(job, summary, stage)
            case "left":
                found.left.append(job_id)
            case "spared":
                found.spared.append(job_id)

    def _make_sure(self, found: _FoundJobs, stage: "_Stage", *, service: bool) -> None:
        """Ask about jobs that a list shows although their stop was accepted: it may be late."""
        for job_id, detail in self._described(list(found.alive), service=service).items():
            status = str(detail.get("status"))
            if status not in ENDED:
                if stop_run.is_array(detail):
                    found.alive[job_id] = stop_run.still_there(detail, stage.entry.stage)
                continue
            del found.alive[job_id]
            if status == "SUCCEEDED" and not stop_run.is_array(detail):
                found.escaped.append(job_id)

    def _described(self, job_ids: Sequence[str], *, service: bool) -> dict[str, Detail]:
        """Jobs as Batch knows them now; those that it does not know are left out."""
        batch, known = self.runner.batch, dict[str, Detail]()
        describe = batch.describe_service if service else batch.describe
        at_once = 1 if service else _DESCRIBED_AT_ONCE
        for some in batched(job_ids, at_once, strict=False):
            known |= self._patiently(partial(describe, some))
        return known

    def _children(self, job: Listed, array: Detail, stage: "_Stage") -> Iterator[str]:
        """An array's children that its stop has not reached."""
        counts: Mapping[str, int] = array["arrayProperties"].get("statusSummary") or {}
        for status in (*WAITING, *STARTED):
            if counts.get(status):
                read = partial(self._list_children, array["jobId"], status)
                for child in self._patiently(read):
                    if stop_run.judge(stage.rule, job, child, status, stage.entry.stage) == "stop":
                        yield child["jobId"]

    def _list_children(self, array_id: str, status: str) -> list[Detail]:
        return list(self.runner.batch.children(array_id, status))

    # ---- Chunks ---------------------------------------------------------------------------

    def _write_down(self, found: _FoundJobs, stage: "_Stage", *, service: bool) -> None:
        """Write down what was found, and how far the run has come by it; then stop the jobs."""
        if found.is_empty:
            self.unwritten += 1  # It is written with the next chunk, or after a few more pages.
            if self.unwritten >= _PAGES_MAX:
                self._save()
            return
        chunk = Chunk(
            number=self.run.chunks,
            at=self.now,
            how=stage.entry.stage,
            reason=stop_run.stop_reason(self.run.guard, stage.entry),
            rule=f'guard "{self.run.guard}"',
            service=service,
            stop=tuple(dict.fromkeys(found.stop)),
            left=tuple(found.left),
            spared=tuple(found.spared),
            arrays=found.arrays,
            escaped=tuple(found.escaped),
            alive=found.alive,
            ended=found.ended,
            over=tuple(found.over),
            # What would be stopped counts as if it were.
            asked=len(found.stop) if self.run.observing else 0,
        )
        must_stop = bool(chunk.stop) and not self.run.observing
        self.run = replace(
            self.run,
            chunks=self.run.chunks + 1,
            pending=must_stop,
            alive=self.run.alive + len(chunk.alive),
        )
        self._save(chunk)
        if must_stop:
            self._stop_chunk(replace(chunk, version=1), found.judged_at)

    def _last_chunk(self) -> Chunk:
        number = self.run.chunks - 1
        chunk = run_items.read_chunk(self.runner.table, self.run.run_id, number)
        if chunk is None:  # It is written together with the head that says so.
            raise StaleItemError(f"{self.run.run_id}: chunk {number} is gone")
        return chunk

    def _stop_chunk(self, chunk: Chunk, judged_at: datetime | None) -> None:
        """Stop the jobs of a chunk from where that was left, and write down the result."""
        judged = _Judged(
            upto=len(chunk.stop) if judged_at else chunk.asked,
            at=judged_at or self.now,
            by=self.run.policy,
        )
        tries: Counter[str] = Counter()
        try:
            while chunk.asked < len(chunk.stop):
                if chunk.asked >= judged.upto:
                    chunk, judged = self._judge_again(chunk, self._stage())
                try:
                    chunk = self._stop_some(chunk, judged, tries)
                except _OutdatedError:
                    judged = replace(judged, upto=chunk.asked)
        except (OutOfTimeError, ThrottledError, HeldBackError):
            self._save(chunk)
            raise
        self.run = replace(
            self.run,
            pending=False,
            accepted=self.run.accepted + len(chunk.stop) - len(chunk.refused),
            asked=self.run.asked + len(chunk.stop),
        )
        self._save(chunk)

    def _judge_again(self, chunk: Chunk, stage: "_Stage") -> tuple[Chunk, "_Judged"]:
        """
        Judge the next jobs of a chunk as they are now.

        Those that are not to be stopped any more are taken out of what is to be stopped. A job
        whose stop Batch has accepted, or that has ended by it, was stopped by an invocation that
        could not write it down: it counts as asked.
        """
        now = self.now
        first = chunk.asked
        last = first + (_SERVICE_JOBS_AT_ONCE if chunk.service else _DESCRIBED_AT_ONCE)
        some, rest = chunk.stop[first:last], chunk.stop[last:]
        details = self._described(some, service=chunk.service)
        again, arrays = _FoundJobs(), dict(chunk.arrays)
        asked: list[str] = []
        for job_id in some:
            detail = details.get(job_id)
            if detail is None:
                continue  # Should it be there all the same, the next look finds it.
            status = str(detail.get("status"))
            if status in ENDED:
                is_ours = detail.get("statusReason") == chunk.reason[:REASON_MAX]
                (asked if is_ours and status == "FAILED" else again.escaped).append(job_id)
                continue
            job, action = _from_detail(detail), stage.entry.stage
            if not detail.keys() >= _NAMED_BY:
                continue  # What it lacks might spare it.
            verdict = stop_run.judge(stage.rule, job, detail, status, action)
            if (counts := stop_run.children(detail)) and verdict in ("stop", "left", "spared"):
                arrays[job_id] = counts
            match verdict:
                case "stop":
                    again.stop.append(job_id)
                case "asked" | "stop children":
                    asked.append(job_id)
                case "left":
                    again.left.append(job_id)
                case "spared":
                    again.spared.append(job_id)
        chunk = replace(
            chunk,
            stop=(*chunk.stop[:first], *asked, *again.stop, *rest),
            asked=first + len(asked),
            left=(*chunk.left, *again.left),
            spared=(*chunk.spared, *again.spared),
            escaped=(*chunk.escaped, *again.escaped),
            arrays=arrays,
        )
        return chunk, _Judged(upto=chunk.asked + len(again.stop), at=now, by=stage.policy)

    def _stop_some(self, chunk: Chunk, judged: "_Judged", tries: Counter[str]) -> Chunk:
        """
        Stop up to 50 of the judged jobs, and say how far the chunk has come.

        Raises:
            _OutdatedError: they must be judged again first.
            HeldBackError: it is not to go on.
        """
        first = chunk.asked
        some = chunk.stop[first : min(judged.upto, first + STOP_MAX)]
        if not some:
            return chunk

        def stop() -> Mapping[str, tuple[str, str]]:
            stage = self._stage()
            if self.now - judged.at > stop_run.JUDGED_FOR or stage.policy != judged.by:
                raise _OutdatedError
            return self.runner.batch.stop_some(chunk.how, some, chunk.reason, service=chunk.service)

        errors = self._patiently(stop)
        passing = [job_id for job_id, (code, _) in errors.items() if code in PASSING]
        tries.update(passing)
        later = {job_id for job_id in passing if tries[job_id] < _ROUNDS}
        refused = {
            # The same reason is given once, for all jobs.
            job_id: ": ".join(filter(None, error)).replace(job_id, "…")
            for job_id, error in errors.items()
            if error[0] not in PASSING
        }
        given_up = set(passing) - later
        refused |= dict.fromkeys(given_up, "throttled, or failed on the side of Batch")
        if later:
            self.runner.pace.throttled()
        done = [job_id for job_id in some if job_id not in later]
        again = [job_id for job_id in some if job_id in later]
        stops = (*chunk.stop[:first], *done, *again, *chunk.stop[first + len(some) :])
        return replace(
            chunk,
            stop=stops,
            asked=first + len(done),
            refused={**chunk.refused, **refused},
        )

    def _patiently[T](self, call: Callable[[], T]) -> T:
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
                self.runner.pace.throttled()
            else:
                self.runner.pace.passed()
                return answer
        raise ThrottledError(self.run.run_id)

    def _save(self, chunk: Chunk | None = None) -> None:
        if self.run.phase == "listing":
            self.run = replace(self.run, due_at=self.now + stop_run.QUIET)
        puts = [run_items.put(self.run, self.now)]
        if chunk:
            puts.append(run_items.put_chunk(self.run.run_id, chunk))
        self.runner.table.write(puts)
        self.run = replace(self.run, version=self.run.version + 1)
        self.unwritten = 0

    # ---- The end --------------------------------------------------------------------------

    def _conclude(self, stage: "_Stage") -> timedelta | None:
        """A look is over: look again, or rest; and report, the first time."""
        if stop_run.must_look_again(self.run):
            self.run = stop_run.again(self.run, self.now)
            self._save()
            return stop_run.LOOK_AGAIN
        if not self.run.observing:
            self._settle(stage)
        rested = stop_run.rest(self.run, self.now)
        notices = [] if self.run.reported else [self._report(stage, rested)]
        trouble = None if self.run.warned else self._still_there(stage)
        if trouble:
            rested = replace(rested, warned=True)
            notices.append(trouble)
        recorder = Recorder(table=self.runner.table, asked_by="stop_jobs")
        outcome = Outcome(
            puts=[run_items.put(rested, self.now)],
            effects=[self.runner.policy().notify.announce([notice]) for notice in notices],
        )
        recorder.write([outcome], self.now)
        return None

    def _settle(self, stage: "_Stage") -> None:
        """
        Ask Batch how those ended that were asked to stop, and write down what it shows.

        That a list does not show a job any more does not say how it ended. It may have started
        before its stop took effect, or have ended by itself; and what was to be stopped on its
        arrival may never have been.
        """
        table, run = self.runner.table, self.run
        if run.settled_at and run.asked == run.settled:
            since = run.settled_at - _LATE
            if next(run_items.arrived(table, run.run_id, since), None) is None:
                return
        unsettled = Unsettled(run_items.found(table, run.run_id), _ASKED_AFTER_MAX)
        found = _FoundJobs()
        # Where Batch hardly answers, nothing waits for it: the next look asks again.
        with suppress(OutOfTimeError, ThrottledError):
            jobs = unsettled.jobs[:_ASKED_AFTER_MAX]
            for some in batched(jobs, _DESCRIBED_AT_ONCE, strict=False):
                details = self._described(some, service=False)
                self._take_in_ends(details, unsettled, stage, found)
            for job_id in islice(unsettled.service, _SERVICE_ASKED_AFTER_MAX):
                details = self._described([job_id], service=True)
                self._take_in_ends(details, unsettled, stage, found)
        over = {*found.escaped, *found.left, *found.over}
        if not {*unsettled.jobs, *unsettled.service} - over:
            self.run = replace(self.run, settled_at=run.looked_at, settled=run.asked)
        if not found.is_empty:
            self._write_down(found, stage, service=False)

    def _take_in_ends(
        self,
        details: Mapping[str, Detail],
        unsettled: Unsettled,
        stage: "_Stage",
        found: _FoundJobs,
    ) -> None:
        reason = stop_run.stop_reason(self.run.guard, stage.entry)[:REASON_MAX]
        for job_id, detail in details.items():
            if stop_run.is_array(detail):
                if job_id in unsettled.arrays:
                    self._take_in_array(job_id, detail, unsettled.arrays[job_id], stage, found)
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
        self, array_id: str, detail: Detail, known: int | None, stage: "_Stage", found: _FoundJobs
    ) -> None:
        failed, is_over = stop_run.failed_children(detail), detail.get("status") in ENDED
        if failed is None:
            return
        accepted = is_stop_accepted(detail)
        there = 0 if is_over else stop_run.still_there(detail, stage.entry.stage)
        if there and not accepted:
            return  # It arrived, and was not asked to stop yet: the next look does.
        if there:
            found.alive[array_id] = there
        if not accepted:
            failed = 0  # It was never asked to stop: they failed by themselves.
        elif failed and stage.entry.stage == "cancel":
            reason = stop_run.stop_reason(self.run.guard, stage.entry)[:REASON_MAX]
            children = self._patiently(partial(self._list_children, array_id, "FAILED"))
            failed = sum(stop_run.failed_waiting(child, reason) for child in children)
        if failed != known:
            found.ended[array_id] = failed
        if is_over:
            found.over.append(array_id)

    @staticmethod
    def _take_in_alive(
        job_id: str, detail: Detail, unsettled: Unsettled, stage: "_Stage", found: _FoundJobs
    ) -> None:
        action = stage.entry.stage
        if action == "cancel" and detail.get("status") in STARTED:
            if not detail.get("isTerminated"):
                found.left.append(job_id)
            return
        child = array_child(job_id)
        # Others are found by the look itself, and counted with their array.
        if child and child[0] not in unsettled.arrays and detail.get(_MARKS[action]):
            found.alive[job_id] = 1

    def _report(self, stage: "_Stage", rested: Run) -> Notice:
        found = run_items.found(self.runner.table, self.run.run_id)
        return run_notices.report(
            self.run.guard,
            stage.entry,
            tally(found, stage.entry.stage, rested),
            at=self.now,
            queues_closed=self.run.would_close if self.run.observing else stage.closed,
        )

    def _still_there(self, stage: "_Stage") -> Notice | None:
        """What is to be said of jobs that are still there, long after their stop was accepted."""
        if not self.run.alive or self.run.looked_at is None:
            return None
        found = still_there(
            partial(run_items.found, self.runner.table, self.run.run_id),
            since=self.run.looked_at,
            asked_before=self.now - stop_run.STILL_THERE,
        )
        if found is None:
            return None
        return run_notices.still_there(self.run.guard, stage.entry, found, self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Up to which of a chunk's jobs they were judged, when, and by which version of the policy."""

    upto: int
    at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """The stage that a run is for, by this version of the policy; and what its guard has closed."""

    rule: Guard
    policy: str
    entry: StageEntry
    closed: Sequence[str]


def _is_part(job_id: str) -> bool:
    """Whether this is an array's child or a node: whatever is done is done to the whole."""
    return "#" in job_id or array_child(job_id) is not None


def _listed(summary: Detail, queue: str) -> Listed:
    return Listed(
        job_name=summary.get("jobName") or "",
        queue=queue,
        definition=summary.get("jobDefinition") or "",
    )


def _from_detail(detail: Detail) -> Listed:
    return Listed(
        job_name=detail.get("jobName") or "",
        queue=detail.get("jobQueue") or "",
        definition=detail.get("jobDefinition") or "",
        tags=detail.get("tags") or {},
    )


def _cut(found: _FoundJobs, count: int) -> _FoundJobs:
    """Take out all that was found, but for the jobs to stop beyond the first `count`."""
    cut = replace(found, stop=found.stop[:count])
    del found.stop[:count]
    found.left, found.spared, found.arrays, found.escaped, found.alive = [], [], {}, [], {}
    return cut
