"""The brake: how many jobs limits have stopped in the last hour."""

from contextlib import suppress
from datetime import datetime, timedelta

from batch_watchdog.errors import StaleItemError
from batch_watchdog.notices import iso
from batch_watchdog.store.table import Item, Put, Table, pack, unpack
from batch_watchdog.store.wheel import minute_of

_KEY = ("SAFETY", "BRAKE")
_WINDOW = timedelta(hours=1)
_TRIES = 5


def reserve(table: Table, wanted: int, most: int, now: datetime) -> int:
    """
    How many of the wanted stops are allowed now, of at most so many in an hour.

    What is allowed counts as used, even should it not be carried out.

    Raises:
        StaleItemError: too many others reserve at once.
    """
    for _ in range(_TRIES):
        item = table.get(*_KEY)
        counts: dict[str, int] = unpack(item["body"]) if item else {}
        since = iso(now - _WINDOW)
        used = {minute: count for minute, count in counts.items() if minute > since}
        allowed = max(0, min(wanted, most - sum(used.values())))
        if not allowed:
            return 0
        minute = iso(minute_of(now))
        used[minute] = used.get(minute, 0) + allowed
        body: Item = {"pk": _KEY[0], "sk": _KEY[1], "body": pack(used)}
        with suppress(StaleItemError):
            table.write([Put(body, read=int(item["version"]) if item else 0)])
            return allowed
    raise StaleItemError("/".join(_KEY))
