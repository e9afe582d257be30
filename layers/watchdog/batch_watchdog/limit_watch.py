"""What is done about jobs that stay too long, when a reminder of them comes due."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import batched

from batch_watchdog import limits
from batch_watchdog.batch_api import BatchApi, Detail
from batch_watchdog.changes import EPOCH, WAITING, Change, change_of
from batch_watchdog.effects import StopJobs
from batch_watchdog.inquiry import Inquiry
from batch_watchdog.limit_record import Decision, LimitRecorder
from batch_watchdog.limits import Case, Stay
from batch_watchdog.policy import Limit, Policy
from batch_watchdog.recorder import UNDECIDABLE
from batch_watchdog.store import stays, wheel
from batch_watchdog.store.exemptions import Exemption
from batch_watchdog.store.table import Table

_STAYS_MAX = 1_000  # looked at in one go


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitWatch:
    """
    The limits of a sweep at `now`.

    `exempt` are jobs, and arrays with all their children, that an operator has exempted. While
    the watchdog is `held`, nothing is stopped; what is due stays due. Where nothing
    can be decided about a job, `failed` has the error: it is looked at again in the next minute,
    and the others are seen to all the same.
    """

    table: Table
    batch: BatchApi
    inquiry: Inquiry
    policy: Policy
    now: datetime
    exempt: Mapping[str, Exemption] = field(default_factory=dict)
    held: bool = False
    failed: dict[str, Exception] = field(default_factory=dict)

    def see_to(self, due: Iterable[Stay]) -> None:
        """Look at stays that are due, act on those that last too long, file the rest anew."""
        recorder = LimitRecorder(table=self.table, policy=self.policy, now=self.now, held=self.held)
        for some in batched(_merged(due), _STAYS_MAX, strict=False):
            details = self._ask(some)
            later: list[tuple[datetime, Stay]] = []
            decisions: list[Decision] = []
            for stay in some:
                detail = details.get(stay.job_id)
                if detail is not None:
                    seen = self._tried(stay, detail)
                    later += [(self.now + seen.again_in, stay)] if seen.again_in else []
                    decisions += [seen.decision] if seen.decision else []
            # Reminders first: a crash in between repeats a question, and loses none.
            wheel.Wheel(self.table).file(stays.entries(later, self.now))
            recorder.record(decisions)

    def _ask(self, some: Iterable[Stay]) -> dict[str, Detail]:
        plain_ids = [stay.job_id for stay in some if not stay.service]
        service_ids = [stay.job_id for stay in some if stay.service]
        return self.batch.describe(plain_ids) | self.batch.describe_service(service_ids)

    def _tried(self, stay: Stay, detail: Detail) -> "_Look":
        try:
            job = change_of(detail, self.now)
            look = self._verify if stay.stops else self._look
            return self._exempted(job) or look(stay, job, detail)
        except UNDECIDABLE as error:  # The sweep raises it, when it has seen to all others.
            self.failed[repr(error)] = error
            return _Look(again_in=wheel.MINUTE)

    def _exempted(self, job: Change) -> "_Look | None":
        exemption = self.exempt.get(job.job_id) or self.exempt.get(job.parent_id)
        return _Look(again_in=exemption.until - self.now) if exemption else None

    def _look(self, stay: Stay, job: Change, detail: Detail) -> "_Look":
        limit = self.policy.limit_for(job, stay.status)
        if limit is None or not limits.lasts(stay, job):
            return _Look()
        if _is_accepted(detail):  # Somebody has stopped it already.
            return _Look(again_in=limits.ACCEPTED_AGAIN)
        lasted = limits.waited(stay, job, self.now)
        if lasted < limit.first_due:
            return _Look(again_in=limit.first_due - lasted)
        findings = self.inquiry.findings(detail) if stay.status in WAITING else ()
        verdict = limits.judge(limit, lasted, findings)
        case = Case(
            stay=stay,
            job=job,
            limit=limit,
            limit_span=verdict.limit_span,
            lasted=lasted,
            findings=findings,
        )
        return _Look(
            again_in=None if verdict.step == "stop" and case.enforced else verdict.again_in,
            decision=self._decision(case, detail, verdict.step) if verdict.step else None,
        )

    def _decision(self, case: Case, detail: Detail, step: limits.Step) -> Decision:
        if step == "warn":
            return Decision(case=case, detail=detail, notice=limits.warning(case))
        stop = self._stop(case) if case.enforced else None
        return Decision(case=case, detail=detail, notice=limits.overstayed(case), stop=stop)

    def _verify(self, stay: Stay, job: Change, detail: Detail) -> "_Look":
        terminated = bool(detail.get("isTerminated"))
        fate = limits.fate(stay, job, accepted=_is_accepted(detail), terminated=terminated)
        if fate == "accepted":
            return _Look(again_in=limits.ACCEPTED_AGAIN)
        if fate == "gone":
            return _Look()
        limit = self.policy.limit_for(job, stay.status) or _NO_LONGER_LIMITED
        lasted = limits.waited(stay, job, self.now)
        case = Case(stay=stay, job=job, limit=limit, limit_span=limit.after, lasted=lasted)
        if fate == "escaped":
            escalated = limit.escalate and not job.ended
            notice = limits.escaped(case, escalated=escalated)
            stop = replace(self._stop(case), how="terminate", escalates=True) if escalated else None
        elif stay.stops < limits.STOPS_MAX:
            notice, stop = None, self._stop(case)
        else:
            notice, stop = limits.unstoppable(case), None
        return _Look(decision=Decision(case=case, detail=detail, notice=notice, stop=stop))

    def _stop(self, case: Case) -> StopJobs:
        span = case.limit_span or case.lasted
        return StopJobs(
            how="terminate" if case.limit.action == "terminate" else "cancel",
            job_ids=(case.stay.job_id,),
            reason=limits.stop_reason(case.stay, case.limit, span),
            rule=case.limit.rule,
            service=case.stay.service,
            status=case.stay.status,
            since=(case.stay.since,),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What a look at a stay showed: when to look again, and what is decided."""

    again_in: timedelta | None = None
    decision: Decision | None = None


_NO_LONGER_LIMITED = Limit(
    rule="no longer in the policy", mode="enforce", action="cancel", after=None
)


def _merged(due: Iterable[Stay]) -> Iterator[Stay]:
    """The stays, each once: every `since` is proven, so the earliest is the best."""
    merged: dict[Stay, Stay] = {}
    for stay in due:
        name = replace(stay, since=EPOCH)
        known = merged.get(name, stay)
        merged[name] = min(known, stay, key=lambda each: each.since)
    return iter(merged.values())


def _is_accepted(detail: Detail) -> bool:
    return bool(detail.get("isCancelled") or detail.get("isTerminated"))
