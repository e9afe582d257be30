"""
Write the gallery as a page: every notice in both languages, with the policy of its scene.

python -m local gallery [--check]: writes docs/notices.md, or checks whether it is up to date.
"""

import argparse
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from local.aws import stack as stacks
from local.aws.stack import Stack
from local.gallery import message_schema
from local.gallery.day import Day
from local.gallery.scenes import SCENES, Scene
from local.replay.replay import Row

PAGE = Path(__file__).parents[2] / "docs/notices.md"
JAPANESE = 'language = "ja"\ntime_zone = "Asia/Tokyo"'
_HEAD = """# Notices

What operators are sent, in English and in Japanese (`[notify] language`). Each notice comes from a
real run of the watchdog on a simulated AWS Batch, under the policy that is shown. `make gallery`
writes this page; a test fails while it is not up to date."""
_CHAT = """## In a chat

With `ChatTopic=yes`, Slack and Microsoft Teams are sent the same notices by Amazon Q Developer in
chat applications, in its schema. What concerns one array, guard or queue is one conversation. This
is the last notice of the first scene."""
_TEXT_MAX = 40  # lines of a notice that are shown


def page(play: Callable[[Scene, str], Sequence[Row]], chat: Sequence[Any]) -> str:
    """
    Return the whole page. `play` returns a scene's notices, given lines for the policy's [notify].
    `chat` holds the messages to the chat topic in the first scene.
    """
    parts = [_HEAD]
    shown: set[str] = set()
    for scene in SCENES:
        english, japanese = (play(scene, notify) for notify in ("", JAPANESE))
        pairs = [
            (one, other)
            for one, other in zip(english, japanese, strict=True)
            if "folded_into" not in one and _shape(one) not in shown
        ]
        shown |= {_shape(one) for one, _ in pairs}
        if pairs:
            parts += [f"## {scene.title}", _policy(scene), *_notices(pairs)]
    parts += [_CHAT, f"```json\n{json.dumps(chat[-1], indent=2, ensure_ascii=False)}\n```"]
    return "\n\n".join(parts) + "\n"


def chat_of(stack: Stack) -> Sequence[Any]:
    """Return the first scene's messages to the chat topic, which the stack must have."""
    return _played(stack, SCENES[0]).chat


def told(stack: Stack, scene: Scene, notify: str, *, long: bool = False) -> list[Row]:
    """Return a scene's notices, in order."""
    return _played(stack, scene, notify, long=long).told


def _played(stack: Stack, scene: Scene, notify: str = "", *, long: bool = False) -> Day:
    day = Day(stack, scene.policy, notify, long=long, alarms=scene.alarms)
    scene.play(day)
    return day


def _shape(notice: Row) -> str:
    """Return a key that is the same for similar notices, of which the page shows one."""
    return f"{notice['notice']} {re.sub(r'[0-9]+', '0', notice['subject'])}"


def _policy(scene: Scene) -> str:
    policy = scene.policy.replace("$", "").strip() or "# the defaults"
    return f"```toml\n{policy}\n```"


def _notices(pairs: Sequence[tuple[Row, Row]]) -> Iterator[str]:
    for english, japanese in pairs:
        yield f"### `{english['notice']}`, {english['severity']}"
        for notice in (english, japanese):
            yield f"**{_escaped(notice['subject'])}**"
            yield f"```text\n{_text(notice['text'])}\n```"


def _text(text: str) -> str:
    lines = text.split("\n")
    left = len(lines) - _TEXT_MAX
    return "\n".join([*lines[:_TEXT_MAX], *([f"… {left} more lines"] if left > 0 else [])])


def _escaped(subject: str) -> str:
    return re.sub(r"([\\*_`\[\]<>])", r"\\\1", subject)


def main(arguments: Sequence[str]) -> int:
    """Write the page and the schema, or check the page. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local gallery")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    stack = stacks.read()
    with_chat = stacks.read(parameters={"ChatTopic": "yes"})
    text = page(lambda scene, notify: told(stack, scene, notify), chat_of(with_chat))
    if options.check:
        if PAGE.read_text() == text:
            return 0
        print("docs/notices.md is not up to date: run make gallery", file=sys.stderr)
        return 1
    PAGE.write_text(text)
    message_schema.PATH.write_text(message_schema.text())
    return 0
