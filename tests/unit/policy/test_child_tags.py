"""An array's child has the tags of its array, whatever Batch shows of the child itself."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.policy.child_tags import TaggedJobs, tags_of_child, with_tags
from tests.makers import ARRAY, a_described_job, an_event, change

EXEMPT = "batch-watchdog:exempt"
RUNNABLE = "batch-watchdog:RUNNABLE"
CHILD, OTHER = f"{ARRAY}:0", f"{ARRAY}:1"


@pytest.mark.parametrize(
    ("own", "of_array", "joined"),
    [
        ({}, {"team": "a"}, {"team": "a"}),
        ({"team": "old"}, {"team": "new"}, {"team": "new"}),
        ({}, {"x": "y", EXEMPT: "true"}, {"x": "y", EXEMPT: "true"}),
        ({"empty": None}, {"empty": None, "none": None}, {"empty": "", "none": ""}),
        # What has been taken from the array since.
        ({"team": "a", EXEMPT: "false"}, {"x": "y"}, {"x": "y"}),
        ({RUNNABLE: "6m"}, {}, {}),
        ({RUNNABLE: "6m", EXEMPT: "true"}, {"team": "a"}, {EXEMPT: "true", "team": "a"}),
        ({RUNNABLE: "soon", EXEMPT: "maybe"}, {}, {RUNNABLE: "soon", EXEMPT: "maybe"}),
    ],
)
def test_a_child_has_the_tags_of_its_array(
    own: dict[str, str | None], of_array: dict[str, str | None], joined: dict[str, str]
) -> None:
    assert tags_of_child(own, of_array) == joined


@pytest.mark.parametrize(
    ("key", "milder", "harder"),
    [
        (EXEMPT, "true", "false"),
        (EXEMPT, "1", "perhaps"),
        (EXEMPT, "perhaps", "no"),
        (RUNNABLE, "2h", "90m"),
        (RUNNABLE, " 1d ", "2h"),
        (RUNNABLE, "soon", "24h"),
    ],
)
def test_of_two_tags_for_the_watchdog_the_one_that_stops_less_counts(
    key: str, milder: str, harder: str
) -> None:
    assert tags_of_child({key: milder}, {key: harder}) == {key: milder}
    assert tags_of_child({key: harder}, {key: milder}) == {key: milder}


# ---- Asking for them ----------------------------------------------------------------------


class Batch:
    """What Batch shows, and how often each job was asked for."""

    def __init__(self, *details: dict[str, Any]) -> None:
        self.details = {each["jobId"]: each for each in details}
        self.calls: list[list[str]] = []

    def describe(self, job_ids: Iterable[str]) -> dict[str, Any]:
        self.calls.append(list(job_ids))
        return {each: self.details[each] for each in self.calls[-1] if each in self.details}


def an_array(**changes: Any) -> dict[str, Any]:
    return a_described_job(ARRAY, "PENDING", **changes)


def test_an_array_is_asked_for_once_and_with_its_children() -> None:
    batch = Batch(an_array(tags={"team": "a"}), a_described_job(CHILD), a_described_job(OTHER))
    jobs = TaggedJobs(batch.describe)

    shown = jobs.described([CHILD, "single"]) | jobs.described([OTHER])

    assert batch.calls == [[CHILD, "single", ARRAY], [OTHER]]
    assert {job_id: detail["tags"] for job_id, detail in shown.items()} == {
        CHILD: {"team": "a"},
        OTHER: {"team": "a"},
    }


def test_other_jobs_are_shown_as_they_are() -> None:
    array, single = an_array(tags={"team": "a"}), a_described_job("single", tags={"x": "y"})

    assert TaggedJobs(Batch(array, single).describe).described([ARRAY, "single"]) == {
        ARRAY: array,
        "single": single,
    }


@pytest.mark.parametrize("arrays", [[], [an_array(tags=None)], [an_array(tags=["a"])]])
def test_where_an_arrays_tags_are_not_shown_those_of_its_children_are_not_known(
    arrays: list[dict[str, Any]],
) -> None:
    batch = Batch(a_described_job(CHILD, tags={"x": "y"}), *arrays)

    assert "tags" not in TaggedJobs(batch.describe).described([CHILD])[CHILD]


@pytest.mark.parametrize("tags", [None, ["a"]])
def test_a_child_whose_own_tags_are_not_shown_is_shown_as_it_is(tags: Any) -> None:
    child = a_described_job(CHILD, tags=tags)
    batch = Batch(child, an_array(tags={"team": "a"}))

    assert TaggedJobs(batch.describe).described([CHILD]) == {CHILD: child}


def test_by_an_event_a_child_has_its_arrays_tags_and_another_job_its_own() -> None:
    array = {"index": 0, "statusSummary": {}}
    submitted_with = {"x": "y", RUNNABLE: "6m"}
    child = change(an_event(jobId=CHILD, arrayProperties=array, tags=submitted_with))
    single = change(an_event(jobId="single"))
    shown = Batch(an_array(tags={"team": "a"}), a_described_job("single", tags={"team": "b"}))

    def tags(of: JobEvent, batch: Batch) -> Mapping[str, str]:
        [tagged] = with_tags([of], lambda _: True, batch.describe, lambda _: {})
        return tagged.tags

    assert tags(child, shown) == {"team": "a"}
    assert tags(child, Batch()) == submitted_with
    assert tags(child, Batch(an_array(tags=None))) == submitted_with
    assert tags(single, shown) == {"team": "b"}
