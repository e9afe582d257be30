"""The settings that the template gives to every function: the only reader of the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from batch_watchdog.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    table_name: str
    topic_arn: str
    dead_letter_queue_url: str
    policy_parameter: str

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """
        Read the settings.

        Raises:
            SettingsError: a variable is missing; the message names it.
        """
        try:
            return cls(
                table_name=env["TABLE_NAME"],
                topic_arn=env["TOPIC_ARN"],
                dead_letter_queue_url=env["DEAD_LETTER_QUEUE_URL"],
                policy_parameter=env["POLICY_PARAMETER"],
            )
        except KeyError as error:
            raise SettingsError(f"environment variable {error} is not set") from error
