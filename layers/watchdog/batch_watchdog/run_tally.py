"""
What a stop run comes to: each job counted once, in whatever order and however often it was found.

The chunks of a run are read in order of time. What was last found of a job counts, but a job that
was stopped and is then seen at work has escaped; and an array is counted by its children, as they
were when it was stopped.

A job whose stop was asked for counts as stopped once a whole look has not found it any more. It is
not known yet where it was asked since that look began, and has not ended where that look, or the
present one, found it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import Enum, auto
from itertools import islice

from batch_watchdog.changes import array_child
from batch_watchdog.guard_notices import StillThere, Tally
from batch_watchdog.guard_state import StopAction
from batch_watchdog.runs import Chunk, Run

_NAMED_MAX = 100  # jobs named, of each kind


class _Fate(Enum):
    LEFT = auto()
    SPARED = auto()
    STOPPED = auto()
    NOT_ENDED = auto()
    NOT_KNOWN = auto()
    ESCAPED = auto()
    REFUSED = auto()


def tally(chunks: Iterable[Chunk], action: StopAction, run: Run | None) -> Tally:
    """Count what the run of a stage found, given its chunks in order of time."""
    observing = run is not None and run.observing
    found = _Found(known_at=run.known_at if run else None, observing=observing)
    for chunk in chunks:
        found.take_in(chunk)
    return found.sum_up(action)


class _Found:
    """
    A queue may hold a million jobs: of an id only its hash is kept.

    The last look that came to its end began at `known_at`, if there was one. A run that is
    `observing` stops nothing: what it would stop counts as stopped.
    """

    def __init__(self, *, known_at: datetime | None, observing: bool) -> None:
        self._known_at = known_at
        self._observing = observing
        self._recent: set[int] = set()  # asked to stop since that look began
        self._alive: dict[int, int] = {}  # found since then, though the stop was accepted
        self._alive_names: dict[str, None] = {}
        self._jobs: dict[int, _Fate] = {}
        self._arrays: dict[str, tuple[int, int]] = {}  # children that waited, and had started
        self._children: dict[str, dict[str, _Fate]] = defaultdict(dict)  # those stopped singly
        self._why: dict[int, str] = {}
        self._worth_naming: dict[str, None] = {}

    def take_in(self, chunk: Chunk) -> None:
        if self._known_at is None or chunk.at >= self._known_at:
            self._take_in_recent(chunk)
        for array_id, counts in chunk.arrays.items():
            if self._fate_of(array_id) != _Fate.STOPPED:
                self._arrays[array_id] = counts
        self._take_in_stops(chunk)
        for job_id in chunk.left:
            known = self._fate_of(job_id)
            if known is None or (known == _Fate.STOPPED and job_id not in self._arrays):
                self._set(job_id, _Fate.ESCAPED if known else _Fate.LEFT)
        # What is spared by now is still there: whatever was asked has not ended it.
        for job_ids, fate in ((chunk.spared, _Fate.SPARED), (chunk.escaped, _Fate.ESCAPED)):
            for job_id in job_ids:
                self._set(job_id, fate)

    def _take_in_stops(self, chunk: Chunk) -> None:
        for job_id in islice(chunk.stop, chunk.asked):
            why = chunk.refused.get(job_id)
            if why is not None:
                self._why[hash(job_id)] = why
            self._set(job_id, _Fate.STOPPED if why is None else _Fate.REFUSED)

    def _take_in_recent(self, chunk: Chunk) -> None:
        self._recent |= {hash(job_id) for job_id in islice(chunk.stop, chunk.asked)}
        self._alive |= {hash(job_id): count for job_id, count in chunk.alive.items()}
        room = 2 * _NAMED_MAX - len(self._alive_names)
        self._alive_names |= dict.fromkeys(islice(chunk.alive, max(0, room)))

    def _fate_of(self, job_id: str) -> _Fate | None:
        child = array_child(job_id)
        if child:
            return self._children.get(child[0], {}).get(job_id)
        return self._jobs.get(hash(job_id))

    def _set(self, job_id: str, fate: _Fate) -> None:
        child = array_child(job_id)
        if child:
            self._children[child[0]][job_id] = fate
        else:
            self._jobs[hash(job_id)] = fate
        if fate in (_Fate.ESCAPED, _Fate.REFUSED) and len(self._worth_naming) < 2 * _NAMED_MAX:
            self._worth_naming[job_id] = None

    def sum_up(self, action: StopAction) -> Tally:
        # An array with a fate counts by its children.
        fates = self._jobs.copy()
        arrays = {each: fates.pop(hash(each), None) for each in self._arrays}
        sums = Counter(self._now(job, fate) for job, fate in fates.items())
        failed = Counter(self._why[job] for job, fate in fates.items() if fate == _Fate.REFUSED)
        for array_id, fate in arrays.items():
            if fate:
                sums += self._of_array(array_id, fate, action, failed)
        # Children that arrived by themselves: nothing is known of the whole array.
        for array_id, children in self._children.items():
            if not arrays.get(array_id):
                sums += Counter(self._now(hash(each), fate) for each, fate in children.items())
                failed += Counter(
                    self._why[hash(child)]
                    for child, fate in children.items()
                    if fate == _Fate.REFUSED
                )
        stopped = sums[_Fate.STOPPED]
        return Tally(
            cancelled=stopped if action == "cancel" else 0,
            terminated=stopped if action == "terminate" else 0,
            left_running=sums[_Fate.LEFT],
            spared=sums[_Fate.SPARED],
            escaped=sums[_Fate.ESCAPED],
            not_ended=sums[_Fate.NOT_ENDED],
            not_known=sums[_Fate.NOT_KNOWN],
            failed=dict(failed),
            escaped_jobs=self._named(_Fate.ESCAPED),
            failed_jobs=self._named(_Fate.REFUSED),
            not_ended_jobs=self._not_ended(),
        )

    def _now(self, job: int, fate: _Fate) -> _Fate:
        """What became of a job, as far as is known."""
        if fate != _Fate.STOPPED or self._observing:
            return fate
        if job in self._alive:
            return _Fate.NOT_ENDED
        return _Fate.NOT_KNOWN if job in self._recent else fate

    def _of_array(
        self, array_id: str, fate: _Fate, action: StopAction, failed: Counter[str]
    ) -> Counter[_Fate]:
        waiting, started = self._arrays[array_id]
        left = started if action == "cancel" else 0
        sums = Counter({_Fate.LEFT: left})
        sums[fate] += waiting + started - left
        if fate == _Fate.REFUSED:
            failed[self._why[hash(array_id)]] += waiting + started - left
        # Of a stopped array's children those count that would not be stopped; of one that was
        # left at work, all that were stopped later on.
        for child, of_child in self._children.get(array_id, {}).items():
            if of_child != fate and sums[fate] > 0:
                sums[fate] -= 1
                sums[of_child] += 1
                if of_child == _Fate.REFUSED:
                    failed[self._why[hash(child)]] += 1
        return self._of_array_now(array_id, sums)

    def _of_array_now(self, array_id: str, sums: Counter[_Fate]) -> Counter[_Fate]:
        """What became of an array's children, as far as is known."""
        stopped = sums.pop(_Fate.STOPPED, 0)
        alive = min(stopped, self._alive.get(hash(array_id), 0))
        if self._observing:
            alive = 0
        rest = self._now(hash(array_id), _Fate.STOPPED) if not alive else _Fate.STOPPED
        sums[_Fate.NOT_ENDED] += alive
        sums[rest] += stopped - alive
        return sums

    def _not_ended(self) -> tuple[str, ...]:
        there = (each for each in self._alive_names if self._fate_of(each) == _Fate.STOPPED)
        return () if self._observing else tuple(islice(there, _NAMED_MAX))

    def _named(self, fate: _Fate) -> tuple[str, ...]:
        def is_so(job_id: str) -> bool:
            child = array_child(job_id)
            own = self._children.get(child[0], {}).get(job_id) if child else None
            return (own or self._fate_of(job_id)) == fate

        return tuple(islice(filter(is_so, self._worth_naming), _NAMED_MAX))


def still_there(
    chunks: Callable[[], Iterable[Chunk]], since: datetime, asked_before: datetime
) -> StillThere | None:
    """
    The jobs that a look, begun at `since`, found although they were asked to stop long before.

    `chunks` reads the chunks of the run, anew each time. Of an array its children count.
    """
    alive: dict[str, int] = {}
    for chunk in chunks():
        if chunk.at >= since:
            alive |= chunk.alive
    asked: dict[str, datetime] = {}
    for chunk in chunks():
        if chunk.at > asked_before:
            break  # They are in order of time.
        for job_id in islice(chunk.stop, chunk.asked):
            if job_id in alive and job_id not in chunk.refused:
                asked.setdefault(job_id, chunk.at)
    if not asked:
        return None
    return StillThere(
        jobs=tuple(islice(asked, _NAMED_MAX)),
        count=sum(alive[job_id] for job_id in asked),
        asked_at=min(asked.values()),
    )
