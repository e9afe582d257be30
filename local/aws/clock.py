"""A virtual clock: it runs planned calls in order of time, and in a fixed order at one instant."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count
from typing import Any

NEVER = datetime.max.replace(tzinfo=UTC)


class Order(IntEnum):
    """The kinds of entries, in the order in which they run at one instant."""

    DELIVERY = 0  # events arrive
    WORK = 1  # queues, streams and retries call functions
    SCHEDULE = 2  # schedules fire


class Clock:
    """A queue of planned calls. Times are timezone-aware. `now` never moves back."""

    def __init__(self) -> None:
        self.now = datetime.min.replace(tzinfo=UTC)
        self._entries: list[tuple[datetime, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()
        self._pending = 0  # entries that do not belong to a schedule

    def at(self, when: datetime, order: Order, do: Callable[..., None], *arguments: Any) -> None:
        """Plan a call of `do` for a time. A time that has passed counts as `now`."""
        self._pending += order is not Order.SCHEDULE
        heappush(self._entries, (max(when, self.now), order, next(self._numbers), do, arguments))

    @property
    def next_at(self) -> datetime:
        """The time at which the next entry is due; `NEVER` if there is none."""
        return self._entries[0][0] if self._entries else NEVER

    @property
    def idle(self) -> bool:
        """Whether all entries that are left belong to schedules."""
        return not self._pending

    @property
    def next_but_schedules(self) -> datetime:
        """The time of the next entry that does not belong to a schedule; `NEVER` if none does."""
        return min(
            (at for at, order, *_ in self._entries if order != Order.SCHEDULE), default=NEVER
        )

    def do_next(self) -> Order:
        """Move `now` to the next entry's time, and run the entry. An overdue entry runs now."""
        when, order, _, do, arguments = heappop(self._entries)
        self.now = max(self.now, when)
        self._pending -= order is not Order.SCHEDULE
        do(*arguments)
        return Order(order)
