"""What a chat is told: in AWS's schema, and with nobody's text taken for a link or a mention."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from batch_watchdog.notices.chat import ChatMessage, chat_message, harmless
from batch_watchdog.notices.languages import Language
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.text import plain
from tests.makers import QUEUE, a_notice

# Maximums of https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
SCHEMA = TypeAdapter(ChatMessage)
ENGLISH = Language().say


def told(notice: Notice, thread: str = "t") -> ChatMessage:
    return SCHEMA.validate_python(chat_message(notice, thread, ENGLISH), strict=True)


def test_a_message_is_in_awss_schema_and_says_what_the_mail_says() -> None:
    facts = {"job_id": "1", "job_name": "render", "queue": QUEUE, "mode": "enforce"}

    assert told(a_notice(text="One.\nTwo.", facts=facts)) == {
        "version": "1.0",
        "source": "custom",
        "id": "job-failed:1",
        "content": {
            "textType": "client-markdown",
            "title": "Job failed, exit code 1: render",
            "description": "One.\nTwo.",
            "keywords": ["job-failed", "warning", "gpu"],
        },
        "metadata": {
            "summary": "Job failed, exit code 1: render",
            "eventType": "job-failed",
            "additionalContext": {
                "id": "job-failed:1",
                "notice": "job-failed",
                "severity": "warning",
                "queue": QUEUE,
                "job_name": "render",
                "mode": "enforce",
            },
            "threadId": "t",
        },
    }


def test_a_message_of_no_thread_stands_alone() -> None:
    assert "threadId" not in told(a_notice(), thread="")["metadata"]


@pytest.mark.parametrize(
    "text",
    [
        "@channel",
        "<!here>",
        "<@U012AB3CD>",
        "<https://evil.example|log>",
        "[log](https://evil.example)",
        "[log][1]",
        "[1]: https://evil.example",
        "![log](https://evil.example)",
        "**bold**",
        "```",
    ],
)
def test_nobodys_text_becomes_a_link_a_mention_or_a_block(text: str) -> None:
    shown = harmless(text)

    assert not re.search(r"[@<>*`]|\]\(|\]\[|\]:", shown)
    assert harmless(shown) == shown


def test_addresses_and_names_of_ours_stay_as_they_are() -> None:
    text = "render_01 [[limit]] 2\nhttps://console.aws.amazon.com/batch/home?region=a-1#jobs/x%40"

    assert harmless(text) == text


@pytest.mark.parametrize("char", ["x", "あ", "😀"])
def test_a_long_text_is_cut_at_a_line_and_says_where_the_rest_is(char: str) -> None:
    text = "\n".join([char * 70] * 200)

    description = told(a_notice(text=text))["content"]["description"]

    assert len(description.encode("utf-16-le")) // 2 <= 8_000
    *lines, last = description.split("\n")
    assert set(lines) == {char * 70}
    assert last == "… The e-mail has the rest."
    message = chat_message(a_notice(text=text), "", Language("ja").say)
    assert message["content"]["description"].endswith("… 続きは電子メールにあります。")


def test_a_text_of_one_long_line_is_cut() -> None:
    assert len(told(a_notice(text="x" * 300_000))["content"]["description"]) < 4_100


@given(st.text(), st.text(), st.text())
def test_no_name_keeps_a_message_from_being_sent(name: str, queue: str, notice_id: str) -> None:
    facts = {"job_name": name, "queue": queue}
    notice = replace(a_notice(facts=facts), id=f"job-failed:{notice_id}", text=f"{plain(name)}.")

    told(notice)
