"""Send notices to the topic and to a chat; fold later notices of the same cause."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batch_watchdog.core.effects import Announce, Chat
from batch_watchdog.notices import chat
from batch_watchdog.notices.message import attributes_of, message_of
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.actions import Action, Actions
from batch_watchdog.store.table import Table
from batch_watchdog.threads import workflow as threads
from batch_watchdog.threads.workflow import NoticeFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcer:
    """
    Sends the notices of actions. `sns` is a boto3 client; `clock` returns the present time.

    A chat gets its messages by actions of its own, which are written together with the decision
    which notices are sent at once. So neither topic waits for the other, and a failure at one
    repeats nothing at the other. Without a `chat_topic_arn` there is no chat.
    """

    table: Table
    sns: Any
    topic_arn: str
    policy: Callable[[], Policy]
    clock: Callable[[], datetime]
    chat_topic_arn: str = ""

    def announce(self, action: Action, effect: Announce) -> Any:
        notify = self.policy().notify
        folder = NoticeFolder(
            table=self.table,
            fold=notify.fold,
            word=notify.worded,
            now=self.clock(),
            beside=self._for_chat,
        )
        action = folder.decide(action)
        if action.result is not None:
            return action.result
        at_once = threads.at_once(effect.notices, action.folded or {})
        sent = threads.messages(at_once, notify.digest_over, datetime.fromisoformat(action.at))
        result: dict[str, Any] = {
            "message_ids": [self._publish(notify.worded(notice)) for notice in sent]
        }
        return result | ({"folded_into": digests} if (digests := action.digests) else {})

    def chat(self, action: Action, effect: Chat) -> Any:
        """
        Send the messages to the chat; return None if that fails: the sweep hands on the rest.

        The stream must not deliver it again, because stops would wait behind it.
        """
        if not self.chat_topic_arn:
            return {"overtaken": "there is no topic for a chat any more"}
        sent: list[str] = []
        for message in effect.messages:
            attributes = {**message["metadata"]["additionalContext"]}
            del attributes["id"]
            try:
                answer = self.sns.publish(
                    TopicArn=self.chat_topic_arn,
                    Message=json.dumps(message, ensure_ascii=False),
                    MessageAttributes=_as_strings(attributes),
                )
            except (BotoCoreError, ClientError) as error:
                logger.warning("the chat is told later: %s", error)
                Actions(self.table).keep(action, replace(action.progress, seen=len(sent)))
                return None
            sent.append(str(answer["MessageId"]))
        return {"message_ids": sent}

    def _for_chat(
        self, action: Action, at_once: Sequence[Notice], names: Mapping[str, str]
    ) -> list[Chat]:
        """Return the effects that send these notices to a chat; `names` are their threads by id."""
        if not self.chat_topic_arn:
            return []
        notify = self.policy().notify
        most = min(notify.digest_over, chat.MESSAGES_MAX)
        sent = threads.messages(at_once, most, datetime.fromisoformat(action.at))
        every = set(names.values())
        of_all = every.pop() if len(every) == 1 else ""  # for a digest of them
        messages = (
            chat.chat_message(
                notify.worded(notice),
                names.get(notice.id) or notice.facts.get("thread") or of_all,
                notify.say,
            )
            for notice in sent
        )
        return [Chat(messages=tuple(map(dict, messages)), of=action.sk)]

    def _publish(self, notice: Notice) -> str:
        answer = self.sns.publish(
            TopicArn=self.topic_arn,
            Subject=notice.subject,
            MessageStructure="json",
            Message=json.dumps(
                {
                    "default": json.dumps(message_of(notice), ensure_ascii=False),
                    "email": notice.text,
                },
                ensure_ascii=False,
            ),
            MessageAttributes=_as_strings(attributes_of(notice)),
        )
        return str(answer["MessageId"])


def _as_strings(attributes: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {
        name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
    }
