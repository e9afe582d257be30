"""What stands in the way of a deployment, in an account that moto plays. Nothing is changed."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local.aws.errors import ApiError
from local.aws.errors import session as session_of
from local.aws.stack import in_cloudformation
from local.commands import finish_build
from local.deploy import check
from local.deploy.account import SERVICES, Account
from local.deploy.rights import BUCKET, BY_TYPE, OWN, needed
from tests.template.aws_rules import ACTIONS, schema
from tests.unit.local.test_finish_build import ARM, library

ROOT = Path(__file__).parents[2]
TEMPLATE = in_cloudformation()
NAME = "batch-watchdog"
GROUP = f"/aws/events/{NAME}"

type Output = pytest.CaptureFixture[str]


class World:
    """An account, and a folder with a build. moto has no answer for Lambda's settings and IAM's."""

    def __init__(self, folder: Path) -> None:
        self.concurrent = 1_000
        self.denied: set[str] = set()
        self.refuses: set[str] = set()  # calls
        self.calls: list[str] = []
        self.missing: set[str] = set()  # services that the region has not
        self.caller = "arn:aws:iam::123456789012:user/jane"
        self.simulated_for = ""
        self.real = boto3.Session(region_name="us-east-1")
        self.real.events.register("before-parameter-build", self._called)
        names = ("iam", "lambda", "sts")
        self._played = session_of(dict.fromkeys(names, self._answer), "us-east-1")
        self._played.events.register("before-parameter-build", self._called)
        self.account = Account(
            session=self,
            region="us-east-1",
            stack=NAME,
            template=TEMPLATE,
            build=folder / "build",
            remembered=folder / "samconfig.toml",
        )

    def client(self, service: Any) -> Any:
        played = service in {"iam", "lambda", "sts"}
        return (self._played if played else self.real).client(service)

    def get_partition_for_region(self, region: str) -> str:
        return str(self.real.get_partition_for_region(region))

    def get_available_regions(self, service: Any, partition: str) -> list[str]:
        if service in self.missing:
            return []
        return list(self.real.get_available_regions(service, partition))

    def _called(self, model: Any, **_: object) -> None:
        self.calls.append(model.name)
        if model.name in self.refuses:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, model.name)

    def _answer(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "GetCallerIdentity":
                return {"Arn": self.caller, "Account": "123456789012", "UserId": "x"}
            case "GetRole":
                arn = f"arn:aws:iam::123456789012:role/teams/{params['RoleName']}"
                return {"Role": {"Arn": arn}}
            case "GetAccountSettings":
                limit = {"UnreservedConcurrentExecutions": self.concurrent}
                return {"AccountLimit": limit}
            case "SimulatePrincipalPolicy":
                self.simulated_for = params["PolicySourceArn"]
                decisions = [
                    {
                        "EvalActionName": name,
                        "EvalDecision": "implicitDeny" if name in self.denied else "allowed",
                    }
                    for name in params["ActionNames"]
                ]
                return {"EvaluationResults": decisions, "IsTruncated": False}
        raise ApiError("Unknown", operation)

    def found(self, level: str) -> dict[str, str]:
        """What is found of a level, with what to do."""
        return {each.what: each.do for each in self.account.findings() if each.level == level}

    def only(self, level: str) -> tuple[str, str]:
        [found] = self.found(level).items()
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    layer = tmp_path / "build/WatchdogLayer/python"
    for folder in ("batch_watchdog", "botocore/data", "pydantic_core"):
        (layer / folder).mkdir(parents=True)
    (layer / "pydantic_core/core.so").write_bytes(library(ARM))
    shutil.copy(ROOT / "template.yaml", tmp_path / "build/template.yaml")
    assert finish_build.main([str(tmp_path / "build")]) == 0
    (tmp_path / "samconfig.toml").write_text(
        "[default.deploy.parameters]\n"
        'parameter_overrides = "NoticeEmail=\\"ops@example.com\\" SoftThreshold=\\"0\\""\n'
    )
    with mock_aws():
        world = World(tmp_path)
        _with_a_job_queue(world)
        world.calls.clear()
        yield world


def _with_a_job_queue(world: World) -> None:
    role = boto3.client("iam").create_role(RoleName="batch", AssumeRolePolicyDocument="{}")
    batch = world.real.client("batch")
    batch.create_compute_environment(
        computeEnvironmentName="cpu",
        type="UNMANAGED",
        state="ENABLED",
        serviceRole=role["Role"]["Arn"],
    )
    batch.create_job_queue(
        jobQueueName="cpu",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "cpu"}],
    )


def test_in_an_account_in_which_all_is_well_nothing_stands_in_the_way(
    world: World, capsys: Output
) -> None:
    assert check.report(world.account) == 0

    told = capsys.readouterr().out
    assert "ok       Built for arm64: functions and libraries." in told
    assert "ops@example.com will be asked by AWS to confirm" in told
    assert told.splitlines()[-1] == ("Nothing stands in the way: make deploy. Nothing was changed.")
    assert (world.found("warning"), world.found("refused")) == ({}, {})


def test_nothing_is_changed(world: World) -> None:
    list(world.account.findings())

    assert {call for call in world.calls if not call.startswith(("Get", "List", "Describe"))} == {
        "SimulatePrincipalPolicy"
    }


# ---- This machine -------------------------------------------------------------------------


def test_where_nothing_is_built_that_is_told(world: World, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "build")

    what, do = world.only("refused")
    assert what.startswith("Nothing is built that could be deployed: ")
    assert do == "make build"


def test_a_build_with_another_processors_libraries_is_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "build/WatchdogLayer/python/other.so").write_bytes(library(62))

    what, _ = world.only("refused")
    assert "not for one processor of Lambda: arm64: other" not in what
    assert "arm64: pydantic_core/core.so; x86_64: other.so" in what


def test_a_build_that_is_not_finished_is_told(world: World, tmp_path: Path) -> None:
    shutil.copy(ROOT / "template.yaml", tmp_path / "build/template.yaml")

    what, _ = world.only("refused")
    assert what.endswith("is not finished.")


# ---- The region ---------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_a_region_that_lacks_a_service_is_told(world: World, service: str) -> None:
    world.missing = {service}

    what, do = world.only("refused")
    assert what.startswith(f"AWS has no {service} in us-east-1")
    assert "Deploy where the job queues are" in do


def test_a_region_without_xray_does_nothing_worse_than_lose_traces(world: World) -> None:
    world.missing = {"xray"}

    assert world.only("warning")[0] == "AWS has no X-Ray in us-east-1: there are no traces."


@pytest.mark.parametrize("region", ["cn-north-1", "us-gov-west-1", "me-central-1"])
def test_a_region_of_another_partition_is_looked_up_there(world: World, region: str) -> None:
    found = list(replace(world.account, region=region)._services())  # noqa: SLF001

    assert [each.level for each in found] == ["ok"]


def test_a_region_without_job_queues_is_told(world: World) -> None:
    world.real.client("batch").update_job_queue(jobQueue="cpu", state="DISABLED")
    world.real.client("batch").delete_job_queue(jobQueue="cpu")

    what, do = world.only("warning")
    assert what == "No job queue of AWS Batch is in us-east-1: there is nothing to watch."
    assert "AWS_REGION" in do


# ---- The caller ---------------------------------------------------------------------------


def test_rights_that_the_caller_lacks_are_told_with_whom_to_ask(world: World) -> None:
    world.denied = {"iam:CreateRole", "kms:CreateKey"}

    what, do = world.only("refused")
    assert what == f"{world.caller} may not do 2 things that the deployment needs."
    assert do.startswith("Ask whoever administers the account for iam:CreateRole, kms:CreateKey.")


def test_many_rights_are_told_in_short(world: World) -> None:
    world.denied = set(needed(TEMPLATE))

    assert " more. (Asked for all resources" in world.only("refused")[1]


def test_a_session_stands_for_its_role_whatever_the_roles_path_is(world: World) -> None:
    world.caller = "arn:aws:sts::123456789012:assumed-role/deployer/jane"

    assert world.found("refused") == {}
    assert world.simulated_for == "arn:aws:iam::123456789012:role/teams/deployer"


def test_the_root_user_needs_no_rights_and_is_advised_against(world: World) -> None:
    world.caller = "arn:aws:iam::123456789012:root"
    world.denied = {"iam:CreateRole"}

    assert world.only("warning")[0] == "The account's root user deploys."
    assert world.found("refused") == {}


@pytest.mark.parametrize("kind", sorted(BY_TYPE))
def test_the_rights_of_a_type_are_those_that_cloudformation_says(kind: str) -> None:
    handlers = schema(kind)["handlers"].values()

    assert set(BY_TYPE[kind]) <= {each for of in handlers for each in of.get("permissions", ())}


def test_iam_knows_each_right_that_is_asked_for() -> None:
    assert {*needed(TEMPLATE), *BUCKET} <= ACTIONS.keys()
    assert set(OWN) <= set(needed(TEMPLATE))


@pytest.mark.parametrize(
    ("call", "about", "right"),
    [
        ("SimulatePrincipalPolicy", "The caller's rights", "iam:SimulatePrincipalPolicy"),
        ("GetAccountSettings", "Concurrency", "lambda:GetAccountSettings"),
        ("DescribeResourcePolicies", "Log resource policies", "logs:DescribeResourcePolicies"),
        ("DescribeJobQueues", "Job queues", "batch:DescribeJobQueues"),
        ("ListTables", "Tables", "dynamodb:ListTables"),
        ("GetParameter", "The policy", "ssm:GetParameter"),
    ],
)
def test_what_may_not_be_asked_is_told_and_all_else_is_asked(
    world: World, call: str, about: str, right: str
) -> None:
    world.refuses = {call}
    before = len(list(world.account.findings()))

    what, do = world.only("warning")
    assert what == f"{about}: could not be asked (AccessDenied for {call})."
    assert do.startswith(f"Ask whoever administers the account for {right}")
    world.refuses = set()
    assert len(list(world.account.findings())) == before


# ---- The bucket ---------------------------------------------------------------------------

SAM = {
    "Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "code"}}},
    "Outputs": {"SourceBucket": {"Value": {"Ref": "Bucket"}}},
}


def test_the_bucket_is_there_or_will_be_made(world: World) -> None:
    assert any(what.startswith("SAM CLI will create a bucket") for what in world.found("ok"))

    _create(world, "aws-sam-cli-managed-default", SAM)
    assert "The code goes to the bucket code." in world.found("ok")


def test_a_bucket_that_is_gone_is_told(world: World) -> None:
    _create(world, "aws-sam-cli-managed-default", SAM)
    world.real.client("s3").delete_bucket(Bucket="code")

    what, do = world.only("refused")
    assert what == "SAM CLI's bucket code cannot be used (404)."
    assert "delete the stack aws-sam-cli-managed-default" in do


# ---- The stack ----------------------------------------------------------------------------


def _create(world: World, name: str, template: Any) -> None:
    world.real.client("cloudformation").create_stack(
        StackName=name, TemplateBody=json.dumps(template)
    )


TOPIC = {
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "notices"}}},
    "Outputs": {"TopicArn": {"Value": {"Ref": "Topic"}}},
}


def _set_status(status: str) -> None:
    from moto.cloudformation.models import cloudformation_backends  # noqa: PLC0415

    for stack in cloudformation_backends["123456789012"]["us-east-1"].stacks.values():
        stack.status = status


@pytest.mark.parametrize(
    ("status", "told", "do"),
    [
        ("ROLLBACK_COMPLETE", "it cannot be updated", "make undeploy STACK=batch-watchdog"),
        ("CREATE_FAILED", "it cannot be updated", "make undeploy"),
        ("UPDATE_IN_PROGRESS", "is in UPDATE_IN_PROGRESS", "Wait for its end."),
    ],
)
def test_a_stack_that_cannot_be_updated_is_told(
    world: World, status: str, told: str, do: str
) -> None:
    _create(world, NAME, TOPIC)
    _set_status(status)

    [(what, advice)] = world.found("refused").items()
    assert told in what
    assert do in advice


def test_subscribers_of_a_stack_that_is_there_are_counted(world: World) -> None:
    _create(world, NAME, TOPIC)
    assert world.only("warning")[0] == "Nobody would receive the notices."

    world.real.client("sns").subscribe(
        TopicArn="arn:aws:sns:us-east-1:123456789012:notices",
        Protocol="sqs",
        Endpoint="arn:aws:sqs:us-east-1:123456789012:box",
    )
    assert "Somebody is subscribed to the notices." in world.found("ok")


@pytest.mark.parametrize("text", ["", "not toml", '[default.deploy.parameters]\nx = "y"\n'])
def test_where_no_address_was_given_nobody_would_receive_anything(
    world: World, tmp_path: Path, text: str
) -> None:
    (tmp_path / "samconfig.toml").write_text(text)

    what, do = world.only("warning")
    assert what == "Nobody would receive the notices."
    assert "NoticeEmail" in do


def test_names_that_something_else_has_are_told(world: World) -> None:
    world.real.client("logs").create_log_group(logGroupName=GROUP)
    world.real.client("logs").create_log_group(logGroupName=f"{GROUP}-2")
    world.real.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{NAME}-spend-soft",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Threshold=1.0,
    )

    what, do = world.only("refused")
    assert what.startswith(f"There is a log group {GROUP}, ")
    assert f"--log-group-name {GROUP}" in do
    assert world.only("warning")[0].startswith(f"There is an alarm {NAME}-spend-soft, ")


def _create_table(world: World, name: str) -> None:
    world.real.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def test_a_table_that_belongs_to_no_stack_is_told(world: World) -> None:
    _create_table(world, f"{NAME}-Table-LEFT")
    _create_table(world, "other-Table-X")

    what, do = world.only("warning")
    assert what.startswith(f"The table {NAME}-Table-LEFT belongs to no stack")
    assert "--no-deletion-protection-enabled" in do


def test_the_stacks_own_table_is_not_left_over(world: World) -> None:
    table = {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "TableName": f"{NAME}-Table-OWN",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    }
    _create(world, NAME, {"Resources": {"Table": table}})

    assert not [what for what in world.found("warning") if "belongs to no stack" in what]


# ---- Quotas -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concurrent", "level", "told"),
    [
        (10, "warning", "lets 10 functions run at once, as new accounts do"),
        (9, "refused", "lets 9 functions run at once: events, sweeps and stops would wait"),
    ],
)
def test_few_concurrent_invocations_are_told_with_what_to_ask_for(
    world: World, concurrent: int, level: str, told: str
) -> None:
    world.concurrent = concurrent

    what, do = world.only(level)
    assert told in what
    assert do.startswith("Ask AWS for more: Service Quotas, AWS Lambda, Concurrent executions")


def test_log_resource_policies_that_leave_no_room_are_told(world: World) -> None:
    logs = world.real.client("logs")
    for number in range(10):
        logs.put_resource_policy(policyName=f"other-{number}", policyDocument="{}")

    what, do = world.only("refused")
    assert what == "The region has 10 resource policies of CloudWatch Logs, of 10 that AWS allows."
    assert "KeepEventsDays=0" in do

    logs.delete_resource_policy(policyName="other-0")
    logs.put_resource_policy(policyName=f"{NAME}-events", policyDocument="{}")
    assert world.found("refused") == {}


# ---- The policy ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "level", "told"),
    [
        ('mode = "enforce"\n', "ok", "will be in force at once. Its mode: enforce."),
        ('mode = "of"\n', "warning", "cannot be used."),
    ],
)
def test_a_policy_that_is_there_already_is_told(
    world: World, text: str, level: str, told: str
) -> None:
    name = f"/batch-watchdog/{NAME}/policy"
    world.real.client("ssm").put_parameter(Name=name, Value=text, Type="String")

    assert [what for what in world.found(level) if told in what]


# ---- The command --------------------------------------------------------------------------


@pytest.mark.usefixtures("world")
def test_what_stands_in_the_way_is_counted_and_is_the_exit_status(
    world: World, capsys: Output
) -> None:
    world.concurrent = 1
    world.denied = {"iam:CreateRole"}

    assert check.report(world.account) == 1

    told = capsys.readouterr().out
    assert told.splitlines()[-1] == "2 things stand in the way. Nothing was changed."
    assert "\n         Ask AWS for more" in told


def test_the_command_says_where_it_looks(
    world: World, capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boto3, "Session", lambda **_: world)
    monkeypatch.setattr(check, "in_cloudformation", lambda: TEMPLATE)

    status = check.main(["--stack", "night", "--build", str(tmp_path / "build")])

    assert status in (0, 1)
    assert capsys.readouterr().out.splitlines()[0] == (
        "account 123456789012, region us-east-1, stack night"
    )


def test_without_credentials_the_command_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Output
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert check.main([]) == 2
    assert "There are no credentials for AWS" in capsys.readouterr().err
