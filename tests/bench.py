"""A small stack at work, in which each function does what a test tells it to do."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from batch_watchdog.store.table import Put
from local.aws.clock import Order
from local.aws.dispatcher import Dispatcher
from local.aws.stack import Stack
from local.batch.simulated import SimulatedBatch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

# The handler of every function on the bench: it asks the bench that is in use.
HANDLER = """
from pathlib import Path
from tests.bench import in_use

def lambda_handler(event, context):
    return in_use[-1].called(Path(__file__).parent.name, event)
"""

in_use: "list[Bench]" = []


class Bench:
    """
    Notes calls, messages and dead letters with their times, and answers calls as told.

    `answers` are functions of the event by the name of the function's folder; `how` is for the
    dispatcher.
    """

    def __init__(self, stack: Stack, **how: Any) -> None:
        self.stack = stack
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.calls: list[tuple[str, str, Any]] = []
        self.messages: list[tuple[str, Mapping[str, Any]]] = []
        self.letters: list[tuple[str, str, Any]] = []
        self.batch = SimulatedBatch(emit=self._emitted)
        self.dispatcher = Dispatcher(stack, self.batch, witness=self, **how)
        self.dispatcher.run(NOON)
        in_use[:] = [self]

    def _emitted(self, event: dict[str, Any]) -> None:
        self.dispatcher.emitted(event)

    def called(self, name: str, event: Any) -> Any:
        self.calls.append((self._clock(), name, event))
        answer = self.answers.get(name)
        return answer(event) if answer else None

    def published(self, at: datetime, message: Mapping[str, Any]) -> None:
        self.messages.append((f"{at:%H:%M:%S}", message))

    def dead_letter(self, at: datetime, reason: str, event: Any) -> None:
        self.letters.append((f"{at:%H:%M:%S}", reason, event))

    def _clock(self) -> str:
        return f"{self.dispatcher.clock.now:%H:%M:%S}"

    def deliver(self, second: float, **detail: Any) -> None:
        """Have an event with this detail arrive so many seconds after noon."""
        event = {"source": "aws.batch", "detail-type": "x", "detail": detail}
        at = NOON + timedelta(seconds=second)
        self.dispatcher.clock.at(at, Order.DELIVERY, self.dispatcher.deliver, event)

    def write(self, *names: str) -> None:
        """Write new items of these names into the table."""
        self.dispatcher.table.write([Put({"pk": name, "sk": "1", "n": 7}) for name in names])

    def run(self, **span: float) -> None:
        """Let the clock run until so long after noon."""
        self.dispatcher.run(NOON + timedelta(**span))

    def batches(self, name: str) -> list[tuple[str, int]]:
        """When a function was called, with how many records."""
        return [(at, len(event["Records"])) for at, who, event in self.calls if who == name]
