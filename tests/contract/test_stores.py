"""What is remembered: each kind of item, on DynamoDB and on its twin in memory."""

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.arrays.items import Arrays
from batch_watchdog.arrays.progress import PART_SIZE, Array, Part, unite
from batch_watchdog.core.effects import Announce, Effect, SetQueueState, StartRun, StopJobs
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.limits import brake_items, sighting_items, stay_items
from batch_watchdog.limits.stays import Sighting, Stay
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.store import reminders as reminder_items
from batch_watchdog.store import sweep_cursor
from batch_watchdog.store.actions import Actions, to_action
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.once import OnceKey as Decision
from batch_watchdog.store.once import OnceLedger, by_bucket
from batch_watchdog.store.reminders import MINUTE, Kind, Reminder, Reminders, minute_from, minute_of
from batch_watchdog.store.sweep_cursor import LOOKBACK, Cursor, Listing, Place, Refiling
from batch_watchdog.store.table import FIRST, LAST, Key, Put, Table
from batch_watchdog.use_cases.job_events import JobEventIntake
from tests.fakes import Aws, RacedTable
from tests.makers import (
    ARRAY,
    JOB,
    QUEUE,
    SPOT_LOSS,
    a_child,
    a_child_event,
    a_notice,
    a_parent_event,
    a_part,
    an_array,
    an_event,
    at,
    messages,
)

NOW = at("12:00")


def item_of(table: Table, put: Put) -> Item:
    item = table.get(*put.key)
    assert item is not None
    return item


# ---- Arrays -------------------------------------------------------------------------------

FULL_HEAD = an_array(
    ended_at=at("12:10"),
    status="FAILED",
    reason="Array Child Job failed",
    summary={"SUCCEEDED": 7, "FAILED": 3},
    tags={"team": "imaging", "ü": ""},
    announced=True,
    told_percent=90,
    rest_told=True,
    rest_stopped_at=at("12:05"),
)


@pytest.mark.parametrize("array", [an_array(), an_array(size=None, job_name=""), FULL_HEAD])
def test_an_array_comes_back_as_it_was_put(table: Table, array: Array) -> None:
    store = Arrays(table)

    table.write([store.put(array, NOW)])

    assert store.read(ARRAY, ()) == (replace(array, version=1), {})
    assert store.heads([ARRAY, "other"]) == {ARRAY: replace(array, version=1)}


def test_a_part_comes_back_as_it_was_put(table: Table) -> None:
    store = Arrays(table)
    lost = a_child(4_002, "FAILED", statusReason=SPOT_LOSS, container={}, attempts=[])
    part = a_part(a_child(4_000), a_child(4_001, "FAILED"), lost, number=1)

    table.write([store.put_part(ARRAY, part, NOW)])

    assert store.read(ARRAY, [0, 1]) == (None, {0: Part(number=0), 1: replace(part, version=1)})


def test_all_parts_are_read_up_to_the_size_and_no_further(table: Table) -> None:
    store = Arrays(table)
    table.write([store.put_part(ARRAY, a_part(a_child(0), a_child(7)), NOW)])
    table.write([store.put_part(ARRAY, a_part(a_child(9_999), number=2), NOW)])

    small = store.all_parts(an_array(size=5))
    large = store.all_parts(an_array(size=10_000))

    assert [part.counted() for part in small] == [1]
    assert [(part.number, part.counted()) for part in large] == [(0, 2), (1, 0), (2, 1)]


def test_of_two_that_write_a_part_one_must_read_again(table: Table) -> None:
    store = Arrays(table)
    table.write([store.put_part(ARRAY, a_part(a_child(0)), NOW)])

    with pytest.raises(StaleItemError):
        table.write([store.put_part(ARRAY, a_part(a_child(1)), NOW)])

    part = store.read(ARRAY, [0])[1][0]
    table.write([store.put_part(ARRAY, unite(part, [a_child(1)]), NOW)])
    assert store.read(ARRAY, [0])[1][0].counted() == 2


def test_an_array_is_forgotten_a_year_after_its_last_change(table: Table) -> None:
    put = Arrays(table).put(an_array(), NOW)

    assert put.item["expires_at"] == int((NOW + timedelta(days=365)).timestamp())


