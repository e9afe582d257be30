"""What a dashboard says of its viewer is taken where it makes sense."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from batch_watchdog.page.viewer import Viewer, viewer_of
from tests.makers import at

NOW = at("12:00")


def test_times_are_shown_in_the_viewers_zone() -> None:
    viewer = viewer_of({"timezone": {"offsetISO": "+09:00"}}, NOW)

    assert viewer.time(NOW) == "2026-01-01 21:00:00"
    assert viewer.time("2026-01-01T12:00:00Z") == "2026-01-01 21:00:00"
    assert viewer.time(None) == ""
    assert viewer.zone_name == "UTC+09:00"


def test_a_zoom_counts_before_the_dashboards_range() -> None:
    millis = NOW.timestamp() * 1000
    zoomed = {"start": millis - 60_000, "end": millis - 30_000}

    viewer = viewer_of({"timeRange": {"start": 0, "end": millis, "zoom": zoomed}}, NOW)

    assert viewer.start == NOW - timedelta(minutes=1)
    assert viewer.end == NOW - timedelta(seconds=30)


@pytest.mark.parametrize(
    "context",
    [
        None,
        [],
        {"theme": "<b>", "width": -3, "timezone": {"offsetISO": "+99:99"}, "timeRange": []},
        {"timezone": "UTC", "timeRange": {"start": "x", "end": 1e99}, "forms": {"all": [1]}},
        {"timezone": {"offsetISO": "+24:00"}, "width": True, "dashboardName": 7},
        {"timeRange": {"start": float("nan"), "end": True}},
    ],
)
def test_what_is_odd_is_left_at_what_is_usual(context: Any) -> None:
    viewer = viewer_of(context, NOW)

    assert (viewer.theme, viewer.zone_name, viewer.end) == ("light", "UTC", NOW)
    assert viewer.start == NOW - timedelta(days=1)
    assert viewer.forms == {}


def test_a_range_that_ends_before_it_begins_is_empty() -> None:
    millis = NOW.timestamp() * 1000

    viewer = viewer_of({"timeRange": {"start": millis, "end": millis - 5_000}}, NOW)

    assert viewer.start == viewer.end


def test_the_name_of_a_form_is_a_claim() -> None:
    assert viewer_of({"forms": {"all": {"by": "jane"}}}, NOW).name == "jane (by the page's word)"
    assert viewer_of({}, NOW).name == "somebody (by the page's word)"


def test_forms_are_bounded() -> None:
    inputs = {f"input-{n}": "x" * 50_000 for n in range(1_000)}

    forms = viewer_of({"forms": {"all": inputs}}, NOW).forms

    assert len(forms) <= 20
    assert max(map(len, forms.values())) <= 1_000


def test_a_context_as_aws_documents_it_is_understood() -> None:
    context: Any = json.loads(
        (Path(__file__).parents[3] / "events/console.widget.json").read_text()
    )["widgetContext"]

    viewer = viewer_of(context, NOW)

    assert isinstance(viewer, Viewer)
    assert (viewer.width, viewer.theme) == (588, "light")
    assert viewer.end - viewer.start == timedelta(hours=1)
