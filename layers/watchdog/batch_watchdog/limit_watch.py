"""What is done about jobs that stay too long, when a reminder of them comes due."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import batched

from batch_watchdog import limits
from batch_watchdog.batch_api import DESCRIBE_MAX, BatchApi, Detail
from batch_watchdog.changes import EPOCH, WAITING, Change, change_of
from batch_watchdog.effects import StopJobs
from batch_watchdog.inquiry import Inquiry
from batch_watchdog.limit_record import POSTPONED_FOR, Decision, LimitRecorder
from batch_watchdog.limits import Case, Stay
from batch_watchdog.policy import Limit, Policy
from batch_watchdog.recorder import UNDECIDABLE
from batch_watchdog.store import brake, stays, wheel
from batch_watchdog.store.exemptions import Exemption
from batch_watchdog.store.table import Table


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

    def see_to(self, due: Sequence[Stay], out_of_time: Callable[[], bool]) -> int:
        """
        Look at stays that are due, act on those that last too long, file the rest anew.

        Returns:
            How many of them, from the first on, have been seen to before the time was up: at least
            one, if there are any.
        """
        later: list[tuple[datetime, Stay]] = []
        decisions: list[Decision] = []
        looked_at: set[Stay] = set()
        for stay, look in self._looks(_merged(due)):
            later += [(self.now + look.again_in, stay)] if look.again_in else []
            decisions += [look.decision] if look.decision else []
            looked_at.add(_named(stay))
            if out_of_time():
                break
        # Reminders first: a crash in between repeats a question, and loses none.
        wheel.Wheel(self.table).file(stays.entries(later, self.now, policy=self.policy.version))
        recorder = LimitRecorder(table=self.table, policy=self.policy, now=self.now, held=self.held)
        self.failed.update({repr(error): error for error in recorder.record(decisions)})
        left = (number for number, stay in enumerate(due) if _named(stay) not in looked_at)
        return next(left, len(due))

    def _looks(self, due: Iterable[Stay]) -> Iterator[tuple[Stay, "_Look"]]:
        """Look at stays, in their order; describe as many jobs at a time as one call takes."""
        for some in batched(due, DESCRIBE_MAX, strict=False):
            try:
                details = self.batch.describe(each.job_id for each in some if not each.service)
            except UNDECIDABLE as error:  # The sweep raises it, when it has seen to all others.
                self.failed[repr(error)] = error
                yield from ((stay, _Look(again_in=wheel.MINUTE)) for stay in some)
                continue
            for stay in some:
                yield stay, self._look_at(stay, details.get(stay.job_id))

    def _look_at(self, stay: Stay, detail: Detail | None) -> "_Look":
        try:
            if stay.service:
                detail = self.batch.describe_service([stay.job_id]).get(stay.job_id)
            return self._tried(stay, detail) if detail is not None else _Look()
        except UNDECIDABLE as error:
            self.failed[repr(error)] = error
            return _Look(again_in=wheel.MINUTE)

    def wait_on(self, entry: wheel.Entry) -> bool:
        """
        File again what is due and must wait on, as long as its stops can't be made.

        Returns:
            Whether it must wait on. It costs no call of AWS Batch.
        """
        match entry.kind:
            case "held":
                waits = self.held
            case "braked":
                most = self.policy.safety.max_stops_per_hour
                waits = self.held or not brake.read(self.table, self.now).allowed(1, most)
            case _:
                waits = False
        if waits:
            kind: wheel.Kind = "held" if self.held else "braked"
            at = wheel.minute_from(self.now + POSTPONED_FOR[kind])
            wheel.Wheel(self.table).file([replace(entry, minute=at, kind=kind)])
        return waits

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


def _named(stay: Stay) -> Stay:
    """The stay, whenever it is known to have begun."""
    return replace(stay, since=EPOCH)


def _merged(due: Iterable[Stay]) -> Iterator[Stay]:
    """The stays, each once: every `since` is proven, so the earliest is the best."""
    merged: dict[Stay, Stay] = {}
    for stay in due:
        known = merged.get(_named(stay), stay)
        merged[_named(stay)] = min(known, stay, key=lambda each: each.since)
    return iter(merged.values())


def _is_accepted(detail: Detail) -> bool:
    return bool(detail.get("isCancelled") or detail.get("isTerminated"))
