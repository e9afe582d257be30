"""Commands: what operators asked for, each with who and when. Part of the audit trail."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.notices.text import iso
from batch_watchdog.store.item_codec import Item, pack
from batch_watchdog.store.table import Put

PREFIX = "COMMAND#"
KEPT = timedelta(days=90)  # as long as actions


def put(  # noqa: PLR0913 - all but three by name
    command: Mapping[str, Any],
    now: datetime,
    by: str,
    *,
    decided: str,
    request: str = "",
    button: str = "",
) -> Put:
    """
    The write of a command, given as JSON, with what was decided upon it.

    `by` is what the command itself says. `request` is the id of the call that brought it: AWS
    CloudTrail says by it who the caller was. A `button` tells a command from the same one of
    another button, in the same second.
    """
    body = pack(command)
    item: Item = {
        "pk": f"{PREFIX}{iso(now)[:10]}",
        "sk": f"{iso(now)}#{hashlib.sha256(body + button.encode()).hexdigest()[:16]}",
        "at": iso(now),
        "by": by,
        "body": body,
        "decided": decided,
        "request": request,
        "expires_at": int((now + KEPT).timestamp()),
    }
    return Put(item)
