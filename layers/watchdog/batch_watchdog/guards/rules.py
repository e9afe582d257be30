"""
Decide when a stage of spending begins and ends, and what follows from it. All functions are pure.

A guard is calm, or at `cancel`, or at `terminate`. `decide` takes its state and one input
(evidence, the time, an operator's command, queues found open), and returns the new state and
what is to be done. The rules:

* The newest evidence of each alarm counts, by the evidence's own time; of two with the same time,
  the ALARM. Older evidence, or a repeat, changes nothing. A time in the future counts as the time
  of arrival.
* An ALARM raises the guard to the stage that names it, if that is harder than the current one.
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
    heard_from,
    in_force,
    is_newer,
    is_over,
    is_repeated_anomaly,
    is_the_same,
    operators_stage,
    rang_by,
    ringing,
    signal_of,
    stage_of,
    surely_ringing,
    terminates_at,
    with_anomaly,
    with_doubt,
)
from batch_watchdog.guards.state import GuardState, LatestSignal, StageName, hardness
from batch_watchdog.guards.stop_run.counts import Tally
from batch_watchdog.guards.transition import (
    NOTHING_STOPPED,
    Transition,
    close_found_open,
    go_back,
    source_in_words,
    stage_in_force,
    words_of,
)
from batch_watchdog.notices.phrases import Phrase, say
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.guard_tables import Guard, Stage
from batch_watchdog.policy.tables import Mode


def decide(  # noqa: PLR0913 - two of them have a default
    state: GuardState,
    happening: GuardInput,
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
    Decide what an input (`happening`) changes, and what must be done about it.

    `rule` is None if the guard is not in the policy any more; an operator can still release it.
    `held_by_others` are queues that other guards keep closed. `operator_holds` are the spans of
    time that do not count; one that is still on ends now. The others are for the notice of a
    release: what the current stage has `stopped` so far, what each earlier stage had
    (`stopped_before`), and the queues that are known to be `never_closed`, though they were to be.
    """
    moment = Transition(
        state=state,
        now=happening.now,
        mode=mode,
        held=held_by_others,
        stopped=stopped,
        stopped_before=stopped_before,
        operator_holds=operator_holds,
        never_closed=never_closed,
    )
    if rule is None:
        return _without_rule(moment, happening)
    match happening:
        case AlarmReceived():
            return _alarm_received(moment, rule, happening.evidence)
        case TimePassed():
            return _time_passed(moment, rule)
        case StageSet():
            return _stage_set(moment, rule, happening.stage, happening.by)
        case QueuesFoundOpen():
            return close_found_open(moment, rule, happening)
        case _:
            assert_never(happening)


def _without_rule(moment: Transition, happening: GuardInput) -> GuardDecision:
    if isinstance(happening, StageSet) and happening.stage == "calm":
        # No rule sets a mode. The operator asks for it, so the queues are reopened.
        state = replace(moment.state, reopens=bool(moment.state.closed))
        moment = replace(moment, state=state)
        if state.entry is None:  # A release has left its queues closed.
            return moment.reopen()
        return moment.release_by(happening.by, ringing=())
    if isinstance(happening, TimePassed):
        return moment.reopen()
    if isinstance(happening, AlarmReceived):
        moment = _unnamed(moment, happening.evidence)
    return moment.stay(say("the policy has no such guard"))


def _unnamed(moment: Transition, evidence: Evidence, named: Collection[str] = ()) -> Transition:
    """
    Record an OK, or too little data, for signals that the policy does not name now.

    The policy may name them again later.
    """
    state, heard = moment.state, heard_from(evidence, moment.now)
    alarms, lacking = dict(state.alarms), dict(state.lacking)
    for signal in set(rang_by(state, evidence)) - set(named):
        if evidence.state == "INSUFFICIENT_DATA":
            lacking[signal] = max(heard.at, lacking.get(signal, BEFORE))
        elif evidence.state == "OK" and is_newer(heard, known := alarms[signal]):
            alarms[signal] = following(heard, known)
    return replace(moment, state=replace(state, alarms=alarms, lacking=lacking))


def _alarm_received(moment: Transition, rule: Guard, evidence: Evidence) -> GuardDecision:
    what = source_in_words(evidence)
    tells = evidence.source not in ("cloudwatch", "live")
    known = moment.state.alarms
    named = tuple(
        (stage, signal_of(known, signal, evidence.arn))
        for stage, signal in named_stages(rule, evidence)
    )
    moment = _unnamed(moment, evidence, [signal for _, signal in named])
    if not is_named(rule, evidence):
        return moment.stay(f"{what} is not named by the guard")
    if evidence.state == "INSUFFICIENT_DATA":
        moment = _lacking(moment, rule, evidence)
        return moment.stay(f"{what} has too little data: neither an ALARM nor an OK")
    if not named:
        return moment.stay(
            say("{what}: {why}", what=what, why=why_not_named(rule, evidence)), tell=tells
        )
    heard = heard_from(evidence, moment.now)
    released_at = moment.state.released_at
    if heard.state == "ALARM" and (
        (heard.ends and heard.ends <= moment.now) or (released_at and heard.at <= released_at)
    ):
        heard = replace(heard, over=True)
    fresh = [
        (stage, signal)
        for stage, signal in named
        if signal not in known or is_newer(heard, known[signal])
    ]
    if is_repeated_anomaly(heard, known):
        fresh = []
    elif not fresh and not any(is_the_same(known[signal], heard) for _, signal in named):
        older = {signal: with_anomaly(known[signal], heard) for _, signal in named}
        moment = replace(moment, state=replace(moment.state, alarms={**known, **older}))
        return moment.stay(say("{what}: not newer than what is known", what=what), tell=tells)
    if not fresh:
        return moment.stay(f"{what}: known already")
    return _news(moment, rule, evidence, heard, fresh)


