"""
A table as a version of the watchdog has left it, in the middle of its work.

    PYTHONPATH=layers/watchdog python -m tests.upgrade VERSION

writes one, made by the code of today. The tables of earlier versions are kept: a test has the code
of today go on where they end.
"""

import json
import sys
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.store.item_codec import from_image, to_image
from batch_watchdog.store.table import Put
from tests.makers import a_child_event, a_failure, an_event, at
from tests.watching import Watching

FOLDER = Path(__file__).parent / "fixtures/tables"
UNTIL = at("13:35")
POLICY = """
mode = "enforce"
[safety]
max_stops_per_hour = 1
[[array]]
progress = [50]
[[limit]]
match = { name = "observed-*" }
mode = "observe"
RUNNABLE = { after = "1h" }
[[limit]]
RUNNABLE = { warn_after = "45m", after = "90m", after_by_cause = { misconfigured = "80m" } }
RUNNING = { after = "3h" }
[[guard]]
name = "money"
match = { queue = "other" }
[[guard.stage]]
alarms = ["soft"]
budgets = [{ name = "all", percent = 90 }]
action = "cancel"
[[budget]]
name = "all"
per = "day"
vcpu_hours = 100
"""


def events() -> list[Any]:
    """What AWS Batch has told, and will tell."""
    used = {"container": {"resourceRequirements": [{"type": "VCPU", "value": "8"}]}}
    started: dict[str, Any] = {"startedAt": to_ms(at("12:05")), **used}
    return [
        an_event("12:00", jobId="observed", jobName="observed-1"),
        an_event("15:00", jobId="observed", jobName="observed-1", status="STARTING"),
        an_event("15:00", jobId="observed", jobName="observed-1", status="RUNNING",
                 startedAt=to_ms(at("15:00"))),
        *(an_event("12:00", jobId=f"waits-{number}") for number in range(3)),
        an_event("12:00", jobId="exempt"),
        an_event("13:20", kind="Batch Job Queue Blocked", jobId="waits-1"),
        an_event("12:05", jobId="runs", status="RUNNING", **started),
        an_event("14:05", jobId="runs", status="SUCCEEDED", stoppedAt=to_ms(at("14:05")),
                 **started),
        *(a_child_event(index, "SUCCEEDED", "13:00") for index in range(5)),
        *(a_child_event(index, "FAILED", "13:10") for index in range(5, 7)),
        *(a_child_event(index, "RUNNABLE", "13:00") for index in range(7, 10)),
        *(a_failure(f"13:{30 + n}", jobId=f"failed-{n}") for n in range(4)),
        a_failure("13:34", jobId="first", dependsOn=[]),
        a_failure("13:34", jobId="second", dependsOn=[{"jobId": "first"}],
                  statusReason="Dependent Job failed", attempts=[]),
    ]  # fmt: skip


def watched() -> Watching:
    """The watchdog at `UNTIL`, in the middle of its work."""
    watching = Watching(POLICY, events()).run(at("12:00"), at("12:10"))
    for command in (
        {"command": "exempt", "job_id": "exempt", "until": "2026-01-01T14:30:00Z", "by": "jane"},
        {"command": "set-stage", "guard": "money", "stage": "cancel", "by": "jane"},
    ):
        answer = watching.console.answer(command, at("12:10"))
        assert "error" not in answer, answer
        watching.act()
    return watching.run(at("12:11"), UNTIL)


def resumed(version: str) -> Watching:
    """The watchdog of today at `UNTIL`, with what a version has left."""
    watching = Watching(POLICY, events())
    left = [json.loads(line) for line in _path(version).read_text(encoding="utf-8").splitlines()]
    for call in (each["call"] for each in left if "call" in each):
        watching.batch.advance_to(datetime.fromisoformat(call["at"]))
        watching.batch.call("CancelJobs", {"jobs": call["jobs"], "reason": call["reason"]})
    watching.batch.advance_to(UNTIL)
    watching.forget_until(UNTIL)
    for item in (from_image(each["item"]) for each in left if "item" in each):
        watching.table.write([Put({key: item[key] for key in item if key != "version"})])
    return watching


def written(watching: Watching) -> Iterator[str]:
    """What a fixture holds: the calls that Batch got, and the items of the table."""
    for call in watching.stops:
        assert call.api == "CancelJobs"
        told = {"at": call.at.isoformat(), "jobs": list(call.jobs), "reason": call.reason}
        yield json.dumps({"call": told})
    for item in watching.table.every_item():
        yield json.dumps({"item": to_image(item)}, default=lambda raw: b64encode(raw).decode())


def versions() -> list[str]:
    """The versions whose tables are kept."""
    return sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def _path(version: str) -> Path:
    return FOLDER / f"{version}.jsonl"


if __name__ == "__main__":
    _path(sys.argv[1]).write_text("\n".join(written(watched())) + "\n", encoding="utf-8")
