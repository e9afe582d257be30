"""The notices of a guard: it was raised, what its run stopped, its release, a spending alert."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batch_watchdog.changes import resource_name
from batch_watchdog.evidence import Evidence
from batch_watchdog.guard_state import Entry, GuardState, StageName, StopAction, hardness
from batch_watchdog.notices import Notice, fact, iso, plain, span, subject
from batch_watchdog.policy import Guard, Mode, Stage

_STOPPED_AT: Mapping[StopAction, str] = {
    "cancel": (
        "Jobs that wait (SUBMITTED, PENDING, RUNNABLE; service jobs also SCHEDULED) {are} "
        "cancelled, and so {are} retries and new jobs while the stage lasts. What runs finishes."
    ),
    "terminate": (
        "All jobs {are} stopped, running ones too, and so {are} retries and new jobs while the "
        "stage lasts."
    ),
}
_SHOWN = 20  # queues or reasons in a text; the facts have all


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """
    What a stop run came to. Every job that it found is counted once.

    `cancelled` and `terminated` have ended since. `not_ended` were asked to stop, and the last look
    still found them; of `not_known` nothing has shown yet whether they ended. `left_running`
    had started and, at `cancel`, may finish; `escaped` were to be stopped and ran or ended all the
    same; `failed` counts by reason those that Batch would not stop. The first of `escaped`,
    `failed` and `not_ended` are named.
    """

    cancelled: int = 0
    terminated: int = 0
    left_running: int = 0
    spared: int = 0
    escaped: int = 0
    not_ended: int = 0
    not_known: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    escaped_jobs: tuple[str, ...] = ()
    failed_jobs: tuple[str, ...] = ()
    not_ended_jobs: tuple[str, ...] = ()

    @property
    def found(self) -> int:
        stopped = self.cancelled + self.terminated + self.not_ended + self.not_known
        return stopped + self.left_running + self.spared + self.escaped + sum(self.failed.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """
    What an entering of a stage brings with it.

    `released_with` are the alarms whose OKs will release the guard, `ends` the budgets and anomaly
    monitors whose period will, with its end: both are empty where only an operator can. `is_held`
    says that an operator holds the watchdog.
    """

    before: StageName
    closes_queues: bool
    terminates_at: datetime | None = None
    released_with: tuple[str, ...] = ()
    ends: tuple[tuple[str, datetime], ...] = ()
    is_held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """
    How a guard became calm.

    `stopped` is what its last stage stopped in all. `still_closed` are queues that it closed and
    cannot reopen yet, `still_ringing` its alarms that are in ALARM as far as is known.
    """

    at: datetime
    mode: Mode
    why: str
    by: str = ""
    reopened: tuple[str, ...] = ()
    still_closed: tuple[str, ...] = ()
    still_ringing: tuple[str, ...] = ()
    stopped: Tally = Tally()


def raised(rule: Guard, entry: Entry, outlook: Outlook, evidence: Evidence | None) -> Notice:
    """A stage was entered (also: an operator went back from terminate to cancel)."""
    name, observing = plain(rule.name, 64), entry.mode == "observe"
    are = "would be" if observing else "are"
    lines = [
        f"The guard {name} went from {outlook.before} to {entry.stage} at {iso(entry.since)}.",
        "",
        f"Why: {entry.why}",
    ]
    if evidence and evidence.detail:
        lines.append(f"It says: {evidence.detail}")
    done = "What would be done" if observing else "What is done"
    lines += ["", f"{done}: {_STOPPED_AT[entry.stage].format(are=are)}"]
    if outlook.closes_queues:
        lines.append(f"The queues in scope that are open {are} closed to new jobs.")
    lines.append(f"Scope: {plain(str(rule.match), 300)}.")
    if rule.spare:
        lines.append(f"Spared: {plain(str(rule.spare), 300)}.")
    lines += ["", "What next:", *_next_steps(rule, entry, outlook)]
    verb = "would " if observing else ""
    return Notice(
        kind="guard-raised",
        id=f"guard-raised:{entry.run_id}",
        severity="critical" if entry.stage == "terminate" and not observing else "warning",
        subject=subject(f"Guard {name}: {verb}{entry.stage} ({entry.why})"),
        text="\n".join(lines),
        facts=_facts(rule.name, entry.stage, entry.stage, entry.mode)
        | {
            "run_id": entry.run_id,
            "previous_stage": outlook.before,
            "since": iso(entry.since),
            "why": entry.why,
            "by": fact(entry.by) or None,
            "evidence": _evidence_facts(evidence),
            "release": rule.release,
            "terminates_at": iso(outlook.terminates_at) if outlook.terminates_at else None,
        },
    )


def _next_steps(rule: Guard, entry: Entry, outlook: Outlook) -> Iterable[str]:
    if entry.mode == "observe":
        yield (
            "- Nothing is stopped or closed: this guard observes. To let it act, set its mode to "
            '"enforce" in the policy.'
        )
    else:
        yield "- A report follows when what was to be stopped has been stopped."
    if outlook.is_held:
        yield (
            "- An operator holds the watchdog: nothing is stopped or closed until the command "
            '"resume", and the time until then does not count.'
        )
    if outlook.terminates_at:
        later = " or later" * outlook.is_held
        yield f"- Without relief it goes on to terminate at {iso(outlook.terminates_at)}{later}."
    harder = _harder_stage(rule, entry.stage)
    alarms = [*harder.alarms, *map(str, harder.aws_budgets)] if harder else []
    if alarms:
        yield f"- It goes on to terminate at once with an ALARM of {_listed(alarms, 'or')}."
    command = f'the command "release" for the guard "{plain(rule.name, 64)}"'
    until = []
    if outlook.released_with:
        until.append(f"the OK of {_listed(outlook.released_with, 'and')}")
    if outlook.ends:
        ends = [f"{name} (at {iso(at)})" for name, at in outlook.ends]
        until.append(f"the end of the period of {_listed(ends, 'and')}")
    if until:
        ends_it = " and ".join(until)
        yield f"- It is released by itself with {ends_it}; or by an operator: {command}."
    else:
        yield f"- Only an operator releases it: {command}."


def _harder_stage(rule: Guard, stage: StageName) -> Stage | None:
    return next((each for each in rule.stage if hardness(each.action) > hardness(stage)), None)


def released(guard: str, entry: Entry, release: Release) -> Notice:
    """The guard is calm again; `entry` is the stage that it left."""
    name = plain(guard, 64)
    lasted = span((release.at - entry.since).total_seconds())
    lines = [
        f"The guard {name} went from {entry.stage} to calm at {iso(release.at)}, after {lasted}.",
        "",
        f"Why: {release.why}",
        "",
        f"Stopped while it lasted: {_in_words(release.stopped, entry)}.",
        f"Reopened: {_listed_queues(release.reopened) or 'no queue'}.",
    ]
    if release.still_closed:
        because = (
            "another guard holds them, or they follow within minutes"
            if release.mode == "enforce"
            else "this guard observes now, and opens nothing"
        )
        lines.append(f"Still closed: {_listed_queues(release.still_closed)} ({because}).")
    lines += [
        "",
        "What next:",
        "- What was stopped is not submitted again: its owners can do that.",
    ]
    if release.still_ringing:
        lines.append(
            f"- Still in ALARM, as far as is known: {_listed(release.still_ringing, 'and')}. The "
            "guard is raised again when an alarm goes into ALARM anew."
        )
    return Notice(
        kind="guard-released",
        id=f"guard-released:{entry.run_id}",
        severity="info",
        subject=subject(f"Guard {name}: released ({release.why})"),
        text="\n".join(lines),
        # The counts are of the stage: in observe mode it stopped nothing, whatever the mode is now.
        facts=_facts(guard, "calm", "release", entry.mode)
        | _counts(release.stopped)
        | {
            "queues_reopened": _queue_facts(release.reopened),
            "queues_still_closed": _queue_facts(release.still_closed),
            "run_id": entry.run_id,
            "previous_stage": entry.stage,
            "since": iso(entry.since),
            "at": iso(release.at),
            "why": release.why,
            "by": fact(release.by) or None,
        },
    )


def report(
    guard: str,
    entry: Entry,
    tally: Tally,
    *,
    at: datetime,
    queues_closed: Sequence[str] = (),
) -> Notice:
    """What a stop run came to, or in observe mode would have."""
    name, observing = plain(guard, 64), entry.mode == "observe"
    would = "would have been " if observing else ""
    took = span((at - entry.since).total_seconds())
    failed = sum(tally.failed.values())
    lines = [
        f"The guard {name} has looked through its scope, {took} after it went to {entry.stage}.",
        "",
        f"Why: {entry.why}",
        "",
        f"{tally.found:>9,} jobs found, of which",
        f"{tally.cancelled:>9,} {would}cancelled",
        f"{tally.terminated:>9,} {would}terminated",
        f"{tally.left_running:>9,} left to run",
        f"{tally.spared:>9,} spared",
        f"{tally.escaped:>9,} escaped: they ran or ended before they were stopped",
        f"{tally.not_ended:>9,} asked to stop, and still there",
        f"{tally.not_known:>9,} asked to stop, and not known yet whether they ended",
        f"{failed:>9,} not stopped, as Batch refused",
    ]
    most = sorted(tally.failed.items(), key=lambda each: (-each[1], each[0]))
    lines += [f"{'':>9} - {count:,} × {plain(why)}" for why, count in most[:_SHOWN]]
    closed = _listed_queues(queues_closed) or "no queue"
    lines += ["", f"Queues that {'would be' if observing else 'were'} closed: {closed}."]
    if failed:
        lines += ["", "What next: see why Batch refused, and stop those jobs by hand."]
    if tally.not_ended:
        lines += ["", "What is still there is looked at every few minutes until it is gone."]
    stopped = tally.cancelled + tally.terminated
    verb = "would stop" if observing else "stopped"
    return Notice(
        kind="guard-report",
        id=f"guard-report:{entry.run_id}",
        severity="warning" if failed or tally.not_ended else "info",
        subject=subject(
            f"Guard {name}: {entry.stage} {verb} {stopped:,} of {tally.found:,} jobs"
            + (f", {failed:,} could not be stopped" if failed else "")
            + (f", {tally.not_ended:,} still there" if tally.not_ended else "")
        ),
        text="\n".join(lines),
        facts=_facts(guard, entry.stage, entry.stage, entry.mode)
        | _counts(tally)
        | {
            "queues_closed": _queue_facts(queues_closed),
            "run_id": entry.run_id,
            "since": iso(entry.since),
            "at": iso(at),
            "found": tally.found,
            "failed": {fact(why): count for why, count in most},
            "escaped_jobs": list(tally.escaped_jobs),
            "failed_jobs": list(tally.failed_jobs),
            "not_ended_jobs": list(tally.not_ended_jobs),
        },
    )


def spend_alert(guard: str, evidence: Evidence, why: str) -> Notice:
    """A message of a budget or an anomaly that a guard names, and that raised nothing."""
    name, alarm = plain(guard, 64), plain(evidence.alarm, 100)
    alert_type = "FORECASTED" if evidence.forecasted else "ACTUAL"
    amount, threshold = evidence.amount or "unknown", evidence.threshold or "unknown"
    budget_type = plain(evidence.budget_type) or "Cost"
    if evidence.source == "budget":
        says = (
            f"{alert_type} {budget_type} of the budget {alarm}: {amount}, threshold {threshold}, "
            f"budgeted {evidence.budgeted or 'unknown'}"
        )
    else:
        says = f"Cost anomaly of {alarm}: {amount}, where {threshold} was expected"
    limit = evidence.limit
    content = f"{evidence.source}\n{evidence.alarm}\n{evidence.detail}\n{evidence.budget_type}"
    digest = hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]
    return Notice(
        kind="spend-alert",
        id=f"spend-alert:{guard}:{evidence.at:%Y-%m-%d}:{digest}",
        severity="info",
        subject=subject(says),
        text="\n".join(
            [
                f"{says}.",
                f"The message is of {iso(evidence.at)}.",
                "",
                f"The guard {name} names it, and nothing was raised or stopped by it:",
                f"{why}.",
                "",
                "What next: nothing needs to be done. Where a message like this one is to raise a "
                "stage,",
                "name its threshold in the policy: aws_budgets = [{ name = …, percent = … }].",
            ]
        ),
        facts={
            "guard": guard,
            "budget": fact(evidence.alarm),
            "budget_type": evidence.budget_type or None,
            "alert_type": alert_type if evidence.source == "budget" else "ANOMALY",
            "amount": evidence.amount,
            "threshold": evidence.threshold,
            "budgeted": evidence.budgeted,
            "percent": round(limit.percent, 2) if limit and limit.percent is not None else None,
            "at": iso(evidence.at),
            "why": why,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StillThere:
    """Jobs whose stop AWS Batch accepted long ago: the first, how many, the first one's time."""

    jobs: tuple[str, ...]
    count: int
    asked_at: datetime


