"""The forms in which logs of events are kept: each is read as the plain one is."""

import base64
import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from local.replay.errors import InputError
from local.replay.event_log import Tally, lines_of, read_log
from tests.logs import an_array, event

EVENTS: Sequence[dict[str, Any]] = an_array(6, seed=3, failing=0.3).events
TEXTS = [json.dumps(each) for each in EVENTS]

type Form = Callable[[], str | bytes]


def read(tmp_path: Path, content: str | bytes) -> list[Any]:
    return [line.value for line in read_log(write(tmp_path / "log", content))]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def messages(*others: str) -> list[dict[str, Any]]:
    return [{"timestamp": 1772438401000, "message": text} for text in (*others, *TEXTS)]


def lines(values: Sequence[Any]) -> str:
    return "\n".join(json.dumps(each) for each in values)


def subscription() -> dict[str, Any]:
    return {"messageType": "DATA_MESSAGE", "owner": "1", "logEvents": messages()}


def packed(content: Any) -> str:
    return base64.b64encode(gzip.compress(json.dumps(content).encode())).decode()


def table(*names: str) -> str:
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    writer.writerows(["2026-01-01 12:00:00.000", text] for text in TEXTS)
    return file.getvalue()


def fields() -> list[Any]:
    return [
        [
            {"field": "@timestamp", "value": "2026-01-01 12:00:00.000"},
            {"field": "@message", "value": text},
            {"field": "@ptr", "value": "Cm0K"},
        ]
        for text in TEXTS
    ]


PLAIN = "\n".join(TEXTS)
STREAM = "2026-01-01T12:00:00.000000+00:00 7c9e/a-stream"

