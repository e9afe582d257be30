"""Build the notice of a check, and the test notices by which operators check delivery."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import get_args

from batch_watchdog.health.rules import Problem
from batch_watchdog.notices.notice import Notice, NoticeKind
from batch_watchdog.notices.phrases import Name, lines, say, subject
from batch_watchdog.notices.text import iso, plain

KINDS: tuple[NoticeKind, ...] = get_args(NoticeKind.__value__)


def trouble(new: Sequence[Problem], now: datetime) -> Notice:
    """Build the notice of problems that are new since the last check."""
    keys = "\n".join(sorted(each.key for each in new))
    first = new[0].what
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:check:{iso(now)}:{hashlib.sha256(keys.encode()).hexdigest()[:16]}",
        severity="warning",
        subject=subject("Daily check, {n} problems: {what}", what=first, n=len(new))
        if len(new) > 1
        else subject("Daily check: {what}", what=first),
        text=lines(
            [
                say("The daily check has found new problems:"),
                "",
                *(
                    line
                    for each in new
                    for line in (
                        say("- {what}", what=each.what),
                        say("  What to do: {next_step}", next_step=each.remedy),
                    )
                ),
                "",
                say(
                    "Everything that is checked: the command {command}.",
                    command='{"command": "check"}',
                ),
            ]
        ),
        facts={"problems": [{"key": each.key, "what": each.what} for each in new]},
    )


def trial(kind: NoticeKind, by: str, now: datetime) -> Notice:
    """Build a test notice, which only shows that its kind reaches the subscribers."""
    return Notice(
        kind=kind,
        id=f"{kind}:test:{iso(now)}",
        severity="info",
        subject=subject("Test: a notice of the kind {kind}", kind=kind),
        text=lines(
            [
                say(
                    "{who} has asked for this test. A notice of the kind {kind} comes this way.",
                    who=Name(plain(by, 100)),
                    kind=kind,
                ),
                say("Nothing has happened, and there is nothing to do."),
            ]
        ),
        facts={"test": True, "by": plain(by, 100)},
    )
