"""The queue of stop runs that shall be begun, or continued."""

import json
from typing import Any


class StopQueue:
    """The queue, as this package writes to it. `sqs` is a boto3 client."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url

    def send(self, run_id: str, delay_s: int = 0) -> None:
        """Have a run continued, at the earliest after so many seconds (at most 900)."""
        self._sqs.send_message(
            QueueUrl=self._queue_url,
            MessageBody=json.dumps({"run_id": run_id}),
            DelaySeconds=delay_s,
        )
