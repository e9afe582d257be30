"""Make the transitions of a guard: enter a stage, release it, close and reopen its queues."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from batch_watchdog.core.effects import Announce, Effect, SetQueueState, StartRun
from batch_watchdog.guards import notices as guard_notices
from batch_watchdog.guards import release_notices
from batch_watchdog.guards.inputs import GuardDecision, QueuesFoundOpen
from batch_watchdog.guards.matching import alarm_of, says_ok
from batch_watchdog.guards.signals.evidence import Evidence, Source
from batch_watchdog.guards.stages import (
    HoldSpan,
    closes_queues,
    ends_of,
    in_force,
    is_current,
    is_enforced,
    releasing_signals,
    terminates_at,
    why_not_meant,
)
from batch_watchdog.guards.state import EarlierStage, GuardState, StageEntry, StageName, StopAction
from batch_watchdog.guards.stop_run.counts import StageReport, Tally
from batch_watchdog.notices.phrases import Phrase, kept, say
from batch_watchdog.notices.text import iso, plain
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.tables import Mode

# A decision and its actions are one write of at most 100 items.
QUEUES_AT_ONCE = 50
EARLIER_MAX = 20  # stages that are kept for the notice of a release
_TICK = timedelta(seconds=1)
NOTHING_STOPPED = Tally()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A guard's state at a moment. The methods make the decisions that are possible from it."""

    state: GuardState
    now: datetime
    mode: Mode
    held: Collection[str]
    stopped: Tally
    stopped_before: Sequence[Tally]
    operator_holds: Sequence[HoldSpan]
    never_closed: Collection[str]

    def stay(self, why: str, about: Evidence | None = None) -> GuardDecision:
        """Stay as it is. Operators are notified if it is about a budget's or anomaly's message."""
        is_message = about is not None and about.source not in ("cloudwatch", "live")
        return GuardDecision(state=self.state, why=why, to_announce=why if is_message else "")

    def enter(  # noqa: PLR0913 - each is one part of an entry
        self,
        rule: Guard,
        stage: StopAction,
        why: str,
        *,
        by: str = "",
        signal: str = "",
        evidence: Evidence | None = None,
    ) -> GuardDecision:
        # Run ids have times to the second, and must differ.
        last = self.state.last_entered
        since = max(self.now, last + _TICK) if last else self.now
        entry = StageEntry(
            run_id=f"{rule.name}:{stage}:{iso(since)}",
            stage=stage,
            since=since,
            mode=self.mode,
            why=why,
            by=by,
            signal=signal,
        )
        raised = replace(
            self.state,
            entry=entry,
            last_entered=since,
            earlier=self._earlier(since),
            reopens=False,
            in_doubt_since=None,
            doubted_for=timedelta(),
        )
        released_with = releasing_signals(raised, rule, self.now)
        outlook = guard_notices.Outlook(
            before=self.state.stage,
            closes_queues=closes_queues(rule, stage),
            terminates_at=terminates_at(raised, rule, self.now, self.operator_holds),
            released_with=tuple(map(alarm_of, filter(says_ok, released_with))),
            ends=tuple(
                (alarm_of(signal), ends)
                for signal in released_with
                if not says_ok(signal) and (ends := ends_of(signal, raised.alarms[signal]))
            ),
            is_held=_is_held(self),
        )
        notice = guard_notices.raised(rule, entry, outlook, evidence)
        effects = (Announce(notices=(notice,)), StartRun(run_id=entry.run_id))
        return GuardDecision(state=raised, effects=effects, why=f"{stage}: {why}")

    def release(self, why: str, *, by: str = "", in_alarm: Iterable[str]) -> GuardDecision:
        """Make the guard calm, and end each ALARM."""
        entry = self.state.entry
        if entry is None:
            return self.stay("calm already")
        alarms = {
            signal: replace(received, over=received.state == "ALARM")
            for signal, received in self.state.alarms.items()
        }
        reopened = self._reopenable()
        closed = tuple(queue for queue in self.state.closed if queue not in reopened)
        notice = release_notices.released(
            self.state.guard,
            entry,
            release_notices.ReleaseFacts(
                at=self.now,
                mode=self.mode,
                why=why,
                by=by,
                opens=tuple(reopened),
                leaves_closed=closed,
                never_closed=self.never_closed,
                is_held=_is_held(self),
                still_in_alarm=tuple(map(alarm_of, sorted(in_alarm))),
                stages=self._stages(entry),
            ),
        )
        return GuardDecision(
            state=replace(
                self.state,
                entry=None,
                earlier=(),
                closed=closed,
                by_operator=False,
                alarms=alarms,
                released_at=self.now if by else self.state.released_at,
                reopens=self.state.reopens and bool(closed),
            ),
            effects=(*self._set_queues(reopened), Announce(notices=(notice,))),
            why=f"released: {why}",
        )

    def _earlier(self, now: datetime) -> tuple[EarlierStage, ...]:
        """Return the stages since the guard was last calm, without the one that is entered now."""
        if self.state.entry is None:
            return ()
        left = EarlierStage(entry=self.state.entry, until=now)
        return (*self.state.earlier, left)[-EARLIER_MAX:]

    def _stages(self, entry: StageEntry) -> tuple[StageReport, ...]:
        """Return all stages since the guard was last calm, with what each has stopped."""
        known = zip(self.state.earlier, self.stopped_before, strict=False)
        return (
            *(
                StageReport(entry=each.entry, until=each.until, tally=tally)
                for each, tally in known
            ),
            StageReport(entry=entry, until=self.now, tally=self.stopped),
        )

    def release_by(self, by: str, *, in_alarm: Iterable[str]) -> GuardDecision:
        return self.release(say("{who} asked for it", who=plain(by, 100)), by=by, in_alarm=in_alarm)

    def reopen(self) -> GuardDecision:
        """Reopen the queues that a release left closed, as far as that is possible now."""
        reopened = self._reopenable()
        if self.state.entry or not reopened:
            return self.stay("nothing to do")
        closed = tuple(queue for queue in self.state.closed if queue not in reopened)
        return GuardDecision(
            state=replace(self.state, closed=closed, reopens=self.state.reopens and bool(closed)),
            effects=self._set_queues(reopened),
            why=f"reopened {len(reopened)} queues: no guard holds them any more",
        )

    def _reopenable(self) -> list[str]:
        if self.mode == "observe" and not self.state.reopens:
            return []
        return [queue for queue in self.state.closed if queue not in self.held][:QUEUES_AT_ONCE]

    def _set_queues(self, queues: Iterable[str]) -> tuple[Effect, ...]:
        return tuple(
            SetQueueState(queue=queue, state="ENABLED", guard=self.state.guard) for queue in queues
        )


