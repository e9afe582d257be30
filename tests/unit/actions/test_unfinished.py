"""Actions that the stream has given up are handed on again, or said not to be made any more."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from batch_watchdog.actions.unfinished import UnfinishedActionChecker
from batch_watchdog.core.effects import Announce, Effect, SetQueueState, StartRun, StopJobs
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import sweep_cursor
from batch_watchdog.store.actions import Action, Actions, Progress, to_action
from batch_watchdog.store.item_codec import pack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.sweep_cursor import Cursor
from batch_watchdog.store.table import Put
from tests.fakes import RacedTable
from tests.makers import JOB, QUEUE, a_notice, at

MINUTE = timedelta(minutes=1)
ANNOUNCE = Announce(notices=(a_notice(),))
CLOSE = SetQueueState(queue=QUEUE, state="DISABLED", guard="g")
STOP = StopJobs(how="cancel", job_ids=(JOB, "2"), reason="r", rule="r")


class Watched:
    """A table with actions, and a sweep every minute."""

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.read: list[tuple[str, str, str]] = []
        self.now = at("12:00")
        self.failed: list[Exception] = []

    def record(self, *effects: Effect, clock: str = "12:00", done: bool = False) -> None:
        self.record_at(at(clock), *effects, done=done)

    def record_at(self, when: datetime, *effects: Effect, done: bool = False) -> None:
        puts = Actions(self.table).puts(effects, when, "sweep")
        self.table.write(puts)
        for put in puts if done else ():
            self.finish(*put.key)

    def finish(self, pk: str, sk: str) -> None:
        actions = Actions(self.table)
        action = actions.get(pk, sk)
        assert action
        actions.record(action, {"done": True})

    def look(self, *, out_of_time: bool = False) -> None:
        table = Recording(self.table, self.read)
        checker = UnfinishedActionChecker(policy=Policy(), table=table, now=self.now)
        self.failed += checker.process(lambda: out_of_time)

    def run(self, minutes: int) -> "Watched":
        """Look every minute; the other parts of the sweep keep up."""
        for _ in range(minutes):
            self.now += MINUTE
            known = sweep_cursor.read(self.table, self.now)
            sweep_cursor.write(self.table, Cursor(minute=self.now, version=known.version))
            self.look()
        return self

    def actions(self, kind: type[Effect] | None = None) -> list[Action]:
        found = []
        for day in range(3):
            date = (at("00:00") + timedelta(days=day)).date().isoformat()
            found += list(map(to_action, self.table.query(f"ACTION#{date}")))
        return [each for each in found if kind is None or isinstance(each.effect, kind)]


class Recording(RacedTable):
    """A table that notes each query of actions."""

    def __init__(self, table: MemoryTable, read: list[tuple[str, str, str]]) -> None:
        super().__init__(table)
        self._read = read

    def query(self, pk: str, *, first: str = " ", last: str = "~") -> Any:
        for item in super().query(pk, first=first, last=last):
            if pk.startswith("ACTION#"):
                self._read.append((pk, str(item["sk"]), str(item["kind"])))
            yield item


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.mark.parametrize("effect", [ANNOUNCE, CLOSE])
def test_a_lost_notice_or_closing_is_handed_on_as_a_new_action(
    watched: Watched, effect: Effect
) -> None:
    watched.record(effect)

    watched.run(6)

    old, new = watched.actions()
    assert old.result == {"handed_on": f"{new.pk}/{new.sk}"}
    assert (new.effect, new.result, new.tries, new.asked_by) == (effect, None, 1, "sweep")


def test_an_action_that_cannot_be_read_keeps_no_other_from_being_handed_on(
    watched: Watched,
) -> None:
    watched.record(ANNOUNCE, CLOSE)
    broken, whole = watched.table.query("ACTION#2026-01-01")
    watched.table.write([Put({**broken, "body": pack({})}, read=1)])

    watched.run(7)

    assert "result" in (watched.table.get(str(whole["pk"]), str(whole["sk"])) or {})
    assert [type(error) for error in watched.failed] == [ValidationError] * 2


def test_nothing_is_done_about_an_action_that_is_younger_than_five_minutes(
    watched: Watched,
) -> None:
    watched.record(ANNOUNCE, clock="12:00:30")

    watched.run(5)

    assert [action.result for action in watched.actions()] == [None]


def test_an_action_with_a_result_is_left_as_it_is(watched: Watched) -> None:
    watched.record(ANNOUNCE, done=True)

    watched.run(10)

    assert [action.result for action in watched.actions()] == [{"done": True}]


def test_a_lost_stop_is_not_made_any_more_and_keeps_its_count(watched: Watched) -> None:
    watched.record(STOP)
    (action,) = watched.actions()
    Actions(watched.table).keep(action, Progress(seen=1, accepted=1))

    watched.run(6)

    (action,) = watched.actions()
    assert action.result["accepted"] == 1
    assert "decided anew" in action.result["overtaken"]


def test_a_lost_start_of_a_run_is_left_to_the_sweep(watched: Watched) -> None:
    watched.record(StartRun(run_id="run-1"))

    watched.run(6)

    (action,) = watched.actions()
    assert "overtaken" in action.result


def test_it_is_tried_at_growing_distances_then_given_up_and_told(watched: Watched) -> None:
    watched.record(CLOSE)

    watched.run(12 * 60)

    tries = watched.actions(SetQueueState)
    assert [each.tries for each in tries] == [0, 1, 2, 3, 4, 5, 6]
    times = [datetime.fromisoformat(each.at) for each in tries]
    waits = [(after - before) // MINUTE for before, after in pairwise(times)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (6, 160)
    assert "given_up" in tries[-1].result
    told = [each.effect for each in watched.actions(Announce)]
    assert {notice.kind for each in told for notice in each.notices} == {"watchdog-trouble"}  # type: ignore[union-attr]
    assert QUEUE in told[0].notices[0].text  # type: ignore[union-attr]


def test_that_an_action_is_given_up_is_not_told_of_that_notice_itself(watched: Watched) -> None:
    watched.record(CLOSE)

    watched.run(30 * 60)

    ids = {notice.id for each in watched.actions(Announce) for notice in each.effect.notices}  # type: ignore[union-attr]
    assert len(ids) == 1
    assert all(action.result for action in watched.actions())


def test_each_action_is_read_once(watched: Watched) -> None:
    for minute in range(20):
        watched.record(ANNOUNCE, STOP, clock=f"12:{minute:02}", done=True)

    watched.run(60)

    assert len(watched.read) == len(set(watched.read)) == 40


def test_it_goes_on_across_midnight(watched: Watched) -> None:
    watched.now = at("23:50")
    for minute in range(50, 60):
        watched.record(CLOSE, clock=f"23:{minute}", done=True)
    watched.record(ANNOUNCE, clock="23:59:30")
    next_day = at("00:01") + timedelta(days=1)
    watched.record_at(next_day, STOP)

    watched.run(30)

    assert all(action.result for action in watched.actions() if not action.tries)
    assert [action.tries for action in watched.actions(Announce)][:2] == [0, 1]


def test_days_without_any_action_are_read_once(watched: Watched) -> None:
    asked: list[str] = []
    watched.run(6)
    watched.now += timedelta(days=40)
    known = sweep_cursor.read(watched.table, watched.now)
    sweep_cursor.write(watched.table, Cursor(minute=watched.now, version=known.version))
    watched.look()

    query = watched.table.query

    def counted(pk: str, **keys: str) -> Any:
        asked.append(pk)
        return query(pk, **keys)

    watched.table.query = counted  # type: ignore[method-assign]
    watched.run(1)

    assert asked == ["ACTION#2026-02-10"]


def test_an_action_filed_late_for_an_earlier_time_is_found_while_the_sweep_is_behind(
    watched: Watched,
) -> None:
    """An action's time is that of a sweep, or not before the minute to which one has come."""
    sweep_cursor.write(watched.table, Cursor(minute=at("12:00")))
    watched.record(STOP, clock="12:30", done=True)
    watched.now = at("12:40")
    watched.look()
    watched.record(ANNOUNCE, clock="12:00:10")
    sweep_cursor.write(watched.table, Cursor(minute=at("12:40"), version=1))

    watched.run(6)

    assert watched.actions(Announce)[0].result


