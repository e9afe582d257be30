"""
Phrases in the table: a notice is kept as what is to be said, and worded when it is sent.

So one place decides about language and time zone, and no rule has to know of either.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from batch_watchdog.notices.phrases import Kept, Name, Phrase, Row, Subject

_PHRASES: Mapping[str, type[Phrase]] = {kind.__name__: kind for kind in (Phrase, Row, Subject)}
_TEXTS: Mapping[str, type[str]] = {kind.__name__: kind for kind in (Name, Kept)}


def to_json(part: Any) -> Any:
    """A phrase, or a part of one, as JSON has it."""
    match part:
        case Phrase(template=template, parts=parts):
            told = {name: to_json(each) for name, each in parts.items()}
            return {type(part).__name__: [template, told]}
        case Name() | Kept():
            return {type(part).__name__: str(part)}
        case datetime():
            return {"at": part.isoformat()}
        case timedelta():
            return {"seconds": part.total_seconds()}
        case _:
            return part


def from_json(value: Any) -> Any:
    """What `to_json` was given."""
    match value:
        case dict():
            [(kind, content)] = value.items()
            return _from_json(kind, content)
        case _:
            return value


def _from_json(kind: str, content: Any) -> Any:
    match kind:
        case "at":
            return datetime.fromisoformat(content)
        case "seconds":
            return timedelta(seconds=content)
        case _ if kind in _TEXTS:
            return _TEXTS[kind](content)
        case _:
            template, parts = content
            return _PHRASES[kind](template, {name: from_json(each) for name, each in parts.items()})


# A text that is kept so, where it is a phrase.
type Said = Annotated[str, PlainSerializer(to_json), PlainValidator(from_json)]
