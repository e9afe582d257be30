"""The notices about jobs that stay too long."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from batch_watchdog.core.effects import StopJobs
from batch_watchdog.core.job_event import EPOCH, JobEvent, resource_name
from batch_watchdog.diagnosis.findings import Finding, finding_lines
from batch_watchdog.limits.stays import Stay
from batch_watchdog.notices.links import job_link, queue_link
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Name, Phrase, counted, kept, lines, row, say, subject
from batch_watchdog.notices.text import fact, iso, plain
from batch_watchdog.policy.model import Limit
from batch_watchdog.policy.tables import Action, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueJob:
    """A job that stays too long: all that a notice about it contains."""

    stay: Stay
    job: JobEvent
    limit: Limit
    limit_span: timedelta | None
    lasted: timedelta
    findings: Sequence[Finding] = ()
    first_known: datetime | None = None  # if the stay is known from before its `since`
    waits_anew: bool = False  # Events show that the job has waited again since.

    @property
    def enforced(self) -> bool:
        return self.limit.stops

    @property
    def about(self) -> str:
        """
        The stay's name, by which each decision about it is made only once.

        It includes the stay's beginning: a job may come back to a state in the same attempt.
        """
        began = math.ceil((self.first_known or self.stay.since).timestamp())
        at = EPOCH + timedelta(seconds=began)
        return f"{self.stay.job_id}:{self.stay.attempts}:{self.stay.status}:{iso(at)}"

    @property
    def name(self) -> Name:
        """The job's name; for an array's child with its index, as all children share one name."""
        name = plain(self.job.job_name, 128) or plain(self.job.job_id)
        return Name(f"{name} [{self.job.index}]" if self.job.kind == "child" else name)

    @property
    def parts(self) -> dict[str, Any]:
        """The values that most sentences about the job use."""
        return {
            "name": self.name,
            "status": self.stay.status,
            "lasted": self.lasted,
            "queue": Name(plain(resource_name(self.job.queue))),
        }


_IN_TIME: Mapping[tuple[Action, Mode], str] = {
    ("cancel", "enforce"): "Unless that changes, it will be cancelled in {left}.",
    ("cancel", "observe"): "Unless that changes, it would be cancelled in {left}.",
    ("terminate", "enforce"): "Unless that changes, it will be terminated in {left}.",
    ("terminate", "observe"): "Unless that changes, it would be terminated in {left}.",
    ("warn", "enforce"): "Unless that changes, it will be reported in {left}.",
    ("warn", "observe"): "Unless that changes, it would be reported in {left}.",
}


def warning(case: OverdueJob) -> Notice:
    """Build the notice that a job has stayed long, and why, while operators may still help it."""
    left = case.limit_span - case.lasted if case.limit_span else timedelta()
    will = (
        [say(_IN_TIME[case.limit.action, case.limit.mode], left=left)] if left > timedelta() else []
    )
    return _notice(
        case,
        kind="limit-warning",
        id_=f"limit-warning:{case.about}",
        severity="warning",
        head=subject("{status} for {lasted} in {queue}: {name}", **case.parts),
        news=[say("Nothing has been done to it."), *will],
    )


def shown_in_part(case: OverdueJob, lacking: Sequence[str]) -> Notice:
    """Build the notice that no limit is applied, as Batch does not show fields that rules need."""
    return _notice(
        case,
        kind="limit-warning",
        id_=f"limit-warning:{case.about}:shown-in-part",
        severity="warning",
        head=subject("{status} for {lasted} in {queue}, no limit applied: {name}", **case.parts),
        news=[
            say(
                "AWS Batch does not show its {fields}: no limit can be applied.",
                fields=row(lacking),
            ),
            say("As long as that is so, nothing is done to it. To stop it, stop it by hand."),
        ],
    )


def overstayed(case: OverdueJob) -> Notice:
    """Build the notice that a job has passed its limit, and what is, or would be, done."""
    limit = (
        say("its limit of {limit}", limit=case.limit_span) if case.limit_span else say("its limit")
    )
    if case.limit.action == "warn":
        return _notice(
            case,
            kind="limit-warning",
            id_=f"limit-warning:{case.about}:after",
            severity="warning",
            head=subject("{status} for {lasted} in {queue}, over its limit: {name}", **case.parts),
            news=[
                say(
                    "It has passed {limit}. No job is stopped by this rule as it applies here.",
                    limit=limit,
                )
            ],
        )
    head, news = _STOPS[case.limit.action == "cancel", case.enforced]
    then = (
        say("The watchdog checks again whether it has ended.")
        if case.enforced
        else say(
            'Nothing was done: this is observe mode. mode = "enforce" in the policy would do it.'
        )
    )
    return _notice(
        case,
        kind="limit-enforced",
        id_=f"limit-enforced:{case.about}" + _again(case),
        severity="warning",
        head=subject(head, **case.parts),
        news=[say(news, limit=limit), then],
    )


# The subject and the text, by whether the job is cancelled and whether the rule enforces.
_STOPS: Mapping[tuple[bool, bool], tuple[str, str]] = {
    (True, True): (
        "Job is being cancelled, {status} for {lasted} in {queue}: {name}",
        "It has passed {limit}, and is being cancelled.",
    ),
    (False, True): (
        "Job is being terminated, {status} for {lasted} in {queue}: {name}",
        "It has passed {limit}, and is being terminated.",
    ),
    (True, False): (
        "Job would be cancelled, {status} for {lasted} in {queue}: {name}",
        "It has passed {limit}, and would be cancelled.",
    ),
    (False, False): (
        "Job would be terminated, {status} for {lasted} in {queue}: {name}",
        "It has passed {limit}, and would be terminated.",
    ),
}


def escaped(case: OverdueJob, *, escalated: bool) -> Notice:
    """Build the notice that a job has gone on in spite of its stop, which Batch had accepted."""
    head = subject("Job started in spite of its stop, in {queue}: {name}", **case.parts)
    news = [say("It was to be stopped, and is {status} now.", status=plain(case.job.status))]
    if case.job.ended:
        head = subject("Job ended before its stop took effect, in {queue}: {name}", **case.parts)
        news.append(say("It had ended before the stop took effect. There is nothing left to do."))
    elif escalated:
        news.append(say("It is being terminated now, as the policy says (escalate)."))
    else:
        news.append(say("It is left to run. To stop it all the same, terminate it."))
    notice = _notice(
        case,
        kind="limit-escaped",
        id_=f"limit-escaped:{case.about}" + (_again(case) if escalated else ""),
        severity="warning",
        head=head,
        news=news,
    )
    return replace(notice, facts=notice.facts | {"escalated": True}) if escalated else notice


def unended(case: OverdueJob, stopped_at: datetime, now: datetime, *, terminated: bool) -> Notice:
    """Build the notice that a job has not ended long after Batch accepted its stop."""
    started = case.job.status not in ("SUBMITTED", "PENDING", "RUNNABLE")
    parts = case.parts | {"state": plain(case.job.status), "passed": now - stopped_at}
    why = (
        say(
            "Its container may not answer, or the agent on its instance: see both, and end the "
            "container or the instance by hand."
        )
        if started
        else say(
            "AWS Batch may keep a cancelled job until it is the first of its queue, or until the "
            "jobs that it depends on have ended. See what is at the head of the queue."
        )
    )
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:{case.about}:not-ended",
        severity="critical" if started else "warning",
        subject=subject("Still {state} {passed} after its stop, in {queue}: {name}", **parts),
        text=lines(
            [
                say(
                    "AWS Batch has accepted the stop of the job {name} that the watchdog asked for "
                    "at {at}. The job has not ended: it is {state}.",
                    at=stopped_at,
                    **parts,
                ),
                say("Rule: {rule}", rule=plain(case.limit.rule)),
                "",
                say("What to do:"),
                why,
                say("The watchdog checks the job every hour until it has ended."),
                *_links(case),
            ]
        ),
        facts=_facts(case)
        | {
            "asked_at": iso(stopped_at),
            "asked": "terminate" if terminated else "cancel",
            "status_now": fact(case.job.status),
        },
    )


def unstoppable(case: OverdueJob) -> Notice:
    """Build the notice that a job has not ended after all tries to stop it."""
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:{case.about}:unstoppable",
        severity="critical",
        subject=subject("Job cannot be stopped, in {queue}: {name}", **case.parts),
        text=lines(
            [
                say(
                    "Batch was asked {times} to stop the job {name}, and it is still {state}. The "
                    "watchdog does not try again.",
                    times=counted(case.stay.asked, "{n} time", "{n} times"),
                    name=case.name,
                    state=plain(case.job.status),
                ),
                say("Rule: {rule}", rule=plain(case.limit.rule)),
                "",
                say(
                    "What to do: see the results of the stops in the table, and stop the job by "
                    "hand."
                ),
                *_links(case),
            ]
        ),
        facts=_facts(case),
    )


def _links(case: OverdueJob) -> list[str]:
    return [
        "",
        say("Job:   {link}", link=job_link(case.job.queue, case.job.job_id)),
        say("Queue: {link}", link=queue_link(case.job.queue)),
    ]


def _again(case: OverdueJob) -> str:
    """Return what makes the id unique: a stop that was not made is announced again when made."""
    if not case.enforced:
        return ":observed"
    return f":{case.stay.stops + 1}" if case.stay.left_alone else ""


def left_alone(case: OverdueJob, stop: StopJobs, why: str) -> Notice:
    """Build the notice that the latest stop, which was announced, was not made."""
    parts = case.parts | {"state": plain(case.job.status)}
    if stop.how == "terminate":
        head = subject("Job was not terminated after all, in {queue}: {name}", **parts)
        news = [
            say("An earlier notice said that the job is being terminated. That was not done:"),
            say("{words}.", words=kept(why)),
            say("The job is {state} now. A notice follows if it is terminated.", **parts),
        ]
    else:
        head = subject("Job was not cancelled after all, in {queue}: {name}", **parts)
        news = [
            say("An earlier notice said that the job is being cancelled. That was not done:"),
            say("{words}.", words=kept(why)),
            say("The job is {state} now. A notice follows if it is cancelled.", **parts),
        ]
    return _notice(
        case,
        kind="limit-warning",
        id_=f"limit-warning:{case.about}:left-alone:{case.stay.stops}",
        severity="info",
        head=head,
        news=news,
    )


def _notice(  # noqa: PLR0913
    case: OverdueJob,
    *,
    kind: Literal["limit-warning", "limit-enforced", "limit-escaped"],
    id_: str,
    severity: Literal["info", "warning"],
    head: Phrase,
    news: Sequence[str],
) -> Notice:
    body: list[str] = [
        say("The job {name} in queue {queue} has been {status} for {lasted}.", **case.parts),
        *news,
        say("Rule: {rule}", rule=plain(case.limit.rule)),
    ]
    if case.findings:
        body += ["", say("Why it is stuck, as far as can be seen:")]
    return Notice(
        kind=kind,
        id=id_,
        severity=severity,
        subject=head,
        text=lines([*body, *finding_lines(case.findings)[1:], *_links(case)]),
        facts=_facts(case),
    )


def _facts(case: OverdueJob) -> dict[str, Any]:
    return {
        "job_id": case.job.job_id,
        "job_name": fact(case.job.job_name),
        "queue": fact(resource_name(case.job.queue)),
        "definition": fact(resource_name(case.job.definition)),
        "status": case.stay.status,
        **({"status_now": fact(case.job.status)} if case.job.status != case.stay.status else {}),
        **({"service": True} if case.stay.service else {}),
        "since": iso(case.stay.since),
        "attempts": case.stay.attempts,
        "waited_seconds": int(case.lasted.total_seconds()),
        "limit_seconds": int(case.limit_span.total_seconds()) if case.limit_span else None,
        "action": case.limit.action,
        "mode": case.limit.mode,
        "rule": fact(case.limit.rule),
        "findings": [finding.code for finding in case.findings],
        "evidence": [finding.evidence for finding in case.findings],
    }