def still_there(guard: str, entry: Entry, found: StillThere, at: datetime) -> Notice:
    """Jobs whose stop AWS Batch accepted long ago have not ended."""
    jobs, count, asked_at = found.jobs, found.count, found.asked_at
    name, how = plain(guard, 64), "cancel" if entry.stage == "cancel" else "terminate"
    lasted = span((at - asked_at).total_seconds())
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:not-ended:{entry.run_id}",
        severity="warning",
        subject=subject(f"Guard {name}: {count:,} jobs are still there, {lasted} after their stop"),
        text="\n".join(
            [
                f"The guard {name} asked AWS Batch to {how} {count:,} jobs, the first of them "
                f"{lasted} ago.",
                "Batch accepted it, and they have not ended:",
                "",
                *(f"- {plain(job, 100)}" for job in jobs[:_SHOWN]),
                *([f"- and {count - _SHOWN:,} more"] if count > _SHOWN else []),
                "",
                "What next: see what they do. A cancelled job may wait until it is the first of "
                "its queue;",
                "a terminated one may ignore its signal, or its instance may not answer. The "
                "watchdog goes",
                "on looking until they are gone, and counts none of them as stopped.",
            ]
        ),
        facts={
            "guard": guard,
            "stage": entry.stage,
            "run_id": entry.run_id,
            "not_ended": count,
            "job_ids": list(jobs),
            "asked_at": iso(asked_at),
            "at": iso(at),
        },
    )


