"""Event patterns, by the examples of AWS's documentation and the odd cases of its matcher."""

import json
from typing import Any

import pytest

from local.aws.patterns import Pattern

BATCH = {
    "source": "aws.batch",
    "detail-type": "Batch Job State Change",
    "account": "111122223333",
    "detail": {"status": "FAILED", "attempts": [], "container": {"exitCode": 1, "reason": None}},
}


def matches(pattern: Any, event: Any) -> bool:
    return Pattern(pattern).matches(event)


@pytest.mark.parametrize(
    "pattern",
    [
        {"source": ["aws.batch"]},
        {"source": ["aws.ec2", "aws.batch"], "detail": {"status": ["FAILED"]}},
        {"detail": {"container": {"exitCode": [{"numeric": [">", 0, "<=", 5]}]}}},
        {"detail": {"container": {"reason": [None]}}},
        {"detail": {"container": {"reason": [{"exists": True}]}}},
        {"detail": {"attempts": [{"exists": False}]}},
        {"account": [{"wildcard": "1111*3333"}]},
        {"detail-type": [{"anything-but": {"prefix": "Scheduled"}}]},
    ],
    ids=json.dumps,
)
def test_an_event_matches_if_each_field_has_one_of_the_values(pattern: Any) -> None:
    assert matches(pattern, BATCH)


@pytest.mark.parametrize(
    "pattern",
    [
        {"source": ["aws.batch"], "detail": {"status": ["SUCCEEDED"]}},
        {"source": ["aws.batc"]},
        {"Source": ["aws.batch"]},
        {"detail": {"statusReason": [{"exists": True}]}},
        {"detail": {"container": [{"exists": True}]}},
        {"detail": {"attempts": [{"exists": True}]}},
        {"account": [111122223333]},
        {"detail": {"container": {"exitCode": ["1"]}}},
    ],
    ids=json.dumps,
)
def test_an_event_does_not_match_if_one_field_has_another_value_or_type(pattern: Any) -> None:
    assert not matches(pattern, BATCH)


@pytest.mark.parametrize(
    ("test", "matching", "others"),
    [
        ("x", ["x", ["y", "x"], [["x"]]], ["X", "xx", ["y"], [], {}, None, {"x": "x"}]),
        ("", [""], [None, [], " "]),
        (None, [None, [None]], ["null", 0, False, []]),
        (True, [True], ["true", 1]),
        (300, [300, 300.0, 3.0e2], ["300", 301, True]),
        (111122223333444455556666, [111122223333444455556666], [111122223333444455556667]),
        ({"prefix": "a*"}, ["a*b"], ["ab", "A*"]),
        ({"prefix": ""}, ["", "x"], [1, None]),
        ({"prefix": {"equals-ignore-case": "aé"}}, ["AÉx", "aé"], ["xaé"]),
        ({"suffix": ".png"}, [".png", "a.png"], [".PNG", "png."]),
        ({"suffix": {"equals-ignore-case": ".png"}}, ["a.PnG"], ["png"]),
        ({"equals-ignore-case": "straße"}, ["STRAßE", "STRASSE"], ["straßen"]),
        ({"wildcard": "a*b"}, ["ab", "a\nb", "axbxb"], ["abc", 1]),
        ({"wildcard": "a\\*\\\\b"}, ["a*\\b"], ["axx\\b"]),
        ({"anything-but": "x"}, ["y", 1, None, True, ["x", "y"]], ["x", [], {}, ["x"]]),
        ({"anything-but": [1, 2]}, [3, "1", None], [1, 2.0]),
        ({"anything-but": {"prefix": ["a", "b"]}}, ["ca", 1], ["ax", "b"]),
        ({"anything-but": {"suffix": "a"}}, ["ab"], ["ba"]),
        ({"anything-but": {"equals-ignore-case": ["a"]}}, ["b"], ["A"]),
        ({"anything-but": {"wildcard": "*a*"}}, ["b"], ["bab"]),
        ({"numeric": ["=", 5]}, [5, 5.0], ["5", 4]),
        ({"numeric": ["<", 0]}, [-1e300], [0, -0.0, None]),
        ({"numeric": [">=", 0, "<", 5]}, [0, 4.999], [5, -0.001]),
        ({"exists": True}, ["x", 0, None, False, [1]], [[], {}, {"a": 1}]),
        ({"exists": False}, [[], {}, {"a": 1}], ["x", None, [1]]),
        ({"cidr": "10.0.0.0/24"}, ["10.0.0.255"], ["10.0.1.0", "10.0.0.300", "host"]),
        ({"cidr": "2001:db8::/32"}, ["2001:DB8:0::1"], ["2001:db9::1"]),
        ("10.0.0.1", ["10.0.0.1", "010.0.0.1"], ["10.0.0.2", "x10.0.0.1"]),
        ("::1", ["0:0:0:0:0:0:0:1"], ["::2"]),
        ({"exactly": "10.0.0.1"}, ["10.0.0.1"], ["010.0.0.1"]),
    ],
    ids=lambda value: json.dumps(value, ensure_ascii=False)[:50],
)
def test_an_operator_takes_these_values_and_not_those(
    test: Any, matching: list[Any], others: list[Any]
) -> None:
    pattern = Pattern({"key": [test]})

    assert [value for value in matching if not pattern.matches({"key": value})] == []
    assert [value for value in others if pattern.matches({"key": value})] == []


