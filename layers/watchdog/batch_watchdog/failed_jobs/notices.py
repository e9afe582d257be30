"""
The notice that a job on its own has failed.

Jobs that only failed because one that they depend on had failed are counted in that one's notice.
"""

from collections.abc import Sequence

from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.failure_cause import cause_of
from batch_watchdog.core.job_event import JobEvent, resource_name
from batch_watchdog.notices.links import job_link, log_group, log_text, queue_link
from batch_watchdog.notices.notice import Notice, subject
from batch_watchdog.notices.text import fact, iso, plain

_NAMED_MAX = 10  # followers that a text names
_LISTED_MAX = 1_000  # followers that the facts list


def is_news(change: JobEvent) -> bool:
    """Whether this is a failure to tell: not of a child or node, and not our own doing."""
    return (
        change.status == "FAILED"
        and change.kind in ("single", "multi-node", "service")
        and not change.reason.startswith(STOP_MARK)
    )


def job_failed(change: JobEvent, followers: Sequence[JobEvent] = ()) -> Notice:
    """The notice of a failure, and of the jobs that failed because of it."""
    name = _name(change)
    exit_code = "no exit code" if change.exit_code is None else f"exit code {change.exit_code}"
    of = f" in the container {plain(change.container, 60)}" if change.container else ""
    reasons = [plain(text, 500) for text in (change.reason, change.container_reason) if text]
    lines = [
        f"The job {name} in queue {plain(resource_name(change.queue))} failed at {iso(change.at)}"
        f" after {change.attempts} attempt{'s' * (change.attempts != 1)}: {exit_code}{of}.",
        *reasons,
        *_tell_followers(followers),
        "",
    ]
    log = log_text(change.queue, change.log_stream, change.log_place)
    if log:
        lines.append(f"Log:   {log}")
    lines.append(f"Job:   {job_link(change.queue, change.job_id)}")
    lines.append(f"Queue: {queue_link(change.queue)}")
    also = f", and {len(followers)} that depend on it" if followers else ""
    return Notice(
        kind="job-failed",
        id=f"job-failed:{change.job_id}",
        severity="warning",
        subject=subject(f"Job failed, {exit_code}{also}: {name}"),
        text="\n".join(lines),
        facts={
            "job_id": change.job_id,
            "job_name": fact(change.job_name),
            "queue": fact(resource_name(change.queue)),
            "definition": fact(resource_name(change.definition)),
            "attempts": change.attempts,
            "exit_code": change.exit_code,
            "container": fact(change.container) or None,
            "reason": fact(change.reason),
            "container_reason": fact(change.container_reason),
            "cause": cause_of(change).reason,
            "log_stream": fact(change.log_stream) or None,
            "log_group": log_group(change.log_stream, change.log_place),
            "failed_at": iso(change.at),
            **_facts_of(followers),
        },
    )


def jobs_not_begun(
    blamed: Sequence[str], known: JobEvent | None, followers: Sequence[JobEvent]
) -> Notice:
    """
    The notice of jobs that failed because one of `blamed` had failed, told apart from that one's.

    `known` is that job as Batch shows it now, where it does. By its own failure it has mostly
    been told before.
    """
    first = min(followers, key=lambda each: (each.at, each.job_id))
    cause = known.job_id if known else blamed[0] if blamed else ""
    name = _name(known) if known else plain(", ".join(blamed), 200) or "another job"
    count = len(followers)
    if known and known.status == "FAILED":
        exit_code = "" if known.exit_code is None else f", exit code {known.exit_code}"
        reasons = [plain(each, 500) for each in (known.reason, known.container_reason) if each]
        why = [f"The job {name} had failed{exit_code}.", *reasons]
    else:
        why = [f"A job that they depend on had failed: {name}."]
    links = [f"Cause: {job_link(first.queue, cause)}"] if cause else []
    return Notice(
        kind="job-failed",
        id=f"job-failed:{first.job_id}",
        severity="warning",
        subject=subject(f"{count} job{'s' * (count != 1)} not begun, as one failed: {name}"),
        text="\n".join(
            [
                *why,
                *_tell_followers(followers),
                "",
                *links,
                f"Job:   {job_link(first.queue, first.job_id)}",
                f"Queue: {queue_link(first.queue)}",
            ]
        ),
        facts={
            "job_id": first.job_id,
            "job_name": fact(first.job_name),
            "queue": fact(resource_name(first.queue)),
            "definition": fact(resource_name(first.definition)),
            "attempts": 0,
            "exit_code": None,
            "container": None,
            "reason": fact(first.reason),
            "container_reason": "",
            "cause": cause_of(first).reason,
            "log_stream": None,
            "log_group": None,
            "failed_at": iso(first.at),
            "failed_dependency": fact(cause) or None,
            **_facts_of(followers),
        },
    )


def _tell_followers(followers: Sequence[JobEvent]) -> list[str]:
    if not followers:
        return []
    count = len(followers)
    lines = [
        "",
        f"{count} job{'s' * (count != 1)} that depend{'s' * (count == 1)} on it never began, and"
        f" failed with it:",
    ]
    for each in followers[:_NAMED_MAX]:
        on = ", ".join(plain(job_id, 60) for job_id in each.depends_on[:3])
        lines.append(f"- {_name(each)} (dependsOn {on})" if on else f"- {_name(each)}")
    if count > _NAMED_MAX:
        lines.append(f"- … and {count - _NAMED_MAX} more, listed in the facts")
    return lines


def _facts_of(followers: Sequence[JobEvent]) -> dict[str, object]:
    if not followers:
        return {"followers": 0}
    return {
        "followers": len(followers),
        "follower_ids": [fact(each.job_id) for each in followers[:_LISTED_MAX]],
    }


def _name(change: JobEvent) -> str:
    return plain(change.job_name, 60) or plain(change.job_id)
