"""The code of today goes on where an earlier version has ended."""

import pytest

from tests.makers import ARRAY, a_parent_event, at
from tests.upgrade import UNTIL, resumed, versions, watched
from tests.watching import Watching

ALL = versions()


@pytest.fixture(params=ALL)
def after(request: pytest.FixtureRequest) -> Watching:
    """The watchdog three hours after it was updated."""
    return resumed(request.param).run(UNTIL, at("16:35"))


def test_there_is_a_table_of_a_version() -> None:
    assert ALL


def test_nothing_is_done_or_told_twice(after: Watching) -> None:
    before = watched()
    known = {each["id"] for kind in ("limit-enforced", "job-failed", "queue-blocked")
             for each in before.told(kind)}  # fmt: skip
    told = {each["id"] for kind in ("limit-enforced", "job-failed", "queue-blocked")
            for each in after.told(kind)}  # fmt: skip

    assert known
    assert not known & told


def test_stops_that_the_brake_has_held_are_made(after: Watching) -> None:
    first = [call for call in after.stops if call.at < UNTIL]
    assert [call.jobs for call in first] == [("waits-0",)]

    later = [job_id for call in after.stops if call.at >= UNTIL for job_id in call.jobs]
    assert {"waits-1", "waits-2"} & set(later)
    assert len(later) == 3, "the brake lets one pass in an hour"


def test_an_exemption_holds_to_its_end(after: Watching) -> None:
    stopped = after.stopped()

    assert stopped.get("exempt", "16:00") >= "14:30"
    assert "observed" not in stopped


def test_what_an_observed_rule_has_passed_is_followed_to_its_end(after: Watching) -> None:
    rules = after.console.answer({"command": "report"}, at("16:35"))["rules"]
    [observed] = [rule for rule in rules if rule["mode"] == "observe"]

    assert (observed["jobs"], observed["went_on"], observed["verdict"]) == (1, 1, "not-safe")


def test_guards_budgets_and_the_policy_are_as_they_were(after: Watching) -> None:
    status = after.console.answer({"command": "status"}, at("16:35"))

    [guard], [budget] = status["guards"], status["budgets"]
    assert (guard["stage"], guard["by"]) == ("cancel", "jane")
    assert budget["used"]["vcpu_hours"] == pytest.approx(16)
    assert "policy" not in {each["id"].split(":")[1] for each in after.told("watchdog-trouble")}


def test_an_array_goes_on_where_it_was(after: Watching) -> None:
    done = a_parent_event(10, 2, "16:36")
    after.batch.load([done])
    after.receive(done, now=at("16:36"))
    after.run(at("16:37"), at("16:45"))

    [told] = [each for each in after.told("array-completed") if each["facts"]["job_id"] == ARRAY]
    facts = told["facts"]
    assert (facts["size"], facts["failed"], facts["failed_indices"]) == (10, 2, "5-6")
