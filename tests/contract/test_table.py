"""What every table promises: the same tests on DynamoDB and on its twin in memory."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.core.errors import StaleItemError, UnwritableError
from batch_watchdog.store.item_codec import Item, binary, from_image, pack, to_image, unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import TRANSACTION_MAX, DynamoTable, Put, Table, create
from local.aws.errors import ApiError, session


def a_put(sk: str = "a", pk: str = "P", read: int = 0, **attributes: Any) -> Put:
    return Put({"pk": pk, "sk": sk, **attributes}, read=read)


def sort_keys(items: Sequence[Item] | Any) -> list[str]:
    return [str(item["sk"]) for item in items]


# ---- One item -----------------------------------------------------------------------------


def test_what_was_written_is_read(table: Table) -> None:
    table.write([a_put(text="x", number=7)])

    assert table.get("P", "a") == {"pk": "P", "sk": "a", "text": "x", "number": 7, "version": 1}
    assert table.get("P", "b") is None
    assert table.get("Q", "a") is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Ünïcödé 日本語 🦊 \u202e\x00\n",
        0,
        -1,
        2**53 + 1,
        253_402_300_799,
        b"",
        b"\x00\xff" * 500,
        "x" * 100_000,
    ],
)
def test_each_value_comes_back_as_it_went(table: Table, value: str | int | bytes) -> None:
    table.write([a_put(value=value)])

    item = table.get("P", "a")
    assert item is not None
    assert item["value"] == value
    assert type(item["value"]) is type(value)


def test_each_write_makes_the_next_version(table: Table) -> None:
    table.write([a_put(text="first")])
    table.write([a_put(text="second", read=1)])
    table.write([a_put(text="third", read=2)])

    item = table.get("P", "a")
    assert item is not None
    assert (item["text"], item["version"]) == ("third", 3)


def test_an_attribute_that_is_not_written_again_is_gone(table: Table) -> None:
    table.write([a_put(text="x")])
    table.write([a_put(read=1)])

    assert table.get("P", "a") == {"pk": "P", "sk": "a", "version": 2}


@pytest.mark.parametrize("read", [0, 1, 3])
def test_of_two_writers_only_the_first_wins(table: Table, read: int) -> None:
    table.write([a_put()])
    table.write([a_put(text="theirs", read=1)])

    with pytest.raises(StaleItemError, match="P/a"):
        table.write([a_put(text="ours", read=read)])

    item = table.get("P", "a")
    assert item is not None
    assert (item["text"], item["version"]) == ("theirs", 2)


def test_an_item_that_is_gone_cannot_be_written_as_if_it_were_there(table: Table) -> None:
    with pytest.raises(StaleItemError):
        table.write([a_put(read=1)])

    assert table.get("P", "a") is None


# ---- Several items in one write -----------------------------------------------------------


def test_several_items_are_written_together(table: Table) -> None:
    table.write([a_put("a")])

    table.write([a_put("a", read=1, text="new"), a_put("b"), a_put("a", pk="Q")])

    assert sort_keys(table.query("P")) == ["a", "b"]
    assert table.get("Q", "a")


@pytest.mark.parametrize("stale", [a_put("a"), a_put("a", read=2), a_put("c", read=1)])
def test_all_or_nothing(table: Table, stale: Put) -> None:
    table.write([a_put("a")])

    for puts in ([stale, a_put("b")], [a_put("b"), stale]):
        with pytest.raises(StaleItemError) as raised:
            table.write(puts)
        assert str(raised.value) == ", ".join("/".join(put.key) for put in puts)

    assert sort_keys(table.query("P")) == ["a"]


def test_a_hundred_items_are_one_write_and_more_are_refused(table: Table) -> None:
    puts = [a_put(f"{number:03}") for number in range(TRANSACTION_MAX + 1)]

    with pytest.raises(ValueError, match="101 items in one write, of at most 100"):
        table.write(puts)
    table.write(puts[:-1])

    assert len(list(table.query("P"))) == TRANSACTION_MAX


@pytest.mark.parametrize("sizes", [[410_000], [350_000] * 13], ids=["an item", "all of them"])
def test_what_is_larger_than_dynamodb_takes_is_refused(table: Table, sizes: list[int]) -> None:
    puts = [
        Put({"pk": "P", "sk": str(number), "body": b"x" * size})
        for number, size in enumerate(sizes)
    ]

    with pytest.raises(UnwritableError, match=f"{sizes[0] // 1000}"):
        table.write(puts)

    assert list(table.query("P")) == []


def test_one_item_twice_in_one_write_is_refused(table: Table) -> None:
    with pytest.raises(ValueError, match="twice"):
        table.write([a_put("a"), a_put("a", text="other")])

    assert table.get("P", "a") is None


def test_nothing_can_be_written(table: Table) -> None:
    table.write([])


# ---- Reading many -------------------------------------------------------------------------


def test_more_than_a_hundred_keys_are_read_and_missing_ones_left_out(table: Table) -> None:
    table.write([a_put(f"{number:03}", text="x" * 20_000) for number in range(100)])
    table.write([a_put(f"{number:03}") for number in range(100, 150)])
    keys = [("P", f"{number:03}") for number in range(250)]

    found = table.get_many(keys)

    assert list(map(str, sorted(sk for _, sk in found))) == [f"{n:03}" for n in range(150)]
    assert all(found[key]["sk"] == key[1] for key in found)


def test_a_key_may_be_asked_for_twice(table: Table) -> None:
    table.write([a_put()])

    assert len(table.get_many([("P", "a"), ("P", "a"), ("P", "b")])) == 1
    assert table.get_many([]) == {}


def test_a_partition_is_read_in_the_order_of_sort_keys(table: Table) -> None:
    keys = ["b", "a", "a#2", "a#10", "Z", "0", "a!"]
    table.write([a_put(sk) for sk in keys])
    table.write([a_put("a", pk="PP")])

    assert sort_keys(table.query("P")) == sorted(keys)
    assert sort_keys(table.query("none")) == []


def test_a_range_holds_both_its_ends(table: Table) -> None:
    table.write([a_put(sk) for sk in ("12:00#a", "12:01#a", "12:02#a", "12:02#b", "12:03#a")])

    assert sort_keys(table.query("P", first="12:01", last="12:02~")) == [
        "12:01#a",
        "12:02#a",
        "12:02#b",
    ]
    assert sort_keys(table.query("P", first="12:02#b")) == ["12:02#b", "12:03#a"]
    assert sort_keys(table.query("P", last="12:00#a")) == ["12:00#a"]


def test_nothing_is_in_a_range_that_ends_before_it_begins(table: Table) -> None:
    table.write([a_put("a"), a_put("b")])

    assert list(table.query("P", first="b", last="a")) == []
    assert table.latest("P", 1, first="b", last="a") == []


def test_a_partition_of_more_than_a_page_is_read_whole(table: Table) -> None:
    # DynamoDB gives 1 MB a page.
    for number in range(12):
        table.write([a_put(f"{number:02}", text="x" * 120_000)])

    assert sort_keys(table.query("P")) == [f"{number:02}" for number in range(12)]


# ---- DynamoDB alone -----------------------------------------------------------------------


def test_the_latest_of_a_range_are_read_from_its_end(table: Table) -> None:
    table.write([a_put(sk) for sk in "edcba"])
    table.write([a_put("z", pk="Q")])

    assert sort_keys(table.latest("P", 2)) == ["e", "d"]
    assert sort_keys(table.latest("P", 9, first="b", last="c")) == ["c", "b"]
    assert sort_keys(table.latest("P", 1, first="b", last="c")) == ["c"]
    assert table.latest("P", 0) == []
    assert table.latest("R", 5) == []


def test_an_error_that_is_no_lost_race_is_not_taken_for_one(dynamo_table: DynamoTable) -> None:
    for puts in ([a_put("")], [a_put(""), a_put("b")]):  # DynamoDB refuses an empty key.
        with pytest.raises(UnwritableError, match="empty"):
            dynamo_table.write(puts)


def test_keys_that_dynamodb_leaves_out_are_asked_for_again() -> None:
    def one_at_a_time(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        asked = params["RequestItems"]["table"]
        first, *rest = asked["Keys"]
        left = {"table": {**asked, "Keys": rest}} if rest else {}
        return {"Responses": {"table": [first]}, "UnprocessedKeys": left}

    table = DynamoTable(session({"dynamodb": one_at_a_time}).client("dynamodb"), "table")

    assert len(table.get_many([("P", "a"), ("P", "b"), ("Q", "a")])) == 3


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ConditionalCheckFailedException", StaleItemError),
        ("TransactionConflictException", StaleItemError),
        ("ProvisionedThroughputExceededException", ClientError),
        ("ValidationException", UnwritableError),
    ],
)
def test_only_a_lost_race_is_told_as_one(code: str, error: type[Exception]) -> None:
    def refuse(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        raise ApiError(code, "refused")

    table = DynamoTable(session({"dynamodb": refuse}).client("dynamodb"), "table")

    with pytest.raises(error):
        table.write([a_put()])


# ---- The stream ---------------------------------------------------------------------------


def test_the_twin_tells_of_each_write_as_the_stream_does() -> None:
    received: list[tuple[str, Item | None, Item]] = []
    table = MemoryTable(listener=lambda *told: received.append(told))

    table.write([a_put("a", text="x")])
    with pytest.raises(StaleItemError):
        table.write([a_put("a"), a_put("b")])
    table.write([a_put("a", read=1)])

    old, new = (
        {"pk": "P", "sk": "a", "text": "x", "version": 1},
        {"pk": "P", "sk": "a", "version": 2},
    )
    assert received == [("INSERT", None, old), ("MODIFY", old, new)]


values = st.text() | st.integers(-(10**30), 10**30) | st.binary()


@given(st.dictionaries(st.text(min_size=1), values))
def test_an_image_of_a_stream_is_the_item_again(item: dict[str, Any]) -> None:
    image = to_image(item)
    # On its way through a stream to a function, an image becomes JSON, and bytes base64.
    on_the_wire = json.loads(json.dumps(image, default=_to_base64))

    assert from_image(image) == item
    assert from_image(on_the_wire) == item
    assert image == {name: TypeSerializer().serialize(value) for name, value in item.items()}


def _to_base64(value: Any) -> str:
    return base64.b64encode(value).decode()


def test_an_image_of_another_type_than_ours_is_refused() -> None:
    with pytest.raises(TypeError, match="BOOL"):
        from_image({"flag": {"BOOL": True}})


# ---- Packing ------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_what_is_packed_is_unpacked(value: Any) -> None:
    assert unpack(pack(value)) == value


def test_only_bytes_are_taken_for_bytes() -> None:
    assert binary(b"x") == b"x"
    with pytest.raises(TypeError, match="expected bytes, got str"):
        binary("x")


class Interrupted(MemoryTable):
    """A table whose first write is refused by a transaction that fails itself."""

    refuses = True

    def write(self, puts: Sequence[Put]) -> None:
        if self.refuses:
            self.refuses = False
            raise StaleItemError("in a transaction")
        super().write(puts)


def test_an_item_that_never_changes_is_there_once_it_was_created() -> None:
    table = Interrupted()

    create(table, a_put(text="x"))
    created = table.get("P", "a")
    create(table, a_put(text="x"))

    assert created == table.get("P", "a") == {"pk": "P", "sk": "a", "text": "x", "version": 1}