# ---- Actions ------------------------------------------------------------------------------

EFFECTS: Sequence[Effect] = (
    Announce(notices=(a_notice(facts={"a": [None, {"ü": 1.5}]}), a_notice(id="2"))),
    StopJobs(how="terminate", job_ids=("1", "2"), reason="why", rule="limit[1]", service=True),
    SetQueueState(queue=QUEUE, state="DISABLED", guard="budget"),
    StartRun(run_id="run-1"),
)


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: type(effect).__name__)
def test_an_action_comes_back_with_its_effect(table: Table, effect: Effect) -> None:
    (put,) = Actions(table).puts([effect], NOW, "sweep")
    table.write([put])

    action = Actions(table).get(*put.key)

    assert action is not None
    assert action.effect == effect
    assert (action.at, action.asked_by) == ("2026-01-01T12:00:00Z", "sweep")
    assert (action.result, action.version) == (None, 1)
    assert put.key[0] == "ACTION#2026-01-01"


def test_actions_of_a_day_stand_in_order_of_time(table: Table) -> None:
    for minute in (7, 3, 5):
        effects = [StartRun(run_id=f"run-{minute}")]
        table.write(Actions(table).puts(effects, NOW + minute * MINUTE, "sweep"))

    found = [to_action(item).effect for item in table.query("ACTION#2026-01-01")]

    assert found == [StartRun(run_id=f"run-{minute}") for minute in (3, 5, 7)]


def test_a_result_is_recorded_once(table: Table) -> None:
    actions = Actions(table)
    (put,) = actions.puts([StartRun(run_id="run-1")], NOW, "sweep")
    table.write([put])
    action = actions.get(*put.key)
    assert action is not None

    actions.record(action, {"a": [1]})
    with pytest.raises(StaleItemError):
        actions.record(action, {"a": [2]})

    recorded = actions.get(*put.key)
    assert recorded is not None
    assert (recorded.result, recorded.effect) == ({"a": [1]}, action.effect)


def noise(seed: int) -> str:
    """Text that cannot be compressed much."""
    return random.Random(seed).randbytes(1_000).hex()  # noqa: S311 - no secret


def test_a_huge_announcement_becomes_several_that_fit_and_lose_no_notice() -> None:
    notices = tuple(a_notice(id=str(n), text=noise(n)) for n in range(2_500))

    puts = Actions(MemoryTable()).puts([Announce(notices=notices)], NOW, "sweep")

    effects = [to_action({**put.item, "version": 1}).effect for put in puts]
    announced = [effect for effect in effects if isinstance(effect, Announce)]
    assert [notice for effect in announced for notice in effect.notices] == list(notices)
    assert max(map(size_of, (put.item for put in puts))) < 400_000
    assert len({put.key for put in puts}) == len(puts) < 20


def test_a_thousand_notices_of_the_usual_kind_are_one_action() -> None:
    notices = tuple(a_notice(id=f"job-failed:{n}", text="It failed.\n" * 20) for n in range(1_000))

    assert len(Actions(MemoryTable()).puts([Announce(notices=notices)], NOW, "sweep")) == 1


def test_one_notice_cannot_be_split() -> None:
    huge = Announce(notices=(a_notice(text="x" * 2_000_000),))

    assert len(Actions(MemoryTable()).puts([huge], NOW, "sweep")) == 1


# ---- The wheel ----------------------------------------------------------------------------


def an_entry(clock: str = "12:05", kind: Kind = "array", content: Any = (ARRAY,)) -> Reminder:
    return Reminder(minute=at(clock), kind=kind, content=pack(content))


def due(table: Table, first: str, last: str) -> list[Reminder]:
    found = Reminders(table).between(at(first), at(last))
    return sorted(found, key=lambda entry: (entry.minute, entry.key))


def test_entries_are_found_in_their_minutes(table: Table) -> None:
    filed = [an_entry("12:04"), an_entry("12:05"), an_entry("12:06"), an_entry("13:00")]

    Reminders(table).file(filed)

    assert due(table, "12:04", "12:06") == filed[:3]
    assert due(table, "12:07", "12:59") == []
    assert due(table, "13:00", "13:00") == filed[3:]


