"""First checks of the children of arrays: one child, with its array's tags, represents all."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from batch_watchdog.aws.batch import Detail
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.job_event import JobEvent, array_child
from batch_watchdog.limits.decisions import CheckResult, is_whole
from batch_watchdog.limits.stay_check import StayCheck
from batch_watchdog.limits.stays import Stay
from batch_watchdog.policy.child_tags import TaggedJobs
from batch_watchdog.store.decisions import ITEM_ERRORS


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstChecks:
    """First checks of children, by what `jobs` shows; `alike` has a child of each array, if any."""

    jobs: TaggedJobs
    check: StayCheck
    alike: dict[str, JobEvent | None]

    def of_children(self, due: Iterable[Stay]) -> dict[Stay, CheckResult]:
        """
        Check children of arrays for the first time, where their tags show that nothing is due yet.

        The children of one array differ only in their index. So the array, and one of its children,
        are described once for all. A child for which something is due, and each other job, is
        left out of the result, and must be described itself.
        """
        first = [stay for stay in due if not stay.tags_known and array_child(stay.job_id)]
        asked = {_array_of(stay): stay.job_id for stay in reversed(first)}
        asked = {array: child for array, child in asked.items() if array not in self.alike}
        details = self.jobs.described(asked.values()) if asked else {}
        for array, child in asked.items():
            self.alike[array] = self._read(details.get(child))
        results = {}
        for stay in first:
            like = self.alike[_array_of(stay)]
            after = self.check.policy.first_due_after(like, stay.status) if like else timedelta()
            known = replace(stay, tags_known=True)
            if after is None:
                results[stay] = self.check.unlimited(known)
            elif stay.since + after > self.check.now:
                results[stay] = CheckResult(
                    again_in=stay.since + after - self.check.now, stay=known
                )
        return results

    def _read(self, detail: Detail | None) -> JobEvent | None:
        """Return a child as rules see it; None where Batch does not show the whole child."""
        if is_whole(detail):
            with suppress(*ITEM_ERRORS):  # The error shows again when the children are result.
                return event_from_detail(detail, self.check.now)
        return None


def _array_of(stay: Stay) -> str:
    return stay.job_id.rpartition(":")[0]
