"""
DynamoDB Local: AWS's own DynamoDB for one machine, in Java.

`make test-dynamodb` fetches it and runs on it all tests that use the fixture `table` (see
conftest.py), and those of the stream. It is a real DynamoDB as to transactions, conditions,
pages, streams and expiry. It knows no limits of throughput, and it deletes what has expired
within seconds, where AWS may take days.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.html
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from samtranslator.yaml_helper import yaml_parse

_ROOT = Path(__file__).parents[1]
_JARS = _ROOT / ".build/dynamodb-local"
_START_S = 60


@contextmanager
def running() -> Iterator[str]:
    """A DynamoDB with nothing in it, for a while; the answer is its address."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
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
        _wait_for(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and server.poll() is None:
        with closing(socket.socket()) as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"DynamoDB Local did not start within {_START_S} s: make test-dynamodb")


@cache
def client(service: Any, address: str) -> Any:
    """A client of "dynamodb" or "dynamodbstreams" there. It takes long to make, so it is kept."""
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=address,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - there is nothing that it would open
    )


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
