"""
Compute the result of a stop run: each job counts once, however often and in whatever order found.

The chunks of a run are read in order of time. The last one that has a job decides, but a job that
was stopped and is then seen at work has escaped. An array counts by its children, as they were when
it was stopped.

A job that was asked to stop counts as stopped once Batch has shown that it ended by the stop. Where
there are more jobs than Batch can be asked about after a look, a job also counts once a whole look
has not found it any more. That is not so for a job that was stopped on its arrival (it is not known
whether Batch was asked), nor for an array's child that was stopped singly (no look would show it).
Until then, its end is not known; it has not ended if the last whole look, or the present one, found
it. Of an array's children, at most as many were stopped as have failed, and as are gone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum, auto
from itertools import islice
from typing import Any

from batch_watchdog.core.job_event import array_child
from batch_watchdog.guards.state import StopAction
from batch_watchdog.guards.stop_run.counts import NAMED_MAX, Tally
from batch_watchdog.guards.stop_run.run import Chunk, Run

ASKED_AFTER_MAX = 1_000  # jobs about whose end Batch is asked after a look
SERVICE_ASKED_AFTER_MAX = 100  # each takes a call


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


class _Shown:
    """
    What the looks of a run have shown of the jobs that were asked to stop.

    The last look that came to its end began at `known_at`, if there was one.
    """

    def __init__(self, *, known_at: datetime | None, observing: bool) -> None:
        self.alive: dict[str, None] = {}  # the ids of some that were found
        self._known_at = known_at
        self._observing = observing
        self._recent: set[int] = set()  # asked to stop since that look began
        self._alive: dict[int, int] = {}  # found since then, though the stop was accepted
        self._at_work: dict[int, int] = {}  # children that were found at work since then
        self._unproven: set[int] = set()  # a look that does not find them proves nothing
        self._ended: dict[int, int] = {}  # as Batch has shown
        self._asked: dict[bool, set[int]] = {False: set(), True: set()}  # whether service jobs

    def take_in(self, chunk: Chunk) -> None:
        if self._known_at is None or chunk.at >= self._known_at:
            self._take_in_recent(chunk)
        for job_id, count in chunk.ended.items():
            self._ended[hash(job_id)] = count
            self._recent.discard(hash(job_id))
            self._unproven.discard(hash(job_id))
            if job_id not in chunk.alive:
                self._alive.pop(hash(job_id), None)
        asked, most = self._asked[chunk.service], _asked_after_max(service=chunk.service)
        for job_id in islice(chunk.stop, chunk.asked):
            if chunk.arrived or array_child(job_id):
                self._unproven.add(hash(job_id))
            else:
                self._unproven.discard(hash(job_id))
            if len(asked) <= most:  # One more shows that there are too many.
                asked.add(hash(job_id))

    def _take_in_recent(self, chunk: Chunk) -> None:
        self._recent |= {hash(job_id) for job_id in islice(chunk.stop, chunk.asked)}
        for array_id in (*chunk.left, *chunk.alive):
            if array_id in chunk.arrays:
                self._at_work[hash(array_id)] = chunk.arrays[array_id][1]
                self._alive.pop(hash(array_id), None)
        self._alive |= {hash(job_id): count for job_id, count in chunk.alive.items()}
        room = 2 * NAMED_MAX - len(self.alive)
        self.alive |= dict.fromkeys(islice(chunk.alive, max(0, room)))

    def fate(self, job: int, fate: _Fate) -> _Fate:
        """Return a job's fate, as far as it is known."""
        if fate != _Fate.STOPPED or self._observing:
            return fate
        if job in self._alive:
            return _Fate.NOT_ENDED
        is_new = job in self._recent or job in self._unproven
        return _Fate.NOT_KNOWN if is_new or self._awaits_answer(job) else fate

    def _awaits_answer(self, job: int) -> bool:
        """Whether Batch is asked how a job ended, and has not shown it yet."""
        return job not in self._ended and any(
            job in asked and len(asked) <= _asked_after_max(service=service)
            for service, asked in self._asked.items()
        )

    def tell_apart(self, array: int, sums: Counter[_Fate], count: int) -> None:
        """Divide a stopped array's children by their fate: `count`, when it was stopped."""
        asked, failed = sums.pop(_Fate.STOPPED, 0), self._ended.get(array)
        alive = min(asked, self._alive.get(array, 0))
        at_work = self._at_work.get(array, 0)
        is_new = array in self._recent or array in self._unproven
        gone = max(0, min(asked, count - at_work) - alive)
        stopped = min(gone, failed or 0)
        sums[_Fate.NOT_ENDED] += alive
        sums[_Fate.STOPPED] += stopped
        # Children that have not failed ran, or ended without the stop. That is not known where
        # Batch has not shown yet how many have failed, nor of a new stop.
        how_unknown = failed is None or is_new
        sums[_Fate.NOT_KNOWN if how_unknown else _Fate.ESCAPED] += gone - stopped
        sums[_Fate.NOT_KNOWN if is_new else _Fate.ESCAPED] += asked - alive - gone
        # Some of those that were left at work have waited again since, and were cancelled then.
        again = min(sums[_Fate.LEFT], max(0, (failed or 0) - gone))
        sums[_Fate.LEFT] -= again
        sums[_Fate.STOPPED] += again