_SOURCES: Mapping[Source, str] = {
    "cloudwatch": "alarm {alarm}",
    "budget": "budget {alarm}",
    "anomaly": "cost anomaly monitor {alarm}",
    "live": "budget {alarm}",
}


def describe_source(evidence: Evidence) -> Phrase:
    """Return the kind of signal, and the name of the alarm, budget or monitor."""
    return say(_SOURCES[evidence.source], alarm=plain(evidence.alarm, 100))


def describe(evidence: Evidence) -> Phrase:
    parts = {
        "what": describe_source(evidence),
        "at": evidence.at,
        "amount": evidence.amount or say("unknown"),
        "threshold": kept(evidence.threshold or say("unknown")),
    }
    match evidence.source:
        case "cloudwatch" if evidence.amount:
            return say("{what} went into ALARM at {at} ({amount}, threshold {threshold})", **parts)
        case "cloudwatch":
            return say("{what} went into ALARM at {at}", **parts)
        case "budget":
            return say(
                "{what} says at {at} that its {kind} {type} is {amount}, threshold {threshold}",
                kind="FORECASTED" if evidence.forecasted else "ACTUAL",
                type=plain(evidence.budget_type or "Cost"),
                **parts,
            )
        case "anomaly":
            return say("{what} says at {at}: {amount}, where {threshold} was expected", **parts)
        case "live":
            return say("{threshold} of {what} is used since {at} ({amount})", **parts)
        case _:
            assert_never(evidence.source)


def go_back(guard: Transition, rule: Guard, operators: StageEntry) -> GuardDecision:
    """Enter again the stage that an operator had set: nothing asks for a harder one any more."""
    why = say(
        "nothing asks for {harder} any more, and {who} had asked for {stage}",
        harder=guard.state.stage,
        who=plain(operators.by, 100),
        stage=operators.stage,
    )
    return guard.enter(rule, operators.stage, why, by=operators.by)


def close_found_open(guard: Transition, rule: Guard, found: QueuesFoundOpen) -> GuardDecision:
    """Close the open queues in scope, if the stage that is on closes queues."""
    state = guard.state
    if not is_current(state, found.run_id) or state.entry is None:
        return guard.stay("the guard has moved on")
    if not closes_queues(rule, state.entry.stage) or not is_enforced(state.entry, guard.mode):
        return guard.stay("closes no queues")
    if why := why_not_meant(state, rule, guard.now):
        return guard.stay(why)
    queues = [
        queue
        for queue in dict.fromkeys(found.queues)
        # If the guard has closed it and it is open, somebody else opened it: it stays open.
        if queue not in state.closed and rule.covers_queue(queue)
    ][:QUEUES_AT_ONCE]
    if not queues:
        return guard.stay("no queue to close")
    return GuardDecision(
        state=replace(state, closed=(*state.closed, *queues)),
        effects=tuple(
            SetQueueState(queue=queue, state="DISABLED", guard=state.guard) for queue in queues
        ),
        why=f"closes {len(queues)} queues",
    )


# ---- Parts --------------------------------------------------------------------------------


def _is_held(guard: Transition) -> bool:
    """Check whether an operator holds the watchdog."""
    return any(until >= guard.now for _, until in guard.operator_holds)


def stage_in_force(guard: Transition, rule: Guard) -> StageName:
    """Return the stage, or calm if it is not justified, or entered in observe mode (`in_force`)."""
    is_meant = not why_not_meant(guard.state, rule, guard.now)
    return in_force(guard.state, guard.mode) if is_meant else "calm"
