"""What a guard decides about, and its decision."""

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
    """It is `now`."""

    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSet:
    """An operator wants this stage, milder or harder; "calm" is a release."""

    now: datetime
    stage: StageName
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesFoundOpen:
    """These queues in the guard's scope are open, as seen by the run `run_id` or for it."""

    now: datetime
    run_id: str
    queues: Collection[str]


type GuardInput = AlarmReceived | TimePassed | StageSet | QueuesFoundOpen


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardDecision:
    """
    `why` says for the log what was decided, also where nothing changes.

    `to_tell` says why a message of a budget or an anomaly raised nothing: operators are to know.
    """

    state: GuardState
    effects: tuple[Effect, ...] = ()
    why: str
    to_tell: str = ""
