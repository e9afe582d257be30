"""Carrying out what has been decided: actions, as the table's stream hands them on."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from batch_watchdog import holds
from batch_watchdog.batch_api import BatchApi
from batch_watchdog.effects import Announce, SetQueueState, StartRun, StopJobs
from batch_watchdog.errors import StaleItemError
from batch_watchdog.notices import Notice, digest, plain
from batch_watchdog.stop_queue import StopQueue
from batch_watchdog.store import cursor as cursors
from batch_watchdog.store import guards, operator_hold
from batch_watchdog.store.actions import Action, Actions, to_action
from batch_watchdog.store.table import Table, from_image

# A stop that comes so late after it was asked for may meet a job that has long moved on.
_STALE = timedelta(minutes=5)
_ATTRIBUTES = ("queue", "job_name", "mode")  # facts that subscribers may filter by


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Carries out actions. `sns` is a boto3 client."""

    table: Table
    batch: BatchApi
    sns: Any
    topic_arn: str
    stop_queue: StopQueue

    def carry_out(self, image: Mapping[str, Any]) -> None:
        """
        Carry out one action, given as the stream's image of it, and record the result.

        An action that has a result is not carried out again. One whose result could not be
        recorded is, so each must bear repeating.
        """
        delivered = to_action(from_image(image))
        actions = Actions(self.table)
        action = actions.get(delivered.pk, delivered.sk)
        if action is None or action.result is not None:
            return
        result = self._do(action)
        while action and action.result is None:
            try:
                actions.record(action, result)
            except StaleItemError:
                # Someone else did the same, and has recorded it: or has tried to, and failed.
                action = actions.get(action.pk, action.sk)
            else:
                return

    def _do(self, action: Action) -> Any:
        effect = action.effect
        match effect:
            case Announce():
                return self._announce(effect)
            case StopJobs():
                return self._stop(effect, datetime.fromisoformat(action.at))
            case SetQueueState():
                return self._set_queue_state(effect)
            case StartRun():
                self.stop_queue.send(effect.run_id)
                return {"sent": effect.run_id}
            case _:
                assert_never(effect)

    def _stop(self, effect: StopJobs, asked_at: datetime) -> Any:
        # In both cases whoever asked for it looks again, and decides anew.
        held = operator_hold.read(self.table)
        if held.is_on:
            return {"held_by": held.by}
        if cursors.read(self.table, asked_at).minute > asked_at + _STALE:
            return {"overtaken": True}
        refused = self.batch.stop(effect.how, effect.job_ids, effect.reason, service=effect.service)
        return {"accepted": len(effect.job_ids) - len(refused), "refused": refused}

    def _set_queue_state(self, effect: SetQueueState) -> Any:
        if not holds.is_still_wanted(effect, guards.read_all(self.table).values()):
            return {"overtaken": True}
        while (held := operator_hold.read(self.table)).is_on:
            queues = {**held.queues, effect.queue: effect}
            with suppress(StaleItemError):  # Then it may be over by now.
                self.table.write([operator_hold.put(replace(held, queues=queues))])
                return {"held_by": held.by}
        self.batch.set_queue_state(effect.queue, effect.state)
        return {"state": effect.state}

    def _announce(self, effect: Announce) -> Any:
        folded = len(effect.notices) > effect.digest_over
        notices = [digest(effect.notices)] if folded else effect.notices
        return {"message_ids": [self._publish(notice) for notice in notices]}

    def _publish(self, notice: Notice) -> str:
        facts = {
            "notice": notice.kind,
            "id": notice.id,
            "severity": notice.severity,
            "subject": notice.subject,
            "text": notice.text,
            "facts": notice.facts,
        }
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
                {"default": json.dumps(facts, ensure_ascii=False), "email": notice.text},
                ensure_ascii=False,
            ),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
            },
        )
        return str(answer["MessageId"])
