"""What is done about jobs that stay too long: by reminders, and by listing what waits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import batched

from batch_watchdog import limits
from batch_watchdog.batch_api import BatchApi, Detail, kinds_of
from batch_watchdog.changes import EPOCH, Change, change_of, from_millis
from batch_watchdog.effects import Announce, Effect, StopJobs
from batch_watchdog.inquiry import Inquiry
from batch_watchdog.limits import Case, Stay
from batch_watchdog.notices import Notice, iso, subject
from batch_watchdog.policy import LIMITED, Limit, Policy
from batch_watchdog.recorder import UNDECIDABLE, Outcome, Recorder
from batch_watchdog.store import brake, ledger, stays, wheel
from batch_watchdog.store.exemptions import Exemption
from batch_watchdog.store.table import Key, Put, Table

_STAYS_MAX = 1_000  # looked at in one go
_HELD = timedelta(minutes=5)  # until a stop that the brake held is tried again


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
        for some in batched(_merged(due), _STAYS_MAX, strict=False):
            details = self._ask(some)
            later: list[tuple[datetime, Stay]] = []
            decisions: list[_Decision] = []
            for stay in some:
                detail = details.get(stay.job_id)
                if detail is not None:
                    seen = self._tried(stay, detail)
                    later += [(self.now + seen.again_in, stay)] if seen.again_in else []
                    decisions += [seen.decision] if seen.decision else []
            # Reminders first: a crash in between repeats a question, and loses none.
            wheel.Wheel(self.table).file(stays.entries(later, self.now))
            self._record(decisions)

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
        findings = self.inquiry.findings(detail) if stay.status != "RUNNING" else ()
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

    def _decision(self, case: Case, detail: Detail, step: limits.Step) -> "_Decision":
        if step == "warn":
            return _Decision(case=case, detail=detail, notice=limits.warning(case))
        stop = self._stop(case) if case.enforced else None
        return _Decision(case=case, detail=detail, notice=limits.overstayed(case), stop=stop)

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
            stop = replace(self._stop(case), how="terminate") if escalated else None
        elif stay.stops < limits.STOPS_MAX:
            notice, stop = None, self._stop(case)
        else:
            notice, stop = limits.unstoppable(case), None
        return _Look(decision=_Decision(case=case, detail=detail, notice=notice, stop=stop))

    def _stop(self, case: Case) -> StopJobs:
        span = case.limit_span or case.lasted
        return StopJobs(
            how="terminate" if case.limit.action == "terminate" else "cancel",
            job_ids=(case.stay.job_id,),
            reason=limits.stop_reason(case.stay, case.limit, span),
            rule=case.limit.rule,
            service=case.stay.service,
        )

    # ---- Deciding once --------------------------------------------------------------------

    def _record(self, decisions: Iterable["_Decision"]) -> None:
        by_name = {decision.name: decision for decision in decisions}
        buckets = ledger.by_bucket(
            {name: ledger.Entry(name, decision.about) for name, decision in by_name.items()}
        )
        held: dict[str, _Decision] = {}

        def decide(bucket: Key) -> Outcome:
            entries = buckets[bucket]
            fresh, _ = ledger.Ledger(self.table).new(bucket, entries, self.now)
            allowed, over = self._allowed([by_name[name] for name in fresh])
            held.update({decision.name: decision for decision in over})
            names = {decision.name: entries[decision.name] for decision in allowed}
            _, puts = ledger.Ledger(self.table).new(bucket, names, self.now)
            return self._outcome(allowed, puts)

        recorder = Recorder(table=self.table, asked_by="sweep")
        lost = recorder.decide(buckets, decide, self.now)
        later = [decision for bucket in lost for decision in map(by_name.get, buckets[bucket])]
        again = [(self.now, each.case.stay) for each in later if each]
        held_until = self.now if self.held else self.now + _HELD  # at the soonest: the next sweep
        again += [(held_until, decision.case.stay) for decision in held.values()]
        wheel.Wheel(self.table).file(stays.entries(again, self.now))
        if held and not self.held:
            self._tell_held(len(held))

    def _allowed(self, fresh: Sequence["_Decision"]) -> "tuple[list[_Decision], list[_Decision]]":
        if self.held:
            return [each for each in fresh if not each.stop], [each for each in fresh if each.stop]
        stops = [decision for decision in fresh if decision.stop and not decision.case.stay.stops]
        others = [decision for decision in fresh if decision not in stops]
        most = self.policy.safety.max_stops_per_hour
        count = brake.reserve(self.table, len(stops), most, self.now) if stops else 0
        return others + stops[:count], stops[count:]

    def _outcome(self, decisions: Sequence["_Decision"], puts: Sequence[Put]) -> Outcome:
        over = self.policy.notify.digest_over
        notices = [decision.notice for decision in decisions if decision.notice]
        stopped = [decision for decision in decisions if decision.stop]
        effects: list[Effect] = [decision.stop for decision in stopped if decision.stop]
        effects += [Announce(notices=(notice,), digest_over=over) for notice in notices]
        verify = [(self.now + limits.VERIFY_AFTER, decision.stay_to_verify) for decision in stopped]
        reminders = [wheel.put(entry) for entry in stays.entries(verify, self.now)]
        return Outcome(puts=[*puts, *reminders], effects=effects)

    def _tell_held(self, count: int) -> None:
        name = f"brake:{iso(self.now)[:13]}"
        entry = ledger.Entry(name, self.now.replace(minute=0, second=0, microsecond=0))
        most = self.policy.safety.max_stops_per_hour
        notice = Notice(
            kind="watchdog-trouble",
            id=f"watchdog-trouble:{name}",
            severity="critical",
            subject=subject(f"Brake: {count} jobs over their limit are not stopped"),
            text="\n".join(
                [
                    f"{count} jobs have passed their limits and are not stopped, because limits",
                    f"have stopped {most} jobs within an hour: that is the most that the policy",
                    "allows (safety.max_stops_per_hour).",
                    "",
                    "If so many are to be stopped, raise that number. If not, correct the limits.",
                    "The jobs are tried again every five minutes.",
                ]
            ),
            facts={"held": count, "max_stops_per_hour": most},
        )

        def decide(bucket: Key) -> Outcome:
            fresh, puts = ledger.Ledger(self.table).new(bucket, {name: entry}, self.now)
            return Outcome(puts=puts, effects=[Announce(notices=(notice,))] if fresh else [])

        Recorder(table=self.table, asked_by="sweep").decide([entry.bucket], decide, self.now)

    # ---- What no event told ---------------------------------------------------------------

    def find(self, ahead: Iterable[Stay]) -> None:
        """
        List all jobs that wait or run under a limit, and file those that nothing reminds of.

        `ahead` are the stays in the wheel. A job found so begins its stay now, as nothing
        proves more; RUNNING is proven by `startedAt`.
        """
        known = {(stay.job_id, stay.status, stay.attempts) for stay in ahead}
        listings = [
            (queue["jobQueueArn"], status, service)
            for queue in self.batch.queues()
            for service in kinds_of(queue)
            for status in self._limited(service=service)
        ]
        for queue, status, service in listings:
            summaries = self._listed(queue, status, service=service)
            for some in batched(summaries, _STAYS_MAX, strict=False):
                self._file_unknown([each["jobId"] for each in some], known, service=service)

    def _listed(self, queue: str, status: str, *, service: bool) -> Iterator[Detail]:
        yield from self.batch.listed(queue, status, service=service)
        if not service:  # A queue's list need not hold the children of its arrays.
            for parent in self.batch.listed(queue, "PENDING", service=False):
                if parent.get("arrayProperties", {}).get("size"):
                    yield from self.batch.children(parent["jobId"], status)

    def _limited(self, *, service: bool) -> list[str]:
        # A job's own tag may limit it where no rule does, and most of all while it waits.
        return [
            status
            for status in LIMITED
            if (service or status != "SCHEDULED")
            and (status == "RUNNABLE" or self.policy.has_limits(status))
        ]

    def _file_unknown(
        self, job_ids: Sequence[str], known: AbstractSet[tuple[str, str, int]], *, service: bool
    ) -> None:
        describe = self.batch.describe_service if service else self.batch.describe
        found = []
        for job_id, detail in describe(job_ids).items():
            made = detail.get("attempts") or detail.get("eksAttempts") or ()
            if (job_id, detail["status"], len(made)) not in known:
                job = change_of(detail, self.now)
                job = replace(job, at=_proven_since(job, detail, self.now))
                begun = limits.begin(job, self.policy, max(self.now, job.at))
                found += [begun] if begun else []
        wheel.Wheel(self.table).file(stays.entries(found, self.now))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    """One stay, and what is to be said and done about it, once."""

    case: Case
    detail: Detail = field(repr=False)
    notice: Notice | None = None
    stop: StopJobs | None = None

    @property
    def name(self) -> str:
        stop = f":stop {self.case.stay.stops + 1}" if self.stop else ""
        return (self.notice.id if self.notice else self.case.about) + stop

    @property
    def about(self) -> datetime:
        """When the job was created: the same time whenever this is decided."""
        return from_millis(self.detail.get("createdAt")) or EPOCH

    @property
    def stay_to_verify(self) -> Stay:
        return replace(self.case.stay, status=self.case.job.status, stops=self.case.stay.stops + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What a look at a stay showed: when to look again, and what is decided."""

    again_in: timedelta | None = None
    decision: _Decision | None = None


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


def _proven_since(job: Change, detail: Detail, now: datetime) -> datetime:
    """
    Since when a job is known for certain to be in its state.

    A sweep may come late, and what Batch answers is then younger than the sweep's own time.
    """
    name = "startedAt" if job.status == "RUNNING" else "createdAt"
    proven = from_millis(detail.get(name))
    if job.status == "RUNNING" and proven:
        return proven
    return max(now, proven or now)
