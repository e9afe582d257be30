"""
Actions in the table: effects as they were decided, who asked for them and why, and their results.

An action is written together with the state that it follows from, and the table's stream hands it
to `act`. So the actions are the outbox, and the audit trail.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from batch_watchdog.core.effects import (
    Announce,
    Chat,
    Effect,
    SetQueueState,
    StartRun,
    StopJobs,
)
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.notices.text import iso
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.table import Put, Table

PREFIX = "ACTION#"  # must match the stream's filter in the template
KEPT = timedelta(days=90)

_SECOND = timedelta(seconds=1)

_BODY_MAX = 300_000  # bytes; DynamoDB takes items of 400 KB
_NOTICES_MAX = 1_000
_IDS_MAX = 150_000  # characters; a digest names them all, and SNS takes 256 KiB
# Where the bulk calls are missing, each job takes a call: more would not fit into one invocation.
_JOBS_MAX = 500

_ADAPTERS: Mapping[str, TypeAdapter[Effect]] = {
    kind.__name__: TypeAdapter(kind) for kind in (Announce, Chat, StopJobs, SetQueueState, StartRun)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """
    How far an action has come.

    The first `seen` jobs of a stop have been judged; the first `seen` messages for a chat have been
    sent. `accepted` counts the stops that Batch accepted, `refused` has the reason for each job
    that Batch refused, and `not_meant` has, by reason, the jobs whose stop was not meant any more.
    For the jobs up to `asked`, an earlier try may have asked Batch without receiving an answer.
    """

    seen: int = 0
    asked: int = 0
    accepted: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)
    not_meant: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def result(self) -> dict[str, Any]:
        """The result to record."""
        result = {"accepted": self.accepted, "refused": self.refused}
        return result | ({"not_meant": self.not_meant} if self.not_meant else {})

    def ended(self, **why: str) -> dict[str, Any]:
        """Return the result to record if the stop ends early: why, and at which of its jobs."""
        unsure = {"asked": self.asked} if self.asked > self.seen else {}
        return self.result | {"seen": self.seen} | unsure | why


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """
    An effect as recorded. `result` is None until it has been carried out.

    `tries` counts how often the same effect was handed on before, each time without a result. For
    notices that are not sent at once, `folded` has the digest that announces them later, by their
    threads or by their ids. It is None until that is decided.
    """

    pk: str
    sk: str
    at: str
    asked_by: str
    effect: Effect
    result: Any = None
    progress: Progress = Progress()
    tries: int = 0
    folded: Mapping[str, str] | None = None
    version: int = 0

    @property
    def digests(self) -> list[str]:
        """The ids of the digests that announce some of its notices later."""
        return sorted(set((self.folded or {}).values()))


class Actions:
    """The actions in the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def puts(self, effects: Iterable[Effect], now: datetime, asked_by: str) -> list[Put]:
        """Build the writes that record effects as actions, for the stream to hand on."""
        return [
            _new(part, body, now, asked_by)
            for effect in effects
            for part, body in _of_storable_size(effect)
        ]

    def get(self, pk: str, sk: str) -> Action | None:
        """Read the action as it is now."""
        item = self._table.get(pk, sk)
        return to_action(item) if item else None

    def recorded_at(self, at: datetime) -> list[Action]:
        """
        Return the stops that were recorded in the second that ends with this time, or begins with
        it.
        """
        return [
            to_action(item)
            for second in (iso(at - _SECOND), iso(at))
            for item in self._table.query(day_of(second), first=second, last=f"{second}~")
            if item["kind"] == StopJobs.__name__
        ]

    def record(self, action: Action, result: Any, also: Iterable[Put] = ()) -> None:
        """
        Record the result of an action, together with the writes that depend on it.

        Raises:
            StaleItemError: the action has changed since it was read, or another item of the write
                has.
        """
        self._table.write([self._changed(action, result=pack(result)), *also])

    def keep(self, action: Action, progress: Progress) -> Action:
        """
        Record how far an action has come, so that the next try continues from there.

        Returns:
            The action as it is now.

        Raises:
            StaleItemError: the action has changed since it was read.
        """
        self._table.write([self._changed(action, progress=pack(asdict(progress)))])
        return replace(action, progress=progress, version=action.version + 1)

    def fold(
        self, action: Action, folded: Mapping[str, str], result: Any, also: Iterable[Put]
    ) -> Action:
        """
        Record which of an action's notices are announced later, and what announces them, in one
        write.

        `result` is None if some of them are still to be sent at once.

        Returns:
            The action as it is now.

        Raises:
            StaleItemError: the action has changed since it was read, or another item of the write
                has.
        """
        values = {"folded": pack(folded)} | ({} if result is None else {"result": pack(result)})
        self._table.write([self._changed(action, **values), *also])
        return replace(action, folded=folded, result=result, version=action.version + 1)

    def hand_on(self, action: Action, now: datetime) -> None:
        """
        Record what is left of the effect as a new action in place of this one; the stream hands it
        on.

        Raises:
            StaleItemError: the action has changed since it was read.
        """
        left = _left_of(action)
        new = _new(left, _body(left), now, action.asked_by)
        folded = {} if action.folded is None else {"folded": pack(action.folded)}
        again = Put({**new.item, "tries": action.tries + 1, **folded})
        result = {"handed_on": "/".join(again.key)}
        self._table.write([self._changed(action, result=pack(result)), again])

    def _changed(self, action: Action, **values: bytes) -> Put:
        item = self._table.get(action.pk, action.sk)
        if item is None:  # Actions are kept for months.
            raise StaleItemError(f"{action.pk}/{action.sk} is gone")
        return Put({**item, **values}, read=action.version)


