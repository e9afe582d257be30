"""
DynamoDB Local: AWS's own DynamoDB for one machine, in Java.

`make test-dynamodb` fetches it and runs on it all tests that use the fixture `table` (see
conftest.py), those of the stream, and some histories of the simulation. It is a real DynamoDB as
to transactions, conditions, pages, streams and expiry. It knows no limits of throughput, and it
deletes what has expired within seconds, where AWS may take days.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.html
"""

import base64
import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from batch_watchdog.store.item_codec import Item, from_image
from batch_watchdog.store.table import DynamoTable, Key, Listener, Put
from local.commands import servers

_ROOT = Path(__file__).parents[1]
_JARS = _ROOT / ".build/dynamodb-local"
_START_S = 60


@contextmanager
def running() -> Iterator[str]:
    """A DynamoDB with nothing in it, for a while; the answer is its address."""
    port = servers.free_port()
    command = [
        "java",
        f"-Djava.library.path={_JARS}",
        *("-cp", f"{_JARS}/*", "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"),
        *("-inMemory", "-disableTelemetry", "-port", str(port)),
    ]
    server = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        if not servers.listens(port, server, _START_S):
            raise RuntimeError(
                f"DynamoDB Local did not start within {_START_S} s: make test-dynamodb"
            )
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@cache
def client(service: Any, address: str) -> Any:
    """A client of "dynamodb" or "dynamodbstreams" there. It takes long to make, so it is kept."""
    return servers.client(address, service)


@cache
def _in_template() -> dict[str, Any]:
    template = yaml_parse((_ROOT / "template.yaml").read_text())
    properties: dict[str, Any] = template["Resources"]["Table"]["Properties"]
    return properties


def create_table(dynamodb: Any, name: str = "table") -> None:
    """Create a table as the template has it, but that nothing expires."""
    properties = _in_template()
    dynamodb.create_table(
        TableName=name,
        BillingMode=properties["BillingMode"],
        KeySchema=properties["KeySchema"],
        AttributeDefinitions=properties["AttributeDefinitions"],
        StreamSpecification={"StreamEnabled": True, **properties["StreamSpecification"]},
    )


def let_items_expire(dynamodb: Any, name: str) -> None:
    """Have items deleted at their time, as the template says."""
    dynamodb.update_time_to_live(
        TableName=name, TimeToLiveSpecification=_in_template()["TimeToLiveSpecification"]
    )


class Stream:
    """The stream of a table, from its begin. Its records are in the shape of Lambda's."""

    def __init__(self, address: str, name: str = "table") -> None:
        self._streams = client("dynamodbstreams", address)
        table = client("dynamodb", address).describe_table(TableName=name)["Table"]
        self.view: str = table["StreamSpecification"]["StreamViewType"]
        arn = table["LatestStreamArn"]
        # AWS has many shards; here there is one, in the order in which everything was written.
        [shard] = self._streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        self._place = self._streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    def records(self, enough: float = math.inf) -> list[Any]:
        """All that is new since the last call; reading no further where that is enough."""
        found: list[Any] = []
        while len(found) < enough:
            page = self._streams.get_records(ShardIterator=self._place)
            self._place = page["NextShardIterator"]
            if not page["Records"]:
                break
            found += map(_as_lambda_has_it, page["Records"])
        return found


def _as_lambda_has_it(record: Any) -> Any:
    def in_json(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.timestamp()
        return base64.b64encode(value).decode()

    return json.loads(json.dumps(record, default=in_json))


def image(record: Any) -> Item:
    """The item as a stream's record says that it was written."""
    return from_image(record["dynamodb"]["NewImage"])


class StreamedTable(DynamoTable):
    """A new table, whose own stream tells a listener of each write."""

    def __init__(self, address: str, name: str, listener: Listener) -> None:
        create_table(client("dynamodb", address), name)
        super().__init__(client("dynamodb", address), name)
        self._stream = Stream(address, name)
        self._listener = listener
        self._told: dict[Key, Item] = {}

    def write(self, puts: Sequence[Put]) -> None:
        super().write(puts)
        records = self._stream.records(enough=len(puts))
        # More would be of a write that was said to have failed.
        assert len(records) == len(puts), records
        for record in records:
            new = image(record)
            key = str(new["pk"]), str(new["sk"])
            # A stream of new images alone has told of the old one before.
            old, self._told[key] = self._told.get(key), new
            self._listener(record["eventName"], old, new)
