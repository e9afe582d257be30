"""Reports what each limit has done in a whole replay, and how its jobs went on."""

from datetime import datetime
from typing import Any

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.core.job_event import EPOCH
from batch_watchdog.rule_reports import follow_items, tally_items
from batch_watchdog.rule_reports.rules import Span, reports
from batch_watchdog.rule_reports.workflow import FollowUp
from local.aws.dispatcher import Dispatcher


def rule_rows(dispatcher: Dispatcher, first: datetime) -> list[dict[str, Any]]:
    """
    Return a row for each limit that jobs have passed since `first`.

    Before that, the jobs that have ended by now are counted.
    """
    table, now = dispatcher.table, dispatcher.clock.now
    followed = list(follow_items.all_filed(table, now))
    batch = BatchApi(dispatcher.session.client("batch"))
    follow_up = FollowUp(table=table, batch=batch, now=now, out_of_time=lambda: False)
    follow_up.check(list(dict.fromkeys(followed)))
    weeks = []
    week = tally_items.week_of(first)
    while week <= tally_items.week_of(now):
        weeks.append(tally_items.of_week(table, week))
        week += tally_items.WEEK
    # The report is about the log, however short it is, as if the policy had always been in force.
    span = Span(first=first.date(), now=now, has=lambda _: EPOCH)
    return [report.in_all for report in reports({}, weeks, span)]
