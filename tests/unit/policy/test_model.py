"""What a policy's text means, and what is said of one that is wrong."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch_watchdog.core.errors import PolicyError, Problem
from batch_watchdog.policy.durations import parse_span, span_text
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.model import Limit, Policy, is_exempt, parse_policy, tag_problems
from batch_watchdog.policy.tables import StopRest

SAMPLE = (Path(__file__).parents[3] / "events" / "policy.toml").read_text()

QUEUE_ARN = "arn:aws:batch:us-east-1:111122223333:job-queue/"
DEFINITION_ARN = "arn:aws:batch:us-east-1:111122223333:job-definition/"


@dataclass(frozen=True, kw_only=True)
class AJob:
    """A job called align in the queue gpu-large, without tags."""

    job_name: str = "align"
    queue: str = QUEUE_ARN + "gpu-large"
    definition: str = DEFINITION_ARN + "align:3"
    tags: Mapping[str, str] = field(default_factory=dict)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def limit_of(text: str, status: str = "RUNNABLE", **job: Any) -> Limit | None:
    return parse_policy(text).limit_for(AJob(**job), status)


def first_due(text: str, status: str = "RUNNABLE", **job: Any) -> timedelta | None:
    return parse_policy(text).first_due_after(AJob(**job), status)


def problems(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    return str(caught.value).splitlines()


# ---- What is asked for --------------------------------------------------------------------


def test_an_empty_policy_observes_and_has_no_rules() -> None:
    policy = parse_policy("")

    assert policy == Policy()
    assert policy.mode == "observe"
    assert policy.safety.max_stops_per_hour == 500
    assert policy.notify.job_failures
    assert policy.notify.digest_over == 5
    assert (policy.array, policy.limit, policy.guard) == ((), (), ())


def test_the_sample_has_one_of_everything() -> None:
    policy = parse_policy(SAMPLE)

    assert policy.array[1].progress == (50, 90)
    assert policy.array[1].stop_rest_when == StopRest(failed_percent=10, of_at_least=50)
    assert policy.limit[1].mode == "enforce"
    assert policy.guard[0].stage[0].alarms == ("batch-watchdog-spend-soft",)
    assert policy.guard[0].stage[1].after_previous == hours(2)


def test_a_file_may_begin_with_a_byte_order_mark() -> None:
    assert parse_policy('\ufeffmode = "enforce"').mode == "enforce"


# ---- Spans --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1_800),
        ("6h", 21_600),
        ("1d", 86_400),
        ("1h30m", 5_400),
        ("1d2h3m4s", 93_784),
        ("30d", 2_592_000),
        ("PT30M", 1_800),
        ("P1D", 86_400),
        ("P1DT2H3M4S", 93_784),
        ("0d1s", 1),
    ],
)
def test_a_span_is_days_hours_minutes_and_seconds(text: str, seconds: int) -> None:
    assert parse_span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        *("", " ", "30", "m", "h30", "30M", "1.5h", "-1h", "+1h", "1h 30m", "30m1h", "1w", "٣m"),
        *("P", "PT", "P1DT", "P1H", "PT1D", "pt30m", "9999999999s", "2h\n"),
        *(30, 1.5, True, None, ["2h"], {"h": 2}),
    ],
)
def test_what_is_no_span_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected a span such as"):
        parse_span(wrong)


@pytest.mark.parametrize(
    "wrong", ["0s", "PT0S", "0d0h", "31d", "30d1s", "999999999d", "999999999d999999999h"]
)
def test_a_span_is_longer_than_nothing_and_at_most_thirty_days(wrong: str) -> None:
    with pytest.raises(ValueError, match="longer than nothing and at most 30 days"):
        parse_span(wrong)


@settings(deadline=None)
@given(st.integers(1, 30 * 86_400))
def test_a_span_is_read_as_it_is_written(seconds: int) -> None:
    span = timedelta(seconds=seconds)

    assert parse_span(span_text(span)) == span


# ---- Which jobs a rule is for -------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ("{}", True),
        ('{ name = "al*" }', True),
        ('{ name = "AL*" }', False),
        ('{ name = "lig" }', False),
        ('{ name = ["render-*", "align"] }', True),
        ('{ name = ["render-*", "sort"] }', False),
        ('{ queue = "gpu-*" }', True),
        ('{ queue = "gpu-?arge" }', True),
        ('{ queue = "gpu-[a-k]*" }', False),
        ('{ queue = "gpu" }', False),
        ('{ queue = "*batch*" }', False),
        (f'{{ queue = "{QUEUE_ARN}gpu-large" }}', True),
        (f'{{ queue = "{QUEUE_ARN}cpu" }}', False),
        ('{ definition = "align" }', True),
        ('{ definition = "align:3" }', True),
        ('{ definition = "align:*" }', True),
        ('{ definition = "align:4" }', False),
        ('{ definition = "alig" }', False),
        (f'{{ definition = "{DEFINITION_ARN}align:3" }}', True),
        (f'{{ definition = "{DEFINITION_ARN}align" }}', True),
        (f'{{ definition = "{DEFINITION_ARN}alig" }}', False),
        (f'{{ definition = "{DEFINITION_ARN}align:4" }}', False),
        ('{ tags = { team = "imaging" } }', True),
        ('{ tags = { team = "imag*" } }', False),
        ('{ tags = { Team = "imaging" } }', False),
        ('{ tags = { team = "imaging", tier = "1" } }', False),
        ('{ name = "align", queue = "cpu" }', False),
        ('{ name = "align", queue = "gpu-*", tags = { team = "imaging" } }', True),
    ],
)
def test_a_job_matches_when_all_that_is_given_applies(match: str, *, matches: bool) -> None:
    policy = parse_policy(f"[[array]]\nmatch = {match}")

    rule = policy.array_rule_for(AJob(tags={"team": "imaging", "other": "x"}))

    assert (rule is not None) is matches


def test_a_queue_and_a_definition_may_be_told_by_name() -> None:
    text = '[[array]]\nmatch = { queue = "gpu", definition = "align" }'

    assert parse_policy(text).array_rule_for(AJob(queue="gpu", definition="align:7"))


def test_a_service_job_has_no_definition_to_match() -> None:
    assert (
        parse_policy('[[array]]\nmatch = { definition = "a*" }').array_rule_for(AJob(definition=""))
        is None
    )


@settings(deadline=None)
@given(st.text(max_size=12), st.text("ab*?[]!^-&|~\\{}()", max_size=20))
def test_no_glob_is_too_odd_to_be_matched(name: str, glob: str) -> None:
    try:
        policy = parse_policy(f"[[array]]\nmatch = {{ name = '{glob}' }}")
    except PolicyError:
        assert not glob
    else:
        policy.array_rule_for(AJob(job_name=name))


def test_a_glob_full_of_stars_is_matched_at_once() -> None:
    policy = parse_policy(f'[[array]]\nmatch = {{ name = "{"*a" * 127}b" }}')

    assert policy.array_rule_for(AJob(job_name="a" * 128)) is None


# ---- Arrays -------------------------------------------------------------------------------


def test_the_first_rule_that_matches_an_array_counts() -> None:
    policy = parse_policy(
        '[[array]]\nmatch = { name = "b*" }\n'
        '[[array]]\nmatch = { name = "a*" }\nprogress = [90, 50, 90]\n'
        "[[array]]\nsilent = true\n"
    )

    rule = policy.array_rule_for(AJob())

    assert rule == policy.array[1]
    assert rule.progress == (50, 90)


@pytest.mark.parametrize(
    ("when", "failed", "ended", "met"),
    [
        ("{ failed = 3 }", 3, 3, False),
        ("{ failed = 3 }", 4, 4, True),
        ("{ failed = 0 }", 1, 1, True),
        ("{ failed_percent = 10 }", 1, 10, False),
        ("{ failed_percent = 10 }", 2, 19, True),
        ("{ failed_percent = 12.5 }", 1, 7, True),
        ("{ failed_percent = 10, of_at_least = 50 }", 49, 49, False),
        ("{ failed_percent = 10, of_at_least = 50 }", 6, 50, True),
        ("{ failed = 3, of_at_least = 50 }", 49, 49, False),
        ("{ failed = 3, failed_percent = 50 }", 4, 100, True),
        ("{ failed = 90, failed_percent = 50 }", 51, 100, True),
        ("{ failed = 3 }", 0, 0, False),
        ("{ failed_percent = 0 }", 0, 0, False),
    ],
)
def test_the_rest_is_stopped_when_more_failed_than_allowed(
    when: str, failed: int, ended: int, *, met: bool
) -> None:
    rule = parse_policy(f"[[array]]\nstop_rest_when = {when}").array[0]

    assert rule.stop_rest_when is not None
    assert rule.stop_rest_when.is_met(failed=failed, ended=ended) is met


# ---- Limits -------------------------------------------------------------------------------

TWO_RULES = """
[[limit]]
match = { queue = "gpu-*", tags = { team = "imaging" } }
mode = "enforce"
RUNNABLE = { warn_after = "1h", after = "6h", after_by_cause = { misconfigured = "30m" } }
STARTING = { after = "30m" }
[[limit]]
RUNNABLE = { after = "24h", action = "warn" }
RUNNING = { after = "3d", action = "terminate" }
"""
IMAGING = {"team": "imaging"}


def test_a_limit_tells_all_that_is_to_be_done() -> None:
    assert limit_of(TWO_RULES, tags=IMAGING) == Limit(
        rule="limit[1] (match queue gpu-*, tags team=imaging)",
        mode="enforce",
        action="cancel",
        after=hours(6),
        warn_after=hours(1),
        after_by_cause={"misconfigured": minutes(30)},
        escalate=False,
    )


def test_a_rule_without_a_match_is_for_every_job() -> None:
    limit = limit_of(TWO_RULES)

    assert limit is not None
    assert (limit.rule, limit.mode) == ("limit[2] (every job)", "observe")
    assert (limit.after, limit.action) == (hours(24), "warn")


def test_the_first_rule_that_matches_counts_even_where_it_has_no_limit() -> None:
    assert limit_of(TWO_RULES, "RUNNING", tags=IMAGING) is None
    assert limit_of(TWO_RULES, "RUNNING") is not None


def test_states_that_cannot_have_a_limit_have_none() -> None:
    own = {"batch-watchdog:FAILED": "1h", "batch-watchdog:SUCCEEDED": "1h"}

    for status in ("SUCCEEDED", "FAILED", "NEW", "exempt", "match", ""):
        assert limit_of(TWO_RULES, status, tags=own) is None
        assert first_due(TWO_RULES, status, tags=own) is None
        assert not parse_policy(TWO_RULES).has_limits(status)


def test_unless_told_otherwise_what_waits_is_cancelled_and_what_started_terminated() -> None:
    text = "[[limit]]\n" + "".join(
        f'{status} = {{ after = "1h" }}\n'
        for status in ("RUNNABLE", "SCHEDULED", "STARTING", "RUNNING")
    )

    actions = {
        status: limit.action
        for status in ("RUNNABLE", "SCHEDULED", "STARTING", "RUNNING")
        if (limit := limit_of(text, status))
    }

    assert actions == {
        "RUNNABLE": "cancel",
        "SCHEDULED": "cancel",
        "STARTING": "terminate",
        "RUNNING": "terminate",
    }


def test_a_cause_goes_before_the_usual_limit() -> None:
    limit = limit_of(
        '[[limit]]\nRUNNABLE = { after = "6h", after_by_cause = { misconfigured = "30m" } }'
    )

    assert limit is not None
    assert limit.after_for("misconfigured") == minutes(30)
    assert limit.after_for("capacity") == hours(6)
    assert limit.after_for(None) == hours(6)


def test_a_limit_may_be_for_known_causes_only() -> None:
    limit = limit_of('[[limit]]\nRUNNABLE = { after_by_cause = { capacity = "12h" } }')

    assert limit is not None
    assert limit.after_for("misconfigured") is None
    assert limit.after_for("capacity") == hours(12)
    assert limit.first_due == hours(12)


def test_a_policy_knows_which_states_it_limits() -> None:
    policy = parse_policy(TWO_RULES)

    assert [
        status
        for status in ("RUNNABLE", "SCHEDULED", "STARTING", "RUNNING")
        if policy.has_limits(status)
    ] == ["RUNNABLE", "STARTING", "RUNNING"]


# ---- When to look at a job first ----------------------------------------------------------


def test_a_job_is_looked_at_when_first_there_can_be_something_to_do() -> None:
    assert first_due(TWO_RULES, tags=IMAGING) == minutes(30)
    assert first_due('[[limit]]\nRUNNABLE = { warn_after = "1h", after = "6h" }') == hours(1)
    assert first_due('[[limit]]\nRUNNABLE = { after = "6h" }') == hours(6)


def test_a_job_without_a_limit_is_never_looked_at() -> None:
    assert first_due(TWO_RULES, "RUNNING", tags=IMAGING) is None
    assert first_due(TWO_RULES, "SCHEDULED") is None


def test_an_event_without_tags_counts_for_rules_that_ask_for_them() -> None:
    assert first_due(TWO_RULES) == minutes(30)
    assert first_due(TWO_RULES, tags={"resourceArn": "arn:aws:batch:…"}) == minutes(30)
    assert first_due(TWO_RULES, "STARTING") == minutes(30)
    assert first_due(TWO_RULES, "RUNNING") == hours(72)


def test_an_event_with_other_tags_does_not() -> None:
    assert first_due(TWO_RULES, tags={"team": "other"}) == hours(24)
    assert first_due(TWO_RULES, "STARTING", tags={"team": "other"}) is None


def test_a_rule_for_another_queue_does_not_count_whatever_the_tags() -> None:
    assert first_due(TWO_RULES, queue="cpu") == hours(24)


# ---- A job's own tags ---------------------------------------------------------------------


@pytest.mark.parametrize("value", ["true", "True", " TRUE ", "yes", "1"])
def test_an_exempt_job_has_no_limit(value: str) -> None:
    exempt = {"batch-watchdog:exempt": value}

    assert is_exempt(exempt)
    for tags in (exempt, {**exempt, "batch-watchdog:RUNNABLE": "2h"}):
        assert limit_of(TWO_RULES, tags=tags) is None
        assert first_due(TWO_RULES, tags=tags) is None


@pytest.mark.parametrize("value", ["false", "no", "0", "ture", ""])
def test_a_job_is_exempt_only_if_its_tag_says_so(value: str) -> None:
    assert not is_exempt({"batch-watchdog:exempt": value})
    assert not is_exempt({"exempt": "true"})


def test_a_jobs_own_tag_says_how_long_and_the_rule_what_is_done_then() -> None:
    text = (
        '[[limit]]\nmode = "enforce"\n'
        'RUNNABLE = { warn_after = "1h", after = "6h", action = "terminate", '
        'after_by_cause = { capacity = "30m" } }'
    )

    assert limit_of(text, tags={"batch-watchdog:RUNNABLE": "2h"}) == Limit(
        rule="tag batch-watchdog:RUNNABLE",
        mode="enforce",
        action="terminate",
        after=hours(2),
        warn_after=hours(1),
    )
    assert first_due(text, tags={"batch-watchdog:RUNNABLE": "2h"}) == hours(1)


def test_a_warning_that_would_come_after_the_tags_limit_is_left_out() -> None:
    tags = {"batch-watchdog:RUNNABLE": "30m"}
    limit = limit_of(
        '[[limit]]\nRUNNABLE = { warn_after = "1h", after = "6h", escalate = true }', tags=tags
    )

    assert limit is not None
    assert (limit.warn_after, limit.after) == (None, minutes(30))
    assert limit.escalate


def test_a_jobs_own_tag_needs_no_rule() -> None:
    tags = {"batch-watchdog:RUNNING": "2h", "batch-watchdog:SCHEDULED": "1h"}
    text = 'mode = "enforce"'

    assert limit_of(text, "RUNNING", tags=tags) == Limit(
        rule="tag batch-watchdog:RUNNING", mode="enforce", action="terminate", after=hours(2)
    )
    assert limit_of(text, "SCHEDULED", tags=tags) == Limit(
        rule="tag batch-watchdog:SCHEDULED", mode="enforce", action="cancel", after=hours(1)
    )
    assert first_due(text, "RUNNING", tags=tags) == hours(2)
    assert limit_of(text, "RUNNABLE", tags=tags) is None


def test_a_tag_does_not_take_a_job_out_of_its_rules_mode() -> None:
    text = 'mode = "enforce"\n[[limit]]\nmode = "observe"\nRUNNABLE = { after = "1h" }'
    limit = limit_of(text, "RUNNING", tags={"batch-watchdog:RUNNING": "2h"})

    assert limit is not None
    assert limit.mode == "observe"


def test_a_job_whose_tag_cannot_be_read_is_only_reported() -> None:
    tags = {
        "batch-watchdog:RUNNABLE": "soon",
        "batch-watchdog:exempt": "ture",
        "batch-watchdog:runing": "2h",
        "batch-watchdog:STARTING": " 30m ",
        "team": "imaging",
    }

    limit = limit_of('[[limit]]\nRUNNABLE = { after = "6h" }', tags=tags)
    assert limit
    assert (limit.action, limit.after) == ("warn", hours(6))
    assert limit.rule.startswith("limit[1] (every job); tag batch-watchdog:")
    assert tag_problems(tags) == (
        "tag batch-watchdog:RUNNABLE: expected a span such as "
        '"90s", "30m", "6h", "1h30m", "1d" or "PT30M", not \'soon\'',
        "tag batch-watchdog:exempt: expected true or false, not 'ture'",
        "tag 'batch-watchdog:runing': unknown; did you mean batch-watchdog:RUNNING?",
    )
    assert tag_problems({"batch-watchdog:exempt": "true", "x": "y"}) == ()
    assert tag_problems({" Batch-Watchdog:exempt": "true"}) == (
        "tag ' Batch-Watchdog:exempt': unknown; did you mean batch-watchdog:exempt?",
    )


@pytest.mark.parametrize("key", ["exempted", "Exempt", "runnable"])
def test_a_tag_of_ours_that_is_unknown_may_have_meant_an_exemption(key: str) -> None:
    tags = {f"batch-watchdog:{key}": "24h", "batch-watchdog:RUNNING": "nonsense"}

    limit = limit_of('[[limit]]\nRUNNABLE = { after = "10m" }', tags=tags)

    assert limit
    assert limit.action == "warn"
    assert f"'batch-watchdog:{key}': unknown" in limit.rule
    assert "nonsense" not in limit.rule, "the tag of another state"


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["exempt", "RUNNABLE", "x"]), st.text(max_size=300)))
def test_no_tag_does_harm_and_all_that_is_told_of_it_is_one_line(tags: dict[str, str]) -> None:
    own = {f"batch-watchdog:{key}": value for key, value in tags.items()}

    limit_of(TWO_RULES, tags=own)
    for problem in tag_problems(own):
        assert problem.isprintable()
        assert len(problem) < 300


# ---- Guards -------------------------------------------------------------------------------

GUARDS = """
[[guard]]
name = "gpu"
match = { queue = "gpu-*" }
spare = { tags = { critical = "true" } }
stage = [{ alarms = ["a"], action = "cancel", close_queues = true }]
[[guard]]
name = "all"
stage = [{ alarms = ["b"], action = "terminate" }]
"""


def names(guards: tuple[Guard, ...]) -> list[str]:
    return [guard.name for guard in guards]


def test_the_guards_of_a_queue_are_those_whose_scope_reaches_it() -> None:
    policy = parse_policy(GUARDS)

    assert names(policy.guards_for_queue(QUEUE_ARN + "gpu-large")) == ["gpu", "all"]
    assert names(policy.guards_for_queue("cpu")) == ["all"]


def test_a_guard_does_not_stop_what_it_spares() -> None:
    policy = parse_policy(GUARDS)

    assert names(policy.guards_for(AJob())) == ["gpu", "all"]
    assert names(policy.guards_for(AJob(tags={"critical": "true"}))) == ["all"]
    assert names(policy.guards_for(AJob(queue="cpu"))) == ["all"]
    assert not policy.guard[1].spares(AJob())


def test_a_stage_may_be_for_operators_only_if_it_says_so() -> None:
    guard = parse_policy(
        '[[guard]]\nname = "x"\nrelease = "manual"\nstage = [{ alarms = [], action = "cancel" }]'
    ).guard[0]

    assert guard.stage[0].alarms == ()


# ---- Modes, labels, versions --------------------------------------------------------------


def test_a_rules_own_mode_goes_before_the_policys() -> None:
    policy = parse_policy(
        'mode = "enforce"\n[[array]]\n[[limit]]\nmode = "observe"\n'
        '[[guard]]\nname = "x"\nstage = [{ alarms = ["a"], action = "cancel" }]'
    )

    assert policy.mode_of(policy.array[0]) == "enforce"
    assert policy.mode_of(policy.limit[0]) == "observe"
    assert policy.mode_of(policy.guard[0]) == "enforce"


def test_a_rule_is_called_by_its_place_and_its_match_even_if_another_is_alike() -> None:
    policy = parse_policy(
        '[[array]]\n[[array]]\nmatch = { name = ["a", "b"], definition = "d" }\n[[array]]\n'
        '[[guard]]\nname = "x y"\nstage = [{ alarms = ["a"], action = "cancel" }]'
    )

    assert [policy.label_of(rule) for rule in policy.array] == [
        "array[1] (every job)",
        "array[2] (match name a or b, definition d)",
        "array[3] (every job)",
    ]
    assert policy.label_of(policy.guard[0]) == 'guard "x y"'


def test_the_version_changes_with_the_meaning_and_not_with_the_words() -> None:
    version = parse_policy(TWO_RULES).version

    assert parse_policy("# a comment\n" + TWO_RULES).version == version
    assert parse_policy(TWO_RULES.replace('"24h"', '"1d"')).version == version
    assert parse_policy(TWO_RULES.replace('"24h"', '"25h"')).version != version
    assert parse_policy(TWO_RULES.replace('"30m"', '"31m"')).version != version


def test_a_policy_cannot_be_changed() -> None:
    rule: Any = parse_policy(TWO_RULES).limit[0]

    with pytest.raises(ValueError, match="frozen"):
        rule.mode = "observe"


# ---- What is wrong, and where -------------------------------------------------------------


def test_all_that_is_wrong_is_told_at_once_with_line_and_key() -> None:
    assert problems("""\
