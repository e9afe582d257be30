"""The notice that a guard is calm again: all that it did since it was calm before."""

from collections.abc import Iterable, Sequence
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

    `stages` are all that it had since it was last calm, the one that it left now as the last.
    `still_closed` are queues that it closed and cannot reopen yet, `still_ringing` its alarms that
    are in ALARM as far as is known.
    """

    at: datetime
    mode: Mode
    why: str
    by: str = ""
    reopened: tuple[str, ...] = ()
    still_closed: tuple[str, ...] = ()
    still_ringing: tuple[str, ...] = ()
    stages: tuple[StageReport, ...] = ()


def released(guard: str, entry: StageEntry, release: ReleaseFacts) -> Notice:
    """The guard is calm again; `entry` is the stage that it left."""
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
    told: list[str] = [
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
        *(line for each in release.stages for line in _tell_stage(each)),
        "",
        _queues("Reopened: {queues}.", "Reopened: no queue.", release.reopened),
    ]
    if release.still_closed and release.mode == "enforce":
        told.append(
            say(
                "Still closed: {queues} (another guard holds them, or they follow within minutes).",
                queues=listed_queues(release.still_closed),
            )
        )
    elif release.still_closed:
        told.append(
            say(
                "Still closed: {queues} (this guard observes now, and opens nothing).",
                queues=listed_queues(release.still_closed),
            )
        )
    told += [
        "",
        say("What next:"),
        say("- What was stopped is not submitted again: its owners can do that."),
    ]
    if release.still_ringing:
        told.append(
            say(
                "- Still in ALARM, as far as is known: {alarms}. The guard is raised again when an "
                "alarm goes into ALARM anew.",
                alarms=listed(release.still_ringing, "and"),
            )
        )
    return Notice(
        kind="guard-released",
        id=f"guard-released:{entry.run_id}",
        severity="info",
        subject=subject("Guard {guard}: released after {lasted}, {jobs} stopped", **parts)
        if entry.mode == "enforce"
        else subject("Guard {guard}: released after {lasted}, only observing", **parts),
        text=lines(told),
        # The counts are of the stage: in observe mode it stopped nothing, whatever the mode is now.
        facts=facts_of(guard, "calm", "release", entry.mode)
        | (counts_of(release.stages[-1].tally) if release.stages else {})
        | {
            "cancelled": cancelled,
            "terminated": terminated,
            "stages": [_stage_facts(each) for each in release.stages],
            "queues_reopened": queue_facts(release.reopened),
            "queues_still_closed": queue_facts(release.still_closed),
            "run_id": entry.run_id,
            "previous_stage": entry.stage,
            "since": iso(entry.since),
            "at": iso(release.at),
            "why": release.why,
            "by": fact(release.by) or None,
        },
    )


def _tell_stage(report: StageReport) -> Iterable[str]:
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


def _queues(template: str, none: str, queues: Sequence[str]) -> Phrase:
    return say(template, queues=listed_queues(queues)) if queues else say(none)
