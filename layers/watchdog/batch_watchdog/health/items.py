"""Store the result of the last daily check, so that the next one announces only what is new."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from batch_watchdog.store.item_codec import pack, unpack
from batch_watchdog.store.table import Put, Table

_KEY = ("HEALTH", "LAST-CHECK")


@dataclass(frozen=True, slots=True, kw_only=True)
class LastCheck:
    """`wrong` are the keys of problems, `fine` those of doubtful ones that were not there."""

    next_at: datetime
    wrong: Sequence[str] | None = None
    fine: Sequence[str] = ()
    version: int = 0


_ADAPTER = TypeAdapter(LastCheck)


def read(table: Table) -> LastCheck | None:
    """Read the last check; None where there was none."""
    item = table.get(*_KEY)
    if item is None:
        return None
    return _ADAPTER.validate_python(unpack(item["body"]) | {"version": item["version"]})


def put(check: LastCheck) -> Put:
    """Return the write of a check."""
    pk, sk = _KEY
    body = pack(_ADAPTER.dump_python(check, mode="json", exclude={"version"}))
    return Put({"pk": pk, "sk": sk, "body": body}, read=check.version)
