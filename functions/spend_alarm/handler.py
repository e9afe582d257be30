"""Handle billing signals: alarms, budgets and cost anomalies, by SNS and by EventBridge."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

import batch_watchdog.use_cases.spend_alarm  # noqa: F401 - while Lambda starts the function, not in its first call
from batch_watchdog.wiring import container

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    for decided in container().spend_alarm_intake.handle(event, container().clock()):
        logger.info(decided)
