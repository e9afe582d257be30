"""Whether a chat is told the same as the topic, where the stack tells one."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from batch_watchdog.core.effects import Announce, Chat
from tests.simulation.history import History

_HOUR = timedelta(hours=1)
_MESSAGES_MAX = 12


def i18_a_chat_is_told_what_the_topic_is_told(seen: History) -> Iterator[str]:
    """What went out at once at the topic is handed to the chat, and all of that is sent."""
    if seen.chat is None:
        return
    handed = {each.effect.of for each in seen.actions if isinstance(each.effect, Chat)}
    told = {message["id"] for _, message in seen.chat}
    for action in seen.actions:
        if "message_ids" not in (action.result or ()):
            continue
        match action.effect:
            case Announce() if not action.tries and action.sk not in handed:
                yield f"{action.sk} was told, and no chat"
            case Chat(messages=messages):
                lost = [each["id"] for each in messages if each["id"] not in told]
                yield from (f"{each} was not told to the chat" for each in lost)


def i18_no_conversation_has_many_messages(seen: History) -> Iterator[str]:
    """No thread brings more than 12 messages an hour to a chat."""
    threads: dict[str, dict[str, datetime]] = defaultdict(dict)
    for at, message in seen.chat or ():
        thread = message["metadata"].get("threadId")
        if thread and "trouble" not in thread:
            threads[thread].setdefault(message["id"], at)
    for thread, ids in threads.items():
        times = sorted(ids.values())
        most = max(sum(first <= at < first + _HOUR for at in times) for first in times)
        if most > _MESSAGES_MAX:
            yield f"{thread} brought {most} messages in an hour"
