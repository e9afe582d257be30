"""Handle the events of AWS Batch, one batch of queue messages at a time."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from batch_watchdog.arrays.items import Arrays
from batch_watchdog.arrays.workflow import ArrayTracker
from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.aws.queues import DeadLetters
from batch_watchdog.blocked_queues import workflow as blocked_workflow
from batch_watchdog.budgets.arrivals import BudgetIntake
from batch_watchdog.core.batch_payloads import parse_event
from batch_watchdog.core.effects import Announce
from batch_watchdog.core.errors import MalformedEventError
from batch_watchdog.core.job_event import JobEvent, QueueBlocked
from batch_watchdog.failed_jobs import chains
from batch_watchdog.failed_jobs import notices as failed_job_notices
from batch_watchdog.failed_jobs import workflow as failed_jobs
from batch_watchdog.guards.arrivals import ArrivalStopper
from batch_watchdog.limits import sighting_items, stay_items, stays
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.once import OnceKey
from batch_watchdog.store.reminders import Reminders
from batch_watchdog.store.reminders import put as wheel_put
from batch_watchdog.store.table import Table


@dataclass(frozen=True, slots=True)
class Message:
    """An SQS message: its id, its text, and when it was sent to the queue."""

    id: str
    body: str
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEventIntake:
    table: Table
    batch: BatchApi
    dead_letters: DeadLetters
    policy: Callable[[], Policy]
    clock: Callable[[], datetime]

    def observe(self, messages: Sequence[Message]) -> list[str]:
        """
        Handle a batch of messages. Each may be a repeat, or may arrive late.

        A message that is malformed is kept as a dead letter, with the reason.

        Returns:
            The ids of messages that lost a race with another batch, to be delivered again.
        """
        changes: dict[str, JobEvent] = {}
        blocked: dict[str, QueueBlocked] = {}
        for message in messages:
            try:
                event = parse_event(message.body)
            except MalformedEventError as error:
                self.dead_letters.keep(message.body, str(error))
            else:
                if isinstance(event, JobEvent):
                    changes[message.id] = event
                else:
                    blocked[message.id] = event
        sent_at = max(message.sent_at for message in messages)
        # A batch may be handled long after it was sent. An entry that is filed for a minute that
        # the sweep has already passed would never be read.
        now = max(sent_at, self.clock())
        changes = self._with_parents_known(changes)
        bodies = {message.id: message.body for message in messages}
        BudgetIntake(table=self.table, batch=self.batch, policy=self.policy()).file(
            changes, bodies, now
        )
        self._stays(changes.values(), sent_at, now)
        return [
            *self._arrivals(changes, now),
            *self._arrays(changes, now),
            *self._failures(changes, now),
            *self._blocked(blocked, now),
        ]

    def _with_parents_known(self, changes: dict[str, JobEvent]) -> dict[str, JobEvent]:
        """Return the changes; a failed single job becomes an array if its children are known."""
        lone = {
            change.job_id
            for change in changes.values()
            if change.kind == "single" and change.status == "FAILED"
        }
        parents = lone & {change.parent_id for change in changes.values()}
        parents |= Arrays(self.table).heads(lone - parents).keys()
        return {
            message_id: replace(change, kind="array") if change.job_id in parents else change
            for message_id, change in changes.items()
        }

    def _arrivals(self, changes: dict[str, JobEvent], now: datetime) -> list[str]:
        watch = ArrivalStopper(table=self.table, batch=self.batch, policy=self.policy(), now=now)
        return watch.observe(changes)

    def _stays(self, changes: Collection[JobEvent], sent_at: datetime, now: datetime) -> None:
        policy = self.policy()
        # Sightings first: once a reminder of a stay exists, they can show that it is over.
        sighting_items.file(self.table, stays.sightings(changes, sent_at), sent_at)
        begun = (stays.begin(change, policy, now) for change in changes)
        due = stay_items.entries(filter(None, begun), now, policy=policy.version)
        Reminders(self.table).file(due)

    def _blocked(self, events: dict[str, QueueBlocked], now: datetime) -> list[str]:
        by_queue: dict[str, dict[str, QueueBlocked]] = defaultdict(dict)
        for message_id, event in events.items():
            by_queue[event.queue][message_id] = event

        def decide(queue: str) -> Outcome:
            return blocked_workflow.take_in(self.table, queue, by_queue[queue].values(), now)

        lost = Recorder(table=self.table, asked_by="job_events").decide(by_queue, decide, now)
        return [message_id for queue in lost for message_id in by_queue[queue]]

    def _arrays(self, changes: dict[str, JobEvent], now: datetime) -> list[str]:
        watch = ArrayTracker(table=self.table, batch=self.batch, policy=self.policy())
        by_array: dict[str, dict[str, JobEvent]] = defaultdict(dict)
        for message_id, change in changes.items():
            if change.kind in ("array", "child"):
                by_array[change.parent_id or change.job_id][message_id] = change

        def decide(job_id: str) -> Outcome:
            return watch.observe(job_id, list(by_array[job_id].values()), now)

        lost = Recorder(table=self.table, asked_by="job_events").decide(by_array, decide, now)
        return [message_id for job_id in lost for message_id in by_array[job_id]]

    def _failures(self, changes: dict[str, JobEvent], now: datetime) -> list[str]:
        policy = self.policy()
        if not policy.notify.job_failures:
            return []
        news = {
            message_id: change
            for message_id, change in changes.items()
            if failed_job_notices.is_news(change)
        }
        arrays = (change for change in changes.values() if change.kind == "array")
        fallen = [change for change in arrays if change.followed]
        held = chains.held([*news.values(), *fallen])
        entries = {
            message_id: OnceKey(f"job-failed:{change.job_id}", change.at)
            for message_id, change in news.items()
        }

        def decide(fresh: Sequence[str]) -> Outcome:
            failures = [news[message_id] for message_id in fresh]
            kept = [change for change in failures if change.job_id in held]
            puts = [wheel_put(entry) for entry in failed_jobs.reminders(kept, now)]
            notices = tuple(
                failed_job_notices.job_failed(change)
                for change in failures
                if change.job_id not in held
            )
            effects = [Announce(notices=notices)] if notices else []
            return Outcome(puts=puts, effects=effects)

        written = Recorder(table=self.table, asked_by="job_events").once(entries, decide, now)
        written.raise_failed()
        return list(written.lost)
