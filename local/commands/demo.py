"""
Show the watchdog at work (`make demo`): a simulated day as a timeline, with the mails it sends.

The template, the handlers and the rules are the real ones. AWS and the clock are simulated.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.notices.text import iso, plain
from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Listener
from local.aws import stack as stacks
from local.aws.dispatcher import Dispatcher
from local.aws.stack import Stack
from local.batch.simulated import SimulatedBatch
from local.batch.work import Outcome
from local.batch.world import managed_environment
from local.replay.replay import Rows
from local.replay.timeline import Timeline
from local.report.report import Report

POLICY = """
mode = "enforce"

[[array]]
progress = [50]

[[limit]]
match = { queue = "gpu" }
RUNNABLE = { warn_after = "20m", after = "40m", action = "cancel" }

[[limit]]
RUNNABLE = { after = "30m", action = "cancel" }

[[guard]]
name = "monthly-budget"
match = { queue = "small" }

[[guard.stage]]
alarms = ["spend-80-percent"]
action = "cancel"
close_queues = true

[[guard.stage]]
alarms = ["spend-100-percent"]
action = "terminate"
"""

NOTIFY = {"en": "", "ja": '\n[notify]\nlanguage = "ja"\ntime_zone = "Asia/Tokyo"\n'}

REPORT = Path(".build/demo.html")
MORNING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

_MAIL_LINES = 24  # maximum of a mail's lines that are shown
_MAIL_WIDTH = 116  # columns


class Day:
    """A stack, a simulated Batch, and a terminal that shows what happens."""

    def __init__(
        self, stack: Stack, console: Console, language: str = "en", policy: str = POLICY
    ) -> None:
        self.console = console
        self.batch = SimulatedBatch(emit=self._emitted, explains=True)
        self.is_lost: Callable[[Mapping[str, Any]], bool] = lambda _: False
        self.running: Counter[str] = Counter()
        self.events = 0
        self.report = Report("A day of batch-watchdog, on a simulated AWS Batch")
        self._timeline = Timeline(console)
        policy += NOTIFY[language]
        self._rows = Rows(self.batch, self._write_row, policy)
        names = {each.environment["POLICY_PARAMETER"] for each in stack.functions.values()}
        self._dispatcher = Dispatcher(
            stack,
            self.batch,
            self._rows,
            parameters=dict.fromkeys(names, policy),
            make_table=self._table,
        )
        self.batch.advance_to(MORNING)
        self._dispatcher.start(MORNING)

    @property
    def now(self) -> datetime:
        return self.batch.now

    def chapter(self, title: str, story: str) -> None:
        """Print the heading and the text of a chapter."""
        self.console.print()
        self.console.rule(Text(title, style="bold"), align="left")
        self.console.print(Text(story))
        self.console.print()

    def pass_time(self, minutes: float) -> None:
        """Let virtual minutes pass, with a progress bar on a terminal."""
        end = self.now + MINUTE * minutes
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with bar:
            task = bar.add_task("", total=minutes)
            while self._dispatcher.step(end):
                self._rows.called()
                left = (end - self.now) / MINUTE
                bar.update(task, completed=minutes - left, description=f"{self.now:%H:%M}")
            self._dispatcher.run(end)
            self._rows.called()

    def say(self, line: str) -> None:
        """Print a line of the story, with the virtual time."""
        self.console.print(Text(f"{self.now:%H:%M:%S}  {line}"))

    def explain(self, name: str, job_id: str) -> None:
        """Print the watchdog's findings: why a job does not start."""
        detail = self.batch.call("DescribeJobs", {"jobs": [job_id]})["jobs"][0]
        if detail["status"] != "RUNNABLE":
            self.say(f"{name} is {detail['status']}")
            return
        for finding in self._inquiry().findings(detail):
            self.say(f"{name} waits: {finding.code}: {finding.evidence}")

    def alarm(self, name: str, state: str) -> None:
        """Put a CloudWatch alarm into a state, and deliver its message by SNS."""
        self.say(f"CloudWatch: the alarm {name} is {state}")
        message = {
            "AlarmName": name,
            "AlarmArn": f"arn:aws:cloudwatch:us-east-1:111122223333:alarm:{name}",
            "NewStateValue": state,
            "OldStateValue": "OK" if state == "ALARM" else "ALARM",
            "NewStateReason": "Threshold Crossed",
            "StateChangeTime": self.now.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
        }
        notification = {
            "Type": "Notification",
            "MessageId": f"{name} {iso(self.now)}",
            "TopicArn": "arn:aws:sns:us-east-1:111122223333:billing-alarms",
            "Subject": f"{state}: {name}",
            "Message": json.dumps(message),
            "Timestamp": self.now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        }
        record = {"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": notification}
        self._dispatcher.notify({"Records": [record]})

    def _inquiry(self) -> DiagnosisGatherer:
        clients = self._dispatcher.session
        return DiagnosisGatherer(
            batch=BatchApi(clients.client("batch")),
            ec2=clients.client("ec2"),
            ecs=clients.client("ecs"),
            now=self.now,
        )

    def ask_console(self, event: Mapping[str, Any]) -> Any:
        """Return the console's answer to a command, or to a dashboard's widget."""
        outcome = self._dispatcher.ask(event)
        self._rows.called()
        return outcome.answer if not outcome.error else {"error": outcome.error}

    def end(self) -> None:
        """Print the totals of the day."""
        self.console.print()
        summary = self._rows.summary(self.events, self.now)
        self.report.write_row(summary)
        self._timeline.write_row(summary)

    def _table(self, listener: Listener) -> MemoryTable:
        def received(name: str, old: Item | None, new: Item) -> None:
            self._rows.recorded(self._dispatcher.clock.now, old, new)
            listener(name, old, new)

        return MemoryTable(received)

    def _emitted(self, event: dict[str, Any]) -> None:
        self.events += 1
        detail = event["detail"]
        if detail["status"] == "RUNNING":
            self.running[f"{event['time']}"] += 1
        if not self.is_lost(event):
            self._dispatcher.emitted(event)

    def show(self, title: str, **page: str) -> None:
        """Add a page of the console to the report, as it is now."""
        context = {"theme": "light", "width": 1_000}
        self.report.show(
            f"{self.now:%H:%M} {title}", self.ask_console({**page, "widgetContext": context})
        )

    def _write_row(self, row: Mapping[str, Any]) -> None:
        self.report.write_row(row)
        if row["kind"] == "notice" and "folded_into" not in row:
            self._mail(row)
        else:
            self._timeline.write_row(row)

    def _mail(self, row: Mapping[str, Any]) -> None:
        clock = row["at"].split("T")[1].removesuffix("Z")
        mail = Panel(
            Group(*(Text(plain(line, 1_000), overflow="fold") for line in _shown(row["text"]))),
            title=Text(f"{clock}  ✉  {plain(row['subject'])}"),
            title_align="left",
            border_style={"info": "green", "warning": "yellow"}.get(row["severity"], "red"),
            width=min(self.console.width, _MAIL_WIDTH),
        )
        self.console.print(mail, soft_wrap=False)


