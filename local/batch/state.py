"""The state of the simulated AWS Batch: jobs, arrays, queues, environments, and their order."""

import heapq
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.batch.work import Work

WAITING = frozenset({"SUBMITTED", "PENDING", "RUNNABLE", "SCHEDULED"})
BUSY = frozenset({"STARTING", "RUNNING"})
ENDED = frozenset({"SUCCEEDED", "FAILED"})

# In the order in which Batch sends them.
_SUMMARY = ("STARTING", "FAILED", "RUNNING", "SUCCEEDED", "RUNNABLE", "SUBMITTED", "PENDING")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GPU_FAMILY = re.compile(r"(p\d|g\d|gr\d)")
_TIMES_XLARGE = re.compile(r"(\d+)xlarge")


def to_ms(at: datetime) -> int:
    """Return a time in milliseconds since 1970, as Batch gives times."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def to_datetime(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)


@lru_cache(maxsize=64)
def event_time(at_s: int) -> str:
    """Return a time in the form of an EventBridge event's `time`: whole seconds."""
    return to_datetime(at_s * 1000).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a changing operation, as the simulated Batch received it."""

    at: datetime
    api: str
    jobs: tuple[str, ...] = ()
    queue: str = ""
    state: str = ""
    reason: str = ""
    error: str = ""  # the code with which the whole call was refused
    refused: frozenset[str] = frozenset()  # jobs that a call for many refused

    @property
    def throttled(self) -> bool:
        return self.error == "TooManyRequestsException"


@dataclass(frozen=True, slots=True)
class Stop:
    """A cancel or terminate that was accepted for a job."""

    at_ms: int
    reason: str


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """One job, or array parent, or array child. Times are milliseconds since 1970."""

    id: str
    queue: "Queue"
    service: bool = False
    listed: bool = True  # ListJobs by queue shows neither array children nor nodes
    array: "Array | None" = None  # whose child it is
    index: int = -1
    children: "Array | None" = None  # whose parent it is
    work: "Work | None" = None  # what submit() asked for; None: the job is from the log
    told: dict[str, Any] = field(default_factory=dict)  # detail of its latest event in the log
    key: tuple[int, int, int] = (0, 0, 0)  # time, attempts, rank of its latest status in the log

    status: str = ""
    since_ms: int = 0
    created_ms: int = 0
    started_ms: int = 0
    stopped_ms: int = 0
    reason: str = ""
    attempts: tuple[dict[str, Any], ...] = ()

    stop: Stop | None = None
    cancelled: bool = False
    terminated: bool = False
    doomed: bool = False  # the end is planned
    cut: bool = False  # the stop ended an attempt
    blockers: set[str] = field(default_factory=set)
    environment: "Environment | None" = None
    vcpus: float = 0  # used, while it starts and runs

    place: int = 0  # in its queue's list of jobs of this status
    turn: int = 0  # in its queue's order of dispatch, while RUNNABLE
    version: int = 0  # counts the changes of its description

    # Mostly for a Batch with `Disorder`.
    pending_stops: set[bool] = field(default_factory=set)  # accepted; True: a terminate
    run: int = 0  # counts starts and returns: a step planned under another number is void
    rests: bool = False  # RUNNABLE, and must not start yet
    scheduled_ms: int = 0
    preemptions: tuple[dict[str, Any], ...] = ()
    tags: dict[str, str] | None = None  # where they have changed since submit()
    listed_late: bool = False  # lists show its changes late
    listed_from_ms: int = 0  # when its latest change shows
    listed_as: dict[str, Any] | None = None  # None: lists do not show it yet
    described_late: bool = False
    described_from_ms: int = 0
    described_as: dict[str, Any] | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class Array:
    """The children of an array job."""

    size: int
    own: bool = False  # made by submit()
    parent: Job | None = None
    jobs: dict[int, Job] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # of `jobs`, by status
    touched_ms: int | None = None  # when a stop made the array's end in the log untrue
    ending: bool = False

    # What the log as a whole shows, and what it leaves open.
    told: dict[str, Any] = field(default_factory=dict)  # the parent's; its earlier events win
    tags: dict[str, Any] = field(default_factory=dict)  # in its children's events
    told_size: int = 0
    highest: int = -1  # index of a child
    told_end: bool = False
    reported_ends: dict[int, str] = field(default_factory=dict)
    final: dict[str, int] | None = None  # the parent's own count, once it has ended
    ghosts: set[int] = field(default_factory=set)  # ended, but it is not known how
    assumed: dict[str, int] = field(default_factory=dict)  # of the ghosts, by status

    def count(self, old: str, new: str) -> None:
        """Count a child's move from one status to another; from "" when it is new."""
        if old:
            self.counts[old] -= 1
        self.counts[new] = self.counts.get(new, 0) + 1

    def ended(self) -> int:
        return sum(self.counts.get(status, 0) for status in ENDED) + len(self.ghosts)

    def summary(self) -> dict[str, int]:
        """Return the number of children by status, as DescribeJobs shows it."""
        summary = dict.fromkeys(_SUMMARY, 0)
        if self.final is not None:
            return summary | self.final
        summary |= self.counts
        summary["SUBMITTED"] += self.size - len(self.jobs)
        for index in self.ghosts:
            summary[self.jobs[index].status if index in self.jobs else "SUBMITTED"] -= 1
        for status, count in self.assumed.items():
            summary[status] += count
        return summary


