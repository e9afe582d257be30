"""A history as it happens: a plan carried out on the real handlers, and what is seen of it."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import SetQueueState, StopJobs
from batch_watchdog.core.errors import WatchdogError
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.notices.text import iso
from batch_watchdog.policy.model import Policy, parse_policy
from batch_watchdog.store.actions import PREFIX, Action, to_action
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Listener, Put, Table
from batch_watchdog.threads.items import open_threads
from batch_watchdog.wiring import container, install
from local.aws import errors as aws
from local.aws.clock import Order
from local.aws.dispatcher import Dispatcher, MakeTable
from local.aws.errors import ApiError, Responder
from local.aws.functions import Crash, Outcome
from local.aws.sources import Call as CallFunction
from local.aws.stack import Stack
from local.batch.disorder import Dice, Disorder
from local.batch.simulated import SimulatedBatch
from local.batch.state import Call
from tests.simulation.faults import Faults, FaultyTable, LightSession
from tests.simulation.plan import ACCOUNT, QUEUES, Plan, Step

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_LATE = timedelta(minutes=8)  # A stop is not carried out so long after it was asked for.
REAL_CLIENTS_EVERY = 40  # histories; the others have light clients, which are quicker

_FOR_A_BUDGET = "budget all "

_EXPLAINED = (Crash, ClientError, BotoCoreError, WatchdogError)

_VCPUS = {"cpu": 8, "gpu": 8, "small": 2, "train": 64}


@dataclass(frozen=True, slots=True)
class Stay:
    """A job's true time in one state; `until` is None where it lasts."""

    status: str
    attempts: int
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Heard:
    """A change that an invocation took in, and that was taken to have gone well."""

    at: datetime
    told_at: datetime  # the time that its event told
    status: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Made:
    """
    A changing call of the watchdog.

    It may rest on what it read from `since` on: the invocation that made it began then, and time
    passed in it.
    """

    call: Call
    since: datetime
    folder: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What an invocation of `spend_alarm` was called with, and whether it went well."""

    began: datetime
    ended: datetime
    payload: Mapping[str, Any]
    went_well: bool


@dataclass(slots=True, kw_only=True)
class History:
    """What is seen of a history: the truth beside what the watchdog was told, said and did."""

    plan: Plan
    counts: Counter[str] = field(default_factory=Counter)
    ended: datetime = NOON
    faults_until: datetime = NOON
    stays: dict[str, list[Stay]] = field(default_factory=lambda: defaultdict(list))
    jobs: dict[str, JobEvent] = field(default_factory=dict)
    details: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    received: dict[str, list[Heard]] = field(default_factory=lambda: defaultdict(list))
    failures: list[tuple[datetime, str, str]] = field(default_factory=list)  # of invocations
    mistakes: list[str] = field(default_factory=list)  # failures that no fault explains
    published: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    letters: list[tuple[datetime, str, Any]] = field(default_factory=list)
    policies: list[tuple[datetime, Policy]] = field(default_factory=list)  # good ones only
    texts: list[tuple[datetime, str]] = field(default_factory=list)  # of the same
    tags: dict[str, list[tuple[datetime, Mapping[str, str]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    deliveries: list[Delivery] = field(default_factory=list)
    swept: list[tuple[datetime, datetime]] = field(default_factory=list)  # sweeps that went well
    made: list[Made] = field(default_factory=list)  # the journal, and what each call rests on
    bad_policies: list[datetime] = field(default_factory=list)
    commands: list[tuple[datetime, dict[str, Any], str]] = field(default_factory=list)
    alarms: list[tuple[datetime, str, str]] = field(default_factory=list)
    late_sweeps: list[datetime] = field(default_factory=list)  # when they came
    late_alarms: set[str] = field(default_factory=set)  # and those that never say OK
    malformed: int = 0
    journal: list[Call] = field(default_factory=list)  # of the watchdog's calls
    by_people: list[Call] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)  # changing calls that no record asked for
    actions: list[Action] = field(default_factory=list)
    chat: list[tuple[datetime, Any]] | None = None  # where the stack tells one
    written_at: dict[str, datetime] = field(default_factory=dict)  # items, by sort key
    table: Table = field(default_factory=MemoryTable)
    overwritten: list[str] = field(default_factory=list)  # items, though they had changed
    queues: dict[str, str] = field(default_factory=dict)  # states at the end, by ARN

    def status_at(self, job_id: str, at: datetime) -> Stay | None:
        """The job's true stay at a time."""
        found = [stay for stay in self.stays.get(job_id, ()) if stay.since <= at]
        return found[-1] if found else None

    def tags_at(self, job_id: str, at: datetime) -> Mapping[str, str]:
        """A job's tags as they were at a time; an array's children have their array's."""
        known = self.tags.get(job_id) or self.tags.get(job_id.partition(":")[0]) or ()
        found = [tags for since, tags in known if since <= at]
        return found[-1] if found else {}

    def job_at(self, job_id: str, at: datetime) -> JobEvent:
        """A job as rules match it at a time."""
        return replace(self.jobs[job_id], tags=self.tags_at(job_id, at))

    def has_other_tags(self, job_id: str) -> bool:
        """Whether a person has changed a job's tags."""
        known = self.tags.get(job_id) or self.tags.get(job_id.partition(":")[0]) or ()
        return len(known) > 1

    def told_ids(self) -> set[str]:
        """The ids of all notices that were delivered, also in a digest, or that one is to tell."""
        ids = {
            each for thread in open_threads(self.table, self.ended) for each in thread.collected.ids
        }
        for _, content in self.published:
            ids.add(content["id"])
            if content["notice"] == "digest":
                ids |= set(content["facts"]["ids"])
        return ids

    def policy_at(self, at: datetime) -> Policy:
        return [policy for since, policy in self.policies if since <= at][-1]

    def policies_from(self, begin: datetime, end: datetime) -> list[Policy]:
        """The policies that were in force between two times."""
        started = [at for at, _ in self.policies if at <= begin][-1:]
        first = started[0] if started else self.policies[0][0]
        return [policy for at, policy in self.policies if first <= at <= max(begin, end)]

    def known_since(
        self, job_id: str, at: datetime, heard_until: datetime | None = None
    ) -> datetime:
        """
        Since when a job is in its state at a time, as far as can be known then, or later.

        Batch itself tells nothing of a start that led back to RUNNABLE without an attempt: where
        all events of it are lost or late, the stay before cannot be told from this one. Of a
        service job that ran, and was preempted, Batch does tell.
        """
        stays = [stay for stay in self.stays[job_id] if stay.since <= at]
        now = stays[-1]
        ran = len(stays) > 1 and stays[-2].status == "RUNNING"
        if self.jobs[job_id].kind == "service" and ran:
            return now.since
        since = now.since
        for stay in reversed(stays[:-1]):
            told = [
                received.told_at
                for received in self.received.get(job_id, ())
                if stay.since < received.told_at <= received.at  # Else its clock was ahead.
                and (heard_until is None or received.told_at <= at)
                and received.at <= (heard_until or at)
                and received.attempts == now.attempts
            ]
            if told:
                return min(since, max(told))
            if stay.attempts != now.attempts:
                break
            if stay.status == now.status:
                since = stay.since
        return since

    def notices(self) -> list[tuple[Action, Any]]:
        """All notices that were recorded, each with its first action."""
        return [
            (action, notice)
            for action in self.actions
            if not action.tries  # Else it is one that was handed on: the first one counts.
            for notice in getattr(action.effect, "notices", ())
        ]


