"""Phrases: what was put into them is kept, and subjects are never cut where it matters."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.notices.phrases import NAME_MAX, Name, counted, lines, row, say, subject
from batch_watchdog.notices.text import middle
from tests.makers import at

LONG = "a-very-long-name-" * 12


def test_a_phrase_is_english_text_with_times_in_utc() -> None:
    phrase = say(
        "{n} jobs of {name}, {lasted} until {at}",
        n=12_345,
        name="x",
        lasted=timedelta(hours=3, minutes=20),
        at=at("12:00"),
    )

    assert phrase == "12,345 jobs of x, 3 h 20 min until 2026-01-01T12:00:00Z"
    assert phrase.template == "{n} jobs of {name}, {lasted} until {at}"
    assert phrase.parts["n"] == 12_345


def test_what_is_put_in_is_no_template() -> None:
    assert say("{name}", name="{x}{}{{") == "{x}{}{{"
    assert subject("{name}: done", name=Name("{x}{")) == "{x}{: done"


def test_one_is_singular() -> None:
    assert [counted(n, "{n} job", "{n} jobs") for n in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]


def test_rows_and_lines_keep_their_phrases() -> None:
    text = lines([say("a {n}", n=1), "", row([say("b"), "c"])])

    assert text == "a 1\n\nb, c"


@pytest.mark.parametrize("part", [None, True, 1.5, [1]])
def test_what_is_no_text_count_time_or_span_cannot_be_said(part: object) -> None:
    with pytest.raises(TypeError):
        say("{part}", part=part)


@given(st.text(min_size=1, max_size=300), st.integers(12, 120))
def test_a_name_is_shortened_in_its_middle(name: str, limit: int) -> None:
    short = middle(name, limit)

    assert len(short) <= limit
    assert short == name or (short[0] == name[0] and short[-1] == name[-1] and "…" in short)


def test_a_long_name_is_shortened_so_that_the_rest_is_whole() -> None:
    line = subject("Guard {guard}: cancelling waiting jobs ({n} of {limit} USD)",
                   guard=Name(LONG), n=812, limit=800)  # fmt: skip

    assert line.startswith("Guard a-very-long-")
    assert line.endswith(": cancelling waiting jobs (812 of 800 USD)")
    assert len(line.partition(":")[0]) <= len("Guard ") + NAME_MAX


def test_a_name_at_the_end_has_all_the_room_that_is_left() -> None:
    line = subject(
        "Job failed, exit code 137, in {queue}: {name}", queue=Name(LONG), name=Name(LONG)
    )

    assert len(line) in (98, 99)
    assert subject("Job failed: {name}", name=Name("x" * 70)) == f"Job failed: {'x' * 70}"


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_no_subject_is_longer_than_sns_takes(one: str, two: str, three: str) -> None:
    line = subject("{one} {two} {three}", one=Name(one), two=two, three=Name(three))

    assert len(line) <= 99
