"""Histories on AWS's own DynamoDB Local, its stream included: they go as on the twin in memory."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import count, islice
from typing import Any

import pytest

from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Listener, Put, Table
from local.aws import stack as stacks
from local.aws.dispatcher import MakeTable
from local.aws.stack import Stack
from tests import dynamodb_local as dynamodb
from tests.dynamodb_local import StreamedTable
from tests.simulation.faults import Faults, Rates
from tests.simulation.history import History, run
from tests.simulation.invariants import broken
from tests.simulation.plan import Plan, draw
from tests.simulation.regressions import PLANS
from tests.simulation.test_crash_points import SCENARIOS, OneCrash

pytestmark = [pytest.mark.dynamodb, pytest.mark.allow_hosts(["127.0.0.1"])]

type MakeFaults = Callable[..., Faults]

_HISTORIES = 4
_CRASHES = 3  # of each scenario
_LOOKED_AT = 50
_LONGEST_MIN = 45
_PAGE = 2  # items of a query; AWS gives 1 MB

# Much more often than elsewhere, as there are few histories.
_HARD = Rates(
    crash=0.005,
    refused=0.006,
    partial=0.9,
    conflicts=0.05,
    interleaved=0.03,
    redelivered=0.1,
)
# So many that some changes are not written even after all tries, and come once more.
_STORM = Rates(conflicts=0.7)
# So many at work at once that some really are faster than others.
_CROWD = Rates(interleaved=0.08)

# What has to do with the table.
_MUST_HAPPEN = (
    "crash before a call of the table",
    "crash after a call of the table",
    "the table throttles",
    "a write conflicts with one that is not made",
    "the same in two containers at once",
    "others at work in between",
    "what had gone well delivered again",
    "a stream's records delivered again",
    "a part of a batch failed",
    "partial failure of a bulk stop",
    # These are counted at DynamoDB itself.
    "a put lost a race",
    "a transaction lost a race",
    "a further page",
)


class CountingTable:
    """A table that counts lost races."""

    def __init__(self, table: Table, counts: Counter[str]) -> None:
        self._table = table
        self._counts = counts
        self.get, self.get_many = table.get, table.get_many
        self.query, self.latest = table.query, table.latest

    def write(self, puts: Sequence[Put]) -> None:
        try:
            self._table.write(puts)
        except StaleItemError:
            what = "a put" if len(puts) == 1 else "a transaction"
            self._counts[f"{what} lost a race"] += 1
            raise


@dataclass
class Engine:
    """
    DynamoDB Local with small pages. It counts what happens there; before each further page of a
    query, `between` is called.
    """

    address: str
    counts: Counter[str] = field(default_factory=Counter)
    tables: list[str] = field(default_factory=list)
    between: Callable[[], None] = lambda: None

    def make_table(self, listener: Listener) -> Table:
        self.tables.append(f"history-{len(self.tables)}")
        table = StreamedTable(self.address, self.tables[-1], listener)
        return CountingTable(table, self.counts)

    def of_page(self, params: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The parameters of a query that is about to be sent."""
        if "ExclusiveStartKey" in params:
            self.counts["a further page"] += 1
            self.between()
        return {**params, "Limit": _PAGE}


@pytest.fixture
def engine(dynamodb_local: str) -> Iterator[Engine]:
    made = Engine(dynamodb_local)
    client = dynamodb.client("dynamodb", dynamodb_local)
    event = "provide-client-params.dynamodb.Query"
    client.meta.events.register(event, made.of_page)
    yield made
    client.meta.events.unregister(event, made.of_page)
    for name in made.tables:
        client.delete_table(TableName=name)


@pytest.fixture(scope="module")
def stack() -> Stack:
    return stacks.read()


def _drawn(histories: int, rates: Rates) -> Iterator[Plan]:
    """Short histories, as quick as they come, with faults at these rates."""
    # In the orderly world: here it is the table that is in question.
    plans = (draw(seed, wide=False) for seed in count(1))
    short = (plan for plan in plans if plan.minutes <= _LONGEST_MIN)
    return (replace(plan, rates=rates) for plan in islice(short, histories))


