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
from tests.makers import a_failure, a_parent_event, an_event, at

pytestmark = pytest.mark.long

HOUR = timedelta(hours=1)
HOURS = 6
GUARD = """
mode = "enforce"
[[guard]]
name = "money"
release = "auto"
[[guard.stage]]
alarms = ["soft"]
action = "cancel"
[[guard.stage]]
alarms = ["hard"]
action = "terminate"
"""
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
        replay(lines, stack=self._stack, write_row=rows.append, policy=policy, until=at(until))
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
    """So many notices of a kind came, and each is told once."""
    is_told_once(rows)
    assert len([row for row in rows if row["notice"] == kind]) == count


def is_told_once(rows: Rows) -> None:
    """Each notice is told alone, or counted by the digest that it names."""
    folded = Counter(row["folded_into"] for row in rows if "folded_into" in row)
    digests = {row["id"]: row["facts"] for row in sent(rows) if row["notice"] == "digest"}
    assert folded == {each: facts["count"] for each, facts in digests.items()}
    for facts in digests.values():
        assert sum(group["count"] for group in facts["groups"]) == facts["count"]
    assert max(Counter(row["id"] for row in rows).values()) == 1
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)


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


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_very_many_limits_in_a_minute_are_few_messages(night: Night, mode: str) -> None:
    events = [an_event("12:00", jobId=f"job-{number}") for number in range(2_000)]
    policy = f'mode = "{mode}"\n[safety]\nmax_stops_per_hour = 1_000_000\n'
    policy += '[[limit]]\nRUNNABLE = { after = "30m" }\n'

    rows = night.told(events, policy, "15:00")

    is_all_counted(rows, "limit-enforced", 2_000)
    assert most_in_an_hour(rows) <= 3
    assert sent(rows)[0]["at"] <= "2026-01-01T12:31:05Z"


def alarm(name: str, state: str, when: datetime) -> Any:
    return {
        "id": f"{name} {when}",
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "account": "111122223333",
        "region": "us-east-1",
        "time": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "resources": [f"arn:aws:cloudwatch:us-east-1:111122223333:alarm:{name}"],
        "detail": {
            "alarmName": name,
            "state": {"value": state, "timestamp": f"{when:%Y-%m-%dT%H:%M:%S}.000+0000"},
            "previousState": {"value": "OK" if state == "ALARM" else "ALARM"},
        },
    }


def flapping(*names: str, every: timedelta) -> list[Any]:
    return [
        alarm(name, ("ALARM", "OK")[number % 2], at("12:00") + number * every)
        for number in range(HOURS * HOUR // every)
        for name in names
    ]


# Also so slow that each window has closed when it rings again.
@pytest.mark.parametrize("minutes", [1, 5, 8, 16, 20])
@pytest.mark.parametrize("names", [("soft",), ("soft", "hard")])
def test_a_flapping_alarm_is_few_messages(
    night: Night, names: tuple[str, ...], minutes: int
) -> None:
    rows = night.told(flapping(*names, every=timedelta(minutes=minutes)), GUARD, "19:00")

    is_told_once(rows)
    assert most_in_an_hour(rows) <= 12
    assert sent(rows)[0]["notice"] == "guard-raised"
    assert sent(rows)[0]["at"] <= "2026-01-01T12:00:05Z"


def test_a_guard_that_comes_to_terminate_while_it_flaps_is_told_at_once(night: Night) -> None:
    rings = alarm("hard", "ALARM", at("12:31:30"))

    rows = night.told([*flapping("soft", every=timedelta(minutes=1)), rings], GUARD, "19:00")

    [raised] = [row for row in sent(rows) if row["facts"].get("stage") == "terminate"][:1]
    assert (raised["notice"], raised["at"]) == ("guard-raised", "2026-01-01T12:31:31Z")


@pytest.mark.parametrize("seconds", [65, 301, 901, 961])
@pytest.mark.parametrize("notify", ['fold = "1m"', 'fold = "15m"', "digest_over = 100"])
def test_failures_that_come_in_bursts_are_few_messages(
    night: Night, seconds: int, notify: str
) -> None:
    bursts = 3 * 3_600 // seconds
    events = [failure for burst in range(bursts) for failure in together(5, at_s=burst * seconds)]

    rows = night.told(events, f"[notify]\n{notify}\n", "19:00")

    is_all_counted(rows, "job-failed", 5 * bursts)
    assert most_in_an_hour(rows) <= 12


def together(count: int, at_s: int) -> list[Any]:
    clock = f"{at('12:00') + timedelta(seconds=at_s):%H:%M:%S}"
    return [
        a_failure(clock, jobId=f"job-{at_s}-{number}", jobName=f"render-{number}")
        for number in range(count)
    ]


def test_arrays_that_end_one_after_the_other_are_few_messages(night: Night) -> None:
    ends = [f"{at('12:00') + timedelta(seconds=150 * number):%H:%M:%S}" for number in range(100)]
    events = [
        a_parent_event(3, 3, clock, array_id=f"array-{number}") for number, clock in enumerate(ends)
    ]

    rows = night.told(events, "", "19:00")

    is_all_counted(rows, "array-completed", 100)
    assert most_in_an_hour(rows) <= 12


def test_different_causes_are_not_hidden_in_each_other(night: Night) -> None:
    other = a_failure("12:05", jobId="other", statusReason="Host EC2 (instance i-0abc) terminated.")

    rows = night.told([*failures(300, 2), other], "", "14:00")

    assert [row["at"] for row in sent(rows) if row["id"] == "job-failed:other"] == [
        "2026-01-01T12:05:11Z"
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
