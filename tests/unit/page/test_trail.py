"""The audit trail in words."""

from typing import Any

import pytest

from batch_watchdog.core.effects import Announce, SetQueueState, StartRun, StopJobs
from batch_watchdog.page import trail
from tests.makers import JOB, QUEUE, a_notice

STOP = StopJobs(
    how="cancel", job_ids=(JOB, "b"), reason="batch-watchdog: too long", rule="limit[1]"
)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, "under way"),
        ({"accepted": 2, "refused": {}}, "2 accepted"),
        (
            {"accepted": 1, "refused": {"b": "Throttled"}, "not_meant": {"held": [JOB]}},
            "1 accepted; 1 refused (Throttled); 1 left alone: held",
        ),
        ({"accepted": 1, "refused": {}, "seen": 2, "handed_on": "x"}, "1 accepted; handed_on: x"),
        ({"handed_on": "x"}, "handed_on: x"),
    ],
)
def test_a_stop_tells_what_came_of_it(result: Any, told: str) -> None:
    row = trail.of_action("2026-01-01T12:00:00Z", "sweep", STOP, result)

    assert (row.what, row.who, row.result) == ("cancel 2 jobs", "sweep: limit[1]", told)
    assert row.why == "batch-watchdog: too long"
    assert row.jobs == (JOB, "b")


def test_notices_are_told_by_the_first_of_them() -> None:
    effect = Announce(notices=(a_notice(subject="Job stuck"), a_notice(id="2")))

    row = trail.of_action("2026-01-01T12:00:00Z", "sweep", effect, None)

    assert row.what == "Job stuck (and 1 more)"


def test_queues_and_runs_are_told() -> None:
    closing = SetQueueState(queue=QUEUE, state="DISABLED", guard="monthly")

    assert trail.of_action("t", "spend_alarm", closing, None).what.endswith("to DISABLED")
    assert trail.of_action("t", "spend_alarm", closing, {"done": True}).result == "done: True"
    assert trail.of_action("t", "spend_alarm", StartRun(run_id="r"), {}).result == "handed over"


def test_a_command_tells_who_by_whose_word_and_which_request() -> None:
    command = {"command": "exempt", "job_id": JOB, "until": "2026-01-02T00:00:00Z", "why": "<b>"}

    row = trail.of_command("2026-01-01T12:00:00Z", "jane", command, "done", "req-1")

    assert row.what == f"exempt {JOB} 2026-01-02T00:00:00Z"
    assert (row.who, row.why, row.request, row.jobs) == ("jane", "‹b›", "req-1", (JOB,))


def test_only_the_first_jobs_of_many_are_named() -> None:
    many = StopJobs(how="cancel", job_ids=tuple(map(str, range(500))), reason="r", rule="x")

    assert len(trail.of_action("t", "sweep", many, None).jobs) == 5
