"""How far the listing for budgets has come: one item."""

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from batch_watchdog.store.item_codec import pack, unpack
from batch_watchdog.store.table import Put, Table

_KEY = ("BUDGET-LISTING", "CURSOR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    What is still to be listed: of a queue what runs, the arrays at work, or the new jobs; or of an
    array its children in a state. `token` is that of the next page.
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
    The listing that began last, and its parts that are left. Times are milliseconds since 1970.

    `since` is from when on jobs count as new. `arrays` were at work. `anew` says that a budget has
    begun to count: what is believed to run is not counted by it.
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
    Keep how far a listing has come; return the version that is kept.

    Raises:
        StaleItemError: another sweep has gone on with it.
    """
    dumped = _ADAPTER.dump_python(listing, mode="json", exclude={"version"})
    pk, sk = _KEY
    table.write([Put({"pk": pk, "sk": sk, "body": pack(dumped)}, read=listing.version)])
    return listing.version + 1
