"""Very many limits that pass in one minute: few messages, the first at once, and all counted."""

import json
import os
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from local.aws.stack import Stack
from local.replay.event_log import read_log
from local.replay.replay import replay
from tests.makers import an_event, at

pytestmark = pytest.mark.scale

COUNT = int(os.environ.get("LIMITS", "5000"))
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
POLICY = """
mode = "enforce"
[safety]
max_stops_per_hour = 1_000_000
[[limit]]
RUNNABLE = { after = "30m" }
"""


def test_all_limits_that_pass_in_a_minute_are_few_messages(stack: Stack, tmp_path: Any) -> None:
    log = tmp_path / "log.jsonl"
    with log.open("w") as file:
        for number in range(COUNT):
            second = f"12:00:{number * 60 // COUNT:02}"
            file.write(json.dumps(an_event(second, jobId=f"job-{number}")) + "\n")
    rows: list[dict[str, Any]] = []

    replay(read_log(log), stack=stack, write_row=rows.append, policy=POLICY, until=at("14:30"))

    notices = [row for row in rows if row["kind"] == "notice"]
    sent = [row for row in notices if "folded_into" not in row]
    first = min(datetime.fromisoformat(row["at"]) for row in sent)
    times = [datetime.fromisoformat(row["at"]) for row in sent]
    stopped = [job for row in rows if row["kind"] == "call" for job in row["jobs"]]
    folded = Counter(row["folded_into"] for row in notices if "folded_into" in row)
    groups = {
        row["id"]: sum(group["count"] for group in row["facts"]["groups"])
        for row in sent
        if row["notice"] == "digest"
    }
    assert len(set(stopped)) == COUNT
    assert Counter(row["notice"] for row in notices)["limit-enforced"] == COUNT
    assert len({row["id"] for row in notices}) == len(notices)
    assert folded == groups
    assert sum(groups.values()) + sum(row["notice"] == "limit-enforced" for row in sent) == COUNT
    assert first <= at("12:31:00")
    assert max(sum(one <= each < one + HOUR for each in times) for one in times) <= 12
