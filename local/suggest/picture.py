"""Shows waits as a picture in the terminal: one line for each queue and job definition."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from batch_watchdog.notices.text import plain, span
from batch_watchdog.policy.durations import span_text
from local.suggest.limits import Suggestion
from local.suggest.waits import Group, History, Stay

_EDGES = (60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 259_200)  # seconds
_TICKS = "1m 5m 15m 30m 1h 3h 6h 12h 1d 3d"
_BLOCKS = "▁▂▃▄▅▆▇█"
_LINES_MAX = 40


def show(history: History, suggestion: Suggestion, console: Console) -> None:
    """
    Print how long jobs waited, beside the proposed limit.

    The blocks of a picture count the waits up to 1m, 5m, 15m, 30m, 1h, 3h, 6h, 12h, 1d, 3d, and
    longer ones.
    """
    table = Table(title=f"Waits in RUNNABLE, from ▁ up to {_TICKS}, and longer", box=None)
    table.add_column("queue / definition", overflow="fold")
    table.add_column("started", justify="right", no_wrap=True)
    table.add_column("waits", no_wrap=True)
    for name in ("half", "longest", "never", "open", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    groups = sorted(history.stays, key=lambda each: (each.queue, -len(history.stays[each])))
    for group in groups[:_LINES_MAX]:
        table.add_row(*_row(group, history.stays[group], suggestion))
    console.print(table)
    if len(groups) > _LINES_MAX:
        console.print(f"… and {len(groups) - _LINES_MAX:,} more", style="dim")
    console.print(
        "half, longest: of those that started; never: ended without; open: at the log's end.",
        style="dim",
    )


def _row(group: Group, stays: Sequence[Stay], suggestion: Suggestion) -> list[Text]:
    started = sorted(stay.seconds for stay in stays if stay.end == "started")
    proposal = suggestion.for_group(group)
    cells = (
        f"{plain(group.queue) or '?'} / {plain(group.definition) or '–'}",
        f"{len(started):,}",
        _bars(started),
        _short(started[len(started) // 2]) if started else "–",
        _short(started[-1]) if started else "–",
        f"{sum(stay.end == 'never started' for stay in stays):,}",
        f"{sum(stay.end == 'still waiting' for stay in stays):,}",
        span_text(proposal.after) if proposal else "–",
    )
    return [Text(each) for each in cells]


def _short(seconds: float) -> str:
    """Return a span, rounded to seconds or to minutes: "45s", "2h36m"."""
    unit = 1 if seconds < 600 else 60  # noqa: PLR2004 - ten minutes
    return span_text(timedelta(seconds=round(seconds / unit) * unit))


def _bars(seconds: Sequence[float]) -> str:
    counts = [0] * (len(_EDGES) + 1)
    for each in seconds:
        counts[bisect_right(_EDGES, each)] += 1
    most = max(*counts, 1)
    return "".join(
        _BLOCKS[(count * (len(_BLOCKS) - 1) + most - 1) // most] if count else "·"
        for count in counts
    )


def period(history: History) -> str:
    """Return how much time a log covers, in words."""
    return span(history.span / timedelta(seconds=1))
