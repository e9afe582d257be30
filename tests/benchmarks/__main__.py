"""Measure all figures, or those of some parts: `python -m tests.benchmarks [PART …] [--json F]`."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

import local  # noqa: F401 - finds the package
from tests.benchmarks import batches, processes, storage, sweeps
from tests.benchmarks.measuring import Figure

_PARTS: Mapping[str, Callable[[], Iterator[Figure]]] = {
    "batches": batches.figures,
    "storage": storage.figures,
    "sweeps": sweeps.figures,
    "processes": processes.figures,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(_PARTS)}")
    parser.add_argument("--json", type=Path, help="where the figures go, to be compared later")
    options = parser.parse_args()
    unknown = set(options.parts) - _PARTS.keys()
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    names = options.parts or list(_PARTS)
    for name in track(names, "Measuring", console=Console(stderr=True)):
        figures += _PARTS[name]()
    Console(width=None if sys.stdout.isatty() else 160).print(_table(figures))
    if options.json:
        content = [figure.to_json() for figure in figures]
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


def _table(figures: list[Figure]) -> Table:
    table = Table("figure", "measured", "", "goal", "", "note")
    for figure in figures:
        mark = "" if figure.goal is None else "met" if figure.is_good else "missed"
        goal = "" if figure.goal is None else f"≤ {figure.goal:g}"
        table.add_row(figure.name, f"{figure.value:,.3g}", figure.unit, goal, mark, figure.note)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