def _drawn_with(rare: str, rates: Rates, stack: Stack) -> Plan:
    """A history in which something happens that is rare. It is looked for on the twin."""
    for plan in _drawn(_LOOKED_AT, rates):
        lost = Counter[str]()

        def make_table(listener: Listener, lost: Counter[str] = lost) -> Table:
            return CountingTable(MemoryTable(listener), lost)

        seen = run(plan, stack, make_table=make_table)
        if (seen.counts + lost)[rare]:
            return plan
    raise LookupError(f"{rare}: not once in {_LOOKED_AT} histories")


def _heard(make_table: MakeTable, writes: list[tuple[str, Item]]) -> MakeTable:
    """Make a table whose writes are noted, as its stream tells of them."""

    def make(listener: Listener) -> Table:
        def received(name: str, old: Item | None, new: Item) -> None:
            writes.append((name, new))
            listener(name, old, new)

        return make_table(received)

    return make


def _on_both(plan: Plan, stack: Stack, engine: Engine, make_faults: MakeFaults = Faults) -> History:
    """The history on DynamoDB, when it and all that was written is the same on the twin."""
    real: list[tuple[str, Item]] = []
    twins: list[tuple[str, Item]] = []
    seen = run(plan, stack, make_faults, _heard(engine.make_table, real))
    twin = run(plan, stack, make_faults, _heard(MemoryTable, twins))
    assert real
    for number, (told, wanted) in enumerate(zip(real, twins, strict=False)):
        assert told == wanted, f"write {number}"
    assert len(real) == len(twins)
    for each in fields(History):
        if each.name != "table":
            assert getattr(seen, each.name) == getattr(twin, each.name), each.name
    return seen


def test_what_must_always_hold_holds_whatever_goes_wrong(stack: Stack, engine: Engine) -> None:
    counts = Counter[str]()
    for plan in (
        *_drawn(_HISTORIES, _HARD),
        _drawn_with("a part of a batch failed", _STORM, stack),
        _drawn_with("a transaction lost a race", _CROWD, stack),
    ):
        seen = _on_both(plan, stack, engine)
        assert broken(seen) == [], plan.seed
        counts += seen.counts

    counts += engine.counts
    assert [name for name in _MUST_HAPPEN if not counts[name]] == []


def test_others_may_write_and_a_container_die_between_two_pages(
    stack: Stack, engine: Engine
) -> None:
    def make_faults(**given: Any) -> Faults:
        faults = Faults(**given)

        def between() -> None:
            before = _others_at_work(faults.counts)
            try:
                faults.before("a further page")
            finally:
                engine.counts["others between"] += _others_at_work(faults.counts) > before

        engine.between = between
        return faults

    [plan] = _drawn(1, replace(_HARD, interleaved=0.06, crash=0.01))
    seen = run(plan, stack, make_faults, engine.make_table)

    assert broken(seen) == []
    assert engine.counts["others between"]
    assert seen.counts["crash before a call of a further page"]


def _others_at_work(counts: Counter[str]) -> int:
    return counts["the same in two containers at once"] + counts["others at work in between"]


@pytest.mark.parametrize("name", PLANS)
def test_what_chance_brings_too_rarely_goes_well(stack: Stack, engine: Engine, name: str) -> None:
    assert broken(_on_both(PLANS[name], stack, engine)) == []


@pytest.mark.parametrize(
    "name",
    ["changes are taken in", "actions are carried out", "a stop run goes through its scope"],
)
def test_a_crash_leaves_what_it_leaves_on_the_twin(stack: Stack, engine: Engine, name: str) -> None:
    scenario = SCENARIOS[name]
    made: list[OneCrash] = []

    def make_faults(number: int, when: str, **given: Any) -> Faults:
        made.append(OneCrash(scenario, number, when, **given))
        return made[-1]

    run(scenario.plan, stack, partial(make_faults, 0, ""))
    calls = made[0].calls
    for part in range(_CRASHES):
        number, when = 1 + calls * part // _CRASHES, ("after", "before")[part % 2]
        seen = _on_both(scenario.plan, stack, engine, partial(make_faults, number, when))
        assert seen.counts["crash"] == 1
