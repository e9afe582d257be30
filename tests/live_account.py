"""
An AWS account on this machine: a moto server, and in it the stack, whose functions are at work.

Programs reach it by AWS_ENDPOINT_URL, as they reach AWS. The handlers are the real ones. What a
call puts into a queue, or into the table's stream, is handed on before the call returns.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto.awslambda.models import LambdaFunction
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.events.responses import EventsHandler
from moto.iam.responses import IamResponse
from moto.sns.models import sns_backends

from batch_watchdog.notices.text import iso
from batch_watchdog.store.table import DynamoTable
from local.aws import stack as stacks
from local.aws.functions import Functions
from local.aws.patterns import Pattern
from local.commands.runtime import moto_server
from local.commands.servers import CREDENTIALS

_ALLOWED = """
<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult>
  <EvaluationResults/><IsTruncated>false</IsTruncated>
</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>
"""


class LiveAccount:
    """
    The account, with the template's stack once that is deployed.

    `environment` is what a program needs in its own to reach it.
    """

    def __init__(self, endpoint: str) -> None:
        self.environment = {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": stacks.REGION,
        }
        self._seen = 0  # records of the stream
        self._under_way = 0

    def client(self, service: Any) -> Any:
        return boto3.client(service, stacks.REGION)

    def deploy(self, parameters: Mapping[str, str]) -> None:
        """Do what `sam deploy` does, and what moto leaves out; the first sweep runs at once."""
        self.stack = stacks.create(parameters=parameters)
        for each in self.stack.subscriptions:
            if each.protocol == "email":
                self.client("sns").subscribe(
                    TopicArn=each.topic, Protocol="email", Endpoint=each.endpoint
                )
        self._functions = Functions(
            self.stack,
            session=boto3.Session(region_name=stacks.REGION),
            table=DynamoTable(self.client("dynamodb"), self.stack.table),
            policy_max_age=0,
            remaining_ms=lambda function: function.timeout_s * 1000,
            pause=lambda _: None,
            now=lambda: datetime.now(UTC),
        )
        tables = dynamodb_backends[DEFAULT_ACCOUNT_ID][stacks.REGION]
        self._stream: Any = tables.get_table(self.stack.table).stream_shard
        for folder in ("job_events", "act", "console"):
            self.client("logs").create_log_stream(
                logGroupName=self._log_group(folder), logStreamName="1"
            )
        sweep = self.stack.function_in("sweep")
        assert sweep
        _, error = self.invoked(sweep.arn, {"time": iso(datetime.now(UTC))})
        assert not error

    def confirm(self, *, confirmed: bool) -> None:
        """Have the address confirm its subscription, or not yet."""
        for each in sns_backends[DEFAULT_ACCOUNT_ID][stacks.REGION].subscriptions.values():
            each.arn = "arn:aws:sns:us-east-1:1:notices:1" if confirmed else "PendingConfirmation"

    def keep(self, events: list[dict[str, Any]]) -> None:
        """Put events into the log group that keeps them, as if they had come an hour ago."""
        logs, group = self.client("logs"), "/aws/events/batch-watchdog"
        logs.create_log_stream(logGroupName=group, logStreamName="1")
        came = round(datetime.now(UTC).timestamp() - 3600) * 1000
        logs.put_log_events(
            logGroupName=group,
            logStreamName="1",
            logEvents=[
                {"timestamp": came + n, "message": json.dumps(event)}
                for n, event in enumerate(events)
            ],
        )

    def invoked(self, arn: str, event: Any) -> tuple[Any, str]:
        """What a function answers to an event, or what its error is."""
        now = round(datetime.now(UTC).timestamp() * 1000)
        for record in event.get("Records", ()):
            if "attributes" in record:  # All messages of moto were sent in 2018.
                record["attributes"]["SentTimestamp"] = str(now)
        self._under_way += 1
        outcome = self._functions.call(arn, event)
        folder = self.stack.functions[arn].folder.name
        if folder in ("job_events", "act", "console"):
            self.client("logs").put_log_events(
                logGroupName=self._log_group(folder),
                logStreamName="1",
                logEvents=[{"timestamp": now, "message": outcome.error or "START"}],
            )
        if self._under_way == 1:
            self._hand_on()
        self._under_way -= 1
        return outcome.answer, outcome.error

    def _log_group(self, folder: str) -> str:
        return self.stack.names[folder.title().replace("_", "") + "Logs"]

    def _hand_on(self) -> None:
        """Hand on what the table's stream has got."""
        while self._seen < len(self._stream.items):
            new = self._stream.items[self._seen :]
            self._seen += len(new)
            records = json.loads(json.dumps([each.record for each in new], default=_in_json))
            for source in self.stack.sources:
                wanted = [
                    each
                    for each in records
                    if source.source == self.stack.stream
                    and any(pattern.matches(each) for pattern in source.filters)
                ]
                if wanted:
                    _, error = self.invoked(source.function, {"Records": wanted})
                    assert not error


def _in_json(value: object) -> str | float:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    assert isinstance(value, datetime)
    return value.timestamp()


@contextmanager
def running() -> Iterator[LiveAccount]:
    """An account for a while, without a stack. This process's own calls go there, too."""
    with moto_server() as endpoint, pytest.MonkeyPatch.context() as patched:
        account = LiveAccount(endpoint)

        def invoke(
            function: LambdaFunction, body: str, _: object, headers: dict[str, str]
        ) -> bytes:
            answer, error = account.invoked(function.function_arn, json.loads(body))
            if error:
                headers["x-amz-function-error"] = "Unhandled"
            return json.dumps({"errorMessage": error} if error else answer).encode()

        def matches(asked: EventsHandler) -> str:
            pattern, event = asked._get_param("EventPattern"), asked._get_param("Event")  # noqa: SLF001
            return json.dumps({"Result": Pattern(pattern).matches(json.loads(event))})

        for name, value in account.environment.items():
            patched.setenv(name, value)
        patched.setattr(LambdaFunction, "invoke", invoke)
        patched.setattr(EventsHandler, "test_event_pattern", matches)
        patched.setattr(IamResponse, "simulate_principal_policy", lambda _: _ALLOWED, raising=False)
        yield account
