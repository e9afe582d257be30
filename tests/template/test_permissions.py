"""
Each function works with the rights that the template gives it, and has none that it never needs.

The functions run a day on the simulated AWS Batch, with every use case in it, as in the demo; and
each of their calls is first judged by the role of the function that makes it, as IAM would: a call
that is not allowed is refused. Which rights a call asks for is written down in `rights_for`, from
the Service Authorization Reference (https://docs.aws.amazon.com/service-authorization/latest/
reference/). To these come the rights that Lambda itself asks of the role, for queues, the stream,
failures, logs and traces: these follow from the template.

moto's reading of the roles is a second judge of the same calls. Its enforcement is not, since it
would refuse nearly all of them: moto takes a call of any of these services but SQS to be about the
resource "*", asks for dynamodb:TransactWriteItems, which IAM does not know, has the names of
Batch's actions in lower case, and lacks Batch's bulk calls, service jobs and snapshots.

When a test says that a right is missing, give it to the role in template.yaml. When one says that
nobody misses a right, take it away; or add what needs it to `a_day`.
"""

import ast
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.iam.access_control import IAMPolicy, PermissionResult
from samtranslator.yaml_helper import yaml_parse

from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.store.item_codec import from_image, to_image
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import DynamoTable, Listener, Put
from batch_watchdog.wiring import container
from local.aws import stack as stacks
from local.aws.dispatcher import Dispatcher
from local.aws.errors import ApiError, session
from local.aws.functions import Outcome
from local.aws.stack import REGION, Function, Stack
from local.batch.simulated import SimulatedBatch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ACCOUNT = "123456789012"
EVENTS = Path(__file__).parents[2] / "events"
TEMPLATE = yaml_parse(stacks.TEMPLATE.read_text())

# Rights that no scenario uses, by function and action, and why the role has them.
RARE: Mapping[tuple[str, str], str] = {}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """An action on a resource; as a call asks for it, or as a role gives it, with wildcards."""

    action: str
    resource: str

    def covers(self, asked: "Right") -> bool:
        # Names of actions are told apart regardless of case, those of resources are not.
        return fnmatchcase(asked.action.lower(), self.action.lower()) and fnmatchcase(
            asked.resource, self.resource
        )


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


# ---- What a call asks for -----------------------------------------------------------------

# Those that know no resources: they are allowed for all, or not at all.
EVERYWHERE = {
    "batch": {
        "DescribeComputeEnvironments",
        "DescribeJobQueues",
        "DescribeJobs",
        "DescribeServiceEnvironments",
        "DescribeServiceJob",
        "ListJobs",
        "ListServiceJobs",
    },
    "cloudwatch": {"GetMetricStatistics"},
    "ec2": {"DescribeInstanceTypes"},
}
# The bulk calls ask for the right of the single one, for each job.
STOPS = {
    "CancelJob": "job",
    "TerminateJob": "job",
    "TerminateServiceJob": "service-job",
}


def rights_for(service: str, operation: str, params: Mapping[str, Any]) -> Iterator[Right]:
    """
    The rights that a call asks for.

    Raises:
        LookupError: the call is not known here.
    """
    single = operation.removesuffix("s")
    if operation in EVERYWHERE.get(service, ()):
        yield Right(f"{service}:{operation}", "*")
    elif service == "batch" and single in STOPS:
        for job in params.get("jobs") or [params["jobId"]]:
            yield Right(f"batch:{single}", arn("batch", f"{STOPS[single]}/{job}"))
    else:
        # A transaction asks for the rights of what is in it.
        action = "PutItem" if operation == "TransactWriteItems" else operation
        for resource in _resources(service, params):
            yield Right(f"{service}:{action}", resource)


