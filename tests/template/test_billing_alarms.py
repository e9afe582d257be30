"""The billing alarms, which ring in us-east-1 only: in the stack if it is there, or beside it."""

from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
STACK: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
BESIDE: dict[str, Any] = yaml_parse((ROOT / "template-us-east-1.yaml").read_text())
ALARMS = ("SoftSpendAlarm", "HardSpendAlarm")


@pytest.mark.parametrize("name", ALARMS)
def test_the_alarms_are_the_same_in_both_templates(name: str) -> None:
    own, beside = (dict(each["Resources"][name]["Properties"]) for each in (STACK, BESIDE))

    assert own.pop("AlarmName") == {"Fn::Sub": f"${{AWS::StackName}}-spend-{name[:4].lower()}"}
    assert beside.pop("AlarmName") == {"Fn::Sub": f"${{AlarmPrefix}}-spend-{name[:4].lower()}"}
    assert own == beside


@pytest.mark.parametrize("name", ALARMS)
def test_they_ring_for_charges_and_say_so_when_it_is_over(name: str) -> None:
    alarm = BESIDE["Resources"][name]["Properties"]

    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Billing", "EstimatedCharges")
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "SpendTopic"}]


@pytest.mark.parametrize("name", ALARMS)
def test_the_stack_has_them_only_where_aws_tells_charges(name: str) -> None:
    conditions = STACK["Conditions"]

    assert STACK["Resources"][name]["Condition"] == "HasBillingAlarms"
    assert {"Condition": "IsWhereChargesAreTold"} in conditions["HasBillingAlarms"]["Fn::And"]
    assert conditions["IsWhereChargesAreTold"] == {
        "Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]
    }


def test_the_other_regions_function_lets_in_the_topic_beside_it_and_no_more() -> None:
    permission = STACK["Resources"]["SpendFromUsEast1"]

    assert permission["Condition"] == "IsElsewhere"
    assert permission["Properties"]["SourceAccount"] == {"Ref": "AWS::AccountId"}
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
