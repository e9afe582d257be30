"""What is concluded from a stop rests on its result, and not on its having been recorded."""

from datetime import timedelta
from typing import Any

import pytest

from local.batch.disorder import Disorder
from tests.makers import ARRAY, JOB, a_child_event, a_parent_event, an_event, at
from tests.watching import Watching

TWO_HOURS = """
mode = "enforce"
[[limit]]
RUNNABLE = { after = "2h", action = "cancel" }
"""
ESCALATING = TWO_HOURS.replace('"cancel"', '"cancel", escalate = true')
OBSERVED = TWO_HOURS.replace("enforce", "observe")
EXEMPT = {"batch-watchdog:exempt": "true"}


def moved(status: str, clock: str, job_id: str = JOB, **more: Any) -> Any:
    return an_event(clock, jobId=job_id, status=status, **more)


def slips(clock: str, **more: Any) -> list[Any]:
    """A job whose cancelling Batch accepts, and that starts all the same."""
    return [
        moved("RUNNABLE", "14:00:10", isCancelled=True),
        moved("STARTING", clock, isCancelled=True, **more),
        moved("RUNNING", "14:01:30", isCancelled=True, startedAt=1_767_276_090_000, **more),
    ]


def ask(watching: Watching, clock: str, command: str, **arguments: Any) -> None:
    answer = watching.console.answer({"command": command, "by": "jane", **arguments}, at(clock))
    assert "error" not in answer


def asked(watching: Watching) -> list[str]:
    return [f"{call.at:%H:%M} {call.api}" for call in watching.stops]


def notices(watching: Watching) -> list[str]:
    """All that was told, as "limit-escaped" or "left-alone", in order."""
    every = [
        (place, kind, notice)
        for kind in ("limit-enforced", "limit-warning", "limit-escaped", "watchdog-trouble")
        for place, notice in enumerate(watching.told(kind))
    ]
    return ["left-alone" if ":left-alone:" in notice["id"] else kind for _, kind, notice in every]


def held_before_the_call(policy: str, *later: Any, clock: str = "14:00") -> Watching:
    """A job of which a stop is recorded at 14:00, and held before Batch is asked."""
    watching = Watching(policy, [moved("RUNNABLE", "12:00"), *later]).run(at("12:00"), at("13:59"))
    watching.sweep(at(clock))
    ask(watching, clock, "hold")
    watching.act()
    return watching


# ---- Nothing escapes what was not asked ----------------------------------------------------


@pytest.mark.parametrize("policy", [TWO_HOURS, ESCALATING], ids=["leaves", "escalates"])
@pytest.mark.parametrize("resumed", ["14:01", "14:30"])
def test_a_job_that_starts_under_a_hold_has_escaped_nothing(policy: str, resumed: str) -> None:
    watching = held_before_the_call(policy, moved("STARTING", "14:00:40"))
    watching.run(at("14:01"), at(resumed))
    ask(watching, resumed, "resume")
    watching.run(at("14:31"), at("15:30"))

    assert watching.stops == []
    assert notices(watching) == ["limit-enforced", "left-alone"]


def test_a_job_whose_stop_was_not_meant_when_it_was_to_be_made_has_escaped_nothing() -> None:
    events = [moved("RUNNABLE", "12:00"), moved("STARTING", "14:00:40")]
    watching = Watching(ESCALATING, events).run(at("12:00"), at("13:59"))
    watching.sweep(at("14:00"))
    watching.policy = ESCALATING.replace("enforce", "observe")
    watching.act()
    watching.policy = ESCALATING
    watching.run(at("14:01"), at("15:00"))

    assert watching.stops == []
    [told] = watching.told("limit-warning")
    assert "the policy only observes" in told["text"]


def test_a_job_whose_stop_batch_has_refused_has_escaped_nothing() -> None:
    events = [moved("RUNNABLE", "12:00"), moved("STARTING", "14:00:40")]
    watching = Watching(ESCALATING, events)
    watching.batch.refusals[JOB] = ["ClientException"]
    watching.run(at("12:00"), at("15:00"))

    assert asked(watching) == ["14:00 CancelJobs"]
    assert notices(watching) == ["limit-enforced", "left-alone"]
    [told] = watching.told("limit-warning")
    assert "AWS Batch refused it" in told["text"]


