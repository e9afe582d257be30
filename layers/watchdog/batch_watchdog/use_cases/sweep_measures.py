"""Collect what a sweep measures at its end: guards, budgets, waits, and how late it is."""

from datetime import datetime

from batch_watchdog.budgets.announcer import BudgetAnnouncer
from batch_watchdog.guards import items as guard_items
from batch_watchdog.measures.measures import Measure, of_budget, of_guard, of_lateness, of_waits
from batch_watchdog.overview.state import Waits
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.table import Table


def measures(
    table: Table, policy: Policy, swept_until: datetime, listed: Waits | None, now: datetime
) -> list[Measure]:
    """
    Return all that a sweep measures at `now`.

    All that was due up to `swept_until` is done. `listed` has the jobs that wait, if a listing of
    all jobs has just ended.
    """
    states = guard_items.read_all(table)
    stages = {rule.name: "calm" for rule in policy.guard}
    stages |= {name: state.stage for name, state in states.items() if name in stages or state.entry}
    queues = listed.queues.items() if listed else ()
    oldest = {queue: each.oldest.since for queue, each in queues if each.oldest}
    readings = BudgetAnnouncer(table=table, policy=policy, now=now).readings()
    return [
        of_lateness(now - swept_until),
        *(of_guard(name, stage) for name, stage in stages.items()),
        *(of_budget(each.budget, each.percent) for each in readings),
        *of_waits(oldest, now),
    ]
