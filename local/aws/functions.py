"""
Run the stack's functions in this process: the real handlers, with the `wiring.Container` that they
have in Lambda. The container's table, session, clock and pause are replaced.
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

# Powertools reads these when a handler is imported. They keep logs off the terminal.
_QUIET = {
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "POWERTOOLS_METRICS_DISABLED": "true",
    "POWERTOOLS_TRACE_DISABLED": "true",
}


_ERROR_MAX = 300  # characters of a line


class Crash(BaseException):
    """
    A Lambda container dies in the middle of an invocation, as if its machine had failed.

    Raised at a function's timeout, and by simulations as a fault. It is not an Exception, so no
    handler catches it by mistake.
    """


@dataclass(frozen=True, slots=True)
class Context:
    """The context object that Lambda passes to a handler."""

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
    The result of an invocation: an answer, or an error as text.

    `raised` holds the exceptions; for an exception group, its members. As a context manager, it
    catches every `Exception`, as Lambda's runtime does, and a `Crash`.
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
    """Return an error's first and last line: Powertools can put a traceback between them."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return " … ".join(line[:_ERROR_MAX] for line in dict.fromkeys((lines[0], lines[-1])))


class Functions:
    """
    The functions by ARN, ready to be called.

    `session` makes their clients, and `table` is their table. A handler takes virtual time only by
    `pause`, when it sleeps, and by `take`, for its calls. `remaining_ms` returns the time that a
    function has when it begins, and `now` returns the virtual time.
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
                    install(containers[settings])  # Other functions may have run meanwhile.

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
        """Call a function, and return its result."""
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
        Let a call of the running function take time. `move` moves the clock by some seconds.

        Does nothing if no function is running.

        Raises:
            Crash: the function reaches its timeout during the call, and is killed.
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
    """Import a handler's file as a separate module, because all these files have the same name."""
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
