"""The progress of the listing for budgets, in one item."""

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from batch_watchdog.store.item_codec import pack, unpack
from batch_watchdog.store.table import Put, Table

_KEY = ("BUDGET-LISTING", "CURSOR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    A part that is still to be listed: a queue's running jobs, its arrays at work or its new jobs,
    or an array's children in one state. `token` is that of the next page.
    """

    what: Literal["running", "at work", "new", "children"]
    queue: str = ""
    service: bool = False
    array: str = ""
    status: str = ""
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """
    The listing that began last, with the parts that are left. Times are milliseconds since 1970.

    `since` is the time from which jobs count as new. `arrays` were at work. `anew` says that a
    budget has just begun to count: it has not counted the runs that are believed to go on.
    """

    began_at: int
    since: int
    parts: tuple[Part, ...] = ()
    arrays: tuple[str, ...] = ()
    anew: bool = False
    version: int = 0


_ADAPTER = TypeAdapter(Listing)


def read(table: Table) -> Listing | None:
    item = table.get(*_KEY)
    if item is None:
        return None
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def write(table: Table, listing: Listing) -> int:
    """
    Write the progress of a listing; return the version that is kept.

    Raises:
        StaleItemError: another sweep has continued it.
    """
    dumped = _ADAPTER.dump_python(listing, mode="json", exclude={"version"})
    pk, sk = _KEY
    table.write([Put({"pk": pk, "sk": sk, "body": pack(dumped)}, read=listing.version)])
    return listing.version + 1
