"""Check jobs that may have stayed too long, when a reminder of them comes due."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import batched
from typing import TypeIs

from batch_watchdog.aws.batch import DESCRIBE_MAX, BatchApi, Detail
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import StopJobs
from batch_watchdog.core.job_event import JobEvent, array_child
from batch_watchdog.core.payload_parts import is_stop_accepted
from batch_watchdog.diagnosis.findings import wait_cause
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.limits import brake_items, sighting_items, stay_items, stays, stop_results
from batch_watchdog.limits import notices as limit_notices
from batch_watchdog.limits import rules as limit_rules
from batch_watchdog.limits.decisions import POSTPONED_FOR, LimitDecision, LimitRecorder
from batch_watchdog.limits.exemption_items import Exemption
from batch_watchdog.limits.notices import OverdueJob
from batch_watchdog.limits.stays import Stay
from batch_watchdog.limits.stop_results import StopResult, shows_it
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.model import TAG_PREFIX, Limit, Policy
from batch_watchdog.store import reminders as reminder_items
from batch_watchdog.store.actions import Action, Actions
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.store.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitEnforcer:
    """
    The limits of a sweep for `now`; `clock` says what time it is.

    `exempt` are jobs, and arrays with all their children, that an operator has exempted. While
    the watchdog is `held`, nothing is stopped; what is due stays due. Where nothing
    can be decided about a job, `failed` has the error: it is looked at again in the next minute,
    and the others are seen to all the same. `alike` has a job for each array that has been asked
    for, with the tags of all its children, and `recorded` the stops of each time for which they
    have been asked for.
    """

    table: Table
    batch: BatchApi
    inquiry: DiagnosisGatherer
    policy: Policy
    now: datetime
    clock: Callable[[], datetime]
    exempt: Mapping[str, Exemption] = field(default_factory=dict)
    held: bool = False
    failed: dict[str, Exception] = field(default_factory=dict)
    alike: dict[str, JobEvent | None] = field(default_factory=dict)
    recorded: dict[datetime, list[Action]] = field(default_factory=dict)

    def see_to(self, due: Sequence[Stay], out_of_time: Callable[[], bool]) -> int:
        """
        Look at stays that are due, act on those that last too long, file the rest anew.

        Two reminders of one job, with two beginnings, are looked at apart: they may be two stays,
        and events say where the first one ended. What is decided of one stay is recorded once.

        Returns:
            How many of them, from the first on, have been seen to before the time was up: at least
            one, if there are any.
        """
        looks = dict(self._looks(dict.fromkeys(due), out_of_time))
        looks |= self._placed(looks)
        later = [
            (self.now + look.again_in, look.stay or stay)
            for stay, look in looks.items()
            if look.again_in
        ]
        # Reminders first: a crash in between repeats a question, and loses none.
        reminder_items.Reminders(self.table).file(
            stay_items.entries(later, self.now, policy=self.policy.version)
        )
        recorder = LimitRecorder(table=self.table, policy=self.policy, now=self.now, held=self.held)
        errors = recorder.record(each for look in looks.values() for each in look.decisions)
        self.failed.update({repr(error): error for error in errors})
        return next((number for number, stay in enumerate(due) if stay not in looks), len(due))

    def _looks(
        self, due: Iterable[Stay], out_of_time: Callable[[], bool]
    ) -> Iterator[tuple[Stay, "CheckResult"]]:
        """
        Look at stays, in their order; describe as many jobs at a time as one call takes.

        The time is asked for before whatever takes calls: but for the first look of all.
        """
        queues: set[object] = set()  # A diagnosis takes calls for each queue.
        begun = False
        for some in batched(due, DESCRIBE_MAX, strict=False):
            if begun and out_of_time():
                return
            try:
                looks = self._by_tags_of_arrays(some)
                details = self.batch.describe(
                    stay.job_id for stay in some if not stay.service and stay not in looks
                )
            except ITEM_ERRORS as error:  # The sweep raises it, when it has seen to all others.
                self.failed[repr(error)] = error
                yield from ((stay, CheckResult(again_in=reminder_items.MINUTE)) for stay in some)
                begun = True
                continue
            for stay in some:
                detail = details.get(stay.job_id)
                queue = detail.get("jobQueue") if detail else None
                if begun and (stay.service or queue not in queues) and out_of_time():
                    return
                queues.add(queue)
                yield stay, looks.get(stay) or self._look_at(stay, detail)
                begun = True

    def _look_at(self, stay: Stay, detail: Detail | None) -> "CheckResult":
        if stay.service:
            try:
                detail = self.batch.describe_service([stay.job_id]).get(stay.job_id)
            except ITEM_ERRORS as error:
                self.failed[repr(error)] = error
                return CheckResult(again_in=reminder_items.MINUTE)
        return self._tried(stay, detail)

    def wait_on(self, entry: reminder_items.Reminder) -> bool:
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
                waits = self.held or not brake_items.read(self.table, self.now).allowed(1, most)
            case _:
                waits = False
        if waits:
            kind: reminder_items.Kind = "held" if self.held else "braked"
            at = reminder_items.minute_from(self.now + POSTPONED_FOR[kind])
            reminder_items.Reminders(self.table).file([replace(entry, minute=at, kind=kind)])
        return waits

    def _by_tags_of_arrays(self, due: Iterable[Stay]) -> dict[Stay, "CheckResult"]:
        """
        First looks at children of arrays, where their tags say that nothing is due yet.

        The children share the tags of their array, so the array, and one of them, are described
        once for all. Those of which something is due, and all other jobs, are described themselves.
        """
        first = [stay for stay in due if not stay.tags_known and array_child(stay.job_id)]
        asked = {stay.job_id.rpartition(":")[0]: stay.job_id for stay in reversed(first)}
        asked = {array: child for array, child in asked.items() if array not in self.alike}
        details = self.batch.describe([*asked, *asked.values()])
        for array, child in asked.items():
            self.alike[array] = self._alike(details.get(child), details.get(array))
        looks = {}
        for stay in first:
            like = self.alike[stay.job_id.rpartition(":")[0]]
            after = self.policy.first_due_after(like, stay.status) if like else timedelta()
            known = replace(stay, tags_known=True)
            if after is None:
                looks[stay] = self._unlimited(known)
            elif stay.since + after > self.now:
                looks[stay] = CheckResult(again_in=stay.since + after - self.now, stay=known)
        return looks

    def _alike(self, *details: Detail | None) -> JobEvent | None:
        """The job that has tags for the watchdog, else one without; None where none is whole."""
        jobs = []
        for detail in filter(is_whole, details):
            with suppress(*ITEM_ERRORS):  # It is seen when the children are looked at.
                jobs.append(event_from_detail(detail, self.now))
        own = (job for job in jobs if any(name.startswith(TAG_PREFIX) for name in job.tags))
        return next(own, next(iter(jobs), None))

    def _placed(self, looks: Mapping[Stay, "CheckResult"]) -> dict[Stay, "CheckResult"]:
        """
        New looks at those of which something is to be said or done, as late as events allow.

        Events show that a job has left its state and come back, and are read for these jobs only.
        A job that has begun another attempt has a reminder of it where its event has come.
        """
        asked = [stay for stay, look in looks.items() if look.rests_on_time or look.is_renewed]
        if not asked:
            return {}
        since = min(stay.since for stay in asked)
        seen = sighting_items.read(self.table, since, {stay.job_id for stay in asked})
        again = {}
        for stay in asked:
            look, of_job = looks[stay], seen.get(stay.job_id, ())
            if look.is_renewed and look.stay:
                if any(stays.begins(look.stay, each) for each in of_job):
                    again[stay] = CheckResult()
                continue
            placed = stays.placed(stay, of_job)
            first_known = stays.first_known(stay, of_job) if placed == stay else placed.since
            if (placed.since, first_known) != (stay.since, stay.since):
                again[stay] = self._tried(placed, look.detail, first_known)
        return again

    def _tried(
        self, stay: Stay, detail: Detail | None, first_known: datetime | None = None
    ) -> "CheckResult":
        if not is_whole(detail):
            return _missed(stay, detail)
        stay = replace(stay, missed=0, tags_known=True)
        try:
            look = self._look(stay, event_from_detail(detail, self.now), detail, first_known)
        except ITEM_ERRORS as error:  # The sweep raises it, when it has seen to all others.
            self.failed[repr(error)] = error
            look = CheckResult(again_in=reminder_items.MINUTE)
        return replace(look, stay=look.stay or stay, detail=detail)

    def _look(
        self, stay: Stay, job: JobEvent, detail: Detail, first_known: datetime | None
    ) -> "CheckResult":
        """Decide about a stay as the policy, the tags and the exemptions are now."""
        limit = self.policy.limit_for(job, stay.status)
        exemption = self.exempt.get(job.job_id) or self.exempt.get(job.parent_id)
        if job.status == stay.status:  # Else what Batch shows is about another state.
            stay = replace(stay, since=stays.proven_since(stay.since, job))
            first_known = stays.proven_since(first_known, job) if first_known else None
        case = OverdueJob(
            stay=stay,
            job=job,
            limit=limit or _NO_LIMIT,
            limit_span=limit.after if limit else None,
            lasted=self.now - stay.since,
            first_known=first_known,
        )
        return self._decided(case, detail, exemption)

    def _decided(
        self, case: OverdueJob, detail: Detail, exemption: Exemption | None
    ) -> "CheckResult":
        decide = self._after_stop if case.stay.awaits_stop else self._as_it_is
        return decide(case, detail, exemption)

    def _as_it_is(
        self, case: OverdueJob, detail: Detail, exemption: Exemption | None
    ) -> "CheckResult":
        """Decide about a stay of which no stop is awaited."""
        stay, job = case.stay, case.job
        if job.status != stay.status or job.kind in ("array", "node"):
            return CheckResult()
        if not stays.lasts(stay, job):
            return self._renewed(stay, job)
        if case.limit is _NO_LIMIT:
            return self._unlimited(stay)
        put_off = case.limit.first_due - case.lasted
        if is_stop_accepted(detail):  # Somebody has stopped it already.
            put_off = limit_rules.ACCEPTED_AGAIN
        if exemption:
            put_off = exemption.until - self.now
        if put_off > timedelta():
            return CheckResult(again_in=put_off, stay=case.stay)
        return self._judged(case, detail)

    def _renewed(self, stay: Stay, job: JobEvent) -> "CheckResult":
        """What becomes of a reminder whose job is in the same state, in another attempt."""
        if job.attempts < stay.attempts:  # The answer is older than the event.
            return CheckResult(again_in=reminder_items.MINUTE, stay=stay)
        # The event may have been lost. What is known of the new stay is that it lasts now.
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

    def _unlimited(self, stay: Stay) -> "CheckResult":
        """
        Keep since when a job is in a state in which nothing limits it: its tags may change.

        The states that are listed are meant; a job in another one is not found by listing either.
        """
        listed = stay.status == "RUNNABLE" or self.policy.has_limits(stay.status)
        return CheckResult(again_in=stays.UNLIMITED_AGAIN if listed else None, stay=stay)

    def _judged(self, case: OverdueJob, detail: Detail) -> "CheckResult":
        """What is said and done about a job that has been in its state for so long."""
        findings = self.inquiry.findings(detail) if case.stay.status != "RUNNING" else ()
        stay = stays.seen_with(case.stay, wait_cause(findings), self.now)
        changed = self.now - stay.cause_since if stay.cause_since else None
        verdict = limit_rules.judge(case.limit, case.lasted, findings, changed)
        case = replace(case, stay=stay, limit_span=verdict.limit_span, findings=findings)
        if verdict.step == "stop":
            return self._overstayed(case, detail, verdict.again_in)
        if verdict.step is None:
            return CheckResult(again_in=verdict.again_in, stay=case.stay)
        told = LimitDecision(case=case, detail=detail, notice=limit_notices.warning(case))
        return CheckResult(again_in=verdict.again_in, stay=case.stay, decisions=(told,))

    def _after_stop(
        self, case: OverdueJob, detail: Detail, exemption: Exemption | None
    ) -> "CheckResult":
        """What a stop that was recorded has led to, and what is decided then."""
        result = self._result(case.stay, detail)
        if result and result.outcome == "open":
            return CheckResult(again_in=reminder_items.MINUTE, stay=case.stay)
        if result is None or result.outcome != "accepted":
            return self._not_made(case, detail, exemption, result)
        terminated = bool(detail.get("isTerminated"))
        accepted = is_stop_accepted(detail)
        fate = limit_rules.stop_outcome(
            case.stay, case.job, accepted=accepted, terminated=terminated
        )
        if fate == "accepted":
            return self._accepted(case, detail)
        if fate == "escaped":
            return CheckResult() if exemption else self._escaped(case, detail, result.stop)
        # Batch did not do it. The brake has counted it.
        left = replace(case, stay=replace(case.stay, stopped_at=None))
        return self._as_it_is(left, detail, exemption).uncounted()

    def _result(self, stay: Stay, detail: Detail) -> StopResult | None:
        """What came of the latest stop of a stay; None where nothing is known of one."""
        asked_at = stay.stopped_at or self.now
        if asked_at not in self.recorded:
            self.recorded[asked_at] = Actions(self.table).recorded_at(asked_at)
        result = stop_results.of_job(self.recorded[asked_at], stay.job_id, stay.status)
        if result and result.outcome == "unsure" and shows_it(detail, result.stop.reason):
            return replace(result, outcome="accepted")
        return result

    def _not_made(
        self,
        case: OverdueJob,
        detail: Detail,
        exemption: Exemption | None,
        result: StopResult | None,
    ) -> "CheckResult":
        """
        What is decided where Batch has not accepted the stop that was recorded.

        Nothing can have escaped it. What operators were told of it is put right, unless it is made
        now after all.
        """
        if result is None:  # What is not known of leads to nothing.
            before = replace(case.stay, stopped_at=None)
            return self._decided(replace(case, stay=before), detail, exemption)
        before = replace(
            case.stay,
            # What was to be terminated has escaped a stop that was accepted.
            stopped_at=result.stop.waited_until,
            unasked=case.stay.unasked + (result.outcome == "not asked"),
            left_alone=True,
        )
        look = self._decided(replace(case, stay=before), detail, exemption)
        if look.stops and not self.held:
            return look.untold()
        waited = case.lasted
        if case.job.status != case.stay.status:  # Nobody knows since when.
            waited = (case.stay.stopped_at or self.now) - case.stay.since
        notice = limit_notices.left_alone(replace(case, lasted=waited), result.stop, result.why)
        told = LimitDecision(case=case, detail=detail, notice=notice)
        return replace(look, decisions=(*look.decisions, told))

    def _overstayed(self, case: OverdueJob, detail: Detail, again_in: timedelta) -> "CheckResult":
        """What is said and done about a job that has passed its limit."""
        if not case.enforced:
            told = LimitDecision(case=case, detail=detail, notice=limit_notices.overstayed(case))
            return CheckResult(again_in=again_in, stay=case.stay, decisions=(told,))
        if case.stay.asked >= limit_rules.STOPS_MAX:
            return _unstoppable(case, detail)
        # It is told with the first stop, and anew with one after it was left alone.
        is_told = case.stay.stops and not case.stay.left_alone
        notice = None if is_told else limit_notices.overstayed(case)
        return CheckResult(decisions=(self._stopping(case, detail, notice, self._stop(case)),))

    def _escaped(self, case: OverdueJob, detail: Detail, stop: StopJobs) -> "CheckResult":
        """What is said and done about a job that went on in spite of its stop, if it was meant."""
        if not case.limit.stops:
            return CheckResult()
        until = stop.waited_until or case.stay.stopped_at or case.stay.since
        over = limit_rules.waited_in_vain(case.limit, stop.cause, case.stay.since, until)
        escalates = case.limit.escalate and over and not case.job.ended
        span = case.limit.after_for(stop.cause)
        case = replace(case, limit_span=span, lasted=until - case.stay.since)
        if escalates and self.held:
            return CheckResult(again_in=reminder_items.MINUTE, stay=case.stay)
        told = LimitDecision(
            case=case, detail=detail, notice=limit_notices.escaped(case, escalated=escalates)
        )
        if not escalates:
            return CheckResult(decisions=(told,))
        if case.stay.asked >= limit_rules.STOPS_MAX:
            return _unstoppable(case, detail)
        escalation = replace(
            self._stop(case),
            how="terminate",
            escalates=True,
            cause=stop.cause,
            waited_until=until,
            counted=False,  # It was counted when it was cancelled.
        )
        return CheckResult(decisions=(told, self._stopping(case, detail, None, escalation)))

    def _accepted(self, case: OverdueJob, detail: Detail) -> "CheckResult":
        """Look again until the job has ended; where that takes too long, operators are told."""
        asked_at = case.stay.stopped_at or self.now
        stay = replace(case.stay, stopped_at=asked_at)
        left = asked_at + limit_rules.ends_within(case.job.status) - self.now
        if left > timedelta():
            return CheckResult(again_in=min(left, limit_rules.ACCEPTED_AGAIN), stay=stay)
        terminated = bool(detail.get("isTerminated"))
        notice = limit_notices.unended(case, asked_at, self.now, terminated=terminated)
        told = LimitDecision(case=case, detail=detail, notice=notice)
        return CheckResult(again_in=limit_rules.UNENDED_AGAIN, stay=stay, decisions=(told,))

    def _stopping(
        self, case: OverdueJob, detail: Detail, notice: Notice | None, stop: StopJobs
    ) -> LimitDecision:
        asked = replace(case, stay=replace(case.stay, stopped_at=self.now))
        return LimitDecision(case=asked, detail=detail, notice=notice, stop=stop)

    @staticmethod
    def _stop(case: OverdueJob) -> StopJobs:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """
    What a look at a stay showed: when to look again, at which stay, and what is decided.
    """

    again_in: timedelta | None = None
    stay: Stay | None = None
    decisions: tuple[LimitDecision, ...] = ()
    is_renewed: bool = False  # `stay` is another one than was looked at
    detail: Detail | None = field(default=None, repr=False)

    @property
    def stops(self) -> bool:
        """Whether the job is to be stopped."""
        return any(each.stop for each in self.decisions)

    def uncounted(self) -> "CheckResult":
        """The same, where the brake has counted the stop when it was made before."""
        decisions = tuple(
            replace(each, stop=replace(each.stop, counted=False)) if each.stop else each
            for each in self.decisions
        )
        return replace(self, decisions=decisions)

    def untold(self) -> "CheckResult":
        """The same, where operators know of the stop."""
        stops = tuple(replace(each, notice=None) for each in self.decisions if each.stop)
        return replace(self, decisions=stops)

    @property
    def rests_on_time(self) -> bool:
        """Whether something is decided because the stay has lasted so long."""
        return any(
            not each.stop.escalates if each.stop else not each.case.stay.awaits_stop
            for each in self.decisions
        )


# What rules match. Batch shows the tags of a job that has none, too: as an empty map. What a job
# lacks might exempt it.
_NAMED_BY = ("jobName", "jobQueue", "status", "tags")

# For what is said of a job that nothing limits any more.
_NO_LIMIT = Limit(rule="none in the policy now", mode="observe", action="warn", after=None)


def _missed(stay: Stay, detail: Detail | None) -> "CheckResult":
    """Of a job that Batch does not show, or not whole: it may do so a minute later."""
    if stay.missed < limit_rules.MISSED_MAX:
        return CheckResult(
            again_in=reminder_items.MINUTE, stay=replace(stay, missed=stay.missed + 1)
        )
    # Batch has forgotten the job, days after its end.
    return CheckResult(again_in=limit_rules.LOOK_AGAIN, stay=stay) if detail else CheckResult()


def is_whole(detail: Detail | None) -> TypeIs[Detail]:
    """Whether Batch shows all of a job that rules and its own tags are about."""
    return detail is not None and all(detail.get(name) is not None for name in _NAMED_BY)


def _unstoppable(case: OverdueJob, detail: Detail) -> CheckResult:
    """Of a job that Batch has been asked to stop as often as it may be: operators are told."""
    told = LimitDecision(case=case, detail=detail, notice=limit_notices.unstoppable(case))
    return CheckResult(again_in=limit_rules.OBSERVED_AGAIN, stay=case.stay, decisions=(told,))
