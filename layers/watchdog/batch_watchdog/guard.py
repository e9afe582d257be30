"""
Guards: when a stage of spending begins and ends, and what follows from it. All of it pure.

A guard is calm, or at `cancel`, or at `terminate`. `decide` takes its state and one happening
(a word about money, time, an operator's command, queues found open) and says the new state and
what is to be done. The rules:

* The newest evidence of each alarm counts, by the evidence's own time; of two with one time, the
  ALARM. Older evidence, or the same again, changes nothing. A time that is still to come counts
  as the time of arrival.
* An ALARM raises the guard to the stage that names it, if that is harder than the current one.
  Nothing but a release or an operator makes a guard milder.
* A stage names a threshold of an AWS Budget: by `aws_budgets`, or by the budget's name alone, which
  means a cost budget and its 100 %, ACTUAL. A message about a higher threshold counts too. A
  message that raises nothing is passed on to operators: its threshold is lower, cannot be read, or
  is not one of cost; or it changes nothing.
* A stage lasts from when it was entered here, never from a time that a message carries. The time
  under an operator's hold does not count.
* `after_previous` counts from when the milder stage was entered, or from when an alarm last
  began to ring, if that is later. It needs an alarm that still rings. A stage that an operator
  set does not become harder by time.
* INSUFFICIENT_DATA is neither an OK nor an ALARM: it changes nothing.
* A budget's message rings until the period is over that it is about (UTC; a month, where it names
  none), an anomaly until the day is over. What arrives after that raises nothing.
* `release = "auto"`: the guard is released when none of its alarms rings any more, by an OK or
  because a period is over. Where an operator raised it with no alarm ringing, only an operator
  releases it.
* A release ends what rang before it. After an operator's release, evidence of an older time does
  not ring either, also where it arrives later. Such an alarm rings again when it goes into ALARM
  anew.
* A stage closes queues if it or a milder stage of the guard says so. A queue is reopened once
  the guards that closed it are calm and no other guard holds it.
* In observe mode stages are entered and left as usual, and a stop run only counts; no queue is
  opened or closed. Once the mode is "enforce", a stage entered so is as good as calm, until an
  operator's command or the next ALARM; and a CloudWatch alarm that rings still counts as one at
  the next sweep. (A budget's message does not: it may be weeks old by then.)
* A guard that the policy has lost keeps its stage and its closed queues. An operator's release
  ends the one and reopens the others.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from batch_watchdog import guard_notices
from batch_watchdog.effects import Announce, Effect, SetQueueState, StartRun
from batch_watchdog.evidence import Evidence, end_of
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
from batch_watchdog.policy import AwsBudget, Guard, Mode, Policy, Stage

# A decision and its actions are one write of at most 100 items.
_QUEUES_AT_ONCE = 50
_CAN_SAY_OK = "cloudwatch:"
_TICK = timedelta(seconds=1)
_CLOCKS_DIFFER = timedelta(minutes=1)  # AWS's and ours, at most
_WHOLE = 100.0  # per cent
_ROUNDING = 0.005  # of amounts and per cents, as numbers of a machine
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
    """
    `why` says for the log what was decided, also where nothing changes.

    `to_tell` says why a message of a budget or an anomaly raised nothing: operators are to know.
    """

    state: GuardState
    effects: tuple[Effect, ...] = ()
    why: str
    to_tell: str = ""


# Since when an operator held the watchdog, and until when; in order of time.
type Held = tuple[datetime, datetime]


# ---- The stage machine --------------------------------------------------------------------


def decide(  # noqa: PLR0913 - two of them have a default
    state: GuardState,
    happening: Happening,
    rule: Guard | None,
    *,
    mode: Mode,
    held_by_others: Collection[str] = (),
    stopped: Tally = _NOTHING,
    operator_holds: Sequence[Held] = (),
) -> Decision:
    """
    Say what a happening changes, and what must be done about it.

    `rule` is None where the policy has lost this guard: then an operator can still release it.
    `held_by_others` are queues that must stay closed for other guards' sake. `stopped` is what
    the current stage has stopped so far, for the notice of its release. `operator_holds` are the
    spans of time that do not count; one that is still on ends now.
    """
    moment = _Moment(
        state=state,
        now=happening.now,
        mode=mode,
        held=held_by_others,
        stopped=stopped,
        operator_holds=operator_holds,
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
    operator_holds: Sequence[Held]

    def stay(self, why: str, *, tell: bool = False) -> Decision:
        return Decision(state=self.state, why=why, to_tell=why if tell else "")

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
        raised = replace(self.state, entry=entry, last_entered=since, reopens=False)
        released_with = _released_with(raised, rule, self.now)
        outlook = guard_notices.Outlook(
            before=self.state.stage,
            closes_queues=closes_queues(rule, stage),
            terminates_at=terminates_at(raised, rule, self.now, self.operator_holds),
            released_with=tuple(map(_alarm_of, filter(_says_ok, released_with))),
            ends=tuple(
                (_alarm_of(signal), ends)
                for signal in released_with
                if not _says_ok(signal) and (ends := _ends(signal, raised.alarms[signal]))
            ),
            is_held=any(until >= self.now for _, until in self.operator_holds),
        )
        notice = guard_notices.raised(rule, entry, outlook, evidence)
        effects = (Announce(notices=(notice,)), StartRun(run_id=entry.run_id))
        return Decision(state=raised, effects=effects, why=f"{stage}: {why}")

    def release(self, why: str, *, by: str = "", ringing: Iterable[str]) -> Decision:
        """Make the guard calm. What rang before does not ring any more."""
        entry = self.state.entry
        if entry is None:
            return self.stay("calm already")
        alarms = {
            signal: replace(heard, over=heard.state == "ALARM")
            for signal, heard in self.state.alarms.items()
        }
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
            state=replace(
                self.state,
                entry=None,
                closed=closed,
                by_operator=False,
                alarms=alarms,
                released_at=self.now if by else self.state.released_at,
                reopens=self.state.reopens and bool(closed),
            ),
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
            state=replace(self.state, closed=closed, reopens=self.state.reopens and bool(closed)),
            effects=self._set_queues(reopened),
            why=f"reopened {len(reopened)} queues: no guard holds them any more",
        )

    def _reopenable(self) -> list[str]:
        if self.mode == "observe" and not self.state.reopens:
            return []
        return [queue for queue in self.state.closed if queue not in self.held][:_QUEUES_AT_ONCE]

    def _set_queues(self, queues: Iterable[str]) -> tuple[Effect, ...]:
        return tuple(
            SetQueueState(queue=queue, state="ENABLED", guard=self.state.guard) for queue in queues
        )


def _without_rule(moment: _Moment, happening: Happening) -> Decision:
    if isinstance(happening, StageSet) and happening.stage == "calm":
        # No rule says in which mode: its queues are reopened, as an operator asks for it.
        moment = replace(moment, state=replace(moment.state, reopens=True))
        return moment.release_by(happening.by, ringing=())
    if isinstance(happening, TimePassed):
        return moment.reopen()
    return moment.stay("the policy has no such guard")


def _told(moment: _Moment, rule: Guard, evidence: Evidence) -> Decision:
    what = f"{_WORDS[evidence.source]} {plain(evidence.alarm, 100)}"
    tells = evidence.source != "cloudwatch"
    if not _is_named(rule, evidence):
        return moment.stay(f"{what} is not named by the guard")
    if evidence.state == "INSUFFICIENT_DATA":
        return moment.stay(f"{what} has too little data: neither an ALARM nor an OK")
    named = tuple(_named(rule, evidence))
    if not named:
        return moment.stay(f"{what}: {_why_not_named(rule, evidence)}", tell=tells)
    heard = _heard(evidence, moment.now)
    released_at = moment.state.released_at
    if heard.state == "ALARM" and (
        (heard.ends and heard.ends <= moment.now) or (released_at and heard.at <= released_at)
    ):
        heard = replace(heard, over=True)
    known = moment.state.alarms
    fresh = [
        (stage, signal)
        for stage, signal in named
        if signal not in known or _is_newer(heard, known[signal])
    ]
    if not fresh:
        if any(_is_the_same(known[signal], heard) for _, signal in named):
            return moment.stay(f"{what}: known already")
        return moment.stay(f"{what}: not newer than what is known", tell=tells)
    return _news(moment, rule, evidence, heard, fresh)


def _news(
    moment: _Moment,
    rule: Guard,
    evidence: Evidence,
    heard: Heard,
    fresh: Sequence[tuple[Stage, str]],
) -> Decision:
    """Take in evidence of some signals, each of which it names for a stage."""
    state, now = moment.state, moment.now
    what = f"{_WORDS[evidence.source]} {plain(evidence.alarm, 100)}"
    tells = evidence.source != "cloudwatch"
    rang = ringing(state, rule, now)
    signals = {signal: _following(heard, state.alarms.get(signal)) for _, signal in fresh}
    moment = replace(moment, state=replace(state, alarms={**state.alarms, **signals}))
    if evidence.state == "OK":
        return _relieved(moment, rule, what, rang=any(signal in rang for signal in signals))
    if heard.ends and heard.ends <= now:
        ended = f"what it is about was over at {iso(heard.ends)}"
        return moment.stay(f"{_words(evidence)}; {ended}", tell=tells)
    if heard.over:
        released = "an operator has released the guard since"
        return moment.stay(f"{_words(evidence)}; {released}", tell=tells)
    if not rang:
        moment = replace(moment, state=replace(moment.state, ringing_since=now))
    hardest = max((stage for stage, _ in fresh), key=lambda stage: hardness(stage.action))
    return _rung(moment, rule, hardest, evidence)


def _rung(moment: _Moment, rule: Guard, stage: Stage, evidence: Evidence) -> Decision:
    why = _words(evidence)
    if hardness(stage.action) <= hardness(in_force(moment.state, moment.mode)):
        tells = evidence.source != "cloudwatch"
        return moment.stay(f"{why}; the guard is at {moment.state.stage} already", tell=tells)
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
            budget_type = evidence.budget_type or "Cost"
            says = f"{what} says at {iso(evidence.at)} that its {kind} {plain(budget_type)} is"
            return f"{says} {amount}, threshold {threshold}"
        case "anomaly":
            return f"{what} says at {iso(evidence.at)}: {amount}, where {threshold} was expected"
        case _:
            assert_never(evidence.source)


def _relieved(moment: _Moment, rule: Guard, what: str, *, rang: bool) -> Decision:
    state = moment.state
    if state.entry is None or not rang:
        return moment.stay(f"{what} is OK")
    if left := ringing(state, rule, moment.now):
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
    if is_over(state, rule, moment.now):
        ended = sorted(_ended(state, rule, moment.now))
        which = ", ".join(_subject_of(signal) for signal in ended)
        return moment.release(f"{which} has ended, and no alarm rings", ringing=())
    if in_force(state, moment.mode) == "calm":
        return _taken_seriously(moment, rule)
    at = terminates_at(state, rule, moment.now, moment.operator_holds)
    if at and moment.now >= at:
        lasted = span((moment.now - entry.since).total_seconds())
        rings = ", ".join(map(_alarm_of, sorted(ringing(state, rule, moment.now))))
        return moment.enter(
            rule, "terminate", f"{lasted} at {entry.stage} without relief: {rings} still in ALARM"
        )
    return moment.stay("nothing to do")


def _taken_seriously(moment: _Moment, rule: Guard) -> Decision:
    """The guard no longer only observes: what its alarms say still is meant."""
    rings = ringing(moment.state, rule, moment.now)
    for stage in reversed(rule.stage):
        for alarm in stage.alarms:
            if _CAN_SAY_OK + alarm in rings:
                why = (
                    f"alarm {plain(alarm, 100)} is in ALARM, and the guard no longer observes only"
                )
                return moment.enter(rule, stage.action, why)
    return moment.stay("was raised in observe mode: waits for the next ALARM or an operator")


def _stage_set(moment: _Moment, rule: Guard, stage: StageName, by: str) -> Decision:
    state, rings = moment.state, ringing(moment.state, rule, moment.now)
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
    """The guards that name an alarm, or a budget: not necessarily the threshold it is about."""
    return tuple(rule for rule in policy.guard if _is_named(rule, evidence))


def ringing(state: GuardState, rule: Guard, now: datetime) -> frozenset[str]:
    """The signals that are in ALARM and not over, of those that the policy still names."""
    return frozenset(
        signal
        for signal, heard in _in_alarm(state, rule)
        if not ((ends := _ends(signal, heard)) and ends <= now)
    )


def is_over(state: GuardState, rule: Guard, now: datetime) -> bool:
    """Whether all that raised a guard is over by itself, so that it is released without an OK."""
    if state.entry is None or rule.release == "manual" or state.by_operator:
        return False
    return bool(_ended(state, rule, now)) and not ringing(state, rule, now)


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


def _is_named(rule: Guard, evidence: Evidence) -> bool:
    budgets = (budget.name for stage in rule.stage for budget in stage.aws_budgets)
    if evidence.source == "budget" and any(name in evidence.names for name in budgets):
        return True
    return any(evidence.names & set(stage.alarms) for stage in rule.stage)


def _named(rule: Guard, evidence: Evidence) -> Iterator[tuple[Stage, str]]:
    """The stages that mean this evidence, each with the signal that rings for it."""
    if evidence.source == "budget":
        for stage in rule.stage:
            if (name := _named_in(stage, evidence)) and _is_whole_cost(evidence, stage):
                yield stage, _signal("budget", name, forecasted=evidence.forecasted)
            for budget in stage.aws_budgets:
                if budget.name in evidence.names and _is_threshold(evidence, budget):
                    yield stage, _signal("budget", str(budget), forecasted=evidence.forecasted)
        return
    for stage in rule.stage:
        if name := _named_in(stage, evidence):
            yield stage, _signal(evidence.source, name)
            return


def _named_in(stage: Stage, evidence: Evidence) -> str:
    # By the policy's own name for it, a name or an ARN: not all ways by which one alarm's news
    # arrives show its ARN, and they must not count as two alarms.
    named = evidence.names & set(stage.alarms)
    if not named:
        return ""
    return evidence.alarm if evidence.alarm in named else min(named)


def _is_whole_cost(evidence: Evidence, stage: Stage) -> bool:
    """Whether a message is what a budget's bare name means: 100 % of a cost budget, or more."""
    limit = evidence.limit
    if limit is None or not limit.is_cost or limit.below or limit.percent is None:
        return False
    return limit.percent >= _WHOLE and (stage.forecast or not evidence.forecasted)


