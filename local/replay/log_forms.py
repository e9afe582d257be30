"""
Unwraps events from the objects of services, for the reader of a log.

CloudWatch Logs (pages of its API, Insights, subscriptions), SQS, SNS, Kinesis and Firehose each
put an event as text into objects of their own; log shippers do the same.
"""

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_DEPTH = 6  # the maximum of wrappers around one event
# The keys under which a wrapper has its contents.
_CONTENT = ("@message", "message", "Message", "body", "Body", "log", "line")
_LISTS = ("logEvents", "events", "results", "Messages", "Records", "records")


class Unwrapped(NamedTuple):
    """An object that was in a wrapper, and its text; or, in `passed`, why there is none."""

    value: Any
    text: str = ""
    passed: str = ""


def unwrapped(value: Any) -> list[Unwrapped] | None:
    """Return the contents of a wrapper; None if the value is not a wrapper."""
    found = _contents(value, _DEPTH)
    return None if found is None else list(found)


def is_event(value: Mapping[str, Any]) -> bool:
    """Check whether this has the form of an EventBridge event, valid or not."""
    return "detail-type" in value and ("detail" in value or "source" in value)


def is_message(record: Any) -> bool:
    """Check whether this is a record of SNS, as a Lambda function receives it."""
    return isinstance(record, dict) and isinstance(record.get("Sns"), dict)


def _contents(value: Any, depth: int) -> Iterator[Unwrapped] | None:
    """Return the contents of a wrapper; None if the value is not a wrapper."""
    if isinstance(value, list):
        value = _row(value)
    if not isinstance(value, dict) or not depth or _is_own(value):
        return None
    if isinstance(data := value.get("awslogs"), dict):
        return _packed(data.get("data"), depth)
    if value.get("messageType") == "CONTROL_MESSAGE":
        return iter([Unwrapped(None, "", "a control message of CloudWatch Logs")])
    return _listed(value, depth) or _single(value, depth)


def _is_own(value: Mapping[str, Any]) -> bool:
    """Check whether a replay takes this as it is, whatever else is in it."""
    return "@message" not in value and (
        is_event(value) or "command" in value or "event" in value or "alarmData" in value
    )


def _listed(value: Mapping[str, Any], depth: int) -> Iterator[Unwrapped] | None:
    for key in _LISTS:
        entries = value.get(key)
        if isinstance(entries, list) and (key != "Records" or any(map(_is_record, entries))):
            return _each(entries, depth)
    return None


def _single(value: Mapping[str, Any], depth: int) -> Iterator[Unwrapped] | None:
    for key in _CONTENT:
        content = value.get(key)
        if isinstance(content, dict) or (isinstance(content, str) and _wraps(value, key, content)):
            return _content(value, content, depth)
    return None


def _row(fields: list[Any]) -> dict[str, Any]:
    """Return a row of Insights, which is a list of fields and values, as an object."""
    if all(isinstance(each, dict) and "field" in each for each in fields):
        return {str(each["field"]): each.get("value") for each in fields}
    return {}


def _is_record(entry: Any) -> bool:
    """Check whether this is a record of SQS or Kinesis. Records of SNS stay as they are."""
    return isinstance(entry, dict) and (
        isinstance(entry.get("kinesis"), dict) or _is_object(entry.get("body"))
    )


def _wraps(value: Mapping[str, Any], key: str, content: str) -> bool:
    """Check whether the text is the wrapper's contents, and not just one of several fields."""
    return key == "@message" or "timestamp" in value or _is_object(content)


def _is_object(text: Any) -> bool:
    return isinstance(text, str) and text.lstrip().startswith("{")


def _each(entries: list[Any], depth: int) -> Iterator[Unwrapped]:
    for entry in entries:
        if isinstance(entry, dict) and is_event(entry):
            yield Unwrapped(entry)
        elif is_message(entry):
            yield Unwrapped({"Records": [entry]})
        elif isinstance(entry, dict) and isinstance(kinesis := entry.get("kinesis"), dict):
            yield from _packed(kinesis.get("data"), depth)
        elif isinstance(entry, dict) and isinstance(data := entry.get("data"), str):
            yield from _packed(data, depth)
        else:
            found = _contents(entry, depth - 1)
            yield from found if found is not None else [Unwrapped(None, "", _NO_EVENT)]


_NO_EVENT = "no event"


def _content(wrapper: Mapping[str, Any], content: Any, depth: int) -> Iterator[Unwrapped]:
    text = ""
    if isinstance(content, str):
        text, content = content, _parsed(content)
    if isinstance(content, dict) and is_event(content):
        yield Unwrapped(content, text)
    elif isinstance(wrapper.get("TopicArn"), str):
        yield Unwrapped({"Records": [{"Sns": dict(wrapper)}]})  # SNS, by way of SQS
    else:
        found = _contents(content, depth - 1)
        yield from found if found is not None else [Unwrapped(None, "", _NO_EVENT)]


def _packed(data: Any, depth: int) -> Iterator[Unwrapped]:
    """Yield the contents of data in base64, which are often gzipped too."""
    try:
        raw = base64.b64decode(data, validate=True)
        text = (gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw).decode()
    except (TypeError, ValueError, binascii.Error, OSError, EOFError, zlib.error):
        yield Unwrapped(None, "", "data that cannot be unpacked")
        return
    yield from _content({}, text, depth)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
