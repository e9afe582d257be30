"""The notices about an array: it is done, and its remaining children are stopped."""

from collections.abc import Sequence
from typing import Any

from batch_watchdog.arrays.groups import Group, groups
from batch_watchdog.arrays.progress import (
    SUCCEEDED_CODE,
    Array,
    ChildCounts,
    Part,
    failed_indices,
    indices_without_result,
)
from batch_watchdog.core.job_event import blames_a_dependency, resource_name
from batch_watchdog.notices.links import DEFAULT_PLACE, job_link, log_group, log_text, queue_link
from batch_watchdog.notices.notice import Notice, subject
from batch_watchdog.notices.text import fact, iso, plain, ranges, shorten, span


def rest_stopped(array: Array, counts: ChildCounts, label: str, *, enforced: bool) -> Notice:
    name = plain(array.job_name, 60) or plain(array.job_id)
    left = counts.size - counts.ended
    done = "are terminated" if enforced else "would be terminated"
    words = f"{counts.failed} of {counts.ended} failed"
    return Notice(
        kind="array-stopped",
        id=f"array-stopped:{array.job_id}{'' if enforced else ':observe'}",
        severity="critical" if enforced else "warning",
        subject=subject(f"Array {'stopped' if enforced else 'would be stopped'}, {words}: {name}"),
        text="\n".join(
            [
                f"Of the array job {name}, {words} so far. That is more than the policy allows",
                f"({plain(label)}), so the {left} that are left {done}.",
                "A notice follows when the array has ended."
                if enforced
                else 'Nothing is stopped in observe mode; the policy\'s mode = "enforce" would.',
                *link_lines(array),
            ]
        ),
        facts=progress_facts(array, counts)
        | {"left": left, "rule": label, "mode": "enforce" if enforced else "observe"},
    )


def progress_facts(array: Array, counts: ChildCounts) -> dict[str, Any]:
    return {
        "job_id": array.job_id,
        "job_name": fact(array.job_name),
        "queue": fact(resource_name(array.queue)),
        "size": array.size,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
    }


def link_lines(array: Array) -> list[str]:
    return [
        "",
        f"Job:   {job_link(array.queue, array.job_id)}",
        f"Queue: {queue_link(array.queue)}",
    ]


def completed(array: Array, parts: Sequence[Part]) -> Notice:
    """The notice that an array is done. Counts are Batch's own where it has told them."""
    failed_at = failed_indices(parts)
    by_batch = array.failed_by_batch is not None
    succeeded = (
        array.summary.get("SUCCEEDED", 0)
        if by_batch
        else sum(part.outcomes.count(SUCCEEDED_CODE) for part in parts)
    )
    failed = array.summary.get("FAILED", 0) if by_batch else len(failed_at)
    lacking = indices_without_result(array, parts)
    found = groups(array, parts)
    name = plain(array.job_name, 60) or plain(array.job_id)
    counts = f"{succeeded} of {array.size} succeeded, {failed} failed"
    if lacking:
        counts += f", {len(lacking)} without a result"
    return Notice(
        kind="array-completed",
        id=f"array-completed:{array.job_id}",
        severity="warning" if failed or array.status == "FAILED" else "info",
        subject=subject(f"Array done, {counts}: {name}"),
        text="\n".join(
            [
                f"The array job {name} in queue {plain(resource_name(array.queue))} is done:",
                f"{counts}.",
                *_tell_time(array),
                *_tell_failures(array, found, sorted([*failed_at, *lacking])),
                "",
                f"Job:   {job_link(array.queue, array.job_id)}",
                f"Queue: {queue_link(array.queue)}",
            ]
        ),
        facts={
            "job_id": array.job_id,
            "job_name": fact(array.job_name),
            "queue": fact(resource_name(array.queue)),
            "definition": fact(resource_name(array.definition)),
            "status": array.status or ("FAILED" if failed else "SUCCEEDED"),
            "size": array.size,
            "succeeded": succeeded,
            "failed": failed,
            "failed_indices": ranges(failed_at),
            **({"without_result": ranges(lacking)} if lacking else {}),
            "groups": [_facts_of(group) for group in found],
            "ended_at": iso(array.ended_at) if array.ended_at else None,
        },
    )


def _facts_of(group: Group) -> dict[str, Any]:
    """A group's facts. Those that most groups lack are there only where they say something."""
    facts = {
        "count": group.count,
        "indices": ranges(group.indices),
        "exit_code": group.cause.exit_code,
        "reason": group.cause.reason,
        "log_stream": group.log_stream or None,
    }
    if group.log_stream and group.log_place != DEFAULT_PLACE:
        facts["log_group"] = log_group(group.log_stream, group.log_place)
    if group.container:
        facts["container"] = group.container
    return facts


def _tell_time(array: Array) -> list[str]:
    if array.ended_at is None:
        return []
    took = span((array.ended_at - array.first_at).total_seconds())
    return [f"It ended at {iso(array.ended_at)}, {took} after it was first seen."]


def _tell_failures(array: Array, found: Sequence[Group], to_resubmit: Sequence[int]) -> list[str]:
    if not found and array.status == "FAILED":
        return ["", f"Batch's reason: {plain(array.reason, 500) or 'none given'}"]
    if not found:
        return ["", "Nothing to do."]
    lines = ["", "Why they failed:"]
    for number, group in enumerate(found, start=1):
        code = group.cause.exit_code
        exit_code = "no exit code" if code is None else f"exit code {code}"
        lines.append(
            f"{number}. {group.count} × {exit_code}, {group.cause.reason or 'no reason given'}"
        )
        if group.indices:
            lines.append(f"   indices: {shorten(ranges(group.indices))}")
        if group.cause.follows:
            lines.append("   These never began, as a job that they depend on had failed.")
        log = log_text(array.queue, group.log_stream, group.log_place)
        if log:
            of = f", container {plain(group.container, 60)}" if group.container else ""
            lines.append(f"   log of one{of}: {log}")
    followed = blames_a_dependency(array.reason) or all(group.cause.follows for group in found)
    if array.depends_on and followed:
        named = ", ".join(plain(each, 60) for each in array.depends_on)
        lines += ["", f"The array depends on: {named}"]
    if to_resubmit:
        lines += ["", f"To resubmit: {shorten(ranges(to_resubmit), 2_000)}"]
    return lines
