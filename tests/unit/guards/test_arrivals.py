"""What arrives in the scope of a stage that is on is stopped, once, and nothing else."""

from typing import Any

import pytest

from batch_watchdog.core.effects import StopJobs
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards.arrivals import ArrivalStopper
from batch_watchdog.guards.state import GuardState, LatestSignal, StageEntry, StopAction
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.stop_run.tally import tally
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.policy.tables import Mode
from batch_watchdog.store import once as once_keys
from batch_watchdog.store import operator_hold
from batch_watchdog.store.actions import to_action
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.operator_hold import OperatorHold
from batch_watchdog.store.table import Table
from tests.fakes import Aws, RacedTable
from tests.makers import ARRAY, JOB, a_child_event, a_described_job, an_event, at, change

NOW = at("12:10")
RUN = "monthly:cancel:2026-01-01T12:00:00Z"
POLICY = """
mode = "enforce"
[[guard]]
name = "monthly"
match = { queue = "gpu" }
spare = { tags = { critical = "true" } }
[[guard.stage]]
alarms = ["soft"]
action = "cancel"
[[guard.stage]]
alarms = ["hard"]
action = "terminate"
"""


RINGING = {"cloudwatch:soft": LatestSignal(state="ALARM", at=at("12:00"))}


class Arriving:
    """A guard at a stage since noon, and events that arrive."""

    def __init__(
        self, stage: StopAction | None = "cancel", mode: Mode = "enforce", policy: str = POLICY
    ) -> None:
        self.aws = Aws()
        self.table: Table = MemoryTable()
        self.policy = parse_policy(policy)
        entry = stage and StageEntry(
            run_id=RUN, stage=stage, since=at("12:00"), mode=mode, why="so"
        )
        state = GuardState(guard="monthly", entry=entry or None, alarms=RINGING)
        self.table.write([guard_items.put(state, NOW)])

    def __call__(self, *events: Any, clock: str = "12:10") -> list[StopJobs]:
        """Let events arrive in one batch; what is to be stopped since the beginning."""
        watch = ArrivalStopper(
            table=self.table, batch=self.aws.batch, policy=self.policy, now=at(clock)
        )
        changes = {str(number): change(event) for number, event in enumerate(events)}
        assert watch.handle(changes) == []
        return self.stops()

    def stops(self) -> list[StopJobs]:
        actions = map(to_action, self.table.query("ACTION#2026-01-01"))
        return [action.effect for action in actions if isinstance(action.effect, StopJobs)]


def test_a_job_that_waits_is_stopped_with_a_reason_that_names_the_guard() -> None:
    arriving = Arriving()

    (stop,) = arriving(an_event("12:05", tags={"team": "a"}))

    assert (stop.how, stop.job_ids, stop.service) == ("cancel", (JOB,), False)
    assert stop.reason == 'batch-watchdog: guard "monthly" is at cancel: so'
    assert stop.rule == 'guard "monthly"'


def test_it_is_decided_once_however_often_the_event_comes() -> None:
    arriving = Arriving()
    event = an_event("12:05")

    arriving(event, event)
    arriving(event)

    assert [stop.job_ids for stop in arriving.stops()] == [(JOB,)]


def test_another_attempt_is_another_decision() -> None:
    arriving = Arriving()
    arriving(an_event("12:05"))

    arriving(an_event("12:15", attempts=[{"container": {}}]), clock="12:16")

    assert [stop.job_ids for stop in arriving.stops()] == [(JOB,), (JOB,)]


def test_what_has_started_is_stopped_at_terminate_only() -> None:
    running = an_event("12:05", status="RUNNING")

    assert Arriving("cancel")(running) == []
    assert [stop.how for stop in Arriving("terminate")(running)] == ["terminate"]


def test_what_changed_before_the_stage_is_the_runs_to_find() -> None:
    assert Arriving()(an_event("11:59")) == []


def test_a_job_that_has_moved_on_in_the_same_batch_is_judged_by_its_last_state() -> None:
    waits, runs_now = an_event("12:05"), an_event("12:06", status="RUNNING")

    assert Arriving("cancel")(runs_now, waits) == []
    assert len(Arriving("terminate")(waits, runs_now)) == 1


def test_a_spared_job_is_left_alone_though_its_event_tells_no_tags() -> None:
    arriving = Arriving()
    arriving.aws.jobs[JOB] = {
        "jobId": JOB,
        "jobName": "render",
        "jobQueue": "gpu",
        "jobDefinition": "render:3",
        "startedAt": 0,
        "status": "RUNNABLE",
        "tags": {"critical": "true"},
    }

    assert arriving(an_event("12:05")) == []
    assert [name for name, _ in arriving.aws.calls] == ["DescribeJobs"]


def test_other_queues_and_ended_jobs_and_nodes_are_none_of_its_business() -> None:
    other = an_event("12:05", jobQueue="arn:aws:batch:us-east-1:111122223333:job-queue/cpu")
    ended = an_event("12:05", jobId="b", status="SUCCEEDED")
    node = an_event("12:05", jobId=f"{JOB}#1")

    assert Arriving()(other, ended, node) == []


