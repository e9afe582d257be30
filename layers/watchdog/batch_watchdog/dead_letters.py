"""Where input goes that cannot be understood: a queue, with the reason beside it."""

from typing import Any

from batch_watchdog.notices import plain


class DeadLetters:
    """The dead-letter queue, as this package writes to it. `sqs` is a boto3 client."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url

    def keep(self, body: str, reason: str) -> None:
        """Keep what arrived as it was; an operator reads the attribute `reason`."""
        self._sqs.send_message(
            QueueUrl=self._queue_url,
            MessageBody=body,
            MessageAttributes={
                "reason": {"DataType": "String", "StringValue": plain(reason, 1_000)}
            },
        )
