"""Find the outcomes of jobs that have passed a limit, and report them once a week."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from batch_watchdog.aws.batch import BatchApi, Detail, one_call_each
from batch_watchdog.budgets.amounts import NOTHING, Amounts, amounts_of
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.budgets.runs import runs_of
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import Announce
from batch_watchdog.core.job_event import ENDED
from batch_watchdog.core.payload_parts import shows_its_attempts
from batch_watchdog.policy.model import Policy
from batch_watchdog.rule_reports import follow_items, tally_items
from batch_watchdog.rule_reports.followed import End, FollowedJob, end_of
from batch_watchdog.rule_reports.notices import weekly
from batch_watchdog.rule_reports.rules import (
    Span,
    answer,
    first_before,
    limits_of,
    reports,
    unpassed,
    weeks_before,
)
from batch_watchdog.rule_reports.tally import Tallies
from batch_watchdog.rule_reports.tally_items import LastReport, week_of
from batch_watchdog.store.decisions import ITEM_ERRORS, Outcome, Recorder, halves
from batch_watchdog.store.once import OnceKey, OnceLedger, by_bucket, portions
from batch_watchdog.store.reminders import Reminders
from batch_watchdog.store.table import Table

AGAIN = follow_items.CHECK_EVERY
MISSED_MAX = 5  # checks in a row of a job that Batch does not show, or not in full

_BUCKETS_MAX = 60  # in one write; it has room for the tallies of some limits


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """Checks followed jobs at `now`. `failed` has the errors of what is to be done again."""

    table: Table
    batch: BatchApi
    now: datetime
    out_of_time: Callable[[], bool]
    failed: list[Exception] = field(default_factory=list)

    def check(self, jobs: Sequence[FollowedJob]) -> int:
        """
        Count the ends of these jobs; file another check of those that are still open.

        Returns:
            How many of the jobs, from the first on, were checked before the time was up: at least
            one, if there are any.
        """
        ends: dict[FollowedJob, tuple[End, Amounts]] = {}
        later: dict[FollowedJob, datetime] = {}
        done = 0
        for some, service in one_call_each(jobs, lambda job: job.service, self.out_of_time):
            done += len(some)
            for job, detail in self._shown(some, service=service):
                if not _is_whole(detail) and job.missed < MISSED_MAX:
                    later[replace(job, missed=job.missed + 1)] = self.now
                    continue
                try:
                    end = self._end(job, detail)
                except ITEM_ERRORS as error:
                    self.failed.append(error)
                    later[job] = self.now
                    continue
                if end:
                    ends[job] = end, amounts_of(detail) if detail else NOTHING
                else:
                    later[replace(job, missed=0)] = self.now + AGAIN
        # Reminders first: a crash in between repeats a check, and loses none.
        self._file(later)
        self._count(ends)
        return done

    def _shown(
        self, some: Sequence[FollowedJob], *, service: bool
    ) -> Iterator[tuple[FollowedJob, Detail | None]]:
        """Yield jobs with what Batch shows of them. If the call fails, file them again."""
        describe = self.batch.describe_service if service else self.batch.describe
        try:
            details = describe(dict.fromkeys(job.job_id for job in some))
        except ITEM_ERRORS as error:
            self.failed.append(error)
            self._file(dict.fromkeys(some, self.now))
        else:
            yield from ((job, details.get(job.job_id)) for job in some)

    def _end(self, job: FollowedJob, detail: Detail | None) -> End | None:
        if detail is None:
            return End(how="unknown", at=self.now)
        event = event_from_detail(detail, self.now)
        return end_of(job, event, runs_of(detail, to_ms(self.now)), self.now)

    def _file(self, later: Mapping[FollowedJob, datetime]) -> None:
        by_time: dict[datetime, list[FollowedJob]] = {}
        for job, at in later.items():
            by_time.setdefault(at, []).append(job)
        for at, jobs in by_time.items():
            Reminders(self.table).file(follow_items.entries(jobs, at))

    def _count(self, ends: Mapping[FollowedJob, tuple[End, Amounts]]) -> None:
        """Count each end once, in the week in which the job passed its limit."""
        entries = {job: OnceKey(job.once, job.decided_at) for job in ends}

        def decide(jobs: Sequence[FollowedJob]) -> Outcome:
            some = {job: entries[job] for job in jobs}
            remembered = OnceLedger(self.table).remembered(by_bucket(some))
            fresh = remembered.fresh(some)
            return Outcome(
                puts=[
                    *remembered.puts([entries[job] for job in fresh], self.now),
                    *self._tallies({job: ends[job] for job in fresh}),
                ]
            )

        recorder = Recorder(table=self.table, asked_by="sweep")
        for some in portions(entries, _BUCKETS_MAX):
            # One portion after the other: each adds to the tallies that are written.
            written = recorder.write_each([some], decide, self.now, halves)
            again = [job for jobs in (*written.lost, *written.failed) for job in jobs]
            self.failed.extend(written.failed.values())
            self._file(dict.fromkeys(again, self.now))

    def _tallies(self, ends: Mapping[FollowedJob, tuple[End, Amounts]]) -> Iterator[Any]:
        for week in {week_of(job.decided_at) for job in ends}:
            some = {job: end for job, end in ends.items() if week_of(job.decided_at) == week}
            kept = tally_items.read(self.table, week, {job.key for job in some})
            tallies = {key: each.tally for key, each in kept.items()}
            for job, (end, amounts) in some.items():
                tallies[job.key] = tallies[job.key].with_end(end, job, amounts)
            yield from (each.put(week, tallies[key], self.now) for key, each in kept.items())


def _is_whole(detail: Detail | None) -> bool:
    """Whether Batch shows a job and, if the job has ended, whether it had run."""
    if detail is None:
        return False
    return detail.get("status") not in ENDED or shows_its_attempts(detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeeklyReport:
    """Reports at `now` the week that is over, unless done; and answers what is known so far."""

    table: Table
    policy: Policy
    now: datetime
    failed: list[Exception] = field(default_factory=list)

    def process(self) -> None:
        """
        Report the week that is over, once. Limits that no job has passed are only named.

        When the policy changes, the time since which it has each limit is kept as well. If the
        write fails, `failed` has the error, and the next sweep tries again.
        """
        week = week_of(self.now)
        if self._is_done(tally_items.read_last(self.table), week):
            return

        def decide(_: str) -> Outcome:
            known = tally_items.read_last(self.table)
            if self._is_done(known, week):
                return Outcome()
            last = known or LastReport(week=week)
            if self.policy.readable:
                last = last.with_policy(self.policy.version, limits_of(self.policy), self.now)
            notice = self._notice(last) if last.week < week else None
            effects = [Announce(notices=(notice,))] if notice else []
            put = tally_items.put_last(replace(last, week=max(week, last.week)))
            return Outcome(puts=[put], effects=effects)

        recorder = Recorder(table=self.table, asked_by="sweep")
        written = recorder.write_each(["rule report"], decide, self.now)
        self.failed.extend(written.failed.values())

    def _is_done(self, last: LastReport | None, week: date) -> bool:
        """Whether there is nothing to report, and nothing to keep about the policy."""
        # The limits of a policy that cannot be read are unknown.
        is_kept = last is not None and last.policy == self.policy.version
        return last is not None and last.week >= week and (is_kept or not self.policy.readable)

    def _notice(self, last: LastReport) -> Any:
        over = week_of(self.now) - tally_items.WEEK
        weeks, span = weeks_before(over, self._of_week), self._span(over, last)
        found = reports(weeks[0], weeks, span)
        return weekly(over, found, unpassed(self.policy, found, span)) if found else None

    def answer(self) -> Mapping[str, Any]:
        """Return what the limits have done this week so far, and in four weeks including it."""
        week = week_of(self.now)
        last = tally_items.read_last(self.table) or LastReport(week=week)
        return answer(self.policy, week, self._of_week, self._span(week, last))

    def _span(self, week: date, last: LastReport) -> Span:
        return Span(first=first_before(week), now=self.now, has=last.has)

    def _of_week(self, week: Any) -> Tallies:
        return tally_items.of_week(self.table, week)
