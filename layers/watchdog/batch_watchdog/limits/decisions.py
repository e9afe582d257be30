"""
What limits decide about jobs that stay too long: recorded once, and stops counted by the brake.

The ledger, the brake's count, the reminder to verify and the actions are one write. The count is
what is spoken for: the stop's result settles what was stopped. A stop that a hold or the brake
postpones is filed by a kind of its own, so that it can wait on without a call of AWS Batch.
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

# Until a stop that must wait is tried again. What a hold postpones is due as soon as it ends.
_POSTPONED_FOR: Mapping[Kind, timedelta] = {
    "held": reminder_items.MINUTE,
    "braked": timedelta(minutes=5),
}

_BUCKETS_MAX = 60  # in one write; it has room for the brake, reminders, tallies and actions besides

# What rules match. Batch shows the tags of a job that has none, too: as an empty map. What a job
# lacks might exempt it; and by when it was created, what was decided of it is found again.
_NAMED_BY = ("jobName", "jobQueue", "status", "tags", "createdAt")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitDecision:
    """One stay, and what is to be said and done about it, once."""

    case: OverdueJob
    detail: Detail = field(repr=False)
    notice: Notice | None = None
    stop: StopJobs | None = None
    exempts: bool = False  # It has passed its limit, and an operator has exempted it.

    @property
    def name(self) -> str:
        if self.exempts:
            return f"exempted:{self.case.limit.mode}:{self.case.about}"
        told = self.notice and not (self.stop and self.case.stay.stops)
        stop = f":stop {self.case.stay.stops + 1}" if self.stop else ""
        return (self.notice.id if self.notice and told else self.case.about) + stop

    @property
    def counts(self) -> bool:
        """Whether the rule's report counts it: with its first stop, or what would be one."""
        passes = self.notice is not None and self.notice.kind == "limit-enforced"
        return self.exempts or (passes and not (self.stop and self.case.stay.stops))

    @property
    def about(self) -> datetime:
        """When the job was created: the same time whenever this is decided."""
        return from_millis(self.detail.get("createdAt")) or EPOCH

    @property
    def stay_to_verify(self) -> Stay:
        stops = self.case.stay.stops + 1
        return replace(self.case.stay, stops=stops, left_alone=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """
    What a look at a stay showed: when to look again, at which stay, and what is decided.
    """

    again_in: timedelta | None = None
    stay: Stay | None = None
    decisions: tuple[LimitDecision, ...] = ()
    is_renewed: bool = False  # `stay` is another one than was looked at
    detail: Detail | None = field(default=None, repr=False)

    @property
    def stops(self) -> bool:
        """Whether the job is to be stopped."""
        return any(each.stop for each in self.decisions)

    @property
    def escalates(self) -> bool:
        """Whether a job is to be terminated that has started in spite of its stop."""
        return any(each.stop.escalates for each in self.decisions if each.stop)

    @property
    def needs_events(self) -> bool:
        """Whether events may show that what is decided is about a stay that is over."""
        return self.rests_on_time or self.is_renewed or self.escalates

    def uncounted(self) -> "CheckResult":
        """The same, where the brake has counted the stop when it was made before."""
        decisions = tuple(
            replace(each, stop=replace(each.stop, counted=False)) if each.stop else each
            for each in self.decisions
        )
        return replace(self, decisions=decisions)

    def untold(self) -> "CheckResult":
        """The same, where operators know of the stop."""
        stops = tuple(replace(each, notice=None) for each in self.decisions if each.stop)
        return replace(self, decisions=stops)

    @property
    def rests_on_time(self) -> bool:
        """Whether something is decided because the stay has lasted so long."""
        return any(
            not each.stop.escalates if each.stop else not each.case.stay.awaits_stop
            for each in self.decisions
        )


def is_whole(detail: Detail | None) -> TypeIs[Detail]:
    """Whether Batch shows all of a job that rules and its own tags are about."""
    return detail is not None and not lacks(detail)


def lacks(detail: Detail) -> list[str]:
    """What Batch does not show of a job that it shows in part. Service jobs have no definition."""
    names = _NAMED_BY if "serviceJobType" in detail else (*_NAMED_BY, "jobDefinition")
    return [name for name in names if not shows(detail, [name])]


def missed(stay: Stay) -> CheckResult:
    """Of a job that Batch does not show, or not whole: it may do so a minute later."""
    if stay.missed < limit_rules.MISSED_MAX:
        return CheckResult(
            again_in=reminder_items.MINUTE, stay=replace(stay, missed=stay.missed + 1)
        )
    return CheckResult()  # Batch has forgotten the job, days after its end.


def unstoppable(case: OverdueJob, detail: Detail) -> CheckResult:
    """Of a job that Batch has been asked to stop as often as it may be: operators are told."""
    told = LimitDecision(case=case, detail=detail, notice=limit_notices.unstoppable(case))
    return CheckResult(again_in=limit_rules.OBSERVED_AGAIN, stay=case.stay, decisions=(told,))


@dataclass(slots=True, kw_only=True)
class Postponed:
    """
    The stops from which the brake has kept one sweep, by name.

    `others`: more wait for the brake, at which this sweep has not looked.
    """

    names: set[str] = field(default_factory=set)
    others: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRecorder:
    """
    Records decisions at `now`. While the watchdog is `held`, no stop is recorded.

    `postponed` has what the brake has kept the whole sweep from stopping.
    """

    table: Table
    policy: Policy
    now: datetime
    held: bool = False
    postponed: Postponed = field(default_factory=Postponed)

    def record(self, decisions: Iterable[LimitDecision]) -> list[Exception]:
        """
        Record those decisions that nobody has recorded; file those that must wait.

        Returns:
            What went wrong. The jobs that it is about are looked at again in the next minute.
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
            # One after the other: each counts its stops on top of those that are written.
            written = recorder.write_each([names], decide, self.now, halves)
            again += [name for some in (*written.lost, *written.failed) for name in some]
            failed += written.failed.values()
        self._file(by_name[name] for name in again)
        self._postpone([each for name, each in postponed.items() if name not in again])
        return failed

    def wait_on(self, reminder: reminder_items.Reminder) -> bool:
        """
        File again what is due and must wait on, as long as its stops can't be made.

        Returns:
            Whether it must wait on. It costs no call of AWS Batch.
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
        """Which decisions may be recorded now, which may not, and how the brake counts them."""
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
        Tell, once an hour, how many jobs the brake has kept the sweep from stopping.

        `all_seen` says that the sweep has come to the end of what was due.

        Returns:
            What went wrong.
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
