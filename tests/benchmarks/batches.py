"""`job_events`: CPU time of a batch of 1,000 messages, against the JSON that no handler avoids."""

import importlib.util
import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import makers
from tests.benchmarks.measuring import Figure, ratio
from tests.benchmarks.stubs import StubbedAws

_ROOT = Path(__file__).parents[2]
_COUNT = 1_000
_LIMIT = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "6h" }\n'
_NO_RULE = 'mode = "enforce"\n'


def figures() -> Iterator[Figure]:
    sample = (_ROOT / "events" / "policy.toml").read_text()
    logging.disable(logging.CRITICAL)
    yield _figure("nothing concerns them", "STARTING", _LIMIT, goal=1.15)
    yield _figure("children SUCCEEDED", "SUCCEEDED", _LIMIT, goal=1.25, is_child=True)
    yield _figure("children FAILED", "FAILED", _LIMIT, goal=1.5, is_child=True)
    yield _figure("children RUNNABLE, a limit", "RUNNABLE", _LIMIT, goal=1.4, is_child=True)
    yield _figure("singles RUNNABLE, a limit", "RUNNABLE", _LIMIT, goal=1.4)
    yield _figure("singles RUNNABLE, the sample policy", "RUNNABLE", sample, goal=1.4)
    yield _figure("singles FAILED, and told", "FAILED", _NO_RULE, goal=2)
    logging.disable(logging.NOTSET)


def _figure(what: str, status: str, policy: str, *, goal: float, is_child: bool = False) -> Figure:
    aws = StubbedAws(policy)
    handler = _handler()
    payload = _payload(status, is_child=is_child)
    handler(json.loads(payload), _Context())
    aws.calls.clear()
    handler(json.loads(payload), _Context())
    calls = ", ".join(f"{count} {name}" for name, count in sorted(aws.calls.items()))
    return Figure(
        name=f"job_events, {what}",
        value=ratio(lambda: handler(json.loads(payload), _Context()), lambda: _parse_only(payload)),
        unit="× the two JSON parses",
        goal=goal,
        note=f"a batch of {_COUNT:,}: {calls}",
    )


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
