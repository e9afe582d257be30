"""The state of a guard: its stage, the latest signal of each alarm, the queues it closed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from batch_watchdog.policy.tables import Mode

type StageName = Literal["calm", "cancel", "terminate"]
type StopAction = Literal["cancel", "terminate"]

# From mild to hard. A policy has at most one stage of each name, as its action is the name.
STAGES: tuple[StageName, ...] = ("calm", "cancel", "terminate")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestSignal:
    """
    The newest evidence of one alarm, with its own time.

    If its own time was in the future, `at` is when it arrived; `said` is the latest such future
    time of this alarm, to recognise a repeat. `ends` is when an ALARM ends without an OK: a
    budget's with the period, an anomaly's with the day. `over` says that a release has ended the
    ALARM, or that it arrived too late to count. `content` distinguishes two messages of one budget
    that have the same time. `arn` is the alarm's, if known. `impacts` are the latest anomalies by
    id, with their impacts (USD).
    """

    state: Literal["ALARM", "OK"]
    at: datetime
    said: datetime | None = None
    ends: datetime | None = None
    over: bool = False
    content: str = ""
    arn: str = ""
    impacts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEntry:
    """
    One entry of a guard into a stage. `run_id` names it, and the stop run that it starts.

    `mode` is the one in which it was entered, `why` is the reason, for people to read, and `by` is
    the operator who asked for it, or is "". If no operator did, `signal` is what led to it: a
    signal, or "after_previous" for the time; "" if an older version has not kept it.
    """

    run_id: str
    stage: StopAction
    since: datetime
    mode: Mode
    why: str
    by: str = ""
    signal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierStage:
    """A stage that another one has followed, while the guard was not calm in between."""

    entry: StageEntry
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """
    A guard as the table keeps it. Without an entry it is calm. `earlier` are the stages before it,
    since the guard was last calm.

    `alarms` are by signal: the kind of message, and the alarm as the policy names it
    ("cloudwatch:batch-spend-80"; if two alarms have one name, the second has its ARN on a
    second line). `lacking` says when each of them last had too little data.
    `closed` are the queues that this guard closed and has not reopened. `by_operator` says that an
    operator raised it while no alarm did: then no alarm releases it. `ringing_since` is when one of
    its alarms last went into ALARM while no other was. `in_doubt_since` says since when all signals
    in ALARM have too little data. `doubted_for` says how long that was so before: in this stage,
    since `ringing_since`, and not under a hold. `released_at` is when an operator last released it:
    older evidence raises nothing. `reopens` says that an operator released it when it was not in
    the policy, so that its queues are reopened although no rule says so.
    """

    guard: str
    entry: StageEntry | None = None
    earlier: tuple[EarlierStage, ...] = ()
    alarms: Mapping[str, LatestSignal] = field(default_factory=dict)
    lacking: Mapping[str, datetime] = field(default_factory=dict)
    closed: tuple[str, ...] = ()
    by_operator: bool = False
    ringing_since: datetime | None = None
    in_doubt_since: datetime | None = None
    doubted_for: timedelta = timedelta()
    last_entered: datetime | None = None
    released_at: datetime | None = None
    reopens: bool = False
    version: int = 0

    @property
    def stage(self) -> StageName:
        return self.entry.stage if self.entry else "calm"


def hardness(stage: StageName) -> int:
    """Return 0 for calm, and more for a stage that stops more."""
    return STAGES.index(stage)
