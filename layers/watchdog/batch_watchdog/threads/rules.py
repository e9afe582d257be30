"""
Decide which notices are sent at once, and which are collected for a digest.

Notices of one kind and one cause form a thread. The first is sent at once; those that follow within
the thread's window are collected, and sent as one digest when the window closes. While more come,
each next window is longer, up to an hour; a window without notices ends the thread.

If far more notices were collected than sent, the last message is misleading: the window closes at
once.

A thread keeps the times of its messages in the last hour, also of those before it ended and began
anew. So no cause brings more than twelve messages an hour, however often its thread begins anew.

What is collected has a bounded size: counts by group, and examples.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import accumulate

from batch_watchdog.notices.notice import Notice, NoticeKind, Severity, worst
from batch_watchdog.notices.text import iso
from batch_watchdog.threads.groups import OTHERS, Group, about, group_of, joined

IDS_MAX = 1_000  # in the facts of a digest
GROUPS_MAX = 50  # the rest is one group
LONGEST = timedelta(hours=1)
# At most this many threads of one kind are active within an hour; all other causes share one.
THREADS_MAX = 12
OTHER = "…"
GUARD, BUDGET = "guard", "budget"

# Messages of a thread within an hour. While there are fewer than the first number, a new notice is
# sent at once; than the second, a digest or a new notice of a guard or a budget; than the third, a
# notice that must not wait.
AT_ONCE_MAX = 6
DIGESTS_MAX = 10
MESSAGES_MAX = 12
# If more notices of one cause come together, they become a digest, whatever `digest_over` is.
SINGLES_MAX = 5

# A window closes early at this many notices, if they are this many times the largest message.
_MANY = 1_000
_TIMES_AS_MANY = 10

# Of these kinds, only the first counts as new while a thread lasts; of others, see `sort_of`.
_MORE_OF_THE_SAME = (
    "job-failed",
    "limit-warning",
    "limit-enforced",
    "limit-escaped",
    "array-progress",
)
_HARDEST = "guard-raised:terminate"
_HOUR = timedelta(hours=1)
_TOLD_MAX = 100  # sorts that are remembered
# Characters as in a message, which is JSON within JSON: SNS takes 256 KiB.
_IDS_SIZE = 150_001


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Notices by their groups. `ids` are the ids of the first ones."""

    count: int = 0
    ids: tuple[str, ...] = ()
    kinds: Mapping[NoticeKind, int] = field(default_factory=dict)
    severity: Severity = "info"
    groups: tuple[Group, ...] = ()
    first_at: datetime | None = None
    last_at: datetime | None = None

    def adding(self, notices: Sequence[Notice], at: datetime) -> "Collected":
        """Return the same with more notices, which came at `at`."""
        groups = {group.key: group for group in self.groups}
        for notice in notices:
            new = group_of(notice)
            key = new.key if new.key in groups or len(groups) < GROUPS_MAX else OTHERS.key
            groups[key] = joined(groups.get(key, replace(OTHERS, count=0)), new, key)
        kinds = Counter(self.kinds) + Counter(notice.kind for notice in notices)
        return Collected(
            count=self.count + len(notices),
            ids=self._ids_with(notices),
            kinds=dict(kinds),
            severity=worst([self.severity, *(notice.severity for notice in notices)]),
            groups=tuple(groups.values()),
            first_at=self.first_at or at,
            last_at=at,
        )

    def _ids_with(self, notices: Sequence[Notice]) -> tuple[str, ...]:
        """Return the first ids, as many as fit into a message."""
        if len(self.ids) < self.count:  # There was no room before.
            return self.ids
        ids = (*self.ids, *(notice.id for notice in notices))[:IDS_MAX]
        sizes = accumulate(len(json.dumps(json.dumps(each))) for each in ids)
        return tuple(each for each, size in zip(ids, sizes, strict=True) if size < _IDS_SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """
    A cause of which notices were sent lately.

    The open window lasts from `opened_at` to `closes_at`; the first one was opened at `began_at`.
    `told` are the sorts of notices that were sent at once since the thread began, `sent` the times
    of its messages in the last hour, and `told_most` the number of notices in the largest message.
    `ended` says that its last window has closed without notices.
    """

    key: str
    opened_at: datetime
    closes_at: datetime
    window: timedelta
    told: tuple[str, ...] = ()
    sent: tuple[datetime, ...] = ()
    told_most: int = 0
    collected: Collected = Collected()
    ended: bool = False
    began_at: datetime | None = None
    version: int = 0

    @property
    def id(self) -> str:
        """The id of the thread until it ends. A thread that begins anew has another one."""
        return f"{self._name.replace(':', '-')}-{self.began_at or self.opened_at:%Y%m%dT%H%M%SZ}"

    @property
    def digest_id(self) -> str:
        """The id of the digest of what the open window collects."""
        return f"digest:{self._name}:{iso(self.opened_at)}"

    @property
    def _name(self) -> str:
        name = hashlib.sha256(self.key.encode("utf-8", "replace")).hexdigest()[:16]
        return f"{self.key.partition('|')[0]}:{name}"

    def is_over(self, now: datetime) -> bool:
        """Whether the next notice begins the thread anew."""
        return self.ended or (self.closes_at <= now and not self.collected.count)

    def anew(self, now: datetime, fold: timedelta) -> "Thread":
        """Return the thread as it begins anew, with a first window."""
        return Thread(
            key=self.key,
            opened_at=now,
            closes_at=now + fold,
            window=fold,
            began_at=now,
            sent=self.sent,
            version=self.version,
        )

    def next_window(self, now: datetime) -> "Thread":
        """Return the thread after its digest was sent, with a longer window from now on."""
        window = min(2 * self.window, max(LONGEST, self.window))
        return replace(
            self,
            opened_at=now,
            closes_at=now + window,
            window=window,
            told=tuple(sort for sort in self.told if sort != _HARDEST),
            sent=(*_within_an_hour(self.sent, now), now),
            told_most=max(self.told_most, self.collected.count),
            collected=Collected(),
        )

    def hurried(self, now: datetime) -> "Thread":
        """Return the thread. Its window closes now if far more was collected than was sent."""
        if self.collected.count < max(_MANY, _TIMES_AS_MANY * self.told_most):
            return self
        return replace(self, closes_at=min(self.closes_at, now))

    def has_room_from(self, now: datetime) -> datetime:
        """Return the time from which a digest may be sent: `now`, or later."""
        sent = _within_an_hour(self.sent, now)
        return now if len(sent) < DIGESTS_MAX else sent[-DIGESTS_MAX] + _HOUR


def key_of(notice: Notice) -> str:
    """Return the key of the thread that a notice belongs to: its kind, and what it is about."""
    facts = notice.facts
    match notice.kind:
        case "guard-raised" | "guard-report" | "guard-released":
            return f"{GUARD}|{facts.get('guard', '')}"
        case "budget-warning" | "budget-forecast" | "budget-reached":
            return f"{BUDGET}|{facts.get('budget', '')}"
        case "watchdog-trouble":
            sort = notice.id.split(":")[-1 if "job_id" in facts else 1]
            return "|".join((notice.kind, sort, *about(notice)[:2]))
        case "spend-alert":
            return f"{notice.kind}|{facts.get('alarm') or facts.get('budget', '')}"
        case "array-completed" | "array-progress":
            failed = "failed" if facts.get("failed") else ""
            return "|".join((notice.kind, str(facts.get("queue", "")), failed))
        case _:
            return "|".join((notice.kind, *about(notice)))


def sort_of(notice: Notice) -> str:
    """
    Return the sort of a notice: the first of a sort in a thread is sent at once, others are folded.

    For a guard, each kind of notice with each stage is a sort. So a guard that reaches `terminate`
    is announced at once, however often it was raised and released before.
    """
    if notice.kind.startswith("guard-"):
        return f"{notice.kind}:{notice.facts.get('stage', '')}"
    return "" if notice.kind in _MORE_OF_THE_SAME else notice.id


def take_in(
    thread: Thread, notices: Sequence[Notice], now: datetime, *, is_new: bool
) -> tuple[Thread, list[Notice]]:
    """
    Decide which of a thread's notices are sent at once; the others are collected.

    All notices of one decision that begin a thread are sent at once, if there is room: one by one,
    or, if there are too many, in one digest.
    """
    sent = _within_an_hour(thread.sent, now)
    told = set(thread.told)
    is_digest = is_new and len(notices) > SINGLES_MAX
    at_once: list[Notice] = []
    later: list[Notice] = []
    for notice in notices:
        sort = sort_of(notice)
        count = len(sent) + min(len(at_once), 1 if is_digest else len(at_once))
        most = _most_messages_before(notice)
        is_first = is_new or (sort and sort not in told)
        if is_first and (count < most or (is_digest and at_once)):
            at_once.append(notice)
            if len(told) < _TOLD_MAX:
                told.add(sort)
        else:
            later.append(notice)
    messages = min(len(at_once), 1) if is_digest else len(at_once)
    told_by_one = len(at_once) if is_digest else messages and 1
    collected = thread.collected.adding(later, now) if later else thread.collected
    return replace(
        thread,
        told=tuple(sorted(told)),
        sent=(*sent, *[now] * messages),
        told_most=max(thread.told_most, told_by_one),
        collected=collected,
    ).hurried(now), at_once


def goes_out_singly(notices: Sequence[Notice], digest_over: int) -> bool:
    """Whether notices that are sent at once together are sent one by one, not in a digest."""
    causes = Counter(map(key_of, notices))
    return len(notices) <= digest_over and max(causes.values(), default=0) <= SINGLES_MAX


def _most_messages_before(notice: Notice) -> int:
    """Return the number of its thread's messages within an hour at which a notice must wait."""
    if sort_of(notice) == _HARDEST or notice.kind == "budget-reached":
        return MESSAGES_MAX
    return DIGESTS_MAX if notice.kind.startswith((BUDGET, GUARD)) else AT_ONCE_MAX


def _within_an_hour(times: Sequence[datetime], now: datetime) -> tuple[datetime, ...]:
    return tuple(at for at in times if at > now - _HOUR)
