"""The console as a dashboard's widget: text stays text, buttons act once, reads are bounded."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from batch_watchdog.arrays.items import Arrays
from batch_watchdog.core.effects import Announce, StopJobs
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.health.facts import Facts
from batch_watchdog.limits import exemption_items
from batch_watchdog.overview import items as overview_items
from batch_watchdog.overview.state import LongWait, OpenArray, Waits, kept_arrays, with_waiting
from batch_watchdog.page.html import ANSWER_MAX
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.actions import Actions
from batch_watchdog.store.item_codec import Item, unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import FIRST, LAST, Key
from batch_watchdog.use_cases.console import Console
from batch_watchdog.use_cases.desk import Desk
from local.aws.errors import ApiError
from tests.fakes import Aws
from tests.makers import (
    ARRAY,
    DEFINITION,
    JOB,
    QUEUE,
    a_child,
    a_notice,
    a_part,
    an_array,
    at,
)

NOW = at("12:00")
ARN = "arn:aws:lambda:us-east-1:111122223333:function:console"
PAGES = (
    {"page": "overview"},
    {"page": "array", "job_id": ARRAY},
    {"page": "queue", "queue": QUEUE},
    {"page": "job", "job_id": JOB},
    {"page": "actions"},
    {"page": "rules"},
    {"page": "check"},
)
POISON = "<img src=x onerror=alert(1)></cwdb-action><script>alert(2)</script>'\"&"
POLICY = """
    mode = "enforce"
    [[limit]]
    match = {{ queue = "gpu*" }}
    RUNNABLE = {{ after = "6h" }}
    [[guard]]
    name = {name}
    [[guard.stage]]
    alarms = ["soft"]
    action = "cancel"
"""


class CountingTable(MemoryTable):
    """A table that counts reads: a query of many items is one for each hundred of them."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def get(self, pk: str, sk: str) -> Item | None:
        self.reads += 1
        return super().get(pk, sk)

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        self.reads += 1 + len(keys) // 100
        return {key: item for key in keys if (item := super().get(*key))}

    def query(self, pk: str, *, first: str = FIRST, last: str = LAST) -> Iterator[Item]:
        self.reads += 1
        for number, item in enumerate(super().query(pk, first=first, last=last)):
            self.reads += number % 100 == 99
            yield item

    def latest(self, pk: str, most: int, *, first: str = FIRST, last: str = LAST) -> list[Item]:
        self.reads += 1
        return list(super().query(pk, first=first, last=last))[::-1][:most]


