"""A budget that an operator changes in the middle of its period, in the stack of template.yaml."""

from datetime import datetime, timedelta

import pytest

from local.aws.stack import Stack
from tests.guarding import Guarding

POLICY = """
mode = "enforce"
[notify]
fold = "0s"
[[budget]]
name = "day"
per = "day"
vcpu_hours = 2
[[guard]]
name = "spending"
[[guard.stage]]
budgets = [{ name = "day" }]
action = "cancel"
close_queues = true
"""
USD = POLICY.replace("vcpu_hours = 2", "usd = 2\nrates = { vcpu_hour = 1 }")


@pytest.fixture
def guarding(stack: Stack) -> Guarding:
    """A job that uses four vCPUs since noon: two vCPU hours at half past twelve."""
    found = Guarding(stack, POLICY)
    found.submit()
    return found.run(minutes=35)


def put(guarding: Guarding, policy: str, *, minutes: float = 3) -> None:
    (parameter,) = guarding.dispatcher.parameters
    guarding.dispatcher.parameters[parameter] = policy
    guarding.run(minutes=minutes)


def rung(guarding: Guarding) -> list[tuple[str, float]]:
    """When the budget was told to be reached, and how much of its limit was used then."""
    facts = [each["facts"] for each in guarding.told("budget-reached")]
    return [(each["counted_at"][11:16], each["percent"]) for each in facts]


def test_a_limit_that_is_raised_releases_the_guard_until_it_is_reached(guarding: Guarding) -> None:
    assert guarding.state_of("gpu") == "DISABLED"

    put(guarding, POLICY.replace("vcpu_hours = 2", "vcpu_hours = 4"))

    [released] = guarding.told("guard-released")
    assert "budget day is OK" in released["text"]
    assert guarding.state_of("gpu") == "ENABLED"
    waits = [guarding.submit() for _ in range(4)][-1]
    guarding.run(minutes=3)
    assert guarding.statuses(waits) == ["RUNNABLE"]

    guarding.run(minutes=10)  # Four jobs run by then.
    assert guarding.statuses(waits) == ["FAILED"]
    assert len(guarding.told("guard-raised")) == 2
    assert [percent >= 100 for _, percent in rung(guarding)] == [True, True]


@pytest.mark.parametrize(
    "changed",
    [
        'per = "day"\ntime_zone = "Australia/Sydney"',  # A day begins there at 13:00.
        'per = "week"\nmatch = { queue = "cpu" }',
    ],
)
def test_other_periods_release_the_guard_until_the_budget_is_reached_in_one(
    stack: Stack, changed: str
) -> None:
    guarding = Guarding(stack, POLICY)
    guarding.submit(seconds=40 * 60)
    guarding.run(minutes=65)
    assert guarding.state_of("gpu") == "DISABLED"

    put(guarding, POLICY.replace('per = "day"', changed))

    [released] = guarding.told("guard-released")
    assert "budget day is OK" in released["text"]
    assert guarding.state_of("gpu") == "ENABLED"
    runs = guarding.submit(queue="cpu")
    guarding.run(minutes=20)
    assert guarding.statuses(runs) == ["RUNNING"]
    guarding.run(minutes=15)
    assert len(guarding.told("guard-raised")) == 2


def test_a_stage_that_another_share_of_its_budget_keeps_is_not_told_to_be_released(
    guarding: Guarding,
) -> None:
    put(guarding, POLICY.replace('name = "day" }', 'name = "day", percent = 90 }'), minutes=20)

    assert not guarding.told("watchdog-trouble")
    assert guarding.state_of("gpu") == "DISABLED"


def test_a_share_that_a_raised_limit_still_reaches_keeps_no_harder_stage(stack: Stack) -> None:
    milder = POLICY.replace('name = "day" }', 'name = "day", percent = 50 }')
    policy = (
        milder
        + """
[[guard.stage]]
budgets = [{ name = "day" }]
action = "terminate"
"""
    )
    guarding = Guarding(stack, policy)
    guarding.submit()
    guarding.run(minutes=20)
    guarding.command("release", guard="spending", by="jane")
    guarding.run(minutes=15)
    put(guarding, policy.replace("vcpu_hours = 2", "vcpu_hours = 3.6"))

    stages = [each["facts"]["stage"] for each in guarding.told("guard-raised")]
    assert stages == ["cancel", "terminate", "cancel"]


def test_a_stage_whose_budget_nothing_names_any_more_is_told(guarding: Guarding) -> None:
    put(guarding, POLICY.replace('name = "day" }', 'name = "day", percent = 900 }'))

    [told] = guarding.told("watchdog-trouble")
    assert "nothing asks for that any more" in told["subject"]


_AFTER_TIME = """
[[guard.stage]]
after_previous = "10m"
action = "terminate"
"""


