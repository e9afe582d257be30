"""Some histories, and all that once went wrong. Many more: make simulate SEEDS=10000."""

import pytest

from local import stack as stacks
from local.stack import Stack
from tests.simulation.history import run
from tests.simulation.invariants import broken
from tests.simulation.plan import draw
from tests.simulation.regressions import PLANS, SEEDS


@pytest.fixture(scope="module")
def stack() -> Stack:
    return stacks.read()


@pytest.mark.parametrize("first", range(1, 26, 5))
def test_what_must_always_hold_holds_in_random_histories(stack: Stack, first: int) -> None:
    for seed in range(first, first + 5):
        assert broken(run(draw(seed), stack)) == [], seed


@pytest.mark.parametrize("name", PLANS)
def test_what_chance_brings_too_rarely_goes_well(stack: Stack, name: str) -> None:
    assert broken(run(PLANS[name], stack)) == []


@pytest.mark.parametrize(("seed", "once"), SEEDS.items())
def test_what_once_went_wrong_does_not_again(stack: Stack, seed: int, once: str) -> None:
    assert broken(run(draw(seed), stack)) == [], once


def test_a_seed_gives_the_same_history_each_time(stack: Stack) -> None:
    first, second = run(draw(7), stack), run(draw(7), stack)

    assert (first.counts, first.actions, first.published, first.journal) == (
        second.counts,
        second.actions,
        second.published,
        second.journal,
    )
