"""
Guards: when a stage of spending begins and ends, and what follows from it. All of it pure.

A guard is calm, or at `cancel`, or at `terminate`. `decide` takes its state and one happening
(a word about money, time, an operator's command, queues found open) and says the new state and
what is to be done. The rules:

* Each alarm's newest word counts, by the word's own time; of two words of one time, the ALARM.
  An older word, or the same again, changes nothing.
* An alarm's ALARM raises the guard to the stage that names it, if that is harder than the
  current one. Nothing but a release or an operator makes a guard milder.
* `after_previous` counts from when the milder stage was entered, or from when an alarm last
  began to ring, if that is later. It needs an alarm that still rings: with relief, or where an
  operator alone raised the guard, time does not make it harder.
* INSUFFICIENT_DATA is no OK, and no ALARM: it changes nothing.
* `release = "auto"`: an alarm's OK releases the guard when none of its alarms is in ALARM any
  more. A Budgets message or an anomaly is never taken back, so once one of them has counted,
  only an operator releases; and so too where an operator raised the guard with no alarm ringing.
* An alarm that still rings when an operator releases the guard does not raise it again, until
  it goes into ALARM anew.
* A stage closes queues if it or a milder stage of the guard says so. A queue is reopened once
  the guards that closed it are calm and no other guard holds it.
* In observe mode stages are entered and left as usual, and a stop run only counts; no queue is
  opened or closed. Once the mode is "enforce", a stage entered so is as good as calm, until an
  operator's command or the next ALARM; and a CloudWatch alarm that rings still counts as one at
  the next sweep. (A budget's message does not: it may be weeks old by then.)
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from batch_watchdog import guard_notices
from batch_watchdog.effects import Announce, Effect, SetQueueState, StartRun
from batch_watchdog.evidence import Evidence
from batch_watchdog.guard_notices import Tally
from batch_watchdog.guard_state import (
    Entry,
    GuardState,
    Heard,
    StageName,
    StopAction,
    hardness,
)
from batch_watchdog.notices import iso, plain, span
from batch_watchdog.policy import Guard, Mode, Policy, Stage

# A decision and its actions are one write of at most 100 items.
_QUEUES_AT_ONCE = 50
_CAN_SAY_OK = "cloudwatch:"
_TICK = timedelta(seconds=1)
_NOTHING = Tally()


# ---- What can happen ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Word about money has come in, at `now`."""

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


