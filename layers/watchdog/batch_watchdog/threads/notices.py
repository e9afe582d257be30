"""Build the digest: many notices of one thread in one message, by their groups."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from batch_watchdog.core.job_event import resource_name
from batch_watchdog.core.known_causes import title_of
from batch_watchdog.notices.kind_words import KIND_WORDS
from batch_watchdog.notices.notice import Notice, NoticeKind
from batch_watchdog.notices.phrases import Name, Phrase, counted, lines, row, say, subject
from batch_watchdog.notices.text import fact, iso, plain, span
from batch_watchdog.threads.groups import Group, by_size
from batch_watchdog.threads.rules import Collected, Thread

_SHOWN_MAX = 20  # groups in the text
_WHY_MAX = 40  # characters in the subject
_IN_FULL_MAX = 3  # groups whose example is shown with its text


def digest_of(notices: Sequence[Notice], at: datetime) -> Notice:
    """Build one notice in place of many that come at once; the same on every delivery."""
    ids = "\n".join(notice.id for notice in notices)
    name = hashlib.sha256(ids.encode("utf-8", "replace")).hexdigest()[:16]
    collected = Collected().adding(notices, at)
    return _digest(
        collected, f"digest:{notices[0].kind}:{name}", "{n} notices came at once: {what}."
    )


def digest(thread: Thread) -> Notice:
    """Build the digest of what a thread's window has collected."""
    collected = thread.collected
    first, last = collected.first_at or thread.opened_at, collected.last_at or thread.opened_at
    notice = _digest(
        collected,
        thread.digest_id,
        "{n} more notices came from {first} to {last}: {what}.",
        first=first,
        last=last,
    )
    lasted = int((last - first).total_seconds())
    facts = {
        "first_at": iso(first),
        "last_at": iso(last),
        "seconds": lasted,
        "thread": thread.id,
    }
    return replace(notice, facts=notice.facts | facts)


def _digest(collected: Collected, notice_id: str, opening: str, **when: datetime) -> Notice:
    groups = by_size(collected.groups)
    kinds = sorted(collected.kinds, key=lambda kind: (-collected.kinds[kind], kind))
    count, kind = collected.count, kinds[0]
    what = [say("{n} × {what}", n=collected.kinds[each], what=KIND_WORDS[each]) for each in kinds]
    body = [say(opening, n=count, what=row(what), **when), ""]
    for number, group in enumerate(groups[:_SHOWN_MAX]):
        body += _group_lines(group, in_full=number < _IN_FULL_MAX)
    if left := groups[_SHOWN_MAX:]:
        body += [
            say(
                "- and {n} in {groups}",
                n=sum(each.count for each in left),
                groups=counted(len(left), "{n} more group", "{n} more groups"),
            ),
            "",
        ]
    body += _where_all_are(groups, kind)
    body.append(
        say("The ids of all of them are in the facts of this notice.")
        if len(collected.ids) == count
        else say("The ids of the first {n} are in the facts of this notice.", n=len(collected.ids))
    )
    return Notice(
        kind="digest",
        id=notice_id,
        severity=collected.severity,
        subject=_subject(collected, kind, groups),
        text=lines(body),
        facts={
            "of": kind,
            "kinds": dict(collected.kinds),
            "count": count,
            "ids": list(collected.ids),
            "groups": [_facts(group) for group in groups],
        },
    )


def _subject(collected: Collected, kind: NoticeKind, groups: Sequence[Group]) -> Phrase:
    """Say how many of what kind, and the queue or rule and the cause of the largest group."""
    if kind.startswith("guard-") and len(groups) == 1:
        return _subject_of_guard(collected, groups[0])
    largest = groups[0]
    where = plain(resource_name(largest.queue) or largest.rule)
    why = title_of(largest.known_cause) or plain(largest.finding or largest.cause, _WHY_MAX)
    return subject(
        "{n} × {what}{where}{why}{more}",
        n=collected.count,
        what=KIND_WORDS[kind],
        where=say(" in {where}", where=Name(where)) if where else "",
        why=say(": {why}", why=why) if why else "",
        more=say(" and {n} more", n=len(groups) - 1) if len(groups) > 1 else "",
    )


def _subject_of_guard(collected: Collected, group: Group) -> Phrase:
    """Say what a guard has done, and within what time."""
    counts = [
        counted(count, *words)
        for kind, words in _VERBS.items()
        if (count := collected.kinds.get(kind, 0))
    ]
    over = ""
    if collected.first_at and collected.last_at and collected.first_at < collected.last_at:
        over = say(" in {lasted}", lasted=collected.last_at - collected.first_at)
    return subject(
        "Guard {guard}: {counts}{over}",
        guard=Name(plain(group.rule)),
        counts=row(counts),
        over=over,
    )


_VERBS: Mapping[NoticeKind, tuple[str, str]] = {
    "guard-raised": ("raised once", "raised {n} times"),
    "guard-released": ("released once", "released {n} times"),
    "guard-report": ("reported once", "reported {n} times"),
}


def _group_lines(group: Group, *, in_full: bool) -> Iterator[str]:
    """Yield how many there are, of what, and one of them as an example."""
    about = [
        say(template, name=plain(value))
        for template, value in (
            ("queue {name}", group.queue),
            ("rule {name}", group.rule),
            ("finding {name}", group.finding),
            ("cause {name}", group.cause),
        )
        if value
    ]
    yield say(
        "- {n} × {about}{waited}",
        n=group.count,
        about=row(about) if about else say("no cause known"),
        waited=_waited(group),
    )
    yield say("  e.g. {subject}", subject=plain(group.subject, 120))
    if in_full:
        yield from (f"  | {plain(line, 600)}".rstrip() for line in group.text.split("\n"))
    if group.link and not (in_full and group.link in group.text):
        yield f"  {plain(group.link, 600)}"
    if group.latest != group.subject:
        yield say("  The latest: {subject}", subject=plain(group.latest, 120))
    yield ""


def _waited(group: Group) -> str:
    if not group.waited:
        return ""
    low, high = (timedelta(seconds=seconds) for seconds in group.waited)
    if span(low.total_seconds()) == span(high.total_seconds()):
        return say("; waited {low}", low=low)
    return say("; waited {low} to {high}", low=low, high=high)


def _where_all_are(groups: Sequence[Group], kind: NoticeKind) -> list[str]:
    """Return the command that lists them, or those of the largest group, if there is one."""
    if kind.startswith("guard-"):
        return [say('To see the guards as they are now: the command "status".')]
    command = groups[0].command
    if not command:
        return []
    if all(group.command == command for group in groups):
        return [say("To list them: {command}", command=command)]
    return [say("To list the largest group: {command}", command=command)]


def _facts(group: Group) -> dict[str, object]:
    return {
        "queue": fact(group.queue) or None,
        "rule": fact(group.rule) or None,
        "finding": group.finding or None,
        "cause": fact(group.cause) or None,
        "count": group.count,
        "examples": [fact(each) for each in group.examples],
    }
