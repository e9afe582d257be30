"""The built layer has what the functions use, compiled, and nothing else of boto3's models."""

import importlib.util
import marshal
from pathlib import Path

import pytest

from local.commands.finish_build import clients_of, main
from tests.template.test_house import PACKAGE


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    for service in ("batch", "s3", "sqs"):
        (tmp_path / "botocore/data" / service / "2016-08-10").mkdir(parents=True)
    (tmp_path / "botocore/data/endpoints.json").write_text("{}")
    package = tmp_path / "batch_watchdog"
    package.mkdir()
    (package / "wiring.py").write_text('a = s.client("batch", config=1)\nb = self._client("sqs")\n')
    return tmp_path


def test_models_of_services_that_have_no_client_are_dropped(layer: Path) -> None:
    assert main([str(layer)]) == 0

    kept = sorted(path.name for path in (layer / "botocore/data").iterdir())
    assert kept == ["batch", "endpoints.json", "sqs"]


def test_modules_are_compiled_and_not_compared_with_their_sources(layer: Path) -> None:
    main([str(layer)])

    compiled = importlib.util.cache_from_source(str(layer / "batch_watchdog/wiring.py"))
    flags, code = Path(compiled).read_bytes()[4:8], Path(compiled).read_bytes()[16:]
    assert int.from_bytes(flags, "little") == 1  # by hash, unchecked
    assert marshal.loads(code).co_names  # noqa: S302 - it was written just now


def test_a_folder_that_is_no_layer_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "make build" in capsys.readouterr().err


def test_all_clients_of_the_package_are_found() -> None:
    assert {"batch", "dynamodb", "ec2", "ecs", "sns", "sqs", "ssm"} <= set(clients_of(PACKAGE))
