"""The notices of a check, and those by which operators try the way to themselves."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import get_args

from batch_watchdog.health.rules import Problem
from batch_watchdog.notices.notice import Notice, NoticeKind, subject
from batch_watchdog.notices.text import iso, plain

KINDS: tuple[NoticeKind, ...] = get_args(NoticeKind.__value__)


def trouble(new: Sequence[Problem], now: datetime) -> Notice:
    """What has become wrong since the last check."""
    keys = "\n".join(sorted(each.key for each in new))
    first = new[0].what.rstrip(".")
    more = f", and {len(new) - 1} more" if len(new) > 1 else ""
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:check:{iso(now)}:{hashlib.sha256(keys.encode()).hexdigest()[:16]}",
        severity="warning",
        subject=subject(f"Daily check: {first}{more}"),
        text="\n".join(
            [
                "The daily check has found what was not so the day before:",
                "",
                *(f"- {each.what}\n  What to do: {each.remedy}" for each in new),
                "",
                'Everything that is checked: the command {"command": "check"}.',
            ]
        ),
        facts={"problems": [{"key": each.key, "what": each.what} for each in new]},
    )


def trial(kind: NoticeKind, by: str, now: datetime) -> Notice:
    """A notice that only shows that its kind reaches whoever is subscribed."""
    return Notice(
        kind=kind,
        id=f"{kind}:test:{iso(now)}",
        severity="info",
        subject=subject(f"Test: a notice of the kind {kind}"),
        text=f"{plain(by, 100)} has asked for this test. A notice of the kind {kind} comes this "
        "way.\nNothing has happened, and there is nothing to do.",
        facts={"test": True, "by": plain(by, 100)},
    )
