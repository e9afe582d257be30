"""
Simulate what AWS does between services, for one stack on a virtual clock: the event bus, rules,
schedules, queues, streams, and the calls of functions.

It uses the stack's own patterns, batch sizes, filters and retries. Nothing is random, so the same
input gives the same run.
"""

import json
import re
from collections import Counter, UserDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import boto3

from batch_watchdog.notices.text import iso
from batch_watchdog.policy.loader import MAX_AGE
from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import FIRST, LAST, Key, Listener, Put, Table
from local.aws.clock import NEVER, Clock, Order
from local.aws.errors import ApiError, Responder, session
from local.aws.functions import Functions, Outcome
from local.aws.sources import Call, Message, QueueReader, StreamReader, region_of
from local.aws.stack import Function, Rule, Stack, Target
from local.batch.simulated import SimulatedBatch

MINUTE = timedelta(minutes=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
_SUBJECT_MAX, _SNS_MAX = 99, 256 * 1024
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_SQS_MAX, _DELAY_MAX_S = 1024 * 1024, 900

type MakeTable = Callable[[Listener], Table]
type MakeSession = Callable[[Mapping[str, Responder], str], Any]


class Witness(Protocol):
    """Receives what leaves the stack, with its virtual time."""

    def published(self, at: datetime, message: Mapping[str, Any]) -> None:
        """A message was published to a topic. `message` is the request of the call."""

    def dead_letter(self, at: datetime, reason: str, event: Any) -> None:
        """An event or message was given up: it is in a queue that nobody reads, or is lost."""


class Dispatcher:
    """
    Runs the stack.

    `last_event_at` is the time of the last step that was not only a schedule's. `chat` holds the
    messages to the chat topic with their times: the notices that the witness gets, in chat form.

    The caller makes `batch`, with an `emit` that calls `emitted`. `make_table` gets a listener and
    makes the table; by default, it is in memory. `responders` answer further services, or replace
    the responders below. A policy that is put during the run is seen after `policy_max_age`
    seconds of the real clock.

    `call_seconds` is the virtual time that a function's call of a service takes, by boto3's name of
    the service, or "table" for the table. During the call, only Batch goes on; everything else
    waits for the function's end, and is then late. A function that reaches its timeout is killed,
    and the call that it was making is not made.

    `make_session` makes the session from all responders and the region. `around` wraps each call
    of a function. Simulations use both to inject faults.
    """

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        stack: Stack,
        batch: SimulatedBatch,
        witness: Witness,
        *,
        parameters: Mapping[str, str] | None = None,
        make_table: MakeTable = MemoryTable,
        responders: Mapping[str, Responder] | None = None,
        policy_max_age: int = MAX_AGE,
        remaining_ms: Callable[[Function], int] = lambda function: function.timeout_s * 1000,
        make_session: MakeSession = session,
        around: Callable[[Call], Call] = lambda call: call,
        call_seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.clock = Clock()
        self.parameters = Parameters(lambda: self.clock.now)
        self.parameters.update({**stack.parameters, **(parameters or {})})
        self._stack = stack
        self._batch = batch
        self._witness = witness
        self._ids = 0
        self.chat: list[tuple[datetime, Any]] = []
        self._asleep_until = self.last_event_at = self.clock.now
        self._urls = {queue.url: arn for arn, queue in stack.queues.items()}
        self.table = make_table(self._changed)
        taken = dict(call_seconds or {})
        all_responders: dict[str, Responder] = {
            "batch": batch.call,
            "cloudwatch": _not_known,
            "ec2": _not_known,
            "ecs": _not_known,
            "lambda": self._answer_lambda,
            "sns": self._answer_sns,
            "sqs": self._answer_sqs,
            "ssm": self._answer_ssm,
            **(responders or {}),
        }
        self.session: boto3.Session = make_session(
            {
                service: self._slowed(responder, taken[service]) if service in taken else responder
                for service, responder in all_responders.items()
            },
            region_of(stack.stream),
        )
        self.functions = Functions(
            stack,
            session=self.session,
            table=self._slowed_table(taken["table"]) if "table" in taken else self.table,
            policy_max_age=policy_max_age,
            remaining_ms=remaining_ms,
            pause=self._pause,
            now=lambda: self.clock.now,
        )
        self._call = around(self.functions.call)
        self._queues: dict[str, QueueReader] = {}
        self._streams: list[StreamReader] = []
        for source in stack.sources:
            if source.source in stack.queues:
                self._queues[source.source] = QueueReader(
                    source,
                    stack.queues[source.source],
                    clock=self.clock,
                    call=self._call,
                    bury=self._bury,
                )
            else:
                self._streams.append(
                    StreamReader(
                        source,
                        stack.stream_view,
                        clock=self.clock,
                        call=self._call,
                        bury=self._bury,
                    )
                )

    # ---- Time -----------------------------------------------------------------------------

    def start(self, at: datetime) -> None:
        """Start the schedules, at the beginning of the minute that contains `at`."""
        first = at.replace(second=0, microsecond=0)
        for rule in self._stack.rules:
            if rule.schedule:
                self.clock.at(first, Order.SCHEDULE, self._tick, rule, first, _every(rule))

    def run(self, until: datetime) -> None:
        """Run everything that is due up to `until`, inclusive."""
        while self.step(until):
            pass
        self._move_to(until)

    def step(self, until: datetime = NEVER) -> bool:
        """Run the next thing that is due up to `until`. Return whether there was one."""
        told_by_batch = self._batch.next_at() or NEVER
        due = min(self.clock.next_at, told_by_batch)
        if due > until or due == NEVER:
            return False
        self._move_to(due)
        if told_by_batch <= self._batch.now:
            self._batch.advance_to(self._batch.now)  # Runs what it has planned for this instant.
        # The events that Batch has just emitted come before everything else of this instant.
        order = self.clock.do_next() if self.clock.next_at <= due else None
        if due == told_by_batch or order is not Order.SCHEDULE:
            self.last_event_at = due
        return True

    def _pause(self, seconds: float) -> None:
        """A function sleeps. Everything else goes on in the meantime."""
        self.run(self.clock.now + timedelta(seconds=seconds))

    def _slowed(self, responder: Responder, seconds: float) -> Responder:
        def answer(operation: str, params: dict[str, Any]) -> dict[str, Any]:
            self._take(seconds)
            return responder(operation, params)

        return answer

    def _slowed_table(self, seconds: float) -> Table:
        return _SlowTable(self.table, lambda: self._take(seconds))

    def _take(self, seconds: float) -> None:
        """A function's call takes this long. Batch goes on; everything else is late."""
        self.functions.take(
            seconds, lambda passed: self._move_to(self.clock.now + timedelta(seconds=passed))
        )

    def sleep_until(self, at: datetime) -> None:
        """Skip the schedules until then. Everything else goes on."""
        self._asleep_until = at

    @property
    def next_event_at(self) -> datetime:
        """The time of the next thing that is not a schedule's; `NEVER` if there is none."""
        return min(self.clock.next_but_schedules, self._batch.next_at() or NEVER)

    @property
    def idle(self) -> bool:
        """Whether nothing is planned but schedules."""
        return self.clock.idle and self._batch.next_at() is None

    def _move_to(self, at: datetime) -> None:
        self.clock.now = max(at, self.clock.now)
        if self.clock.now > self._batch.now:
            self._batch.advance_to(self.clock.now)

    def _tick(self, rule: Rule, at: datetime, every: timedelta) -> None:
        missed = max(0, -((at - self._asleep_until) // every))
        following = at + max(1, missed) * every
        self.clock.at(following, Order.SCHEDULE, self._tick, rule, following, every)
        if missed:
            return
        event: dict[str, Any] = {
            "version": "0",
            "id": self._new_id(),
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler" if rule.scheduler else "aws.events",
            "account": rule.arn.split(":")[4],
            "time": iso(at),
            "region": region_of(rule.arn),
            "resources": [rule.arn],
            "detail": "{}" if rule.scheduler else {},
        }
        for target in rule.targets:
            given = target.input.replace("<aws.scheduler.scheduled-time>", iso(at))
            self._send_to(target, json.loads(given) if given else event)

    # ---- Events ---------------------------------------------------------------------------

    def emitted(self, event: Mapping[str, Any]) -> None:
        """Accept an event that Batch emits: it is delivered at this instant."""
        self.clock.at(self.clock.now, Order.DELIVERY, self.deliver, event)

    def deliver(self, event: Mapping[str, Any], body: str = "") -> None:
        """Put an event on the bus now. `body` is its JSON text, if the caller has it already."""
        for rule in self._stack.rules:
            if rule.pattern and rule.pattern.matches(event):
                for target in rule.targets:
                    body = body or json.dumps(event, separators=(",", ":"))
                    self._send_to(target, event, body)

    def notify(self, event: Mapping[str, Any]) -> bool:
        """
        Pass an SNS payload (with `Records`) to the functions that subscribe to its topics.

        Records of a topic that is not the stack's own go to every function that subscribes to any
        topic. So does the whole payload of an alarm's Lambda action, which has no `Records`.

        Returns:
            Whether there was a function for each record.
        """
        subscribers = [each for each in self._stack.subscriptions if each.protocol == "lambda"]
        if "Records" not in event:
            for arn in dict.fromkeys(each.endpoint for each in subscribers):
                self._call_later(arn, event)
            return bool(subscribers)
        for record in event["Records"]:
            topic = record.get("Sns", {}).get("TopicArn")
            own = [each for each in subscribers if each.topic == topic]
            reached = own if topic in self._stack.topics else subscribers
            if not reached:
                return False
            for arn in dict.fromkeys(each.endpoint for each in reached):
                self._call_later(arn, {"Records": [record]})
        return True

    def command(self, command: Mapping[str, Any]) -> str:
        """Give the console a command, as an operator. Return why it refused; "" if it did not."""
        outcome = self.ask(command)
        answer = outcome.answer if isinstance(outcome.answer, Mapping) else {}
        return outcome.error or str(answer.get("error", ""))

    def ask(self, event: Mapping[str, Any]) -> Outcome:
        """Call the console, as an operator or a dashboard does."""
        console = self._stack.function_in("console")
        if console is None:
            return Outcome(error="the stack has no console")
        return self._call(console.arn, event)

    def _send_to(self, target: Target, event: Any, body: str = "") -> None:
        if target.arn in self._stack.queues:
            self.send(target.arn, body or json.dumps(event, separators=(",", ":")))
        else:
            self._call_later(target.arn, event, target.dead_letters)

    def _call_later(self, arn: str, event: Any, dead_letters: str = "", tries: int = 0) -> None:
        """Invoke a function asynchronously, as Lambda does: now, and again after errors."""
        function = self._stack.functions[arn]
        outcome = self._call(arn, event)
        if not outcome.error:
            return
        if tries < function.retries and MINUTE * (tries + 1) < timedelta(
            seconds=function.max_age_s
        ):
            again_at = self.clock.now + MINUTE * (tries + 1)
            self.clock.at(
                again_at, Order.WORK, self._call_later, arn, event, dead_letters, tries + 1
            )
            return
        reason = f"{function.folder.name} tried {tries + 1} times; last error: {outcome.error}"
        self._bury(function.on_failure or dead_letters, event, reason)

    def _bury(self, queue: str, event: Any, reason: str) -> None:
        """Give up an event: send it to a queue that a function reads, or report a dead letter."""
        if queue in self._queues:
            self.send(queue, event if isinstance(event, str) else json.dumps(event))
        else:
            self._witness.dead_letter(self.clock.now, reason, event)

    # ---- The table, and calls of functions ------------------------------------------------

    def _changed(self, event_name: str, old: Item | None, new: Item) -> None:
        for stream in self._streams:
            stream.changed(event_name, old, new)

    def send(
        self,
        queue: str,
        body: str,
        attributes: Mapping[str, Any] | None = None,
        delay_s: int = 0,
    ) -> str:
        """Put a message into a queue, given by its ARN. Return the message's id."""
        message = Message(self._new_id(), body, self.clock.now, attributes or {})
        reader = self._queues.get(queue)
        if reader is None:
            named = message.attributes.get("reason", {}).get("StringValue")
            name = queue.rpartition(":")[2]
            self._witness.dead_letter(self.clock.now, named or f"sent to {name}", body)
        elif delay_s:
            visible_at = self.clock.now + timedelta(seconds=delay_s)
            self.clock.at(visible_at, Order.WORK, reader.arrive, message)
        else:
            reader.arrive(message)
        return message.id

    def _answer_sqs(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        queue = self._urls.get(params.get("QueueUrl", ""))
        if queue is None:
            raise ApiError("AWS.SimpleQueueService.NonExistentQueue", "The queue does not exist.")
        match operation:
            case "SendMessage":
                return {"MessageId": self._send_checked(queue, params)}
            case "SendMessageBatch":
                sent = [
                    {"Id": entry["Id"], "MessageId": self._send_checked(queue, entry)}
                    for entry in params["Entries"]
                ]
                return {"Successful": sent, "Failed": []}
            case _:
                raise ApiError("UnknownOperationException", f"{operation} is not simulated", 404)

    def _send_checked(self, queue: str, params: Mapping[str, Any]) -> str:
        body = params["MessageBody"]
        delay_s = params.get("DelaySeconds", self._stack.queues[queue].delay_s)
        if not body or len(body.encode("utf-8", "surrogatepass")) > _SQS_MAX:
            raise ApiError("InvalidParameterValue", f"A message has 1 to {_SQS_MAX} bytes.")
        if not 0 <= delay_s <= _DELAY_MAX_S:
            raise ApiError("InvalidParameterValue", f"DelaySeconds is 0 to {_DELAY_MAX_S}.")
        return self.send(queue, body, params.get("MessageAttributes"), delay_s)

    def _answer_sns(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("TopicArn") not in self._stack.topics:
            raise ApiError("NotFound", "Topic does not exist", 404)
        match operation:
            case "Publish":
                return {"MessageId": self._publish(params)}
            case "PublishBatch":
                published = [
                    {
                        "Id": entry["Id"],
                        "MessageId": self._publish(entry | {"TopicArn": params["TopicArn"]}),
                    }
                    for entry in params["PublishBatchRequestEntries"]
                ]
                return {"Successful": published, "Failed": []}
            case _:
                raise ApiError("UnknownOperationException", f"{operation} is not simulated", 404)

    def _publish(self, params: Mapping[str, Any]) -> str:
        subject = params.get("Subject", "-")
        if not 0 < len(subject) <= _SUBJECT_MAX or re.search(r"[\x00-\x1f\x7f]", subject):
            raise ApiError("InvalidParameter", "Invalid parameter: Subject")
        if len(params["Message"].encode("utf-8", "surrogatepass")) > _SNS_MAX:
            raise ApiError("InvalidParameter", "Invalid parameter: Message too long")
        if params["TopicArn"] == self._stack.names.get("NoticesInChat"):
            self.chat.append((self.clock.now, json.loads(params["Message"])))
        else:
            self._witness.published(self.clock.now, params)
        return self._new_id()

    def _answer_ssm(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        name = params.get("Name", "")
        if operation == "PutParameter":
            self.parameters[name] = params["Value"]
            return {"Version": self.parameters.versions[name], "Tier": "Standard"}
        if operation != "GetParameter":
            raise ApiError("UnknownOperationException", f"{operation} is not simulated", 404)
        if name not in self.parameters:
            raise ApiError("ParameterNotFound", f"Parameter {name} not found.")
        return {"Parameter": self.parameters.shown(name)}

    def _answer_lambda(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if operation != "Invoke":
            raise ApiError("UnknownOperationException", f"{operation} is not simulated", 404)
        name = params["FunctionName"]
        arn = next((arn for arn, of in self._stack.functions.items() if name in {arn, of.name}), "")
        if not arn:
            raise ApiError("ResourceNotFoundException", f"Function not found: {name}", 404)
        event = json.loads(params.get("Payload") or "null")
        if params.get("InvocationType") == "Event":
            # As in Lambda, the caller goes on before the function runs.
            self.clock.at(self.clock.now, Order.WORK, self._call_later, arn, event)
            return {"StatusCode": 202}
        raise ApiError("UnknownOperationException", "only events are simulated", 404)

    def _new_id(self) -> str:
        self._ids += 1
        return f"00000000-0000-4000-9000-{self._ids:012x}"


class Parameters(UserDict[str, str]):
    """The parameters' values by name. Each put makes a new version, also with the same text."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.versions: Counter[str] = Counter()
        self._modified: dict[str, datetime] = {}
        super().__init__()

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name, value)
        self.versions[name] += 1
        # What is set before the clock starts counts as set long ago.
        self._modified[name] = max(self._now(), _LONG_AGO)

    def shown(self, name: str) -> dict[str, Any]:
        """Return a parameter as GetParameter does."""
        return {
            "Name": name,
            "Type": "String",
            "Value": self[name],
            "Version": self.versions[name],
            "LastModifiedDate": self._modified[name],
        }


class _SlowTable:
    """A table whose calls take virtual time."""

    def __init__(self, table: Table, take: Callable[[], None]) -> None:
        self._table = table
        self._take = take

    def get(self, pk: str, sk: str) -> Item | None:
        self._take()
        return self._table.get(pk, sk)

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        self._take()
        return self._table.get_many(keys)

    def query(self, pk: str, *, first: str = FIRST, last: str = LAST) -> Iterator[Item]:
        self._take()
        return self._table.query(pk, first=first, last=last)

    def latest(self, pk: str, most: int, *, first: str = FIRST, last: str = LAST) -> list[Item]:
        self._take()
        return self._table.latest(pk, most, first=first, last=last)

    def write(self, puts: Sequence[Put]) -> None:
        self._take()
        self._table.write(puts)


def _not_known(operation: str, _: dict[str, Any]) -> dict[str, Any]:
    """
    Refuse a call of CloudWatch, EC2 or ECS: logs and worlds hold nothing about these.

    An empty answer would mean that there are no alarms and no instances.
    """
    raise ApiError("AccessDeniedException", f"{operation}: nothing is known of that here", 403)


def _every(rule: Rule) -> timedelta:
    rate = re.fullmatch(r"rate\(([0-9]+) (minute|hour|day)s?\)", rule.schedule)
    if rate is None:
        raise ValueError(f"{rule.arn}: only rates are understood here, not {rule.schedule!r}")
    return timedelta(**{f"{rate[2]}s": int(rate[1])})
