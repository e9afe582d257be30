"""Count jobs that pass their limits, for the rules' reports, and file them to be followed."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from batch_watchdog.limits.notices import OverdueJob
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.model import TAG_PREFIX
from batch_watchdog.rule_reports import follow_items, tally_items
from batch_watchdog.rule_reports.followed import RULE_MAX, FollowedJob, RuleKey
from batch_watchdog.store import reminders
from batch_watchdog.store.table import Put, Table


def puts(
    table: Table, passed: Sequence[OverdueJob], exempt: Sequence[OverdueJob], now: datetime
) -> list[Put]:
    """Build the writes that count these jobs, and that file the `passed` ones to be followed."""
    counted = Counter(map(_key_of, passed))
    exempted = Counter(map(_key_of, exempt))
    both = {key: (counted[key], exempted[key]) for key in {**counted, **exempted}}
    followed = [_followed(case, now) for case in passed]
    first = follow_items.entries(followed, now + follow_items.FIRST_LOOK)
    return [*tally_items.passed(table, both, now), *map(reminders.put, first)]


def _followed(case: OverdueJob, now: datetime) -> FollowedJob:
    return FollowedJob(
        job_id=case.stay.job_id,
        about=case.about,
        key=_key_of(case),
        since=case.stay.since,
        decided_at=now,
        service=case.stay.service,
    )


def _key_of(case: OverdueJob) -> RuleKey:
    span = case.limit_span
    own = case.limit.rule == f"tag {TAG_PREFIX}{case.stay.status}"
    return RuleKey(
        rule=plain(case.limit.rule, RULE_MAX),
        status=case.stay.status,
        limit_seconds=int(span.total_seconds()) if span and not own else 0,
        action=case.limit.action,
        mode=case.limit.mode,
    )
