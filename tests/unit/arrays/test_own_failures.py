"""Which children failed by themselves: what was stopped, by whomever, stops nobody else."""

from typing import Any

import pytest

from batch_watchdog.arrays.own_failures import with_own_failures
from tests.makers import ARRAY

GUARD = 'batch-watchdog: guard "money" is at cancel: alarm soft is in ALARM'


def a_child(index: int, reason: str = "", exit_code: int | None = None, **more: Any) -> Any:
    container = {} if exit_code is None else {"exitCode": exit_code}
    return {
        "jobId": f"{ARRAY}:{index}",
        "jobName": "render",
        "status": "FAILED",
        "statusReason": reason,
        "container": container,
        "arrayProperties": {"index": index},
        **more,
    }


def told_apart(summary: Any, listed: Any, **array: Any) -> dict[str, int]:
    detail = {"arrayProperties": {"statusSummary": summary}, **array}
    found: dict[str, int] = with_own_failures(detail, listed)["arrayProperties"]["statusSummary"]
    return found


def failed(*children: Any, **array: Any) -> int:
    summary = {"SUCCEEDED": 2, "FAILED": len(children)}
    found = told_apart(summary, children, **array)
    assert sum(found.values()) == 2 + len(children)
    assert found["SUCCEEDED"] == 2
    return found["FAILED"]


@pytest.mark.parametrize(
    ("child", "count"),
    [
        (a_child(0, "Essential container in task exited", 1), 1),
        (a_child(0, "Host EC2 (instance i-0abc) terminated."), 1),
        (a_child(0, "Essential container in task exited", 137), 1),
        (a_child(0, GUARD), 0),
        (a_child(0, "batch-watchdog: RUNNABLE for more than 6 h, limit[1] (every job)"), 0),
        (a_child(0, "batch-watchdog: 4 of the first 9 children failed (array[1])", 143), 0),
        (a_child(0, "stopped by jane", isTerminated=True), 0),
        (a_child(0, "stopped by jane", 137, isTerminated=True), 0),
        (a_child(0, "cancelled by jane", isCancelled=True), 0),
        (a_child(0, "Essential container in task exited", 1, isCancelled=True), 0),
        (a_child(0, "bye", 130, isTerminated=True), 0),
        (a_child(0, "Dependent Job failed"), 0),
        (a_child(0, "Dependent Job failed", startedAt=1_767_268_800_000), 1),
        (a_child(0, "Ended: the dependency cache failed"), 1),
        (a_child(0, "Canceled by JobStateTimeLimit action due to reason: CAPACITY:x"), 0),
        (a_child(0, "Canceled by JobStateTimeLimit action due to reason: CAPACITY:x", 1), 0),
        ({"jobId": 7}, 0),
    ],
)
def test_only_what_failed_by_itself_counts(child: Any, count: int) -> None:
    assert failed(child) == count


def test_what_fell_with_another_has_not_failed_by_itself() -> None:
    fell = [a_child(index, "Dependent Job failed") for index in (1, 2)]

    assert failed(a_child(0, GUARD), *fell) == 0
    assert failed(a_child(0, "Essential container in task exited", 1), *fell) == 1


def test_of_an_array_that_was_cancelled_nothing_is_taken_to_have_failed_by_itself() -> None:
    children = [a_child(index, "Essential container in task exited", 1) for index in (1, 2)]

    assert failed(*children, isCancelled=True) == 0
    assert failed(*children, isCancelled=False) == 2


def test_of_an_array_that_was_terminated_nothing_is_unless_its_own_rule_asked_for_that() -> None:
    children = [a_child(index, "no longer needed", 137) for index in (1, 2)]
    array = {"arrayProperties": {"statusSummary": {"FAILED": 2}}, "isTerminated": True}

    by_others = with_own_failures(array, children)
    by_rule = with_own_failures(array, children, stopped_by_rule=True)

    assert by_others["arrayProperties"]["statusSummary"]["FAILED"] == 0
    assert by_rule["arrayProperties"]["statusSummary"]["FAILED"] == 2


def test_what_was_stopped_is_told_apart_from_what_fell_with_it() -> None:
    children = [a_child(0, GUARD), a_child(1, "Dependent Job failed"), a_child(2, "Oops", 1)]

    found = told_apart({"SUCCEEDED": 1, "FAILED": 3}, children)

    assert found == {
        "SUCCEEDED": 1,
        "FAILED": 1,
        "STOPPED": 1,
        "STOPPED_AS_REST": 0,
        "FELL": 1,
    }


@pytest.mark.parametrize(
    ("reason", "count"),
    [
        ("batch-watchdog: 4 of the first 9 children failed (array[1] (every job))", 1),
        ("batch-watchdog: the array was stopped before (array[1] (every job))", 1),
        (GUARD, 0),
        ("batch-watchdog: RUNNABLE for more than 6 h, limit[1] (every job)", 0),
        ("batch-watchdog: ", 0),
        ("4 of the first 9 children failed (array[1] (every job))", 0),
    ],
)
def test_what_the_arrays_own_rule_has_stopped_is_known_by_its_reason(
    reason: str, count: int
) -> None:
    found = told_apart({"FAILED": 1}, [a_child(0, reason)])

    assert found["STOPPED_AS_REST"] == count


def test_what_batch_does_not_list_yet_does_not_count() -> None:
    child = a_child(0, "Essential container in task exited", 1)
    told = {"FAILED": 0, "STOPPED": 0, "STOPPED_AS_REST": 0, "FELL": 0}

    assert told_apart({"FAILED": 5}, [child]) == told | {"FAILED": 1, "FELL": 4}
    assert told_apart({}, [child]) == told


def test_an_array_is_shown_with_the_failures_of_its_own() -> None:
    shown = {"jobId": ARRAY, "arrayProperties": {"size": 9, "statusSummary": {"FAILED": 1}}}

    assert with_own_failures(shown, [a_child(0, GUARD)]) == {
        "jobId": ARRAY,
        "arrayProperties": {
            "size": 9,
            "statusSummary": {"FAILED": 0, "STOPPED": 1, "STOPPED_AS_REST": 0, "FELL": 0},
        },
    }
