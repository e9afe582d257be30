"""The results of checks of an account: ok, a warning, or refused, and whom to ask for what."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from batch_watchdog.notices.text import plain

type Level = Literal["ok", "warning", "refused"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check. `do` says what to do, or whom to ask, unless the level is "ok"."""

    level: Level
    what: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.level:7}  {self.what}" + (f"\n         {self.do}" if self.do else "")


def asked(what: str, question: Callable[[], Iterable[Finding]], *, right: str) -> Iterator[Finding]:
    """
    Yield the findings of a check. A check that AWS refuses or does not answer gives a warning.

    `what` names the check, and `right` is the IAM action that it needs.
    """
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
