"""
A page as HTML, by templates that escape all that they are given.

What comes from those who submit jobs is shown through the filter `plain`; what an action is given
is JSON in which nothing is markup (`tojson`), whoever reads it, and however.
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

ANSWER_MAX = 1_000_000  # bytes; CloudWatch takes somewhat more of a widget

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """
    What a page is drawn with, beside its facts.

    `endpoint` is the ARN of the function that actions call, and `request` the id of the call that
    asks for the page: the ids of its actions hold it. `said` and `failed` are what came
    of an action.
    """

    viewer: Viewer
    now: datetime
    endpoint: str
    request: str
    said: str = ""
    failed: str = ""
    _actions: Any = field(default_factory=lambda: count(1), repr=False)

    def action_id(self) -> str:
        """The id of the page's next action: whoever asks for it twice gets it once."""
        return f"{iso(self.now)}/{self.request}/{next(self._actions)}"


def render(name: str, drawing: Drawing, facts: Mapping[str, Any]) -> str:
    """The page of that name. One that would be too large is a page that says so."""
    page = _draw(name, drawing, facts).encode("utf-8", "replace")  # Text may hold half a character.
    if len(page) > ANSWER_MAX:
        return _draw("too_large", drawing, {})
    return page.decode()


def documentation() -> str:
    """What a dashboard shows of the widget while it is set up, as Markdown."""
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
    """The templates of a folder, which escape all that they are given."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _span(value: timedelta | float) -> str:
    return span(value.total_seconds() if isinstance(value, timedelta) else value)
