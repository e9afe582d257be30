"""
Check a stay whose stop was recorded: has Batch accepted it, has the job ended, or has it gone on?

Whether the stop was made is concluded only from its recorded result and from what Batch shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batch_watchdog.aws.batch import Detail
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import StopJobs
from batch_watchdog.core.payload_parts import is_being_stopped
from batch_watchdog.limits import notices as limit_notices
from batch_watchdog.limits import rules as limit_rules
from batch_watchdog.limits import stays, stop_results
from batch_watchdog.limits.decisions import CheckResult, LimitDecision, is_whole, unstoppable
from batch_watchdog.limits.exemption_items import Exemption
from batch_watchdog.limits.notices import OverdueJob
from batch_watchdog.limits.stay_check import StayCheck, stop_of, stopping
from batch_watchdog.limits.stays import Sighting, Stay
from batch_watchdog.limits.stop_results import StopResult, shows_it
from batch_watchdog.store.actions import Action, Actions
from batch_watchdog.store.reminders import MINUTE
from batch_watchdog.store.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class StopCheck:
    """
    Decides about stays with a recorded stop, and leaves all others to `check`.

    While the watchdog is `held`, nothing is stopped. `recorded` has the stops that have been read,
    by the time at which they were recorded.
    """

    table: Table
    check: StayCheck
    held: bool
    recorded: dict[datetime, list[Action]] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return self.check.now

    def check_stay(
        self,
        stay: Stay,
        detail: Detail,
        exempt: Mapping[str, Exemption],
        seen: Sequence[Sighting] = (),
    ) -> CheckResult:
        """
        Decide about a stay as the policy, the tags and the exemptions are now.

        `seen` has the job's sightings, if events have been read.

        Raises:
            MalformedEventError: what Batch shows of the job cannot be read.
        """
        first_known = stays.first_known(stay, seen) if seen else None
        if not is_whole(detail):
            return self.check.shown_in_part(stay, detail, exempt, first_known)
        case = self.check.case_of(stay, event_from_detail(detail, self.now), first_known)
        case = replace(case, waits_anew=stays.waits_anew(stay, seen))
        exemption = exempt.get(case.job.job_id) or exempt.get(case.job.parent_id)
        return self._decide(case, detail, exemption)

    def _decide(self, case: OverdueJob, detail: Detail, exemption: Exemption | None) -> CheckResult:
        decide = self._after_stop if case.stay.awaits_stop else self.check.decide
        return decide(case, detail, exemption)

    def _after_stop(
        self, case: OverdueJob, detail: Detail, exemption: Exemption | None
    ) -> CheckResult:
        """Decide about a stay by the result of its recorded stop."""
        result = self._result(case.stay, detail)
        if result and result.outcome == "open":
            return CheckResult(again_in=MINUTE, stay=case.stay)
        if result is None or result.outcome != "accepted":
            return self._not_made(case, detail, exemption, result)
        terminated = bool(detail.get("isTerminated"))
        accepted = is_being_stopped(detail)
        fate = limit_rules.stop_outcome(
            case.stay, case.job, accepted=accepted, terminated=terminated
        )
        if fate == "accepted":
            return self._accepted(case, detail)
        if fate == "escaped":
            return CheckResult() if exemption else self._escaped(case, detail, result.stop)
        # The stop did not take effect, or the stay has ended. The brake has counted it.
        left = replace(case, stay=replace(case.stay, stopped_at=None))
        return self.check.decide(left, detail, exemption).uncounted()

    def _result(self, stay: Stay, detail: Detail) -> StopResult | None:
        """Return the result of a stay's latest stop; None where no recorded stop is found."""
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
    ) -> CheckResult:
        """
        Decide about a stay where Batch has not accepted the recorded stop.

        No job can have escaped such a stop. Operators are notified that the stop was not made,
        unless it is made now after all.
        """
        if result is None:  # An unknown stop leads to no notice.
            before = replace(case.stay, stopped_at=None)
            return self._decide(replace(case, stay=before), detail, exemption)
        before = replace(
            case.stay,
            # A stop that has `waited_until` escalates an earlier one, which was accepted.
            stopped_at=result.stop.waited_until,
            unasked=case.stay.unasked + (result.outcome == "not asked"),
            left_alone=True,
        )
        checked = self._decide(replace(case, stay=before), detail, exemption)
        if checked.stops and not self.held:
            return checked.unannounced()
        waited = case.lasted
        if case.job.status != case.stay.status:  # It is not known since when.
            waited = (case.stay.stopped_at or self.now) - case.stay.since
        notice = limit_notices.left_alone(replace(case, lasted=waited), result.stop, result.why)
        decided = LimitDecision(case=case, detail=detail, notice=notice)
        return replace(checked, decisions=(*checked.decisions, decided))

    def _escaped(self, case: OverdueJob, detail: Detail, stop: StopJobs) -> CheckResult:
        """Decide about a job that went on in spite of its stop, if its limit still stops jobs."""
        if not case.limit.stops:
            return CheckResult()
        until = stop.waited_until or case.stay.stopped_at or case.stay.since
        over = limit_rules.waited_in_vain(case.limit, stop.cause, case.stay.since, until)
        # The wait no longer counts if the job has waited again since, and gone on from there.
        over = over and not case.waits_anew
        escalates = case.limit.escalate and over and not case.job.ended
        span = case.limit.after_for(stop.cause)
        case = replace(case, limit_span=span, lasted=until - case.stay.since)
        if escalates and self.held:
            return CheckResult(again_in=MINUTE, stay=case.stay)
        notice = limit_notices.escaped(case, escalated=escalates)
        decided = LimitDecision(case=case, detail=detail, notice=notice)
        if not escalates:
            return CheckResult(decisions=(decided,))
        if case.stay.asked >= limit_rules.STOPS_MAX:
            return unstoppable(case, detail)
        escalation = replace(
            stop_of(case),
            how="terminate",
            escalates=True,
            cause=stop.cause,
            waited_until=until,
            counted=False,  # The brake counted the job when it was cancelled.
            attempts=case.job.attempts,
        )
        return CheckResult(decisions=(decided, stopping(case, detail, None, escalation, self.now)))

    def _accepted(self, case: OverdueJob, detail: Detail) -> CheckResult:
        """Check again until the job has ended; notify operators if that takes too long."""
        asked_at = case.stay.stopped_at or self.now
        stay = replace(case.stay, stopped_at=asked_at)
        left = asked_at + limit_rules.ends_within(case.job.status) - self.now
        if left > timedelta():
            return CheckResult(again_in=min(left, limit_rules.ACCEPTED_AGAIN), stay=stay)
        terminated = bool(detail.get("isTerminated"))
        notice = limit_notices.unended(case, asked_at, self.now, terminated=terminated)
        decided = LimitDecision(case=case, detail=detail, notice=notice)
        return CheckResult(again_in=limit_rules.UNENDED_AGAIN, stay=stay, decisions=(decided,))
