"""A crash before or after any call of AWS or the table changes nothing of what comes of it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from batch_watchdog.budgets import items as budget_items
from batch_watchdog.budgets import usage
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.guards import items as guard_items
from batch_watchdog.threads.items import open_threads
from local.aws import stack as stacks
from local.aws.functions import Crash
from local.aws.stack import Stack
from tests.simulation.faults import Faults, Rates
from tests.simulation.history import NOON, History, run
from tests.simulation.invariants import i15_nothing_is_told_twice_by_being_folded
from tests.simulation.plan import EventRates, Kind, Plan, Step

pytestmark = pytest.mark.long

_FEW, _MOST = 4, 250  # calls of a scenario: enough to mean something, few enough to try all


@pytest.fixture(scope="module")
def stack() -> Stack:
    return stacks.read()


# ---- Scenarios ----------------------------------------------------------------------------

_LIMITS = """
mode = "enforce"
[[limit]]
RUNNABLE = { warn_after = "2m", after = "4m", action = "cancel" }
"""
_GUARDS = """
mode = "enforce"
[[guard]]
name = "money"
match = { queue = "gpu" }
spare = { tags = { critical = "true" } }
[[guard.stage]]
alarms = ["spend-80"]
action = "cancel"
close_queues = true
"""
_OPEN_GUARDS = _GUARDS.replace("close_queues = true", "close_queues = false")

_FOLDED = """
[notify]
fold = "3m"
"""

_BUDGETS = """
mode = "enforce"
[notify]
job_failures = false
[[budget]]
name = "all"
per = "day"
vcpu_hours = 0.1
warn_at = [50]
[[budget]]
name = "gpu"
match = { queue = "gpu" }
gpu_hours = 100
"""
_RAISED_BY_BUDGET = """
[[guard]]
name = "money"
match = { queue = "gpu" }
[[guard.stage]]
budgets = [{ name = "all", percent = 50 }]
action = "cancel"
"""

_FOREVER = 360_000


def _step(minute: float, kind: Kind, **what: Any) -> Step:
    return Step(at=minute * 60, kind=kind, what=what)


def _job(minute: float, name: str, queue: str = "cpu", **what: Any) -> Step:
    return _step(minute, "job", name=name, queue=queue, **what)


_ARRAY = _job(0.5, "render", array_size=3, outcome={1: 1}, seconds=20)
_FAILING = _job(0.5, "align", outcome=1, seconds=20)
_STORM = tuple(
    _job(minute, f"storm-{minute}", outcome=1, seconds=5) for minute in (0.5, 1.1, 1.7, 2.3)
)
_TRIED_AGAIN = _job(0.5, "again", outcome=1, seconds=40, attempts=3)
_STUCK = _job(0.5, "stuck", queue="gpu", gpus=1)
_STUCK_ARRAY = _job(0.5, "stuck-array", queue="gpu", gpus=1, array_size=2)
_RUNNING = _job(0.2, "running", queue="gpu", seconds=_FOREVER)
_SPARED = _job(0.5, "spared", queue="gpu", gpus=1, tags={"critical": "true"})
_ALARM = _step(2, "alarm", alarm="spend-80", state="ALARM", by="sns")
_OK = _step(7, "alarm", alarm="spend-80", state="OK", by="eventbridge")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What happens, and of which function all calls are tried, from a minute to another."""

    policy: str
    steps: tuple[Step, ...]
    function: str
    first: float = 0
    last: float = 60

    @property
    def plan(self) -> Plan:
        return Plan(
            seed=1,
            policy=self.policy,
            batch={},
            minutes=10,
            steps=self.steps,
            rates=Rates(),
            event_rates=EventRates(),
            drain_s=15.5 * 60,
        )


_RAISED = _step(2, "command", command="set-stage", guard="money", stage="cancel")
SCENARIOS: Mapping[str, Scenario] = {
    "changes are taken in": Scenario(
        policy=_LIMITS, steps=(_ARRAY, _FAILING), function="job_events"
    ),
    "a job arrives while a stage is on": Scenario(
        policy=_OPEN_GUARDS,
        steps=(_ALARM, _job(6, "late", queue="gpu", gpus=1), _job(6, "later", array_size=2)),
        function="job_events",
        first=5,
    ),
    "jobs are warned of and cancelled": Scenario(
        policy=_LIMITS, steps=(_STUCK, _STUCK_ARRAY), function="sweep", first=2.9, last=7.5
    ),
    "actions are carried out": Scenario(
        policy=_LIMITS, steps=(_STUCK, _STUCK_ARRAY, _ARRAY, _FAILING), function="act"
    ),
    "notices are collected": Scenario(policy=_FOLDED, steps=_STORM, function="act"),
    "what was collected is told": Scenario(
        policy=_FOLDED, steps=_STORM, function="sweep", first=3.9, last=5.9
    ),
    "queues are closed and reopened": Scenario(
        policy=_GUARDS, steps=(_STUCK, _ALARM, _OK), function="act"
    ),
    "an alarm raises and releases a guard": Scenario(
        policy=_GUARDS, steps=(_STUCK, _ALARM, _OK), function="spend_alarm"
    ),
    "a stop run goes through its scope": Scenario(
        policy=_GUARDS,
        steps=(_STUCK, _STUCK_ARRAY, _RUNNING, _SPARED, _ALARM),
        function="stop_jobs",
        last=2.4,
    ),
    "the sweep keeps a stop run going": Scenario(
        policy=_GUARDS, steps=(_STUCK, _RAISED), function="sweep", first=5.9, last=8.9
    ),
    "runs are filed for budgets": Scenario(
        policy=_BUDGETS, steps=(_ARRAY, _TRIED_AGAIN, _RUNNING), function="job_events"
    ),
    "runs are counted": Scenario(
        policy=_BUDGETS,
        steps=(_ARRAY, _TRIED_AGAIN, _RUNNING),
        function="sweep",
        first=0.9,
        last=2.4,
    ),
    "what runs is listed": Scenario(
        policy=_BUDGETS, steps=(_ARRAY, _RUNNING), function="sweep", first=14.9, last=15.4
    ),
    "a budget raises a guard": Scenario(
        policy=_BUDGETS + _RAISED_BY_BUDGET,
        steps=(_STUCK, _RUNNING, _TRIED_AGAIN),
        function="sweep",
        first=2.9,
        last=4.9,
    ),
    "an operator raises a guard": Scenario(
        policy=_GUARDS, steps=(_STUCK, _RUNNING, _RAISED), function="console"
    ),
}


