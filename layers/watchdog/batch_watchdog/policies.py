"""The policy in force: read from its SSM parameter, and kept for a minute."""

from functools import lru_cache
from typing import Any

from aws_lambda_powertools.utilities.parameters import SSMProvider

from batch_watchdog.policy import Policy, parse_policy

_MAX_AGE = 60  # seconds


class Policies:
    """The policy, as an operator last put it. `ssm` is a boto3 client."""

    def __init__(self, ssm: Any, parameter: str, max_age: int = _MAX_AGE) -> None:
        self._provider = SSMProvider(boto3_client=ssm)
        self._parameter = parameter
        self._max_age = max_age

    def current(self) -> Policy:
        """The policy in force."""
        text = self._provider.get(self._parameter, max_age=self._max_age)
        return _parsed(str(text))


@lru_cache(maxsize=4)
def _parsed(text: str) -> Policy:
    return parse_policy(text)
