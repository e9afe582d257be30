"""Answer an operator's command."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

import batch_watchdog.use_cases.console  # noqa: F401 - while Lambda starts the function, not in its first call
from batch_watchdog.wiring import container

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    return container().console.answer(event, container().clock())
