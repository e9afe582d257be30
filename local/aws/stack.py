"""
Read the stack that template.yaml makes, for the dispatcher.

SAM's own translator turns the template into CloudFormation. moto creates the stack, and the result
is read back through AWS's API. So rules, batch sizes, filters and retries are defined only in the
template.
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
# Any code will do: the handlers run from the repository. moto decodes a layer's as base64.
_INLINE = {"ZipFile": "pass"}

# Managed policies that SAM adds to roles. Without this map, SAM asks IAM for their ARNs.
_MANAGED_POLICIES = {
    name: f"arn:aws:iam::aws:policy/service-role/{name}"
    for name in (
        "AWSLambdaBasicExecutionRole",
        "AWSLambdaDynamoDBExecutionRole",
        "AWSLambdaSQSQueueExecutionRole",
    )
}

# Defaults of Lambda and EventBridge, for what the template does not set.
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
_ASYNC_RETRIES = 2
_QUEUE_BATCH, _STREAM_BATCH = 10, 100
_FOR_EVER = -1
_CONCURRENT = 1_000  # invocations at once: an account's default quota


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function. `retries`, `max_age_s` and `on_failure` are for asynchronous invocations."""

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
    An event source mapping: it reads a queue or a stream (`source`) for a function.

    -1 means no limit (`retries`, `max_age_s`). `concurrency`, for a queue: invocations at once.
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
    """A target of a rule or schedule. `input`, unless it is empty, replaces the event."""

    arn: str
    dead_letters: str = ""
    input: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of the default bus: it has a pattern, or a schedule ("rate(1 minute)")."""

    arn: str
    pattern: Pattern | None
    schedule: str
    scheduler: bool = False  # whether it is a schedule of EventBridge Scheduler
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue. Without `dead_letters`, `max_receives` is 0, and a message returns without end."""

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
    """The stack's resources. `functions` and `queues` are by ARN."""

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
        """Return the function whose code is in a folder of that name."""
        return next((each for each in self.functions.values() if each.folder.name == folder), None)


def read(template: Path = TEMPLATE, parameters: Mapping[str, str] = MappingProxyType({})) -> Stack:
    """
    Create the template's stack in moto and read it; afterwards, moto is no longer active.

    `parameters` are values of the template's parameters that differ from its defaults.

    Raises:
        ValueError: it is not a template, or it has a part that is not understood here.
    """
    with in_moto():
        return create(template, parameters)


@contextmanager
def in_moto() -> Iterator[None]:
    """Replace AWS by moto, even if the environment sets an endpoint or a profile for AWS."""
    own = {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    with patch.dict(os.environ, own), mock_aws():
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            os.environ.pop(name, None)
        yield


def create(
    template: Path = TEMPLATE, parameters: Mapping[str, str] = MappingProxyType({})
) -> Stack:
    """Do the same as `read` in a moto that is already active, and leave the stack in it."""
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
    Read a stack from the AWS, real or emulated, that boto3 calls.

    `names` are its physical ids by logical ones, and `folders` those of the functions' code.
    Subscriptions, and retries of asynchronous invocations, are not read.
    """
    return _stack(names, [], folders)


def in_cloudformation(
    template: Path = TEMPLATE, parameters: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Return the template as SAM gives it to CloudFormation, with SAM's resources translated."""
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
    metrics.publish()  # does nothing here, but SAM warns of metrics that are not published
    return translated


def _unplug(table: str) -> None:
    """Keep moto from passing on the table's stream: it fails where items contain bytes."""
    backend = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION]
    backend.get_table(table).lambda_event_source_mappings.clear()


# ---- Before: what the translator and moto need --------------------------------------------


def _take_code(source: Mapping[str, Any], root: Path) -> dict[str, Path]:
    """Return the functions' folders by logical id, and replace all code in the template."""
    folders = {}
    for logical_id, resource in source["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            folders[logical_id] = (root / resource["Properties"]["CodeUri"]).resolve()
            resource["Properties"]["CodeUri"] = _ANYWHERE
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            resource["Properties"]["ContentUri"] = _ANYWHERE
    return folders


def _attach_policies(resources: Mapping[str, Any]) -> None:
    """Attach the template's managed policies by their Roles: moto ignores ManagedPolicyArns."""
    for logical_id, resource in resources.items():
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"].pop("ManagedPolicyArns", ()):
                if isinstance(policy, dict):  # else it is one of AWS's own
                    properties = resources[policy["Ref"]]["Properties"]
                    properties.setdefault("Roles", []).append({"Ref": logical_id})


@dataclass(frozen=True, slots=True)
class _Lost:
    """
    A resource that moto ignores, with the properties of it that are needed.

    They are made outputs of the stack, so that moto resolves their references.
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
        """Return logical id, type and properties; None if the resource's condition is false."""
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
    """Silence moto's warnings of resources that it does not know. `_Lost` covers those needed."""
    logger = logging.getLogger("moto")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


# ---- After: the stack that moto has created -----------------------------------------------


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
    """Return the functions by name."""
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
    """Return the functions by ARN, with the settings of their EventInvokeConfigs."""
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
            # Targets that are log groups are left out: nothing here reads them.
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
