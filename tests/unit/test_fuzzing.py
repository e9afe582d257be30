"""Whatever arrives: nothing breaks, nothing is lost, and what comes beside it gets through."""

import io
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from batch_watchdog.core.batch_payloads import event_from_detail, parse_event
from batch_watchdog.core.errors import EvidenceError, MalformedEventError, PolicyError
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.failed_jobs.notices import is_to_report
from batch_watchdog.guards.signals import envelope as signals
from batch_watchdog.guards.signals.envelope import records
from batch_watchdog.notices.text import fact
from batch_watchdog.policy.durations import parse_span
from batch_watchdog.policy.model import LIMITED, TAG_PREFIX, parse_policy, tag_problems
from batch_watchdog.store.item_codec import pack
from batch_watchdog.store.table import Put
from local.replay import replay
from local.replay.errors import InputError
from local.replay.event_log import read_log
from local.replay.timeline import Timeline
from local.replay.world_file import read_world
from tests import logs
from tests.makers import (
    JOB,
    QUEUE,
    a_child_event,
    a_failure,
    a_notice,
    a_parent_event,
    an_event,
    change,
)
from tests.unit.guards.signals.test_envelope import (
    a_budget_text,
    an_alarm_event,
    an_alarm_message,
    an_anomaly,
    an_sns_record,
)
from tests.whole import NOON, Whole, the_stack

EVENTS_FOLDER = Path(__file__).parents[2] / "events"

POLICY = """
mode = "enforce"

[[array]]
progress = [10]
stop_rest_when = { failed = 2 }

[[limit]]
RUNNABLE = { warn_after = "1m", after = "2m", action = "cancel" }
RUNNING = { after = "1m", action = "terminate" }

[[guard]]
name = "monthly"
match = { queue = "gpu" }
[[guard.stage]]
alarms = ["spend", "monthly-budget"]
action = "cancel"
close_queues = true
[[guard.stage]]
alarms = ["spend-100"]
action = "terminate"

[[guard]]
name = "good"
match = { queue = "none" }
[[guard.stage]]
alarms = ["good"]
action = "cancel"
"""

# ---- What may arrive ----------------------------------------------------------------------

# What Python cannot write as JSON, or Hypothesis would have to print: put in as the text is made.
HUGE = json.dumps("x" * 300_000)

ODD = [
    *(
        "@deep@",
        "@digits@",
        "@huge@",
        10**400,
        -(2**63) - 1,
        -1,
        0,
        2**31,
        1e308,
        float("nan"),
        float("-inf"),
    ),
    *("", " ", "\x00", "\ud800", "\udfff\ud800", "\u202e", "\ufffe", "a\r\nb"),
    *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "0400-02-29T00:00:00Z"),
    *("8999-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2026-01-01", "12:00", "FAILED", "ALARM"),
    *({}, [], [None], {"": None}, [[]], {"Records": []}, JOB, f"{JOB}:9999", f"{JOB}#0"),
]
odd = st.sampled_from(ODD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=3)
    ),
    max_leaves=6,
)

type Place = tuple[str | int, ...]


def places(tree: Any) -> Iterator[Place]:
    """Every place in a tree of JSON, the top among them."""
    yield ()
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from ((key, *deeper) for deeper in places(tree[key]))


def changed(tree: Any, place: Place, value: Any) -> Any:
    """The tree with another value in a place, or with nothing there where that is `...`."""
    if not place:
        return None if value is ... else value
    head, *rest = place
    copy = tree.copy()
    if value is ... and not rest:
        del copy[head]
    else:
        copy[head] = changed(tree[head], tuple(rest), value)
    return copy


@st.composite
def nearly(draw: st.DrawFn, what: str) -> Any:
    """One of the samples of a kind, with something else in one to three places, or nothing."""
    tree = SAMPLES[what][draw(st.integers(0, len(SAMPLES[what]) - 1))]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(places(tree))))
        tree = changed(tree, place, draw(st.just(...) | odd))
    return tree


