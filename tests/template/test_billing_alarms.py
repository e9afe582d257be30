"""The billing alarms, which ring in us-east-1 only: in the stack if it is there, or beside it."""

import re
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
STACK: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
BESIDE: dict[str, Any] = yaml_parse((ROOT / "template-us-east-1.yaml").read_text())
ALARMS = ("SoftSpendAlarm", "HardSpendAlarm")


def named_after_the_stack(ending: str) -> dict[str, Any]:
    """Two stacks in one account have other names than each other, and so have their alarms."""
    prefix = {"Fn::If": ["HasAlarmPrefix", {"Ref": "AlarmPrefix"}, {"Ref": "AWS::StackName"}]}
    return {"Fn::Sub": [f"${{Prefix}}-spend-{ending}", {"Prefix": prefix}]}


@pytest.mark.parametrize("name", ALARMS)
def test_the_alarms_are_the_same_in_both_templates(name: str) -> None:
    own, beside = (dict(each["Resources"][name]["Properties"]) for each in (STACK, BESIDE))

    assert own.pop("AlarmName") == {"Fn::Sub": f"${{AWS::StackName}}-spend-{name[:4].lower()}"}
    assert beside.pop("AlarmName") == named_after_the_stack(name[:4].lower())
    assert own == beside


@pytest.mark.parametrize("name", ALARMS)
def test_they_ring_for_charges_and_say_so_when_it_is_over(name: str) -> None:
    alarm = BESIDE["Resources"][name]["Properties"]

    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Billing", "EstimatedCharges")
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "SpendTopic"}]


def holds(condition: Any, values: dict[str, str]) -> bool:
    """Whether a condition of the template holds, as CloudFormation would say."""
    match condition:
        case str() as name:
            return holds(STACK["Conditions"][name], values)
        case {"Condition": str() as name}:
            return holds(name, values)
        case {"Fn::And": list() as parts}:
            return all(holds(part, values) for part in parts)
        case {"Fn::Not": [part]}:
            return not holds(part, values)
        case {"Fn::Equals": [{"Ref": str() as name}, right]}:
            return values[name] == str(right)
    raise AssertionError(condition)


@pytest.mark.parametrize(
    ("region", "soft", "hard", "alarms"),
    [
        ("us-east-1", "0", "0", set()),
        ("us-east-1", "800", "0", {"SoftSpendAlarm"}),
        ("us-east-1", "0", "1000", {"HardSpendAlarm"}),
        ("us-east-1", "800", "1000", set(ALARMS)),
        ("eu-central-1", "800", "1000", set()),
    ],
)
def test_the_stack_has_an_alarm_only_where_aws_tells_charges_and_a_threshold_is_given(
    region: str, soft: str, hard: str, alarms: set[str]
) -> None:
    """An alarm over 0 USD would ring at once, and a policy that names it stops all that runs."""
    values = {"AWS::Region": region, "SoftThreshold": soft, "HardThreshold": hard}

    assert {
        name for name in ALARMS if holds(STACK["Resources"][name]["Condition"], values)
    } == alarms


@pytest.mark.parametrize("name", ["SoftThreshold", "HardThreshold"])
def test_beside_the_stack_no_threshold_is_nothing(name: str) -> None:
    parameter = BESIDE["Parameters"][name]

    assert parameter["MinValue"] > 0
    assert "Default" not in parameter


def test_no_output_names_what_may_not_be_there() -> None:
    for template in (STACK, BESIDE):
        for output in template["Outputs"].values():
            ((function, name),) = output["Value"].items()
            if function == "Fn::Sub":
                continue  # It names no resource.
            resource = template["Resources"][name if isinstance(name, str) else name[0]]
            assert resource.get("Condition") == output.get("Condition")


def test_the_other_regions_function_lets_in_the_topic_beside_it_and_no_more() -> None:
    permission = STACK["Resources"]["SpendFromUsEast1"]

    assert permission["Condition"] == "IsOtherRegion"
    # SAM's own permission for a topic has none, and the ARN holds the account.
    assert "SourceAccount" not in permission["Properties"]
    assert permission["Properties"]["SourceArn"] == {
        "Fn::Sub": "arn:${AWS::Partition}:sns:us-east-1:${AWS::AccountId}:${AWS::StackName}-*"
    }


def test_what_does_not_get_across_is_kept_and_rings_an_alarm() -> None:
    resources = BESIDE["Resources"]
    subscription = resources["SpendSubscription"]["Properties"]

    assert subscription["RedrivePolicy"]["deadLetterTargetArn"] == {
        "Fn::GetAtt": ["SpendDeadLetters", "Arn"]
    }
    assert resources["SpendDeadLetters"]["Properties"]["MessageRetentionPeriod"] == 1_209_600
    assert resources["SpendDeadLettersAlarm"]["Properties"]["AlarmActions"]


def test_the_topic_is_encrypted_and_takes_messages_of_this_account_only() -> None:
    resources = BESIDE["Resources"]
    (publish,) = resources["SpendTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]

    assert resources["SpendTopic"]["Properties"]["KmsMasterKeyId"]
    assert publish["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    }


def test_the_names_of_the_alarms_are_told_and_the_sample_policy_uses_them() -> None:
    for name, ending in (("Soft", "soft"), ("Hard", "hard")):
        for template in (STACK, BESIDE):
            assert template["Outputs"][f"{name}AlarmName"]["Value"] == {"Ref": f"{name}SpendAlarm"}
        for text in ("events/policy.toml", "README.md"):
            assert f"batch-watchdog-spend-{ending}" in (ROOT / text).read_text()


@pytest.mark.parametrize("value", ["0", "1", "800", "1250.50"])
@pytest.mark.parametrize("name", ["SoftThreshold", "HardThreshold"])
def test_a_threshold_is_nothing_or_an_amount(name: str, value: str) -> None:
    assert re.search(STACK["Parameters"][name]["AllowedPattern"], value)


@pytest.mark.parametrize("value", ["0.0", "00", "0.5", "-1", "1e3", "", "800 USD"])
@pytest.mark.parametrize("name", ["SoftThreshold", "HardThreshold"])
def test_a_threshold_that_is_nothing_is_written_in_one_way(name: str, value: str) -> None:
    """The conditions compare texts: 0.0 would be an alarm that rings at once."""
    assert not re.search(STACK["Parameters"][name]["AllowedPattern"], value)


@pytest.mark.parametrize(
    ("region", "reached"),
    [
        ("eu-central-1", True),
        ("ap-southeast-2", True),
        ("us-east-2", True),
        ("us-east-1", False),  # the alarms are in the stack
        ("eu-south-1", False),  # opt-in
        ("ap-northeast-3", False),
        ("me-central-1", False),
    ],
)
def test_the_topic_beside_the_stack_takes_only_functions_that_sns_reaches(
    region: str, *, reached: bool
) -> None:
    pattern = BESIDE["Parameters"]["SpendFunctionArn"]["AllowedPattern"]

    arn = f"arn:aws:lambda:{region}:123456789012:function:batch-watchdog-SpendAlarm-1"
    assert bool(re.search(pattern, arn)) is reached
    assert not re.search(pattern, arn.replace("arn:aws:", "arn:aws-cn:"))
