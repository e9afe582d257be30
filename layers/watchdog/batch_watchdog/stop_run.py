"""
Carrying out a stop run, as far as one invocation gets.

Whatever Batch is asked here goes at one pace, shared by all runs. Ids are written down before any
of them is stopped, and what came of it after. So the next invocation goes on where this one
ended, in good order or not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import batched

from botocore.exceptions import BotoCoreError, ClientError

from batch_watchdog import guard, guard_notices, runs
from batch_watchdog.batch_api import PASSING, STOP_MAX, BatchApi, Detail, kinds_of
from batch_watchdog.changes import STARTED, WAITING, array_child
from batch_watchdog.effects import Announce
from batch_watchdog.errors import HeldBackError, OutOfTimeError, StaleItemError, ThrottledError
from batch_watchdog.guard import QueuesFoundOpen
from batch_watchdog.guard_state import Entry
from batch_watchdog.guard_watch import GuardWatch
from batch_watchdog.pace import Pace
from batch_watchdog.policy import Guard, Policy
from batch_watchdog.recorder import Outcome, Recorder
from batch_watchdog.run_tally import tally
from batch_watchdog.runs import Chunk, Listed, Listing, Run
from batch_watchdog.stop_queue import StopQueue
from batch_watchdog.store import guards, operator_hold
from batch_watchdog.store import runs as run_store
from batch_watchdog.store.table import Table

_SPARE_S = 15.0  # of an invocation, kept back for what has been begun
_CHUNK_MAX = 1_100  # jobs to stop: a page, and what is carried over; an id takes 20 bytes
_DESCRIBED_AT_ONCE = 100
_QUEUES_AT_ONCE = 50
_TRIES = 12  # of one call that is throttled
_ROUNDS = 5  # for jobs whose stop was throttled or failed on Batch's side
_BREATHER_S = 20  # until the next try, where AWS throttles for long
_PAGES_MAX = 10  # read again, at most, where an invocation dies
_TURN_S = 5  # until the next try, where it is another run's turn


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRunner:
    """Carries out stop runs. The calls of `batch` wait for `pace`."""

    table: Table
    batch: BatchApi
    pace: Pace
    queue: StopQueue
    policy: Callable[[], Policy]

    def work(self, run_id: str, now: datetime, *, time_left: Callable[[], float]) -> None:
        """
        Go on with a run, until it is done or rests, or this invocation's seconds are up.

        A run that another stage has overtaken ends here. One that is held back, by an operator
        or by a policy that only observes, stays where it is: the sweep starts it again.
        """
        run = run_store.read(self.table, run_id)
        if run is None or runs.is_over(run) or now < run.not_before:
            return
        try:
            holder = run_store.take_turn(self.table, run_id, now)
        except StaleItemError:
            holder = ""  # Somebody, just now.
        if holder is None:
            self._work(run, now, time_left)
        elif holder != run_id:
            self.queue.send(run_id, _TURN_S)

    def _work(self, run: Run, now: datetime, time_left: Callable[[], float]) -> None:
        self.pace.begin(time_left)
        work = _Work(runner=self, run=run, began=now, time_left=time_left)
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
            run_store.end_turn(self.table, run.run_id, now)


@dataclass(slots=True, kw_only=True)
class _Found:
    """What is to be written down next: jobs to stop, and jobs that are not."""

    stop: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    arrays: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Work:
    """One invocation's work on a run. `run` is as it was last written, or further on."""

    runner: StopRunner
    run: Run
    began: datetime
    time_left: Callable[[], float]
    unwritten: int = 0  # pages with nothing on them that matters

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
            return runs.CLOSING
        if self.run.pending:
            self._stop_chunk(self._last_chunk())
        listings = runs.listings(self.run, stage.entry.stage)
        while self.run.place < len(listings):
            self._read(listings[self.run.place], self._stage())
        for service, ids in sorted(self.run.carry.items()):
            self.run = replace(self.run, carry={**self.run.carry, service: ()})
            self._write_down(_Found(stop=list(ids)), self._stage(), service=service)
        return self._conclude(self._stage())

    def _stage(self) -> "_Stage":
        """
        The stage that the run is for.

        Raises:
            HeldBackError: the guard has moved on, or an operator or the policy holds it back.
        """
        table, policy, name = self.runner.table, self.runner.policy(), self.run.guard
        state = guards.read(table, name)
        rule = next((rule for rule in policy.guard if rule.name == name), None)
        entry = state.entry if state and guard.is_current(state, self.run.run_id) else None
        if not (state and rule and entry) or entry.mode != policy.mode_of(rule):
            raise HeldBackError(self.run.run_id)
        if operator_hold.read(table).is_on:
            raise HeldBackError(self.run.run_id)
        return _Stage(rule=rule, entry=entry, closed=state.closed)

    # ---- Queues ---------------------------------------------------------------------------

    def _begin_look(self, stage: "_Stage") -> bool:
        """Find the queues in scope, and close those that are open; whether there were any."""
        queues = [
            queue
            for queue in self._patiently(lambda: list(self.runner.batch.queues()))
            if stage.rule.covers_queue(queue["jobQueueArn"])
        ]
        open_ones = [each["jobQueueArn"] for each in queues if each.get("state") == "ENABLED"]
        closes = guard.closes_queues(stage.rule, stage.entry.stage)
        closed_some = closes and not self.run.observing and self._close(open_ones)
        kinds = [(each["jobQueueArn"], service) for each in queues for service in kinds_of(each)]
        self.run = replace(
            runs.look(self.run, kinds, self.runner.policy().version, self.now),
            would_close=tuple(open_ones) if closes and self.run.observing else (),
            not_before=self.now + runs.CLOSING if closed_some else self.run.not_before,
        )
        self._save()
        return closed_some

    def _close(self, queues: Sequence[str]) -> bool:
        watch = GuardWatch(table=self.runner.table, policy=self.runner.policy(), now=self.now)
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
        page, token = self._page(listing, self.run.token)
        summaries = [each for each in page if not _is_part(each["jobId"])]
        found = _Found(stop=list(self.run.carry.get(listing.service, ())))
        for job, summary in self._with_tags(summaries, listing, stage):
            self._judge(job, summary, listing.status, stage, found)
            while len(found.stop) >= _CHUNK_MAX:
                # What was carried here is written down now. Of the rest of the page nothing is
                # known yet: it is read again, should this be the end.
                self.run = replace(self.run, carry={**self.run.carry, listing.service: ()})
                self._write_down(_cut(found, _CHUNK_MAX), stage, service=listing.service)
        full = _cut(found, len(found.stop) - len(found.stop) % STOP_MAX)
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
        self, summaries: Sequence[Detail], listing: Listing, stage: "_Stage"
    ) -> Iterator[tuple[Listed, Detail]]:
        """The jobs, with their tags where these decide; without those that are gone by now."""
        jobs = {each["jobId"]: _listed(each, listing.queue) for each in summaries}
        needing = [
            job_id
            for job_id, job in jobs.items()
            if runs.needs_tags(stage.rule, job, listing.status, stage.entry.stage)
        ]
        batch, known = self.runner.batch, dict[str, Detail]()
        describe = batch.describe_service if listing.service else batch.describe
        at_once = 1 if listing.service else _DESCRIBED_AT_ONCE
        for some in batched(needing, at_once, strict=False):
            known |= self._patiently(partial(describe, some))
        tags = {job_id: known[job_id].get("tags") or {} for job_id in needing if job_id in known}
        gone = set(needing) - tags.keys()
        for summary in summaries:
            job_id = summary["jobId"]
            if job_id not in gone:
                job = jobs[job_id]
                yield replace(job, tags=tags[job_id]) if job_id in tags else job, summary

    def _judge(
        self, job: Listed, summary: Detail, status: str, stage: "_Stage", found: _Found
    ) -> None:
        job_id, action = summary["jobId"], stage.entry.stage
        verdict = runs.judge(stage.rule, job, summary, status, action)
        counts = runs.children(summary)
        if counts and verdict in ("stop", "left", "spared"):
            found.arrays[job_id] = counts
        match verdict:
            case "stop":
                found.stop.append(job_id)
            case "stop children":
                found.stop += self._children(job, summary, stage)
            case "left":
                found.left.append(job_id)
            case "spared":
                found.spared.append(job_id)

    def _children(self, job: Listed, array: Detail, stage: "_Stage") -> Iterator[str]:
        """An array's children that its stop has not reached."""
        counts: Mapping[str, int] = array["arrayProperties"].get("statusSummary") or {}
        for status in (*WAITING, *STARTED):
            if counts.get(status):
                read = partial(self._list_children, array["jobId"], status)
                for child in self._patiently(read):
                    if runs.judge(stage.rule, job, child, status, stage.entry.stage) == "stop":
                        yield child["jobId"]

    def _list_children(self, array_id: str, status: str) -> list[Detail]:
        return list(self.runner.batch.children(array_id, status))

    # ---- Chunks ---------------------------------------------------------------------------

    def _write_down(self, found: _Found, stage: "_Stage", *, service: bool) -> None:
        """Write down what was found, and how far the run has come by it; then stop the jobs."""
        if not (found.stop or found.left or found.spared or found.arrays):
            self.unwritten += 1  # It is written with the next chunk, or after a few more pages.
            if self.unwritten >= _PAGES_MAX:
                self._save()
            return
        chunk = Chunk(
            number=self.run.chunks,
            at=self.now,
            how=stage.entry.stage,
            reason=runs.stop_reason(self.run.guard, stage.entry),
            rule=f'guard "{self.run.guard}"',
            service=service,
            stop=tuple(dict.fromkeys(found.stop)),
            left=tuple(found.left),
            spared=tuple(found.spared),
            arrays=found.arrays,
            # What would be stopped counts as if it were.
            asked=len(found.stop) if self.run.observing else 0,
        )
        must_stop = bool(chunk.stop) and not self.run.observing
        self.run = replace(self.run, chunks=self.run.chunks + 1, pending=must_stop)
        self._save(chunk)
        if must_stop:
            self._stop_chunk(replace(chunk, version=1))

    def _last_chunk(self) -> Chunk:
        number = self.run.chunks - 1
        chunk = run_store.read_chunk(self.runner.table, self.run.run_id, number)
        if chunk is None:  # It is written together with the head that says so.
            raise StaleItemError(f"{self.run.run_id}: chunk {number} is gone")
        return chunk

    def _stop_chunk(self, chunk: Chunk) -> None:
        """Stop the jobs of a chunk from where that was left, and write down what came of it."""
        self._stage()
        try:
            for some in batched(chunk.stop[chunk.asked :], STOP_MAX, strict=False):
                refused = {**chunk.refused, **self._stop(chunk, some)}
                chunk = replace(chunk, asked=chunk.asked + len(some), refused=refused)
        except OutOfTimeError:
            self._save(chunk)
            raise
        self.run = replace(
            self.run,
            pending=False,
            accepted=self.run.accepted + len(chunk.stop) - len(chunk.refused),
            asked=self.run.asked + len(chunk.stop),
        )
        self._save(chunk)

    def _stop(self, chunk: Chunk, job_ids: Sequence[str]) -> dict[str, str]:
        """Stop up to 50 jobs; the answer is why, for each that Batch would not stop."""
        left, refused = list(job_ids), dict[str, str]()
        for _ in range(_ROUNDS):
            stop = partial(
                self.runner.batch.stop_some, chunk.how, left, chunk.reason, service=chunk.service
            )
            errors = self._patiently(stop)
            left = [job_id for job_id, (code, _) in errors.items() if code in PASSING]
            refused |= {
                # The same reason is told once, for all jobs.
                job_id: ": ".join(filter(None, error)).replace(job_id, "…")
                for job_id, error in errors.items()
                if error[0] not in PASSING
            }
            if not left:
                return refused
            self.runner.pace.throttled()
        return refused | dict.fromkeys(left, "throttled, or failed on the side of Batch")

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
            self.run = replace(self.run, due_at=self.now + runs.QUIET)
        puts = [run_store.put(self.run, self.now)]
        if chunk:
            puts.append(run_store.put_chunk(self.run.run_id, chunk))
        self.runner.table.write(puts)
        self.run = replace(self.run, version=self.run.version + 1)
        self.unwritten = 0

    # ---- The end --------------------------------------------------------------------------

    def _conclude(self, stage: "_Stage") -> timedelta | None:
        """A look is over: look again, or rest; and report, the first time."""
        if self.run.accepted and self.run.look < runs.LOOKS_MAX:
            self.run = runs.again(self.run, self.now)
            self._save()
            return runs.LOOK_AGAIN
        rested = runs.rest(self.run, self.now)
        report = [] if self.run.reported else [self._report(stage)]
        recorder = Recorder(table=self.runner.table, asked_by="stop_jobs")
        outcome = Outcome(puts=[run_store.put(rested, self.now)], effects=report)
        recorder.write([outcome], self.now)
        return None

    def _report(self, stage: "_Stage") -> Announce:
        found = run_store.found(self.runner.table, self.run.run_id)
        notice = guard_notices.report(
            self.run.guard,
            stage.entry,
            tally(found, stage.entry.stage),
            at=self.now,
            queues_closed=self.run.would_close if self.run.observing else stage.closed,
        )
        return Announce(notices=(notice,))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """The stage that a run is for, and the queues that its guard has closed."""

    rule: Guard
    entry: Entry
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


def _cut(found: _Found, count: int) -> _Found:
    """Take out all that was found, but for the jobs to stop beyond the first `count`."""
    cut = replace(found, stop=found.stop[:count])
    del found.stop[:count]
    found.left, found.spared, found.arrays = [], [], {}
    return cut