def _resources(service: str, params: Mapping[str, Any]) -> list[str]:  # noqa: PLR0911
    match service:
        case "batch":
            return [_job_queue(params["jobQueue"])]
        case "cloudwatch":
            # Where no names are given, for all alarms of a region.
            return [arn("cloudwatch", f"alarm:{name}") for name in params.get("AlarmNames", ["*"])]
        case "dynamodb":
            return [arn("dynamodb", f"table/{name}") for name in _tables(params)]
        case "ecs":
            return list(params.get("containerInstances") or [params["cluster"]])
        case "sns":
            return [params["TopicArn"]]
        case "sqs":
            return [arn("sqs", params["QueueUrl"].rpartition("/")[2])]
        case "ssm":
            return [arn("ssm", f"parameter{params['Name']}")]
        case _:
            raise LookupError(f"what rights do calls of {service} ask for?")


def _job_queue(name_or_arn: str) -> str:
    return arn("batch", f"job-queue/{name_or_arn.rpartition('/')[2]}")


def _tables(params: Mapping[str, Any]) -> Sequence[str]:
    if "RequestItems" in params:
        return list(params["RequestItems"])
    if "TransactItems" in params:
        return [action["Put"]["TableName"] for action in params["TransactItems"]]
    return [params["TableName"]]


# ---- What the template gives --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    The stack as moto has created it, with what its roles allow, by function's folder.

    `given` is how that is read here, and `policies` how moto reads it.
    """

    stack: Stack
    given: Mapping[str, Sequence[Right]]
    policies: Mapping[str, Sequence[IAMPolicy]]
    keys: Mapping[str, str]  # of topics, by ARN


def _created() -> Account:
    stack = stacks.create(parameters={"ChatTopic": "yes"})
    # By its pace, which differs here, is a function told from the others while it is at work.
    functions = {
        arn: replace(
            function, environment={**function.environment, "STOP_CALLS_PER_SECOND": str(pace)}
        )
        for pace, (arn, function) in enumerate(stack.functions.items(), 40)
    }
    sns = boto3.client("sns", REGION)
    attributes = {topic: sns.get_topic_attributes(TopicArn=topic) for topic in stack.topics}
    return Account(
        stack=replace(stack, functions=functions),
        given={each.folder.name: list(_given(each)) for each in stack.functions.values()},
        policies={
            each.folder.name: [IAMPolicy(json.dumps(document)) for document in _documents(each)]
            for each in stack.functions.values()
        },
        keys={topic: each["Attributes"]["KmsMasterKeyId"] for topic, each in attributes.items()},
    )


def _documents(function: Function) -> Iterator[dict[str, Any]]:
    """The policies of a function's role: its own, and those that it shares with others."""
    described = boto3.client("lambda", REGION).get_function_configuration(
        FunctionName=function.name
    )
    iam, role = boto3.client("iam", REGION), described["Role"].rpartition("/")[2]
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document: Any = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        # Of a policy that comes by CloudFormation, moto has the text that Python makes of it.
        yield ast.literal_eval(document)
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        policy = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]
        version = iam.get_policy_version(
            PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"]
        )
        yield version["PolicyVersion"]["Document"]  # moto has parsed it


