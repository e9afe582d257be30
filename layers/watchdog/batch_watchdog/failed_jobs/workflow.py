"""Announce a failed job together with the jobs that failed because they depend on it."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import Announce
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.failed_jobs import chains
from batch_watchdog.failed_jobs import items as chain_items
from batch_watchdog.failed_jobs import notices as failed_job_notices
from batch_watchdog.failed_jobs.chains import Chain
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import ITEM_ERRORS, Outcome, Recorder
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.once import OnceKey as Once
from batch_watchdog.store.once import OnceLedger, by_bucket
from batch_watchdog.store.reminders import MINUTE, Reminder, Reminders, minute_from, minute_of
from batch_watchdog.store.table import Key, Table


def reminders(failures: Iterable[JobEvent], now: datetime) -> Iterable[Reminder]:
    """The entries that keep these failures back until their chains may have come to an end."""
    return chain_items.entries(failures, minute_from(now + chains.QUIET))


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureChainReporter:
    """The chains of a sweep at `now`."""

    table: Table
    batch: BatchApi
    policy: Policy
    now: datetime

    def see_to(self, due: Collection[JobEvent]) -> None:
        """Tell the chains that these failures form, but for those that still go on."""
        later = {change.job_id: change for change in self._filed_ahead()}
        going_on = {
            change.job_id
            for chain in chains.chains([*due, *later.values()])
            if chains.may_go_on(chain, later.keys(), self.now)
            for change in chain.members
        }
        waiting = [change for change in due if change.job_id in going_on]
        Reminders(self.table).file(chain_items.entries(waiting, minute_of(self.now) + MINUTE))
        self._tell(chains.chains(change for change in due if change.job_id not in going_on))

    def _filed_ahead(self) -> Iterable[JobEvent]:
        first, last = minute_of(self.now) + MINUTE, minute_from(self.now + chains.QUIET) + MINUTE
        for entry in Reminders(self.table).between(first, last):
            if entry.kind == "chain":
                yield from chain_items.read(unpack(entry.content))

    def _tell(self, found: Sequence[Chain]) -> None:
        known = self._ask({job_id for chain in found for job_id in _unknown(chain)})
        buckets = by_bucket({number: _once(chain) for number, chain in enumerate(found)})

        def decide(bucket: Key) -> Outcome:
            fresh, puts = OnceLedger(self.table).new(bucket, buckets[bucket], self.now)
            notices = tuple(_notice(found[number], known) for number in fresh)
            announce = Announce(notices=notices, digest_over=self.policy.notify.digest_over)
            return Outcome(puts=puts, effects=[announce] if notices else [])

        Recorder(table=self.table, asked_by="sweep").decide(buckets, decide, self.now)

    def _ask(self, job_ids: Iterable[str]) -> Mapping[str, JobEvent]:
        """What Batch knows of jobs. Should it not answer, the news does not wait for it."""
        try:
            details = self.batch.describe(sorted(job_ids))
            return {
                job_id: event_from_detail(detail, self.now) for job_id, detail in details.items()
            }
        except ITEM_ERRORS:
            return {}


def _unknown(chain: Chain) -> tuple[str, ...]:
    return () if chain.root else chain.blamed


def _once(chain: Chain) -> Once:
    """A chain is told once as it is. Should more of it be found after a crash, it is told again."""
    first = min(chain.members, key=lambda each: each.at)
    ids = "\n".join(sorted(each.job_id for each in chain.members))
    digest = hashlib.sha256(ids.encode("utf-8", "replace")).hexdigest()
    return Once(f"chain:{digest}", first.at)


def _notice(chain: Chain, known: Mapping[str, JobEvent]) -> Notice:
    if chain.root:
        return failed_job_notices.job_failed(chain.root, chain.followers)
    blamed = [known[job_id] for job_id in chain.blamed if job_id in known]
    failed = next((each for each in blamed if each.status == "FAILED"), None)
    return failed_job_notices.jobs_not_begun(chain.blamed, failed, chain.followers)
