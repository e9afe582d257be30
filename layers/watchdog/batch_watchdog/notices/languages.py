"""
Word phrases in the language and the time zone of the policy.

Facts are the same in all languages. A text that is not a phrase (names, ids, AWS's own messages)
stays as it is. A phrase that a catalogue lacks stays in English; a test checks that none is
missing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from batch_watchdog.notices.japanese import catalogue
from batch_watchdog.notices.kept_phrases import KeptPhrase
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import UNBOUND, Kept, Phrase, in_english
from batch_watchdog.notices.text import UNITS, iso, span

type LanguageCode = Literal["en", "ja"]

_TEXTS: Mapping[LanguageCode, Mapping[str, str]] = {
    "en": {},
    "ja": {**catalogue.TEXTS, **catalogue.KEPT},
}
_UNITS: Mapping[LanguageCode, tuple[str, str, str, str]] = {
    "en": UNITS,
    "ja": ("日", "時間", "分", "秒"),
}
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_SPAN = re.compile(r"(?:([0-9]+) d)? ?(?:([0-9]+) h)? ?(?:([0-9]+) min)? ?(?:([0-9]+) s)?")


@dataclass(frozen=True, slots=True)
class Language:
    """A language, and a time zone by its IANA name."""

    code: LanguageCode = "en"
    time_zone: str = "UTC"

    def worded(self, notice: Notice) -> Notice:
        """The notice with its subject and text as plain texts in this language."""
        return replace(notice, subject=self.say(notice.subject), text=self.say(notice.text))

    def say(self, phrase: str) -> str:
        if self == _USUAL:  # A phrase is its text in English, with times in UTC.
            return str(phrase)
        return self._word(phrase.phrase if isinstance(phrase, KeptPhrase) else phrase, UNBOUND)

    def _word(self, part: Any, most: int) -> str:
        match part:
            case Phrase():
                template = _TEXTS[self.code].get(part.template, part.template)
                return part.fill(template, part.parts, self._word, most)
            case Kept():
                phrase = _recalled(part)
                return self._word(phrase, most) if phrase else str(part)
            case datetime():
                return self._time(part)
            case timedelta():
                return span(part.total_seconds(), _UNITS[self.code])
            case _:
                return in_english(part, most)

    def _time(self, at: datetime) -> str:
        if self.code == "en" and self.time_zone == "UTC":
            return iso(at)
        there = at.astimezone(ZoneInfo(self.time_zone))
        day = f"{there:%Y-%m-%d}"
        if self.code == "ja":
            day = f"{there.year}年{there.month}月{there.day}日"
        return f"{day} {there:%H:%M:%S %Z}"


_USUAL = Language()


def _recalled(text: str) -> Phrase | None:
    """Return the phrase that a stored text was made from, if its template is in `KEPT`."""
    for template, pattern in _patterns():
        if found := pattern.fullmatch(text):
            return Phrase(template, {name: _part(part) for name, part in found.groupdict().items()})
    return None


def _part(text: str) -> datetime | timedelta | Kept:
    if _TIME.fullmatch(text):
        return datetime.fromisoformat(text)
    lasted = _SPAN.fullmatch(text)
    if lasted and text:
        days, hours, minutes, seconds = (int(part or 0) for part in lasted.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return Kept(text)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Return the templates in `KEPT`, the longest first, each with a pattern for its texts."""
    pieces = re.compile(r"\{(\w+)\}")
    found = []
    for template in sorted(catalogue.KEPT, key=len, reverse=True):
        shape, end = "", 0
        for field in pieces.finditer(template):
            shape += re.escape(template[end : field.start()]) + f"(?P<{field[1]}>.+?)"
            end = field.end()
        found.append((template, re.compile(shape + re.escape(template[end:]))))
    return found
