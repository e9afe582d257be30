"""Stop jobs that arrive in the scope of a guard while one of its stages is on."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.core.effects import StopJobs
from batch_watchdog.core.job_event import ENDED, STARTED, WAITING, JobEvent
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import precedence
from batch_watchdog.guards.state import GuardState, StageEntry
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.guards.stop_run import run as stop_run
from batch_watchdog.guards.stop_run.run import Chunk
from batch_watchdog.policy.child_tags import with_tags
from batch_watchdog.policy.model import Policy
from batch_watchdog.store import once as once_keys
from batch_watchdog.store import operator_hold
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.table import Table

# In the order in which a job passes through them. It may pass several in one second.
_STATES = (*WAITING, *STARTED, *ENDED)


@dataclass(frozen=True, slots=True)
class _Stop:
    """A job that has arrived, and the guard's entry for which it is stopped."""

    event: JobEvent
    guard: str
    entry: StageEntry

    @property
    def name(self) -> str:
        """Return the key that is decided once: this stay of the job, for this entry of a stage."""
        event = self.event
        stay = f"{event.job_id}:{event.attempts}:{event.status}"
        return f"guard-stop:{self.entry.run_id}:{stay}"

    @property
    def together(self) -> tuple[str, bool]:
        """Return what the jobs of one stop share: the run, and whether they are service jobs."""
        return self.entry.run_id, self.event.kind == "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalStopper:
    """Applies the guards to the job events of one batch of messages."""

    table: Table
    batch: BatchApi
    policy: Policy
    now: datetime

    def handle(self, events: Mapping[str, JobEvent]) -> list[str]:
        """
        Stop jobs that wait, or at `terminate` have started, in the scope of a stage that is on.

        `events` are job events by message id. While all guards are calm, one query is made. If
        the policy has no guards, nothing is read.

        Returns:
            The ids of the messages that lost a race with another write. They must be delivered
            again.
        """
        stops = dict(self._stops(events))
        entries = {key: once_keys.OnceKey(stop.name, stop.event.at) for key, stop in stops.items()}

        def decide(fresh: Sequence[str]) -> Outcome:
            return self._outcome([stops[key] for key in fresh])

        written = Recorder(table=self.table, asked_by="job_events").once(entries, decide, self.now)
        written.raise_failed()
        return list(written.lost)

    def _stops(self, events: Mapping[str, JobEvent]) -> Iterator[tuple[str, _Stop]]:
        if not self.policy.guard:
            return
        states = guard_items.read_all(self.table)
        if (
            not any(state.entry for state in states.values())
            or operator_hold.read(self.table).is_on
        ):
            return
        arrived = {
            key: event
            for key, event in _latest(events).items()
            if event.status in (*WAITING, *STARTED) and event.kind != "node"
        }
        found = dict(self._matching(states, self._with_tags(states, arrived)))
        stopped_arrays = {
            stop.event.job_id for stop in found.values() if stop.event.kind == "array"
        }
        service_ids = [s.event.job_id for s in found.values() if self._may_have_started(s)]
        now_at = self.batch.describe_service(service_ids)
        for key, stop in found.items():
            if stop.event.parent_id in stopped_arrays:
                continue  # The stop of its array stops it too; the run checks that later.
            if self._may_have_started(stop):
                status = str(now_at.get(stop.event.job_id, {}).get("status"))
                if not precedence.must_stop(status, stop.entry.stage):
                    continue
            yield key, stop

    @staticmethod
    def _may_have_started(stop: _Stop) -> bool:
        """
        Check whether a late stop would end a job that has started and is allowed to finish.

        There is only one way to stop a service job, and it also ends a job that has started. Other
        jobs are cancelled, and a cancel does not affect jobs that have started.
        """
        return stop.event.kind == "service" and stop.entry.stage == "cancel"

    def _matching(
        self, states: Mapping[str, GuardState], events: Mapping[str, JobEvent]
    ) -> Iterator[tuple[str, _Stop]]:
        for key, event in events.items():
            held = precedence.stopping(states, self.policy, event, event.status, self.now)
            entry = states[held.guard].entry if held else None
            # The stop run finds jobs from before the stage, whenever their events arrive.
            if held and held.mode == "enforce" and entry and event.at >= _second(entry.since):
                yield key, _Stop(event, held.guard, entry)

    def _with_tags(
        self, states: Mapping[str, GuardState], events: Mapping[str, JobEvent]
    ) -> dict[str, JobEvent]:
        """Return the job events, with the jobs' tags where the decision depends on them."""
        tagged = with_tags(
            list(events.values()),
            lambda event: precedence.asks_for_tags(states, self.policy, event),
            self.batch.describe,
            self.batch.describe_service,
        )
        return dict(zip(events, tagged, strict=True))

    def _outcome(self, stops: Sequence[_Stop]) -> Outcome:
        together: dict[tuple[str, bool], list[_Stop]] = defaultdict(list)
        for stop in stops:
            together[stop.together].append(stop)
        chunks = {key: self._chunk(some) for key, some in together.items()}
        arrivals = [
            run_items.put_arrivals(run_id, [stop.name for stop in together[run_id, service]], chunk)
            for (run_id, service), chunk in chunks.items()
        ]
        effects = [
            StopJobs(
                how=chunk.how,
                job_ids=chunk.stop,
                reason=chunk.reason,
                rule=chunk.rule,
                service=chunk.service,
                guard=together[key][0].guard,
                run_id=key[0],
            )
            for key, chunk in chunks.items()
        ]
        return Outcome(puts=arrivals, effects=effects)

    def _chunk(self, stops: Sequence[_Stop]) -> Chunk:
        first = stops[0]
        ids = tuple(dict.fromkeys(stop.event.job_id for stop in stops))
        return Chunk(
            at=self.now,
            how=first.entry.stage,
            reason=stop_run.stop_reason(first.guard, first.entry),
            rule=f'guard "{first.guard}"',
            service=first.event.kind == "service",
            stop=ids,
            arrays=dict(filter(None, map(_counted, stops))),
            failed_before={
                each.event.job_id: each.event.summary.get("FAILED", 0)
                for each in stops
                if each.event.kind == "array"
            },
            asked=len(ids),
            arrived=True,
        )


def _second(at: datetime) -> datetime:
    return at.replace(microsecond=0)  # Events have times to the second.


def _counted(stop: _Stop) -> tuple[str, tuple[int, int]] | None:
    """Return an array's id, with its numbers of waiting and started children; else None."""
    event = stop.event
    described = {"arrayProperties": {"size": event.size, "statusSummary": event.summary}}
    counts = stop_run.children(described)
    return (event.job_id, counts) if counts else None


def _latest(events: Mapping[str, JobEvent]) -> dict[str, JobEvent]:
    """Keep the last job event of each job: one stop is enough, and an ended job needs none."""
    by_job: dict[str, tuple[str, JobEvent]] = {}
    for key, event in events.items():
        known = by_job.get(event.job_id)
        if known is None or _order(known[1]) <= _order(event):
            by_job[event.job_id] = key, event
    return dict(by_job.values())


def _order(event: JobEvent) -> tuple[datetime, int, int]:
    rank = _STATES.index(event.status) if event.status in _STATES else 0
    return event.at, event.attempts, rank
