"""Record blocked queues from events, and check whether they are still blocked."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.blocked_queues import items as blocked_items
from batch_watchdog.blocked_queues import notices as blocked_notices
from batch_watchdog.blocked_queues import rules as blocked_rules
from batch_watchdog.core.effects import Announce
from batch_watchdog.core.job_event import QueueBlocked
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import reminders as reminder_items
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.item_codec import pack
from batch_watchdog.store.reminders import Reminder, Reminders
from batch_watchdog.store.table import Table

_ASKED_AGAIN = timedelta(minutes=2)  # between checks whether a queue is still blocked


def reminder(queue: str, at: datetime) -> Reminder:
    """Build the reminder to check a queue."""
    return Reminder(minute=reminder_items.minute_from(at), kind="blocked", content=pack(queue))


def take_in(table: Table, queue: str, events: Iterable[QueueBlocked], now: datetime) -> Outcome:
    """Record Batch's events of one queue. The sweep finds the reason, and announces it."""
    known = blockage = blocked_items.read(table, queue)
    for event in sorted(events, key=lambda event: event.at):
        blockage = blocked_rules.take_in(blockage, event)
    if blockage is None or blockage == known:
        return Outcome()
    if known is None or known.over:
        # The reminder is written first, perhaps again. Without a stored blockage it has no effect.
        Reminders(table).file(
            [reminder(queue, reminder_items.minute_of(now) + reminder_items.MINUTE)]
        )
    return Outcome(puts=[blocked_items.put(blockage, now)])


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedQueueChecker:
    """Checks the blocked queues that are due in a sweep at `now`."""

    table: Table
    batch: BatchApi
    inquiry: DiagnosisGatherer
    policy: Policy
    now: datetime

    def process(self, queues: Iterable[str], out_of_time: Callable[[], bool]) -> list[Exception]:
        """
        Check each queue. Queues that are not reached or not written are due in the next minute.

        Returns the errors that prevented a decision about some of them.
        """
        some = sorted(set(queues))
        left: set[str] = set()

        def decide(queue: str) -> Outcome:
            if queue != some[0] and out_of_time():
                left.add(queue)
                return Outcome()
            return self.ask(queue)

        recorder = Recorder(table=self.table, asked_by="sweep")
        written = recorder.write_each(some, decide, self.now)
        again = sorted({*left, *written.failed, *written.lost})
        at = reminder_items.minute_of(self.now) + reminder_items.MINUTE
        Reminders(self.table).file(reminder(queue, at) for queue in again)
        return [*written.failed.values()]

    def ask(self, queue: str) -> Outcome:
        """Check whether a queue is still blocked; announce a new blockage, or the end of one."""
        known = blocked_items.read(self.table, queue)
        if known is None or known.over:
            return Outcome()
        describe = self.batch.describe_service if known.service else self.batch.describe
        details = describe([head.job_id for head in known.blocking])
        seen = blocked_rules.look(known, details, self.now)
        if seen.over:
            notices = [blocked_notices.ended(seen, self.now)] if known.told else []
            effects = [Announce(notices=(notice,)) for notice in notices]
            return Outcome(puts=[blocked_items.put(seen, self.now)], effects=effects)
        again_in = reminder_items.MINUTE if seen.is_unsure else _ASKED_AGAIN
        Reminders(self.table).file([reminder(queue, self.now + again_in)])
        if not seen.needs_notice:
            return Outcome(puts=[blocked_items.put(seen, self.now)] if seen != known else [])
        notice = blocked_notices.began(
            seen, self.inquiry.findings(details[seen.blocking[0].job_id], blocks=True)
        )
        told = blocked_items.put(seen.announced(), self.now)
        return Outcome(puts=[told], effects=[Announce(notices=(notice,))])
