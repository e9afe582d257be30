"""Answer an operator's command."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from batch_watchdog.wiring import container

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    # People do not tell the time with what they ask: so it is read here, and nowhere else.
    return container().console.answer(event, datetime.now(UTC))
