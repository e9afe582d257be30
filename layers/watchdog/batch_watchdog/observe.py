"""Taking in what AWS Batch reports, one batch of queue messages at a time."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from batch_watchdog import blocked_watch, chain_watch, chains, jobs, limits
from batch_watchdog.array_watch import ArrayWatch
from batch_watchdog.arrival_watch import ArrivalWatch
from batch_watchdog.batch_api import BatchApi
from batch_watchdog.changes import Blocked, Change, parse_event
from batch_watchdog.dead_letters import DeadLetters
from batch_watchdog.effects import Announce
from batch_watchdog.errors import MalformedEventError
from batch_watchdog.policy import Policy
from batch_watchdog.recorder import Outcome, Recorder
from batch_watchdog.store import cursor as cursors
from batch_watchdog.store import sightings, stays
from batch_watchdog.store.arrays import Arrays
from batch_watchdog.store.ledger import Entry
from batch_watchdog.store.table import Table
from batch_watchdog.store.wheel import Wheel
from batch_watchdog.store.wheel import put as wheel_put


@dataclass(frozen=True, slots=True)
class Message:
    """A queue's message: its id, its text, and when it was sent to the queue."""

    id: str
    body: str
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    table: Table
    batch: BatchApi
    dead_letters: DeadLetters
    policy: Callable[[], Policy]

    def observe(self, messages: Sequence[Message]) -> list[str]:
        """
        Take in a batch of messages. Each may have come before, or come late.

        What cannot be understood is kept as a dead letter, with the reason.

        Returns:
            The ids of messages that lost a race with another batch: they are to come again.
        """
        changes: dict[str, Change] = {}
        blocked: dict[str, Blocked] = {}
        for message in messages:
            try:
                event = parse_event(message.body)
            except MalformedEventError as error:
                self.dead_letters.keep(message.body, str(error))
            else:
                if isinstance(event, Change):
                    changes[message.id] = event
                else:
                    blocked[message.id] = event
        sent_at = max(message.sent_at for message in messages)
        # A batch that comes again bears the time at which it was sent first; meanwhile it is at
        # least as late as the sweep has come.
        now = max(sent_at, cursors.read(self.table, sent_at).minute)
        changes = self._with_parents_known(changes)
        self._stays(changes.values(), sent_at, now)
        return [
            *self._arrivals(changes, now),
            *self._arrays(changes, now),
            *self._failures(changes, now),
            *self._blocked(blocked, now),
        ]

    def _with_parents_known(self, changes: dict[str, Change]) -> dict[str, Change]:
        """The changes; a failure that does not say so is an array's own where children have."""
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

    def _arrivals(self, changes: dict[str, Change], now: datetime) -> list[str]:
        watch = ArrivalWatch(table=self.table, batch=self.batch, policy=self.policy(), now=now)
        return watch.observe(changes)

    def _stays(self, changes: Collection[Change], sent_at: datetime, now: datetime) -> None:
        policy = self.policy()
        # Sightings first: who is reminded of a stay can then see that it is over.
        sightings.file(self.table, limits.sightings(changes, policy, sent_at), sent_at)
        begun = (limits.begin(change, policy, now) for change in changes)
        due = stays.entries(filter(None, begun), now, policy=policy.version)
        Wheel(self.table).file(due)

    def _blocked(self, events: dict[str, Blocked], now: datetime) -> list[str]:
        by_queue: dict[str, dict[str, Blocked]] = defaultdict(dict)
        for message_id, event in events.items():
            by_queue[event.queue][message_id] = event

        def decide(queue: str) -> Outcome:
            return blocked_watch.observe(self.table, queue, by_queue[queue].values(), now)

        lost = Recorder(table=self.table, asked_by="job_events").decide(by_queue, decide, now)
        return [message_id for queue in lost for message_id in by_queue[queue]]

    def _arrays(self, changes: dict[str, Change], now: datetime) -> list[str]:
        watch = ArrayWatch(table=self.table, batch=self.batch, policy=self.policy())
        by_array: dict[str, dict[str, Change]] = defaultdict(dict)
        for message_id, change in changes.items():
            if change.kind in ("array", "child"):
                by_array[change.parent_id or change.job_id][message_id] = change

        def decide(job_id: str) -> Outcome:
            return watch.observe(job_id, list(by_array[job_id].values()), now)

        lost = Recorder(table=self.table, asked_by="job_events").decide(by_array, decide, now)
        return [message_id for job_id in lost for message_id in by_array[job_id]]

    def _failures(self, changes: dict[str, Change], now: datetime) -> list[str]:
        policy = self.policy()
        if not policy.notify.job_failures:
            return []
        news = {
            message_id: change for message_id, change in changes.items() if jobs.is_news(change)
        }
        held = chains.held(news.values())
        entries = {
            message_id: Entry(f"job-failed:{change.job_id}", change.at)
            for message_id, change in news.items()
        }

        def decide(fresh: Sequence[str]) -> Outcome:
            failures = [news[message_id] for message_id in fresh]
            kept = [change for change in failures if change.job_id in held]
            puts = [wheel_put(entry) for entry in chain_watch.reminders(kept, now)]
            notices = tuple(jobs.failed(change) for change in failures if change.job_id not in held)
            announce = Announce(notices=notices, digest_over=policy.notify.digest_over)
            return Outcome(puts=puts, effects=[announce] if notices else [])

        written = Recorder(table=self.table, asked_by="job_events").once(entries, decide, now)
        written.raise_failed()
        return list(written.lost)
