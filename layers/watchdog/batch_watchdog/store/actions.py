"""
Actions: effects as they were decided, who asked and why, and what came of them.

An action is written together with the state that called for it; the table's stream hands it
to whoever carries it out. So the actions are the outbox, and the audit trail.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from batch_watchdog.effects import Announce, Effect, SetQueueState, StartRun, StopJobs
from batch_watchdog.errors import StaleItemError
from batch_watchdog.notices import iso
from batch_watchdog.store.table import Item, Put, Table, pack, unpack

PREFIX = "ACTION#"  # the stream's filter in the template knows it
KEPT = timedelta(days=90)

_BODY_MAX = 300_000  # bytes; DynamoDB takes items of 400 KB
_NOTICES_MAX = 1_000
_IDS_MAX = 150_000  # characters; a digest names them all, and SNS takes 256 KiB
_JOBS_MAX = 5_000

_ADAPTERS: Mapping[str, TypeAdapter[Effect]] = {
    kind.__name__: TypeAdapter(kind) for kind in (Announce, StopJobs, SetQueueState, StartRun)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An effect as recorded. `result` is None until it has been carried out."""

    pk: str
    sk: str
    at: str
    asked_by: str
    effect: Effect
    result: Any = None
    version: int = 0


class Actions:
    """The actions in the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def puts(self, effects: Iterable[Effect], now: datetime, asked_by: str) -> list[Put]:
        """The writes that record effects as actions, for the stream to hand on."""
        return [
            _new(part, now, asked_by) for effect in effects for part in _of_storable_size(effect)
        ]

    def get(self, pk: str, sk: str) -> Action | None:
        """The action as it is now."""
        item = self._table.get(pk, sk)
        return to_action(item) if item else None

    def record(self, action: Action, result: Any) -> None:
        """
        Record what came of an action.

        Raises:
            StaleItemError: someone else has recorded it.
        """
        item = self._table.get(action.pk, action.sk)
        if item is None:  # Actions are kept for months.
            raise StaleItemError(f"{action.pk}/{action.sk} is gone")
        self._table.write([Put({**item, "result": pack(result)}, read=action.version)])


def to_action(item: Item) -> Action:
    """An action from its item, as read or as the stream delivers it."""
    return Action(
        pk=str(item["pk"]),
        sk=str(item["sk"]),
        at=str(item["at"]),
        asked_by=str(item["asked_by"]),
        effect=_ADAPTERS[str(item["kind"])].validate_python(unpack(item["body"])),
        result=unpack(item["result"]) if "result" in item else None,
        version=int(item["version"]),
    )


def _of_storable_size(effect: Effect) -> Sequence[Effect]:
    """The effect, or several in its place where one item could not hold it."""
    match effect:
        case StopJobs():
            return [
                replace(
                    effect,
                    job_ids=effect.job_ids[first : first + _JOBS_MAX],
                    since=effect.since[first : first + _JOBS_MAX],
                )
                for first in range(0, len(effect.job_ids), _JOBS_MAX)
            ]
        case Announce(notices=[_, _, *_]) if _is_too_large(effect):
            middle = len(effect.notices) // 2
            halves = effect.notices[:middle], effect.notices[middle:]
            return [
                part for half in halves for part in _of_storable_size(replace(effect, notices=half))
            ]
        case _:
            return [effect]


def _is_too_large(effect: Announce) -> bool:
    # A digest's ids stand in JSON that stands in JSON.
    ids = sum(len(json.dumps(json.dumps(notice.id))) for notice in effect.notices)
    return ids > _IDS_MAX or len(effect.notices) > _NOTICES_MAX or len(_body(effect)) > _BODY_MAX


def _body(effect: Effect) -> bytes:
    return pack(_ADAPTERS[type(effect).__name__].dump_python(effect, mode="json"))


def _new(effect: Effect, now: datetime, asked_by: str) -> Put:
    body = _body(effect)
    return Put(
        {
            "pk": f"{PREFIX}{iso(now)[:10]}",
            "sk": f"{iso(now)}#{hashlib.sha256(body).hexdigest()[:16]}",
            "kind": type(effect).__name__,
            "at": iso(now),
            "asked_by": asked_by,
            "body": body,
            "expires_at": int((now + KEPT).timestamp()),
        }
    )
