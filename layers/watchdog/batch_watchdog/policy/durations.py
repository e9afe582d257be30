"""
Spans of time as people write them in a policy or a tag: "90s", "30m", "6h", "1h30m", "PT30M".
"""

import re
from datetime import timedelta

SPAN_MAX = timedelta(days=30)

SPAN_SHAPE = re.compile(
    r"(?=[0-9])(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?"
)
ISO_SPAN_SHAPE = re.compile(
    r"P(?=[0-9T])(?:([0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})S)?)?"
)
_EXPECTED = 'expected a span such as "90s", "30m", "6h", "1h30m", "1d" or "PT30M"'


def parse_span(text: object) -> timedelta:
    """
    Parse a span as a policy or a tag writes it: days, hours, minutes, seconds ("1h30m", "PT30M").

    Raises:
        ValueError: it is not a span with units, is zero, or is longer than 30 days.
    """
    written = text if isinstance(text, str) else ""
    found = SPAN_SHAPE.fullmatch(written) or ISO_SPAN_SHAPE.fullmatch(written)
    if not found:
        raise ValueError(f"{_EXPECTED}, not {shown(text)}")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    try:
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        span = timedelta.max
    if not timedelta() < span <= SPAN_MAX:
        raise ValueError(
            f"expected a span longer than nothing and at most {SPAN_MAX.days} days, "
            f"not {shown(text)}"
        )
    return span


def span_text(span: timedelta) -> str:
    """A span as a policy writes it: "1h30m"."""
    left, parts = int(span.total_seconds()), []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def shown(value: object) -> str:
    """Show a value as a policy may write it, shortened, without control characters."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
        case str():
            written = repr(value[:61])
        case int() if value.bit_length() > 64:  # noqa: PLR2004
            written = "a huge number"
        case _:
            written = str(value)
    return written if len(written) <= 62 else f"{written[:60]}…"  # noqa: PLR2004