class Wall:
    """A dashboard with the widget, and what the widget's function works on."""

    def __init__(self, guard: str = "monthly") -> None:
        self.now = NOW
        self.aws = Aws()
        self.aws.jobs[JOB] = {
            "jobId": JOB,
            "jobName": "render",
            "jobQueue": QUEUE,
            "jobDefinition": DEFINITION,
            "status": "RUNNABLE",
            "createdAt": 0,
            "tags": {},
        }
        self.aws.on_call = self._answer
        self.table = CountingTable()
        self.policy = parse_policy(POLICY.format(name=json.dumps(guard)))
        self._calls = 0
        self.desk = Desk(
            console=Console(
                table=self.table,
                batch=self.aws.batch,
                inquiry=lambda now: DiagnosisGatherer(
                    batch=self.aws.batch, ec2=None, ecs=None, now=now
                ),
                policy=lambda: self.policy,
                facts=lambda _, now: Facts(at=now, confirmed=1, queues=("gpu-1", "cpu")),
            )
        )

    def _answer(self, operation: str, _: dict[str, Any]) -> dict[str, Any] | None:
        if operation == "DescribeServiceJob":
            raise ApiError("ClientException", "no such service job")
        return {"jobQueues": []} if operation == "DescribeJobQueues" else None

    def ask(self, event: Any) -> Any:
        self._calls += 1
        return self.desk.answer(event, self.now, request=f"request-{self._calls}", arn=ARN)

    def look(self, asked: Any = None, **context: Any) -> str:
        answer = self.ask({**(asked or {}), "widgetContext": context})
        assert isinstance(answer, str)
        return answer

    def press(self, page: str, label: str, **forms: str) -> str:
        """Press a button of a page."""
        return self.look(button(page, label), forms={"all": forms})

    @property
    def records(self) -> list[dict[str, Any]]:
        items = self.table.query("COMMAND#2026-01-01")
        return [{**item, "body": unpack(item["body"])} for item in items]

    def fill(self, text: str = "render", *, arrays: int = 1, waiting: int = 1) -> None:
        """Have everything that comes from those who submit jobs hold a text."""
        failed = a_child(3, "FAILED", statusReason=text)
        part = replace(a_part(a_child(1), failed))
        store = Arrays(self.table)
        array = an_array(job_name=text, definition=text, tags={"t": text})
        self.table.write([store.put(array, NOW), store.put_part(ARRAY, part, NOW)])
        self.aws.jobs[JOB] |= {
            "jobName": text,
            "statusReason": text,
            "tags": {"team": text, text[:100]: "x"},
            "attempts": [{"container": {"exitCode": 1, "reason": text}, "statusReason": text}],
        }
        open_arrays = [
            OpenArray(job_id=f"{ARRAY}-{n}", job_name=text, queue=QUEUE, first_at=NOW, size=9)
            for n in range(arrays)
        ]
        jobs = [LongWait(job_id=JOB, job_name=text, since=at("10:00"))] + [
            LongWait(job_id=f"{n}", job_name=text, since=at("11:00")) for n in range(waiting - 1)
        ]
        waits = with_waiting(Waits(at=at("11:45")), QUEUE, jobs, NOW)
        notice = a_notice(subject=text, facts={"job_id": JOB, "rule": text}, kind="limit-warning")
        stop = StopJobs(how="cancel", job_ids=(JOB,), reason=text, rule=text)
        self.table.write(
            [
                overview_items.put_arrays(kept_arrays(open_arrays, NOW)),
                overview_items.put_waits(waits),
                *Actions(self.table).puts([Announce(notices=(notice,)), stop], NOW, "sweep"),
            ]
        )


