"""What came of a stop, as an action's result says: of this version, or of an older one."""

from dataclasses import replace
from typing import Any

import pytest

from batch_watchdog.core.effects import Announce, StopJobs
from batch_watchdog.limits import stop_results
from batch_watchdog.limits.stop_results import StopResult
from batch_watchdog.store.actions import Action, Progress
from tests.makers import JOB, a_notice, at

STOP = StopJobs(
    how="cancel",
    job_ids=("1", "2", "3"),
    reason="batch-watchdog: why",
    rule="limit[1]",
    status="RUNNABLE",
    since=(at("10:00"),) * 3,
)
ACCEPTED: dict[str, Any] = {"accepted": 3, "refused": {}}


def an_action(result: Any, effect: Any = STOP) -> Action:
    at_noon = "2026-01-01T12:00:00Z"
    return Action(pk="p", sk="s", at=at_noon, asked_by="sweep", effect=effect, result=result)


def test_what_came_of_an_arrays_stop_is_found_by_the_array() -> None:
    of_array = replace(STOP, status="", since=(), array_id="a")
    others = replace(of_array, array_id="b")
    actions = [an_action(ACCEPTED, others), an_action({"held_by": "jane"}, of_array)]

    found = stop_results.of_array(actions, "a")

    assert found is not None
    assert (found.outcome, found.why) == ("not asked", "the watchdog is held by jane")
    assert stop_results.of_array(actions, "c") is None


def outcomes(*results: Any) -> list[str]:
    actions = [an_action(result) for result in results]
    found = [stop_results.of_job(actions, job_id, "RUNNABLE") for job_id in STOP.job_ids]
    return [each.outcome if each else "none" for each in found]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, ["open"] * 3),
        (ACCEPTED, ["accepted"] * 3),
        (
            {"accepted": 1, "refused": {"1": "ClientException"}, "not_meant": {"why": ["3"]}},
            ["refused", "accepted", "not asked"],
        ),
        (
            Progress(seen=1, accepted=1).ended(held_by="jane"),
            ["accepted", "not asked", "not asked"],
        ),
        (
            Progress(seen=1, asked=2, accepted=1).ended(overtaken="late"),
            ["accepted", "unsure", "not asked"],
        ),
        # as an older version recorded them
        ({"accepted": 1, "refused": {}, "held_by": "jane"}, ["accepted"] + ["not asked"] * 2),
        (
            {"accepted": 0, "refused": {"1": "x"}, "not_meant": {"w": ["2"]}, "overtaken": "late"},
            ["refused", "not asked", "not asked"],
        ),
        ({"overtaken": "an older version asked for it"}, ["not asked"] * 3),
    ],
)
def test_each_job_of_a_stop_has_its_own_outcome(result: Any, expected: list[str]) -> None:
    assert outcomes(result) == expected


def test_of_several_stops_the_one_counts_of_which_most_is_known() -> None:
    held = Progress().ended(held_by="jane")

    assert outcomes(held, ACCEPTED) == ["accepted"] * 3
    assert outcomes(held, None) == ["open"] * 3


def test_a_stop_of_another_job_or_state_and_a_notice_are_none() -> None:
    told = an_action({}, Announce(notices=(a_notice(),)))

    assert stop_results.of_job([an_action(ACCEPTED)], JOB, "RUNNABLE") is None
    assert stop_results.of_job([an_action(ACCEPTED)], "1", "RUNNING") is None
    assert stop_results.of_job([told], "1", "RUNNABLE") is None


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (Progress().ended(held_by="<b>jane\n"), "the watchdog is held by ‹b›jane"),
        (Progress().ended(overtaken="it came too late"), "it came too late"),
        ({"accepted": 0, "refused": {"1": "Gone: no"}}, "AWS Batch refused it: Gone: no"),
        ({"accepted": 0, "refused": {}, "not_meant": {"it ended": ["1"]}}, "it ended"),
    ],
)
def test_it_is_said_in_harmless_words_why_a_stop_was_not_accepted(result: Any, why: str) -> None:
    found = stop_results.of_job([an_action(result)], "1", "RUNNABLE")

    assert isinstance(found, StopResult)
    assert found.why == why


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ({"isCancelled": True}, True),
        ({"isTerminated": True}, True),
        ({"statusReason": STOP.reason}, True),
        ({"statusReason": "Essential container in task exited", "isCancelled": False}, False),
        ({}, False),
    ],
)
def test_batch_shows_whether_it_took_a_stop(detail: dict[str, Any], shown: bool) -> None:  # noqa: FBT001
    assert stop_results.shows_it(detail, STOP.reason) is shown
