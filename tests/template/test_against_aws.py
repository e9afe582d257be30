"""
The templates against AWS's own words, as far as they are known without an account.

The checkers are in aws_rules.py. Each is shown a template that is broken on purpose, too, and must
complain: a checker that finds nothing in a good template may find nothing at all.
"""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session

from local.aws.stack import TEMPLATE, in_cloudformation
from tests.template.aws_rules import (
    ACTIONS,
    FACTS,
    collisions,
    facts_of,
    iam_problems,
    key_problems,
    limit_problems,
    listed,
    names,
    overlap,
    schema,
    statements,
    update_problems,
)

ROOT = TEMPLATE.parent
STACK = in_cloudformation(TEMPLATE)
BESIDE = in_cloudformation(ROOT / "template-us-east-1.yaml")
RELEASED = json.loads((FACTS / "released.json").read_text())

type Break = Callable[[dict[str, Any]], object]


def broken(break_: Break) -> dict[str, Any]:
    """The stack's template, with a fault."""
    template = copy.deepcopy(STACK)
    break_(template["Resources"])
    return template


def replaced(resource: dict[str, Any], old: str, new: str) -> None:
    """Replace a text wherever it is in a resource; it must be there."""
    text = json.dumps(resource["Properties"])
    assert old in text
    resource["Properties"] = json.loads(text.replace(old, new))


# ---- IAM ----------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [STACK, BESIDE], ids=["stack", "beside"])
def test_iam_knows_each_action_and_it_takes_the_resource_that_is_given(template: Any) -> None:
    assert list(iam_problems(template)) == []
    assert len(list(statements(template))) > 3


@pytest.mark.parametrize(
    ("resource", "old", "new", "told"),
    [
        (
            "ActRole",
            "sns:Publish",
            "sns:Publsh",
            "IAM knows no action sns:Publsh; is sns:Publish meant?",
        ),
        (
            "StopPolicy",
            "batch:CancelJob",
            "batch:CancelJobs",
            "IAM knows no action batch:CancelJobs; is batch:CancelJob meant?",
        ),
        ("StopPolicy", ":job/*", ":jobs/*", "batch:CancelJob is given for arn:aws:batch:us-east-1"),
        (
            "SweepRole",
            "batch:ListServiceJobs",
            "batch:UpdateJobQueue",
            "batch:UpdateJobQueue takes a resource, and is given for all",
        ),
        (
            "CheckPolicy",
            ':alarm:*"',
            ':alarms:*"',
            "cloudwatch:DescribeAlarms is given for arn:aws:cloudwatch:*:123456789012:alarms:*",
        ),
        (
            "KeptEventsAccess",
            "logs:CreateLogStream",
            "logs:CreateLogStreams",
            "IAM knows no action logs:CreateLogStreams",
        ),
    ],
)
def test_an_action_that_does_not_exist_or_takes_no_such_resource_is_found(
    resource: str, old: str, new: str, told: str
) -> None:
    template = broken(lambda resources: replaced(resources[resource], old, new))

    assert any(told in problem for problem in iam_problems(template)), list(iam_problems(template))