def text_of(value: Any, deep: int = 50_000, digits: int = 5_000) -> str:
    """JSON that may be more than a parser takes."""
    text = json.dumps(value).replace('"@deep@"', "[" * deep + "]" * deep)
    return text.replace('"@digits@"', "7" * digits).replace('"@huge@"', HUGE)


def payload_of(value: Any) -> str:
    """JSON that a function can be called with: Lambda's runtime reads it before the handler."""
    return text_of(value, deep=5_000, digits=4_000)


def tried[T, E: Exception](refusal: type[E], read: Callable[[], T]) -> T | E:
    """What reading something gave, or the refusal with which it was met."""
    try:
        return read()
    except refusal as error:
        return error


SAMPLES: dict[str, list[Any]] = {}
SAMPLES["events"] = [
    an_event(),
    an_event(status="RUNNING", startedAt=1_767_268_800_000),
    a_failure(),
    a_child_event(1, "FAILED"),
    a_child_event(2, "RUNNABLE"),
    a_parent_event(3, failed=1),
    an_event(kind="Batch Job Queue Blocked", statusReason="CAPACITY:INSUFFICIENT"),
    a_failure(kind="Batch Service Job State Change", serviceJobType="SAGEMAKER_TRAINING"),
    a_failure(
        container=None,
        ecsProperties={"taskProperties": [{"containers": [{"exitCode": 1, "reason": "x"}]}]},
        eksProperties={"podProperties": {"containers": [{"exitCode": 1}]}},
        eksAttempts=[{"containers": [{"exitCode": 2}], "stoppedAt": 1}],
        nodeProperties={"numNodes": 2},
    ),
]
# A queue takes no control characters, nor half a surrogate pair, but for those that JSON escapes.
sent = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1)
bodies = sent | odd.map(text_of) | nearly("events").map(text_of)


EVERYWHERE_HALF = an_event()["detail"] | dict.fromkeys(
    ("jobName", "jobQueue", "jobDefinition", "statusReason"), "\ud800"
)


# ---- job_events ---------------------------------------------------------------------------


@given(st.lists(bodies, max_size=4), st.lists(bodies, max_size=1))
@example([text_of(an_event(kind="Batch Job Queue Blocked", jobQueue="@huge@"))], [])
@example(["[" + " " * (1024 * 1024 - 1)], [])  # It fills a message: no room for a reason.
def test_a_queues_message_is_taken_in_or_kept_with_a_reason_and_its_neighbours_are_taken_in(
    before: list[str], after: list[str]
) -> None:
    whole = Whole(POLICY)
    good = a_failure(jobId="good")

    whole.send("job_events", *before, json.dumps(good), *after)
    whole.run(minutes=5)

    events = [
        (body, tried(MalformedEventError, partial(parse_event, body))) for body in before + after
    ]
    assert whole.errors == []
    assert [body for _, body in whole.letters] == [
        body for body, event in events if isinstance(event, MalformedEventError)
    ]
    assert all(reason and reason.isprintable() for reason, _ in whole.letters)
    news = {
        event.job_id for _, event in events if isinstance(event, JobEvent) and is_to_report(event)
    }
    assert {f"job-failed:{job_id}" for job_id in {"good", *news}} <= whole.told


@given(nearly("events"))
@example({"detail": EVERYWHERE_HALF})
def test_what_batch_answers_is_read_or_refused_and_fits_wherever_it_is_written(event: Any) -> None:
    detail = event.get("detail") if isinstance(event, dict) else None
    assume(isinstance(detail, dict))

    job = tried(ValidationError, lambda: event_from_detail(json.loads(payload_of(detail)), NOON))

    if isinstance(job, JobEvent):
        texts = [job.job_name, job.queue, job.definition, *job.tags, *job.tags.values()]
        texts += [job.reason, job.container_reason, job.log_stream]
        assert all(len(text.encode()) <= 16_000 for text in texts)


# ---- spend_alarm --------------------------------------------------------------------------

