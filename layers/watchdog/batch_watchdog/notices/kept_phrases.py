"""
Store notices in the table as phrases, which are worded when the notice is sent.

So one place decides on language and time zone, and the rules need not know either. A phrase is
stored as its English text, together with its template and parts: these are read only for another
language or time zone.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import PlainSerializer, PlainValidator

from batch_watchdog.notices.phrases import Kept, Name, Phrase, Row, Subject

_PHRASES: Mapping[str, type[Phrase]] = {kind.__name__: kind for kind in (Phrase, Row, Subject)}
_TEXTS: Mapping[str, type[str]] = {kind.__name__: kind for kind in (Name, Kept)}


class KeptPhrase(str):
    """A phrase as the table stores it: English text, and its template and parts as JSON."""

    __slots__ = ("made_of",)

    made_of: Any

    def __new__(cls, text: str, made_of: Any) -> Self:
        phrase = super().__new__(cls, text)
        phrase.made_of = made_of
        return phrase

    @property
    def phrase(self) -> Phrase:
        """The phrase, rebuilt from its template and parts."""
        phrase = _from_json(self.made_of)
        if not isinstance(phrase, Phrase):
            raise TypeError(f"no phrase: {self.made_of!r:.100}")
        return phrase


def to_json(text: str) -> Any:
    """Return the stored form of a text. Only that of a phrase differs from the text."""
    match text:
        case KeptPhrase(made_of=made_of):
            return [str(text), made_of]
        case Phrase():
            return [str(text), _to_json(text)]
        case _:
            return text


def from_json(value: Any) -> str:
    """Return the text or phrase of a stored form, ready to be worded."""
    match value:
        case str():
            return value
        case [str(text), made_of]:
            return KeptPhrase(text, made_of)
        case _:
            raise ValueError("expected a text, or a phrase")


def _to_json(part: Any) -> Any:
    match part:
        case Phrase(template=template, parts=parts):
            told = {name: _to_json(each) for name, each in parts.items()}
            return {type(part).__name__: [template, told]}
        case Name() | Kept():
            return {type(part).__name__: str(part)}
        case datetime():
            return {"at": part.isoformat()}
        case timedelta():
            return {"seconds": part.total_seconds()}
        case _:
            return part


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    match kind:
        case "at":
            return datetime.fromisoformat(content)
        case "seconds":
            return timedelta(seconds=content)
        case _ if kind in _TEXTS:
            return _TEXTS[kind](content)
        case _:
            template, parts = content
            return _PHRASES[kind](
                template, {name: _from_json(each) for name, each in parts.items()}
            )


# A text that is stored by `to_json`, and read by `from_json`.
type Said = Annotated[str, PlainSerializer(to_json), PlainValidator(from_json)]
