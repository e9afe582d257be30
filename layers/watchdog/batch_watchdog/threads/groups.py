"""Group the notices of a digest by what they are about."""

from collections.abc import Iterable
from dataclasses import dataclass

from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.text import plain
from batch_watchdog.threads.links_and_commands import command_for, link_of

EXAMPLES_MAX = 3  # of a group
_CAUSE_MAX = 200  # characters
_TEXT_MAX = 1_500


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
    text: str = ""  # its beginning
    link: str = ""  # the one to its job, else its first one
    command: str = ""  # that lists all of them, if one does
    latest: str = ""  # subject of the last notice
    waited: tuple[int, int] | None = None  # seconds: the shortest, and the longest
    known_cause: str = ""  # its code

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.queue, self.rule, self.finding, self.cause


def about(notice: Notice) -> tuple[str, str, str, str]:
    """Return the key of a notice's group."""
    facts = notice.facts
    findings = facts.get("findings") or ()
    return (
        str(facts.get("queue") or ""),
        str(facts.get("rule") or facts.get("guard") or facts.get("budget") or ""),
        str(findings[0]) if findings else "",
        plain(str(facts.get("cause") or ""), _CAUSE_MAX),
    )


def group_of(notice: Notice) -> Group:
    """Build the group of a single notice."""
    facts = notice.facts
    queue, rule, finding, cause = about(notice)
    waited = facts.get("waited_seconds")
    return Group(
        queue=queue,
        rule=rule,
        finding=finding,
        cause=cause,
        count=1,
        examples=(str(facts.get("job_id") or notice.id),),
        subject=notice.subject,
        text=notice.text[:_TEXT_MAX],
        link=link_of(notice),
        command=command_for(notice),
        known_cause=str(facts.get("known_cause") or ""),
        latest=notice.subject,
        waited=(int(waited), int(waited)) if isinstance(waited, int | float) else None,
    )


def by_size(groups: Iterable[Group]) -> list[Group]:
    """Sort groups, the largest first."""
    return sorted(groups, key=lambda group: (-group.count, group.key))


OTHERS = Group(cause="other")


def joined(known: Group, new: Group, key: tuple[str, str, str, str]) -> Group:
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
        text=known.text or new.text,
        link=known.link or new.link,
        command=new.command if new.command == known.command or not known.count else "",
        known_cause=known.known_cause or new.known_cause,
        latest=new.latest,
        waited=(min(low for low, _ in spans), max(high for _, high in spans)) if spans else None,
    )