@pytest.mark.parametrize(("policy", "calls"), [(TWO_HOURS, 1), (ESCALATING, 2)])
def test_a_job_that_starts_in_spite_of_an_accepted_stop_is_told_with_how_long_it_waited(
    policy: str, calls: int
) -> None:
    events = [moved("RUNNABLE", "12:00"), *slips("14:00:40")]
    watching = Watching(policy, events).run(at("12:00"), at("15:00"))

    assert asked(watching) == ["14:00 CancelJobs", "14:02 TerminateJobs"][:calls]
    [told] = watching.told("limit-escaped")
    assert told["facts"]["waited_seconds"] == 7200
    assert "has been RUNNABLE for 2 h." in told["text"]


def test_a_job_that_has_ended_in_spite_of_its_stop_is_not_said_to_run() -> None:
    events = [moved("RUNNABLE", "12:00"), *slips("14:00:40")]
    ended = moved("SUCCEEDED", "14:01:50", isCancelled=True)
    watching = Watching(ESCALATING, [*events, ended]).run(at("12:00"), at("15:00"))

    assert asked(watching) == ["14:00 CancelJobs"]
    [told] = watching.told("limit-escaped")
    assert "ended before its stop took effect" in told["subject"]
    assert "SUCCEEDED now" in told["text"]
    assert "terminate" not in told["text"]


# ---- An escalation is judged by the limit as it is now -------------------------------------


def test_a_job_is_not_terminated_by_a_limit_that_it_has_not_waited_for() -> None:
    watching = Watching(ESCALATING, [moved("RUNNABLE", "12:00"), *slips("14:00:40")])
    watching.run(at("12:00"), at("14:01"))
    watching.policy = ESCALATING.replace("2h", "9h")
    watching.run(at("14:02"), at("15:00"))

    assert asked(watching) == ["14:00 CancelJobs"]
    [told] = watching.told("limit-escaped")
    assert "left to run" in told["text"]


def test_a_job_is_not_terminated_by_a_limit_that_its_own_tag_has_made_longer() -> None:
    own = slips("14:00:40", tags={"batch-watchdog:RUNNABLE": "9h"})
    watching = Watching(ESCALATING, [moved("RUNNABLE", "12:00"), *own])
    watching.run(at("12:00"), at("15:00"))

    assert asked(watching) == ["14:00 CancelJobs"]


def test_a_limit_that_is_made_longer_after_the_decision_stops_an_escalation() -> None:
    watching = Watching(ESCALATING, [moved("RUNNABLE", "12:00"), *slips("14:00:40")])
    watching.run(at("12:00"), at("14:01"))
    watching.sweep(at("14:02"))
    watching.policy = ESCALATING.replace("2h", "9h")
    watching.act()
    watching.run(at("14:03"), at("15:00"))

    assert asked(watching) == ["14:00 CancelJobs"]
    assert notices(watching) == ["limit-enforced", "left-alone", "limit-escaped"]


def test_an_escalation_that_was_held_is_made_after_the_hold_and_told_anew() -> None:
    watching = Watching(ESCALATING, [moved("RUNNABLE", "12:00"), *slips("14:00:40")])
    watching.run(at("12:00"), at("14:01"))
    watching.sweep(at("14:02"))
    ask(watching, "14:02", "hold")
    watching.run(at("14:03"), at("14:20"))
    ask(watching, "14:20", "resume")
    watching.run(at("14:21"), at("15:00"))

    assert asked(watching) == ["14:00 CancelJobs", "14:21 TerminateJobs"]
    assert [notice["id"].count(":3") for notice in watching.told("limit-escaped")] == [0, 1]
    assert len(watching.told("limit-warning")) == 1


def held_while_it_runs(*later: Any) -> Watching:
    """A job that has started in spite of its stop, and is not terminated before 14:40."""
    watching = Watching(ESCALATING, [moved("RUNNABLE", "12:00"), *slips("14:00:40"), *later])
    watching.run(at("12:00"), at("14:01"))
    ask(watching, "14:01", "hold")
    watching.run(at("14:02"), at("14:40"))
    ask(watching, "14:40", "resume")
    return watching.run(at("14:41"), at("15:00"))


def test_a_job_that_has_waited_again_is_not_terminated_for_the_wait_before() -> None:
    again = [moved(status, f"14:{minute}", isCancelled=True) for status, minute in BACK]
    watching = held_while_it_runs(*again)

    assert asked(watching) == ["14:00 CancelJobs"]
    [told] = watching.told("limit-escaped")
    assert "left to run" in told["text"]
    assert asked(held_while_it_runs()) == ["14:00 CancelJobs", "14:41 TerminateJobs"]


