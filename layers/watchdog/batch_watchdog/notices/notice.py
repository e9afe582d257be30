"""
What an operator is told, and how untrusted text becomes fit to be shown.

A notice has a text for people and facts for programs. Names, reasons and tags come from
those who submit jobs: all text shown of them goes through `plain` first. Facts keep them
as they are (JSON escapes what needs it), only bounded in length.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from batch_watchdog.notices.phrases import SUBJECT_MAX
from batch_watchdog.notices.text import plain

type NoticeKind = Literal[
    "array-completed",
    "array-progress",
    "array-stopped",
    "job-failed",
    "limit-warning",
    "limit-enforced",
    "limit-escaped",
    "queue-blocked",
    "guard-raised",
    "guard-report",
    "guard-released",
    "spend-alert",
    "watchdog-trouble",
    "digest",
]
type Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that an operator is told. The `id` is the same on every delivery."""

    kind: NoticeKind
    id: str
    severity: Severity
    subject: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


def subject(text: str) -> str:
    """A subject line as SNS takes it: one line, less than 100 characters."""
    return plain(text, SUBJECT_MAX)


def digest(notices: Sequence[Notice]) -> Notice:
    """
    One notice in place of many of one kind.

    The facts are `of` (the kind), `count` and `ids`; the text shows the first twenty subjects.
    """
    kind, count = notices[0].kind, len(notices)
    ids = [notice.id for notice in notices]
    worst: Severity = max((notice.severity for notice in notices), key=_SEVERITIES.index)
    shown = [f"- {notice.subject}" for notice in notices[:20]]
    if count > len(shown):
        shown.append(f"- … and {count - len(shown)} more")
    return Notice(
        kind="digest",
        id=f"digest:{kind}:{hashlib.sha256('\n'.join(ids).encode()).hexdigest()[:16]}",
        severity=worst,
        subject=subject(f"{count} × {kind}: {notices[0].subject}"),
        text="\n".join([f"{count} notices of the kind {kind} came at once. They are:", "", *shown]),
        facts={"of": kind, "count": count, "ids": ids},
    )


_SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
