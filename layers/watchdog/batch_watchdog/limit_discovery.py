"""Jobs that are under a limit, and of which no event has told: a list of all jobs finds them."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import batched

from batch_watchdog import limits
from batch_watchdog.batch_api import BatchApi, Detail, kinds_of
from batch_watchdog.changes import Change, change_of, from_millis
from batch_watchdog.limits import Stay
from batch_watchdog.policy import LIMITED, Policy
from batch_watchdog.store import stays, wheel
from batch_watchdog.store.table import Table

_STAYS_MAX = 1_000  # looked at in one go


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The listing of a sweep at `now`."""

    table: Table
    batch: BatchApi
    policy: Policy
    now: datetime

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
