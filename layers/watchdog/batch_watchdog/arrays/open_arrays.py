"""Compare the arrays that are not announced yet with what AWS Batch answers about them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import batched

from batch_watchdog.arrays.items import Arrays
from batch_watchdog.arrays.progress import Array
from batch_watchdog.arrays.workflow import ArrayTracker, reminder
from batch_watchdog.aws.batch import DESCRIBE_MAX, BatchApi, Detail
from batch_watchdog.policy.model import Policy
from batch_watchdog.store.decisions import ITEM_ERRORS, Outcome, Recorder
from batch_watchdog.store.reminders import Reminders
from batch_watchdog.store.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenArrayChecker:
    """
    Checks the open arrays of a sweep at `now`. `held`: an operator holds all stops.

    `seen` is called with the arrays as they are stored, and as AWS Batch describes them.
    """

    table: Table
    batch: BatchApi
    policy: Policy
    held: bool
    now: datetime
    clock: Callable[[], datetime]
    out_of_time: Callable[[], bool]
    seen: Callable[[Mapping[str, Array], Mapping[str, Detail]], object] = lambda *_: None

    def process(self, job_ids: Iterable[str]) -> list[Exception]:
        """
        Ask Batch about each open array, and file a reminder to ask again in the next minute.

        Returns the errors that prevented a decision about some of them.
        """
        heads = Arrays(self.table).heads(job_ids)
        open_ids = sorted(job_id for job_id, array in heads.items() if not array.announced)
        if not open_ids:
            return []
        # First the reminders for the next minute, then the decisions: a crash in between repeats
        # the check, and the other order could lose it.
        Reminders(self.table).file([reminder(open_ids, self.now)])
        details: dict[str, Detail] = {}
        asked: list[str] = []
        failed: list[Exception] = []
        for some in batched(open_ids, DESCRIBE_MAX, strict=False):
            if asked and self.out_of_time():
                break
            try:
                details |= self.batch.describe(some)
            except ITEM_ERRORS as error:
                failed.append(error)
            else:
                asked += some
        self.seen(heads, details)
        # An answer is valid for the time at which it arrived, not for the minute of the sweep.
        answered_at = self.clock()
        tracker = ArrayTracker(
            table=self.table, batch=self.batch, policy=self.policy, held=self.held
        )

        def decide(job_id: str) -> Outcome:
            if job_id != asked[0] and self.out_of_time():
                return Outcome()  # It has its reminder.
            return tracker.ask(job_id, details.get(job_id), answered_at)

        recorder = Recorder(table=self.table, asked_by="sweep")
        # A stop is found again by the time that its array keeps: that of the decision.
        written = recorder.write_each(asked, decide, answered_at)
        return [*failed, *written.failed.values()]
