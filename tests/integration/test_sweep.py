"""A sweep that cannot find something out: it sees to all else, and asks again."""

from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from batch_watchdog.budgets import listing_items
from batch_watchdog.core.effects import SetQueueState, StartRun
from batch_watchdog.core.errors import MalformedEventError
from batch_watchdog.core.job_event import from_millis
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import queue_update_items
from batch_watchdog.guards.queue_update_items import QueueUpdate, QueueUpdates
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.state import GuardState, LatestSignal, StageEntry
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.stop_run import run as stop_run
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.store import sweep_cursor
from batch_watchdog.store.actions import to_action
from batch_watchdog.store.item_codec import pack
from batch_watchdog.store.table import Put
from batch_watchdog.use_cases.sweep import time_of
from tests.makers import ARRAY, JOB, PREFIX, a_child_event, a_parent_event, an_event, at
from tests.watching import Watching

OTHER = ARRAY[:-1] + "7"


def test_what_cannot_be_found_out_about_a_queue_keeps_no_other_job_from_being_seen_to() -> None:
    events = [
        an_event("12:00"),
        an_event("12:00", jobId="job-of-other", jobQueue=f"{PREFIX}job-queue/other"),
    ]
    policy = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "2h" }\n'
    watching = Watching(policy, events).run(at("12:00"), at("13:59"))
    watching.refuses = lambda operation, params: (
        operation == "GetJobQueueSnapshot" and params["jobQueue"].endswith("/other")
    )

    with pytest.raises(ExceptionGroup, match="not all that was due"):
        watching.sweep(at("14:00"))
    watching.act()
    assert watching.stopped() == {JOB: "14:00"}

    watching.refuses = lambda *_: False
    watching.run(at("14:01"), at("14:05"))
    assert watching.stopped() == {JOB: "14:00", "job-of-other": "14:01"}


def test_while_ecs_cannot_be_reached_jobs_are_stopped_all_the_same() -> None:
    policy = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "1h" }\n'
    watching = Watching(policy, [an_event("12:00", jobId=f"job-{n}") for n in range(3)])
    environment = {"computeEnvironmentName": "ce", "ecsClusterArn": PREFIX + "cluster/ce"}
    order = [{"order": 1, "computeEnvironment": "ce"}]
    watching.batch.add_world(
        {
            "jobQueues": [{"jobQueueName": "gpu", "computeEnvironmentOrder": order}],
            "computeEnvironments": [environment],
        }
    )
    asked: list[str] = []

    def unreachable(operation: str, _: object) -> dict[str, Any]:
        asked.append(operation)
        raise ReadTimeoutError(endpoint_url="https://ecs")

    watching.responders["ecs"] = unreachable
    watching.run(at("12:00"), at("13:00"))

    assert watching.stopped() == dict.fromkeys(("job-0", "job-1", "job-2"), "13:00")
    assert asked == ["ListContainerInstances"]


def test_while_queues_cannot_be_shown_all_but_the_listings_is_seen_to() -> None:
    policy = (
        'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "2m" }\n'
        '[[budget]]\nname = "b"\nvcpu_hours = 1_000\n'
    )
    watching = Watching(policy, lost=[an_event("12:00")])
    watching.refuses = lambda operation, _: operation == "DescribeJobQueues"
    for clock in ("12:00", "12:01", "12:02", "12:03"):
        with pytest.raises(ExceptionGroup, match="not all that was due") as raised:
            watching.sweep(at(clock))
        assert len(raised.value.exceptions) == 2  # the listing for limits, and that for budgets
        watching.act()

    assert sweep_cursor.read(watching.table, at("12:00")).minute == at("12:03")
    last_steps = [("HEALTH", "LAST-CHECK"), ("RULE-REPORT", "LAST")]
    assert watching.table.get_many(last_steps).keys() == {*last_steps}

    watching.refuses = lambda *_: False
    watching.run(at("12:04"), at("12:05"))
    listed = listing_items.read(watching.table)
    assert listed
    assert from_millis(listed.began_at) == at("12:04")


def test_a_blocked_queue_that_cannot_be_asked_about_is_asked_about_again() -> None:
    blocked = an_event("12:05", kind="Batch Job Queue Blocked", statusReason="CAPACITY:…")
    watching = Watching("", [an_event("12:00"), blocked]).run(at("12:00"), at("12:05"))
    watching.refuses = lambda operation, _: operation == "GetJobQueueSnapshot"

    for clock in ("12:06", "12:07"):
        with pytest.raises(ExceptionGroup, match="not all that was due"):
            watching.sweep(at(clock))
    watching.refuses = lambda *_: False
    watching.run(at("12:08"), at("12:15"))

    assert [notice["facts"]["state"] for notice in watching.told("queue-blocked")] == ["blocked"]


