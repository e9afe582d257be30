"""The built layer has what the functions use, compiled, for one processor, and nothing else."""

import importlib.util
import marshal
import struct
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from local.commands.finish_build import clients_of, main
from tests.template.test_house import PACKAGE

ROOT = Path(__file__).parents[3]
ARM, X86, POWER = 183, 62, 21  # e_machine in elf.h


def library(machine: int) -> bytes:
    """The beginning of a shared library of Linux for 64 bits."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 3, machine, 1) + bytes(40)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    layer = tmp_path / "WatchdogLayer/python"
    for service in ("batch", "s3", "sqs"):
        (layer / "botocore/data" / service / "2016-08-10").mkdir(parents=True)
    (layer / "botocore/data/endpoints.json").write_text("{}")
    package = layer / "batch_watchdog"
    package.mkdir()
    (package / "wiring.py").write_text('a = s.client("batch", config=1)\nb = self._client("sqs")\n')
    (layer / "pydantic_core").mkdir()
    (layer / "pydantic_core/core.so").write_bytes(library(ARM))
    (tmp_path / "template.yaml").write_text((ROOT / "template.yaml").read_text())
    return tmp_path


def layer_of(build: Path) -> Path:
    return build / "WatchdogLayer/python"


def test_models_of_services_that_have_no_client_are_dropped(build: Path) -> None:
    assert main([str(build)]) == 0

    kept = sorted(path.name for path in (layer_of(build) / "botocore/data").iterdir())
    assert kept == ["batch", "endpoints.json", "sqs"]


def test_modules_are_compiled_and_not_compared_with_their_sources(build: Path) -> None:
    main([str(build)])

    path = str(layer_of(build) / "batch_watchdog/wiring.py")
    compiled = Path(importlib.util.cache_from_source(path))
    flags, code = compiled.read_bytes()[4:8], compiled.read_bytes()[16:]
    assert int.from_bytes(flags, "little") == 1  # by hash, unchecked
    assert marshal.loads(code).co_names  # noqa: S302 - it was written just now


@pytest.mark.parametrize(
    "name",
    [
        "pydantic-2.14.3.dist-info/METADATA",
        "jmespath-1.1.0.data/scripts/jp.py",
        "requirements.txt",
        "requirements.in",
        "bin/jp.py",
        "annotated_types/test_cases.py",
        "six/tests/test_it.py",
    ],
)
def test_what_only_tools_or_tests_read_is_dropped(build: Path, name: str) -> None:
    path = layer_of(build) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")

    assert main([str(build)]) == 0

    assert not path.exists()
    assert (layer_of(build) / "batch_watchdog/wiring.py").exists()


def test_the_processor_is_that_of_the_libraries_and_no_parameter_any_more(build: Path) -> None:
    assert main([str(build)]) == 0

    def refers(value: Any) -> bool:
        if isinstance(value, dict):
            return value.get("Ref") == "Architecture" or any(map(refers, value.values()))
        return isinstance(value, list) and any(map(refers, value))

    template = yaml_parse((build / "template.yaml").read_text())
    assert template["Globals"]["Function"]["Architectures"] == ["arm64"]
    assert template["Resources"]["WatchdogLayer"]["Properties"]["CompatibleArchitectures"] == [
        "arm64"
    ]
    assert "Architecture" not in template["Parameters"]
    assert not refers(template)
    # All else is as it was.
    before = yaml_parse((ROOT / "template.yaml").read_text())
    assert template["Resources"]["Table"] == before["Resources"]["Table"]
    assert template["Outputs"] == before["Outputs"]


def test_a_build_that_is_finished_may_be_finished_again(build: Path) -> None:
    main([str(build)])
    before = (build / "template.yaml").read_text()

    assert main([str(build)]) == 0
    assert (build / "template.yaml").read_text() == before


@pytest.mark.parametrize(
    ("machines", "told"),
    [
        ((ARM, X86), "not for one processor of Lambda: arm64: pydantic_core/core.so; x86_64: "),
        ((POWER,), "not for one processor of Lambda: machine 21"),
        ((), "it has no compiled library"),
    ],
)
def test_libraries_of_another_processor_are_refused(
    build: Path, machines: tuple[int, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (layer_of(build) / "pydantic_core/core.so").unlink()
    for machine, name in zip(machines, ("pydantic_core/core.so", "other.so"), strict=False):
        (layer_of(build) / name).write_bytes(library(machine))

    assert main([str(build)]) == 1

    assert told in capsys.readouterr().err


def test_libraries_of_another_processor_than_was_asked_for_are_refused(
    build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wheel for x86_64 in a layer for arm64 fails at the first import, in Lambda."""
    path = build / "template.yaml"
    path.write_text(
        path.read_text().replace("BuildArchitecture: !Ref Architecture", "BuildArchitecture: arm64")
    )
    (layer_of(build) / "pydantic_core/core.so").write_bytes(library(X86))

    assert main([str(build)]) == 1

    assert "its libraries are for x86_64, and arm64 was asked for" in capsys.readouterr().err


def test_a_layer_that_is_too_large_is_refused(
    build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (layer_of(build) / "model.bin").open("wb") as file:
        file.truncate(260_000_000)

    assert main([str(build)]) == 1

    assert "and 250000000 are allowed" in capsys.readouterr().err


def test_a_folder_that_is_no_build_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "make build" in capsys.readouterr().err


def test_all_clients_of_the_package_are_found() -> None:
    assert {"batch", "dynamodb", "ec2", "ecs", "sns", "sqs", "ssm"} <= set(clients_of(PACKAGE))