def _shown(text: str) -> list[str]:
    lines = text.splitlines()
    rest = len(lines) - _MAIL_LINES
    return [*lines[:_MAIL_LINES], *([f"… and {rest} lines more"] if rest > 0 else [])]


# ---- The chapters -------------------------------------------------------------------------


def arrays(day: Day) -> None:
    """Show arrays that succeed, fail in part, or lose events."""
    day.chapter(
        "1. Arrays are told once, truthfully",
        "Three array jobs of 200 children: one succeeds, one fails in part and for two causes, "
        "and of the third a tenth of the children's events and the parent's own are lost.",
    )
    out_of_memory = Outcome(
        exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"
    )
    spot = Outcome(
        exit_code=None, status_reason="Host EC2 (instance i-0a1b2c3d4e5f60718) terminated."
    )
    failing: dict[int, Outcome] = {7: spot, 8: spot, 9: spot, 150: out_of_memory, 42: out_of_memory}
    day.batch.submit("align-genomes", "cpu", seconds=300, array_size=200)
    film = day.batch.submit("render-film", "cpu", seconds=300, array_size=200, outcome=failing)
    third = day.batch.submit("train-forest", "cpu", seconds=300, array_size=200, outcome={13: 1})

    def is_lost(event: Mapping[str, Any]) -> bool:
        job_id = str(event["detail"]["jobId"])
        parent, _, index = job_id.partition(":")
        return parent == third and (not index or int(index) % 10 == 3)  # noqa: PLR2004

    day.is_lost = is_lost
    day.pass_time(12)
    day.show("the array render-film", page="array", job_id=film)


