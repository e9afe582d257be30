"""
Decide what must be known of a job before a stop run can tell whether its guard stops it. Pure.

A list shows no tags. A part that a list or a description lacks might spare the job. So the job is
not stopped until that part is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch_watchdog.core.job_event import WAITING
from batch_watchdog.guards.state import StopAction
from batch_watchdog.policy.guard_tables import Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A job as rules match it: as a list shows it (without tags), or as it is described."""

    job_name: str
    queue: str
    definition: str
    tags: Mapping[str, str] = field(default_factory=dict)


def as_listed(detail: Mapping[str, Any], queue: str) -> Listed:
    """Build a job of a queue from what a list or a description shows of it."""
    return Listed(
        job_name=detail.get("jobName") or "",
        queue=queue,
        definition=detail.get("jobDefinition") or "",
        tags={key: value or "" for key, value in (detail.get("tags") or {}).items()},
    )


def named_by(rule: Guard, *, service: bool) -> Sequence[str]:
    """Return the names of what must be shown of a job, besides its queue and tags."""
    matches = [rule.match, *([rule.spare] if rule.spare else [])]
    by_definition = any(each.definition is not None for each in matches) and not service
    return ("jobName", "jobDefinition") if by_definition else ("jobName",)


def needs_tags(rule: Guard, job: Listed, status: str, action: StopAction) -> bool:
    """Whether what is to be done about a job depends on its tags."""
    if not rule.match.may_match(job):
        return False
    if rule.match.tags:
        return True
    stops = status in WAITING or action == "terminate"
    return bool(stops and rule.spare and rule.spare.tags and rule.spare.may_match(job))
