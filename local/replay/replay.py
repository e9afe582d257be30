"""
Replays a log of events against a policy: which notices and calls the watchdog would have made.

The watchdog is the real one, in the stack that template.yaml makes. AWS Batch is simulated, and
its jobs follow the log. The clock is virtual.
"""

import argparse
import gc
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import boto3

from batch_watchdog.core.effects import Announce
from batch_watchdog.core.errors import PolicyError
from batch_watchdog.guards import items as guard_items
from batch_watchdog.notices.message import message_of
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.text import iso
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.policy.tables import Notify
from batch_watchdog.rule_reports.tally_items import WEEK, week_of
from batch_watchdog.store import sweep_cursor
from batch_watchdog.store.actions import PREFIX, to_action
from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.reminders import LATEST_AFTER, Kind, Reminders, minute_of
from batch_watchdog.store.table import DynamoTable, Listener, Put, Table
from batch_watchdog.threads.items import open_threads
from batch_watchdog.threads.notices import digest
from batch_watchdog.threads.rules import key_of
from local.aws import stack as stacks
from local.aws.clock import Order
from local.aws.dispatcher import Dispatcher, MakeTable
from local.aws.stack import REGION, Stack
from local.batch.packed import PackedEvent
from local.batch.simulated import SimulatedBatch
from local.commands.policy_check import PolicyFileError, read_policy_to_store
from local.replay import timeline
from local.replay.budget_days import BudgetDays
from local.replay.errors import InputError
from local.replay.event_log import Line, Tally, expect_any, parse_time, read_log
from local.replay.log_files import name_of
from local.replay.rule_rows import rule_rows
from local.replay.world_file import read_world
from local.report.report import Report

# How long the clock runs on after the last event, so that waits for late events end.
AFTERMATH = timedelta(minutes=5)
# After _QUIET without an event, the clock skips the time until _WAKING before something is due.
_QUIET, _WAKING = timedelta(days=1), timedelta(minutes=3)
# Their reminders come every minute or two, and bring the same as long as Batch does not change.
_UNCHANGED: frozenset[Kind] = frozenset({"array", "blocked"})
# How much longer the clock runs at most while something is under way, mostly a retry.
_PATIENCE = timedelta(hours=6)

type Row = dict[str, Any]
type Progress = Callable[[datetime, datetime, datetime], None]


