"""Text that is safe to show: untrusted text on one line, times, spans and index ranges."""

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

FACT_MAX = 1_000  # characters of one untrusted string in the facts

_MARKUP = str.maketrans({"<": "‹", ">": "›"})


def plain(text: str, limit: int = 200) -> str:
    """
    Untrusted text as one harmless line of at most `limit` characters.

    Control, bidirectional, invisible and unpaired characters become spaces. Runs of white space
    become one space. Angle brackets become look-alikes, which a page does not read as markup.
    """
    shown = text[: limit * 4]
    if not (shown.isascii() and shown.isprintable()):  # as most text is
        shown = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in shown)
    line = " ".join(shown.split()).translate(_MARKUP)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def middle(name: str, limit: int) -> str:
    """A name of at most `limit` characters: where it is longer, its middle is left out."""
    if len(name) <= limit:
        return name
    tail = (limit - 1) // 2
    return f"{name[: limit - 1 - tail]}…{name[len(name) - tail :]}"


def fact(text: str) -> str:
    """Return untrusted text unchanged, but of bounded length and fit for UTF-8."""
    return text[:FACT_MAX].encode("utf-8", "replace").decode()


def iso(at: datetime) -> str:
    """A time as ISO 8601 in UTC, to the second: "2026-01-01T12:00:00Z"."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


UNITS = ("d", "h", "min", "s")


def span(seconds: float, units: Sequence[str] = UNITS) -> str:
    """A span for people, in its two largest units: "2 h 5 min"."""
    left = max(0, round(seconds))
    parts = []
    for unit, length in zip(units, (86_400, 3_600, 60, 1), strict=True):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or f"0 {units[-1]}"


def ranges(indices: Iterable[int]) -> str:
    """Indices as people write them: [3, 7, 8, 9] is "3,7-9"."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