mode = "enforced"
nptify = 3
[safety]
max_stops_per_hour = "500"
[array]
[[limit]]
match = { queue = ["gpu-*", 3], nam = "x", tags = { team = 1 } }
runnable = { after = "1h" }
STARTING = { after = "30", action = "cancel" }
[[limit]]
[limit.SCHEDULED]
after = "1h"
after_by_cause.capacity = "1h"
[[guard]]
name = "a"
match = 3
[[guard]]
name = "a"
stage = [
  { alarms = ["x"], action = "kill" },
]
""") == [
        "line 1: mode: expected 'observe' or 'enforce', not 'enforced'",
        "line 2: nptify: unknown key; did you mean notify?",
        "line 4: safety.max_stops_per_hour: expected a whole number, not '500'",
        "line 5: array: expected a list of tables: write [[array]] in place of [array]",
        "line 7: limit[1].match.queue[2]: expected a string, not 3",
        "line 7: limit[1].match.tags.team: expected a string, not 1",
        "line 7: limit[1].match.nam: unknown key; did you mean name?",
        "line 8: limit[1].runnable: unknown key; did you mean RUNNABLE?",
        "line 9: limit[1].STARTING.after: expected a span such as "
        '"90s", "30m", "6h", "1h30m", "1d" or "PT30M", not \'30\'',
        "line 9: limit[1].STARTING.action: cancel does nothing to a job that has started, "
        "though AWS Batch accepts it: expected 'terminate' or 'warn'",
        "line 13: limit[2].SCHEDULED.after_by_cause: only a limit of RUNNABLE can have this key",
        "line 14: guard[1].stage: is missing: Its stages, each a [[guard.stage]], "
        "the milder one first",
        "line 16: guard[1].match: expected a table, not 3",
        "line 18: guard[2].name: another guard is called 'a' already",
        "line 20: guard[2].stage[1].action: expected 'cancel' or 'terminate', not 'kill'",
    ]


GUARD = '[[guard]]\nname = "x"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mode = 1", "line 1: mode: expected 'observe' or 'enforce', not 1"),
        (
            "[safety]\nmax_stops_per_hour = -1",
            "line 2: safety.max_stops_per_hour: expected greater than or equal to 0, not -1",
        ),
        (
            "[safety]\nmax_stops_per_hour = 0x" + "f" * 5_000,
            "line 2: safety.max_stops_per_hour: "
            "expected less than or equal to 10000000, not a huge number",
        ),
        (
            "[notify]\njob_failures = 1",
            "line 2: notify.job_failures: expected true or false, not 1",
        ),
        (
            "[notify]\ndigest_over = 2.5",
            "line 2: notify.digest_over: expected a whole number, not 2.5",
        ),
        (
            "[[array]]\nprogress = [50, 100]",
            "line 2: array[1].progress[2]: expected less than or equal to 99, not 100",
        ),
        (
            "[[array]]\nprogress = [50]\nsilent = true",
            "line 2: array[1].progress: would never be told: this rule is silent",
        ),
        (
            "[[array]]\nstop_rest_when = { of_at_least = 50 }",
            "line 2: array[1].stop_rest_when: expected failed, failed_percent or both",
        ),
        (
            "[[array]]\nstop_rest_when = { failed_percent = nan }",
            "line 2: array[1].stop_rest_when.failed_percent: expected a finite number, not nan",
        ),
        (
            "[[limit]]\nmatch = { name = [] }",
            "line 2: limit[1].match.name: expected at least 1 item, not 0",
        ),
        (
            '[[limit]]\nmatch = { name = "" }',
            "line 2: limit[1].match.name: expected at least 1 character, not ''",
        ),
        (
            f'[[limit]]\nmatch = {{ name = "{"a" * 257}" }}',
            f"line 2: limit[1].match.name: expected at most 256 characters, not '{'a' * 59}…",
        ),
        (
            '[[limit]]\nmatch = { tags = { "my team" = "a\\nb" } }',
            "line 2: limit[1].match.tags.'my team': "
            "expected one line without control characters, not 'a\\nb'",
        ),
        (
            '[[limit]]\nRUNNABLE = { warn_after = "1h" }',
            "line 2: limit[1].RUNNABLE.after: is missing: the longest stay "
            '(for a warning alone: after = "…", action = "warn")',
        ),
        (
            "[[limit]]\nRUNNABLE = {}",
            "line 2: limit[1].RUNNABLE.after: is missing: the longest stay",
        ),
        (
            '[[limit]]\nRUNNABLE = { warn_after = "6h", after = "6h" }',
            "line 2: limit[1].RUNNABLE.warn_after: "
            "expected less than 6h, when the action follows, not 6h",
        ),
        (
            '[[limit]]\nRUNNABLE = { after = "6h", after_by_cause = {} }',
            "line 2: limit[1].RUNNABLE.after_by_cause: expected misconfigured, capacity or both",
        ),
        (
            '[[limit]]\nRUNNABLE = { after = "6h", action = "warn", escalate = true }',
            'line 2: limit[1].RUNNABLE.escalate: has no meaning with action = "warn", '
            "which stops nothing",
        ),
        (
            '[[limit]]\nRUNNING = { after = "6h", escalate = true }',
            "line 2: limit[1].RUNNING.escalate: only a limit of RUNNABLE can have this key",
        ),
        (
            GUARD + "spare = {}\nstage = [{ alarms = ['a'], action = 'cancel' }]",
            "line 3: guard[1].spare: would spare every job: "
            "expected name, queue, definition or tags",
        ),
        (
            GUARD + "stage = [{ action = 'cancel' }]",
            "line 3: guard[1].stage[1].alarms: is missing: what raises this stage "
            "(alarms = [] if only an operator does)",
        ),
        (
            GUARD + "stage = [{ alarms = [], action = 'cancel' }]",
            'line 1: guard[1].release: expected "manual", as there is no alarm that could say OK',
        ),
        (
            GUARD + "stage = [{ alarms = ['a'], action = 'cancel', after_previous = '1h' }]",
            "line 3: guard[1].stage[1].after_previous: has no meaning in the first stage",
        ),
        (
            GUARD + "stage = [\n{ alarms = ['a'], action = 'terminate' },\n"
            "{ alarms = ['b'], action = 'cancel' }\n]",
            'line 5: guard[1].stage[2].action: stages must grow harder: "cancel", then "terminate"',
        ),
        (
            GUARD + "stage = [\n{ alarms = ['a'], action = 'cancel' },\n"
            "{ alarms = ['a'], action = 'terminate' }\n]",
            "line 5: guard[1].stage[2].alarms: "
            "'a' raises the milder stage already, which it would skip; "
            'where it is an AWS Budget, name its thresholds: aws_budgets = [{ name = "a", '
            "percent = 80 }] in the milder stage",
        ),
        (
            GUARD + "release = 'manual'\n"
            "stage = [{ alarms = [], forecast = true, action = 'cancel' }]",
            "line 4: guard[1].stage[1].forecast: has no meaning without alarms",
        ),
        (
            GUARD + "match = { name = 'a' }\n"
            "stage = [{ alarms = ['a'], close_queues = true, action = 'cancel' }]",
            "line 4: guard[1].stage[1].close_queues: "
            "would close queues to jobs outside the match too: match by queue only",
        ),
        (
            GUARD + "stage = []",
            "line 3: guard[1].stage: expected at least 1 item, not 0",
        ),
        (
            "[[guard.stage]]\naction = 'cancel'",
            "line 1: guard: expected a list of tables: write [[guard]] in place of [guard]",
        ),
        ('a = 1\nmode = "', "line 2: not TOML: Unterminated string"),
        ("a = 1\na = 2\n", "line 2: not TOML: Cannot overwrite a value"),
        ("a = 1\n[[", "line 2: not TOML: Invalid initial character for a key part"),
        ("# x\na = " + "[" * 100_000, "line 2: nested too deeply"),
        ("# x\na = " + "1" * 5_000, "line 2: a number of too many digits"),
    ],
)
def test_a_wrong_policy_is_refused(text: str, problem: str) -> None:
    found = problems(text)

    # A line of an unknown key may stand beside it: the key had to be some key.
    assert problem in found
    assert [other for other in found if ": a: unknown key" not in other] == [problem]


def test_a_problem_can_be_taken_apart() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy("[notify]\ndigest_over = 0")

    assert caught.value.problems == (
        Problem(
            line=2,
            key="notify.digest_over",
            message="expected greater than or equal to 1, not 0",
        ),
    )


# ---- Any text, any policy -----------------------------------------------------------------


def refusal_of(text: str) -> PolicyError | None:
    try:
        parse_policy(text)
    except PolicyError as error:
        return error
    return None


def is_read_or_refused(text: str) -> None:
    if refusal := refusal_of(text):
        last = text.count("\n") + 1
        assert refusal.problems
        for problem, line in zip(refusal.problems, str(refusal).split("\n"), strict=True):
            assert 1 <= problem.line <= last
            assert line.isprintable()


@settings(deadline=None)
@given(st.text())
@example("a." * 500 + "a = 1")
@example("a = " + "{a=" * 300 + "1" + "}" * 300)
def test_any_text_is_read_or_refused(text: str) -> None:
    is_read_or_refused(text)


@pytest.mark.parametrize("depth", range(200, 1_000, 37))
def test_any_depth_is_read_or_refused(depth: int) -> None:
    is_read_or_refused("a = " + "[" * depth + "]" * depth)
    is_read_or_refused("mode = " + "{a=" * depth + "1" + "}" * depth)


SPANS_OF_SAMPLE = st.tuples(st.integers(0, len(SAMPLE)), st.integers(0, 30))
PATCHES = st.text(max_size=5) | st.sampled_from(
    [
        *("[", "]", "{", "}", '"', "'", "=", ".", ",", "\n", "0", "-1", "true", "nan", "{}", "[]"),
        *("[[x]]\n", "[limit]\n", "[[guard]]\n", "[[guard.stage]]\n", "mode", "tags", '""'),
        *('"cancel"', "1979-05-27", "RUNNABLE = 3\n", 'name = "x"\n', "\u202e", "\x00", "\ud800"),
    ]
)


@settings(deadline=None)
@given(st.lists(st.tuples(SPANS_OF_SAMPLE, PATCHES), min_size=1, max_size=4))
def test_any_slip_in_a_policy_is_read_or_refused(
    slips: list[tuple[tuple[int, int], str]],
) -> None:
    text = SAMPLE
    for (start, length), patch in slips:
        text = text[:start] + patch + text[start + length :]

    is_read_or_refused(text)


def toml(value: object) -> str:
    match value:
        case dict():
            pairs = (f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items())
            return "{ " + ", ".join(pairs) + " }"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def a_text_of(policy: dict[str, Any]) -> str:
    return "".join(f"{key} = {toml(value)}\n" for key, value in policy.items())


def tables(needed: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(needed, optional=optional)


WORDS = st.text("abcXYZ-_*?[]é… \"'\\#{", min_size=1, max_size=8)
MODES = st.sampled_from(["observe", "enforce"])
SPANS = st.integers(61, 30 * 86_400).map(lambda s: span_text(timedelta(seconds=s)))
GLOBS = WORDS | st.lists(WORDS, min_size=1, max_size=3)
TAGS = st.dictionaries(WORDS, WORDS, max_size=2)
MATCHES = tables({}, name=GLOBS, queue=GLOBS, definition=GLOBS, tags=TAGS)
WAITING = tables(
    {"after": SPANS}, action=st.sampled_from(["cancel", "terminate"]), warn_after=st.just("1m")
)
RUNNABLES = tables(
    {"after": SPANS},
    action=st.sampled_from(["cancel", "terminate"]),
    after_by_cause=tables({"capacity": SPANS}, misconfigured=SPANS),
    escalate=st.booleans(),
)
STARTED = tables({"after": SPANS}, action=st.sampled_from(["terminate", "warn"]))
STAGES = st.sampled_from(
    [
        [{"alarms": ["a", "b"], "action": "cancel", "forecast": True}],
        [{"alarms": ["a"], "action": "terminate"}],
        [
            {"alarms": ["a"], "action": "cancel"},
            {"after_previous": "2h", "action": "terminate", "alarms": ["b"]},
        ],
    ]
)
POLICIES = tables(
    {},
    mode=MODES,
    safety=tables({}, max_stops_per_hour=st.integers(0, 9_999)),
    notify=tables({}, job_failures=st.booleans(), digest_over=st.integers(1, 99)),
    array=st.lists(
        tables(
            {},
            match=MATCHES,
            mode=MODES,
            progress=st.lists(st.integers(1, 99), max_size=4, unique=True).map(sorted),
            stop_rest_when=tables(
                {"failed": st.integers(0, 99)}, failed_percent=st.floats(0, 99.5)
            ),
        ),
        max_size=3,
    ),
    limit=st.lists(
        tables(
            {},
            match=MATCHES,
            mode=MODES,
            RUNNABLE=RUNNABLES,
            SCHEDULED=WAITING,
            STARTING=STARTED,
            RUNNING=STARTED,
        ),
        max_size=3,
    ),
    guard=st.lists(
        tables(
            {"name": WORDS, "stage": STAGES},
            match=MATCHES,
            mode=MODES,
            release=st.sampled_from(["auto", "manual"]),
        ),
        max_size=3,
        unique_by=lambda guard: guard["name"],
    ),
)


@settings(deadline=None)
@given(POLICIES)
def test_a_policy_means_the_same_when_it_is_written_out_and_read_again(
    tree: dict[str, Any],
) -> None:
    policy = parse_policy(a_text_of(tree))

    written = policy.model_dump(mode="json", exclude_unset=True)

    again = parse_policy(a_text_of(written))
    assert again == policy
    assert again.version == policy.version


@settings(deadline=None)
@given(POLICIES, st.sampled_from(["RUNNABLE", "SCHEDULED", "STARTING", "RUNNING"]), TAGS)
def test_no_job_is_first_looked_at_too_late(
    tree: dict[str, Any], status: str, tags: dict[str, str]
) -> None:
    policy = parse_policy(a_text_of(tree))
    told, true = AJob(), AJob(tags=tags)

    limit = policy.limit_for(true, status)

    if limit is not None:
        for job in (told, true):
            due = policy.first_due_after(job, status)
            assert due is not None
            assert due <= limit.first_due
