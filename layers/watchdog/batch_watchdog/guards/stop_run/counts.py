"""The result of a stop run in counts, and the phrases for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from batch_watchdog.guards.state import StageEntry
from batch_watchdog.notices.phrases import Phrase, say

NAMED_MAX = 100  # jobs named, of each kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """
    The result of a stop run. Every job that it found is counted once.

    `cancelled` and `terminated` jobs have ended since. `not_ended` jobs were asked to stop, and the
    last look still found them; for `not_known` jobs, nothing has shown yet whether they ended.
    `left_running` jobs had started and, at `cancel`, may finish. `escaped` jobs were to be stopped,
    and ran or ended all the same. `failed` counts, by reason, the jobs that Batch would not stop.
    The first of the `escaped`, `failed` and `not_ended` jobs are named.
    """

    cancelled: int = 0
    terminated: int = 0
    left_running: int = 0
    spared: int = 0
    escaped: int = 0
    not_ended: int = 0
    not_known: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    escaped_jobs: tuple[str, ...] = ()
    failed_jobs: tuple[str, ...] = ()
    not_ended_jobs: tuple[str, ...] = ()

    @property
    def found(self) -> int:
        stopped = self.cancelled + self.terminated + self.not_ended + self.not_known
        return stopped + self.left_running + self.spared + self.escaped + sum(self.failed.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """A stage that a guard has left, and the result of its run."""

    entry: StageEntry
    until: datetime
    tally: Tally


def counts_of(tally: Tally) -> dict[str, int]:
    return {
        "cancelled": tally.cancelled,
        "terminated": tally.terminated,
        "left_running": tally.left_running,
        "spared": tally.spared,
        "escaped": tally.escaped,
        "not_ended": tally.not_ended,
        "not_known": tally.not_known,
    }


def rows(tally: Tally, entry: StageEntry) -> list[Phrase]:
    """Return one phrase for each count of a run that is not 0; stopped jobs come first."""
    observing = entry.mode == "observe"
    counts = (
        (tally.cancelled, "{n} cancelled", "{n} would have been cancelled"),
        (tally.terminated, "{n} terminated", "{n} would have been terminated"),
        (tally.left_running, "{n} left to run", ""),
        (tally.spared, "{n} spared", ""),
        (tally.escaped, "{n} missed: they ran or ended before they were stopped", ""),
        (tally.not_ended, "{n} asked to stop, and still there", ""),
        (tally.not_known, "{n} asked to stop, and not known yet whether they ended", ""),
        (sum(tally.failed.values()), "{n} not stopped, as Batch refused", ""),
    )
    return [
        say(would if observing and would else done, n=count)
        for count, done, would in counts
        if count
    ]


def why_refused(tally: Tally) -> list[tuple[str, int]]:
    """Return why Batch refused stops, and how often; the most frequent reason first."""
    return sorted(tally.failed.items(), key=lambda each: (-each[1], each[0]))
