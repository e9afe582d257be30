"""Gather what a page shows of one array: all its indices, and why some of them failed."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from batch_watchdog.arrays.groups import Group, unsuccessful
from batch_watchdog.arrays.items import Arrays
from batch_watchdog.arrays.progress import PART_SIZE, SUCCEEDED_CODE, Array, Part
from batch_watchdog.aws.batch import BatchApi, Detail
from batch_watchdog.core.job_event import ENDED
from batch_watchdog.notices.links import job_link, log_text
from batch_watchdog.notices.text import ranges
from batch_watchdog.page.heat_map import heat_map
from batch_watchdog.page.html import PageData
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.store.table import Table


def array_facts(table: Table, batch: BatchApi, job_id: str, now: datetime) -> PageData:
    """Return the facts of an array's page, with two reads and one call of AWS Batch."""
    store = Arrays(table)
    array = store.read(job_id, ())[0]
    if array is None:
        return {"array": None, "job_id": job_id, "here": {"job_id": job_id}}
    detail: Detail = {}
    with suppress(*ITEM_ERRORS):  # What is in the table is shown all the same.
        detail = batch.describe([job_id]).get(job_id, {})
    parts = store.all_parts(array) if array.size else []
    found = unsuccessful(array, parts)
    failed = sorted(index for group in found.failures for index in group.indices)
    succeeded = _succeeded(parts)
    live = (detail.get("arrayProperties") or {}).get("statusSummary") or {}
    ended = len(succeeded) + len(failed) + found.stopped
    return {
        "here": {"job_id": job_id},
        "array": array,
        "counts": {
            "succeeded": len(succeeded),
            "failed": sum(group.count for group in found.failures),
            "stopped": found.stopped,
        },
        "ends_at": _end_of(array, ended, now),
        "live": live if detail.get("status") not in ENDED else {},
        "job_link": job_link(array.queue, job_id),
        "map": heat_map(array.size, succeeded, failed, found.stopped_indices)
        if array.size
        else None,
        "groups": [_of_group(array, group) for group in found.failures],
        "resubmit": ranges(failed),
        "stopped": ranges(found.stopped_indices),
        "stopped_by": found.stopped_by,
    }


def _succeeded(parts: Iterable[Part]) -> list[int]:
    return [
        part.number * PART_SIZE + at
        for part in parts
        for at, outcome in enumerate(part.outcomes)
        if outcome == SUCCEEDED_CODE
    ]


def _end_of(array: Array, ended: int, now: datetime) -> datetime | None:
    """Return when the rest will have ended, at the pace so far; None if that is not known."""
    if array.ended_at or not array.size or not ended or now <= array.first_at:
        return None
    return now + (now - array.first_at) * (max(0, array.size - ended) / ended)


def _of_group(array: Array, group: Group) -> PageData:
    known = group.known
    return {
        "count": group.count,
        "exit_code": group.cause.exit_code,
        "reason": group.words or group.cause.reason or "no reason given",
        "indices": ranges(group.indices),
        "meaning": known.meaning if known else "",
        "next_step": known.next_step if known else "",
        "log": log_text(array.queue, group.log_stream, group.log_place),
        "container": group.container,
    }
