"""The template keeps its promises: nothing is lost unseen, and nobody may do more than needed."""

import ast
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "template.yaml").read_text()
TEMPLATE = yaml_parse(TEXT)
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]


def of_type(kind: str) -> dict[str, Any]:
    return {
        name: resource.get("Properties", {})
        for name, resource in RESOURCES.items()
        if resource["Type"] == kind
    }


QUEUES = of_type("AWS::SQS::Queue")
ALARMS = of_type("AWS::CloudWatch::Alarm")
FUNCTIONS = of_type("AWS::Serverless::Function")


def inside(value: Any) -> Iterator[Any]:
    """The value, and all that is in it."""
    yield value
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list)):
        for child in children:
            yield from inside(child)


def named(value: Any) -> set[str]:
    """The resources that a value refers to."""
    names = set()
    for part in inside(value):
        if isinstance(part, dict) and "Ref" in part:
            names.add(part["Ref"])
        elif isinstance(part, dict) and "Fn::GetAtt" in part:
            target = part["Fn::GetAtt"]
            names.add(target.split(".")[0] if isinstance(target, str) else target[0])
    return names & RESOURCES.keys()


def dead_letter_queues() -> set[str]:
    """The queues that something hands what it gave up."""
    names: set[str] = set()
    for part in inside(RESOURCES):
        if isinstance(part, dict):
            for key in ("deadLetterTargetArn", "DeadLetterConfig", "OnFailure"):
                names |= named(part.get(key))
    return names


