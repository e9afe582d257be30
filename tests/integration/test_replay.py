"""Replays: what comes out of a log, with the real template, handlers and rules."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.aws.stack import Stack
from local.replay import replay
from local.replay.event_log import read_log
from tests import logs
from tests.logs import NOON, an_array, iso, with_faults

POLICY = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "1h", action = "cancel" }\n'

type Rows = list[dict[str, Any]]
type Play = Callable[..., Rows]


@pytest.fixture
def play(tmp_path: Path, stack: Stack) -> Play:
    """Write a log, replay it, and read its rows."""

    def run(lines: Iterable[Any], policy: str | None = None, **options: Any) -> Rows:
        log = logs.write(tmp_path / "log.jsonl", lines)
        rows: Rows = []
        replay.replay(read_log(log), stack=stack, write_row=rows.append, policy=policy, **options)
        return json.loads(json.dumps(rows))  # type: ignore[no-any-return]

    return run


def command(*arguments: Any) -> int:
    return replay.main([str(argument) for argument in arguments])


def notices(rows: Rows, kind: str) -> Rows:
    return [row for row in rows if row.get("notice") == kind]


def indices(listing: str) -> list[int]:
    """ "3,7-9" as numbers."""
    parts = (part.partition("-") for part in listing.split(",") if part)
    return [at for a, _, b in parts for at in range(int(a), int(b or a) + 1)]


def a_job(*changes: tuple[str, str], name: str = "job-1") -> list[Any]:
    """A single job's events: ("12:00", "RUNNABLE") and so on."""
    return [
        logs.event(
            datetime.fromisoformat(f"2026-01-01T{clock}").replace(tzinfo=UTC),
            {"jobId": name, "status": status},
        )
        for clock, status in changes
    ]


# ---- Arrays -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "parent_is_lost"),
    [
        pytest.param({}, False, id="none"),
        pytest.param({"repeated": 0.5}, False, id="repeated"),
        pytest.param({"late": 0.5}, False, id="late and reordered"),
        pytest.param({"lost": 0.3}, False, id="lost"),
        pytest.param({}, True, id="the parent's end is lost"),
        pytest.param({"repeated": 0.2, "late": 0.3, "lost": 0.1}, True, id="all at once"),
    ],
)
def test_an_array_is_told_once_with_batchs_counts_whatever_happens_to_its_events(
    play: Play, faults: dict[str, Any], parent_is_lost: Any
) -> None:
    array = an_array(120, seed=7, failing=0.2)
    lines = with_faults(array.events, seed=8, **faults)
    if parent_is_lost:
        lines = [
            {"event": event, "deliver": False} if event["detail"]["jobId"] == array.job_id else line
            for line in lines
            for event in [line.get("event", line)]
        ]

    rows = play(lines)

    [done] = notices(rows, "array-completed")
    facts = done["facts"]
    assert (facts["size"], facts["succeeded"], facts["failed"]) == (
        120,
        120 - len(array.failed),
        len(array.failed),
    )
    assert indices(facts["failed_indices"]) == sorted(array.failed)
    assert [group["count"] for group in facts["groups"]] == array.groups
    told_after = datetime.fromisoformat(done["at"]) - array.ended
    assert timedelta(0) <= told_after <= timedelta(seconds=150)
    assert rows[-1]["dead_letters"] == 0


def test_rows_have_their_form_and_stand_in_order_of_time(play: Play) -> None:
    array = an_array(10, seed=2, failing=0.3)

    *rows, summary = play([*array.events, {"not": "an event"}])

    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    shapes = {row["kind"]: list(row) for row in rows}
    assert shapes == {
        "notice": ["at", "kind", "notice", "id", "severity", "subject", "text", "facts"],
        "dead-letter": ["at", "kind", "reason", "event"],
    }
    assert summary == {
        "kind": "summary",
        "events": 42,
        "notices": {"array-completed": 1},
        "calls": {},
        "dead_letters": 1,
        "overruled": [],
    }


