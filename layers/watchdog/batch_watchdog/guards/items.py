"""Read and write the items of guards: all in one partition, so that one query reads them all."""

from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote

from pydantic import TypeAdapter

from batch_watchdog.guards.matching import name_of
from batch_watchdog.guards.state import GuardState
from batch_watchdog.notices.text import iso
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.table import Put, Table

_PK = "GUARD"

_ADAPTER = TypeAdapter(GuardState)


def read_all(table: Table) -> dict[str, GuardState]:
    """Read all guards about which anything was ever decided, by name."""
    states = map(_to_state, table.query(_PK))
    return {state.guard: state for state in states}


def received_names(states: Iterable[GuardState]) -> list[str]:
    """Return the alarms, budgets and monitors that have sent a message, as policies name them."""
    return sorted({name_of(signal) for state in states for signal in state.alarms})


def read(table: Table, guard: str) -> GuardState | None:
    """Read one guard; None if nothing was ever decided about it."""
    item = table.get(_PK, _sk(guard))
    return _to_state(item) if item else None


def put(state: GuardState, now: datetime) -> Put:
    """Build the write of a guard. It never expires: its queues may stay closed for long."""
    body = pack(_ADAPTER.dump_python(state, mode="json", exclude={"version"}))
    item: Item = {"pk": _PK, "sk": _sk(state.guard), "body": body, "written_at": iso(now)}
    return Put(item, read=state.version)


def _sk(guard: str) -> str:
    return quote(guard, safe="")  # A name may have any characters; sort keys are plain ASCII.


def _to_state(item: Item) -> GuardState:
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})
