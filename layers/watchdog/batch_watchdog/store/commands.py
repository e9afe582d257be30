"""Commands in the table: what operators asked for, who and when. Part of the audit trail."""

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
    Build the write of a command, given as JSON, with what was decided about it.

    `by` is the name that the command itself gives. `request` is the id of the call that delivered
    it: with this id, AWS CloudTrail shows who the caller was. `button` keeps a command apart from
    the same command of another button in the same second.
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
