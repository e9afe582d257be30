"""What the emulators' CloudFormation makes of the template, beside moto's and the template."""

import json
import re
from dataclasses import asdict, replace
from typing import Any

import pytest

from local.aws import stack as stacks
from local.aws.stack import Function, Stack, Subscription
from local.commands.servers import CREDENTIALS
from tests.emulators.deployed import Deployed

pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def in_moto() -> Stack:
    return stacks.read()


@pytest.fixture
def found(deployed: Deployed, in_moto: Stack) -> Stack:
    folders = {
        name: function.folder
        for name, physical in in_moto.names.items()
        for function in in_moto.functions.values()
        if function.name == physical
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", deployed.endpoint)
        there = stacks.found(deployed.names, folders)
    functions = {arn: _with_retries(deployed, each) for arn, each in there.functions.items()}
    return replace(
        there,
        functions=functions,
        queues={arn: each for arn, each in there.queues.items() if _is_of_the_stack(arn)},
        subscriptions=_subscriptions(deployed),
    )


def _is_of_the_stack(arn: str) -> bool:
    """Other tests make queues, too."""
    return arn.rpartition(":")[2].startswith(f"{stacks.NAME}-")


def _with_retries(deployed: Deployed, function: Function) -> Function:
    """The function, with what moto does not keep."""
    lambdas = deployed.client("lambda")
    try:
        found = lambdas.get_function_event_invoke_config(
            FunctionName=function.name, Qualifier="$LATEST"
        )
    except lambdas.exceptions.ResourceNotFoundException:
        return function
    return replace(
        function,
        retries=found["MaximumRetryAttempts"],
        max_age_s=found["MaximumEventAgeInSeconds"],
        on_failure=found["DestinationConfig"]["OnFailure"]["Destination"],
    )


def _subscriptions(deployed: Deployed) -> tuple[Subscription, ...]:
    found = deployed.client("sns").list_subscriptions()["Subscriptions"]
    return tuple(
        Subscription(topic=each["TopicArn"], protocol=each["Protocol"], endpoint=each["Endpoint"])
        for each in found
        if each["Protocol"] == "lambda"
    )


def _in_logical_names(stack: Stack) -> dict[str, Any]:
    """
    All that was read, in the names of the template.

    Where a queue is to be asked is left out, and parameters, as the template makes none.
    """
    content = json.dumps(asdict(replace(stack, names={}, parameters={})), default=_plain)
    content = re.sub(r"https?://[^/\"]+/[0-9]+/", "", content)
    content = re.sub(r"/stream/[^\"]+", "/stream", content)
    for name, physical in stack.names.items():
        short = re.split("[/:]", physical)[-1]
        if short.startswith(f"{stacks.NAME}-"):
            content = content.replace(short, name)
    read: dict[str, Any] = json.loads(content)
    return {
        part: sorted(value, key=str) if isinstance(value, list) else value
        for part, value in read.items()
    }


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def test_everything_is_created_that_no_condition_leaves_out(deployed: Deployed) -> None:
    resources = deployed.template["Resources"]
    always = {name for name, each in resources.items() if "Condition" not in each}

    assert always <= deployed.names.keys() <= resources.keys()
    assert {"KeptEvents", "KeptEventsRule", "KeptEventsAccess"} <= deployed.names.keys()
    assert (
        not {"NoticesInChat", "NoticeEmailSubscription", "SoftSpendAlarm"} & deployed.names.keys()
    )


@pytest.mark.fakecloud
def test_a_condition_knows_the_region(in_fakecloud: Deployed) -> None:
    assert "SpendFromUsEast1" in in_fakecloud.template["Resources"]
    assert "SpendFromUsEast1" not in in_fakecloud.names


def test_functions_sources_rules_and_queues_are_as_in_moto(
    deployed: Deployed, found: Stack, in_moto: Stack
) -> None:
    there, wanted = _in_logical_names(found), _in_logical_names(in_moto)
    if not deployed.keeps_concurrency:
        for source in (*there["sources"], *wanted["sources"]):
            del source["concurrency"]

    assert there == wanted


def test_the_table_is_as_the_template_says(deployed: Deployed) -> None:
    wanted = deployed.template["Resources"]["Table"]["Properties"]
    dynamodb = deployed.client("dynamodb")
    # MiniStack passes over how it expires, is backed up and encrypted.
    table = dynamodb.describe_table(TableName=deployed.names["Table"])["Table"]

    assert table["KeySchema"] == wanted["KeySchema"]
    assert table["AttributeDefinitions"] == wanted["AttributeDefinitions"]
    assert table["BillingModeSummary"]["BillingMode"] == wanted["BillingMode"]
    assert table["DeletionProtectionEnabled"] is wanted["DeletionProtectionEnabled"]
    assert table["StreamSpecification"].items() >= wanted["StreamSpecification"].items()


@pytest.mark.fakecloud
def test_the_table_expires_and_is_backed_up_and_encrypted(in_fakecloud: Deployed) -> None:
    name, dynamodb = in_fakecloud.names["Table"], in_fakecloud.client("dynamodb")
    expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    encryption = dynamodb.describe_table(TableName=name)["Table"]["SSEDescription"]

    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert encryption["Status"] == "ENABLED"


@pytest.mark.parametrize("queue", ["JobEventsQueue", "JobEventsDeadLetters", "SpendDeadLetters"])
def test_a_queue_lets_its_rules_in_and_is_encrypted(deployed: Deployed, queue: str) -> None:
    told = deployed.client("sqs").get_queue_attributes(
        QueueUrl=deployed.names[queue], AttributeNames=["All"]
    )["Attributes"]
    (statement, *_) = json.loads(told["Policy"])["Statement"]
    rule = "SpendAlarmFunctionAlarms" if queue == "SpendDeadLetters" else "JobEventsRule"
    arn = deployed.client("events").describe_rule(Name=_short(deployed, rule))["Arn"]

    assert told["SqsManagedSseEnabled"] == "true"
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert told["QueueArn"] in statement["Resource"]
    assert arn in statement["Condition"]["ArnEquals"]["aws:SourceArn"]


@pytest.mark.parametrize("topic", ["NoticeTopic", "SpendTopic"])
def test_those_who_publish_to_a_topic_may_use_its_key(deployed: Deployed, topic: str) -> None:
    sns, kms = deployed.client("sns"), deployed.client("kms")
    told = sns.get_topic_attributes(TopicArn=deployed.names[topic])["Attributes"]
    # MiniStack forgets which key a topic has.
    key = kms.describe_key(KeyId=deployed.names["NoticeKey"])["KeyMetadata"]["KeyId"]
    policy = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    publish = _services(told["Policy"])

    assert publish
    assert publish <= _services(policy)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]


