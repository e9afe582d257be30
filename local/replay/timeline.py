"""Shows a replay in a terminal: its rows as a readable timeline, and a progress bar."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from batch_watchdog.notices.text import plain, span

_TEXT_MAX = 300  # characters of a text that are shown
_STYLES = {"info": "green", "warning": "yellow", "critical": "bold red"}
_INDENT = " " * 10


class Timeline:
    """
    Shows rows one by one; untrusted text is made harmless first.

    To anything but a terminal it writes plain text.
    """

    def __init__(self, console: Console | None = None) -> None:
        # Lines are not wrapped here: a terminal does it better, and a file needs whole lines.
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._day = ""

    def write_row(self, row: Mapping[str, Any]) -> None:
        if row["kind"] == "summary":
            self._total(row)
            return
        day, clock = row["at"].removesuffix("Z").split("T")
        if day != self._day:
            self._console.print(Text(f"── {day} " + "─" * 50, style="dim"))
            self._day = day
        line = Text(f"{clock}  ", style="dim")
        match row["kind"]:
            case "notice":
                self._notice(row, line)
            case "call":
                what = _jobs(row["jobs"]) if row["jobs"] else f"{row['queue']} {row['state']}"
                line.append(f"→ {row['api']} ", style="bold cyan").append(plain(what))
                self._console.print(line)
                self._aside(row["reason"] or "")
            case "dead-letter":
                line.append("✗ dead letter ", style="red").append(plain(row["reason"]))
                self._console.print(line)
                self._aside(str(row["event"]))

    def _notice(self, row: Mapping[str, Any], line: Text) -> None:
        mark = "·" if "folded_into" in row else "●"
        line.append(f"{mark} {row['notice']} ", style=_STYLES[row["severity"]])
        line.append(plain(row["subject"]))
        self._console.print(line)
        if mark == "●":
            self._aside(row["text"])

    def _aside(self, text: str) -> None:
        if text:
            self._console.print(Text(_INDENT + plain(text, _TEXT_MAX), style="dim"))

    def _budget(self, row: Mapping[str, Any]) -> None:
        used = _units(row["used"], row["limit"])
        self._console.print(
            Text(f'Budget "{plain(row["budget"])}", {row["period"]}: {used}, {row["percent"]:g} %')
        )
        for day, units in row["days"].items():
            self._console.print(Text(f"  {day}: {_units(units)}", style="dim"))

    def _rule(self, row: Mapping[str, Any]) -> None:
        limit = f" for more than {span(row['limit_seconds'])}" if row["limit_seconds"] else ""
        stopped = "to be stopped" if row["mode"] == "enforce" else "would have been stopped"
        became = ", ".join(f"{row[key]} {words}" for key, words in _BECAME.items() if row[key])
        line = f"{row['rule']}, {row['status']}{limit}: {row['jobs']} {stopped} ({became})"
        self._console.print(Text(plain(line, 500)))
        if row["later_seconds"]:
            median, longest = (span(row["later_seconds"][key]) for key in ("median", "longest"))
            self._console.print(
                Text(f"  went on after all {median} later (median), {longest} (longest)")
            )
        if row["verdict"] != "enforced":
            self._console.print(Text(f"  to enforce it: {_VERDICTS[row['verdict']]}"))

    def _total(self, row: Mapping[str, Any]) -> None:
        self._console.print(Text("── in all " + "─" * 50, style="dim"))
        self._console.print(
            f"{row['events']} events; "
            f"{_counts(row['notices'], 'notices')}; {_counts(row['calls'], 'calls')}; "
            f"{row['dead_letters']} dead letters"
        )
        for budget in row.get("budgets", ()):
            self._budget(budget)
        for rule in row.get("rules", ()):
            self._rule(rule)
        if row["overruled"]:
            count = len(row["overruled"])
            jobs = "job was" if count == 1 else "jobs were"
            self._console.print(
                Text(
                    f"{count} {jobs} stopped here and had started after all in the log: "
                    f"{plain(_jobs(row['overruled']))}",
                    style="yellow",
                )
            )


_BECAME = {
    "went_on": "went on after all",
    "stopped": "stopped",
    "ended": "ended otherwise",
    "open": "not ended yet",
    "unknown": "unknown",
    "exempted": "exempted",
}
_VERDICTS = {
    "safe": "safe by this log",
    "not-safe": "not safe by this log",
    "not-known": "not known yet",
}


def _units(units: Mapping[str, float], limits: Mapping[str, float] | None = None) -> str:
    """Return "12.50 of 500 gpu_hours" for each unit, or "12.50 gpu_hours" without limits."""
    return ", ".join(
        f"{amount:,.2f} {f'of {limits[unit]:,g} ' if limits else ''}{unit}"
        for unit, amount in units.items()
    )


def _jobs(jobs: list[str]) -> str:
    shown = ", ".join(jobs[:3])
    return f"{len(jobs)} jobs: {shown}, …" if len(jobs) > 3 else shown  # noqa: PLR2004


def _counts(counts: Mapping[str, int], of: str) -> str:
    each = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f"{sum(counts.values())} {of}" + (f" ({each})" if each else "")


@contextmanager
def progress() -> Iterator[Callable[[datetime, datetime, datetime], None]]:
    """
    Show a progress bar on standard error, if that is a terminal.

    Yields a function that moves the bar: it takes the first, the present and the last time.
    """
    bar = Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("replaying", total=1.0)
        shown_at = 0.0

        def move(first: datetime, now: datetime, last: datetime) -> None:
            nonlocal shown_at
            if time.monotonic() - shown_at > 0.1:  # noqa: PLR2004 - seconds
                shown_at = time.monotonic()
                whole = (last - first).total_seconds() or 1.0
                bar.update(
                    task,
                    completed=(now - first).total_seconds() / whole,
                    description=f"replaying {now:%Y-%m-%d %H:%M}",
                )

        yield move
