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

    def handle(self, messages: Sequence[Message]) -> list[str]:
        """
        Handle a batch of messages. Each may be a repeat, or may arrive late.

        A message that is malformed is kept as a dead letter, with the reason.

        Returns:
            The ids of messages that lost a race with another batch, to be delivered again.
        """
        job_events: dict[str, JobEvent] = {}
        blocked: dict[str, QueueBlocked] = {}
        for message in messages:
            try:
                event = parse_event(message.body)
            except MalformedEventError as error:
                self.dead_letters.keep(message.body, str(error))
            else:
                if isinstance(event, JobEvent):
                    job_events[message.id] = event
                else:
                    blocked[message.id] = event
        sent_at = max(message.sent_at for message in messages)
        # A batch may be handled long after it was sent. An entry that is filed for a minute that
        # the sweep has already passed would never be read.
        now = max(sent_at, self.clock())
        # Read once: while SSM does not answer, each reading may take many seconds.
        policy = self.policy()
        job_events = self._with_parents_known(job_events)
        bodies = {message.id: message.body for message in messages}
        BudgetIntake(table=self.table, batch=self.batch, policy=policy).file(
            job_events, bodies, now
        )
        self._stays(job_events.values(), policy, sent_at, now)
        watch = ArrivalStopper(table=self.table, batch=self.batch, policy=policy, now=now)
        return [
            *watch.handle(job_events),
            *self._arrays(job_events, policy, now),
            *self._failures(job_events, policy, now),
            *self._blocked(blocked, now),
        ]

    def _with_parents_known(self, job_events: dict[str, JobEvent]) -> dict[str, JobEvent]:
        """Return the changes; a failed single job becomes an array if its children are known."""
        lone = {
            job_event.job_id
            for job_event in job_events.values()
            if job_event.kind == "single" and job_event.status == "FAILED"
        }
        parents = lone & {job_event.parent_id for job_event in job_events.values()}
        parents |= Arrays(self.table).heads(lone - parents).keys()
        return {
            message_id: replace(job_event, kind="array")
            if job_event.job_id in parents
            else job_event
            for message_id, job_event in job_events.items()
        }

    def _stays(
        self, job_events: Collection[JobEvent], policy: Policy, sent_at: datetime, now: datetime
    ) -> None:
        # Sightings first: once a reminder of a stay exists, they can show that it is over.
        sighting_items.file(self.table, stays.sightings(job_events, sent_at), sent_at)
        begun = (stays.begin(job_event, policy, now) for job_event in job_events)
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

    def _arrays(self, job_events: dict[str, JobEvent], policy: Policy, now: datetime) -> list[str]:
        watch = ArrayTracker(table=self.table, batch=self.batch, policy=policy)
        by_array: dict[str, dict[str, JobEvent]] = defaultdict(dict)
        for message_id, job_event in job_events.items():
            if job_event.kind in ("array", "child"):
                by_array[job_event.parent_id or job_event.job_id][message_id] = job_event

        def decide(job_id: str) -> Outcome:
            return watch.handle(job_id, list(by_array[job_id].values()), now)

        lost = Recorder(table=self.table, asked_by="job_events").decide(by_array, decide, now)
        return [message_id for job_id in lost for message_id in by_array[job_id]]

    def _failures(
        self, job_events: dict[str, JobEvent], policy: Policy, now: datetime
    ) -> list[str]:
        if not policy.notify.job_failures:
            return []
        news = {
            message_id: job_event
            for message_id, job_event in job_events.items()
            if failed_job_notices.is_to_report(job_event)
        }
        arrays = (job_event for job_event in job_events.values() if job_event.kind == "array")
        fallen = [job_event for job_event in arrays if job_event.followed]
        held = chains.held([*news.values(), *fallen])
        entries = {
            message_id: OnceKey(f"job-failed:{job_event.job_id}", job_event.at)
            for message_id, job_event in news.items()
        }

        def decide(fresh: Sequence[str]) -> Outcome:
            failures = [news[message_id] for message_id in fresh]
            kept = [job_event for job_event in failures if job_event.job_id in held]
            puts = [wheel_put(entry) for entry in failed_jobs.reminders(kept, now)]
            notices = tuple(
                failed_job_notices.job_failed(job_event)
                for job_event in failures
                if job_event.job_id not in held
            )
            effects = [Announce(notices=notices)] if notices else []
            return Outcome(puts=puts, effects=effects)

        written = Recorder(table=self.table, asked_by="job_events").once(entries, decide, now)
        written.raise_failed()
        return list(written.lost)
