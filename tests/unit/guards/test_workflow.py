"""When time passes for guards that a sweep tells of live budgets only later."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.state import GuardState, LatestSignal, StageEntry
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.store.actions import to_action
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.use_cases.budget_watch import watch
from tests.makers import at

# Its first stage was raised when it still named 80 % of the budget.
POLICY = """
mode = "enforce"
[[budget]]
name = "day"
per = "day"
vcpu_hours = 10
[[budget]]
name = "week"
per = "week"
vcpu_hours = 100
[[guard]]
name = "spending"
[[guard.stage]]
budgets = [{ name = "day", percent = 70 }]
action = "cancel"
[[guard.stage]]
budgets = [{ name = "week" }]
action = "terminate"
"""


class Raised:
    """The guard, at cancel since noon, by a share that rings until a time."""

    def __init__(self, share: str = "live:day (80 %)", ends: str = "13:00") -> None:
        self.table = MemoryTable()
        entry = StageEntry(
            run_id="spending:cancel:2026-01-01T12:00:00Z",
            stage="cancel",
            since=at("12:00"),
            mode="enforce",
            why="so",
            signal=share,
        )
        received = LatestSignal(state="ALARM", at=at("12:00"), ends=at(ends))
        state = GuardState(guard="spending", entry=entry, alarms={share: received})
        self.table.write([guard_items.put(state, at("12:00"))])

    @property
    def guards(self) -> GuardUpdater:
        return GuardUpdater(table=self.table, policy=parse_policy(POLICY), now=at("12:10"))

    @property
    def told(self) -> list[str]:
        actions = map(to_action, self.table.query("ACTION#2026-01-01"))
        return [n.kind for each in actions for n in getattr(each.effect, "notices", ())]


def test_a_guard_that_names_live_budgets_is_judged_once_it_has_heard_of_them() -> None:
    raised = Raised()

    raised.guards.time_passes()
    assert raised.told == []

    raised.guards.time_passes_once_budgets_counted({"day", "week"})
    assert raised.told == ["watchdog-trouble"]


@pytest.mark.parametrize("received", [set(), {"day"}, {"week"}])
def test_a_guard_waits_for_a_budget_that_another_sweep_is_just_telling_of(
    received: set[str],
) -> None:
    raised = Raised()

    raised.guards.time_passes_once_budgets_counted(received)

    assert raised.told == []


class Deaf(GuardUpdater):
    """Guards about which nothing can be decided by what they hear."""

    def receive(self, words: Iterable[Evidence]) -> list[Exception]:
        return [ValueError(f"no {words}")]


def test_no_time_passes_for_guards_that_cannot_hear_of_their_budgets() -> None:
    raised, policy = Raised(), parse_policy(POLICY)
    budgets: Any = SimpleNamespace(policy=policy, announce=lambda _: {}, failed=[], now=at("12:10"))

    watch(budgets, Deaf(table=raised.table, policy=policy, now=at("12:10")))

    assert raised.told == []
    assert len(budgets.failed) == 1


def test_a_guard_whose_budgets_period_is_over_is_released_whatever_it_hears() -> None:
    raised = Raised("live:day (70 %)", ends="12:10")

    raised.guards.time_passes()

    assert raised.told == ["guard-released"]
