"""Budgets, replayed with the real template and handlers, against a count of their own."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Put
from local.aws.stack import Stack
from local.replay import replay
from local.replay.event_log import read_log
from tests import budgeting, logs
from tests.budgeting import Attempt, due_at, used_by_day

pytestmark = pytest.mark.long

type Rows = list[dict[str, Any]]
type Play = Callable[..., Rows]

LATE = timedelta(minutes=2)


@pytest.fixture
def play(tmp_path: Path, stack: Stack) -> Play:
    """Write a log, replay it, and read its rows."""

    def run(lines: Iterable[Any], policy: str, **options: Any) -> Rows:
        log = logs.write(tmp_path / "log.jsonl", lines)
        rows: Rows = []
        replay.replay(read_log(log), stack=stack, write_row=rows.append, policy=policy, **options)
        return json.loads(json.dumps(rows))  # type: ignore[no-any-return]

    return run


class WriteUnits:
    """Write units by the first part of the partition key; in a transaction each counts twice."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._units: Counter[str] = Counter()
        write = MemoryTable.write

        def counted(table: MemoryTable, puts: Sequence[Put]) -> None:
            for put in puts:
                size = sum(
                    len(name) + (len(value) if isinstance(value, bytes | str) else 21)
                    for name, value in put.item.items()
                )
                kind = str(put.item["sk"]).split("#")[1] if put.key[0].startswith("WHEEL") else ""
                name = f"{put.key[0].partition('#')[0]} {kind}".strip()
                self._units[name] += -(-size // 1_024) * (2 if len(puts) > 1 else 1)
            write(table, puts)

        monkeypatch.setattr(MemoryTable, "write", counted)

    @property
    def of_budgets(self) -> int:
        names = ("BUDGET", "BUDGET-RUNS", "WHEEL use", "WHEEL run")
        return sum(self._units[name] for name in names)


def budget(per: str = "day", zone: str = "UTC", **more: str) -> str:
    lines = {"name": '"b"', "per": f'"{per}"', "time_zone": f'"{zone}"', "vcpu_hours": "1e9"}
    text = "\n".join(f"{key} = {value}" for key, value in (lines | more).items())
    return f'mode = "enforce"\n[notify]\njob_failures = false\n[[budget]]\n{text}\n'


def days_of(rows: Rows, name: str = "b") -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
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
            assert counted[day.isoformat()][unit] == pytest.approx(amount, rel=1e-5, abs=2e-6), (
                day,
                unit,
            )


BEFORE_MIDNIGHT = {
    "UTC": logs.NOON + timedelta(hours=9),
    "Asia/Tokyo": logs.NOON,
    "America/New_York": logs.NOON + timedelta(hours=14),
    "Asia/Kathmandu": logs.NOON + timedelta(hours=3),
}

# In so long all that events have not told of is found.
FOUND = timedelta(minutes=35)

EVERY = {"gpu_hours": "1e9", "memory_gib_hours": "1e9"}


@pytest.mark.parametrize(
    ("seed", "per", "zone", "faults"),
    [
        pytest.param(0, "day", "UTC", {}, id="none"),
        pytest.param(
            1, "week", "Asia/Tokyo", {"repeated": 0.4, "late": 0.4}, id="repeated and late"
        ),
        pytest.param(
            2,
            "month",
            "America/New_York",
            {"repeated": 0.2, "late": 0.5, "latest": timedelta(hours=4)},
            id="hours late",
        ),
        pytest.param(
            3,
            "day",
            "Asia/Kathmandu",
            {"repeated": 0.1, "late": 0.2, "lost": 0.15},
            id="lost",
        ),
    ],
)
def test_the_use_of_each_day_is_what_the_attempts_took(
    play: Play, seed: int, per: str, zone: str, faults: dict[str, Any]
) -> None:
    drawn = budgeting.draw(
        seed, begins=BEFORE_MIDNIGHT[zone], within=timedelta(hours=5), longest=timedelta(hours=3)
    )

    lines = logs.with_faults(drawn.events, seed=seed, **faults)
    until = max(attempt.stop for attempt in drawn.attempts) + FOUND if "lost" in faults else None
    rows = play(lines, budget(per, zone, **EVERY), until=until)

    has_counted(rows, drawn.attempts, zone)


def test_a_lost_end_is_made_good_for_each_of_the_budgets_of_a_job(play: Play) -> None:
    drawn = budgeting.draw(3, within=timedelta(hours=4), longest=timedelta(hours=2))
    other = '[[budget]]\nname = "other"\nper = "day"\nvcpu_hours = 1e9\n'
    until = max(attempt.stop for attempt in drawn.attempts) + FOUND

    lines = logs.with_faults(drawn.events, seed=3, lost=0.3)
    rows = play(lines, budget() + other, until=until)

    assert days_of(rows, "b") == days_of(rows, "other")
    assert days_of(rows, "b")


# ---- When it rings ------------------------------------------------------------------------


def test_each_threshold_is_told_once_within_two_minutes_of_the_moment_it_was_due(
    play: Play,
) -> None:
    drawn = budgeting.draw(11, jobs=40, within=timedelta(hours=9), longest=timedelta(hours=3))
    midnight = logs.NOON.replace(hour=0)
    whole = budgeting.used_by(drawn.attempts, midnight, midnight + timedelta(days=1))
    limit = round(whole["vcpu_hours"] * 0.7, 2)
    lines = logs.with_faults(drawn.events, seed=5, repeated=0.4)

    rows = play(lines, budget(vcpu_hours=str(limit), warn_at="[20, 50, 90]"))

    told = [row for row in rows if row.get("notice", "").startswith("budget-")]
    rung = [row for row in told if row["notice"] != "budget-forecast"]
    assert [row["facts"]["threshold"] for row in rung] == [20, 50, 90, 100]
    assert [row["notice"] for row in rung] == ["budget-warning"] * 3 + ["budget-reached"]
    dues = []
    for row in rung:
        share = row["facts"]["threshold"] / 100
        due = due_at(
            drawn.attempts, midnight, midnight + timedelta(days=1), "vcpu_hours", limit * share
        )
        assert due
        dues.append(due)
        at = datetime.fromisoformat(row["at"])
        assert due <= at < due + LATE
        counted_at = datetime.fromisoformat(row["facts"]["counted_at"])
        used = budgeting.used_by(drawn.attempts, midnight, counted_at)["vcpu_hours"]
        assert row["facts"]["used"]["vcpu_hours"] == pytest.approx(used, rel=1e-3)
        assert row["facts"]["percent"] == pytest.approx(used / limit * 100, rel=1e-3)
    reached = datetime.fromisoformat(rung[-1]["facts"]["reached_at"])
    assert abs(reached - dues[-1]) < LATE


GUARD = """
[[guard]]
name = "spending"
[[guard.stage]]
budgets = [{ name = "b", percent = 50 }]
action = "cancel"
[[guard.stage]]
budgets = [{ name = "b" }]
action = "terminate"
"""


def test_a_guard_enters_its_stages_when_the_budget_is_used_and_leaves_with_the_period(
    play: Play,
) -> None:
    start = logs.NOON
    running = {"jobId": "long", "status": "RUNNING", "startedAt": budgeting.millis(start)}
    waits = start + timedelta(hours=1)
    late = start + timedelta(hours=13)
    lines = [
        logs.event(start, running),
        logs.event(waits, {"jobId": "waits", "status": "RUNNABLE"}),
        logs.event(late, {"jobId": "next day", "status": "RUNNABLE"}),
    ]

    rows = play(lines, budget(vcpu_hours="16") + GUARD)  # at 4 vCPUs: 50 % after two hours

    raised = {row["facts"]["stage"]: row for row in notices(rows, "guard-raised")}
    for stage, hours in (("cancel", 2), ("terminate", 4)):
        due = start + timedelta(hours=hours)
        assert due <= datetime.fromisoformat(raised[stage]["at"]) < due + LATE
    assert len(notices(rows, "guard-raised")) == 2
    calls = [(row["api"], row["jobs"]) for row in rows if row["kind"] == "call"]
    assert calls == [("CancelJobs", ["waits"]), ("TerminateJobs", ["long"])]
    [released] = notices(rows, "guard-released")
    midnight = start.replace(hour=0) + timedelta(days=1)
    assert midnight <= datetime.fromisoformat(released["at"]) < midnight + LATE
    assert "budget b" in raised["cancel"]["subject"]


def test_ten_thousand_children_that_start_at_once_ring_in_time_and_cost_little(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = WriteUnits(monkeypatch)
    parent = "2d044787-c663-4ce6-a6fe-f2baf7e51b04"
    gpu = {"resourceRequirements": [{"type": "GPU", "value": "1"}]}
    begun = [
        logs.NOON + timedelta(seconds=20, milliseconds=index % 1_000) for index in range(10_000)
    ]
    lines = [
        logs.event(
            at,
            {
                "jobId": f"{parent}:{index}",
                "arrayProperties": {"index": index, "statusSummary": {}},
                "status": "RUNNING",
                "startedAt": budgeting.millis(at),
                "container": gpu,
            },
        )
        for index, at in enumerate(begun)
    ]

    rows = play(lines, budget(vcpu_hours="1e9", gpu_hours="100"))

    [reached] = notices(rows, "budget-reached")
    due = logs.NOON + timedelta(seconds=20.5 + 36)
    assert due <= datetime.fromisoformat(reached["at"]) < due + LATE
    assert abs(datetime.fromisoformat(reached["facts"]["reached_at"]) - due) <= timedelta(seconds=1)
    assert units.of_budgets / 10_000 < 0.02


def test_usd_is_what_the_rates_make_of_it_by_hand(play: Play) -> None:
    rates = """
[[budget.rates]]
queue = "gpu-*"
gpu_hour = 1.1
vcpu_hour = 0.045
[[budget.rates]]
queue = "cpu"
vcpu_hour = 0.03
memory_gib_hour = 0.005
"""
    drawn = budgeting.draw(3, jobs=1_000, within=timedelta(hours=5), longest=timedelta(hours=1))

    rows = play(drawn.events, budget(usd="1e6") + rates, until=logs.NOON + timedelta(hours=12))

    prices = {"gpu-a": (0.045, 1.1, 0.0), "gpu-b": (0.045, 1.1, 0.0), "cpu": (0.03, 0.0, 0.005)}
    usd = sum(
        (attempt.stop - attempt.start).total_seconds() / 3_600 * need * price
        for attempt in drawn.attempts
        for need, price in zip(attempt.needs, prices[attempt.queue], strict=True)
    )
    assert sum(day["usd"] for day in days_of(rows).values()) == pytest.approx(usd, rel=1e-6)