def test_the_facts_about_iam_say_where_they_come_from_and_when() -> None:
    facts = json.loads((FACTS / "iam_actions.json").read_text())

    assert "service-authorization" in facts["source"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", facts["copied"])


def test_each_action_is_a_call_that_boto3_knows() -> None:
    """IAM's names are those of the calls."""
    named = {
        action
        for template in (STACK, BESIDE)
        for _, statement in statements(template)
        for action in listed(statement["Action"])
        if "*" not in action
    }
    streams = {"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"}
    session = get_session()

    for action in sorted(named):
        service, _, call = action.partition(":")
        model = session.get_service_model("dynamodbstreams" if call in streams else service)
        assert call in model.operation_names, action


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("arn:job/*", "arn:job/1", True),
        ("arn:job/*", "arn:job-queue/*", False),
        ("arn:*:alarm:*", "arn:us:alarm:x-*", True),
        ("log-group:*:log-stream:*", "log-group:a:*", True),
        ("a", "", False),
        ("", "*", True),
    ],
)
def test_patterns_overlap(one: str, other: str, *, expected: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is expected


# ---- Encryption ---------------------------------------------------------------------------


@pytest.mark.parametrize("template", [STACK, BESIDE], ids=["stack", "beside"])
def test_whoever_may_publish_to_an_encrypted_topic_may_use_its_key(template: Any) -> None:
    assert list(key_problems(template)) == []


@pytest.mark.parametrize(
    "service", ["budgets.amazonaws.com", "cloudwatch.amazonaws.com", "costalerts.amazonaws.com"]
)
def test_a_key_that_a_publisher_may_not_use_is_found(service: str) -> None:
    """Without it, AWS Budgets' messages are lost, and nobody is told."""
    template = broken(
        lambda resources: replaced(resources["NoticeKey"], f'"{service}"', '"other.amazonaws.com"')
    )

    assert f"{service} may publish to SpendTopic, and has no kms:Decrypt on NoticeKey" in list(
        key_problems(template)
    )


def test_events_are_kept_by_the_policy_of_awss_example() -> None:
    """
    No condition on CreateLogStream: EventBridge says no source there. Its events would be lost.

    https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/351
    """
    found = {
        statement["Action"]: statement.get("Condition")
        for where, statement in statements(STACK)
        if where.startswith("KeptEventsAccess")
    }

    assert found == {
        "logs:CreateLogStream": None,
        "logs:PutLogEvents": {"ArnEquals": {"aws:SourceArn": "${KeptEventsRule.Arn}"}},
    }


def test_the_target_for_kept_events_is_a_log_group_and_not_its_streams() -> None:
    [target] = STACK["Resources"]["KeptEventsRule"]["Properties"]["Targets"]

    assert target["Arn"]["Fn::Sub"].endswith(":log-group:${KeptEvents}")


# ---- Names --------------------------------------------------------------------------------


def test_a_second_stack_in_the_same_account_and_region_takes_other_names() -> None:
    stacks = ((STACK, "watch"), (STACK, "night"), (BESIDE, "far"), (BESIDE, "near"))

    assert list(collisions(*stacks)) == []
    assert ("AWS::Logs::LogGroup.LogGroupName", "/aws/events/watch") in list(names(STACK, "watch"))


@pytest.mark.parametrize(
    ("resource", "property_", "name"),
    [
        ("JobEventsQueue", "QueueName", "job-events"),
        ("KeptEvents", "LogGroupName", "/aws/events/batch-watchdog"),
        ("SoftSpendAlarm", "AlarmName", "batch-watchdog-spend-soft"),
        ("ActRole", "RoleName", "act"),
        ("SharedPolicy", "ManagedPolicyName", "shared"),
        ("ActFunction", "FunctionName", {"Fn::Sub": "act-${AWS::Region}"}),
        ("NoticeTopic", "TopicName", "notices"),
        ("JobEventsRule", "Name", "job-events"),
    ],
)
def test_a_name_that_two_stacks_would_share_is_found(
    resource: str, property_: str, name: Any
) -> None:
    template = broken(lambda resources: resources[resource]["Properties"].update({property_: name}))

    [problem] = collisions((template, "watch"), (template, "night"))
    assert problem.startswith(f"{STACK['Resources'][resource]['Type']}.{property_}: ")
    assert problem.endswith("is wanted by watch and night")


# ---- Updates ------------------------------------------------------------------------------


def test_an_update_of_the_released_version_replaces_and_removes_nothing_that_holds_data() -> None:
    assert list(update_problems(RELEASED, STACK)) == []
    assert {"Table", "NoticeTopic", "JobEventsDeadLetters", "KeptEvents"} <= RELEASED.keys()


def _with_another_key(resources: dict[str, Any]) -> None:
    replaced(resources["Table"], '"AttributeName": "pk"', '"AttributeName": "id"')


@pytest.mark.parametrize(
    ("break_", "told"),
    [
        (_with_another_key, "Table (AWS::DynamoDB::Table) is replaced"),
        (
            lambda resources: resources["Table"]["Properties"].update(TableName="watch"),
            "Table (AWS::DynamoDB::Table) is replaced",
        ),
        (
            lambda resources: resources["KeptEvents"]["Properties"].update(
                LogGroupClass="STANDARD"
            ),
            "KeptEvents (AWS::Logs::LogGroup) is replaced",
        ),
        (
            lambda resources: resources["JobEventsDeadLetters"]["Properties"].update(
                FifoQueue=True
            ),
            "JobEventsDeadLetters (AWS::SQS::Queue) is replaced",
        ),
        (
            lambda resources: resources.update(Notices=resources.pop("NoticeTopic")),
            "NoticeTopic (AWS::SNS::Topic) is removed",
        ),
    ],
)
def test_an_update_that_would_lose_something_is_found(break_: Break, told: str) -> None:
    [problem] = update_problems(RELEASED, broken(break_))

    assert problem.startswith(told)


def test_what_is_released_has_the_facts_that_are_compared() -> None:
    """All that holds data by now was in the released version, or is new and loses nothing."""
    assert RELEASED["Table"]["fixed"] == facts_of(STACK)["Table"]["fixed"]
    assert RELEASED["Table"]["DeletionPolicy"] == "Retain"


# ---- Limits -------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [STACK, BESIDE], ids=["stack", "beside"])
def test_nothing_is_longer_or_more_than_aws_takes(template: Any) -> None:
    assert list(limit_problems(template)) == []


def _much(resources: dict[str, Any]) -> None:
    statement = {"Effect": "Allow", "Action": "sns:Publish", "Resource": "x" * 700}
    document = resources["SharedPolicy"]["Properties"]["PolicyDocument"]
    document["Statement"] = [statement] * 10
    resources["ActFunction"]["Properties"]["Environment"]["Variables"]["NOTE"] = "x" * 4_000
    resources["ActRole"]["Properties"]["ManagedPolicyArns"] = [{"Ref": "SharedPolicy"}] * 11
    resources["ActRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"] = [
        statement
    ] * 20
    topic = resources["NoticeTopic"]
    resources.update({f"Topic{number}": topic for number in range(450)})
    resources["Topic1"] = {**topic, "Metadata": {"note": "x" * 1_000_000}}


def test_what_is_too_long_or_too_much_is_found() -> None:
    found = "\n".join(limit_problems(broken(_much)))

    assert "Resources, and 500 are allowed" in found
    assert "bytes, and 1000000 are allowed" in found
    assert re.search(r"^SharedPolicy: \d+, and 6144 are allowed$", found, re.MULTILINE)
    assert "the environment of ActFunction: " in found
    assert "managed policies attached to ActRole: 11, and 10 are allowed" in found
    assert "the policies of ActRole: " in found


def test_pollers_and_functions_together_are_told_to_who_deploys_into_a_new_account() -> None:
    """A new account may have 10 concurrent invocations; the page about operations says so."""
    resources = STACK["Resources"].values()
    mapped = [each for each in resources if each["Type"] == "AWS::Lambda::EventSourceMapping"]
    queues = [
        each["Properties"]["ScalingConfig"]["MaximumConcurrency"]
        for each in mapped
        if "ScalingConfig" in each["Properties"]
    ]

    assert sorted(queues) == [2, 5]
    assert all(each >= 2 for each in queues)  # AWS takes no less
    page = (ROOT / "docs/operations.md").read_text()
    assert "10 concurrent" in page


@pytest.mark.parametrize(
    "mapping",
    [
        pytest.param(resource["Properties"], id=name)
        for name, resource in STACK["Resources"].items()
        if resource["Type"] == "AWS::Lambda::EventSourceMapping"
    ],
)
def test_event_source_mappings_keep_within_lambdas_bounds(mapping: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html"""
    assert 1 <= mapping["BatchSize"] <= 10_000
    assert 0 <= mapping["MaximumBatchingWindowInSeconds"] <= 300
    if mapping["BatchSize"] > 10:
        assert mapping["MaximumBatchingWindowInSeconds"] >= 1
    assert 2 <= mapping.get("ScalingConfig", {}).get("MaximumConcurrency", 2) <= 1_000
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_function_that_sends_itself_messages_may_do_so() -> None:
    """Lambda would stop it after 16 rounds: it reads StopQueue, and sends there."""
    loops = {
        name
        for name, resource in STACK["Resources"].items()
        if resource.get("Properties", {}).get("RecursiveLoop") == "Allow"
    }

    assert loops == {"StopJobsFunction"}


# ---- Regions ------------------------------------------------------------------------------


def regions() -> list[str]:
    """The regions for which `make check` has cfn-lint compare the template."""
    found = re.search(r"^regions := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    return found[1].split()


def test_make_check_compares_with_the_schemas_of_all_partitions_and_of_opt_in_regions() -> None:
    assert {"us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1", "me-central-1"} <= set(
        regions()
    )


@pytest.mark.parametrize("region", regions())
def test_each_type_and_property_exists_in_the_region(region: str) -> None:
    for name, resource in STACK["Resources"].items():
        known = schema(resource["Type"], region)["properties"].keys()
        assert resource.get("Properties", {}).keys() <= known, name


def test_no_arn_names_a_partition() -> None:
    """In China and GovCloud ARNs begin otherwise."""
    for path in (TEMPLATE, ROOT / "template-us-east-1.yaml"):
        found = re.findall(r"arn:aws[a-z-]*:[a-z]+:", path.read_text())
        # Charges are told in the first partition only, so the pattern of the parameter names it.
        assert [each for each in found if each != "arn:aws:lambda:"] == []


def test_every_fact_is_used_or_asked_of_who_deploys() -> None:
    assert len(ACTIONS) < 200  # an extract, and no copy
    assert Path(FACTS / "iam_actions.json").stat().st_size < 40_000
