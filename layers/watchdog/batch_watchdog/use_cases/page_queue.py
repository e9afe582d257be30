"""Gather what a page shows of one queue: what waits in it, and why the oldest job waits."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any

from batch_watchdog.aws.batch import BatchApi, Detail
from batch_watchdog.core.job_event import from_millis
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.notices.links import queue_link
from batch_watchdog.overview import items as overview_items
from batch_watchdog.page.html import PageData
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.store.table import Table

_FRONT_MAX = 20  # jobs at the front that are shown
# Names of the steps of `AGES`, and of what is beyond them.
_AGE_NAMES = ("up to 15 min", "up to 1 h", "up to 6 h", "up to 1 d", "longer")


def queue_facts(
    table: Table,
    batch: BatchApi,
    inquiry: Callable[[datetime], DiagnosisGatherer],
    name: str,
    now: datetime,
) -> PageData:
    """Return the facts of a queue's page, with one read and a few calls of AWS."""
    detail: Detail | None = None
    front: list[tuple[str, datetime | None]] = []
    with suppress(*ITEM_ERRORS):
        detail = batch.queue(name)
        snapshot = batch.snapshot(name) or {}
        jobs = (snapshot.get("frontOfQueue") or {}).get("jobs") or ()
        front = [
            (str(each.get("jobArn", "")).rpartition("/")[2], from_millis(since))
            for each in islice(jobs, _FRONT_MAX)
            for since in [each.get("earliestTimeAtPosition")]
        ]
    arn = str((detail or {}).get("jobQueueArn") or name)
    all_waits = overview_items.read_waits(table)
    waits = all_waits.queues.get(arn) if all_waits else None
    details: Mapping[str, Detail] = {}
    if waits:
        with suppress(*ITEM_ERRORS):
            details = batch.describe(each.job_id for each in waits.longest)
    states = {job_id: each.get("status", "") for job_id, each in details.items()}
    oldest = next(
        (
            each
            for each in (waits.longest if waits else ())
            if states.get(each.job_id) == "RUNNABLE"
        ),
        None,
    )
    findings: Any = ()
    if oldest:
        with suppress(*ITEM_ERRORS):
            findings = inquiry(now).findings(details[oldest.job_id])
    return {
        "here": {"queue": name},
        "name": arn.rpartition("/")[2],
        "detail": {
            "state": str(detail.get("state", "")),
            "status": str(detail.get("status", "")),
            "priority": detail.get("priority", ""),
            "reason": str(detail.get("statusReason") or ""),
        }
        if detail
        else None,
        "environments": _environments(detail or {}),
        "link": queue_link(arn),
        "waits": waits,
        "waits_at": all_waits.at if all_waits else None,
        "ages": list(zip(_AGE_NAMES, waits.by_age if waits else (), strict=False)),
        "states": states,
        "oldest": oldest,
        "findings": findings,
        "front": front,
    }


def _environments(detail: Detail) -> list[str]:
    order = detail.get("computeEnvironmentOrder") or ()
    return [str(each.get("computeEnvironment", "")).rpartition("/")[2] for each in order]
