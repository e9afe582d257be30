"""Build the notice that a guard was raised, and the parts that all notices of guards share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from batch_watchdog.core.job_event import resource_name
from batch_watchdog.guards.matching import told_by_aws
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.state import StageEntry, StageName, StopAction, hardness
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Name, Phrase, kept, lines, row, say, subject
from batch_watchdog.notices.text import fact, iso, plain
from batch_watchdog.policy.guard_tables import Guard, Stage
from batch_watchdog.policy.tables import Mode

_IS_DONE: Mapping[tuple[StopAction, Mode], Phrase] = {
    ("cancel", "enforce"): say(
        "What is done: Jobs that wait (SUBMITTED, PENDING, RUNNABLE; service jobs also SCHEDULED) "
        "are cancelled, and so are retries and new jobs while the stage lasts. What runs finishes."
    ),
    ("cancel", "observe"): say(
        "What would be done: Jobs that wait (SUBMITTED, PENDING, RUNNABLE; service jobs also "
        "SCHEDULED) would be cancelled, and so would be retries and new jobs while the stage "
        "lasts. What runs finishes."
    ),
    ("terminate", "enforce"): say(
        "What is done: All jobs are stopped, running ones too, and so are retries and new jobs "
        "while the stage lasts."
    ),
    ("terminate", "observe"): say(
        "What would be done: All jobs would be stopped, running ones too, and so would be retries "
        "and new jobs while the stage lasts."
    ),
}
_IN_SHORT: Mapping[tuple[StopAction, Mode], str] = {
    ("cancel", "enforce"): "Guard {guard}: cancelling waiting jobs{because}",
    ("cancel", "observe"): "Guard {guard}: would cancel waiting jobs{because}",
    ("terminate", "enforce"): "Guard {guard}: terminating all jobs{because}",
    ("terminate", "observe"): "Guard {guard}: would terminate all jobs{because}",
}
SHOWN_MAX = 20  # queues or reasons in a text; the facts have all


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """
    What follows when a stage is entered.

    `released_with` are the alarms whose OKs will release the guard. `ends` are the budgets and
    anomaly monitors for which the end of a period will, each with that end. Both are empty if only
    an operator can release it. `is_held` says that an operator holds the watchdog.
    """

    before: StageName
    closes_queues: bool
    terminates_at: datetime | None = None
    released_with: tuple[str, ...] = ()
    ends: tuple[tuple[str, datetime], ...] = ()
    is_held: bool = False


def raised(rule: Guard, entry: StageEntry, outlook: Outlook, evidence: Evidence | None) -> Notice:
    """Build the notice that a stage was entered (also after a return from terminate to cancel)."""
    name, observing = Name(plain(rule.name, 64)), entry.mode == "observe"
    body: list[str] = [
        say(
            "The guard {guard} went from {before} to {stage} at {at}.",
            guard=name,
            before=outlook.before,
            stage=entry.stage,
            at=entry.since,
        ),
        "",
        say("Why: {why}", why=kept(entry.why)),
    ]
    if evidence and evidence.detail:
        body.append(say("It says: {words}", words=evidence.detail))
    body += ["", _IS_DONE[entry.stage, entry.mode]]
    if outlook.closes_queues and observing:
        body.append(say("The queues in scope that are open would be closed to new jobs."))
    elif outlook.closes_queues:
        body.append(say("The queues in scope that are open are closed to new jobs."))
    body.append(say("Scope: {scope}.", scope=plain(str(rule.match), 300)))
    if rule.spare:
        body.append(say("Spared: {scope}.", scope=plain(str(rule.spare), 300)))
    body += ["", say("What next:"), *_next_steps(rule, entry, outlook)]
    return Notice(
        kind="guard-raised",
        id=f"guard-raised:{entry.run_id}",
        severity="critical" if entry.stage == "terminate" and not observing else "warning",
        subject=subject(
            _IN_SHORT[entry.stage, entry.mode], guard=name, because=_because(entry, evidence)
        ),
        text=lines(body),
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


def _because(entry: StageEntry, evidence: Evidence | None) -> str:
    """Return what raised a stage, short enough for a subject: with the numbers, if known."""
    if evidence and evidence.source == "live":
        budget = Name(plain(evidence.alarm, 100))
        return say(" (budget {budget} at {threshold})", budget=budget, threshold=evidence.threshold)
    if evidence and evidence.amount and evidence.threshold:
        amount, threshold = (
            each.removesuffix(".0") for each in (evidence.amount, evidence.threshold)
        )
        return say(" ({amount} of {threshold})", amount=Name(amount), threshold=kept(threshold))
    if evidence:
        return say(" ({cause})", cause=Name(plain(evidence.alarm, 100)))
    return say(" (by {who})", who=Name(plain(entry.by, 100))) if entry.by else ""


def _next_steps(rule: Guard, entry: StageEntry, outlook: Outlook) -> Iterable[str]:
    if entry.mode == "observe":
        yield say(
            "- Nothing is stopped or closed: this guard observes. To let it act, set its mode to "
            '"enforce" in the policy.'
        )
    else:
        yield say("- A report follows when what was to be stopped has been stopped.")
    if outlook.is_held:
        yield say(
            "- An operator holds the watchdog: nothing is stopped or closed until the command "
            '"resume", and the time until then does not count.'
        )
    if outlook.terminates_at and outlook.is_held:
        yield say(
            "- Without relief it goes on to terminate at {at} or later.", at=outlook.terminates_at
        )
    elif outlook.terminates_at:
        yield say("- Without relief it goes on to terminate at {at}.", at=outlook.terminates_at)
    harder = _harder_stage(rule, entry.stage)
    if harder and (alarms := [name for name, _ in told_by_aws(harder)]):
        yield say(
            "- It goes on to terminate at once with an ALARM of {alarms}.",
            alarms=listed(alarms, "or"),
        )
    if harder and harder.budgets:
        shares = [
            say(
                "{percent} % of budget {budget}",
                percent=f"{each.percent:.15g}",
                budget=plain(each.name, 100),
            )
            for each in harder.budgets
        ]
        yield say(
            "- It goes on to terminate at once when {shares} is used.", shares=listed(shares, "or")
        )
    until: list[str] = []
    if outlook.released_with:
        until.append(say("the OK of {alarms}", alarms=listed(outlook.released_with, "and")))
    if outlook.ends:
        ends = [
            say("{alarm} (at {at})", alarm=plain(name, 100), at=at) for name, at in outlook.ends
        ]
        until.append(say("the end of the period of {alarms}", alarms=listed(ends, "and")))
    parts = {"guard": plain(rule.name, 64), "relief": listed(until, "and")}
    if until:
        yield say(
            '- It is released by itself with {relief}; or by an operator: the command "release" '
            'for the guard "{guard}".',
            **parts,
        )
    else:
        yield say(
            '- Only an operator releases it: the command "release" for the guard "{guard}".',
            **parts,
        )


def _harder_stage(rule: Guard, stage: StageName) -> Stage | None:
    return next((each for each in rule.stage if hardness(each.action) > hardness(stage)), None)


# ---- Parts --------------------------------------------------------------------------------


def facts_of(guard: str, stage: StageName, action: str, mode: Mode) -> dict[str, Any]:
    """Return the facts of every notice of a guard; the counts are 0 until a report sets them."""
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


def listed(names: Sequence[str], word: Literal["and", "or"]) -> str:
    """Join names: "a, b and c". A name that is not a phrase is made safe to show."""
    shown = [name if isinstance(name, Phrase) else plain(name, 100) for name in names[:SHOWN_MAX]]
    if len(names) > len(shown):
        shown.append(say("{n} more", n=len(names) - len(shown)))
    if len(shown) < 2:  # noqa: PLR2004
        return shown[0] if shown else ""
    both = "{first} and {last}" if word == "and" else "{first} or {last}"
    return say(both, first=row(shown[:-1]), last=shown[-1])


def listed_queues(queues: Sequence[str]) -> str:
    return listed([resource_name(queue) for queue in queues], "and")


def queue_facts(queues: Sequence[str]) -> list[str]:
    return [fact(resource_name(queue)) for queue in queues]
