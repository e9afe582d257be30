"""Phrases in the table: what comes back can be said in any language, as what was kept."""

import json
from datetime import timedelta
from typing import Any

import pytest

from batch_watchdog.notices.kept_phrases import from_json, to_json
from batch_watchdog.notices.languages import Language
from batch_watchdog.notices.phrases import Kept, Name, lines, row, say, subject
from tests.makers import at

KEPT = "alarm soft went into ALARM"


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

    assert kept == text
    assert to_json(kept) == to_json(text)
    for language in (Language("en", "Asia/Tokyo"), Language("ja", "Asia/Tokyo")):
        assert language.say(kept) == language.say(text)


@pytest.mark.parametrize("value", [{}, 1, None, ["a"], ["a", "b", "c"], [1, {}]])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a text"):
        from_json(value)


@pytest.mark.parametrize("made_of", [{}, {"No": ["", {}]}, {"Phrase": ["{a}", {}]}, {"at": 1}, 7])
def test_a_phrase_that_cannot_be_made_again_is_an_error_and_no_silence(made_of: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        Language("ja").say(from_json(["text", made_of]))
