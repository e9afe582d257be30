"""
The stack that template.yaml makes, as the dispatcher needs it.

SAM's own translator turns the template into CloudFormation, moto creates the stack, and what came
of it is read back through AWS's API. So nothing about rules, batch sizes, filters or retries is
written down here a second time.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import boto3
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.moto_api._internal import mock_random
from samtranslator.metrics.metrics import DummyMetricsPublisher, Metrics
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from local.aws.patterns import Pattern

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
REGION = "us-east-1"
NAME = "batch-watchdog"

_ANYWHERE = "s3://nowhere/nothing"
# The handlers are run from the repository. moto wants base64 here of a layer: that it is, too.
_INLINE = {"ZipFile": "pass"}

# Policies that SAM puts into roles by itself; it would ask IAM where they are.
_MANAGED_POLICIES = {
    name: f"arn:aws:iam::aws:policy/service-role/{name}"
    for name in (
        "AWSLambdaBasicExecutionRole",
        "AWSLambdaDynamoDBExecutionRole",
        "AWSLambdaSQSQueueExecutionRole",
    )
}

# What Lambda and EventBridge do where a template says nothing.
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
_ASYNC_RETRIES = 2
_QUEUE_BATCH, _STREAM_BATCH = 10, 100
_FOR_EVER = -1
_CONCURRENT = 1_000  # invocations, in an account that has not asked for more


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A Lambda function. `retries`, `max_age_s` and `on_failure` are for events, not for calls."""

    name: str
    arn: str
    folder: Path
    handler: str
    timeout_s: int
    memory_mb: int
    environment: Mapping[str, str]
    retries: int = _ASYNC_RETRIES
    max_age_s: int = 6 * 3600
    on_failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    """
    What Lambda reads from a queue or a stream for a function. `retries` of -1: for ever.

    `concurrency` is how many invocations there may be at once, for a queue.
    """

    function: str
    source: str
    batch_size: int
    window_s: int
    filters: tuple[Pattern, ...]
    reports_failures: bool
    bisects: bool
    retries: int
    max_age_s: int
    on_failure: str
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a rule or schedule sends events. `input` replaces the event, unless it is empty."""

    arn: str
    dead_letters: str = ""
    input: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of the default bus: it has a pattern, or a schedule ("rate(1 minute)")."""

    arn: str
    pattern: Pattern | None
    schedule: str
    scheduler: bool = False  # it is EventBridge Scheduler's
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue. Without `dead_letters`, `max_receives` is 0 and a message comes back for ever."""

    arn: str
    url: str
    visibility_s: int
    delay_s: int
    dead_letters: str
    max_receives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    topic: str
    protocol: str
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The resources; what is named by ARN is kept by ARN."""

    functions: Mapping[str, Function]
    sources: tuple[EventSource, ...]
    rules: tuple[Rule, ...]
    queues: Mapping[str, Queue]
    topics: frozenset[str]
    subscriptions: tuple[Subscription, ...]
    table: str
    stream: str
    stream_view: str
    parameters: Mapping[str, str]
    names: Mapping[str, str] = field(repr=False)  # physical ids by logical ones

    def function_in(self, folder: str) -> Function | None:
        """The function whose code lies in a folder of that name."""
        return next((each for each in self.functions.values() if each.folder.name == folder), None)


def read(template: Path = TEMPLATE, parameters: Mapping[str, str] = MappingProxyType({})) -> Stack:
    """
    Create the template's stack in moto and read it; nothing of moto is left behind.

    `parameters` are the template's own, where they shall differ from its defaults.

    Raises:
        ValueError: the template is none, or has a part that is not understood here.
    """
    with in_moto():
        return create(template, parameters)


