"""What operators ask of the watchdog: commands in, answers out, both as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, assert_never

from batch_watchdog.aws.batch import BatchApi, Detail
from batch_watchdog.budgets.notices import facts_of
from batch_watchdog.budgets.telling import BudgetTeller
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import Announce, Effect
from batch_watchdog.core.errors import CommandError
from batch_watchdog.core.job_event import EPOCH, resource_name
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards.inputs import StageSet
from batch_watchdog.guards.matching import waits_for
from batch_watchdog.guards.stages import ringing, terminates_at
from batch_watchdog.guards.state import GuardState
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.health.facts import Facts
from batch_watchdog.health.notices import trial
from batch_watchdog.health.rules import answer as check_answer
from batch_watchdog.health.rules import problems
from batch_watchdog.limits import exemption_items
from batch_watchdog.limits.exemption_items import Exemption
from batch_watchdog.notices.text import iso, plain
from batch_watchdog.policy.model import Limit, Policy, is_exempt
from batch_watchdog.rule_reports.workflow import WeeklyReport
from batch_watchdog.store import commands as command_items
from batch_watchdog.store import operator_hold, sweep_cursor
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.operator_hold import OperatorHold
from batch_watchdog.store.table import Table
from batch_watchdog.use_cases.console_commands import (
    ChangingCommand,
    Check,
    Exempt,
    Explain,
    HoldAll,
    Release,
    Report,
    Resume,
    SetStage,
    Status,
    TrialNotice,
    parse_command,
)

type Answer = dict[str, Any]

_QUEUES_AT_ONCE = 50  # set by one write


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """Answers commands. `inquiry` makes a new one for each, for its time."""

    table: Table
    batch: BatchApi
    inquiry: Callable[[datetime], DiagnosisGatherer]
    policy: Callable[[], Policy]
    facts: Callable[[Policy, datetime], Facts]

    def answer(self, event: Any, now: datetime) -> Answer:
        """
        Carry out a command, given as JSON, and return the answer.

        What cannot be done is answered with `error` and, where keys are wrong, `problems`.
        """
        try:
            command = parse_command(event)
            match command:
                case Status():
                    return self._status(now)
                case Check():
                    return self._check(now)
                case Report():
                    return dict(
                        WeeklyReport(table=self.table, policy=self.policy(), now=now).answer()
                    )
                case Explain():
                    return self._explain(command.job_id, now)
                case _:
                    return self._change(command, now)
        except CommandError as error:
            return {"error": str(error), "problems": error.problems}

    # ---- Changing -------------------------------------------------------------------------

    def _change(self, command: ChangingCommand, now: datetime) -> Answer:
        decided = ""

        def decide(_: str) -> Outcome:
            nonlocal decided
            decided, outcome = self._decide(command, now)
            told = command.model_dump(mode="json")
            record = command_items.put(told, now, command.by, decided)
            return Outcome(puts=[*outcome.puts, record], effects=outcome.effects)

        recorder = Recorder(table=self.table, asked_by=f"console ({plain(command.by, 100)})")
        if recorder.decide([command.command], decide, now):
            raise CommandError({}, "others are changing the same, or this is a repeat: try again")
        return {"at": iso(now), "command": command.command, "decided": decided}

    def _decide(self, command: ChangingCommand, now: datetime) -> tuple[str, Outcome]:
        match command:
            case SetStage():
                return self._set_stage(command.guard, command, now)
            case Release():
                return self._set_stage(command.guard, command, now)
            case HoldAll():
                return self._hold(command, now)
            case Resume():
                return self._resume(now)
            case Exempt():
                return self._exempt(command, now)
            case TrialNotice():
                sent = tuple(trial(kind, command.by, now) for kind in dict.fromkeys(command.kinds))
                effects = [Announce(notices=(each,)) for each in sent]
                return f"sent: {', '.join(command.kinds)}", Outcome(effects=effects)
            case _:
                assert_never(command)

    def _set_stage(
        self, guard: str, command: SetStage | Release, now: datetime
    ) -> tuple[str, Outcome]:
        policy = self.policy()
        watch = GuardUpdater(table=self.table, policy=policy, now=now)
        names = {rule.name for rule in policy.guard} | guard_items.read_all(self.table).keys()
        if guard not in names:
            known = ", ".join(sorted(names)) or "there are none"
            raise CommandError({"guard": f"expected one of the guards: {known}"})
        stage = command.stage if isinstance(command, SetStage) else "calm"
        decision, outcome = watch.decide(guard, StageSet(now=now, stage=stage, by=command.by))
        return decision.why, outcome

    def _hold(self, command: HoldAll, now: datetime) -> tuple[str, Outcome]:
        held = operator_hold.read(self.table)
        if held.is_on:
            return f"held already, by {held.by}", Outcome()
        new = replace(held, since=now, by=plain(command.by, 100), why=plain(command.why, 500))
        return "held: nothing is stopped, opened or closed", Outcome(puts=[operator_hold.put(new)])

    def _resume(self, now: datetime) -> tuple[str, Outcome]:
        held = operator_hold.read(self.table)
        if not held.is_on:
            return "not held", Outcome()
        # What does not fit in stays for the next time that the same is asked.
        waiting: list[Effect] = list(islice(held.queues.values(), _QUEUES_AT_ONCE))
        left = dict(islice(held.queues.items(), _QUEUES_AT_ONCE, None))
        resumed = held if left else held.resumed(now)
        put = operator_hold.put(replace(resumed, queues=left))
        words = f"resumed; {len(waiting)} queues are set now that waited for it"
        if left:
            words = f"still held: {len(left)} queues are left to be set; ask again"
        return words, Outcome(puts=[put], effects=waiting)

    def _exempt(self, command: Exempt, now: datetime) -> tuple[str, Outcome]:
        if command.until <= now:
            raise CommandError({"until": f"expected a time after {iso(now)}"})
        known = exemption_items.read(self.table, command.job_id)
        exemption = Exemption(
            job_id=command.job_id,
            until=command.until,
            by=plain(command.by, 100),
            why=plain(command.why, 500),
            version=known.version if known else 0,
        )
        words = f"{command.job_id} is exempt from limits until {iso(command.until)}"
        return words, Outcome(puts=[exemption_items.put(exemption)])

    # ---- Asking ---------------------------------------------------------------------------

    def _check(self, now: datetime) -> Answer:
        policy, swept = self.policy(), sweep_cursor.read(self.table, EPOCH)
        facts = self.facts(policy, now)
        found = problems(facts, policy, guard_items.heard_names(self.table))
        return check_answer(facts, policy, found, swept.minute if swept.version else None)

    def _status(self, now: datetime) -> Answer:
        policy, states = self.policy(), guard_items.read_all(self.table)
        held, swept = operator_hold.read(self.table), sweep_cursor.read(self.table, EPOCH)
        names = dict.fromkeys([*(rule.name for rule in policy.guard), *states])
        return {
            "at": iso(now),
            "mode": policy.mode,
            "policy": policy.version,
            "swept_at": iso(swept.minute) if swept.version else None,
            "held": {"since": iso(held.since), "by": held.by, "why": held.why}
            if held.since
            else None,
            "guards": [
                self._guard(policy, states.get(name) or GuardState(guard=name), held, now)
                for name in names
            ],
            "budgets": [
                facts_of(reading)
                for reading in BudgetTeller(table=self.table, policy=policy, now=now).readings()
            ],
            "exempt": [
                {"job_id": each.job_id, "until": iso(each.until), "by": each.by, "why": each.why}
                for each in exemption_items.read_all(self.table, now).values()
            ],
        }

    def _guard(
        self, policy: Policy, state: GuardState, held: OperatorHold, now: datetime
    ) -> Answer:
        rule = policy.guard_named(state.guard)
        entry = state.entry
        rings = ringing(state, rule, now) if rule else frozenset()
        terminates = terminates_at(state, rule, now, held.spans(now)) if rule else None
        return {
            "guard": state.guard,
            "stage": state.stage,
            "mode": policy.mode_of(rule) if rule else None,
            "since": iso(entry.since) if entry else None,
            "why": entry.why if entry else None,
            "by": entry.by or None if entry else None,
            "in_policy": rule is not None,
            "terminates_at": iso(terminates) if terminates else None,
            "released_at": iso(state.released_at) if state.released_at else None,
            "alarms": {
                signal: {
                    "state": heard.state,
                    "at": iso(heard.at),
                    "ends": iso(heard.ends) if heard.ends else None,
                    "rings": signal in rings,
                }
                for signal, heard in sorted(state.alarms.items())
            },
            "waits_for": waits_for(rule, state) if rule else [],
            "queues_closed": [resource_name(queue) for queue in state.closed],
            "run": self._run(entry.run_id) if entry else None,
        }

    def _run(self, run_id: str) -> Answer | None:
        run = run_items.read(self.table, run_id)
        if run is None:
            return None
        return {
            "run_id": run_id,
            "phase": run.phase,
            "look": run.look,
            "asked": run.asked,
            "reported": run.reported,
        }

    def _explain(self, job_id: str, now: datetime) -> Answer:
        detail = self._described(job_id)
        if detail is None:
            raise CommandError({"job_id": "AWS Batch knows no such job, or no longer"})
        job, policy = event_from_detail(detail, now), self.policy()
        limit = policy.limit_for(job, job.status)
        exemption = exemption_items.read_all(self.table, now).get(job_id)
        findings = () if job.ended else self.inquiry(now).findings(detail)
        return {
            "at": iso(now),
            "job_id": job_id,
            "job_name": plain(job.job_name),
            "queue": plain(resource_name(job.queue)),
            "status": job.status,
            "reason": plain(job.reason, 500),
            "attempts": job.attempts,
            "findings": [
                {
                    "code": finding.code,
                    "evidence": finding.evidence,
                    "remedy": finding.remedy,
                    "page": finding.page,
                }
                for finding in findings
            ],
            "limit": _limit(limit) if limit else None,
            "exempt_by_tag": is_exempt(job.tags),
            "exempt_until": iso(exemption.until) if exemption else None,
            "guards": [
                {"guard": rule.name, "spared": rule.spares(job)}
                for rule in policy.guard
                if rule.covers(job)
            ],
        }

    def _described(self, job_id: str) -> Detail | None:
        found = self.batch.describe([job_id]) or self.batch.describe_service([job_id])
        return found.get(job_id)


def _limit(limit: Limit) -> Mapping[str, Any]:
    def seconds(span: Any) -> int | None:
        return int(span.total_seconds()) if span is not None else None

    return {
        "rule": limit.rule,
        "mode": limit.mode,
        "action": limit.action,
        "warn_after_seconds": seconds(limit.warn_after),
        "after_seconds": seconds(limit.after),
        "after_by_cause_seconds": {
            cause: seconds(span) for cause, span in limit.after_by_cause.items()
        },
    }
