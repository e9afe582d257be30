"""What a stop run has come to, in counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from batch_watchdog.guards.state import StageEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """
    What a stop run came to. Every job that it found is counted once.

    `cancelled` and `terminated` have ended since. `not_ended` were asked to stop, and the last look
    still found them; of `not_known` nothing has shown yet whether they ended. `left_running`
    had started and, at `cancel`, may finish; `escaped` were to be stopped and ran or ended all the
    same; `failed` counts by reason those that Batch would not stop. The first of `escaped`,
    `failed` and `not_ended` are named.
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


def counted(tally: Tally) -> dict[str, int]:
    return {
        "cancelled": tally.cancelled,
        "terminated": tally.terminated,
        "left_running": tally.left_running,
        "spared": tally.spared,
        "escaped": tally.escaped,
        "not_ended": tally.not_ended,
        "not_known": tally.not_known,
    }


def in_words(stopped: Tally, entry: StageEntry) -> str:
    count = stopped.cancelled + stopped.terminated
    how = "cancelled" if entry.stage == "cancel" else "terminated"
    would = "would have been " if entry.mode == "observe" else ""
    words = [f"{count:,} job{'s' * (count != 1)} {would}{how}"]
    if stopped.not_ended:
        words.append(f"{stopped.not_ended:,} asked to stop, and still there at the last look")
    if stopped.not_known:
        words.append(f"{stopped.not_known:,} asked to stop, and not known yet whether they ended")
    return "; ".join(words)
