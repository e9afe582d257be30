"""Build the notices of a stop run: its report, and the notice of jobs that do not end."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from batch_watchdog.guards.notices import SHOWN_MAX, facts_of, listed_queues, queue_facts
from batch_watchdog.guards.state import StageEntry, StopAction
from batch_watchdog.guards.stop_run.counts import Tally, counts_of, rows, why_refused
from batch_watchdog.guards.stop_run.still_there import StillThere
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Name, Phrase, counted, kept, lines, row, say, subject
from batch_watchdog.notices.text import fact, iso, plain
from batch_watchdog.policy.tables import Mode


def report(  # noqa: PLR0913 - two of them have a default
    guard: str,
    entry: StageEntry,
    tally: Tally,
    *,
    at: datetime,
    queues_closed: Sequence[str] = (),
    queues_not_closed: Sequence[str] = (),
) -> Notice:
    """Build the report of a stop run: its result, or in observe mode what it would have been."""
    name, observing = Name(plain(guard, 64)), entry.mode == "observe"
    refused = sum(tally.failed.values())
    body: list[str] = [
        say(
            "The guard {guard} has looked through its scope, {took} after it went to {stage}.",
            guard=name,
            took=at - entry.since,
            stage=entry.stage,
        ),
        "",
        say("Why: {why}", why=kept(entry.why)),
        "",
        _found(tally),
        *(say("- {count}", count=each) for each in rows(tally, entry)),
        *(
            say("  {n} × {why}", n=count, why=plain(why))
            for why, count in why_refused(tally)[:SHOWN_MAX]
        ),
        "",
        _closed(queues_closed, observing=observing),
    ]
    if queues_not_closed:
        body.append(
            say(
                "Not closed yet, as far as is known: {queues}. The watchdog goes on trying.",
                queues=listed_queues(queues_not_closed),
            )
        )
    if refused:
        body += ["", say("What next: see why Batch refused, and stop those jobs by hand.")]
    if tally.not_ended:
        body += [
            "",
            say("The jobs that are still there are checked every few minutes until they are gone."),
        ]
    return Notice(
        kind="guard-report",
        id=f"guard-report:{entry.run_id}",
        severity="warning" if refused or tally.not_ended else "info",
        subject=_in_short(name, entry, tally),
        text=lines(body),
        facts=facts_of(guard, entry.stage, entry.stage, entry.mode)
        | counts_of(tally)
        | {
            "queues_closed": queue_facts(queues_closed),
            "queues_not_closed": queue_facts(queues_not_closed),
            "run_id": entry.run_id,
            "since": iso(entry.since),
            "at": iso(at),
            "found": tally.found,
            "failed": {fact(why): count for why, count in why_refused(tally)},
            "escaped_jobs": list(tally.escaped_jobs),
            "failed_jobs": list(tally.failed_jobs),
            "not_ended_jobs": list(tally.not_ended_jobs),
        },
    )


_IN_SHORT: Mapping[tuple[StopAction, Mode], str] = {
    ("cancel", "enforce"): "Guard {guard}: cancelled {n} of {jobs}{besides}",
    ("cancel", "observe"): "Guard {guard}: would have cancelled {n} of {jobs}{besides}",
    ("terminate", "enforce"): "Guard {guard}: terminated {n} of {jobs}{besides}",
    ("terminate", "observe"): "Guard {guard}: would have terminated {n} of {jobs}{besides}",
}


def _in_short(name: Name, entry: StageEntry, tally: Tally) -> Phrase:
    refused = sum(tally.failed.values())
    besides: list[str] = []
    if refused:
        besides.append(say(", {n} could not be stopped", n=refused))
    if tally.not_ended:
        besides.append(say(", {n} still there", n=tally.not_ended))
    return subject(
        _IN_SHORT[entry.stage, entry.mode],
        guard=name,
        n=tally.cancelled + tally.terminated,
        jobs=counted(tally.found, "{n} job", "{n} jobs"),
        besides=row(besides, ""),
    )


def _found(tally: Tally) -> Phrase:
    if not tally.found:
        return say("It found no job.")
    return counted(tally.found, "It found {n} job, of which:", "It found {n} jobs, of which:")


def _closed(queues: Sequence[str], *, observing: bool) -> Phrase:
    if not queues and observing:
        return say("Queues that would be closed: none.")
    if not queues:
        return say("Queues that were closed: none.")
    if observing:
        return say("Queues that would be closed: {queues}.", queues=listed_queues(queues))
    return say("Queues that were closed: {queues}.", queues=listed_queues(queues))


def still_there(guard: str, entry: StageEntry, found: StillThere, at: datetime) -> Notice:
    """Build the notice that jobs have not ended whose stop AWS Batch accepted long ago."""
    jobs, count, asked_at = found.jobs, found.count, found.asked_at
    name = Name(plain(guard, 64))
    parts = {"guard": name, "n": count, "lasted": at - asked_at}
    asked = (
        counted(
            count,
            "Batch has been asked to cancel {n} job, and has accepted it.",
            "Batch has been asked to cancel {n} jobs, and has accepted it.",
        )
        if entry.stage == "cancel"
        else counted(
            count,
            "Batch has been asked to terminate {n} job, and has accepted it.",
            "Batch has been asked to terminate {n} jobs, and has accepted it.",
        )
    )
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:not-ended:{entry.run_id}:{iso(asked_at)}",
        severity="warning",
        subject=subject("Guard {guard}: {n} job is still there, {lasted} after its stop", **parts)
        if count == 1
        else subject("Guard {guard}: {n} jobs are still there, {lasted} after their stop", **parts),
        text=lines(
            [
                say(
                    "The guard {guard}: {asked} The first stop was {lasted} ago.",
                    guard=name,
                    asked=asked,
                    lasted=at - asked_at,
                ),
                say("What has not ended since:"),
                "",
                *(f"- {plain(job, 100)}" for job in jobs[:SHOWN_MAX]),
                *(
                    [say("- and {n} more", n=count - min(len(jobs), SHOWN_MAX))]
                    if count > min(len(jobs), SHOWN_MAX)
                    else []
                ),
                "",
                say(
                    "What next: see what they do. A cancelled job may wait until it is the first "
                    "of its queue; a terminated one may ignore its signal, or its instance may not "
                    "answer. The watchdog goes on looking until they are gone, and counts none of "
                    "them as stopped."
                ),
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
