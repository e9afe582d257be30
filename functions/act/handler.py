"""Carry out the actions that the table's stream delivers."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

import batch_watchdog.use_cases.act  # noqa: F401 - while Lambda starts the function, not in its first call
from batch_watchdog.wiring import container

SPARE_MS = 15_000  # reserved to finish what has begun

logger = Logger()
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)


def on_record(record: DynamoDBRecord, lambda_context: LambdaContext) -> None:
    container().actor.carry_out(
        record.raw_event["dynamodb"]["NewImage"],
        out_of_time=lambda: lambda_context.get_remaining_time_in_millis() < SPARE_MS,
    )


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return process_partial_response(
        event=event, record_handler=on_record, processor=processor, context=context
    )
