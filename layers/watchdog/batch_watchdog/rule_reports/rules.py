"""
Build a rule's report: its numbers, and whether it is safe to enforce. Pure.

A rule is safe if the policy has had it for at least a day, and jobs have passed its limit in four
weeks. All of these jobs must be known to have ended, and none may have gone on after all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any, Literal

from batch_watchdog.notices.text import fact, iso, plain
from batch_watchdog.policy.model import LIMITED, TAG_PREFIX, Policy
from batch_watchdog.policy.tables import Action
from batch_watchdog.rule_reports.followed import RULE_MAX, RuleKey
from batch_watchdog.rule_reports.tally import Tallies, Tally

WEEKS = 4  # by which a rule is judged
JUDGED_AFTER = timedelta(days=1)  # in the policy; for rarer jobs, see the day in the report

# "enforced" rules are not judged: a stopped job cannot show that it would have started.
type Verdict = Literal["safe", "not-safe", "not-known", "enforced"]

_HOUR = 3_600  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """
    The time that a report is about, up to `now`. `first` is the first day of its first week.

    `has` returns since when the policy has a limit; None if the policy does not have it.
    """

    first: date
    now: datetime
    has: Callable[[RuleKey], datetime | None]

    def since(self, key: RuleKey) -> date:
        """Return the day since which all jobs that pass a limit are counted, not before `first`."""
        has = self.has(key)
        return max(self.first, has.astimezone(UTC).date()) if has else self.first

    def lasted(self, key: RuleKey) -> timedelta | None:
        """Return how long the policy has had a limit; None if the policy does not have it."""
        has = self.has(key)
        return self.now - has if has else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReport:
    """
    What one limit did in a week (or so far in this one), and in all weeks by which it is judged.

    These weeks count from the day `since`. `lasted` is how long the policy has had the limit; None
    if the policy no longer has it.
    """

    key: RuleKey
    week: Tally
    judged: Tally
    since: date
    lasted: timedelta | None

    @property
    def verdict(self) -> Verdict:
        if self.key.mode == "enforce":
            return "enforced"
        if self.judged.went_on:
            return "not-safe"
        is_known = self.judged.passed and not self.judged.still_open and not self.judged.unknown
        return "safe" if is_known and self.has_lasted else "not-known"

    @property
    def has_lasted(self) -> bool:
        """Whether the policy has had the limit for long enough to judge it."""
        return self.lasted is not None and self.lasted >= JUDGED_AFTER

    @property
    def would_have_spared(self) -> timedelta | None:
        """A limit, in whole hours, that none of the jobs that went on would have passed."""
        if not self.judged.went_on or not self.key.limit_seconds:
            return None
        return timedelta(hours=self.judged.longest // _HOUR + 1)

    @property
    def facts(self) -> dict[str, Any]:
        """The report for programs, with the numbers of the week."""
        return {**self._limit, **_numbers(self.week), "four_weeks": _numbers(self.judged)}

    @property
    def in_all(self) -> dict[str, Any]:
        """The report for programs, with the numbers of all weeks that it is judged by."""
        return {**self._limit, **_numbers(self.judged)}

    @property
    def _limit(self) -> dict[str, Any]:
        spared = self.would_have_spared
        return {
            "rule": fact(self.key.rule),
            "status": self.key.status,
            "limit_seconds": self.key.limit_seconds or None,
            "action": self.key.action,
            "mode": self.key.mode,
            "since": self.since.isoformat(),
            "verdict": self.verdict,
            "longer_limit_seconds": int(spared.total_seconds()) if spared else None,
        }


def _numbers(tally: Tally) -> dict[str, Any]:
    vcpus, gpus = tally.hours
    went_on = bool(tally.went_on)
    return {
        "jobs": tally.passed,
        "went_on": tally.went_on,
        "ended": tally.ended,
        "stopped": tally.stopped,
        "open": tally.still_open,
        "unknown": tally.unknown,
        "exempted": tally.exempted,
        "later_seconds": {"median": tally.median, "longest": tally.latest} if went_on else None,
        "vcpu_hours": round(vcpus, 3),
        "gpu_hours": round(gpus, 3),
    }


def reports(week: Tallies, weeks: Iterable[Tallies], span: Span) -> list[RuleReport]:
    """Build the reports of all limits that were passed, those with the most jobs first."""
    judged: dict[RuleKey, Tally] = {}
    for tallies in weeks:
        for key, tally in tallies.items():
            judged[key] = judged.get(key, Tally()).plus(tally)
    found = [
        RuleReport(
            key=key,
            week=week.get(key, Tally()),
            judged=tally,
            since=span.since(key),
            lasted=span.lasted(key),
        )
        for key, tally in judged.items()
    ]
    return sorted(found, key=_order)


def _order(report: RuleReport) -> tuple[int, int, str, str, int]:
    key = report.key
    return -report.week.passed, -report.judged.passed, key.rule, key.status, key.limit_seconds


def weeks_before(week: date, of_week: Callable[[date], Tallies]) -> list[Tallies]:
    """Return the tallies of a week and of the weeks before it by which rules are judged."""
    return [of_week(week - timedelta(weeks=back)) for back in range(WEEKS)]


def first_before(week: date) -> date:
    """Return the first day of the weeks by which rules are judged; `week` is the last of them."""
    return week - timedelta(weeks=WEEKS - 1)


def limits_of(policy: Policy) -> Iterator[RuleKey]:
    """Yield a policy's limits that stop jobs (or would), and those that jobs may set by tags."""
    for rule, status in product(policy.limit, LIMITED):
        limit = policy.limit_of(rule, status)
        for after in {limit.after, *limit.after_by_cause.values()} if limit else ():
            if limit and after and limit.action != "warn":
                yield RuleKey(
                    rule=plain(limit.rule, RULE_MAX),
                    status=status,
                    limit_seconds=int(after.total_seconds()),
                    action=limit.action,
                    mode=limit.mode,
                )
    modes = {policy.mode, *map(policy.mode_of, policy.limit)}
    actions: tuple[Action, ...] = ("cancel", "terminate")
    for status, action, mode in product(LIMITED, actions, modes):
        own = f"tag {TAG_PREFIX}{status}"
        yield RuleKey(rule=own, status=status, limit_seconds=0, action=action, mode=mode)


def unpassed(policy: Policy, found: Iterable[RuleReport], span: Span) -> dict[str, date]:
    """
    Return the policy's rules that stop jobs (or would), and whose limits no job has passed.

    Each has the day since which the policy has all its limits.
    """
    passed = {report.key.rule for report in found}
    since: dict[str, date] = {}
    for key in limits_of(policy):
        if key.rule not in passed and key.limit_seconds:
            since[key.rule] = max(span.since(key), since.get(key.rule, span.first))
    return since


def answer(
    policy: Policy, this_week: date, of_week: Callable[[date], Tallies], span: Span
) -> Mapping[str, Any]:
    """Build the answer to the command `report`: this week so far, and four weeks including it."""
    weeks = weeks_before(this_week, of_week)
    found = reports(weeks[0], weeks, span)
    return {
        "at": iso(span.now),
        "week": this_week.isoformat(),
        "rules": [report.facts for report in found],
        "not_passed": [fact(label) for label in unpassed(policy, found, span)],
    }
