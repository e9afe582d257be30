"""Handle billing signals: CloudWatch alarms, AWS Budgets and cost anomalies."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch_watchdog.aws.queues import DeadLetters
from batch_watchdog.core.effects import Announce
from batch_watchdog.core.errors import EvidenceError, StaleItemError
from batch_watchdog.core.job_event import EPOCH
from batch_watchdog.guards import alert_notices, matching, stages
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards.inputs import AlarmReceived
from batch_watchdog.guards.signals import envelope as signals
from batch_watchdog.guards.signals.evidence import Evidence, Ignored
from batch_watchdog.guards.workflow import GuardUpdater
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Name, lines, say, subject
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.once import OnceKey, OnceLedger
from batch_watchdog.store.table import Table

_TOLD_APART_BY = ("Message", "Subject")  # parts of an SNS record; others differ on each delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendAlarmIntake:
    table: Table
    dead_letters: DeadLetters
    policy: Callable[[], Policy]

    def handle(self, payload: object, now: datetime) -> list[str]:
        """
        Handle the payload of an invocation at `now`: SNS records, or one event of EventBridge.

        A billing message that cannot be understood is kept as a dead letter, and operators are
        notified once of each.

        Returns:
            What was decided about each piece, as text for the log.

        Raises:
            StaleItemError: too many others decide about the same guard. The whole call may be
                repeated.
        """
        return [why for piece in signals.records(payload) for why in self._take_in(piece, now)]

    def _take_in(self, piece: object, now: datetime) -> Iterator[str]:
        try:
            read = signals.read(piece)
        except EvidenceError as error:
            self._keep(piece, str(error), now)
            yield f"not understood: {error}"
            return
        if isinstance(read, Ignored):
            yield f"ignored: {read.why}"
            return
        policy = self.policy()
        if not policy.readable:
            reason = "no policy can be read, so nobody knows which guard this is for"
            self._keep(piece, reason, now)
            yield f"kept: {reason}"
            return
        names = [rule.name for rule in matching.concerned(policy, read)]
        if read.state != "ALARM":  # It may end an ALARM known by an older policy.
            states = guard_items.read_all(self.table)
            known = (name for name, state in states.items() if stages.signals_of_alarm(state, read))
            names += [name for name in known if name not in names]
        if not names:
            yield f"ignored: no guard names {plain(read.alarm, 100)}"
        for name in names:
            yield f"{name}: {self._apply(name, read, now)}"

    def _apply(self, name: str, evidence: Evidence, now: datetime) -> str:
        """Apply evidence to a guard; notify operators if a budget or an anomaly raises nothing."""
        watch = GuardUpdater(table=self.table, policy=self.policy(), now=now)
        why = ""

        def decide(name: str) -> Outcome:
            nonlocal why
            decision, outcome = watch.decide(name, AlarmReceived(now=now, evidence=evidence))
            why = decision.why
            if not decision.to_announce:
                return outcome
            notice = alert_notices.spend_alert(name, evidence, why)
            key = OnceKey(notice.id, _day_of(evidence))
            fresh, puts = OnceLedger(self.table).new(key.bucket, {key: key}, now)
            alerts = [Announce(notices=(notice,))] if fresh else []
            return Outcome(puts=[*outcome.puts, *puts], effects=[*outcome.effects, *alerts])

        recorder = Recorder(table=self.table, asked_by="spend_alarm")
        if recorder.decide([name], decide, now):
            raise StaleItemError(f"guard {name}")
        return why

    # ---- What is not understood -----------------------------------------------------------

    def _keep(self, piece: object, reason: str, now: datetime) -> None:
        self._notify_operators(_content_of(piece), reason, now)
        self.dead_letters.keep(json.dumps(piece), reason)

    def _notify_operators(self, content: str, reason: str, now: datetime) -> None:
        digest = hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]
        notice = _trouble(digest, content, reason)
        recorder = Recorder(table=self.table, asked_by="spend_alarm")
        written = recorder.announce_once({OnceKey(notice.id, EPOCH): notice}, now)
        written.raise_failed()
        if written.lost:
            raise StaleItemError(notice.id)


def _day_of(evidence: Evidence) -> datetime:
    return evidence.at.replace(hour=0, minute=0, second=0, microsecond=0)


def _trouble(digest: str, content: str, reason: str) -> Notice:
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:evidence:{digest}",
        severity="critical",
        subject=subject("Billing signal could not be read: {why}", why=Name(plain(reason))),
        text=lines(
            [
                say("A billing message has arrived that the watchdog cannot read:"),
                plain(reason, 500),
                "",
                say("No guard was raised or released by it. It begins:"),
                plain(content, 300),
                "",
                say(
                    "What to do: see what it says. If it calls for a stage, set that stage by hand "
                    '(the command "set-stage"). It is kept whole in the dead-letter queue.'
                ),
            ]
        ),
        facts={"reason": plain(reason, 500)},
    )


def _content_of(piece: object) -> str:
    match piece:
        case {"Sns": dict() as sns}:
            fields: Mapping[str, Any] = {name: sns.get(name) for name in _TOLD_APART_BY}
            return "\n".join(str(each) for each in fields.values() if each)
        case {"detail": detail}:
            return json.dumps(detail, sort_keys=True)
    return json.dumps(piece, sort_keys=True)
