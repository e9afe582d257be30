"""Find where the job of a notice is to be seen: a link, and a command of the AWS CLI."""

import re
import shlex

from batch_watchdog.core.job_event import ENDED, STARTED, WAITING
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.text import plain

_STATES = (*WAITING, *STARTED, *ENDED)
# Kinds whose facts have the state of the job, or of the array.
_IN_STATUS = (
    "array-completed",
    "limit-warning",
    "limit-enforced",
    "limit-escaped",
    "watchdog-trouble",
)
_LINK = re.compile(r"https://\S+")
_JOB_LINK = re.compile(r"https://\S+#jobs/detail/\S+")


def link_of(notice: Notice) -> str:
    """Return the link to the job of a notice, or else its first link."""
    # A notice ends with its own links; a job's text, which comes before, may hold others.
    links = _JOB_LINK.findall(notice.text)[-1:] or _LINK.findall(notice.text)[:1]
    return str(links[0]) if links else ""


def command_for(notice: Notice) -> str:
    """Return the command that lists the job of a notice, or "" if none is known to do so."""
    facts = notice.facts
    queue = shlex.quote(plain(str(facts.get("queue") or ""), 300))
    job_id = str(facts.get("job_id") or "")
    if not facts.get("queue"):
        return ""
    if notice.kind == "queue-blocked":
        is_blocked = facts.get("state") == "blocked"
        return f"aws batch get-job-queue-snapshot --job-queue {queue}" if is_blocked else ""
    status = _status_of(notice)
    if status not in _STATES or "#" in job_id:  # A job's nodes are not among the queue's jobs.
        return ""
    parent, is_child, _ = job_id.rpartition(":")
    if is_child:
        # ListJobs shows children only by their array.
        array = shlex.quote(plain(parent))
        return f"aws batch list-jobs --array-job-id {array} --job-status {status}"
    what = "list-service-jobs" if facts.get("service") else "list-jobs"
    return f"aws batch {what} --job-queue {queue} --job-status {status}"


def _status_of(notice: Notice) -> str:
    """Return the state that the job of a notice is in, or will be in soon; "" if not known."""
    facts = notice.facts
    now = str(facts.get("status_now") or facts.get("status") or "")
    is_observed = facts.get("mode") == "observe" or facts.get("left_alone")
    match notice.kind:
        case "job-failed":
            return "FAILED"
        case "limit-enforced" | "array-stopped" if not is_observed:
            return "FAILED"
        case "array-stopped" | "array-progress":
            return "PENDING"  # An array stays in it until all its children have ended.
        case "limit-escaped" if facts.get("escalated"):
            return ""
        case kind:
            return now if kind in _IN_STATUS else ""