class Rows:
    """
    A witness that passes what it receives to `write_row`, as rows in the order of time.

    `recorded` must receive the table's writes: only the table has the whole notices that were
    folded into a digest. Notices that are folded at once follow their digest; notices that are
    collected for a later digest become rows when they are collected.
    """

    def __init__(
        self, batch: SimulatedBatch, write_row: Callable[[Row], None], policy: str | None = None
    ) -> None:
        self._batch = batch
        self.budgets = BudgetDays(policy)
        self._words = _words(policy)
        self._write_row = write_row
        self._calls_seen = 0
        self._unsent: dict[str, Notice] = {}
        self.notices: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.dead_letters = 0

    def recorded(self, at: datetime, old: Item | None, item: Item) -> None:
        """Take over an item that has been written to the table, with the item before it."""
        self.budgets.recorded(item)
        if not str(item["pk"]).startswith(PREFIX):
            return
        action = to_action(item)
        effect = action.effect
        if not isinstance(effect, Announce):
            return
        if old is None:
            self._unsent |= {notice.id: notice for notice in effect.notices}
        if action.folded and (old is None or "folded" not in old):
            for notice in effect.notices:
                into = action.folded.get(notice.id) or action.folded.get(key_of(notice))
                if into:
                    self._unsent.pop(notice.id, None)
                    self._folded(at, notice, into)

    def published(self, at: datetime, message: Mapping[str, Any]) -> None:
        self.called()
        content = json.loads(json.loads(message["Message"])["default"])
        self._notice(at, content)
        self._unsent.pop(content["id"], None)
        if content["notice"] == "digest":
            for notice_id in content["facts"]["ids"]:
                notice = self._unsent.pop(notice_id, None)
                if notice:
                    self._folded(at, notice, content["id"])

    def _folded(self, at: datetime, notice: Notice, into: str) -> None:
        self._notice(at, {**message_of(self._words.worded(notice)), "folded_into": into})

    def _notice(self, at: datetime, content: Mapping[str, Any]) -> None:
        self.notices[content["notice"]] += 1
        row = {name: value for name, value in content.items() if name != "version"}
        self._write_row({"at": iso(at), "kind": "notice", **row})

    def dead_letter(self, at: datetime, reason: str, event: Any) -> None:
        self.called()
        self.dead_letters += 1
        self._write_row(
            {"at": iso(at), "kind": "dead-letter", "reason": reason, "event": _readable(event)}
        )

    def called(self) -> None:
        """Make rows of the changing calls that Batch has accepted since the last time."""
        for call in self._batch.journal[self._calls_seen :]:
            self._calls_seen += 1
            if not call.error:
                self.calls[call.api] += 1
                self._write_row(
                    {
                        "at": iso(call.at),
                        "kind": "call",
                        "api": call.api,
                        "jobs": list(call.jobs),
                        "queue": call.queue or None,
                        "state": call.state or None,
                        "reason": call.reason or None,
                    }
                )

    def end(self, now: datetime, table: Table) -> None:
        """Make rows of digests whose windows close after the end: their notices are from before."""
        for thread in open_threads(table, now):
            if thread.collected.count:
                self._notice(now, message_of(self._words.worded(digest(thread))))

    def summary(self, events: int, now: datetime) -> Row:
        budgets = self.budgets.rows(now)
        return {
            "kind": "summary",
            "events": events,
            "notices": dict(self.notices),
            "calls": dict(self.calls),
            "dead_letters": self.dead_letters,
            "overruled": self._batch.overruled,
        } | ({"budgets": budgets} if budgets else {})


def _words(policy: str | None) -> Notify:
    """Return the policy's settings for notices: their language and time zone above all."""
    try:
        return parse_policy(policy or "").notify
    except PolicyError:  # It is reported elsewhere.
        return Notify()


def _readable(event: Any) -> Any:
    """Return a dead letter's value if it is strict JSON, else its text: rows must be valid JSON."""
    try:
        value = json.loads(event) if isinstance(event, str) else event
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return event if isinstance(event, str) else json.dumps(event)
    return value


# ---- The run ------------------------------------------------------------------------------


def replay(  # noqa: PLR0913 - all by name, and most have a default
    lines: Sequence[Line],
    *,
    stack: Stack,
    write_row: Callable[[Row], None],
    policy: str | None = None,
    world: Mapping[str, Any] | None = None,
    until: datetime | None = None,
    make_table: MakeTable = MemoryTable,
    progress: Progress = lambda *_: None,
) -> Row:
    """
    Replay a log. `write_row` receives each row when it arises, the summary last.

    `policy` is the text in force; if it is None, the template's own. Without `until` the clock runs
    on for five minutes after the last event, and up to six hours more while anything is under way.

    Returns:
        The summary.
    """
    truth = [line for line in lines if line.from_batch]
    region, account = _home(truth)
    batch = SimulatedBatch(
        emit=lambda event: dispatcher.emitted(event),  # noqa: PLW0108 - it is made below
        region=region,
        account=account,
    )
    rows = Rows(batch, write_row, policy)
    dispatcher = Dispatcher(
        stack,
        batch,
        rows,
        parameters=None if policy is None else dict.fromkeys(_policy_parameters(stack), policy),
        make_table=lambda listener: make_table(_both(rows, lambda: dispatcher.clock.now, listener)),
    )
    batch.add_world(world or {})
    batch.load(
        line.content if isinstance(line.content, PackedEvent) else line.value for line in truth
    )
    del truth

    rules: list[Row] = []
    times = [at for line in lines for at in (line.at, line.deliver_at) if at]
    if times:
        starts = [line.deliver_at for line in lines if line.deliver_at] or times
        first, last = min(starts), max(times)
        for line in lines:
            if line.deliver_at:
                dispatcher.clock.at(
                    line.deliver_at, Order.DELIVERY, _deliver, line, dispatcher, batch, rows
                )
        end = until or last + AFTERMATH
        if first <= end:
            dispatcher.start(first)
        lull = _Lull(dispatcher, rows.budgets)
        while dispatcher.step(end):
            rows.called()
            lull.pass_over()
            progress(first, dispatcher.clock.now, end)
        while until is None and not dispatcher.idle and dispatcher.step(end + _PATIENCE):
            rows.called()
        rows.end(dispatcher.clock.now, dispatcher.table)
        rules = rule_rows(dispatcher, first)
    summary = rows.summary(len(lines), dispatcher.clock.now) | ({"rules": rules} if rules else {})
    write_row(summary)
    return summary


