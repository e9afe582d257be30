"""
Build the JSON Schema of the message that programs receive for a notice: docs/notice.schema.json.

`make gallery` writes the file.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from batch_watchdog.notices.message import Message

PATH = Path(__file__).parents[2] / "docs/notice.schema.json"


def text() -> str:
    """Return the schema, as the text of the file."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TypeAdapter(Message).json_schema(),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
