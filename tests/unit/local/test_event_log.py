"""What a replay reads, and what it says of files that it cannot read."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.replay.errors import InputError
from local.replay.event_log import Line, parse_time, read_log
from local.replay.world_file import read_world

EVENT = {"source": "aws.batch", "detail-type": "x", "time": "2026-01-01T12:00:00Z", "detail": {}}


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-01T{clock}").replace(tzinfo=UTC)


def read(tmp_path: Path, *lines: Any) -> list[Line]:
    path = tmp_path / "log.jsonl"
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(texts))
    return read_log(path)


def refusal(tmp_path: Path, *lines: Any) -> str:
    with pytest.raises(InputError) as refused:
        read(tmp_path, *lines)
    return str(refused.value).removeprefix(str(tmp_path / "log.jsonl"))


# ---- What is read -------------------------------------------------------------------------


def test_an_event_is_delivered_at_its_own_time_as_it_stands(tmp_path: Path) -> None:
    [line] = read(tmp_path, EVENT)

    assert (line.kind, line.at, line.deliver_at) == ("event", at("12:00"), at("12:00"))
    assert json.loads(line.text) == line.value == EVENT
    assert line.from_batch


def test_an_envelope_delays_an_event_or_loses_it(tmp_path: Path) -> None:
    late, lost, plain, null = read(
        tmp_path,
        {"event": EVENT, "deliver_at": "2026-01-01T13:30:00+01:00"},
        {"event": EVENT, "deliver": False},
        {"event": EVENT},
        {"event": EVENT, "deliver": None, "deliver_at": None},
    )

    assert (late.at, late.deliver_at) == (at("12:00"), at("12:30"))
    assert (lost.at, lost.deliver_at) == (at("12:00"), None)
    assert plain.deliver_at == null.deliver_at == at("12:00")


def test_a_line_without_a_time_of_its_own_has_that_of_the_line_before(tmp_path: Path) -> None:
    bare = {key: EVENT[key] for key in ("source", "detail-type", "detail")}
    lines = read(
        tmp_path,
        bare,
        EVENT,
        bare,
        bare | {"event_time": "2026-01-01T12:05:00Z"},
        bare | {"time": "soon", "event_time": 7},
        bare | {"time": "9999-12-31T23:59:59Z"},
        {"command": {"name": "status"}},
    )

    assert [line.at for line in lines] == [at(f"12:0{minute}") for minute in (0, 0, 0, 5, 5, 5, 5)]


def test_messages_of_topics_and_commands_are_read_with_their_times(tmp_path: Path) -> None:
    message, command = read(
        tmp_path,
        {"Records": [{"Sns": {"Message": "m", "Timestamp": "2026-01-01T12:01:00.250Z"}}]},
        {"command": {"name": "status"}, "time": "2026-01-01T12:02:00Z"},
    )

    assert (message.kind, message.at) == ("sns", at("12:01:00.250"))
    assert (command.kind, command.value, command.at) == (
        "command",
        {"name": "status"},
        at("12:02"),
    )


def test_a_lambda_action_of_an_alarm_goes_to_the_function_that_reads_topics(tmp_path: Path) -> None:
    (alarm,) = read(
        tmp_path,
        {
            "source": "aws.cloudwatch",
            "alarmArn": "arn:aws:cloudwatch:us-east-1:111122223333:alarm:spend",
            "time": "2026-01-01T12:01:00.123+0000",
            "alarmData": {"alarmName": "spend"},
        },
    )

    assert (alarm.kind, alarm.problem, alarm.at) == ("sns", "", at("12:01:00.123"))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, "source is missing"),
        ({"detail-type": "x"}, "source is missing"),
        ({"source": "aws.batch"}, "detail-type is missing"),
        ({"source": 7, "detail-type": "x"}, "source is a number, expected text"),
        ({"source": "", "detail-type": "x"}, "source is text"),
        ({"Records": []}, "expected a list of SNS records"),
        ({"Records": {}}, "expected a list of SNS records"),
        ({"Records": [{"body": "x"}]}, "Records[0]: no SNS record"),
        ({"event": {"event": {}}}, "source is missing"),
    ],
    ids=json.dumps,
)
def test_what_aws_would_not_have_delivered_is_kept_with_a_reason(
    tmp_path: Path, value: Any, problem: str
) -> None:
    _, line = read(tmp_path, EVENT, value)

    assert line.kind == "malformed"
    assert problem in line.problem
    assert line.at == at("12:00")


def test_marks_blank_lines_and_line_ends_are_passed_over(tmp_path: Path) -> None:
    text = json.dumps(EVENT).encode()
    mark = "\ufeff".encode()

    assert len(read(tmp_path, mark + text + b"\r", b"", b"  \t", mark, mark + text, b"")) == 2


def test_a_line_ends_only_where_json_lines_says_so(tmp_path: Path) -> None:
    [line] = read(
        tmp_path, json.dumps(EVENT | {"id": "a\u2028b\x85c"}, ensure_ascii=False).encode()
    )

    assert line.value["id"] == "a\u2028b\x85c"


def test_odd_json_does_no_harm(tmp_path: Path) -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    lines = read(
        tmp_path,
        b'{"source": "s", "detail-type": "x", "n": [NaN, Infinity, 1e999, ' + b"7" * 9000 + b"]}",
        b'{"source": "s", "source": "t", "detail-type": "x"}',
        b'{"source": "\\ud800", "detail-type": "\\u0000"}',
        deep,
    )

    assert [line.kind for line in lines] == ["event", "event", "event", "malformed"]
    assert lines[3].problem == "nested too deeply"


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("2026-01-01T12:00:00Z", at("12:00")),
        ("2026-01-01T12:00:00", at("12:00")),
        ("2026-01-01T13:00:00.5+01:00", at("12:00:00.500")),
        ("2026-01-01", at("00:00")),
        ("0001-01-01T00:00:00+14:00", None),
        ("1969-12-31T00:00:00Z", None),
        ("noon", None),
        (1_767_268_800, None),
        (None, None),
    ],
)
def test_times_are_read_with_and_without_a_zone(text: Any, read_as: datetime | None) -> None:
    assert parse_time(text) == read_as


# ---- What is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{", ":2: not JSON (Expecting property name enclosed in double quotes at column 2)"),
        (b"[]", ":2: a list, expected a JSON object"),
        (b"[" * 100_000, ":2: a list, expected a JSON object"),
        (b"7", ":2: a number, expected a JSON object"),
        (b'{"a": "\xff"}', ":2: byte 8 is not UTF-8 (invalid start byte)"),
        ({"event": "x"}, ":2: event: text, expected an object"),
        ({"event": EVENT, "deliver": "no"}, ":2: deliver: text, expected true or false"),
        ({"event": EVENT, "deliver": 0}, ":2: deliver: a number, expected true or false"),
        ({"event": EVENT, "deliver_at": "soon"}, ':2: deliver_at: "soon", expected an ISO 8601'),
        ({"event": EVENT, "deliver_at": 7}, ":2: deliver_at: a number, expected an ISO 8601 time"),
        ({"command": []}, ":2: command: a list, expected an object"),
        ({"command": {}, "time": "soon"}, ':2: time: "soon", expected an ISO 8601 time'),
    ],
    ids=str,
)
def test_a_wrong_line_is_refused_with_its_place_and_key(
    tmp_path: Path, line: Any, told: str
) -> None:
    assert refusal(tmp_path, EVENT, line).startswith(told)


def test_a_log_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl: cannot be read: No such file"):
        read_log(tmp_path / "none.jsonl")


def test_a_world_is_read_in_the_shapes_of_the_api(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    world = {"jobQueues": [{"jobQueueName": "gpu"}], "snapshots": {"gpu": {}}}
    path.write_text("\ufeff" + json.dumps(world))

    assert read_world(path) == world


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{\n]", ":2: not JSON"),
        ("[]", ":1: a list, expected a JSON object"),
        ('{\n"jobQueues": "gpu"}', ":2: jobQueues: text, expected a list of objects"),
        ('{\n"jobQueues": ["gpu"]}', ":2: jobQueues[0]: text, expected an object"),
        ('{"jobQueues": [{"name": "gpu"}]}', ":1: jobQueues[0]: no name, expected jobQueueName"),
        ('{"computeEnvironments": [{}]}', ":1: computeEnvironments[0]: no name"),
        (
            '{"jobQueues": [{"jobQueueName": "gpu", "jobQueueArn": 7}]}',
            ":1: jobQueues[0].jobQueueArn: a number, expected text",
        ),
        ('{"snapshots": {"gpu": 7}}', ":1: snapshots.gpu: a number, expected an object"),
        ('{"snapshots": [{}]}', ":1: snapshots[0]: no name, expected jobQueue"),
    ],
)
def test_a_wrong_world_is_refused_with_its_line_and_key(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "world.json"
    path.write_text(text)

    with pytest.raises(InputError) as refused:
        read_world(path)

    assert str(refused.value).removeprefix(str(path)).startswith(told)
