"""
What goes wrong, drawn from a seed: in calls of AWS and of the table, and in whole invocations.

Each fault that happens is counted by name: one that never happens proves nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from botocore.exceptions import ClientError

from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.table import FIRST, LAST, Key, Put, Table
from local.aws.errors import ApiError, Responder
from local.aws.functions import Crash

# By service: the codes with which AWS refuses for now, and their HTTP status.
_THROTTLED: Mapping[str, tuple[str, int]] = {
    "batch": ("TooManyRequestsException", 429),
    "sns": ("Throttled", 429),
    "sqs": ("RequestThrottled", 403),
    "ssm": ("ThrottlingException", 400),
    "ec2": ("RequestLimitExceeded", 503),
    "cloudwatch": ("Throttling", 400),
    "ecs": ("ThrottlingException", 400),
}
_FAILED: Mapping[str, tuple[str, int]] = {
    "batch": ("ServerException", 500),
    "sns": ("InternalError", 500),
    "sqs": ("InternalError", 500),
    "ssm": ("InternalServerError", 500),
    "ec2": ("InternalError", 500),
    "cloudwatch": ("InternalServiceError", 500),
    "ecs": ("ServerException", 500),
}
_BULK = ("CancelJobs", "TerminateJobs", "TerminateServiceJobs")
# Services that are called rarely, by how much more often they must fail to fail often enough.
_RARE: Mapping[str, float] = {"sns": 8.0, "sqs": 8.0, "ec2": 8.0, "ecs": 8.0}
_DEEPEST = 3  # invocations, one in the middle of another


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How often each fault happens, as a share of 1, where it could."""

    crash: float = 0.0  # before a call, and as often after it
    refused: float = 0.0  # throttled, and as often failed on the side of AWS
    partial: float = 0.0  # of bulk stops: some of the jobs are refused
    conflicts: float = 0.0  # a write is refused, as another was under way; that one fails too
    interleaved: float = 0.0  # before a call: others go on, and the same twice at once
    redelivered: float = 0.0  # an invocation that went well is not taken to have gone well


@dataclass(slots=True, kw_only=True)
class Faults:
    """
    The source of faults.

    `doing` says which function is at work, and when. `others` lets everybody else go on for so
    many seconds, and `twin` has another container do what the current one is in the middle of.
    """

    random: Random
    rates: Rates
    counts: Counter[str]
    doing: Callable[[], tuple[str, datetime]]
    others: Callable[[float], None]
    twin: Callable[[], bool]
    refuse: Callable[[str, list[str]], None] = lambda *_: None
    on: bool = True
    depth: int = 0

    def happens(self, rate: float) -> bool:
        return self.on and rate > 0 and self.random.random() < rate

    def before(self, what: str) -> None:
        """What may happen before a call: a crash, or that others are faster."""
        if not self.depth:
            return  # It is no invocation that calls.
        if self.depth < _DEEPEST and self.happens(self.rates.interleaved):
            if self.random.random() < 0.5 and self.twin():
                self.counts["the same in two containers at once"] += 1
            else:
                self.counts["others at work in between"] += 1
                self.others(self.random.choice((0, 0, 1, 5, 20)))
        if self.happens(self.rates.crash * _RARE.get(what, 1.0)):
            self.counts[f"crash before a call of {what}"] += 1
            raise Crash(f"before a call of {what}")

    def after(self, what: str) -> None:
        if self.depth and self.happens(self.rates.crash * _RARE.get(what, 1.0)):
            self.counts[f"crash after a call of {what}"] += 1
            raise Crash(f"after a call of {what}")

    def refusal(self, service: str) -> ApiError | None:
        """Whether a service throttles a call, or fails, and how."""
        rate = self.rates.refused * _RARE.get(service, 1.0)
        if not (self.depth and self.happens(rate)):
            return None
        if self.random.random() < 0.5:
            code, status = _THROTTLED[service]
            self.counts[f"{service} throttles"] += 1
        else:
            code, status = _FAILED[service]
            self.counts[f"{service} fails"] += 1
        return ApiError(code, "for now", status)

    def on_responder(self, service: str, responder: Responder) -> Responder:
        """The responder, with faults."""

        def answer(operation: str, params: dict[str, Any]) -> dict[str, Any]:
            self.before(service)
            refusal = self.refusal(service)
            if refusal:
                raise refusal
            if operation in _BULK and self.happens(self.rates.partial):
                self.counts["partial failure of a bulk stop"] += 1
                codes = ["ThrottlingException", "ServerException"]
                for job_id in params["jobs"]:
                    if self.random.random() < 0.5:
                        self.refuse(job_id, [self.random.choice(codes)])
            try:
                answered = responder(operation, params)
            except ApiError:  # A crash can come after a refusal too.
                self.after(service)
                raise
            self.after(service)
            return answered

        return answer


class FaultyTable:
    """A table whose calls may be throttled, conflict with others', be interleaved, or crash."""

    def __init__(self, table: Table, faults: Faults) -> None:
        self._table = table
        self._faults = faults

    def _begin(self) -> None:
        self._faults.before("the table")
        if self._faults.depth and self._faults.happens(self._faults.rates.refused):
            self._faults.counts["the table throttles"] += 1
            code = "ProvisionedThroughputExceededException"
            raise ClientError({"Error": {"Code": code, "Message": "for now"}}, "Call")

    def get(self, pk: str, sk: str) -> Item | None:
        self._begin()
        found = self._table.get(pk, sk)
        self._faults.after("the table")
        return found

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        self._begin()
        found = self._table.get_many(keys)
        self._faults.after("the table")
        return found

    def query(self, pk: str, *, first: str = FIRST, last: str = LAST) -> Iterator[Item]:
        self._begin()
        found = self._table.query(pk, first=first, last=last)
        self._faults.after("the table")
        return found

    def latest(self, pk: str, most: int, *, first: str = FIRST, last: str = LAST) -> list[Item]:
        self._begin()
        found = self._table.latest(pk, most, first=first, last=last)
        self._faults.after("the table")
        return found

    def write(self, puts: Sequence[Put]) -> None:
        self._begin()
        if self._faults.depth and self._faults.happens(self._faults.rates.conflicts):
            self._faults.counts["a write conflicts with one that is not made"] += 1
            raise StaleItemError("another transaction was under way")
        self._table.write(puts)
        self._faults.after("the table")


class LightSession:
    """
    In place of boto3's session: clients that hand calls over as they are, and take no time.

    What botocore checks of requests is checked elsewhere.
    """

    def __init__(self, responders: Mapping[str, Responder]) -> None:
        self._responders = responders

    def client(self, service: str, **_: Any) -> Any:
        return _LightClient(self._responders[service])


class _LightClient:
    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        operation = "".join(part.title() for part in name.split("_"))

        def call(**params: Any) -> dict[str, Any]:
            try:
                return self._responder(operation, params)
            except ApiError as error:
                refusal: Any = {"Error": {"Code": error.code, "Message": error.message}}
                raise ClientError(refusal, operation) from error

        return call

    def get_paginator(self, name: str) -> Any:
        return _Paginator(getattr(self, name))


class _Paginator:
    def __init__(self, call: Callable[..., dict[str, Any]]) -> None:
        self._call = call

    def paginate(self, **params: Any) -> Iterator[dict[str, Any]]:
        token: dict[str, Any] = {}
        while True:
            page = self._call(**params, **token)
            yield page
            token = {name: page[name] for name in ("nextToken", "NextToken") if page.get(name)}
            if not token:
                return
