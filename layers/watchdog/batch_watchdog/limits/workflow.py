"""Check jobs that may have stayed too long, when a reminder of them comes due."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import batched

from batch_watchdog.aws.batch import DESCRIBE_MAX, BatchApi, Detail
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.limits import sighting_items, stay_items, stays
from batch_watchdog.limits.array_tags import FirstLooks
from batch_watchdog.limits.decisions import CheckResult, LimitRecorder, is_whole, missed
from batch_watchdog.limits.exemption_items import Exemption
from batch_watchdog.limits.rules import MISSED_MAX
from batch_watchdog.limits.stay_check import StayCheck
from batch_watchdog.limits.stays import Sighting, Stay
from batch_watchdog.limits.stop_check import StopCheck
from batch_watchdog.policy.child_tags import TaggedJobs
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.actions import Action
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.store.reminders import MINUTE, Reminders
from batch_watchdog.store.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitEnforcer:
    """
    Applies the limits in a sweep for `now`.

    `clock` returns the current time, and `recorder` records decisions. `exempt` are jobs, and
    arrays with all their children, that an operator has exempted. While the watchdog is `held`,
    nothing is stopped; what is due stays due. If nothing can be decided about a job, `failed` has
    the error: the job is checked again in the next minute, and the others are handled as usual.
    `arrays` are those that have been described, by id: an array's tags count for its children too.
    `alike` has one child of each array, which represents all its children at their first checks.
    `recorded` has the stops that have been read, by the time at which they were recorded.
    """

    table: Table
    batch: BatchApi
    recorder: LimitRecorder
    inquiry: DiagnosisGatherer
    policy: Policy
    now: datetime
    clock: Callable[[], datetime]
    exempt: Mapping[str, Exemption] = field(default_factory=dict)
    held: bool = False
    failed: dict[str, Exception] = field(default_factory=dict)
    arrays: dict[str, Detail | None] = field(default_factory=dict)
    alike: dict[str, JobEvent | None] = field(default_factory=dict)
    recorded: dict[datetime, list[Action]] = field(default_factory=dict)

    @property
    def _check(self) -> StayCheck:
        return StayCheck(inquiry=self.inquiry, policy=self.policy, now=self.now, clock=self.clock)

    @property
    def _stop_check(self) -> StopCheck:
        return StopCheck(
            table=self.table,
            check=self._check,
            held=self.held,
            recorded=self.recorded,
        )

    def see_to(self, due: Sequence[Stay], out_of_time: Callable[[], bool]) -> int:
        """
        Check stays that are due, act on those that last too long, and file the rest again.

        Two reminders of one job, with two beginnings, are checked separately: they may be two
        stays, and events show when the first one ended. A decision about one stay is recorded once.

        Returns:
            How many of the stays, from the first on, were handled before the time was up: at least
            one, if there are any.
        """
        looks = dict(self._looks(dict.fromkeys(due), out_of_time))
        looks |= self._placed(looks)
        later = [
            (self.now + look.again_in, look.stay or stay)
            for stay, look in looks.items()
            if look.again_in
        ]
        # Reminders first: a crash in between repeats a check, and loses none.
        Reminders(self.table).file(stay_items.entries(later, self.now, policy=self.policy.version))
        errors = self.recorder.record(each for look in looks.values() for each in look.decisions)
        self.failed.update({repr(error): error for error in errors})
        return next((number for number, stay in enumerate(due) if stay not in looks), len(due))

    def _looks(
        self, due: Iterable[Stay], out_of_time: Callable[[], bool]
    ) -> Iterator[tuple[Stay, CheckResult]]:
        """
        Check stays, in their order; describe as many jobs at a time as one call takes.

        Before each step that takes calls, except the first, the remaining time is checked.
        """
        queues: set[object] = set()  # A diagnosis takes calls for each queue.
        begun = False
        jobs = TaggedJobs(self.batch.describe, self.arrays)
        first = FirstLooks(jobs=jobs, check=self._check, alike=self.alike)
        for some in batched(due, DESCRIBE_MAX, strict=False):
            if begun and out_of_time():
                return
            try:
                looks = first.of_children(some)
                details = jobs.described(
                    stay.job_id for stay in some if not stay.service and stay not in looks
                )
            except ITEM_ERRORS as error:  # The sweep raises it after all else is done.
                self.failed[repr(error)] = error
                yield from ((stay, CheckResult(again_in=MINUTE)) for stay in some)
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

    def _look_at(self, stay: Stay, detail: Detail | None) -> CheckResult:
        if stay.service:
            try:
                detail = self.batch.describe_service([stay.job_id]).get(stay.job_id)
            except ITEM_ERRORS as error:
                self.failed[repr(error)] = error
                return CheckResult(again_in=MINUTE)
        return self._tried(stay, detail)

    def _placed(self, looks: Mapping[Stay, CheckResult]) -> dict[Stay, CheckResult]:
        """
        Check again the stays with something to announce or do, as late as events let them begin.

        Events show that a job has left its state and come back. They are read for these jobs only.
        A job in another attempt has a reminder of it already, if its event was received. A job that
        has started in spite of its stop may have waited again since.
        """
        asked = [stay for stay, look in looks.items() if look.needs_events]
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
            placed = stay if look.escalates else stays.placed(stay, of_job)
            first_known = stays.first_known(placed, of_job)
            if look.escalates or (placed.since, first_known) != (stay.since, stay.since):
                again[stay] = self._tried(placed, look.detail, of_job)
        return again

    def _tried(
        self, stay: Stay, detail: Detail | None, seen: Sequence[Sighting] = ()
    ) -> CheckResult:
        if is_whole(detail):
            stay = replace(stay, missed=0, tags_known=True)
        elif detail is None or stay.missed < MISSED_MAX:
            return missed(stay)
        try:
            look = self._stop_check.look(stay, detail, self.exempt, seen)
        except ITEM_ERRORS as error:  # The sweep raises it after all else is done.
            self.failed[repr(error)] = error
            look = CheckResult(again_in=MINUTE)
        return replace(look, stay=look.stay or stay, detail=detail)
