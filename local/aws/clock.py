"""A virtual clock: what shall happen when, and in which order at one instant."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count
from typing import Any

NEVER = datetime.max.replace(tzinfo=UTC)


class Order(IntEnum):
    """What comes first at one instant."""

    DELIVERY = 0  # events arrive
    WORK = 1  # queues and streams hand on what has arrived
    SCHEDULE = 2  # time is told


class Clock:
    """Times are aware. `now` moves forward only, from one entry to the next."""

    def __init__(self) -> None:
        self.now = datetime.min.replace(tzinfo=UTC)
        self._entries: list[tuple[datetime, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()
        self._pending = 0  # entries that are no schedule's

    def at(self, when: datetime, order: Order, do: Callable[..., None], *arguments: Any) -> None:
        """Have something done at a time, or at once if that has passed."""
        self._pending += order is not Order.SCHEDULE
        heappush(self._entries, (max(when, self.now), order, next(self._numbers), do, arguments))

    @property
    def next_at(self) -> datetime:
        """When the next entry is due; `NEVER` if there is none."""
        return self._entries[0][0] if self._entries else NEVER

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be done but what a schedule brings."""
        return not self._pending

    @property
    def next_but_schedules(self) -> datetime:
        """When the next entry is due that is no schedule's; `NEVER` if there is none."""
        return min(
            (at for at, order, *_ in self._entries if order != Order.SCHEDULE), default=NEVER
        )

    def do_next(self) -> Order:
        """Move on to the next entry and do it. One that is overdue is done now."""
        when, order, _, do, arguments = heappop(self._entries)
        self.now = max(self.now, when)
        self._pending -= order is not Order.SCHEDULE
        do(*arguments)
        return Order(order)
