"""Make the daily check, which is part of the sweep, and announce new problems."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from batch_watchdog.core.effects import Announce
from batch_watchdog.guards import items as guard_items
from batch_watchdog.health import items
from batch_watchdog.health.facts import Facts
from batch_watchdog.health.items import LastCheck
from batch_watchdog.health.notices import trouble
from batch_watchdog.health.rules import fine_keys, news, problems
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.table import Table

EVERY = timedelta(days=1)
FIRST = timedelta(hours=1)  # after the first sweep: an operator has begun the setup by then


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyCheck:
    """
    Checks once a day.

    `facts` reads the facts from AWS.
    """

    table: Table
    facts: Callable[[Policy, datetime], Facts]

    def process(self, policy: Policy, now: datetime) -> None:
        """
        Check, if a check is due.

        Raises:
            ExceptionGroup: the result could not be written. The next sweep checks again.
        """
        last = items.read(self.table)
        if last and now < last.next_at:
            return
        facts = self.facts(policy, now) if last else None

        def decide(_: str) -> Outcome:
            known = items.read(self.table)
            if facts is None or known is None:
                return Outcome(
                    puts=[items.put(LastCheck(next_at=now + FIRST))] if not known else ()
                )
            if now < known.next_at:
                return Outcome()
            guards = guard_items.read_all(self.table)
            found = problems(facts, policy, guard_items.received_names(guards.values()), guards)
            check = LastCheck(
                next_at=now + EVERY,
                wrong=[each.key for each in found],
                fine=fine_keys(facts, policy),
                version=known.version,
            )
            new = news(found, known.wrong, known.fine)
            effects = [Announce(notices=(trouble(new, now),))] if new else []
            return Outcome(puts=[items.put(check)], effects=effects)

        Recorder(table=self.table, asked_by="sweep").decide(["health"], decide, now)
