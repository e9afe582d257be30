"""A report says what a policy would have come to, by what the log tells of the jobs."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local.replay import replay
from local.replay.event_log import Line, Tally, read_log
from local.report.report import Report
from local.report.stops import by_hour, stops_in, totals
from tests.makers import an_event

RULE = "limit[1] (match queue gpu)"
POISON = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def log_of(tmp_path: Path, *events: Any) -> list[Line]:
    file = tmp_path / "log.jsonl"
    file.write_text("\n".join(map(json.dumps, events)))
    return list(read_log(file, Tally()))


def enforced(job_id: str, clock: str, rule: str = RULE) -> dict[str, Any]:
    return {
        "at": f"2026-01-01T{clock}:00Z",
        "kind": "notice",
        "notice": "limit-enforced",
        "facts": {"job_id": job_id, "rule": rule},
    }


def a_call(clock: str, *jobs: str, reason: str, api: str = "CancelJobs") -> dict[str, Any]:
    return {
        "at": f"2026-01-01T{clock}:00Z",
        "kind": "call",
        "api": api,
        "jobs": list(jobs),
        "reason": reason,
    }


def test_a_job_that_ran_after_all_is_work_lost(tmp_path: Path) -> None:
    lines = log_of(
        tmp_path,
        an_event("12:00", jobId="a", status="RUNNABLE"),
        an_event("14:00", jobId="a", status="RUNNING"),
        an_event("17:00", jobId="a", status="SUCCEEDED"),
    )

    (total,) = totals(stops_in([enforced("a", "13:00")]), lines)

    assert (total.rule, total.stopped, total.started) == (RULE, 1, 1)
    assert (total.lost, total.saved) == (timedelta(hours=3), timedelta())


def test_a_job_that_never_ran_is_waiting_saved(tmp_path: Path) -> None:
    lines = log_of(
        tmp_path,
        an_event("12:00", jobId="a", status="RUNNABLE"),
        an_event("12:00", jobId="b", status="RUNNABLE"),
        an_event("15:00", jobId="a", status="FAILED"),
        an_event("18:00", jobId="c", status="RUNNABLE"),
    )

    (total,) = totals(stops_in([enforced("a", "13:00"), enforced("b", "13:00")]), lines)

    assert (total.stopped, total.started) == (2, 0)
    assert total.saved == timedelta(hours=2 + 5)  # of b up to the log's end


def test_what_a_job_ran_before_its_stop_is_not_lost(tmp_path: Path) -> None:
    lines = log_of(
        tmp_path,
        an_event("12:00", jobId="a", status="RUNNING"),
        an_event("14:00", jobId="a", status="SUCCEEDED"),
    )
    reason = 'batch-watchdog: guard "monthly" is at terminate: alarm soft'

    (total,) = totals(stops_in([a_call("13:30", "a", reason=reason)]), lines)

    assert (total.rule, total.started, total.lost) == ("guard monthly", 1, timedelta(minutes=30))


def test_the_children_of_an_array_that_is_stopped_count(tmp_path: Path) -> None:
    lines = log_of(
        tmp_path,
        an_event("12:00", jobId="p:0", status="RUNNING"),
        an_event("12:00", jobId="p:1", status="RUNNABLE"),
        an_event("13:00", jobId="p:0", status="SUCCEEDED"),
    )

    (total,) = totals(stops_in([a_call("12:30", "p", reason="batch-watchdog: x")]), lines)

    assert (total.stopped, total.started, total.lost) == (1, 1, timedelta(minutes=30))


def test_the_first_stop_of_a_job_counts_and_other_calls_are_none() -> None:
    reason = f"batch-watchdog: RUNNABLE for more than 1 h, {RULE}"
    rows = [
        enforced("a", "13:00"),
        a_call("12:59", "a", reason=reason),
        a_call("14:00", "a", reason="batch-watchdog: other"),
        {**a_call("14:00", reason=""), "api": "UpdateJobQueue"},
        {"kind": "summary"},
    ]

    (stop,) = stops_in(rows)

    assert (stop.job_id, stop.rule, f"{stop.at:%H:%M}") == ("a", RULE, "12:59")


def test_each_hour_counts_messages_and_stops() -> None:
    rows = [
        enforced("a", "13:10"),
        {**enforced("b", "13:20"), "folded_into": "d"},
        a_call("13:50", "a", "b", reason="r"),
        {"at": "2026-01-02T00:10:00Z", "kind": "dead-letter"},
    ]

    days = by_hour(rows)

    assert days["2026-01-01"][13] == {"messages": 1, "jobs stopped": 2}
    assert days["2026-01-02"][0] == {"dead letters": 1}


def test_a_replay_writes_a_report_in_which_names_are_text(tmp_path: Path) -> None:
    log, policy, out = tmp_path / "log.jsonl", tmp_path / "policy.toml", tmp_path / "report.html"
    events = [
        an_event("12:00", jobId="a", jobName=POISON, status="RUNNABLE"),
        an_event("14:00", jobId="a", jobName=POISON, status="RUNNING"),
        an_event("16:00", jobId="a", jobName=POISON, status="SUCCEEDED"),
    ]
    log.write_text("\n".join(map(json.dumps, events)))
    policy.write_text('mode = "observe"\n[[limit]]\nRUNNABLE = { after = "1h" }\n')
    rows = tmp_path / "out.jsonl"

    options = ["--policy", str(policy), "--report", str(out), "--out", str(rows)]
    assert replay.main([str(log), *options]) == 0

    text = out.read_text()
    assert "limit[1]" in text
    assert "2.0 h" in text
    assert "<script" not in text
    assert "<img" not in text
    assert json.loads(rows.read_text().splitlines()[-1])["kind"] == "summary"


def test_a_report_that_cannot_be_written_ends_the_replay_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(an_event()))
    (tmp_path / "folder").mkdir()

    options = ["--out", str(tmp_path / "out"), "--report", str(tmp_path / "folder")]
    assert replay.main([str(log), *options]) == 2

    assert "cannot be written" in capsys.readouterr().err


def test_a_page_in_a_report_cannot_leave_its_frame(tmp_path: Path) -> None:
    report = Report(POISON)
    report.show("page", '"><script>alert(1)</script>')
    report.show("no page", {"error": "none"})
    report.write(tmp_path / "report.html")

    text = (tmp_path / "report.html").read_text()
    assert "<script" not in text
    assert text.count("<iframe sandbox") == 1