def test_a_missing_field_matches_only_exists_false() -> None:
    assert matches({"key": [{"exists": False}]}, {})
    assert matches({"key": ["x", {"exists": False}]}, {})
    assert not matches({"key": [{"anything-but": "x"}]}, {})


def test_values_of_one_array_element_belong_together() -> None:
    pattern = {"jobs": {"name": ["a"], "status": ["FAILED"]}}

    assert matches(pattern, {"jobs": [{"name": "b"}, {"name": "a", "status": "FAILED"}]})
    assert not matches(pattern, {"jobs": [{"name": "a"}, {"name": "b", "status": "FAILED"}]})


def test_plain_values_of_two_arrays_need_not_stand_in_the_same_place() -> None:
    assert matches({"a": [1], "b": [2]}, {"a": [0, 1], "b": [2, 0]})


def test_or_takes_either_branch_together_with_the_rest() -> None:
    pattern = {"source": ["s"], "$or": [{"a": [1]}, {"detail": {"b": [2]}}]}

    assert matches(pattern, {"source": "s", "a": 1})
    assert matches(pattern, {"source": "s", "detail": {"b": 2}})
    assert not matches(pattern, {"source": "s", "a": 2, "detail": {"b": 1}})
    assert not matches(pattern, {"source": "t", "a": 1})


def test_a_dot_in_a_name_is_as_good_as_a_level() -> None:
    assert matches({"a": {"b": [1]}}, {"a.b": 1})
    assert matches({"a.b": [1]}, {"a": {"b": 1}})


@pytest.mark.parametrize(
    "pattern",
    [
        {},
        [],
        {"a": "x"},
        {"a": []},
        {"a": {}},
        {"a": [["x"]]},
        {"a": [{"regex": ".*"}]},
        {"a": [{"prefix": "a", "suffix": "b"}]},
        {"a": [{"prefix": 1}]},
        {"a": [{"exists": "true"}]},
        {"a": [{"numeric": [">", "1"]}]},
        {"a": [{"numeric": ["<", 1, ">", 0]}]},
        {"a": [{"numeric": [">", 2, "<", 1]}]},
        {"a": [{"wildcard": "a**b"}]},
        {"a": [{"wildcard": "a\\b"}]},
        {"a": [{"anything-but": []}]},
        {"a": [{"anything-but": ["x", 1]}]},
        {"a": [{"anything-but": {"numeric": [">", 0]}}]},
        {"a": [{"anything-but": {"prefix": ""}}]},
        {"a": [{"cidr": "10.0.0.1/32"}]},
        {"$or": [{"a": [1]}]},
        {"$or": {"a": [1]}},
    ],
    ids=json.dumps,
)
def test_what_aws_would_refuse_is_refused(pattern: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Pattern(pattern)


def test_a_pattern_may_be_text() -> None:
    assert matches('{"eventName": ["INSERT"]}', {"eventName": "INSERT"})
