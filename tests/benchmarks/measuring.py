"""Figures, and how they are measured: ratios of CPU time within one run, and counts."""

import gc
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import process_time
from typing import Any

_ROUNDS = 9

Work = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    One measured value; `unit` says of what. It is good if it is at most `goal`, if there is one.

    `is_count` is True for what comes out the same in each run. `why` says what keeps a figure from
    its goal.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    is_count: bool = False
    note: str = ""
    why: str = ""

    @property
    def is_good(self) -> bool:
        return self.goal is None or self.value <= self.goal

    @property
    def missed_by(self) -> str:
        """By how much it misses its goal; "" if it does not."""
        if self.goal is None or self.is_good:
            return ""
        return f"+{self.value / self.goal - 1:.0%}" if self.goal else f"+{self.value:g}"

    def to_json(self) -> Mapping[str, Any]:
        return asdict(self) | {"is_good": self.is_good}


def cpu_seconds(work: Work) -> float:
    """The CPU time of one run, without what the collector does between runs."""
    gc.collect()
    began = process_time()
    work()
    return process_time() - began


def ratio(work: Work, baseline: Work, rounds: int = _ROUNDS) -> float:
    """How often the baseline's CPU time the work takes: the median of interleaved rounds."""
    work()  # What is read or compiled once is not measured.
    return statistics.median(cpu_seconds(work) / cpu_seconds(baseline) for _ in range(rounds))


def growth(sizes: Mapping[int, float]) -> str:
    """How values grow with their sizes: "constant", or "like n^1.0"."""
    points = [(math.log(size), math.log(max(value, 1e-9))) for size, value in sizes.items()]
    mean_x = statistics.mean(x for x, _ in points)
    mean_y = statistics.mean(y for _, y in points)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points)
    power = rise / sum((x - mean_x) ** 2 for x, _ in points)
    return "constant" if abs(power) < 0.1 else f"like n^{power:.1f}"


def calls_of(work: Work) -> int:
    """
    How many functions the work calls, those written in C too.

    It comes out nearly the same in each run, on any machine: a time does not.
    """
    work()
    counted = 0

    def count(*_: object) -> None:
        nonlocal counted
        counted += 1

    monitoring, calls = sys.monitoring, sys.monitoring.events.CALL
    monitoring.use_tool_id(monitoring.PROFILER_ID, "calls")
    try:
        monitoring.register_callback(monitoring.PROFILER_ID, calls, count)
        monitoring.set_events(monitoring.PROFILER_ID, calls)
        work()
    finally:
        monitoring.set_events(monitoring.PROFILER_ID, 0)
        monitoring.free_tool_id(monitoring.PROFILER_ID)
    return counted


@contextmanager
def without_collector() -> Iterator[None]:
    """Where very many objects stay, the collector need not look at them again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()
