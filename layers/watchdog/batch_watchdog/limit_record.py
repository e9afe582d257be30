"""What limits decide about jobs that stay too long, recorded once: stops, notices, the brake."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batch_watchdog import limits
from batch_watchdog.batch_api import Detail
from batch_watchdog.changes import EPOCH, from_millis
from batch_watchdog.effects import Announce, Effect, StopJobs
from batch_watchdog.limits import Case, Stay
from batch_watchdog.notices import Notice, iso, subject
from batch_watchdog.policy import Policy
from batch_watchdog.recorder import Outcome, Recorder
from batch_watchdog.store import brake, ledger, stays, wheel
from batch_watchdog.store.table import Key, Put, Table

_HELD = timedelta(minutes=5)  # until a stop that the brake held is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One stay, and what is to be said and done about it, once."""

    case: Case
    detail: Detail = field(repr=False)
    notice: Notice | None = None
    stop: StopJobs | None = None

    @property
    def name(self) -> str:
        stop = f":stop {self.case.stay.stops + 1}" if self.stop else ""
        return (self.notice.id if self.notice else self.case.about) + stop

    @property
    def about(self) -> datetime:
        """When the job was created: the same time whenever this is decided."""
        return from_millis(self.detail.get("createdAt")) or EPOCH

    @property
    def stay_to_verify(self) -> Stay:
        return replace(self.case.stay, status=self.case.job.status, stops=self.case.stay.stops + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRecorder:
    """Records decisions at `now`. While the watchdog is `held`, no stop is recorded."""

    table: Table
    policy: Policy
    now: datetime
    held: bool = False

    def record(self, decisions: Iterable[Decision]) -> None:
        by_name = {decision.name: decision for decision in decisions}
        buckets = ledger.by_bucket(
            {name: ledger.Entry(name, decision.about) for name, decision in by_name.items()}
        )
        held: dict[str, Decision] = {}

        def decide(bucket: Key) -> Outcome:
            entries = buckets[bucket]
            fresh, _ = ledger.Ledger(self.table).new(bucket, entries, self.now)
            allowed, over = self._allowed([by_name[name] for name in fresh])
            held.update({decision.name: decision for decision in over})
            names = {decision.name: entries[decision.name] for decision in allowed}
            _, puts = ledger.Ledger(self.table).new(bucket, names, self.now)
            return self._outcome(allowed, puts)

        recorder = Recorder(table=self.table, asked_by="sweep")
        lost = recorder.decide(buckets, decide, self.now)
        later = [decision for bucket in lost for decision in map(by_name.get, buckets[bucket])]
        again = [(self.now, each.case.stay) for each in later if each]
        held_until = self.now if self.held else self.now + _HELD  # at the soonest: the next sweep
        again += [(held_until, decision.case.stay) for decision in held.values()]
        wheel.Wheel(self.table).file(stays.entries(again, self.now))
        if held and not self.held:
            self._tell_held(len(held))

    def _allowed(self, fresh: Sequence[Decision]) -> tuple[list[Decision], list[Decision]]:
        if self.held:
            return [each for each in fresh if not each.stop], [each for each in fresh if each.stop]
        stops = [decision for decision in fresh if decision.stop and not decision.case.stay.stops]
        others = [decision for decision in fresh if decision not in stops]
        most = self.policy.safety.max_stops_per_hour
        count = brake.reserve(self.table, len(stops), most, self.now) if stops else 0
        return others + stops[:count], stops[count:]

    def _outcome(self, decisions: Sequence[Decision], puts: Sequence[Put]) -> Outcome:
        over = self.policy.notify.digest_over
        notices = [decision.notice for decision in decisions if decision.notice]
        stopped = [decision for decision in decisions if decision.stop]
        effects: list[Effect] = [decision.stop for decision in stopped if decision.stop]
        effects += [Announce(notices=(notice,), digest_over=over) for notice in notices]
        verify = [(self.now + limits.VERIFY_AFTER, decision.stay_to_verify) for decision in stopped]
        reminders = [wheel.put(entry) for entry in stays.entries(verify, self.now)]
        return Outcome(puts=[*puts, *reminders], effects=effects)

    def _tell_held(self, count: int) -> None:
        name = f"brake:{iso(self.now)[:13]}"
        entry = ledger.Entry(name, self.now.replace(minute=0, second=0, microsecond=0))
        most = self.policy.safety.max_stops_per_hour
        notice = Notice(
            kind="watchdog-trouble",
            id=f"watchdog-trouble:{name}",
            severity="critical",
            subject=subject(f"Brake: {count} jobs over their limit are not stopped"),
            text="\n".join(
                [
                    f"{count} jobs have passed their limits and are not stopped, because limits",
                    f"have stopped {most} jobs within an hour: that is the most that the policy",
                    "allows (safety.max_stops_per_hour).",
                    "",
                    "If so many are to be stopped, raise that number. If not, correct the limits.",
                    "The jobs are tried again every five minutes.",
                ]
            ),
            facts={"held": count, "max_stops_per_hour": most},
        )

        def decide(bucket: Key) -> Outcome:
            fresh, puts = ledger.Ledger(self.table).new(bucket, {name: entry}, self.now)
            return Outcome(puts=puts, effects=[Announce(notices=(notice,))] if fresh else [])

        Recorder(table=self.table, asked_by="sweep").decide([entry.bucket], decide, self.now)
