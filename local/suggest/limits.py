"""
Proposes limits from waits: longer than jobs waited before they started, and loose where little is
known.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import timedelta
from math import floor

from batch_watchdog.policy.durations import SPAN_MAX
from local.suggest.waits import Group, History, Stay

FEW = 30  # fewer waits than this do not show a limit
_MANY, _VERY_MANY = 100, 1_000
_PLAUSIBLE = 3  # times the longest wait: a job that has waited up to this may still start

_LEAST_WARNING, _LEAST = timedelta(minutes=15), timedelta(minutes=30)
_NICE = (
    *(timedelta(minutes=each) for each in (5, 10, 15, 20, 30, 45, 60, 90)),
    *(timedelta(hours=each) for each in (2, 3, 4, 6, 8, 12, 18, 24, 36, 48)),
    *(timedelta(days=each) for each in (3, 4, 5, 6, 7, 10, 14, 21, 30)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about the waits that a limit is for."""

    started: int
    median: float  # seconds; this and the next are of waits that ended with a start
    longest: float
    over: int = 0  # how many of these the limit would have stopped
    never_started: int = 0
    still_waiting: int = 0
    longest_open: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A limit for the jobs of some queues, or of one job definition in one queue."""

    queues: tuple[str, ...]
    definition: str = ""  # "": all
    warn_after: timedelta
    after: timedelta
    evidence: Evidence

    def covers(self, group: Group) -> bool:
        return group.queue in self.queues and self.definition in ("", group.definition)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """All limits, in order of precedence, and the queues without a limit, with the reason."""

    proposals: tuple[Proposal, ...]
    without: tuple[tuple[str, str], ...]  # queue, why

    def widened(self, wrong: AbstractSet[Proposal]) -> "Suggestion":
        """Return it with these limits doubled, and without those that this makes too long."""
        long = {each for each in wrong if each.after * 2 > SPAN_MAX}
        proposals = (
            replace(each, warn_after=_nice(each.warn_after * 2), after=_nice(each.after * 2))
            if each in wrong - long
            else each
            for each in self.proposals
        )
        return replace(self, proposals=tuple(proposals)).reduced(long)

    def reduced(self, wrong: AbstractSet[Proposal]) -> "Suggestion":
        """Return it without these limits."""
        why = "in a replay, each limit stopped jobs that started after all"
        return Suggestion(
            proposals=tuple(each for each in self.proposals if each not in wrong),
            without=(*self.without, *((queue, why) for each in wrong for queue in each.queues)),
        )

    def for_group(self, group: Group) -> Proposal | None:
        return next((each for each in self.proposals if each.covers(group)), None)


def suggest(history: History, allow: float = 0.0) -> Suggestion:
    """
    Propose limits that would have ended at most the share `allow` of a queue's waits to a start.

    If jobs of a definition wait much less than others in their queue, it gets a limit of its own.
    """
    queues: dict[str, list[Stay]] = {}
    for group, stays in history.stays.items():
        queues.setdefault(group.queue, []).extend(stays)
    proposals: list[Proposal] = []
    without: list[tuple[str, str]] = []
    for queue, stays in sorted(queues.items()):
        whole = _proposal(queue, "", stays, allow)
        if isinstance(whole, str):
            without.append((queue, whole))
            continue
        proposals += _finer(queue, whole, history, allow)
        proposals.append(whole)
    return Suggestion(proposals=tuple(proposals), without=tuple(without))


def _finer(queue: str, whole: Proposal, history: History, allow: float) -> Iterator[Proposal]:
    """Yield the limits of definitions with many waits, if far shorter than the queue's limit."""
    for group, stays in sorted(history.stays.items()):
        if group.queue != queue or not group.definition:
            continue
        own = _proposal(queue, group.definition, stays, allow)
        if (
            not isinstance(own, str)
            and own.evidence.started >= _MANY
            and own.after * 4 <= whole.after
        ):
            yield own


def _proposal(queue: str, definition: str, stays: Sequence[Stay], allow: float) -> Proposal | str:
    """Return a limit, or why there is none."""
    started = sorted(stay.seconds for stay in stays if stay.end == "started")
    if len(started) < FEW:
        return f"{len(started)} waits ended with a start, and {FEW} are needed"
    spared = floor(allow * len(started))
    longest = started[-1 - spared]
    waiting = sorted(stay.seconds for stay in stays if stay.end == "still waiting")
    plausible = [each for each in waiting if each <= max(longest * _PLAUSIBLE, 3600)]
    base = timedelta(seconds=max(longest, *plausible[-1:], 0))
    warn_after = max(_nice(base * 1.1), _LEAST_WARNING)
    factor = 3 if len(started) < _MANY else 2 if len(started) < _VERY_MANY else 1.5
    after = max(_nice(base * factor), _nice(warn_after * 1.4), _LEAST)
    if after > SPAN_MAX or warn_after >= after:
        return "jobs wait longer than any limit can be, 30 days"
    return Proposal(
        queues=(queue,),
        definition=definition,
        warn_after=warn_after,
        after=after,
        evidence=Evidence(
            started=len(started),
            median=started[len(started) // 2],
            longest=started[-1],
            over=sum(each >= after.total_seconds() for each in started),
            never_started=sum(stay.end == "never started" for stay in stays),
            still_waiting=len(waiting),
            longest_open=waiting[-1] if waiting else 0.0,
        ),
    )


def loose(history: History) -> timedelta:
    """Return when to warn of a job without another limit: far later than any job has started."""
    waits = [
        stay.seconds for stays in history.stays.values() for stay in stays if stay.end == "started"
    ]
    longest = timedelta(seconds=max(waits, default=0))
    return min(max(_nice(longest * 2), timedelta(days=1)), SPAN_MAX)


def _nice(span: timedelta) -> timedelta:
    """Return the next round span that is not shorter; beyond all of them, the span itself."""
    return next((each for each in _NICE if each >= span), span)
