"""The built stack in each emulator, created once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import docker_engine
from tests.emulators import fakecloud, ministack
from tests.emulators.deployed import EVENTS, Deployed, a_minute, deploy


@pytest.fixture(
    params=[
        pytest.param("in_ministack", marks=pytest.mark.ministack),
        pytest.param("in_fakecloud", marks=pytest.mark.fakecloud),
    ]
)
def deployed(request: pytest.FixtureRequest) -> Deployed:
    """The stack in each emulator."""
    found: Deployed = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def in_ministack() -> Iterator[Deployed]:
    """The stack in MiniStack, at work."""
    with _at_work() as stack:
        yield stack


@pytest.fixture(scope="session")
def in_fakecloud() -> Iterator[Deployed]:
    """The stack in fakecloud. Its functions cannot run: they are to do so in AWS's own image."""
    with fakecloud.running() as endpoint:
        yield deploy(endpoint, keeps_concurrency=False)


@pytest.fixture(scope="session")
def batch() -> Iterator[str]:
    """The address of a fakecloud that runs jobs."""
    try:
        with docker_engine.running() as engine:
            fakecloud.make_image(engine)
            with fakecloud.running(engine) as endpoint:
                yield endpoint
    except docker_engine.EngineUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def over_batch(batch: str) -> Iterator[Deployed]:
    """The stack in MiniStack, at work, with the AWS Batch of fakecloud."""
    with _at_work(batch) as stack:
        yield stack


@contextmanager
def _at_work(batch: str = "") -> Iterator[Deployed]:
    with ministack.running(batch) as endpoint:
        stack = deploy(endpoint, unknown=_is_over_metric_math)
        stack.client("ssm").put_parameter(
            Name="/batch-watchdog/batch-watchdog/policy",
            Value=(EVENTS / "policy.toml").read_text(),
            Type="String",
        )
        # What is due is looked for from the first minute on: that is before all that tests send.
        stack.invoke("SweepFunction", a_minute(datetime.now(UTC) - timedelta(minutes=10)))
        yield stack


def _is_over_metric_math(resource: Mapping[str, Any]) -> bool:
    """MiniStack knows alarms over one metric alone."""
    return resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
