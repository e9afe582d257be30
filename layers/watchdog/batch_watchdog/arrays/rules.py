"""Apply the policy to an array that is under way: announce its progress, stop the rest of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batch_watchdog.arrays.own_failures import FELL, STOPPED, STOPPED_AS_REST
from batch_watchdog.arrays.progress import Array, ChildCounts
from batch_watchdog.arrays.running_notices import progressed, rest_left, rest_stopped
from batch_watchdog.core.effects import STOP_MARK, Announce, Effect, StopJobs
from batch_watchdog.core.job_event import ENDED
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.match import Job
from batch_watchdog.policy.model import Policy
from batch_watchdog.policy.tables import ArrayRule

# A stop of the parent should have reached the children within this time; else they are stopped
# one by one. AWS does not say whether TerminateJob on a parent reaches them at all.
CASCADE_WAIT = timedelta(minutes=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayDecision:
    """The array as it is now known, and what to do."""

    array: Array
    effects: tuple[Effect, ...] = ()


def decide(
    array: Array,
    summary: Mapping[str, int],
    policy: Policy,
    now: datetime,
    *,
    held: bool = False,
) -> ArrayDecision:
    """
    Compare the counts of an array's children by state with the policy.

    `summary` has Batch's counts, or those of `with_own_failures` where `asks_who_failed` is true.
    While an operator holds the watchdog (`held`), no stop is decided or announced: it is decided
    again once the hold is over.
    """
    rule = policy.array_rule_for(array)
    if rule is None or array.size is None:
        return ArrayDecision(array=array)
    counts = _counts(array.size, summary)
    if counts.ended >= counts.size:
        return ArrayDecision(array=array)  # The array's end has a notice of its own.
    stopping = _stop_rest(array, counts, rule, policy, now)
    if held and stopping.array.rest_stopped_at != array.rest_stopped_at:
        stopping = ArrayDecision(array=array)
    progress = _progress(stopping.array, counts, rule, policy, now)
    return ArrayDecision(array=progress.array, effects=stopping.effects + progress.effects)


def _counts(size: int, summary: Mapping[str, int]) -> ChildCounts:
    succeeded, failed = (summary.get(state, 0) for state in ENDED)
    stopped = summary.get(STOPPED, 0) + summary.get(STOPPED_AS_REST, 0)
    fell = summary.get(FELL, 0)
    return ChildCounts(size=size, succeeded=succeeded, failed=failed, stopped=stopped, fell=fell)


def _progress(
    array: Array, counts: ChildCounts, rule: ArrayRule, policy: Policy, now: datetime
) -> ArrayDecision:
    percent = _percent_passed(rule, counts.ended, counts.size)
    if percent <= array.told_percent:
        return ArrayDecision(array=array)
    notice = progressed(array, counts, percent, _time_left(array, counts, now), now)
    announce = Announce(notices=(notice,))
    return ArrayDecision(array=replace(array, told_percent=percent), effects=(announce,))


def _time_left(array: Array, counts: ChildCounts, now: datetime) -> timedelta | None:
    """Return how long the rest will take at the pace so far; None if it was stopped."""
    if array.rest_stopped_by:
        return None
    since = max(timedelta(), now - array.first_at)  # An event's clock may be ahead.
    return since * (counts.size - counts.ended) / counts.ended


def _percent_passed(rule: ArrayRule, ended: int, size: int) -> int:
    return max((at for at in rule.progress if ended * 100 >= at * size), default=0)


# ---- Stopping the rest --------------------------------------------------------------------


def _stop_rest(
    array: Array, counts: ChildCounts, rule: ArrayRule, policy: Policy, now: datetime
) -> ArrayDecision:
    when = rule.stop_rest_when
    if when is None or array.rest_stopped_at:
        return ArrayDecision(array=array)
    if not when.is_met(failed=counts.failed, ended=counts.ended):
        return ArrayDecision(array=array)
    label, enforced = policy.label_of(rule), policy.mode_of(rule) == "enforce"
    if array.rest_told and not enforced:
        return ArrayDecision(array=array)
    notice = rest_stopped(array, counts, label, enforced=enforced)
    effects: tuple[Effect, ...] = (Announce(notices=(notice,)),)
    if not enforced:
        return ArrayDecision(array=replace(array, rest_told=True), effects=effects)
    stop = StopJobs(
        how="terminate",
        job_ids=(array.job_id,),
        reason=_reason(counts, label),
        rule=label,
        array_id=array.job_id,
    )
    stopped = replace(array, rest_stopped_at=now, rest_stopped_by=plain(label, 100))
    return ArrayDecision(array=stopped, effects=(stop, *effects))


def asks_who_failed(
    array: Array, summary: Mapping[str, int], policy: Policy, now: datetime
) -> bool:
    """
    Check whether it matters which children failed on their own: by Batch's count too many failed,
    or the array's progress is to be announced.

    `summary` has Batch's counts. If this is true, decide by the counts of `with_own_failures`.
    """
    rule = policy.array_rule_for(array)
    if rule is None or not summary.get("FAILED"):
        return False
    ended = sum(summary.get(state, 0) for state in ENDED)
    if array.size and _percent_passed(rule, ended, array.size) > array.told_percent:
        return True
    if rule.stop_rest_when is None:
        return False
    if array.rest_stopped_at and now < array.rest_stopped_at + CASCADE_WAIT:
        return False
    if array.rest_told and policy.mode_of(rule) != "enforce":
        return False
    return rule.stop_rest_when.is_met(failed=summary["FAILED"], ended=ended)


def why_rest_goes_on(array: Job, summary: Mapping[str, int], policy: Policy) -> str:
    """
    Return why the rest of an array is not to be stopped now, or "" if it is.

    `summary` has how many children are in each state now; as FAILED, those that failed on their
    own. Of those that have ended, the ones that this stop itself has ended do not count: however
    many they are, it goes on.
    """
    rule = policy.array_rule_for(array)
    if rule is None or rule.stop_rest_when is None:
        return "no rule stops the rest of the array any more"
    if policy.mode_of(rule) != "enforce":
        return "the rule for the array only observes"
    ended = sum(summary.get(state, 0) for state in (*ENDED, STOPPED, FELL))
    if not rule.stop_rest_when.is_met(failed=summary.get("FAILED", 0), ended=ended):
        return "fewer children of the array have failed than the rule allows"
    return ""


def has_outlived_its_stop(
    array: Array, summary: Mapping[str, int], policy: Policy, now: datetime
) -> bool:
    """Check whether an array was stopped, is still to be, and its children should have ended."""
    return (
        array.rest_stopped_at is not None
        and now >= array.rest_stopped_at + CASCADE_WAIT
        and not why_rest_goes_on(array, summary, policy)
    )


def leave(array: Array, why: str) -> ArrayDecision:
    """Record and announce that the stop of an array that was decided was not made."""
    left = replace(array, rest_stopped_by="", rest_stop_known=True)
    return ArrayDecision(array=left, effects=(Announce(notices=(rest_left(array, why),)),))


def stop_children(
    array: Array, alive: Iterable[str], policy: Policy, now: datetime
) -> ArrayDecision:
    """Stop children that have not ended after the stop of their parent, one by one."""
    rule = policy.array_rule_for(array)
    label = policy.label_of(rule) if rule else ""
    stop = StopJobs(
        how="terminate",
        job_ids=tuple(dict.fromkeys(alive)),  # A child that changes state may be listed twice.
        reason=f"{STOP_MARK}the array was stopped before ({label})",
        rule=label,
        array_id=array.job_id,
    )
    effects = (stop,) if stop.job_ids else ()
    return ArrayDecision(array=replace(array, rest_stopped_at=now), effects=effects)


def _reason(counts: ChildCounts, label: str) -> str:
    return f"{STOP_MARK}{counts.failed} of the first {counts.ended} children failed ({label})"
