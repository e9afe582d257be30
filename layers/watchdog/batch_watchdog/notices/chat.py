"""
Build the messages that Amazon Q Developer in chat applications shows in Slack and Microsoft Teams.

Amazon Q shows the text as the chat's markdown, and reads "@name" as a mention. So characters that
could turn untrusted text into a link, a mention or emphasis are replaced by look-alikes.
https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
"""

import re
from collections.abc import Callable
from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import Field

from batch_watchdog.notices.message import attributes_of
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import say
from batch_watchdog.notices.text import plain

# Chat messages of one decision. More notices are sent as one digest.
MESSAGES_MAX = 20
# Amazon Q accepts 8,000 characters; it may count one of ours as two.
_TEXT_MAX = 4_000
_LOOKALIKES = str.maketrans({"@": "＠", "<": "‹", ">": "›", "*": "∗", "`": "ˋ"})  # noqa: RUF001
_LINK = re.compile(r"\](?=[(\[:])")

type _Text = Annotated[str, Field(min_length=1)]


class Content(TypedDict):
    """What is shown."""

    textType: Literal["client-markdown"]
    title: Annotated[str, Field(min_length=1, max_length=250)]
    description: Annotated[str, Field(min_length=1, max_length=8_000)]
    keywords: list[Annotated[str, Field(min_length=1, max_length=75)]]


class Metadata(TypedDict):
    """What groups messages, and what an operator's own buttons (custom actions) can use."""

    threadId: NotRequired[_Text]
    summary: _Text
    eventType: Annotated[str, Field(pattern="^[a-zA-Z0-9-]{1,100}$")]
    additionalContext: dict[str, _Text]


class ChatMessage(TypedDict):
    """A custom notification, in AWS's schema."""

    version: Literal["1.0"]
    source: Literal["custom"]
    id: _Text
    content: Content
    metadata: Metadata


def chat_message(notice: Notice, thread: str, words: Callable[[str], str]) -> ChatMessage:
    """
    Build the chat message of a notice that has been worded in the policy's language.

    Messages with the same `thread` form one conversation; "" means no thread. `words` returns
    a phrase in the language of the notice.
    """
    title, name = harmless(notice.subject), plain(notice.id)
    queue = str(notice.facts.get("queue") or "").rpartition("/")[2]  # of its ARN
    keywords = (notice.kind, notice.severity, harmless(plain(queue, 75)))
    metadata: Metadata = {
        "summary": title,
        "eventType": notice.kind,
        "additionalContext": {"id": name, **attributes_of(notice)},
    }
    if thread:
        metadata["threadId"] = thread
    return {
        "version": "1.0",
        "source": "custom",
        "id": name,
        "content": {
            "textType": "client-markdown",
            "title": title,
            "description": _cut(harmless(notice.text), words),
            "keywords": [each for each in keywords if each],
        },
        "metadata": metadata,
    }


def harmless(text: str) -> str:
    """Make a text that a chat shows literally: no mention, no link but a bare URL, no emphasis."""
    return _LINK.sub("] ", text.translate(_LOOKALIKES))


def _cut(text: str, words: Callable[[str], str]) -> str:
    if len(text) <= _TEXT_MAX:
        return text
    head, _, _ = text[:_TEXT_MAX].rpartition("\n")
    return f"{head or text[:_TEXT_MAX]}\n{words(say('… The e-mail has the rest.'))}"
