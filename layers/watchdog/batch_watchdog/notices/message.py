"""Build the message of a notice for programs, as docs/notice.schema.json defines it."""

from typing import Annotated, Any, Literal, TypedDict

from pydantic import ConfigDict, Field, with_config

from batch_watchdog.notices.notice import Notice, NoticeKind, Severity
from batch_watchdog.notices.phrases import SUBJECT_MAX
from batch_watchdog.notices.text import plain

VERSION: Literal["1"] = "1"
_ATTRIBUTES = ("queue", "job_name", "mode")  # facts that subscribers may filter by


@with_config(ConfigDict(title="A notice of batch-watchdog"))
class Message(TypedDict):
    """A notice, as JSON. Later versions of the watchdog may add to `facts`."""

    version: Annotated[Literal["1"], Field(description="Of this format.")]
    notice: Annotated[NoticeKind, Field(description="The kind.")]
    id: Annotated[str, Field(description="The same on every delivery.")]
    severity: Severity
    subject: Annotated[str, Field(max_length=SUBJECT_MAX, description="One line.")]
    text: Annotated[str, Field(description="For people, in the policy's language.")]
    facts: Annotated[
        dict[str, Any],
        Field(
            description="The same in every language. Times are ISO 8601 in UTC, spans seconds. "
            "Which there are depends on the kind: docs/notices.md shows an example of each."
        ),
    ]


def message_of(notice: Notice) -> Message:
    """Return a notice as it is sent to programs."""
    return {
        "version": VERSION,
        "notice": notice.kind,
        "id": notice.id,
        "severity": notice.severity,
        "subject": notice.subject,
        "text": notice.text,
        "facts": notice.facts,
    }


def attributes_of(notice: Notice) -> dict[str, str]:
    """Return the attributes by which subscribers may filter."""
    return {"notice": notice.kind, "severity": notice.severity} | {
        name: shown
        for name in _ATTRIBUTES
        # SNS refuses an empty attribute, and a name may consist of invisible characters only.
        if (shown := plain(str(notice.facts.get(name) or "")))
    }
