"""The notices about an array under way: its progress, and that the rest is or is not stopped."""

from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.arrays.notices import link_lines, name_of
from batch_watchdog.arrays.progress import Array, ChildCounts
from batch_watchdog.core.job_event import resource_name
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import counted, kept, lines, say, subject
from batch_watchdog.notices.text import fact, iso, plain


def rest_stopped(array: Array, counts: ChildCounts, label: str, *, enforced: bool) -> Notice:
    """Build the notice that the rest is stopped, or would be: too many children have failed."""
    name = name_of(array)
    left = counts.size - counts.ended
    parts = {"name": name, "failed": counts.failed, "ended": counts.ended}
    news = (
        counted(
            left,
            "More children have failed than the policy allows ({rule}), so the one that is left is "
            "terminated.",
            "More children have failed than the policy allows ({rule}), so the {n} that are left "
            "are terminated.",
            rule=plain(label),
        )
        if enforced
        else counted(
            left,
            "More children have failed than the policy allows ({rule}), so the one that is left "
            "would be terminated.",
            "More children have failed than the policy allows ({rule}), so the {n} that are left "
            "would be terminated.",
            rule=plain(label),
        )
    )
    return Notice(
        kind="array-stopped",
        id=f"array-stopped:{array.job_id}{'' if enforced else ':observe'}",
        severity="critical" if enforced else "warning",
        subject=subject("Array stopped, {failed} of {ended} failed: {name}", **parts)
        if enforced
        else subject("Array would be stopped, {failed} of {ended} failed: {name}", **parts),
        text=lines(
            [
                say(
                    "Of the array job {name}, {failed} of the first {ended} children have failed.",
                    **parts,
                ),
                news,
                say("A notice follows when the array has ended.")
                if enforced
                else say(
                    'Nothing is stopped in observe mode; mode = "enforce" in the policy would.'
                ),
                *link_lines(array),
            ]
        ),
        facts=_progress_facts(array, counts)
        | {"left": left, "rule": label, "mode": "enforce" if enforced else "observe"},
    )


def rest_left(array: Array, why: str) -> Notice:
    """Build the notice that the rest of an array was not stopped, though that was announced."""
    return Notice(
        kind="array-stopped",
        id=f"array-stopped:{array.job_id}:left-alone",
        severity="info",
        subject=subject("Array was not stopped after all: {name}", name=name_of(array)),
        text=lines(
            [
                say(
                    "An earlier notice said that the remaining children of the array job {name} "
                    "are being terminated. That was not done:",
                    name=name_of(array),
                ),
                say("{words}.", words=kept(why)),
                say(
                    "While the policy asks for it, it is tried again every few minutes, child by "
                    "child."
                ),
                *link_lines(array),
            ]
        ),
        facts=_facts_of(array) | {"rule": fact(array.rest_stopped_by), "left_alone": fact(why)},
    )


def progressed(
    array: Array, counts: ChildCounts, percent: int, left: timedelta | None, now: datetime
) -> Notice:
    """
    Build the notice that `percent` of the children have ended.

    The rest will take `left`; None if it was stopped.
    """
    estimate = (
        []
        if left is None
        else [
            say(
                "At this pace the rest takes another {left}, until {end}.",
                left=left,
                end=now + left,
            )
        ]
    )
    parts = {
        "name": name_of(array),
        "percent": percent,
        "ended": counts.ended,
        "size": counts.size,
        "failed": counts.failed + counts.fell,
        "stopped": counts.stopped,
    }
    news = (
        say(
            "The array job {name} has passed {percent} %: {ended} of {size} ended, "
            "{failed} failed, {stopped} stopped.",
            **parts,
        )
        if counts.stopped
        else say(
            "The array job {name} has passed {percent} %: {ended} of {size} ended, "
            "{failed} failed.",
            **parts,
        )
    )
    return Notice(
        kind="array-progress",
        id=f"array-progress:{array.job_id}:{percent}",
        severity="info",
        subject=subject(
            "Array at {percent} %, {ended} of {size} ended, {failed} failed: {name}", **parts
        ),
        text=lines(
            [
                news,
                *estimate,
                *link_lines(array),
            ]
        ),
        facts=_progress_facts(array, counts)
        | {"percent": percent, "estimated_end": None if left is None else iso(now + left)},
    )


def _facts_of(array: Array) -> dict[str, Any]:
    return {
        "job_id": array.job_id,
        "job_name": fact(array.job_name),
        "queue": fact(resource_name(array.queue)),
        "size": array.size,
    }


def _progress_facts(array: Array, counts: ChildCounts) -> dict[str, Any]:
    return _facts_of(array) | {
        "succeeded": counts.succeeded,
        "failed": counts.failed + counts.fell,
        "stopped": counts.stopped,
    }