SAMPLES["words"] = [
    an_sns_record(an_alarm_message(AlarmName="spend")),
    an_sns_record(an_anomaly()),
    an_sns_record(a_budget_text(Budget_Name="monthly-budget"), Subject="AWS Budgets: monthly"),
    an_sns_record(an_alarm_event(alarmName="spend")),
    an_alarm_event(alarmName="spend"),
    {"Records": [{"body": json.dumps(an_sns_record(an_alarm_message())["Sns"])}]},
]
words = odd | nearly("words") | st.builds(an_sns_record, st.text() | odd.map(text_of))


@given(st.lists(words, max_size=3), st.sampled_from(["Records", "alone"]))
@example([{"time": "9999-12-31T23:59:59-14:00", "detail-type": "Anomaly Detected"}], "alone")
@example(["\x00", ""], "Records")
def test_a_word_about_money_is_taken_in_or_kept_and_told_and_its_neighbours_are_taken_in(
    pieces: list[Any], form: str
) -> None:
    whole = Whole(POLICY).run(seconds=30)
    good = an_sns_record(an_alarm_message(AlarmName="good"))
    payloads = (
        [{"Records": [*pieces, good]}] if form == "Records" else [*pieces, {"Records": [good]}]
    )

    for payload in payloads:
        whole.invoke("spend_alarm", payload_of(payload))
    whole.run(minutes=5)

    refused = [
        json.dumps(piece)
        for payload in payloads
        for piece in records(json.loads(payload_of(payload)))
        if isinstance(tried(EvidenceError, partial(signals.read, piece)), EvidenceError)
    ]
    assert whole.errors == []
    assert [letter for _, letter in whole.letters] == refused
    assert all(reason and reason.isprintable() for reason, _ in whole.letters)
    assert any(each["notice"] == "watchdog-trouble" for each in whole.facts) or not refused
    assert "good" in {each["facts"].get("guard") for each in whole.facts}


# ---- console ------------------------------------------------------------------------------

WHO = {"by": "jane", "why": "because"}
SAMPLES["commands"] = [
    {"command": "status"},
    {"command": "explain", "job_id": JOB},
    {"command": "set-stage", "guard": "monthly", "stage": "cancel", **WHO},
    {"command": "release", "guard": "monthly", **WHO},
    {"command": "hold", **WHO},
    {"command": "resume", **WHO},
    {"command": "exempt", "job_id": JOB, "until": "2026-01-02T12:00:00Z", **WHO},
    {"command": {"command": "hold", **WHO}},
    {"describe": True},  # from here on, as a dashboard asks
    {"widgetContext": {"forms": {"all": {"guard": "monthly"}}, "params": {}}},
    {"command": "status", "widgetContext": {"dashboardName": "x", "forms": {"all": {}}}},
]


@given(st.lists(odd | nearly("commands"), min_size=1, max_size=4))
@example([SAMPLES["commands"][6] | {"until": "9999-12-31T23:59:59-14:00"}])
@example([SAMPLES["commands"][4] | {"time": "0001-01-01T00:00:00+14:00"}])
@example([{"command": "status", "\ud800": 1}])
def test_any_command_is_answered_and_whatever_it_did_the_watchdog_goes_on(asked: list[Any]) -> None:
    whole = Whole(POLICY, jobs=[an_event(), a_failure(jobId="failed")])
    whole.run(seconds=30)

    for command in asked:
        answer = whole.ask(json.loads(payload_of(command)))
        if isinstance(answer, str):  # a page, or documentation
            assert "batch-watchdog" in answer
            continue
        assert answer.get("error") or "at" in answer
        assert ("error" in answer) == ("problems" in answer)
    whole.run(minutes=4)

    assert whole.errors == []
    assert "guards" in whole.ask({"command": "status"})


# ---- sweep, act, stop_jobs ----------------------------------------------------------------

SAMPLES["ticks"] = [
    {"time": "2026-01-01T12:00:00Z", "source": "aws.events", "detail": {}, "resources": ["x"]}
]


