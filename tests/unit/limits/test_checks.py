"""
What is decided about a stay that has passed its limit, by the decision alone.

The call of AWS Batch judges again, so that a wrong decision may show in no call.
"""

from dataclasses import replace
from typing import Any

import pytest

from batch_watchdog.core.effects import StopJobs
from batch_watchdog.limits.decisions import CheckResult
from batch_watchdog.limits.stay_check import StayCheck
from batch_watchdog.limits.stays import Stay
from batch_watchdog.limits.stop_check import StopCheck
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.store.actions import Actions
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.reminders import MINUTE
from tests.makers import JOB, a_described_job, at

NOW = at("12:30")
ENFORCED = 'mode = "enforce"\n[[limit]]\nRUNNING = { after = "10m" }\n'
OBSERVED = ENFORCED.replace("enforce", "observe")
STAY = Stay(job_id=JOB, status="RUNNING", since=at("12:00"), attempts=0)


def checked(
    stay: Stay = STAY, policy: str = ENFORCED, table: MemoryTable | None = None, **detail: Any
) -> CheckResult:
    """What is decided of a job that is RUNNING, at 12:30."""
    unasked: Any = None  # Why a job is RUNNING is not asked.
    check = StayCheck(inquiry=unasked, policy=parse_policy(policy), now=NOW, clock=lambda: NOW)
    described = a_described_job(status="RUNNING", **detail)
    return StopCheck(table=table or MemoryTable(), check=check, held=False).check_stay(
        stay, described, {}
    )


@pytest.mark.parametrize("stops", [0, 1])
def test_a_job_is_stopped_again_only_where_the_rule_still_enforces(stops: int) -> None:
    stay = replace(STAY, stops=stops)

    assert checked(stay).stops

    observed = checked(stay, OBSERVED)

    assert not observed.stops
    assert [each.notice and each.notice.kind for each in observed.decisions] == ["limit-enforced"]


def test_the_parent_of_an_array_is_not_stopped_though_its_event_did_not_show_what_it_is() -> None:
    assert checked(arrayProperties={"size": 4, "statusSummary": {"RUNNING": 4}}) == CheckResult()


def asked(result: Any = None) -> CheckResult:
    """What is decided a minute after a stop was recorded, which has had this result."""
    table, asked_at = MemoryTable(), at("12:29")
    stop = StopJobs(
        how="terminate",
        job_ids=(JOB,),
        reason="batch-watchdog: RUNNING for more than 10 min, limit[1]",
        rule="limit[1]",
        status="RUNNING",
        since=(STAY.since,),
    )
    actions = Actions(table)
    table.write(actions.puts([stop], asked_at, "sweep"))
    [action] = actions.recorded_at(asked_at)
    if result:
        actions.record(action, result)
    return checked(replace(STAY, stops=1, stopped_at=asked_at), table=table)


def test_a_stop_whose_result_is_not_known_is_waited_for() -> None:
    again = asked()

    assert (again.again_in, again.decisions) == (MINUTE, ())


def test_a_stop_that_batch_has_accepted_and_not_made_is_asked_for_again_uncounted() -> None:
    [again] = asked({"accepted": 1, "refused": {}}).decisions

    assert again.stop
    assert not again.stop.counted
