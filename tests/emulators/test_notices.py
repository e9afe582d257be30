"""From events to notices through all that MiniStack runs: queues, functions, table and topics."""

import itertools
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from local.aws import stack as stacks
from local.commands import live_stack
from local.commands.servers import CREDENTIALS
from local.deploy.smoke import Smoke
from tests.emulators.deployed import EVENTS, Deployed, a_minute, as_records, until
from tests.logs import an_array, event

pytestmark = [pytest.mark.ministack, pytest.mark.enable_socket]


def send(deployed: Deployed, events: Iterable[Any]) -> None:
    """
    Put events of AWS Batch into the queue that the rule's target is.

    They cannot be put on the bus: nobody may send what only AWS sends.
    """
    sqs = deployed.client("sqs")
    for some in itertools.batched(events, 10, strict=False):
        entries = [
            {"Id": str(number), "MessageBody": json.dumps(each)} for number, each in enumerate(some)
        ]
        sqs.send_message_batch(QueueUrl=deployed.names["JobEventsQueue"], Entries=entries)


def test_an_array_is_told_of_once_though_its_events_come_twice_and_in_no_order(
    in_ministack: Deployed,
) -> None:
    box = in_ministack.subscriber("array")
    array = an_array(20, failing=0.2, begins=datetime.now(UTC) - timedelta(hours=1))
    events = [*array.events, *array.events]
    Random(1).shuffle(events)  # noqa: S311 - it need only be the same each time

    send(in_ministack, events)

    notice = until("array-completed", in_ministack, box)
    facts = notice["facts"]
    assert facts["job_id"] == array.job_id
    assert (facts["succeeded"], facts["failed"]) == (20 - len(array.failed), len(array.failed))
    assert [each["count"] for each in facts["groups"]] == array.groups
    found = in_ministack.client("dynamodb").scan(TableName=in_ministack.names["Table"])["Items"]
    ids = [each["sk"]["S"] for each in found if array.job_id in json.dumps(each, default=str)]
    assert len(ids) == len(set(ids))


def test_a_failed_job_is_told_of_with_the_job_that_waited_for_it(in_ministack: Deployed) -> None:
    box = in_ministack.subscriber("single")
    now = datetime.now(UTC)
    sent = now - timedelta(minutes=5)
    ended = {"status": "FAILED", "stoppedAt": round(now.timestamp() * 1000)}
    failed = {"jobId": "first", "statusReason": "Essential container in task exited", **ended}
    waited = {
        "jobId": "second",
        "dependsOn": [{"jobId": "first"}],
        "statusReason": "Dependent Job failed",
        **ended,
    }

    in_ministack.invoke(
        "JobEventsFunction", as_records(event(sent, failed), event(sent, waited), sent=sent)
    )
    # The notice waits for such jobs, for minutes that have passed already.
    in_ministack.invoke("SweepFunction", a_minute(now))

    facts = until("job-failed", in_ministack, box)["facts"]
    assert facts["job_id"] == "first"
    assert "second" in json.dumps(facts)


def test_an_alarm_on_the_topic_raises_its_guard(in_ministack: Deployed) -> None:
    box = in_ministack.subscriber("alarm")
    sample = json.loads((EVENTS / "spend_alarm.alarm_by_sns.json").read_text())
    message = sample["Records"][0]["Sns"]["Message"]

    in_ministack.client("sns").publish(TopicArn=in_ministack.names["SpendTopic"], Message=message)

    assert until("guard-raised", in_ministack, box)["facts"]["guard"] == "monthly-budget"


def test_a_sweep_that_comes_twice_or_late_does_not_fail(in_ministack: Deployed) -> None:
    now = datetime.now(UTC)

    for minutes in (0, 0, 8):
        in_ministack.invoke("SweepFunction", a_minute(now - timedelta(minutes=minutes)))


def test_what_cannot_be_read_lies_in_the_dead_letters_with_a_reason(in_ministack: Deployed) -> None:
    in_ministack.client("sqs").send_message(
        QueueUrl=in_ministack.names["JobEventsQueue"], MessageBody="no event"
    )

    letter = next(in_ministack.messages(in_ministack.names["JobEventsDeadLetters"]))

    assert letter["Body"] == "no event"
    assert letter["MessageAttributes"]["reason"]["StringValue"]


def test_the_smoke_test_finds_each_part_at_work(
    in_ministack: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", in_ministack.endpoint)
    monkeypatch.setenv("AWS_REGION", stacks.REGION)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    said: list[str] = []

    smoke = Smoke(stack=live_stack.find(stacks.NAME), say=said.append)
    smoke.run()

    # Its metrics know of no event, as the rule has brought none.
    assert smoke.failed == ["check"], said


def test_nobody_may_send_what_only_aws_sends(in_ministack: Deployed) -> None:
    answer = in_ministack.client("events").put_events(
        Entries=[{"Source": "aws.batch", "DetailType": "Batch Job State Change", "Detail": "{}"}]
    )

    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"
