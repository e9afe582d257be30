"""The whole Japanese catalogue."""

from collections.abc import Mapping

from batch_watchdog.notices.japanese import (
    arrays,
    budgets,
    causes,
    digests,
    findings,
    guards,
    health,
    jobs,
    kept,
    limits,
    rule_reports,
    trouble,
)

BETWEEN = {", ": "、", "; ": "。", " and ": "と", " or ": "または"}  # what stands in a row

TEXTS: Mapping[str, str] = {
    **BETWEEN,
    **arrays.TEXTS,
    **jobs.TEXTS,
    **causes.TEXTS,
    **findings.TEXTS,
    **guards.TEXTS,
    **limits.TEXTS,
    **rule_reports.TEXTS,
    **trouble.TEXTS,
    **digests.TEXTS,
    **budgets.TEXTS,
    **health.TEXTS,
}
# What may be read back from the table: why a guard was raised, what came of a stop.
KEPT: Mapping[str, str] = {
    **kept.TEXTS,
    **{
        template: TEXTS[template]
        for template in (
            "alarm {alarm}",
            "budget {alarm}",
            "cost anomaly monitor {alarm}",
            "unknown",
            "{what} went into ALARM at {at} ({amount}, threshold {threshold})",
            "{what} went into ALARM at {at}",
            "{what} says at {at} that its {kind} {type} is {amount}, threshold {threshold}",
            "{what} says at {at}: {amount}, where {threshold} was expected",
            "{lasted} at {stage} without relief: {alarms} still in ALARM",
            "{what}, and the guard no longer observes only",
            "alarm {alarm} is in ALARM",
            "budget {budget} is used",
            "{threshold} of {what} is used since {at} ({amount})",
            "{who} asked for it",
        )
    },
}
