"""
Determine the tags that rules use for an array's child: the tags of its array.

AWS does not let anyone tag a child, and does not document which tags DescribeJobs returns for one.
So a child may show its array's tags, no tags, or the tags that the array was submitted with. Rules
use the tags that the array has now. Where both have a tag for the watchdog, the value that stops
less counts.
https://docs.aws.amazon.com/batch/latest/APIReference/API_TagResource.html
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from batch_watchdog.core.job_event import JobEvent, array_child
from batch_watchdog.policy.durations import parse_span
from batch_watchdog.policy.model import EXEMPT_TAG, TAG_PREFIX, is_exempt, knows_tags, tag_problems

type Detail = Mapping[str, Any]  # in the API's own shape
type Describe = Callable[[Iterable[str]], Mapping[str, Detail]]


@dataclass(frozen=True, slots=True)
class TaggedJobs:
    """
    Describes jobs by `describe`, and gives children the tags of their arrays.

    `arrays` are those that have been described: each is described once.
    """

    describe: Describe
    arrays: dict[str, Detail | None] = field(default_factory=dict)

    def described(self, job_ids: Iterable[str]) -> dict[str, Detail]:
        """Return the jobs that Batch knows, by id. Without its array, a child has no `tags`."""
        ids = dict.fromkeys(job_ids)
        arrays = self._unknown(ids)
        shown = self.describe([*ids, *arrays])
        self.arrays.update({array: shown.get(array) for array in arrays})
        return {job_id: self._tagged(job_id, shown[job_id]) for job_id in ids if job_id in shown}

    def _unknown(self, job_ids: Iterable[str]) -> list[str]:
        of_children = (child[0] for child in map(array_child, job_ids) if child)
        return [array for array in dict.fromkeys(of_children) if array not in self.arrays]

    def _tagged(self, job_id: str, detail: Detail) -> Detail:
        child = array_child(job_id)
        own = detail.get("tags")
        if child is None or not isinstance(own, Mapping):
            return detail
        of_array = (self.arrays[child[0]] or {}).get("tags")
        if not isinstance(of_array, Mapping):  # The array's tags might exempt the child.
            return {name: item for name, item in detail.items() if name != "tags"}
        return {**detail, "tags": tags_of_child(own, of_array)}


def with_tags(
    events: Sequence[JobEvent],
    matter: Callable[[JobEvent], bool],
    describe: Describe,
    describe_service: Describe,
) -> list[JobEvent]:
    """
    Return job events with the tags that their jobs have now.

    A job is described only where its tags `matter` and the event may lack them. For a child, its
    array is described instead, whatever tags the event has.
    """
    asked = {
        event.parent_id or event.job_id: event.kind == "service"
        for event in events
        if (event.parent_id or not knows_tags(event.tags)) and matter(event)
    }
    details = dict(describe(each for each, service in asked.items() if not service))
    details |= describe_service(each for each, service in asked.items() if service)
    known = {
        job_id: _texts(detail["tags"])
        for job_id, detail in details.items()
        if isinstance(detail.get("tags"), Mapping)
    }
    return [replace(event, tags=_tags_now(event, known)) for event in events]


def _texts(tags: Mapping[str, str | None]) -> dict[str, str]:
    return {str(key): str(value or "") for key, value in tags.items()}


def _tags_now(event: JobEvent, known: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    if event.parent_id in known:
        return tags_of_child(event.tags, known[event.parent_id])
    return known.get(event.job_id, event.tags)


def tags_of_child(
    own: Mapping[str, str | None], of_array: Mapping[str, str | None]
) -> dict[str, str]:
    """
    Return the tags of a child: those of its array.

    A tag that only the child has was removed from the array after it was submitted. It counts only
    if it protects the child from limits: an exemption, or a watchdog tag that cannot be read. Where
    both have a tag for the watchdog, the value that stops less counts.
    """
    kept = {key: own[key] for key in own.keys() - of_array.keys() if _protects(key, own[key])}
    joined = _texts({**kept, **of_array})
    for key in own.keys() & of_array.keys():
        if key.startswith(TAG_PREFIX):
            both = of_array[key] or "", own[key] or ""
            joined[key] = max(both, key=lambda value: _mildness(key, value))
    return joined


def _protects(key: str, value: str | None) -> bool:
    return is_exempt({key: value or ""}) or bool(tag_problems({key: value or ""}))


def _mildness(key: str, value: str) -> tuple[int, timedelta]:
    if key == EXEMPT_TAG and is_exempt({key: value}):
        return 2, timedelta()
    if tag_problems({key: value}):
        return 1, timedelta()
    return 0, timedelta() if key == EXEMPT_TAG else parse_span(value.strip())
