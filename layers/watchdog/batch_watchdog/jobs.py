"""The notice that a job on its own has failed."""

from batch_watchdog.arrays import cause_of
from batch_watchdog.changes import Change, resource_name
from batch_watchdog.effects import STOP_MARK
from batch_watchdog.notices import (
    Notice,
    fact,
    iso,
    job_link,
    log_link,
    plain,
    queue_link,
    region_of,
    subject,
)


def is_news(change: Change) -> bool:
    """Whether this is a failure to tell: not of a child or node, and not our own doing."""
    return (
        change.status == "FAILED"
        and change.kind in ("single", "multi-node", "service")
        and not change.reason.startswith(STOP_MARK)
    )


def failed(change: Change) -> Notice:
    """The notice of a failure."""
    name, region = plain(change.job_name, 60) or plain(change.job_id), region_of(change.queue)
    exit_code = "no exit code" if change.exit_code is None else f"exit code {change.exit_code}"
    reasons = [plain(text, 500) for text in (change.reason, change.container_reason) if text]
    lines = [
        f"The job {name} in queue {plain(resource_name(change.queue))} failed at {iso(change.at)}"
        f" after {change.attempts} attempt{'s' * (change.attempts != 1)}: {exit_code}.",
        *reasons,
        "",
    ]
    if change.log_stream:
        lines.append(f"Log:   {log_link(region, change.log_stream)}")
    lines.append(f"Job:   {job_link(region, change.job_id)}")
    lines.append(f"Queue: {queue_link(region, change.queue)}")
    return Notice(
        kind="job-failed",
        id=f"job-failed:{change.job_id}",
        severity="warning",
        subject=subject(f"Job failed, {exit_code}: {name}"),
        text="\n".join(lines),
        facts={
            "job_id": change.job_id,
            "job_name": fact(change.job_name),
            "queue": fact(resource_name(change.queue)),
            "definition": fact(resource_name(change.definition)),
            "attempts": change.attempts,
            "exit_code": change.exit_code,
            "reason": fact(change.reason),
            "container_reason": fact(change.container_reason),
            "cause": cause_of(change).reason,
            "log_stream": fact(change.log_stream) or None,
            "failed_at": iso(change.at),
        },
    )
