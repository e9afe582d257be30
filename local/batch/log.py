"""Plays a log of EventBridge events into the simulated Batch, each event at its own time."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from local.batch.answers import lasting
from local.batch.packed import PackedEvent
from local.batch.state import ENDED, WAITING, Array, Job, to_ms
from local.batch.world import World

_RANK = {
    "SUBMITTED": 0,
    "PENDING": 1,
    "RUNNABLE": 2,
    "SCHEDULED": 3,
    "STARTING": 4,
    "RUNNING": 5,
    "SUCCEEDED": 7,
    "FAILED": 7,
}
_UNKNOWN_RANK = 6
_LARGEST_ARRAY = 10_000
_NEGATIVE = re.compile(r".:-[0-9]+\Z", re.DOTALL)
_STARTED = ("STARTING", "RUNNING", "SUCCEEDED")


class _Told(NamedTuple):
    """One event. Sorted as tuples, events are in the order in which they took effect."""

    at_ms: int
    attempts: int
    rank: int
    number: int
    job_id: str
    status: str
    blocked: bool  # a "Queue Blocked" event: it describes a RUNNABLE job and changes no status
    service: bool
    kept: dict[str, Any] | PackedEvent  # the detail, or the event that has it

    @property
    def detail(self) -> dict[str, Any]:
        detail: dict[str, Any] = (
            self.kept if isinstance(self.kept, dict) else self.kept.value["detail"]
        )
        return detail


class _Outlasted(NamedTuple):
    """An event that shows a job going on after a stop of it was accepted."""

    at_ms: int
    attempts: int
    terminated: bool  # else cancelled


class Log:
    """
    A log of events, played into a world.

    Events may be repeated, and in any order. After a call has stopped a job, the log's later
    events about it are set aside: in the log, nobody stopped it. But if the log itself shows that
    a stop was accepted (`isTerminated`, `isCancelled`) and the job has not ended, then a stop does
    not end that job here either, and the log's events still count. An event without these marks
    proves nothing: it would be the same for a job that was not stopped.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._told: list[_Told] = []
        self._next = 0
        self._number = 0
        self._arrays: dict[str, Array] = {}
        self._overruled: set[str] = set()
        self._outlasted: dict[str, list[_Outlasted]] = {}
        world.is_known_to_go_on = self._goes_on

    @property
    def overruled(self) -> list[str]:
        """Stopped jobs that the log, as far as it was played, then shows started or SUCCEEDED."""
        return sorted(self._overruled)

    def load(self, events: Iterable[Any]) -> None:
        fresh = [told for event in events if (told := self._read(event))]
        self._told = sorted(self._told[self._next :] + fresh)
        self._next = 0
        for told in fresh:
            detail = told.detail
            if isinstance(detail.get("jobQueue"), str):
                self._world.queue(detail["jobQueue"])
            self._note_array(told, detail)
            self._note_outlasted(told, detail)
        for told in fresh:
            self._note_parent(told)

    def next_ms(self) -> int | None:
        return self._told[self._next].at_ms if self._next < len(self._told) else None

    def play(self) -> None:
        """Apply the next event."""
        told = self._told[self._next]
        self._next += 1
        if self._next > 1000 and self._next * 2 > len(self._told):  # noqa: PLR2004 - rarely
            del self._told[: self._next]
            self._next = 0
        job = self._world.jobs.get(told.job_id)
        if job is None:
            job = self._begin(told)
        if job and not job.work:  # A log does not change the simulator's own jobs.
            self._apply(told, job)

    def _apply(self, told: _Told, job: Job) -> None:
        if job.children:
            self._play_parent(told, job, job.children)
        elif job.stop:
            self._set_aside(told, job)
        elif told.blocked:
            if job.status == "RUNNABLE":
                self._believe(told, job)
        elif told[:3] >= job.key:
            again = job.status == told.status and told.attempts == job.key[1]
            self._believe(told, job)
            job.key = told[:3]
            if not again:
                self._world.move(job, told.status, told.at_ms)

    def is_overruled(self, event: Any) -> bool:
        """Check whether a stop made the event untrue: then it must not be delivered."""
        told = self._read(event)
        job = self._world.jobs.get(told.job_id) if told else None
        if told is None or job is None or job.work:
            return False
        if not job.children:
            return job.stop is not None and told.at_ms > job.stop.at_ms
        touched_ms = job.children.touched_ms
        if touched_ms is None or told.at_ms <= touched_ms:
            return False
        return told.status in ENDED or job.status in ENDED

    # ---- Reading --------------------------------------------------------------------------

    def _read(self, event: Any) -> _Told | None:
        """Read an event; None if it is malformed, or is not an event about a Batch job."""
        packed = event if isinstance(event, PackedEvent) else None
        event = packed.value if packed else event
        if not isinstance(event, Mapping):
            return None
        detail, kind = event.get("detail"), event.get("detail-type", "")
        time = event.get("time", event.get("event_time"))
        at_ms = _parse_time(time) if isinstance(time, str) else None
        if not isinstance(detail, dict) or at_ms is None or not isinstance(kind, str):
            return None
        job_id, status = detail.get("jobId"), detail.get("status")
        if not (isinstance(job_id, str) and job_id and isinstance(status, str) and status):
            return None
        if kind and not kind.startswith(("Batch Job ", "Batch Service Job ")):
            return None
        if not _has_sound_index(job_id, detail):
            return None
        made = detail.get("attempts") or detail.get("eksAttempts")
        self._number += 1
        return _Told(
            at_ms=at_ms,
            attempts=len(made) if isinstance(made, list) else 0,
            rank=_RANK.get(status, _UNKNOWN_RANK),
            number=self._number,
            job_id=job_id,
            status=status,
            blocked=kind.endswith("Blocked"),
            service="Service" in kind or "serviceJobType" in detail,
            kept=packed or detail,
        )

    def _note_array(self, told: _Told, detail: Mapping[str, Any]) -> None:
        """Record what the whole log shows of an array: its size, and how each child ended."""
        child = child_of(told.job_id)
        size = _size(detail)
        if child is None and size is None:
            return
        parent_id, index = child or (told.job_id, -1)
        array = self._arrays.get(parent_id)
        if array is None:
            parent = self._world.jobs.get(parent_id)
            array = self._arrays[parent_id] = Array(size=0, parent=parent)
            if parent:
                parent.children = array
        array.highest = max(array.highest, index)
        array.told_size = max(array.told_size, size or 0)
        array.size = array.told_size or array.highest + 1
        if child and told.status in ENDED:
            array.reported_ends[index] = told.status

    def _note_outlasted(self, told: _Told, detail: Mapping[str, Any]) -> None:
        """Record an event that shows a job going on although a stop of it was accepted."""
        terminated = detail.get("isTerminated") is True
        cancelled = detail.get("isCancelled") is True and told.status in WAITING
        if (terminated or cancelled) and told.status not in ENDED:
            shown = _Outlasted(told.at_ms, told.attempts, terminated=terminated)
            self._outlasted.setdefault(told.job_id, []).append(shown)

    def _goes_on(self, job: Job, terminate: bool) -> bool:  # noqa: FBT001 - as the world asks it
        """
        Check whether the log shows that a stop, accepted now, does not end the job.

        An event that is still to come shows it, or one of this attempt: the job went on after that
        stop. A job that goes on after a terminate also goes on after a cancel.
        """
        return any(
            (each.terminated or not terminate)
            and (each.at_ms > self._world.now_ms or each.attempts == job.key[1])
            for each in self._outlasted.get(job.id, ())
        )

    def _note_parent(self, told: _Told) -> None:
        """Record an array parent's details, even if only its children show that it is an array."""
        array = self._arrays.get(told.job_id)
        if array:
            array.told = told.detail | array.told
            array.told_end |= told.status in ENDED

    def _believe(self, told: _Told, job: Job) -> None:
        """Take over the event's detail; names that it lacks are kept from earlier events."""
        names, detail = ("jobName", "jobQueue", "jobDefinition"), told.detail
        missing = {
            each: job.told[each] for each in names if each in job.told and each not in detail
        }
        job.told = missing | detail if missing else detail
        job.version += 1
        if job.array:
            self._note_tags(job.array, detail)

    @staticmethod
    def _note_tags(array: Array, detail: Mapping[str, Any]) -> None:
        tags = detail.get("tags")
        if isinstance(tags, dict):
            array.tags |= {name: it for name, it in tags.items() if name != "resourceArn"}
            if array.parent:
                array.parent.version += 1

    # ---- Taking effect --------------------------------------------------------------------

    def _begin(self, told: _Told) -> Job | None:
        child = child_of(told.job_id)
        if child and child[1] >= self._arrays[child[0]].size:
            return None  # The array has no child with this index.
        detail = told.detail
        created, queue = detail.get("createdAt"), detail.get("jobQueue")
        job = Job(
            id=told.job_id,
            queue=self._world.queue(queue if isinstance(queue, str) else ""),
            service=told.service,
            listed=child is None and "#" not in told.job_id,
            children=self._arrays.get(told.job_id),
            told=detail,
            created_ms=created if type(created) is int else told.at_ms,
        )
        if job.children:
            self._begin_parent(job, job.children, told.at_ms)
            return job
        if child:
            job.array, job.index = self._arrays[child[0]], child[1]
            self._note_tags(job.array, detail)
            if job.array.parent is None:
                self._imagine_parent(job, child[0], told.at_ms)
        job.key = told[:3]
        self._world.begin(job, told.status, told.at_ms)
        return job

    def _begin_parent(self, parent: Job, array: Array, at_ms: int) -> None:
        array.parent, parent.told = parent, lasting(parent.told)
        self._world.begin(parent, "PENDING", at_ms)

    def _imagine_parent(self, child: Job, parent_id: str, at_ms: int) -> None:
        """Make the parent of a child, where the log has had no event of the parent so far."""
        array = self._arrays[parent_id]
        arn = child.told.get("jobArn")
        image = {"jobArn": arn.rpartition(":")[0]} if isinstance(arn, str) else {}
        parent = Job(
            id=parent_id,
            queue=child.queue,
            children=array,
            told=child.told | image | array.told,
            created_ms=child.created_ms,
        )
        self._begin_parent(parent, array, at_ms)

    def _play_parent(self, told: _Told, parent: Job, array: Array) -> None:
        if told.status not in ENDED:
            if parent.status not in ENDED:
                self._believe(told, parent)
                parent.told = lasting(parent.told)
            return
        summary = _summary(told.detail)
        if array.touched_ms is None:
            if parent.status not in ENDED:
                self._believe(told, parent)
                array.final = summary or None
                self._world.move(parent, told.status, told.at_ms)
                self._end_unreported_children(parent, array, summary, told.at_ms)
            return
        if parent.stop and told.status == "SUCCEEDED":
            self._overruled.add(parent.id)
        self._end_unreported_children(parent, array, summary, told.at_ms)
        self._world.settle(array)

    def _end_unreported_children(
        self, parent: Job, array: Array, summary: dict[str, int], at_ms: int
    ) -> None:
        """
        End the children whose end is nowhere in the log, when the log has ended their parent.

        If all of them must have ended alike, each gets that end. Otherwise it is not known how
        each child ended: they stay as they are, and only their parent counts them as ended.
        """
        unreported = [each for each in range(array.size) if each not in array.reported_ends]
        ends = list(array.reported_ends.values())
        missing = {status: summary.get(status, 0) - ends.count(status) for status in sorted(ENDED)}
        if not unreported or sum(missing.values()) != len(unreported) or min(missing.values()) < 0:
            return
        mine = [each for each in unreported if each not in array.jobs or not array.jobs[each].stop]
        if 0 in missing.values():
            status = max(missing, key=lambda each: missing[each])
            for index in mine:
                child = array.jobs.get(index) or self._world.unseen_child(parent, array, index)
                child.stopped_ms = at_ms
                self._world.move(child, status, at_ms)
        elif array.touched_ms is not None:
            succeeded = min(missing["SUCCEEDED"], len(mine))
            array.ghosts = set(mine)
            array.assumed = {"SUCCEEDED": succeeded, "FAILED": len(mine) - succeeded}

    def _set_aside(self, told: _Told, job: Job) -> None:
        if job.stop and told.at_ms <= job.stop.at_ms:
            return  # Loaded late: the event is from before the stop.
        if told.status in _STARTED:
            self._overruled.add(job.id)
        if told.status != job.status:
            # The job would have moved on now. So it is at the front of its queue, or the jobs
            # that it waited for have ended.
            self._world.doom(job)


