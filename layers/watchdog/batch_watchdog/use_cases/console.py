"""Carry out operators' commands and answer their questions. Both are JSON."""

from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, assert_never

from botocore.exceptions import BotoCoreError, ClientError

from batch_watchdog.core.effects import Announce, Effect
from batch_watchdog.core.errors import CommandError
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards.inputs import StageSet
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.health.notices import trial
from batch_watchdog.limits import exemption_items
from batch_watchdog.limits.exemption_items import Exemption
from batch_watchdog.notices.text import iso, plain
from batch_watchdog.rule_reports.workflow import WeeklyReport
from batch_watchdog.store import commands as command_items
from batch_watchdog.store import operator_hold
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.once import OnceKey, OnceLedger
from batch_watchdog.store.table import Put
from batch_watchdog.use_cases.console_answers import Answer, Answers
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

_QUEUES_AT_ONCE = 50  # set by one write


class Console(Answers):
    """Answers questions, and carries out commands."""

    __slots__ = ()

    def answer(
        self, event: Any, now: datetime, request: str = "", once: OnceKey | None = None
    ) -> Answer:
        """
        Carry out a command, given as JSON, and return the answer.

        `request` is the id of the call, by which AWS CloudTrail shows the caller. It is recorded. A
        command with a key in `once` takes effect once, however often it is sent. A command that
        cannot be carried out is answered with `error` and, if keys are wrong, with `problems`.
        """
        try:
            command = parse_command(event)
            match command:
                case Status():
                    return self.status(now)
                case Check():
                    return self.check(now)
                case Report():
                    return dict(
                        WeeklyReport(table=self.table, policy=self.policy(), now=now).answer()
                    )
                case Explain():
                    return self.explain(command.job_id, now)
                case _:
                    return self._change(command, now, request, once)
        except CommandError as error:
            return {"error": str(error), "problems": error.problems}

    # ---- Changing -------------------------------------------------------------------------

    def _change(
        self, command: ChangingCommand, now: datetime, request: str, once: OnceKey | None
    ) -> Answer:
        decided = ""

        def decide(_: str) -> Outcome:
            nonlocal decided
            marks: list[Put] = []
            if once:
                fresh, marks = OnceLedger(self.table).new(once.bucket, {once: once}, now)
                if not fresh:
                    decided = "asked before: nothing is done a second time"
                    return Outcome()
            decided, outcome = self._decide(command, now)
            fields = command.model_dump(mode="json")
            record = command_items.put(
                fields,
                now,
                command.by,
                decided=decided,
                request=request,
                button=once.name if once else "",
            )
            return Outcome(puts=[*outcome.puts, record, *marks], effects=outcome.effects)

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
        # What does not fit into one write stays for the next `resume`.
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
        if self._is_unknown(command.job_id):
            words += ". AWS Batch shows no job of this id, or no longer: check the id"
        return words, Outcome(puts=[exemption_items.put(exemption)])

    def _is_unknown(self, job_id: str) -> bool:
        try:
            return self.described(job_id) is None
        except (BotoCoreError, ClientError):
            return False  # A failed call must not prevent an exemption.
