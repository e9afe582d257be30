"""
Carry out decided actions, as the table's stream delivers them.

What changes something in AWS Batch is judged again in the second of the call: by the operator's
hold, the policy in force, the exemptions, the guards, what Batch shows of the jobs, and what events
have told of them. What is not meant any more is left out, and the result says why. Those who asked
look again, and decide anew.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import batched
from typing import Any, assert_never

from botocore.exceptions import ClientError

from batch_watchdog.actions import stop_rules
from batch_watchdog.actions.stop_rules import Grounds
from batch_watchdog.aws.batch import PASSING, STOP_MAX, BatchApi
from batch_watchdog.aws.queues import StopQueue
from batch_watchdog.core.effects import Announce, SetQueueState, StartRun, StopJobs
from batch_watchdog.core.errors import OutOfTimeError, StaleItemError
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import precedence, queue_update_items
from batch_watchdog.guards.queue_update_items import QueueUpdate
from batch_watchdog.limits import exemption_items, sighting_items
from batch_watchdog.limits.stop_results import settled, shows_it
from batch_watchdog.notices.notice import Notice, digest
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.actions import Action, Actions, Progress, to_action
from batch_watchdog.store.item_codec import from_image
from batch_watchdog.store.table import Table

# A stop that comes so late after it was asked for is left to those who asked for it.
_STALE = timedelta(minutes=5)
# Events that come so late are rare; what is older was known to those who asked for the stop.
_UNKNOWN_TO_THEM = timedelta(minutes=15)
# Service jobs are described one by one, and what is shown of the first must not grow old.
_SERVICE_AT_ONCE = 10
_REFUSED_AGAIN = timedelta(minutes=1)  # until a refused update of a queue is looked at
_WHY_MAX = 500  # characters of an error
_ANEW = "it is decided anew"
# A closing that was refused, and then the reopening of the same queue.
_DONE_KEPT = timedelta(minutes=20)  # longer than any try of an action waits for its turn
_NO_ANSWER = "AWS Batch has not answered yet"
_NEVER_CLOSED = ("DISABLED", "ENABLED")
_ATTRIBUTES = ("queue", "job_name", "mode")  # facts that subscribers may filter by


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Carries out actions. `sns` is a boto3 client; `clock` says what time it is."""

    table: Table
    batch: BatchApi
    sns: Any
    topic_arn: str
    stop_queue: StopQueue
    policy: Callable[[], Policy]
    clock: Callable[[], datetime]

    def carry_out(self, image: Mapping[str, Any], *, out_of_time: Callable[[], bool]) -> None:
        """
        Carry out one action, given as the stream's image of it, and record the result.

        An action that has a result is not carried out again. One whose result could not be
        recorded is, so each must bear repeating.

        Raises:
            OutOfTimeError: there is no time left. The next try goes on where this one ended.
            StaleItemError: another try is at work on the same jobs. The stream brings it again.
        """
        delivered = to_action(from_image(image))
        actions = Actions(self.table)
        action = actions.get(delivered.pk, delivered.sk)
        if action is None or action.result is not None:
            return
        if out_of_time():
            raise OutOfTimeError(action.sk)
        result = self._do(action, out_of_time)
        if isinstance(action.effect, StopJobs):  # How far it came was kept on the way.
            action = actions.get(action.pk, action.sk)
        while action and action.result is None:
            try:
                actions.record(action, result, settled(self.table, action, result, self.clock()))
            except StaleItemError:
                # Someone else did the same, and has recorded it: or has tried to, and failed.
                action = actions.get(action.pk, action.sk)
            else:
                if isinstance(action.effect, SetQueueState) and "state" in result:
                    self._done(action.effect)
                return

    def _do(self, action: Action, out_of_time: Callable[[], bool]) -> Any:
        effect = action.effect
        match effect:
            case Announce():
                return self._announce(effect)
            case StopJobs():
                return self._stop(action, effect, out_of_time)
            case SetQueueState():
                return self._set_queue_state(action, effect)
            case StartRun():
                self.stop_queue.send(effect.run_id)
                return {"sent": effect.run_id}
            case _:
                assert_never(effect)

    # ---- Stops ----------------------------------------------------------------------------

    def _stop(self, action: Action, stop: StopJobs, out_of_time: Callable[[], bool]) -> Any:
        if not stop_rules.says_on_what_it_rests(stop):
            return {"overtaken": f"{_ANEW}: an older version of the watchdog asked for it"}
        progress, asked_at = action.progress, datetime.fromisoformat(action.at)
        tried = progress.asked  # by tries before this one
        places = range(progress.seen, len(stop.job_ids))
        at_once = _SERVICE_AT_ONCE if stop.service else STOP_MAX
        for some in batched(places, at_once, strict=False):
            if some[0] > action.progress.seen and out_of_time():
                with suppress(
                    StaleItemError
                ):  # Another try of the same has come further, or ended.
                    Actions(self.table).keep(action, progress)
                raise OutOfTimeError(action.sk)
            if stop.status:
                action = self._begun(action, replace(progress, asked=some[-1] + 1))
            shown = self._shown(stop, some)
            # In both cases those who asked for it look again.
            held = operator_hold.read(self.table)
            if held.is_on:
                return progress.ended(held_by=held.by)
            if self.clock() > asked_at + _STALE:
                return progress.ended(overtaken=f"{_ANEW}: it came too late")
            progress = self._stop_some(stop, some, shown, replace(progress, asked=tried))
        return progress.result

    def _begun(self, action: Action, progress: Progress) -> Action:
        """
        Keep that Batch is about to be asked: should this try end without an answer, it is known.

        Only what limits stop rests on it, and that is never much.
        """
        actions = Actions(self.table)
        while True:
            try:
                return actions.keep(action, progress)
            except StaleItemError:
                latest = actions.get(action.pk, action.sk)
                if latest is None or latest.version != action.version:
                    raise

    def _shown(self, stop: StopJobs, places: Sequence[int]) -> Mapping[str, Mapping[str, Any]]:
        """What Batch shows of these jobs, and of the array whose rule asked for the stop."""
        job_ids = [stop.job_ids[place] for place in places]
        if stop.service:
            return self.batch.describe_service(job_ids)
        return self.batch.describe([*job_ids, *([stop.array_id] if stop.array_id else [])])

    def _stop_some(
        self,
        stop: StopJobs,
        places: Sequence[int],
        shown: Mapping[str, Mapping[str, Any]],
        progress: Progress,
    ) -> Progress:
        """Stop those of the jobs whose stop is still meant."""
        now = self.clock()
        grounds = Grounds(
            policy=self.policy(),
            now=now,
            exempt=exemption_items.read_all(self.table, now).keys() if stop.status else (),
            guards=guard_items.read_all(self.table) if stop.guard else {},
            array=shown.get(stop.array_id),
            seen_since=self._seen_since(stop, places, now) if stop.status else {},
        )
        meant: list[str] = []
        taken = 0
        not_meant = {why: [*job_ids] for why, job_ids in progress.not_meant.items()}
        for place in places:
            job_id = stop.job_ids[place]
            detail = shown.get(job_id)
            if not (why := stop_rules.why_not(stop, place, detail, grounds)):
                meant.append(job_id)
            elif place < progress.asked and detail and shows_it(detail, stop.reason):
                taken += 1  # by Batch, when the try before this one asked
            else:
                not_meant.setdefault(why, []).append(job_id)
        refused: Mapping[str, str] = {}
        if meant:
            refused = self.batch.stop(stop.how, meant, stop.reason, service=stop.service)
        return replace(
            progress,
            seen=places[-1] + 1,
            accepted=progress.accepted + taken + len(meant) - len(refused),
            refused={**progress.refused, **refused},
            not_meant=not_meant,
        )

    def _seen_since(
        self, stop: StopJobs, places: Sequence[int], now: datetime
    ) -> Mapping[str, datetime]:
        """When events have last told of these jobs. What is older was known to those who asked."""
        job_ids = {stop.job_ids[place] for place in places}
        seen = sighting_items.read(self.table, now - _UNKNOWN_TO_THEM, job_ids)
        return {job_id: max(each.at for each in of_job) for job_id, of_job in seen.items()}

    # ---- Queues ---------------------------------------------------------------------------

    def _set_queue_state(self, action: Action, effect: SetQueueState) -> Any:
        states = guard_items.read_all(self.table)
        verdict, why = precedence.judge_queue(effect, states, self.policy(), self.clock())
        if verdict == "drop":
            if any(effect.queue in state.closed for state in states.values()):
                # The guard takes the queue for closed by it: the sweep looks whether it is.
                self._remember(effect, why=why, refused=False)
            return {"overtaken": why}
        while (held := operator_hold.read(self.table)).is_on:
            queues = {**held.queues, effect.queue: effect}
            with suppress(StaleItemError):  # Then it may be over by now.
                self.table.write([operator_hold.put(replace(held, queues=queues))])
                return {"held_by": held.by}
        known = queue_update_items.read(self.table).by_queue.get(effect.queue)
        if known and known.refused and (known.effect.state, effect.state) == _NEVER_CLOSED:
            self._forget(effect.queue)
            return {"overtaken": "the queue was never closed, as AWS Batch refused it"}
        if verdict == "wait":
            self._remember(effect, why=why, refused=False)
            return {"waits": why}
        call = self._begin_update(effect)
        try:
            self.batch.set_queue_state(effect.queue, effect.state)
        except ClientError as error:
            details = error.response["Error"]
            if details["Code"] in PASSING:
                raise
            why = plain(f"{details['Code']}: {details.get('Message', '')}", _WHY_MAX)
            latest = Actions(self.table).get(action.pk, action.sk)
            if latest is None or latest.result is None:
                self._remember(effect, why=why, refused=True, call=call)
            return {"refused": why}
        return {"state": effect.state}

    def _begin_update(self, effect: SetQueueState) -> int:
        """
        Keep that Batch is asked now; the number of this call, or 0 where another has no answer yet.

        Until there is an answer, nobody knows which state the queue is in: the call of another try
        of this action may be what makes Batch refuse ours.
        """
        while True:
            updates, now = queue_update_items.read(self.table), self.clock()
            known = updates.by_queue.get(effect.queue)
            if known is None or known.effect.state != effect.state:
                known = QueueUpdate(
                    effect=effect,
                    since=now,
                    due_at=now + _REFUSED_AGAIN,
                    why=_NO_ANSWER,
                    refused=True,  # No call of it has been made.
                )
            update = replace(known, refused=False, calls=known.calls + 1)
            with suppress(StaleItemError):  # Another try has begun just now.
                self.table.write([queue_update_items.put(updates.having(effect.queue, update))])
                return update.calls if known.refused else 0

    def _remember(self, effect: SetQueueState, *, why: str, refused: bool, call: int = 0) -> None:
        """
        Keep an update of a queue for the sweep to look at.

        It counts as `refused` only where `call` is the only one since the last refusal.
        """
        now = self.clock()
        while True:
            updates = queue_update_items.read(self.table)
            known = updates.by_queue.get(effect.queue)
            is_only_call = known is not None and call == known.calls > 0
            if known is None or known.effect.state != effect.state:
                known = QueueUpdate(effect=effect, since=now, due_at=now + _REFUSED_AGAIN, why=why)
            update = replace(
                known,
                due_at=max(known.due_at, now + _REFUSED_AGAIN),
                why=why,
                refused=refused and is_only_call,
            )
            with suppress(StaleItemError):
                self.table.write([queue_update_items.put(updates.having(effect.queue, update))])
                return

    def _done(self, effect: SetQueueState) -> None:
        """Keep for a while that an update was made: other tries of it may still be refused."""
        while True:
            updates = queue_update_items.read(self.table)
            known = updates.by_queue.get(effect.queue)
            if known is None or known.effect.state != effect.state:
                return
            update = replace(known, done=True, refused=False, due_at=self.clock() + _DONE_KEPT)
            with suppress(StaleItemError):
                self.table.write([queue_update_items.put(updates.having(effect.queue, update))])
                return

    def _forget(self, queue: str) -> None:
        """Drop what was kept of a queue: it is as it is to be."""
        while queue in (updates := queue_update_items.read(self.table)).by_queue:
            with suppress(StaleItemError):
                self.table.write([queue_update_items.put(updates.having(queue, None))])

    # ---- Notices --------------------------------------------------------------------------

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
