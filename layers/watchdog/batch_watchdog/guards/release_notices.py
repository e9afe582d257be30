"""Build the notice that a guard is calm again, with all that it did since it was last calm."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch_watchdog.guards.notices import SHOWN_MAX, facts_of, listed, listed_queues, queue_facts
from batch_watchdog.guards.state import StageEntry
from batch_watchdog.guards.stop_run.counts import StageReport, counts_of, rows, why_refused
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Name, Phrase, counted, lines, row, say, subject
from batch_watchdog.notices.text import fact, iso, plain
from batch_watchdog.policy.tables import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFacts:
    """
    How a guard became calm.

    `stages` are all its stages since it was last calm; the last is the one that it left now.
    Of the queues that it was to close, `opens` are to be reopened now (or after the hold, if an
    operator holds the watchdog: `is_held`), and `leaves_closed` cannot be reopened yet. Both may
    include queues that were `never_closed`. `still_in_alarm` are its alarms that are in ALARM, as
    far as is known.
    """

    at: datetime
    mode: Mode
    why: str
    by: str = ""
    opens: tuple[str, ...] = ()
    leaves_closed: tuple[str, ...] = ()
    never_closed: Collection[str] = ()
    is_held: bool = False
    still_in_alarm: tuple[str, ...] = ()
    stages: tuple[StageReport, ...] = ()

    @property
    def reopened(self) -> tuple[str, ...]:
        return () if self.is_held else self._that_were_closed(self.opens)

    @property
    def on_resume(self) -> tuple[str, ...]:
        return self._that_were_closed(self.opens) if self.is_held else ()

    @property
    def still_closed(self) -> tuple[str, ...]:
        return self._that_were_closed(self.leaves_closed)

    @property
    def stayed_open(self) -> tuple[str, ...]:
        every = (*self.opens, *self.leaves_closed)
        return tuple(queue for queue in every if queue in self.never_closed)

    def _that_were_closed(self, queues: Iterable[str]) -> tuple[str, ...]:
        return tuple(queue for queue in queues if queue not in self.never_closed)


def released(guard: str, entry: StageEntry, release: ReleaseFacts) -> Notice:
    """Build the notice that the guard is calm again; `entry` is the stage that it left."""
    name = Name(plain(guard, 64))
    first = min((each.entry.since for each in release.stages), default=entry.since)
    of_mode = [each.tally for each in release.stages if each.entry.mode == entry.mode]
    cancelled = sum(each.cancelled for each in of_mode)
    terminated = sum(each.terminated for each in of_mode)
    parts = {
        "guard": name,
        "lasted": release.at - first,
        "jobs": counted(cancelled + terminated, "{n} job", "{n} jobs"),
    }
    body: list[str] = [
        say(
            "The guard {guard} went from {stage} to calm at {at}, after {lasted} in all.",
            stage=entry.stage,
            at=release.at,
            **parts,
        ),
        "",
        say("Why: {why}", why=release.why),
        "",
        say("What it did, stage by stage:"),
        *(line for each in release.stages for line in _stage_lines(each)),
        "",
        *_queue_lines(release),
    ]
    if release.still_closed and release.mode == "enforce":
        body.append(
            say(
                "Still closed: {queues} (another guard holds them, or they follow within minutes).",
                queues=listed_queues(release.still_closed),
            )
        )
    elif release.still_closed:
        body.append(
            say(
                "Still closed: {queues} (this guard observes now, and opens nothing).",
                queues=listed_queues(release.still_closed),
            )
        )
    body += [
        "",
        say("What next:"),
        say("- What was stopped is not submitted again: its owners can do that."),
    ]
    if release.still_in_alarm:
        body.append(
            say(
                "- Still in ALARM, as far as is known: {alarms}. The guard is raised again when an "
                "alarm goes into ALARM anew.",
                alarms=listed(release.still_in_alarm, "and"),
            )
        )
    return Notice(
        kind="guard-released",
        id=f"guard-released:{entry.run_id}",
        severity="info",
        subject=subject("Guard {guard}: released after {lasted}, {jobs} stopped", **parts)
        if entry.mode == "enforce"
        else subject("Guard {guard}: released after {lasted}, only observing", **parts),
        text=lines(body),
        # The counts are those of the stage, so its mode is reported, whatever the mode is now.
        facts=facts_of(guard, "calm", "release", entry.mode)
        | (counts_of(release.stages[-1].tally) if release.stages else {})
        | {
            "cancelled": cancelled,
            "terminated": terminated,
            "stages": [_stage_facts(each) for each in release.stages],
            "queues_reopened": queue_facts(release.reopened),
            "queues_still_closed": queue_facts((*release.on_resume, *release.still_closed)),
            "run_id": entry.run_id,
            "previous_stage": entry.stage,
            "since": iso(entry.since),
            "at": iso(release.at),
            "why": release.why,
            "by": fact(release.by) or None,
        },
    )


def _stage_lines(report: StageReport) -> Iterable[str]:
    entry = report.entry
    counts = rows(report.tally, entry)
    yield say(
        "- {stage}, {lasted} (from {since} to {until}): {counts}.",
        stage=entry.stage,
        lasted=report.until - entry.since,
        since=entry.since,
        until=report.until,
        counts=row(counts) if counts else say("no job was found"),
    )
    for why, count in why_refused(report.tally)[:SHOWN_MAX]:
        yield say("  {n} × {why}", n=count, why=plain(why))


def _stage_facts(report: StageReport) -> dict[str, Any]:
    return {
        "stage": report.entry.stage,
        "mode": report.entry.mode,
        "since": iso(report.entry.since),
        "until": iso(report.until),
        "seconds": int((report.until - report.entry.since).total_seconds()),
        "why": report.entry.why,
        **counts_of(report.tally),
        "failed": sum(report.tally.failed.values()),
    }


def _queue_lines(release: ReleaseFacts) -> Iterable[Phrase]:
    """Yield what happens to the queues, except those that cannot be reopened yet."""
    if release.reopened or not release.on_resume:
        yield _queues("Reopened: {queues}.", "Reopened: no queue.", release.reopened)
    if release.on_resume:
        yield say(
            "Still closed: {queues} (an operator holds the watchdog: they are reopened with the "
            'command "resume").',
            queues=listed_queues(release.on_resume),
        )
    if release.stayed_open:
        yield say(
            "Never closed, though it was decided: {queues} (AWS Batch had refused it so far, or an "
            "operator held the watchdog).",
            queues=listed_queues(release.stayed_open),
        )


def _queues(template: str, none: str, queues: Sequence[str]) -> Phrase:
    return say(template, queues=listed_queues(queues)) if queues else say(none)
