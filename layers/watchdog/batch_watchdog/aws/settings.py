"""Read the settings that the template gives to every function; only this reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from batch_watchdog.core.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    table_name: str
    topic_arn: str
    dead_letter_queue_url: str
    policy_parameter: str
    stop_queue_url: str
    stop_calls_per_second: float
    dead_letter_queue_urls: str = ""  # all of them, with commas between
    job_events_rule: str = ""
    chat_topic_arn: str = ""  # "": there is no chat

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """
        Read the settings.

        Raises:
            SettingsError: a variable is missing, or is not a number; the message names it.
        """
        try:
            return cls(
                table_name=env["TABLE_NAME"],
                topic_arn=env["TOPIC_ARN"],
                dead_letter_queue_url=env["DEAD_LETTER_QUEUE_URL"],
                policy_parameter=env["POLICY_PARAMETER"],
                stop_queue_url=env["STOP_QUEUE_URL"],
                stop_calls_per_second=float(env["STOP_CALLS_PER_SECOND"]),
                dead_letter_queue_urls=env.get("DEAD_LETTER_QUEUE_URLS", ""),
                job_events_rule=env.get("JOB_EVENTS_RULE", ""),
                chat_topic_arn=env.get("CHAT_TOPIC_ARN", ""),
            )
        except KeyError as error:
            raise SettingsError(f"environment variable {error} is not set") from error
        except ValueError as error:
            raise SettingsError(f"environment variable STOP_CALLS_PER_SECOND: {error}") from error