class Line:
    """
    Jobs in the order in which they came, with places that do not change.

    A page can begin after any place, even one whose job has left since. Each operation takes
    constant or logarithmic time, on average.
    """

    def __init__(self, place: str) -> None:
        self._place_of: Callable[[Job], int] = attrgetter(place)
        self._places: list[int] = []
        self._jobs: list[Job] = []
        self._front = 0
        self._left = 0

    def add(self, job: Job) -> None:
        self._places.append(self._place_of(job))
        self._jobs.append(job)

    def left(self) -> None:
        """Note that a job has left. Its place must no longer be the one that it had here."""
        self._left += 1
        if self._left > 1000 and self._left * 2 > len(self._jobs):  # noqa: PLR2004 - rarely
            staying = list(self.after(0))
            self._jobs, self._places = staying, [self._place_of(job) for job in staying]
            self._front = self._left = 0

    def first(self) -> Job | None:
        while self._front < len(self._jobs):
            job = self._jobs[self._front]
            if self._place_of(job) == self._places[self._front]:
                return job
            self._front += 1
        return None

    def after(self, place: int) -> Iterator[Job]:
        start = max(self._front, bisect_right(self._places, place))
        for at in range(start, len(self._jobs)):
            if self._place_of(self._jobs[at]) == self._places[at]:
                yield self._jobs[at]


@dataclass(slots=True, eq=False, kw_only=True)
class Queue:
    """A job queue. `detail` is in the shape of DescribeJobQueues."""

    name: str
    detail: dict[str, Any]
    jobs: list[Job] = field(default_factory=list)
    in_order: bool = True  # `jobs` are in order of creation
    listed: dict[tuple[bool, str], Line] = field(default_factory=dict)
    runnable: Line = field(default_factory=lambda: Line("turn"))
    own: Line = field(default_factory=lambda: Line("turn"))  # of these, those that submit() made
    vcpus: float = 0  # of the jobs that start or run
    updating_until_ms: int = 0
    status_before: str = ""  # it was UPDATING
    front_left_ms: int = 0

    @property
    def arn(self) -> str:
        return str(self.detail["jobQueueArn"])

    @property
    def environments(self) -> list[str]:
        order = sorted(self.detail["computeEnvironmentOrder"], key=lambda each: each["order"])
        return [each["computeEnvironment"] for each in order]

    def line(self, status: str, *, service: bool) -> Line:
        found = self.listed.get((service, status))
        if found is None:
            found = self.listed[service, status] = Line("place")
        return found


@dataclass(slots=True, eq=False, kw_only=True)
class Environment:
    """A compute environment. `detail` is in the shape of DescribeComputeEnvironments."""

    detail: dict[str, Any]
    used_vcpus: float = 0

    def has_room(self, vcpus: float) -> bool:
        return self.used_vcpus + vcpus <= self._max_vcpus

    def can_ever_hold(self, work: "Work") -> bool:
        """Check whether the work could start here if nothing else ran."""
        fargate = str(self._resources.get("type", "EC2")).startswith("FARGATE")
        return bool(
            self.detail.get("state") == "ENABLED"
            and self.detail.get("status") == "VALID"
            and fargate == (work.platform == "FARGATE")
            and work.vcpus * (work.nodes or 1) <= self._max_vcpus
            and (fargate or any(_fits(each, work) for each in self._instance_types))
        )

    @property
    def _resources(self) -> dict[str, Any]:
        resources: dict[str, Any] = self.detail.get("computeResources", {})
        return resources

    @property
    def _max_vcpus(self) -> float:
        return float(self._resources.get("maxvCpus", inf))  # Unmanaged ones have none.

    @property
    def _instance_types(self) -> list[str]:
        return self._resources.get("instanceTypes") or ["optimal"]


def _fits(instance_type: str, work: "Work") -> bool:
    family, _, size = instance_type.partition(".")
    if work.gpus and not _GPU_FAMILY.match(family):
        return False
    times = _TIMES_XLARGE.fullmatch(size)
    largest = {"": 1_000, "medium": 1, "large": 2, "xlarge": 4}
    return work.vcpus <= (4 * int(times[1]) if times else largest.get(size, 1_000))


class Agenda:
    """Planned steps, in order of time and, for the same time, in the order of planning."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._plans: dict[int, deque[tuple[Callable[..., None], tuple[Any, ...]]]] = {}

    def plan[*A](self, at_ms: int, do: Callable[[*A], None], *arguments: *A) -> None:
        plans = self._plans.get(at_ms)
        if plans is None:
            plans = self._plans[at_ms] = deque()
            heapq.heappush(self._times, at_ms)
        plans.append((do, arguments))

    def next_ms(self) -> int | None:
        return self._times[0] if self._times else None

    def do_next(self) -> None:
        at_ms = self._times[0]
        plans = self._plans[at_ms]
        do, arguments = plans.popleft()
        if not plans:
            heapq.heappop(self._times)
            del self._plans[at_ms]
        do(*arguments)
