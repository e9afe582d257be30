"""Answer each call of the console: a command in JSON, a dashboard's widget in HTML."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch_watchdog.use_cases.console import Console
from batch_watchdog.use_cases.page import Caller, Page, is_for_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Distinguishes commands from widget calls."""

    console: Console

    def answer(self, event: Any, now: datetime, *, request: str, arn: str) -> Any:
        """Answer an event. `request` is the id of the call, `arn` that of the called function."""
        if is_for_page(event):
            return Page(console=self.console).answer(event, now, Caller(request=request, arn=arn))
        return self.console.answer(event, now, request)
