"""The digest: many notices of one thread in one message, by their groups."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from batch_watchdog.notices.notice import Notice, subject
from batch_watchdog.notices.text import fact, iso, plain, span
from batch_watchdog.threads.rules import Collected, Group, Thread, by_size

_SHOWN_MAX = 20  # groups in the text


def digest_of(notices: Sequence[Notice], at: datetime) -> Notice:
    """One notice in place of many that come at once; the same on every delivery."""
    ids = "\n".join(notice.id for notice in notices)
    name = hashlib.sha256(ids.encode("utf-8", "replace")).hexdigest()[:16]
    collected = Collected().adding(notices, at)
    return _digest(collected, f"digest:{notices[0].kind}:{name}", "came at once")


def digest(thread: Thread) -> Notice:
    """What a thread's window has collected."""
    collected = thread.collected
    first, last = collected.first_at or thread.began_at, collected.last_at or thread.began_at
    when = f"came from {iso(first)} to {iso(last)}, after one that was told before"
    notice = _digest(collected, thread.digest_id, when)
    lasted = int((last - first).total_seconds())
    facts = {"first_at": iso(first), "last_at": iso(last), "seconds": lasted}
    return replace(notice, facts=notice.facts | facts)


def _digest(collected: Collected, notice_id: str, when: str) -> Notice:
    groups = by_size(collected.groups)
    kinds = sorted(collected.kinds, key=lambda kind: (-collected.kinds[kind], kind))
    count, kind = collected.count, kinds[0]
    what = ", ".join(f"{collected.kinds[each]:,} × {each}" for each in kinds)
    lines = [f"{count:,} notices {when}: {what}.", ""]
    for group in groups[:_SHOWN_MAX]:
        lines += _told(group)
    if len(groups) > _SHOWN_MAX:
        left = groups[_SHOWN_MAX:]
        lines.append(f"- and {sum(each.count for each in left):,} in {len(left)} more groups")
    listed = "all of them" if len(collected.ids) == count else f"the first {len(collected.ids):,}"
    lines += ["", f"The ids of {listed} are in the facts of this notice."]
    return Notice(
        kind="digest",
        id=notice_id,
        severity=collected.severity,
        subject=subject(_subject(count, kind, groups)),
        text="\n".join(lines),
        facts={
            "of": kind,
            "kinds": dict(collected.kinds),
            "count": count,
            "ids": list(collected.ids),
            "groups": [_facts(group) for group in groups],
        },
    )


def _subject(count: int, kind: str, groups: Sequence[Group]) -> str:
    """How many of what kind; of the largest group queue or rule, and why."""
    largest = groups[0]
    where = largest.queue or largest.rule
    why = largest.finding or largest.cause
    more = f" and {len(groups) - 1} more" if len(groups) > 1 else ""
    return (
        f"{count:,} × {kind}"
        + (f" in {plain(where, 30)}" if where else "")
        + (f": {plain(why, 40)}" if why else "")
        + more
    )


def _told(group: Group) -> list[str]:
    about = [
        f"{name} {plain(value, 200)}"
        for name, value in (
            ("queue", group.queue),
            ("rule", group.rule),
            ("finding", group.finding),
            ("cause", group.cause),
        )
        if value
    ]
    waited = ""
    if group.waited:
        low, high = (span(seconds) for seconds in group.waited)
        waited = f"; waited {low}" + (f" to {high}" if high != low else "")
    lines = [f"- {group.count:,} × {', '.join(about) or 'no cause known'}{waited}"]
    lines.append(f"  e.g. {plain(group.subject, 120)}")
    if group.link:
        lines.append(f"       {plain(group.link, 600)}")
    return lines


def _facts(group: Group) -> dict[str, object]:
    return {
        "queue": fact(group.queue) or None,
        "rule": fact(group.rule) or None,
        "finding": group.finding or None,
        "cause": fact(group.cause) or None,
        "count": group.count,
        "examples": [fact(each) for each in group.examples],
    }
