"""First looks at the children of arrays, which share the tags of their array."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from batch_watchdog.aws.batch import BatchApi, Detail
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.job_event import JobEvent, array_child
from batch_watchdog.limits.decisions import CheckResult, is_whole
from batch_watchdog.limits.stay_check import StayCheck
from batch_watchdog.limits.stays import Stay
from batch_watchdog.policy.model import TAG_PREFIX
from batch_watchdog.store.decisions import ITEM_ERRORS


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayTags:
    """`alike` has a job for each array that was asked for, with the tags of all its children."""

    batch: BatchApi
    check: StayCheck
    alike: dict[str, JobEvent | None] = field(default_factory=dict)

    def first_looks(self, due: Iterable[Stay]) -> dict[Stay, CheckResult]:
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
            after = self.check.policy.first_due_after(like, stay.status) if like else timedelta()
            known = replace(stay, tags_known=True)
            if after is None:
                looks[stay] = self.check.unlimited(known)
            elif stay.since + after > self.check.now:
                looks[stay] = CheckResult(again_in=stay.since + after - self.check.now, stay=known)
        return looks

    def _alike(self, *details: Detail | None) -> JobEvent | None:
        """The job that has tags for the watchdog, else one without; None where none is whole."""
        jobs = []
        for detail in filter(is_whole, details):
            with suppress(*ITEM_ERRORS):  # It is seen when the children are looked at.
                jobs.append(event_from_detail(detail, self.check.now))
        own = (job for job in jobs if any(name.startswith(TAG_PREFIX) for name in job.tags))
        return next(own, next(iter(jobs), None))
