"""
Read who views a page, as a CloudWatch dashboard sends it: theme, time zone, size, time range.

All of it comes from the caller's browser. None of it proves who the caller is.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

from batch_watchdog.notices.text import plain

_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")
_DAY = timedelta(days=1)
_WIDTH = 1_000  # pixels, if the dashboard sends no width
_NARROW = 700
_FORM_MAX = 1_000  # characters of one input
_INPUTS_MAX = 20
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The viewer that a page is drawn for. `start` and `end` are the dashboard's time range."""

    start: datetime
    end: datetime
    theme: Literal["light", "dark"] = "light"
    zone: timezone = UTC
    width: int = _WIDTH
    dashboard: str = ""
    forms: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_narrow(self) -> bool:
        return self.width < _NARROW

    @property
    def zone_name(self) -> str:
        return "UTC" if self.zone.utcoffset(None) == timedelta() else str(self.zone)

    def time(self, at: datetime | str | None) -> str:
        """Return a time as text, in the viewer's zone."""
        if not at:
            return ""
        when = datetime.fromisoformat(at) if isinstance(at, str) else at
        return f"{when.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"

    @property
    def name(self) -> str:
        """The name that the viewer claims, for the record."""
        claimed = plain(self.forms.get("by", ""), 100).strip()
        return f"{claimed or 'somebody'} (by the page's word)"


def viewer_of(context: Any, now: datetime) -> Viewer:
    """Read the viewer from a `widgetContext`; missing or invalid parts get their defaults."""
    fields = _mapping(context)
    range_ = _mapping(fields.get("timeRange"))
    zoom = _mapping(range_.get("zoom"))
    end = _time(zoom.get("end")) or _time(range_.get("end")) or now
    start = _time(zoom.get("start")) or _time(range_.get("start")) or end - _DAY
    width = fields.get("width")
    return Viewer(
        start=min(start, end),
        end=end,
        theme="dark" if fields.get("theme") == "dark" else "light",
        zone=_zone(_mapping(fields.get("timezone")).get("offsetISO")),
        width=width if isinstance(width, int) and 0 < width < 100_000 else _WIDTH,  # noqa: PLR2004
        dashboard=plain(str(fields.get("dashboardName") or ""), 100),
        forms=_forms(_mapping(_mapping(fields.get("forms")).get("all"))),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _forms(inputs: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: value for name, value in inputs.items() if isinstance(value, str)}
    return {name: texts[name][:_FORM_MAX] for name in list(texts)[:_INPUTS_MAX]}


def _time(millis: Any) -> datetime | None:
    if not isinstance(millis, int | float) or isinstance(millis, bool):
        return None
    if not _EARLIEST.timestamp() * 1000 <= millis <= _LATEST.timestamp() * 1000:
        return None
    return datetime.fromtimestamp(millis / 1000, UTC)


def _zone(offset: Any) -> timezone:
    found = _OFFSET.fullmatch(offset) if isinstance(offset, str) else None
    if found is None:
        return UTC
    sign, hours, minutes = found.groups()
    span = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-span if sign == "-" else span) if span < _DAY else UTC
