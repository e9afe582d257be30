"""What a check finds to be wrong, and what of it is news."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from batch_watchdog.guards.state import GuardState, StageEntry, StopAction
from batch_watchdog.health.facts import AlarmFact, Facts
from batch_watchdog.health.rules import (
    alarms_of,
    answer,
    fine_keys,
    news,
    problems,
)
from batch_watchdog.policy.model import UnreadablePolicy, parse_policy
from tests.logs import NOON

ARN = "arn:aws:cloudwatch:us-east-1:111122223333:alarm:hard"
POLICY = parse_policy(
    f"""
[[limit]]
match = {{ queue = ["gpu-*", "arn:aws:batch:*"] }}
RUNNABLE = {{ after = "1h" }}
[[limit]]
match = {{ queue = "spot" }}
[[guard]]
name = "money"
match = {{ queue = "*" }}
[[guard.stage]]
alarms = ["soft", "monthly"]
action = "cancel"
[[guard.stage]]
alarms = ["{ARN}"]
action = "terminate"
"""
)


def an_alarm(name: str, state: str = "OK") -> AlarmFact:
    return AlarmFact(name=name, arn=f"arn:{name}", state=state, region="us-east-1")


def a_guard(
    stage: StopAction | None = None,
    *,
    since: datetime = NOON,
    by: str = "",
    released_at: datetime | None = None,
) -> dict[str, GuardState]:
    entry = (
        StageEntry(run_id="r", stage=stage, since=since, mode="enforce", why="", by=by)
        if stage
        else None
    )
    return {"money": GuardState(guard="money", entry=entry, released_at=released_at)}


RAISED = a_guard("terminate")
FINE = Facts(
    at=NOON,
    confirmed=1,
    alarms=(an_alarm("soft"), an_alarm("hard", "ALARM")),
    in_alarm=("hard", "disk-full"),
    queues=("gpu-a", "gpu-b", "spot"),
    events_known=True,
    last_event=NOON - timedelta(hours=1),
    dead_letters={"JobEvents": 0},
)


def found(facts: Facts = FINE, **changes: Any) -> list[str]:
    every = problems(replace(facts, **changes), POLICY, ["monthly"], RAISED)
    assert all(each.what and each.remedy for each in every)
    return [each.key for each in every]


def test_where_all_is_well_nothing_is_found() -> None:
    assert found() == []


def test_what_is_not_known_is_not_said_to_be_wrong() -> None:
    assert problems(Facts(at=NOON), POLICY, [], RAISED) == []


def test_where_nobody_is_subscribed_or_has_confirmed_that_is_told() -> None:
    (pending,) = problems(replace(FINE, confirmed=0, pending=1), POLICY, ["monthly"], RAISED)
    (nobody,) = problems(replace(FINE, confirmed=0), POLICY, ["monthly"], RAISED)

    assert pending.key == nobody.key == "subscription"
    assert "not confirmed" in pending.what
    assert "nobody is subscribed" in nobody.what
    assert found(confirmed=1, pending=3) == []


def test_an_alarm_that_does_not_exist_is_told_unless_something_of_its_name_was_heard() -> None:
    assert alarms_of(POLICY) == ("soft", "monthly", "hard")
    assert found(alarms=(an_alarm("hard"),)) == ["alarm:soft"]
    assert [each.key for each in problems(FINE, POLICY, [], RAISED)] == ["alarm:monthly"]
    assert problems(replace(FINE, alarms=()), POLICY, ["soft", "monthly", ARN], RAISED) == []


RANG_AT = NOON - timedelta(hours=6)
RINGING = (
    replace(an_alarm("soft", "ALARM"), changed_at=RANG_AT),
    replace(an_alarm("hard", "ALARM"), arn=ARN, changed_at=RANG_AT),
)


def not_raised(guards: dict[str, GuardState], alarms: Sequence[AlarmFact] = RINGING) -> list[str]:
    facts = replace(FINE, alarms=tuple(alarms))
    return [each.key for each in problems(facts, POLICY, ["monthly"], guards)]


def test_an_alarm_that_rings_and_has_not_raised_its_guard_is_told() -> None:
    facts = replace(FINE, alarms=RINGING)

    soft, hard = problems(facts, POLICY, ["monthly"], {})

    assert soft.what == "The alarm soft is in ALARM, and the guard money is not at cancel."
    assert hard.what == "The alarm hard is in ALARM, and the guard money is not at terminate."
    assert "set that stage" in hard.remedy
    assert answer(facts, POLICY, [soft, hard], NOON)["fine"] is False
    assert not_raised(a_guard("cancel")) == [f"not-raised:money:{ARN}"]
    assert not_raised(a_guard("terminate")) == []


def test_an_alarm_that_does_not_ring_or_has_another_arn_raises_nothing() -> None:
    elsewhere = [replace(each, arn=f"arn:of-{each.name}") for each in RINGING]

    assert not_raised({}, [replace(each, state="OK") for each in RINGING]) == []
    assert not_raised({}, elsewhere) == ["not-raised:money:arn:of-soft"]


def test_the_message_of_an_alarm_takes_its_time() -> None:
    for minutes, told in ((4, 0), (6, 2)):
        just = [replace(each, changed_at=NOON - timedelta(minutes=minutes)) for each in RINGING]

        assert len(not_raised({}, just)) == told


@pytest.mark.parametrize(("hours", "told"), [(1, 0), (-1, 2)])
def test_whom_an_operator_has_released_since_is_calm_on_purpose(hours: int, told: int) -> None:
    released = a_guard(released_at=RANG_AT + timedelta(hours=hours))

    assert len(not_raised(released)) == told


@pytest.mark.parametrize(("by", "hours", "told"), [("jane", 1, 0), ("jane", -1, 1), ("", 1, 1)])
def test_a_stage_that_an_operator_has_set_since_is_meant(by: str, hours: int, told: int) -> None:
    at_cancel = a_guard("cancel", since=RANG_AT + timedelta(hours=hours), by=by)

    assert len(not_raised(at_cancel)) == told


def test_since_when_an_alarm_rings_may_not_be_known() -> None:
    alarms = [replace(each, changed_at=None) for each in RINGING]

    assert len(not_raised({}, alarms)) == 2
    assert not_raised(a_guard(released_at=NOON), alarms) == []


def test_a_glob_without_a_queue_is_told() -> None:
    assert found(queues=("gpu-a", "spots")) == ["glob:limit[2] (match queue spot):spot"]
    assert len(found(queues=())) == 3


def test_dead_letters_are_told_by_queue() -> None:
    assert found(dead_letters={"a": 2, "b": 0, "c": 1}) == ["dead-letters:a", "dead-letters:c"]


def test_where_batch_tells_nothing_that_is_told() -> None:
    assert found(last_event=None) == ["events"]
    assert found(last_event=None, events_known=False) == []


def test_without_a_policy_that_can_be_read_its_alarms_and_globs_are_not_missed() -> None:
    assert problems(replace(FINE, alarms=(), queues=()), UnreadablePolicy(), [], RAISED) == []


# ---- What is news -------------------------------------------------------------------------


def test_what_was_wrong_before_is_no_news() -> None:
    every = problems(replace(FINE, confirmed=0, dead_letters={"a": 1}), POLICY, ["monthly"], RAISED)

    assert [each.key for each in news(every, None, [])] == ["subscription", "dead-letters:a"]
    assert [each.key for each in news(every, ["subscription"], [])] == ["dead-letters:a"]
    assert news(every, ["subscription", "dead-letters:a"], []) == []


def test_what_may_be_meant_so_is_news_only_where_it_was_otherwise() -> None:
    every = problems(replace(FINE, queues=("gpu-a",), last_event=None), POLICY, ["monthly"], RAISED)
    before = fine_keys(FINE, POLICY)

    assert news(every, None, []) == []
    assert {each.key for each in news(every, [], before)} == {
        "events",
        "glob:limit[2] (match queue spot):spot",
    }
    assert (
        news(every, [], fine_keys(replace(FINE, queues=("gpu-a",), last_event=None), POLICY)) == []
    )


# ---- The answer ---------------------------------------------------------------------------


def test_the_answer_shows_everything_that_was_looked_at() -> None:
    told = answer(FINE, POLICY, [], NOON - timedelta(minutes=1))

    assert told["fine"] is True
    assert told["alarms"] == {
        "soft": [{"state": "OK", "region": "us-east-1"}],
        "monthly": [],
        "hard": [{"state": "ALARM", "region": "us-east-1"}],
    }
    assert told["ringing_and_named_by_no_guard"] == {"count": 1, "names": ["disk-full"]}
    assert told["queues"] == {
        "limit[1] (match queue gpu-* or arn:aws:batch:*)": {"gpu-*": ["gpu-a", "gpu-b"]},
        "limit[2] (match queue spot)": {"spot": ["spot"]},
        'guard "money"': {"*": ["gpu-a", "gpu-b", "spot"]},
    }
    assert told["subscriptions"] == {"confirmed": 1, "pending": 0}
    assert told["policy"]["version"] == POLICY.version


@pytest.mark.parametrize("minutes", [None, 11])
def test_a_sweep_that_does_not_run_is_a_problem(minutes: int | None) -> None:
    swept_at = NOON - timedelta(minutes=minutes) if minutes else None

    told = answer(FINE, POLICY, [], swept_at)

    assert told["fine"] is False
    assert "The sweep has not run" in told["problems"][0]["what"]


def test_what_could_not_be_asked_is_not_fine() -> None:
    told = answer(Facts(at=NOON, not_known={"alarms": "no"}), POLICY, [], NOON)

    assert told["fine"] is False
    assert told["not_known"] == {"alarms": "no"}
    assert told["alarms"] is told["dead_letters"] is told["subscriptions"] is None


def with_thresholds(soft: float | None, hard: float | None, *, metric: str = "charges") -> Facts:
    return replace(
        FINE,
        alarms=(
            replace(an_alarm("soft"), metric="charges", over=soft),
            replace(an_alarm("hard"), metric=metric, over=hard),
        ),
    )


def test_a_later_stage_whose_alarm_rings_first_is_told() -> None:
    [problem] = problems(with_thresholds(1000, 800), POLICY, ["monthly"], RAISED)

    assert problem.key == "thresholds:money:soft:hard"
    assert problem.what == (
        "Guard money: the alarm hard of a later stage goes into ALARM above 800, before soft "
        "(above 1000)."
    )


@pytest.mark.parametrize(
    "facts",
    [
        with_thresholds(800, 1000),
        with_thresholds(800, 800),
        with_thresholds(800, None),
        with_thresholds(None, 800),
        with_thresholds(800, 3, metric="running jobs"),
    ],
)
def test_thresholds_that_rise_or_cannot_be_compared_are_fine(facts: Facts) -> None:
    assert problems(facts, POLICY, ["monthly"], RAISED) == []
