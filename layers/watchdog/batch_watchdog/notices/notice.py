"""
The notice that an operator is sent, and the rule for untrusted text in it.

A notice has a text for people and facts for programs. Names, reasons and tags come from those who
submit jobs: before a text shows them, they pass through `plain`. Facts keep them as they are (JSON
escapes them where necessary), except that their length is bounded.
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
    """One notice for an operator. Its `id` is the same on every delivery."""

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
    """Return the most severe of these."""
    return max(severities, key=_SEVERITIES.index)


_SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
