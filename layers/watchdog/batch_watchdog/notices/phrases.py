"""
Phrases: English text that remembers what it was made of, so that it can be said in other words.

Rules and notices say things in English, by a template and what goes into it. A phrase is that text,
and can be used as such. A `Language` says the same again in another language or time zone: see
`languages.py`. Whatever is put into a template must be harmless to show.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from string import Formatter
from typing import Any, Self

from batch_watchdog.notices.text import iso, middle, span

# SNS: a subject has less than 100 characters, no line breaks, no control characters.
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
SUBJECT_MAX = 99
# A name before the end of a subject: what follows it is still seen where a subject is cut at 60.
NAME_MAX = 28
_NAME_MIN = 12

type Wording = Callable[[Any], str]


class Name(str):
    """A name in a subject: where there is no room for it, it is shortened in its middle."""

    __slots__ = ()


class Phrase(str):
    """
    A template and what goes into it: texts, counts, times, spans, and phrases.

    As a text it is English, with times in UTC.
    """

    __slots__ = ("parts", "template")

    template: str
    parts: Mapping[str, Any]

    def __new__(cls, template: str, parts: Mapping[str, Any]) -> Self:
        phrase = super().__new__(cls, cls.fill(template, parts, in_english))
        phrase.template, phrase.parts = template, parts
        return phrase

    @classmethod
    def fill(cls, template: str, parts: Mapping[str, Any], wording: Wording) -> str:
        """The template with its parts, each in the words of a language."""
        return template.format_map({name: wording(part) for name, part in parts.items()})


class Row(Phrase):
    """Phrases one after the other. Its template is what stands between them."""

    __slots__ = ()

    @classmethod
    def fill(cls, template: str, parts: Mapping[str, Any], wording: Wording) -> str:
        return template.join(map(wording, parts.values()))


class Subject(Phrase):
    """A phrase of less than 100 characters: names are shortened so that the rest is whole."""

    __slots__ = ()

    @classmethod
    def fill(cls, template: str, parts: Mapping[str, Any], wording: Wording) -> str:
        last = [name for _, name, _, _ in Formatter().parse(template) if name][-1:]
        ends_with = last[0] if last and template.endswith(f"{{{last[0]}}}") else ""

        def shortened(most: int) -> str:
            def worded(part: Any, most: int) -> str:
                return middle(part, most) if isinstance(part, Name) else wording(part)

            return template.format_map(
                {
                    name: worded(part, most if name == ends_with else min(most, NAME_MAX))
                    for name, part in parts.items()
                }
            )

        for most in range(SUBJECT_MAX, _NAME_MIN, -1):
            line = shortened(most)
            if len(line) <= SUBJECT_MAX:
                return line
        return middle(line, SUBJECT_MAX)


def say(template: str, /, **parts: Any) -> Phrase:
    """A phrase. Its template is its name in the catalogues of other languages."""
    return Phrase(template, parts)


def subject(template: str, /, **parts: Any) -> Subject:
    """A subject line: what, how many, which queue or guard, then numbers."""
    return Subject(template, parts)


def counted(count: int, one: str, many: str) -> Phrase:
    """A count with its noun: counted(1, "{n} job", "{n} jobs")."""
    return say(one if count == 1 else many, n=count)


def row(phrases: Iterable[str], between: str = ", ") -> Row:
    """Phrases one after the other."""
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


def in_english(part: Any) -> str:
    match part:
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
