"""
The ledger of a budget: which starts and which ends of runs it has counted.

A start is kept under the minute in which the run began, an end under the minute in which it ended.
So a repeated fact is found again by the times that the run shows. The children of an array are bits
of a mask, other jobs eight bytes each. Everything that is counted at once takes one write of each
minute's item. Once an item is full, its digests are moved to items that no longer change.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote

from batch_watchdog.budgets.facts import BudgetKey
from batch_watchdog.budgets.periods import to_time
from batch_watchdog.core.job_event import array_child
from batch_watchdog.store.item_codec import Item, binary, pack, unpack
from batch_watchdog.store.table import Put, Table

KEPT = timedelta(days=100)  # after the latest write

_WIDTH = 8  # bytes
_FULL = 4_000 * _WIDTH

type Side = Literal["S", "E", "T"]
"""Starts; ends; and starts that were taken off by an end which does not show them so."""

type Families = dict[tuple[str, int], int]
"""A mask of children, by array and attempt."""


@dataclass(slots=True, kw_only=True)
class _Page:
    """What one minute's item holds, and what is new."""

    digests: set[bytes] = field(default_factory=set)
    own: bytes = b""  # the digests in the first item
    families: Families = field(default_factory=dict)
    full: int = 0
    version: int = 0
    changed: bool = False


class Ledger:
    """The ledger of one budget: the part that was read, with what is to be counted now."""

    def __init__(self, table: Table, budget: BudgetKey) -> None:
        self._table = table
        self._pk = f"BUDGET-RUNS#{quote(budget[0], safe='')}#{budget[1]}"
        self._pages: dict[str, _Page] = {}

    def read(self, times: Iterable[tuple[Side, int]]) -> None:
        """Read what was counted in the minutes of these times (milliseconds)."""
        wanted = {_sk(side, at) for side, at in times} - self._pages.keys()
        items = self._table.get_many([(self._pk, sk) for sk in sorted(wanted)])
        self._take_in(items.values())
        for sk in wanted:
            self._pages.setdefault(sk, _Page())

    def read_ends(self, since: int) -> None:
        """Read all counted ends from the minute of a time (milliseconds) on."""
        self._take_in(self._table.query(self._pk, first=_sk("E", since), last="E#~"))

    def _take_in(self, items: Iterable[Item]) -> None:
        first = [
            item
            for item in items
            if str(item["sk"]).count("#") == 1 and str(item["sk"]) not in self._pages
        ]
        more = [
            (self._pk, _full_sk(str(item["sk"]), number))
            for item in first
            for number in range(int(item["full"]))
        ]
        moved = self._table.get_many(more) if more else {}
        for item in first:
            sk, full = str(item["sk"]), int(item["full"])
            parts = [binary(moved[self._pk, _full_sk(sk, n)]["digests"]) for n in range(full)]
            own = binary(item["digests"])
            self._pages[sk] = _Page(
                digests={each for part in (own, *parts) for each in _in_pieces(part)},
                own=own,
                families={
                    (parent, attempt): int(mask, 16)
                    for parent, attempt, mask in unpack(item["families"])
                },
                full=full,
                version=int(item["version"]),
            )

    def knows(self, side: Side, at: int, job_id: str, attempt: int) -> bool:
        """Whether this was counted. The minute must have been read."""
        return _has(self._pages[_sk(side, at)], job_id, attempt, at if side != "E" else 0)

    def knows_end(self, job_id: str, attempt: int, since: int = 0) -> bool:
        """Whether an end of the run was counted in any minute that was read, from a time on."""
        first = _sk("E", since)
        return any(
            _has(page, job_id, attempt)
            for sk, page in self._pages.items()
            if sk[0] == "E" and sk >= first
        )

    def count(self, side: Side, at: int, job_id: str, attempt: int) -> None:
        page, shown = self._pages[_sk(side, at)], at if side != "E" else 0
        if _has(page, job_id, attempt, shown):
            return
        page.changed = True
        if child := _child(job_id):
            parent, index = child
            mask = page.families.get((parent, attempt), 0)
            page.families[parent, attempt] = mask | 1 << index
        else:
            digest = _digest(job_id, attempt, shown)
            page.digests.add(digest)
            page.own += digest

    def puts(self, now: datetime) -> Iterator[Put]:
        """Yield the writes of what was counted."""
        expires_at = int((now + KEPT).timestamp())
        for sk, page in self._pages.items():
            if not page.changed:
                continue
            own, full = page.own, page.full
            while len(own) > _FULL:
                moved, own = own[:_FULL], own[_FULL:]
                yield Put(
                    {
                        "pk": self._pk,
                        "sk": _full_sk(sk, full),
                        "digests": moved,
                        "expires_at": expires_at,
                    }
                )
                full += 1
            families: list[Any] = [[*key, f"{mask:x}"] for key, mask in page.families.items()]
            item: Item = {
                "pk": self._pk,
                "sk": sk,
                "digests": own,
                "families": pack(sorted(families)),
                "full": full,
                "expires_at": expires_at,
            }
            yield Put(item, read=page.version)


def minutes(times: Collection[tuple[Side, int]]) -> int:
    """Return how many items belong to these times."""
    return len({_sk(side, at) for side, at in times})


def _has(page: _Page, job_id: str, attempt: int, at: int = 0) -> bool:
    if child := _child(job_id):
        parent, index = child
        return bool(page.families.get((parent, attempt), 0) >> index & 1)
    return _digest(job_id, attempt, at) in page.digests


def _child(job_id: str) -> tuple[str, int] | None:
    child = array_child(job_id)
    return child if child and job_id == f"{child[0]}:{child[1]}" else None


def _digest(job_id: str, attempt: int, at: int) -> bytes:
    text = f"{job_id} {attempt} {at}".encode("utf-8", "replace")
    return hashlib.sha256(text).digest()[:_WIDTH]


def _in_pieces(digests: bytes) -> Iterator[bytes]:
    return (digests[at : at + _WIDTH] for at in range(0, len(digests), _WIDTH))


def _sk(side: Side, at: int) -> str:
    return f"{side}#{to_time(at).astimezone(UTC):%Y-%m-%dT%H:%MZ}"


def _full_sk(sk: str, number: int) -> str:
    return f"{sk}#{number}"
