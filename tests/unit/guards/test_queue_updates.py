"""A refused opening or closing of a queue is tried again, until the queue is as it is to be."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from batch_watchdog.core.effects import Announce, Effect, SetQueueState
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import queue_update_items
from batch_watchdog.guards.queue_update_items import QueueUpdate, QueueUpdates
from batch_watchdog.guards.queue_updates import QueueUpdateRetrier
from batch_watchdog.guards.state import GuardState, LatestSignal, StageEntry
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.model import Policy, UnreadablePolicy, parse_policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.actions import to_action
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.operator_hold import OperatorHold
from local.aws.errors import ApiError
from tests.fakes import Aws
from tests.makers import QUEUE, at

MINUTE = timedelta(minutes=1)
POLICY = """
mode = "enforce"
[[guard]]
name = "g"
[[guard.stage]]
alarms = ["soft"]
action = "cancel"
close_queues = true
"""
ENTRY = StageEntry(run_id="run-1", stage="cancel", since=at("11:00"), mode="enforce", why="soft")
RINGING = {"cloudwatch:soft": LatestSignal(state="ALARM", at=at("11:00"))}
RAISED = GuardState(guard="g", entry=ENTRY, closed=(QUEUE,), alarms=RINGING)
CALM = GuardState(guard="g")
CLOSE = SetQueueState(queue=QUEUE, state="DISABLED", guard="g")
REOPEN = SetQueueState(queue=QUEUE, state="ENABLED", guard="g")


class Scene:
    """One update that was refused at noon, and a queue as DescribeJobQueues shows it."""

    def __init__(self) -> None:
        self.aws = Aws()
        self.aws.on_call = lambda *_: {"jobQueues": [self.queue] if self.queue else []}
        self.queue: dict[str, Any] = {}
        self.table = MemoryTable()
        self.policy: Policy = parse_policy(POLICY)
        self.now = at("12:00")

    def refused(self, effect: SetQueueState, guard: GuardState, **changes: Any) -> None:
        update = QueueUpdate(
            effect=effect, since=self.now, due_at=at("12:01"), why="refused", refused=True
        )
        updates = queue_update_items.read(self.table).having(QUEUE, replace(update, **changes))
        self.table.write([queue_update_items.put(updates), guard_items.put(guard, self.now)])

    def shows(self, state: str, status: str = "VALID") -> None:
        self.queue = {"jobQueueArn": QUEUE, "state": state, "status": status}

    def run(self, minutes: int) -> None:
        for _ in range(minutes):
            self.now += MINUTE
            self.look()

    def look(self, *, out_of_time: bool = False) -> list[Exception]:
        watch = QueueUpdateRetrier(
            table=self.table, batch=self.aws.batch, policy=self.policy, now=self.now
        )
        return watch.process(lambda: out_of_time)

    def recorded(self, kind: type[Effect] = SetQueueState) -> list[Any]:
        actions = map(to_action, self.table.query("ACTION#2026-01-01"))
        return [action for action in actions if isinstance(action.effect, kind)]

    @property
    def handed_on(self) -> list[str]:
        """When the update was handed to `act` again, as clocks."""
        return [action.at[11:16] for action in self.recorded()]

    @property
    def told(self) -> list[Notice]:
        return [notice for action in self.recorded(Announce) for notice in action.effect.notices]

    @property
    def waits(self) -> bool:
        return QUEUE in queue_update_items.read(self.table).by_queue

    @property
    def closed(self) -> tuple[str, ...]:
        state = guard_items.read(self.table, "g")
        assert state
        return state.closed


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize(
    ("effect", "guard", "shown"), [(CLOSE, RAISED, "ENABLED"), (REOPEN, CALM, "DISABLED")]
)
def test_a_refused_update_is_handed_on_again_each_minute_and_then_more_rarely(
    scene: Scene, effect: SetQueueState, guard: GuardState, shown: str
) -> None:
    scene.refused(effect, guard)
    scene.shows(shown)

    scene.run(180)

    assert scene.recorded()[0].effect == effect
    assert scene.handed_on[:17] == [f"12:{minute:02}" for minute in (*range(1, 16), 20, 25)]
    assert scene.handed_on[-2:] == ["14:45", "15:00"]
    assert scene.waits


def test_operators_are_told_once_of_a_queue_that_stays_wrong_for_a_quarter_of_an_hour(
    scene: Scene,
) -> None:
    scene.refused(CLOSE, RAISED)
    scene.shows("ENABLED")

    scene.run(14)
    assert scene.told == []
    scene.run(60)

    [notice] = scene.told
    assert notice.kind == "watchdog-trouble"
    assert notice.facts["state"] == "DISABLED"
    assert "Queue cannot be closed: gpu" in notice.subject


def test_a_queue_that_is_updating_is_waited_for_and_told_after_a_quarter_of_an_hour(
    scene: Scene,
) -> None:
    scene.refused(REOPEN, CALM)
    scene.shows("ENABLED", status="UPDATING")

    scene.run(20)

    assert scene.handed_on == []
    assert scene.waits
    assert "UPDATING" in scene.told[0].text


@pytest.mark.parametrize(("effect", "guard"), [(CLOSE, RAISED), (REOPEN, CALM)])
def test_what_is_as_it_is_to_be_is_forgotten(
    scene: Scene, effect: SetQueueState, guard: GuardState
) -> None:
    scene.refused(effect, guard, refused=False)
    scene.shows(effect.state)

    scene.run(2)

    assert (scene.handed_on, scene.waits) == ([], False)
    assert scene.closed == guard.closed


def test_a_queue_that_cannot_be_looked_at_waits_and_keeps_no_other_from_its_turn(
    scene: Scene,
) -> None:
    other = f"{QUEUE}-2"
    for queue in (QUEUE, other):
        update = QueueUpdate(
            effect=replace(CLOSE, queue=queue), since=scene.now, due_at=at("12:01"), why="refused"
        )
        updates = queue_update_items.read(scene.table).having(queue, update)
        scene.table.write([queue_update_items.put(updates)])
    both = replace(RAISED, closed=(QUEUE, other))
    scene.table.write([guard_items.put(both, scene.now)])
    scene.shows("ENABLED")
    hidden = {QUEUE}

    def answer(_: str, params: dict[str, Any]) -> dict[str, Any]:
        if hidden & set(params["jobQueues"]):
            raise ApiError("TooManyRequestsException", "slow down", 429)
        return {"jobQueues": [scene.queue]}

    scene.aws.on_call = answer
    scene.now = at("12:01")

    (error,) = scene.look()
    assert "slow down" in str(error)
    assert [each.effect.queue for each in scene.recorded()] == [other]
    hidden.clear()
    scene.now = at("12:02")
    assert scene.look() == []
    assert sorted(each.effect.queue for each in scene.recorded()) == [QUEUE, other, other]


def test_a_queue_that_cannot_be_looked_at_for_long_is_asked_about_more_rarely(
    scene: Scene,
) -> None:
    scene.refused(CLOSE, RAISED)

    def refuse(*_: object) -> dict[str, Any]:
        raise ApiError("AccessDeniedException", "not authorized", 403)

    scene.aws.on_call = refuse
    scene.run(60)

    assert len(scene.aws.calls) == 15 + 9  # each minute, and then every five minutes
    assert (scene.told, scene.waits) == ([], True)  # Whether it is wrong is not known.


def test_a_closing_is_not_repeated_after_the_release(scene: Scene) -> None:
    scene.refused(CLOSE, CALM)
    scene.shows("ENABLED")

    scene.run(2)

    assert (scene.handed_on, scene.waits) == ([], False)


def test_a_reopening_waits_while_a_stage_holds_the_queue_closed(scene: Scene) -> None:
    scene.refused(REOPEN, replace(RAISED, closed=()))
    scene.shows("DISABLED")

    scene.run(3)
    assert (scene.handed_on, scene.waits) == ([], True)
    scene.table.write([guard_items.put(replace(CALM, version=1), scene.now)])
    scene.run(1)

    assert scene.handed_on == ["12:04"]


def test_a_queue_that_others_have_closed_is_theirs(scene: Scene) -> None:
    scene.refused(CLOSE, RAISED)
    scene.shows("DISABLED")

    scene.run(2)

    assert (scene.handed_on, scene.waits) == ([], False)
    assert scene.closed == ()  # So its release does not reopen it.


def test_a_queue_that_is_gone_is_forgotten(scene: Scene) -> None:
    scene.refused(CLOSE, RAISED)

    scene.run(2)

    assert (scene.handed_on, scene.waits, scene.closed) == ([], False, ())


@pytest.mark.parametrize(("shown", "closed"), [("ENABLED", ()), ("DISABLED", (QUEUE,))])
def test_a_closing_that_the_policy_no_longer_asks_for_is_looked_at_once(
    scene: Scene, shown: str, closed: tuple[str, ...]
) -> None:
    """It may have been made all the same, before an answer came."""
    scene.refused(CLOSE, RAISED, refused=False)
    scene.policy = parse_policy("")
    scene.shows(shown)

    scene.run(2)

    assert (scene.handed_on, scene.waits, scene.closed) == ([], False, closed)


def test_while_an_operator_holds_the_watchdog_all_waits(scene: Scene) -> None:
    scene.refused(CLOSE, RAISED)
    scene.shows("ENABLED")
    scene.table.write([operator_hold.put(OperatorHold(since=at("12:00"), by="jane"))])

    scene.run(20)

    assert (scene.handed_on, scene.told, scene.waits) == ([], [], True)


def test_while_no_policy_can_be_read_all_waits(scene: Scene) -> None:
    scene.refused(CLOSE, RAISED)
    scene.shows("ENABLED")
    scene.policy = UnreadablePolicy()

    scene.run(20)

    assert (scene.handed_on, scene.waits, scene.closed) == ([], True, (QUEUE,))


def test_where_nothing_was_refused_batch_is_not_asked(scene: Scene) -> None:
    scene.run(3)

    assert scene.aws.calls == []


def test_a_sweep_that_has_no_time_leaves_all_for_the_next(scene: Scene) -> None:
    scene.refused(CLOSE, RAISED)
    scene.shows("ENABLED")
    scene.now = at("12:05")

    scene.look(out_of_time=True)
    assert scene.handed_on == []
    scene.look()

    assert scene.handed_on == ["12:05"]


# ---- What is known of a closing -----------------------------------------------------------


def known(effect: SetQueueState, **changes: Any) -> QueueUpdates:
    update = QueueUpdate(effect=effect, since=at("12:00"), due_at=at("12:01"), why="", **changes)
    return QueueUpdates(by_queue={QUEUE: update})


@pytest.mark.parametrize(
    ("updates", "is_held_back", "not_yet", "never"),
    [
        pytest.param(QueueUpdates(), False, False, False, id="nothing known"),
        pytest.param(QueueUpdates(), True, False, True, id="held back"),
        pytest.param(known(CLOSE, refused=True, calls=1), False, True, True, id="refused"),
        pytest.param(known(CLOSE, calls=1), False, True, False, id="no answer"),
        pytest.param(known(CLOSE, calls=1), True, True, False, id="no answer, then held back"),
        pytest.param(known(CLOSE, refused=True, calls=1), True, True, True, id="refused, held"),
        pytest.param(known(CLOSE, calls=1, done=True), False, False, False, id="made"),
        pytest.param(known(REOPEN, refused=True, calls=1), False, False, False, id="a reopening"),
    ],
)
def test_what_is_known_of_a_closing(
    updates: QueueUpdates,
    is_held_back: bool,  # noqa: FBT001
    not_yet: bool,  # noqa: FBT001
    never: bool,  # noqa: FBT001
) -> None:
    held_back = {QUEUE: CLOSE} if is_held_back else {}

    assert (QUEUE in updates.not_yet_closed) is not_yet
    assert (QUEUE in updates.never_closed(held_back)) is never
    assert not updates.never_closed({QUEUE: REOPEN}) or never
