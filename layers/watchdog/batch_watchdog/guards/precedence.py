"""Decide what the stages of several guards mean for one queue or job."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from batch_watchdog.core.effects import SetQueueState
from batch_watchdog.core.job_event import STARTED, WAITING
from batch_watchdog.guards.stages import closes_queues, is_current, is_enforced, why_not_meant
from batch_watchdog.guards.state import GuardState, StopAction, hardness
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.match import Job
from batch_watchdog.policy.model import Policy
from batch_watchdog.policy.tables import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardEffect:
    """A stage that is on and applies to a job or a queue. In observe mode it changes nothing."""

    guard: str
    action: StopAction
    mode: Mode
    run_id: str


def must_stop(status: str, action: StopAction) -> bool:
    """Check whether a stage stops a job in this state. `cancel` stops no job that has started."""
    return status in WAITING or (action == "terminate" and status in STARTED)


def stopping(
    states: Mapping[str, GuardState], policy: Policy, job: Job, status: str, now: datetime
) -> GuardEffect | None:
    """
    Return the stage that stops a job in this state (`status`) now, or None.

    The job's tags must be known if `asks_for_tags` says so.
    """
    hold = _hardest(states, policy, policy.guards_for(job), now)
    return hold if hold and must_stop(status, hold.action) else None


def asks_for_tags(states: Mapping[str, GuardState], policy: Policy, job: Job) -> bool:
    """Check whether a job's tags decide if a stage that is on stops or spares it."""
    for guard in policy.guard:
        if (state := states.get(guard.name)) and state.entry and guard.match.may_match(job):
            if guard.match.tags:
                return True
            if guard.spare and guard.spare.tags and guard.spare.may_match(job):
                return True
    return False


def may_still_stop(  # noqa: PLR0911, PLR0913, PLR0917 - each reason has its words
    states: Mapping[str, GuardState],
    policy: Policy,
    guard: str,
    run_id: str,
    job: Job,
    status: str,
    now: datetime,
) -> str:
    """
    Return why a stop that a guard asked for is no longer justified; "" if it still is.

    Everything is judged as it is now: the guard's state, the policy, the job's tags and `status`.
    The job's tags must be known. If a job is not stopped now, and a stop becomes justified later,
    the guard's run finds the job again.
    """
    rule = policy.guard_named(guard)
    state = states.get(guard)
    if state is None or state.entry is None or not is_current(state, run_id):
        return "the guard has left the stage for which it was asked"
    if rule is None:
        return "the policy has lost the guard"
    if not is_enforced(state.entry, policy.mode_of(rule)):
        return "the guard only observes"
    if why := why_not_meant(state, rule, now):
        return why
    if not rule.covers(job):
        return "the job is not in the scope of the guard"
    if rule.spares(job):
        return "the guard spares the job"
    if must_stop(status, state.entry.stage):
        return ""
    if status in STARTED:
        return "the job has started, and may finish"
    return f"the job is {status or 'in an unknown state'}"


def held_by_others(
    guard: str, states: Mapping[str, GuardState], policy: Policy, now: datetime
) -> frozenset[str]:
    """
    Return the queues that a guard has closed and that other guards keep closed too.

    A raised guard that is no longer in the policy keeps its queues closed until an operator
    releases it.
    """
    holders = [
        rule
        for rule in policy.guard
        if rule.name != guard and _closes(states.get(rule.name), rule, policy, now)
    ]
    mine = states[guard].closed if guard in states else ()
    others = (state for name, state in states.items() if name != guard and state.entry)
    of_lost = {q for each in others if not policy.guard_named(each.guard) for q in each.closed}
    return frozenset(
        q for q in mine if q in of_lost or any(rule.covers_queue(q) for rule in holders)
    )


def is_still_wanted(effect: SetQueueState, states: Iterable[GuardState]) -> bool:
    """
    Check whether a queue is still to be opened or closed, given all guards as they are now.

    Actions may arrive late and out of order: a later one may have replaced this one.
    """
    closed = any(effect.queue in state.closed for state in states)
    return closed == (effect.state == "DISABLED")


type QueueVerdict = Literal["do", "wait", "drop"]


def judge_queue(
    effect: SetQueueState, states: Mapping[str, GuardState], policy: Policy, now: datetime
) -> tuple[QueueVerdict, str]:
    """
    Decide whether to open or close a queue now, later or never; and return why not now.

    A queue is closed only while an enforced and justified stage asks for it. A reopening was
    decided at a release, so it does not depend on the policy's mode. It waits while another stage
    closes the queue.
    """
    if not is_still_wanted(effect, states.values()):
        return "drop", "a later decision about the queue has replaced it"
    held = any(
        _closes(states.get(rule.name), rule, policy, now)
        for rule in policy.guards_for_queue(effect.queue)
    )
    if effect.state == "DISABLED":
        return ("do", "") if held else ("drop", "no stage that is enforced closes the queue")
    return ("wait", "a stage that is on holds the queue closed") if held else ("do", "")


def _closes(state: GuardState | None, rule: Guard, policy: Policy, now: datetime) -> bool:
    """Check whether a guard's stage closes queues, is enforced and is justified."""
    return bool(
        state
        and state.entry
        and is_enforced(state.entry, policy.mode_of(rule))
        and closes_queues(rule, state.entry.stage)
        and not why_not_meant(state, rule, now)
    )


def _hardest(
    states: Mapping[str, GuardState], policy: Policy, rules: Iterable[Guard], now: datetime
) -> GuardEffect | None:
    holds = [
        GuardEffect(
            guard=rule.name,
            action=entry.stage,
            mode="enforce" if is_enforced(entry, policy.mode_of(rule)) else "observe",
            run_id=entry.run_id,
        )
        for rule in rules
        if (state := states.get(rule.name)) and (entry := state.entry)
        if not why_not_meant(state, rule, now)
    ]
    return max(
        holds, key=lambda hold: (hold.mode == "enforce", hardness(hold.action)), default=None
    )
