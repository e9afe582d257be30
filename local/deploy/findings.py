"""What a check of an account has found: fine, doubtful, or in the way, and whom to ask for what."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from batch_watchdog.notices.text import plain

type Level = Literal["ok", "warning", "refused"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `do` says what to do where it is not fine, or whom to ask."""

    level: Level
    what: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.level:7}  {self.what}" + (f"\n         {self.do}" if self.do else "")


def asked(what: str, question: Callable[[], Iterable[Finding]], *, right: str) -> Iterator[Finding]:
    """The findings of a question. One that AWS refuses is a finding, too: `right` is missing."""
    try:
        yield from question()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        yield Finding(
            "warning",
            f"{what}: could not be asked ({code} for {error.operation_name}).",
            f"Ask whoever administers the account for {right}, or look by yourself.",
        )
    except (BotoCoreError, ResponseParserError) as error:
        yield Finding(
            "warning", f"{what}: could not be asked ({plain(str(error), 200)}).", "Try again."
        )
