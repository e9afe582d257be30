"""The table's stream as DynamoDB writes it, and races in earnest: on DynamoDB Local alone."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from batch_watchdog.core.effects import Announce, Effect, SetQueueState, StartRun, StopJobs
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.store.actions import Actions, to_action
from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import DynamoTable, Put, Table
from local.aws import stack as stacks
from local.aws.patterns import Pattern
from tests import dynamodb_local as dynamodb
from tests.dynamodb_local import Stream, image
from tests.makers import QUEUE, a_notice, at

pytestmark = [pytest.mark.dynamodb, pytest.mark.allow_hosts(["127.0.0.1"])]

NOW = at("12:00")
_EXPIRED_S = 30  # within which DynamoDB Local deletes what has expired


@pytest.fixture(scope="session")
def stream_filter() -> Pattern:
    """What the template lets through to act."""
    stack = stacks.read()
    found = (source for source in stack.sources if source.source == stack.stream)
    [pattern] = [pattern for source in found for pattern in source.filters]
    return pattern


@pytest.fixture
def stream(local_table: DynamoTable, dynamodb_local: str) -> Stream:
    return Stream(dynamodb_local)


EFFECTS: list[Effect] = [
    Announce(notices=(a_notice(),)),
    StopJobs(how="cancel", job_ids=("1", "2"), reason="why", rule="limit[1]", service=False),
    SetQueueState(queue=QUEUE, state="DISABLED", guard="budget"),
    StartRun(run_id="run-1"),
]


def test_actions_come_through_the_filter_as_they_were_written_and_in_order(
    local_table: DynamoTable, stream: Stream, stream_filter: Pattern
) -> None:
    for minute, effect in enumerate(EFFECTS):
        state = Put({"pk": "GUARD", "sk": "budget", "stage": minute}, read=minute)
        now = NOW + timedelta(minutes=minute)
        local_table.write([state, *Actions(local_table).puts([effect], now, "sweep")])

    records = stream.records()
    wanted = [record for record in records if stream_filter.matches(record)]

    assert len(records) == 2 * len(EFFECTS)
    assert [record["eventName"] for record in wanted] == ["INSERT"] * len(EFFECTS)
    assert [to_action(image(record)).effect for record in wanted] == EFFECTS
    assert stream.view == "NEW_IMAGE"


def test_the_result_of_an_action_does_not_come_through_the_filter(
    local_table: DynamoTable, stream: Stream, stream_filter: Pattern
) -> None:
    actions = Actions(local_table)
    [put] = actions.puts([StartRun(run_id="run-1")], NOW, "sweep")
    local_table.write([put])
    action = actions.get(*put.key)
    assert action

    actions.record(action, {"sent": "run-1"})

    records = stream.records()
    assert [record["eventName"] for record in records] == ["INSERT", "MODIFY"]
    assert [stream_filter.matches(record) for record in records] == [True, False]


def test_the_twin_tells_of_writes_as_the_stream_does(
    local_table: DynamoTable, stream: Stream
) -> None:
    received: list[tuple[str, Item]] = []
    twin = MemoryTable(listener=lambda name, _, item: received.append((name, item)))
    writes = [
        [Put({"pk": "P", "sk": "a", "body": b"\x00\xff", "n": 7})],
        [Put({"pk": "P", "sk": "a", "text": "ü"}, read=1), Put({"pk": "Q", "sk": "a"})],
        [Put({"pk": "P", "sk": "b"}), Put({"pk": "Q", "sk": "a"}, read=7)],  # loses the race
        [Put({"pk": "P", "sk": "a"}, read=2)],
    ]

    tables: list[Table] = [local_table, twin]
    for table in tables:
        for puts in writes[:2] + writes[3:]:
            table.write(puts)
        with pytest.raises(StaleItemError):
            table.write(writes[2])

    told = [(record["eventName"], image(record)) for record in stream.records()]
    assert told == received
    assert len(told) == 4


def test_of_those_that_write_at_the_same_time_at_most_one_wins(
    local_table: DynamoTable, stream: Stream
) -> None:
    turn = 0

    def write(writer: int) -> bool:
        both = [Put({"pk": pk, "sk": "1", "by": writer}, read=turn) for pk in ("P", "Q")]
        try:
            local_table.write(both)
        except StaleItemError:
            return False
        return True

    with ThreadPoolExecutor(8) as writers:
        for _ in range(20):
            won = list(writers.map(write, range(8)))
            assert won.count(True) <= 1
            turn += won.count(True)

    items = [local_table.get(pk, "1") for pk in ("P", "Q")]
    assert turn > 0
    assert [item and item["version"] for item in items] == [turn, turn]
    assert len(stream.records()) == 2 * turn


def test_what_has_expired_goes_without_a_word_to_act(
    local_table: DynamoTable, stream: Stream, stream_filter: Pattern, dynamodb_local: str
) -> None:
    dynamodb.let_items_expire(dynamodb.client("dynamodb", dynamodb_local), "table")
    actions = Actions(local_table)
    today = datetime.now(UTC).replace(microsecond=0)
    [old] = actions.puts([StartRun(run_id="old")], today - timedelta(days=91), "sweep")
    [new] = actions.puts([StartRun(run_id="new")], today, "sweep")

    local_table.write([old, new])
    deadline = time.monotonic() + _EXPIRED_S
    while local_table.get(*old.key) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert local_table.get(*old.key) is None
    assert actions.get(*new.key)
    records = stream.records()
    assert [record["eventName"] for record in records] == ["INSERT", "INSERT", "REMOVE"]
    assert [stream_filter.matches(record) for record in records] == [True, True, False]
