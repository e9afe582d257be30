"""A diagnosis is asked for at a time, learns of each queue once, and is never another job's."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.wiring import Container
from functions.sweep.handler import SPARE_MS
from local.aws.errors import ApiError, session
from tests.watching import SETTINGS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp()) * 1000
ACCOUNT = "arn:aws:batch:us-east-1:111122223333"
QUEUE = f"{ACCOUNT}:job-queue/queue"
CLUSTER = "arn:aws:ecs:us-east-1:111122223333:cluster/ce"
SWEEP_S = 60  # the time limit of the function, in the template
INSTANCE = "arn:aws:ecs:us-east-1:111122223333:container-instance/ce/1"


def a_job(job_id: str, **changes: Any) -> dict[str, Any]:
    requirements = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "2048"}]
    return {
        "jobArn": f"{ACCOUNT}:job/{job_id}",
        "jobId": job_id,
        "jobName": job_id,
        "jobQueue": QUEUE,
        "jobDefinition": f"{ACCOUNT}:job-definition/work:1",
        "status": "RUNNABLE",
        "startedAt": 0,
        "container": {"resourceRequirements": requirements},
    } | changes


class Account:
    """What AWS answers, and what it was asked."""

    def __init__(self, *front: str, desired: int = 0) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.refuses: set[str] = set()
        self.breaks: dict[str, Exception] = {}
        self.types: list[dict[str, Any]] = []  # the pages of them
        self.instances: dict[str, Any] = {"containerInstanceArns": []}
        self.queue: dict[str, Any] = {
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "ce"}]
        }
        self.service_environment = {
            "serviceEnvironmentName": "se",
            "serviceEnvironmentArn": f"{ACCOUNT}:service-environment/se",
            "serviceEnvironmentType": "SAGEMAKER_TRAINING",
            "state": "ENABLED",
            "status": "VALID",
            "capacityLimits": [{"capacityUnit": "NUM_INSTANCES", "maxCapacity": 4}],
        }
        self.front = [
            {"jobArn": f"{ACCOUNT}:job/{job_id}", "earliestTimeAtPosition": NOON_MS}
            for job_id in front
        ]
        self.environment = {
            "computeEnvironmentName": "ce",
            "computeEnvironmentArn": f"{ACCOUNT}:compute-environment/ce",
            "ecsClusterArn": CLUSTER,
            "type": "MANAGED",
            "state": "ENABLED",
            "status": "VALID",
            "computeResources": {
                "type": "EC2",
                "minvCpus": 0,
                "maxvCpus": 64,
                "desiredvCpus": desired,
                "instanceTypes": ["m5"],
                "subnets": [],
            },
        }

    def inquiry(self, now: datetime) -> DiagnosisGatherer:
        clients = session(dict.fromkeys(("batch", "ec2", "ecs"), self.answer))
        return DiagnosisGatherer(
            batch=BatchApi(clients.client("batch")),
            ec2=clients.client("ec2"),
            ecs=clients.client("ecs"),
            now=now,
        )

    def codes(self, job: Mapping[str, Any], now: datetime = NOON) -> list[str]:
        return [found.code for found in self.inquiry(now).findings(job)]

    def answer(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(operation)
        if operation in self.refuses:
            raise ApiError("AccessDeniedException", f"no {operation}", 403)
        if operation in self.breaks:
            raise self.breaks[operation]
        if operation == "DescribeInstanceTypes" and self.types:
            return self.types.pop(0)
        queue = {"jobQueueName": "queue"} | self.queue
        answers: dict[str, dict[str, Any]] = {
            "DescribeJobs": {
                "jobs": [self.jobs[each] for each in params.get("jobs", ()) if each in self.jobs]
            },
            "DescribeJobQueues": {"jobQueues": [queue | {"state": "ENABLED", "status": "VALID"}]},
            "DescribeComputeEnvironments": {"computeEnvironments": [self.environment]},
            "DescribeServiceEnvironments": {"serviceEnvironments": [self.service_environment]},
            "GetJobQueueSnapshot": {"frontOfQueue": {"jobs": self.front}},
            "DescribeInstanceTypes": {"InstanceTypes": []},
            "ListContainerInstances": self.instances,
            "DescribeContainerInstances": {"containerInstances": [{"agentConnected": False}]},
        }
        return answers[operation]


def test_how_long_a_job_is_at_the_head_counts_from_the_time_of_the_inquiry() -> None:
    account = Account("a", "b")

    assert account.codes(a_job("a"), NOON + timedelta(minutes=10)) == ["waiting-its-turn"]
    assert account.codes(a_job("a"), NOON + timedelta(minutes=11)) == ["undetermined"]


@pytest.mark.parametrize("order", ["abz", "zba"])
def test_a_place_in_the_queue_is_never_said_of_another_job(order: str) -> None:
    inquiry = Account("a", "b").inquiry(NOON + timedelta(hours=3))

    found = {job_id: inquiry.findings(a_job(job_id))[0] for job_id in order}

    assert "number 1" in found["a"].evidence
    assert "number 2" in found["b"].evidence
    assert "number" not in found["z"].evidence


def test_a_job_that_blocks_its_queue_is_told_apart_from_those_that_ask_for_the_same() -> None:
    inquiry = Account(*map(str, range(100))).inquiry(NOON)

    waiting, blocking, again = (
        inquiry.findings(a_job(job_id), blocks=job_id == "b")[0].code for job_id in "abc"
    )

    assert (waiting, blocking, again) == ("waiting-its-turn", "undetermined", "waiting-its-turn")


def test_of_jobs_that_start_each_has_an_answer_of_its_own() -> None:
    inquiry = Account().inquiry(NOON)
    task = "arn:aws:ecs:us-east-1:111122223333:task/ce/"

    for number in "12":
        container = {"taskArn": f"{task}{number}"}
        (found,) = inquiry.findings(a_job(number, status="STARTING", container=container))
        assert f"task {number}" in found.evidence


@pytest.mark.parametrize("status", ["SCHEDULED", "STARTING", "RUNNING", "FAILED"])
def test_a_job_that_has_left_the_queue_is_explained_though_batch_tells_nothing_of_it(
    status: str,
) -> None:
    account = Account()
    account.refuses = {"DescribeJobQueues"}

    assert account.codes(a_job("a", status=status))
    assert account.calls == []


def test_where_batch_tells_nothing_of_the_queue_nothing_is_said_of_a_job_in_it() -> None:
    account = Account()
    account.refuses = {"DescribeJobQueues"}

    with pytest.raises(ClientError):
        account.codes(a_job("a"))


def test_instances_that_are_not_told_of_are_not_missing() -> None:
    account = Account(desired=8)
    asked = account.codes(a_job("a"))
    account.refuses = {"ListContainerInstances"}

    assert asked == ["instances-not-joining"]
    assert account.codes(a_job("a")) == ["undetermined"]


UNREACHABLE: Any = [
    EndpointConnectionError(endpoint_url="https://ecs"),
    ConnectTimeoutError(endpoint_url="https://ecs"),
    ReadTimeoutError(endpoint_url="https://ecs"),
]


@pytest.mark.parametrize("error", UNREACHABLE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("operation", ["DescribeInstanceTypes", "ListContainerInstances"])
def test_a_service_that_cannot_be_reached_is_asked_once_and_no_job_is_left_without_an_answer(
    operation: str, error: Exception
) -> None:
    account = Account(desired=8)
    account.breaks = {operation: error}
    inquiry = account.inquiry(NOON)

    for queue in ("queue", "other"):
        for job_id in "ab":
            assert inquiry.findings(a_job(job_id, jobQueue=QUEUE.replace("/queue", f"/{queue}")))

    assert account.calls.count(operation) == 1


def test_where_neither_ec2_nor_ecs_answers_a_sweep_has_time_left_to_stop_jobs() -> None:
    clients = session(dict.fromkeys(("batch", "ec2", "ecs", "dynamodb"), Account().answer))
    inquiry = Container(settings=SETTINGS, session=clients).sweeper.inquiry(NOON)

    configs = [client.meta.config for client in (inquiry.ec2, inquiry.ecs)]
    longest_s = sum(
        each.retries["total_max_attempts"] * (each.connect_timeout + each.read_timeout)
        for each in configs
    )
    assert longest_s < SWEEP_S - SPARE_MS / 1000


def test_a_service_job_is_judged_by_the_service_environment_of_its_queue() -> None:
    account = Account()
    account.queue = {
        "computeEnvironmentOrder": [],
        "serviceEnvironmentOrder": [{"order": 1, "serviceEnvironment": "se"}],
    }

    def codes(instances: int) -> list[str]:
        usage = [{"capacityUnit": "NUM_INSTANCES", "quantity": instances}]
        job = a_job("a", serviceJobType="SAGEMAKER_TRAINING", capacityUsage=usage)
        return account.codes(job)

    assert codes(4) == ["undetermined"]
    assert codes(5) == ["exceeds-max-vcpus"]
    account.service_environment["state"] = "DISABLED"
    assert codes(4) == ["compute-environment-disabled"]
    assert "DescribeComputeEnvironments" not in account.calls


def test_what_cannot_be_read_of_instances_is_not_told_either() -> None:
    account = Account(desired=8)
    account.instances = {}

    assert account.codes(a_job("a")) == ["undetermined"]


def test_of_a_family_that_is_told_in_part_nothing_is_said_of_its_largest() -> None:
    account = Account()
    small = {
        "InstanceType": "m5.large",
        "VCpuInfo": {"DefaultVCpus": 2},
        "MemoryInfo": {"SizeInMiB": 8192},
    }
    vcpus = [{"type": "VCPU", "value": "16"}, {"type": "MEMORY", "value": "2048"}]
    job = a_job("a", container={"resourceRequirements": vcpus})
    account.types = [{"InstanceTypes": [small]}]
    told_whole = account.codes(job)
    account.types = [{"InstanceTypes": [small], "NextToken": "more"}, {}]

    assert told_whole == ["exceeds-instance-size"]
    assert account.codes(job) == ["undetermined"]


@pytest.mark.parametrize(
    "error", [*UNREACHABLE, KeyError("jobQueues")], ids=lambda error: type(error).__name__
)
def test_a_queue_of_which_batch_tells_nothing_is_asked_about_once(error: Exception) -> None:
    account = Account()
    account.breaks = {"GetJobQueueSnapshot": error}
    inquiry = account.inquiry(NOON)

    for job_id in "abc":
        with pytest.raises((BotoCoreError, KeyError)):
            inquiry.findings(a_job(job_id))

    assert account.calls.count("GetJobQueueSnapshot") == 1


def test_of_more_instances_than_are_asked_for_nothing_is_said_of_all() -> None:
    account = Account(desired=8)
    account.instances = {"containerInstanceArns": [INSTANCE]}
    all_of_them = account.codes(a_job("a"))
    account.instances |= {"nextToken": "more"}

    assert all_of_them == ["instances-not-joining"]
    assert account.codes(a_job("a")) == ["undetermined"]


def test_the_first_job_of_a_share_is_known_by_the_shares_of_the_jobs_before_it() -> None:
    account = Account("red", "blue", "blue-too")
    account.jobs = {
        "red": a_job("red", shareIdentifier="red"),
        "blue": a_job("blue", shareIdentifier="blue"),
        "blue-too": a_job("blue-too", shareIdentifier="blue"),
    }
    inquiry = account.inquiry(NOON + timedelta(hours=1))

    codes = {job_id: inquiry.findings(job)[0].code for job_id, job in account.jobs.items()}

    assert codes == {"red": "undetermined", "blue": "fair-share", "blue-too": "fair-share"}
    assert account.calls.count("DescribeJobs") == 1


def test_without_the_shares_of_the_jobs_before_it_a_job_waits_for_its_share() -> None:
    account = Account("red", "blue")
    account.refuses = {"DescribeJobs"}

    job = a_job("blue", shareIdentifier="blue")

    assert account.codes(job, NOON + timedelta(hours=1)) == ["fair-share"]


def test_jobs_without_a_share_are_not_asked_for() -> None:
    account = Account("a", "b")

    account.codes(a_job("b"))

    assert "DescribeJobs" not in account.calls