def _is_threshold(evidence: Evidence, budget: AwsBudget) -> bool:
    """Whether a message is about the very threshold that a stage names."""
    limit = evidence.limit
    if limit is None or budget.forecast != evidence.forecasted:
        return False
    in_percent = budget.percent is not None
    wanted = budget.percent if in_percent else budget.amount
    given = limit.percent if in_percent else limit.amount
    slack = limit.percent_slack if in_percent else limit.amount_slack
    if wanted is None or given is None:
        return False
    if limit.below and not limit.is_ratio:
        return False  # Costs that are less than planned are not spending too much.
    return abs(given - wanted) <= slack + _ROUNDING


def _why_not_named(rule: Guard, evidence: Evidence) -> str:
    """Why a budget's message that a guard names by the budget raises no stage."""
    limit, threshold = evidence.limit, evidence.threshold or "unknown"
    if limit is None or (limit.percent is None and limit.amount is None):
        return f"its threshold ({threshold}) cannot be read, so it raises no stage"
    by_name = any(_named_in(stage, evidence) for stage in rule.stage)
    if by_name and not limit.is_cost:
        return "it is not a cost budget, which raises a stage only by aws_budgets"
    if limit.percent is None:
        return (
            f"its threshold ({threshold}) cannot be compared with what is budgeted "
            f"({evidence.budgeted or 'unknown'}), so it raises no stage"
        )
    if by_name and limit.percent >= _WHOLE and evidence.forecasted:
        return "it is FORECASTED, which the stage does not ask for"
    return f"its threshold ({threshold}) is not one that a stage names"


