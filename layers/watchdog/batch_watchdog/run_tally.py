"""
What a stop run comes to: each job counted once, in whatever order and however often it was found.

The chunks of a run are read in order of time. What was last found of a job counts, but a job that
was stopped and is then seen at work has escaped; and an array is counted by its children, as they
were when it was stopped.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import Enum, auto
from itertools import islice

from batch_watchdog.changes import array_child
from batch_watchdog.guard_notices import Tally
from batch_watchdog.guard_state import StopAction
from batch_watchdog.runs import Chunk

_NAMED_MAX = 100  # jobs named, of each kind


class _Fate(Enum):
    LEFT = auto()
    SPARED = auto()
    STOPPED = auto()
    ESCAPED = auto()
    REFUSED = auto()


def tally(chunks: Iterable[Chunk], action: StopAction) -> Tally:
    """Count what the run of a stage found, given its chunks in order of time."""
    found = _Found()
    for chunk in chunks:
        found.take_in(chunk)
    return found.sum_up(action)


class _Found:
    """A queue may hold a million jobs: of an id only its hash is kept."""

    def __init__(self) -> None:
        self._jobs: dict[int, _Fate] = {}
        self._arrays: dict[str, tuple[int, int]] = {}  # children that waited, and had started
        self._children: dict[str, dict[str, _Fate]] = defaultdict(dict)  # those stopped singly
        self._why: dict[int, str] = {}
        self._worth_naming: dict[str, None] = {}

    def take_in(self, chunk: Chunk) -> None:
        for array_id, counts in chunk.arrays.items():
            if self._fate_of(array_id) != _Fate.STOPPED:
                self._arrays[array_id] = counts
        for job_id in islice(chunk.stop, chunk.asked):
            why = chunk.refused.get(job_id)
            if why is not None:
                self._why[hash(job_id)] = why
            self._set(job_id, _Fate.STOPPED if why is None else _Fate.REFUSED)
        for job_id in chunk.left:
            known = self._fate_of(job_id)
            if known is None:
                self._set(job_id, _Fate.LEFT)
            elif known == _Fate.STOPPED and job_id not in self._arrays:
                self._set(job_id, _Fate.ESCAPED)
        for job_id in chunk.spared:
            if self._fate_of(job_id) is None:
                self._set(job_id, _Fate.SPARED)

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
        sums = Counter(fates.values())
        failed = Counter(self._why[job] for job, fate in fates.items() if fate == _Fate.REFUSED)
        for array_id, fate in arrays.items():
            if fate:
                sums += self._of_array(array_id, fate, action, failed)
        # Children that arrived by themselves: nothing is known of the whole array.
        for array_id, children in self._children.items():
            if not arrays.get(array_id):
                sums += Counter(children.values())
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
            failed=dict(failed),
            escaped_jobs=self._named(_Fate.ESCAPED),
            failed_jobs=self._named(_Fate.REFUSED),
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
        # Of a stopped array's children those count that would not be stopped; of one that was
        # left at work, all that were stopped later on.
        for child, of_child in self._children.get(array_id, {}).items():
            if of_child != fate and sums[fate] > 0:
                sums[fate] -= 1
                sums[of_child] += 1
                if of_child == _Fate.REFUSED:
                    failed[self._why[hash(child)]] += 1
        return sums

    def _named(self, fate: _Fate) -> tuple[str, ...]:
        def is_so(job_id: str) -> bool:
            child = array_child(job_id)
            own = self._children.get(child[0], {}).get(job_id) if child else None
            return (own or self._fate_of(job_id)) == fate

        return tuple(islice(filter(is_so, self._worth_naming), _NAMED_MAX))
