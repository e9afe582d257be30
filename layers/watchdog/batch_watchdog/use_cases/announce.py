"""Send notices to the topic; fold what follows on the same cause."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch_watchdog.core.effects import Announce
from batch_watchdog.notices.message import message_of
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.actions import Action
from batch_watchdog.store.table import Table
from batch_watchdog.threads import workflow as threads
from batch_watchdog.threads.workflow import NoticeFolder

_ATTRIBUTES = ("queue", "job_name", "mode")  # facts that subscribers may filter by


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcer:
    """Sends the notices of actions. `sns` is a boto3 client; `clock` says what time it is."""

    table: Table
    sns: Any
    topic_arn: str
    policy: Callable[[], Policy]
    clock: Callable[[], datetime]

    def announce(self, action: Action, effect: Announce) -> Any:
        notify = self.policy().notify
        folder = NoticeFolder(
            table=self.table, fold=notify.fold, word=notify.worded, now=self.clock()
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

    def _publish(self, notice: Notice) -> str:
        attributes = {"notice": notice.kind, "severity": notice.severity} | {
            name: shown
            for name in _ATTRIBUTES
            # SNS refuses an empty attribute, and a name may have nothing in it to be shown.
            if (shown := plain(str(notice.facts.get(name) or "")))
        }
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
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
            },
        )
        return str(answer["MessageId"])