def vanished(state: GuardState, at: datetime) -> Notice:
    """The policy does not have a guard any more that is raised."""
    entry, name = state.entry, plain(state.guard, 64)
    stage, run_id = (entry.stage, entry.run_id) if entry else ("calm", "")
    closed = _listed_queues(state.closed) or "no queue"
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:guard-vanished:{run_id}",
        severity="critical",
        subject=subject(f"Guard {name} is at {stage}, and the policy does not have it any more"),
        text="\n".join(
            [
                f"The guard {name} is at {stage}, and the policy in force does not have it.",
                "It keeps its stage, stops nothing any more, and no alarm releases it.",
                f"Queues that it keeps closed: {closed}.",
                "",
                "What to do: put the guard back into the policy, or give the command "
                f'"release" for the guard "{name}", which reopens its queues.',
            ]
        ),
        facts={
            "guard": state.guard,
            "stage": stage,
            "run_id": run_id,
            "queues_closed": _queue_facts(state.closed),
            "at": iso(at),
        },
    )


# ---- Parts --------------------------------------------------------------------------------


def _facts(guard: str, stage: StageName, action: str, mode: Mode) -> dict[str, Any]:
    """What every notice of a guard has; the counts are those of its run's report."""
    return {
        "guard": guard,
        "stage": stage,
        "action": action,
        "mode": mode,
        "cancelled": 0,
        "terminated": 0,
        "left_running": 0,
        "spared": 0,
        "escaped": 0,
        "not_ended": 0,
        "not_known": 0,
        "queues_closed": [],
        "queues_reopened": [],
    }


