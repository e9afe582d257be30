"""What is done about guards: with every word about money, every minute, and at a command."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from batch_watchdog import guard, guard_notices, holds, runs
from batch_watchdog.changes import EPOCH
from batch_watchdog.effects import Announce, StartRun
from batch_watchdog.guard import Decision, Happening, StageSet, TimePassed, Told
from batch_watchdog.guard_notices import Tally
from batch_watchdog.guard_state import GuardState
from batch_watchdog.notices import Notice
from batch_watchdog.policy import Guard, Policy
from batch_watchdog.recorder import Outcome, Recorder
from batch_watchdog.run_tally import tally
from batch_watchdog.store import guards, operator_hold
from batch_watchdog.store import runs as run_store
from batch_watchdog.store.ledger import Entry, Ledger
from batch_watchdog.store.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardWatch:
    """The guards at `now`."""

    table: Table
    policy: Policy
    now: datetime

    def rule(self, name: str) -> Guard | None:
        """A guard as the policy has it."""
        return next((rule for rule in self.policy.guard if rule.name == name), None)

    def decide(self, name: str, happening: Happening) -> tuple[Decision, Outcome]:
        """Say what a happening changes about a guard, and what of it is to be written."""
        states = guards.read_all(self.table)
        state = states.get(name) or GuardState(guard=name)
        rule = self.rule(name)
        decision = guard.decide(
            state,
            happening,
            rule,
            mode=self.policy.mode_of(rule) if rule else self.policy.mode,
            held_by_others=holds.held_by_others(name, states, self.policy),
            stopped=self._stopped(state, rule, happening),
            operator_holds=operator_hold.read(self.table).spans(self.now),
        )
        if decision.state == state and not decision.effects:
            return decision, Outcome()
        puts = [guards.put(decision.state, self.now)]
        entry = decision.state.entry
        if entry and any(isinstance(effect, StartRun) for effect in decision.effects):
            puts.append(run_store.put(runs.begin(name, entry, self.now), self.now))
        return decision, Outcome(puts=puts, effects=decision.effects)

    def _stopped(self, state: GuardState, rule: Guard | None, happening: Happening) -> Tally:
        """What the guard's stage has stopped so far, where it may be released now."""
        match happening:
            case Told(evidence=word) if word.state == "OK":
                may_release = True
            case StageSet(stage="calm"):
                may_release = True
            case TimePassed():
                may_release = rule is not None and guard.is_over(state, rule, self.now)
            case _:
                may_release = False
        if state.entry is None or not may_release:
            return Tally()
        run_id = state.entry.run_id
        run = run_store.read(self.table, run_id)
        return tally(run_store.found(self.table, run_id), state.entry.stage, run)

    # ---- Every minute ---------------------------------------------------------------------

    def time_passes(self) -> None:
        """
        Let time pass for each guard, and see to it that no stop run stands still.

        While an operator holds the watchdog, or no policy can be read, all of it waits: a guard
        that an unreadable policy lacks has not been taken out of the policy.
        """
        states = guards.read_all(self.table)
        if not states or not self.policy.readable or operator_hold.read(self.table).is_on:
            return
        happening = TimePassed(now=self.now)
        recorder = Recorder(table=self.table, asked_by="sweep")
        recorder.decide(
            [name for name, state in states.items() if state.entry or state.closed],
            lambda name: self.decide(name, happening)[1],
            self.now,
        )
        vanished = {notice.id: notice for notice in self._vanished(states)}
        recorder.decide(vanished, lambda each: once(self.table, vanished[each], self.now), self.now)
        recorder.decide(self._runs(states), self._run_on, self.now)

    def _vanished(self, states: Mapping[str, GuardState]) -> Iterable[Notice]:
        """What is to be said of guards that are raised, and that the policy does not have."""
        for name, state in states.items():
            if state.entry and not self.rule(name):
                yield guard_notices.vanished(state, self.now)

    def _runs(self, states: Mapping[str, GuardState]) -> Iterable[str]:
        """The runs of stages that are on, and meant as they were when they were entered."""
        for name, state in states.items():
            rule = self.rule(name)
            if rule and state.entry and state.entry.mode == self.policy.mode_of(rule):
                yield state.entry.run_id

    def _run_on(self, run_id: str) -> Outcome:
        """Start a run anew where it should have moved on, or look again, and has not."""
        run = run_store.read(self.table, run_id)
        if run is None or runs.is_over(run) or self.now < run.due_at:
            return Outcome()
        asked = replace(run, due_at=self.now + runs.QUIET)
        return Outcome(puts=[run_store.put(asked, self.now)], effects=[StartRun(run_id=run_id)])


def once(table: Table, notice: Notice, now: datetime, about: datetime = EPOCH) -> Outcome:
    """
    What is written to announce a notice, unless its id has been announced before.

    `about` must be the same whenever the notice is made: what has been announced is found by it.
    """
    entry = Entry(notice.id, about)
    fresh, puts = Ledger(table).new(entry.bucket, {notice.id: entry}, now)
    return Outcome(puts=puts, effects=[Announce(notices=(notice,))] if fresh else [])
