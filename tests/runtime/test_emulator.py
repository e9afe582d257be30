"""Each built function answers each sample in Lambda's own runtime, with nothing but its layer."""

import base64
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from local.commands.runtime import Invoke, Stack, running, stack, template_for_docker
from local.commands.samples import environment

pytestmark = [
    pytest.mark.runtime,
    pytest.mark.enable_socket,
    pytest.mark.skipif(sys.platform != "linux", reason="Lambda's emulator is a Linux program"),
]

EVENTS = Path(__file__).parents[2] / "events"
SAMPLES = sorted(path.name for path in EVENTS.glob("*.*.json"))


@pytest.fixture
def aws() -> Iterator[Stack]:
    with stack() as local:
        yield local


@pytest.fixture
def functions(aws: Stack) -> Iterator[Callable[[str], Invoke]]:
    """Containers of functions, each started when it is first asked for."""
    with ExitStack() as containers:
        started: dict[str, Invoke] = {}

        def container_of(function: str) -> Invoke:
            if function not in started:
                started[function] = containers.enter_context(running(function, aws))
            return started[function]

        yield container_of


def sample(name: str) -> Any:
    return json.loads((EVENTS / name).read_text())


def items(aws: Stack) -> dict[str, list[dict[str, Any]]]:
    """What the table holds, by the first part of the partition key."""
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in aws.client("dynamodb").scan(TableName=aws.settings["TABLE_NAME"])["Items"]:
        by_kind[item["pk"]["S"].partition("#")[0]].append(item)
    return by_kind


def dead_letters(aws: Stack) -> list[dict[str, Any]]:
    answer = aws.client("sqs").receive_message(
        QueueUrl=aws.settings["DEAD_LETTER_QUEUE_URL"],
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
    )
    return list(answer.get("Messages", ()))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_function_answers_its_sample_without_a_failure(
    name: str, aws: Stack, functions: Callable[[str], Invoke]
) -> None:
    event = sample(name)
    aws.write_what_the_stream_tells(event)

    answer = functions(name.partition(".")[0])(event)

    assert answer is None or "errorType" not in answer
    if not isinstance(answer, str):  # as a page is
        assert not (answer or {}).get("batchItemFailures")


def test_a_finished_array_becomes_one_action_and_one_message(
    aws: Stack, functions: Callable[[str], Invoke]
) -> None:
    functions("job_events")(sample("job_events.array_done.json"))
    functions("job_events")(sample("job_events.array_done.json"))
    (action,) = items(aws)["ACTION"]
    box = aws.client("sqs").create_queue(QueueName="subscriber")["QueueUrl"]
    aws.client("sns").subscribe(
        TopicArn=aws.settings["TOPIC_ARN"],
        Protocol="sqs",
        Endpoint="arn:aws:sqs:us-east-1:123456789012:subscriber",
    )

    stream = sample("act.announce.json")
    stream["Records"][0]["dynamodb"] |= {
        "Keys": {key: action[key] for key in ("pk", "sk")},
        "NewImage": json.loads(json.dumps(action, default=_base64)),
    }
    functions("act")(stream)
    functions("act")(stream)

    (message,) = aws.client("sqs").receive_message(QueueUrl=box, MaxNumberOfMessages=10)["Messages"]
    notice = json.loads(json.loads(message["Body"])["Message"])
    assert notice["notice"] == "array-completed"
    assert notice["facts"]["failed_indices"] == "1"
    assert "result" in items(aws)["ACTION"][0]


def test_the_settings_for_docker_are_those_of_the_stack(aws: Stack) -> None:
    declared = yaml_parse(template_for_docker().read_text())["Globals"]["Function"]["Environment"]

    for name, value in environment()["Parameters"].items():
        assert name in declared["Variables"]
        assert name == "AWS_ENDPOINT_URL" or aws.settings[name] == value


def test_what_cannot_be_read_lies_in_the_dead_letters_with_a_reason(
    aws: Stack, functions: Callable[[str], Invoke]
) -> None:
    event = sample("job_events.malformed.json")

    functions("job_events")(event)

    letters = {each["Body"]: each["MessageAttributes"] for each in dead_letters(aws)}
    assert letters.keys() == {record["body"] for record in event["Records"][:2]}
    assert all(attributes["reason"]["StringValue"] for attributes in letters.values())


def test_an_error_of_a_function_is_told_as_lambda_tells_it(
    functions: Callable[[str], Invoke],
) -> None:
    answer = functions("sweep")({"time": "not a time"})

    assert answer["errorType"] == "MalformedEventError"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