FORMS: dict[str, Form] = {
    "JSON Lines": lambda: PLAIN,
    "one after the other": lambda: "".join(TEXTS),
    "one after the other, over lines": lambda: "".join(json.dumps(e, indent=2) for e in EVENTS),
    "pretty": lambda: "\n".join(json.dumps(e, indent=4) for e in EVENTS),
    "array": lambda: json.dumps(EVENTS),
    "pretty array": lambda: json.dumps(EVENTS, indent=2),
    "array, one a line": lambda: "[\n" + ",\n".join(TEXTS) + "\n]\n",
    "arrays": lambda: f"[{TEXTS[0]}]\n[]\n[{', '.join(TEXTS[1:])}]",
    "gzip": lambda: gzip.compress(PLAIN.encode()),
    "gzips one after the other": lambda: b"".join(gzip.compress(t.encode()) for t in TEXTS),
    "gzip of gzip": lambda: gzip.compress(gzip.compress(json.dumps(EVENTS).encode())),
    "UTF-16": lambda: PLAIN.encode("utf-16"),
    "UTF-16 without a mark": lambda: PLAIN.encode("utf-16-be"),
    "byte order mark, CRLF": lambda: "\ufeff" + "\r\n".join(TEXTS),
    "filter-log-events": lambda: json.dumps({"events": messages(), "searchedLogStreams": []}),
    "filter-log-events, pretty": lambda: json.dumps({"events": messages()}, indent=4),
    "filter-log-events, pages": lambda: lines([{"events": [each]} for each in messages()]),
    "filter-log-events --query events": lambda: json.dumps(messages(), indent=4),
    "get-query-results": lambda: json.dumps({"results": fields(), "status": "Complete"}),
    "get-query-results --query results": lambda: json.dumps(fields(), indent=4),
    "Insights, JSON": lambda: json.dumps([{"@message": each} for each in EVENTS]),
    "Insights, JSON with text": lambda: json.dumps([{"@message": each} for each in TEXTS]),
    "Insights, CSV": lambda: table("@timestamp", "@message"),
    "the console's CSV": lambda: "\ufeff" + table("timestamp", "message"),
    "export to S3": lambda: gzip.compress(
        "".join(f"2026-01-01T12:00:00.000Z {text}\n" for text in TEXTS).encode()
    ),
    "tail": lambda: "".join(f"{STREAM} {text}\n" for text in TEXTS),
    "tail --format short": lambda: "".join(f"2026-01-01T12:00:00 {text}\n" for text in TEXTS),
    "tail --format json": lambda: "".join(
        f"{STREAM} \n{json.dumps(each, indent=4)}\n" for each in EVENTS
    ),
    "tail --color on": lambda: "".join(
        f"\x1b[32m2026-01-01T12:00:00+00:00\x1b[0m \x1b[36ma\x1b[0m {text}\n" for text in TEXTS
    ),
    "tail --format none": lambda: lines(
        [each | {"timestamp": "2026-01-01 12:00:00+00:00"} for each in messages()]
    ),
    "subscription": lambda: json.dumps(subscription()),
    "subscription, to a function": lambda: json.dumps(
        {"awslogs": {"data": packed(subscription())}}
    ),
    "subscription, by Firehose": lambda: b"".join(
        gzip.compress(json.dumps(each).encode())
        for each in ({"messageType": "CONTROL_MESSAGE", "logEvents": []}, subscription())
    ),
    "SQS, to a function": lambda: lines(
        [{"Records": [{"messageId": "1", "body": text}]} for text in TEXTS]
    ),
    "SQS, received": lambda: json.dumps({"Messages": [{"Body": text} for text in TEXTS]}, indent=4),
    "SQS, from a topic": lambda: json.dumps(
        {"Messages": [{"Body": json.dumps({"TopicArn": "t", "Message": text})} for text in TEXTS]}
    ),
    "Kinesis, to a function": lambda: json.dumps(
        {"Records": [{"kinesis": {"data": packed(each)}} for each in EVENTS]}
    ),
    "Firehose, to a function": lambda: json.dumps(
        {"records": [{"recordId": "1", "data": packed(each)} for each in EVENTS]}
    ),
    "a shipper's lines": lambda: lines([{"log": text, "stream": "stdout"} for text in TEXTS]),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_every_form_holds_the_same_events(tmp_path: Path, form: Form) -> None:
    assert read(tmp_path, form()) == EVENTS


def test_a_message_of_a_topic_that_came_by_sqs_is_one_of_the_topic(tmp_path: Path) -> None:
    envelope = {"Type": "Notification", "TopicArn": "t", "Message": '{"AlarmName": "spend"}'}

    (value,) = read(tmp_path, json.dumps({"Messages": [{"Body": json.dumps(envelope)}]}))

    assert value == {"Records": [{"Sns": envelope}]}


def test_pieces_of_a_very_long_line_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = event(an_array(2).ended, {"jobId": '\\é\u2028"{[', "status": "RUNNING"})
    texts = [json.dumps(each, ensure_ascii=False) for each in (odd, *EVENTS)]
    for size in (1, 2, 3, 7):
        monkeypatch.setattr("local.replay.log_files._PIECE", size)

        assert read(tmp_path, f"[{', '.join(texts)}]") == [odd, *EVENTS]
        assert read(tmp_path, "".join(texts)) == [odd, *EVENTS]


# ---- Several files ------------------------------------------------------------------------


def test_a_folder_is_read_in_order_of_names_and_what_is_repeated_counts_once(
    tmp_path: Path,
) -> None:
    folder, tally = tmp_path / "logs", Tally()
    write(folder / "b" / "000001.gz", gzip.compress("\n".join(TEXTS[4:]).encode()))
    write(folder / "b" / "000000.gz", gzip.compress("\n".join(TEXTS[:6]).encode()))
    write(folder / "a.json", json.dumps([each | {"replay-name": "r"} for each in EVENTS[:2]]))
    write(folder / ".DS_Store", b"\x00\x01")
    write(folder / "aws-logs-write-test", "Permission Check Successful")
    write(folder / "README.md", "These are our logs.")
    write(folder / "empty.jsonl", "")

    values = [line.value for line in read_log(folder, tally)]

    assert [each | {"replay-name": 0} for each in values] == [
        each | {"replay-name": 0} for each in EVENTS
    ]
    assert (tally.taken, tally.repeated, tally.passed) == (len(EVENTS), 4, 0)
    assert str(tally).endswith(
        f"1 files passed over, the first: {folder}/README.md:1: not JSON "
        "(Expecting value at column 1), expected a JSON object"
    )


def test_what_one_file_has_twice_was_delivered_twice(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    write(folder / "a", TEXTS[0] + TEXTS[0])
    write(folder / "b", TEXTS[0])

    assert [line.value for line in read_log(folder)] == [EVENTS[0], EVENTS[0]]


def test_a_file_of_many_that_breaks_off_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    write(folder / "a", PLAIN)
    write(folder / "b", TEXTS[0] + "\n" + TEXTS[1][:50])

    with pytest.raises(InputError, match=r"logs/b:2: not JSON"):
        read_log(folder)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder without files"):
        read_log(tmp_path)


def test_a_log_that_begins_with_the_latest_is_turned_round(tmp_path: Path) -> None:
    latest_first = [{"@message": text} for text in reversed(TEXTS)]

    assert read(tmp_path, json.dumps(latest_first)) == EVENTS


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(PLAIN.encode()))))
    monkeypatch.setattr(sys, "stdin", stdin)

    assert [line.value for line in read_log(Path("-"))] == EVENTS