BACK = [("RUNNABLE", "20"), ("STARTING", "25"), ("RUNNING", "26")]


def test_that_a_job_waited_before_it_started_was_known_to_those_who_decided() -> None:
    watching = Watching(ESCALATING, [moved("RUNNABLE", "12:00"), *slips("14:01:10")])
    watching.run(at("12:00"), at("14:10"))

    assert asked(watching) == ["14:00 CancelJobs", "14:02 TerminateJobs"]


def test_a_job_that_waits_again_after_the_decision_is_not_terminated() -> None:
    watching = Watching(ESCALATING, [moved("RUNNABLE", "12:00"), *slips("14:00:40")])
    watching.run(at("12:00"), at("14:01"))
    watching.sweep(at("14:02"))
    for status, clock in (("RUNNABLE", "14:02:01"), ("STARTING", "14:02:02")):
        watching.receive(moved(status, clock, isCancelled=True), now=at(clock))
    watching.act()
    watching.run(at("14:03"), at("15:00"))

    assert asked(watching) == ["14:00 CancelJobs"]
    assert notices(watching) == ["limit-enforced", "left-alone", "limit-escaped"]


# ---- What was told is put right -----------------------------------------------------------


def test_a_stop_that_was_told_and_is_not_made_is_told_once_with_the_reason() -> None:
    watching = held_before_the_call(TWO_HOURS, moved("RUNNABLE", "14:00:40", tags=EXEMPT))
    ask(watching, "14:01", "resume")
    watching.run(at("14:01"), at("19:00"))

    assert watching.stops == []
    assert notices(watching) == ["limit-enforced", "left-alone"]
    [told] = watching.told("limit-warning")
    assert told["subject"] == "Job was not cancelled after all, in gpu: render"
    assert "the watchdog is held by jane" in told["text"]


def test_a_stop_that_is_made_after_all_is_told_anew_only_if_it_was_said_to_be_left() -> None:
    watching = held_before_the_call(TWO_HOURS)
    watching.run(at("14:01"), at("14:20"))
    ask(watching, "14:20", "resume")
    watching.run(at("14:21"), at("15:00"))

    assert asked(watching) == ["14:21 CancelJobs"]
    assert notices(watching) == ["limit-enforced", "limit-enforced", "left-alone"]

    watching = held_before_the_call(TWO_HOURS)
    ask(watching, "14:01", "resume")
    watching.run(at("14:01"), at("15:00"))

    assert asked(watching) == ["14:02 CancelJobs"]
    assert notices(watching) == ["limit-enforced"]


def test_stops_for_which_batch_was_not_asked_are_no_tries() -> None:
    watching = held_before_the_call(TWO_HOURS)
    for minute in range(2, 18, 2):
        ask(watching, f"14:{minute - 1:02}:30", "resume")
        watching.sweep(at(f"14:{minute:02}"))
        ask(watching, f"14:{minute:02}", "hold")
        watching.act()
    ask(watching, "14:17", "resume")
    watching.run(at("14:18"), at("16:00"))

    assert asked(watching) == ["14:18 CancelJobs"]
    assert notices(watching) == ["limit-enforced"]


# ---- The brake counts what Batch has accepted ----------------------------------------------

BRAKED = TWO_HOURS + "[safety]\nmax_stops_per_hour = 2\n"


def test_stops_that_were_not_made_do_not_brake_others() -> None:
    first, others = ("a1", "a2"), ("b1", "b2")
    events = [
        *(moved("RUNNABLE", "12:00", job_id) for job_id in first),
        *(moved("STARTING", "14:00:40", job_id) for job_id in first),
        *(moved("RUNNABLE", "12:10", job_id) for job_id in others),
    ]
    watching = Watching(BRAKED, events).run(at("12:00"), at("13:59"))
    watching.sweep(at("14:00"))
    ask(watching, "14:00", "hold")
    watching.act()
    ask(watching, "14:01", "resume")
    watching.run(at("14:01"), at("14:30"))

    assert watching.stopped() == dict.fromkeys(others, "14:10")


