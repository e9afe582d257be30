"""
Breaks one rule at a time in a copy of the tree: its tests, or else the simulation, must fail.

A rule that can be broken unnoticed is not tested. The rules stand in tests/mutants/, one file for
each folder of the package. Run by `make mutate`.
"""

import argparse
import importlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.mutants.mutant import Mutant

ROOT = Path(__file__).resolve().parent.parent
_CORE = "layers/watchdog/batch_watchdog"
_COPIED = (
    "layers", "functions", "local", "tests", "events",
    "template.yaml", "pyproject.toml",
)  # fmt: skip
_HISTORIES = 300
_BROKEN = "broken by "  # So the simulation tells of a history.
_TIMEOUT_S = 900
_times = itertools.count(1)


def main(arguments: Sequence[str]) -> int:
    """Break each rule; 1 if nobody noticed one, or its text is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once")
    parser.add_argument("--only", default="", help="only rules that hold this text")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    chosen = [each for each in _mutants() if options.only in each.rule]
    outdated = [each for each in chosen if _source(ROOT, each).count(each.old) != 1]
    for each in outdated:
        console.print(f"the text is not found once in {each.file}: {each.rule}", markup=False)
    if outdated:
        return 1
    with tempfile.TemporaryDirectory() as folder, _copies(Path(folder), options.jobs) as copies:
        copy = copies.get()
        for tests in sorted({each.tests for each in chosen}):
            if _run(copy, tests).returncode:
                what = ", ".join(tests) or "the simulation"
                console.print(f"without any rule broken fails: {what}", markup=False)
                return 1
        copies.put(copy)

        def seen(mutant: Mutant) -> tuple[Mutant, str]:
            copy = copies.get()
            try:
                caught = _caught(copy, mutant)
            finally:
                copies.put(copy)
            mark = "✓" if caught else "✗"
            console.print(f"{mark} {mutant.rule}: {caught}", markup=False, soft_wrap=True)
            return mutant, caught

        with ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(seen, chosen))
    console.print(_table(results))
    survived = [mutant for mutant, caught in results if not caught]
    by_simulation = sum(caught.startswith(_BROKEN) for _, caught in results)
    console.print(
        f"{len(results)} rules broken: {by_simulation} noticed by the simulation, "
        f"{len(results) - by_simulation - len(survived)} by tests, {len(survived)} by nobody"
    )
    return 1 if survived else 0


@contextmanager
def _copies(folder: Path, count: int) -> Iterator[SimpleQueue[Path]]:
    copies: SimpleQueue[Path] = SimpleQueue()
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for number in range(count):
        copy = folder / str(number) / "repository"
        copy.mkdir(parents=True)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=ignored)
            else:
                shutil.copy(source, copy / name)
        copies.put(copy)
    yield copies


def _mutants() -> Iterator[Mutant]:
    """All mutants; those that the simulation has to find come first, as they take longest."""
    names = sorted(path.stem for path in (ROOT / "tests/mutants").glob("*.py"))
    found = [
        mutant
        for name in names
        if name != "mutant"
        for mutant in importlib.import_module(f"tests.mutants.{name}").MUTANTS
    ]
    yield from sorted(found, key=lambda mutant: bool(mutant.tests))


def _source(root: Path, mutant: Mutant) -> str:
    return (root / _CORE / mutant.file).read_text(encoding="utf-8")


def _caught(copy: Path, mutant: Mutant) -> str:
    """What fails when the rule is broken; "" if nothing does."""
    path, text = copy / _CORE / mutant.file, _source(copy, mutant)
    _write(path, text.replace(mutant.old, mutant.new))
    try:
        ended = _run(copy, mutant.tests)
        if mutant.tests and not ended.returncode:
            ended = _run(copy, ())
    finally:
        _write(path, text)
    lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    announcer = ("FAILED", "ERROR", _BROKEN)
    at = next((n for n, line in enumerate(lines) if line.startswith(announcer)), None)
    if ended.returncode == 0:
        return ""
    if at is None:  # It did not get so far as to fail in a test: then it did not run.
        return lines[-1] if lines else "no output"
    found = lines[at : at + 2] if lines[at].startswith(_BROKEN) else lines[at : at + 1]
    return " ".join(found)


def _write(path: Path, text: str) -> None:
    """
    Write a source file whose compiled file, if there is one, is out of date.

    Python tells a compiled file's age by whole seconds: two writes can fall into the same one.
    """
    path.write_text(text, encoding="utf-8")
    written = next(_times)
    os.utime(path, (written, written))


def _run(copy: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    python = [sys.executable, "-m"]
    if tests:
        command = [*python, "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n", "0", *tests]
    else:
        count = str(_HISTORIES)
        command = [*python, "tests.simulation", "--seeds", count, "--jobs", "1", "--stop"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{copy}:{copy / 'layers/watchdog'}",
    }
    return subprocess.run(  # noqa: S603 - our own tests
        command,
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def _table(results: Sequence[tuple[Mutant, str]]) -> Table:
    table = Table("rule", "file", "what noticed", title="Rules broken on purpose")
    for mutant, caught in results:
        table.add_row(mutant.rule, mutant.file, Text(caught[:90] or "nobody"))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