class _Lull:
    """
    Skips long times in which nothing happens.

    After a day without an event, each sweep finds the same as the one before, until an event
    arrives, a reminder is due or a week is over. The reminders in the table show when they are due.
    """

    def __init__(self, dispatcher: Dispatcher, budgets: BudgetDays) -> None:
        self._dispatcher = dispatcher
        self._budgets = budgets
        self._looked_at = dispatcher.clock.now

    def pass_over(self) -> None:
        """Skip the schedules until shortly before something is due, if that is far ahead."""
        now = self._dispatcher.clock.now
        if now < max(self._dispatcher.last_event_at + _QUIET, self._looked_at + _WAKING):
            return
        self._looked_at = now
        if any(state.entry for state in guard_items.read_all(self._dispatcher.table).values()):
            return  # A guard's stage may end, or become harder, by the passing of time alone.
        if self._budgets.something_runs:
            return  # A budget may be exceeded by the passing of time alone.
        due = min([self._dispatcher.next_event_at, _end_of_week(now), *self._reminders(now)])
        self._dispatcher.sleep_until(due - _WAKING)

    def _reminders(self, now: datetime) -> Iterator[datetime]:
        """Yield when something is due of which the sweep reminds itself, and has not done it."""
        table = self._dispatcher.table
        cursor = sweep_cursor.read(table, minute_of(now))
        for entry in Reminders(table).between(cursor.first, now + LATEST_AFTER):
            if entry.kind not in _UNCHANGED and not cursor.has_seen(entry):
                yield entry.minute


def _end_of_week(now: datetime) -> datetime:
    """Return when limits are reported next."""
    return datetime.combine(week_of(now) + WEEK, time(), UTC)


def _policy_parameters(stack: Stack) -> set[str]:
    return {each.environment["POLICY_PARAMETER"] for each in stack.functions.values()}


def _both(rows: Rows, now: Callable[[], datetime], listener: Listener) -> Listener:
    def received(event_name: str, old: Item | None, new: Item) -> None:
        rows.recorded(now(), old, new)
        listener(event_name, old, new)

    return received


def _home(truth: Sequence[Line]) -> tuple[str, str]:
    """Return the region and the account that the log is from."""
    first = truth[0].value if truth else {}
    region, account = first.get("region"), first.get("account")
    return (
        region if isinstance(region, str) and region else REGION,
        account if isinstance(account, str) and account else "111122223333",
    )


def _deliver(line: Line, dispatcher: Dispatcher, batch: SimulatedBatch, rows: Rows) -> None:
    match line.kind:
        case "event":
            value = line.value
            if not (batch.journal and line.from_batch and batch.is_overruled(value)):
                dispatcher.deliver(value, line.text)
        case "sns":
            if not dispatcher.notify(line.value):
                reason = "no function of the stack subscribes to a topic"
                rows.dead_letter(dispatcher.clock.now, reason, line.value)
        case "command":
            problem = dispatcher.command({"command": line.value})
            if problem:
                rows.dead_letter(dispatcher.clock.now, problem, line.value)
        case "malformed":
            rows.dead_letter(dispatcher.clock.now, line.problem, line.value)