def test_a_limit_that_is_raised_as_a_stage_would_become_harder_by_time_stops_nothing(
    stack: Stack,
) -> None:
    guarding = Guarding(stack, POLICY + _AFTER_TIME)
    runs = guarding.submit()
    guarding.run(minutes=30)
    while not guarding.told("guard-raised"):
        guarding.run(minutes=1)
    [raised] = guarding.told("guard-raised")
    terminates_at = datetime.fromisoformat(raised["facts"]["terminates_at"])
    guarding.dispatcher.run(terminates_at - timedelta(seconds=30))

    put(guarding, (POLICY + _AFTER_TIME).replace("vcpu_hours = 2", "vcpu_hours = 20"))

    assert guarding.kinds()[-1] == "guard-released"
    assert len(guarding.told("guard-raised")) == 1
    assert guarding.statuses(runs) == ["RUNNING"]


def test_a_guard_that_observes_no_longer_stops_nothing_by_a_limit_that_is_no_more(
    stack: Stack,
) -> None:
    guarding = Guarding(stack, POLICY.replace("enforce", "observe"))
    guarding.submit()
    guarding.run(minutes=35)
    assert len(guarding.told("guard-raised")) == 1

    put(guarding, POLICY.replace("vcpu_hours = 2", "vcpu_hours = 20"))

    assert len(guarding.told("guard-raised")) == 1
    assert not guarding.changes


def test_a_limit_that_is_reached_anew_raises_a_guard_that_an_operator_has_released(
    guarding: Guarding,
) -> None:
    guarding.command("release", guard="spending", by="jane")
    guarding.run(minutes=5)
    assert guarding.state_of("gpu") == "ENABLED"

    put(guarding, POLICY.replace("vcpu_hours = 2", "vcpu_hours = 4"), minutes=15)
    assert guarding.state_of("gpu") == "ENABLED"
    guarding.run(minutes=10)

    assert guarding.state_of("gpu") == "DISABLED"
    assert len(guarding.told("guard-raised")) == 2


def test_a_change_that_is_taken_back_is_told_anew(guarding: Guarding) -> None:
    put(guarding, POLICY.replace("vcpu_hours = 2", "vcpu_hours = 4"))
    put(guarding, POLICY)

    told = [each["id"] for each in guarding.told("budget-reached")]
    assert len(told) == len(set(told)) == 2
    assert guarding.state_of("gpu") == "DISABLED"


def test_a_limit_that_is_still_passed_leaves_the_guard_as_it_is(guarding: Guarding) -> None:
    put(guarding, POLICY.replace("vcpu_hours = 2", "vcpu_hours = 1"))

    assert guarding.state_of("gpu") == "DISABLED"
    assert len(guarding.told("guard-raised")) == 1
    assert not guarding.told("guard-released")
    assert len(rung(guarding)) == 2


def test_other_rates_are_those_of_the_whole_period(stack: Stack) -> None:
    guarding = Guarding(stack, USD)
    guarding.submit()
    guarding.run(minutes=20)

    put(guarding, USD.replace("vcpu_hour = 1", "vcpu_hour = 2"))

    [reached] = guarding.told("budget-reached")
    hours = (datetime.fromisoformat(reached["facts"]["counted_at"]).minute * 60 - 2) / 3_600
    assert reached["facts"]["used"]["usd"] == pytest.approx(4 * hours * 2, rel=0.01)
    assert guarding.state_of("gpu") == "DISABLED"


def test_other_jobs_are_counted_from_the_begin_of_the_period(guarding: Guarding) -> None:
    match = 'vcpu_hours = 2\nmatch = { queue = "cpu" }'
    put(guarding, POLICY.replace("vcpu_hours = 2", match))
    assert guarding.state_of("gpu") == "ENABLED"  # None of them has run.

    match = 'vcpu_hours = 2\nmatch = { queue = "g*" }'
    put(guarding, POLICY.replace("vcpu_hours = 2", match), minutes=5)

    assert guarding.state_of("gpu") == "DISABLED"
    assert [percent >= 100 for _, percent in rung(guarding)] == [True, True]


def test_a_new_budget_counts_what_runs_already_and_what_has_ended(stack: Stack) -> None:
    guarding = Guarding(stack, POLICY.partition("[[guard]]")[0])
    guarding.submit()
    guarding.submit(queue="cpu", seconds=300)
    guarding.run(minutes=20)

    other = '[[budget]]\nname = "other"\nper = "day"\nvcpu_hours = 1\n'
    put(guarding, POLICY.partition("[[guard]]")[0] + other)

    [reached] = [
        each["facts"]
        for each in guarding.told("budget-reached")
        if each["facts"]["budget"] == "other"
    ]
    minutes = datetime.fromisoformat(reached["counted_at"]).minute
    assert reached["used"]["vcpu_hours"] == pytest.approx(4 * (minutes + 5) / 60, rel=0.05)