class _Found:
    """
    The fate of each job and array that a run found, and their sums.

    A queue may hold a million jobs: only the hash of an id is kept. A run that is `observing` stops
    nothing: the jobs that it would stop count as stopped.
    """

    def __init__(self, *, known_at: datetime | None, observing: bool) -> None:
        self._shown = _Shown(known_at=known_at, observing=observing)
        self._observing = observing
        self._jobs: dict[int, _Fate] = {}
        self._arrays: dict[str, tuple[int, int]] = {}  # children that waited, and that had started
        self._children: dict[str, dict[str, _Fate]] = defaultdict(dict)  # those stopped singly
        self._why: dict[int, str] = {}
        self._worth_naming: dict[str, None] = {}

    def take_in(self, chunk: Chunk) -> None:
        self._shown.take_in(chunk)
        for array_id, counts in chunk.arrays.items():
            if self._fate_of(array_id) != _Fate.STOPPED:
                self._arrays[array_id] = counts
        self._take_in_stops(chunk)
        for job_id in chunk.left:
            known = self._fate_of(job_id)
            if known is None or (known == _Fate.STOPPED and job_id not in self._arrays):
                self._set(job_id, _Fate.ESCAPED if known else _Fate.LEFT)
        # A job that is spared now is still there: no earlier stop has ended it.
        for job_ids, fate in ((chunk.spared, _Fate.SPARED), (chunk.escaped, _Fate.ESCAPED)):
            for job_id in job_ids:
                self._set(job_id, fate)

    def _take_in_stops(self, chunk: Chunk) -> None:
        for job_id in islice(chunk.stop, chunk.asked):
            why = chunk.refused.get(job_id)
            if why is not None:
                self._why[hash(job_id)] = why
            self._set(job_id, _Fate.STOPPED if why is None else _Fate.REFUSED)

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
        if fate in (_Fate.ESCAPED, _Fate.REFUSED) and len(self._worth_naming) < 2 * NAMED_MAX:
            self._worth_naming[job_id] = None

    def sum_up(self, action: StopAction) -> Tally:
        # An array with a fate counts by its children.
        fates = self._jobs.copy()
        arrays = {each: fates.pop(hash(each), None) for each in self._arrays}
        sums = Counter(self._shown.fate(job, fate) for job, fate in fates.items())
        failed = Counter(self._why[job] for job, fate in fates.items() if fate == _Fate.REFUSED)
        for array_id, fate in arrays.items():
            if fate:
                sums += self._of_array(array_id, fate, action, failed)
        # Children that were found without their array: nothing is known of the whole array.
        for array_id, children in self._children.items():
            if not arrays.get(array_id):
                sums += Counter(
                    self._shown.fate(hash(each), fate) for each, fate in children.items()
                )
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

    def _of_array(
        self, array_id: str, fate: _Fate, action: StopAction, failed: Counter[str]
    ) -> Counter[_Fate]:
        waiting, started = self._arrays[array_id]
        left = started if action == "cancel" else 0
        sums = Counter({_Fate.LEFT: left})
        sums[fate] += waiting + started - left
        if fate == _Fate.REFUSED:
            failed[self._why[hash(array_id)]] += waiting + started - left
        # A child counts singly where its fate is not its array's: it was not stopped although
        # the array was, or the array was left at work and the child was stopped later.
        for child, of_child in self._children.get(array_id, {}).items():
            if of_child != fate and sums[fate] > 0:
                sums[fate] -= 1
                if fate == _Fate.REFUSED:  # The array's stop was refused, and this child's was not.
                    failed[self._why[hash(array_id)]] -= 1
                sums[self._shown.fate(hash(child), of_child)] += 1
                if of_child == _Fate.REFUSED:
                    failed[self._why[hash(child)]] += 1
        if fate == _Fate.STOPPED and not self._observing:
            self._shown.tell_apart(hash(array_id), sums, waiting + started)
        return sums

    def _not_ended(self) -> tuple[str, ...]:
        there = (each for each in self._shown.alive if self._fate_of(each) == _Fate.STOPPED)
        return () if self._observing else tuple(islice(there, NAMED_MAX))

    def _named(self, fate: _Fate) -> tuple[str, ...]:
        def is_so(job_id: str) -> bool:
            child = array_child(job_id)
            own = self._children.get(child[0], {}).get(job_id) if child else None
            return (own or self._fate_of(job_id)) == fate

        return tuple(islice(filter(is_so, self._worth_naming), NAMED_MAX))


