"""The transitions of a guard: enter a stage, release it, reopen its queues."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from batch_watchdog.core.effects import Announce, Effect, SetQueueState, StartRun
from batch_watchdog.guards import notices as guard_notices
from batch_watchdog.guards.inputs import GuardDecision
from batch_watchdog.guards.matching import alarm_of, says_ok
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.stages import (
    HoldSpan,
    closes_queues,
    ends_of,
    in_force,
    releasing_signals,
    terminates_at,
    why_not_meant,
)
from batch_watchdog.guards.state import GuardState, StageEntry, StageName, StopAction
from batch_watchdog.guards.stop_run.counts import Tally
from batch_watchdog.notices.text import iso, plain
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.tables import Mode

# A decision and its actions are one write of at most 100 items.
QUEUES_AT_ONCE = 50
_TICK = timedelta(seconds=1)
NOTHING_STOPPED = Tally()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A state at a moment, and the decisions that can be made of it."""

    state: GuardState
    now: datetime
    mode: Mode
    held: Collection[str]
    stopped: Tally
    operator_holds: Sequence[HoldSpan]

    def stay(self, why: str, *, tell: bool = False) -> GuardDecision:
        return GuardDecision(state=self.state, why=why, to_tell=why if tell else "")

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
        # Run ids tell seconds, and must differ.
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
            is_held=any(until >= self.now for _, until in self.operator_holds),
        )
        notice = guard_notices.raised(rule, entry, outlook, evidence)
        effects = (Announce(notices=(notice,)), StartRun(run_id=entry.run_id))
        return GuardDecision(state=raised, effects=effects, why=f"{stage}: {why}")

    def release(self, why: str, *, by: str = "", ringing: Iterable[str]) -> GuardDecision:
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
            guard_notices.ReleaseFacts(
                at=self.now,
                mode=self.mode,
                why=why,
                by=by,
                reopened=tuple(reopened),
                still_closed=closed,
                still_ringing=tuple(map(alarm_of, sorted(ringing))),
                stopped=self.stopped,
            ),
        )
        return GuardDecision(
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

    def release_by(self, by: str, *, ringing: Iterable[str]) -> GuardDecision:
        return self.release(f"{plain(by, 100)} asked for it", by=by, ringing=ringing)

    def reopen(self) -> GuardDecision:
        """Open what a release left closed, as far as that can be done now."""
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


SOURCE_WORDS = {
    "cloudwatch": "alarm",
    "budget": "budget",
    "anomaly": "cost anomaly monitor",
    "live": "budget",
}


def words_of(evidence: Evidence) -> str:
    what = f"{SOURCE_WORDS[evidence.source]} {plain(evidence.alarm, 100)}"
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
        case "live":
            return f"{threshold} of {what} is used since {iso(evidence.at)} ({amount})"
        case _:
            assert_never(evidence.source)


def stage_in_force(moment: Transition, rule: Guard) -> StageName:
    """The stage, but calm where it is not meant, or not yet meant to be acted upon."""
    is_meant = not why_not_meant(moment.state, rule, moment.now)
    return in_force(moment.state, moment.mode) if is_meant else "calm"
