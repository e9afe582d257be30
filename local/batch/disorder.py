"""Sets the irregular behaviour of the simulated AWS Batch: which kinds of it, and how often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

type Span = tuple[float, float]  # seconds, the least and the most
type ChildTags = Literal["as they are", "as submitted", "none"]

# The fields that an answer of DescribeJobs may lack.
FIELDS = (
    "attempts",
    "createdAt",
    "tags",
    "jobName",
    "jobQueue",
    "startedAt",
    "arrayProperties.statusSummary",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disorder:
    """
    The irregularities of a simulated Batch. Each is off unless it is set. Shares are from 0 to 1.

    Queues:
        updating_s: how long a queue is UPDATING after UpdateJobQueue, and refuses another one.
        updates_late: the share of updates whose new state shows only after that time.

    Stops:
        slow_stops: the share of stops that are accepted at once and take effect later.
        slow_stop_s: how much later.
        ignores_terminate: the share of jobs that run on after a terminate was accepted.
        ignored_s: how long they run on; None: until their own end.

    Answers:
        list_lag_s: lists show a job's changes up to this many seconds late.
        describe_lag_s: descriptions show them up to this many seconds late.
        lacking: the share of described jobs that lack some of `FIELDS`.
        left_out: the share of described jobs that an answer leaves out.
        events_without_tags: events have no tag but AWS's own `resourceArn`.
        child_tags: which tags of their array its children show, in events and answers. AWS does
            not document this. A child itself cannot be tagged.

    Ways back to RUNNABLE:
        preempted: the share of runs of service jobs that are preempted in the middle.
        requeued: the share of starts that lead back to RUNNABLE, without an attempt.
        requeue_wait_s: how long such a job stays RUNNABLE at least.
        preempted_is_attempt: `attempts` counts preempted runs too. AWS does not document this.
        cancelled_returns: a job that has started in spite of an accepted cancel may also come
            back to RUNNABLE. AWS does not exclude it.
    """

    seed: int = 0
    updating_s: Span = (0, 0)
    updates_late: float = 0.0
    slow_stops: float = 0.0
    slow_stop_s: Span = (1, 600)
    ignores_terminate: float = 0.0
    ignored_s: Span | None = None
    list_lag_s: float = 0.0
    describe_lag_s: float = 0.0
    lacking: float = 0.0
    left_out: float = 0.0
    events_without_tags: bool = False
    child_tags: ChildTags = "as they are"
    preempted: float = 0.0
    requeued: float = 0.0
    requeue_wait_s: Span = (0, 0)
    preempted_is_attempt: bool = False
    cancelled_returns: bool = False


class Dice:
    """Draws the random events. The same seed and the same calls give the same run."""

    def __init__(self, disorder: Disorder) -> None:
        self._disorder = disorder
        self._random = Random(disorder.seed)  # noqa: S311 - it need only be the same

    def happens(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    def ms(self, span: Span) -> int:
        """Draw a duration between the least and the most, in milliseconds."""
        least, most = span
        return round(1000 * (self._random.uniform(least, most) if most > least else least))

    def ignores_terminate(self, job_id: str) -> bool:
        """Decide whether a job ignores a terminate: the same for a job at each call."""
        share = self._disorder.ignores_terminate
        drawn = Random(f"{self._disorder.seed} {job_id}")  # noqa: S311 - it need only be the same
        return share > 0 and drawn.random() < share

    def lacking_fields(self) -> Sequence[str]:
        """Draw the fields that one description of one job lacks."""
        if not self.happens(self._disorder.lacking):
            return ()
        return self._random.sample(FIELDS, self._random.randint(1, len(FIELDS)))


def without(detail: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Return the detail without these fields; "a.b" is the field b of a."""
    left = {name: item for name, item in detail.items() if name not in fields}
    for field in fields:
        outer, _, inner = field.partition(".")
        if inner and isinstance(left.get(outer), dict):
            left[outer] = {name: item for name, item in left[outer].items() if name != inner}
    return left
