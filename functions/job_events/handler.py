"""Handle the job events of AWS Batch, one batch of SQS messages at a time."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from batch_watchdog.use_cases.job_events import Message
from batch_watchdog.wiring import container

logger = Logger()


def to_message(record: dict[str, Any]) -> Message:
    sent_ms = int(record["attributes"]["SentTimestamp"])
    return Message(record["messageId"], record["body"], datetime.fromtimestamp(sent_ms / 1000, UTC))


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    # One call of the use case handles the whole batch and writes once for many records. So
    # Powertools' batch processor, which handles records one by one, does not fit here.
    failed = container().job_event_intake.handle(
        [to_message(record) for record in event["Records"]]
    )
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
