"""
The JSON Schema of what programs are sent of a notice: docs/notice.schema.json.

To renew it: make gallery
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from batch_watchdog.notices.message import Message

PATH = Path(__file__).parents[2] / "docs/notice.schema.json"


def text() -> str:
    """The schema, as it is to be in the file."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TypeAdapter(Message).json_schema(),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