def test_a_log_can_be_read_line_by_line(tmp_path: Path) -> None:
    path = write(tmp_path / "log", PLAIN + "\n" + '{"broken": ')

    lines = lines_of(path, Tally())

    assert [next(lines).value for _ in EVENTS] == EVENTS


# ---- What is passed over, and what is refused ---------------------------------------------


def test_other_lines_of_a_log_group_are_passed_over_and_counted(tmp_path: Path) -> None:
    tally = Tally()
    path = write(
        tmp_path / "log",
        json.dumps({"events": messages("START RequestId: 7", '{"level": "INFO"}', "{")}, indent=2),
    )

    assert [line.value for line in read_log(path, tally)] == EVENTS
    assert (
        str(tally) == f"{len(EVENTS)} entries taken; 3 passed over, the first: {path}:1: no event"
    )


def test_text_between_lines_with_a_time_is_passed_over(tmp_path: Path) -> None:
    tally = Tally()
    path = write(
        tmp_path / "log",
        f"{STREAM} Traceback:\n  File x\n{STREAM} {{broken\n{STREAM} {TEXTS[0]}\n{STREAM} end\n",
    )

    assert [line.value for line in read_log(path, tally)] == [EVENTS[0]]
    assert (tally.taken, tally.passed) == (1, 3)
    assert tally.first_passed == f"{path}:1: no JSON object"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lines([each["detail"] for each in EVENTS]), "log:1: the detail of an event alone"),
        ('\n{"a": 1}\n{"b": 2}', "log:2: no EventBridge event: source is missing"),
        ('{"events": [{"message": "START"}]}', "log:1: no event"),
        (f"{STREAM} START\n", "log:1: no JSON object"),
        ('"@timestamp","@message"\n"x","START"\n', "log:2: no event"),
        ('{"awslogs": {"data": "????"}}', "log:1: data that cannot be unpacked"),
    ],
)
def test_a_log_without_any_event_is_an_error_and_no_list_of_dead_letters(
    tmp_path: Path, content: str, told: str
) -> None:
    path = write(tmp_path / "log", content)

    with pytest.raises(InputError) as refused:
        read_log(path)

    assert str(refused.value).startswith(f"{tmp_path}/{told}")
    assert "There is no event in all of it" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x1f\x8bbroken gzip", "broken gzip"),
        (gzip.compress(PLAIN.encode())[:200], "broken gzip: it is cut off"),
        (b"PK\x03\x04rest", "a zip archive, expected it to be unpacked"),
        (f"[{TEXTS[0]},\n{TEXTS[1]}", ":2: not JSON (the array has no end"),
        (f"{TEXTS[0]}\n\n[1]", ":3: a list, expected a JSON object"),
        (f"[{TEXTS[0]}, 7]", ":1: a number, expected a JSON object"),
        (f'{TEXTS[0]}\n{{"a":\n  {{"b"\n: nope}}}}', ":4: not JSON (Expecting value at column 3)"),
        (f'{TEXTS[0]}\n{{"a": "b\n"}}', ":2: not JSON"),
        (f"{TEXTS[0]} nonsense", f":1: not JSON (Expecting value at column {len(TEXTS[0]) + 2})"),
        (b'{"a":\n "b\xff"}', ":2: byte 4 is not UTF-8"),
        (b"\xff\xfe{", "log:1: not utf-16"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    tmp_path: Path, content: str | bytes, told: str
) -> None:
    path = write(tmp_path / "log", content)

    with pytest.raises(InputError) as refused:
        read_log(path)

    assert told in str(refused.value)
    assert str(path) in str(refused.value)


def test_an_empty_log_is_no_error(tmp_path: Path) -> None:
    assert read(tmp_path, "\n \n") == []


def test_what_was_taken_is_told(tmp_path: Path) -> None:
    tally = Tally()
    read_log(write(tmp_path / "log", TEXTS[0]), tally)

    assert str(tally) == "1 entry taken"
