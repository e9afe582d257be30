"""
Build the notice of a failed job that is not an array, a child or a node.

Jobs that failed only because a job that they depend on had failed are counted in its notice.
"""

from collections.abc import Iterator, Sequence

from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.failure_cause import cause_of, whole_reason
from batch_watchdog.core.job_event import JobEvent, resource_name
from batch_watchdog.core.known_causes import NO_CAUSE_OF_ITS_OWN, KnownCause, known_cause
from batch_watchdog.core.stop_cause import stopper_in, stopper_words
from batch_watchdog.notices.links import job_link, log_group, log_text, queue_link
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Name, Phrase, counted, lines, row, say, subject
from batch_watchdog.notices.text import fact, iso, plain

_NAMED_MAX = 10  # followers that a text names
_LISTED_MAX = 1_000  # followers that the facts list


def is_to_report(event: JobEvent) -> bool:
    """Whether to announce a failure: not of an array, a child or a node, and not our own stop."""
    return (
        event.status == "FAILED"
        and event.kind in ("single", "multi-node", "service")
        and not event.reason.startswith(STOP_MARK)
    )


def job_failed(event: JobEvent, followers: Sequence[JobEvent] = ()) -> Notice:
    """Build the notice of a failure, and of the jobs that failed because of it."""
    known = known_cause(event.exit_code, whole_reason(event.reason, event.container_reason))
    return Notice(
        kind="job-failed",
        id=f"job-failed:{event.job_id}",
        severity="warning",
        subject=_subject(event, known, len(followers)),
        text=lines(
            [
                _failure_line(event),
                *(plain(text, 500) for text in (event.reason, event.container_reason) if text),
                *_known_cause_lines(known),
                *_follower_lines(followers),
                "",
                *_log_lines(event),
                say("Job:   {link}", link=job_link(event.queue, event.job_id)),
                say("Queue: {link}", link=queue_link(event.queue)),
            ]
        ),
        facts={
            "job_id": event.job_id,
            "job_name": fact(event.job_name),
            "queue": fact(resource_name(event.queue)),
            "definition": fact(resource_name(event.definition)),
            **({"service": True} if event.kind == "service" else {}),
            "attempts": event.attempts,
            "exit_code": event.exit_code,
            "container": fact(event.container) or None,
            "reason": fact(event.reason),
            "container_reason": fact(event.container_reason),
            "cause": cause_of(event).reason,
            "known_cause": known.code if known else None,
            "log_stream": fact(event.log_stream) or None,
            "log_group": log_group(event.log_stream, event.log_place),
            "failed_at": iso(event.at),
            **_facts_of(followers),
        },
    )


def _subject(event: JobEvent, known: KnownCause | None, followers: int) -> Phrase:
    why: list[str] = [_exit_code(event)]
    if known and not known.exit_codes and known.code != NO_CAUSE_OF_ITS_OWN:
        why = [known.title] if event.exit_code is None else [*why, known.title]
    if followers:
        why.append(counted(followers, "and {n} that depends on it", "and {n} that depend on it"))
    return subject("Job failed, {why}: {name}", why=row(why), name=_name(event))


def _exit_code(event: JobEvent) -> Phrase:
    code = event.exit_code
    return say("no exit code") if code is None else say("exit code {code}", code=str(code))


def _failure_line(event: JobEvent) -> Phrase:
    parts = {
        "name": _name(event),
        "queue": plain(resource_name(event.queue)),
        "at": event.at,
        "attempts": counted(event.attempts, "{n} attempt", "{n} attempts"),
        "end": _end_phrase(event),
    }
    if not event.queue:
        return say(
            "The job {name}, in an unknown queue, failed at {at} after {attempts}: {end}.", **parts
        )
    return say("The job {name} in queue {queue} failed at {at} after {attempts}: {end}.", **parts)


def _end_phrase(event: JobEvent) -> Phrase:
    if not event.container:
        return _exit_code(event)
    return say(
        "{exit_code} in the container {container}",
        exit_code=_exit_code(event),
        container=plain(event.container, 60),
    )


def _known_cause_lines(known: KnownCause | None) -> list[str]:
    if known is None:
        return []
    return [
        "",
        known.meaning,
        say("What to do: {next_step}", next_step=known.next_step),
        say("See {page}", page=known.page),
    ]


def _log_lines(event: JobEvent) -> list[str]:
    log = log_text(event.queue, event.log_stream, event.log_place)
    return [say("Log:   {log}", log=log)] if log else []


