"""Do all that is due, once a minute."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from batch_watchdog.use_cases.sweep import time_of
from batch_watchdog.wiring import container

SPARE_MS = 15_000  # reserved to finish what has begun

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    container().sweeper.sweep(
        time_of(event, container().clock()),
        out_of_time=lambda: context.get_remaining_time_in_millis() < SPARE_MS,
    )
