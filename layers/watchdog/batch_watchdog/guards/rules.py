"""
Decide when a stage of spending begins and ends, and what follows from it. All functions are pure.

A guard is calm, or at `cancel`, or at `terminate`. `decide` takes its state and one input
(evidence, the time, an operator's command, queues found open), and returns the new state and
what is to be done. The rules:

* The newest evidence of each alarm counts, by the evidence's own time; of two with the same time,
  the ALARM. Older evidence, or a repeat, changes nothing. A time in the future counts as the time
  of arrival.
* An ALARM raises the guard to the hardest stage that names it, if that is harder than the one now.
  Only a release or an operator makes a guard milder, with one exception: if an operator raised the
  guard and an alarm made it harder, it returns to the operator's stage once nothing asks for more.
* A stage names a threshold of an AWS Budget: by `aws_budgets`, which means exactly that threshold,
  or by the budget's name alone, which means a cost budget at 100 % or more, ACTUAL (with
  `forecast`, FORECASTED too). Operators are notified of a message that raises nothing: because its
  threshold is another one, cannot be read, is rounded too coarsely, or is not of a cost budget; or
  because the message changes nothing.
* The time in a stage counts from when the guard entered it, never from a time that a message
  carries. Time under an operator's hold does not count.
* `after_previous` counts from when the milder stage was entered, or from when the guard's alarms
  last went into ALARM, if that is later. It needs an alarm that is still in ALARM. A stage that an
  operator set does not become harder by time.
* INSUFFICIENT_DATA is neither an OK nor an ALARM: it raises and releases nothing, and an alarm that
  was in ALARM still counts as such. Time in which all of these have too little data does not count
  for `after_previous`.
* A stage is justified as long as the policy has it, and something that the policy names is still in
  ALARM; what led to it, or is in ALARM, must still be a reason for a stage as hard. If an operator
  set it, or only operators release the guard, it is justified while the policy has it. A stage that
  is not justified stops and closes nothing, and operators are notified. It counts as calm: an
  operator's command or the next ALARM enters the stage that it names.
* A live budget of the policy stays in ALARM until its period is over, whatever is counted later.
* A budget's message counts until its period is over (UTC; a month, if it names none), and an
  anomaly until its day is over. A message that arrives after that raises nothing.
* `release = "auto"`: the guard is released when none of its alarms is in ALARM any more, by an OK
  or because a period is over. If an operator raised it while none was in ALARM, only an operator
  releases it.
* A release ends each earlier ALARM. After an operator's release, an ALARM of an older time does not
  count either, even if it arrives later. Such an alarm counts when it goes into ALARM again.
* A stage closes queues if it or a milder stage of the guard says so. A queue is reopened once
  the guards that closed it are calm and no other guard keeps it closed.
* In observe mode stages are entered and left as usual, and a stop run only counts; no queue is
  opened or closed. Once the mode is "enforce", such a stage counts as calm until an operator's
  command or the next ALARM. A CloudWatch alarm or a live budget that is still in ALARM counts as
  one at the next sweep. (A budget's message does not: it may be weeks old by then.)
* A guard that is not in the policy any more keeps its stage and its closed queues. An operator's
  release ends the stage and reopens the queues.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from batch_watchdog.guards.inputs import (
    AlarmReceived,
    GuardDecision,
    GuardInput,
    QueuesFoundOpen,
    StageSet,
    TimePassed,
)
from batch_watchdog.guards.matching import (
    alarm_of,
    base_of,
    is_named,
    lasting,
    named_stages,
    subject_of,
    why_not_named,
)
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.stages import (
    BEFORE,
    BY_TIME,
    HoldSpan,
    ended_signals,
    following,
    in_alarm,
    in_force,
    is_newer,
    is_over,
    is_repeated_anomaly,
    is_the_same,
    operators_stage,
    raised_by_the_repeat,
    signal_of,
    signals_of_alarm,
    stage_of,
    surely_in_alarm,
    terminates_at,
    to_latest_signal,
    with_anomaly,
    with_doubt,
)
from batch_watchdog.guards.state import GuardState, LatestSignal, StageName, hardness
from batch_watchdog.guards.stop_run.counts import Tally
from batch_watchdog.guards.transition import (
    NOTHING_STOPPED,
    Transition,
    close_found_open,
    describe,
    describe_source,
    go_back,
    stage_in_force,
)
from batch_watchdog.notices.phrases import Phrase, say
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.guard_tables import Guard, Stage
from batch_watchdog.policy.tables import Mode


def decide(  # noqa: PLR0913 - two of them have a default
    state: GuardState,
    guard_input: GuardInput,
    rule: Guard | None,
    *,
    mode: Mode,
    held_by_others: Collection[str] = (),
    stopped: Tally = NOTHING_STOPPED,
    stopped_before: Sequence[Tally] = (),
    operator_holds: Sequence[HoldSpan] = (),
    never_closed: Collection[str] = (),
) -> GuardDecision:
    """
    Decide what an input (`guard_input`) changes, and what must be done about it.

    `rule` is None if the guard is not in the policy any more; an operator can still release it.
    `held_by_others` are queues that other guards keep closed. `operator_holds` are the spans of
    time that do not count; one that is still on ends now. The others are for the notice of a
    release: what the current stage has `stopped` so far, what each earlier stage had
    (`stopped_before`), and the queues that are known to be `never_closed`, though they were to be.
    """
    guard = Transition(
        state=state,
        now=guard_input.now,
        mode=mode,
        held=held_by_others,
        stopped=stopped,
        stopped_before=stopped_before,
        operator_holds=operator_holds,
        never_closed=never_closed,
    )
    if rule is None:
        return _without_rule(guard, guard_input)
    match guard_input:
        case AlarmReceived():
            return _alarm_received(guard, rule, guard_input.evidence)
        case TimePassed():
            return _time_passed(guard, rule)
        case StageSet():
            return _stage_set(guard, rule, guard_input.stage, guard_input.by)
        case QueuesFoundOpen():
            return close_found_open(guard, rule, guard_input)
        case _:
            assert_never(guard_input)


def _without_rule(guard: Transition, guard_input: GuardInput) -> GuardDecision:
    if isinstance(guard_input, StageSet) and guard_input.stage == "calm":
        # No rule sets a mode. The operator asks for it, so the queues are reopened.
        state = replace(guard.state, reopens=bool(guard.state.closed))
        guard = replace(guard, state=state)
        if state.entry is None:  # A release has left its queues closed.
            return guard.reopen()
        return guard.release_by(guard_input.by, in_alarm=())
    if isinstance(guard_input, TimePassed):
        return guard.reopen()
    if isinstance(guard_input, AlarmReceived):
        guard = _unnamed(guard, guard_input.evidence)
    return guard.stay(say("the policy has no such guard"))


def _unnamed(guard: Transition, evidence: Evidence, named: Collection[str] = ()) -> Transition:
    """
    Record an OK, or too little data, for signals that the policy does not name now.

    The policy may name them again later.
    """
    state, received = guard.state, to_latest_signal(evidence, guard.now)
    alarms, lacking = dict(state.alarms), dict(state.lacking)
    for signal in set(signals_of_alarm(state, evidence)) - set(named):
        if evidence.state == "INSUFFICIENT_DATA":
            lacking[signal] = max(received.at, lacking.get(signal, BEFORE))
        elif evidence.state == "OK" and is_newer(received, known := alarms[signal]):
            alarms[signal] = following(received, known)
    return replace(guard, state=replace(state, alarms=alarms, lacking=lacking))


def _alarm_received(guard: Transition, rule: Guard, evidence: Evidence) -> GuardDecision:
    what = describe_source(evidence)
    known = guard.state.alarms
    named = tuple(
        (stage, signal_of(known, signal, evidence.arn))
        for stage, signal in named_stages(rule, evidence)
    )
    guard = _unnamed(guard, evidence, [signal for _, signal in named])
    if not is_named(rule, evidence):
        return guard.stay(f"{what} is not named by the guard")
    if evidence.state == "INSUFFICIENT_DATA":
        guard = _lacking(guard, rule, evidence)
        return guard.stay(f"{what} has too little data: neither an ALARM nor an OK")
    if not named:
        return guard.stay(
            say("{what}: {why}", what=what, why=why_not_named(rule, evidence)), evidence
        )
    received = to_latest_signal(evidence, guard.now)
    released_at = guard.state.released_at
    if received.state == "ALARM" and (
        (received.ends and received.ends <= guard.now)
        or (released_at and received.at <= released_at)
    ):
        received = replace(received, over=True)
    fresh = [
        (stage, signal)
        for stage, signal in named
        if signal not in known or is_newer(received, known[signal])
    ]
    if is_repeated_anomaly(received, known):
        fresh = raised_by_the_repeat(fresh, received, known, rule)
    elif not fresh and not any(is_the_same(known[signal], received) for _, signal in named):
        older = {signal: with_anomaly(known[signal], received) for _, signal in named}
        guard = replace(guard, state=replace(guard.state, alarms={**known, **older}))
        return guard.stay(say("{what}: not newer than what is known", what=what), evidence)
    if not fresh:
        return guard.stay(f"{what}: known already")
    return _new_evidence(guard, rule, evidence, received, fresh)


def _lacking(guard: Transition, rule: Guard, evidence: Evidence) -> Transition:
    """Record that an alarm has too little data."""
    at, known = to_latest_signal(evidence, guard.now).at, guard.state.lacking
    lacking = {
        signal: at
        for _, name in named_stages(rule, evidence)
        if (signal := signal_of(guard.state.alarms, name, evidence.arn))
        if at > known.get(signal, BEFORE)
    }
    state = replace(guard.state, lacking={**known, **lacking})
    return _with_doubt(replace(guard, state=state), rule, at)


def _with_doubt(guard: Transition, rule: Guard, at: datetime) -> Transition:
    state = with_doubt(guard.state, rule, guard.now, at, guard.operator_holds)
    return replace(guard, state=state)


def _new_evidence(
    guard: Transition,
    rule: Guard,
    evidence: Evidence,
    received: LatestSignal,
    fresh: Sequence[tuple[Stage, str]],
) -> GuardDecision:
    """Apply new evidence. `fresh` are its signals, each with the stage that names it."""
    state, now = guard.state, guard.now
    evidence = replace(evidence, at=received.at)  # In text too: its own time may lie ahead.
    what = describe_source(evidence)
    was_in_alarm, before = in_alarm(state, rule, now), stage_in_force(guard, rule)
    signals = {signal: following(received, state.alarms.get(signal)) for _, signal in fresh}
    state = replace(state, alarms={**state.alarms, **signals})
    guard = _with_doubt(replace(guard, state=state), rule, received.at)
    if evidence.state == "OK":
        return _relieved(
            guard, rule, what, was_in_alarm=any(signal in was_in_alarm for signal in signals)
        )
    if received.ends and received.ends <= now:
        over = say(
            "{word}; what it is about was over at {at}",
            word=describe(evidence),
            at=received.ends,
        )
        return guard.stay(over, evidence)
    if received.over:
        released = say("{word}; an operator has released the guard since", word=describe(evidence))
        return guard.stay(released, evidence)
    if not was_in_alarm:
        state = replace(guard.state, ringing_since=now, doubted_for=timedelta())
        guard = replace(guard, state=state)
    hardest, signal = max(fresh, key=lambda each: hardness(each[0].action))
    why = describe(evidence)
    if hardness(hardest.action) <= hardness(before):
        already = say("{word}; the guard is at {stage} already", word=why, stage=guard.state.stage)
        return guard.stay(already, evidence)
    return guard.enter(rule, hardest.action, why, signal=signal, evidence=evidence)


def _relieved(guard: Transition, rule: Guard, what: Phrase, *, was_in_alarm: bool) -> GuardDecision:
    state = guard.state
    if state.entry is None or not was_in_alarm:
        return guard.stay(f"{what} is OK")
    if left := in_alarm(state, rule, guard.now):
        return guard.stay(f"{what} is OK, but not yet {', '.join(map(alarm_of, sorted(left)))}")
    if rule.release == "manual":
        return guard.stay(f"{what} is OK; an operator releases this guard")
    if operators := operators_stage(state, rule, guard.mode, guard.now):
        return go_back(guard, rule, operators)
    if state.by_operator:
        return guard.stay(f"{what} is OK; an operator raised the guard, and releases it")
    why = say("{what} is OK, and no other alarm is in ALARM", what=what)
    return guard.release(why, in_alarm=())


def _time_passed(guard: Transition, rule: Guard) -> GuardDecision:
    guard = _with_doubt(guard, rule, guard.now)
    state, entry = guard.state, guard.state.entry
    if entry is None:
        return guard.reopen()
    if is_over(state, rule, guard.now):
        ended = sorted(ended_signals(state, rule, guard.now))
        which = ", ".join(subject_of(signal) for signal in ended)
        why = say("{which} has ended, and no alarm is in ALARM", which=which)
        return guard.release(why, in_alarm=())
    if operators := operators_stage(state, rule, guard.mode, guard.now):
        return go_back(guard, rule, operators)
    if in_force(state, guard.mode) == "calm":
        return _taken_seriously(guard, rule)
    at = terminates_at(state, rule, guard.now, guard.operator_holds)
    if at and guard.now >= at:
        why = say(
            "{lasted} at {stage} without relief: {alarms} still in ALARM",
            lasted=guard.now - entry.since,
            stage=entry.stage,
            alarms=", ".join(map(alarm_of, sorted(surely_in_alarm(state, rule, guard.now)))),
        )
        return guard.enter(rule, "terminate", why, signal=BY_TIME)
    return guard.stay("nothing to do")


def _taken_seriously(guard: Transition, rule: Guard) -> GuardDecision:
    """Enter the stage of an alarm still in ALARM: the mode was "observe", and is "enforce" now."""
    active = set(map(base_of, surely_in_alarm(guard.state, rule, guard.now)))
    for stage in reversed(rule.stage):
        for signal, what in lasting(stage).items():
            if signal in active:
                why = say("{what}, and the guard no longer observes only", what=what)
                return guard.enter(rule, stage.action, why, signal=signal)
    return guard.stay("was raised in observe mode: waits for the next ALARM or an operator")


def _stage_set(guard: Transition, rule: Guard, stage: StageName, by: str) -> GuardDecision:
    state, active = guard.state, in_alarm(guard.state, rule, guard.now)
    if stage == "calm":
        return guard.release_by(by, in_alarm=active)
    if stage_of(rule, stage) is None:
        return guard.stay(f"the guard has no stage {stage}")
    if stage == stage_in_force(guard, rule):
        return guard.stay(f"at {stage} already")
    guard = replace(guard, state=replace(state, by_operator=state.by_operator or not active))
    return guard.enter(rule, stage, say("{who} asked for it", who=plain(by, 100)), by=by)