def _lacking(moment: Transition, rule: Guard, evidence: Evidence) -> Transition:
    """Record that an alarm has too little data."""
    at, known = heard_from(evidence, moment.now).at, moment.state.lacking
    lacking = {
        signal: at
        for _, name in named_stages(rule, evidence)
        if (signal := signal_of(moment.state.alarms, name, evidence.arn))
        if at > known.get(signal, BEFORE)
    }
    state = replace(moment.state, lacking={**known, **lacking})
    return _with_doubt(replace(moment, state=state), rule, at)


def _with_doubt(moment: Transition, rule: Guard, at: datetime) -> Transition:
    state = with_doubt(moment.state, rule, moment.now, at, moment.operator_holds)
    return replace(moment, state=state)


def _news(
    moment: Transition,
    rule: Guard,
    evidence: Evidence,
    heard: LatestSignal,
    fresh: Sequence[tuple[Stage, str]],
) -> GuardDecision:
    """Apply new evidence. `fresh` are its signals, each with the stage that names it."""
    state, now = moment.state, moment.now
    evidence = replace(evidence, at=heard.at)  # In words too: its own time may be still to come.
    what = source_in_words(evidence)
    tells = evidence.source not in ("cloudwatch", "live")
    rang, before = ringing(state, rule, now), stage_in_force(moment, rule)
    signals = {signal: following(heard, state.alarms.get(signal)) for _, signal in fresh}
    state = replace(state, alarms={**state.alarms, **signals})
    moment = _with_doubt(replace(moment, state=state), rule, heard.at)
    if evidence.state == "OK":
        return _relieved(moment, rule, what, rang=any(signal in rang for signal in signals))
    if heard.ends and heard.ends <= now:
        over = say(
            "{word}; what it is about was over at {at}", word=words_of(evidence), at=heard.ends
        )
        return moment.stay(over, tell=tells)
    if heard.over:
        released = say("{word}; an operator has released the guard since", word=words_of(evidence))
        return moment.stay(released, tell=tells)
    if not rang:
        state = replace(moment.state, ringing_since=now, doubted_for=timedelta())
        moment = replace(moment, state=state)
    hardest, signal = max(fresh, key=lambda each: hardness(each[0].action))
    why = words_of(evidence)
    if hardness(hardest.action) <= hardness(before):
        already = say("{word}; the guard is at {stage} already", word=why, stage=moment.state.stage)
        return moment.stay(already, tell=tells)
    return moment.enter(rule, hardest.action, why, signal=signal, evidence=evidence)


def _relieved(moment: Transition, rule: Guard, what: Phrase, *, rang: bool) -> GuardDecision:
    state = moment.state
    if state.entry is None or not rang:
        return moment.stay(f"{what} is OK")
    if left := ringing(state, rule, moment.now):
        return moment.stay(f"{what} is OK, but not yet {', '.join(map(alarm_of, sorted(left)))}")
    if rule.release == "manual":
        return moment.stay(f"{what} is OK; an operator releases this guard")
    if operators := operators_stage(state, rule, moment.mode, moment.now):
        return go_back(moment, rule, operators)
    if state.by_operator:
        return moment.stay(f"{what} is OK; an operator raised the guard, and releases it")
    why = say("{what} is OK, and no other alarm rings", what=what)
    return moment.release(why, ringing=())


def _time_passed(moment: Transition, rule: Guard) -> GuardDecision:
    moment = _with_doubt(moment, rule, moment.now)
    state, entry = moment.state, moment.state.entry
    if entry is None:
        return moment.reopen()
    if is_over(state, rule, moment.now):
        ended = sorted(ended_signals(state, rule, moment.now))
        which = ", ".join(subject_of(signal) for signal in ended)
        why = say("{which} has ended, and no alarm rings", which=which)
        return moment.release(why, ringing=())
    if operators := operators_stage(state, rule, moment.mode, moment.now):
        return go_back(moment, rule, operators)
    if in_force(state, moment.mode) == "calm":
        return _taken_seriously(moment, rule)
    at = terminates_at(state, rule, moment.now, moment.operator_holds)
    if at and moment.now >= at:
        why = say(
            "{lasted} at {stage} without relief: {alarms} still in ALARM",
            lasted=moment.now - entry.since,
            stage=entry.stage,
            alarms=", ".join(map(alarm_of, sorted(surely_ringing(state, rule, moment.now)))),
        )
        return moment.enter(rule, "terminate", why, signal=BY_TIME)
    return moment.stay("nothing to do")


def _taken_seriously(moment: Transition, rule: Guard) -> GuardDecision:
    """Enter the stage of an alarm still in ALARM: the mode was "observe", and is "enforce" now."""
    rings = set(map(base_of, surely_ringing(moment.state, rule, moment.now)))
    for stage in reversed(rule.stage):
        for signal, what in lasting(stage).items():
            if signal in rings:
                why = say("{what}, and the guard no longer observes only", what=what)
                return moment.enter(rule, stage.action, why, signal=signal)
    return moment.stay("was raised in observe mode: waits for the next ALARM or an operator")


def _stage_set(moment: Transition, rule: Guard, stage: StageName, by: str) -> GuardDecision:
    state, rings = moment.state, ringing(moment.state, rule, moment.now)
    if stage == "calm":
        return moment.release_by(by, ringing=rings)
    if stage_of(rule, stage) is None:
        return moment.stay(f"the guard has no stage {stage}")
    if stage == stage_in_force(moment, rule):
        return moment.stay(f"at {stage} already")
    moment = replace(moment, state=replace(state, by_operator=state.by_operator or not rings))
    return moment.enter(rule, stage, say("{who} asked for it", who=plain(by, 100)), by=by)