def test_each_notice_that_was_folded_is_a_row_too(play: Play) -> None:
    failures = [
        logs.event(NOON, {"jobId": f"job-{number}", "status": "FAILED"}) for number in range(8)
    ]

    rows = play(failures)

    [digest] = notices(rows, "digest")
    folded = notices(rows, "job-failed")
    assert digest["facts"]["of"] == "job-failed"
    assert digest["facts"]["count"] == len(folded) == 8
    assert digest["facts"]["ids"] == [row["id"] for row in folded]
    assert {row["folded_into"] for row in folded} == {digest["id"]}
    assert rows[-1]["notices"] == {"digest": 1, "job-failed": 8}


def test_a_replay_is_the_same_each_time(play: Play) -> None:
    lines = with_faults(an_array(50, failing=0.2).events, repeated=0.3, late=0.3)

    assert play(lines) == play(lines)


def test_a_table_in_moto_gives_the_same_rows(play: Play, tmp_path: Path) -> None:
    failures = [a_job((f"12:{n:02}", "FAILED"), name=f"job-{n}")[0] for n in range(8)]
    lines = [*with_faults(an_array(12, failing=0.2).events, repeated=0.3, late=0.3), *failures]
    expected = play(lines)
    assert any("folded_into" in row for row in expected)

    status = command(tmp_path / "log.jsonl", "--store", "moto", "--out", tmp_path / "out.jsonl")

    assert status == 0
    rows = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(row) for row in rows] == expected


# ---- Delivery -----------------------------------------------------------------------------


def test_what_is_delivered_late_is_told_late(play: Play) -> None:
    [failure] = a_job(("12:00", "FAILED"))

    [row, _] = play([{"event": failure, "deliver_at": "2026-01-01T14:30:00Z"}])

    assert row["at"].startswith("2026-01-01T14:30")


def test_what_was_lost_is_true_but_not_told(play: Play) -> None:
    [failure] = a_job(("12:00", "FAILED"))

    assert len(play([{"event": failure, "deliver": False}])) == 1


def test_an_event_for_somebody_else_is_passed_over(play: Play) -> None:
    other = {"source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification"}

    [summary] = play([other])

    assert (summary["events"], summary["dead_letters"]) == (1, 0)


def test_what_nobody_understands_is_a_dead_letter_and_disturbs_nothing(play: Play) -> None:
    array = an_array(5, failing=0.5)
    no_id = logs.event(NOON, {"jobId": "x", "status": "FAILED"})
    del no_id["detail"]["jobId"]

    rows = play(
        [
            {"detail": {}},
            {"Records": []},
            {"Records": [{"body": "of a queue"}]},
            no_id,
            {"event": no_id | {"detail": None}},
            '{"source": "aws.batch", "detail-type": "Batch Job State Change", "n": NaN}',
            *array.events,
        ]
    )

    letters = [row for row in rows if row["kind"] == "dead-letter"]
    assert len(letters) == rows[-1]["dead_letters"] == 6
    assert all(row["reason"] for row in letters)
    assert {"detail": {}} in [row["event"] for row in letters]
    assert len(notices(rows, "array-completed")) == 1


def test_a_command_reaches_the_console_and_a_refused_one_is_a_dead_letter(play: Play) -> None:
    status, unknown = {"command": "status"}, {"command": "dance"}

    rows = play([{"command": each, "time": iso(NOON)} for each in (status, unknown)])

    [letter] = [row for row in rows if row["kind"] == "dead-letter"]
    assert letter["event"] == unknown
    assert letter["reason"]


# ---- Stops --------------------------------------------------------------------------------


def test_a_stop_is_a_call_and_what_the_log_says_later_is_overruled(play: Play) -> None:
    events = a_job(("12:00", "RUNNABLE"), ("13:30", "STARTING"), ("13:40", "SUCCEEDED"))

    rows = play(events, policy=POLICY)

    [call] = [row for row in rows if row["kind"] == "call"]
    assert list(call) == ["at", "kind", "api", "jobs", "queue", "state", "reason"]
    assert (call["jobs"], call["queue"], call["state"]) == (["job-1"], None, None)
    assert "2026-01-01T13:00:00Z" <= call["at"] <= "2026-01-01T13:02:00Z"
    assert rows[-1]["calls"] == {call["api"]: 1}
    assert rows[-1]["overruled"] == ["job-1"]
    assert [row["facts"]["job_id"] for row in notices(rows, "limit-enforced")] == ["job-1"]


