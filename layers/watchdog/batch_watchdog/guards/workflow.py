"""Update the guards: at each billing signal, every minute, and at an operator's command."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from batch_watchdog.core.effects import StartRun
from batch_watchdog.core.job_event import EPOCH
from batch_watchdog.guards import (
    alert_notices,
    matching,
    precedence,
    queue_update_items,
    stages,
)
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import rules as guard_rules
from batch_watchdog.guards.inputs import (
    AlarmReceived,
    GuardDecision,
    GuardInput,
    StageSet,
    TimePassed,
)
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.state import GuardState, StageEntry
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.stop_run import run as stop_run
from batch_watchdog.guards.stop_run.counts import Tally
from batch_watchdog.guards.stop_run.tally import tally
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.once import OnceKey
from batch_watchdog.store.operator_hold import OperatorHold
from batch_watchdog.store.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardUpdater:
    """Updates the guards, at `now`."""

    table: Table
    policy: Policy
    now: datetime

    def decide(self, name: str, guard_input: GuardInput) -> tuple[GuardDecision, Outcome]:
        """Decide what an input changes about a guard; return that, and what is to be written."""
        states = guard_items.read_all(self.table)
        state = states.get(name) or GuardState(guard=name)
        rule = self.policy.guard_named(name)
        held = operator_hold.read(self.table)
        stopped, never_closed = self._for_release(state, rule, guard_input, held)
        decision = guard_rules.decide(
            state,
            guard_input,
            rule,
            mode=self.policy.mode_of(rule) if rule else self.policy.mode,
            held_by_others=precedence.held_by_others(name, states, self.policy, self.now),
            stopped=stopped[-1],
            stopped_before=stopped[:-1],
            operator_holds=held.spans(self.now),
            never_closed=never_closed,
        )
        if decision.state == state and not decision.effects:
            return decision, Outcome()
        puts = [guard_items.put(decision.state, self.now)]
        entry = decision.state.entry
        if entry and any(isinstance(effect, StartRun) for effect in decision.effects):
            puts.append(run_items.put(stop_run.begin(name, entry, self.now), self.now))
        return decision, Outcome(puts=puts, effects=decision.effects)

    def receive(self, messages: Iterable[Evidence]) -> list[Exception]:
        """
        Apply to each guard the evidence (`messages`) that it has not received yet.

        Returns the errors that prevented a decision about some guards.
        """
        messages = tuple(messages)
        if not messages:
            return []
        failed: list[Exception] = []
        states = guard_items.read_all(self.table)
        recorder = Recorder(table=self.table, asked_by="sweep")
        for evidence in messages:
            guard_input = AlarmReceived(now=self.now, evidence=evidence)
            concerned = [
                rule.name
                for rule in matching.concerned(self.policy, evidence)
                if not stages.has_received(states.get(rule.name), rule, evidence)
            ]
            written = recorder.write_each(
                concerned,
                lambda name: self.decide(name, guard_input)[1],  # noqa: B023
                self.now,
            )
            failed += written.failed.values()
        return failed

    def _for_release(
        self, state: GuardState, rule: Guard | None, guard_input: GuardInput, held: OperatorHold
    ) -> tuple[Sequence[Tally], Collection[str]]:
        """
        Read what the notice of a release reports, if the guard may be released now.

        That is what each of the guard's stages has stopped so far, the current stage's last, and
        the queues that it was to close and that were never closed.
        """
        if state.entry is None or not _may_release(state, rule, guard_input, self.now):
            return (Tally(),), ()
        entries = (*(each.entry for each in state.earlier), state.entry)
        tallies = [_tally_of(self.table, entry) for entry in entries]
        if not state.closed:
            return tallies, ()
        return tallies, queue_update_items.read(self.table).never_closed(held.queues)

    def time_passes(self) -> list[Exception]:
        """
        Apply the passing of time to each guard, and restart stop runs that have stalled.

        A guard that names live budgets waits until it has received their evidence, unless the end
        of a period releases it: after a change of the policy, other budgets may be in ALARM than
        before.

        While an operator holds the watchdog, or no policy can be read, all guards wait: a guard
        that an unreadable policy lacks has not been taken out of the policy.

        Returns the errors that prevented a decision about some guards or runs.
        """
        return self._time_passes(
            lambda state, rule: (
                not (rule and rule.live_budgets) or stages.is_over(state, rule, self.now)
            )
        )

    def time_passes_once_budgets_counted(self, budgets: Collection[str]) -> list[Exception]:
        """Apply the passing of time to each guard whose live budgets are all in `budgets`."""
        if not any(rule.live_budgets for rule in self.policy.guard):
            return []
        return self._time_passes(
            lambda _, rule: bool(rule and rule.live_budgets and rule.live_budgets <= {*budgets})
        )

    def _time_passes(self, of: Callable[[GuardState, Guard | None], bool]) -> list[Exception]:
        states = {
            name: state
            for name, state in guard_items.read_all(self.table).items()
            if of(state, self.policy.guard_named(name))
        }
        if not states or not self.policy.readable or operator_hold.read(self.table).is_on:
            return []
        guard_input = TimePassed(now=self.now)
        recorder = Recorder(table=self.table, asked_by="sweep")
        moved = recorder.write_each(
            [name for name, state in states.items() if state.entry or state.closed],
            lambda name: self.decide(name, guard_input)[1],
            self.now,
        )
        # One new policy may remove many guards: their notices are one digest.
        unasked = {OnceKey(notice.id, EPOCH): notice for notice in self._unasked(states)}
        announced = recorder.announce_once(unasked, self.now)
        runs = recorder.write_each(
            self._runs(states), lambda run_id: _run_on(self.table, run_id, self.now), self.now
        )
        return [*moved.failed.values(), *announced.failed.values(), *runs.failed.values()]

    def _unasked(self, states: Mapping[str, GuardState]) -> Iterable[Notice]:
        """Yield the notices of guards whose stage or closed queues the policy does not justify."""
        for name, state in states.items():
            rule = self.policy.guard_named(name)
            if state.entry and not rule:
                yield alert_notices.vanished(state, self.now)
            elif not rule and state.closed and self.policy.mode == "observe" and not state.reopens:
                yield alert_notices.leaves_closed(state, self.now)
            if not (state.entry and rule) or stages.is_over(state, rule, self.now):
                continue  # It is released, and that is announced.
            if stages.operators_stage(state, rule, self.policy.mode_of(rule), self.now):
                continue  # It goes back to the operator's stage, and that is announced.
            if why := stages.why_not_meant(state, rule, self.now):
                yield alert_notices.not_meant(state, why, self.now)

    def _runs(self, states: Mapping[str, GuardState]) -> Iterable[str]:
        """Yield the runs of stages that are on, justified, and in the mode of their entry."""
        for name, state in states.items():
            rule = self.policy.guard_named(name)
            if not (rule and state.entry) or state.entry.mode != self.policy.mode_of(rule):
                continue
            if not stages.why_not_meant(state, rule, self.now):
                yield state.entry.run_id


def _may_release(
    state: GuardState, rule: Guard | None, guard_input: GuardInput, now: datetime
) -> bool:
    match guard_input:
        case AlarmReceived(evidence=evidence) if evidence.state == "OK":
            return True
        case StageSet(stage="calm"):
            return True
        case TimePassed():
            return rule is not None and stages.is_over(state, rule, now)
        case _:
            return False


def _tally_of(table: Table, entry: StageEntry) -> Tally:
    run = run_items.read(table, entry.run_id)
    return tally(run_items.found(table, entry.run_id), entry.stage, run)


def _run_on(table: Table, run_id: str, now: datetime) -> Outcome:
    """Start a run again that is past its `due_at`: it has stalled, or is due to check again."""
    run = run_items.read(table, run_id)
    if run is None or stop_run.is_over(run) or now < run.due_at:
        return Outcome()
    asked = replace(run, due_at=now + stop_run.QUIET)
    return Outcome(puts=[run_items.put(asked, now)], effects=[StartRun(run_id=run_id)])
