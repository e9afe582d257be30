"""
Carry out decided actions, as the table's stream delivers them.

An action that changes something in AWS Batch is checked again just before the call: against the
operator's hold, the policy in force, the exemptions, the guards, what Batch shows of the jobs, and
what events have reported about them. What is not meant any more is left out, and the result says
why. The code that asked for it checks again, and decides anew.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import batched
from typing import Any, assert_never

from batch_watchdog.actions import stop_rules
from batch_watchdog.actions.stop_rules import Grounds
from batch_watchdog.arrays.own_failures import with_own_failures
from batch_watchdog.aws.batch import STOP_MAX, BatchApi, Detail
from batch_watchdog.aws.queues import StopQueue
from batch_watchdog.core.effects import Announce, Chat, SetQueueState, StartRun, StopJobs
from batch_watchdog.core.errors import OutOfTimeError, StaleItemError, UnreadPolicyError
from batch_watchdog.guards import items as guard_items
from batch_watchdog.limits import exemption_items, sighting_items
from batch_watchdog.limits.stop_results import settled, shows_it
from batch_watchdog.measures.measures import Meter, of_action
from batch_watchdog.policy.child_tags import TaggedJobs
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.actions import Action, Actions, Progress, to_action
from batch_watchdog.store.item_codec import from_image
from batch_watchdog.store.table import Table
from batch_watchdog.use_cases.announce import Announcer
from batch_watchdog.use_cases.queue_state import QueueStateSetter

# A stop that is this late is not carried out: the code that asked for it decides anew.
_STALE = timedelta(minutes=5)
# Events that arrive later than this are rare; older ones were known when the stop was decided.
_UNKNOWN_TO_THEM = timedelta(minutes=15)
# Service jobs take one call each to describe, and the first answers must not be out of date.
_SERVICE_AT_ONCE = 10
_ANEW = "it is decided anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Carries out actions. `clock` returns the present time."""

    table: Table
    batch: BatchApi
    announcer: Announcer
    stop_queue: StopQueue
    policy: Callable[[], Policy]
    clock: Callable[[], datetime]
    meter: Meter = lambda _: None

    @property
    def _queues(self) -> QueueStateSetter:
        return QueueStateSetter(
            table=self.table, batch=self.batch, policy=self.policy, clock=self.clock
        )

    def carry_out(self, image: Mapping[str, Any], *, out_of_time: Callable[[], bool]) -> None:
        """
        Carry out one action, given as the stream's image of it, and record the result.

        An action that has a result is not carried out again. One whose result could not be
        recorded is carried out again, so each must be safe to repeat.

        Raises:
            OutOfTimeError: there is no time left. The next try continues where this one ended.
            StaleItemError: another try works on the same jobs. The stream delivers it again.
        """
        delivered = to_action(from_image(image))
        actions = Actions(self.table)
        action = actions.get(delivered.pk, delivered.sk)
        if action is None or action.result is not None:
            return
        if out_of_time():
            raise OutOfTimeError(action.sk)
        result = self._do(action, out_of_time)
        if result is None:
            return
        self.meter([*of_action(action.effect, result)])
        if isinstance(action.effect, StopJobs | Announce):  # Progress was saved on the way.
            action = actions.get(action.pk, action.sk)
        while action and action.result is None:
            try:
                actions.record(action, result, settled(self.table, action, result, self.clock()))
            except StaleItemError:
                # Another writer has changed the action, or what is written with it: read it again.
                action = actions.get(action.pk, action.sk)
            else:
                if isinstance(action.effect, SetQueueState) and "state" in result:
                    self._queues.done(action.effect)
                return

    def _do(self, action: Action, out_of_time: Callable[[], bool]) -> Any:
        """Carry out an action; return its result, or None if the sweep is to hand it on later."""
        match effect := action.effect:
            case Announce():
                return self.announcer.announce(action, effect)
            case Chat():
                return self.announcer.chat(action, effect)
            case StopJobs():
                return self._stop(action, effect, out_of_time)
            case SetQueueState():
                return self._queues.set_state(action, effect)
            case StartRun():
                self.stop_queue.send(effect.run_id)
                return {"sent": effect.run_id}
            case _:
                assert_never(effect)

    def _stop(self, action: Action, stop: StopJobs, out_of_time: Callable[[], bool]) -> Any:
        if not stop_rules.says_on_what_it_rests(stop):
            return {"overtaken": f"{_ANEW}: an older version of the watchdog asked for it"}
        progress, asked_at = action.progress, datetime.fromisoformat(action.at)
        tried = progress.asked  # by tries before this one
        places = range(progress.seen, len(stop.job_ids))
        at_once = _SERVICE_AT_ONCE if stop.service else STOP_MAX
        failed = list(self.batch.children(stop.array_id, "FAILED")) if stop.array_id else []
        for some in batched(places, at_once, strict=False):
            if some[0] > action.progress.seen and out_of_time():
                # A StaleItemError says that another try of the action has come further, or ended.
                with suppress(StaleItemError):
                    Actions(self.table).keep(action, progress)
                raise OutOfTimeError(action.sk)
            if stop.status or stop.array_id:
                action = _begun(self.table, action, replace(progress, asked=some[-1] + 1))
            shown = _shown(self.batch, stop, some, failed)
            # In both cases the code that asked for the stop checks again.
            held = operator_hold.read(self.table)
            if held.is_on:
                return progress.ended(held_by=held.by)
            if self.clock() > asked_at + _STALE:
                return progress.ended(overtaken=f"{_ANEW}: it came too late")
            progress = replace(progress, asked=tried)
            try:
                progress = self._stop_some(stop, some, shown, progress, asked_at)
            except UnreadPolicyError as error:
                return progress.ended(overtaken=f"{_ANEW}: {error}")
        return progress.result

    def _stop_some(
        self,
        stop: StopJobs,
        places: Sequence[int],
        shown: Mapping[str, Mapping[str, Any]],
        progress: Progress,
        asked_at: datetime,
    ) -> Progress:
        """Stop those of the jobs whose stop, decided at `asked_at`, is still meant."""
        now = self.clock()
        grounds = Grounds(
            policy=self.policy(),  # before any call that stops a job
            now=now,
            exempt=exemption_items.read_all(self.table, now).keys() if stop.status else (),
            guards=guard_items.read_all(self.table) if stop.guard else {},
            array=shown.get(stop.array_id),
            seen_since=_seen_since(self.table, stop, places, now, asked_at) if stop.status else {},
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
                taken += 1  # accepted by Batch in an earlier try
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


def _begun(table: Table, action: Action, progress: Progress) -> Action:
    """
    Record that Batch is about to be called, so that it is known if this try ends without an answer.

    Only stops by limits and by rules of arrays use this record, and they are never many.
    """
    actions = Actions(table)
    while True:
        try:
            return actions.keep(action, progress)
        except StaleItemError:
            latest = actions.get(action.pk, action.sk)
            if latest is None or latest.version != action.version:
                raise


def _shown(
    batch: BatchApi, stop: StopJobs, places: Sequence[int], failed: Sequence[Detail]
) -> Mapping[str, Mapping[str, Any]]:
    """
    Return what Batch shows of these jobs, and of the array whose rule asked for the stop.

    `failed` are the children of that array that Batch lists as FAILED.
    """
    job_ids = [stop.job_ids[place] for place in places]
    if stop.service:
        return batch.describe_service(job_ids)
    jobs = TaggedJobs(batch.describe)
    shown = jobs.described([*job_ids, *([stop.array_id] if stop.array_id else [])])
    array = shown.get(stop.array_id)
    if array is None:
        return shown
    # If the stop is for its children, the rule has stopped the array itself before.
    by_rule = stop.array_id not in stop.job_ids
    return {**shown, stop.array_id: with_own_failures(array, failed, stopped_by_rule=by_rule)}


def _seen_since(
    table: Table, stop: StopJobs, places: Sequence[int], now: datetime, asked_at: datetime
) -> Mapping[str, datetime]:
    """
    Return when an event last reported each of these jobs. Older events were known at the decision.

    A stop that `escalates` is for jobs that are known to have started. For these, only an event
    that the job waits again counts.
    """
    job_ids = {stop.job_ids[place] for place in places}
    seen = sighting_items.read(table, now - _UNKNOWN_TO_THEM, job_ids)
    known_times = {
        job_id: [
            each.at
            for each in of_job
            if not stop.escalates or (each.status == "RUNNABLE" and each.at >= asked_at)
        ]
        for job_id, of_job in seen.items()
    }
    return {job_id: max(times) for job_id, times in known_times.items() if times}
