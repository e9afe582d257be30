"""Several budgets over a random log, replayed, each against a count that knows no event."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from local.aws.stack import Stack
from local.replay import replay
from local.replay.event_log import read_log
from tests import budgeting, logs
from tests.budgeting import UNITS, Attempt, due_at, used_by, used_by_day

pytestmark = pytest.mark.long

type Rows = list[dict[str, Any]]

LATE = timedelta(minutes=2)
FOUND = timedelta(minutes=35)  # In so long all that events have not told of is found.
_SHARES = (30, 70)

# A zone, and an evening in which its clocks change, or a period ends.
EVENINGS = (
    ("Europe/Berlin", datetime(2026, 3, 28, 20, tzinfo=UTC)),  # on Sunday at 1:00 UTC
    ("America/New_York", datetime(2026, 10, 31, 23, tzinfo=UTC)),  # on Sunday at 6:00 UTC
    ("UTC", datetime(2026, 2, 28, 20, tzinfo=UTC)),  # the month ends
    ("Asia/Tokyo", datetime(2026, 1, 4, 11, tzinfo=UTC)),  # the week does
    ("Asia/Kathmandu", datetime(2026, 6, 30, 15, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2026, 5, 31, 7, tzinfo=UTC)),
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A budget as the policy has it, and whose attempts it counts."""

    name: str
    per: str
    zone: str
    unit: str
    match: dict[str, Any]
    limit: float = 1e9
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def toml(self) -> str:
        tags = f'tags = {{ team = "{self.match["team"]}" }}' if "team" in self.match else ""
        queue = f'queue = "{self.match["queue"]}"' if "queue" in self.match else ""
        match = f"match = {{ {', '.join(filter(None, (queue, tags)))} }}\n" if self.match else ""
        others = "\n".join(f"{unit} = 1e9" for unit in UNITS if unit != self.unit)
        return (
            f'[[budget]]\nname = "{self.name}"\nper = "{self.per}"\ntime_zone = "{self.zone}"\n'
            f"{match}{self.unit} = {self.limit}\n{others}\nwarn_at = {list(_SHARES)}\n"
        )

    def counts(self, attempt: Attempt) -> bool:
        return (
            fnmatchcase(attempt.queue, self.match.get("queue", "*"))
            and self.match.get("team", attempt.team) == attempt.team
        )

    def begins_of(self, day: date) -> datetime:
        """When the period of a day begins."""
        match self.per:
            case "day":
                first = day
            case "week":
                first = day - timedelta(days=day.weekday())
            case _:
                first = day.replace(day=1)
        midnight = datetime(first.year, first.month, first.day, tzinfo=ZoneInfo(self.zone))
        return midnight.astimezone(UTC)

    def periods(self, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Each period in which something runs until a time."""
        days = sorted(used_by_day(self.attempts, self.zone))
        begins = sorted({self.begins_of(day) for day in days})
        yield from zip(begins, [*begins[1:], end], strict=True)


def budgets_of(random: Random, zone: str, attempts: Sequence[Attempt]) -> list[Asked]:
    """Three budgets of which the largest share of what they count in a period is within reach."""
    found = []
    for number, match in enumerate(({}, {"queue": "gpu-*"}, {"team": "imaging", "queue": "*"})):
        asked = Asked(
            name=f"b{number}",
            per=random.choice(("day", "week", "month")),
            zone=random.choice((zone, zone, "UTC")),
            unit=random.choice(UNITS),
            match=match,
        )
        mine = [attempt for attempt in attempts if asked.counts(attempt)]
        whole = used_by(mine, attempts[0].start - timedelta(days=40), LAST)[asked.unit]
        limit = round(whole * random.choice((0.4, 0.9)), 3) or 1.0
        found.append(
            Asked(
                name=asked.name,
                per=asked.per,
                zone=asked.zone,
                unit=asked.unit,
                match=match,
                limit=limit,
                attempts=mine,
            )
        )
    return found


LAST = datetime(2027, 1, 1, tzinfo=UTC)

GUARD = """
[[guard]]
name = "spending"
match = { queue = "nothing-*" }
[[guard.stage]]
budgets = [{ name = "b0", percent = 55 }]
action = "cancel"
[[guard.stage]]
budgets = [{ name = "b1" }]
action = "terminate"
"""


def played(directory: Path, stack: Stack, seed: int, **faults: Any) -> tuple[Rows, list[Asked]]:
    """The rows of a random log's replay, and its budgets with what they count."""
    random = Random(seed)  # noqa: S311 - it need only be the same each time
    zone, begins = EVENINGS[seed % len(EVENINGS)]
    drawn = budgeting.draw(
        seed, begins=begins, within=timedelta(hours=4), longest=timedelta(hours=3), jobs=40
    )
    budgets = budgets_of(random, zone, drawn.attempts)
    policy = 'mode = "observe"\n[notify]\njob_failures = false\n'
    policy += "".join(each.toml for each in budgets) + GUARD
    log = logs.write(directory / "log.jsonl", logs.with_faults(drawn.events, seed=seed, **faults))
    rows: Rows = []
    until = max(attempt.stop for attempt in drawn.attempts) + FOUND
    replay.replay(read_log(log), stack=stack, write_row=rows.append, policy=policy, until=until)
    return json.loads(json.dumps(rows)), budgets


def wrong_uses(rows: Rows, budgets: Sequence[Asked]) -> Iterator[str]:
    for each in budgets:
        counted: dict[str, dict[str, float]] = {}
        for row in rows[-1]["budgets"]:
            if row["budget"] == each.name:
                counted |= row["days"]
        expected = used_by_day(each.attempts, each.zone)
        for day in {*counted, *(day.isoformat() for day in expected)}:
            used = expected.get(date.fromisoformat(day), dict.fromkeys(UNITS, 0.0))
            for unit, amount in used.items():
                if counted.get(day, {}).get(unit, 0) != pytest.approx(amount, rel=1e-3, abs=1e-5):
                    yield f"{each.name} {day} {unit}: {counted.get(day)}, and it was {used}"


def wrong_rings(rows: Rows, budgets: Sequence[Asked], last: datetime) -> Iterator[str]:
    """What is told that is not due, twice, too late or too early; by the times of the rows."""
    for each in budgets:
        due: dict[tuple[str, float], datetime] = {}
        for begins, ends in each.periods(last):
            for share in (*_SHARES, 100):
                amount = each.limit * share / 100
                at = due_at(each.attempts, begins, ends, each.unit, amount)
                if at:
                    due[begins.isoformat(), share] = at
        told = [
            row
            for row in rows
            if row.get("notice") in ("budget-warning", "budget-reached")
            and row["facts"]["budget"] == each.name
        ]
        for row in told:
            begins = datetime.fromisoformat(row["facts"]["period_begins"])
            at = due.pop((begins.isoformat(), row["facts"]["threshold"]), None)
            if at is None or not at <= datetime.fromisoformat(row["at"]) < at + LATE:
                yield f"{each.name} {row['facts']['threshold']} told at {row['at']}, due at {at}"
        for key, at in due.items():
            if at < last - LATE:
                yield f"{each.name} {key}: due at {at}, and not told"


def wrong_stages(rows: Rows, budgets: Sequence[Asked], last: datetime) -> Iterator[str]:
    """Stages that are entered when their budget is not used, or too late."""
    raised = [
        (row["facts"]["stage"], datetime.fromisoformat(row["at"]))
        for row in rows
        if row.get("notice") == "guard-raised"
    ]
    for each, share, stage in ((budgets[0], 55, "cancel"), (budgets[1], 100, "terminate")):
        dues = [
            at
            for begins, ends in each.periods(last)
            if (at := due_at(each.attempts, begins, ends, each.unit, each.limit * share / 100))
        ]
        for name, entered in raised:
            # A stage that is harder ends, and the softer one is told again.
            if name == stage == "terminate" and not any(at <= entered < at + LATE for at in dues):
                yield f"{stage} entered at {entered}, due at {dues}"
        for at in dues:
            is_told = any(
                name in (stage, "terminate") and entered < at + LATE for name, entered in raised
            )
            if at < last - LATE and not is_told:
                yield f"{stage} due at {at}, entered: {raised}"
        if stage == "cancel" and raised and not dues and any(name == stage for name, _ in raised):
            yield f"cancel entered at {raised}, and never due"


@pytest.mark.parametrize("seed", [0, 1])
def test_each_budget_counts_what_it_matches_and_rings_when_it_is_due(
    tmp_path: Path, stack: Stack, seed: int
) -> None:
    rows, budgets = played(
        tmp_path, stack, seed, repeated=0.3, late=0.3, latest=timedelta(seconds=25)
    )
    last = max(datetime.fromisoformat(row["at"]) for row in rows if "at" in row)
    last = max(last, *(each.stop for asked in budgets for each in asked.attempts))

    assert not [
        *wrong_uses(rows, budgets),
        *wrong_rings(rows, budgets, last),
        *wrong_stages(rows, budgets, last),
    ]


def test_what_is_lost_or_hours_late_is_counted_on_its_own_day(tmp_path: Path, stack: Stack) -> None:
    rows, budgets = played(
        tmp_path, stack, 3, repeated=0.2, late=0.3, lost=0.2, latest=timedelta(hours=2)
    )
    assert not [*wrong_uses(rows, budgets)]
