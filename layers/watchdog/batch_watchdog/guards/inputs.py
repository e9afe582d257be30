"""The inputs of a guard's decisions, and the decision."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from batch_watchdog.core.effects import Effect
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.state import GuardState, StageName


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmReceived:
    """A billing signal arrived at `now`."""

    now: datetime
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePassed:
    """Time has passed: it is `now`."""

    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSet:
    """An operator sets this stage, milder or harder; "calm" is a release."""

    now: datetime
    stage: StageName
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesFoundOpen:
    """The stop run `run_id` has found that these queues are open, in the guard's scope."""

    now: datetime
    run_id: str
    queues: Collection[str]


type GuardInput = AlarmReceived | TimePassed | StageSet | QueuesFoundOpen


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardDecision:
    """
    A guard's new state, and what is to be done.

    `why` is for the log: what was decided, even if nothing changes. `to_announce` is for operators:
    why a message of a budget or an anomaly raised nothing; "" if there is nothing to report.
    """

    state: GuardState
    effects: tuple[Effect, ...] = ()
    why: str
    to_announce: str = ""
