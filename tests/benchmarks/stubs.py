"""AWS as the functions see it in a benchmark: real clients, answered before anything is sent."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import boto3
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from batch_watchdog.aws.settings import Settings
from batch_watchdog.wiring import Container, install

REGION = "eu-west-1"
_SETTINGS = Settings(
    table_name="table",
    topic_arn=f"arn:aws:sns:{REGION}:111122223333:notices",
    dead_letter_queue_url="https://sqs/dead-letters",
    stop_queue_url="https://sqs/stop",
    policy_parameter="/policy",
    stop_calls_per_second=10,
)


class StubbedAws:
    """An empty table and one policy. `calls` counts the operations that were asked for."""

    def __init__(self, policy: str) -> None:
        self.calls: Counter[str] = Counter()
        self._policy = policy
        session = boto3.Session("key", "secret", region_name=REGION)
        # Its stubs do not say that this one event takes an answer.
        session.events.register("before-send", cast("Callable[..., None]", self._answer))
        self.container = Container(settings=_SETTINGS, session=session)
        install(self.container)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        target = request.headers.get("X-Amz-Target", b"")
        operation = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
        self.calls[operation] += 1
        answer = {
            "GetParameter": {"Parameter": {"Name": "/policy", "Value": self._policy, "Version": 1}},
            "BatchGetItem": {"Responses": {"table": []}, "UnprocessedKeys": {}},
            "Query": {"Items": [], "Count": 0},
        }.get(operation, {})
        headers = HTTPHeaders.from_dict({"content-type": "application/x-amz-json-1.0"})
        return AWSResponse(request.url, 200, headers, _Raw(json.dumps(answer).encode()))


class _Raw:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Any:
        yield self._content
