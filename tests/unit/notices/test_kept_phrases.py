"""Phrases in the table: what comes back can be said in any language, as what was kept."""

import json
from datetime import timedelta
from typing import Any

import pytest

from batch_watchdog.notices.kept_phrases import from_json, to_json
from batch_watchdog.notices.languages import Language
from batch_watchdog.notices.phrases import Kept, Name, lines, row, say, subject
from tests.makers import at

KEPT = "alarm soft is in ALARM"


@pytest.mark.parametrize(
    "text",
    [
        "a name {with} braces",
        say("{n} failed", n=1_234),
        say(
            "At this pace the rest takes another {left}, until {end}.",
            left=timedelta(hours=3.5),
            end=at("18:30"),
        ),
        lines([say("Nothing to do."), "", row([say("{n} failed", n=1), "x"])]),
        subject("{n} failed", n=Name("x" * 200)),
        say("{counts}.", counts=Kept(KEPT)),
    ],
)
def test_a_phrase_comes_back_from_the_table(text: str) -> None:
    kept = from_json(json.loads(json.dumps(to_json(text))))

    assert (type(kept), kept) == (type(text), text)
    for language in (Language("en", "Asia/Tokyo"), Language("ja", "Asia/Tokyo")):
        assert language.say(kept) == language.say(text)


@pytest.mark.parametrize("value", [{}, {"No": ["", {}]}, {"Phrase": ["{a}", {}]}, {"at": 1}])
def test_what_is_no_phrase_is_refused(value: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        from_json(value)
