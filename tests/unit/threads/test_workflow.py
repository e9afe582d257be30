"""Threads in the table: nothing is lost between those who collect and those who tell."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from batch_watchdog.core.effects import Announce
from batch_watchdog.notices.languages import Language
from batch_watchdog.notices.notice import Notice
from batch_watchdog.store.actions import PREFIX, Action, Actions, to_action
from batch_watchdog.store.item_codec import Item, unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.reminders import Reminders
from batch_watchdog.threads import items
from batch_watchdog.threads.rules import DIGESTS_MAX, OTHER, THREADS_MAX, key_of
from batch_watchdog.threads.workflow import NoticeFolder, at_once, close_windows
from tests.makers import a_notice, at

FOLD = timedelta(minutes=15)


class Scene:
    """A table, and the announcements that were recorded in it."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.table = MemoryTable(self._heard)

    def _heard(self, _name: str, old: Item | None, item: Item) -> None:
        if old is None and str(item["pk"]).startswith(PREFIX):
            self.actions.append(to_action(item))

    def announce(self, notices: Sequence[Notice], now: datetime) -> list[str]:
        """The ids of those that go out at once."""
        effect = Announce(notices=tuple(notices))
        self.table.write(Actions(self.table).puts([effect], now, "sweep"))
        folder = NoticeFolder(table=self.table, fold=FOLD, word=Language().worded, now=now)
        action = folder.decide(self.actions.pop())
        return [notice.id for notice in at_once(notices, action.folded or {})]

    def sweep(self, now: datetime) -> list[Notice]:
        """The digests of the windows whose reminders have come due."""
        self.actions.clear()
        due = Reminders(self.table).between(at("00:00"), now)
        close_windows(self.table, [unpack(each.content)[0] for each in due], now)
        return [
            notice
            for action in self.actions
            if isinstance(action.effect, Announce)
            for notice in action.effect.notices
        ]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def failed(number: int, cause: str = "out of memory") -> Notice:
    return a_notice(id=f"job-failed:{number}", facts={"queue": "gpu", "cause": cause})


def test_a_window_that_closes_with_nothing_in_it_ends_its_thread_for_all(scene: Scene) -> None:
    scene.announce([failed(0)], at("12:00"))
    assert scene.sweep(at("12:15")) == []

    # One that began its work before the sweep, and writes after it.
    told = scene.announce([failed(1)], at("12:14"))

    assert told == ["job-failed:1"]
    assert scene.announce([failed(2)], at("12:20")) == []
    assert [digest.facts["ids"] for digest in scene.sweep(at("12:29"))] == [["job-failed:2"]]


def test_a_sweep_that_comes_late_tells_all_that_was_collected_meanwhile(scene: Scene) -> None:
    for minute in range(10):
        scene.announce([failed(minute)], at("12:00") + timedelta(minutes=7 * minute))

    [digest] = scene.sweep(at("16:00"))

    assert digest.facts["count"] == 9


def test_a_digest_for_which_there_is_no_room_in_the_hour_is_sent_later(scene: Scene) -> None:
    scene.announce([failed(0)], at("12:00"))
    scene.announce([failed(1)], at("12:01"))
    [thread] = items.read(scene.table, [key_of(failed(0))]).values()
    full = [at("12:00") + timedelta(minutes=n) for n in range(DIGESTS_MAX)]
    scene.table.write([items.put(replace(thread, sent=tuple(full)))])

    assert scene.sweep(at("12:15")) == []
    assert scene.announce([failed(2)], at("12:20")) == []
    assert [digest.facts["count"] for digest in scene.sweep(at("13:00"))] == [2]


def test_where_very_many_follow_a_few_that_is_told_in_the_next_minute(scene: Scene) -> None:
    scene.announce([failed(n) for n in range(80)], at("12:00:05"))
    scene.announce([failed(n) for n in range(80, 1_079)], at("12:00:10"))
    assert scene.sweep(at("12:01")) == []

    scene.announce([failed(1_079), failed(1_080)], at("12:01:20"))
    scene.announce([failed(n) for n in range(1_081, 1_500)], at("12:01:30"))

    assert [digest.facts["count"] for digest in scene.sweep(at("12:02"))] == [1_420]
    for first in range(1_500, 9_600, 900):
        scene.announce([failed(n) for n in range(first, first + 900)], at("12:05"))
    assert scene.sweep(at("12:06")) == []
    assert [digest.facts["count"] for digest in scene.sweep(at("12:32"))] == [8_100]


def test_of_many_causes_an_hour_so_many_have_threads_of_their_own(scene: Scene) -> None:
    def storm(now: datetime) -> list[str]:
        return [
            told
            for n in range(THREADS_MAX + 8)
            for told in scene.announce([failed(n, f"{n}")], now)
        ]

    assert len(storm(at("12:00"))) == THREADS_MAX + 1
    for clock in ("12:10", "12:20", "12:40", "13:05"):
        assert storm(at(clock)) == []
    other = items.read(scene.table, [f"job-failed|{OTHER}"])
    assert [thread.collected.count for thread in other.values()] == [7 + 4 * 8]


def test_a_cause_that_has_been_quiet_makes_room_for_another(scene: Scene) -> None:
    for n in range(THREADS_MAX):
        scene.announce([failed(n, f"{n}")], at("12:00"))

    assert scene.announce([failed(99, "new")], at("13:01")) == ["job-failed:99"]
    assert items.read(scene.table, [key_of(failed(99, "new"))])


def test_a_cause_that_goes_on_keeps_its_place(scene: Scene) -> None:
    for clock in ("12:00", "12:10", "12:30", "12:50"):
        for n in range(THREADS_MAX):
            scene.announce([failed(n, f"{n}")], at(clock))
    scene.announce([failed(99, "new")], at("13:05"))

    assert not items.read(scene.table, [key_of(failed(99, "new"))])