def test_an_entry_that_is_filed_again_lands_on_itself(table: Table) -> None:
    Reminders(table).file([an_entry(), an_entry()])
    Reminders(table).file([an_entry()])

    assert due(table, "12:05", "12:05") == [an_entry()]


def test_entries_of_a_minute_stay_apart_and_are_spread(table: Table) -> None:
    kinds: list[Kind] = ["array", "stay"]
    filed = [an_entry(kind=kind, content=[n]) for kind in kinds for n in range(20)]

    Reminders(table).file(filed)

    assert sorted(entry.key for entry in due(table, "12:05", "12:05")) == sorted(
        entry.key for entry in filed
    )
    assert len({reminder_items.put(entry).key[0] for entry in filed}) == 4


def test_an_entry_outlives_its_minute_by_a_week() -> None:
    expiry = int((at("12:05") + timedelta(days=7)).timestamp())

    assert reminder_items.put(an_entry()).item["expires_at"] == expiry


@pytest.mark.parametrize(
    ("clock", "of", "begins"),
    [("12:00", "12:00", "12:00"), ("12:00:01", "12:00", "12:01"), ("12:00:59", "12:00", "12:01")],
)
def test_minutes(clock: str, of: str, begins: str) -> None:
    assert minute_of(at(clock)) == at(of)
    assert minute_from(at(clock)) == at(begins)
    assert minute_from(at(of) + timedelta(microseconds=1)) == at(of) + MINUTE


# ---- The ledger ---------------------------------------------------------------------------


def decide(table: Table, *names: str, clock: str = "12:00:30") -> list[str]:
    """The decisions that are new; they are remembered."""
    fresh = []
    decisions = {name: Decision(name, at(clock)) for name in names}
    for bucket, entries in by_bucket(decisions).items():
        new, puts = OnceLedger(table).new(bucket, entries, NOW)
        table.write(puts)
        fresh += new
    return sorted(fresh)


def test_a_decision_is_new_once(table: Table) -> None:
    assert decide(table, "a", "b") == ["a", "b"]
    assert decide(table, "b", "c", "a") == ["c"]
    assert decide(table, "a", "b", "c") == []


def test_a_decision_is_found_again_in_whatever_company_and_second_it_comes(table: Table) -> None:
    names = [f"job-failed:{number}" for number in range(300)]
    decide(table, *names[:200])

    assert decide(table, *names[100:], clock="12:00:59") == sorted(names[200:])
    assert decide(table, names[0], clock="12:01") == [names[0]]  # it is about another time


def test_one_decision_by_two_names_is_made_once(table: Table) -> None:
    twice = {"message-1": Decision("a", NOW), "message-2": Decision("a", NOW)}
    ((bucket, entries),) = by_bucket(twice).items()

    assert OnceLedger(table).new(bucket, entries, NOW)[0] == ["message-1"]


def test_of_two_that_decide_the_same_one_must_read_again(table: Table) -> None:
    ((bucket, entries),) = by_bucket({"a": Decision("a", NOW)}).items()
    _, first = OnceLedger(table).new(bucket, entries, NOW)
    _, second = OnceLedger(table).new(bucket, entries, NOW)
    table.write(first)

    with pytest.raises(StaleItemError):
        table.write(second)
    assert OnceLedger(table).new(bucket, entries, NOW) == ([], [])


def test_a_storm_of_decisions_is_a_few_items(table: Table) -> None:
    names = [f"job-failed:{number}" for number in range(5_000)]
    buckets = by_bucket({name: Decision(name, NOW) for name in names})

    puts = [
        put for bucket in buckets for put in OnceLedger(table).new(bucket, buckets[bucket], NOW)[1]
    ]

    assert len(puts) == 16
    assert sum(size_of(put.item) for put in puts) < 9 * len(names)


