"""
Simulate Lambda's event source mappings, which read queues and streams for functions.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
"""

import base64
import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.store.item_codec import Item
from local.aws.clock import NEVER, Clock, Order
from local.aws.functions import Outcome
from local.aws.stack import EventSource, Queue

PAYLOAD_MAX = 6 * 1024 * 1024  # bytes that Lambda passes to one invocation at most
_RECORD_BYTES = 700  # approximate size of a record without its body

_BACKOFF_MAX = timedelta(minutes=1)  # between two tries of a stream's batch

type Call = Callable[[str, Any], Outcome]
type Bury = Callable[[str, Any, str], None]  # a dead-letter queue's ARN, the event, the reason


class _Batches[T]:
    """Collects items until a batch is full or its window is over, then passes the batch on."""

    def __init__(
        self, clock: Clock, source: EventSource, hand_on: Callable[[list[T]], None]
    ) -> None:
        self._clock = clock
        self._size = source.batch_size
        self._window = timedelta(seconds=source.window_s)
        self._hand_on = hand_on
        self._waiting: deque[tuple[datetime, int, T]] = deque()
        self._bytes = 0
        self._planned = NEVER
        self.held = False

    def add(self, item: T, size: int) -> None:
        self._waiting.append((self._clock.now, size, item))
        self._bytes += size
        self.plan()

    def plan(self) -> None:
        """Plan the hand-over of the next batch for the time at which it is due."""
        due = self._due()
        if due < self._planned:
            self._planned = due
            self._clock.at(due, Order.WORK, self._read, due)

    def _due(self) -> datetime:
        if self.held or not self._waiting:
            return NEVER
        if len(self._waiting) >= self._size or self._bytes >= PAYLOAD_MAX:
            return self._clock.now
        return max(self._clock.now, self._waiting[0][0] + self._window)

    def _read(self, due: datetime) -> None:
        if due != self._planned:
            return  # Another plan has replaced this one: a batch became full before its window.
        self._planned = NEVER
        now = self._clock.now
        while self._due() == now:  # A batch that becomes due while a function runs comes later.
            self._hand_on(self._take())
        self.plan()

    def _take(self) -> list[T]:
        taken: list[T] = []
        total = 0
        while self._waiting and len(taken) < self._size:
            _, size, item = self._waiting[0]
            if taken and total + size > PAYLOAD_MAX:
                break
            self._waiting.popleft()
            taken.append(item)
            total += size
        self._bytes -= total
        return taken


# ---- Queues -------------------------------------------------------------------------------


@dataclass(slots=True)
class Message:
    """A message in a queue. `attributes` have the shape of SendMessage's MessageAttributes."""

    id: str
    body: str
    sent_at: datetime
    attributes: Mapping[str, Any]
    receives: int = 0
    received_at: datetime | None = None
    error: str = ""


