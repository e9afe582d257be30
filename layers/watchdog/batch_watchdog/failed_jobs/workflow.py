"""Announce a failed job together with the jobs that failed because they depend on it."""

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
from batch_watchdog.store.decisions import ITEM_ERRORS, Outcome, Recorder, halves
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.once import OnceKey, OnceLedger
from batch_watchdog.store.reminders import MINUTE, Reminder, Reminders, minute_from, minute_of
from batch_watchdog.store.table import Table


def reminders(failures: Iterable[JobEvent], now: datetime) -> Iterable[Reminder]:
    """Build the reminders that bring these failures back when their chains may have ended."""
    return chain_items.entries(failures, minute_from(now + chains.QUIET))


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureChainReporter:
    """Announces the chains that are due in a sweep at `now`."""

    table: Table
    batch: BatchApi
    policy: Policy
    now: datetime

    def process(self, due: Collection[JobEvent]) -> None:
        """Announce the chains that these failures form, except those that may go on."""
        later = {event.job_id: event for event in self._filed_ahead()}
        going_on = {
            event.job_id
            for chain in chains.chains([*due, *later.values()])
            if chains.may_go_on(chain, later.keys(), self.now)
            for event in chain.members
        }
        waiting = [event for event in due if event.job_id in going_on]
        Reminders(self.table).file(chain_items.entries(waiting, minute_of(self.now) + MINUTE))
        self._announce([event for event in due if event.job_id not in going_on])

    def _filed_ahead(self) -> Iterable[JobEvent]:
        first, last = minute_of(self.now) + MINUTE, minute_from(self.now + chains.QUIET) + MINUTE
        for entry in Reminders(self.table).between(first, last):
            if entry.kind == "chain":
                yield from chain_items.read(unpack(entry.content))

    def _announce(self, failures: Collection[JobEvent]) -> None:
        """Announce each failure once: with its chain, or later if that was announced before."""
        by_id = {failure.job_id: failure for failure in failures}
        unknown = {job_id for chain in chains.chains(failures) for job_id in _unknown(chain)}
        known = {**self._ask(unknown), **by_id}

        def decide(job_ids: Sequence[str]) -> Outcome:
            entries = {job_id: _once(by_id[job_id]) for job_id in job_ids}
            remembered = OnceLedger(self.table).remembered(
                {each.bucket for each in entries.values()}
            )
            fresh = remembered.fresh(entries)
            found = chains.chains(by_id[job_id] for job_id in job_ids)
            unannounced = (chains.narrowed(chain, fresh) for chain in found)
            notices = tuple(_notice(chain, known) for chain in unannounced if chain.members)
            announce = Announce(notices=notices)
            puts = remembered.puts([entries[job_id] for job_id in fresh], self.now)
            return Outcome(puts=puts, effects=[announce] if notices else [])

        keys = [tuple(by_id)] if by_id else []
        recorder = Recorder(table=self.table, asked_by="sweep")
        recorder.write_each(keys, decide, self.now, halves).raise_failed()

    def _ask(self, job_ids: Iterable[str]) -> Mapping[str, JobEvent]:
        """Return jobs as Batch describes them. If it does not answer, the notices do not wait."""
        try:
            details = self.batch.describe(sorted(job_ids))
            return {
                job_id: event_from_detail(detail, self.now) for job_id, detail in details.items()
            }
        except ITEM_ERRORS:
            return {}


def _unknown(chain: Chain) -> tuple[str, ...]:
    return () if chain.root else chain.blamed


def _once(failure: JobEvent) -> OnceKey:
    return OnceKey(f"chain:{failure.job_id}", failure.at)


def _notice(chain: Chain, known: Mapping[str, JobEvent]) -> Notice:
    if chain.root:
        return failed_job_notices.job_failed(chain.root, chain.followers)
    blamed = [known[job_id] for job_id in chain.blamed if job_id in known]
    failed = next((each for each in blamed if each.status == "FAILED"), None)
    return failed_job_notices.jobs_not_begun(chain.blamed, failed, chain.followers)