def to_action(item: Item) -> Action:
    """Build an action from its item, as read or as the stream delivers it."""
    return Action(
        pk=str(item["pk"]),
        sk=str(item["sk"]),
        at=str(item["at"]),
        asked_by=str(item["asked_by"]),
        effect=_ADAPTERS[str(item["kind"])].validate_python(unpack(item["body"])),
        result=unpack(item["result"]) if "result" in item else None,
        progress=Progress(**unpack(item["progress"])) if "progress" in item else Progress(),
        tries=int(item.get("tries", 0)),
        folded=unpack(item["folded"]) if "folded" in item else None,
        version=int(item["version"]),
    )


def day_of(sk: str) -> str:
    """Return the partition of an action, from its sort key, which begins with its time."""
    return f"{PREFIX}{sk[:10]}"


def _of_storable_size(effect: Effect) -> Iterator[tuple[Effect, bytes]]:
    """Yield the effect with its body, or several in its place if one item could not hold it."""
    match effect:
        case StopJobs():
            for first in range(0, len(effect.job_ids), _JOBS_MAX):
                part = replace(
                    effect,
                    job_ids=effect.job_ids[first : first + _JOBS_MAX],
                    since=effect.since[first : first + _JOBS_MAX],
                )
                yield part, _body(part)
        case Announce(notices=[_, _, *_]) if _has_too_many(effect):
            yield from _halves(effect)
        case Announce(notices=[_, _, *_]):
            body = _body(effect)
            yield from _halves(effect) if len(body) > _BODY_MAX else [(effect, body)]
        case _:
            yield effect, _body(effect)


def _halves(effect: Announce) -> Iterator[tuple[Effect, bytes]]:
    middle = len(effect.notices) // 2
    for half in (effect.notices[:middle], effect.notices[middle:]):
        yield from _of_storable_size(replace(effect, notices=half))


def _left_of(action: Action) -> Effect:
    """
    Return what is left of an action's effect, as far as that is known: of a chat, the unsent
    messages.
    """
    match action.effect:
        case Chat(messages=messages):
            return replace(action.effect, messages=messages[action.progress.seen :])
        case effect:
            return effect


def _has_too_many(effect: Announce) -> bool:
    # A digest's message has the ids in JSON within JSON.
    ids = sum(len(json.dumps(json.dumps(notice.id))) for notice in effect.notices)
    return ids > _IDS_MAX or len(effect.notices) > _NOTICES_MAX


def _body(effect: Effect) -> bytes:
    return pack(_ADAPTERS[type(effect).__name__].dump_python(effect, mode="json"))


def _new(effect: Effect, body: bytes, now: datetime, asked_by: str) -> Put:
    return Put(
        {
            "pk": day_of(iso(now)),
            "sk": f"{iso(now)}#{hashlib.sha256(body).hexdigest()[:16]}",
            "kind": type(effect).__name__,
            "at": iso(now),
            "asked_by": asked_by,
            "body": body,
            "expires_at": int((now + KEPT).timestamp()),
        }
    )
