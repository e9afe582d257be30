"""
Record what limits decide about jobs that stay too long, each decision once.

The ledger, the brake's count, the reminder to verify and the actions are one write. The brake
counts a stop when it is recorded, and the stop's result corrects the count. A stop that a hold or
the brake postpones is filed as a reminder of its own kind ("held" or "braked"), so that it can wait
without a call of AWS Batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeIs

from batch_watchdog.aws.batch import Detail
from batch_watchdog.core.effects import Announce, Effect, StopJobs
from batch_watchdog.core.job_event import EPOCH, from_millis
from batch_watchdog.core.payload_parts import shows
from batch_watchdog.limits import brake_items, brake_notices, passing_items, stay_items
from batch_watchdog.limits import notices as limit_notices
from batch_watchdog.limits import rules as limit_rules
from batch_watchdog.limits.notices import OverdueJob
from batch_watchdog.limits.stays import Stay
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.text import iso
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import once as once_keys
from batch_watchdog.store import reminders as reminder_items
from batch_watchdog.store.decisions import Outcome, Recorder, halves
from batch_watchdog.store.reminders import Kind
from batch_watchdog.store.table import Put, Table

# How long until a postponed stop is tried again. During a hold that is each minute, so the stop is
# due as soon as the hold ends.
_POSTPONED_FOR: Mapping[Kind, timedelta] = {
    "held": reminder_items.MINUTE,
    "braked": timedelta(minutes=5),
}

_BUCKETS_MAX = 60  # in one write, with room left for the brake, reminders, tallies and actions

# The fields that rules match; a job without tags is shown with an empty map. A field that is not
# shown might exempt the job. `createdAt` is the time under which the ledger keeps its decisions.
_NAMED_BY = ("jobName", "jobQueue", "status", "tags", "createdAt")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitDecision:
    """One stay, and what is to be announced and done about it, once."""

    case: OverdueJob
    detail: Detail = field(repr=False)
    notice: Notice | None = None
    stop: StopJobs | None = None
    exempts: bool = False  # It has passed its limit, but an operator has exempted it.

    @property
    def name(self) -> str:
        if self.exempts:
            return f"exempted:{self.case.limit.mode}:{self.case.about}"
        announced = self.notice and not (self.stop and self.case.stay.stops)
        stop = f":stop {self.case.stay.stops + 1}" if self.stop else ""
        return (self.notice.id if self.notice and announced else self.case.about) + stop

    @property
    def counts(self) -> bool:
        """Whether the rule's report counts it: with its first stop, or what would be one."""
        passes = self.notice is not None and self.notice.kind == "limit-enforced"
        return self.exempts or (passes and not (self.stop and self.case.stay.stops))

    @property
    def about(self) -> datetime:
        """When the job was created: the same time whenever the decision is made."""
        return from_millis(self.detail.get("createdAt")) or EPOCH

    @property
    def stay_to_verify(self) -> Stay:
        stops = self.case.stay.stops + 1
        return replace(self.case.stay, stops=stops, left_alone=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """
    The result of checking a stay: when to check again, which stay to check then, and decisions.
    """

    again_in: timedelta | None = None
    stay: Stay | None = None
    decisions: tuple[LimitDecision, ...] = ()
    is_renewed: bool = False  # `stay` is a new stay, not the one that was checked
    detail: Detail | None = field(default=None, repr=False)

    @property
    def stops(self) -> bool:
        """Whether the job is to be stopped."""
        return any(each.stop for each in self.decisions)

    @property
    def escalates(self) -> bool:
        """Whether a job that has started in spite of its stop is to be terminated."""
        return any(each.stop.escalates for each in self.decisions if each.stop)

    @property
    def needs_events(self) -> bool:
        """Whether events may show that a decision is about a stay that has ended."""
        return self.rests_on_time or self.is_renewed or self.escalates

    def uncounted(self) -> "CheckResult":
        """Return the same, with stops that the brake does not count: it has counted them before."""
        decisions = tuple(
            replace(each, stop=replace(each.stop, counted=False)) if each.stop else each
            for each in self.decisions
        )
        return replace(self, decisions=decisions)

    def unannounced(self) -> "CheckResult":
        """Return only the stops, without notices: operators have been notified of them before."""
        stops = tuple(replace(each, notice=None) for each in self.decisions if each.stop)
        return replace(self, decisions=stops)

    @property
    def rests_on_time(self) -> bool:
        """Whether a decision depends on how long the stay has lasted."""
        return any(
            not each.stop.escalates if each.stop else not each.case.stay.awaits_stop
            for each in self.decisions
        )


def is_whole(detail: Detail | None) -> TypeIs[Detail]:
    """Check whether Batch shows all fields of a job that rules and the job's own tags need."""
    return detail is not None and not lacks(detail)


def lacks(detail: Detail) -> list[str]:
    """Return the fields that Batch does not show of a job. Service jobs have no definition."""
    names = _NAMED_BY if "serviceJobType" in detail else (*_NAMED_BY, "jobDefinition")
    return [name for name in names if not shows(detail, [name])]


def missed(stay: Stay) -> CheckResult:
    """Check again, a minute later, a job that Batch does not show, or shows only in part."""
    if stay.missed < limit_rules.MISSED_MAX:
        return CheckResult(
            again_in=reminder_items.MINUTE, stay=replace(stay, missed=stay.missed + 1)
        )
    return CheckResult()  # Batch has forgotten the job, days after its end.


def unstoppable(case: OverdueJob, detail: Detail) -> CheckResult:
    """Notify operators that Batch has been asked to stop a job the maximum number of times."""
    announced = LimitDecision(case=case, detail=detail, notice=limit_notices.unstoppable(case))
    return CheckResult(again_in=limit_rules.SETTLED_AGAIN, stay=case.stay, decisions=(announced,))


@dataclass(slots=True, kw_only=True)
class Postponed:
    """
    The stops that the brake has postponed in one sweep, by name.

    `others`: further stops wait for the brake, and this sweep has not checked them.
    """

    names: set[str] = field(default_factory=set)
    others: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRecorder:
    """
    Records decisions at `now`. While the watchdog is `held`, no stop is recorded.

    `postponed` has the stops that the brake has postponed in the whole sweep.
    """

    table: Table
    policy: Policy
    now: datetime
    held: bool = False
    postponed: Postponed = field(default_factory=Postponed)

    def record(self, decisions: Iterable[LimitDecision]) -> list[Exception]:
        """
        Record the decisions that are not recorded yet; file reminders of those that must wait.

        Returns:
            The errors. The jobs that they are about are checked again in the next minute.
        """
        by_name = {decision.name: decision for decision in decisions}
        entries = {name: once_keys.OnceKey(name, each.about) for name, each in by_name.items()}
        postponed: dict[str, LimitDecision] = {}

        def decide(names: Sequence[str]) -> Outcome:
            some = {name: entries[name] for name in names}
            remembered = once_keys.OnceLedger(self.table).remembered(once_keys.by_bucket(some))
            fresh = [by_name[name] for name in remembered.fresh(some)]
            allowed, over, counted = self._allowed(fresh)
            for name in names:
                postponed.pop(name, None)
            postponed.update({decision.name: decision for decision in over})
            puts = remembered.puts([entries[decision.name] for decision in allowed], self.now)
            passed = [each.case for each in allowed if each.counts and not each.exempts]
            exempt = [each.case for each in allowed if each.exempts]
            reported = passing_items.puts(self.table, passed, exempt, self.now)
            return self._outcome(allowed, [*puts, *counted, *reported])

        recorder = Recorder(table=self.table, asked_by="sweep")
        again: list[str] = []
        failed: list[Exception] = []
        for names in once_keys.portions(entries, _BUCKETS_MAX):
            # One portion after the other: each adds its stops to the count that is written.
            written = recorder.write_each([names], decide, self.now, halves)
            again += [name for some in (*written.lost, *written.failed) for name in some]
            failed += written.failed.values()
        self._file(by_name[name] for name in again)
        self._postpone([each for name, each in postponed.items() if name not in again])
        return failed

    def wait_on(self, reminder: reminder_items.Reminder) -> bool:
        """
        File a due reminder again if its stops still can't be made. This needs no call of AWS Batch.

        Returns:
            Whether it must wait longer.
        """
        match reminder.kind:
            case "held":
                waits = self.held
            case "braked":
                most = self.policy.safety.max_stops_per_hour
                waits = self.held or not brake_items.read(self.table, self.now).allowed(1, most)
            case _:
                waits = False
        if waits:
            kind: Kind = "held" if self.held else "braked"
            self.postponed.others |= kind == "braked"
            at = reminder_items.minute_from(self.now + _POSTPONED_FOR[kind])
            again = replace(reminder, minute=at, kind=kind)
            reminder_items.Reminders(self.table).file([again])
        return waits

    def _file(self, decisions: Iterable[LimitDecision]) -> None:
        due = [(self.now, decision.case.stay) for decision in decisions]
        reminder_items.Reminders(self.table).file(stay_items.entries(due, self.now))

    def _postpone(self, decisions: Sequence[LimitDecision]) -> None:
        kind: Kind = "held" if self.held else "braked"
        at = self.now + _POSTPONED_FOR[kind]
        due = [(at, decision.case.stay) for decision in decisions]
        reminder_items.Reminders(self.table).file(stay_items.entries(due, self.now, kind=kind))
        if not self.held:
            self.postponed.names.update(decision.name for decision in decisions)

    def _allowed(
        self, fresh: Sequence[LimitDecision]
    ) -> tuple[Sequence[LimitDecision], Sequence[LimitDecision], Sequence[Put]]:
        """Return decisions that may be recorded now, those that may not, and the brake's writes."""
        if self.held:
            return (
                [each for each in fresh if not each.stop],
                [each for each in fresh if each.stop],
                (),
            )
        stops = [each for each in fresh if each.stop and each.stop.counted]
        if not stops:
            return fresh, (), ()
        read = brake_items.read(self.table, self.now)
        count = read.allowed(len(stops), self.policy.safety.max_stops_per_hour)
        over = {decision.name for decision in stops[count:]}
        return (
            [each for each in fresh if each.name not in over],
            stops[count:],
            [read.put(count, self.now)] if count else [],
        )

    def _outcome(self, decisions: Sequence[LimitDecision], puts: Sequence[Put]) -> Outcome:
        notices = [decision.notice for decision in decisions if decision.notice]
        stopped = [decision for decision in decisions if decision.stop]
        effects: list[Effect] = [decision.stop for decision in stopped if decision.stop]
        effects += [Announce(notices=(notice,)) for notice in notices]
        verify = [
            (self.now + limit_rules.VERIFY_AFTER, decision.stay_to_verify) for decision in stopped
        ]
        reminders = [reminder_items.put(entry) for entry in stay_items.entries(verify, self.now)]
        return Outcome(puts=[*puts, *reminders], effects=effects)

    def tell_postponed(self, *, all_seen: bool) -> list[Exception]:
        """
        Announce, at most once an hour, how many jobs' stops the brake has postponed in this sweep.

        `all_seen` says that the sweep has handled everything that was due.

        Returns:
            The errors.
        """
        count = len(self.postponed.names)
        if not count:
            return []
        name = f"brake:{iso(self.now)[:13]}"
        entry = once_keys.OnceKey(name, self.now.replace(minute=0, second=0, microsecond=0))
        notice = brake_notices.postponed(
            name,
            count,
            self.policy.safety.max_stops_per_hour,
            is_all=all_seen and not self.postponed.others,
        )
        recorder = Recorder(table=self.table, asked_by="sweep")
        return list(recorder.announce_once({entry: notice}, self.now).failed.values())
