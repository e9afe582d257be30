"""
The whole stack at work, quick to set up: the template's wiring, real handlers, real clients.

What AWS refuses is refused here too, so that no handler gets away with it.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError

from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Put
from local.aws import errors as aws
from local.aws import stack as stacks
from local.aws.dispatcher import Dispatcher
from local.aws.errors import ApiError, Responder
from local.aws.functions import Outcome
from local.aws.sources import Call
from local.aws.stack import Function, Stack
from local.batch.simulated import SimulatedBatch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
_PK_MAX, _SK_MAX, _ITEM_MAX = 2_048, 1_024, 400 * 1024  # bytes
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
_SNS_MAX = 256 * 1024  # bytes, with the attributes
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_SQS_MAX = 1024 * 1024  # bytes, with the attributes
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PAYLOAD_MAX = _ANSWER_MAX = 6 * 1024 * 1024  # bytes


class Whole:
    """
    The stack, running from noon on.

    `jobs` are events of AWS Batch that are true, and delivered at noon. `errors` are invocations
    that failed, by the function's folder.
    """

    def __init__(self, policy: str = "", *, jobs: Sequence[Any] = ()) -> None:
        self.stack = the_stack()
        self.messages: list[Mapping[str, Any]] = []
        self.letters: list[tuple[str, Any]] = []
        self.errors: list[tuple[str, str]] = []
        self.payloads: list[int] = []  # bytes of each
        self.batch = SimulatedBatch(emit=lambda event: self.dispatcher.emitted(event))  # noqa: PLW0108 - it is made below
        names = {each.environment["POLICY_PARAMETER"] for each in self.stack.functions.values()}
        self.dispatcher = Dispatcher(
            self.stack,
            self.batch,
            self,
            parameters=dict.fromkeys(names, policy) if policy else None,
            make_table=_StrictTable,
            policy_max_age=0,
            make_session=_strict_session,
            around=self._around,
        )
        self.batch.load(jobs)
        self.dispatcher.run(NOON)
        self.dispatcher.start(NOON)
        for event in jobs:
            self.dispatcher.deliver(event)

    def _around(self, call: Call) -> Call:
        def called(arn: str, event: Any) -> Outcome:
            text = json.dumps(event, default=_in_base64, ensure_ascii=False)
            size = len(text.encode("utf-8", "surrogatepass"))
            self.payloads.append(size)
            # One record alone that is too large is a test's: no queue would have taken it.
            if size > PAYLOAD_MAX and len(event.get("Records", ())) > 1:
                outcome = Outcome(error=f"RequestEntityTooLargeException: {size} bytes")
            else:
                outcome = call(arn, event)
            answer = outcome.answer if isinstance(outcome.answer, dict) else {}
            failed = outcome.error or answer.get("batchItemFailures")
            if failed:
                self.errors.append((self.stack.functions[arn].folder.name, str(failed)))
            return outcome

        return called

    # ---- What comes in --------------------------------------------------------------------

    def send(self, folder: str, *bodies: str) -> None:
        """Put messages into the queue that a function reads."""
        arn = self._function(folder).arn
        source = next(each.source for each in self.stack.sources if each.function == arn)
        for body in bodies:
            self.dispatcher.send(source, body)

    def invoke(self, folder: str, payload: str) -> None:
        """Call a function with this JSON, as AWS does where nobody waits for the answer."""
        client = self.dispatcher.session.client("lambda")
        name = self._function(folder).name
        client.invoke(FunctionName=name, InvocationType="Event", Payload=payload)

    def ask(self, payload: Any) -> Any:
        """Call the console. The answer is as Lambda hands it out; half a character breaks it."""
        outcome = self.dispatcher.functions.call(self._function("console").arn, payload)
        assert not outcome.error, outcome.error
        text = json.dumps(outcome.answer, ensure_ascii=False, allow_nan=False).encode()
        assert len(text) <= _ANSWER_MAX
        return json.loads(text)

    def _function(self, folder: str) -> Function:
        found = self.stack.function_in(folder)
        assert found, folder
        return found

    def run(self, **span: float) -> "Whole":
        """Let time pass, with a sweep at each whole minute."""
        self.dispatcher.run(self.dispatcher.clock.now + timedelta(**span))
        return self

    # ---- What comes out -------------------------------------------------------------------

    def published(self, at: datetime, message: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.messages.append(message)

    def dead_letter(self, at: datetime, reason: str, event: Any) -> None:  # noqa: ARG002
        self.letters.append((reason, event))

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What programs get of all that was published."""
        return [json.loads(json.loads(each["Message"])["default"]) for each in self.messages]

    @property
    def mails(self) -> list[str]:
        """What people get, but for the subjects."""
        return [json.loads(each["Message"])["email"] for each in self.messages]

    @property
    def told(self) -> set[str]:
        """The ids of all notices, with those that were folded into digests."""
        return {id_ for each in self.facts for id_ in (each["id"], *each["facts"].get("ids", ()))}