def _signal(source: str, name: str, *, forecasted: bool = False) -> str:
    return f"{'forecast' if forecasted else source}:{name}"


def _signals(stage: Stage) -> Iterator[str]:
    for name in stage.alarms:
        for source in ("cloudwatch", "budget", "anomaly", "forecast"):
            if source != "forecast" or stage.forecast:
                yield f"{source}:{name}"
    for budget in stage.aws_budgets:
        yield _signal("budget", str(budget), forecasted=budget.forecast)


def _says_ok(signal: str) -> bool:
    return signal.startswith(_CAN_SAY_OK)


def _alarm_of(signal: str) -> str:
    return signal.partition(":")[2]


def _subject_of(signal: str) -> str:
    kind = "day of anomaly monitor" if signal.startswith("anomaly:") else "period of budget"
    return f"the {kind} {plain(_alarm_of(signal), 100)}"


def _heard(evidence: Evidence, now: datetime) -> Heard:
    """Evidence as it is kept: a time that is still to come counts as the time of arrival."""
    to_come = evidence.at > now + _CLOCKS_DIFFER
    at = now if to_come else evidence.at
    return Heard(
        state="OK" if evidence.state == "OK" else "ALARM",
        at=at,
        said=evidence.at if to_come else None,
        ends=evidence.ends_at(at),
        content=_digest(evidence),
    )


