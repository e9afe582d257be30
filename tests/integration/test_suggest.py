"""Suggested policies, on logs that nobody has seen before, and what a replay makes of them."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from batch_watchdog.policy.model import parse_policy
from local.aws.stack import Stack
from local.commands.policy_check import read_policy
from local.commands.policy_warnings import warnings
from local.replay.event_log import read_log
from local.replay.replay import replay
from local.suggest import suggest, waits
from tests import logs
from tests.logs import NOON, PREFIX, an_array, event, with_faults

pytestmark = pytest.mark.long

DAYS = 2
QUEUES = ("gpu", "spot", "a[b]*?", "rare", 'we"ird\\{{', "never")
SCALES = dict(zip(QUEUES, (20, 300, 5, 60, 1, 1), strict=True))  # minutes
SHARES = (40, 25, 15, 2, 10, 8)

type Output = pytest.CaptureFixture[str]


def a_month(seed: int) -> list[Any]:
    """Jobs that wait, start, are retried, are cancelled, or never start, in several queues."""
    random = Random(seed)  # noqa: S311 - it need only be the same each time
    events: list[dict[str, Any]] = []
    for number in range(400):
        (queue,) = random.choices(QUEUES, SHARES)
        job = {"jobId": f"job-{number}", "jobQueue": f"{PREFIX}job-queue/{queue}"}
        job["jobDefinition"] = f"{PREFIX}job-definition/work-{number % 2}:{number % 3 + 1}"
        at = NOON + timedelta(minutes=random.random() * 60 * 24 * DAYS)
        attempts: list[Any] = []
        while True:
            events.append(event(at, job | {"status": "RUNNABLE", "attempts": attempts}))
            at += timedelta(minutes=random.paretovariate(1.3) * SCALES[queue])
            if queue == "never" or random.random() < 0.05:
                if random.random() < 0.7:
                    events.append(event(at, job | {"status": "FAILED", "attempts": attempts}))
                break
            events.append(event(at, job | {"status": "STARTING", "attempts": attempts}))
            at += timedelta(seconds=random.randrange(90))
            events.append(event(at, job | {"status": "RUNNING", "attempts": attempts}))
            at += timedelta(minutes=random.random() * 90)
            attempts = [*attempts, {"container": {"exitCode": 1}}]
            if random.random() < 0.8:
                events.append(event(at, job | {"status": "SUCCEEDED", "attempts": attempts}))
                break
    events += an_array(60, seed=seed).events
    end = NOON + timedelta(days=DAYS)
    events = [each for each in events if datetime.fromisoformat(each["time"]) < end]
    faulty = with_faults(events, seed=seed, repeated=0.05, late=0.1, lost=0.02)
    return [each for each in faulty if "event" not in each or random.random() < 0.99]


def suggested(log: Path, output: Output, *options: str) -> str:
    assert suggest.main([*options, str(log)]) == 0
    return output.readouterr().out


@pytest.mark.parametrize("seed", range(3))
def test_a_suggested_policy_stops_no_job_that_started_after_all_and_warns_before(
    tmp_path: Path, stack: Stack, capsys: Output, seed: int
) -> None:
    log = logs.write(tmp_path / "log.jsonl", a_month(seed))

    text = suggested(log, capsys)

    policy = parse_policy(text)
    assert list(warnings(policy, len(text.encode()))) == []
    assert len(policy.limit) >= 4
    assert all(re.search("^# .", rule, re.MULTILINE) for rule in text.split("[[limit]]")[1:])
    rows: list[dict[str, Any]] = []
    enforced = text.replace('mode = "observe"', 'mode = "enforce"')
    summary = replay(read_log(log), stack=stack, write_row=rows.append, policy=enforced)
    assert summary["overruled"] == []
    warned: set[str] = set()
    for row in rows:
        if row.get("notice") == "limit-warning":
            warned.add(row["facts"]["job_id"])
        if row["kind"] == "call":
            assert set(row["jobs"]) <= warned


def test_the_policy_alone_goes_to_standard_output(tmp_path: Path, capsys: Output) -> None:
    log = logs.write(tmp_path / "log.jsonl", a_month(1))

    assert suggest.main([str(log)]) == 0

    told = capsys.readouterr()
    policy = tmp_path / "policy.toml"
    policy.write_text(told.out)
    assert read_policy(policy).mode == "observe"
    assert "Waits in RUNNABLE" in told.err
    assert "events were replayed against it" in told.err
    assert "No limit for queue rare" in told.err


def test_a_limit_that_the_replay_refutes_is_not_printed(
    tmp_path: Path, stack: Stack, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logs.write(tmp_path / "log.jsonl", a_month(2))
    whole = suggested(log, capsys)
    spot = limit_of(whole, "spot")

    def blind(stays: Any) -> Any:
        """What a mistake in reading the waits would be."""
        history = real(stays)
        for group, each in history.stays.items():
            if group.queue == "spot":
                history.stays[group] = [stay._replace(seconds=stay.seconds / 8) for stay in each]
        return history

    real = waits.history_of
    monkeypatch.setattr("local.suggest.suggest.history_of", blind)
    mended = suggested(log, capsys)

    assert limit_of(mended, "spot") >= spot / 4
    summary = replay(
        read_log(log),
        stack=stack,
        write_row=lambda _: None,
        policy=mended.replace('mode = "observe"', 'mode = "enforce"'),
    )
    assert summary["overruled"] == []


def limit_of(text: str, queue: str) -> timedelta:
    rules = [each for each in parse_policy(text).limit if each.match.queue == (queue,)]
    after = rules[-1].RUNNABLE and rules[-1].RUNNABLE.after
    assert after
    return after


def test_what_cannot_be_used_is_told(tmp_path: Path, capsys: Output) -> None:
    log = logs.write(tmp_path / "log.jsonl", [{"a": 1}])

    assert suggest.main([str(log)]) == 2
    assert f"{log}:1: no EventBridge event" in capsys.readouterr().err
    for share in ("1", "-0.1", "many", "nan"):
        with pytest.raises(SystemExit) as refused:
            suggest.main([f"--allow={share}", str(log)])
        assert refused.value.code == 2
        assert "expected a share from 0 to 0.1" in capsys.readouterr().err


def test_a_log_without_waits_gives_a_policy_that_stops_nothing(
    tmp_path: Path, capsys: Output
) -> None:
    log = logs.write(tmp_path / "log.jsonl", [json.dumps({"source": "aws.s3", "detail-type": "x"})])

    (only,) = parse_policy(suggested(log, capsys)).limit

    assert only.match.everything
