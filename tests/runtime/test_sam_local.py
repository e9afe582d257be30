"""
Each sample through `sam local invoke`, by the lines of the README.

SAM CLI exits with 0 even where the function failed, so its answer is read.
"""

import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from local.commands.runtime import ROOT, Stack, stack, template_for_docker
from local.commands.samples import environment
from tests import docker_engine
from tests.runtime.test_emulator import EVENTS, SAMPLES

pytestmark = [pytest.mark.sam_local, pytest.mark.enable_socket]

_README = (ROOT / "README.md").read_text()
_NAMES = {
    "act": "ActFunction",
    "console": "ConsoleFunction",
    "job_events": "JobEventsFunction",
    "spend_alarm": "SpendAlarmFunction",
    "stop_jobs": "StopJobsFunction",
    "sweep": "SweepFunction",
}

type SamLocal = Callable[[str, Path], Any]


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    with ExitStack() as stopping:
        try:
            address = stopping.enter_context(docker_engine.running())
        except docker_engine.EngineUnavailableError as error:
            pytest.skip(str(error))
        yield address


@pytest.fixture(scope="module")
def aws(engine: str) -> Iterator[Stack]:
    """What `make local-aws ADDRESS=... PORT=...` serves."""
    address = docker_engine.address_of_this_machine(engine)
    with closing(socket.socket()) as one:
        one.bind((address, 0))
        port = int(one.getsockname()[1])
    with stack(address, port) as local:
        yield local


@pytest.fixture(scope="module")
def sam_local(engine: str, aws: Stack, tmp_path_factory: pytest.TempPathFactory) -> SamLocal:
    """Runs the README's line for a function and an event; returns the function's answer."""
    image = docker_engine.image(engine)
    template_for_docker()
    settings = environment()
    port = aws.endpoint.rpartition(":")[2]
    settings["Parameters"]["AWS_ENDPOINT_URL"] = f"http://host.docker.internal:{port}"
    variables = tmp_path_factory.mktemp("settings") / "env.json"
    variables.write_text(json.dumps(settings))

    def invoke(function: str, event: Path) -> Any:
        command = _line_of_the_readme(function, event, variables)
        ended = subprocess.run(  # noqa: S603
            [*command, "--invoke-image", image, "--skip-pull-image"],
            cwd=ROOT,
            env=os.environ | {"DOCKER_HOST": engine, "SAM_CLI_TELEMETRY": "0"},
            capture_output=True,
            check=False,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return invoke


@pytest.mark.parametrize("name", SAMPLES)
def test_a_function_answers_its_sample_in_a_container(
    name: str, aws: Stack, sam_local: SamLocal
) -> None:
    aws.write_what_the_stream_tells(json.loads((EVENTS / name).read_text()))

    answer = sam_local(name.partition(".")[0], EVENTS / name)

    assert answer is None or "errorType" not in answer
    if not isinstance(answer, str):  # as a page is
        assert not (answer or {}).get("batchItemFailures")


def test_what_a_container_writes_is_in_the_table_on_this_machine(
    aws: Stack, sam_local: SamLocal
) -> None:
    sam_local("job_events", EVENTS / "job_events.array_done.json")

    found = aws.client("dynamodb").scan(TableName=aws.settings["TABLE_NAME"])["Items"]
    assert any(item["pk"]["S"].startswith("ACTION") for item in found)


def test_an_error_of_a_function_is_in_its_answer(sam_local: SamLocal, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"time": "not a time"}')

    assert sam_local("sweep", event)["errorType"] == "MalformedEventError"


def _line_of_the_readme(function: str, event: Path, variables: Path) -> list[str]:
    (line,) = re.findall(r"^\$ (\S+sam local invoke (?:.*\\\n)*.*)$", _README, re.MULTILINE)
    instead = {
        "JobEventsFunction": _NAMES[function],
        "events/job_events.array_done.json": str(event),
        "events/env.json": str(variables),
    }
    words = shlex.split(line.replace("\\\n", " "))
    assert instead.keys() <= set(words)
    return [instead.get(word, word) for word in words]
