"""Which jobs a budget counts, by what their events and their arrays tell."""

import json
from datetime import timedelta

import pytest

from batch_watchdog.budgets.arrivals import BudgetIntake
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.reminders import Reminders
from tests.fakes import Aws
from tests.makers import ARRAY, a_child_event, a_described_job, at, change

NOW = at("12:00")
DAY = timedelta(days=1)
BUDGET = """
[[budget]]
name = "of a"
match = { tags = { team = "a" } }
per = "day"
vcpu_hours = 1
"""


@pytest.mark.parametrize("own", [{}, {"x": "y"}], ids=["none", "others"])
@pytest.mark.parametrize("team", ["a", "b"])
def test_a_child_is_counted_by_its_arrays_tags(own: dict[str, str], team: str) -> None:
    aws, table = Aws(), MemoryTable()
    aws.jobs[ARRAY] = a_described_job(ARRAY, tags={"team": team})
    event = a_child_event(0, "RUNNING", "12:00", tags=own, startedAt=to_ms(NOW))

    intake = BudgetIntake(table=table, batch=aws.batch, policy=parse_policy(BUDGET))
    intake.file({"m": change(event)}, {"m": json.dumps(event)}, NOW)

    assert bool([*Reminders(table).between(NOW - DAY, NOW + DAY)]) == (team == "a")
    assert aws.calls == [("DescribeJobs", {"jobs": [ARRAY]})]
