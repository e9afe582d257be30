"""
Facts: a run as AWS Batch shows it, and which budgets count it; many are packed into few bytes.

A row holds the runs that differ only in their job ids, attempts and times. The children of an array
are kept by the differences of their indices, and times by their differences: 1,000 children take
some 4 KB once packed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from batch_watchdog.budgets.amounts import Amounts
from batch_watchdog.budgets.runs import Run
from batch_watchdog.core.job_event import array_child

type BudgetKey = tuple[str, str]
"""A budget by its name, and which jobs it counts."""

type Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """
    A run that `budgets` count. `name` is the job's name, `queue` an ARN.

    For a run that is believed to go on, `seen` is when Batch last showed that (milliseconds), and
    `missed` how many checks since then have shown nothing of it.
    """

    run: Run
    budgets: tuple[BudgetKey, ...]
    name: str
    queue: str
    amounts: Amounts
    service: bool = False
    seen: int = 0
    missed: int = 0


def rows_of(facts: Iterable[Fact]) -> list[Row]:
    """Build rows from facts; the same facts give the same rows, in any order."""
    alike: dict[Any, dict[Run, Fact]] = defaultdict(dict)
    for fact in facts:
        alike[_head(fact)][fact.run] = fact
    return [_row(some) for _, some in sorted(alike.items())]


def read(row: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield the facts of a row."""
    first, second, third, fourth = row["a"]
    same = Fact(
        run=Run(job_id="", attempt=0, start=0),
        budgets=tuple((name, counting) for name, counting in row["b"]),
        name=row["n"],
        queue=row["q"],
        amounts=(first, second, third, fourth),
        service=bool(row.get("s")),
        seen=row.get("t", 0),
        missed=row.get("m", 0),
    )
    guessed, base = bool(row.get("g")), row["z"]
    for job_id, attempt, start, lasted in row["r"]:
        yield replace(same, run=_run(job_id, attempt, base, start, lasted, guessed=guessed))
    for parent, attempt, *columns in row["k"]:
        index = 0
        for step, start, lasted in zip(*columns, strict=True):
            index += step
            run = _run(f"{parent}:{index}", attempt, base, start, lasted, guessed=guessed)
            yield replace(same, run=run)


def latest(facts: Iterable[Fact]) -> list[Fact]:
    """Join the facts about each run into one fact that holds all that they show."""
    best: dict[tuple[str, int], Fact] = {}
    for fact in facts:
        key = fact.run.job_id, fact.run.attempt
        best[key] = _joined(best[key], fact) if key in best else fact
    return list(best.values())


def _joined(one: Fact, other: Fact) -> Fact:
    """Return the fact with an end, or with a shown start, completed from the other one."""
    first, second = sorted((one, other), key=lambda fact: (not fact.run.stop, fact.run.guessed))
    budgets = tuple(dict.fromkeys((*first.budgets, *second.budgets)))
    amounts = first.amounts if any(first.amounts) else second.amounts
    run = first.run
    if not run.start:
        run = replace(run, start=min(second.run.start, run.stop), guessed=second.run.guessed)
    return replace(first, run=run, budgets=budgets, amounts=amounts)


def _head(fact: Fact) -> Any:
    return (
        fact.budgets,
        fact.queue,
        fact.name,
        fact.amounts,
        fact.service,
        fact.run.guessed,
        fact.seen,
        fact.missed,
    )


def _row(some: Mapping[Run, Fact]) -> Row:
    fact = next(iter(some.values()))
    base = min((run.start for run in some if run.start), default=1) - 1
    alone: list[list[Any]] = []
    families: dict[tuple[str, int], list[tuple[int, int, int]]] = defaultdict(list)
    for run in some:
        start = run.start - base if run.start else 0
        lasted = run.stop - (run.start or base) + 1 if run.stop else 0
        child = array_child(run.job_id)
        if child and run.job_id == f"{child[0]}:{child[1]}":  # and not ":07"
            families[child[0], run.attempt].append((child[1], start, lasted))
        else:
            alone.append([run.job_id, run.attempt, start, lasted])
    row: Row = {
        "b": [list(key) for key in fact.budgets],
        "q": fact.queue,
        "n": fact.name,
        "a": list(fact.amounts),
        "z": base,
        "r": sorted(alone),
        "k": [
            [parent, attempt, *_columns(sorted(set(children)))]
            for (parent, attempt), children in sorted(families.items())
        ],
    }
    more = {"s": int(fact.service), "g": int(fact.run.guessed), "t": fact.seen, "m": fact.missed}
    return row | {key: value for key, value in more.items() if value}


def _columns(children: list[tuple[int, int, int]]) -> list[list[int]]:
    indices = [0, *(index for index, _, _ in children)]
    return [
        [after - before for before, after in pairwise(indices)],
        [start for _, start, _ in children],
        [lasted for _, _, lasted in children],
    ]


def _run(  # noqa: PLR0913 - what a row has of it
    job_id: str, attempt: int, base: int, start: int, lasted: int, *, guessed: bool
) -> Run:
    began = base + start if start else 0
    stop = (began or base) + lasted - 1 if lasted else 0
    return Run(job_id=job_id, attempt=attempt, start=began, stop=stop, guessed=guessed)
