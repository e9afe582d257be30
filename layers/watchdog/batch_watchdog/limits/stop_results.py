"""
Read from an action's result whether AWS Batch has accepted the stop of a job.

A recorded stop does not mean that Batch was asked to make it: a hold, the policy, a tag or the job
itself may have prevented it. So all conclusions from a stop (that a job has escaped it, that
operators must be notified that it was not made, how the brake counts it) depend on its result.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from batch_watchdog.core.effects import StopJobs
from batch_watchdog.core.payload_parts import is_stop_accepted
from batch_watchdog.limits import brake_items
from batch_watchdog.notices.text import plain
from batch_watchdog.store.actions import Action
from batch_watchdog.store.table import Put, Table

# "open": there is no result yet. "unsure": Batch may have been asked, and its answer is not known.
type Outcome = Literal["open", "accepted", "unsure", "refused", "not asked"]
_SUREST_FIRST: tuple[Outcome, ...] = ("accepted", "open", "unsure", "refused", "not asked")
_WHY_MAX = 300  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class StopResult:
    """The outcome of the stop of one job, why it was not accepted, and the stop itself."""

    outcome: Outcome
    stop: StopJobs
    why: str = ""


def of_job(actions: Iterable[Action], job_id: str, status: str) -> StopResult | None:
    """Return the result of a limit's stop of a job in a state; None if no action is one."""
    found = [
        _at(action, action.effect, place)
        for action in actions
        if isinstance(action.effect, StopJobs) and action.effect.status == status
        for place, each in enumerate(action.effect.job_ids)
        if each == job_id
    ]
    return _surest(found)


def of_array(actions: Iterable[Action], array_id: str) -> StopResult | None:
    """Return the result of a stop that an array's rule asked for; None if no action is one."""
    found = [
        _at(action, action.effect, place)
        for action in actions
        if isinstance(action.effect, StopJobs) and action.effect.array_id == array_id
        for place in range(len(action.effect.job_ids))
    ]
    return _surest(found)


def shows_it(detail: Mapping[str, Any], reason: str) -> bool:
    """Check whether Batch shows that it has accepted a job's stop, or ended it for this reason."""
    return is_stop_accepted(detail) or detail.get("statusReason") == reason


def settled(table: Table, action: Action, result: Any, now: datetime) -> Iterable[Put]:
    """Build the write by which the brake counts only stops that Batch may have accepted."""
    stop = action.effect
    if not isinstance(stop, StopJobs) or not stop.counted:
        return ()
    done = replace(action, result=result)
    outcomes = [_at(done, stop, place).outcome for place in range(len(stop.job_ids))]
    stopped = sum(outcome in ("accepted", "unsure") for outcome in outcomes)
    recorded_at = datetime.fromisoformat(action.at)
    return brake_items.read(table, now).settled(len(outcomes), recorded_at, stopped, now)


def _surest(found: Iterable[StopResult]) -> StopResult | None:
    return min(found, key=lambda each: _SUREST_FIRST.index(each.outcome), default=None)


def _at(action: Action, stop: StopJobs, place: int) -> StopResult:
    job_id, result = stop.job_ids[place], action.result
    if result is None:
        return StopResult(outcome="open", stop=stop)
    if why := result.get("refused", {}).get(job_id):
        return StopResult(outcome="refused", stop=stop, why=_said(f"AWS Batch refused it: {why}"))
    for why, job_ids in result.get("not_meant", {}).items():
        if job_id in job_ids:
            return StopResult(outcome="not asked", stop=stop, why=_said(why))
    if place < _seen(result):
        return StopResult(outcome="accepted", stop=stop)
    unsure = place < result.get("asked", 0)
    return StopResult(outcome="unsure" if unsure else "not asked", stop=stop, why=_ended(result))


def _seen(result: Mapping[str, Any]) -> int:
    """Return how many jobs, from the first on, were handled; for older results this is a sum."""
    not_meant = sum(map(len, result.get("not_meant", {}).values()))
    adds_up = int(result.get("accepted", 0)) + len(result.get("refused", {})) + not_meant
    return int(result.get("seen", adds_up))


def _ended(result: Mapping[str, Any]) -> str:
    if held_by := result.get("held_by"):
        return _said(f"the watchdog is held by {held_by}")
    return _said(str(result.get("overtaken", "it was not carried out")))


def _said(why: str) -> str:
    return plain(why, _WHY_MAX)