# ---- Crashes ------------------------------------------------------------------------------


class OneCrash(Faults):
    """Counts a scenario's calls, and crashes before or after one of them."""

    def __init__(self, scenario: Scenario, number: int, when: str, **given: Any) -> None:
        super().__init__(**given)
        self.scenario, self.number, self.when = scenario, number, when
        self.calls = 0
        self.is_counted = False

    def _in_question(self) -> bool:
        function, now = self.doing()
        first, last = (
            NOON + timedelta(minutes=each) for each in (self.scenario.first, self.scenario.last)
        )
        return function == self.scenario.function and first <= now < last

    def before(self, what: str) -> None:
        self.is_counted = bool(self.depth) and self._in_question()
        if self.is_counted:
            self.calls += 1
            self._crash("before", what)

    def after(self, what: str) -> None:
        if self.is_counted:
            self._crash("after", what)

    def _crash(self, when: str, what: str) -> None:
        if (self.calls, self.when) == (self.number, when):
            self.counts["crash"] += 1
            raise Crash(f"{when} a call of {what}")


def _played(scenario: Scenario, stack: Stack, number: int, when: str) -> tuple[History, int]:
    made: list[OneCrash] = []

    def make(**given: Any) -> Faults:
        made.append(OneCrash(scenario, number, when, **given))
        return made[-1]

    return run(scenario.plan, stack, make), made[0].calls


def _end(seen: History) -> dict[str, Any]:
    """What has come of it: what was told, by id, and how everything is at the end."""
    # What is collected is told when its window closes.
    told = {
        each for thread in open_threads(seen.table, seen.ended) for each in thread.collected.ids
    }
    for _, content in seen.published:
        told |= set(content["facts"]["ids"]) if content["notice"] == "digest" else {content["id"]}
    # After a crash it may be another one that is told first, and a digest tells the rest.
    recorded = [notice for _, notice in seen.notices() if notice.kind != "digest"]
    return {
        "told": set(map(_named, told)),
        "told twice": list(i15_nothing_is_told_twice_by_being_folded(seen)),
        "recorded": sorted(_named(notice.id) for notice in recorded),
        "counts": {
            _named(notice.id): {name: notice.facts.get(name) for name in _COUNTS}
            for notice in recorded
        },
        "jobs": {job_id: (job.status, job.reason) for job_id, job in seen.jobs.items()},
        "queues": seen.queues,
        "guards": {
            name: (state.stage, state.closed, state.alarms)
            for name, state in guard_items.read_all(seen.table).items()
        },
        "used": {
            name: (state.use.jobs, usage.used_on(state.use, budget, to_ms(seen.ended)))
            for name, state in budget_items.read_all(seen.table).items()
            if (budget := seen.policies[-1][1].budget_named(name))
        },
        "not carried out": [action.sk for action in seen.actions if action.result is None],
    }


def _named(notice_id: str) -> str:
    """An id without the time at which a stage was entered: after a crash that is a minute later."""
    return re.sub(r"^(guard-\w+:\w+:\w+):.*", r"\1", notice_id)


_COUNTS = ("succeeded", "failed", "failed_indices", "cancelled", "terminated", "left_running",
           "spared", "found", "escaped")  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_at_any_call_changes_nothing_in_the_end(stack: Stack, name: str) -> None:
    scenario = SCENARIOS[name]
    play: Callable[[int, str], tuple[History, int]] = partial(_played, scenario, stack)
    undisturbed, calls = play(0, "")
    wanted = _end(undisturbed)
    assert wanted["told"], "something must happen"
    assert _FEW <= calls <= _MOST

    for number in range(1, calls + 1):
        for when in ("before", "after"):
            seen, _ = play(number, when)
            assert seen.counts["crash"] == 1
            assert _end(seen) == wanted, f"crash {when} call {number}: {seen.failures}"
