"""What is remembered of guards: each kind of item, on DynamoDB and on its twin in memory."""

from dataclasses import replace
from datetime import timedelta

import pytest

from batch_watchdog.core.effects import SetQueueState
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards.state import GuardState, LatestSignal, StageEntry
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.stop_run.run import Chunk, Run
from batch_watchdog.limits import exemption_items
from batch_watchdog.limits.exemption_items import Exemption
from batch_watchdog.store import operator_hold
from batch_watchdog.store.operator_hold import OperatorHold
from batch_watchdog.store.table import Table
from tests.makers import JOB, QUEUE, at

NOW = at("12:00")
RUN = "monthly:cancel:2026-01-01T12:00:00Z"

RAISED = GuardState(
    guard="Budget für März, 1/2 ~ #",
    entry=StageEntry(
        run_id=RUN,
        stage="cancel",
        since=NOW,
        mode="enforce",
        why="so",
        by="jane",
        signal="cloudwatch:soft",
    ),
    alarms={"cloudwatch:soft": LatestSignal(state="ALARM", at=NOW)},
    lacking={"cloudwatch:soft": NOW},
    in_doubt_since=NOW,
    doubted_for=timedelta(minutes=7),
    closed=(QUEUE,),
    by_operator=True,
    ringing_since=NOW,
    last_entered=NOW,
)


@pytest.mark.parametrize("state", [GuardState(guard="monthly"), RAISED])
def test_a_guard_comes_back_as_it_was_put(table: Table, state: GuardState) -> None:
    table.write([guard_items.put(state, NOW)])

    assert guard_items.read(table, state.guard) == replace(state, version=1)
    assert guard_items.read_all(table) == {state.guard: replace(state, version=1)}


def test_all_guards_are_read_together_whatever_they_are_called(table: Table) -> None:
    names = ["monthly", "~", " ", "ÿ", "a/b", "a#b", "z" * 64]
    table.write([guard_items.put(GuardState(guard=name), NOW) for name in names])

    assert guard_items.read_all(table).keys() == set(names)
    assert guard_items.read(table, "other") is None


# ---- Runs ---------------------------------------------------------------------------------

FAR = Run(
    run_id=RUN,
    guard="monthly",
    due_at=NOW + timedelta(minutes=3),
    not_before=NOW,
    phase="listing",
    look=2,
    queues=((QUEUE, False), (QUEUE, True)),
    place=3,
    token="page 2",  # noqa: S106
    chunks=7,
    pending=True,
    carry={False: (JOB,), True: ()},
    accepted=5,
    asked=500,
    reported=True,
    would_close=(QUEUE,),
)


def a_chunk(number: int = 0, clock: str = "12:00", **changes: object) -> Chunk:
    chunk = Chunk(
        number=number,
        at=at(clock),
        how="cancel",
        reason="batch-watchdog: so",
        rule='guard "monthly"',
        stop=(JOB, f"{JOB}:7"),
        left=("a",),
        spared=("b", "c"),
        arrays={JOB: (3, 4)},
        asked=1,
        refused={JOB: "no"},
    )
    return replace(chunk, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "run", [Run(run_id=RUN, guard="monthly", due_at=NOW, not_before=NOW, observing=True), FAR]
)
def test_a_run_comes_back_as_it_was_put(table: Table, run: Run) -> None:
    table.write([run_items.put(run, NOW)])

    assert run_items.read(table, RUN) == replace(run, version=1)
    assert run_items.read(table, "other") is None


def test_a_chunk_comes_back_as_it_was_put(table: Table) -> None:
    table.write([run_items.put_chunk(RUN, a_chunk(12))])

    assert run_items.read_chunk(table, RUN, 12) == a_chunk(12, version=1)
    assert run_items.read_chunk(table, RUN, 13) is None


def test_a_chunk_of_a_thousand_jobs_fits_into_an_item(table: Table) -> None:
    ids = tuple(f"{JOB[:-8]}{number * 2_654_435_761 % 2**32:08x}" for number in range(1_100))
    chunk = a_chunk(stop=ids, asked=1_100, refused=dict.fromkeys(ids, "AccessDenied: " + "x" * 200))
    table.write([run_items.put_chunk(RUN, chunk)])

    assert run_items.read_chunk(table, RUN, 0) == replace(chunk, version=1)


def test_chunks_and_arrivals_are_found_in_the_order_of_time(table: Table) -> None:
    table.write(
        [run_items.put_chunk(RUN, a_chunk(number, f"12:0{number}")) for number in (0, 2, 4)]
    )
    table.write(
        [run_items.put_arrivals(RUN, ["x"], a_chunk(clock=clock)) for clock in ("12:01", "12:03")]
    )
    table.write([run_items.put(FAR, NOW), run_items.put_chunk("another run", a_chunk())])

    assert [chunk.at for chunk in run_items.found(table, RUN)] == [at(f"12:0{n}") for n in range(5)]


def test_runs_take_turns(table: Table) -> None:
    assert run_items.take_turn(table, "a", at("12:00")) is None
    assert run_items.take_turn(table, "b", at("12:01")) == "a"
    assert run_items.take_turn(table, "a", at("12:01")) == "a"

    run_items.end_turn(table, "a", at("12:01"))

    assert run_items.take_turn(table, "b", at("12:01")) is None


def test_a_turn_runs_out(table: Table) -> None:
    run_items.take_turn(table, "a", at("12:00"))

    assert run_items.take_turn(table, "b", at("12:03")) is None
    run_items.end_turn(table, "a", at("12:03"))  # It was overtaken: it has no turn to end.
    assert run_items.take_turn(table, "a", at("12:03")) == "b"


# ---- Operators ----------------------------------------------------------------------------


def test_without_a_hold_nothing_is_held(table: Table) -> None:
    assert operator_hold.read(table) == OperatorHold()
    assert not operator_hold.read(table).is_on


def test_a_hold_comes_back_as_it_was_put(table: Table) -> None:
    waiting = SetQueueState(queue=QUEUE, state="DISABLED", guard="monthly")
    held = OperatorHold(since=NOW, by="jane", why="so", queues={QUEUE: waiting})

    table.write([operator_hold.put(held)])

    assert operator_hold.read(table) == replace(held, version=1)
    with pytest.raises(StaleItemError):
        table.write([operator_hold.put(held)])


def test_an_exemption_is_in_force_until_its_time(table: Table) -> None:
    exemption = Exemption(job_id=JOB, until=at("13:00"), by="jane", why="demo")

    table.write([exemption_items.put(exemption)])

    assert exemption_items.read_all(table, at("12:59")) == {JOB: replace(exemption, version=1)}
    assert exemption_items.read_all(table, at("13:00")) == {}
    assert exemption_items.read(table, JOB) == replace(exemption, version=1)
