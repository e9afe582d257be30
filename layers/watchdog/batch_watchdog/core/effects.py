"""
Effects: what is to be done. A decision returns them, the table keeps them, `act` does them.

An effect may be carried out more than once, so each must bear repeating. What changes something
in AWS Batch is judged again by `act` in the second of the call, and left out if nobody means it
any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from batch_watchdog.notices.notice import Notice

type WaitCause = Literal["misconfigured", "capacity"]
# Every reason that we give for a stop begins so: Batch shows it as the job's statusReason, and
# we know our own doing again by it.
STOP_MARK = "batch-watchdog: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Tell operators. All notices are of one kind; they are worded when they are sent."""

    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """
    Tell the same in a chat, beside what an `Announce` tells at once.

    The messages are as `notices/chat.py` makes them. `of` is the sort key of the action that
    announces; so one and the same notice that is announced twice is two of these.
    """

    messages: tuple[dict[str, Any], ...]
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopJobs:
    """
    Cancel or terminate jobs, all for one reason, which begins with `STOP_MARK`.

    `service` marks service jobs, which only a call of their own can stop.

    The other fields say on what the stop rests, so that it can be judged again in the second in
    which the call is made. A limit's stop has the limited `status`, and `since` when each of the
    jobs, in their order, has been in it; `escalates` says that they have left it, and are
    terminated all the same, and `waited_until` up to when they have waited for certain; `cause`
    is the cause whose limit they have passed, or None where no cause was known; `counted` says
    that the brake counts them, in the minute in which this was recorded; `attempts` is how many
    each of those had made then for which it `escalates`. A guard's stop has the `guard` and its
    `run_id`. An array rule's stop has the `array_id`.
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
    """How many jobs of a stop AWS Batch accepted and refused, by its action's result so far."""
    told = result if isinstance(result, Mapping) else {}
    return int(told.get("accepted") or 0), len(told.get("refused") or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class SetQueueState:
    """Open or close a queue, for a guard. A closed queue refuses new jobs and keeps its own."""

    queue: str
    state: Literal["ENABLED", "DISABLED"]
    guard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """Begin (or continue) a guard's stop run."""

    run_id: str


type Effect = Announce | Chat | StopJobs | SetQueueState | StartRun
