"""A job event: one state change of an AWS Batch job, or a blocked queue."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from batch_watchdog.notices.links import DEFAULT_PLACE, LogPlace

# Array jobs have 2 to 10,000 children. https://docs.aws.amazon.com/batch/latest/userguide/array_jobs.html
ARRAY_MAX = 10_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

WAITING = ("SUBMITTED", "PENDING", "RUNNABLE", "SCHEDULED")
STARTED = ("STARTING", "RUNNING")
ENDED = ("SUCCEEDED", "FAILED")

type JobKind = Literal["single", "array", "child", "multi-node", "node", "service"]


# Not frozen: a frozen one takes three times as long to make, and one is made for each message.
@dataclass(slots=True, kw_only=True)
class JobEvent:
    """One job's change into a state. `at` is the event's own time, in UTC."""

    at: datetime
    job_id: str
    job_name: str
    queue: str  # ARN
    definition: str  # ARN; "" for service jobs
    status: str
    kind: JobKind
    parent_id: str = ""  # of an array child
    index: int = -1  # of an array child
    size: int | None = None  # of an array parent
    summary: Mapping[str, int] = field(default_factory=dict)  # children by state, of a parent
    attempts: int = 0  # attempts made so far
    not_before: datetime | None = None  # Batch shows that it entered its state then, or later
    reason: str = ""
    container_reason: str = ""  # This and the fields to `log_stream`: failed jobs only.
    exit_code: int | None = None
    container: str = ""  # the one with this reason, exit code and log, of several
    log_stream: str = ""
    log_place: LogPlace = DEFAULT_PLACE
    depends_on: tuple[str, ...] = ()  # ids of jobs
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def began(self) -> bool:
        """Whether Batch shows of a failed job that it ran: an attempt, its start, or its log."""
        return bool(self.attempts or self.not_before or self.log_stream)

    @property
    def followed(self) -> bool:
        """Whether it failed before it began, because a job that it depends on had failed."""
        return (
            self.status == "FAILED"
            and bool(self.depends_on)
            and not self.began
            and self.exit_code is None
            and blames_a_dependency(self.reason)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueBlocked:
    """Batch reports that the job at the head of a queue blocks it. `queue` is an ARN."""

    at: datetime
    queue: str
    job_id: str
    job_name: str
    reason: str
    service: bool


def resource_name(arn: str) -> str:
    """Return the name in an ARN ("gpu" of "arn:…:job-queue/gpu"); a plain name is unchanged."""
    return arn.rpartition("/")[2]


def array_child(job_id: str) -> tuple[str, int] | None:
    """Return parent and index if `job_id` is an array child's ("id:7"), else None."""
    parent, colon, index = job_id.rpartition(":")
    if colon and parent and re.fullmatch(r"[0-9]+", index):
        return parent, int(index)
    return None


# Batch writes "Dependent Job failed". It documents no list of its reasons, so other texts with
# the same meaning match too. But the whole text must say so: people name dependencies, too.
_DEPENDENCY_FAILED = re.compile(
    r"(?:(?:an?|the|its|one|of) )*"
    r"(?:dependent jobs?|job dependenc(?:y|ies)|jobs? (?:that )?(?:it|this job) depends on)"
    r"(?: (?:has|have|had|was|were|been|did|not))* (?:fail|cancel|terminat|unsuccess|succe)\w*"
    r"(?:\.?|\s*[:(].*)",
    re.IGNORECASE | re.DOTALL,
)


def blames_a_dependency(reason: str) -> bool:
    """Whether a status reason says that a job failed because a job that it depends on failed."""
    return _DEPENDENCY_FAILED.fullmatch(reason) is not None


def in_utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


# A limit added to a time before this is still a valid time, in every zone.
TIMES_END = datetime(9000, 1, 1, tzinfo=UTC)

type Time = Annotated[AwareDatetime, Field(ge=EPOCH, lt=TIMES_END), AfterValidator(in_utc)]


_MILLIS_END = int(TIMES_END.timestamp()) * 1000


def from_millis(millis: object) -> datetime | None:
    """Convert a time in milliseconds of Batch's API; None if it is 0, missing or not a time."""
    return EPOCH + timedelta(milliseconds=known) if (known := known_millis(millis)) else None


def known_millis(millis: object) -> int:
    """Return a time in milliseconds; 0 for anything else, also for any type but int."""
    if type(millis) is int and 0 < millis < _MILLIS_END:  # True is not a time.
        return millis
    return 0
