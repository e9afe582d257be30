"""
What an operator is told, and how untrusted text becomes fit to be shown.

A notice has a text for people and facts for programs. Names, reasons and tags come from
those who submit jobs: all text shown of them goes through `plain` first. Facts keep them
as they are (JSON escapes what needs it), only bounded in length.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from batch_watchdog.notices.kept_phrases import Said
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
    "budget-warning",
    "budget-forecast",
    "budget-reached",
    "rule-report",
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
    subject: Said
    text: Said
    facts: dict[str, Any] = field(default_factory=dict)


def subject(text: str) -> str:
    """A subject line as SNS takes it: one line, less than 100 characters."""
    return plain(text, SUBJECT_MAX)


def worst(severities: Iterable[Severity]) -> Severity:
    """The worst of these."""
    return max(severities, key=_SEVERITIES.index)


_SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