def test_a_sweep_that_has_no_time_reads_nothing_and_loses_nothing(watched: Watched) -> None:
    watched.record(ANNOUNCE)
    watched.now = at("12:10")

    watched.look(out_of_time=True)
    assert [action.result for action in watched.actions()] == [None]
    watched.look()

    assert watched.actions()[0].result


def test_more_than_can_be_remembered_are_read_later(watched: Watched) -> None:
    for minute in range(10):
        for second in range(60):
            queue = f"{QUEUE}-{minute}-{second}"
            watched.record(replace(CLOSE, queue=queue), clock=f"12:{minute:02}:{second:02}")
    watched.now = at("13:00")

    for _ in range(3):
        watched.look()

    firsts = [action for action in watched.actions() if not action.tries]
    assert len(firsts) == 600
    assert all(action.result for action in firsts)


def test_an_action_that_is_finished_meanwhile_is_not_handed_on(watched: Watched) -> None:
    watched.record(ANNOUNCE)
    (action,) = watched.actions()
    raced = RacedTable(watched.table, lambda: watched.finish(action.pk, action.sk))

    UnfinishedActionChecker(policy=Policy(), table=raced, now=at("12:10")).process(lambda: False)
    UnfinishedActionChecker(policy=Policy(), table=watched.table, now=at("12:11")).process(
        lambda: False
    )

    assert [action.result for action in watched.actions()] == [{"done": True}]
