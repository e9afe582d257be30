"""Build the weekly notice: what each limit has stopped, or would have, and if it is safe."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import islice

from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import counted, lines, row, say, subject
from batch_watchdog.notices.text import plain
from batch_watchdog.rule_reports.rules import JUDGED_AFTER, RuleReport
from batch_watchdog.rule_reports.tally import Tally

_SHOWN = 20  # rules


def weekly(week: date, reports: Sequence[RuleReport], unpassed: Mapping[str, date]) -> Notice:
    """
    Build the report of the week that began on the Monday `week`.

    `unpassed` are rules that no job has passed, each with the day since which none has.
    """
    observed = sum(each.week.passed for each in reports if each.key.mode == "observe")
    enforced = sum(each.week.stopped for each in reports if each.key.mode == "enforce")
    parts = {"day": week.isoformat(), "enforced": enforced, "observed": observed}
    if enforced and observed:
        head = subject("Week of {day}: {enforced} stopped by limits, {observed} would be", **parts)
    elif enforced:
        head = subject(
            "Week of {day}: {jobs} stopped by limits",
            day=parts["day"],
            jobs=counted(enforced, "{n} job", "{n} jobs"),
        )
    else:
        head = subject(
            "Week of {day}: {jobs} would have been stopped by limits",
            day=parts["day"],
            jobs=counted(observed, "{n} job", "{n} jobs"),
        )
    shown = [line for report in reports[:_SHOWN] for line in ("", *_of_rule(report))]
    if len(reports) > _SHOWN:
        shown += ["", say("… and {n} more: the command report.", n=len(reports) - _SHOWN)]
    if unpassed:
        rules = row(
            say("{rule} since {day}", rule=plain(label), day=day.isoformat())
            for label, day in islice(unpassed.items(), _SHOWN)
        )
        shown += ["", say("Passed by no job: {rules}.", rules=rules)]
    return Notice(
        kind="rule-report",
        id=f"rule-report:{week.isoformat()}",
        severity="info",
        subject=head,
        text=lines(
            [
                say(
                    "What limits have done from {first} to {last}, and what became of the jobs:",
                    first=week.isoformat(),
                    last=(week + timedelta(days=6)).isoformat(),
                ),
                *shown,
                "",
                say("Up to now, and for programs: {command}", command='{"command": "report"}'),
            ]
        ),
        facts={
            "week": week.isoformat(),
            "rules": [report.facts for report in reports[:_SHOWN]],
            "not_passed": [plain(label) for label in islice(unpassed, _SHOWN)],
        },
    )


def _of_rule(report: RuleReport) -> Iterator[str]:
    key = report.key
    yield (
        say(
            "{rule}: {status} for more than {limit}",
            rule=plain(key.rule, 300),
            status=key.status,
            limit=timedelta(seconds=key.limit_seconds),
        )
        if key.limit_seconds
        else say("{rule}: {status}", rule=plain(key.rule, 300), status=key.status)
    )
    yield say("{jobs}{became}.", jobs=_jobs(report), became=_became(report.week, key.status))
    yield from _later(report.week)
    yield from _waited(report)
    yield _verdict(report)


def _jobs(report: RuleReport) -> str:
    count = report.week.passed
    if report.key.mode == "enforce":
        return counted(
            count, "Stopping was decided for {n} job", "Stopping was decided for {n} jobs"
        )
    return counted(count, "It would have stopped {n} job", "It would have stopped {n} jobs")


def _became(tally: Tally, status: str) -> str:
    went_on = (
        counted(tally.went_on, "{n} succeeded after all", "{n} succeeded after all")
        if status == "RUNNING"
        else counted(tally.went_on, "{n} started after all", "{n} started after all")
    )
    ended = (
        say("{n} ended without success", n=tally.ended)
        if status == "RUNNING"
        else say("{n} ended without a start", n=tally.ended)
    )
    parts = [
        (tally.stopped, say("{n} stopped", n=tally.stopped)),
        (tally.went_on, went_on),
        (tally.ended, ended),
        (tally.still_open, say("{n} not ended yet", n=tally.still_open)),
        (tally.unknown, say("{n} unknown: AWS Batch no longer shows them", n=tally.unknown)),
        (tally.exempted, say("{n} exempted by an operator", n=tally.exempted)),
    ]
    body = row(words for count, words in parts if count)
    return say(": {parts}", parts=body) if body else ""


def _later(tally: Tally) -> Iterator[str]:
    if tally.went_on == 1:
        yield say("It did so {longest} later.", longest=timedelta(seconds=tally.latest))
    elif tally.went_on:
        yield say(
            "They did so {median} later (median; the longest {longest}).",
            median=timedelta(seconds=tally.median),
            longest=timedelta(seconds=tally.latest),
        )


def _waited(report: RuleReport) -> Iterator[str]:
    vcpus, gpus = report.week.hours
    parts = {"vcpus": f"{vcpus:,.1f}", "gpus": f"{gpus:,.1f}"}
    if report.key.mode == "observe" and (vcpus or gpus):
        yield (
            say("After the limit they ran for {vcpus} vCPU-hours and {gpus} GPU-hours.", **parts)
            if report.key.status == "RUNNING"
            else say(
                "After the limit they waited for {vcpus} vCPU-hours and {gpus} GPU-hours.", **parts
            )
        )


def _verdict(report: RuleReport) -> str:
    jobs, spared = report.judged, report.would_have_spared
    parts = {
        "day": report.since.isoformat(),
        "jobs": counted(jobs.passed, "{n} job", "{n} jobs"),
    }
    match report.verdict:
        case "enforced":
            return say("The rule is enforced.")
        case "safe":
            return say(
                "Safe to enforce: since {day} none of {jobs} went on after all.",
                **parts,
            )
        case "not-safe" if spared:
            return say(
                "Not safe to enforce: since {day} {n} of {jobs} went on after all. A limit of "
                "{spared} would have stopped none of these.",
                n=jobs.went_on,
                spared=spared,
                **parts,
            )
        case "not-safe":
            return say(
                "Not safe to enforce: since {day} {n} of {jobs} went on after all.",
                n=jobs.went_on,
                **parts,
            )
        case "not-known":
            return _not_known(report, parts)


def _not_known(report: RuleReport, parts: Mapping[str, str]) -> str:
    jobs = report.judged
    if report.lasted is None:
        return say("The policy does not have this limit any more.")
    if not report.has_lasted:
        return say(
            "Whether it is safe to enforce is not known yet: it has been observed since {day}, and "
            "is judged after {lasted}.",
            lasted=JUDGED_AFTER,
            **parts,
        )
    return say(
        "Whether it is safe to enforce is not known yet: since {day} {n} of {jobs} are not known "
        "to have ended.",
        n=jobs.still_open + jobs.unknown,
        **parts,
    )