def _size_in_json(text: str) -> int:
    """Return the size in bytes of a text as a JSON string, with quotes and backslashes escaped."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return size + text.count('"') + text.count("\\")


class QueueReader:
    """Reads a queue for a function. A failed message returns after the visibility timeout."""

    def __init__(
        self, source: EventSource, queue: Queue, *, clock: Clock, call: Call, bury: Bury
    ) -> None:
        self._source = source
        self._queue = queue
        self._visibility = timedelta(seconds=queue.visibility_s)
        self._clock = clock
        self._call = call
        self._bury = bury
        self._batches = _Batches[Message](clock, source, self._hand_on)
        self._busy = 0  # invocations that are under way

    def arrive(self, message: Message) -> None:
        """Accept a message that has become visible."""
        if not self._source.filters or self._wanted(message):
            self._batches.add(message, _size_in_json(message.body) + _RECORD_BYTES)

    def _wanted(self, message: Message) -> bool:
        record = self._record(message)
        with suppress(ValueError, RecursionError):  # A body that is not JSON is compared as text.
            record["body"] = json.loads(message.body)
        return any(pattern.matches(record) for pattern in self._source.filters)

    def _hand_on(self, messages: list[Message]) -> None:
        for message in messages:
            message.receives += 1
            message.received_at = message.received_at or self._clock.now
        records = [self._record(message) for message in messages]
        self._busy += 1
        self._batches.held = self._busy >= self._source.concurrency
        self._batches.plan()  # The next batch need not wait for a slow function.
        outcome = self._call(self._source.function, {"Records": records})
        self._busy -= 1
        self._batches.held = False
        self._batches.plan()
        failed = _failed(self._source, outcome, [message.id for message in messages])
        for message in messages:
            if message.id in failed:
                message.error = outcome.error or "the function reported it as failed"
                self._clock.at(
                    self._clock.now + self._visibility, Order.WORK, self._return, message
                )

    def _return(self, message: Message) -> None:
        if 0 < self._queue.max_receives <= message.receives:
            reason = f"received {message.receives} times; last error: {message.error}"
            self._bury(self._queue.dead_letters, message.body, reason)
        else:
            self.arrive(message)

    def _record(self, message: Message) -> dict[str, Any]:
        received_at = message.received_at or self._clock.now
        return {
            "messageId": message.id,
            "receiptHandle": f"{message.id}#{message.receives}",
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": str(message.receives),
                "SentTimestamp": str(millis(message.sent_at)),
                "SenderId": "AIDAEXAMPLE",
                "ApproximateFirstReceiveTimestamp": str(millis(received_at)),
            },
            "messageAttributes": {
                name: {
                    "stringValue": value.get("StringValue"),
                    "stringListValues": [],
                    "binaryListValues": [],
                    "dataType": value["DataType"],
                }
                for name, value in message.attributes.items()
            },
            "md5OfBody": hashlib.md5(
                message.body.encode("utf-8", "surrogatepass"), usedforsecurity=False
            ).hexdigest(),
            "eventSource": "aws:sqs",
            "eventSourceARN": self._queue.arn,
            "awsRegion": region_of(self._queue.arn),
        }


# ---- Streams ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Try:
    records: list[dict[str, Any]]
    tries: int = 0


class StreamReader:
    """
    Reads a table's stream for a function, in order.

    A failed batch is retried, in halves if the source bisects batches. It blocks all later records
    until it succeeds, or is given up because it has failed too often or is too old.
    """

    def __init__(
        self, source: EventSource, view: str, *, clock: Clock, call: Call, bury: Bury
    ) -> None:
        self._source = source
        self._view = view
        self._clock = clock
        self._call = call
        self._bury = bury
        self._batches = _Batches[dict[str, Any]](clock, source, self._hand_on)
        self._sequence = 0
        self._left: deque[_Try] = deque()

    def changed(self, event_name: str, old: Item | None, new: Item) -> None:
        """Accept a write of an item of the table."""
        record = self._record(event_name, old, new)
        filters = self._source.filters
        if not filters or any(pattern.matches(record) for pattern in filters):
            self._batches.add(record, record["dynamodb"]["SizeBytes"] + _RECORD_BYTES)

    def _hand_on(self, records: list[dict[str, Any]]) -> None:
        self._left.append(_Try(records))
        self._go_on()

    def _go_on(self) -> None:
        # Other things can happen while a function runs, but the next batch waits.
        self._batches.held = True
        while self._left:
            current = self._left[0]
            self._drop_old(current)
            if not current.records:
                self._left.popleft()
                continue
            outcome = self._call(self._source.function, {"Records": current.records})
            numbers = [record["dynamodb"]["SequenceNumber"] for record in current.records]
            failed = _failed(self._source, outcome, numbers)
            if not failed:
                self._left.popleft()
            elif not self._try_again(current, min(map(numbers.index, failed)), outcome):
                return
        self._batches.held = False
        self._batches.plan()

    def _try_again(self, current: _Try, first_failed: int, outcome: Outcome) -> bool:
        """Prepare the next try of a failed batch. Return whether the reader can go on at once."""
        if first_failed:
            # The records before the first failed one have succeeded, and are not read again.
            current.records = current.records[first_failed:]
            current.tries = 0
        if outcome.error and self._source.bisects and len(current.records) > 1:
            # Splitting a batch does not count as a retry.
            middle = len(current.records) // 2
            self._left.popleft()
            self._left.appendleft(_Try(current.records[middle:], current.tries))
            self._left.appendleft(_Try(current.records[:middle], current.tries))
            return True
        current.tries += 1
        if 0 <= self._source.retries < current.tries:
            error = outcome.error or "the function reported it as failed"
            self._give_up(current.records, f"tried {current.tries} times; last error: {error}")
            self._left.popleft()
            return True
        wait = min(timedelta(seconds=2**current.tries), _BACKOFF_MAX)
        self._clock.at(self._clock.now + wait, Order.WORK, self._go_on)
        return False

    def _drop_old(self, current: _Try) -> None:
        if self._source.max_age_s < 0:
            return
        oldest = self._clock.now.timestamp() - self._source.max_age_s

        def is_old(record: Mapping[str, Any]) -> bool:
            return bool(record["dynamodb"]["ApproximateCreationDateTime"] < oldest)

        old = [record for record in current.records if is_old(record)]
        if old:
            self._give_up(old, f"older than {self._source.max_age_s} s when its turn came")
            current.records = [record for record in current.records if not is_old(record)]

    def _give_up(self, records: Sequence[Mapping[str, Any]], reason: str) -> None:
        for record in records:
            self._bury(self._source.on_failure, record, reason)

    def _record(self, event_name: str, old: Item | None, new: Item) -> dict[str, Any]:
        self._sequence += 1
        image = _image(new)
        change = {
            "ApproximateCreationDateTime": int(self._clock.now.timestamp()),
            "Keys": {"pk": image["pk"], "sk": image["sk"]},
            "SequenceNumber": f"{self._sequence:021}",
            "SizeBytes": sum(len(name) + len(str(value)) for name, value in image.items()),
            "StreamViewType": self._view,
        }
        if self._view in {"NEW_IMAGE", "NEW_AND_OLD_IMAGES"}:
            change["NewImage"] = image
        if self._view in {"OLD_IMAGE", "NEW_AND_OLD_IMAGES"} and old is not None:
            change["OldImage"] = _image(old)
        return {
            "eventID": f"{self._sequence:032x}",
            "eventName": event_name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": region_of(self._source.source),
            "dynamodb": change,
            "eventSourceARN": self._source.source,
        }


def _image(item: Item) -> dict[str, dict[str, str]]:
    """Return an item in DynamoDB's JSON, as Lambda gets it from a stream: bytes in base64."""
    image = {}
    for name, value in item.items():
        if isinstance(value, bytes):
            image[name] = {"B": base64.b64encode(value).decode()}
        else:
            image[name] = {"S" if isinstance(value, str) else "N": str(value)}
    return image


# ---- Both ---------------------------------------------------------------------------------


def _failed(source: EventSource, outcome: Outcome, ids: Sequence[str]) -> set[str]:
    """
    Return the ids of the records of a batch that failed. If the answer names a record that is not
    in the batch, or has a failure without an identifier, all of them failed.
    """
    if outcome.error:
        return set(ids)
    answer = outcome.answer
    if not source.reports_failures or not isinstance(answer, Mapping):
        return set()
    named = {item.get("itemIdentifier") for item in answer.get("batchItemFailures") or ()}
    return set(ids) if named - set(ids) else named


def region_of(arn: str) -> str:
    return arn.split(":")[3]


def millis(at: datetime) -> int:
    """Milliseconds since 1970."""
    return round(at.timestamp() * 1000)
