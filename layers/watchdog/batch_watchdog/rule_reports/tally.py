"""
Count what a limit has done in a week, in constant size. Pure.

The time after which jobs went on is counted by its logarithm: each value is right to a tenth.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from batch_watchdog.budgets.amounts import Amounts
from batch_watchdog.rule_reports.followed import End, FollowedJob, RuleKey

_STEP = math.log(1.1)
_HOUR = 3_600_000_000  # thousandths of a unit, times milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """
    The jobs that passed a limit, and their outcomes.

    `exempted` are jobs that passed it and that an operator has exempted; they are not followed.
    `longest` is the longest stay, in seconds, of the jobs that went on. `later` counts, by `_place`
    of the seconds after the decision, the jobs that went on. `waited` is what all jobs with a known
    outcome requested, times how long they still waited (or ran) after the decision: thousandths of
    vCPUs and of GPUs, times milliseconds.
    """

    passed: int = 0
    went_on: int = 0
    ended: int = 0
    stopped: int = 0
    unknown: int = 0
    exempted: int = 0
    later: Mapping[int, int] = field(default_factory=dict)
    soonest: int = 0
    latest: int = 0
    longest: int = 0
    waited: tuple[int, int] = (0, 0)

    @property
    def still_open(self) -> int:
        """The number of jobs whose outcome is not known yet."""
        return self.passed - self.went_on - self.ended - self.stopped - self.unknown

    @property
    def median(self) -> int:
        """The median of the seconds after which jobs went on."""
        half, seen = (self.went_on + 1) // 2, 0
        for place in sorted(self.later):
            seen += self.later[place]
            if seen >= half:
                return min(max(_middle(place), self.soonest), self.latest)
        return 0

    @property
    def hours(self) -> tuple[float, float]:
        """vCPU-hours and GPU-hours."""
        vcpus, gpus = self.waited
        return vcpus / _HOUR, gpus / _HOUR

    def with_passed(self, jobs: int, exempted: int) -> "Tally":
        """Return the tally with more jobs that have passed the limit."""
        return replace(self, passed=self.passed + jobs, exempted=self.exempted + exempted)

    def with_end(self, end: End, job: FollowedJob, amounts: Amounts) -> "Tally":
        """Return the tally with the outcome of one of the jobs."""
        if end.how == "unknown":
            return replace(self, unknown=self.unknown + 1)
        lasted = max(0, round((end.left_at - job.decided_at).total_seconds() * 1_000))
        vcpus, gpus = (
            kept + each * lasted for kept, each in zip(self.waited, amounts, strict=False)
        )
        known = replace(self, waited=(vcpus, gpus))
        match end.how:
            case "ended":
                return replace(known, ended=self.ended + 1)
            case "stopped":
                return replace(known, stopped=self.stopped + 1)
            case "went-on":
                stayed = max(self.longest, int((end.left_at - job.since).total_seconds()))
                later = max(0, int((end.at - job.decided_at).total_seconds()))
                return _went_on(replace(known, longest=stayed), later)

    def plus(self, other: "Tally") -> "Tally":
        """Return the sum of both tallies."""
        if not self.went_on or not other.went_on:
            soonest = self.soonest + other.soonest  # One of them has none.
        else:
            soonest = min(self.soonest, other.soonest)
        places = {*self.later, *other.later}
        vcpus, gpus = (a + b for a, b in zip(self.waited, other.waited, strict=True))
        return Tally(
            passed=self.passed + other.passed,
            went_on=self.went_on + other.went_on,
            ended=self.ended + other.ended,
            stopped=self.stopped + other.stopped,
            unknown=self.unknown + other.unknown,
            exempted=self.exempted + other.exempted,
            later={each: self.later.get(each, 0) + other.later.get(each, 0) for each in places},
            soonest=soonest,
            latest=max(self.latest, other.latest),
            longest=max(self.longest, other.longest),
            waited=(vcpus, gpus),
        )


type Tallies = Mapping[RuleKey, Tally]


def _went_on(tally: Tally, seconds: int) -> Tally:
    place = _place(seconds)
    return replace(
        tally,
        went_on=tally.went_on + 1,
        later={**tally.later, place: tally.later.get(place, 0) + 1},
        soonest=min(tally.soonest, seconds) if tally.went_on else seconds,
        latest=max(tally.latest, seconds),
    )


def _place(seconds: int) -> int:
    return round(math.log(seconds + 1) / _STEP)


def _middle(place: int) -> int:
    return round(math.exp(place * _STEP)) - 1