def events(kind: str) -> dict[str, Any]:
    return {
        f"{function}.{name}": event["Properties"]
        for function, properties in FUNCTIONS.items()
        for name, event in properties.get("Events", {}).items()
        if event["Type"] == kind
    }


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every role's statements: its own, and those of the stack's managed policies."""
    shared = of_type("AWS::IAM::ManagedPolicy")
    for name, role in of_type("AWS::IAM::Role").items():
        attached = [shared[policy["Ref"]] for policy in role["ManagedPolicyArns"]]
        for policy in [*role["Policies"], *attached]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


@pytest.mark.parametrize("name", QUEUES)
def test_each_queue_has_dead_letters_or_is_for_them(name: str) -> None:
    redrive = QUEUES[name].get("RedrivePolicy")

    assert redrive or name in dead_letter_queues()
    assert not redrive or redrive["maxReceiveCount"] == 5


@pytest.mark.parametrize("name", QUEUES)
def test_each_queue_is_encrypted(name: str) -> None:
    assert QUEUES[name]["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize("name", sorted(dead_letter_queues()))
def test_dead_letters_stay_for_14_days_and_ring_an_alarm(name: str) -> None:
    assert QUEUES[name]["MessageRetentionPeriod"] == 14 * 24 * 60 * 60
    assert any(
        name in named(alarm.get("Dimensions")) and alarm["Threshold"] == 0
        for alarm in ALARMS.values()
    )


@pytest.mark.parametrize("name", ALARMS)
def test_each_alarm_tells_the_topic_and_explains_itself(name: str) -> None:
    about_money = ALARMS[name].get("Namespace") == "AWS/Billing"

    assert named(ALARMS[name]["AlarmActions"]) == {"SpendTopic" if about_money else "NoticeTopic"}
    assert ALARMS[name]["AlarmDescription"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_has_an_alarm_on_its_errors_and_throttles(name: str) -> None:
    watched = {
        metric["MetricStat"]["Metric"]["MetricName"]
        for alarm in ALARMS.values()
        for metric in alarm.get("Metrics", ())
        if "MetricStat" in metric and name in named(metric)
    }

    assert {"Errors", "Throttles"} <= watched


@pytest.mark.parametrize("name", [name for name in ALARMS if "Metrics" in ALARMS[name]])
def test_a_sum_of_metrics_has_a_value_where_one_of_them_has_none(name: str) -> None:
    """A function that is throttled all the time has no datapoint of Errors."""
    [sum_] = [each for each in ALARMS[name]["Metrics"] if "Expression" in each]
    summed = sorted(each["Id"] for each in ALARMS[name]["Metrics"] if "MetricStat" in each)

    assert sorted(re.findall(r"FILL\((\w+), 0\)", sum_["Expression"])) == summed
    assert re.sub(r"FILL\(\w+, 0\)| |\+", "", sum_["Expression"]) == ""


def test_every_rule_and_schedule_has_dead_letters_and_bounded_retries() -> None:
    targets = [
        target for rule in of_type("AWS::Events::Rule").values() for target in rule["Targets"]
    ]

    for target in [*targets, *events("EventBridgeRule").values(), *events("Schedule").values()]:
        assert named(target["DeadLetterConfig"]) <= dead_letter_queues()
        assert target["RetryPolicy"]["MaximumRetryAttempts"]


def test_what_a_queue_brings_is_acknowledged_one_by_one_and_read_again_in_time() -> None:
    slowest = TEMPLATE["Globals"]["Function"]["Timeout"]

    for source in events("SQS").values():
        (queue,) = named(source["Queue"])
        window = source["MaximumBatchingWindowInSeconds"]
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert QUEUES[queue]["VisibilityTimeout"] >= 6 * slowest + window


def test_the_stream_brings_new_actions_and_gives_up_on_none_in_silence() -> None:
    (stream,) = events("DynamoDB").values()

    assert [json.loads(one["Pattern"]) for one in stream["FilterCriteria"]["Filters"]] == [
        {"eventName": ["INSERT"], "dynamodb": {"Keys": {"pk": {"S": [{"prefix": "ACTION#"}]}}}}
    ]
    assert stream["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert stream["BisectBatchOnFunctionError"] is True
    assert 0 < stream["MaximumRetryAttempts"] <= 100
    assert 0 < stream["MaximumRecordAgeInSeconds"] <= 24 * 60 * 60
    assert named(stream["DestinationConfig"]) <= dead_letter_queues()


def test_the_table_outlives_the_stack_and_can_be_restored() -> None:
    (properties,) = of_type("AWS::DynamoDB::Table").values()

    assert RESOURCES["Table"]["DeletionPolicy"] == "Retain"
    assert RESOURCES["Table"]["UpdateReplacePolicy"] == "Retain"
    assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert properties["SSESpecification"]["SSEEnabled"] is True
    assert properties["TimeToLiveSpecification"]["AttributeName"] == "expires_at"


def test_no_deployment_can_change_the_policy() -> None:
    """
    The parameter is the operators'. CloudFormation would put its first text back over a live
    policy whenever a property changes, and delete it with the stack.
    """
    assert of_type("AWS::SSM::Parameter") == {}


def test_the_policys_parameter_has_a_name_that_ssm_allows_whatever_the_stack_is_called() -> None:
    """https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html"""
    name = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["POLICY_PARAMETER"]

    assert name == {"Fn::Sub": "/batch-watchdog/${AWS::StackName}/policy"}
    assert TEMPLATE["Outputs"]["PolicyParameter"]["Value"] == name


def test_queue_and_topic_policies_name_their_source() -> None:
    policies = of_type("AWS::SQS::QueuePolicy") | of_type("AWS::SNS::TopicPolicy")

    for policy in policies.values():
        for statement in policy["PolicyDocument"]["Statement"]:
            (condition,) = statement["Condition"].values()
            assert set(condition) in ({"aws:SourceArn"}, {"aws:SourceAccount"})


def test_each_function_has_its_own_role_with_policies_of_this_stack_only() -> None:
    roles = [properties["Role"]["Fn::GetAtt"] for properties in FUNCTIONS.values()]
    attached = [role["ManagedPolicyArns"] for role in of_type("AWS::IAM::Role").values()]

    assert len({str(role) for role in roles}) == len(FUNCTIONS)
    assert all({"Ref": "SharedPolicy"} in policies for policies in attached)
    assert {policy["Ref"] for policies in attached for policy in policies} == set(
        of_type("AWS::IAM::ManagedPolicy")
    )


def test_each_role_takes_the_boundary_that_an_account_may_ask_for() -> None:
    boundary = {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundary"}, {"Ref": "AWS::NoValue"}]}

    assert all(
        role["PermissionsBoundary"] == boundary for role in of_type("AWS::IAM::Role").values()
    )


def test_no_setting_of_metrics_is_given_where_none_are_made() -> None:
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    code = "".join(path.read_text() for path in ROOT.glob("layers/watchdog/**/*.py"))

    assert ("POWERTOOLS_METRICS_NAMESPACE" in variables) is ("import Metrics" in code)


def test_a_right_to_everything_is_given_only_where_aws_knows_no_resources() -> None:
    everywhere = {
        action
        for _, statement in statements()
        if statement["Resource"] == "*"
        for action in (
            [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        )
    }
    lines = [line for line in TEXT.splitlines() if 'Resource: "*"' in line]

    assert everywhere == {
        "batch:DescribeJobs",
        "batch:ListJobs",
        "batch:DescribeServiceJob",
        "batch:ListServiceJobs",
        "batch:DescribeJobQueues",
        "batch:DescribeComputeEnvironments",
        "batch:DescribeServiceEnvironments",
        "cloudwatch:GetMetricStatistics",
        "ec2:DescribeInstanceTypes",
        "dynamodb:ListStreams",
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
    }
    assert all("#" in line for line in lines)


def test_no_action_is_given_by_wildcard() -> None:
    assert not [statement for _, statement in statements() if "*" in str(statement["Action"])]


def test_only_act_and_stop_jobs_can_change_what_batch_does() -> None:
    changing = ("Cancel", "Terminate", "Update", "Submit", "Create", "Delete", "Register")

    assert {
        name
        for name, statement in statements()
        if any(f"batch:{verb}" in str(statement["Action"]) for verb in changing)
    } == {"ActRole", "StopJobsRole"}


def test_each_function_keeps_its_logs_as_long_as_asked() -> None:
    groups = of_type("AWS::Logs::LogGroup")

    for properties in FUNCTIONS.values():
        (group,) = named(properties["LoggingConfig"])
        assert groups[group]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_every_parameter_is_explained_and_grouped() -> None:
    interface = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]

    assert sorted(grouped) == sorted(TEMPLATE["Parameters"])
    assert interface["ParameterLabels"].keys() == TEMPLATE["Parameters"].keys()
    assert all(parameter["Description"] for parameter in TEMPLATE["Parameters"].values())


@pytest.mark.parametrize("name", [".cfnlintrc", ".checkov.yaml"])
def test_every_finding_that_is_accepted_everywhere_has_a_reason(name: str) -> None:
    text = (ROOT / name).read_text()
    (accepted,) = yaml_parse(text).values()
    lines = [line for line in text.splitlines() if line.startswith("  - ")]

    assert len(lines) == len(accepted)
    assert all(re.fullmatch(r"  - \w+ # .+\.", line) for line in lines)


@pytest.mark.parametrize("name", ["template.yaml", "template-us-east-1.yaml"])
def test_every_finding_that_is_accepted_for_one_resource_has_a_reason(name: str) -> None:
    text = (ROOT / name).read_text()
    by_checkov = [
        skip
        for resource in yaml_parse(text)["Resources"].values()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", ())
    ]
    by_cfn_lint = [
        before + line for before, line in pairwise(text.splitlines()) if "ignore_checks" in line
    ]

    assert all(skip["comment"] for skip in by_checkov)
    assert all("#" in lines for lines in by_cfn_lint)


# ---- Handlers -------------------------------------------------------------------------------


def lines_of_code(source: str) -> set[int]:
    """The lines that are neither blank nor comment, import or docstring."""
    tree = ast.parse(source)
    excluded: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) or (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            excluded |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return {
        number
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#") and number not in excluded
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_one_short_handler(name: str) -> None:
    folder = ROOT / FUNCTIONS[name]["CodeUri"]
    sources = [path.name for path in folder.iterdir() if path.is_file()]

    assert sources == ["handler.py"]
    assert len(lines_of_code((folder / "handler.py").read_text())) <= 25


def test_every_folder_of_functions_is_in_the_template() -> None:
    folders = {f"functions/{path.parent.name}/" for path in ROOT.glob("functions/*/handler.py")}

    assert folders == {properties["CodeUri"] for properties in FUNCTIONS.values()}