def test_a_job_that_the_log_shows_running_on_after_an_accepted_terminate_is_not_ended(
    play: Play,
) -> None:
    terminate = 'mode = "enforce"\n[[limit]]\nRUNNING = { after = "1h", action = "terminate" }\n'
    events = a_job(("12:00", "RUNNING"), ("14:00", "RUNNING"), ("20:00", "FAILED"))
    unmarked = play(events, policy=terminate)
    for event in events[1:]:
        event["detail"]["isTerminated"] = True

    rows = play(events, policy=terminate)

    calls = [row for row in rows if row["kind"] == "call"]
    assert calls[0]["at"].startswith("2026-01-01T13:0")
    assert rows[-1]["overruled"] == []
    [failed] = notices(rows, "job-failed")
    assert failed["at"].startswith("2026-01-01T20:0")
    # Without the mark, the log is one of a job that nobody had stopped.
    assert unmarked[-1]["overruled"] == ["job-1"]
    assert len([row for row in unmarked if row["kind"] == "call"]) == 1


def test_what_the_log_says_of_a_stopped_job_is_not_delivered(play: Play) -> None:
    events = a_job(("12:00", "RUNNABLE"), ("13:30", "STARTING"), ("13:40", "FAILED"))

    rows = play(events, policy=POLICY)

    assert notices(rows, "job-failed") == []


# ---- The end ------------------------------------------------------------------------------


def test_without_an_end_the_clock_runs_on_for_a_while(play: Play) -> None:
    rows = play(
        [*a_job(("12:00", "RUNNABLE")), *a_job(("12:57", "RUNNABLE"), name="job-2")], POLICY
    )

    assert [row["jobs"] for row in rows if row["kind"] == "call"] == [["job-1"]]


def test_an_end_lets_the_clock_run_on(play: Play) -> None:
    until = NOON + timedelta(days=90)

    rows = play(a_job(("12:00", "RUNNABLE")), POLICY, until=until)

    assert [row["jobs"] for row in rows if row["kind"] == "call"] == [["job-1"]]


def test_an_end_cuts_off_what_comes_later(play: Play) -> None:
    events = [*a_job(("12:00", "FAILED")), *a_job(("13:00", "FAILED"), name="job-2")]

    rows = play(events, until=NOON + timedelta(minutes=30))

    assert [row["facts"]["job_id"] for row in notices(rows, "job-failed")] == ["job-1"]


def test_a_reminder_is_kept_though_months_of_silence_are_passed_over(play: Play) -> None:
    policy = POLICY.replace('"1h"', '"20d"')
    much_later = logs.event(NOON + timedelta(days=600), {"jobId": "job-2", "status": "RUNNABLE"})

    rows = play([*a_job(("12:00", "RUNNABLE")), much_later], policy)

    [call] = [row for row in rows if row["kind"] == "call"]
    assert "2026-01-21T12:00:00Z" <= call["at"] <= "2026-01-21T12:02:00Z"


@pytest.mark.parametrize(
    ("after", "commands", "stopped_at"),
    [
        pytest.param("1d1m", [], "2026-01-02T12:01", id="in a minute"),
        pytest.param("1d5m", [], "2026-01-02T12:05", id="in some minutes"),
        pytest.param("1d25m", [], "2026-01-02T12:25", id="later"),
        pytest.param(
            "1h",
            [{"command": "exempt", "job_id": "job-1", "until": "2026-01-02T13:03:00Z"}],
            "2026-01-02T13:03",
            id="of an exempted job, checked hourly",
        ),
    ],
)
def test_nothing_that_is_due_is_slept_over_once_a_day_has_been_quiet(
    play: Play, after: str, commands: list[Any], stopped_at: str
) -> None:
    asked = [
        {"time": "2026-01-01T12:55:00Z", "command": each | {"by": "jane"}} for each in commands
    ]
    later = logs.event(NOON + timedelta(days=4), {"jobId": "job-2", "status": "SUCCEEDED"})

    rows = play([*a_job(("12:00", "RUNNABLE")), *asked, later], POLICY.replace("1h", after))

    assert [row["at"][:16] for row in rows if row["kind"] == "call"] == [stopped_at]


