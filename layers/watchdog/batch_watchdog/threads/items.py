"""Threads of notices in the table: one item each, and one for each kind's active threads."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.reminders import MINUTE, Reminder, Reminders, minute_from
from batch_watchdog.store.table import Key, Put, Table
from batch_watchdog.threads.rules import THREADS_MAX, Thread

_FAR = timedelta(days=31)  # longer than any window
_KEPT = timedelta(days=7)  # after its window was to close, for operators to inspect

_REFRESHED = timedelta(minutes=15)  # maximum age of the time kept for a thread's last notice

_THREAD = TypeAdapter(Thread)
_ACTIVE = TypeAdapter(dict[str, datetime])


def read(table: Table, keys: Iterable[str]) -> dict[str, Thread]:
    """Return those of the threads that are known, by key."""
    items = table.get_many([_key(each) for each in dict.fromkeys(keys)])
    known = (
        _THREAD.validate_python(unpack(item["body"]) | {"version": item["version"]})
        for item in items.values()
    )
    return {thread.key: thread for thread in known}


def put(thread: Thread) -> Put:
    """Build the write of a thread."""
    pk, sk = _key(thread.key)
    body = pack(_THREAD.dump_python(thread, mode="json", exclude={"version"}))
    expires_at = int((thread.closes_at + _KEPT).timestamp())
    return Put({"pk": pk, "sk": sk, "body": body, "expires_at": expires_at}, read=thread.version)


def reminder(key: str, at: datetime) -> Reminder:
    """Build the reminder that brings a thread back to the sweep when its window closes."""
    return Reminder(minute=minute_from(at), kind="thread", content=pack([key, at.isoformat()]))


def open_threads(table: Table, now: datetime) -> list[Thread]:
    """Return the threads whose windows close after `now`, in the order of closing."""
    due = Reminders(table).between(now - MINUTE, now + _FAR)
    keys = [unpack(entry.content)[0] for entry in due if entry.kind == "thread"]
    return sorted(read(table, keys).values(), key=lambda thread: (thread.closes_at, thread.key))


class ActiveThreads:
    """The threads of a kind that had notices in the last hour, and roughly when the last came."""

    def __init__(self, active: Mapping[str, datetime], version: int) -> None:
        self._active = dict(active)
        self._version = version
        self.changed = False

    def takes(self, key: str, now: datetime) -> bool:
        """Check whether there is room for a thread. If so, record it as active."""
        at = self._active.get(key)
        if at is None and len(self._active) >= THREADS_MAX:
            return False
        if at is None or at < now - _REFRESHED:
            self._active[key] = now
            self.changed = True
        return True

    def put(self, kind: str, now: datetime) -> Put:
        """Build the write of the active threads."""
        pk, sk = _active_key(kind)
        body = pack(_ACTIVE.dump_python(self._active, mode="json"))
        expires_at = int((now + _KEPT).timestamp())
        item: Item = {"pk": pk, "sk": sk, "body": body, "expires_at": expires_at}
        return Put(item, read=self._version)


def read_active(table: Table, kind: str, since: datetime) -> ActiveThreads:
    """Read the threads of a kind that were active after a time."""
    item = table.get(*_active_key(kind))
    if item is None:
        return ActiveThreads({}, 0)
    active = _ACTIVE.validate_python(unpack(item["body"]))
    later = {key: at for key, at in active.items() if at > since}
    return ActiveThreads(later, int(item["version"]))


def _key(thread: str) -> Key:
    digest = hashlib.sha256(thread.encode("utf-8", "replace")).hexdigest()[:32]
    return f"THREAD#{digest}", "THREAD"


def _active_key(kind: str) -> Key:
    return "THREADS", kind
