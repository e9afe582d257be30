"""The layer that is built has what functions read, for one processor, and nothing else."""

import pytest

from local.commands.built_layer import leftovers, processor_of
from local.commands.finish_build import clients_of
from local.commands.runtime import BUILT, machine
from tests.template.test_house import PACKAGE

pytestmark = pytest.mark.runtime

LAYER = BUILT / "WatchdogLayer/python"


def test_all_libraries_are_for_the_processor_for_which_it_was_built() -> None:
    assert processor_of(LAYER) == machine()


def test_it_has_no_tests_and_nothing_that_only_tools_read() -> None:
    assert list(leftovers(LAYER)) == []
    assert list(LAYER.rglob("*.dist-info")) == []


def test_it_has_the_models_of_the_services_that_are_called_and_no_others() -> None:
    services = {path.name for path in (LAYER / "botocore/data").iterdir() if path.is_dir()}

    assert services == set(clients_of(PACKAGE))


def test_it_is_small() -> None:
    size = sum(path.stat().st_size for path in LAYER.rglob("*") if path.is_file())

    assert size < 60_000_000
