"""
What a rule's report says: its numbers, and whether it is safe to enforce. Pure.

Safe is a rule that has passed judgement on jobs of which, for four weeks, none went on after all.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from batch_watchdog.notices.text import fact, iso
from batch_watchdog.policy.model import LIMITED, Policy
from batch_watchdog.rule_reports.followed import RuleKey
from batch_watchdog.rule_reports.tally import Tallies, Tally

WEEKS = 4  # by which a rule is judged

# "enforced" rules are not judged: what they stopped cannot show any more that it would start.
type Verdict = Literal["safe", "not-safe", "not-known", "enforced"]

_HOUR = 3_600  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReport:
    """What one limit did in a week (or so far in this one), and in all weeks it is judged by."""

    key: RuleKey
    week: Tally
    judged: Tally

    @property
    def verdict(self) -> Verdict:
        if self.key.mode == "enforce":
            return "enforced"
        if self.judged.went_on:
            return "not-safe"
        is_known = self.judged.passed and not self.judged.still_open and not self.judged.unknown
        return "safe" if is_known else "not-known"

    @property
    def would_have_spared(self) -> timedelta | None:
        """A limit, in whole hours, that none of the jobs would have passed that went on."""
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


def reports(week: Tallies, weeks: Iterable[Tallies]) -> list[RuleReport]:
    """The reports of all limits that were passed: those of the most jobs first."""
    judged: dict[RuleKey, Tally] = {}
    for tallies in weeks:
        for key, tally in tallies.items():
            judged[key] = judged.get(key, Tally()).plus(tally)
    found = [
        RuleReport(key=key, week=week.get(key, Tally()), judged=tally)
        for key, tally in judged.items()
    ]
    return sorted(found, key=_order)


def _order(report: RuleReport) -> tuple[int, int, str, str, int]:
    key = report.key
    return -report.week.passed, -report.judged.passed, key.rule, key.status, key.limit_seconds


def weeks_before(week: date, of_week: Callable[[date], Tallies]) -> list[Tallies]:
    """The tallies of a week and of those before it by which rules are judged."""
    return [of_week(week - timedelta(weeks=back)) for back in range(WEEKS)]


def unpassed(policy: Policy, found: Iterable[RuleReport]) -> list[str]:
    """The policy's rules that stop jobs (or would), and whose limits nobody has passed."""
    passed = {report.key.rule for report in found}
    labels = (
        policy.label_of(rule)
        for rule in policy.limit
        if any(limit and limit.action != "warn" for limit in map(rule.for_state, LIMITED))
    )
    return [label for label in labels if label not in passed]


def answer(
    policy: Policy, this_week: date, of_week: Callable[[date], Tallies], now: datetime
) -> Mapping[str, Any]:
    """What the command `report` answers: this week so far, and four weeks with it."""
    weeks = weeks_before(this_week, of_week)
    found = reports(weeks[0], weeks)
    return {
        "at": iso(now),
        "week": this_week.isoformat(),
        "rules": [report.facts for report in found],
        "not_passed": [fact(label) for label in unpassed(policy, found)],
    }
