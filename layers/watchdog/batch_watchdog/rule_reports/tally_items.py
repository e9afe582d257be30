"""The tallies in the table: one item for each limit and week, and the last week reported."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from batch_watchdog.notices.text import iso
from batch_watchdog.rule_reports.followed import RuleKey
from batch_watchdog.rule_reports.tally import Tally
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.table import Put, Table

WEEK = timedelta(days=7)
KEPT = timedelta(days=100)  # after the latest write

_LAST = ("RULE-REPORT", "LAST")
_TALLY = TypeAdapter(Tally)
_KEY = TypeAdapter(RuleKey)


def week_of(at: datetime) -> date:
    """Return the Monday, in UTC, of the week that a time lies in."""
    day = at.astimezone(UTC).date()
    return day - timedelta(days=day.weekday())


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTally:
    """A tally as it was read."""

    key: RuleKey
    tally: Tally
    version: int = 0

    def put(self, week: date, tally: Tally, now: datetime) -> Put:
        """Build the write of a new tally. It is refused if the item has changed meanwhile."""
        return Put(
            {
                "pk": _pk(week),
                "sk": _sk(self.key),
                "rule": pack(asdict(self.key)),
                "body": pack(_TALLY.dump_python(tally, mode="json")),
                "expires_at": int((now + KEPT).timestamp()),
            },
            read=self.version,
        )


def read(table: Table, week: date, keys: Iterable[RuleKey]) -> dict[RuleKey, KeptTally]:
    """Read the tallies of these limits in a week; empty ones if nothing was counted."""
    by_sk = {_sk(key): key for key in keys}
    found = table.get_many([(_pk(week), sk) for sk in by_sk])
    kept = {key: KeptTally(key=key, tally=Tally()) for key in by_sk.values()}
    return kept | {each.key: each for each in map(_to_kept, found.values())}


def of_week(table: Table, week: date) -> dict[RuleKey, Tally]:
    """Read all tallies of a week."""
    return {each.key: each.tally for each in map(_to_kept, table.query(_pk(week)))}


def passed(table: Table, jobs: Mapping[RuleKey, tuple[int, int]], now: datetime) -> Iterator[Put]:
    """Yield the writes that count jobs that pass limits `now`: by limit, followed and exempted."""
    week = week_of(now)
    for key, kept in read(table, week, jobs).items():
        yield kept.put(week, kept.tally.with_passed(*jobs[key]), now)


def _to_kept(item: Item) -> KeptTally:
    key: dict[str, Any] = unpack(item["rule"])
    return KeptTally(
        key=_KEY.validate_python(key),
        tally=_TALLY.validate_python(unpack(item["body"])),
        version=int(item["version"]),
    )


def _pk(week: date) -> str:
    return f"RULE-WEEK#{week.isoformat()}"


def _sk(key: RuleKey) -> str:
    text = json.dumps(asdict(key), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]


# ---- Which week was reported last -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LastReport:
    """
    The first week that has not been reported, and since when the policy has its limits.

    `policy` is the version of the policy that this is about ("" if none was seen), and `since` has
    a time for each of its limits, by a digest of the limit.
    """

    week: date
    policy: str = ""
    since: Mapping[str, datetime] = field(default_factory=dict)
    version: int = 0

    def has(self, key: RuleKey) -> datetime | None:
        """Return since when the policy has a limit; None if the policy does not have it."""
        return self.since.get(_sk(key))

    def with_policy(self, version: str, limits: Iterable[RuleKey], now: datetime) -> "LastReport":
        """Return the same for a policy with these limits; new limits begin `now`."""
        since = {_sk(key): self.has(key) or now for key in limits}
        return replace(self, policy=version, since=since)


def read_last(table: Table) -> LastReport | None:
    """Read what was reported last; None before the first sweep."""
    item = table.get(*_LAST)
    if item is None:
        return None
    since = unpack(item["since"]) if "since" in item else {}  # An older version has kept none.
    return LastReport(
        week=date.fromisoformat(str(item["week"])),
        policy=str(item.get("policy", "")),
        since={digest: datetime.fromisoformat(at) for digest, at in since.items()},
        version=int(item["version"]),
    )


def put_last(last: LastReport) -> Put:
    """Build the write of what was reported last. The item never expires."""
    pk, sk = _LAST
    since = pack({digest: iso(at) for digest, at in last.since.items()})
    item: Item = {
        "pk": pk,
        "sk": sk,
        "week": last.week.isoformat(),
        "policy": last.policy,
        "since": since,
    }
    return Put(item, read=last.version)
