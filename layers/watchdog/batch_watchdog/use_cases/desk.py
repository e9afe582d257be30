"""Whoever calls the console: a command is answered in JSON, a dashboard's widget in HTML."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch_watchdog.use_cases.console import Console
from batch_watchdog.use_cases.page import Caller, Page, is_for_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Tells the two apart."""

    console: Console

    def answer(self, event: Any, now: datetime, *, request: str, arn: str) -> Any:
        """The answer to an event, which came with that request to the function of that ARN."""
        if is_for_page(event):
            return Page(console=self.console).answer(event, now, Caller(request=request, arn=arn))
        return self.console.answer(event, now, request)
