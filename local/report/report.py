"""Writes a report of a run as one HTML file: notices, calls, and their totals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from batch_watchdog.notices.text import plain, span
from batch_watchdog.page.html import escaping
from local.replay.event_log import Line
from local.report.stops import by_hour, stops_in, totals
from local.suggest.waits import Stay, history_of

_TEMPLATES = Path(__file__).parent
_ROWS_MAX = 2_000  # of a timeline that are shown
_JOBS_SHOWN = 5


@dataclass(slots=True)
class Report:
    """Collects the rows of a run, and pages of the console as they were at some time."""

    title: str
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    pages: list[tuple[str, str]] = field(default_factory=list)

    def write_row(self, row: Mapping[str, Any]) -> None:
        """Add a row, as a replay passes it."""
        self.rows.append(row)

    def show(self, title: str, page: object) -> None:
        """Add a page of the console as it is now, in HTML that the console made."""
        if isinstance(page, str):
            self.pages.append((title, page))

    def write(self, file: Path, lines: Sequence[Line] = ()) -> None:
        """Write the report to a file; `lines` are the log that was replayed."""
        told = [row for row in self.rows if row["kind"] != "summary"]
        summary = next((row for row in self.rows if row["kind"] == "summary"), {})
        stops = stops_in(told)
        text = (
            _environment()
            .get_template("report.html")
            .render(
                title=self.title,
                summary=summary,
                rows=told[:_ROWS_MAX],
                more=max(0, len(told) - _ROWS_MAX),
                days=by_hour(told),
                rules=totals(stops, lines) if lines else [],
                waits=_waits(lines) if lines else [],
                pages=self.pages,
                replayed=bool(lines),
                jobs_shown=_JOBS_SHOWN,
            )
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8", "replace"))


def _waits(lines: Iterable[Line]) -> list[Mapping[str, Any]]:
    """Return how long jobs waited in RUNNABLE, by queue, the longest first."""
    by_queue: dict[str, list[Stay]] = {}
    for group, stays in history_of(lines).stays.items():
        by_queue.setdefault(group.queue, []).extend(stays)
    rows = []
    for queue, stays in by_queue.items():
        waited = sorted(stay.seconds for stay in stays)
        rows.append(
            {
                "queue": queue,
                "count": len(waited),
                "median": waited[len(waited) // 2],
                "most": waited[min(len(waited) - 1, len(waited) * 95 // 100)],
                "longest": waited[-1],
                "never": sum(stay.end != "started" for stay in stays),
            }
        )
    return sorted(rows, key=lambda row: -row["longest"])


def _environment() -> jinja2.Environment:
    environment = escaping(_TEMPLATES)
    environment.filters |= {"plain": plain, "span": span, "lines": _lines}
    return environment


def _lines(text: str) -> list[str]:
    return [plain(line, 1_000) for line in text.splitlines()]
