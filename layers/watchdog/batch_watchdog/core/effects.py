"""
Effects: what is to be done. A decision returns them, the table keeps them, `act` does them.

An effect may be carried out more than once, so each must be safe to repeat. `act` checks an effect
that changes something in AWS Batch again just before the call, and leaves it out if it is not meant
any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from batch_watchdog.notices.notice import Notice

type WaitCause = Literal["misconfigured", "capacity"]
# Every reason that we give for a stop begins with this. Batch shows the reason as the job's
# statusReason, so we can recognise our own stops.
STOP_MARK = "batch-watchdog: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Notify operators. All notices are of one kind; they get their final text when sent."""

    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """
    Send to a chat what an `Announce` sends to operators at once.

    The messages are as `notices/chat.py` makes them. `of` is the sort key of the action that
    announces; so a notice that is announced twice gives two of these.
    """

    messages: tuple[dict[str, Any], ...]
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopJobs:
    """
    Cancel or terminate jobs, all for one reason, which begins with `STOP_MARK`.

    `service` marks service jobs, which have a stop call of their own.

    The other fields say why the stop was decided, so that it can be checked again just before the
    call.

    A limit's stop has these fields. `status` is the limited state, and `since` says for each of
    the jobs, in their order, since when it has been in that state. `escalates` says that the jobs
    have left that state and are terminated all the same; then `waited_until` is the time up to
    which they have certainly waited, and `attempts` is how many attempts each had made when this
    was decided. `cause` is the cause whose limit they have passed, or None where no cause was
    known. `counted` says that the brake counts them, in the minute in which this was recorded.

    A guard's stop has the `guard` and its `run_id`. An array rule's stop has the `array_id`.
    """

    how: Literal["cancel", "terminate"]
    job_ids: tuple[str, ...]
    reason: str
    rule: str
    service: bool = False
    status: str = ""
    since: tuple[datetime, ...] = ()
    escalates: bool = False
    cause: WaitCause | None = None
    waited_until: datetime | None = None
    counted: bool = False
    attempts: int | None = None
    guard: str = ""
    run_id: str = ""
    array_id: str = ""


def accepted_and_refused(result: Any) -> tuple[int, int]:
    """Return how many jobs of a stop AWS Batch accepted and refused, by its action's result."""
    fields = result if isinstance(result, Mapping) else {}
    return int(fields.get("accepted") or 0), len(fields.get("refused") or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class SetQueueState:
    """Open or close a queue, for a guard. A closed queue refuses new jobs and keeps those in it."""

    queue: str
    state: Literal["ENABLED", "DISABLED"]
    guard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """Begin (or continue) a guard's stop run."""

    run_id: str


type Effect = Announce | Chat | StopJobs | SetQueueState | StartRun
