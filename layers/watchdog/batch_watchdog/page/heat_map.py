"""
Draw all indices of an array as a grid of cells: SVG, one path for each outcome.

A run of equal outcomes in one row of the grid is one shape. So 10,000 indices mostly take a few
kilobytes, and never more than two hundred. In a small array each cell is a shape.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby
from math import ceil, sqrt
from typing import Literal

type Outcome = Literal["open", "succeeded", "failed", "stopped"]
OUTCOMES: tuple[Outcome, ...] = ("open", "succeeded", "failed", "stopped")

_COLUMNS = (10, 20, 25, 50, 100, 125, 200)
_WIDE = 4.0  # about this many columns for each row
_APART_MAX = 2_000  # up to this size, cells are drawn one by one, with a gap


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """A map. `paths` are by outcome, in units of a cell; an outcome without cells has none."""

    size: int
    columns: int
    rows: int
    paths: dict[Outcome, str]
    counts: dict[Outcome, int]

    @property
    def in_words(self) -> str:
        """The map as text, for people who cannot see it."""
        parts = (f"{count:,} {outcome}" for outcome, count in self.counts.items() if count)
        return f"Heat map of {self.size:,} indices, {self.columns} a row: {', '.join(parts)}"


def heat_map(
    size: int, succeeded: Collection[int], failed: Collection[int], stopped: Collection[int]
) -> HeatMap:
    """Draw the map of `size` indices; if an index is named twice, the last outcome counts."""
    cells = bytearray(size)
    for code, indices in enumerate((succeeded, failed, stopped), 1):
        for index in indices:
            if 0 <= index < size:
                cells[index] = code
    columns = next((each for each in _COLUMNS if each >= sqrt(size * _WIDE)), _COLUMNS[-1])
    lines: dict[Outcome, list[str]] = {outcome: [] for outcome in OUTCOMES}
    for row, first in enumerate(range(0, size, columns)):
        at = 0
        for code, run in groupby(cells[first : first + columns]):
            length = len(list(run))
            if size <= _APART_MAX:
                cell = (f"M{at + n} {row}h.9v.9h-.9z" for n in range(length))
                lines[OUTCOMES[code]].extend(cell)
            else:
                lines[OUTCOMES[code]].append(f"M{at} {row}h{length}v1h-{length}z")
            at += length
    return HeatMap(
        size=size,
        columns=columns,
        rows=max(1, ceil(size / columns)),
        paths={outcome: "".join(drawn) for outcome, drawn in lines.items() if drawn},
        counts={outcome: cells.count(code) for code, outcome in enumerate(OUTCOMES)},
    )