def test_an_array_is_stopped_in_place_of_the_children_that_come_with_it() -> None:
    parent = an_event("12:05", jobId=ARRAY, status="PENDING", arrayProperties={"size": 2})
    children = [a_child_event(index, "RUNNABLE", "12:05") for index in range(2)]

    assert [stop.job_ids for stop in Arriving()(parent, *children)] == [(ARRAY,)]
    assert sorted(*[stop.job_ids for stop in Arriving()(*children)]) == [f"{ARRAY}:0", f"{ARRAY}:1"]


def test_a_service_job_that_has_started_meanwhile_is_not_stopped_at_cancel() -> None:
    event = an_event("12:05", kind="Batch Service Job State Change", serviceJobType="SAGEMAKER")
    status = "RUNNING"

    def describe(operation: str, _: dict[str, Any]) -> dict[str, Any] | None:
        if operation != "DescribeServiceJob":
            return None
        return {
            "jobId": JOB,
            "jobName": "train",
            "jobQueue": "gpu",
            "serviceJobType": "SAGEMAKER_TRAINING",
            "startedAt": 0,
            "status": status,
        }

    late, in_time = Arriving(), Arriving()
    late.aws.on_call = in_time.aws.on_call = describe

    assert late(event) == []
    status = "RUNNABLE"
    assert [(stop.how, stop.service) for stop in in_time(event)] == [("cancel", True)]


def test_in_observe_mode_nothing_is_stopped() -> None:
    observing = POLICY.replace('"enforce"', '"observe"')

    assert Arriving(mode="observe")(an_event("12:05")) == []
    assert Arriving(policy=observing)(an_event("12:05")) == []


def test_while_the_watchdog_is_held_nothing_is_stopped() -> None:
    arriving = Arriving()
    arriving.table.write([operator_hold.put(OperatorHold(since=NOW, by="jane"))])

    assert arriving(an_event("12:05")) == []


def test_while_all_guards_are_calm_nothing_is_asked_or_stopped() -> None:
    arriving = Arriving(stage=None)

    assert arriving(an_event("12:05")) == []
    assert not arriving.aws.calls


def test_what_was_stopped_on_arrival_is_counted_with_the_run() -> None:
    arriving = Arriving()
    arriving(an_event("12:05"), an_event("12:05", jobId="b"))
    arriving(an_event("12:06", jobId="c"))

    assert tally(run_items.found(arriving.table, RUN), "cancel", None).not_known == 3


def test_very_many_guards_stop_what_arrives_though_it_is_remembered_in_one_item() -> None:
    names = [f"g{number}" for number in range(60)]
    policy = 'mode = "enforce"\n' + "".join(
        f'[[guard]]\nname = "{name}"\nmatch = {{ name = "{name}" }}\n'
        '[[guard.stage]]\nalarms = ["soft"]\naction = "cancel"\n'
        for name in names
    )
    arriving = Arriving(stage=None, policy=policy)
    for name in names:
        entry = StageEntry(run_id=f"{name}:1", stage="cancel", since=NOW, mode="enforce", why="so")
        state = GuardState(guard=name, entry=entry, alarms=RINGING)
        arriving.table.write([guard_items.put(state, NOW)])

    jobs = {name: an_id_in_shard_0(f"{name}:1") for name in names}
    arriving(*(an_event("12:10", jobId=jobs[name], jobName=name) for name in names))

    assert sorted(job for stop in arriving.stops() for job in stop.job_ids) == sorted(jobs.values())


def an_id_in_shard_0(run_id: str) -> str:
    """A job's id whose stop for a run is remembered in the first shard of its minute."""
    for number in range(1_000):
        job_id = f"{run_id}-{number}"
        name = f"guard-stop:{run_id}:{job_id}:0:RUNNABLE"
        if once_keys.OnceKey(name, NOW).bucket[1] == "0":
            return job_id
    raise AssertionError


def test_what_another_batch_has_decided_meanwhile_is_not_decided_again() -> None:
    arriving = Arriving()
    event = an_event("12:05")
    twin = Arriving()
    twin.table = arriving.table

    def faster() -> None:
        twin(event)

    arriving.table = RacedTable(arriving.table, faster)

    arriving(event)

    assert [stop.job_ids for stop in arriving.stops()] == [(JOB,)]


# ---- Children of arrays -------------------------------------------------------------------


def shown(job_id: str, **tags: str) -> dict[str, Any]:
    return a_described_job(job_id, jobQueue="gpu", tags=tags)


@pytest.mark.parametrize("tags", [{}, {"team": "a"}], ids=["none", "others"])
def test_children_are_left_alone_whose_array_is_spared_and_it_is_asked_for_once(
    tags: dict[str, str],
) -> None:
    arriving = Arriving()
    arriving.aws.jobs[ARRAY] = shown(ARRAY, critical="true")

    assert arriving(*(a_child_event(n, "RUNNABLE", "12:05", tags=tags) for n in range(3))) == []
    assert arriving.aws.calls == [("DescribeJobs", {"jobs": [ARRAY]})]


def test_a_guard_by_tags_stops_the_children_of_an_array_that_has_them() -> None:
    policy = POLICY.replace('queue = "gpu"', 'tags = { team = "a" }')
    arriving = Arriving(policy=policy)
    arriving.aws.jobs |= {ARRAY: shown(ARRAY, team="a"), "other": shown("other", team="b")}
    events = [a_child_event(0, "RUNNABLE", "12:05", array_id=each) for each in (ARRAY, "other")]

    assert [stop.job_ids for stop in arriving(*events)] == [(f"{ARRAY}:0",)]
