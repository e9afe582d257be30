"""Items as DynamoDB stores them, and content packed into bytes."""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

type Value = str | int | bytes
type Item = Mapping[str, Value]


def pack(value: object) -> bytes:
    """Return a value as compressed JSON: small enough for an item; standard tools can read it."""
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 9)


def unpack(packed: Value) -> Any:
    """Return the value that `pack` was given."""
    return json.loads(zlib.decompress(binary(packed)))


def binary(value: Value) -> bytes:
    """Return an attribute that must hold bytes."""
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, got {type(value).__name__}")
    return value


def to_image(item: Item) -> dict[str, Any]:
    """Return an item in DynamoDB's own JSON."""
    return {name: _typed(value) for name, value in item.items()}


def from_image(image: Mapping[str, Any]) -> Item:
    """
    Build an item from DynamoDB's own JSON, as a client or a stream (bytes as base64) gives it.
    """
    return {name: _value(*next(iter(typed.items()))) for name, typed in image.items()}


def _typed(value: Value) -> dict[str, Any]:
    match value:
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case int():
            return {"N": str(value)}


def _value(kind: str, value: Any) -> Value:
    match kind:
        case "S":
            return str(value)
        case "N":
            return int(value)
        case "B":
            return base64.b64decode(value) if isinstance(value, str) else bytes(value)
        case _:
            raise TypeError(f"an attribute of the type {kind}: items hold S, N and B only")
