"""What a policy is warned of, and what it is not."""

import pytest

from batch_watchdog.policy.model import parse_policy
from local.commands.policy_warnings import warnings

LIMIT = 'RUNNABLE = { warn_after = "1h", after = "2h" }\n'


def told(text: str) -> list[str]:
    return list(warnings(parse_policy(text), len(text.encode())))


def rules(*matches: str, kind: str = "limit") -> str:
    """Rules of these matches, each fine by itself."""
    body = LIMIT if kind == "limit" else "progress = [50]\n"
    return "".join(f"[[{kind}]]\nmatch = {{ {match} }}\n{body}" for match in matches)


def test_a_policy_without_rules_is_warned_of() -> None:
    assert told("") == ["there are no rules: no job is ever limited, and no spending is guarded"]
    assert told("[notify]\njob_failures = false\n") == told("")
    assert told(f"[[limit]]\n{LIMIT}") == []


# ---- One limit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "limit", "is_short"),
    [
        ("enforce", 'warn_after = "1m", after = "299s"', True),
        ("enforce", 'warn_after = "1m", after = "5m"', False),
        ("observe", 'warn_after = "1m", after = "2m"', False),
        ("enforce", 'after = "2m", action = "warn"', False),
        ("enforce", 'warn_after="1m", after="1h", after_by_cause={misconfigured="2m"}', True),
    ],
)
def test_a_stop_within_five_minutes_is_warned_of_where_it_is_enforced(
    mode: str, limit: str, *, is_short: bool
) -> None:
    by_policy = told(f'mode = "{mode}"\n[[limit]]\nRUNNABLE = {{ {limit} }}\n')
    by_rule = told(f'[[limit]]\nmode = "{mode}"\nRUNNABLE = {{ {limit} }}\n')

    assert by_policy == by_rule
    assert [each for each in by_policy if "is short" in each] == by_policy
    assert bool(by_policy) is is_short


@pytest.mark.parametrize(
    ("limit", "warned_of"),
    [
        ('RUNNABLE = { after = "1h" }', "RUNNABLE: it stops jobs without a warning before"),
        ('RUNNING = { after = "1h" }', "RUNNING: it stops jobs without a warning before"),
        ('RUNNABLE = { after = "1h", action = "warn" }', ""),
        ('RUNNABLE = { warn_after = "30m", after = "1h" }', ""),
        (
            'RUNNABLE = { warn_after = "1h", after = "6h", after_by_cause = { capacity = "1h" } }',
            "RUNNABLE: some jobs are stopped after 1h, and the warning comes only after 1h",
        ),
        (
            'RUNNABLE = { warn_after = "1h", after = "6h", after_by_cause = { capacity = "2h" } }',
            "",
        ),
    ],
)
def test_a_stop_without_a_warning_before_it_is_warned_of(limit: str, warned_of: str) -> None:
    found = told(f"[[limit]]\n{limit}\n")

    assert len(found) == bool(warned_of)
    assert all(each.startswith(f"limit[1] (every job), {warned_of}") for each in found)


# ---- The order of rules -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["limit", "array"])
@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ('queue = "gpu-*"', 'queue = "gpu-*"'),
        ('queue = "gpu-*"', 'queue = "gpu-a"'),
        ('queue = "gpu-*"', 'queue = "gpu-a*"'),
        ('queue = "gpu-*"', 'queue = "gpu-[ab]?"'),
        ('queue = "gpu-?"', 'queue = "gpu-a"'),
        ('queue = ["a", "b"]', 'queue = ["b", "a"]'),
        ('queue = "gpu"', 'queue = "gpu", name = "x*", tags = { a = "b" }'),
        ('tags = { a = "b" }', 'queue = "gpu", tags = { a = "b", c = "d" }'),
        ('definition = "align"', 'definition = "align:3"'),
        ('definition = "al*"', 'definition = "align"'),
    ],
)
def test_a_rule_that_never_counts_is_warned_of(kind: str, earlier: str, later: str) -> None:
    (only,) = told(rules(earlier, later, kind=kind))

    assert only.startswith(f"{kind}[2] (")
    assert f") never counts: {kind}[1] (" in only


def test_each_rule_that_never_counts_is_warned_of() -> None:
    policy = '[[limit]]\nmatch = { queue = "a" }\n' + f"[[limit]]\n{LIMIT}"

    assert told(policy + rules('queue = "b"', 'name = "c"')) == [
        "limit[3] (match queue b) never counts: the rule before it takes every job"
        "; put it before, or leave it out",
        "limit[4] (match name c) never counts: limit[2] (every job), before it, takes its jobs"
        "; put it before, or leave it out",
    ]


def test_rules_that_together_take_all_jobs_of_a_later_one_leave_none_to_it() -> None:
    assert told(rules('queue = "a"', 'queue = "b"', 'queue = ["a", "b"]')) == [
        "limit[3] (match queue a or b) never counts: limit[1] (match queue a) and "
        "limit[2] (match queue b), before it, takes its jobs; put it before, or leave it out"
    ]
    assert told(rules('queue = "a"', 'queue = ["a", "b"]')) == []


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ('queue = "gpu-a"', 'queue = "gpu-*"'),
        ('queue = "gpu-*", tags = { a = "b" }', 'queue = "gpu-*"'),
        ('queue = "gpu-*", tags = { a = "b" }', 'queue = "*-spot", tags = { a = "c" }'),
        ('queue = "gpu-*"', 'name = "render-*"'),
        ('queue = "gpu-*"', 'queue = "spot-*"'),
        ('queue = "gpu-[ab]"', 'queue = "gpu-c"'),
        ('queue = "g?"', 'queue = "gpu"'),
        ('queue = "gpu-[*]"', 'queue = "gpu-a"'),
        ('definition = "align:3"', 'definition = "align"'),
        ('queue = "gpu-*", name = "a"', 'queue = "*-spot", name = "b"'),
        ('queue = "arn:aws:batch:*"', 'queue = "gpu-*"'),
    ],
)
def test_what_is_narrowed_down_or_apart_is_not_warned_of(earlier: str, later: str) -> None:
    assert told(rules(earlier, later)) == []


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ('queue = "gpu-*"', 'queue = "*-spot"'),
        ('queue = "a?c"', 'queue = "ab*"'),
        ('queue = "a[bc]d"', 'queue = "?b*"'),
        ('queue = ["x", "gpu-*"]', 'queue = ["*-spot", "y"]'),
        ('queue = "gpu-*", name = "a"', 'queue = "*-spot"'),
        ('name = "a*b"', 'name = "*ab*b"'),
    ],
)
def test_globs_that_overlap_are_warned_of(earlier: str, later: str) -> None:
    (only,) = told(rules(earlier, later))

    assert "overlap (" in only
    assert only.endswith("a job that matches both gets the first of them")


def test_many_long_globs_are_compared_in_no_time() -> None:
    globs = ", ".join(f'"{"*a" * 60}{n}*"' for n in range(40))

    assert told(rules(f"queue = [{globs}]", f"queue = [{globs}]"))


def test_a_rule_with_too_many_alternatives_is_let_be() -> None:
    many = ", ".join(f'"a{n}"' for n in range(40))
    rule = f"queue = [{many}], name = [{many}]"

    assert told(rules(rule, rule)) == []