def _given(function: Function) -> Iterator[Right]:
    for document in _documents(function):
        for statement in document["Statement"]:
            assert statement.keys() == {"Effect", "Action", "Resource"}
            assert statement["Effect"] == "Allow"
            for action in _listed(statement["Action"]):
                for resource in _listed(statement["Resource"]):
                    # CloudFormation's ARN of a log group ends so, and moto's does not.
                    inside = ":*" if ":log-group:" in resource else ""
                    yield Right(action, resource + inside)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def rights_for_lambda(stack: Stack, function: Function) -> Iterator[Right]:
    """What Lambda asks of a function's role, for itself."""
    logical_id = next(key for key, name in stack.names.items() if name == function.name)
    logs = TEMPLATE["Resources"][logical_id]["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
    for action in ("CreateLogStream", "PutLogEvents"):
        group = stack.names[logs]
        yield Right(f"logs:{action}", arn("logs", f"log-group:{group}:log-stream:2026/01/01/x"))
    if TEMPLATE["Globals"]["Function"]["Tracing"] == "Active":
        yield Right("xray:PutTraceSegments", "*")
        yield Right("xray:PutTelemetryRecords", "*")
    if function.on_failure:
        yield Right("sqs:SendMessage", function.on_failure)
    for source in stack.sources:
        if source.function != function.arn:
            continue
        if source.on_failure:
            yield Right("sqs:SendMessage", source.on_failure)
        if source.source in stack.queues:
            # Those of SAM's SQSPollerPolicy; the bulk calls ask for the rights of the single ones.
            # https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-policy-template-list.html
            for action in (
                "ReceiveMessage",
                "DeleteMessage",
                "GetQueueAttributes",
                "ChangeMessageVisibility",
            ):
                yield Right(f"sqs:{action}", source.source)
        else:
            # https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
            for action in ("DescribeStream", "GetRecords", "GetShardIterator"):
                yield Right(f"dynamodb:{action}", source.source)
            yield Right("dynamodb:ListStreams", "*")


# ---- A day under these rights -------------------------------------------------------------

POLICY = """
mode = "enforce"

[safety]
max_stops_per_hour = 500

[notify]
job_failures = true

[[array]]
match = { name = "film" }

[[array]]
match = { name = "doomed" }
stop_rest_when = { failed = 0 }

[[limit]]
match = { name = "slow*" }
RUNNABLE = { warn_after = "2m", after = "5m", action = "cancel" }
RUNNING = { after = "5m", action = "terminate" }

[[guard]]
name = "budget"
match = { queue = "*" }
spare = { tags = { critical = "true" } }

[[guard.stage]]
alarms = ["soft"]
action = "cancel"
close_queues = true

[[guard.stage]]
alarms = ["hard"]
action = "terminate"
"""


def _table(name: str, listener: Listener, judge: Callable[..., None]) -> DynamoTable:
    """The real table's code, whose calls are judged, and then answered by its twin."""
    twin = MemoryTable(listener)

    def answer(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "BatchGetItem":
                keys = [
                    (key["pk"]["S"], key["sk"]["S"]) for key in params["RequestItems"][name]["Keys"]
                ]
                return {"Responses": {name: list(map(to_image, twin.get_many(keys).values()))}}
            case "Query":
                values = {
                    key[1:]: of["S"] for key, of in params["ExpressionAttributeValues"].items()
                }
                return {"Items": list(map(to_image, twin.query(**values)))}
            case _:
                puts = [each["Put"] for each in params.get("TransactItems", [{"Put": params}])]
                try:
                    twin.write(list(map(_to_put, puts)))
                except StaleItemError as error:
                    raise ApiError("ConditionalCheckFailedException", str(error)) from error
                return {}

    clients = session({"dynamodb": answer}, REGION)
    clients.events.register("before-parameter-build", judge)
    return DynamoTable(clients.client("dynamodb"), name)


def _to_put(request: Mapping[str, Any]) -> Put:
    values = request.get("ExpressionAttributeValues", {})
    return Put(from_image(request["Item"]), read=int(values[":read"]["N"]) if values else 0)


class Day:
    """The stack at work under its roles; `asked` and `refused` are rights by function's folder."""

    def __init__(self, account: Account) -> None:
        self.asked: dict[str, set[Right]] = defaultdict(set)
        self.refused: dict[str, set[Right]] = defaultdict(set)
        self.letters: list[str] = []
        self._account = account
        stack = account.stack
        self._paces = {
            float(each.environment["STOP_CALLS_PER_SECOND"]): each.folder.name
            for each in stack.functions.values()
        }
        self.batch = SimulatedBatch(
            emit=lambda event: self.dispatcher.emitted(event),  # noqa: PLW0108 - it is made below
            region=REGION,
            account=ACCOUNT,
        )
        self.parameter = next(iter(stack.functions.values())).environment["POLICY_PARAMETER"]
        self.dispatcher = Dispatcher(
            stack,
            self.batch,
            witness=self,
            parameters={self.parameter: POLICY},
            make_table=lambda listener: _table(stack.table, listener, self._judge),
            responders={"ec2": _ec2, "ecs": _ecs},
            policy_max_age=0,
        )
        self.dispatcher.session.events.register("before-parameter-build", self._judge)
        self.dispatcher.run(NOON)
        self.dispatcher.start(NOON)

    def published(self, at: datetime, message: Mapping[str, Any]) -> None:
        pass

    def dead_letter(self, at: datetime, reason: str, event: Any) -> None:
        self.letters.append(f"{at:%H:%M} {reason}: {event}")

    def _judge(self, params: Mapping[str, Any], model: Any, **_: object) -> None:
        function = self._paces[container().settings.stop_calls_per_second]
        service = model.service_model.service_name
        rights = list(rights_for(service, model.name, params))
        if model.name == "Publish":  # It encrypts with the topic's key, in the caller's name.
            key = self._account.keys[params["TopicArn"]]
            rights += [Right("kms:GenerateDataKey", key), Right("kms:Decrypt", key)]
        self.asked[function].update(rights)
        if refused := set(missing(rights, self._account.given[function])):
            self.refused[function] |= refused
            error = {"Error": {"Code": "AccessDeniedException", "Message": f"no {refused}"}}
            raise ClientError(error, model.name)  # type: ignore[arg-type]

    # ---- What happens ---------------------------------------------------------------------

    def run(self, minutes: float) -> None:
        self.dispatcher.run(self.dispatcher.clock.now + timedelta(minutes=minutes))

    def alarm(self, name: str, state: str) -> None:
        now = f"{self.dispatcher.clock.now:%Y-%m-%dT%H:%M:%S}"
        detail = {"alarmName": name, "state": {"value": state, "timestamp": f"{now}.000+0000"}}
        told = {"source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change"}
        self.dispatcher.deliver({**told, "time": f"{now}Z", "detail": detail})

    def ask(self, command: str, **arguments: Any) -> None:
        """Ask the console, which must answer."""
        assert self.dispatcher.command({"command": {"command": command, **arguments}}) == ""

    def call(self, folder: str, event: Any) -> Outcome:
        """Call a function by itself."""
        function = self._account.stack.function_in(folder)
        assert function
        return self.dispatcher.functions.call(function.arn, event)


def _ec2(operation: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"InstanceTypes": []}


def _ecs(operation: str, params: dict[str, Any]) -> dict[str, Any]:
    if operation == "ListContainerInstances":
        cluster = params["cluster"].rpartition("/")[2]
        return {"containerInstanceArns": [arn("ecs", f"container-instance/{cluster}/1")]}
    return {"containerInstances": []}


def missing(asked: Iterable[Right], given: Iterable[Right]) -> list[Right]:
    """The rights that are asked for and not given."""
    given = list(given)
    return [right for right in asked if not any(each.covers(right) for each in given)]


WORLD = {
    "jobQueues": [
        {
            "jobQueueName": name,
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": environment}],
        }
        for name, environment in (("cpu", "cpu"), ("full", "full"))
    ]
    + [
        {
            "jobQueueName": "train",
            "jobQueueType": "SAGEMAKER_TRAINING",
            "computeEnvironmentOrder": [],
            "serviceEnvironmentOrder": [{"order": 1, "serviceEnvironment": "train"}],
        }
    ],
    "computeEnvironments": [
        {
            "computeEnvironmentName": name,
            "computeResources": {"type": "EC2", "maxvCpus": vcpus, "instanceTypes": ["m6i.large"]},
        }
        for name, vcpus in (("cpu", 64), ("full", 2))
    ],
    "serviceEnvironments": [{"serviceEnvironmentName": "train"}],
}


def _of_doomed(index: int, _: int) -> float:
    """The first child ends soon, the other one late."""
    return 86_400 if index else 5


def _an_array_that_is_stopped(day: Day) -> None:
    doomed = day.batch.submit("doomed", "cpu", seconds=_of_doomed, array_size=2, outcome={0: 1})
    day.run(5)
    assert (
        "children failed"
        in day.batch.call("DescribeJobs", {"jobs": [doomed]})["jobs"][0]["statusReason"]
    )


def _a_service_job_waits(day: Day) -> None:
    """Told by a log: the scheduler of the simulated Batch has room for all service jobs."""
    now = day.dispatcher.clock.now
    detail = {
        "jobArn": arn("batch", "service-job/waiting"),
        "jobId": "waiting",
        "jobName": "slow-to-be-scheduled",
        "jobQueue": arn("batch", "job-queue/train"),
        "serviceJobType": "SAGEMAKER_TRAINING",
        "status": "RUNNABLE",
        "createdAt": round(now.timestamp() * 1000),
    }
    event = {
        "source": "aws.batch",
        "detail-type": "Batch Service Job State Change",
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "detail": detail,
    }
    day.batch.load([event])
    day.dispatcher.deliver(event)
    day.run(1)
    day.ask("explain", job_id="waiting")


def a_day(day: Day) -> None:
    """Every use case once."""
    day.batch.add_world(WORLD)

    # Arrays, failures and what cannot be understood.
    day.batch.submit("film", "cpu", array_size=3, outcome={1: 1})
    day.batch.submit("report", "cpu", outcome=1)
    for name in ("job_events.malformed", "job_events.queue_blocked", "job_events.array_done"):
        assert not day.call("job_events", json.loads((EVENTS / f"{name}.json").read_text())).error
    day.dispatcher.notify({"Records": [{"Sns": {}}]})
    day.run(5)

    _an_array_that_is_stopped(day)

    # Limits: what waits is cancelled, what runs too long terminated.
    day.batch.submit("slow-to-end", "cpu", seconds=86_400)
    day.batch.submit("holding", "full", vcpus=2, seconds=86_400)
    waiting = day.batch.submit("slow-to-start", "full", vcpus=2)
    training = day.batch.submit("slow-to-train", "train", service=True, seconds=86_400)
    day.run(2)
    day.ask("explain", job_id=waiting)
    day.ask("explain", job_id=training)
    day.run(15)

    _a_service_job_waits(day)

    # A guard, as alarms raise and calm it.
    day.batch.submit("spared", "full", vcpus=2, tags={"critical": "true"})
    day.batch.submit("waits", "full", vcpus=2)
    day.batch.submit("fails-once", "cpu", seconds=300, outcome=[1, 0], attempts=2)
    day.batch.submit("trains", "train", service=True, seconds=86_400)
    day.run(2)
    day.alarm("soft", "ALARM")
    day.run(10)
    day.batch.call("UpdateJobQueue", {"jobQueue": "train", "state": "ENABLED"})
    day.batch.submit("trains-too", "train", service=True, seconds=86_400)
    day.run(3)
    day.alarm("hard", "ALARM")
    day.run(10)
    day.batch.call("UpdateJobQueue", {"jobQueue": "cpu", "state": "ENABLED"})
    day.batch.submit("arrives", "cpu", seconds=86_400)
    day.run(3)
    day.alarm("hard", "OK")
    day.alarm("soft", "OK")
    day.run(5)

    # An operator.
    day.ask("status")
    day.ask("check")
    day.ask("test-notice", by="jane")
    day.ask("exempt", job_id=waiting, until="2026-02-01T00:00:00Z", by="jane")
    day.ask("set-stage", guard="budget", stage="cancel", by="jane")
    day.run(5)
    day.ask("hold", by="jane")
    day.ask("release", guard="budget", by="jane")
    day.run(2)
    day.ask("resume", by="jane")
    day.run(2)

    # The daily check.
    day.run(60)

    # A policy that cannot be used.
    day.dispatcher.parameters[day.parameter] = "mode = 7"
    day.alarm("soft", "ALARM")
    day.run(2)


@pytest.fixture(scope="module")
def account() -> Account:
    with mock_aws():
        return _created()


@pytest.fixture(scope="module")
def day(account: Account) -> Day:
    """A day that is over."""
    day = Day(account)
    a_day(day)
    return day


# ---- The tests ----------------------------------------------------------------------------

FUNCTIONS = sorted(
    Path(resource["Properties"]["CodeUri"]).name
    for resource in TEMPLATE["Resources"].values()
    if resource["Type"] == "AWS::Serverless::Function"
)


def test_no_call_of_a_function_is_refused(day: Day) -> None:
    assert dict(day.refused) == {}


def test_the_day_goes_well_and_every_function_has_its_part_in_it(day: Day) -> None:
    assert sorted(day.asked) == FUNCTIONS
    assert {call.api for call in day.batch.journal} == {
        "CancelJobs",
        "TerminateJobs",
        "TerminateServiceJobs",
        "UpdateJobQueue",
    }
    # Those that could not be understood, and no others.
    assert len(day.letters) == 3, day.letters


@pytest.mark.parametrize("name", FUNCTIONS)
def test_moto_reads_the_roles_as_they_are_read_here(day: Day, account: Account, name: str) -> None:
    """What all functions ask for, by one function's role: some of it is allowed, some is not."""
    asked = set().union(*day.asked.values())

    by_moto = {
        right
        for right in asked
        if any(
            policy.is_action_permitted(right.action, right.resource) is PermissionResult.PERMITTED
            for policy in account.policies[name]
        )
    }

    assert by_moto == asked - set(missing(asked, account.given[name]))
    assert day.asked[name] <= by_moto < asked


@pytest.mark.parametrize("name", sorted(path.name for path in EVENTS.glob("*.*.json")))
def test_no_sample_brings_a_function_to_a_call_that_is_refused(account: Account, name: str) -> None:
    day = Day(account)
    day.batch.add_world(WORLD)

    outcome = day.call(name.partition(".")[0], json.loads((EVENTS / name).read_text()))
    day.run(2)

    assert outcome.error == ""
    assert dict(day.refused) == {}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lambda_itself_is_refused_nothing(account: Account, name: str) -> None:
    function = account.stack.function_in(name)
    assert function

    assert missing(rights_for_lambda(account.stack, function), account.given[name]) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_has_a_right_that_nobody_misses(day: Day, account: Account, name: str) -> None:
    function = account.stack.function_in(name)
    assert function
    asked = day.asked[name] | set(rights_for_lambda(account.stack, function))
    given = account.given[name]

    never_missed = {
        right.action
        for right in given
        if not missing(asked, [each for each in given if each is not right])
    }

    assert never_missed == {action for of, action in RARE if of == name}


@pytest.mark.parametrize(
    ("name", "action"),
    [("job_events", "dynamodb:PutItem"), ("act", "sns:Publish"), ("act", "kms:GenerateDataKey")],
)
def test_a_right_that_is_taken_away_is_missed_at_once(
    account: Account, name: str, action: str
) -> None:
    left = [right for right in account.given[name] if right.action != action]
    day = Day(replace(account, given={**account.given, name: left}))
    day.batch.add_world(WORLD)
    day.batch.submit("report", "cpu", outcome=1)

    day.run(3)

    assert {right.action for right in day.refused[name]} == {action}


@pytest.mark.parametrize(
    ("given", "asked", "covered"),
    [
        (("batch:ListJobs", "*"), ("batch:ListJobs", "*"), True),
        (("batch:CancelJob", "arn:job/*"), ("batch:CancelJob", "arn:job/1"), True),
        (("batch:CancelJob", "arn:job/*"), ("batch:CancelJob", "arn:service-job/1"), False),
        (("batch:CancelJob", "arn:job/*"), ("batch:CancelJob", "*"), False),
        (("batch:CancelJob", "*"), ("batch:TerminateJob", "arn:job/1"), False),
        (("Batch:canceljob", "*"), ("batch:CancelJob", "arn:job/1"), True),
        (("sqs:SendMessage", "arn:Queue"), ("sqs:SendMessage", "arn:queue"), False),
    ],
)
def test_a_right_covers(given: tuple[str, str], asked: tuple[str, str], covered: bool) -> None:  # noqa: FBT001
    assert Right(*given).covers(Right(*asked)) is covered