def experiment(day: Day) -> None:
    """Show the published experiment: ten jobs on 4 vCPUs, then on 20."""
    for queue, vcpus, told in (
        (
            "small",
            4,
            "Two run at a time. The others wait in RUNNABLE because the environment is full, which "
            "is no fault: nothing is cancelled that gets its turn within its limit.",
        ),
        ("large", 20, "There is room for all at once."),
    ):
        day.chapter(f"2. Ten 2-vCPU jobs of 60 s on an environment of {vcpus} vCPUs", told)
        day.running.clear()
        ids = [day.batch.submit(f"sleep-{n}", queue, vcpus=2, seconds=60) for n in range(10)]
        day.pass_time(1)
        day.explain("sleep-9", ids[-1])
        day.pass_time(7)
        for at, count in sorted(day.running.items()):
            day.console.print(Text(f"{at[11:19]}  {'█' * count} {count} begin to run"))


def stuck(day: Day) -> None:
    """Show a job that can never start: a warning with the reason, the stop, and its check."""
    day.chapter(
        "3. No job waits for ever",
        "A job asks for a GPU in a queue whose environment has none. It is warned of after 20 min, "
        "cancelled after 40, and looked at afterwards.",
    )
    job_id = day.batch.submit("segment-scans", "gpu", vcpus=4, gpus=1)
    day.pass_time(35)
    day.show("the job segment-scans, while it waits", page="job", job_id=job_id)
    day.pass_time(10)
    job = day.batch.call("DescribeJobs", {"jobs": [job_id]})["jobs"][0]
    day.say(f"Batch says of segment-scans: {job['status']}, {job['statusReason']}")


def spending(day: Day) -> None:
    """Show a soft alarm, a retry of a job, a hard alarm, and the release."""
    day.chapter(
        "4. Money says stop",
        "Six jobs of two vCPUs, and room for two. A soft alarm cancels what waits and lets finish "
        "what runs; a job that fails and would be tried again is stopped then. A hard alarm ends "
        "everything; with both alarms OK again, the queue is reopened. Another queue shares the "
        "environment and is none of the guard's: its job goes on.",
    )

    def minutes(_: int, attempt: int) -> float:
        return 300 if attempt == 1 else 3_600

    for number in range(6):
        day.batch.submit(
            f"simulate-{number}",
            "small",
            vcpus=2,
            seconds=minutes if number == 1 else 3_600,
            attempts=2,
            outcome=[1, 0] if number == 1 else 0,
        )
    day.pass_time(1)
    day.batch.submit("nightly-report", "night", vcpus=2, seconds=600)
    day.pass_time(1)
    day.alarm("spend-80-percent", "ALARM")
    day.pass_time(10)
    day.alarm("spend-100-percent", "ALARM")
    day.pass_time(10)
    day.show("the overview, while the guard is at terminate", page="overview")
    day.alarm("spend-80-percent", "OK")
    day.alarm("spend-100-percent", "OK")
    day.pass_time(5)


CHAPTERS: Sequence[Callable[[Day], None]] = (arrays, experiment, stuck, spending)


def main(arguments: Sequence[str]) -> int:
    """Show the day. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local demo")
    parser.add_argument("--language", choices=NOTIFY, default="en", help="of the mails")
    parser.add_argument("--report", type=Path, default=REPORT, help="where its report goes")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    console.print("The watchdog's own template and functions, on a simulated AWS Batch.")
    day = Day(stacks.read(), console, options.language)
    day.batch.add_world(world())
    for chapter in CHAPTERS:
        chapter(day)
        day.is_lost = lambda _: False
    day.end()
    day.report.write(options.report)
    console.print(f"The same as one page, with the console's: {options.report}", soft_wrap=True)
    return 0


def world() -> dict[str, Any]:
    """Build four compute environments with one queue each, and a fifth queue that shares one."""
    vcpus = {"cpu": 1024, "small": 4, "large": 20, "gpu": 64}
    queues = {name: name for name in vcpus} | {"night": "small"}
    prefix = "arn:aws:batch:us-east-1:111122223333:"
    return {
        "jobQueues": [
            {
                "jobQueueName": name,
                "jobQueueArn": f"{prefix}job-queue/{name}",
                "state": "ENABLED",
                "status": "VALID",
                "priority": 2 if name == "night" else 1,
                "computeEnvironmentOrder": [
                    {"order": 1, "computeEnvironment": f"{prefix}compute-environment/{environment}"}
                ],
            }
            for name, environment in queues.items()
        ],
        "computeEnvironments": [
            managed_environment(prefix, name, most) for name, most in vcpus.items()
        ],
    }
