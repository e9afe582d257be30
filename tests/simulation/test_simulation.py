"""Some histories, and all that once went wrong. Many more: make simulate SEEDS=10000."""

import ast
from pathlib import Path
from types import ModuleType

import pytest

from local.aws import stack as stacks
from local.aws.stack import Stack
from local.batch.disorder import Disorder
from tests.simulation import justified, live_budgets, regressions
from tests.simulation.history import run
from tests.simulation.invariants import broken
from tests.simulation.mended_faults import MENDED
from tests.simulation.plan import draw
from tests.simulation.regressions import PLANS


@pytest.fixture(scope="module")
def stack() -> Stack:
    return stacks.read()


@pytest.mark.parametrize("first", range(1, 26, 5))
def test_what_must_always_hold_holds_in_random_histories(stack: Stack, first: int) -> None:
    for seed in range(first, first + 5):
        assert broken(run(draw(seed), stack)) == [], seed


def test_what_must_always_hold_holds_with_a_chat() -> None:
    with_chat = stacks.read(parameters={"ChatTopic": "yes"})

    for seed in range(31, 36):
        seen = run(draw(seed), with_chat)
        assert seen.chat
        assert broken(seen) == [], seed


@pytest.mark.parametrize("name", PLANS)
def test_what_once_broke_or_comes_too_rarely_goes_well(stack: Stack, name: str) -> None:
    assert broken(run(PLANS[name], stack)) == []


@pytest.mark.parametrize("name", MENDED)
def test_what_a_disorderly_world_does_goes_well(stack: Stack, name: str) -> None:
    assert broken(run(MENDED[name].plan, stack)) == []


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_seed_gives_the_same_wide_history_each_time(stack: Stack, seed: int) -> None:
    first, second = (run(draw(seed, wide=True), stack) for _ in range(2))

    assert (first.counts, first.made) == (second.counts, second.made)


@pytest.mark.parametrize("part", [justified, live_budgets])
def test_the_model_of_justified_calls_imports_nothing_of_the_package(part: ModuleType) -> None:
    tree = ast.parse(Path(str(part.__file__)).read_text())
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [each.name for each in getattr(node, "names", ())]
        )
    }

    assert imported
    assert not {name for name in imported if name.startswith("batch_watchdog")}


def test_a_plan_is_told_as_python_that_can_be_kept() -> None:
    plan = draw(2, wide=True)

    assert eval(repr(plan), vars(regressions) | {"Disorder": Disorder}) == plan  # noqa: S307 - our own text


def test_a_seed_gives_the_same_history_each_time(stack: Stack) -> None:
    first, second = run(draw(7), stack), run(draw(7), stack)

    assert (first.counts, first.actions, first.published, first.journal) == (
        second.counts,
        second.actions,
        second.published,
        second.journal,
    )
