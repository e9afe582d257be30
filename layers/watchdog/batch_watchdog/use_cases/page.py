"""Answer a CloudWatch custom widget: carry out a button's command, and draw the page."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from batch_watchdog.notices.text import plain
from batch_watchdog.page.html import Drawing, PageData, documentation, render
from batch_watchdog.page.viewer import Viewer, viewer_of
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.store.once import OnceKey
from batch_watchdog.use_cases.console import Console
from batch_watchdog.use_cases.page_array import array_facts
from batch_watchdog.use_cases.page_facts import PageFacts
from batch_watchdog.use_cases.page_queue import queue_facts

type PageName = Literal["overview", "array", "queue", "job", "actions", "rules", "check"]

# A button rests on what was known when its page was drawn, so it expires.
GOOD_FOR = timedelta(hours=12)
_CLOCKS_DIFFER = timedelta(minutes=1)
_ACTION_ID = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)/[!-~]{1,100}")
_HOURS = {"1": 1, "6": 6, "24": 24, "168": 168}


class _Asked(BaseModel):
    """The request of a page's link or button, or a dashboard's parameters."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    page: PageName = "overview"
    job_id: Annotated[str, Field(max_length=256)] = ""
    queue: Annotated[str, Field(max_length=512)] = ""
    act: Mapping[str, Any] | None = None
    id: Annotated[str, Field(max_length=150)] = ""


_ASKED = TypeAdapter(_Asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """
    The call, as Lambda describes it: its `request` id, and the function's `arn`.

    It does not show who the caller is. AWS CloudTrail does, by the request id.
    """

    request: str
    arn: str


def is_for_page(event: Any) -> bool:
    """Whether an event is from a CloudWatch dashboard, and not a command."""
    return isinstance(event, Mapping) and (
        "widgetContext" in event or event.get("describe") is True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Answers a dashboard's widget with HTML."""

    console: Console

    def answer(self, event: Mapping[str, Any], now: datetime, caller: Caller) -> str:
        """Carry out a button's command, if there is one, and draw the page."""
        if event.get("describe") is True:
            return documentation()
        viewer = viewer_of(event.get("widgetContext"), now)
        said = failed = ""
        try:
            asked = _ASKED.validate_python({str(key): event[key] for key in event})
        except ValidationError:
            asked, failed = _Asked(), "There is no such page."
        if asked.act is not None and not failed:
            said, failed = self._act(asked, viewer, now, caller)
        try:
            name, facts = self._facts(asked, viewer, now)
        except ITEM_ERRORS as error:
            reason = plain(f"{type(error).__name__}: {error}", 300)
            name, facts, failed = "failed", {"page": asked.page}, f"AWS did not answer: {reason}"
        drawing = Drawing(
            viewer=viewer,
            now=now,
            endpoint=caller.arn,
            request=caller.request,
            said=said,
            failed=failed,
        )
        return render(name, drawing, facts)

    def _facts(self, asked: _Asked, viewer: Viewer, now: datetime) -> tuple[str, PageData]:
        facts = PageFacts(answers=self.console)
        gather: Mapping[PageName, Callable[[], PageData]] = {
            "overview": lambda: facts.overview(now),
            "array": lambda: array_facts(self.console.table, self.console.batch, asked.job_id, now),
            "queue": lambda: queue_facts(
                self.console.table, self.console.batch, self.console.inquiry, asked.queue, now
            ),
            "job": lambda: facts.job(asked.job_id, now),
            "actions": lambda: facts.actions(viewer.start, viewer.end),
            "rules": lambda: facts.rules(now),
            "check": lambda: facts.check(now),
        }
        nothing_named = (asked.page in ("array", "job") and not asked.job_id) or (
            asked.page == "queue" and not asked.queue
        )
        name: PageName = "overview" if nothing_named else asked.page
        return name, gather[name]()

    # ---- Acting ---------------------------------------------------------------------------

    def _act(self, asked: _Asked, viewer: Viewer, now: datetime, caller: Caller) -> tuple[str, str]:
        """Carry out a button's command, once; return what was decided, or why nothing was."""
        drawn = _drawn_at(asked.id)
        if drawn is None or not asked.act:
            return "", "Nothing was done: the button is none of this page."
        if not -_CLOCKS_DIFFER <= now - drawn <= GOOD_FOR:
            return "", "Nothing was done: this page is old. Here it is anew: please ask again."
        command = dict(asked.act) | {"by": viewer.name, "why": viewer.forms.get("why", "")[:500]}
        if command.get("command") == "exempt":
            hours = _HOURS.get(viewer.forms.get("hours", ""), 24)
            command["until"] = (now + timedelta(hours=hours)).isoformat()
        once = OnceKey(name=f"page {asked.id}", about=drawn)
        answer = self.console.answer(command, now, caller.request, once)
        if "error" in answer:
            return "", f"Nothing was done: {plain(str(answer['error']), 500)}"
        return f"{command['command']}: {plain(str(answer.get('decided', '')), 500)}", ""


def _drawn_at(action_id: str) -> datetime | None:
    """Return when the page with this action was drawn; None if the id is not a page's."""
    found = _ACTION_ID.fullmatch(action_id)
    with suppress(ValueError):
        return datetime.fromisoformat(found[1]).astimezone(UTC) if found else None
    return None
