"""What is done about blocked queues: by Batch's events, and by asking whether it is over."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batch_watchdog import blocked
from batch_watchdog.batch_api import BatchApi
from batch_watchdog.changes import Blocked
from batch_watchdog.effects import Announce
from batch_watchdog.inquiry import Inquiry
from batch_watchdog.recorder import Outcome
from batch_watchdog.store import blockages, wheel
from batch_watchdog.store.table import Table, pack
from batch_watchdog.store.wheel import Entry, Wheel

_ASKED_AGAIN = timedelta(minutes=2)  # whether a queue is still blocked


def reminder(queue: str, at: datetime) -> Entry:
    """The entry that has a queue asked for."""
    return Entry(minute=wheel.minute_from(at), kind="blocked", content=pack(queue))


def observe(table: Table, queue: str, events: Iterable[Blocked], now: datetime) -> Outcome:
    """Take in Batch's events of one queue. The sweep finds out why, and tells."""
    known = blockage = blockages.read(table, queue)
    for event in sorted(events, key=lambda event: event.at):
        blockage = blocked.take_in(blockage, event)
    if blockage is None or blockage == known:
        return Outcome()
    if known is None or known.over:
        # First the reminder, which may be there already: who has it and no state forgets it.
        Wheel(table).file([reminder(queue, wheel.minute_of(now) + wheel.MINUTE)])
    return Outcome(puts=[blockages.put(blockage, now)])


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedWatch:
    """The blocked queues of a sweep at `now`."""

    table: Table
    batch: BatchApi
    inquiry: Inquiry
    now: datetime

    def ask(self, queue: str) -> Outcome:
        """See whether a queue is still blocked; tell when it is for the first time, or over."""
        known = blockages.read(self.table, queue)
        if known is None or known.over:
            return Outcome()
        describe = self.batch.describe_service if known.service else self.batch.describe
        details = describe([head.job_id for head in known.blocking])
        seen = blocked.look(known, details, self.now)
        if seen.over:
            notices = [blocked.ended(seen, self.now)] if known.told else []
            effects = [Announce(notices=(notice,)) for notice in notices]
            return Outcome(puts=[blockages.put(seen, self.now)], effects=effects)
        Wheel(self.table).file([reminder(queue, self.now + _ASKED_AGAIN)])
        if known.told:
            return Outcome(puts=[blockages.put(seen, self.now)] if seen != known else [])
        notice = blocked.began(seen, self.inquiry.findings(details[seen.blocking[0].job_id]))
        told = blockages.put(replace(seen, told=True), self.now)
        return Outcome(puts=[told], effects=[Announce(notices=(notice,))])
