"""Some histories, and all that once went wrong. Many more: make simulate SEEDS=10000."""

import pytest

from local import stack as stacks
from local.stack import Stack
from tests.simulation import regressions
from tests.simulation.history import run
from tests.simulation.invariants import broken
from tests.simulation.known_faults import KNOWN
from tests.simulation.plan import draw
from tests.simulation.regressions import PLANS


@pytest.fixture(scope="module")
def stack() -> Stack:
    return stacks.read()


@pytest.mark.parametrize("first", range(1, 26, 5))
def test_what_must_always_hold_holds_in_random_histories(stack: Stack, first: int) -> None:
    for seed in range(first, first + 5):
        assert broken(run(draw(seed), stack)) == [], seed


@pytest.mark.parametrize("name", PLANS)
def test_what_once_broke_or_comes_too_rarely_goes_well(stack: Stack, name: str) -> None:
    assert broken(run(PLANS[name], stack)) == []


@pytest.mark.parametrize("name", KNOWN)
def test_the_simulation_finds_each_fault_that_is_known(stack: Stack, name: str) -> None:
    known = KNOWN[name]

    found = {each.partition(":")[0] for each in broken(run(known.plan, stack))}

    assert known.breaks in found


def test_a_plan_is_told_as_python_that_can_be_kept() -> None:
    plan = draw(2, wide=True)

    assert eval(repr(plan), vars(regressions)) == plan  # noqa: S307 - our own text


def test_a_seed_gives_the_same_history_each_time(stack: Stack) -> None:
    first, second = run(draw(7), stack), run(draw(7), stack)

    assert (first.counts, first.actions, first.published, first.journal) == (
        second.counts,
        second.actions,
        second.published,
        second.journal,
    )
