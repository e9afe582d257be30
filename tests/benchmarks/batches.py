"""`job_events`: CPU time of a batch of 1,000 messages, against the JSON that no handler avoids."""

import importlib.util
import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import makers
from tests.benchmarks.measuring import Figure, calls_of, ratio
from tests.benchmarks.stubs import StubbedAws

_ROOT = Path(__file__).parents[2]
_COUNT = 1_000
_LIMIT = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "6h" }\n'
_NO_RULE = 'mode = "enforce"\n'


# What is measured, and its goal as a ratio of CPU time.
_ROWS = (
    ("nothing concerns them", "STARTING", False, 1.15),
    ("children SUCCEEDED", "SUCCEEDED", True, 1.25),
    ("children FAILED", "FAILED", True, 1.5),
    ("children RUNNABLE, a limit", "RUNNABLE", True, 1.4),
    ("singles RUNNABLE, a limit", "RUNNABLE", False, 1.4),
    ("singles RUNNABLE, the sample policy", "RUNNABLE", False, 1.4),
    ("singles FAILED, and told", "FAILED", False, 2.0),
)
_VALIDATION = "pydantic reads each event once, with all that it checks; the baseline checks nothing"
_WHY = {
    "singles FAILED, and told": f"{_VALIDATION}; each failure is a notice, kept",
}


def figures() -> Iterator[Figure]:
    """CPU time of a batch."""
    for what, status, is_child, goal in _ROWS:
        with _at_work(what) as (aws, handler):
            payload = _payload(status, is_child=is_child)
            handler(json.loads(payload), _Context())
            aws.calls.clear()
            handler(json.loads(payload), _Context())
            calls = ", ".join(f"{count} {name}" for name, count in sorted(aws.calls.items()))
            yield Figure(
                name=f"job_events, {what}",
                value=ratio(
                    lambda: handler(json.loads(payload), _Context()),  # noqa: B023 - called here
                    lambda: _parse_only(payload),  # noqa: B023
                ),
                unit="× the two JSON parses",
                goal=goal,
                note=f"a batch of {_COUNT:,}: {calls}",
                why=_WHY.get(what, _VALIDATION),
            )


def counts() -> Iterator[Figure]:
    """Calls of functions in a batch: what CI can compare with an earlier run."""
    for what, status, is_child, _ in _ROWS:
        with _at_work(what) as (_, handler):
            payload = _payload(status, is_child=is_child)
            handler(json.loads(payload), _Context())
            calls = calls_of(lambda: handler(json.loads(payload), _Context()))  # noqa: B023
            yield Figure(
                name=f"job_events, {what}",
                value=calls / _COUNT,
                unit="calls of functions an event",
                is_count=True,
            )


@contextmanager
def _at_work(what: str) -> Iterator[tuple[StubbedAws, Any]]:
    policy = _LIMIT
    if "sample policy" in what:
        policy = (_ROOT / "events" / "policy.toml").read_text()
    elif "told" in what:
        policy = _NO_RULE
    logging.disable(logging.CRITICAL)
    try:
        yield StubbedAws(policy), _handler()
    finally:
        logging.disable(logging.NOTSET)


def _parse_only(payload: str) -> None:
    for record in json.loads(payload)["Records"]:
        json.loads(record["body"])


def _handler() -> Any:
    path = _ROOT / "functions" / "job_events" / "handler.py"
    spec = importlib.util.spec_from_file_location("job_events_handler", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lambda_handler


class _Context:
    function_name = "job_events"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:111122223333:function:job_events"
    aws_request_id = "1"


def _payload(status: str, *, is_child: bool) -> str:
    """What Lambda hands to the function: messages of about 3 KB, as AWS Batch's events are."""
    return json.dumps({"Records": [_record(n, status, is_child=is_child) for n in range(_COUNT)]})


def _record(number: int, status: str, *, is_child: bool) -> dict[str, Any]:
    environment = [{"name": f"SETTING_{n}", "value": "some value of it"} for n in range(25)]
    container: dict[str, Any] = {
        "image": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/render:latest",
        "command": ["python", "render.py", "--frame", "Ref::frame"],
        "environment": environment,
        "resourceRequirements": [
            {"type": "VCPU", "value": "4"},
            {"type": "MEMORY", "value": "8192"},
        ],
        "mountPoints": [],
        "volumes": [],
        "ulimits": [],
        "networkInterfaces": [],
        "secrets": [],
    }
    job_id = f"{uuid.UUID(int=7)}:{number}" if is_child else str(uuid.UUID(int=number + 1))
    more: dict[str, Any] = {"arrayProperties": {"index": number}} if is_child else {}
    if status in ("SUCCEEDED", "FAILED"):
        code = 1 if status == "FAILED" else 0
        ended: dict[str, Any] = {"exitCode": code, "logStreamName": f"render/default/{number:032x}"}
        times = {"startedAt": 1_767_268_000_000, "stoppedAt": 1_767_268_700_000}
        container |= ended
        more |= times | {
            "statusReason": "Essential container in task exited",
            "attempts": [{"container": ended, **times}],
        }
    event = makers.an_event(
        "12:00",
        jobId=job_id,
        jobName="render",
        status=status,
        container=container,
        tags={"resourceArn": f"arn:aws:batch:eu-west-1:111122223333:job/{job_id}", "team": "a"},
        **more,
    )
    return {
        "messageId": str(uuid.UUID(int=number)),
        "receiptHandle": "A" * 400,
        "body": json.dumps(event),
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767268801000"},
        "messageAttributes": {},
        "md5OfBody": "0" * 32,
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:111122223333:job-events",
        "awsRegion": "eu-west-1",
    }