@example({"time": "2026-01-01"})
@given(odd | nearly("ticks"))
def test_a_sweep_that_cannot_be_is_given_up_with_a_reason_and_the_next_ones_go_on(
    tick: Any,
) -> None:
    whole = Whole(POLICY)

    whole.invoke("sweep", payload_of(tick))
    whole.send("job_events", json.dumps(a_failure(jobId="good")))
    whole.run(minutes=5)

    tells_time = isinstance(tick, dict) and isinstance(tick.get("time"), str)
    assert whole.errors or tells_time
    assert len(whole.letters) == bool(whole.errors)
    assert all(error in whole.letters[0][0] for _, error in whole.errors)
    assert "job-failed:good" in whole.told


SAMPLES["actions"] = [
    {
        "kind": "Announce",
        "at": "2026-01-01T12:00:00Z",
        "asked_by": "test",
        "body": {"notices": [asdict(a_notice())]},
    },
    {
        "kind": "StopJobs",
        "at": "2026-01-01T12:00:00Z",
        "asked_by": "test",
        "body": {"how": "cancel", "job_ids": [JOB], "reason": "x", "rule": "y", "service": False},
    },
]


@given(nearly("actions"))
def test_an_action_that_cannot_be_carried_out_is_given_up_and_its_neighbours_are_not(
    action: Any,
) -> None:
    assume(isinstance(action, dict))
    whole = Whole(POLICY)
    flat: dict[str, str | bytes] = {
        name: fact(value) for name, value in action.items() if isinstance(value, str)
    }
    if "body" in action:
        flat["body"] = pack(json.loads(payload_of(action["body"])))
    whole.dispatcher.table.write([Put({"pk": "ACTION#2026-01-01", "sk": "odd", **flat})])
    whole.send("job_events", json.dumps(a_failure(jobId="good")))
    whole.run(minutes=15)

    done = whole.dispatcher.table.get("ACTION#2026-01-01", "odd") or {}
    assert ("result" in done) != bool(whole.letters)
    assert all(reason for reason, _ in whole.letters)
    assert "job-failed:good" in whole.told


@given(sent | odd.map(text_of) | odd.map(lambda value: text_of({"run_id": value})))
def test_a_run_that_is_none_is_given_up_with_a_reason_or_passed_over(body: str) -> None:
    whole = Whole(POLICY)

    whole.send("stop_jobs", body)
    whole.run(hours=1)

    assert whole.errors or "run_id" in body
    assert len(whole.letters) == bool(whole.errors)
    assert all(
        folder == "stop_jobs" and error in whole.letters[0][0] for folder, error in whole.errors
    )


# ---- Policies and tags --------------------------------------------------------------------

SAMPLES["policies"] = [tomllib.loads((EVENTS_FOLDER / "policy.toml").read_text())]


def toml(value: Any) -> str:
    """The value in TOML; what TOML has no word for as a date."""
    match value:
        case None:
            return "1979-05-27"
        case dict():
            return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case float():
            return repr(value)
        case _:
            return text_of(value, deep=1_000)


@example({"mode": "@digits@"})
@given(nearly("policies").filter(lambda tree: isinstance(tree, dict)))
def test_a_policy_with_anything_in_one_place_is_read_or_refused_in_plain_words(tree: Any) -> None:
    text = "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in tree.items())

    policy = tried(PolicyError, lambda: parse_policy(text))

    if isinstance(policy, PolicyError):
        assert policy.problems
        assert all(line.isprintable() for line in str(policy).split("\n"))
        assert all(1 <= each.line <= len(tree) + 1 for each in policy.problems)
    else:
        assert len(policy.version) == 16
        for status in LIMITED:
            policy.limit_for(change(an_event()), status)


own_tags = st.dictionaries(
    st.sampled_from([TAG_PREFIX + each for each in (*LIMITED, "exempt", "")]) | st.text(),
    st.text(st.characters(codec=None)) | st.from_regex(r"\s*P?T?[0-9]{0,12}[dhmsDHMS]?\s*"),
    max_size=4,
)