def _asked_after_max(*, service: bool) -> int:
    return SERVICE_ASKED_AFTER_MAX if service else ASKED_AFTER_MAX


class Unsettled:
    """
    Jobs that were asked to stop, and of which it is not known how they ended.

    `arrays` has by id how many of the children had ended by the stop when Batch was last asked, if
    it was. `failed_before` has how many had failed when they were stopped. A child that was stopped
    singly counts with its array, if that was asked to stop too. Where lists found more than `most`
    jobs, these are left out: for them it is enough that no list shows them any more.
    """

    def __init__(self, chunks: Iterable[Chunk], most: int = ASKED_AFTER_MAX) -> None:
        self.arrays: dict[str, int | None] = {}
        self.failed_before: dict[str, int] = {}
        self.service: dict[str, None] = {}
        self._unproven: dict[str, None] = {}
        self._listed: dict[str, None] = {}
        self._are_few = True
        self._seen: set[str] = set()  # arrays
        self._asked: set[str] = set()  # arrays that were asked to stop
        for chunk in chunks:
            self._seen |= chunk.arrays.keys()
            self.failed_before |= chunk.failed_before
            for job_id in islice(chunk.stop, chunk.asked):
                if job_id not in chunk.refused:
                    self._add(job_id, chunk)
            if len(self._listed) > most:
                self._listed, self._are_few = {}, False
            self._settle(chunk)

    @property
    def jobs(self) -> tuple[str, ...]:
        """All jobs but service jobs; first those whose end only Batch's answer can prove."""
        return (*self._unproven, *self.arrays, *self._listed)

    def _add(self, job_id: str, chunk: Chunk) -> None:
        child = array_child(job_id)
        if chunk.service:
            self.service[job_id] = None
        elif job_id in self._seen:
            self.arrays[job_id] = None
            self._asked.add(job_id)
        elif chunk.arrived or child:
            if not (child and child[0] in self._asked):
                self._unproven[job_id] = None
        elif self._are_few:
            self._listed[job_id] = None

    def _settle(self, chunk: Chunk) -> None:
        for array_id in self.arrays.keys() & chunk.ended.keys():
            self.arrays[array_id] = chunk.ended[array_id]
        left = (each for each in chunk.left if each not in self._seen)
        kinds: Sequence[dict[str, Any]] = (
            self.arrays, self.service, self._unproven, self._listed,
        )  # fmt: skip
        for job_id in (*chunk.over, *chunk.escaped, *chunk.spared, *left):
            for kind in kinds:
                kind.pop(job_id, None)
