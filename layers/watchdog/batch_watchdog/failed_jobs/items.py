"""Store failures that are kept back as parts of a chain: reminders contain their job events."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import batched
from typing import Any

from pydantic import TypeAdapter

from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.notices.text import FACT_MAX, middle
from batch_watchdog.store.item_codec import pack
from batch_watchdog.store.reminders import Reminder

_ENTRY_MAX = 50  # failures in an item, which has room for them even with texts of maximum length

_ADAPTER = TypeAdapter(JobEvent)


def entries(failures: Iterable[JobEvent], minute: datetime) -> Iterator[Reminder]:
    """Build the reminders that bring these failures back at a minute."""
    ordered = sorted(failures, key=lambda event: event.job_id)
    for some in batched(ordered, _ENTRY_MAX, strict=False):
        rows = [
            _ADAPTER.dump_python(_short(event), mode="json", exclude_defaults=True)
            for event in some
        ]
        yield Reminder(minute=minute, kind="chain", content=pack(rows))


def read(rows: Iterable[Any]) -> Iterator[JobEvent]:
    """Read the failures of a reminder."""
    return map(_ADAPTER.validate_python, rows)


def _short(event: JobEvent) -> JobEvent:
    return replace(
        event,
        # What went wrong is mostly said at the end of a long text.
        reason=middle(event.reason, FACT_MAX),
        container_reason=middle(event.container_reason, FACT_MAX),
        tags={},
        summary={},
    )
