"""The digest: many notices of one thread in one message, by their groups."""

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from batch_watchdog.notices.notice import Notice, NoticeKind, subject
from batch_watchdog.notices.text import fact, iso, plain, span
from batch_watchdog.threads.rules import Collected, Group, Thread, by_size

_SHOWN_MAX = 20  # groups in the text
_IN_FULL_MAX = 3  # groups whose example is shown with its text


def digest_of(notices: Sequence[Notice], at: datetime) -> Notice:
    """One notice in place of many that come at once; the same on every delivery."""
    ids = "\n".join(notice.id for notice in notices)
    name = hashlib.sha256(ids.encode("utf-8", "replace")).hexdigest()[:16]
    collected = Collected().adding(notices, at)
    return _digest(collected, f"digest:{notices[0].kind}:{name}", "came at once")


def digest(thread: Thread) -> Notice:
    """What a thread's window has collected."""
    collected = thread.collected
    first, last = collected.first_at or thread.opened_at, collected.last_at or thread.opened_at
    when = f"came from {iso(first)} to {iso(last)}, after what was told before"
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
    for number, group in enumerate(groups[:_SHOWN_MAX]):
        lines += _tell(group, in_full=number < _IN_FULL_MAX)
    if len(groups) > _SHOWN_MAX:
        left = groups[_SHOWN_MAX:]
        lines += [f"- and {sum(each.count for each in left):,} in {len(left)} more groups", ""]
    lines += _tell_where_all_are(groups, kind)
    listed = "all of them" if len(collected.ids) == count else f"the first {len(collected.ids):,}"
    lines.append(f"The ids of {listed} are in the facts of this notice.")
    return Notice(
        kind="digest",
        id=notice_id,
        severity=collected.severity,
        subject=subject(_subject(collected, kind, groups)),
        text="\n".join(lines),
        facts={
            "of": kind,
            "kinds": dict(collected.kinds),
            "count": count,
            "ids": list(collected.ids),
            "groups": [_facts(group) for group in groups],
        },
    )


def _subject(collected: Collected, kind: NoticeKind, groups: Sequence[Group]) -> str:
    """How many of what kind; of the largest group queue or rule, and why."""
    if kind.startswith("guard-") and len(groups) == 1:
        return _subject_of_guard(collected, groups[0])
    largest = groups[0]
    where = largest.queue or largest.rule
    why = largest.finding or largest.cause
    more = f" and {len(groups) - 1} more" if len(groups) > 1 else ""
    return (
        f"{collected.count:,} × {kind}"
        + (f" in {plain(where, 30)}" if where else "")
        + (f": {plain(why, 40)}" if why else "")
        + more
    )


def _subject_of_guard(collected: Collected, group: Group) -> str:
    """What a guard has done, and for how long."""
    counts = [
        f"{verb} {_times(count)}"
        for kind, verb in _VERBS.items()
        if (count := collected.kinds.get(kind, 0))
    ]
    over = ""
    if collected.first_at and collected.last_at and collected.first_at < collected.last_at:
        over = f" in {span((collected.last_at - collected.first_at).total_seconds())}"
    return f"Guard {plain(group.rule, 30)}: {', '.join(counts)}{over}"


_VERBS: dict[NoticeKind, str] = {
    "guard-raised": "raised",
    "guard-released": "released",
    "guard-report": "reported",
}


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _tell(group: Group, *, in_full: bool) -> Iterator[str]:
    """How many, of what, and one of them as it would have been told alone."""
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
    yield f"- {group.count:,} × {', '.join(about) or 'no cause known'}{waited}"
    yield f"  e.g. {plain(group.subject, 120)}"
    if in_full:
        yield from (f"  | {plain(line, 600)}".rstrip() for line in group.text.split("\n"))
    if group.link and not (in_full and group.link in group.text):
        yield f"  {plain(group.link, 600)}"
    if group.latest != group.subject:
        yield f"  The latest: {plain(group.latest, 120)}"
    yield ""


def _tell_where_all_are(groups: Sequence[Group], kind: NoticeKind) -> list[str]:
    """The command that lists what the largest group tells of."""
    largest = groups[0]
    queue = shlex.quote(plain(largest.queue, 300))
    match kind:
        case _ if kind.startswith("guard-"):
            return ['To see the guards as they are now: the command "status".']
        case "queue-blocked" if largest.queue:
            command = f"aws batch get-job-queue-snapshot --job-queue {queue}"
        case _ if largest.queue:
            status = largest.status if kind == "limit-warning" else _STATUS.get(kind, "FAILED")
            command = f"aws batch list-jobs --job-queue {queue} --job-status {plain(status, 20)}"
        case _:
            return []
    return [f"To list them: {command}"]


_STATUS: dict[NoticeKind, str] = {"limit-escaped": "RUNNING", "array-progress": "RUNNING"}


def _facts(group: Group) -> dict[str, object]:
    return {
        "queue": fact(group.queue) or None,
        "rule": fact(group.rule) or None,
        "finding": group.finding or None,
        "cause": fact(group.cause) or None,
        "count": group.count,
        "examples": [fact(each) for each in group.examples],
    }
