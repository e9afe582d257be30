"""What operators read: untrusted text made harmless, spans and lists as people write them."""

import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.notices.notice import subject
from batch_watchdog.notices.phrases import shorten
from batch_watchdog.notices.text import fact, iso, plain, ranges, span

any_text = st.text(st.characters(codec=None))  # half surrogate pairs, too


# ---- Untrusted text -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("render-17", "render-17"),
        ("Ünïcödé 日本語 🦊", "Ünïcödé 日本語 🦊"),
        ("two\r\nlines\tand\x00more", "two lines and more"),
        ("next\u0085line\u2028and\u2029paragraph", "next line and paragraph"),
        ("txt.\u202egpj.exe\u202c", "txt. gpj.exe"),
        ("\u2066a\u2069\u200bb\ufeffc", "a b c"),
        ("half \ud83d pair", "half pair"),
        ("<script>alert(1)</script>", "‹script›alert(1)‹/script›"),
        ("  wide   spaces\u3000here ", "wide spaces here"),
        ("", ""),
    ],
)
def test_plain_text_is_one_harmless_line(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_plain_text_is_cut_where_it_is_too_long() -> None:
    assert plain("x" * 11, 10) == "x" * 9 + "…"
    assert plain("x" * 10, 10) == "x" * 10
    assert len(plain("x" * 1_000_000)) == 200


def is_one_line(text: str) -> bool:
    return all(char == " " or unicodedata.category(char)[0] not in "CZ" for char in text)


@given(any_text, st.integers(1, 300))
def test_plain_text_is_always_harmless(text: str, limit: int) -> None:
    shown = plain(text, limit)

    assert len(shown) <= limit
    assert is_one_line(shown)
    assert not {"<", ">"} & set(shown)
    assert plain(shown, limit) == shown


@given(any_text | any_text.map(lambda text: text * 50))
def test_a_subject_is_always_one_line_of_less_than_a_hundred_characters(text: str) -> None:
    line = subject(text)

    assert len(line) < 100
    assert is_one_line(line)
    line.encode()


@given(any_text.map(lambda text: text * 200))
def test_a_fact_is_bounded_and_fit_for_utf8(text: str) -> None:
    kept = fact(text)

    assert len(kept.encode().decode()) <= 1_000
    assert fact(kept) == kept


def test_a_fact_keeps_what_it_can() -> None:
    assert fact("<b>\u202e\nÜ🦊") == "<b>\u202e\nÜ🦊"
    assert fact("a\ud83db") == "a?b"


# ---- Numbers and times --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (1, "1 s"),
        (59.6, "1 min"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h"),
        (7_530, "2 h 5 min"),
        (86_400 * 3 + 3_600 * 4 + 59, "3 d 4 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_times_are_told_in_utc_to_the_second() -> None:
    two_hours_east = timezone(timedelta(hours=2))

    assert iso(datetime(2026, 1, 1, 14, 0, 5, 999_999, two_hours_east)) == "2026-01-01T12:00:05Z"


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001
def test_a_time_can_be_read_back(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)

    assert datetime.fromisoformat(iso(moment)) == moment


@pytest.mark.parametrize(
    ("indices", "shown"),
    [
        ([], ""),
        ([3], "3"),
        ([9, 7, 8, 3], "3,7-9"),
        ([0, 1], "0-1"),
        ([1, 3, 5], "1,3,5"),
        ([4, 4, 5, 5], "4-5"),
        (range(10_000), "0-9999"),
    ],
)
def test_indices_are_written_as_ranges(indices: list[int], shown: str) -> None:
    assert ranges(indices) == shown


@given(st.sets(st.integers(0, 9_999)))
def test_ranges_lose_no_index(indices: set[int]) -> None:
    runs = [run.split("-") for run in ranges(indices).split(",") if run]
    read = [index for run in runs for index in range(int(run[0]), int(run[-1]) + 1)]

    assert read == sorted(indices)


def test_a_list_is_cut_at_a_comma_and_says_how_many_are_left() -> None:
    listing = ranges(range(0, 200, 2))

    short = shorten(listing, 20)

    assert short == "0,2,4,6,8,10,12,14, … (92 more in the facts)"
    assert shorten("0,2,4", 5) == "0,2,4"


@given(st.lists(st.integers(0, 9_999), min_size=1), st.integers(10, 100))
def test_what_is_cut_off_is_counted(indices: list[int], limit: int) -> None:
    listing = ",".join(map(str, indices))

    short = shorten(listing, limit)

    head, _, more = short.partition(", … (")
    assert head.count(",") + 1 + (int(more.split()[0]) if more else 0) == len(indices)
