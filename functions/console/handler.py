"""Answer an operator's command, or a dashboard's widget."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from batch_watchdog.use_cases.desk import Desk
from batch_watchdog.wiring import container

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event: Any, context: LambdaContext) -> Any:
    """Return JSON for a command, HTML for a widget."""
    return Desk(console=container().console).answer(
        event,
        container().clock(),
        request=context.aws_request_id,
        arn=context.invoked_function_arn,
    )
