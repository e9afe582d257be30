"""Track arrays, from events and from AWS Batch's answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from batch_watchdog.arrays import filling, progress
from batch_watchdog.arrays import notices as array_notices
from batch_watchdog.arrays import rules as array_rules
from batch_watchdog.arrays.fallen import as_follower, fell_with_another
from batch_watchdog.arrays.items import Arrays
from batch_watchdog.arrays.own_failures import with_own_failures
from batch_watchdog.arrays.progress import Array, Part
from batch_watchdog.arrays.rules import ArrayDecision
from batch_watchdog.aws.batch import BatchApi, Detail
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import Announce
from batch_watchdog.core.job_event import JobEvent, blames_a_dependency
from batch_watchdog.failed_jobs import workflow as failed_jobs
from batch_watchdog.limits import stop_results
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import reminders as reminder_items
from batch_watchdog.store.actions import Actions
from batch_watchdog.store.decisions import Outcome
from batch_watchdog.store.item_codec import pack
from batch_watchdog.store.reminders import Reminder
from batch_watchdog.store.table import Table


def reminder(job_ids: Iterable[str], now: datetime) -> Reminder:
    """Build the reminder to ask Batch about these arrays in the next minute."""
    minute = reminder_items.minute_of(now) + reminder_items.MINUTE
    return Reminder(minute=minute, kind="array", content=pack(sorted(job_ids)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayTracker:
    """Tracks arrays, for job_events and for the sweep. `held`: an operator holds all stops."""

    table: Table
    batch: BatchApi
    policy: Policy
    held: bool = False

    def handle(self, job_id: str, events: Sequence[JobEvent], now: datetime) -> Outcome:
        """
        Process one array's changes: write its parts, and return what else is to be written.

        Raises:
            StaleItemError: another invocation wrote one of the parts meanwhile.
        """
        store = Arrays(self.table)
        children = [event for event in events if event.kind == "child" and event.ended]
        numbers = {progress.part_of(child.index) for child in children}
        known, before = store.read(job_id, numbers)
        if known and known.announced:
            return Outcome()
        array = known or progress.begin(min(events, key=lambda event: event.at))
        for event in events:
            array = progress.take_in(array, event)
        parts = {
            number: progress.unite(
                part, [child for child in children if progress.part_of(child.index) == number]
            )
            for number, part in before.items()
        }
        for number, part in parts.items():
            if part != before[number]:
                self.table.write([store.put_part(job_id, part, now)])
        if array != known or any(progress.may_be_done(array, part) for part in parts.values()):
            return self._conclude(array, known, now)
        return Outcome()

    def _conclude(self, array: Array, known: Array | None, now: datetime) -> Outcome:
        store = Arrays(self.table)
        if array.size is not None:
            parts = store.all_parts(array)
            # An event may lack tags that Batch shows: if tags may silence an array, the sweep
            # announces it. If its own reason blames a dependency, no child's event is awaited.
            done = progress.is_done(array, parts) or (
                blames_a_dependency(array.reason) and fell_with_another(array, parts)
            )
            if done and not self.policy.silence_depends_on_tags:
                return self.announce(array, parts, now)
        if array == known:
            return Outcome()
        # The sweep asks Batch for what events leave out, from the next minute on.
        reminders = [] if known else [reminder_items.put(reminder([array.job_id], now))]
        return Outcome(puts=[store.put(array, now), *reminders])

    def ask(self, job_id: str, detail: Detail | None, now: datetime) -> Outcome:
        """
        Compare what is known of an array with what Batch answered about its parent.

        `detail` is None where Batch has forgotten the job.
        """
        store = Arrays(self.table)
        known, _ = store.read(job_id, ())
        if known is None or known.announced:
            return Outcome()
        array = progress.ask(known, detail, now) if detail else known
        if array.ended_at is None:
            return self._under_way(array, known, detail, now)
        parts = store.all_parts(array)
        if progress.is_done(array, parts):
            return self.announce(array, parts, now)
        if progress.lacks_only_stragglers(array, now) or (
            detail is None and not progress.is_forgotten(array, now)
        ):
            return Outcome(puts=[store.put(array, now)] if array != known else [])
        return self.announce(array, self._filled(array, parts) if detail else parts, now)

    def _under_way(
        self, array: Array, known: Array, detail: Detail | None, now: datetime
    ) -> Outcome:
        if detail is None:
            return Outcome()
        stopped = self._after_stop(array)
        array = stopped.array
        summary = self._summary(array, detail, now)
        # Where Batch shows no tags, `act` would stop nothing.
        held = self.held or detail.get("tags") is None
        decision = array_rules.decide(array, summary, self.policy, now, held=held)
        if not held and array_rules.has_outlived_its_stop(array, summary, self.policy, now):
            alive = [child["jobId"] for child in self.batch.live_children(array.job_id)]
            decision = array_rules.stop_children(array, alive, self.policy, now)
        changed = decision.array != known
        puts = [Arrays(self.table).put(decision.array, now)] if changed else []
        return Outcome(puts=puts, effects=[*stopped.effects, *decision.effects])

    def _summary(self, array: Array, detail: Detail, now: datetime) -> Mapping[str, int]:
        """Return the number of children in each state; where it matters, stops are separate."""
        summary: Mapping[str, int] = detail.get("arrayProperties", {}).get("statusSummary", {})
        if not array_rules.asks_who_failed(array, summary, self.policy, now):
            return summary
        failed = self.batch.children(array.job_id, "FAILED")
        by_rule = array.rest_stopped_at is not None
        shown = with_own_failures(detail, failed, stopped_by_rule=by_rule)
        told_apart: Mapping[str, int] = shown["arrayProperties"]["statusSummary"]
        return told_apart

    def _after_stop(self, array: Array) -> ArrayDecision:
        """Decide by the result of the array's stop, as far as it is known."""
        if array.rest_stopped_at is None or not array.rest_stopped_by or array.rest_stop_known:
            return ArrayDecision(array=array)
        recorded = Actions(self.table).recorded_at(array.rest_stopped_at)
        result = stop_results.of_array(recorded, array.job_id)
        if result is None or result.outcome in ("refused", "not asked"):
            return array_rules.leave(array, result.why if result else "it was not carried out")
        return ArrayDecision(array=replace(array, rest_stop_known=result.outcome != "open"))

    def _filled(self, array: Array, parts: Sequence[Part]) -> list[Part]:
        """Return the parts, with failures that Batch lists in place of those from events."""
        at = array.ended_at or array.first_at
        listed = [event_from_detail(job, at) for job in self.batch.children(array.job_id, "FAILED")]
        filled = filling.correct(array, parts, listed)
        lacking = [f"{array.job_id}:{index}" for index in filling.without_log(filled)]
        details = self.batch.describe(lacking).values()
        return filling.with_logs(filled, [event_from_detail(job, at) for job in details])

    def announce(self, array: Array, parts: Iterable[Part], now: datetime) -> Outcome:
        """
        Announce once that an array is done: the same write marks it as announced.

        An array that failed only with a job that it depends on is announced with that job's
        failure, if the policy notifies of job failures.
        """
        array = self._after_stop(array).array
        rule, parts = self.policy.array_rule_for(array), list(parts)
        told = Arrays(self.table).put(replace(array, announced=True), now)
        if rule and rule.silent:
            return Outcome(puts=[told])
        if self.policy.notify.job_failures and fell_with_another(array, parts):
            kept = failed_jobs.reminders([as_follower(array)], now)
            return Outcome(puts=[told, *map(reminder_items.put, kept)])
        notice = array_notices.completed(array, parts)
        return Outcome(puts=[told], effects=[Announce(notices=(notice,))])
