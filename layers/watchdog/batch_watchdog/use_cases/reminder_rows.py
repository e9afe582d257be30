"""Unpack the entries of the wheel: one row for each job, array, queue or thread."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batch_watchdog.failed_jobs import items as chain_items
from batch_watchdog.limits import stay_items
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.reminders import Kind, Reminder

# The kinds in the order in which they are handled within a minute, and how many at a time.
SLICES: Mapping[Kind, int] = {
    "use": 1_000,
    "run": 200,
    "stay": 1_000,
    "held": 1_000,
    "braked": 1_000,
    "followed": 1,  # Each row has up to 2,000 jobs.
    "array": 500,
    "blocked": 50,
    "chain": 2_000,  # What belongs together is announced together.
    "thread": 50,
}
STAYS: tuple[Kind, ...] = ("stay", "held", "braked")


@dataclass(frozen=True, slots=True)
class Row:
    """One reminder in an entry: its number, and whether it is the last one."""

    entry: Reminder
    number: int
    is_last: bool
    content: Any


def rows_of(entry: Reminder) -> list[Row]:
    """Return the reminders of an entry."""
    content = unpack(entry.content)
    match entry.kind:
        case "array" | "use" | "run" | "followed":
            rows = content
        case "blocked" | "thread":
            rows = [content]
        case "chain":
            rows = list(chain_items.read(content))
        case _:
            rows = list(stay_items.read(content))
    return [Row(entry, number, number == len(rows), row) for number, row in enumerate(rows, 1)]
