"""Words about money reach the guards that they concern; what cannot be read is kept and told."""

import json
from typing import Any

import pytest

from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards.state import GuardState
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.store.actions import to_action
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Table
from batch_watchdog.use_cases.spend_alarm import SpendAlarmIntake
from tests.fakes import Aws, RacedTable
from tests.makers import at

POLICY = parse_policy(
    """
    [[guard]]
    name = "monthly"
    [[guard.stage]]
    alarms = ["soft"]
    action = "cancel"
    """
)


class Listening:
    def __init__(self, table: Table | None = None) -> None:
        self.aws = Aws()
        self.table = table or MemoryTable()
        self.listener = SpendAlarmIntake(
            table=self.table, dead_letters=self.aws.dead_letters, policy=lambda: POLICY
        )

    def handle(self, payload: object, clock: str = "12:01") -> list[str]:
        return self.listener.handle(payload, at(clock))

    @property
    def stage(self) -> str:
        state = guard_items.read(self.table, "monthly")
        return state.stage if state else "calm"

    @property
    def troubles(self) -> list[Any]:
        actions = map(to_action, self.table.query("ACTION#2026-01-01"))
        notices = [notice for action in actions for notice in action.effect.notices]  # type: ignore[union-attr]
        return [notice for notice in notices if notice.kind == "watchdog-trouble"]


def an_alarm(clock: str = "12:00", delivered: str = "12:01", name: str = "soft") -> dict[str, Any]:
    """An alarm by SNS, in ALARM since `clock`."""
    message = {"AlarmName": name, "NewStateValue": "ALARM", "StateChangeTime": stamp(clock)}
    return sns(json.dumps(message), delivered)


def sns(message: str, delivered: str = "12:01", **more: str) -> dict[str, Any]:
    return {
        "Sns": {"Type": "Notification", "Message": message, "Timestamp": stamp(delivered), **more}
    }


def stamp(clock: str) -> str:
    return f"{at(clock):%Y-%m-%dT%H:%M:%S.000Z}"


def test_an_alarm_raises_its_guard_from_when_it_arrives() -> None:
    listening = Listening()

    (why,) = listening.handle({"Records": [an_alarm("12:00", "12:01")]}, "15:00")

    state = guard_items.read(listening.table, "monthly")
    assert state
    assert state.entry
    assert state.entry.since == at("15:00")
    assert state.alarms["cloudwatch:soft"].at == at("12:00")
    assert why.startswith("monthly: cancel: alarm soft went into ALARM")


def test_an_alarm_that_no_guard_names_is_passed_over_without_a_look_at_the_table() -> None:
    class Untouchable(MemoryTable):
        def query(self, *_: Any, **__: Any) -> Any:
            raise AssertionError

    listening = Listening(Untouchable())

    assert listening.handle(an_alarm(name="disk")) == ["ignored: no guard names disk"]
    assert listening.handle(sns("hello")) == ["ignored: an SNS message that is not about money"]


@pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA"])
def test_that_an_alarm_rings_no_longer_is_known_where_no_guard_names_it_any_more(
    state: str,
) -> None:
    listening = Listening()
    listening.handle(an_alarm("12:00"))
    without = SpendAlarmIntake(
        table=listening.table,
        dead_letters=listening.aws.dead_letters,
        policy=lambda: parse_policy('mode = "enforce"'),
    )
    message = {"AlarmName": "soft", "NewStateValue": state, "StateChangeTime": stamp("12:10")}

    (why,) = without.handle(sns(json.dumps(message), "12:10"), at("12:10"))

    known = guard_items.read(listening.table, "monthly")
    assert known
    assert why == "monthly: the policy has no such guard"
    assert listening.stage == "cancel"
    assert known.alarms["cloudwatch:soft"].state == ("OK" if state == "OK" else "ALARM")
    assert ("cloudwatch:soft" in known.lacking) is (state != "OK")


def test_the_ok_of_one_contributor_releases_nothing_while_the_alarm_rings() -> None:
    listening = Listening()
    listening.handle(an_alarm("12:00"))
    message = {"AlarmName": "soft", "NewStateValue": "OK", "StateChangeTime": stamp("12:05")}
    of_one = message | {"AlarmContributorId": "6d44", "OldStateValue": "ALARM"}

    (why,) = listening.handle(sns(json.dumps(of_one)), "12:06")

    assert (why, listening.stage) == (
        "ignored: of one contributor to an alarm: no change of the alarm's state",
        "cancel",
    )
    listening.handle(sns(json.dumps(message)), "12:06")
    assert listening.stage == "calm"


def test_of_several_records_each_counts() -> None:
    listening = Listening()

    said = listening.handle({"Records": [sns("hello"), sns("{"), an_alarm()]})

    assert len(said) == 3
    assert listening.stage == "cancel"


def test_a_race_that_is_lost_is_run_again() -> None:
    table = MemoryTable()
    rival = GuardState(guard="monthly", by_operator=True)
    listening = Listening(
        RacedTable(table, lambda: table.write([guard_items.put(rival, at("12:00"))]))
    )

    listening.handle(an_alarm())

    assert listening.stage == "cancel"


def test_a_race_that_is_lost_for_good_is_an_error_so_that_it_comes_again() -> None:
    table = MemoryTable()

    def rival() -> None:
        state = guard_items.read(table, "monthly") or GuardState(guard="monthly")
        table.write([guard_items.put(state, at("12:00"))])

    listening = Listening(RacedTable(table, *[rival] * 20))

    with pytest.raises(StaleItemError):
        listening.handle(an_alarm())


# ---- What cannot be read ------------------------------------------------------------------

BROKEN = json.dumps({"AlarmName": "soft", "NewStateValue": "RINGING"})


def test_what_cannot_be_read_is_kept_whole_with_the_reason() -> None:
    listening = Listening()
    piece = sns(BROKEN)

    (why,) = listening.handle({"Records": [piece]})

    ((body, reason),) = listening.aws.kept
    assert json.loads(body) == piece
    assert "NewStateValue" in reason
    assert why == f"not understood: {reason}"
    assert listening.stage == "calm"


def test_operators_are_told_of_each_once_however_often_it_comes() -> None:
    listening = Listening()

    listening.handle(sns(BROKEN, "12:01"))
    listening.handle(sns(BROKEN, "12:31", MessageId="another"))
    listening.handle(sns(BROKEN.replace("soft", "hard"), "12:32"))

    assert len(listening.troubles) == 2
    assert len({notice.id for notice in listening.troubles}) == 2
    assert len(listening.aws.kept) == 3


@pytest.mark.parametrize("piece", ["nothing", 7, None, [], {"Records": [None]}, {"time": "soon"}])
def test_whatever_arrives_ends_somewhere(piece: Any) -> None:
    listening = Listening()

    (why,) = listening.handle(piece)

    assert why.startswith("not understood")
    assert len(listening.aws.kept) == 1
