"""What several test modules share."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from hypothesis import HealthCheck, settings
from moto import mock_aws

from batch_watchdog.store.table import DynamoTable, MemoryTable, Table
from tests.fakes import Aws

# `pytest --hypothesis-profile thorough` looks longer, and elsewhere each time.
settings.register_profile(
    "quick",
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", max_examples=2_000, deadline=None)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def payloads() -> Path:
    """A folder of events and answers that AWS really sent. It is not part of the repository."""
    folder = Path(__file__).parents[2] / "shared" / "payloads"
    if not folder.is_dir():
        pytest.skip("there are no recorded payloads beside the repository")
    return folder


@pytest.fixture
def aws() -> Aws:
    return Aws()


@pytest.fixture(params=["DynamoDB", "in memory"])
def table(request: pytest.FixtureRequest) -> Table:
    """The table and its twin: a test that uses this is run on both."""
    if request.param == "in memory":
        return MemoryTable()
    found: DynamoTable = request.getfixturevalue("dynamo_table")
    return found


@pytest.fixture
def dynamo_table() -> Iterator[DynamoTable]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName="table",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
        )
        yield DynamoTable(client, "table")