def in_one_bucket(count: int) -> dict[str, Decision]:
    """So many decisions that one item remembers."""
    found = (Decision(f"job-failed:{number}", NOW) for number in range(20 * count))
    alike = (each for each in found if each.bucket[1] == "7")
    return {each.name: each for each, _ in zip(alike, range(count), strict=False)}


def test_a_bucket_is_never_full(table: Table) -> None:
    entries = in_one_bucket(9_000)
    names = list(entries)
    for first, last in ((0, 3_999), (3_999, 4_000), (4_000, 4_001), (4_001, 9_000)):
        some = {name: entries[name] for name in names[:last]}
        ((bucket, _),) = by_bucket(some).items()
        fresh, puts = OnceLedger(table).new(bucket, some, NOW)
        assert fresh == names[first:last]
        table.write(puts)

    items = list(table.query(bucket[0]))
    assert OnceLedger(table).new(bucket, entries, NOW) == ([], [])
    assert len(items) == 3
    assert max(map(size_of, items)) < 33_000
    assert {item["expires_at"] for item in items} == {items[0]["expires_at"]}


def test_an_item_of_an_older_version_is_read_and_moved_away_though_it_is_full(table: Table) -> None:
    entries = in_one_bucket(20_000)
    *old, new = entries.values()
    pk, sk = new.bucket
    digests = b"".join(each.digest for each in old)
    table.write([Put({"pk": pk, "sk": sk, "digests": digests, "expires_at": 1})])

    fresh, puts = OnceLedger(table).new(new.bucket, entries, NOW)
    table.write(puts)

    assert fresh == [new.name]
    assert len(puts) == 5
    assert OnceLedger(table).new(new.bucket, entries, NOW) == ([], [])


def test_of_two_that_move_a_full_item_away_one_must_read_again(table: Table) -> None:
    entries = in_one_bucket(4_002)
    *some, last, other = entries.values()
    _, puts = OnceLedger(table).new(last.bucket, {each.name: each for each in some}, NOW)
    table.write(puts)
    _, first = OnceLedger(table).new(last.bucket, {"last": last}, NOW)
    _, second = OnceLedger(table).new(last.bucket, {"other": other}, NOW)
    table.write(first)

    with pytest.raises(StaleItemError):
        table.write(second)
    assert OnceLedger(table).new(last.bucket, {"last": last, "other": other}, NOW)[0] == ["other"]


# ---- The brake ----------------------------------------------------------------------------


def test_stops_count_for_an_hour_and_only_once_they_are_written(table: Table) -> None:
    before = brake_items.read(table, NOW)
    assert before.allowed(9, 5) == 5
    put = before.put(4, NOW)
    assert brake_items.read(table, NOW).allowed(9, 5) == 5

    table.write([put])

    assert brake_items.read(table, at("12:59:59")).allowed(9, 5) == 1
    assert brake_items.read(table, at("13:00")).allowed(9, 5) == 5


def test_of_two_that_count_stops_one_must_read_again(table: Table) -> None:
    one, other = brake_items.read(table, NOW), brake_items.read(table, NOW)
    table.write([one.put(4, NOW)])

    with pytest.raises(StaleItemError):
        table.write([other.put(4, NOW)])


@pytest.mark.parametrize(
    ("recorded", "stopped", "allowed"),
    [(4, 4, (1, 5)), (4, 1, (4, 5)), (4, 0, (5, 5)), (9, 4, (1, 5))],
    ids=["all", "some", "none", "more than are counted"],
)
def test_in_place_of_the_recorded_stops_those_are_counted_that_batch_has_accepted(
    table: Table, recorded: int, stopped: int, allowed: tuple[int, int]
) -> None:
    table.write([brake_items.read(table, NOW).put(4, NOW)])

    table.write([*brake_items.read(table, NOW).settled(recorded, NOW, stopped, NOW)])

    clocks = ("12:59:59", "13:00")
    assert tuple(brake_items.read(table, at(c)).allowed(9, 5) for c in clocks) == allowed