def child_of(job_id: str) -> tuple[str, int] | None:
    """Return the parent's id and the index, if the id is an array child's ("id:7")."""
    parent, colon, index = job_id.rpartition(":")
    if colon and parent and index.isascii() and index.isdigit():
        return parent, int(index)
    return None


def _has_sound_index(job_id: str, detail: Mapping[str, Any]) -> bool:
    """Check whether the array index in an event, if it has one, is possible."""
    child = child_of(job_id)
    if (child and child[1] >= _LARGEST_ARRAY) or _NEGATIVE.search(job_id):
        return False
    array = detail.get("arrayProperties")
    told = array.get("index") if isinstance(array, dict) else None
    if type(told) is not int:
        return True
    return told == child[1] if child else 0 <= told < _LARGEST_ARRAY


@lru_cache(maxsize=1024)
def _parse_time(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return to_ms(at) if at.tzinfo else None


def _summary(detail: Mapping[str, Any]) -> dict[str, int]:
    array = detail.get("arrayProperties")
    summary = array.get("statusSummary") if isinstance(array, dict) else None
    if not isinstance(summary, dict):
        return {}
    return {name: number for name, number in summary.items() if type(number) is int}


def _size(detail: Mapping[str, Any]) -> int | None:
    """Return an array's size; None if the job is not an array parent, or the size is unknown."""
    array = detail.get("arrayProperties")
    if not isinstance(array, dict) or type(array.get("index")) is int:
        return None
    size = array.get("size")
    if type(size) is not int or not 0 < size <= _LARGEST_ARRAY:
        size = sum(_summary(detail).values())
    return size if 0 < size <= _LARGEST_ARRAY else None
