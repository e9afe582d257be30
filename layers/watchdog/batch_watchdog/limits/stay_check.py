"""Check one stay: has it lasted too long, why, and what does its limit require?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batch_watchdog.aws.batch import Detail
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import StopJobs
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.core.payload_parts import is_being_stopped
from batch_watchdog.diagnosis.findings import wait_cause
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.limits import notices as limit_notices
from batch_watchdog.limits import rules as limit_rules
from batch_watchdog.limits import stays
from batch_watchdog.limits.decisions import CheckResult, LimitDecision, lacks, unstoppable
from batch_watchdog.limits.exemption_items import Exemption
from batch_watchdog.limits.notices import OverdueJob
from batch_watchdog.limits.stays import Stay
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.model import Limit, Policy
from batch_watchdog.store.reminders import MINUTE

_EXEMPT_AGAIN = timedelta(hours=1)  # for an exempt job: its exemption may be shortened

# For notices about a job that nothing limits any more.
_NO_LIMIT = Limit(rule="none applies to the job now", mode="observe", action="warn", after=None)
# The same for a job that Batch shows in part.
_NOT_KNOWN = replace(_NO_LIMIT, rule="not known, and none is applied")


@dataclass(frozen=True, slots=True, kw_only=True)
class StayCheck:
    """Decides at `now` about stays that await no stop; `clock` returns the current time."""

    inquiry: DiagnosisGatherer
    policy: Policy
    now: datetime
    clock: Callable[[], datetime]

    def case_of(self, stay: Stay, job: JobEvent, first_known: datetime | None) -> OverdueJob:
        """Return the stay with its job, and the limit that policy and tags set for it now."""
        limit = self.policy.limit_for(job, stay.status)
        if job.status == stay.status:  # Else Batch shows times of another state.
            stay = replace(stay, since=stays.proven_since(stay.since, job))
            first_known = stays.proven_since(first_known, job) if first_known else None
        return OverdueJob(
            stay=stay,
            job=job,
            limit=limit or _NO_LIMIT,
            limit_span=limit.after if limit else None,
            lasted=self.now - stay.since,
            first_known=first_known,
        )

    def decide(self, case: OverdueJob, detail: Detail, exemption: Exemption | None) -> CheckResult:
        """Decide about a stay that awaits no stop."""
        stay, job = case.stay, case.job
        if job.status != stay.status or job.kind in ("array", "node"):
            return CheckResult()
        if not stays.lasts(stay, job) or stays.came_back(stay, job, detail):
            return self._renewed(stay, job)
        if case.limit is _NO_LIMIT:
            return self.unlimited(stay)
        put_off = case.limit.first_due - case.lasted
        if is_being_stopped(detail):  # Somebody has stopped it already.
            put_off = limit_rules.ACCEPTED_AGAIN
        elif exemption and exemption.until > self.now:
            return self._exempt(case, detail, exemption)
        if put_off > timedelta():
            return CheckResult(again_in=put_off, stay=case.stay)
        return self._judged(case, detail)

    def shown_in_part(
        self,
        stay: Stay,
        detail: Detail,
        exempt: Mapping[str, Exemption],
        first_known: datetime | None,
    ) -> CheckResult:
        """
        Decide about a job that Batch still shows without fields that rules need: nothing is done.

        Operators are notified once a limit may have passed; which rule's limit is not known.
        """
        lacking = lacks(detail)
        job = event_from_detail(
            {**detail, "jobId": stay.job_id, "status": detail.get("status") or stay.status},
            self.now,
        )
        case = replace(self.case_of(stay, job, first_known), limit=_NOT_KNOWN, limit_span=None)
        due = self.policy.first_due_after(job, stay.status)
        if {"jobName", "jobQueue", "jobDefinition"} & set(lacking):  # Any rule may apply to it.
            limits = (self.policy.limit_of(rule, stay.status) for rule in self.policy.limit)
            due = min((limit.first_due for limit in limits if limit), default=None)
        checked = CheckResult(again_in=limit_rules.CHECK_AGAIN, stay=stay)
        if due is None or case.lasted < due or not stays.lasts(stay, job):
            return checked
        if exempt.keys() & {job.job_id, job.parent_id}:
            return checked
        notice = limit_notices.shown_in_part(case, lacking)
        return replace(checked, decisions=(LimitDecision(case=case, detail=detail, notice=notice),))

    def _exempt(self, case: OverdueJob, detail: Detail, exemption: Exemption) -> CheckResult:
        """Decide about a job that an operator has exempted: count it if it has passed its limit."""
        left, after = min(exemption.until - self.now, _EXEMPT_AGAIN), case.limit.after
        if after is None or case.limit.action == "warn":
            return CheckResult(again_in=left, stay=case.stay)
        if case.lasted < after:
            return CheckResult(again_in=min(left, after - case.lasted), stay=case.stay)
        counted = LimitDecision(case=case, detail=detail, exempts=True)
        return CheckResult(again_in=left, stay=case.stay, decisions=(counted,))

    def _renewed(self, stay: Stay, job: JobEvent) -> CheckResult:
        """Decide about a reminder whose job is in the same state, in another attempt or run."""
        if job.attempts < stay.attempts:  # The answer is older than the event.
            return CheckResult(again_in=MINUTE, stay=stay)
        # The event may have been lost. The new stay is known only from now on.
        new = Stay(
            job_id=stay.job_id,
            status=stay.status,
            since=self.clock(),
            attempts=job.attempts,
            service=stay.service,
        )
        after = self.policy.first_due_after(job, job.status)
        again_in = after or stays.UNLIMITED_AGAIN
        return CheckResult(again_in=again_in, stay=new, is_renewed=True)

    def unlimited(self, stay: Stay) -> CheckResult:
        """
        Keep the stay of a job that nothing limits: its tags may change.

        This applies to the states that are listed. A job in another state is not found by listing
        either.
        """
        listed = stay.status == "RUNNABLE" or self.policy.has_limits(stay.status)
        return CheckResult(again_in=stays.UNLIMITED_AGAIN if listed else None, stay=stay)

    def _judged(self, case: OverdueJob, detail: Detail) -> CheckResult:
        """Decide what to announce and do about a job, by how long its stay has lasted."""
        findings = self.inquiry.findings(detail) if case.stay.status != "RUNNING" else ()
        stay = stays.seen_with(case.stay, wait_cause(findings), self.now)
        changed = self.now - stay.cause_since if stay.cause_since else None
        verdict = limit_rules.judge(case.limit, case.lasted, findings, changed)
        case = replace(case, stay=stay, limit_span=verdict.limit_span, findings=findings)
        if verdict.step == "stop":
            return self._overstayed(case, detail, verdict.again_in)
        if verdict.step is None:
            return CheckResult(again_in=verdict.again_in, stay=case.stay)
        announced = LimitDecision(case=case, detail=detail, notice=limit_notices.warning(case))
        return CheckResult(again_in=verdict.again_in, stay=case.stay, decisions=(announced,))

    def _overstayed(self, case: OverdueJob, detail: Detail, again_in: timedelta) -> CheckResult:
        """Decide what to announce and do about a job that has passed its limit."""
        if not case.enforced:
            announced = LimitDecision(
                case=case, detail=detail, notice=limit_notices.overstayed(case)
            )
            return CheckResult(again_in=again_in, stay=case.stay, decisions=(announced,))
        if case.stay.asked >= limit_rules.STOPS_MAX:
            return unstoppable(case, detail)
        # It is announced with the first stop, and again with a stop after one that was not made.
        is_told = case.stay.stops and not case.stay.left_alone
        notice = None if is_told else limit_notices.overstayed(case)
        return CheckResult(decisions=(stopping(case, detail, notice, stop_of(case), self.now),))


def stopping(
    case: OverdueJob, detail: Detail, notice: Notice | None, stop: StopJobs, now: datetime
) -> LimitDecision:
    """Build the decision to stop a job at `now`."""
    asked = replace(case, stay=replace(case.stay, stopped_at=now))
    return LimitDecision(case=asked, detail=detail, notice=notice, stop=stop)


def stop_of(case: OverdueJob) -> StopJobs:
    """Build the stop of a job by its limit, with the facts that justify it."""
    span = case.limit_span or case.lasted
    return StopJobs(
        how="terminate" if case.limit.action == "terminate" else "cancel",
        job_ids=(case.stay.job_id,),
        reason=limit_rules.stop_reason(case.stay, case.limit, span),
        rule=case.limit.rule,
        service=case.stay.service,
        status=case.stay.status,
        since=(case.stay.since,),
        cause=wait_cause(case.findings),
        counted=True,
    )