def test_stops_count_from_the_minute_in_which_they_were_accepted(table: Table) -> None:
    table.write([brake_items.read(table, NOW).put(4, NOW)])

    table.write([*brake_items.read(table, NOW).settled(4, NOW, 3, at("12:04"))])

    assert brake_items.read(table, at("13:03")).allowed(9, 5) == 2
    assert brake_items.read(table, at("13:04")).allowed(9, 5) == 5
    assert not [*brake_items.read(table, at("13:00")).settled(4, NOW, 0, at("13:00"))]


# ---- The cursor ---------------------------------------------------------------------------


def test_the_first_cursor_has_come_to_now(table: Table) -> None:
    assert sweep_cursor.read(table, NOW) == Cursor(minute=NOW)


def test_the_first_sweep_writes_where_it_begins_and_others_begin_there_too(table: Table) -> None:
    begun = sweep_cursor.begin(table, NOW)

    assert begun == Cursor(minute=NOW, version=1)
    assert sweep_cursor.begin(table, NOW + MINUTE) == begun
    assert sweep_cursor.read(table, at("18:00")) == begun


def test_of_two_first_sweeps_both_begin_where_the_faster_one_does(table: Table) -> None:
    faster = RacedTable(table, lambda: sweep_cursor.write(table, Cursor(minute=NOW)))

    assert sweep_cursor.begin(faster, NOW + MINUTE) == Cursor(minute=NOW, version=1)


def test_a_cursor_comes_back_as_it_was_written(table: Table) -> None:
    cursor = Cursor(
        minute=NOW,
        seen={NOW: frozenset({"array#1", "stay#2"}), NOW - MINUTE: frozenset()},
        begun={NOW: {"stay#3": 1_200}},
        listed_at=at("11:50"),
        listing=Listing(
            began_at=at("11:50"),
            place=Place(queue=QUEUE, service=False, status="PENDING", parent=ARRAY),
        ),
        relist=True,
        policy="0123456789abcdef",
        refiling=Refiling(policy="f", minute=at("12:30"), entry="stay#4", number=7),
    )

    sweep_cursor.write(table, cursor)

    assert sweep_cursor.read(table, at("18:00")) == replace(cursor, version=1)


def test_of_two_sweeps_only_one_moves_the_cursor(table: Table) -> None:
    cursor = sweep_cursor.read(table, NOW)
    sweep_cursor.write(table, cursor)

    with pytest.raises(StaleItemError):
        sweep_cursor.write(table, cursor)


def test_what_was_seen_is_not_seen_again_as_long_as_it_is_read_again() -> None:
    entries = [an_entry("11:58"), an_entry("12:00")]

    cursor = Cursor(minute=at("11:59")).passed(NOW, entries, all_of_them=True)

    assert cursor.minute == NOW
    assert all(cursor.has_seen(entry) for entry in entries)
    assert not cursor.has_seen(an_entry("12:00", content=["other"]))
    assert cursor.first == NOW - LOOKBACK

    later = cursor.passed(NOW + LOOKBACK, [], all_of_them=True)
    assert [later.has_seen(entry) for entry in entries] == [False, True]


def test_a_sweep_that_ran_out_of_time_goes_on_where_it_stopped() -> None:
    done, left = an_entry("12:00"), an_entry("12:00", content=["left"])

    cursor = Cursor(minute=at("11:50")).passed(NOW, [done], all_of_them=False)

    assert cursor.first <= at("11:50")
    assert cursor.has_seen(done)
    assert not cursor.has_seen(left)


def test_what_either_of_two_sweeps_has_seen_is_seen() -> None:
    one, other, both = (an_entry("12:00", content=[name]) for name in ("one", "other", "both"))
    before = Cursor(minute=at("11:59"), policy="old", listed_at=at("11:50"))
    mine = before.passed(NOW, [one], all_of_them=False).came_to(both, 500)
    mine = replace(mine, policy="new")
    stored = before.passed(NOW, [other], all_of_them=False).came_to(both, 400)
    stored = replace(stored, listed_at=at("12:00"), version=3)

    joined = mine.joined(before, stored)

    assert joined.has_seen(one)
    assert joined.has_seen(other)
    assert joined.done_of(both) == 500
    assert (joined.minute, joined.version) == (at("11:59"), 3)
    assert (joined.policy, joined.listed_at) == ("new", at("12:00"))