def _in_base64(value: bytes) -> str:
    """Bytes of an item, as a stream's record has them."""
    return b64encode(value).decode()


@cache
def the_stack() -> Stack:
    """The stack that template.yaml makes."""
    return stacks.read()


# ---- What AWS refuses ---------------------------------------------------------------------


class _StrictTable(MemoryTable):
    def write(self, puts: Sequence[Put]) -> None:
        for put in puts:
            if problem := _problem_of(put.item):
                refusal: Any = {"Error": {"Code": "ValidationException", "Message": problem}}
                raise ClientError(refusal, "PutItem")
        super().write(puts)


def _problem_of(item: Item) -> str:
    """Why DynamoDB would not take an item; "" if it would."""
    sizes = {name: _size(value) for name, value in item.items()}
    if not (0 < sizes["pk"] <= _PK_MAX and 0 < sizes["sk"] <= _SK_MAX):
        return f"a key of {sizes['pk']} and {sizes['sk']} bytes"
    total = sum(sizes.values()) + sum(map(len, item))
    return f"an item of {total} bytes" if total > _ITEM_MAX else ""


def _size(value: str | int | bytes) -> int:
    return len(value) if isinstance(value, bytes) else len(str(value).encode())


def _refuse_unfit(params: Mapping[str, Any], body: str, most: int) -> None:
    attributes = params.get("MessageAttributes", {})
    values = [each["StringValue"] for each in attributes.values()]
    if any(not value or _UNFIT.search(value) for value in values):
        raise ApiError("InvalidParameterValue", f"attributes {attributes!r:.200}")
    texts = [body, *values, *attributes, *(each["DataType"] for each in attributes.values())]
    if sum(len(text.encode()) for text in texts) > most:
        raise ApiError("InvalidParameterValue", "too long")


def _strict(service: str, responder: Responder) -> Responder:
    def answer(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "SendMessage":
                if _UNFIT.search(params["MessageBody"]):
                    raise ApiError("InvalidMessageContents", "characters that SQS does not take")
                _refuse_unfit(params, params["MessageBody"], _SQS_MAX)
            case "Publish":
                subject = params["Subject"]
                if not (0 < len(subject) < 100 and subject.isprintable()):
                    raise ApiError("InvalidParameter", f"Subject {subject!r}")
                if not all(
                    isinstance(each, str) for each in json.loads(params["Message"]).values()
                ):
                    raise ApiError("InvalidParameter", "Message Structure")
                _refuse_unfit(params, params["Message"] + subject, _SNS_MAX)
        return responder(operation, params)

    return answer


# Clients take long to make, so there is one of each, answered by the stack that was made last.
_answering: dict[str, Responder] = {}


def _strict_session(responders: Mapping[str, Responder], region: str) -> Any:
    _answering.clear()
    _answering.update({name: _strict(name, each) for name, each in responders.items()})
    return _Session(region)


class _Session:
    def __init__(self, region: str) -> None:
        self._region = region

    def client(self, service: str, **_: Any) -> Any:
        return _client(service, self._region)


@cache
def _client(service: Any, region: str) -> Any:
    def answer(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        return _answering[service](operation, params)

    made: boto3.Session = aws.session({service: answer}, region)
    return made.client(service)
