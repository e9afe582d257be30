"""Tags of an array protect its children, to whom AWS lets nobody give tags of their own."""

from collections.abc import Mapping
from typing import Any

import pytest

from local.aws.stack import Stack
from local.batch.disorder import ChildTags, Disorder
from tests.guarding import POLICY as GUARDED
from tests.guarding import Guarding
from tests.makers import ARRAY, an_event, at
from tests.watching import Watching

EXEMPT = {"batch-watchdog:exempt": "true"}
HALF_AN_HOUR = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "30m" }\n'
BY_TEAM = HALF_AN_HOUR.replace(
    "[[limit]]",
    '[[limit]]\nmatch = { tags = { team = "a" } }\nRUNNABLE = { after = "2h" }\n[[limit]]',
)


def an_array(size: int, clock: str = "12:00", **more: Any) -> list[Any]:
    """An array whose children wait, in events; the tags are the array's alone."""
    array = {"size": size, "statusSummary": {"RUNNABLE": size}}
    return [an_event(clock, jobId=ARRAY, status="PENDING", arrayProperties=array, **more)]


def children(size: int, clock: str = "12:00", **more: Any) -> list[Any]:
    return [
        an_event(
            clock,
            jobId=f"{ARRAY}:{index}",
            status="RUNNABLE",
            arrayProperties={"index": index, "statusSummary": {}},
            **more,
        )
        for index in range(size)
    ]


CHILDREN = [f"{ARRAY}:0", f"{ARRAY}:1"]


@pytest.mark.parametrize("shown", [{}, {"x": "y"}, {"batch-watchdog:RUNNABLE": "10m"}], ids=str)
def test_children_of_an_exempt_array_are_not_stopped_at_any_look(shown: dict[str, str]) -> None:
    events = [*an_array(2, tags=EXEMPT), *children(2, tags=shown)]
    watching = Watching(HALF_AN_HOUR, events).run(at("12:00"), at("19:00"))

    assert watching.stops == []


@pytest.mark.parametrize("shown", [{}, {"batch-watchdog:RUNNABLE": "10m"}], ids=str)
def test_an_arrays_own_limit_is_its_childrens(shown: dict[str, str]) -> None:
    events = [*an_array(2, tags={"batch-watchdog:RUNNABLE": "2h"}), *children(2, tags=shown)]
    watching = Watching(HALF_AN_HOUR, events).run(at("12:00"), at("14:30"))

    assert watching.stopped() == dict.fromkeys(CHILDREN, "14:00")


def test_a_rule_by_tags_is_for_the_children_of_an_array_that_has_them() -> None:
    events = [*an_array(2, tags={"team": "a"}), *children(2)]
    watching = Watching(BY_TEAM, events).run(at("12:00"), at("14:30"))

    assert watching.stopped() == dict.fromkeys(CHILDREN, "14:00")


def test_an_arrays_own_limit_is_enforced_in_time_where_all_events_of_its_children_are_lost() -> (
    None
):
    array = an_array(2, tags={"batch-watchdog:RUNNABLE": "10m"})
    watching = Watching(BY_TEAM, array, children(2)).run(at("12:00"), at("12:40"))

    first = watching.stopped()
    assert first.keys() == set(CHILDREN)
    assert max(first.values()) < "12:30"


def test_an_array_that_is_exempt_since_the_stop_was_decided_keeps_its_children() -> None:
    events = [*an_array(2), *children(2)]
    watching = Watching(HALF_AN_HOUR, events, an_array(2, "12:30:30", tags=EXEMPT))
    watching.run(at("12:00"), at("12:29"))
    watching.batch.advance_to(at("12:30"))
    watching.sweep(at("12:30"))
    watching.batch.advance_to(at("12:31"))
    watching.act()

    assert watching.stops == []


def test_children_are_not_stopped_while_batch_does_not_show_their_array() -> None:
    watching = Watching(HALF_AN_HOUR, [*an_array(2), *children(2)])
    watching.batch.left_out[ARRAY] = 10_000
    watching.run(at("12:00"), at("13:00"))
    assert watching.stops == []

    watching.batch.left_out.clear()
    watching.run(at("13:01"), at("14:10"))
    assert watching.stopped().keys() == set(CHILDREN)


def test_an_array_is_asked_for_once_for_all_its_children_that_are_due() -> None:
    watching = Watching(HALF_AN_HOUR, [*an_array(400, tags={"team": "a"}), *children(400)])
    calls: dict[str, list[int]] = {}

    def noted(operation: str, params: Mapping[str, Any]) -> bool:
        if operation == "DescribeJobs":
            calls.setdefault(f"{watching.batch.now:%H:%M}", []).append(len(params["jobs"]))
        return False

    watching.refuses = noted
    watching.run(at("12:00"), at("12:31"))

    # Four calls for the children, three for the array: by the limits, and for its progress. And
    # each fifty are described again in the second in which they are stopped.
    assert len(watching.stopped()) == 400
    assert len(calls["12:30"]) <= 4 + 3 + 8
    assert sum(calls["12:30"]) <= 2 * 400 + 3 + 8


# ---- Guards -------------------------------------------------------------------------------


@pytest.mark.parametrize("child_tags", ["none", "as submitted"])
def test_a_guard_leaves_children_whose_array_it_spares_when_they_arrive(
    stack: Stack, child_tags: ChildTags
) -> None:
    # The queue stays open, and at the first alarm what has started is terminated.
    policy = GUARDED.replace("close_queues = true", "").replace('after_previous = "2h"', "")
    guarding = Guarding(stack, policy, disorder=Disorder(child_tags=child_tags))
    array = guarding.submit(tags={"team": "a"}, array_size=2, attempts=2, outcome=1, seconds=600)
    guarding.batch.tag(array, {"critical": "true"})
    guarding.run(minutes=5)
    guarding.alarm("hard")
    guarding.run(minutes=15)  # The children fail, and come back.

    assert guarding.statuses(f"{array}:0", f"{array}:1") == ["RUNNING"] * 2
    assert guarding.stops == {}