def _digest(evidence: Evidence) -> str:
    # The ways by which one alarm's news arrive do not all say the same of it.
    if evidence.source == "cloudwatch":
        return ""
    return hashlib.sha256(evidence.detail.encode("utf-8", "replace")).hexdigest()[:8]


def _following(heard: Heard, known: Heard | None) -> Heard:
    """Evidence as it is kept after what was known: a repeat of that is still known for one."""
    return replace(heard, said=heard.said or known.said) if known else heard


def _is_newer(heard: Heard, known: Heard) -> bool:
    if heard.said and known.said and heard.said <= known.said:
        return False  # Both times were still to come: it is a repeat, or older.
    return _order(heard) > _order(known)


def _is_the_same(known: Heard, heard: Heard) -> bool:
    """Whether it is a repeat. One budget may send two messages at one time."""
    same_time = heard.said == known.said if heard.said else heard.at == known.at
    return same_time and (known.state, known.content) == (heard.state, heard.content)


def _order(heard: Heard) -> tuple[datetime, bool]:
    return heard.at, heard.state == "ALARM"


def _in_alarm(state: GuardState, rule: Guard) -> Iterator[tuple[str, Heard]]:
    named = {signal for stage in rule.stage for signal in _signals(stage)}
    for signal, heard in state.alarms.items():
        if heard.state == "ALARM" and not heard.over and signal in named:
            yield signal, heard


