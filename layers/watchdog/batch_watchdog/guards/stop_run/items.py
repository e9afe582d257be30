"""
Stop runs in the table: a head, the chunks of jobs that the run found, and those of jobs that were
stopped on their arrival.

All runs share one rate of calls, so they take turns. The run that works has the turn. The turn
expires, in case the run's invocation dies.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from heapq import merge

from pydantic import TypeAdapter

from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.core.job_event import EPOCH
from batch_watchdog.guards.stop_run.run import Chunk, Run
from batch_watchdog.notices.text import iso
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.table import Key, Put, Table

KEPT = timedelta(days=90)  # as long as actions: what was stopped, and why

_TURN = ("RUN", "TURN")
_TURN_LASTS = timedelta(minutes=2)  # longer than an invocation may run
_TRIES = 5

_RUN = TypeAdapter(Run)
_CHUNK = TypeAdapter(Chunk)


def read(table: Table, run_id: str) -> Run | None:
    """Read a run; None if it is not known."""
    return read_many(table, [run_id]).get(run_id)


def read_many(table: Table, run_ids: Iterable[str]) -> dict[str, Run]:
    """Read runs by id; those that are not known are left out."""
    items = table.get_many([_head_key(run_id) for run_id in run_ids])
    known = (
        _RUN.validate_python(unpack(item["body"]) | {"version": item["version"]})
        for item in items.values()
    )
    return {run.run_id: run for run in known}


def put(run: Run, now: datetime) -> Put:
    """Build the write of a run's head."""
    pk, sk = _head_key(run.run_id)
    body = pack(_RUN.dump_python(run, mode="json", exclude={"version"}))
    return Put({"pk": pk, "sk": sk, "body": body, "expires_at": _expiry(now)}, read=run.version)


def read_chunk(table: Table, run_id: str, number: int) -> Chunk | None:
    """Read one of a run's chunks."""
    item = table.get(_pk(run_id), f"CHUNK#{number:08}")
    return _to_chunk(item) if item else None


def put_chunk(run_id: str, chunk: Chunk) -> Put:
    """Build the write of a chunk."""
    return _put_chunk(run_id, f"CHUNK#{chunk.number:08}", chunk)


def put_arrivals(run_id: str, decisions: Iterable[str], chunk: Chunk) -> Put:
    """
    Build the write of jobs that are stopped on their arrival, while the run's stage is on.

    `decisions` are the names of what was decided, and so differ from write to write.
    """
    digest = hashlib.sha256("\n".join(decisions).encode()).hexdigest()[:16]
    return _put_chunk(run_id, f"ARRIVED#{iso(chunk.at)}#{digest}", chunk)


def found(table: Table, run_id: str, number: int = 0, since: datetime = EPOCH) -> Iterator[Chunk]:
    """
    Yield chunks, including those of arrivals, in order of time; read page by page.

    They are all, or the chunks from a number on and the arrivals since a time.
    """
    chunks = table.query(_pk(run_id), first=f"CHUNK#{number:08}", last="CHUNK#~")
    arrivals = arrived(table, run_id, since)
    return merge(arrivals, map(_to_chunk, chunks), key=lambda chunk: chunk.at)


def arrived(table: Table, run_id: str, since: datetime) -> Iterator[Chunk]:
    """Yield the chunks of arrivals since a time, in order; read page by page."""
    first = f"ARRIVED#{iso(since)}"
    return map(_to_chunk, table.query(_pk(run_id), first=first, last="ARRIVED#~"))


def take_turn(table: Table, run_id: str, now: datetime) -> str | None:
    """
    Take the turn, if nobody has it.

    Returns:
        None if it was taken, or else the run whose turn it is (this one's id, if another invocation
        works on it).

    Raises:
        StaleItemError: another invocation has just taken it.
    """
    item = table.get(*_TURN)
    if item and str(item["until"]) > iso(now):
        return str(item["run_id"])
    table.write([_turn(item, run_id, now + _TURN_LASTS)])
    return None


def end_turn(table: Table, run_id: str, now: datetime) -> None:
    """
    Give the turn back, if this run has it.

    Raises:
        StaleItemError: too many others write the same item. The turn expires.
    """
    for _ in range(_TRIES):
        item = table.get(*_TURN)
        if item is None or item["run_id"] != run_id:
            return
        with suppress(StaleItemError):
            table.write([_turn(item, run_id, now)])
            return
    raise StaleItemError("/".join(_TURN))


def _turn(item: Item | None, run_id: str, until: datetime) -> Put:
    pk, sk = _TURN
    body: Item = {"pk": pk, "sk": sk, "run_id": run_id, "until": iso(until)}
    return Put(body, read=int(item["version"]) if item else 0)


def _put_chunk(run_id: str, sk: str, chunk: Chunk) -> Put:
    body = pack(_CHUNK.dump_python(chunk, mode="json", exclude={"version"}))
    item: Item = {"pk": _pk(run_id), "sk": sk, "body": body, "expires_at": _expiry(chunk.at)}
    return Put(item, read=chunk.version)


def _to_chunk(item: Item) -> Chunk:
    return _CHUNK.validate_python(unpack(item["body"]) | {"version": item["version"]})


def _pk(run_id: str) -> str:
    return f"RUN#{run_id}"


def _head_key(run_id: str) -> Key:
    return _pk(run_id), "HEAD"


def _expiry(now: datetime) -> int:
    return int((now + KEPT).timestamp())