def test_the_report_of_a_week_comes_on_monday_though_nothing_happens(play: Play) -> None:
    policy = POLICY.replace("enforce", "observe")
    job = a_job(("12:00", "RUNNABLE"), ("14:00", "FAILED"))

    rows = play(job, policy, until=NOON + timedelta(days=40))

    told = [row["at"][:16] for row in notices(rows, "rule-report")]
    assert told == [f"2026-01-{day:02}T00:00" for day in (5, 12, 19, 26)]


# ---- The command --------------------------------------------------------------------------


def test_a_wrong_file_ends_it_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logs.write(tmp_path / "log.jsonl", an_array(2).events)
    out = tmp_path / "out.jsonl"
    bad_log = logs.write(tmp_path / "bad.jsonl", ["{}", "[]"])
    policy = tmp_path / "policy.toml"
    policy.write_text('mode = "observe"\n[[limit]]\nRUNABLE = { after = "1h" }\n')
    world = tmp_path / "world.json"
    world.write_text('{"jobQueues": 7}')

    for arguments, told in (
        ((bad_log,), f"{bad_log}:2: a list, expected a JSON object"),
        ((log, "--policy", policy), f"{policy}:3: limit[1].RUNABLE"),
        ((log, "--policy", tmp_path / "none"), f"{tmp_path / 'none'}: cannot be read"),
        ((log, "--world", world), f"{world}:1: jobQueues: a number, expected a list of objects"),
        ((log, "--until", "soon"), "--until: 'soon' is no time"),
        ((log, "--out", tmp_path / "no" / "out"), "out: cannot be written"),
    ):
        assert command("--out", out, *arguments) == 2
        captured = capsys.readouterr()
        assert told in captured.err
        assert "Traceback" not in captured.err
    assert not out.exists()


def test_without_a_file_for_rows_a_timeline_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = logs.event(
        NOON, {"jobId": "job-1", "status": "FAILED", "jobName": "\x1b[31mred\n\u202egnp"}
    )
    log = logs.write(tmp_path / "log.jsonl", [failure, {"x": "\x1b]0;title\x07"}])

    assert command(log) == 0

    told = capsys.readouterr().out
    assert "2026-01-01" in told
    assert "12:00:0" in told
    assert "job-failed" in told
    assert "✗ dead letter no EventBridge event: source is missing, expected text" in told
    assert "2 events; 1 notices (1 job-failed); 0 calls; 1 dead letters" in told
    assert not set(told) & {"\x1b", "\u202e", "\x07"}


def test_what_became_of_jobs_that_would_have_been_stopped_is_told_weekly_and_at_the_end(
    play: Play,
) -> None:
    def a_wait(name: str, *changes: tuple[int, str, dict[str, Any]]) -> list[Any]:
        sunday = datetime(2026, 1, 4, 12, tzinfo=UTC)
        return [
            logs.event(sunday + timedelta(hours=hours), {"jobId": name, "status": status} | more)
            for hours, status, more in changes
        ]

    started = {"startedAt": int(datetime(2026, 1, 4, 15, tzinfo=UTC).timestamp() * 1_000)}
    lines = [
        *a_wait("late", (0, "RUNNABLE", {}), (3, "STARTING", {}), (3, "RUNNING", started)),
        *a_wait("gone", (0, "RUNNABLE", {}), (4, "FAILED", {"statusReason": "by jane"})),
        *a_wait("open", (0, "RUNNABLE", {})),
        *a_wait("clock", (14, "RUNNABLE", {})),
    ]

    rows = play(lines, POLICY.replace("enforce", "observe"))

    [report] = notices(rows, "rule-report")
    assert report["at"][:16] == "2026-01-05T00:00"
    [rule], [in_all] = report["facts"]["rules"], rows[-1]["rules"]
    for found in (rule, in_all):
        assert [found[name] for name in ("jobs", "went_on", "ended", "open")] == [3, 1, 1, 1]
        assert found["later_seconds"]["longest"] == 2 * 3_600
        assert found["verdict"] == "not-safe"