def _ended(state: GuardState, rule: Guard, now: datetime) -> list[str]:
    """The signals that rang until their period was over."""
    return [
        signal
        for signal, heard in _in_alarm(state, rule)
        if (ends := _ends(signal, heard)) and ends <= now
    ]


def _ends(signal: str, heard: Heard) -> datetime | None:
    if heard.ends or _says_ok(signal):
        return heard.ends
    # Kept by an older version: a month, or an anomaly's day.
    return end_of("day" if signal.startswith("anomaly:") else "month", heard.at)


def _stage_of(rule: Guard, action: StageName) -> Stage | None:
    return next((each for each in rule.stage if each.action == action), None)


def terminates_at(
    state: GuardState, rule: Guard, now: datetime, operator_holds: Sequence[Held] = ()
) -> datetime | None:
    """When the current stage will have lasted too long, if nothing changes."""
    harder = _stage_of(rule, "terminate")
    if state.stage != "cancel" or state.entry is None or harder is None:
        return None
    if harder.after_previous is None or state.entry.by or not ringing(state, rule, now):
        return None
    since = max(state.entry.since, state.ringing_since or state.entry.since)
    return without_holds(since, harder.after_previous, operator_holds)


def without_holds(since: datetime, span: timedelta, holds: Sequence[Held]) -> datetime:
    """When a span of time is over that began then, if time under a hold does not count."""
    at = since + span
    for begin, end in sorted(holds):
        if end > since and begin < at:
            at += end - max(begin, since)
    return at


def _released_with(state: GuardState, rule: Guard, now: datetime) -> list[str]:
    """The signals that will release the guard when they end; none, where an operator must."""
    if rule.release == "manual" or state.by_operator:
        return []
    return sorted(ringing(state, rule, now))