# ---- What it costs ------------------------------------------------------------------------


def size_of(item: Item) -> int:
    """
    The bytes that DynamoDB counts for an item.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """

    def of(value: str | int | bytes) -> int:
        match value:
            case str():
                return len(value.encode())
            case bytes():
                return len(value)
            case int():  # About a byte for two digits, and one more; a sign takes another.
                return len(str(abs(value)).rstrip("0")) // 2 + 2

    return sum(len(name.encode()) + of(value) for name, value in item.items())


class MeteredTable:
    """A table that counts write units: one for each begun KB, and twice that in a transaction."""

    def __init__(self) -> None:
        self._table = MemoryTable()
        self.units = 0

    def get(self, pk: str, sk: str) -> Item | None:
        return self._table.get(pk, sk)

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        return self._table.get_many(keys)

    def query(self, pk: str, *, first: str = FIRST, last: str = LAST) -> Iterator[Item]:
        return self._table.query(pk, first=first, last=last)

    def latest(self, pk: str, most: int, *, first: str = FIRST, last: str = LAST) -> list[Item]:
        return self._table.latest(pk, most, first=first, last=last)

    def write(self, puts: Sequence[Put]) -> None:
        self._table.write(puts)
        units = sum(math.ceil(size_of({**put.item, "version": 1}) / 1_024) for put in puts)
        self.units += units if len(puts) == 1 else 2 * units


def test_the_meter_counts_as_dynamodb_does() -> None:
    table = MeteredTable()

    table.write([Put({"pk": "P", "sk": "a", "x": b"x" * 1_100})])
    table.write([Put({"pk": "P", "sk": "b"}), Put({"pk": "P", "sk": "c", "x": b"x" * 1_100})])

    assert table.units == 2 + 2 * (1 + 2)


def intake_on(table: Table, text: str = "") -> JobEventIntake:
    aws = Aws()
    policy = parse_policy(text)
    return JobEventIntake(
        table=table,
        batch=aws.batch,
        dead_letters=aws.dead_letters,
        policy=lambda: policy,
        clock=lambda: at("12:10"),
    )


@pytest.mark.parametrize("order", ["in order", "shuffled"])
def test_an_array_of_ten_thousand_that_ends_in_a_second_costs_tens_of_writes(
    order: Literal["in order", "shuffled"],
) -> None:
    table = MeteredTable()
    failed = range(0, 10_000, 100)
    events = [
        a_child_event(index, "FAILED" if index in failed else "SUCCEEDED", clock="12:10")
        for index in range(10_000)
    ]
    if order == "shuffled":
        random.Random(1).shuffle(events)  # noqa: S311 - no secret
    events.append(a_parent_event(10_000, failed=len(failed), clock="12:10:01"))

    for first in range(0, len(events), 1_000):
        intake_on(table).handle(messages(*events[first : first + 1_000]))

    (action,) = [to_action(item) for item in table.query("ACTION#2026-01-01")]
    assert isinstance(action.effect, Announce)
    assert action.effect.notices[0].facts["failed"] == 100
    assert table.units < 70


def test_an_array_is_counted_and_told_on_either_table(table: Table) -> None:
    job_event_intake = intake_on(table)

    job_event_intake.handle(messages(*(a_child_event(index) for index in range(4))))
    job_event_intake.handle(messages(a_child_event(4, "FAILED"), an_event(status="FAILED")))
    job_event_intake.handle(messages(a_parent_event(5, failed=1), a_parent_event(5, failed=1)))

    told = [
        [notice.id for notice in effect.notices]
        for item in table.query("ACTION#2026-01-01")
        if isinstance(effect := to_action(item).effect, Announce)
    ]
    assert sorted(told) == [[f"array-completed:{ARRAY}"], [f"job-failed:{JOB}"]]


def test_states_of_children_that_are_not_the_last_cost_next_to_nothing() -> None:
    table = MeteredTable()
    job_event_intake = intake_on(table)

    for status in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"):
        children = [a_child_event(index, status) for index in range(1_000)]
        job_event_intake.handle(messages(*children))

    # The array itself and the reminder to ask for it; for each batch, what moved on, and a reminder
    # to look for own tags.
    assert table.units <= 4 + 5 * 2


