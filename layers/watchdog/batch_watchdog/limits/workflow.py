"""Check jobs that may have stayed too long, when a reminder of them comes due."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import batched

from batch_watchdog.aws.batch import DESCRIBE_MAX, BatchApi, Detail
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.limits import sighting_items, stay_items, stays
from batch_watchdog.limits.array_tags import FirstChecks
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
    the error: the job is result again in the next minute, and the others are handled as usual.
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

    def process(self, due: Sequence[Stay], out_of_time: Callable[[], bool]) -> int:
        """
        Check stays that are due, act on those that last too long, and file the rest again.

        Two reminders of one job, with two beginnings, are result separately: they may be two
        stays, and events show when the first one ended. A decision about one stay is recorded once.

        Returns:
            How many of the stays, from the first on, were handled before the time was up: at least
            one, if there are any.
        """
        results = dict(self._check_all(dict.fromkeys(due), out_of_time))
        results |= self._placed(results)
        later = [
            (self.now + result.again_in, result.stay or stay)
            for stay, result in results.items()
            if result.again_in
        ]
        # Reminders first: a crash in between repeats a check, and loses none.
        Reminders(self.table).file(stay_items.entries(later, self.now, policy=self.policy.version))
        errors = self.recorder.record(
            each for result in results.values() for each in result.decisions
        )
        self.failed.update({repr(error): error for error in errors})
        return next((number for number, stay in enumerate(due) if stay not in results), len(due))

    def _check_all(
        self, due: Iterable[Stay], out_of_time: Callable[[], bool]
    ) -> Iterator[tuple[Stay, CheckResult]]:
        """
        Check stays, in their order; describe as many jobs at a time as one call takes.

        Before each step that takes calls, except the first, the remaining time is result.
        """
        queues: set[object] = set()  # A diagnosis takes calls for each queue.
        begun = False
        jobs = TaggedJobs(self.batch.describe, self.arrays)
        first = FirstChecks(jobs=jobs, check=self._check, alike=self.alike)
        for some in batched(due, DESCRIBE_MAX, strict=False):
            if begun and out_of_time():
                return
            try:
                results = first.of_children(some)
                details = jobs.described(
                    stay.job_id for stay in some if not stay.service and stay not in results
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
                yield stay, results.get(stay) or self._check_one(stay, detail)
                begun = True

    def _check_one(self, stay: Stay, detail: Detail | None) -> CheckResult:
        if stay.service:
            try:
                detail = self.batch.describe_service([stay.job_id]).get(stay.job_id)
            except ITEM_ERRORS as error:
                self.failed[repr(error)] = error
                return CheckResult(again_in=MINUTE)
        return self._tried(stay, detail)

    def _placed(self, results: Mapping[Stay, CheckResult]) -> dict[Stay, CheckResult]:
        """
        Check again the stays with something to announce or do, as late as events let them begin.

        Events show that a job has left its state and come back. They are read for these jobs only.
        A job in another attempt has a reminder of it already, if its event was received. A job that
        has started in spite of its stop may have waited again since.
        """
        asked = [stay for stay, result in results.items() if result.needs_events]
        if not asked:
            return {}
        since = min(stay.since for stay in asked)
        seen = sighting_items.read(self.table, since, {stay.job_id for stay in asked})
        again = {}
        for stay in asked:
            result, of_job = results[stay], seen.get(stay.job_id, ())
            if result.is_renewed and result.stay:
                if any(stays.begins(result.stay, each) for each in of_job):
                    again[stay] = CheckResult()
                continue
            placed = stay if result.escalates else stays.placed(stay, of_job)
            first_known = stays.first_known(placed, of_job)
            if result.escalates or (placed.since, first_known) != (stay.since, stay.since):
                again[stay] = self._tried(placed, result.detail, of_job)
        return again

    def _tried(
        self, stay: Stay, detail: Detail | None, seen: Sequence[Sighting] = ()
    ) -> CheckResult:
        if is_whole(detail):
            stay = replace(stay, missed=0, tags_known=True)
        elif detail is None or stay.missed < MISSED_MAX:
            return missed(stay)
        try:
            result = self._stop_check.check_stay(stay, detail, self.exempt, seen)
        except ITEM_ERRORS as error:  # The sweep raises it after all else is done.
            self.failed[repr(error)] = error
            result = CheckResult(again_in=MINUTE)
        return replace(result, stay=result.stay or stay, detail=detail)