@given(own_tags, st.sampled_from(LIMITED))
def test_any_tags_of_a_job_are_minded_or_told_in_plain_words(
    tags: dict[str, str], status: str
) -> None:
    policy, job = parse_policy(POLICY), replace(change(an_event()), tags=tags)

    limit = policy.limit_for(job, status)

    due = policy.first_due_after(job, status)
    assert (due is None) == (limit is None)
    assert all(problem.isprintable() for problem in tag_problems(tags))


@given(odd | st.from_regex(r"[0-9]{1,9}[dhms]"))
@example("999999999d24h")
def test_any_span_is_read_or_refused_in_plain_words(written: Any) -> None:
    span = tried(ValueError, lambda: parse_span(written))

    if isinstance(span, ValueError):
        assert str(span).isprintable()
        assert len(str(span)) < 200
    else:
        assert timedelta() < span <= timedelta(days=30)


# ---- Replays ------------------------------------------------------------------------------

SAMPLES["lines"] = [
    *SAMPLES["events"],
    *({"event": event, "deliver_at": "2026-01-01T12:01:00Z"} for event in SAMPLES["events"]),
    {"event": a_failure(), "deliver": False},
    {"command": {"command": "hold", "by": "jane"}, "time": "2026-01-01T12:00:00Z"},
    *({"Records": [word]} for word in SAMPLES["words"][:4]),
    *SAMPLES["words"][4:],
]
SAMPLES["worlds"] = [
    {
        "jobQueues": [
            {
                "jobQueueName": "gpu",
                "jobQueueArn": QUEUE,
                "state": "ENABLED",
                "status": "VALID",
                "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "ce"}],
            }
        ],
        "computeEnvironments": [
            {
                "computeEnvironmentName": "ce",
                "computeEnvironmentArn": QUEUE.replace("job-queue", "compute-environment"),
                "state": "ENABLED",
                "status": "INVALID",
                "computeResources": {"maxvCpus": 16, "instanceTypes": ["m5"], "type": "EC2"},
            }
        ],
        "snapshots": {
            QUEUE: {
                "frontOfQueue": {"jobs": [{"jobArn": JOB, "earliestTimeAtPosition": 1_767_268_800}]}
            }
        },
    }
]
lines = st.lists(sent | odd.map(text_of) | nearly("lines").map(text_of), max_size=4)


@given(lines, st.just(SAMPLES["worlds"][0]).map(json.dumps) | nearly("worlds").map(text_of))
@example([], text_of({"jobQueues": [{"jobQueueName": "gpu", "priority": "@digits@"}]}))
@example([], text_of({"snapshots": {"\x1b[31m": 7}}))
@example([], text_of(["@deep@"]))
@example([text_of({"a": "@deep@"})], "{}")
def test_any_log_and_any_world_is_replayed_or_refused_with_file_and_line(
    told: list[str], world: str
) -> None:
    with TemporaryDirectory() as folder:
        log = logs.write(Path(folder) / "log.jsonl", [json.dumps(a_failure(jobId="good")), *told])
        world_file = Path(folder) / "world.json"
        world_file.write_text(world, encoding="utf-8")
        read = tried(InputError, lambda: (read_log(log), read_world(world_file)))
    if isinstance(read, InputError):
        assert re.match(rf"{folder}/(log.jsonl|world.json):[0-9]+: ", str(read))
        assert str(read).isprintable()
        return
    lines, known = read
    rows: list[Any] = []
    replay.replay(
        lines,
        stack=the_stack(),
        write_row=rows.append,
        policy=POLICY,
        world=known,
        until=NOON + timedelta(minutes=5),
    )

    shown = io.StringIO()
    timeline = Timeline(Console(file=shown, highlight=False, soft_wrap=True))
    for row in rows:
        json.dumps(row, allow_nan=False)
        timeline.write_row(row)
    assert all(line.isprintable() for line in shown.getvalue().split("\n"))
    reasons = [row.get("reason") or "" for row in rows]
    assert not [each for each in reasons if each.startswith(("sweep tried", "received"))]
    assert any(
        row.get("id") == "job-failed:good" or "good" in str(row.get("facts")) for row in rows
    )