def test_stops_that_were_held_are_counted_in_the_hour_in_which_they_are_made() -> None:
    first, others = ("a1", "a2"), ("b1", "b2")
    events = [
        *(moved("RUNNABLE", "12:00", job_id) for job_id in first),
        *(moved("RUNNABLE", "14:00", job_id) for job_id in others),
    ]
    watching = Watching(BRAKED, events).run(at("12:00"), at("13:59"))
    watching.sweep(at("14:00"))
    ask(watching, "14:00", "hold")
    watching.run(at("14:01"), at("16:05"))
    ask(watching, "16:05", "resume")
    watching.run(at("16:06"), at("17:04"))
    assert len(watching.stopped()) == 2

    watching.run(at("17:05"), at("17:30"))
    assert len(watching.stopped()) == 4


def test_a_stop_that_batch_has_refused_is_counted_when_it_is_accepted() -> None:
    events = [moved("RUNNABLE", "12:00", "a1"), moved("RUNNABLE", "12:01", "b1")]
    watching = Watching(BRAKED.replace("hour = 2", "hour = 1"), events)
    watching.batch.refusals["a1"] = ["ClientException"]
    watching.run(at("12:00"), at("14:30"))

    # The brake is free when the other's time comes.
    assert [call.jobs for call in watching.stops] == [("a1",), ("b1",)]


# ---- Arrays --------------------------------------------------------------------------------

SIX = [
    an_event("12:00", jobId=ARRAY, status="PENDING", arrayProperties={"size": 6}),
    *(a_child_event(index, "RUNNING", "12:00") for index in range(6)),
    *(a_child_event(index, "FAILED", "12:05", exit_code=1) for index in range(2)),
]


def of_six(policy: str, *events: Any, **batch: Any) -> Watching:
    every = [*SIX, *events]
    for event in every:
        event["detail"]["tags"] = {"team": "wind"}
    return Watching(policy, every, **batch)


def test_an_array_whose_stop_was_not_made_has_failed_by_itself() -> None:
    policy = 'mode = "enforce"\n[[array]]\nstop_rest_when = { failed = 1 }\n'
    killed = [a_child_event(index, "FAILED", "12:40", exit_code=137) for index in range(2, 6)]
    watching = of_six(policy, *killed, a_parent_event(6, 6, "12:41"))
    watching.run(at("12:00"), at("12:04"))
    watching.receive(*SIX[-2:], now=at("12:05"))
    watching.sweep(at("12:06"))
    watching.policy = policy.replace("enforce", "observe")
    watching.act()
    watching.run(at("12:07"), at("13:00"))

    assert watching.stops == []
    stopped, left = watching.told("array-stopped")
    assert left["id"] == f"{stopped['id']}:left-alone"
    [done] = watching.told("array-completed")
    assert (done["facts"]["failed"], done["facts"]["stopped"]) == (6, 0)


@pytest.mark.parametrize("late_s", [0, 2, 40])
def test_a_stop_that_a_late_sweep_decides_is_an_arrays_stop(late_s: int) -> None:
    policy = 'mode = "enforce"\n[[array]]\nstop_rest_when = { failed = 1 }\n'
    # The next sweep finds the array still under way, and asks for the stop's result.
    watching = of_six(policy, disorder=Disorder(slow_stops=1.0, slow_stop_s=(120, 120)))
    watching.run(at("12:00"), at("12:04"))
    watching.receive(*SIX[-2:], now=at("12:05"))
    watching.batch.advance_to(at("12:06") + timedelta(seconds=late_s))
    watching.sweeper.sweep(at("12:06"), out_of_time=lambda: False)
    watching.act()
    watching.run(at("12:07"), at("13:00"))

    [stopped] = watching.told("array-stopped")
    assert "left-alone" not in stopped["id"]
    [done] = watching.told("array-completed")
    assert (done["facts"]["failed"], done["facts"]["stopped"]) == (2, 4)


def test_an_arrays_progress_tells_what_was_stopped_from_what_failed() -> None:
    policy = """
    mode = "enforce"
    [[array]]
    progress = [50]
    [[limit]]
    RUNNABLE = { after = "10m", action = "cancel" }
    """
    waiting = [a_child_event(index, "RUNNABLE", "12:01") for index in range(2, 4)]
    watching = of_six(policy, *waiting).run(at("12:00"), at("12:30"))

    [notice] = watching.told("array-progress")
    assert (notice["facts"]["failed"], notice["facts"]["stopped"]) == (2, 2)
    assert "4 of 6 ended, 2 failed, 2 stopped." in notice["text"]