class Parsed(HTMLParser):
    """What a browser makes of a page: its elements, and their text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.actions: list[tuple[str, dict[str, Any]]] = []
        self._label, self._in_action = "", False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_action = tag == "cwdb-action"
        if tag == "a":
            self._label = ""

    def handle_data(self, data: str) -> None:
        if self._in_action:
            self.actions.append((self._label.strip(), json.loads(data)))
            self._in_action = False
        else:
            self._label += data

    @property
    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


def button(page: str, label: str) -> dict[str, Any]:
    return next(event for name, event in Parsed(page).actions if name == label)


@pytest.fixture
def wall() -> Wall:
    return Wall()


# ---- Commands and widgets -----------------------------------------------------------------


def test_a_dashboard_is_answered_in_html_and_a_command_in_json(wall: Wall) -> None:
    assert wall.ask({"command": "status"})["mode"] == "enforce"
    assert wall.ask({"command": "nothing"})["problems"]
    assert "<section" in wall.look()


def test_a_widget_that_is_set_up_gets_documentation(wall: Wall) -> None:
    told = wall.ask({"describe": True})

    assert told.startswith("## batch-watchdog")
    assert "page: overview" in told


@pytest.mark.parametrize(
    "asked",
    [{"page": "array"}, {"page": "job"}, {"page": "queue"}, {"page": "nothing"}, {"page": 7}],
)
def test_where_no_page_is_named_the_overview_is_drawn(wall: Wall, asked: dict[str, Any]) -> None:
    assert "<h2>What waits longest" in wall.look(asked)


def test_an_array_a_job_and_a_queue_that_nobody_knows_are_said_to_be_unknown(wall: Wall) -> None:
    assert "knows no array" in wall.look({"page": "array", "job_id": "gone"})
    assert "knows no job" in wall.look({"page": "job", "job_id": "gone"})
    assert "knows no such queue" in wall.look({"page": "queue", "queue": "gone"})


def test_dark_and_light_and_a_narrow_widget_are_drawn_as_asked(wall: Wall) -> None:
    assert '<div class="bw bw-dark bw-narrow">' in wall.look(theme="dark", width=400)
    assert '<div class="bw">' in wall.look(theme="light", width=1200)


def test_where_aws_does_not_answer_the_page_says_so(wall: Wall) -> None:
    def refuse(operation: str, _: Any) -> Any:
        raise ApiError("AccessDeniedException", f"no {operation} <b>")

    wall.aws.on_call = refuse

    page = wall.look({"page": "job", "job_id": JOB})

    assert "AWS did not answer" in page
    assert "<b>" not in page.replace("<b>batch-watchdog</b>", "")


# ---- Text stays text ----------------------------------------------------------------------


@pytest.mark.parametrize("asked", PAGES, ids=lambda asked: asked["page"])
@pytest.mark.parametrize(
    "poison",
    [
        POISON,
        '"><img src=x onerror=alert(1)>',
        '" onclick="x" b="',
        "x" * 50_000,
        "\u202e\x00 日本語",
        "{{ 7*7 }}{% raw %}",
    ],
)
def test_what_submitters_write_is_text_on_every_page(asked: dict[str, Any], poison: str) -> None:
    wall = Wall(guard=poison[:60] if poison.isprintable() else "monthly")
    wall.fill(poison)

    page = wall.look(asked, forms={"all": {"by": poison}}, dashboardName=poison)

    parsed = Parsed(page)
    assert not parsed.names & {"img", "script", "iframe", "use", "object"}
    assert not [name for _, attributes in parsed.tags for name in attributes if name[:2] == "on"]
    assert len(page.encode()) < 200_000
    assert "49" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).replace("2049", "")


def test_a_poisoned_guard_still_has_a_button_that_means_it() -> None:
    wall = Wall(guard=POISON[:60])

    event = button(wall.look(), "Cancel")

    assert event["act"]["guard"] == POISON[:60]


def test_a_page_has_only_links_into_aws(wall: Wall) -> None:
    wall.fill()

    for asked in PAGES:
        links = [attributes.get("href") for tag, attributes in Parsed(wall.look(asked)).tags]
        assert all(link is None or link.startswith("https://") for link in links)


def test_every_control_calls_the_function_itself_and_has_a_name(wall: Wall) -> None:
    wall.fill()

    for asked in PAGES:
        parsed = Parsed(wall.look(asked))
        endpoints = {attrs["endpoint"] for tag, attrs in parsed.tags if tag == "cwdb-action"}
        assert endpoints == {ARN}
        assert all(label for label, _ in parsed.actions)


# ---- Acting -------------------------------------------------------------------------------


def test_hold_and_resume(wall: Wall) -> None:
    held = wall.press(wall.look(), "Hold", by="jane", why="a drill")

    assert operator_hold.read(wall.table).is_on
    assert "jane (by the page" in held
    assert "a drill" in held

    resumed = wall.press(held, "Resume", by="joe")

    assert not operator_hold.read(wall.table).is_on
    assert ">Hold</a>" in resumed


def test_an_action_that_is_asked_for_twice_acts_once(wall: Wall) -> None:
    page = wall.look()
    held = wall.press(page, "Hold")
    wall.now += timedelta(seconds=1)
    wall.press(held, "Resume")
    wall.now += timedelta(minutes=5)

    again = wall.press(page, "Hold")

    assert "asked before" in again
    assert not operator_hold.read(wall.table).is_on
    assert [record["body"]["command"] for record in wall.records] == ["hold", "resume"]


def test_each_drawing_of_a_page_has_actions_of_its_own(wall: Wall) -> None:
    first, second = button(wall.look(), "Hold"), button(wall.look(), "Hold")
    on_one_page = [event["id"] for _, event in Parsed(wall.look()).actions if "id" in event]

    assert first["id"] != second["id"]
    assert len(set(on_one_page)) == len(on_one_page) > 1


def test_an_action_is_recorded_with_the_request_by_which_aws_names_the_caller(wall: Wall) -> None:
    wall.press(wall.look(), "Hold", by="jane")

    (record,) = wall.records
    assert record["request"] == "request-2"
    assert record["by"] == "jane (by the page's word)"

    wall.ask({"command": "resume", "by": "joe"})

    assert wall.records[-1]["request"] == "request-3"
    assert "request-3" in wall.look({"page": "actions"})


def test_a_page_cannot_say_who_its_caller_is(wall: Wall) -> None:
    event = button(wall.look(), "Hold")
    event["act"] |= {"by": "root"}

    wall.look(event)

    assert wall.records[0]["by"] == "somebody (by the page's word)"


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": "x"},
        {"id": "2026-01-01T12:00:00Z/"},
        {"id": "2026-99-01T12:00:00Z/a/1"},
        {"id": "2025-12-31T23:59:00Z/a/1"},
        {"id": "2026-01-01T12:02:00Z/a/1"},
        {"act": {}},
        {"act": {"command": "explode"}},
        {"act": {"command": "hold", "time": "2020-01-01T00:00:00Z"}},
        {"act": {"command": "set-stage", "guard": "none", "stage": "cancel"}},
        {"act": {"command": "exempt"}},
        {"act": "hold"},
    ],
)
def test_what_no_button_says_changes_nothing_and_is_answered(
    wall: Wall, change: dict[str, Any]
) -> None:
    page = wall.look(button(wall.look(), "Hold") | change)

    assert 'role="alert"' in page
    assert not wall.records
    assert not operator_hold.read(wall.table).is_on


def rows_of_attempts(wall: Wall, **detail: Any) -> list[str]:
    """What the history of a job says of each attempt, in words."""
    wall.aws.jobs[JOB] |= {"status": "FAILED", **detail}
    page = wall.look({"page": "job", "job_id": JOB})
    history = page.partition("<h2>History</h2>")[2].partition("</tbody>")[0].partition("<tbody>")[2]
    rows = (re.sub(r"<[^>]+>", " ", row) for row in history.split("</tr>"))
    return [" ".join(row.split()) for row in rows if row.strip()]


RAN = {"startedAt": 1_767_268_000_000, "stoppedAt": 1_767_268_800_000}


def test_a_jobs_attempts_on_eks_are_shown_with_how_each_container_ended(wall: Wall) -> None:
    attempt = {
        **RAN,
        "podName": "p",
        "statusReason": "pod failed",
        "initContainers": [{"name": "fetch", "exitCode": 0, "reason": "Completed"}],
        "containers": [{"name": "main", "exitCode": 137, "reason": "OOMKilled"}, {"name": "log"}],
    }

    [row] = rows_of_attempts(wall, attempts=[], eksAttempts=[attempt])

    assert row.startswith("1 2026-01-01 11:46")
    assert row.endswith("fetch: exit code 0 Completed main: exit code 137 OOMKilled pod failed")


def test_an_attempt_of_several_containers_on_ecs_shows_how_each_ended(wall: Wall) -> None:
    task = {"containers": [{"name": "main", "exitCode": 3}, {"name": "proxy", "exitCode": 143}]}
    attempt = {**RAN, "container": {}, "taskProperties": [task], "statusReason": "Essential"}
    many = [{"name": f"c{n}", "exitCode": n} for n in range(12)]

    first, second = rows_of_attempts(
        wall, attempts=[attempt, {**RAN, "taskProperties": [{"containers": many}]}]
    )

    assert first.endswith("main: exit code 3 proxy: exit code 143 Essential")
    assert second.endswith("c9: exit code 9 and 2 more containers")


def test_an_attempt_of_one_container_shows_its_end_and_none_is_said_to_be_none(wall: Wall) -> None:
    one = {**RAN, "container": {"exitCode": 1, "reason": "lost"}, "statusReason": "Essential"}

    assert rows_of_attempts(wall, attempts=[one])[0].endswith("exit code 1 lost Essential")
    assert rows_of_attempts(wall, attempts=[], eksAttempts=[]) == ["No attempt was made."]


def test_a_job_is_exempt_for_as_long_as_was_chosen(wall: Wall) -> None:
    wall.fill()
    page = wall.look({"page": "job", "job_id": JOB})

    page = wall.press(page, "Exempt from limits", hours="6")

    (exemption,) = exemption_items.read_all(wall.table, NOW).values()
    assert (exemption.job_id, exemption.until) == (JOB, NOW + timedelta(hours=6))
    assert "until 2026-01-01 18:00:00" in page


def test_a_guard_is_set_and_released(wall: Wall) -> None:
    raised = wall.press(wall.look(), "Cancel")

    assert '<b class="bw-bad">cancel</b>' in raised

    released = wall.press(raised, "Release")

    assert '<b class="">calm</b>' in released


def test_what_changes_something_asks_for_a_confirmation(wall: Wall) -> None:
    wall.press(wall.look(), "Hold")
    page = wall.look()

    for asked in ({"page": "overview"}, {"page": "job", "job_id": JOB}):
        page = wall.look(asked)
        changing = re.findall(r"<cwdb-action[^>]*>[^<]*", page)
        assert all('confirmation="' in each for each in changing if '"act"' in each)
        assert any('"act"' in each for each in changing)


# ---- What is shown ------------------------------------------------------------------------


def test_the_overview_shows_what_waits_with_its_finding(wall: Wall) -> None:
    wall.fill("render-scans")

    page = wall.look()

    assert "2 h" in page
    assert "render-scans" in page
    assert ">undetermined</td>" in page


def test_an_array_shows_its_failures_and_what_to_resubmit(wall: Wall) -> None:
    wall.fill("Host EC2 (instance i-1) terminated.")

    page = wall.look({"page": "array", "job_id": ARRAY})

    assert 'role="img" aria-label="Heat map of 10 indices' in page
    assert ">3</pre>" in page
    assert "Host EC2" in page


def test_the_trail_is_that_of_the_dashboards_time_range(wall: Wall) -> None:
    wall.press(wall.look(), "Hold", by="early")
    wall.now += timedelta(hours=2)
    wall.press(wall.look(), "Resume", by="late")
    millis = wall.now.timestamp() * 1000

    hour = wall.look({"page": "actions"}, timeRange={"start": millis - 3_600_000, "end": millis})
    day = wall.look({"page": "actions"}, timeRange={"start": millis - 86_400_000, "end": millis})

    assert "late (by" in hour
    assert "early (by" not in hour
    assert "early (by" in day


# ---- Reads and size -----------------------------------------------------------------------


@pytest.mark.parametrize("asked", PAGES, ids=lambda asked: asked["page"])
def test_reads_do_not_grow_with_what_there_is(asked: dict[str, Any]) -> None:
    def cost(arrays: int, waiting: int, actions: int) -> tuple[int, int, int]:
        wall = Wall()
        wall.fill(arrays=arrays, waiting=waiting)
        stops = [
            StopJobs(how="cancel", job_ids=(f"{n}",), reason=f"r{n}", rule="limit[1]")
            for n in range(actions)
        ]
        for first in range(0, actions, 100):
            some = stops[first : first + 100]
            wall.table.write(Actions(wall.table).puts(some, NOW - timedelta(hours=1), "sweep"))
        wall.table.reads = 0
        wall.aws.calls.clear()
        page = wall.look(asked)
        return wall.table.reads, len(wall.aws.calls), len(page.encode())

    few, many = cost(1, 1, 1), cost(200, 100_000, 5_000)

    assert many[0] <= max(few[0], 32)
    assert many[1] <= few[1] <= 12
    assert many[2] < 300_000


def test_an_array_of_ten_thousand_is_drawn_from_two_reads(wall: Wall) -> None:
    store = Arrays(wall.table)
    wall.table.write([store.put(an_array(size=10_000), NOW)])
    for number in range(3):
        every = range(number * 4_000, min(10_000, number * 4_000 + 4_000))
        children = [
            a_child(index, "FAILED" if index % 2 else "SUCCEEDED", statusReason="no")
            for index in every
        ]
        wall.table.write([store.put_part(ARRAY, a_part(*children, number=number), NOW)])
    wall.table.reads = 0

    page = wall.look({"page": "array", "job_id": ARRAY})

    assert wall.table.reads == 2
    assert len(page.encode()) < 400_000 < ANSWER_MAX


def test_a_page_that_would_be_too_large_says_so(
    wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch_watchdog.page.html.ANSWER_MAX", 100)

    assert "too large" in wall.look()
