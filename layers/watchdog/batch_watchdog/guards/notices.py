"""The notices of a guard: it was raised, what its run stopped, its release, a spending alert."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch_watchdog.core.job_event import resource_name
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.state import StageEntry, StageName, StopAction, hardness
from batch_watchdog.guards.stop_run.counts import Tally, counted, in_words
from batch_watchdog.notices.notice import Notice, subject
from batch_watchdog.notices.text import fact, iso, plain, span
from batch_watchdog.policy.guard_tables import Guard, Stage
from batch_watchdog.policy.tables import Mode

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
SHOWN_MAX = 20  # queues or reasons in a text; the facts have all


_NOTHING = Tally()


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
class ReleaseFacts:
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
    stopped: Tally = _NOTHING


def raised(rule: Guard, entry: StageEntry, outlook: Outlook, evidence: Evidence | None) -> Notice:
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
        facts=facts_of(rule.name, entry.stage, entry.stage, entry.mode)
        | {
            "run_id": entry.run_id,
            "previous_stage": outlook.before,
            "since": iso(entry.since),
            "why": entry.why,
            "by": fact(entry.by) or None,
            "evidence": evidence_facts(evidence),
            "release": rule.release,
            "terminates_at": iso(outlook.terminates_at) if outlook.terminates_at else None,
        },
    )


def _next_steps(rule: Guard, entry: StageEntry, outlook: Outlook) -> Iterable[str]:
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
        yield f"- It goes on to terminate at once with an ALARM of {listed(alarms, 'or')}."
    command = f'the command "release" for the guard "{plain(rule.name, 64)}"'
    until = []
    if outlook.released_with:
        until.append(f"the OK of {listed(outlook.released_with, 'and')}")
    if outlook.ends:
        ends = [f"{name} (at {iso(at)})" for name, at in outlook.ends]
        until.append(f"the end of the period of {listed(ends, 'and')}")
    if until:
        ends_it = " and ".join(until)
        yield f"- It is released by itself with {ends_it}; or by an operator: {command}."
    else:
        yield f"- Only an operator releases it: {command}."


def _harder_stage(rule: Guard, stage: StageName) -> Stage | None:
    return next((each for each in rule.stage if hardness(each.action) > hardness(stage)), None)


def released(guard: str, entry: StageEntry, release: ReleaseFacts) -> Notice:
    """The guard is calm again; `entry` is the stage that it left."""
    name = plain(guard, 64)
    lasted = span((release.at - entry.since).total_seconds())
    lines = [
        f"The guard {name} went from {entry.stage} to calm at {iso(release.at)}, after {lasted}.",
        "",
        f"Why: {release.why}",
        "",
        f"Stopped while it lasted: {in_words(release.stopped, entry)}.",
        f"Reopened: {listed_queues(release.reopened) or 'no queue'}.",
    ]
    if release.still_closed:
        because = (
            "another guard holds them, or they follow within minutes"
            if release.mode == "enforce"
            else "this guard observes now, and opens nothing"
        )
        lines.append(f"Still closed: {listed_queues(release.still_closed)} ({because}).")
    lines += [
        "",
        "What next:",
        "- What was stopped is not submitted again: its owners can do that.",
    ]
    if release.still_ringing:
        lines.append(
            f"- Still in ALARM, as far as is known: {listed(release.still_ringing, 'and')}. The "
            "guard is raised again when an alarm goes into ALARM anew."
        )
    return Notice(
        kind="guard-released",
        id=f"guard-released:{entry.run_id}",
        severity="info",
        subject=subject(f"Guard {name}: released ({release.why})"),
        text="\n".join(lines),
        # The counts are of the stage: in observe mode it stopped nothing, whatever the mode is now.
        facts=facts_of(guard, "calm", "release", entry.mode)
        | counted(release.stopped)
        | {
            "queues_reopened": queue_facts(release.reopened),
            "queues_still_closed": queue_facts(release.still_closed),
            "run_id": entry.run_id,
            "previous_stage": entry.stage,
            "since": iso(entry.since),
            "at": iso(release.at),
            "why": release.why,
            "by": fact(release.by) or None,
        },
    )


# ---- Parts --------------------------------------------------------------------------------


def facts_of(guard: str, stage: StageName, action: str, mode: Mode) -> dict[str, Any]:
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


def evidence_facts(evidence: Evidence | None) -> dict[str, Any] | None:
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


def listed(names: Sequence[str], word: str) -> str:
    shown = [plain(name, 100) for name in names[:SHOWN_MAX]]
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown)} more")
    return f" {word} ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def listed_queues(queues: Sequence[str]) -> str:
    return listed([resource_name(queue) for queue in queues], "and")


def queue_facts(queues: Sequence[str]) -> list[str]:
    return [fact(resource_name(queue)) for queue in queues]