def test_an_array_that_cannot_be_asked_about_keeps_no_other_from_being_told() -> None:
    arrays = (ARRAY, OTHER)
    ends = [a_parent_event(3, failed=1, array_id=array_id) for array_id in arrays]
    lost = [a_child_event(1, "FAILED", array_id=array_id) for array_id in arrays]
    watching = Watching("", ends, lost=lost).run(at("12:00"), at("12:10"))
    watching.refuses = lambda _, params: params.get("arrayJobId") == ARRAY

    with pytest.raises(ExceptionGroup, match="not all that was due"):
        watching.sweep(at("12:11"))
    watching.act()
    assert [notice["facts"]["job_id"] for notice in watching.told("array-completed")] == [OTHER]

    watching.refuses = lambda *_: False
    watching.run(at("12:12"), at("12:13"))
    told = {notice["facts"]["job_id"]: notice for notice in watching.told("array-completed")}
    assert {each["facts"]["failed_indices"] for each in told.values()} == {"1"}
    assert told.keys() == {ARRAY, OTHER}


# ---- Guards, queues and actions -----------------------------------------------------------

GUARDED = """
mode = "enforce"
[[limit]]
RUNNABLE = { after = "1h" }
[[guard]]
name = "a"
[[guard.stage]]
alarms = ["soft"]
action = "cancel"
[[guard]]
name = "b"
[[guard.stage]]
alarms = ["soft"]
action = "cancel"
"""
RINGS = {"cloudwatch:soft": LatestSignal(state="ALARM", at=at("11:00"))}
SPARED = f"{PREFIX}job-queue/other"


def guarded() -> Watching:
    """Two guards are at `cancel`; what is known of the stop run of one cannot be read."""
    watching = Watching(GUARDED, [an_event("12:00", tags={"batch-watchdog:exempt": "no"})])
    for name in ("a", "b"):
        entry = StageEntry(
            run_id=f"run-{name}", stage="cancel", since=at("11:00"), mode="enforce", why="soft"
        )
        run = run_items.put(stop_run.begin(name, entry, at("11:00")), at("11:00"))
        if name == "a":
            run = Put({**run.item, "body": pack({"run_id": "run-a"})})
        state = GuardState(guard=name, entry=entry, alarms=RINGS)
        watching.table.write([guard_items.put(state, at("11:00")), run])
    return watching


def begun(watching: Watching) -> set[str]:
    """The stop runs that were begun anew."""
    actions = map(to_action, watching.table.query("ACTION#2026-01-01"))
    effects = (action.effect for action in actions)
    return {effect.run_id for effect in effects if isinstance(effect, StartRun)}


def test_a_guard_about_which_nothing_can_be_decided_keeps_nothing_else_from_being_seen_to() -> None:
    watching = guarded()
    policy = watching.sweeper.policies.settle(at("12:00"))
    updater = GuardUpdater(table=watching.table, policy=policy, now=at("12:00"))

    (error,) = updater.time_passes()

    assert isinstance(error, ValueError)
    assert begun(watching) == {"run-b"}
    with pytest.raises(ExceptionGroup, match="not all that was due"):
        watching.sweep(at("12:01"))


def test_a_guard_that_cannot_hear_keeps_no_other_from_hearing() -> None:
    watching = guarded()
    policy = watching.sweeper.policies.settle(at("12:00"))
    over = Evidence(
        source="cloudwatch", alarm="soft", names=frozenset({"soft"}), state="OK", at=at("11:59")
    )
    updater = GuardUpdater(table=watching.table, policy=policy, now=at("12:00"))

    (error,) = updater.receive([over])

    assert isinstance(error, ValueError)
    raised = {name for name, state in guard_items.read_all(watching.table).items() if state.entry}
    assert raised == {"a"}


def test_a_queues_update_that_cannot_be_looked_at_keeps_no_limit_waiting() -> None:
    policy = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "1h" }\n'
    watching = Watching(policy, [an_event("12:00")]).run(at("12:00"), at("12:59"))
    update = QueueUpdate(
        effect=SetQueueState(queue=SPARED, state="ENABLED", guard="g"),
        since=at("12:59"),
        due_at=at("13:00"),
        why="refused",
        refused=True,
    )
    watching.table.write([queue_update_items.put(QueueUpdates().having(SPARED, update))])
    watching.refuses = lambda _, params: params.get("jobQueues") == [SPARED]

    with pytest.raises(ExceptionGroup, match="not all that was due") as raised:
        watching.sweep(at("13:00"))
    watching.act()

    assert "DescribeJobQueues" in str(raised.value.exceptions)
    assert watching.stopped() == {JOB: "13:00"}


@pytest.mark.parametrize("event", [{}, {"time": "2026-01-01"}, {"time": "now"}, {"time": 5}, "x"])
def test_a_sweep_of_no_certain_time_is_refused(event: object) -> None:
    with pytest.raises(MalformedEventError, match="2026-01-01T12:00:00Z"):
        time_of(event, at("12:00"))


def test_a_sweep_for_a_time_to_come_is_one_for_now() -> None:
    assert time_of({"time": "2036-01-01T12:00:00Z"}, at("12:00")) == at("12:00")
    assert time_of({"time": "2026-01-01T11:58:00Z"}, at("12:00")) == at("11:58")
