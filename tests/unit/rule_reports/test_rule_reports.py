"""What a report says of a limit, to programs and to people."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from batch_watchdog.notices.languages import Language
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.rule_reports.followed import RuleKey
from batch_watchdog.rule_reports.notices import weekly
from batch_watchdog.rule_reports.rules import (
    RuleReport,
    Span,
    answer,
    limits_of,
    reports,
    unpassed,
)
from batch_watchdog.rule_reports.tally import Tally
from tests.makers import at

WEEK = date(2025, 12, 29)
KEY = RuleKey(
    rule="limit[1] (match queue gpu)",
    status="RUNNABLE",
    limit_seconds=3_600,
    action="cancel",
    mode="observe",
)
ENFORCED = replace(KEY, mode="enforce")
WENT_ON = Tally(
    passed=3, went_on=2, ended=1, later={77: 1, 86: 1}, soonest=1_500, latest=3_600, longest=9_000
)


FIRST = date(2025, 12, 8)
NOW = at("12:00")


def a_report(
    judged: Tally, key: RuleKey = KEY, lasted: timedelta | None = timedelta(days=7)
) -> RuleReport:
    return RuleReport(key=key, week=judged, judged=judged, since=FIRST, lasted=lasted)


def a_span(**days: float) -> Span:
    """A policy that has the limits of these rules for so many days."""
    has = {name: NOW - timedelta(days=for_) for name, for_ in days.items()}
    return Span(first=FIRST, now=NOW, has=lambda key: has.get(key.rule.partition("[")[0]))


@pytest.mark.parametrize(
    ("judged", "verdict"),
    [
        (Tally(passed=3, ended=2, stopped=1), "safe"),
        (Tally(passed=3, ended=2, went_on=1), "not-safe"),
        (Tally(passed=3, ended=1, went_on=1), "not-safe"),
        (Tally(passed=3, ended=2), "not-known"),
        (Tally(passed=3, ended=2, unknown=1), "not-known"),
        (Tally(exempted=2), "not-known"),
    ],
)
def test_a_rule_is_safe_when_all_have_ended_and_none_went_on(judged: Tally, verdict: str) -> None:
    assert a_report(judged).verdict == verdict
    assert a_report(judged, ENFORCED).verdict == "enforced"


def test_a_rule_is_judged_by_all_weeks_and_not_by_the_last_one() -> None:
    [report] = reports({KEY: Tally(passed=1, ended=1)}, [{KEY: Tally(passed=1, ended=1)},
                                                         {KEY: WENT_ON}], a_span())  # fmt: skip

    assert (report.week.passed, report.judged.passed, report.verdict) == (1, 4, "not-safe")


def test_a_longer_limit_spares_the_longest_wait_of_all_that_went_on() -> None:
    spared = a_report(WENT_ON).would_have_spared

    assert spared == timedelta(hours=3)
    assert spared > timedelta(seconds=WENT_ON.longest)
    assert a_report(Tally(passed=1, ended=1)).would_have_spared is None


def test_the_most_jobs_come_first() -> None:
    other = replace(KEY, limit_seconds=60)
    week = {KEY: Tally(passed=1), other: Tally(passed=2)}

    assert [each.key for each in reports(week, [week], a_span())] == [other, KEY]


def test_rules_that_nobody_has_passed_are_named_but_not_those_that_only_warn() -> None:
    policy = parse_policy(
        '[[limit]]\nmatch = { queue = "gpu" }\nRUNNABLE = { after = "1h" }\n'
        '[[limit]]\nmatch = { queue = "spot" }\nRUNNABLE = { after = "1h" }\n'
        '[[limit]]\nRUNNABLE = { after = "1h", action = "warn" }\n'
    )

    assert unpassed(policy, [a_report(WENT_ON)], a_span(limit=2)) == {
        "limit[2] (match queue spot)": date(2025, 12, 30)
    }


def test_a_rule_counts_as_new_where_any_of_its_limits_is() -> None:
    policy = parse_policy('[[limit]]\nRUNNABLE = { after = "1h" }\nRUNNING = { after = "1h" }\n')
    has = {"RUNNABLE": NOW - timedelta(days=20), "RUNNING": NOW - timedelta(days=1)}

    found = unpassed(policy, [], Span(first=FIRST, now=NOW, has=lambda key: has.get(key.status)))

    assert found == {"limit[1] (every job)": date(2025, 12, 31)}


def test_a_rule_is_not_safe_before_the_policy_has_had_it_for_a_day() -> None:
    ended = Tally(passed=1, ended=1)
    day = timedelta(days=1)

    assert a_report(ended, lasted=day).verdict == "safe"
    assert a_report(ended, lasted=day - timedelta(seconds=1)).verdict == "not-known"
    assert a_report(ended, lasted=None).verdict == "not-known"
    assert a_report(WENT_ON, lasted=timedelta()).verdict == "not-safe"


@pytest.mark.parametrize(
    ("days", "judged", "told"),
    [
        (0, Tally(passed=1, ended=1), "not known yet: it has been observed since 2026-01-01, and is"
                                      " judged after 1 d."),
        (8, Tally(passed=2, ended=2), "Safe to enforce: since 2025-12-24 none of 2 jobs went on"),
        (99, Tally(passed=2, ended=2), "Safe to enforce: since 2025-12-08 none of 2 jobs went on"),
        (8, Tally(passed=2, ended=1), "not known yet: since 2025-12-24 1 of 2 jobs are not known"),
        (1, Tally(passed=1, went_on=1), "Not safe to enforce: since 2025-12-31 1 of 1 job went on"),
    ],
)  # fmt: skip
def test_a_report_says_since_when_it_has_looked(days: int, judged: Tally, told: str) -> None:
    week = {KEY: judged}

    notice = weekly(WEEK, reports(week, [week], a_span(limit=days)), {})

    assert told in notice.text
    assert notice.facts["rules"][0]["since"] == told.partition("since ")[2][:10]


def test_a_limit_that_the_policy_has_no_more_is_not_said_to_be_safe() -> None:
    week = {KEY: Tally(passed=1, ended=1)}

    assert "The policy does not have this limit any more." in (
        weekly(WEEK, reports(week, [week], a_span()), {}).text
    )


def test_all_limits_of_a_policy_are_known_as_they_are_counted() -> None:
    policy = parse_policy(
        """
        mode = "observe"
        [[limit]]
        RUNNABLE = { after = "6h", after_by_cause = { misconfigured = "1h" } }
        STARTING = { after = "1h", action = "warn" }
        [[limit]]
        mode = "enforce"
        RUNNING = { after = "1d", action = "terminate" }
        """
    )
    first, second = "limit[1] (every job)", "limit[2] (every job)"

    limits = set(limits_of(policy))

    waits = {"rule": first, "status": "RUNNABLE", "action": "cancel", "mode": "observe"}
    runs = {"rule": second, "status": "RUNNING", "action": "terminate", "mode": "enforce"}
    own = {"rule": "tag batch-watchdog:PENDING", "status": "PENDING", "limit_seconds": 0}
    assert {each for each in limits if each.limit_seconds} == {
        RuleKey(**waits, limit_seconds=3_600),  # type: ignore[arg-type]
        RuleKey(**waits, limit_seconds=21_600),  # type: ignore[arg-type]
        RuleKey(**runs, limit_seconds=86_400),  # type: ignore[arg-type]
    }
    assert {
        RuleKey(**own, action="cancel", mode="observe"),  # type: ignore[arg-type]
        RuleKey(**own, action="terminate", mode="enforce"),  # type: ignore[arg-type]
    } <= limits


def test_the_answer_has_this_week_and_four_weeks() -> None:
    weeks = {WEEK: {KEY: Tally(passed=1)}, WEEK - timedelta(weeks=3): {KEY: WENT_ON},
             WEEK - timedelta(weeks=4): {KEY: Tally(passed=100)}}  # fmt: skip

    told = answer(parse_policy(""), WEEK, lambda week: weeks.get(week, {}), a_span(limit=9))

    [rule] = told["rules"]
    assert told["week"] == "2025-12-29"
    assert (rule["jobs"], rule["open"], rule["four_weeks"]["jobs"]) == (1, 1, 4)
    assert rule["four_weeks"]["later_seconds"]["longest"] == 3_600
    assert rule["verdict"] == "not-safe"


def test_a_notice_says_how_many_how_much_later_and_whether_it_is_safe() -> None:
    notice = weekly(WEEK, [a_report(replace(WENT_ON, waited=(36_000_000_000, 3_600_000_000)))], {})

    assert notice.subject == "Week of 2025-12-29: 3 jobs would have been stopped by limits"
    for line in (
        "limit[1] (match queue gpu): RUNNABLE for more than 1 h",
        "It would have stopped 3 jobs: 2 started after all, 1 ended without a start.",
        "They did so 25 min 38 s later (median; the longest 1 h).",
        "After the limit they waited for 10.0 vCPU-hours and 1.0 GPU-hours.",
        "Not safe to enforce: since 2025-12-08 2 of 3 jobs went on after all. "
        "A limit of 3 h would have stopped none of these.",
    ):
        assert line in notice.text.split("\n")
    assert notice.id == "rule-report:2025-12-29"
    assert notice.facts["rules"][0]["verdict"] == "not-safe"


def test_an_enforced_rule_tells_what_was_stopped_and_what_escaped_or_was_exempt() -> None:
    tally = Tally(passed=9, stopped=4, went_on=1, ended=1, unknown=1, exempted=2)
    notice = weekly(WEEK, [a_report(tally, ENFORCED)], {})

    assert notice.subject == "Week of 2025-12-29: 4 jobs stopped by limits"
    assert (
        "Stopping was decided for 9 jobs: 4 stopped, 1 started after all, 1 ended without a start, "
        "2 not ended yet, 1 unknown: AWS Batch no longer shows them, 2 exempted by an operator."
    ) in notice.text


def test_only_what_was_stopped_is_said_to_be() -> None:
    both = [a_report(Tally(passed=5, stopped=2), ENFORCED), a_report(Tally(passed=7))]

    subject = weekly(WEEK, both, {}).subject

    assert subject == "Week of 2025-12-29: 2 stopped by limits, 7 would be"


TALLIES = (
    WENT_ON,
    replace(WENT_ON, passed=1, went_on=1, ended=0, stopped=0),
    Tally(passed=2, ended=2, exempted=1),
    Tally(passed=2, unknown=1, waited=(10**10, 10**10)),
    Tally(passed=2, stopped=1, went_on=1),
    Tally(),
)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("status", ["RUNNABLE", "RUNNING"])
@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_everything_can_be_said_in_each_language(language: str, status: str, mode: str) -> None:
    keys = [replace(KEY, status=status, mode=mode, limit_seconds=at) for at in (0, 3_600)]  # type: ignore[arg-type]
    lasted = (None, timedelta(days=1), timedelta(days=9))
    found = [a_report(tally, key, for_) for key in keys for tally in TALLIES for for_ in lasted]
    for some in (found, found[18:]):
        notice = weekly(WEEK, some, {"limit[3] (every job)": WEEK})

        told = Language(language).worded(notice)  # type: ignore[arg-type]

        assert "{" not in told.text.replace('{"command": "report"}', "")
        assert len(told.subject) < 100
        assert (language == "ja") == any("\u3040" < char < "\u30ff" for char in told.text)
