"""What a policy asks of an array under way: its progress told, its rest stopped."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from batch_watchdog.arrays.progress import Array
from batch_watchdog.arrays.rules import (
    ArrayDecision,
    decide,
    has_outlived_its_stop,
    leave,
    stop_children,
)
from batch_watchdog.core.effects import STOP_MARK, Announce, StopJobs
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.model import parse_policy
from tests.makers import ARRAY, an_array, at

PROGRESS = parse_policy('[[array]]\nmatch = { name = "render*" }\nprogress = [50, 90]')
STOP = "[[array]]\nstop_rest_when = { failed_percent = 10, of_at_least = 20 }"
ENFORCED = parse_policy(f'mode = "enforce"\n{STOP}')
OBSERVED = parse_policy(STOP)


def summary(succeeded: int = 0, failed: int = 0, **others: int) -> dict[str, int]:
    return {"SUCCEEDED": succeeded, "FAILED": failed, "RUNNING": 7, **others}


def told(decision: ArrayDecision) -> list[Notice]:
    announced = [effect for effect in decision.effects if isinstance(effect, Announce)]
    return [notice for announce in announced for notice in announce.notices]


def stopped(decision: ArrayDecision) -> list[StopJobs]:
    return [effect for effect in decision.effects if isinstance(effect, StopJobs)]


def a_hundred(**changes: Any) -> Array:
    return an_array(size=100, **changes)


# ---- Progress -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "percents"), [(49, []), (50, [50]), (89, [50]), (90, [90]), (99, [90]), (100, [])]
)
def test_progress_is_told_when_a_percentage_is_reached(ended: int, percents: list[int]) -> None:
    decision = decide(a_hundred(), summary(ended), PROGRESS, at("12:10"))

    assert [notice.facts["percent"] for notice in told(decision)] == percents


def test_each_percentage_is_told_once() -> None:
    first = decide(a_hundred(), summary(55, 1), PROGRESS, at("12:10"))
    again = decide(first.array, summary(60, 2), PROGRESS, at("12:11"))
    later = decide(again.array, summary(90, 2), PROGRESS, at("12:12"))

    assert [notice.id for notice in told(first)] == [f"array-progress:{ARRAY}:50"]
    assert told(again) == []
    assert [notice.id for notice in told(later)] == [f"array-progress:{ARRAY}:90"]


def test_progress_comes_with_an_estimate_of_the_end() -> None:
    notice = told(decide(a_hundred(), summary(48, 2), PROGRESS, at("12:10")))[0]

    assert notice.subject == "Array at 50 %, 50 of 100 ended, 2 failed: render"
    assert notice.facts["estimated_end"] == "2026-01-01T12:20:00Z"
    assert (notice.facts["succeeded"], notice.facts["failed"]) == (48, 2)
    assert "another 10 min, until 2026-01-01T12:20:00Z" in notice.text


def test_progress_counts_all_that_was_stopped() -> None:
    counts = summary(40, 3, STOPPED=3, STOPPED_AS_REST=4)

    facts = told(decide(a_hundred(), counts, PROGRESS, at("12:10")))[0].facts

    assert (facts["succeeded"], facts["failed"], facts["stopped"]) == (40, 3, 7)


@pytest.mark.parametrize("first_at", ["1970-01-01T00:00:00Z", "8999-01-01T00:00:00Z"])
def test_an_array_whose_events_tell_a_time_that_cannot_be_has_an_estimate(first_at: str) -> None:
    policy = parse_policy("[[array]]\nprogress = [1]")
    array = an_array(size=10_000, first_at=datetime.fromisoformat(first_at))

    notice = told(decide(array, summary(100), policy, at("12:10")))[0]

    assert notice.facts["estimated_end"] >= "2026-01-01T12:10:00Z"


def test_the_slowest_array_there_can_be_has_an_estimate() -> None:
    policy = parse_policy("[[array]]\nprogress = [1]")
    array = an_array(size=10_000, first_at=at("12:00") - timedelta(days=56 * 365))

    assert told(decide(array, summary(100), policy, at("12:00")))


@pytest.mark.parametrize(
    "array",
    [a_hundred(job_name="other"), an_array(size=None), a_hundred(told_percent=90)],
    ids=["of no rule", "of unknown size", "told"],
)
def test_nothing_is_said_of_an_array(array: Array) -> None:
    assert decide(array, summary(95), PROGRESS, at("12:10")) == ArrayDecision(array=array)


# ---- Stopping the rest --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("succeeded", "failed", "met"),
    [
        (0, 19, False),  # too few have ended to judge
        (17, 3, True),
        (18, 2, False),  # 10 % is allowed
        (80, 8, False),
        (80, 9, True),
        (0, 100, False),  # there is no rest
    ],
)
def test_the_rest_is_stopped_when_too_many_failed(
    succeeded: int, failed: int, *, met: bool
) -> None:
    decision = decide(a_hundred(), summary(succeeded, failed), ENFORCED, at("12:10"))

    assert bool(stopped(decision)) is met
    assert [notice.kind for notice in told(decision)] == ["array-stopped"] * met


@pytest.mark.parametrize(
    ("succeeded", "failed", "others", "met"),
    [
        (17, 3, 10, False),  # 3 of 30
        (17, 4, 10, True),  # 4 of 31
        (7, 3, 9, False),  # too few have ended to judge
        (7, 3, 10, True),
    ],
)
@pytest.mark.parametrize("how", ["STOPPED", "FELL"])
def test_a_child_that_was_stopped_has_ended_and_has_not_failed(
    succeeded: int, failed: int, others: int, how: str, *, met: bool
) -> None:
    counts = summary(succeeded, failed, **{how: others})
    array = a_hundred(rest_stopped_at=at("12:00"))

    assert bool(stopped(decide(a_hundred(), counts, ENFORCED, at("12:10")))) is met
    assert has_outlived_its_stop(array, counts, ENFORCED, at("12:10")) is met


def test_the_parent_is_terminated_with_the_rule_and_the_reason() -> None:
    decision = decide(a_hundred(), summary(16, 4), ENFORCED, at("12:10"))

    assert stopped(decision) == [
        StopJobs(
            how="terminate",
            job_ids=(ARRAY,),
            reason=f"{STOP_MARK}4 of the first 20 children failed (array[1] (every job))",
            rule="array[1] (every job)",
            array_id=ARRAY,
        )
    ]
    assert decision.effects[0] == stopped(decision)[0]  # to stop is more urgent than to tell
    assert decision.array.rest_stopped_at == at("12:10")
    assert decision.array.rest_stopped_by == "array[1] (every job)"


def test_what_is_told_of_a_stop() -> None:
    decision = decide(a_hundred(), summary(16, 4), ENFORCED, at("12:10"))

    notice = told(decision)[0]
    assert (notice.id, notice.severity) == (f"array-stopped:{ARRAY}", "critical")
    assert notice.subject == "Array stopped, 4 of 20 failed: render"
    assert (notice.facts["left"], notice.facts["mode"]) == (80, "enforce")
    assert notice.facts["rule"] == "array[1] (every job)"


def test_the_rest_is_stopped_once() -> None:
    first = decide(a_hundred(), summary(16, 4), ENFORCED, at("12:10"))

    assert decide(first.array, summary(10, 20), ENFORCED, at("12:11")).effects == ()


def test_in_observe_mode_it_is_said_once_what_would_be_stopped() -> None:
    first = decide(a_hundred(), summary(16, 4), OBSERVED, at("12:10"))
    again = decide(first.array, summary(16, 5), OBSERVED, at("12:11"))

    assert stopped(first) == []
    assert "would be terminated" in told(first)[0].text
    assert (told(first)[0].facts["mode"], told(first)[0].severity) == ("observe", "warning")
    assert again.effects == ()


def test_what_was_only_observed_is_stopped_and_told_once_the_policy_is_enforced() -> None:
    observed = decide(a_hundred(), summary(16, 4), OBSERVED, at("12:10"))

    assert not has_outlived_its_stop(observed.array, summary(16, 4), ENFORCED, at("13:00"))
    enforced = decide(observed.array, summary(16, 4), ENFORCED, at("13:00"))

    assert len(stopped(enforced)) == 1
    assert told(enforced)[0].id != told(observed)[0].id


def test_while_an_operator_holds_the_watchdog_no_stop_is_decided_or_announced() -> None:
    held = decide(a_hundred(), summary(16, 4), ENFORCED, at("12:10"), held=True)
    resumed = decide(held.array, summary(16, 4), ENFORCED, at("12:40"))

    assert (held.effects, held.array) == ((), a_hundred())
    assert len(stopped(resumed)) == len(told(resumed)) == 1


def test_a_hold_keeps_back_nothing_that_observe_mode_says() -> None:
    assert told(decide(a_hundred(), summary(16, 4), OBSERVED, at("12:10"), held=True))


def test_a_silent_rule_still_tells_what_the_watchdog_stops() -> None:
    policy = parse_policy(
        'mode = "enforce"\n[[array]]\nsilent = true\nstop_rest_when = {failed = 0}'
    )

    assert told(decide(a_hundred(), summary(0, 1), policy, at("12:10")))


# ---- What came of the stop ----------------------------------------------------------------


def test_a_stop_that_was_not_made_is_taken_back() -> None:
    array = decide(a_hundred(), summary(16, 4), ENFORCED, at("12:10")).array

    left = leave(array, "jane holds it")

    [notice] = told(left)
    assert (notice.kind, notice.id) == ("array-stopped", f"array-stopped:{ARRAY}:left-alone")
    assert "jane holds it." in notice.text
    assert notice.facts["rule"] == "array[1] (every job)"
    assert left.array == replace(array, rest_stopped_by="", rest_stop_known=True)


# ---- When the stop does not reach the children --------------------------------------------


@pytest.mark.parametrize(("clock", "outlived"), [("12:12:59", False), ("12:13", True)])
def test_children_have_three_minutes_to_end(clock: str, *, outlived: bool) -> None:
    array = a_hundred(rest_stopped_at=at("12:10"))

    assert has_outlived_its_stop(array, summary(16, 4), ENFORCED, at(clock)) is outlived


def test_nobody_stops_children_of_an_array_that_was_not_stopped_or_no_longer_may_be() -> None:
    stopped_array = a_hundred(rest_stopped_at=at("12:10"))
    failing = summary(16, 4)
    only_told = parse_policy('mode = "enforce"\n[[array]]\nprogress = [50]')
    laxer = parse_policy('mode = "enforce"\n[[array]]\nstop_rest_when = { failed = 4 }')

    assert has_outlived_its_stop(stopped_array, failing, ENFORCED, at("12:30"))
    assert not has_outlived_its_stop(a_hundred(), failing, ENFORCED, at("12:30"))
    for policy in (OBSERVED, parse_policy(""), only_told, laxer):
        assert not has_outlived_its_stop(stopped_array, failing, policy, at("12:30"))


def test_what_the_stop_itself_has_ended_does_not_save_the_others() -> None:
    array = a_hundred(rest_stopped_at=at("12:10"))
    by_the_stop, by_others = summary(16, 4, STOPPED_AS_REST=50), summary(16, 4, STOPPED=50)

    assert has_outlived_its_stop(array, by_the_stop, ENFORCED, at("12:13"))
    assert not has_outlived_its_stop(array, by_others, ENFORCED, at("12:13"))


def test_children_that_outlived_their_parents_stop_are_stopped_one_by_one() -> None:
    array = a_hundred(rest_stopped_at=at("12:10"))

    # Listed state by state, a child that moves on is listed twice.
    decision = stop_children(
        array, [f"{ARRAY}:3", f"{ARRAY}:7", f"{ARRAY}:3"], ENFORCED, at("12:13")
    )

    assert [stop.job_ids for stop in stopped(decision)] == [(f"{ARRAY}:3", f"{ARRAY}:7")]
    assert stopped(decision)[0].reason.startswith(STOP_MARK)
    assert decision.array.rest_stopped_at == at("12:13")
    assert stop_children(array, [], ENFORCED, at("12:13")).effects == ()


# ---- Either way ---------------------------------------------------------------------------


def test_progress_and_a_stop_can_come_together() -> None:
    policy = parse_policy(
        'mode = "enforce"\n[[array]]\nprogress = [20]\nstop_rest_when = {failed = 3}'
    )

    decision = decide(a_hundred(), summary(16, 4), policy, at("12:10"))

    assert [notice.kind for notice in told(decision)] == ["array-stopped", "array-progress"]
    assert (decision.array.told_percent, decision.array.rest_stopped_at) == (20, at("12:10"))


def test_what_was_stopped_has_no_estimate_of_its_end() -> None:
    policy = parse_policy(
        'mode = "enforce"\n[[array]]\nprogress = [20, 50]\nstop_rest_when = { failed = 3 }\n'
    )
    first = decide(a_hundred(), summary(16, 4), policy, at("12:10"))
    later = decide(first.array, summary(16, 40), policy, at("12:11"))
    left_alone = leave(first.array, "an operator holds it").array
    again = decide(left_alone, summary(46, 4), policy, at("12:20"))

    stopped, progress = told(first)
    assert "are terminated" in stopped.text
    assert [each.facts["estimated_end"] for each in (progress, *told(later))] == [None, None]
    assert "At this pace" not in progress.text
    assert told(again)[0].facts["estimated_end"]


@pytest.mark.parametrize(("mode", "words"), [("enforce", "is"), ("observe", "would be")])
def test_one_child_that_is_left_is_one(mode: str, words: str) -> None:
    policy = parse_policy(f'mode = "{mode}"\n[[array]]\nstop_rest_when = {{ failed = 3 }}\n')

    one, two = (
        told(decide(a_hundred(), summary(succeeded, 4), policy, at("12:10")))[0]
        for succeeded in (95, 94)
    )

    assert f"so the one that is left {words} terminated." in one.text
    assert "so the 2 that are left " in two.text


@pytest.mark.parametrize("name", ["", "a\nb", "<b>", "\u202e" * 50])
def test_hostile_names_are_harmless(name: str) -> None:
    policy = parse_policy("[[array]]\nprogress = [10]\nstop_rest_when = {failed = 3}")

    for notice in told(decide(a_hundred(job_name=name), summary(16, 4), policy, at("12:10"))):
        assert all(line.isprintable() for line in [notice.subject, *notice.text.split("\n")])
        assert "<" not in notice.subject + notice.text
