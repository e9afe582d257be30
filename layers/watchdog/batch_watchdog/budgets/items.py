"""Budgets in the table: one item each, in one partition, so that one query reads all."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import batched
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from batch_watchdog.budgets import facts as fact_rows
from batch_watchdog.budgets.facts import Fact, Row
from batch_watchdog.budgets.state import BudgetState
from batch_watchdog.notices.text import iso
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.reminders import MINUTE, Kind, Reminder, Reminders, minute_of
from batch_watchdog.store.table import Put, Table

PARTITION = "BUDGET"
EXPECTED_EVERY = timedelta(minutes=15)
"""How often what is believed to run is looked at."""

_ENTRY_MAX = 5_000  # facts
_ADAPTER = TypeAdapter(BudgetState)


def read_all(table: Table) -> dict[str, BudgetState]:
    """All budgets that were ever counted, by name."""
    states = map(to_state, table.query(PARTITION))
    return {state.budget: state for state in states}


def read(table: Table, budget: str) -> BudgetState | None:
    item = table.get(PARTITION, _sk(budget))
    return to_state(item) if item else None


def put(state: BudgetState, now: datetime) -> Put:
    """Build the write of a budget. The item never expires."""
    body = pack(_ADAPTER.dump_python(state, mode="json", exclude={"version"}))
    item: Item = {
        "pk": PARTITION,
        "sk": _sk(state.budget),
        "body": body,
        "written_at": iso(now),
    }
    return Put(item, read=state.version)


def to_state(item: Item) -> BudgetState:
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def _sk(budget: str) -> str:
    return quote(budget, safe="")  # A name may hold anything; sort keys are plain ASCII.


# ---- Facts on the wheel -------------------------------------------------------------------


def to_be_counted(facts: Iterable[Fact], now: datetime) -> Iterator[Reminder]:
    """Build the entries by which the next sweep counts facts."""
    return _entries("use", facts, minute_of(now) + MINUTE)


def checks(facts: Iterable[Fact], now: datetime) -> Iterator[Reminder]:
    """Build the entries by which running jobs are checked at the next quarter of an hour."""
    minute = minute_of(now) + MINUTE
    behind = timedelta(minutes=minute.minute) % EXPECTED_EVERY
    return _entries("run", facts, minute - behind + EXPECTED_EVERY if behind else minute)


def soon_again(facts: Iterable[Fact], now: datetime) -> Iterator[Reminder]:
    """Build the entries by which Batch is asked again in the next minute."""
    again = [replace(fact, missed=fact.missed + 1) for fact in facts]
    return _entries("run", again, minute_of(now) + MINUTE)


def believed(table: Table, now: datetime) -> Iterator[Fact]:
    """Yield the runs that are believed to go on, as filed. Some of them may have ended since."""
    for entry in Reminders(table).between(
        minute_of(now) - EXPECTED_EVERY, now + 2 * EXPECTED_EVERY
    ):
        if entry.kind == "run":
            for row in unpack(entry.content):
                yield from fact_rows.read(row)


def _entries(kind: Kind, facts: Iterable[Fact], minute: datetime) -> Iterator[Reminder]:
    for some in batched(facts, _ENTRY_MAX, strict=False):
        rows: list[Row] = fact_rows.rows_of(some)
        content: Any = pack(rows)
        yield Reminder(minute=minute, kind=kind, content=content)