def _counts(tally: Tally) -> dict[str, int]:
    return {
        "cancelled": tally.cancelled,
        "terminated": tally.terminated,
        "left_running": tally.left_running,
        "spared": tally.spared,
        "escaped": tally.escaped,
        "not_ended": tally.not_ended,
        "not_known": tally.not_known,
    }


def _in_words(stopped: Tally, entry: Entry) -> str:
    count = stopped.cancelled + stopped.terminated
    how = "cancelled" if entry.stage == "cancel" else "terminated"
    would = "would have been " if entry.mode == "observe" else ""
    words = [f"{count:,} job{'s' * (count != 1)} {would}{how}"]
    if stopped.not_ended:
        words.append(f"{stopped.not_ended:,} asked to stop, and still there at the last look")
    if stopped.not_known:
        words.append(f"{stopped.not_known:,} asked to stop, and not known yet whether they ended")
    return "; ".join(words)


def _evidence_facts(evidence: Evidence | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    return {
        "source": evidence.source,
        "alarm": evidence.alarm,
        "state": evidence.state,
        "at": iso(evidence.at),
        "forecasted": evidence.forecasted,
        "budget_type": evidence.budget_type or None,
        "budgeted": evidence.budgeted or None,
        "amount": evidence.amount,
        "threshold": evidence.threshold,
        "detail": evidence.detail,
    }


def _listed(names: Sequence[str], word: str) -> str:
    shown = [plain(name, 100) for name in names[:_SHOWN]]
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown)} more")
    return f" {word} ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def _listed_queues(queues: Sequence[str]) -> str:
    return _listed([resource_name(queue) for queue in queues], "and")


def _queue_facts(queues: Sequence[str]) -> list[str]:
    return [fact(resource_name(queue)) for queue in queues]
