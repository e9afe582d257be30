"""
The stack's functions, run in this process: the real handlers, with the parts that a container of
Lambda would make for them, but for the table and the session.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError

from batch_watchdog.aws.settings import Settings
from batch_watchdog.store.table import Table
from batch_watchdog.wiring import Container, install
from local.aws.stack import Function, Stack

type Handler = Callable[[Any, Any], Any]

# Powertools reads these when a handler is imported. What a function logs is not for a terminal.
_QUIET = {
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "POWERTOOLS_METRICS_DISABLED": "true",
    "POWERTOOLS_TRACE_DISABLED": "true",
}


_ERROR_MAX = 300  # characters of a line


class Crash(BaseException):
    """
    A container dies in the middle of an invocation, as if its machine had gone.

    A fault for simulations to raise from a call: no handler can catch it by mistake.
    """


@dataclass(frozen=True, slots=True)
class Context:
    """What Lambda tells a handler about its invocation."""

    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: int
    aws_request_id: str
    remaining_ms: Callable[[], int]
    function_version: str = "$LATEST"

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms()


@dataclass(slots=True)
class Outcome:
    """
    How an invocation ended: with an answer, or with an error, which is then said in words.

    `raised` are the exceptions, those that a group holds by themselves. As a context it catches
    what Lambda's own runtime catches: all that a handler can raise.
    """

    answer: Any = None
    error: str = ""
    raised: Sequence[BaseException] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception | Crash):
            return False
        self.error = _in_short(f"{type(error).__name__}: {error}")
        self.raised = tuple(_leaves(error))
        return True


def _leaves(error: BaseException) -> Iterator[BaseException]:
    match error:
        case BaseExceptionGroup():
            held = error.exceptions
        case BatchProcessingError():  # all records of a batch failed
            held = tuple(each for _, each, _ in error.child_exceptions or () if each)
        case _:
            yield error
            return
    for each in held:
        yield from _leaves(each)


def _millis(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _in_short(error: str) -> str:
    """An error's first line, and its last, where Powertools has put a traceback into it."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return " … ".join(line[:_ERROR_MAX] for line in dict.fromkeys((lines[0], lines[-1])))


class Functions:
    """
    The functions by ARN, ready to be called.

    `session` makes their clients and `table` is their table. A handler takes no virtual time but
    what it lets pass by `pause`, and what its calls take by `take`; `remaining_ms` says how much
    a function has when it begins, and `now` what time it is.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        stack: Stack,
        *,
        session: boto3.Session,
        table: Table,
        policy_max_age: int,
        remaining_ms: Callable[[Function], int],
        pause: Callable[[float], None],
        now: Callable[[], datetime],
    ) -> None:
        self._remaining_ms = remaining_ms
        self._now = now
        self._calls = 0
        self._under_way: list[tuple[Function, Context]] = []  # the innermost is last
        self._ready: dict[str, tuple[Function, Handler, Container]] = {}
        containers: dict[Settings, Container] = {}
        for arn, function in stack.functions.items():
            settings = Settings.from_env(function.environment)
            if settings not in containers:

                def paused(seconds: float, settings: Settings = settings) -> None:
                    pause(seconds)
                    install(containers[settings])  # Others have been at work meanwhile.

                containers[settings] = Container(
                    settings=settings,
                    session=session,
                    policy_max_age=policy_max_age,
                    pause=paused,
                    clock=now,
                )
                containers[settings].table = table
            self._ready[arn] = function, _handler(function), containers[settings]

    def call(self, arn: str, event: Any) -> Outcome:
        """Call a function, and wait for it."""
        function, handler, container = self._ready[arn]
        self._calls += 1
        began = self._now()
        context = Context(
            function_name=function.name,
            invoked_function_arn=arn,
            memory_limit_in_mb=function.memory_mb,
            aws_request_id=f"00000000-0000-4000-8000-{self._calls:012x}",
            remaining_ms=lambda: self._remaining_ms(function) - _millis(self._now() - began),
        )
        install(container)
        self._under_way.append((function, context))
        with Outcome() as outcome:
            outcome.answer = handler(event, context)
        self._under_way.pop()
        return outcome

    def take(self, seconds: float, move: Callable[[float], None]) -> None:
        """
        Have a call of the function that is under way take time, which `move` lets pass.

        Calls that are not a function's take none.

        Raises:
            Crash: the function's time is over before that of the call is. It is killed.
        """
        if not self._under_way:
            return
        function, context = self._under_way[-1]
        left = context.get_remaining_time_in_millis() / 1000
        move(min(seconds, max(left, 0.0)))
        if seconds >= left:
            raise Crash(f"timed out after {function.timeout_s} s")


def _handler(function: Function) -> Handler:
    module, _, name = function.handler.rpartition(".")
    with _environment({**function.environment, **_QUIET}):
        handler: Handler = getattr(_module(function.folder / f"{module}.py"), name)
    return handler


@cache
def _module(path: Path) -> Any:
    """Each handler's file as a module of its own, though all have one name."""
    name = f"functions.{path.parent.name}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