@pytest.mark.parametrize(("tags", "units"), [({}, 2), ({"team": "imaging"}, 1)])
def test_states_of_single_jobs_that_nothing_limits_cost_a_write_or_two_a_batch(
    tags: Mapping[str, str], units: int
) -> None:
    """Of what moved on, and, where an event does not show the tags, to look for own ones."""
    table = MeteredTable()
    events = [an_event(jobId=f"job-{number}", tags=tags) for number in range(30)]

    intake_on(table).handle(messages(*events))

    assert table.units == units


LIMITED = '[[limit]]\nRUNNABLE = { warn_after = "1h", after = "6h" }\n'


def a_stay(job_id: str = JOB, **changes: Any) -> Stay:
    stay = Stay(job_id=job_id, status="RUNNABLE", since=at("11:00"), attempts=0)
    return replace(stay, **changes)


STAYS = [
    a_stay(),
    a_stay(stops=2, stopped_at=at("11:30")),
    a_stay(stops=3, unasked=2, left_alone=True),
    a_stay(tags_known=False, missed=3, service=True, attempts=4, status="SCHEDULED"),
    *(a_stay(f"{ARRAY}:{index}") for index in (0, 3, 4, 9_999)),
    a_stay(f"{ARRAY}:07"),  # an id that no array has
    a_stay("1-2:3"),
]


def read_back(given: Sequence[Stay]) -> set[Stay]:
    entries = stay_items.entries([(NOW, stay) for stay in given], NOW)
    return {stay for entry in entries for stay in stay_items.read(unpack(entry.content))}


def test_stays_survive_the_table() -> None:
    assert read_back(STAYS) == set(STAYS)


@given(st.sets(st.integers(0, 9_999), min_size=1))
def test_the_children_of_an_array_are_kept_each_in_few_bytes(indices: set[int]) -> None:
    children = {a_stay(f"{ARRAY}:{index}") for index in indices}
    [entry] = stay_items.entries([(NOW, child) for child in children], NOW)

    assert set(stay_items.read(unpack(entry.content))) == children
    assert len(entry.content) < 200 + len(indices)


def test_a_stay_that_began_within_a_second_counts_from_the_next_one_on() -> None:
    began = at("11:00") + timedelta(milliseconds=1)

    assert read_back([a_stay(since=began)]) == {a_stay(since=at("11:00:01"))}


def test_stays_that_an_older_version_has_filed_are_read() -> None:
    rows = [
        ["RUNNABLE", JOB, 1_767_265_200, 1, 0, 2],
        ["RUNNABLE", f"{ARRAY}:7", 1_767_265_200, 0, 0, 0],
        ["RUNNABLE", ARRAY, 1_767_265_200, 0, 0, 1, 1_767_267_000, 0, 0, "8:1"],
    ]

    assert list(stay_items.read(rows)) == [
        a_stay(attempts=1, stops=2),
        a_stay(f"{ARRAY}:7"),
        a_stay(f"{ARRAY}:8", stops=1, stopped_at=at("11:30")),
    ]


def a_sighting(job_id: str = JOB, status: str = "RUNNABLE", clock: str = "11:00") -> Sighting:
    return Sighting(job_id=job_id, status=status, attempts=0, at=at(clock))


def test_sightings_are_found_by_job_from_a_time_on(table: Table) -> None:
    child, sibling = f"{ARRAY}:7", f"{ARRAY}:8"
    early = [a_sighting(clock="10:00"), a_sighting(child, clock="10:00")]
    late = [a_sighting(), a_sighting(child, "STARTING"), a_sighting(sibling), a_sighting("other")]
    sighting_items.file(table, early, at("10:01"))
    sighting_items.file(table, late, at("11:30"))
    sighting_items.file(table, late, at("11:30"))  # The batch comes again.

    found = sighting_items.read(table, at("11:00"), {JOB, child, "unknown"})

    assert found == {JOB: [a_sighting()], child: [a_sighting(child, "STARTING")]}
    everything = sighting_items.read(table, at("10:00"), {JOB})
    assert sorted(everything[JOB], key=lambda each: each.at) == [early[0], late[0]]