type Happening = Told | TimePassed | StageSet | QueuesFoundOpen


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`why` says for the log what was decided, also where nothing changes."""

    state: GuardState
    effects: tuple[Effect, ...] = ()
    why: str


# ---- The stage machine --------------------------------------------------------------------


def decide(  # noqa: PLR0913 - two of them have a default
    state: GuardState,
    happening: Happening,
    rule: Guard | None,
    *,
    mode: Mode,
    held_by_others: Collection[str] = (),
    stopped: Tally = _NOTHING,
) -> Decision:
    """
    Say what a happening changes, and what must be done about it.

    `rule` is None where the policy has lost this guard: then an operator can still release it.
    `held_by_others` are queues that must stay closed for other guards' sake. `stopped` is what
    the current stage has stopped so far, to be told at its release.
    """
    moment = _Moment(
        state=state, now=happening.now, mode=mode, held=held_by_others, stopped=stopped
    )
    if rule is None:
        return _without_rule(moment, happening)
    match happening:
        case Told():
            return _told(moment, rule, happening.evidence)
        case TimePassed():
            return _time_passed(moment, rule)
        case StageSet():
            return _stage_set(moment, rule, happening.stage, happening.by)
        case QueuesFoundOpen():
            return _queues_found_open(moment, rule, happening)
        case _:
            assert_never(happening)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """A state at a moment, and the decisions that can be made of it."""

    state: GuardState
    now: datetime
    mode: Mode
    held: Collection[str]
    stopped: Tally

    def stay(self, why: str) -> Decision:
        return Decision(state=self.state, why=why)

    def enter(
        self,
        rule: Guard,
        stage: StopAction,
        why: str,
        *,
        by: str = "",
        evidence: Evidence | None = None,
    ) -> Decision:
        # Run ids tell seconds, and must differ.
        last = self.state.last_entered
        since = max(self.now, last + _TICK) if last else self.now
        entry = Entry(
            run_id=f"{rule.name}:{stage}:{iso(since)}",
            stage=stage,
            since=since,
            mode=self.mode,
            why=why,
            by=by,
        )
        raised = replace(self.state, entry=entry, last_entered=since)
        outlook = guard_notices.Outlook(
            before=self.state.stage,
            closes_queues=closes_queues(rule, stage),
            terminates_at=_terminates_at(raised, rule),
            released_with=_released_with(raised, rule),
        )
        notice = guard_notices.raised(rule, entry, outlook, evidence)
        effects = (Announce(notices=(notice,)), StartRun(run_id=entry.run_id))
        return Decision(state=raised, effects=effects, why=f"{stage}: {why}")

    def release(self, why: str, *, by: str = "", ringing: Iterable[str]) -> Decision:
        entry = self.state.entry
        if entry is None:
            return self.stay("calm already")
        reopened = self._reopenable()
        closed = tuple(queue for queue in self.state.closed if queue not in reopened)
        notice = guard_notices.released(
            self.state.guard,
            entry,
            guard_notices.Release(
                at=self.now,
                mode=self.mode,
                why=why,
                by=by,
                reopened=tuple(reopened),
                still_closed=closed,
                still_ringing=tuple(map(_alarm_of, sorted(ringing))),
                stopped=self.stopped,
            ),
        )
        return Decision(
            state=replace(self.state, entry=None, closed=closed, by_operator=False),
            effects=(*self._set_queues(reopened), Announce(notices=(notice,))),
            why=f"released: {why}",
        )

    def release_by(self, by: str, *, ringing: Iterable[str]) -> Decision:
        return self.release(f"{plain(by, 100)} asked for it", by=by, ringing=ringing)

    def reopen(self) -> Decision:
        """Open what a release left closed, as far as that can be done now."""
        reopened = self._reopenable()
        if self.state.entry or not reopened:
            return self.stay("nothing to do")
        closed = tuple(queue for queue in self.state.closed if queue not in reopened)
        return Decision(
            state=replace(self.state, closed=closed),
            effects=self._set_queues(reopened),
            why=f"reopened {len(reopened)} queues: no guard holds them any more",
        )

    def _reopenable(self) -> list[str]:
        if self.mode == "observe":
            return []
        return [queue for queue in self.state.closed if queue not in self.held][:_QUEUES_AT_ONCE]

    def _set_queues(self, queues: Iterable[str]) -> tuple[Effect, ...]:
        return tuple(
            SetQueueState(queue=queue, state="ENABLED", guard=self.state.guard) for queue in queues
        )


def _without_rule(moment: _Moment, happening: Happening) -> Decision:
    if isinstance(happening, StageSet) and happening.stage == "calm":
        return moment.release_by(happening.by, ringing=())
    if isinstance(happening, TimePassed):
        return moment.reopen()
    return moment.stay("the policy has no such guard")


def _told(moment: _Moment, rule: Guard, evidence: Evidence) -> Decision:
    state, what = moment.state, f"{_WORDS[evidence.source]} {plain(evidence.alarm, 100)}"
    stage = _stage_named(rule, evidence)
    if stage is None:
        return moment.stay(f"{what} is not named by the guard")
    if evidence.state == "INSUFFICIENT_DATA":
        return moment.stay(f"{what} has too little data: neither an ALARM nor an OK")
    if evidence.forecasted and not stage.forecast:
        return moment.stay(f"{what} is forecasted, which does not count at {stage.action}")
    signal = _signal_of(evidence, stage)
    heard, known = Heard(state=evidence.state, at=evidence.at), state.alarms.get(signal)
    if known and _order(heard) <= _order(known):
        return moment.stay(f"{what}: known, or older than what is known")
    rang = ringing(state, rule)
    moment = replace(moment, state=replace(state, alarms={**state.alarms, signal: heard}))
    if evidence.state == "OK":
        return _relieved(moment, rule, what, rang=signal in rang)
    if not rang:
        moment = replace(moment, state=replace(moment.state, ringing_since=moment.now))
    return _rung(moment, rule, stage, evidence)


def _rung(moment: _Moment, rule: Guard, stage: Stage, evidence: Evidence) -> Decision:
    why = _words(evidence)
    if hardness(stage.action) <= hardness(in_force(moment.state, moment.mode)):
        return moment.stay(f"{why}; the guard is at {moment.state.stage} already")
    return moment.enter(rule, stage.action, why, evidence=evidence)


_WORDS = {"cloudwatch": "alarm", "budget": "budget", "anomaly": "cost anomaly monitor"}


def _words(evidence: Evidence) -> str:
    what = f"{_WORDS[evidence.source]} {plain(evidence.alarm, 100)}"
    amount, threshold = evidence.amount or "unknown", evidence.threshold or "unknown"
    match evidence.source:
        case "cloudwatch":
            since = f"{what} is in ALARM since {iso(evidence.at)}"
            return f"{since} ({amount}, threshold {threshold})" if evidence.amount else since
        case "budget":
            kind = "FORECASTED" if evidence.forecasted else "ACTUAL"
            told = f"{what} told at {iso(evidence.at)} that its {kind} cost is"
            return f"{told} {amount}, threshold {threshold}"
        case "anomaly":
            return f"{what} told at {iso(evidence.at)} of {amount}, where {threshold} was expected"
        case _:
            assert_never(evidence.source)


def _relieved(moment: _Moment, rule: Guard, what: str, *, rang: bool) -> Decision:
    state = moment.state
    if state.entry is None or not rang:
        return moment.stay(f"{what} is OK")
    if left := ringing(state, rule):
        return moment.stay(f"{what} is OK, but not yet {', '.join(map(_alarm_of, sorted(left)))}")
    if rule.release == "manual":
        return moment.stay(f"{what} is OK; an operator releases this guard")
    if state.by_operator:
        return moment.stay(f"{what} is OK; an operator raised the guard, and releases it")
    return moment.release(f"{what} is OK, and no other alarm rings", ringing=())


def _time_passed(moment: _Moment, rule: Guard) -> Decision:
    state, entry = moment.state, moment.state.entry
    if entry is None:
        return moment.reopen()
    if in_force(state, moment.mode) == "calm":
        return _taken_seriously(moment, rule)
    at = _terminates_at(state, rule)
    if at and moment.now >= at:
        lasted = span((moment.now - entry.since).total_seconds())
        rings = ", ".join(map(_alarm_of, sorted(ringing(state, rule))))
        return moment.enter(
            rule, "terminate", f"{lasted} at {entry.stage} without relief: {rings} still in ALARM"
        )
    return moment.stay("nothing to do")


def _taken_seriously(moment: _Moment, rule: Guard) -> Decision:
    """The guard no longer only observes: what its alarms say still is meant."""
    rings = ringing(moment.state, rule)
    for stage in reversed(rule.stage):
        for alarm in stage.alarms:
            if _CAN_SAY_OK + alarm in rings:
                why = (
                    f"alarm {plain(alarm, 100)} is in ALARM, and the guard no longer observes only"
                )
                return moment.enter(rule, stage.action, why)
    return moment.stay("was raised in observe mode: waits for the next ALARM or an operator")


def _stage_set(moment: _Moment, rule: Guard, stage: StageName, by: str) -> Decision:
    state, rings = moment.state, ringing(moment.state, rule)
    if stage == "calm":
        return moment.release_by(by, ringing=rings)
    if _stage_of(rule, stage) is None:
        return moment.stay(f"the guard has no stage {stage}")
    if stage == in_force(state, moment.mode):
        return moment.stay(f"at {stage} already")
    moment = replace(moment, state=replace(state, by_operator=state.by_operator or not rings))
    return moment.enter(rule, stage, f"{plain(by, 100)} asked for it", by=by)


def _queues_found_open(moment: _Moment, rule: Guard, found: QueuesFoundOpen) -> Decision:
    state = moment.state
    if not is_current(state, found.run_id) or state.entry is None:
        return moment.stay("the guard has moved on")
    if not closes_queues(rule, state.entry.stage) or not is_enforced(state.entry, moment.mode):
        return moment.stay("closes no queues")
    queues = [
        queue
        for queue in dict.fromkeys(found.queues)
        # What it has closed and finds open, somebody else opened: that is theirs to decide.
        if queue not in state.closed and rule.covers_queue(queue)
    ][:_QUEUES_AT_ONCE]
    if not queues:
        return moment.stay("no queue to close")
    return Decision(
        state=replace(state, closed=(*state.closed, *queues)),
        effects=tuple(
            SetQueueState(queue=queue, state="DISABLED", guard=state.guard) for queue in queues
        ),
        why=f"closes {len(queues)} queues",
    )


# ---- What follows from states -------------------------------------------------------------


def concerned(policy: Policy, evidence: Evidence) -> tuple[Guard, ...]:
    """The guards that name an alarm."""
    return tuple(rule for rule in policy.guard if _stage_named(rule, evidence))


def ringing(state: GuardState, rule: Guard) -> frozenset[str]:
    """The signals that are in ALARM, of those that the policy names still."""
    named = {signal for stage in rule.stage for signal in _signals(stage)}
    return frozenset(
        signal
        for signal, heard in state.alarms.items()
        if heard.state == "ALARM" and signal in named
    )


def in_force(state: GuardState, mode: Mode) -> StageName:
    """The stage, but calm where it was entered in observe mode and the mode is "enforce" now."""
    entry = state.entry
    return entry.stage if entry and (mode == "observe" or entry.mode == "enforce") else "calm"


def is_enforced(entry: Entry, mode: Mode) -> bool:
    """Whether an entered stage is acted upon, and not only told of."""
    return entry.mode == mode == "enforce"


def is_current(state: GuardState, run_id: str) -> bool:
    """Whether a stop run is that of the current stage. One that is not must end."""
    return state.entry is not None and state.entry.run_id == run_id


def closes_queues(rule: Guard, stage: StageName) -> bool:
    """Whether a guard closes queues at a stage: because that stage says so, or a milder one."""
    return any(
        each.close_queues and hardness(each.action) <= hardness(stage) for each in rule.stage
    )


# ---- Parts --------------------------------------------------------------------------------


def _stage_named(rule: Guard, evidence: Evidence) -> Stage | None:
    return next((stage for stage in rule.stage if evidence.names & set(stage.alarms)), None)


def _signal_of(evidence: Evidence, stage: Stage) -> str:
    # By the policy's own word, name or ARN: the ways by which one alarm's news arrive do not all
    # tell its ARN, and must not count as two alarms.
    named = evidence.names & set(stage.alarms)
    name = evidence.alarm if evidence.alarm in named else min(named)
    return f"{'forecast' if evidence.forecasted else evidence.source}:{name}"


def _signals(stage: Stage) -> Iterator[str]:
    for name in stage.alarms:
        for source in ("cloudwatch", "budget", "anomaly", "forecast"):
            if source != "forecast" or stage.forecast:
                yield f"{source}:{name}"


def _alarm_of(signal: str) -> str:
    return signal.partition(":")[2]


def _order(heard: Heard) -> tuple[datetime, bool]:
    return heard.at, heard.state == "ALARM"


def _stage_of(rule: Guard, action: StageName) -> Stage | None:
    return next((each for each in rule.stage if each.action == action), None)


def _terminates_at(state: GuardState, rule: Guard) -> datetime | None:
    """When the current stage will have lasted too long, if nothing changes."""
    harder = _stage_of(rule, "terminate")
    if state.stage != "cancel" or state.entry is None or harder is None:
        return None
    if harder.after_previous is None or not ringing(state, rule):
        return None
    since = max(state.entry.since, state.ringing_since or state.entry.since)
    return since + harder.after_previous


def _released_with(state: GuardState, rule: Guard) -> tuple[str, ...]:
    """The alarms whose OKs will release the guard; none, where only an operator can."""
    rings = sorted(ringing(state, rule))
    if rule.release == "manual" or state.by_operator:
        return ()
    if any(not signal.startswith(_CAN_SAY_OK) for signal in rings):
        return ()
    return tuple(map(_alarm_of, rings))
