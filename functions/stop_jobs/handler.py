"""Start or continue a guard's stop run."""

import json
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

import batch_watchdog.guards.stop_run.workflow  # noqa: F401 - while Lambda starts the function, not in its first call
from batch_watchdog.wiring import container

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    (record,) = event["Records"]  # One at a time: a run may use the whole invocation.
    container().stop_runner.work(
        json.loads(record["body"])["run_id"],
        container().clock(),
        time_left=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    return {"batchItemFailures": []}
