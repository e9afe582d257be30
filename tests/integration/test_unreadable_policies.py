"""
A policy that only an older version of the watchdog could read: every function lives on with it.

What is on stays on, what waits is listed and told, and nothing new is stopped, closed or released.
"""

import pytest

from batch_watchdog.guards import items as guard_items
from batch_watchdog.store.item_codec import pack
from batch_watchdog.store.table import Put
from local.aws.stack import Stack
from tests.guarding import POLICY, Guarding

OF_ANOTHER_VERSION = POLICY + '\n[[frobnicate]]\nafter = "1h"\n'
LIMITS = '\n[[limit]]\nRUNNABLE = { after = "30m" }\n'


@pytest.fixture
def guarding(stack: Stack) -> Guarding:
    """The guard is raised, and two queues are closed."""
    guarding = Guarding(stack, POLICY + LIMITS)
    guarding.alarm("soft")
    guarding.run(minutes=10)
    assert (guarding.state_of("gpu"), guarding.state_of("cpu")) == ("DISABLED", "DISABLED")
    return guarding


def put(guarding: Guarding, policy: str) -> None:
    (name,) = guarding.dispatcher.parameters
    guarding.dispatcher.parameters[name] = policy


def upgrade(guarding: Guarding) -> None:
    """Another version of the watchdog finds texts that it cannot read, as if it had no other."""
    item = guarding.dispatcher.table.get("POLICY", "LAST-GOOD")
    assert item
    forgotten = {**item, "body": pack(OF_ANOTHER_VERSION)}
    guarding.dispatcher.table.write([Put(forgotten, read=int(item["version"]))])
    put(guarding, OF_ANOTHER_VERSION)


def a_person_opens(guarding: Guarding, queue: str) -> None:
    guarding.batch.call("UpdateJobQueue", {"jobQueue": queue, "state": "ENABLED"})


def test_nothing_new_is_done_and_what_is_on_stays_on(guarding: Guarding) -> None:
    upgrade(guarding)
    a_person_opens(guarding, "gpu")
    before = len(guarding.changes)
    jobs = [guarding.submit() for _ in range(5)]  # There is room for four.

    guarding.run(minutes=120)

    assert len(guarding.changes) == before
    assert guarding.letters == []
    state = guard_items.read(guarding.dispatcher.table, "monthly")
    assert state
    assert (state.stage, len(state.closed)) == ("cancel", 2)
    [notice] = guarding.told("watchdog-trouble")
    assert notice["facts"]["in_force"] == "none"
    assert guarding.statuses(*jobs) == ["RUNNING"] * 4 + ["RUNNABLE"]


def test_no_error_of_a_function_comes_of_it(guarding: Guarding) -> None:
    upgrade(guarding)
    a_person_opens(guarding, "gpu")
    job = guarding.submit("report", outcome=1, seconds=30)

    guarding.run(minutes=10)

    assert guarding.command("status") == ""
    assert guarding.command("explain", job_id=job) == ""
    assert guarding.letters == []
    assert len(guarding.told("job-failed")) == 1


def test_an_alarm_that_comes_meanwhile_is_kept_and_told(guarding: Guarding) -> None:
    upgrade(guarding)
    guarding.run(minutes=2)

    guarding.alarm_by_event("soft", "OK")
    guarding.run(minutes=2)

    assert [reason for _, reason, _ in guarding.letters] == [
        "no policy can be read, so nobody knows which guard this is for"
    ]
    assert guarding.kinds().count("guard-released") == 0
    assert guarding.state_of("gpu") == "DISABLED"


def test_all_goes_on_when_a_policy_can_be_read_again(guarding: Guarding) -> None:
    upgrade(guarding)
    guarding.run(minutes=30)
    put(guarding, POLICY + LIMITS)
    guarding.run(minutes=2)

    guarding.alarm("soft", "OK")
    guarding.run(minutes=3)

    assert guarding.kinds()[-1] == "guard-released"
    assert guarding.state_of("gpu") == "ENABLED"


def test_an_operator_can_release_a_guard_all_the_same(guarding: Guarding) -> None:
    upgrade(guarding)
    guarding.run(minutes=2)

    assert guarding.command("release", guard="monthly", by="jane") == ""

    state = guard_items.read(guarding.dispatcher.table, "monthly")
    assert state
    assert state.stage == "calm"
