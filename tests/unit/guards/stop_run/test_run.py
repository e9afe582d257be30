"""What a stop run does about a job, and what it all comes to."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.guards.state import StopAction
from batch_watchdog.guards.stop_run import tally as run_tally
from batch_watchdog.guards.stop_run.counts import Tally
from batch_watchdog.guards.stop_run.listed import Listed, needs_tags
from batch_watchdog.guards.stop_run.run import (
    LOOKS_MAX,
    Chunk,
    Run,
    failed_waiting,
    how_it_ended,
    judge,
    listings,
    look,
    must_be_sure,
    must_look_again,
)
from batch_watchdog.guards.stop_run.still_there import still_there
from batch_watchdog.guards.stop_run.tally import Unsettled
from batch_watchdog.policy.guard_tables import Guard
from tests.makers import ARRAY, DEFINITION, QUEUE, at

RULE = Guard.model_validate(
    {
        "name": "monthly",
        "match": {"queue": "gpu"},
        "spare": {"name": "spared-*"},
        "stage": [{"alarms": ["soft"], "action": "cancel"}],
    }
)
JOB = Listed(job_name="render", queue=QUEUE, definition=DEFINITION)


def verdict(status: str, action: StopAction, job: Listed = JOB, **summary: Any) -> str:
    return judge(RULE, job, summary, status, action)


def an_array(**counts: int) -> dict[str, Any]:
    return {"arrayProperties": {"size": 10, "statusSummary": counts}}


# ---- Verdicts -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["SUBMITTED", "PENDING", "RUNNABLE", "SCHEDULED"])
def test_what_waits_is_stopped_at_every_stage(status: str) -> None:
    assert verdict(status, "cancel") == verdict(status, "terminate") == "stop"


@pytest.mark.parametrize("status", ["STARTING", "RUNNING"])
def test_what_has_started_is_left_at_cancel_and_stopped_at_terminate(status: str) -> None:
    assert verdict(status, "cancel") == "left"
    assert verdict(status, "terminate") == "stop"


def test_what_is_spared_is_not_stopped_and_what_is_out_of_scope_does_not_matter() -> None:
    spared, other = replace(JOB, job_name="spared-1"), replace(JOB, queue="cpu")

    assert verdict("RUNNABLE", "cancel", spared) == verdict("RUNNING", "terminate", spared)
    assert verdict("RUNNABLE", "cancel", spared) == "spared"
    assert verdict("RUNNABLE", "cancel", other) == verdict("RUNNING", "cancel", other)
    assert verdict("RUNNABLE", "cancel", other) == "no matter"


def test_a_stop_that_was_accepted_is_not_asked_for_again() -> None:
    assert verdict("RUNNABLE", "cancel", isCancelled=True) == "asked"
    assert verdict("RUNNABLE", "terminate", isCancelled=True) == "asked"
    assert verdict("RUNNING", "terminate", isTerminated=True) == "asked"
    assert verdict("RUNNING", "cancel", isTerminated=True) == "no matter"


def test_a_cancel_that_came_too_late_does_not_keep_a_job_from_being_terminated() -> None:
    assert verdict("RUNNING", "terminate", isCancelled=True) == "stop"
    assert verdict("RUNNING", "cancel", isCancelled=True) == "left"


def test_an_array_is_stopped_for_its_children() -> None:
    assert verdict("PENDING", "cancel", **an_array(RUNNABLE=1, RUNNING=9)) == "stop"
    assert verdict("PENDING", "cancel", **an_array(RUNNING=9, FAILED=1)) == "left"
    assert verdict("PENDING", "cancel", **an_array(SUCCEEDED=9, FAILED=1)) == "no matter"
    assert verdict("PENDING", "terminate", **an_array(RUNNING=9, FAILED=1)) == "stop"
    assert verdict("SUBMITTED", "cancel", **an_array()) == "stop"


def test_children_that_a_stop_has_not_reached_are_stopped() -> None:
    waiting, running = an_array(RUNNABLE=2), an_array(RUNNING=2)

    assert verdict("PENDING", "cancel", **waiting, isCancelled=True) == "stop children"
    assert verdict("PENDING", "terminate", **running, isTerminated=True) == "stop children"
    assert verdict("PENDING", "terminate", **running, isCancelled=True) == "stop"
    assert verdict("PENDING", "cancel", **running, isCancelled=True) == "left"


def test_tags_are_asked_for_where_they_decide() -> None:
    def needs(status: str, action: StopAction, **rule: Any) -> bool:
        changed = Guard.model_validate(RULE.model_dump(exclude_none=True) | rule)
        return needs_tags(changed, JOB, status, action)

    by_tags = {"spare": {"tags": {"critical": "true"}}}
    assert not needs("RUNNABLE", "cancel")
    assert needs("RUNNABLE", "cancel", **by_tags)
    assert not needs("RUNNING", "cancel", **by_tags)
    assert needs("RUNNING", "terminate", **by_tags)
    assert needs("RUNNING", "cancel", match={"tags": {"team": "a"}})
    assert not needs("RUNNABLE", "cancel", match={"queue": "cpu"}, **by_tags)


# ---- Tallies ------------------------------------------------------------------------------


def a_run(**changes: Any) -> Run:
    """A run whose last look began an hour after all that is counted here."""
    usual = Run(run_id="r", guard="g", due_at=at("13:00"), not_before=at("13:00"))
    return replace(usual, **{"known_at": at("13:00")} | changes)


def tally(chunks: Sequence[Chunk], action: StopAction, run: Run | None = None) -> Tally:
    return run_tally.tally(chunks, action, run or a_run())


def chunk(**changes: Any) -> Chunk:
    """A chunk of which all stops have been asked for."""
    usual = Chunk(at=at("12:00"), how="cancel", reason="so", rule="r")
    made = replace(usual, **changes)
    return replace(made, asked=changes.get("asked", len(made.stop)))


MANY = tuple(f"job {number}" for number in range(1_001))  # more than Batch is asked of


def ended(*jobs: str) -> Chunk:
    """Batch has shown that these ended by their stop."""
    return chunk(ended=dict.fromkeys(jobs, 1), over=jobs)


def test_each_job_is_counted_once() -> None:
    chunks = [
        chunk(stop=("a", "b"), left=("c",), spared=("d",)),
        chunk(stop=("b", "e"), left=("c",), spared=("d",)),
        chunk(stop=("a", "b", "e")),
        ended("a", "b", "e"),
    ]

    found = tally(chunks, "cancel")

    assert found == Tally(cancelled=3, left_running=1, spared=1)
    assert found.found == 5


def test_at_terminate_what_was_stopped_was_terminated() -> None:
    assert tally([chunk(stop=("a",)), ended("a")], "terminate") == Tally(terminated=1)


def test_what_was_not_asked_for_yet_is_not_counted() -> None:
    counted = tally([chunk(stop=("a", "b"), asked=1), ended("a")], "cancel")

    assert counted == Tally(cancelled=1)


def test_a_job_that_no_list_shows_any_more_is_not_known_to_be_stopped_until_batch_shows_it() -> (
    None
):
    stopped = chunk(stop=("a", "b"))

    assert tally([stopped], "cancel") == Tally(not_known=2)
    assert tally([stopped, ended("a")], "cancel") == Tally(cancelled=1, not_known=1)


@pytest.mark.parametrize(("service", "most"), [(False, 1_000), (True, 100)])
def test_of_more_jobs_than_batch_can_be_asked_of_the_lists_are_enough(
    *, service: bool, most: int
) -> None:
    jobs = tuple(f"job {number}" for number in range(most + 1))

    assert tally([chunk(stop=jobs, service=service)], "terminate") == Tally(terminated=most + 1)
    few = chunk(stop=jobs[1:], service=service)
    assert tally([few], "terminate") == Tally(not_known=most)


def test_a_refused_job_counts_as_failed_until_it_is_stopped() -> None:
    refused = chunk(stop=("a", "b"), refused={"a": "no", "b": "no"})

    assert tally([refused], "cancel").failed == {"no": 2}
    assert tally([refused], "cancel").failed_jobs == ("a", "b")
    later = tally([refused, chunk(stop=("a",)), ended("a")], "cancel")
    assert (later.cancelled, later.failed, later.failed_jobs) == (1, {"no": 1}, ("b",))


def test_a_stopped_job_that_is_seen_at_work_has_escaped() -> None:
    escaped = tally([chunk(stop=("a", "b")), chunk(left=("a",)), ended("b")], "cancel")

    assert (escaped.cancelled, escaped.escaped, escaped.escaped_jobs) == (1, 1, ("a",))


def test_a_job_that_was_left_at_work_and_waits_again_is_stopped() -> None:
    counted = tally([chunk(left=("a",)), chunk(stop=("a",)), ended("a")], "cancel")

    assert counted == Tally(cancelled=1)


def test_an_array_counts_by_its_children_as_they_were_when_it_was_stopped() -> None:
    first = chunk(stop=(ARRAY,), arrays={ARRAY: (6, 4)})
    later = chunk(left=(ARRAY,), arrays={ARRAY: (0, 4)})

    def shown(failed: int) -> Chunk:
        return chunk(ended={ARRAY: failed})

    assert tally([first, shown(6), later], "cancel") == Tally(cancelled=6, left_running=4)
    assert tally([first, shown(10)], "terminate") == Tally(terminated=10)
    # Until Batch has shown how many have failed, it is not known how they ended.
    assert tally([first, later], "cancel") == Tally(not_known=6, left_running=4)
    assert tally([replace(first, refused={ARRAY: "no"})], "cancel").failed == {"no": 6}


def test_a_child_that_is_stopped_although_its_arrays_stop_was_refused_is_not_refused_too() -> None:
    refused = chunk(stop=(ARRAY,), arrays={ARRAY: (3, 0)}, refused={ARRAY: "no"})
    child = f"{ARRAY}:0"
    later = chunk(stop=(child,))

    counts = tally([refused, later], "cancel")

    assert (counts.not_known, counts.failed, counts.found) == (1, {"no": 2}, 3)


def test_an_arrays_children_that_are_stopped_singly_are_not_counted_again() -> None:
    children = (f"{ARRAY}:1", f"{ARRAY}:2")
    chunks = [
        chunk(stop=(ARRAY,), arrays={ARRAY: (6, 0)}),
        chunk(stop=children, refused={children[1]: "no"}),
        chunk(ended={ARRAY: 5}),
    ]

    found = tally(chunks, "cancel")

    assert (found.cancelled, found.failed, found.found) == (5, {"no": 1}, 6)


def test_a_child_that_was_left_at_work_and_waits_again_is_counted_where_it_is_now() -> None:
    child = f"{ARRAY}:1"
    chunks = [chunk(left=(ARRAY,), arrays={ARRAY: (0, 4)}), chunk(stop=(child,))]

    # No look lists children: that it is not found proves nothing.
    assert tally(chunks, "cancel") == Tally(not_known=1, left_running=3)
    assert tally([*chunks, chunk(stop=MANY)], "cancel") == Tally(
        cancelled=1_001, not_known=1, left_running=3
    )
    assert tally([*chunks, ended(child)], "cancel") == Tally(cancelled=1, left_running=3)


def test_what_was_to_be_stopped_on_its_arrival_counts_once_batch_shows_its_end() -> None:
    arrived = chunk(stop=("a", "b"), arrived=True)

    assert tally([arrived], "terminate") == Tally(not_known=2)
    known = chunk(ended={"a": 1}, over=("a",), escaped=("b",))
    assert tally([arrived, known], "terminate") == Tally(
        terminated=1, escaped=1, escaped_jobs=("b",)
    )
    many = chunk(stop=MANY)
    assert tally([arrived, many], "terminate") == Tally(terminated=1_001, not_known=2)
    listed = chunk(stop=("a", "b", *MANY))
    assert tally([arrived, listed], "terminate") == Tally(terminated=1_003)


def test_of_an_arrays_children_no_more_were_stopped_than_have_failed() -> None:
    stopped = chunk(stop=(ARRAY,), arrays={ARRAY: (5, 1)})
    found = chunk(ended={ARRAY: 2}, alive={ARRAY: 1}, at=at("13:00"))

    assert tally([stopped, found], "cancel") == Tally(
        cancelled=2, left_running=1, escaped=2, not_ended=1, not_ended_jobs=(ARRAY,)
    )


def test_a_child_that_was_left_at_work_and_waits_again_may_be_stopped() -> None:
    stopped = chunk(stop=(ARRAY,), arrays={ARRAY: (1, 3)}, failed_before={ARRAY: 0})
    again = chunk(stop=(f"{ARRAY}:0", f"{ARRAY}:1"), arrived=True)

    assert tally([stopped, again, chunk(ended={ARRAY: 3})], "cancel") == Tally(
        cancelled=3, left_running=1
    )


def test_of_an_arrays_children_no_more_were_stopped_than_are_gone() -> None:
    stopped = chunk(stop=(ARRAY,), arrays={ARRAY: (5, 1)}, ended={ARRAY: 2})
    at_work = chunk(left=(ARRAY,), arrays={ARRAY: (0, 4)}, at=at("13:00"))

    assert tally([stopped, at_work], "cancel") == Tally(cancelled=2, left_running=1, escaped=3)

    some_wait = chunk(alive={ARRAY: 2}, arrays={ARRAY: (2, 3)}, at=at("13:00"))

    assert tally([replace(stopped, ended={ARRAY: 1}), some_wait], "cancel") == Tally(
        cancelled=1, left_running=1, escaped=2, not_ended=2, not_ended_jobs=(ARRAY,)
    )


def test_what_failed_after_it_was_seen_at_work_was_not_stopped_before_that() -> None:
    """Of six children five waited at the stop; the one at work may have waited again since."""
    stopped = chunk(stop=(ARRAY,), arrays={ARRAY: (5, 1)}, ended={ARRAY: 4})
    at_work = chunk(left=(ARRAY,), arrays={ARRAY: (0, 4)}, at=at("13:00"))

    assert tally([stopped, at_work], "cancel") == Tally(cancelled=3, escaped=3)

    some_wait = chunk(alive={ARRAY: 2}, arrays={ARRAY: (2, 3)}, at=at("13:00"))

    assert tally([replace(stopped, ended={ARRAY: 3}), some_wait], "cancel") == Tally(
        cancelled=2, escaped=2, not_ended=2, not_ended_jobs=(ARRAY,)
    )


@pytest.mark.parametrize(
    ("status", "reason", "how"),
    [
        ("FAILED", "so", "stopped"),
        ("FAILED", "its own", "escaped"),
        ("SUCCEEDED", "so", "escaped"),
        ("RUNNABLE", "so", None),
    ],
)
def test_only_its_reason_shows_that_a_job_ended_by_its_stop(
    status: str, reason: str, how: str | None
) -> None:
    detail = {"status": status, "statusReason": reason, "isCancelled": True}

    assert how_it_ended(detail, "so") == how


def test_a_child_that_failed_at_work_was_not_cancelled() -> None:
    assert failed_waiting({"statusReason": "so", "startedAt": 1}, "so")
    assert failed_waiting({"statusReason": "cancelled with its array"}, "so")
    assert not failed_waiting({"statusReason": "its own", "startedAt": 1}, "so")
    assert not failed_waiting({"statusReason": "batch-watchdog: RUNNABLE for more than 1 h"}, "so")


def test_batch_is_asked_how_those_ended_of_which_that_is_not_known() -> None:
    child, whole = f"{ARRAY}:1", "1ed589f3-0000-4000-8000-000000000001"
    rows = [
        chunk(stop=("a", "b", "c"), refused={"c": "no"}),
        chunk(stop=(whole, f"{whole}:3"), arrays={whole: (3, 0)}),
        chunk(stop=("d", child), arrived=True),
        chunk(stop=("s",), service=True),
        chunk(ended={"a": 1, whole: 2}, over=("a",)),
    ]

    unsettled = Unsettled(rows, most=2)

    assert unsettled.jobs == ("d", child, whole, "b")
    assert (unsettled.arrays, list(unsettled.service)) == ({whole: 2}, ["s"])
    assert Unsettled(rows, most=1).jobs == ("d", child, whole)
    done = chunk(over=(whole, "s"), escaped=("d",), spared=(child,), left=("b",))
    assert not Unsettled([*rows, done], most=2).jobs


def test_after_stops_a_look_lists_what_has_started_too() -> None:
    queues = ((QUEUE, False),)
    usual = look(a_run(reported=True), queues, "1", at("13:00"))
    after = look(a_run(reported=True, accepted=1), queues, "1", at("13:00"))

    def started(run: Run) -> set[str]:
        return {each.status for each in listings(run, "cancel")} & {"STARTING", "RUNNING"}

    assert (started(usual), started(after)) == (set(), {"STARTING", "RUNNING"})


def test_a_stop_that_no_look_has_followed_is_not_known_to_have_ended_the_job() -> None:
    early, late = chunk(stop=MANY), chunk(stop=("b",), at=at("13:00"))

    assert tally([early, late], "cancel") == Tally(cancelled=1_001, not_known=1)
    assert tally([early], "terminate", a_run(known_at=None)) == Tally(not_known=1_001)
    assert tally([early, late], "cancel").found == 1_002


def test_what_would_be_stopped_is_counted_as_if_it_were() -> None:
    observing = a_run(known_at=None, observing=True)

    assert tally([chunk(stop=("a",))], "cancel", observing) == Tally(cancelled=1)


def test_a_stopped_job_that_the_last_look_found_has_not_ended() -> None:
    stopped = chunk(stop=("a", "b"))
    found = chunk(alive={"a": 1}, at=at("13:00"))
    chunks = [stopped, ended("b"), found]

    assert tally(chunks, "terminate") == Tally(terminated=1, not_ended=1, not_ended_jobs=("a",))
    gone = a_run(known_at=at("13:01"))
    assert tally(chunks, "terminate", gone) == Tally(terminated=1, not_known=1)


def test_of_a_stopped_array_those_children_have_not_ended_that_the_last_look_found() -> None:
    stopped = chunk(stop=(ARRAY,), arrays={ARRAY: (6, 4)}, ended={ARRAY: 7})
    found = chunk(alive={ARRAY: 3}, at=at("13:00"))

    counted = tally([stopped, found], "terminate")

    assert (counted.terminated, counted.not_ended, counted.found) == (7, 3, 10)


def test_a_stopped_job_that_is_spared_by_now_was_not_stopped() -> None:
    assert tally([chunk(stop=("a",)), chunk(spared=("a",))], "cancel") == Tally(spared=1)


def test_a_stopped_job_that_ended_by_itself_has_escaped() -> None:
    counted = tally([chunk(stop=("a", "b")), chunk(escaped=("a",)), ended("b")], "terminate")

    assert counted == Tally(terminated=1, escaped=1, escaped_jobs=("a",))


def test_jobs_are_still_there_that_were_asked_long_ago_and_are_found_now() -> None:
    rows = [
        chunk(stop=("a", "b"), refused={"b": "no"}),
        chunk(stop=("c",), at=at("12:09")),
        chunk(alive={"a": 1, "b": 1, "c": 1}, at=at("12:11")),
    ]

    def at_a_look(begun: str, asked_before: str) -> Any:
        return still_there(lambda: rows, at(begun), at(asked_before))

    found = at_a_look("12:11", "12:01")
    assert (found.jobs, found.count, found.asked_at) == (("a",), 1, at("12:00"))
    assert at_a_look("12:12", "12:02") is None
    assert at_a_look("12:11", "12:09").jobs == ("a", "c")


def test_operators_are_notified_once_of_each_job_that_is_still_there() -> None:
    rows = [
        chunk(stop=("a",)),
        chunk(stop=("b",), at=at("12:01"), arrived=True),
        chunk(stop=("c",), at=at("12:09"), number=1),
        chunk(alive={"a": 1, "b": 1, "c": 1}, at=at("12:20"), number=2),
    ]

    first = still_there(lambda: rows, at("12:20"), at("12:08"))
    later = still_there(lambda: rows, at("12:20"), at("12:09"), at("12:08"))

    assert first and later  # noqa: PT018
    assert (first.jobs, first.chunks) == (("a", "b"), 1)
    assert (later.jobs, later.count, later.asked_at, later.chunks) == (("c",), 1, at("12:09"), 2)
    assert still_there(lambda: rows, at("12:20"), at("12:10"), at("12:09")) is None


def test_before_the_report_it_is_looked_again_for_what_does_not_end_and_not_for_ever() -> None:
    assert must_look_again(a_run(alive=1))
    assert must_look_again(a_run(accepted=1, reported=True))
    assert not must_look_again(a_run(alive=1, reported=True))
    assert not must_look_again(a_run(alive=1, accepted=1, look=LOOKS_MAX))
    assert not must_look_again(a_run())
    assert must_be_sure(a_run(look=LOOKS_MAX))
    assert must_be_sure(a_run(reported=True))
    assert not must_be_sure(a_run())


ids = st.lists(st.sampled_from([*"abcdefgh", ARRAY, f"{ARRAY}:0", f"{ARRAY}:1"]), unique=True)


@st.composite
def chunks(draw: st.DrawFn) -> Sequence[Chunk]:
    made = []
    for _ in range(draw(st.integers(0, 6))):
        stop = draw(ids)
        refused = draw(st.lists(st.sampled_from(stop), unique=True)) if stop else []
        made.append(
            chunk(
                stop=tuple(stop),
                left=tuple(draw(ids)),
                spared=tuple(draw(ids)),
                refused=dict.fromkeys(refused, "no"),
            )
        )
    return made


@given(chunks(), st.sampled_from(["cancel", "terminate"]))
def test_whatever_was_found_each_job_counts_once_and_repeats_change_nothing(
    found: Sequence[Chunk], action: StopAction
) -> None:
    jobs = {job for each in found for job in (*each.stop, *each.left, *each.spared)}

    counted = tally(found, action)

    assert counted.found == len(jobs)
    repeated = [each for each in found for _ in range(2)]
    assert tally(repeated, action).found == len(jobs)