def jobs_not_begun(
    blamed: Sequence[str], known: JobEvent | None, followers: Sequence[JobEvent]
) -> Notice:
    """
    Build the notice of jobs that failed because one of `blamed` had failed.

    It is separate from that job's own notice, which has mostly been sent before. `known` is that
    job as Batch describes it now, if it does. If the watchdog had stopped it, the notice says so.
    """
    first = min(followers, key=lambda each: (each.at, each.job_id))
    cause = known.job_id if known else blamed[0] if blamed else ""
    stopper = stopper_in(known.reason) if known else ""
    return Notice(
        kind="job-failed",
        id=f"job-failed:{first.job_id}",
        severity="warning",
        subject=_subject_of_not_begun(blamed, known, stopper, len(followers)),
        text=lines(
            [
                *_why_not_begun(blamed, known, stopper, len(followers)),
                *_follower_lines(followers),
                "",
                *([say("Cause: {link}", link=job_link(first.queue, cause))] if cause else []),
                say("Job:   {link}", link=job_link(first.queue, first.job_id)),
                say("Queue: {link}", link=queue_link(first.queue)),
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
            "known_cause": None,
            "log_stream": None,
            "log_group": None,
            "failed_at": iso(first.at),
            "failed_dependency": fact(cause) or None,
            "stopped_by": [stopper] if stopper else [],
            **_facts_of(followers),
        },
    )


def _subject_of_not_begun(
    blamed: Sequence[str], known: JobEvent | None, stopper: str, count: int
) -> Phrase:
    jobs = counted(count, "{n} job", "{n} jobs")
    name = _name(known) if known else Name(plain(", ".join(blamed), 200))
    if stopper:
        return subject(
            "{jobs} not begun, as {stopper} stopped one: {name}",
            jobs=jobs,
            stopper=stopper_words(stopper),
            name=name,
        )
    if not name:
        return subject("{jobs} not begun, as another job failed", jobs=jobs)
    return subject("{jobs} not begun, as one failed: {name}", jobs=jobs, name=name)


def _why_not_begun(
    blamed: Sequence[str], known: JobEvent | None, stopper: str, count: int
) -> Iterator[str]:
    if known is None or known.status != "FAILED":
        name = _name(known) if known else plain(", ".join(blamed), 200)
        if name:
            yield counted(
                count,
                "A job that it depends on had failed: {name}.",
                "A job that they depend on had failed: {name}.",
                name=name,
            )
        else:
            yield counted(
                count,
                "A job that it depends on had failed.",
                "A job that they depend on had failed.",
            )
        return
    if stopper:
        yield say(
            "The job {name} was stopped by this watchdog, and has not failed: {stopper}.",
            name=_name(known),
            stopper=stopper_words(stopper),
        )
    elif known.exit_code is None:
        yield say("The job {name} had failed.", name=_name(known))
    else:
        yield say(
            "The job {name} had failed, {exit_code}.",
            name=_name(known),
            exit_code=_exit_code(known),
        )
    yield from (plain(each, 500) for each in (known.reason, known.container_reason) if each)


def _follower_lines(followers: Sequence[JobEvent]) -> list[str]:
    if not followers:
        return []
    count = len(followers)
    body: list[str] = [
        "",
        counted(
            count,
            "{n} job that depends on it never began, and failed with it:",
            "{n} jobs that depend on it never began, and failed with it:",
        ),
    ]
    for each in followers[:_NAMED_MAX]:
        on = ", ".join(plain(job_id, 60) for job_id in each.depends_on[:3])
        parts = {"name": _name(each), "jobs": on, "n": each.size or 0}
        if each.kind == "array":
            body.append(say("- {name}, an array of {n} (dependsOn {jobs})", **parts))
        else:
            body.append(say("- {name} (dependsOn {jobs})" if on else "- {name}", **parts))
    if count > _NAMED_MAX:
        body.append(say("- … and {n} more, listed in the facts", n=count - _NAMED_MAX))
    return body


def _facts_of(followers: Sequence[JobEvent]) -> dict[str, object]:
    if not followers:
        return {"followers": 0}
    return {
        "followers": len(followers),
        "follower_ids": [fact(each.job_id) for each in followers[:_LISTED_MAX]],
    }


def _name(event: JobEvent) -> Name:
    return Name(plain(event.job_name, 128) or plain(event.job_id))
