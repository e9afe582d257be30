"""A night of trouble: few messages for one cause, the first at once, and all of it counted."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.aws.stack import Stack
from local.replay.event_log import read_log
from local.replay.replay import replay
from tests.makers import a_failure, an_event, at

HOUR = timedelta(hours=1)
GPU_WARNS = '[[limit]]\nRUNNABLE = { after = "5h", action = "warn", warn_after = "30m" }\n'


type Rows = list[dict[str, Any]]


class Night:
    """What a replay of events tells."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._log = folder / "log.jsonl"

    def told(self, events: Sequence[Any], policy: str, until: str) -> Rows:
        self._log.write_text("\n".join(map(json.dumps, events)))
        rows: Rows = []
        lines = read_log(self._log)
        replay(lines, stack=self._stack, tell=rows.append, policy=policy, until=at(until))
        return [row for row in rows if row["kind"] == "notice"]


@pytest.fixture
def night(stack: Stack, tmp_path: Path) -> Night:
    return Night(stack, tmp_path)


def sent(rows: Rows) -> list[dict[str, Any]]:
    return [row for row in rows if "folded_into" not in row]


def most_in_an_hour(rows: Rows) -> int:
    times = [datetime.fromisoformat(row["at"]) for row in sent(rows)]
    return max(sum(first <= each < first + HOUR for each in times) for first in times)


def is_all_counted(rows: Rows, kind: str, count: int) -> None:
    """Each notice is told once: alone, or counted by the digest that it names."""
    folded = Counter(row["folded_into"] for row in rows if "folded_into" in row)
    digests = {row["id"]: row["facts"] for row in sent(rows) if row["notice"] == "digest"}
    alone = [row for row in sent(rows) if row["notice"] == kind]
    assert folded == {each: facts["count"] for each, facts in digests.items()}
    for facts in digests.values():
        assert sum(group["count"] for group in facts["groups"]) == facts["count"]
    assert len(alone) + sum(folded.values()) == count


def failures(count: int, every_s: float) -> list[Any]:
    start = at("12:00")
    clocks = [f"{start + timedelta(seconds=n * every_s):%H:%M:%S}" for n in range(count)]
    return [
        a_failure(clock, jobId=f"job-{number}", jobName=f"render-{number}")
        for number, clock in enumerate(clocks)
    ]


@pytest.mark.parametrize(("count", "every_s"), [(600, 1), (600, 2), (600, 5), (40, 1)])
def test_a_storm_of_failures_is_few_messages(night: Night, count: int, every_s: float) -> None:
    rows = night.told(failures(count, every_s), "", "15:00")

    is_all_counted(rows, "job-failed", count)
    assert most_in_an_hour(rows) <= 12
    assert datetime.fromisoformat(sent(rows)[0]["at"]) <= at("12:01")


def test_jobs_that_wait_their_turn_are_few_messages(night: Night) -> None:
    events = [
        an_event(f"12:{minute:02}", jobId=f"job-{minute}", status="RUNNABLE")
        for minute in range(11)
    ]

    rows = night.told(events, GPU_WARNS, "15:00")

    is_all_counted(rows, "limit-warning", 11)
    assert most_in_an_hour(rows) <= 3


def test_different_causes_are_not_hidden_in_each_other(night: Night) -> None:
    other = a_failure("12:05", jobId="other", statusReason="Host EC2 (instance i-0abc) terminated.")

    rows = night.told([*failures(300, 2), other], "", "14:00")

    assert [row["at"] for row in sent(rows) if row["id"] == "job-failed:other"] == [
        "2026-01-01T12:05:06Z"
    ]


def test_very_many_causes_at_once_are_bounded_too(night: Night) -> None:
    letters = "abcdefghijklmnopqrst"
    events = failures(300, 1)
    for number, event in enumerate(events):
        cause = f"cause {letters[number % 20]}{letters[number // 20]}"
        event["detail"] |= {"statusReason": cause, "container": {"exitCode": 1, "reason": cause}}

    rows = night.told(events, "[notify]\ndigest_over = 100\n", "15:00")

    is_all_counted(rows, "job-failed", 300)
    assert len(sent(rows)) <= 12 * 5 + 5
    assert len([row for row in sent(rows) if row["at"] < "2026-01-01T12:06"]) <= 12 + 1 + 20


def test_what_is_collected_at_the_end_of_a_log_is_told(night: Night) -> None:
    rows = night.told(failures(10, 10), "", "12:02")

    is_all_counted(rows, "job-failed", 10)


def test_a_policy_may_have_each_notice_told_when_it_comes(night: Night) -> None:
    rows = night.told(failures(30, 10), '[notify]\nfold = "0s"\n', "14:00")

    assert len(sent(rows)) == 30
