"""Run histories, on all cores: python -m tests.simulation --seeds 10000 [--from 1] [--jobs 8]"""

import argparse
import gc
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from local.aws import stack as stacks
from local.aws.stack import Stack
from tests.simulation.counts import MUST_HAPPEN, MUST_HAPPEN_WIDE
from tests.simulation.history import run
from tests.simulation.invariants import broken
from tests.simulation.plan import WIDE, Plan, draw
from tests.simulation.regressions import PLANS
from tests.simulation.shrink import shrunk, told

_SHOWN = 10  # failing seeds that are made smaller
_AT_ONCE = 20  # seeds that a process is given
# With fewer histories a fault that is rare may just not have happened.
_ENOUGH = 300


@dataclass(frozen=True, slots=True)
class Result:
    plan: Plan
    name: str
    problems: Sequence[str]
    counts: Counter[str]


_stack: list[Stack] = []


def main(arguments: Sequence[str]) -> int:
    """Run the histories; 1 if an invariant was broken, or a fault did not happen."""
    options = _parse(arguments)
    console = Console(highlight=False)
    _stack[:] = [stacks.read(), stacks.read(parameters={"ChatTopic": "yes"})]
    gc.freeze()
    gc.set_threshold(50_000)  # Histories make much, and little of it in circles.
    logging.disable(logging.CRITICAL)
    seeds = range(options.first, options.first + options.seeds)
    began = time.monotonic()
    counts, failed = Counter[str](), list[Result]()
    total = len(PLANS) + len(seeds)
    for result in _with_bar(_results(seeds, options.jobs, wide=options.wide), total, console):
        counts += result.counts
        if result.problems:
            failed.append(result)
            console.print(f"broken by {result.name}:", markup=False, style="red")
            for problem in result.problems[:5]:
                console.print(f"  {problem}", markup=False, soft_wrap=True)
            if options.stop:
                break
    took = time.monotonic() - began
    must_happen = MUST_HAPPEN_WIDE if options.wide else MUST_HAPPEN
    console.print(_table(counts, must_happen))
    never = [name for name in must_happen if not counts[name]] if len(seeds) >= _ENOUGH else []
    console.print(
        f"{total:,} histories in {took:.0f} s, {total / took:.1f} a second on "
        f"{options.jobs} cores: {len(failed)} broke an invariant"
    )
    if failed:
        console.print("they are:", ", ".join(result.name for result in failed), markup=False)
    if not options.stop:
        for result in failed[:_SHOWN]:
            _tell_smaller(result, console)
    if never:
        console.print("[red]faults that never happened:[/]", ", ".join(never))
    return 1 if failed or never else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=300, help="how many histories")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--wide", action="store_true", default=WIDE, help="all that the world does, drawn too"
    )
    parser.add_argument(
        "--stop", action="store_true", help="end with the first that fails, unshrunk"
    )
    return parser.parse_args(arguments)


def _results(seeds: range, jobs: int, *, wide: bool) -> Iterator[Result]:
    yield from (_result(plan, name) for name, plan in PLANS.items())
    if jobs == 1:
        yield from map(partial(_of_seed, wide=wide), seeds)
        return
    # Forked, so that the stack is read only once.
    with get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(partial(_of_seed, wide=wide), seeds, _AT_ONCE)


def _of_seed(seed: int, *, wide: bool) -> Result:
    return _result(draw(seed, wide=wide), f"seed {seed}")


def _result(plan: Plan, name: str) -> Result:
    seen = run(plan, _stack_of(plan))
    return Result(plan, name, broken(seen), seen.counts)


def _stack_of(plan: Plan) -> Stack:
    """Every second plan's stack tells a chat, too."""
    return _stack[plan.seed % 2]


def _with_bar(results: Iterator[Result], total: int, console: Console) -> Iterator[Result]:
    columns: Sequence[Any] = (
        TextColumn("histories"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(results, total=total)


def _tell_smaller(result: Result, console: Console) -> None:
    invariant = result.problems[0].partition(":")[0]
    smaller = shrunk(result.plan, invariant, partial(run, stack=_stack_of(result.plan)))
    console.print(f"one smaller than {result.name} that breaks the same:", markup=False)
    for line in told(smaller):
        console.print(f"    {line}", markup=False, soft_wrap=True)
    console.print("  to keep it, add to tests/simulation/regressions.py:")
    console.print(f"    {result.name!r}: {smaller!r},", markup=False, soft_wrap=True)


def _table(counts: Counter[str], must_happen: Sequence[str]) -> Table:
    table = Table("what happened", "times", title="Faults and doings")
    for name in sorted({*counts, *must_happen}):
        table.add_row(name, f"{counts[name]:,}")
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
