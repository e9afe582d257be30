"""ListJobs and ListServiceJobs of the simulated Batch: pages, scopes and filters."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from typing import Any

from local.aws.errors import ApiError
from local.batch.answers import described, listed_status, node_count, node_summary, summarised
from local.batch.state import Job, Queue

_PAGE_MAX = 1000
_FILTERED_PAGE_MAX = 100
_SERVICE_PAGE_MAX = 100


def place_of(params: dict[str, Any]) -> int:
    """Return the place after which the page begins: the request's token, or 0."""
    token = params.get("nextToken") or "0"
    if not token.isdecimal():
        raise ApiError("ClientException", f"nextToken {token} is not valid")
    return int(token)


def page(
    name: str, found: Iterator[tuple[int, dict[str, Any]]], params: dict[str, Any], most: int
) -> dict[str, Any]:
    """
    Return one page of `found`: the items after the request's token, each with its place.

    Places do not change while jobs come and go, so no job is skipped between two pages.
    """
    asked = params.get("maxResults") or most
    if asked < 1:
        raise ApiError("ClientException", "maxResults must be at least 1")
    items = list(islice(found, min(asked, most) + 1))
    shown = items[: min(asked, most)]
    answer: dict[str, Any] = {name: [item for _, item in shown]}
    if len(items) > len(shown):
        answer["nextToken"] = str(shown[-1][0])
    return answer


def list_queue(queue: Queue, params: dict[str, Any], *, service: bool) -> dict[str, Any]:
    """List the queue's jobs in one status, or those that match a filter; no array children."""
    most = _SERVICE_PAGE_MAX if service else _PAGE_MAX
    if params.get("filters"):
        found = _filtered(queue, params, service=service)
        most = _FILTERED_PAGE_MAX
    else:
        line = queue.line(_status(params), service=service)
        found = ((job.place, job) for job in line.after(place_of(params)))
    return page("jobSummaryList", _summaries(found), params, most)


def list_children(parent: Job, params: dict[str, Any]) -> dict[str, Any]:
    """List an array's children in one status."""
    return page("jobSummaryList", _summaries(_children(parent, params)), params, _PAGE_MAX)


def list_nodes(job: Job, params: dict[str, Any]) -> dict[str, Any]:
    """List the nodes of a multi-node parallel job; they share its status."""
    count = node_count(job) if listed_status(job) == _status(params) else 0
    found = ((node + 1, node_summary(job, node)) for node in range(place_of(params), count))
    return page("jobSummaryList", found, params, _PAGE_MAX)


def _status(params: dict[str, Any]) -> str:
    return params.get("jobStatus") or "RUNNING"


def _summaries(found: Iterator[tuple[int, Job]]) -> Iterator[tuple[int, dict[str, Any]]]:
    return ((place, summarised(job)) for place, job in found)


def _children(parent: Job, params: dict[str, Any]) -> Iterator[tuple[int, Job]]:
    if parent.children is None:
        return
    status = _status(params)
    for index in range(place_of(params), parent.children.size):
        child = parent.children.jobs.get(index)
        if child and listed_status(child) == status:
            yield index + 1, child


def _filtered(queue: Queue, params: dict[str, Any], *, service: bool) -> Iterator[tuple[int, Job]]:
    """
    Yield the matching jobs, the latest first.

    Places count down, and new jobs get higher places: the places of the others do not change.
    """
    if not queue.in_order:
        queue.jobs.sort(key=lambda job: job.created_ms)
        queue.in_order = True
    chosen = params["filters"][0]
    name, values = chosen.get("name", ""), chosen.get("values") or [""]
    status = params.get("jobStatus") if name == "SHARE_IDENTIFIER" else None
    first, last = _created_between(queue, name, values[0])
    start = (place_of(params) or last + 1) - 2
    for at in range(min(start, last - 1), first - 1, -1):
        job = queue.jobs[at]
        shown = listed_status(job)
        if not shown or job.service != service or status not in (None, shown):
            continue
        if _matches(job, name, values):
            yield at + 1, job


def _created_between(queue: Queue, name: str, value: str) -> tuple[int, int]:
    """Return the first and the end position of the queue's jobs that a time filter leaves."""
    first, last = 0, len(queue.jobs)
    if name.endswith("_CREATED_AT"):
        if not value.isdecimal():
            raise ApiError("ClientException", f"{name} needs milliseconds, not {value}")
        after = name.startswith("AFTER")
        at = bisect_left(queue.jobs, int(value) + after, key=lambda job: job.created_ms)
        first, last = (at, last) if after else (first, at)
    return first, last


def _matches(job: Job, name: str, values: list[str]) -> bool:
    detail = described(job)
    match name:
        case "BEFORE_CREATED_AT" | "AFTER_CREATED_AT":
            return True
        case "SHARE_IDENTIFIER":
            return detail.get("shareIdentifier") in values
        case "JOB_NAME":
            given = detail["jobName"].lower()
            return any(_begins_or_is(given, each.lower()) for each in values)
        case "JOB_DEFINITION":
            arn = detail.get("jobDefinition", "")
            plain = arn.rpartition("/")[2].partition(":")[0]
            return any(each == arn or _begins_or_is(plain, each) for each in values)
        case _:
            raise ApiError("ClientException", f"filter {name} is not valid")


def _begins_or_is(text: str, pattern: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
