"""Answer questions about the watchdog and about jobs. Nothing here changes anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch_watchdog.aws.batch import BatchApi, Detail
from batch_watchdog.budgets.announcer import BudgetAnnouncer
from batch_watchdog.budgets.notices import facts_of
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.errors import CommandError
from batch_watchdog.core.job_event import EPOCH, resource_name
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards.matching import waits_for
from batch_watchdog.guards.stages import in_alarm, terminates_at
from batch_watchdog.guards.state import GuardState
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.health.facts import Facts
from batch_watchdog.health.rules import answer as check_answer
from batch_watchdog.health.rules import problems
from batch_watchdog.limits import exemption_items
from batch_watchdog.notices.text import iso, plain
from batch_watchdog.policy.child_tags import TaggedJobs
from batch_watchdog.policy.model import Limit, Policy, is_exempt
from batch_watchdog.store import operator_hold, sweep_cursor
from batch_watchdog.store.operator_hold import OperatorHold
from batch_watchdog.store.table import Table

type Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers questions. `inquiry` makes a new diagnosis for each question, for its time."""

    table: Table
    batch: BatchApi
    inquiry: Callable[[datetime], DiagnosisGatherer]
    policy: Callable[[], Policy]
    facts: Callable[[Policy, datetime], Facts]

    def check(self, now: datetime) -> Answer:
        """Check whether the watchdog can do its work."""
        policy, swept = self.policy(), sweep_cursor.read(self.table, EPOCH)
        facts = self.facts(policy, now)
        guards = guard_items.read_all(self.table)
        found = problems(facts, policy, guard_items.received_names(guards.values()), guards)
        return check_answer(facts, policy, found, swept.minute if swept.version else None)

    def status(self, now: datetime) -> Answer:
        """Return the state of guards, budgets, the hold and exemptions."""
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
                for reading in BudgetAnnouncer(table=self.table, policy=policy, now=now).readings()
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
        active = in_alarm(state, rule, now) if rule else frozenset()
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
                    "state": received.state,
                    "at": iso(received.at),
                    "ends": iso(received.ends) if received.ends else None,
                    "rings": signal in active,
                }
                for signal, received in sorted(state.alarms.items())
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

    def explain(self, job_id: str, now: datetime) -> Answer:
        """
        Explain why a job does not start, and which rules apply to it.

        Raises:
            CommandError: AWS Batch does not know the job.
        """
        detail = self.described(job_id)
        if detail is None:
            raise CommandError({"job_id": "AWS Batch knows no such job, or no longer"})
        return self.explained(detail, now)

    def explained(self, detail: Detail, now: datetime) -> Answer:
        """As `explain`, for a job as AWS Batch describes it."""
        job, policy = event_from_detail(detail, now), self.policy()
        job_id = str(detail["jobId"])
        limit = policy.limit_for(job, job.status)
        exempt = exemption_items.read_all(self.table, now)
        exemption = exempt.get(job_id) or exempt.get(job.parent_id)
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

    def described(self, job_id: str) -> Detail | None:
        """
        Return a job or a service job as AWS Batch describes it, or None if it does not know it.

        A child has the tags of its array too.
        """
        found = TaggedJobs(self.batch.describe).described([job_id])
        return (found or self.batch.describe_service([job_id])).get(job_id)


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