def _services(policy: str) -> set[str]:
    """Whom a policy speaks of."""
    principals = [each["Principal"] for each in json.loads(policy)["Statement"]]
    found = [each.get("Service", []) for each in principals if isinstance(each, dict)]
    return {one for each in found for one in ([each] if isinstance(each, str) else each)}


def test_a_role_has_the_rights_of_the_template(deployed: Deployed) -> None:
    iam = deployed.client("iam")
    resources = deployed.template["Resources"]
    for name, each in resources.items():
        if each["Type"] != "AWS::IAM::Role":
            continue
        role = _short(deployed, name)
        attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        wanted = [policy["Ref"] for policy in each["Properties"]["ManagedPolicyArns"]]
        inline = each["Properties"]["Policies"]
        found = iam.list_role_policies(RoleName=role)["PolicyNames"]

        assert {one["PolicyArn"] for one in attached} == {deployed.names[one] for one in wanted}
        assert found == [one["PolicyName"] for one in inline]
        for one in inline:
            policy = iam.get_role_policy(RoleName=role, PolicyName=one["PolicyName"])
            statements = policy["PolicyDocument"]["Statement"]
            assert _actions(statements) == _actions(one["PolicyDocument"]["Statement"])
            assert "Fn::" not in json.dumps(statements)


def _actions(statements: list[dict[str, Any]]) -> list[Any]:
    return [each["Action"] for each in statements]


def test_services_may_invoke_what_the_template_lets_them(deployed: Deployed) -> None:
    function = deployed.names["SpendAlarmFunction"]
    policy = json.loads(deployed.client("lambda").get_policy(FunctionName=function)["Policy"])
    allowed = [
        (each["Principal"]["Service"], each["Condition"]["ArnLike"]["AWS:SourceArn"])
        for each in policy["Statement"]
    ]
    rule = _short(deployed, "SpendAlarmFunctionAlarms")

    assert ("sns.amazonaws.com", deployed.names["SpendTopic"]) in allowed
    assert any(by == "events.amazonaws.com" and arn.endswith(rule) for by, arn in allowed)


def test_alarms_tell_the_topic_of_notices(deployed: Deployed) -> None:
    wanted = {
        deployed.names[name]
        for name, each in deployed.template["Resources"].items()
        if each["Type"] == "AWS::CloudWatch::Alarm" and name in deployed.names
    }
    alarms = deployed.client("cloudwatch").describe_alarms()["MetricAlarms"]

    assert {each["AlarmName"] for each in alarms} == wanted
    assert all(each["AlarmActions"] == [deployed.names["NoticeTopic"]] for each in alarms)


def test_the_dashboard_asks_the_console(deployed: Deployed) -> None:
    dashboard = deployed.client("cloudwatch").get_dashboard(
        DashboardName=deployed.names["Dashboard"]
    )

    assert deployed.names["ConsoleFunction"] in dashboard["DashboardBody"]
    assert json.loads(dashboard["DashboardBody"])["widgets"]


def _short(deployed: Deployed, name: str) -> str:
    return re.split("[/|]", deployed.names[name])[-1]
