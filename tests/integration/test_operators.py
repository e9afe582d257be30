"""What operators ask of limits: a job exempted, the whole watchdog held."""

from typing import Any

import pytest

from tests.makers import ARRAY, JOB, a_child_event, an_event, at
from tests.watching import Watching

TWO_HOURS = """
mode = "enforce"
[[limit]]
RUNNABLE = { after = "2h", action = "cancel" }
"""


def ask(watching: Watching, clock: str, command: str, **arguments: Any) -> None:
    answer = watching.console.answer({"command": command, "by": "jane", **arguments}, at(clock))
    assert "error" not in answer


def waiting(*events: Any) -> Watching:
    return Watching(TWO_HOURS, events or [an_event("12:00")]).run(at("12:00"), at("12:30"))


def test_an_exempt_job_is_not_stopped_before_its_exemption_is_over() -> None:
    watching = waiting()
    ask(watching, "12:31", "exempt", job_id=JOB, until="2026-01-01T16:30:00Z")

    watching.run(at("12:31"), at("16:29"))
    while_exempt = list(watching.stops)
    watching.run(at("16:30"), at("17:00"))

    assert not while_exempt
    assert watching.stopped() == {JOB: "16:30"}


def test_with_an_array_its_children_are_exempt() -> None:
    watching = waiting(a_child_event(3, "RUNNABLE", "12:00"), an_event("12:00"))
    ask(watching, "12:31", "exempt", job_id=ARRAY, until="2026-01-01T20:00:00Z")

    watching.run(at("12:31"), at("15:00"))

    assert watching.stopped().keys() == {JOB}


def test_what_comes_due_during_a_hold_is_stopped_when_it_is_over() -> None:
    watching = waiting()
    ask(watching, "12:31", "hold")
    watching.run(at("12:31"), at("15:00"))
    while_held = [
        *watching.stops,
        *watching.told("limit-enforced"),
        *watching.told("watchdog-trouble"),
    ]

    ask(watching, "15:00", "resume")
    watching.run(at("15:01"), at("15:10"))

    assert not while_held
    assert watching.stopped() == {JOB: "15:01"}


@pytest.mark.parametrize("minutes", [1, 30])
def test_a_stop_that_was_decided_just_before_a_hold_is_made_after_it(minutes: int) -> None:
    watching = waiting().run(at("12:31"), at("13:59"))
    watching.sweep(at("14:00"))  # It is decided, and not carried out yet.
    ask(watching, "14:00", "hold")
    watching.run(at("14:01"), at(f"14:{minutes + 1:02}"))
    while_held = list(watching.stops)

    ask(watching, "14:40", "resume")
    watching.run(at("14:41"), at("14:50"))

    assert not while_held
    assert watching.stopped().keys() == {JOB}