def run(
    plan: Plan,
    stack: Stack,
    make_faults: Callable[..., Faults] = Faults,
    make_table: MakeTable = MemoryTable,
) -> History:
    """Carry out a plan, and let what is under way come to its end."""
    return _Stage(plan, stack, make_faults, make_table).play()


@cache
def _real_session(region: str) -> boto3.Session:
    services = ("batch", "cloudwatch", "ec2", "ecs", "lambda", "sns", "sqs", "ssm")

    def answered_by(service: str) -> Responder:
        def answer(operation: str, params: dict[str, Any]) -> dict[str, Any]:
            return _answering[0][service](operation, params)

        return answer

    return aws.session({each: answered_by(each) for each in services}, region)


class _CachedSession:
    """Clients are made once a process: that takes longer than a history."""

    def __init__(self, region: str) -> None:
        self._region = region

    def client(self, service: str, **_: Any) -> Any:
        return _client(self._region, service)


@cache
def _client(region: str, service: Any) -> Any:
    return _real_session(region).client(service)


_answering: list[Mapping[str, Responder]] = []


class _Stage:
    def __init__(
        self, plan: Plan, stack: Stack, make_faults: Callable[..., Faults], make_table: MakeTable
    ) -> None:
        self.plan = plan
        self.random = Random(f"{plan.seed} faults")  # noqa: S311 - it need only be the same
        self.seen = History(plan=plan)
        self.faults = make_faults(
            random=self.random,
            rates=plan.rates,
            counts=self.seen.counts,
            doing=self._doing,
            others=self._others,
            twin=self._twin,
        )
        self._stack = stack
        self._make_sound_table = make_table
        self._under_way: list[tuple[str, Any, datetime]] = []
        self._ids: list[str] = []
        self._losing: set[tuple[str, str]] = set()  # jobs and states of which no event comes
        self._stumbles: list[str] = []  # operations before whose next call a function crashes
        self._sweeps_late_until = NOON - _HOUR
        self._late_sweeps: set[str] = set()
        names = {each.environment["POLICY_PARAMETER"] for each in stack.functions.values()}
        self._parameter = next(iter(names))
        self.batch = SimulatedBatch(emit=self._emitted, disorder=plan.disorder, **plan.batch)
        self.faults.refuse = self.batch.refusals.__setitem__
        self.dispatcher = Dispatcher(
            stack,
            self.batch,
            self,
            parameters={self._parameter: plan.policy},
            make_table=self._make_table,
            responders={"batch": self._call_batch},
            policy_max_age=0,
            make_session=self._make_session,
            around=self._around,
            call_seconds=plan.call_seconds,
        )

    # ---- Parts that faults are put into -----------------------------------------------------

    def _make_table(self, listener: Listener) -> Table:
        def received(name: str, old: Item | None, new: Item) -> None:
            if name == "INSERT":
                self.seen.written_at[str(new["sk"])] = self.dispatcher.clock.now
            if old and new["version"] != int(old["version"]) + 1:
                self.seen.overwritten.append("/".join(map(str, (new["pk"], new["sk"]))))
            listener(name, old, new)

        self.seen.table = self._make_sound_table(received)
        return FaultyTable(self.seen.table, self.faults)

    def _make_session(self, responders: Mapping[str, Responder], region: str) -> Any:
        faulty = {
            service: self._stumbling(self.faults.on_responder(service, responder))
            for service, responder in responders.items()
        }
        if self.plan.seed % REAL_CLIENTS_EVERY:
            return LightSession(faulty)
        _answering[:] = [faulty]
        return _CachedSession(region)

    def _stumbling(self, responder: Responder) -> Responder:
        def answer(operation: str, params: dict[str, Any]) -> dict[str, Any]:
            if operation in self._stumbles and self._under_way:
                self._stumbles.remove(operation)
                raise Crash(f"before {operation}")
            return responder(operation, params)

        return answer

    def _around(self, call: CallFunction) -> CallFunction:
        def called(arn: str, event: Any) -> Outcome:
            if self._is_late(arn, event):
                return Outcome(answer=None)
            folder, began = self._stack.functions[arn].folder.name, self.dispatcher.clock.now
            self._under_way.append((arn, event, began))
            self.faults.depth += 1
            try:
                outcome = call(arn, event)
            finally:
                self.faults.depth -= 1
                self._under_way.pop()
            if not outcome.error and self._is_redelivered(folder):
                outcome = Outcome(error="Crash: the answer was lost")
            if folder == "spend_alarm":
                delivery = Delivery(began, self.dispatcher.clock.now, event, not outcome.error)
                self.seen.deliveries.append(delivery)
            if folder == "sweep" and not outcome.error:
                self.seen.swept.append((began, self.dispatcher.clock.now))
            self._noted(folder, event, outcome)
            return outcome

        return called

    def _is_late(self, arn: str, event: Any) -> bool:
        """Whether a sweep's event comes later; then it does so by itself."""
        if self._stack.functions[arn].folder.name != "sweep" or self._under_way:
            return False
        now, key = self.dispatcher.clock.now, str(event)
        if key in self._late_sweeps:
            return False  # Now it has come.
        until = self._sweeps_late_until
        if self.faults.happens(self.plan.event_rates.sweeps_late):
            until = now + timedelta(seconds=self.random.choice((20, 90, 400)))
        if until <= now:
            return False
        self.seen.counts["a sweep's event comes late"] += 1
        self.seen.late_sweeps.append(until)
        self._late_sweeps.add(key)
        self.dispatcher.clock.at(until, Order.WORK, self._come_late, arn, event)
        return True

    def _come_late(self, arn: str, event: Any) -> None:
        self.dispatcher._call_later(arn, event)  # noqa: SLF001 - as its schedule would

    def _doing(self) -> tuple[str, datetime]:
        arn, _, _ = self._under_way[-1]
        return self._stack.functions[arn].folder.name, self.dispatcher.clock.now

    def _is_redelivered(self, folder: str) -> bool:
        if folder == "console" or not self.faults.happens(self.plan.rates.redelivered):
            return False
        kind = "a stream's records" if folder == "act" else "what had gone well"
        self.seen.counts[f"{kind} delivered again"] += 1
        return True

    def _noted(self, folder: str, event: Any, outcome: Outcome) -> None:
        now = self.dispatcher.clock.now
        if outcome.error:
            self.seen.failures.append((now, folder, outcome.error))
            self.seen.mistakes += [
                f"{folder} failed at {iso(now)}: {each!r}"
                for each in outcome.raised
                if not isinstance(each, _EXPLAINED)
            ]
        elif folder == "job_events":
            failed = {each["itemIdentifier"] for each in outcome.answer["batchItemFailures"]}
            if failed:
                self.seen.counts["a part of a batch failed"] += 1
                self.seen.failures.append((now, folder, "in part"))
            for record in event["Records"]:
                if record["messageId"] not in failed:
                    self._hear(record["body"], now)

    def _hear(self, body: str, now: datetime) -> None:
        try:
            event = json.loads(body)
            if "Blocked" in event["detail-type"]:
                return
            detail = event["detail"]
            told_at = datetime.fromisoformat(event["time"])
            received = Heard(now, told_at, detail["status"], len(detail.get("attempts") or ()))
            self.seen.received[detail["jobId"]].append(received)
        except (ValueError, KeyError, TypeError):
            pass  # What cannot be read was given up, with a reason.

    def _others(self, seconds: float) -> None:
        """Everybody else goes on, and what is under way may run out of its time."""
        held = container()
        began = self._under_way[-1][2]
        left = 55 - (self.dispatcher.clock.now - began).total_seconds()
        depth = self.faults.depth
        until = self.dispatcher.clock.now + timedelta(seconds=max(0.0, min(seconds, left)))
        self.dispatcher.run(until)
        self.faults.depth = depth
        install(held)

    def _twin(self) -> bool:
        """Another container does the same, from its beginning to its end."""
        arn, event, _ = self._under_way[-1]
        folder = self._stack.functions[arn].folder.name
        if folder == "console":
            return False
        held = container()
        if folder == "act":
            # Powertools' processor belongs to one process; this one is in the middle of a batch.
            self.faults.depth += 1
            try:
                with Outcome():
                    for record in event["Records"]:
                        held.actor.carry_out(
                            record["dynamodb"]["NewImage"], out_of_time=lambda: False
                        )
            finally:
                self.faults.depth -= 1
        else:
            self._around(self.dispatcher.functions.call)(arn, event)
        install(held)
        return True

    # ---- Batch, and its events ----------------------------------------------------------------

    def _call_batch(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        before = len(self.batch.journal)
        if operation.startswith(("Cancel", "Terminate", "Update")):
            problem = self._unrecorded(operation, params)
            if problem:
                self.seen.unrecorded.append(f"{iso(self.batch.now)} {problem}")
        try:
            return self.batch.call(operation, params)
        finally:
            calls = self.batch.journal[before:]
            self.seen.journal += calls
            if calls and self._under_way:
                arn, _, began = self._under_way[-1]
                folder = self._stack.functions[arn].folder.name
                self.seen.made += [Made(call, began, folder) for call in calls]
                stops = sum(_FOR_A_BUDGET in call.reason for call in calls if not call.error)
                self.seen.counts["stop for a live budget's sake"] += stops

    def _unrecorded(self, operation: str, params: Mapping[str, Any]) -> str:
        """What is wrong with the record of a changing call, which must be there by now."""
        table, now = self.seen.table, self.batch.now
        days = {iso(now - timedelta(hours=after))[:10] for after in (0, 24)}
        items = [item for day in days for item in table.query(f"{PREFIX}{day}")]
        actions = [to_action(item) for item in items]
        effects = [action.effect for action in actions]
        if operation == "UpdateJobQueue":
            wanted = params["jobQueue"], params["state"]
            asked = [(e.queue, e.state) for e in effects if isinstance(e, SetQueueState)]
            return "" if wanted in asked else f"{wanted} was not recorded"
        ids = set(params.get("jobs") or [params["jobId"]])
        stops = [
            each.effect
            for each in actions
            if isinstance(each.effect, StopJobs) and each.effect.rule and each.at > iso(now - _LATE)
        ]
        if any(e.reason == params["reason"] and ids <= set(e.job_ids) for e in stops):
            return ""
        for guard in table.query("GUARD"):
            entry = unpack(guard["body"]).get("entry")
            chunks = run_items.found(table, entry["run_id"]) if entry else ()
            for chunk in chunks:
                if ids <= set(chunk.stop) and chunk.reason == params["reason"] and chunk.rule:
                    return ""
        return f"{operation} of {sorted(ids)} for {params['reason']!r} was not recorded"

    def _emitted(self, event: dict[str, Any]) -> None:
        """Batch has told of a change: it is true now, and delivered as the faults have it."""
        detail = event["detail"]
        if "Blocked" not in event["detail-type"]:
            self._true(detail)
        self._deliver_sometime(event)

    def _true(self, detail: Mapping[str, Any]) -> None:
        job_id, attempts = detail["jobId"], len(detail.get("attempts") or ())
        stays = self.seen.stays[job_id]
        if stays and (stays[-1].status, stays[-1].attempts) == (detail["status"], attempts):
            return
        now = self.batch.now
        if stays:
            last = stays[-1]
            stays[-1] = Stay(last.status, last.attempts, last.since, now)
        stays.append(Stay(detail["status"], attempts, now, None))

    def _deliver_sometime(self, event: dict[str, Any]) -> None:
        rates, counts, faults = self.plan.event_rates, self.seen.counts, self.faults
        is_losing = (event["detail"].get("jobId"), event["detail"].get("status")) in self._losing
        if faults.happens(rates.lost) or is_losing:
            counts["event lost"] += 1
            return
        if faults.happens(rates.jumps):
            counts["clock jump in an event's time"] += 1
            jump = timedelta(seconds=self.random.choice((-15, 40, 600, 3600)))
            at = datetime.fromisoformat(event["time"]) + jump
            event = event | {"time": iso(at)}
        copies = 1
        if faults.happens(rates.repeated):
            counts["event repeated"] += 1
            copies = 2
        for _ in range(copies):
            delay = 0.0
            if faults.happens(rates.reordered):
                counts["event reordered"] += 1
                delay = self.random.random() * 90
            elif faults.happens(rates.delayed):
                counts["event delayed for long"] += 1
                most = (self.seen.faults_until - self.batch.now).total_seconds()
                delay = self.random.random() * max(120.0, min(most, 3 * 3600.0))
            at = self.dispatcher.clock.now + timedelta(seconds=delay)
            self.dispatcher.clock.at(at, Order.DELIVERY, self.dispatcher.deliver, event)

    # ---- The witness --------------------------------------------------------------------------

    def published(self, at: datetime, message: Mapping[str, Any]) -> None:
        content = json.loads(json.loads(message["Message"])["default"])
        self.seen.published.append((at, content))

    def dead_letter(self, at: datetime, reason: str, event: Any) -> None:
        self.seen.letters.append((at, reason, event))

    # ---- The play -----------------------------------------------------------------------------

    def play(self) -> History:
        self.batch.advance_to(NOON)
        self.dispatcher.run(NOON)
        self.batch.add_world(_world(self.plan))
        self._put(NOON - _HOUR, self.plan.policy)
        self.seen.faults_until = end = NOON + timedelta(minutes=self.plan.minutes)
        self.dispatcher.start(NOON)
        for step in self.plan.steps:
            at = NOON + timedelta(seconds=round(step.at))
            self.dispatcher.clock.at(at, Order.DELIVERY, self._do, step)
        self.dispatcher.run(end)
        self.faults.on = False
        self._stumbles.clear()
        self._be_orderly()
        self.seen.ended = end + timedelta(seconds=self.plan.drain_s)
        self.dispatcher.run(self.seen.ended)
        return self._finished()

    def _be_orderly(self) -> None:
        """Batch is in good order from now on, but for what events leave out."""
        self.batch.refusals.clear()
        self.batch.left_out.clear()
        self.batch.lacking.clear()
        world = self.batch._world  # noqa: SLF001 - nobody else needs it
        kept = self.plan.disorder
        world.disorder = Disorder(
            events_without_tags=kept.events_without_tags, child_tags=kept.child_tags
        )
        world.dice = Dice(world.disorder)

    def _finished(self) -> History:
        seen = self.seen
        self.batch.rate = None
        for job_id in seen.stays:
            detail = self._describe(job_id)
            if detail:
                seen.details[job_id] = detail
                job = event_from_detail(detail, self.batch.now)
                # An array's children need not show its tags.
                seen.jobs[job_id] = replace(job, tags=seen.tags_at(job_id, self.batch.now))
        day = NOON
        while day <= seen.ended + timedelta(days=1):
            seen.actions += map(to_action, seen.table.query(f"{PREFIX}{iso(day)[:10]}"))
            day += timedelta(days=1)
        for queue in self.batch.call("DescribeJobQueues", {})["jobQueues"]:
            seen.queues[queue["jobQueueArn"]] = queue["state"]
        seen.chat = self.dispatcher.chat if "NoticesInChat" in self._stack.names else None
        return seen

    def _describe(self, job_id: str) -> Mapping[str, Any] | None:
        found = self.batch.call("DescribeJobs", {"jobs": [job_id]})["jobs"]
        if found:
            return dict(found[0])
        try:
            return self.batch.call("DescribeServiceJob", {"jobId": job_id})
        except ApiError:
            return None

    def _do(self, step: Step) -> None:
        depth, self.faults.depth = self.faults.depth, 0  # People do this, whatever is under way.
        held = container() if self._under_way else None
        try:
            getattr(self, f"_do_{step.kind}")(dict(step.what))
        finally:
            self.faults.depth = depth
            if held:
                install(held)

    def _do_job(self, what: dict[str, Any]) -> None:
        waits = what.pop("waits_for_previous", False)
        if waits and self._ids and not what.get("service"):
            self.seen.counts["job that waits for another"] += 1
            what["depends_on"] = self._ids[-1:]
        try:
            job_id = self.batch.submit(what.pop("name"), what.pop("queue"), **what)
            self._ids.append(job_id)
            self.seen.tags[job_id].append((self.dispatcher.clock.now, what.get("tags", {})))
        except ApiError:
            self.seen.counts["job refused by a closed queue"] += 1

    def _do_policy(self, what: dict[str, Any]) -> None:
        now = self.dispatcher.clock.now
        is_bad = what.get("bad", False)
        if is_bad and not self._has_read(self.seen.policies[-1][1]):
            return  # What was never read cannot stay in force, and no invariant could hold it to.
        self.dispatcher.parameters[self._parameter] = what["text"]
        if is_bad:
            self.seen.counts["policy broken"] += 1
            self.seen.bad_policies.append(now)
        else:
            self.seen.counts["policy changed"] += 1
            self.seen.counts["a raised guard's stages changed"] += what.get("stages", False)
            self.seen.counts["a live budget's limit changed"] += what.get("limits", False)
            self._put(now, what["text"])

    def _put(self, at: datetime, text: str) -> None:
        self.seen.policies.append((at, parse_policy(text)))
        self.seen.texts.append((at, text))

    def _has_read(self, policy: Policy) -> bool:
        item = self.seen.table.get("POLICY", "LAST-GOOD")
        return item is not None and parse_policy(unpack(item["body"])).version == policy.version

    def _do_alarm(self, what: dict[str, Any]) -> None:
        now = self.dispatcher.clock.now
        told = _alarm_event(what["alarm"], what["state"], now)
        by_sns = what["by"] == "sns"
        self.seen.alarms.append((now, what["alarm"], what["state"]))
        if what.get("late_s"):
            self.seen.counts["alarm delivered hours late"] += 1
            self.seen.late_alarms.add(what["alarm"])
        self._write_row(_by_sns(told, now) if by_sns else told, what)

    def _do_budget(self, what: dict[str, Any]) -> None:
        """AWS Budgets tells that a threshold is passed. It has no message that this is over."""
        now = self.dispatcher.clock.now - timedelta(days=what.get("days_ago", 0))
        self.seen.counts["a budget's message"] += 1
        self.seen.late_alarms.add(what["budget"])
        self._write_row(_sns(budget_text(now, **what), now), what)

    def _do_anomaly(self, what: dict[str, Any]) -> None:
        now = self.dispatcher.clock.now - timedelta(days=what.get("days_ago", 0))
        self.seen.counts["an anomaly"] += 1
        self.seen.late_alarms.add(what["monitor"])
        self._write_row(_anomaly_event(what["monitor"], now), what)

    def _write_row(self, event: Mapping[str, Any], what: Mapping[str, Any]) -> None:
        """Hand on what money says: perhaps twice, perhaps late."""
        now = self.dispatcher.clock.now
        deliver: Callable[..., Any] = self.dispatcher.deliver
        if "Records" in event:
            deliver = self.dispatcher.notify
        copies = 1
        if self.faults.happens(self.plan.event_rates.repeated * 3):
            self.seen.counts["alarm repeated"] += 1
            copies = 2
        for _ in range(copies):
            delay = float(what.get("late_s", 0.0))
            if self.faults.happens(self.plan.event_rates.reordered * 2):
                self.seen.counts["alarm delayed, or out of order"] += 1
                delay += self.random.random() * 1200
            at = now + timedelta(seconds=delay)
            self.dispatcher.clock.at(at, Order.DELIVERY, deliver, event)

    def _do_command(self, what: dict[str, Any]) -> None:
        now = self.dispatcher.clock.now
        held_for = what.pop("for_s", None)
        if what["command"] == "exempt":
            if not self._ids:
                return
            job_id = self._job(what)
            what |= {"job_id": job_id, "until": iso(now + 6 * _HOUR)}
        if what["command"] != "status":
            what["by"] = "jane"
        problem = self.dispatcher.command({"command": what})
        if problem.startswith("Crash"):  # People ask the same again.
            problem = self.dispatcher.command({"command": what})
        self.seen.counts[f"command {what['command']}"] += 1
        # Nothing is held, or released, before the answer says so.
        is_over = what["command"] in ("hold", "release")
        at = self.dispatcher.clock.now if is_over else now
        self.seen.commands.append((at, what, problem))
        if held_for:
            at = now + timedelta(seconds=held_for)
            self.dispatcher.clock.at(at, Order.DELIVERY, self._resume)

    def _resume(self) -> None:
        """A person who gets an error asks again."""
        depth, self.faults.depth = self.faults.depth, 0
        held = container() if self._under_way else None
        now = self.dispatcher.clock.now
        command = {"command": "resume", "by": "jane"}
        problem = self.dispatcher.command({"command": command})
        self.seen.commands.append((now, command, problem))
        if problem:
            at = now + timedelta(seconds=61)
            self.dispatcher.clock.at(at, Order.DELIVERY, self._resume)
        self.faults.depth = depth
        if held:
            install(held)

    def _do_person(self, what: dict[str, Any]) -> None:
        before = len(self.batch.journal)
        if what["does"] == "cancel":
            if self._ids:
                job_id = self._job(what)
                with suppress(ApiError):
                    self.batch.call("CancelJob", {"jobId": job_id, "reason": "no longer needed"})
        else:
            state = "DISABLED" if what["does"] == "close" else "ENABLED"
            with suppress(ApiError):  # The queue may be UPDATING.
                self.batch.call("UpdateJobQueue", {"jobQueue": what["queue"], "state": state})
        self.seen.counts[f"a person's {what['does']}"] += 1
        self.seen.by_people += self.batch.journal[before:]

    def _job(self, what: dict[str, Any]) -> str:
        """The job that is meant: by its number, or any."""
        number: int | None = what.pop("number", None)
        if number is None:
            return self.random.choice(self._ids)
        return self._ids[number % len(self._ids)]  # Some were refused.

    def _do_tags(self, what: dict[str, Any]) -> None:
        """A person gives a job other tags."""
        if not self._ids:
            return
        job_id = self._job(what)
        self.seen.counts["a job's tags changed"] += 1
        self._tag(job_id, what["tags"])
        self.seen.tags[job_id].append((self.dispatcher.clock.now, what["tags"]))

    def _tag(self, job_id: str, tags: Mapping[str, str]) -> None:
        self.batch.tag(job_id, tags)
        self.batch.untag(job_id, *(self.seen.tags_at(job_id, self.batch.now).keys() - tags.keys()))

    def _do_batch(self, what: dict[str, Any]) -> None:
        """Batch does something of its own."""
        does = what.pop("does")
        if does == "hold_updating":
            self.batch.hold_updating(what["queue"], what["seconds"])
        elif self._ids:
            job_id = self._job(what)
            try:
                getattr(self.batch, does)(job_id, **what)
            except ValueError:
                return  # The job is not in a state, or of a kind, to which this can happen.
        self.seen.counts[f"Batch does {does}"] += 1

    def _do_forgotten(self, what: dict[str, Any]) -> None:
        """The last good policy is of a version that this one cannot read, and so is the new one."""
        now, text = self.dispatcher.clock.now, what["text"]
        item = self.seen.table.get("POLICY", "LAST-GOOD")
        if item is None:
            return
        put = Put(
            {"pk": "POLICY", "sk": "LAST-GOOD", "body": pack(text)}, read=int(item["version"])
        )
        self.seen.table.write([put])
        self.dispatcher.parameters[self._parameter] = text
        self.seen.bad_policies.append(now)
        self._put(now, "")
        self.seen.counts["no policy that can be read"] += 1

    def _do_refusal(self, what: dict[str, Any]) -> None:
        """Batch will refuse the next stops of a job."""
        if self._ids:
            self.batch.refusals[self._job(what)] = list(what["codes"])

    def _do_lose(self, what: dict[str, Any]) -> None:
        """No event tells any more that a job has come into a state."""
        if self._ids:
            self._losing.add((self._job(what), what["status"]))
            self.seen.counts["events of a state lost"] += 1

    def _do_late_sweeps(self, what: dict[str, Any]) -> None:
        """The events of all sweeps of the next seconds come at their end."""
        until = self.dispatcher.clock.now + timedelta(seconds=what["for_s"])
        self._sweeps_late_until = until

    def _do_stumble(self, what: dict[str, Any]) -> None:
        """The next call of an operation crashes the function that makes it."""
        self._stumbles.append(what["before"])

    def _do_malformed(self, what: dict[str, Any]) -> None:
        self.seen.malformed += 1
        self.seen.counts["malformed event"] += 1
        event: dict[str, Any] = {
            "source": "aws.batch",
            "detail-type": "Batch Job State Change",
            "time": iso(self.dispatcher.clock.now),
        }
        details: tuple[Any, ...] = (
            {"number": self.seen.malformed},
            {"jobId": "x" * 300, "status": "FAILED"},
            {"jobId": "x:99999", "status": "FAILED"},
            "no object",
        )
        self.dispatcher.deliver(event | {"detail": details[what["number"]]})


# ---- What is made -------------------------------------------------------------------------


def _world(plan: Plan) -> dict[str, Any]:
    return {
        "jobQueues": [
            {
                "jobQueueName": name,
                "jobQueueArn": f"{ACCOUNT}job-queue/{name}",
                "state": "ENABLED",
                "status": "VALID",
                "priority": 1,
                "computeEnvironmentOrder": [
                    {"order": 1, "computeEnvironment": f"{ACCOUNT}compute-environment/{name}"}
                ],
            }
            | ({"jobQueueType": "SAGEMAKER_TRAINING"} if name == "train" else {})
            for name in QUEUES
        ],
        "computeEnvironments": [
            {
                "computeEnvironmentName": name,
                "status": "INVALID" if name in plan.broken else "VALID",
                "computeResources": {
                    "type": "EC2",
                    "maxvCpus": _VCPUS[name],
                    "instanceTypes": ["m6i", "c6i"],
                },
            }
            for name in QUEUES
        ],
    }


def _alarm_event(name: str, state: str, at: datetime) -> dict[str, Any]:
    before = "OK" if state == "ALARM" else "ALARM"
    return {
        "version": "0",
        "id": f"{name} {iso(at)}",
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "account": "111122223333",
        "region": "us-east-1",
        "time": iso(at),
        "resources": [f"arn:aws:cloudwatch:us-east-1:111122223333:alarm:{name}"],
        "detail": {
            "alarmName": name,
            "state": {"value": state, "timestamp": f"{iso(at)[:-1]}.250+0000"},
            "previousState": {"value": before},
        },
    }


def _by_sns(event: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    detail = event["detail"]
    message = {
        "AlarmName": detail["alarmName"],
        "AlarmArn": event["resources"][0],
        "NewStateValue": detail["state"]["value"],
        "OldStateValue": detail["previousState"]["value"],
        "NewStateReason": "Threshold Crossed",
        "StateChangeTime": detail["state"]["timestamp"],
    }
    return _sns(json.dumps(message), at)


def _sns(message: str, at: datetime) -> dict[str, Any]:
    sns = {
        "Type": "Notification",
        "Subject": "None",
        "Message": message,
        "Timestamp": f"{iso(at)[:-1]}.000Z",
        "TopicArn": "arn:aws:sns:us-east-1:111122223333:money",
    }
    return {"Records": [{"EventSource": "aws:sns", "Sns": sns}]}


def budget_text(  # noqa: PLR0913 - each has a default
    at: datetime,
    *,
    budget: str,
    percent: float = 100,
    budgeted: float = 1_000,
    forecast: bool = False,
    measures: str = "Cost",
    period: str = "month",
    **_: Any,
) -> str:
    """A message of AWS Budgets: an amount has passed so many per cent of what is budgeted."""
    alert = "FORECASTED" if forecast else "ACTUAL"
    threshold, amount = budgeted * percent / 100, budgeted * (percent + 1.25) / 100
    above = "greater than"
    if measures == "Cost":
        limit, of, whole = f"${threshold:,.2f}", f"${amount:,.2f}", f"${budgeted:,.2f}"
    elif measures == "Usage":
        limit, of, whole = (f"{each:,g} Hrs" for each in (threshold, amount, budgeted))
    else:
        above, limit, of, whole = "less than", f"{percent:g}%", f"{percent - 9:g}%", "100%"
    sign = "<" if above == "less than" else ">"
    return (
        f"AWS Budget Notification {at:%B %d, %Y}\nAWS Account 111122223333\n\n"
        "Dear AWS Customer,\n\n"
        f"You requested that we alert you when the {alert} {measures} associated with your "
        f"{budget} budget is {above} {limit} for the current {period}. The {alert} {measures} "
        f"associated with this budget is {of}. You can find additional details below.\n\n"
        f"Budget Name: {budget}\nBudget Type: {measures}\nBudgeted Amount: {whole}\n"
        f"Alert Type: {alert}\nAlert Threshold: {sign} {limit}\n{alert} Amount: {of}\n"
    )


def _anomaly_event(monitor: str, at: datetime) -> dict[str, Any]:
    return {
        "version": "0",
        "id": f"{monitor} {iso(at)}",
        "source": "aws.ce",
        "detail-type": "Anomaly Detected",
        "account": "111122223333",
        "region": "us-east-1",
        "time": iso(at),
        "resources": [f"arn:aws:ce::111122223333:anomalymonitor/{monitor}"],
        "detail": {
            "anomalyId": f"{monitor}-{at:%Y%m%d}",
            "anomalyScore": {"maxScore": 0.9, "currentScore": 0.7},
            "anomalyStartDate": f"{at - timedelta(days=1):%Y-%m-%dT00:00:00Z}",
            "anomalyEndDate": f"{at:%Y-%m-%dT00:00:00Z}",
            "impact": {"totalActualSpend": 400.0, "totalExpectedSpend": 90.0, "totalImpact": 310.0},
            "monitorName": monitor,
            "monitorArn": f"arn:aws:ce::111122223333:anomalymonitor/{monitor}",
        },
    }
