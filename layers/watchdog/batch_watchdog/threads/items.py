"""Threads of notices in the table: one item each, and one for each kind with those that began."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.reminders import MINUTE, Reminder, Reminders, minute_from
from batch_watchdog.store.table import Key, Put, Table
from batch_watchdog.threads.rules import THREADS_MAX, Thread

_FAR = timedelta(days=31)  # longer than any window
_KEPT = timedelta(days=7)  # after its window was to close, for an operator to look at

_THREAD = TypeAdapter(Thread)
_BEGAN = TypeAdapter(dict[str, datetime])


def read(table: Table, keys: Iterable[str]) -> dict[str, Thread]:
    """Those of the threads that are known, by key."""
    items = table.get_many([_key(each) for each in dict.fromkeys(keys)])
    known = (
        _THREAD.validate_python(unpack(item["body"]) | {"version": item["version"]})
        for item in items.values()
    )
    return {thread.key: thread for thread in known}


def put(thread: Thread) -> Put:
    """The write of a thread."""
    pk, sk = _key(thread.key)
    body = pack(_THREAD.dump_python(thread, mode="json", exclude={"version"}))
    expires_at = int((thread.closes_at + _KEPT).timestamp())
    return Put({"pk": pk, "sk": sk, "body": body, "expires_at": expires_at}, read=thread.version)


def reminder(key: str, at: datetime) -> Reminder:
    """What brings a thread back to the sweep, when its window closes."""
    return Reminder(minute=minute_from(at), kind="thread", content=pack([key, at.isoformat()]))


def open_threads(table: Table, now: datetime) -> list[Thread]:
    """The threads whose windows close after `now`, in the order in which they do."""
    due = Reminders(table).between(now - MINUTE, now + _FAR)
    keys = [unpack(entry.content)[0] for entry in due if entry.kind == "thread"]
    return sorted(read(table, keys).values(), key=lambda thread: (thread.closes_at, thread.key))


class Began:
    """When the threads of a kind have begun, in the last hour."""

    def __init__(self, began: Mapping[str, datetime], version: int) -> None:
        self._began = dict(began)
        self._version = version
        self.changed = False

    def takes(self, key: str, now: datetime) -> bool:
        """Whether one more thread may begin. One that has begun before may go on."""
        if key not in self._began and len(self._began) >= THREADS_MAX:
            return False
        self._began[key] = now
        self.changed = True
        return True

    def put(self, kind: str, now: datetime) -> Put:
        """The write of it."""
        pk, sk = _began_key(kind)
        body = pack(_BEGAN.dump_python(self._began, mode="json"))
        expires_at = int((now + _KEPT).timestamp())
        item: Item = {"pk": pk, "sk": sk, "body": body, "expires_at": expires_at}
        return Put(item, read=self._version)


def read_began(table: Table, kind: str, since: datetime) -> Began:
    """The threads of a kind that have begun since a time."""
    item = table.get(*_began_key(kind))
    if item is None:
        return Began({}, 0)
    began = _BEGAN.validate_python(unpack(item["body"]))
    return Began({key: at for key, at in began.items() if at > since}, int(item["version"]))


def _key(thread: str) -> Key:
    digest = hashlib.sha256(thread.encode("utf-8", "replace")).hexdigest()[:32]
    return f"THREAD#{digest}", "THREAD"


def _began_key(kind: str) -> Key:
    return "THREADS", kind
