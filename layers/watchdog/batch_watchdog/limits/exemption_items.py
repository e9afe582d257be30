"""Store exemptions: jobs that an operator has excluded from all limits, each until a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from batch_watchdog.notices.text import iso
from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.table import Put, Table

_PK = "EXEMPT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemption:
    job_id: str
    until: datetime
    by: str
    why: str = ""
    version: int = 0


def read_all(table: Table, now: datetime) -> Mapping[str, Exemption]:
    """Read the exemptions that are in force, by job id."""
    found = (_to_exemption(item) for item in table.query(_PK))
    return {each.job_id: each for each in found if each.until > now}


def read(table: Table, job_id: str) -> Exemption | None:
    """Read a job's exemption, even if it has expired."""
    item = table.get(_PK, job_id)
    return _to_exemption(item) if item else None


def put(exemption: Exemption) -> Put:
    """Build the write of an exemption."""
    item: Item = {
        "pk": _PK,
        "sk": exemption.job_id,
        "until": iso(exemption.until),
        "by": exemption.by,
        "why": exemption.why,
        "expires_at": int(exemption.until.timestamp()),
    }
    return Put(item, read=exemption.version)


def _to_exemption(item: Item) -> Exemption:
    return Exemption(
        job_id=str(item["sk"]),
        until=datetime.fromisoformat(str(item["until"])).astimezone(UTC),
        by=str(item["by"]),
        why=str(item["why"]),
        version=int(item["version"]),
    )
