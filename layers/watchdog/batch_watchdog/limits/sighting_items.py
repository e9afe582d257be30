"""
Store sightings: which job entered which state, and when, as events report it.

Reminders are not updated when a job changes its state. So each change is stored here, packed into
one item for each batch of messages, under the minute in which the batch was sent: no event in it is
later. Items are read only when something is about to be announced or done about a job, from the
beginning of its stay on. An item that exists already has the same content, and is left as it is.
Items expire automatically.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import batched

from batch_watchdog.core.job_event import EPOCH
from batch_watchdog.limits.child_ids import children, families
from batch_watchdog.limits.stays import Sighting
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.reminders import MINUTE, minute_of
from batch_watchdog.store.table import Key, Put, Table, create

KEPT = timedelta(days=40)  # a limit is at most 30 days, and a hold delays decisions

_ITEM_MAX = 5_000  # jobs; an item holds 400 KB, and a job takes 24 bytes
_SHARDS = 4  # as one partition takes 1,000 write units a second


def file(table: Table, sightings: Iterable[Sighting], sent_at: datetime) -> None:
    """Store the sightings from messages that were sent until `sent_at`."""
    rows = sorted(
        ((each.status, each.attempts, _seconds(each.at)), each.job_id) for each in sightings
    )
    for some in batched(rows, _ITEM_MAX, strict=False):
        create(table, _put(pack(_packed(some)), sent_at))


def read(
    table: Table, since: datetime, job_ids: Collection[str]
) -> Mapping[str, Sequence[Sighting]]:
    """Read the sightings of these jobs from messages that were sent from `since` on."""
    wanted, found = frozenset(job_ids), defaultdict(list)
    known = {parent for parent, _ in families(wanted)}
    for item in _sent_since(table, since):
        for status, attempts, at, ids in unpack(item["content"]):
            for job_id, indices in ids:
                if job_id not in known:
                    continue
                for each in children(job_id, indices) if indices else [job_id]:
                    if each in wanted:
                        seen_at = EPOCH + timedelta(seconds=at)
                        found[each].append(
                            Sighting(job_id=each, status=status, attempts=attempts, at=seen_at)
                        )
    return found


def keys_of_only(table: Table, since: datetime, job_id: str) -> Iterator[Key]:
    """Yield the keys of items with this job only, of messages that were sent from `since` on."""
    for item in _sent_since(table, since):
        if all([each for each, _ in ids] == [job_id] for *_, ids in unpack(item["content"])):
            yield str(item["pk"]), str(item["sk"])


def _sent_since(table: Table, since: datetime) -> Iterator[Item]:
    for shard in range(_SHARDS):
        # A minute more: the clocks of two services differ.
        yield from table.query(_pk(shard), first=_minute(since - MINUTE))


def _packed(rows: Iterable[tuple[tuple[str, int, int], str]]) -> list[list[object]]:
    alike: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for what, job_id in rows:
        alike[what].append(job_id)
    return [[*what, list(families(ids))] for what, ids in alike.items()]


def _put(content: bytes, sent_at: datetime) -> Put:
    digest = hashlib.sha256(content).hexdigest()[:24]
    item: Item = {
        "pk": _pk(int(digest[-1], 16) % _SHARDS),
        "sk": f"{_minute(sent_at)}#{digest}",
        "content": content,
        "expires_at": int((sent_at + KEPT).timestamp()),
    }
    return Put(item)


def _pk(shard: int) -> str:
    return f"SIGHTING#{shard}"


def _minute(at: datetime) -> str:
    return f"{minute_of(at).astimezone(UTC):%Y-%m-%dT%H:%MZ}"


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
