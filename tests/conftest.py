"""What several test modules share."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from hypothesis import HealthCheck, settings
from moto import mock_aws

from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import DynamoTable, Table
from tests import dynamodb_local as dynamodb
from tests.dynamodb_local import create_table
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


# A test with this parameter is run by `make test-dynamodb` alone, and may speak to nobody else.
ON_DYNAMODB_LOCAL = pytest.param(
    "DynamoDB Local",
    marks=[pytest.mark.dynamodb, pytest.mark.allow_hosts(["127.0.0.1"])],
)


@pytest.fixture(params=["DynamoDB", ON_DYNAMODB_LOCAL, "in memory"])
def table(request: pytest.FixtureRequest) -> Table:
    """The table and its twin: a test that uses this is run on each."""
    if request.param == "in memory":
        return MemoryTable()
    return _dynamo_table(request)


@pytest.fixture(params=["moto", ON_DYNAMODB_LOCAL])
def dynamo_table(request: pytest.FixtureRequest) -> DynamoTable:
    return _dynamo_table(request)


def _dynamo_table(request: pytest.FixtureRequest) -> DynamoTable:
    of = "local_table" if request.param == "DynamoDB Local" else "moto_table"
    found: DynamoTable = request.getfixturevalue(of)
    return found


@pytest.fixture
def moto_table() -> Iterator[DynamoTable]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_table(client, "table")
        yield DynamoTable(client, "table")


@pytest.fixture(scope="session")
def dynamodb_local() -> Iterator[str]:
    """The address of a DynamoDB Local."""
    with dynamodb.running() as address:
        yield address


@pytest.fixture
def local_table(dynamodb_local: str) -> Iterator[DynamoTable]:
    """A table in DynamoDB Local."""
    client = dynamodb.client("dynamodb", dynamodb_local)
    create_table(client, "table")
    yield DynamoTable(client, "table")
    client.delete_table(TableName="table")
