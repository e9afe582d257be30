"""An array's heat map: each index once, in the colour of its outcome, in few bytes."""

import re

import pytest

from batch_watchdog.page.heat_map import HeatMap, heat_map


def cells(drawn: HeatMap, outcome: str) -> list[int]:
    """The indices that a path covers, as a browser would fill them."""
    path = dict(drawn.paths.items()).get(outcome, "")  # type: ignore[call-overload]
    covered = []
    for column, row, width in re.findall(r"M(\d+) (\d+)h([\d.]+)v", path):
        covered += [int(row) * drawn.columns + int(column) + n for n in range(round(float(width)))]
    return covered


@pytest.mark.parametrize("size", [2, 7, 40, 2_000, 2_001, 10_000])
def test_each_index_is_drawn_once_in_its_own_colour(size: int) -> None:
    succeeded, failed = range(0, size, 3), range(1, size, 3)

    drawn = heat_map(size, succeeded, failed, stopped=[])

    assert cells(drawn, "succeeded") == list(succeeded)
    assert cells(drawn, "failed") == list(failed)
    assert cells(drawn, "open") == list(range(2, size, 3))
    assert drawn.rows * drawn.columns >= size > (drawn.rows - 1) * drawn.columns


def test_the_largest_array_is_small_however_its_outcomes_are_mixed() -> None:
    worst = heat_map(10_000, range(0, 10_000, 2), range(1, 10_000, 2), [])
    usual = heat_map(10_000, range(10_000), [17], [])

    assert sum(map(len, worst.paths.values())) < 200_000
    assert sum(map(len, usual.paths.values())) < 2_000


def test_a_map_says_in_words_what_it_shows() -> None:
    told = heat_map(10, [0, 1, 2], [3], [4, 5]).in_words

    assert told == "Heat map of 10 indices, 10 a row: 4 open, 3 succeeded, 1 failed, 2 stopped"


def test_indices_beyond_the_array_are_not_drawn() -> None:
    drawn = heat_map(2, [-1, 0, 5], [], [])

    assert drawn.counts == {"open": 1, "succeeded": 1, "failed": 0, "stopped": 0}