@contextmanager
def in_moto() -> Iterator[None]:
    """moto in place of AWS, also where the environment names an endpoint or a profile for AWS."""
    own = {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    with patch.dict(os.environ, own), mock_aws():
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            os.environ.pop(name, None)
        yield


def create(
    template: Path = TEMPLATE, parameters: Mapping[str, str] = MappingProxyType({})
) -> Stack:
    """As `read`, within a moto that is at work already and then has the stack."""
    mock_random.seed(1)  # so that names are the same each time
    source = yaml_parse(template.read_text())
    folders = _take_code(source, template.parent)
    translated = _translated(source, parameters)
    _attach_policies(translated["Resources"])
    lost = _lost(translated["Resources"])
    for each in lost:
        translated.setdefault("Outputs", {}).update(each.outputs())
    cloudformation = boto3.client("cloudformation", REGION)
    with _only_our_warnings():
        cloudformation.create_stack(
            StackName=NAME,
            TemplateBody=json.dumps(translated),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
        )
        outputs = cloudformation.describe_stacks(StackName=NAME)["Stacks"][0].get("Outputs", [])
        resources = cloudformation.describe_stack_resources(StackName=NAME)["StackResources"]
    names = {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for each in resources
        if "LogicalResourceId" in each and each.get("PhysicalResourceId")
    }
    told = {each["OutputKey"]: each["OutputValue"] for each in outputs}
    stack = _stack(names, [found for each in lost if (found := each.read(told))], folders)
    _unplug(stack.table)
    return stack


def found(names: Mapping[str, str], folders: Mapping[str, Path]) -> Stack:
    """
    What stands behind these names in the AWS that boto3 speaks to, whoever plays it.

    `folders` are those of the functions' code, by logical names. Subscriptions and retries of
    events are not read.
    """
    return _stack(names, [], folders)


def in_cloudformation(
    template: Path = TEMPLATE, parameters: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """The template as CloudFormation is given it: without SAM's own resources."""
    source = yaml_parse(template.read_text())
    _take_code(source, template.parent)
    return _translated(source, parameters)


def _translated(source: dict[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    metrics = Metrics("local", DummyMetricsPublisher())
    translator = Translator(
        _MANAGED_POLICIES,
        Parser(),
        boto_session=boto3.Session(region_name=REGION),
        metrics=metrics,
    )
    translated: dict[str, Any] = translator.translate(source, parameter_values=dict(parameters))
    metrics.publish()  # to nobody; but it complains if they are not
    return translated


def _unplug(table: str) -> None:
    """Keep moto from handing on the table's stream by itself: it cannot, where items hold bytes."""
    backend = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION]
    backend.get_table(table).lambda_event_source_mappings.clear()


# ---- Before: what the translator and moto need --------------------------------------------


def _take_code(source: Mapping[str, Any], root: Path) -> dict[str, Path]:
    """The functions' folders by logical id; in the template, code elsewhere takes their place."""
    folders = {}
    for logical_id, resource in source["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            folders[logical_id] = (root / resource["Properties"]["CodeUri"]).resolve()
            resource["Properties"]["CodeUri"] = _ANYWHERE
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            resource["Properties"]["ContentUri"] = _ANYWHERE
    return folders


def _attach_policies(resources: Mapping[str, Any]) -> None:
    """Attach the template's managed policies from their side: moto ignores ManagedPolicyArns."""
    for logical_id, resource in resources.items():
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"].pop("ManagedPolicyArns", ()):
                if isinstance(policy, dict):  # else it is one of AWS's own
                    properties = resources[policy["Ref"]]["Properties"]
                    properties.setdefault("Roles", []).append({"Ref": logical_id})


@dataclass(frozen=True, slots=True)
class _Lost:
    """
    A resource that moto passes over, of which some properties are wanted.

    They are made outputs of the stack, so that moto works out what they refer to.
    """

    logical_id: str
    type: str
    condition: str | None
    wanted: Mapping[str, Any]

    def outputs(self) -> dict[str, Any]:
        condition = {"Condition": self.condition} if self.condition else {}
        return {
            f"{self.logical_id}{name.replace('.', '')}": {"Value": value} | condition
            for name, value in self.wanted.items()
        }

    def read(self, outputs: Mapping[str, str]) -> tuple[str, str, dict[str, str]] | None:
        """Logical id, type and properties; None where the stack's condition leaves it out."""
        found = {
            name: outputs[key]
            for name, key in zip(self.wanted, self.outputs(), strict=True)
            if key in outputs
        }
        return (self.logical_id, self.type, found) if found else None


_WANTED: Mapping[str, tuple[str, ...]] = {
    "AWS::SNS::Subscription": ("TopicArn", "Protocol", "Endpoint"),
    "AWS::Scheduler::Schedule": (
        "ScheduleExpression",
        "Target.Arn",
        "Target.Input",
        "Target.DeadLetterConfig.Arn",
    ),
    "AWS::Lambda::EventInvokeConfig": (
        "FunctionName",
        "MaximumRetryAttempts",
        "MaximumEventAgeInSeconds",
        "DestinationConfig.OnFailure.Destination",
    ),
}


def _lost(resources: Mapping[str, Any]) -> list[_Lost]:
    found = []
    for logical_id, resource in resources.items():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Code"] = _INLINE
        elif resource["Type"] == "AWS::Lambda::LayerVersion":
            resource["Properties"]["Content"] = _INLINE
        wanted = {}
        for name in _WANTED.get(resource["Type"], ()):
            value: Any = resource["Properties"]
            for step in name.split("."):
                value = value.get(step, {}) if isinstance(value, dict) else {}
            if value != {}:
                wanted[name] = value if isinstance(value, dict) else str(value)
        if wanted:
            found.append(_Lost(logical_id, resource["Type"], resource.get("Condition"), wanted))
    return found


@contextmanager
def _only_our_warnings() -> Iterator[None]:
    """moto warns of each resource that it does not know. Those we want are made up for above."""
    logger = logging.getLogger("moto")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


# ---- After: what came of it ---------------------------------------------------------------


def _stack(
    names: Mapping[str, str],
    lost: list[tuple[str, str, dict[str, str]]],
    folders: Mapping[str, Path],
) -> Stack:
    tables = boto3.client("dynamodb", REGION)
    (name,) = tables.list_tables()["TableNames"]
    table = tables.describe_table(TableName=name)["Table"]
    subscriptions = (of for _, type_, of in lost if type_ == "AWS::SNS::Subscription")
    functions = _functions(names, folders)
    return Stack(
        functions=_with_invoke_configs(functions, lost),
        sources=tuple(_sources()),
        rules=(*_rules(), *_schedules(lost)),
        queues={queue.arn: queue for queue in _queues()},
        topics=frozenset(
            topic["TopicArn"] for topic in boto3.client("sns", REGION).list_topics()["Topics"]
        ),
        subscriptions=tuple(
            Subscription(topic=of["TopicArn"], protocol=of["Protocol"], endpoint=of["Endpoint"])
            for of in subscriptions
        ),
        table=name,
        stream=table.get("LatestStreamArn", ""),
        stream_view=table.get("StreamSpecification", {}).get("StreamViewType", ""),
        parameters=_parameters(),
        names=names,
    )


def _functions(names: Mapping[str, str], folders: Mapping[str, Path]) -> dict[str, Function]:
    """The functions by name."""
    pages = boto3.client("lambda", REGION).get_paginator("list_functions").paginate()
    described = {each["FunctionName"]: each for page in pages for each in page["Functions"]}
    return {
        (name := names[logical_id]): Function(
            name=name,
            arn=described[name]["FunctionArn"],
            folder=folder,
            handler=described[name]["Handler"],
            timeout_s=described[name]["Timeout"],
            memory_mb=described[name]["MemorySize"],
            environment={
                variable: str(value)  # moto leaves numbers as they are
                for variable, value in described[name]
                .get("Environment", {})
                .get("Variables", {})
                .items()
            },
        )
        for logical_id, folder in folders.items()
    }


def _with_invoke_configs(
    functions: dict[str, Function], lost: list[tuple[str, str, dict[str, str]]]
) -> dict[str, Function]:
    """The functions by ARN, with what the template says of their events' retries."""
    for _, type_, of in lost:
        if type_ == "AWS::Lambda::EventInvokeConfig":
            function = functions[of["FunctionName"]]
            functions[function.name] = replace(
                function,
                retries=int(of.get("MaximumRetryAttempts", function.retries)),
                max_age_s=int(of.get("MaximumEventAgeInSeconds", function.max_age_s)),
                on_failure=of.get("DestinationConfig.OnFailure.Destination", ""),
            )
    return {function.arn: function for function in functions.values()}


def _sources() -> Iterator[EventSource]:
    lambdas = boto3.client("lambda", REGION)
    for page in lambdas.get_paginator("list_event_source_mappings").paginate():
        for mapping in page["EventSourceMappings"]:
            of_queue = mapping["EventSourceArn"].split(":")[2] == "sqs"
            failure = mapping.get("DestinationConfig", {}).get("OnFailure", {})
            function = lambdas.get_function(FunctionName=mapping["FunctionArn"])
            reserved = function.get("Concurrency", {}).get("ReservedConcurrentExecutions")
            scaling = mapping.get("ScalingConfig", {}).get("MaximumConcurrency")
            yield EventSource(
                function=mapping["FunctionArn"],
                source=mapping["EventSourceArn"],
                batch_size=mapping.get("BatchSize")
                or (_QUEUE_BATCH if of_queue else _STREAM_BATCH),
                window_s=mapping.get("MaximumBatchingWindowInSeconds") or 0,
                filters=tuple(
                    Pattern(each["Pattern"])
                    for each in mapping.get("FilterCriteria", {}).get("Filters", [])
                ),
                reports_failures="ReportBatchItemFailures"
                in mapping.get("FunctionResponseTypes", []),
                bisects=mapping.get("BisectBatchOnFunctionError") or False,
                retries=mapping.get("MaximumRetryAttempts", _FOR_EVER),
                max_age_s=mapping.get("MaximumRecordAgeInSeconds", _FOR_EVER),
                on_failure=failure.get("Destination", ""),
                concurrency=min(reserved or _CONCURRENT, scaling or _CONCURRENT),
            )


def _rules() -> Iterator[Rule]:
    events = boto3.client("events", REGION)
    for page in events.get_paginator("list_rules").paginate():
        for rule in page["Rules"]:
            if rule.get("State", "ENABLED") != "ENABLED":
                continue
            # What goes to a log group is a record, which nothing here reads.
            targets = [
                each
                for each in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
                if ":logs:" not in each["Arn"]
            ]
            if not targets:
                continue
            if strange := [key for each in targets for key in each if key.startswith("Input")]:
                raise ValueError(f"{rule['Name']}: {strange[0]} of a target is not understood here")
            yield Rule(
                arn=rule["Arn"],
                pattern=Pattern(rule["EventPattern"]) if rule.get("EventPattern") else None,
                schedule=rule.get("ScheduleExpression", ""),
                targets=tuple(
                    Target(
                        arn=each["Arn"],
                        dead_letters=each.get("DeadLetterConfig", {}).get("Arn", ""),
                    )
                    for each in targets
                ),
            )


def _schedules(lost: list[tuple[str, str, dict[str, str]]]) -> Iterator[Rule]:
    for logical_id, type_, of in lost:
        if type_ == "AWS::Scheduler::Schedule":
            yield Rule(
                arn=f"arn:aws:scheduler:{REGION}:{_account()}:schedule/default/{logical_id}",
                pattern=None,
                schedule=of["ScheduleExpression"],
                scheduler=True,
                targets=(
                    Target(
                        arn=of["Target.Arn"],
                        dead_letters=of.get("Target.DeadLetterConfig.Arn", ""),
                        input=of.get("Target.Input", ""),
                    ),
                ),
            )


def _account() -> str:
    return boto3.client("sts", REGION).get_caller_identity()["Account"]


def _queues() -> Iterator[Queue]:
    sqs = boto3.client("sqs", REGION)
    for url in sqs.list_queues().get("QueueUrls", []):
        of = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        redrive = json.loads(of.get("RedrivePolicy", "{}"))
        yield Queue(
            arn=of["QueueArn"],
            url=url,
            visibility_s=int(of["VisibilityTimeout"]),
            delay_s=int(of["DelaySeconds"]),
            dead_letters=redrive.get("deadLetterTargetArn", ""),
            max_receives=int(redrive.get("maxReceiveCount", 0)),
        )


def _parameters() -> dict[str, str]:
    ssm = boto3.client("ssm", REGION)
    pages = ssm.get_paginator("describe_parameters").paginate()
    names = [each["Name"] for page in pages for each in page["Parameters"]]
    return {name: ssm.get_parameter(Name=name)["Parameter"]["Value"] for name in names}
