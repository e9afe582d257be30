"""On which line of a TOML text each of its keys stands."""

import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from batch_watchdog.policy.toml_positions import KeyPath, lines_of_keys


def paths_in(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in parts:
            yield (*path, key)
            yield from paths_in(inner, (*path, key))


def test_each_key_has_the_line_on_which_it_is_written() -> None:
    text = """\
mode = "observe" # a = 1

[safety]
max = 3

[[limit]]
match = { queue = "q", tags = { team = "x" } }
[limit.RUNNING]
after = "1h"
[[limit]]
RUNNING.after = "2h"
"""
    lines = lines_of_keys(text)

    assert lines == {
        ("mode",): 1,
        ("safety",): 3,
        ("safety", "max"): 4,
        ("limit",): 6,
        ("limit", 0): 6,
        ("limit", 0, "match"): 7,
        ("limit", 0, "match", "queue"): 7,
        ("limit", 0, "match", "tags"): 7,
        ("limit", 0, "match", "tags", "team"): 7,
        ("limit", 0, "RUNNING"): 8,
        ("limit", 0, "RUNNING", "after"): 9,
        ("limit", 1): 10,
        ("limit", 1, "RUNNING"): 11,
        ("limit", 1, "RUNNING", "after"): 11,
    }


def test_tables_in_tables_belong_to_the_latest_one_above() -> None:
    lines = lines_of_keys("[[guard]]\n[[guard.stage]]\n[[guard]]\n[[guard.stage]]\nx = 1\n")

    assert lines["guard", 0, "stage", 0] == 2
    assert lines["guard", 1, "stage", 0, "x"] == 5


def test_what_stands_in_strings_and_comments_is_no_key() -> None:
    text = '''\
a = """
[x]
b = 1 \\""" # "
"""
c = \'\'\'
d = 'e' \'\'\' # f = "
"g = 1" = [ # [
  "]", # one
  '#',
]
h = 1
'''
    assert lines_of_keys(text) == {
        ("a",): 1,
        ("c",): 5,
        ("g = 1",): 7,
        ("g = 1", 0): 8,
        ("g = 1", 1): 9,
        ("h",): 11,
    }


def test_line_ends_may_be_those_of_windows() -> None:
    assert lines_of_keys("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}


# Pieces that put together make TOML often enough, and every oddity of it.
KEYS = ("a", "b", "a.b", '"a b"', "'c.d'.e", '"\\u0061"', " a . b ", "1.2", "-_")
VALUES = (
    "1",
    "1.5e3",
    "true",
    "1979-05-27 07:32:00Z",
    '"x # y"',
    '"\\"]"',
    "'[a]'",
    '"""\n"quoted" \\\\ \n[[a]]"""',
    '"""x"""""',
    '"""x""""',
    "'''\nb = 1\n''''",
    "[]",
    "[ 1, 2, # three\n 3,\n]",
    '[{ a = 1 }, { "b" = [1, [2]] }]',
    "{}",
    "{ a = 1, b.c = { d = '}' } }",
)
STATEMENTS = st.one_of(
    st.builds("{} = {}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.builds("[{}]".format, st.sampled_from(KEYS)),
    st.builds("[[{}]] # x".format, st.sampled_from(KEYS)),
    st.sampled_from(["", "# a = 1", "\t"]),
)


def as_far_as_it_is_toml(statements: list[str]) -> str:
    """The statements, without those that another forbids."""
    text = ""
    for statement in statements:
        try:
            tomllib.loads(text + statement + "\n")
        except tomllib.TOMLDecodeError:
            continue
        text += statement + "\n"
    return text


@settings(deadline=None)
@given(st.lists(STATEMENTS, max_size=12).map(as_far_as_it_is_toml))
def test_every_key_that_python_reads_is_found_and_no_other(text: str) -> None:
    assert set(lines_of_keys(text)) == set(paths_in(tomllib.loads(text)))


@settings(deadline=None)
@given(st.lists(STATEMENTS, max_size=8).map(as_far_as_it_is_toml), st.integers(1, 5))
def test_lines_move_with_the_text(text: str, down: int) -> None:
    moved = lines_of_keys("#\n" * down + text)

    assert moved == {path: line + down for path, line in lines_of_keys(text).items()}
