"""
Render a page as HTML, with templates that escape all values.

Text from people who submit jobs goes through the filter `plain`. The payload of an action is JSON
without any markup (`tojson`), however it is parsed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import jinja2

from batch_watchdog.notices.text import iso, plain, ranges, span
from batch_watchdog.page.viewer import Viewer

type PageData = dict[str, Any]  # what one template shows

ANSWER_MAX = 1_000_000  # bytes; CloudWatch accepts somewhat more from a widget

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """
    What a page is drawn with, besides its facts.

    `endpoint` is the ARN of the function that actions call. `request` is the id of the call that
    requests the page, and is part of the ids of the page's actions. `said` or `failed` is the
    result of an action.
    """

    viewer: Viewer
    now: datetime
    endpoint: str
    request: str
    said: str = ""
    failed: str = ""
    _actions: Any = field(default_factory=lambda: count(1), repr=False)

    def action_id(self) -> str:
        """Return the id of the page's next action. A repeated request takes effect once."""
        return f"{iso(self.now)}/{self.request}/{next(self._actions)}"


def render(name: str, drawing: Drawing, facts: Mapping[str, Any]) -> str:
    """Render the page of that name; if it is too large, a page that says so instead."""
    page = _draw(name, drawing, facts).encode("utf-8", "replace")  # Text may hold a lone surrogate.
    if len(page) > ANSWER_MAX:
        return _draw("too_large", drawing, {})
    return page.decode()


def documentation() -> str:
    """Return the documentation that a dashboard shows while the widget is set up, as Markdown."""
    return (_TEMPLATES / "describe.md").read_text(encoding="utf-8")


def _draw(name: str, drawing: Drawing, facts: Mapping[str, Any]) -> str:
    return (
        _environment()
        .get_template(f"{name}.html")
        .render({"page": name, "here": {}, "drawing": drawing, "viewer": drawing.viewer, **facts})
    )


@cache
def _environment() -> jinja2.Environment:
    environment = escaping(_TEMPLATES)
    environment.filters |= {"plain": plain, "ranges": ranges, "span": _span}
    return environment


def escaping(templates: Path) -> jinja2.Environment:
    """Return an environment for the templates of a folder, which escapes all values."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _span(value: timedelta | float) -> str:
    return span(value.total_seconds() if isinstance(value, timedelta) else value)
