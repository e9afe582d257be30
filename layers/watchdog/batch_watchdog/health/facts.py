"""The facts of a check. A fact that could not be read is None; `not_known` says why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmFact:
    """
    A CloudWatch alarm that exists, with its present state.

    `changed_at` is when it entered this state, where AWS says so. `over` is the threshold that its
    metric must exceed; `metric` names the metric. Each is empty for an alarm of another kind.
    """

    name: str
    arn: str
    state: str
    region: str
    changed_at: datetime | None = None
    metric: str = ""
    over: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    The facts as AWS returned them at `at`.

    `confirmed` and `pending` count the subscriptions to notices. `alarms` are those that guards
    name, and `in_alarm` the names of all that are in ALARM in this region. `last_event` is the
    beginning of the hour in which AWS Batch last sent an event; None with `events_known` means no
    event for two weeks. `dead_letters` are counts by queue.
    """

    at: datetime
    confirmed: int | None = None
    pending: int = 0
    alarms: tuple[AlarmFact, ...] | None = None
    in_alarm: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    events_known: bool = False
    last_event: datetime | None = None
    dead_letters: Mapping[str, int] | None = None
    not_known: Mapping[str, str] = field(default_factory=dict)