class _HeardTable(DynamoTable):
    """A DynamoDB table that passes its writes to a listener, as its stream would."""

    def __init__(self, client: Any, name: str, listener: Listener) -> None:
        super().__init__(client, name)
        self._listener = listener

    def write(self, puts: Sequence[Put]) -> None:
        keys = [put.key for put in puts]
        before = self.get_many(keys)
        super().write(puts)
        for key, item in self.get_many(keys).items():
            self._listener("MODIFY" if key in before else "INSERT", before.get(key), item)


# ---- The command --------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    options = _parse(arguments)
    gc.disable()  # while the log is read: there is no garbage, and there are many objects
    try:
        until = _until(options.until)
        tally = Tally()
        lines = read_log(options.log, tally)
        expect_any(options.log, tally)
        policy = read_policy_to_store(options.policy)[1] if options.policy else None
        world = read_world(options.world) if options.world else {}
        with _rows_to(options.out) as write_row:
            print(f"{name_of(options.log)}: {tally}", file=sys.stderr)
            report = Report(f"Replay of {name_of(options.log)}") if options.report else None
            told = _to_both(write_row, report.write_row) if report else write_row
            _run(lines, told, options.store, policy=policy, world=world, until=until)
            if report:
                _write(report, options.report, lines)
    except (InputError, PolicyFileError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local replay",
        description="What the watchdog would have said and done, had this policy been in force.",
    )
    parser.add_argument("log", type=Path, help="events: a file, a folder, or - for stdin")
    parser.add_argument("--policy", type=Path, help="a policy in TOML; else the template's own")
    parser.add_argument("--world", type=Path, help="queues and environments, as the API shows them")
    parser.add_argument("--until", help="when to end, ISO 8601; else soon after the last event")
    parser.add_argument("--out", type=Path, help="where rows go in JSON Lines; else a timeline")
    parser.add_argument("--report", type=Path, help="where a report goes, as one HTML file")
    parser.add_argument("--store", choices=("memory", "moto"), default="memory", help="the table")
    return parser.parse_args(arguments)


def _until(given: str | None) -> datetime | None:
    until = parse_time(given) if given else None
    if given and until is None:
        raise InputError(
            f"--until: {given!r} is no time, expected ISO 8601 such as 2026-01-01T12:00:00Z"
        )
    return until


@contextmanager
def _rows_to(out: Path | None) -> Iterator[Callable[[Row], None]]:
    if out is None:
        yield timeline.Timeline().write_row
        return
    try:
        file = out.open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from error
    with file:
        yield lambda row: print(json.dumps(row), file=file)


def _to_both(one: Callable[[Row], None], other: Callable[[Row], None]) -> Callable[[Row], None]:
    def write_row(row: Row) -> None:
        one(row)
        other(row)

    return write_row


def _write(report: Report, file: Path, lines: Sequence[Line]) -> None:
    try:
        report.write(file, lines)
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror or error}") from error


def _run(lines: list[Line], write_row: Callable[[Row], None], store: str, **options: Any) -> None:
    with ExitStack() as stack:
        if store == "moto":
            stack.enter_context(stacks.in_moto())
            created = stacks.create()
            client = boto3.client("dynamodb", REGION)
            options["make_table"] = lambda listener: _HeardTable(client, created.table, listener)
        else:
            created = stacks.read()
        # The log stays in memory, so the garbage collector need not check it again and again.
        gc.freeze()
        gc.enable()
        progress = stack.enter_context(timeline.progress())
        replay(lines, stack=created, write_row=write_row, progress=progress, **options)
