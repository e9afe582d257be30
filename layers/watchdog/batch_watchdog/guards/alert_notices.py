"""Notices about billing signals that raise no stage, and about guards missing in the policy."""

import hashlib
from datetime import datetime

from batch_watchdog.guards.notices import listed_queues, queue_facts
from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.state import GuardState
from batch_watchdog.notices.notice import Notice, subject
from batch_watchdog.notices.text import fact, iso, plain


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


def vanished(state: GuardState, at: datetime) -> Notice:
    """The policy does not have a guard any more that is raised."""
    entry, name = state.entry, plain(state.guard, 64)
    stage, run_id = (entry.stage, entry.run_id) if entry else ("calm", "")
    closed = listed_queues(state.closed) or "no queue"
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
            "queues_closed": queue_facts(state.closed),
            "at": iso(at),
        },
    )


def not_meant(state: GuardState, why: str, at: datetime) -> Notice:
    """A guard is raised, and by the policy in force nothing asks for its stage any more."""
    entry, name = state.entry, plain(state.guard, 64)
    stage, run_id = (entry.stage, entry.run_id) if entry else ("calm", "")
    closed = listed_queues(state.closed) or "no queue"
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:guard-not-meant:{run_id}",
        severity="critical",
        subject=subject(f"Guard {name} is at {stage}, and nothing asks for that any more"),
        text="\n".join(
            [
                f"The guard {name} is at {stage}, and nothing asks for that any more: {why}.",
                *([f"It was raised at {iso(entry.since)}: {entry.why}"] if entry else []),
                "It keeps its stage, and stops nothing any more; it may be that no alarm releases "
                "it.",
                f"Queues that it keeps closed: {closed}.",
                "",
                f'What to do: give the command "release" for the guard "{name}", which reopens '
                "its queues.",
                'Where jobs are to be stopped all the same, set a stage by hand ("set-stage"), or '
                "put back into the policy what was taken out.",
            ]
        ),
        facts={
            "guard": state.guard,
            "stage": stage,
            "run_id": run_id,
            "why": why,
            "queues_closed": queue_facts(state.closed),
            "at": iso(at),
        },
    )
