"""
Download the events that a stack has kept, for a replay, as JSON Lines in order of time.

    python -m local pull-events --since 30d --out log.jsonl [--stack NAME]

Only Logs Insights can read a log group of this class, and a query returns at most 10,000 lines.
Where there are more, the query's time range is split in halves.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from batch_watchdog.policy.durations import SPAN_SHAPE
from local.commands import live_stack
from local.commands.live_stack import DEFAULT_NAME, LiveError, told_in_words
from local.replay.event_log import parse_time

MOST = 10_000  # maximum of lines that a query returns
_SIXTEENTHS = "0123456789abcdef"  # each event's id begins with one of these digits
_PAUSE = 1.0  # seconds between two calls for a query's results

type Told = Callable[[float, int], None]


class Kept:
    """The log group, read by Logs Insights. `pause` waits for a number of seconds."""

    def __init__(self, logs: Any, group: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._logs = logs
        self._group = group
        self._pause = pause
        self.cut = 0  # queries for one second and one first digit that may lack events

    def between(self, first: int, last: int) -> Iterator[str]:
        """Yield the log lines from `first` to `last` (seconds since 1970, inclusive), in order."""
        lines = self._query(first, last)
        if len(lines) < MOST:
            yield from lines
        elif first < last:
            middle = (first + last) // 2
            yield from self.between(first, middle)
            yield from self.between(middle + 1, last)
        else:
            for digit in _SIXTEENTHS:
                some = self._query(first, last, f"| filter id like /^{digit}/ ")
                self.cut += len(some) >= MOST
                yield from some

    def _query(self, first: int, last: int, only: str = "") -> list[str]:
        query_id = self._logs.start_query(
            logGroupName=self._group,
            startTime=first,
            endTime=last,
            queryString=f"fields @message {only}| sort @timestamp asc | limit {MOST}",
            limit=MOST,
        )["queryId"]
        while (answer := self._logs.get_query_results(queryId=query_id))["status"] in (
            "Scheduled",
            "Running",
        ):
            self._pause(_PAUSE)
        if answer["status"] != "Complete":
            raise LiveError(f"Logs Insights could not answer: the query is {answer['status']}.")
        rows = ({each["field"]: each["value"] for each in row} for row in answer["results"])
        return [row["@message"] for row in rows if "@message" in row]


def main(arguments: Sequence[str]) -> int:
    """Run the command. Return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m local pull-events", description="Bring the events that a stack has kept."
    )
    parser.add_argument("--stack", default=DEFAULT_NAME, help="the stack's name")
    parser.add_argument("--since", type=_since, default="30d", help="30d, 12h, or an ISO 8601 time")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    options = parser.parse_args(arguments)
    try:
        return _pull(options.stack, options.since, options.out)
    except LiveError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{options.out}: cannot be written: {error.strerror or error}", file=sys.stderr)
        return 2


def _since(text: str) -> datetime:
    if found := SPAN_SHAPE.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return datetime.now(UTC) - timedelta(
            days=days, hours=hours, minutes=minutes, seconds=seconds
        )
    at = parse_time(text)
    if at is None:
        raise argparse.ArgumentTypeError(f'{text!r}: expected "30d", "12h" or an ISO 8601 time')
    return at


def _pull(name: str, since: datetime, out: Path) -> int:
    stack = live_stack.find(name)
    if "KeptEvents" not in stack.outputs and "PolicyParameter" in stack.outputs:
        raise LiveError(
            f"The stack {name} keeps no events. Deploy it with KeepEventsDays=30 (make deploy); "
            "events are kept from then on."
        )
    kept = Kept(stack.session.client("logs"), stack.output("KeptEvents"))
    print(f"{stack}, log group {stack.output('KeptEvents')}", file=sys.stderr)
    first, last = int(since.timestamp()), int(datetime.now(UTC).timestamp())
    count = 0
    with told_in_words(), out.open("w", encoding="utf-8") as file, _bar() as told:
        # Day by day, so that the progress bar moves.
        for begins in range(first, last + 1, 86_400):
            for text in kept.between(begins, min(begins + 86_399, last)):
                count += _write(text, file)
            told((begins - first) / max(1, last - first), count)
    print(f"{out}: {count:,} events", file=sys.stderr)
    if kept.cut:
        print(f"Of {kept.cut} seconds there are more than can be had.", file=sys.stderr)
    if not count:
        print(
            "None has been kept in this time: no job has changed its state since the stack is "
            f"there, or its queues are not in {stack.region} (AWS_REGION=…), or it was earlier "
            "(SINCE=30d).",
            file=sys.stderr,
        )
    return 0


def _write(text: str, file: Any) -> int:
    try:
        event = json.loads(text)
    except ValueError:
        return 0
    print(json.dumps(event, separators=(",", ":")), file=file)
    return 1


@contextmanager
def _bar() -> Iterator[Told]:
    """Show a progress bar on standard error. Yield a function to update it: part done, events."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        console=Console(file=sys.stderr),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        task = progress.add_task("pulling", total=1.0)
        yield lambda done, count: progress.update(
            task, completed=done, description=f"{count:,} events"
        )
