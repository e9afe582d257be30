"""Build notices of billing signals that raise no stage, and of stages that nothing justifies."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from batch_watchdog.guards.notices import listed_queues, queue_facts
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.state import GuardState
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Name, Phrase, kept, lines, say, subject
from batch_watchdog.notices.text import fact, iso, plain


def spend_alert(guard: str, evidence: Evidence, why: str) -> Notice:
    """Build the notice of a named budget's or monitor's message that raised nothing."""
    name = plain(guard, 64)
    alert_type = "FORECASTED" if evidence.forecasted else "ACTUAL"
    parts = {
        "alarm": Name(plain(evidence.alarm, 100)),
        "amount": evidence.amount or say("unknown"),
        "threshold": kept(evidence.threshold or say("unknown")),
        "budgeted": evidence.budgeted or say("unknown"),
        "kind": alert_type,
        "type": plain(evidence.budget_type) or "Cost",
    }
    template = (
        "Budget {alarm}: {kind} {type} {amount}, threshold {threshold}, budgeted {budgeted}"
        if evidence.source == "budget"
        else "Cost anomaly of {alarm}: {amount}, where {threshold} was expected"
    )
    limit = evidence.limit
    content = f"{evidence.source}\n{evidence.alarm}\n{evidence.detail}\n{evidence.budget_type}"
    digest = hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]
    return Notice(
        kind="spend-alert",
        id=f"spend-alert:{guard}:{evidence.at:%Y-%m-%d}:{digest}",
        severity="info",
        subject=subject(template, **parts),
        text=lines(
            [
                say("{words}.", words=say(template, **parts)),
                say("The message is of {at}.", at=evidence.at),
                "",
                say(
                    "The guard {guard} names it, and nothing was raised or stopped by it:",
                    guard=name,
                ),
                say("{words}.", words=why),
                "",
                say(
                    "What next: nothing needs to be done. Where a message like this one is to "
                    "raise a stage, name its threshold in the policy: "
                    "aws_budgets = [{{ name = …, percent = … }}]."
                ),
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


def vanished(state: GuardState, at: datetime) -> Notice:
    """Build the notice that a raised guard is not in the policy any more."""
    parts = _parts(state)
    return _trouble(
        state,
        at,
        "guard-vanished",
        subject("Guard {guard} is at {stage}, and the policy does not have it any more", **parts),
        [
            say(
                "The guard {guard} is at {stage}, and the policy in force does not have it.",
                **parts,
            ),
            say("It keeps its stage, stops nothing any more, and no alarm releases it."),
            _closed(state),
            "",
            say(
                "What to do: put the guard back into the policy, or give the command "
                '"release" for the guard "{guard}", which reopens its queues.',
                guard=parts["guard"],
            ),
        ],
    )


def leaves_closed(state: GuardState, at: datetime) -> Notice:
    """Build the notice that a calm guard has left the policy, and left queues closed."""
    parts = _parts(state)
    return _trouble(
        state,
        at,
        "guard-leaves-closed",
        subject(
            "Guard {guard} has left the policy, and queues that it closed stay closed", **parts
        ),
        [
            say(
                "The guard {guard} is calm. It could not reopen these queues at its release, and "
                "the policy in force does not have it and observes only: nobody reopens them.",
                **parts,
            ),
            _closed(state),
            "",
            say(
                'What to do: give the command "release" for the guard "{guard}", which reopens '
                "its queues.",
                guard=parts["guard"],
            ),
        ],
    )


def not_meant(state: GuardState, why: str, at: datetime) -> Notice:
    """Build the notice that the policy in force no longer justifies the stage of a raised guard."""
    entry, parts = state.entry, _parts(state)
    return _trouble(
        state,
        at,
        "guard-not-meant",
        subject("Guard {guard} is at {stage}, and nothing asks for that any more", **parts),
        [
            say(
                "The guard {guard} is at {stage}, and nothing asks for that any more: {why}.",
                why=why,
                **parts,
            ),
            *(
                [say("It was raised at {at}: {why}", at=entry.since, why=kept(entry.why))]
                if entry
                else []
            ),
            say(
                "It keeps its stage, and stops nothing any more; it may be that no alarm "
                "releases it."
            ),
            _closed(state),
            "",
            say(
                'What to do: give the command "release" for the guard "{guard}", which reopens '
                "its queues.",
                guard=parts["guard"],
            ),
            say(
                "Where jobs are to be stopped all the same, set a stage by hand "
                '("set-stage"), or put back into the policy what was taken out.'
            ),
        ],
        why=why,
    )


def _parts(state: GuardState) -> dict[str, str]:
    """Return the guard and its stage, for a text."""
    return {"guard": Name(plain(state.guard, 64)), "stage": state.stage}


def _trouble(
    state: GuardState, at: datetime, what: str, title: Phrase, text: Sequence[str], **facts: str
) -> Notice:
    """
    Build the notice of a guard whose stage or closed queues nothing justifies.

    `facts` are those that only some of these notices have.
    """
    run_id = state.entry.run_id if state.entry else ""
    # Of a calm guard there is one notice for each time that it was raised.
    last_entered = iso(state.last_entered) if state.last_entered else ""
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:{what}:{run_id or f'{state.guard}:{last_entered}'}",
        severity="critical",
        subject=title,
        text=lines(text),
        facts={
            "guard": state.guard,
            "stage": state.stage,
            "run_id": run_id,
            **facts,
            "queues_closed": queue_facts(state.closed),
            "at": iso(at),
        },
    )


def _closed(state: GuardState) -> Phrase:
    if not state.closed:
        return say("Queues that it keeps closed: none.")
    return say("Queues that it keeps closed: {queues}.", queues=listed_queues(state.closed))
