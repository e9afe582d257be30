"""
The one table: what it offers, and its implementation in DynamoDB.

Every item has a partition key `pk`, a sort key `sk` and a `version`; all else is flat (text, whole
numbers, bytes). A write gives for each item the version that was read (0: there was none), and is
carried out whole or not at all. `MemoryTable` guarantees the same, for replays and simulations;
both pass the same tests.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from batch_watchdog.core.errors import StaleItemError, UnwritableError
from batch_watchdog.store.item_codec import Item, from_image, to_image

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
type Key = tuple[str, str]

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
TRANSACTION_MAX = 100
_TRANSACTION_SIZE_MAX = 4 * 1024 * 1024
_ITEM_SIZE_MAX = 400 * 1024
_NUMBER_SIZE = 21
_GET_MAX = 100

FIRST, LAST = " ", "~"  # before and after all sort keys, which are plain ASCII


@dataclass(frozen=True, slots=True)
class Put:
    """An item to be written, unless its version is no longer `read` (0: it must not exist)."""

    item: Item
    read: int = 0

    @property
    def key(self) -> Key:
        return str(self.item["pk"]), str(self.item["sk"])


class Table(Protocol):
    def get(self, pk: str, sk: str) -> Item | None:
        """Read the item as it is now (a consistent read)."""

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """Read those of the items that exist, as they are now."""

    def query(self, pk: str, *, first: str = FIRST, last: str = LAST) -> Iterator[Item]:
        """
        Yield a partition's items from `first` to `last` sort key, in order; read page by page.

        There are none if `last` is before `first`.
        """

    def latest(self, pk: str, most: int, *, first: str = FIRST, last: str = LAST) -> list[Item]:
        """
        Return the last items of that range, the last one first: one page.

        They are `most`, or fewer if these would be more than a megabyte.
        """

    def write(self, puts: Sequence[Put]) -> None:
        """
        Write up to 100 items, all or none.

        Raises:
            StaleItemError: one of them has changed since it was read. Nothing was written.
            UnwritableError: they are too many or too large. Nothing was written.
        """


def create(table: Table, put: Put) -> None:
    """
    Write an item that never changes, unless it exists already.

    A refused write alone does not prove that it exists: another transaction may be writing the
    item, and may yet fail.
    """
    while True:
        try:
            table.write([put])
        except StaleItemError:
            if table.get(*put.key) is None:
                continue
        return


class DynamoTable:
    """The table in DynamoDB."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def get(self, pk: str, sk: str) -> Item | None:
        return self.get_many([(pk, sk)]).get((pk, sk))

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        found: dict[Key, Item] = {}
        for some in batched(dict.fromkeys(keys), _GET_MAX, strict=False):
            wanted: Any = {
                self._name: {
                    "Keys": [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in some],
                    "ConsistentRead": True,
                }
            }
            while wanted:  # DynamoDB may leave out a part, and returns its keys.
                answer = self._client.batch_get_item(RequestItems=wanted)
                for image in answer["Responses"].get(self._name, ()):
                    item = from_image(image)
                    found[str(item["pk"]), str(item["sk"])] = item
                wanted = answer.get("UnprocessedKeys")
        return found

    def query(self, pk: str, *, first: str = FIRST, last: str = LAST) -> Iterator[Item]:
        if last < first:  # DynamoDB refuses such a range.
            return
        pages = self._client.get_paginator("query").paginate(**self._range(pk, first, last))
        for page in pages:
            yield from map(from_image, page["Items"])

    def latest(self, pk: str, most: int, *, first: str = FIRST, last: str = LAST) -> list[Item]:
        if most < 1 or last < first:
            return []
        page = self._client.query(
            **self._range(pk, first, last), ScanIndexForward=False, Limit=most
        )
        return [from_image(image) for image in page["Items"]]

    def _range(self, pk: str, first: str, last: str) -> Any:
        return {
            "TableName": self._name,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ExpressionAttributeValues": {
                ":pk": {"S": pk},
                ":first": {"S": first},
                ":last": {"S": last},
            },
            "ConsistentRead": True,
        }

    def write(self, puts: Sequence[Put]) -> None:
        check(puts)
        requests = [self._request(put) for put in puts]
        try:
            if len(requests) == 1:
                self._client.put_item(**requests[0])
            elif requests:
                self._client.transact_write_items(
                    TransactItems=[{"Put": request} for request in requests]
                )
        except ClientError as error:
            if _lost_the_race(error):
                raise stale(puts) from error
            if _is_refused(error):
                raise UnwritableError(str(error)) from error
            raise

    def _request(self, put: Put) -> Any:
        never_written = "attribute_not_exists(pk)"
        unchanged = "version = :read"
        return {
            "TableName": self._name,
            "Item": to_image(next_version(put)),
            "ConditionExpression": unchanged if put.read else never_written,
        } | ({"ExpressionAttributeValues": {":read": {"N": str(put.read)}}} if put.read else {})


type Listener = Callable[[str, Item | None, Item], None]


def next_version(put: Put) -> Item:
    return {**put.item, "version": put.read + 1}


def stale(puts: Sequence[Put]) -> StaleItemError:
    return StaleItemError(", ".join("/".join(put.key) for put in puts))


def check(puts: Sequence[Put]) -> None:
    if len(puts) > TRANSACTION_MAX:
        raise UnwritableError(f"{len(puts)} items in one write, of at most {TRANSACTION_MAX}")
    if len({put.key for put in puts}) != len(puts):
        raise UnwritableError("one item twice in one write")
    sizes = [_size(put.item) for put in puts]
    if max(sizes, default=0) > _ITEM_SIZE_MAX or sum(sizes) > _TRANSACTION_SIZE_MAX:
        raise UnwritableError(f"{sum(sizes)} bytes in one write, {max(sizes)} in one item")


def _size(item: Item) -> int:
    """
    Return how many bytes an item takes, at most.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    size = len("version") + _NUMBER_SIZE
    for name, value in item.items():
        size += len(name)
        match value:
            case bytes():
                size += len(value)
            case str():
                size += len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
            case int():
                size += _NUMBER_SIZE
    return size


def _lost_the_race(error: ClientError) -> bool:
    races = {"ConditionalCheckFailed", "TransactionConflict"}
    reasons: Iterable[Any] = error.response.get("CancellationReasons", ())
    return error.response["Error"]["Code"].removesuffix("Exception") in races or any(
        reason.get("Code") in races for reason in reasons
    )


def _is_refused(error: ClientError) -> bool:
    """Whether DynamoDB rejects what the write holds, for example because of its size."""
    reasons: Iterable[Any] = error.response.get("CancellationReasons", ())
    return error.response["Error"]["Code"] == "ValidationException" or any(
        reason.get("Code") == "ValidationError" for reason in reasons
    )
