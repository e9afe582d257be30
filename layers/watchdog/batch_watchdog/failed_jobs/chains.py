"""
Group failed jobs into chains: when a job fails, all jobs that depend on it fail within seconds.

Operators need one notice of a chain. So if others follow a failure in the same batch of messages,
all of these failures are kept back until the chain has been quiet for a minute. Then they are
announced once: the cause, and how many followed. A failure that no others follow is announced at
once.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batch_watchdog.core.job_event import JobEvent

QUIET = timedelta(minutes=1)
PATIENCE = timedelta(minutes=10)  # the longest wait for a chain, from its first failure on


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """
    Failures with one cause: the job that failed first, where it is known, and its followers.

    Where it is not known, it is one of `blamed`: the jobs that the first followers depend on.
    """

    root: JobEvent | None
    blamed: tuple[str, ...]
    followers: tuple[JobEvent, ...]

    @property
    def members(self) -> tuple[JobEvent, ...]:
        return (self.root, *self.followers) if self.root else self.followers


def held(failures: Iterable[JobEvent]) -> frozenset[str]:
    """Return the ids of those failures of a batch that belong to a chain."""
    failures = list(failures)
    followers = [event for event in failures if event.followed]
    blamed = {job_id for event in followers for job_id in event.depends_on}
    return frozenset(event.job_id for event in failures if event.followed or event.job_id in blamed)


def chains(failures: Iterable[JobEvent]) -> list[Chain]:
    """The chains that these failures form, in the order of time."""
    by_id = {event.job_id: event for event in failures}
    tops: dict[str, tuple[str, ...]] = {}
    followers: dict[tuple[str, ...], list[JobEvent]] = {}
    for event in sorted(by_id.values(), key=lambda each: (each.at, each.job_id)):
        top = tops[event.job_id] = _top(event, by_id, tops)
        of_chain = followers.setdefault(top, [])
        if top != (event.job_id,):
            of_chain.append(event)
    return [
        Chain(
            root=by_id.get(top[0]) if len(top) == 1 else None,
            blamed=top,
            followers=tuple(found),
        )
        for top, found in followers.items()
    ]


def narrowed(chain: Chain, job_ids: Container[str]) -> Chain:
    """Return the chain with only these members. A root that is left out stays in `blamed`."""
    return replace(
        chain,
        root=chain.root if chain.root and chain.root.job_id in job_ids else None,
        followers=tuple(each for each in chain.followers if each.job_id in job_ids),
    )


def _top(
    event: JobEvent, by_id: Mapping[str, JobEvent], tops: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Return the cause of a failure: the first job of its chain, or those that may be it."""
    seen = set()
    while event.followed and event.job_id not in seen:
        if event.job_id in tops:
            return tops[event.job_id]
        seen.add(event.job_id)
        known = [by_id[each] for each in event.depends_on if each in by_id]
        if not known:
            return event.depends_on
        event = min(known, key=lambda each: (each.followed, each.at, each.job_id))
    return (event.job_id,)


def may_go_on(chain: Chain, later: Container[str], now: datetime) -> bool:
    """Whether to wait for more: some of its jobs are in `later`, and it began not long ago."""
    first = min(event.at for event in chain.members)
    return now - first < PATIENCE and any(each.job_id in later for each in chain.members)
