"""
Measure all figures, or those of some parts: `python -m tests.benchmarks [PART …]`.

`--json F` writes them down. `--against F` compares the counts with those of an earlier run: none
may have grown by more than 3 %.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

import local  # noqa: F401 - finds the package
from tests.benchmarks import batches, prices, processes, stop_runs, storage, sweeps
from tests.benchmarks.measuring import Figure

_PARTS: Mapping[str, Callable[[], Iterator[Figure]]] = {
    "batches": batches.figures,
    "calls": batches.counts,
    "storage": storage.figures,
    "prices": prices.figures,
    "idle": prices.of_an_idle_stack,
    "sweeps": sweeps.figures,
    "stop_runs": stop_runs.figures,
    "processes": processes.figures,
}
_MAY_GROW = 1.03


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(_PARTS)}")
    parser.add_argument("--json", type=Path, help="where the figures go, to be compared later")
    parser.add_argument("--against", type=Path, help="figures of an earlier run: a JSON file")
    options = parser.parse_args()
    unknown = set(options.parts) - _PARTS.keys()
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    names = options.parts or list(_PARTS)
    for name in track(names, "Measuring", console=Console(stderr=True)):
        figures += _PARTS[name]()
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(_table(figures))
    if options.json:
        content = [figure.to_json() for figure in figures]
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if options.against:
        grown = list(_grown(figures, json.loads(options.against.read_text(encoding="utf-8"))))
        for line in grown:
            console.print(line, markup=False, style="red")
        return 1 if grown else 0
    return 0


def _table(figures: Sequence[Figure]) -> Table:
    table = Table("figure", "measured", "", "goal", "", "note, and what keeps it from its goal")
    for figure in figures:
        mark = "" if figure.goal is None else figure.missed_by or "met"
        goal = "" if figure.goal is None else f"≤ {figure.goal:g}"
        why = figure.why if figure.missed_by else ""
        note = "; ".join(filter(None, (figure.note, why)))
        table.add_row(figure.name, f"{figure.value:,.3g}", figure.unit, goal, mark, note)
    return table


def _grown(figures: Sequence[Figure], earlier: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """What is counted, and is more than it was; or is counted for the first time."""
    known = {(each["name"], each["unit"]): each["value"] for each in earlier}
    for figure in figures:
        if not figure.is_count:
            continue
        before = known.get((figure.name, figure.unit))
        if not isinstance(before, int | float):
            yield f"{figure.name}: {figure.unit} were not counted before: see `make count`"
        elif figure.value > before * _MAY_GROW:
            yield f"{figure.name}: {figure.value:,.4g} {figure.unit}, and it was {before:,.4g}"


if __name__ == "__main__":
    raise SystemExit(main())
