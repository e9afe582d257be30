"""
Which notices are told at once, and which are collected for a digest.

Notices of one kind and one cause form a thread. The first goes out at once; what follows within the
thread's window is collected, and told as one digest when the window closes. While more comes, the
next window is longer, up to an hour; one in which nothing came ends the thread. So a cause brings
at most five messages in its first hour, whatever happens.

What is collected has a bounded size: counts by group, and examples.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import accumulate

from batch_watchdog.notices.notice import Notice, NoticeKind, Severity, worst
from batch_watchdog.notices.text import iso, plain

IDS_MAX = 1_000  # in the facts of a digest
GROUPS_MAX = 50  # the rest is one group
EXAMPLES_MAX = 3  # of a group
LONGEST = timedelta(hours=1)
# So many threads of one kind begin in an hour; then what is of other causes shares one.
THREADS_MAX = 12
OTHER = "…"

# Of these kinds so many are told at once while a thread lasts: each is news of its own.
_NEWS = ("watchdog-trouble", "spend-alert", "array-completed", "array-stopped", "queue-blocked")
_NEWS_MAX = 6
# Each threshold of a budget is news, which must not wait.
_OF_BUDGETS = ("budget-warning", "budget-forecast", "budget-reached")
_THRESHOLDS_MAX = 10
_TOLD_MAX = 100  # sorts that are remembered
# Characters as they stand in a message, in JSON in JSON: SNS takes 256 KiB.
_IDS_SIZE = 150_001
_CAUSE_MAX = 200  # characters

_LINK = re.compile(r"https://\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Notices that have queue, rule, finding and cause in common; "" where they have none."""

    queue: str = ""
    rule: str = ""
    finding: str = ""
    cause: str = ""
    count: int = 0
    examples: tuple[str, ...] = ()  # ids of jobs, else of notices
    subject: str = ""  # of the first notice
    link: str = ""  # its first one
    waited: tuple[int, int] | None = None  # seconds: the shortest, and the longest

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.queue, self.rule, self.finding, self.cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Notices, by their groups. `ids` are the first of them."""

    count: int = 0
    ids: tuple[str, ...] = ()
    kinds: Mapping[NoticeKind, int] = field(default_factory=dict)
    severity: Severity = "info"
    groups: tuple[Group, ...] = ()
    first_at: datetime | None = None
    last_at: datetime | None = None

    def adding(self, notices: Sequence[Notice], at: datetime) -> "Collected":
        """The same with more notices, which came at a time."""
        groups = {group.key: group for group in self.groups}
        for notice in notices:
            new = group_of(notice)
            key = new.key if new.key in groups or len(groups) < GROUPS_MAX else _OTHERS.key
            groups[key] = _joined(groups.get(key, replace(_OTHERS, count=0)), new, key)
        kinds = Counter(self.kinds) + Counter(notice.kind for notice in notices)
        return Collected(
            count=self.count + len(notices),
            ids=_within_bounds((*self.ids, *(notice.id for notice in notices))),
            kinds=dict(kinds),
            severity=worst([self.severity, *(notice.severity for notice in notices)]),
            groups=tuple(groups.values()),
            first_at=self.first_at or at,
            last_at=at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """
    One cause, of which notices have been told lately.

    The window that is open closes at `closes_at`. `told` are the sorts of notices that have gone
    out at once since the thread began.
    """

    key: str
    began_at: datetime
    closes_at: datetime
    window: timedelta
    told: tuple[str, ...] = ()
    collected: Collected = Collected()
    version: int = 0

    @property
    def digest_id(self) -> str:
        """The id of the digest that tells what is collected in the open window."""
        name = hashlib.sha256(self.key.encode("utf-8", "replace")).hexdigest()[:16]
        return f"digest:{self.key.partition('|')[0]}:{name}:{iso(self.closes_at)}"

    def is_over(self, now: datetime) -> bool:
        """Whether the last window has closed with nothing in it."""
        return self.closes_at <= now and not self.collected.count

    def next_window(self, now: datetime) -> "Thread":
        """The thread, with a longer window from now on, after its digest was sent."""
        window = min(2 * self.window, max(LONGEST, self.window))
        return replace(self, window=window, closes_at=now + window, collected=Collected())


def key_of(notice: Notice) -> str:
    """The thread that a notice belongs to: its kind, and what it is about."""
    facts = notice.facts
    match notice.kind:
        case "guard-raised" | "guard-report" | "guard-released":
            return f"guard|{facts.get('guard', '')}"
        case "budget-warning" | "budget-forecast" | "budget-reached":
            return f"budget|{facts.get('budget', '')}"
        case "watchdog-trouble":
            return f"{notice.kind}|{':'.join(notice.id.split(':')[1:2])}"
        case "spend-alert":
            return f"{notice.kind}|{facts.get('alarm') or facts.get('budget') or notice.subject}"
        case "array-completed" | "array-progress":
            failed = "failed" if facts.get("failed") else ""
            return "|".join((notice.kind, str(facts.get("queue", "")), failed))
        case _:
            return "|".join((notice.kind, *group_of(notice).key))


def sort_of(notice: Notice) -> str:
    """
    What is told at once the first time in a thread, and folded later.

    Of a guard each kind of notice is, and each stage: a guard that comes to terminate is told at
    once, however often it has been raised and released before.
    """
    if notice.kind.startswith("guard-"):
        return f"{notice.kind}:{notice.facts.get('stage', '')}"
    return notice.id if notice.kind in (*_NEWS, *_OF_BUDGETS) else ""


def take_in(
    thread: Thread, notices: Sequence[Notice], now: datetime, *, is_new: bool
) -> tuple[Thread, list[Notice]]:
    """
    Say which of a thread's notices are told at once; the others are collected.

    All that one decision brings of a new thread goes out at once.
    """
    told = set(thread.told)
    at_once, later = [], []
    for notice in notices:
        sort = sort_of(notice)
        if is_new or (sort and sort not in told and _has_room(notice, told)):
            at_once.append(notice)
            if len(told) < _TOLD_MAX:
                told.add(sort)
        else:
            later.append(notice)
    collected = thread.collected.adding(later, now) if later else thread.collected
    return replace(thread, told=tuple(sorted(told)), collected=collected), at_once


def group_of(notice: Notice) -> Group:
    """The group of a single notice."""
    facts = notice.facts
    findings = facts.get("findings") or ()
    waited = facts.get("waited_seconds")
    link = _LINK.search(notice.text)
    return Group(
        queue=str(facts.get("queue") or ""),
        rule=str(facts.get("rule") or facts.get("guard") or ""),
        finding=str(findings[0]) if findings else "",
        cause=plain(str(facts.get("cause") or ""), _CAUSE_MAX),
        count=1,
        examples=(str(facts.get("job_id") or notice.id),),
        subject=notice.subject,
        link=link[0] if link else "",
        waited=(int(waited), int(waited)) if isinstance(waited, int | float) else None,
    )


def _within_bounds(ids: Sequence[str]) -> tuple[str, ...]:
    """The first of the ids: as many as fit into a message."""
    sizes = accumulate(len(json.dumps(json.dumps(each))) for each in ids)
    return tuple(each for each, size in zip(ids[:IDS_MAX], sizes, strict=False) if size < _IDS_SIZE)


def by_size(groups: Iterable[Group]) -> list[Group]:
    """Groups, the largest first."""
    return sorted(groups, key=lambda group: (-group.count, group.key))


_OTHERS = Group(cause="other")


def _joined(known: Group, new: Group, key: tuple[str, str, str, str]) -> Group:
    queue, rule, finding, cause = key
    spans = [each.waited for each in (known, new) if each.waited]
    return Group(
        queue=queue,
        rule=rule,
        finding=finding,
        cause=cause,
        count=known.count + new.count,
        examples=tuple(dict.fromkeys((*known.examples, *new.examples)))[:EXAMPLES_MAX],
        subject=known.subject or new.subject,
        link=known.link or new.link,
        waited=(min(low for low, _ in spans), max(high for _, high in spans)) if spans else None,
    )


def _has_room(notice: Notice, told: set[str]) -> bool:
    if notice.kind.startswith("guard-") or notice.kind == "budget-reached":
        return True
    return len(told) < (_THRESHOLDS_MAX if notice.kind in _OF_BUDGETS else _NEWS_MAX)
