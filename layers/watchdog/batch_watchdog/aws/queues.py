"""Send messages to the SQS queues: dead letters, and stop runs to continue."""

import json
from typing import Any

from batch_watchdog.notices.text import plain

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_MESSAGE_MAX = 1024 * 1024  # bytes, with the names, types and values of the attributes
_NAMED = len("reason" + "String")


class DeadLetters:
    """The dead-letter queue, for sending. `sqs` is a boto3 client."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url

    def keep(self, body: str, reason: str) -> None:
        """
        Keep a body as it arrived, with the attribute `reason` for operators.

        A body that leaves no room for the reason in the message is kept without it.
        """
        reason_text = plain(reason, 1_000)
        fits = len(body.encode()) + len(reason_text.encode()) + _NAMED <= _MESSAGE_MAX
        attributes = {"reason": {"DataType": "String", "StringValue": reason_text}} if fits else {}
        self._sqs.send_message(
            QueueUrl=self._queue_url, MessageBody=body, MessageAttributes=attributes
        )


class StopQueue:
    """The queue of stop runs to continue, for sending. `sqs` is a boto3 client."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url

    def send(self, run_id: str, delay_s: int = 0) -> None:
        """Request that a run continues, at the earliest after `delay_s` seconds (at most 900)."""
        self._sqs.send_message(
            QueueUrl=self._queue_url,
            MessageBody=json.dumps({"run_id": run_id}),
            DelaySeconds=delay_s,
        )
