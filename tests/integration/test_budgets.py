"""Budgets, replayed with the real template and handlers, against a count of their own."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from local.aws.stack import Stack
from local.replay import replay
from local.replay.event_log import read_log
from tests import budgeting, logs
from tests.budgeting import Attempt, Drawn, due_at, used_by_day

type Rows = list[dict[str, Any]]
type Play = Callable[..., Rows]

LATE = timedelta(minutes=2)


@pytest.fixture
def play(tmp_path: Path, stack: Stack) -> Play:
    """Write a log, replay it, and read its rows."""

    def run(lines: Iterable[Any], policy: str, **options: Any) -> Rows:
        log = logs.write(tmp_path / "log.jsonl", lines)
        rows: Rows = []
        replay.replay(read_log(log), stack=stack, tell=rows.append, policy=policy, **options)
        return json.loads(json.dumps(rows))  # type: ignore[no-any-return]

    return run


def budget(per: str = "day", zone: str = "UTC", **more: str) -> str:
    lines = {"name": '"b"', "per": f'"{per}"', "time_zone": f'"{zone}"', "vcpu_hours": "1e9"}
    text = "\n".join(f"{key} = {value}" for key, value in (lines | more).items())
    return f'mode = "enforce"\n[notify]\njob_failures = false\n[[budget]]\n{text}\n'


def days_of(rows: Rows, name: str = "b") -> dict[str, dict[str, float]]:
    found = {}
    for each in rows[-1]["budgets"]:
        if each["budget"] == name:
            found |= each["days"]
    return found


def notices(rows: Rows, kind: str) -> Rows:
    return [row for row in rows if row.get("notice") == kind]


def has_counted(rows: Rows, attempts: Iterable[Attempt], zone: str) -> None:
    expected = used_by_day(attempts, zone)
    counted = days_of(rows)
    assert set(counted) == {day.isoformat() for day in expected}
    for day, used in expected.items():
        for unit, amount in used.items():
            assert counted[day.isoformat()][unit] == pytest.approx(amount, rel=1e-5, abs=2e-6), (day, unit)


EVERY = {"gpu_hours": "1e9", "memory_gib_hours": "1e9"}
MANY_DAYS = {"within": timedelta(hours=20), "longest": timedelta(hours=8)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({}, id="none"),
        pytest.param({"repeated": 0.4, "late": 0.4}, id="repeated and late"),
        pytest.param({"repeated": 0.2, "late": 0.5, "latest": timedelta(hours=9)}, id="hours late"),
    ],
)
def test_the_use_of_each_day_is_what_the_attempts_took(
    play: Play, seed: int, faults: dict[str, Any]
) -> None:
    zone = ["UTC", "Asia/Tokyo", "America/New_York", "Asia/Kathmandu"][seed]
    drawn = budgeting.draw(seed, **MANY_DAYS)
    per = ["day", "week", "month", "day"][seed]

    rows = play(logs.with_faults(drawn.events, seed=seed, **faults), budget(per, zone, **EVERY))

    has_counted(rows, drawn.attempts, zone)
