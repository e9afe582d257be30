"""What one of us stopped of an array is told as ours, and counted apart from what failed."""

import random
from typing import Any

import pytest

from batch_watchdog.arrays.groups import unsuccessful
from batch_watchdog.arrays.notices import completed
from batch_watchdog.arrays.progress import Array, Part, unite
from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.failure_cause import OTHER_STOP
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.core.stop_cause import stopper_in
from tests.makers import EXITED, SPOT_LOSS, a_child, a_part, an_array, at

GUARD = (
    f'{STOP_MARK}guard "monthly-budget-2" is at cancel: alarm batch-spend-80 went into ALARM at '
    "2026-01-01T11:00:00Z (812.0, threshold 800.0)"
)
GUARD_TERMINATES = GUARD.replace("cancel", "terminate")
LIMIT = f"{STOP_MARK}RUNNABLE for more than 6 h, limit[1] (match queue gpu-*, tags a = b)"
BY_GUARD, BY_LIMIT = "guard monthly-budget-2", "limit[1] (match queue gpu-*, tags a = b)"


@pytest.mark.parametrize(
    ("reason", "stopper"),
    [
        (GUARD, BY_GUARD),
        (GUARD_TERMINATES, BY_GUARD),
        (LIMIT, BY_LIMIT),
        (f"{STOP_MARK}RUNNING for more than 2 h 5 min, tag batch-watchdog:RUNNING",
         "tag batch-watchdog:RUNNING"),
        (f"{STOP_MARK}12 of the first 50 children failed (array[1] (every job))",
         "array[1] (every job)"),
        (f"{STOP_MARK}the array was stopped before (array[2] (name a(b)-*))",
         "array[2] (name a(b)-*)"),
        (f"{STOP_MARK}the array was stopped before (array[2] (name a-", "array[2] (name a-"),
        (f"{STOP_MARK}a rule to come", "a rule to come"),
        (f"{STOP_MARK}<b>\n", "‹b›"),
        (STOP_MARK, "an unnamed rule"),
        (f"Terminated: {STOP_MARK}x", ""),
        (EXITED, ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_reason_of_a_stop_names_who_stopped(reason: str, stopper: str) -> None:
    assert stopper_in(reason) == stopper
    if stopper:
        assert stopper_in(f"{STOP_MARK}{stopper}") == stopper


def stopped(index: int, reason: str = GUARD, **detail: Any) -> JobEvent:
    return a_child(
        index, "FAILED", statusReason=reason, **{"container": {}, "attempts": []} | detail
    )


def failed(index: int, reason: str = EXITED, exit_code: int | None = 1) -> JobEvent:
    container = {} if exit_code is None else {"exitCode": exit_code}
    return a_child(index, "FAILED", statusReason=reason, container=container, attempts=[])


def letters(number: int) -> str:
    """A name without a digit."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def ended(size: int, unsuccessful: int, **changes: Any) -> Array:
    summary = {"SUCCEEDED": size - unsuccessful, "FAILED": unsuccessful}
    told = {"size": size, "ended_at": at("12:10"), "status": "FAILED", "summary": summary}
    return an_array(**told | changes)


def test_what_a_guard_stopped_is_not_called_failed() -> None:
    parts = [a_part(*(stopped(index) for index in range(2, 9)), failed(0), a_child(1))]

    notice = completed(ended(9, 8), parts)

    facts = notice.facts
    assert (facts["succeeded"], facts["failed"], facts["stopped"]) == (1, 1, 7)
    assert facts["stopped_by"] == [BY_GUARD]
    assert (facts["failed_indices"], facts["stopped_indices"]) == ("0", "2-8")
    assert [group["indices"] for group in facts["groups"]] == ["0"]
    assert notice.subject == f"Array stopped by {BY_GUARD}, 7 of 9 (1 failed): render"
    assert f"1 of 9 succeeded, 1 failed, 7 stopped by {BY_GUARD}." in notice.text
    assert "To resubmit: 0\n" in notice.text
    assert "Stopped, to resubmit: 2-8\n" in notice.text
    assert f"once {BY_GUARD} is released" in notice.text


@pytest.mark.parametrize(
    "child", [failed(0, EXITED, 137), failed(0, "stopped by jane", 143), failed(0, "", None)]
)
def test_where_children_bear_our_reason_those_that_do_not_were_not_stopped_by_us(
    child: JobEvent,
) -> None:
    array = ended(3, 3, reason=GUARD_TERMINATES)

    facts = completed(array, [a_part(child, *(stopped(n, GUARD_TERMINATES) for n in (1, 2)))]).facts

    assert (facts["failed"], facts["failed_indices"]) == (1, "0")
    assert (facts["stopped"], facts["stopped_indices"]) == (2, "1-2")


def test_an_array_of_which_nothing_failed_by_itself_has_nothing_to_resubmit_but_the_stopped() -> (
    None
):
    notice = completed(ended(3, 3), [a_part(*map(stopped, range(3)))])

    assert (notice.facts["failed"], notice.facts["stopped"]) == (0, 3)
    assert notice.facts["groups"] == []
    assert "\nTo resubmit" not in notice.text
    assert "Why they failed" not in notice.text
    assert notice.severity == "warning"


def test_each_stopper_counts_for_itself_and_the_last_exit_code_does_not_matter() -> None:
    children = [
        *(stopped(index, LIMIT) for index in (0, 1)),
        *(stopped(index, GUARD) for index in (2, 3, 4)),
        stopped(5, GUARD_TERMINATES, container={"exitCode": 137}),
        stopped(6, GUARD_TERMINATES, container={"exitCode": 143}),
    ]

    found = unsuccessful(ended(7, 7), [a_part(*children)])

    assert [(each.cause.stopper, each.indices) for each in found.stops] == [
        (BY_GUARD, (2, 3, 4, 5, 6)),
        (BY_LIMIT, (0, 1)),
    ]
    assert found.failures == []


@pytest.mark.parametrize(
    ("child", "count"),
    [
        (failed(0, "Job terminated by user", None), 1),
        (failed(0, "Canceled", None), 1),
        (failed(0, "", None), 1),
        (failed(0, GUARD_TERMINATES, None), 1),
        (failed(0, EXITED, 137), 1),
        (failed(0, EXITED, 143), 1),
        (failed(0, EXITED, 1), 0),
        (failed(0, SPOT_LOSS, None), 0),
        (failed(0, "CannotPullContainerError: manifest unknown", None), 0),
        (failed(0, "OutOfMemoryError: Container killed due to memory usage", 137), 0),
        (failed(0, "Canceled by JobStateTimeLimit action due to reason: X", None), 0),
    ],
)
def test_children_of_an_array_that_we_terminated_are_stopped_where_nothing_else_says_why(
    child: JobEvent, count: int
) -> None:
    array = ended(2, 1, reason=GUARD_TERMINATES)

    facts = completed(array, [a_part(child, a_child(1))]).facts

    assert (facts["stopped"], facts["failed"]) == (count, 1 - count)
    assert completed(ended(2, 1), [a_part(child, a_child(1))]).facts["stopped"] == (
        1 if child.reason == GUARD_TERMINATES else 0
    )


def test_what_ran_while_a_guard_cancelled_the_rest_was_not_killed_by_it() -> None:
    array = ended(3, 2, reason=GUARD)

    cancelled = failed(1, "Canceled", None)
    facts = completed(array, [a_part(failed(0, EXITED, 137), cancelled, a_child(2))]).facts

    assert (facts["failed_indices"], facts["stopped_indices"]) == ("0", "1")


def test_an_array_rule_that_stopped_the_rest_is_named_though_batch_gives_its_own_reason() -> None:
    array = ended(
        3, 3, reason="Array Child Job failed", rest_stopped_at=at("12:05"),
        rest_stopped_by="array[1] (every job)",
    )  # fmt: skip

    notice = completed(
        array, [a_part(failed(0), failed(1, "Terminated", None), failed(2, "", None))]
    )

    assert (notice.facts["failed"], notice.facts["stopped"]) == (1, 2)
    assert notice.facts["stopped_by"] == ["array[1] (every job)"]


def test_what_a_person_cancelled_is_not_told_as_stopped_by_an_array_rule() -> None:
    array = ended(
        3, 3, reason="no longer needed", rest_stopped_at=at("12:05"),
        rest_stopped_by="array[1] (every job)",
    )  # fmt: skip
    ours = stopped(0, f"{STOP_MARK}the array was stopped before (array[1] (every job))")
    theirs = [stopped(index, "no longer needed") for index in (1, 2)]

    some, none = (completed(array, [a_part(each, *theirs)]).facts for each in (ours, failed(0)))

    assert (some["stopped"], some["failed_indices"]) == (1, "1-2")
    assert (none["stopped"], none["failed_indices"]) == (0, "0-2")


def test_children_that_never_existed_or_that_no_list_shows_were_stopped_with_their_array() -> None:
    never_begun = an_array(size=4, ended_at=at("12:10"), status="FAILED", reason=GUARD)
    not_listed = ended(4, 3, reason=GUARD)

    without, unseen = completed(never_begun, []), completed(not_listed, [a_part(a_child(0))])

    assert (without.facts["stopped"], without.facts["failed"]) == (4, 0)
    assert "without_result" not in without.facts
    assert (unseen.facts["succeeded"], unseen.facts["stopped"], unseen.facts["failed"]) == (1, 3, 0)


def test_what_fell_with_a_stopped_child_alone_was_stopped_and_else_it_failed() -> None:
    followed = [failed(index, "Dependent Job failed", None) for index in (1, 2)]

    alone = completed(ended(3, 3), [a_part(stopped(0), *followed)]).facts
    besides = completed(ended(4, 4), [a_part(stopped(0), *followed, failed(3))]).facts

    assert (alone["stopped"], alone["failed"]) == (3, 0)
    assert (besides["stopped"], besides["failed"]) == (1, 3)


def test_further_stops_are_stops_however_many_causes_a_part_has() -> None:
    causes = [failed(index, f"cause {letters(index)}") for index in range(70)]
    stops = [stopped(70 + index, f"{STOP_MARK}rule {index}") for index in range(9)]

    part = a_part(*causes, *stops)
    facts = completed(ended(79, 79), [part]).facts

    assert len(part.causes) <= 60
    assert part.causes[-1].cause == OTHER_STOP
    assert (facts["failed"], facts["stopped"]) == (70, 9)


def test_order_repeats_and_portions_make_no_difference_to_stops() -> None:
    chance = random.Random(1)  # noqa: S311
    life = [*(stopped(index) for index in range(20)), *(failed(index) for index in range(20, 40))]
    facts = []
    for _ in range(20):
        deliveries = life + chance.sample(life, 10)
        chance.shuffle(deliveries)
        part = Part(number=0)
        while deliveries:
            portion = chance.randint(1, len(deliveries))
            part = unite(part, deliveries[:portion])
            del deliveries[:portion]
        facts.append(completed(ended(40, 40), [part]).facts)

    assert all(each == facts[0] for each in facts)
    assert (facts[0]["failed"], facts[0]["stopped"]) == (20, 20)


def test_many_stoppers_are_counted_in_the_subject_and_listed_in_the_facts() -> None:
    notice = completed(
        ended(3, 3), [a_part(*(stopped(index, f"{STOP_MARK}rule {index}") for index in range(3)))]
    )

    assert notice.subject.startswith("Array stopped by rule 0 and 2 more, 3 of 3")
    assert notice.facts["stopped_by"] == ["rule 0", "rule 1", "rule 2"]