def test_items_that_hold_nothing_but_one_job_are_told_from_others(table: Table) -> None:
    sighting_items.file(table, [a_sighting(), a_sighting("other")], at("11:00"))
    sighting_items.file(table, [a_sighting()], at("10:00"))
    sighting_items.file(table, [a_sighting()], at("11:01"))

    [(pk, sk)] = sighting_items.keys_of_only(table, at("11:00"), JOB)

    assert sk.startswith("2026-01-01T11:01Z#")
    assert table.get(pk, sk)


def test_what_was_sent_within_the_minute_before_is_read_too(table: Table) -> None:
    sighting_items.file(table, [a_sighting()], at("10:59:30"))

    assert sighting_items.read(table, at("11:00:10"), {JOB}) == {JOB: [a_sighting()]}


def test_a_job_that_is_seen_in_each_state_costs_one_unit_for_each_batch() -> None:
    table = MeteredTable()
    for status in ("RUNNABLE", "STARTING", "RUNNING"):
        intake_on(table, LIMITED).handle(messages(an_event(status=status)))

    # A sighting, and a reminder to look at the job's tags.
    assert table.units == 3 * 2


def test_a_thousand_waiting_jobs_of_one_batch_are_filed_for_sixty_units_at_most() -> None:
    table = MeteredTable()
    chance = random.Random(1)  # noqa: S311 - no secret
    jobs = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(1_000)]

    intake_on(table, LIMITED).handle(messages(*(an_event(jobId=job) for job in jobs)))

    assert 0 < table.units <= 60


def test_an_array_of_ten_thousand_with_a_limit_costs_no_more_than_120_units_in_all() -> None:
    table = MeteredTable()
    job_event_intake = intake_on(table, LIMITED)
    for status in ("RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"):
        events = [a_child_event(index, status, clock="12:10") for index in range(10_000)]
        random.Random(1).shuffle(events)  # noqa: S311 - no secret
        for first in range(0, len(events), 1_000):
            job_event_intake.handle(messages(*events[first : first + 1_000]))
    job_event_intake.handle(messages(a_parent_event(10_000)))

    assert len(list(table.query("ACTION#2026-01-01"))) == 1
    assert 0 < table.units <= 120


def test_a_thousand_failed_jobs_are_a_few_writes() -> None:
    table = MeteredTable()
    failures = [
        an_event("12:05", jobId=f"{JOB[:-4]}{number:04}", status="FAILED")
        for number in range(1_000)
    ]

    intake_on(table).handle(messages(*failures))

    assert table.units < 200


def test_a_part_of_an_array_with_a_few_causes_is_about_a_kilobyte() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    children = [
        a_child(index, "FAILED", container={"exitCode": chance.randrange(1, 4)}, attempts=[])
        if chance.random() < 0.05
        else a_child(index)
        for index in range(PART_SIZE)
    ]

    assert size_of(Arrays(MemoryTable()).put_part(ARRAY, a_part(*children), NOW).item) < 1_024


@given(st.lists(st.tuples(st.integers(0, 3_999), st.booleans()), max_size=50))
def test_any_part_survives_the_table(ended: list[tuple[int, bool]]) -> None:
    table = MemoryTable()
    children: list[JobEvent] = [
        a_child(index, "FAILED" if failed else "SUCCEEDED") for index, failed in ended
    ]
    part = a_part(*children)

    table.write([Arrays(table).put_part(ARRAY, part, NOW)])

    assert Arrays(table).read(ARRAY, [0])[1][0] == replace(part, version=1)


def test_items_hold_nothing_but_what_the_table_takes() -> None:
    puts = [
        Arrays(MemoryTable()).put(FULL_HEAD, NOW),
        *Actions(MemoryTable()).puts(EFFECTS, NOW, "sweep"),
        reminder_items.put(an_entry()),
    ]

    for put in puts:
        assert {type(value) for value in put.item.values()} <= {str, int, bytes}
        assert put.key[1].isascii()
        json.dumps(put.key)
