"""The notices of a stop run: its report, and jobs that do not end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from batch_watchdog.guards.notices import SHOWN_MAX, facts_of, listed_queues, queue_facts
from batch_watchdog.guards.state import StageEntry
from batch_watchdog.guards.stop_run.counts import Tally, counted
from batch_watchdog.notices.notice import Notice, subject
from batch_watchdog.notices.text import fact, iso, plain, span


def report(
    guard: str,
    entry: StageEntry,
    tally: Tally,
    *,
    at: datetime,
    queues_closed: Sequence[str] = (),
) -> Notice:
    """What a stop run came to, or in observe mode would have."""
    name, observing = plain(guard, 64), entry.mode == "observe"
    would = "would have been " if observing else ""
    took = span((at - entry.since).total_seconds())
    failed = sum(tally.failed.values())
    lines = [
        f"The guard {name} has looked through its scope, {took} after it went to {entry.stage}.",
        "",
        f"Why: {entry.why}",
        "",
        f"{tally.found:>9,} jobs found, of which",
        f"{tally.cancelled:>9,} {would}cancelled",
        f"{tally.terminated:>9,} {would}terminated",
        f"{tally.left_running:>9,} left to run",
        f"{tally.spared:>9,} spared",
        f"{tally.escaped:>9,} escaped: they ran or ended before they were stopped",
        f"{tally.not_ended:>9,} asked to stop, and still there",
        f"{tally.not_known:>9,} asked to stop, and not known yet whether they ended",
        f"{failed:>9,} not stopped, as Batch refused",
    ]
    most = sorted(tally.failed.items(), key=lambda each: (-each[1], each[0]))
    lines += [f"{'':>9} - {count:,} × {plain(why)}" for why, count in most[:SHOWN_MAX]]
    closed = listed_queues(queues_closed) or "no queue"
    lines += ["", f"Queues that {'would be' if observing else 'were'} closed: {closed}."]
    if failed:
        lines += ["", "What next: see why Batch refused, and stop those jobs by hand."]
    if tally.not_ended:
        lines += ["", "What is still there is looked at every few minutes until it is gone."]
    stopped = tally.cancelled + tally.terminated
    verb = "would stop" if observing else "stopped"
    return Notice(
        kind="guard-report",
        id=f"guard-report:{entry.run_id}",
        severity="warning" if failed or tally.not_ended else "info",
        subject=subject(
            f"Guard {name}: {entry.stage} {verb} {stopped:,} of {tally.found:,} jobs"
            + (f", {failed:,} could not be stopped" if failed else "")
            + (f", {tally.not_ended:,} still there" if tally.not_ended else "")
        ),
        text="\n".join(lines),
        facts=facts_of(guard, entry.stage, entry.stage, entry.mode)
        | counted(tally)
        | {
            "queues_closed": queue_facts(queues_closed),
            "run_id": entry.run_id,
            "since": iso(entry.since),
            "at": iso(at),
            "found": tally.found,
            "failed": {fact(why): count for why, count in most},
            "escaped_jobs": list(tally.escaped_jobs),
            "failed_jobs": list(tally.failed_jobs),
            "not_ended_jobs": list(tally.not_ended_jobs),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StillThere:
    """Jobs whose stop AWS Batch accepted long ago: the first, how many, the first one's time."""

    jobs: tuple[str, ...]
    count: int
    asked_at: datetime


def still_there(guard: str, entry: StageEntry, found: StillThere, at: datetime) -> Notice:
    """Jobs whose stop AWS Batch accepted long ago have not ended."""
    jobs, count, asked_at = found.jobs, found.count, found.asked_at
    name, how = plain(guard, 64), "cancel" if entry.stage == "cancel" else "terminate"
    lasted = span((at - asked_at).total_seconds())
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:not-ended:{entry.run_id}",
        severity="warning",
        subject=subject(f"Guard {name}: {count:,} jobs are still there, {lasted} after their stop"),
        text="\n".join(
            [
                f"The guard {name} asked AWS Batch to {how} {count:,} jobs, the first of them "
                f"{lasted} ago.",
                "Batch accepted it, and they have not ended:",
                "",
                *(f"- {plain(job, 100)}" for job in jobs[:SHOWN_MAX]),
                *([f"- and {count - SHOWN_MAX:,} more"] if count > SHOWN_MAX else []),
                "",
                "What next: see what they do. A cancelled job may wait until it is the first of "
                "its queue;",
                "a terminated one may ignore its signal, or its instance may not answer. The "
                "watchdog goes",
                "on looking until they are gone, and counts none of them as stopped.",
            ]
        ),
        facts={
            "guard": guard,
            "stage": entry.stage,
            "run_id": entry.run_id,
            "not_ended": count,
            "job_ids": list(jobs),
            "asked_at": iso(asked_at),
            "at": iso(at),
        },
    )
