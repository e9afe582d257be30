"""Unpack the entries of the wheel: one row for each job, run, array, queue or thread."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batch_watchdog.budgets import facts as fact_rows
from batch_watchdog.failed_jobs import items as chain_items
from batch_watchdog.limits import stay_items
from batch_watchdog.rule_reports import follow_items
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.reminders import Kind, Reminder

# The kinds in the order in which they are handled within a minute, and how many at a time.
SLICES: Mapping[Kind, int] = {
    "use": 20_000,  # as many as are counted with one write
    "run": 5_000,
    "stay": 1_000,
    "held": 1_000,
    "braked": 1_000,
    "followed": 2_000,
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
        case "array":
            rows = content
        case "use" | "run":
            rows = [fact for row in content for fact in fact_rows.read(row)]
        case "followed":
            rows = list(follow_items.read(content))
        case "blocked" | "thread":
            rows = [content]
        case "chain":
            rows = list(chain_items.read(content))
        case _:
            rows = list(stay_items.read(content))
    return [Row(entry, number, number == len(rows), row) for number, row in enumerate(rows, 1)]
