"""
Phrases: English text that keeps its template and parts, so that it can be translated later.

Rules and notices write English, from a template and its parts. A phrase is that text, and can be
used as such. A `Language` words it again in another language or time zone: see `languages.py`. All
parts that are put into a template must be harmless to show.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from string import Formatter
from typing import Any, Self

from batch_watchdog.notices.text import iso, middle, span

# SNS: a subject has less than 100 characters, no line breaks, no control characters.
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
SUBJECT_MAX = 99
# Characters of a name before the end of a subject: what follows it stays visible where a subject is
# cut at 60.
NAME_MAX = 28
_NAME_MIN = 12

UNBOUND = 1_000_000  # as a name's maximum: there is room for all of it

# Words a part in a language. Its names get at most the given number of characters.
type Wording = Callable[[Any, int], str]


class Name(str):
    """A name in a subject. Without enough room, it is shortened in its middle."""

    __slots__ = ()


class Kept(str):
    """A phrase that the table stored as plain text, and that was read back."""

    __slots__ = ()


class Phrase(str):
    """
    A template and its parts: texts, counts, times, spans, and phrases.

    As a text it is English, with times in UTC.
    """

    __slots__ = ("parts", "template")

    template: str
    parts: Mapping[str, Any]

    def __new__(cls, template: str, parts: Mapping[str, Any]) -> Self:
        phrase = super().__new__(cls, cls.fill(template, parts, in_english, UNBOUND))
        phrase.template, phrase.parts = template, parts
        return phrase

    @classmethod
    def fill(cls, template: str, parts: Mapping[str, Any], wording: Wording, most: int) -> str:
        """Fill a template with its parts, each worded in a language."""
        return template.format_map({name: wording(part, most) for name, part in parts.items()})


class Row(Phrase):
    """Phrases joined in a row. Its template is the separator."""

    __slots__ = ()

    @classmethod
    def fill(cls, template: str, parts: Mapping[str, Any], wording: Wording, most: int) -> str:
        return template.join(wording(part, most) for part in parts.values())


class Subject(Phrase):
    """A phrase of less than 100 characters: names are shortened, so that the rest is complete."""

    __slots__ = ()

    @classmethod
    def fill(cls, template: str, parts: Mapping[str, Any], wording: Wording, most: int) -> str:
        last = [name for _, name, _, _ in Formatter().parse(template) if name][-1:]
        ends_with = last[0] if last and template.endswith(f"{{{last[0]}}}") else ""
        line = ""
        for at_end in range(min(most, SUBJECT_MAX), _NAME_MIN, -1):
            shown = {
                name: wording(part, at_end if name == ends_with else min(at_end, NAME_MAX))
                for name, part in parts.items()
            }
            line = template.format_map(shown)
            if len(line) <= SUBJECT_MAX:
                break
        return middle(line, SUBJECT_MAX)


def say(template: str, /, **parts: Any) -> Phrase:
    """Build a phrase. Its template is its key in the catalogues of other languages."""
    return Phrase(template, parts)


def subject(template: str, /, **parts: Any) -> Subject:
    """A subject line: what, how many, which queue or guard, then numbers."""
    return Subject(template, parts)


def counted(count: int, one: str, many: str, /, **parts: Any) -> Phrase:
    """A count with its noun: counted(1, "{n} job", "{n} jobs")."""
    return say(one if count == 1 else many, n=count, **parts)


def kept(text: str) -> str:
    """Return one of the watchdog's own texts, marked as `Kept` if it is not a phrase any more."""
    return text if isinstance(text, Phrase) else Kept(text)


def row(phrases: Iterable[str], between: str = ", ") -> Row:
    """Join phrases with a separator."""
    return Row(between, {str(at): phrase for at, phrase in enumerate(phrases)})


def lines(phrases: Iterable[str]) -> Row:
    """A text of several lines."""
    return row(phrases, "\n")


def shorten(listing: str, limit: int = 300) -> str:
    """A comma-separated list for people, cut at a comma where it is longer than `limit`."""
    if len(listing) <= limit:
        return listing
    head = listing[:limit].rsplit(",", 1)[0]
    left = listing.count(",") - head.count(",")
    return say("{head}, … ({left} more in the facts)", head=head, left=left)


def in_english(part: Any, most: int) -> str:
    """A part of a phrase in English, with times in UTC."""
    match part:
        case Phrase():
            whole = most == UNBOUND  # As a text it is English already.
            return str(part) if whole else part.fill(part.template, part.parts, in_english, most)
        case Name():
            return middle(part, most)
        case str():
            return str(part)
        case bool() | None:
            raise TypeError(f"nothing to be said: {part!r}")
        case int():
            return f"{part:,}"
        case datetime():
            return iso(part)
        case timedelta():
            return span(part.total_seconds())
        case _:
            raise TypeError(f"nothing to be said: {part!r}")
