"""
Whether the rules' reports count each job that passed a limit once, and as what became of it.

It is judged by the states that the simulated Batch saw, read apart from the package's rules.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.notices.notice import Notice
from batch_watchdog.rule_reports import follow_items, tally_items
from batch_watchdog.rule_reports.workflow import FollowUp
from tests.simulation.history import History

_COUNTED = ("went_on", "ended", "stopped", "unknown", "still_open")


@dataclass(frozen=True, slots=True)
class _AtTheEnd:
    """Batch as it answers when a history is over."""

    details: Mapping[str, Mapping[str, Any]]

    def describe(self, job_ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        return {each: self.details[each] for each in job_ids if each in self.details}

    describe_service = describe


def i17_what_passed_a_limit_is_counted_once_as_what_became_of_it(seen: History) -> Iterator[str]:
    batch = cast("BatchApi", _AtTheEnd(seen.details))
    jobs = list(follow_items.all_filed(seen.table, seen.ended))
    look = FollowUp(table=seen.table, batch=batch, now=seen.ended, out_of_time=lambda: False)
    look.check(jobs)
    yield from (f"a followed job cannot be read: {error!r}" for error in look.failed)

    expected: Counter[tuple[str, str]] = Counter()
    for _, notice in seen.notices():
        if notice.kind == "limit-enforced" and notice.id.endswith(("Z", ":observed")):
            mode = notice.facts["mode"]
            expected[mode, "passed"] += 1
            expected[mode, _became(seen, notice)] += 1
    counted: Counter[tuple[str, str]] = Counter()
    week = tally_items.week_of(seen.policies[0][0])
    while week <= tally_items.week_of(seen.ended):
        for key, tally in tally_items.of_week(seen.table, week).items():
            counted[key.mode, "passed"] += tally.passed
            for name in _COUNTED:
                counted[key.mode, name] += getattr(tally, name)
        week += tally_items.WEEK
    if +counted != +expected:
        yield f"counted {dict(+counted)}, and it was {dict(+expected)}"


def _became(seen: History, notice: Notice) -> str:
    """What became of the job as a whole: a stop of a run would have cost it all its retries."""
    job_id, since = notice.facts["job_id"], datetime.fromisoformat(notice.facts["since"])
    stays = seen.stays[job_id]
    if notice.facts["status"] != "RUNNING" and any(
        each.status == "RUNNING" and each.since >= since for each in stays
    ):
        return "went_on"
    match stays[-1].status:
        case "SUCCEEDED":
            return "went_on"
        case "FAILED":
            return "stopped" if seen.jobs[job_id].reason.startswith(STOP_MARK) else "ended"
        case _:
            return "still_open"
