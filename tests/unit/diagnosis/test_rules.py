"""Each cause that keeps a job from starting is found, and the likeliest stands first."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_watchdog.diagnosis import lenient
from batch_watchdog.diagnosis.environments import BatchSnapshot, queue_trouble
from batch_watchdog.diagnosis.findings import CAUSE_OF, CODES, Finding, FindingCode
from batch_watchdog.diagnosis.instance_types import patterns, sizes
from batch_watchdog.diagnosis.needs import needs_of
from batch_watchdog.diagnosis.rules import diagnose

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVENING = NOON.replace(hour=20)
NOON_MS = int(NOON.timestamp()) * 1000
ACCOUNT = "arn:aws:batch:us-east-1:111122223333"
CLUSTER = "arn:aws:ecs:us-east-1:111122223333:cluster/AWSBatch-ce"
JOB_ID = "7c1d1f2e-0000-4000-8000-000000000001"

REQUIREMENT = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU)"
    " is higher than that can be met by the CE(s) attached to the job queue."
)
BLOCKED = "UNDETERMINED - Batch job is blocked, root cause is undetermined."
NO_CAPACITY = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for"
    " instance type [g5.xlarge]"
)
MAX_RESOURCE = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue"
    " cannot meet the CPU requirement of the job."
)

# ---- Makers: a healthy job on a healthy queue, but for what is named -----------------------


def required(vcpus: object = 2, memory: object = 2048, gpus: object = None) -> dict[str, Any]:
    """A container with such requirements."""
    amounts = {"VCPU": vcpus, "MEMORY": memory, "GPU": gpus}
    return {
        "resourceRequirements": [
            {"type": kind, "value": str(value)} for kind, value in amounts.items() if value
        ]
    }


def a_job(**changes: Any) -> dict[str, Any]:
    """A job that is RUNNABLE and asks for 2 vCPUs and 2 GiB."""
    return {
        "jobArn": f"{ACCOUNT}:job/{JOB_ID}",
        "jobId": JOB_ID,
        "jobName": "job",
        "jobQueue": f"{ACCOUNT}:job-queue/queue",
        "status": "RUNNABLE",
        "attempts": [],
        "container": required(),
        "platformCapabilities": [],
    } | changes


def an_environment(
    name: str = "ce", *, resources: Mapping[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """A managed EC2 environment of 256 vCPUs that allows c5.4xlarge, and has none running."""
    return {
        "computeEnvironmentName": name,
        "computeEnvironmentArn": f"{ACCOUNT}:compute-environment/{name}",
        "ecsClusterArn": CLUSTER,
        "type": "MANAGED",
        "state": "ENABLED",
        "status": "VALID",
        "statusReason": "ComputeEnvironment Healthy",
        "containerOrchestrationType": "ECS",
        "computeResources": {
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": 256,
            "desiredvCpus": 0,
            "instanceTypes": ["c5.4xlarge"],
        }
        | dict(resources or {}),
    } | changes


def a_queue(*names: str, **changes: Any) -> dict[str, Any]:
    return {
        "jobQueueName": "queue",
        "jobQueueArn": f"{ACCOUNT}:job-queue/queue",
        "state": "ENABLED",
        "status": "VALID",
        "statusReason": "JobQueue Healthy",
        "computeEnvironmentOrder": [
            {"order": order, "computeEnvironment": f"{ACCOUNT}:compute-environment/{name}"}
            for order, name in enumerate(names)
        ],
    } | changes


def a_snapshot(*job_ids: str, at: int = NOON_MS, used_vcpus: float | None = None) -> dict[str, Any]:
    usage = [] if used_vcpus is None else [{"capacityUnit": "VCPU", "quantity": used_vcpus}]
    return {
        "frontOfQueue": {
            "jobs": [
                {"jobArn": f"{ACCOUNT}:job/{job_id}", "earliestTimeAtPosition": at}
                for job_id in job_ids
            ]
        },
        "queueUtilization": {"totalCapacityUsage": usage},
    }


def a_world(*environments: Mapping[str, Any], **changes: Any) -> BatchSnapshot:
    environments = environments or (an_environment(),)
    names = [str(each.get("computeEnvironmentName")) for each in environments]
    parts = {"job": a_job(), "queue": a_queue(*names), "environments": environments} | changes
    return BatchSnapshot(**parts)


GROWING = an_environment(resources={"desiredvCpus": 16})


def an_instance_type(vcpus: int, memory_mib: int, gpus: int = 0) -> dict[str, Any]:
    info: dict[str, Any] = {
        "VCpuInfo": {"DefaultVCpus": vcpus},
        "MemoryInfo": {"SizeInMiB": memory_mib},
    }
    return info | ({"GpuInfo": {"Gpus": [{"Count": gpus}]}} if gpus else {})


def codes(world: BatchSnapshot, now: datetime = NOON) -> list[str]:
    return [finding.code for finding in diagnose(world, now)]


def first(world: BatchSnapshot, now: datetime = NOON) -> Finding:
    return diagnose(world, now)[0]


# ---- Planted causes ------------------------------------------------------------------------

FARGATE = {"type": "FARGATE", "maxvCpus": 256, "instanceTypes": []}
PLANTED: list[tuple[str, FindingCode, BatchSnapshot]] = [
    (
        "environment invalid",
        "compute-environment-invalid",
        a_world(an_environment(status="INVALID", statusReason="CLIENT_ERROR - no such role")),
    ),
    (
        "environment disabled",
        "compute-environment-disabled",
        a_world(an_environment(state="DISABLED")),
    ),
    (
        "environment on its way out",
        "compute-environment-disabled",
        a_world(an_environment(state="DISABLED", status="DELETING")),
    ),
    ("queue invalid", "queue-invalid", a_world(queue=a_queue("ce", status="INVALID"))),
    ("queue without environments", "queue-invalid", a_world(queue=a_queue())),
    (
        "environment too small",
        "exceeds-max-vcpus",
        a_world(an_environment(resources={"maxvCpus": 4}), job=a_job(container=required(8))),
    ),
    (
        "environment of nothing",
        "exceeds-max-vcpus",
        a_world(an_environment(resources={"maxvCpus": 0})),
    ),
    (
        "environment too small, amounts in old fields",
        "exceeds-max-vcpus",
        a_world(
            an_environment(resources={"maxvCpus": 4}),
            job=a_job(container={"vcpus": 8, "memory": 1024}),
        ),
    ),
    (
        "Fargate too small",
        "exceeds-max-vcpus",
        a_world(an_environment(resources=FARGATE | {"maxvCpus": 1})),
    ),
    (
        "nodes too many",
        "exceeds-max-vcpus",
        a_world(
            an_environment(resources={"maxvCpus": 32}),
            job=a_job(
                container=None,
                nodeProperties={
                    "numNodes": 5,
                    "nodeRangeProperties": [{"targetNodes": "0:4", "container": required(8)}],
                },
            ),
        ),
    ),
    (
        "smallest instance too large for BEST_FIT",
        "exceeds-max-vcpus",
        a_world(
            an_environment(resources={"maxvCpus": 4, "allocationStrategy": "BEST_FIT"}),
            instance_types={"c5.4xlarge": an_instance_type(16, 32_768)},
        ),
    ),
    (
        "GPU job on plain instances",
        "no-gpu-instances",
        a_world(job=a_job(container=required(gpus=1))),
    ),
    (
        "GPU job on what Batch chooses",
        "no-gpu-instances",
        a_world(
            an_environment(resources={"instanceTypes": ["optimal"]}),
            job=a_job(container=required(gpus=1)),
        ),
    ),
    (
        "GPU job on Fargate",
        "no-gpu-instances",
        a_world(an_environment(resources=FARGATE), job=a_job(container=required(gpus=1))),
    ),
    (
        "more vCPUs than any instance type",
        "exceeds-instance-size",
        a_world(
            an_environment(resources={"instanceTypes": ["c5.large", "m5.xlarge"]}),
            job=a_job(container=required(8)),
        ),
    ),
    (
        "more memory than any instance type",
        "exceeds-instance-size",
        a_world(
            an_environment(resources={"instanceTypes": ["c5.large", "m5.xlarge"]}),
            job=a_job(container=required(2, 65_536)),
        ),
    ),
    (
        "both, but not together",
        "exceeds-instance-size",
        a_world(
            an_environment(resources={"instanceTypes": ["c5.4xlarge", "r5.2xlarge"]}),
            job=a_job(container=required(16, 60_000)),
        ),
    ),
    (
        "more than any of a family",
        "exceeds-instance-size",
        a_world(
            an_environment(resources={"instanceTypes": ["c5"]}),
            job=a_job(container=required(128)),
        ),
    ),
    (
        "more than any that Batch chooses",
        "exceeds-instance-size",
        a_world(
            an_environment(resources={"instanceTypes": ["optimal"], "maxvCpus": 1024}),
            job=a_job(container=required(256)),
        ),
    ),
    (
        "more GPUs than an instance has",
        "exceeds-instance-size",
        a_world(
            an_environment(resources={"instanceTypes": ["g4dn.xlarge"]}),
            job=a_job(container=required(gpus=4)),
            instance_types={"g4dn.xlarge": an_instance_type(4, 16_384, 1)},
        ),
    ),
    (
        "all the installed memory",
        "exceeds-instance-size",
        a_world(
            an_environment(resources={"instanceTypes": ["m5.large"]}),
            job=a_job(container=required(2, 8192)),
        ),
    ),
    (
        "more memory than Fargate gives to so many vCPUs",
        "exceeds-instance-size",
        a_world(an_environment(resources=FARGATE), job=a_job(container=required(1, 16_384))),
    ),
    (
        "Fargate job on EC2",
        "platform-mismatch",
        a_world(job=a_job(platformCapabilities=["FARGATE"])),
    ),
    (
        "EC2 job on Fargate",
        "platform-mismatch",
        a_world(an_environment(resources=FARGATE), job=a_job(platformCapabilities=["EC2"])),
    ),
    (
        "pod on ECS",
        "platform-mismatch",
        a_world(
            job=a_job(container=None, eksProperties={"podProperties": {"containers": [{}]}}),
        ),
    ),
    (
        "several nodes on Spot",
        "platform-mismatch",
        a_world(
            an_environment(resources={"type": "SPOT"}),
            job=a_job(container=None, nodeProperties={"numNodes": 2}),
        ),
    ),
    (
        "several nodes where nobody manages instances",
        "platform-mismatch",
        a_world(
            an_environment(type="UNMANAGED", computeResources=None),
            job=a_job(container=None, nodeProperties={"numNodes": 2}),
        ),
    ),
    (
        "every vCPU of the environment is taken",
        "at-max-vcpus",
        a_world(an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})),
    ),
    (
        "others leave too little",
        "at-max-vcpus",
        a_world(an_environment(resources={"maxvCpus": 4, "desiredvCpus": 3})),
    ),
    (
        "every vCPU of Fargate is taken",
        "at-max-vcpus",
        a_world(
            an_environment(resources=FARGATE | {"maxvCpus": 8}), snapshot=a_snapshot(used_vcpus=8)
        ),
    ),
    (
        "no instance registers",
        "instances-not-joining",
        a_world(an_environment(resources={"desiredvCpus": 16}), container_instances={CLUSTER: []}),
    ),
    (
        "no instance's agent answers",
        "instances-not-joining",
        a_world(
            an_environment(resources={"desiredvCpus": 16}),
            container_instances={CLUSTER: [{"status": "ACTIVE", "agentConnected": False}]},
        ),
    ),
    (
        "other jobs are before it",
        "waiting-its-turn",
        a_world(snapshot=a_snapshot("a", "b", JOB_ID)),
    ),
    (
        "very many jobs are before it",
        "waiting-its-turn",
        a_world(snapshot=a_snapshot(*map(str, range(100)))),
    ),
    (
        "it depends on others",
        "dependency-unfinished",
        a_world(job=a_job(status="PENDING", dependsOn=[{"jobId": "other"}])),
    ),
    (
        "its children are running",
        "waiting-its-turn",
        a_world(
            job=a_job(
                status="PENDING", arrayProperties={"size": 3, "statusSummary": {"RUNNING": 3}}
            )
        ),
    ),
    (
        "others may hold a licence",
        "consumable-resource",
        a_world(
            job=a_job(
                consumableResourceProperties={
                    "consumableResourceList": [{"consumableResource": "licence", "quantity": 2}]
                }
            )
        ),
    ),
    (
        "jobs of other shares are before it",
        "fair-share",
        a_world(job=a_job(shareIdentifier="blue"), snapshot=a_snapshot("a", JOB_ID)),
    ),
    ("Batch has not looked at it", "not-taken-up", a_world(job=a_job(status="SUBMITTED"))),
    ("its image is pulled", "container-not-started", a_world(job=a_job(status="STARTING"))),
    ("nothing is wrong", "undetermined", a_world()),
    ("nothing is known", "undetermined", BatchSnapshot(job={})),
]


@pytest.mark.parametrize(
    ("code", "world"), [pytest.param(code, world, id=name) for name, code, world in PLANTED]
)
def test_a_planted_cause_is_the_first_finding(code: str, world: BatchSnapshot) -> None:
    found = first(world, NOON)

    assert found.code == code
    assert found.remedy
    assert found.page.startswith("https://docs.aws.amazon.com/")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (NO_CAPACITY, "insufficient-capacity"),
        (MAX_RESOURCE, "exceeds-max-vcpus"),
        (REQUIREMENT, "exceeds-instance-size"),  # No environment grows.
        (
            "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED - …",
            "configuration-unsupported",
        ),
        ("MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS – Batch service role has …", "permissions"),
        ("ACTION_REQUIRED - CE(s) associated with …", "compute-environment-invalid"),
        (BLOCKED, "undetermined"),
        ("MISCONFIGURATION:SOMETHING_NEW", "configuration-unsupported"),
        ("CAPACITY:SOMETHING_NEW", "insufficient-capacity"),
        ("Host EC2 (instance i-01225b700440f4809) terminated.", "undetermined"),
    ],
)
def test_what_batch_itself_says_is_the_first_finding_and_is_quoted(reason: str, code: str) -> None:
    found = first(a_world(job=a_job(statusReason=reason)))

    assert found.code == code
    assert reason[:30] in found.evidence


def test_every_code_has_been_planted() -> None:
    elsewhere = {"configuration-unsupported", "permissions", "insufficient-capacity", "share-limit"}

    assert {code for _, code, _ in PLANTED} | elsewhere == set(CODES)


def test_a_cause_is_why_a_job_waits_in_its_queue_and_otherwise_there_is_none() -> None:
    by_cause = {
        cause: [code for code in CODES if CAUSE_OF[code] == cause]
        for cause in (
            "misconfigured",
            "capacity",
            None,
        )
    }

    assert by_cause == {
        "misconfigured": [
            "compute-environment-invalid",
            "compute-environment-disabled",
            "queue-invalid",
            "exceeds-max-vcpus",
            "no-gpu-instances",
            "exceeds-instance-size",
            "platform-mismatch",
            "configuration-unsupported",
        ],
        "capacity": [
            "permissions",
            "insufficient-capacity",
            "at-max-vcpus",
            "instances-not-joining",
            "consumable-resource",
            "share-limit",
            "fair-share",
            "waiting-its-turn",
        ],
        None: ["dependency-unfinished", "not-taken-up", "container-not-started", "undetermined"],
    }


# ---- Several environments --------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(an_environment("old", status="INVALID"), id="invalid"),
        pytest.param(an_environment("old", state="DISABLED"), id="disabled"),
        pytest.param(an_environment("old", resources={"maxvCpus": 1}), id="too small"),
        pytest.param(an_environment("old", resources={"instanceTypes": ["c5.large"]}), id="sizes"),
    ],
)
def test_a_cause_does_not_count_while_another_environment_can_take_the_job(
    broken: Mapping[str, Any],
) -> None:
    full = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})
    job = a_job(container=required(4))

    assert codes(a_world(broken, full, job=job)) == ["at-max-vcpus"]
    assert codes(a_world(broken, an_environment(), job=job)) == ["undetermined"]


def test_a_broken_environment_is_mentioned_beside_the_cause() -> None:
    world = a_world(an_environment("old", status="INVALID"), an_environment())

    assert "old is INVALID: ComputeEnvironment Healthy" in first(world).evidence


def test_when_no_environment_can_take_the_job_each_one_is_explained() -> None:
    world = a_world(
        an_environment("small", resources={"maxvCpus": 1}),
        an_environment("off", state="DISABLED"),
        an_environment("tiny", resources={"maxvCpus": 1}),
    )

    disabled, beyond = diagnose(world, NOON)

    assert (disabled.code, beyond.code) == ("compute-environment-disabled", "exceeds-max-vcpus")
    assert "small may have 1 vCPU" in beyond.evidence
    assert "tiny may have 1 vCPU" in beyond.evidence


def test_of_many_environments_five_are_explained() -> None:
    off = [an_environment(f"off-{number}", state="DISABLED") for number in range(7)]

    assert first(a_world(*off[:5])).evidence.count("is DISABLED") == 5
    assert first(a_world(*off)).evidence.endswith("off-4 is DISABLED; and 2 more")


def test_environments_of_other_queues_count_for_nothing() -> None:
    other = an_environment("other", status="INVALID")

    (found,) = diagnose(a_world(other, an_environment(), queue=a_queue("ce")), NOON)

    assert found.code == "undetermined"
    assert "other" not in found.evidence


def test_a_queue_may_name_its_environments_without_their_arn() -> None:
    queue = a_queue(computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "ce"}])

    assert codes(a_world(an_environment(state="DISABLED"), queue=queue))[0] == (
        "compute-environment-disabled"
    )


@pytest.mark.parametrize("status", ["UPDATING", "CREATING"])
def test_an_environment_that_changes_is_not_broken(status: str) -> None:
    assert codes(a_world(an_environment(status=status))) == ["undetermined"]


def test_a_disabled_queue_still_runs_what_it_has() -> None:
    assert codes(a_world(queue=a_queue("ce", state="DISABLED"))) == ["undetermined"]


# ---- What Batch says, and the numbers ----------------------------------------------------------


def test_numbers_explain_what_batch_says_of_the_requirements() -> None:
    world = a_world(job=a_job(container=required(gpus=1), statusReason=REQUIREMENT))

    found = first(world)

    assert found.code == "no-gpu-instances"
    assert "c5.4xlarge" in found.evidence
    assert "JOB_RESOURCE_REQUIREMENT" in found.evidence


@pytest.mark.parametrize(
    "allowed",
    [
        pytest.param({"instanceTypes": ["c5.4xlarge"]}, id="a type of known size"),
        pytest.param({"instanceTypes": ["c5.large", "r6i"]}, id="a family that has large types"),
        pytest.param({"instanceTypes": ["c5.large", "optimal"]}, id="what Batch chooses"),
        pytest.param({"instanceTypes": ["c5.metal"]}, id="a type of unknown size"),
        pytest.param({"instanceTypes": ["c5.large", "x9"]}, id="a family of unknown size"),
        pytest.param({"type": "ECS_MANAGED_INSTANCES", "instanceTypes": []}, id="no types"),
        pytest.param(FARGATE, id="Fargate"),
    ],
)
def test_a_remark_on_requirements_is_no_cause_unless_the_numbers_prove_it(
    allowed: Mapping[str, Any],
) -> None:
    growing = an_environment(resources={"desiredvCpus": 16} | dict(allowed))
    job = a_job(container=required(16, 30_000), statusReason=REQUIREMENT)

    found = first(a_world(growing, job=job))

    assert found.code == "undetermined"
    assert "JOB_RESOURCE_REQUIREMENT" in found.evidence
    assert "while when an environment grows; " in found.evidence
    assert "ce wants 16 of at most 256 vCPUs" in found.evidence


def test_what_batch_says_of_the_requirements_of_a_job_without_any_known_is_no_cause() -> None:
    world = a_world(GROWING, job=a_job(container=None, statusReason=REQUIREMENT))

    assert codes(world) == codes(BatchSnapshot(job=world.job)) == ["undetermined"]
    assert "can take" not in first(world).evidence


@pytest.mark.parametrize(
    ("desired", "described", "code"),
    [
        pytest.param((0, 0), {}, "exceeds-instance-size", id="none grows"),
        pytest.param((0, 16), {}, "undetermined", id="one grows"),
        pytest.param((0, None), {}, "undetermined", id="one may grow"),
        pytest.param(
            (0, 0),
            {"c5.4xlarge": an_instance_type(16, 32_768)},
            "undetermined",
            id="EC2 shows a type that takes the job",
        ),
    ],
)
def test_a_remark_on_requirements_counts_where_no_environment_grows(
    desired: Sequence[int | None], described: Mapping[str, Any], code: str
) -> None:
    environments = [
        an_environment(f"ce{number}", resources={"desiredvCpus": wanted})
        for number, wanted in enumerate(desired)
    ]
    job = a_job(statusReason=REQUIREMENT)

    found = first(a_world(*environments, job=job, instance_types=described))

    assert found.code == code
    assert ("no environment is growing" in found.evidence) == (code != "undetermined")


def test_of_a_size_that_is_not_known_it_is_not_said_that_it_takes_the_job() -> None:
    def allows(*names: str) -> Finding:
        growing = an_environment(resources={"instanceTypes": names, "desiredvCpus": 16})
        return first(a_world(growing, job=a_job(statusReason=REQUIREMENT)))

    assert "ce can take the job" in allows("c5.large").evidence
    assert "ce can take the job" not in allows("c5.metal").evidence
    assert "ce can take the job" not in allows("t3.large").evidence  # Its memory is not known.
    assert "with its instance types" in allows("c5.metal").remedy
    assert "with its instance types" not in allows("c5.large").remedy


def test_a_broken_environment_goes_before_what_batch_said() -> None:
    world = a_world(an_environment(state="DISABLED"), job=a_job(statusReason=NO_CAPACITY))

    assert codes(world) == ["compute-environment-disabled", "insufficient-capacity"]


def test_what_batch_said_goes_before_our_own_arithmetic() -> None:
    full = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})

    assert codes(a_world(full, job=a_job(statusReason=NO_CAPACITY))) == [
        "insufficient-capacity",
        "at-max-vcpus",
    ]


def test_the_same_cause_found_and_said_is_one_finding() -> None:
    invalid = an_environment(status="INVALID")
    world = a_world(invalid, job=a_job(statusReason="ACTION_REQUIRED - CE(s) … are invalid."))

    (found,) = diagnose(world, NOON)

    assert "ce is INVALID" in found.evidence
    assert "Batch says: ACTION_REQUIRED" in found.evidence


# ---- Sizes -----------------------------------------------------------------------------------


def test_a_size_read_from_a_name_says_so() -> None:
    world = a_world(
        an_environment(resources={"instanceTypes": ["c5.large"]}), job=a_job(container=required(64))
    )

    assert first(world).evidence == (
        "the job asks for 64 vCPUs, 2,048 MiB on one instance; ce has at most"
        " c5.large (2 vCPUs, 4,096 MiB, by its name)"
    )


def test_of_many_sizes_the_nearest_two_are_shown() -> None:
    types = ["c5.large", "r5.large", "c5.4xlarge", "r5.4xlarge", "m5.large"]
    world = a_world(
        an_environment(resources={"instanceTypes": types}), job=a_job(container=required(32, 2048))
    )

    assert "r5.4xlarge (16 vCPUs, 131,072 MiB, by its name) or c5.4xlarge" in first(world).evidence
    assert first(world).evidence.endswith("and 3 more")


def test_a_size_that_ec2_tells_goes_before_the_name() -> None:
    world = a_world(
        an_environment(resources={"instanceTypes": ["hpc6a.48xlarge"]}),
        job=a_job(container=required(100)),
        instance_types={"hpc6a.48xlarge": an_instance_type(96, 393_216)},
    )

    assert "hpc6a.48xlarge (96 vCPUs, 393,216 MiB)" in first(world).evidence


@pytest.mark.parametrize(
    ("family", "vcpus"),
    [("c5", 96), ("r6i", 128), ("m6a", 192), ("c7g", 64), ("r8g", 192), ("m8i", 384), ("c4", 64)],
)
def test_a_family_has_types_up_to_a_known_size(family: str, vcpus: int) -> None:
    def asks(wanted: int) -> BatchSnapshot:
        environment = an_environment(resources={"instanceTypes": [family], "maxvCpus": 1000})
        return a_world(environment, job=a_job(container=required(wanted)))

    assert codes(asks(vcpus)) == ["undetermined"]
    assert codes(asks(vcpus + 1)) == ["exceeds-instance-size"]
    assert f"at most {vcpus} vCPUs" in first(asks(vcpus + 1)).evidence


def test_what_a_name_says_is_never_less_than_what_ec2_tells() -> None:
    packed = resources.files("moto").joinpath("ec2/resources/instance_types.json.gz").read_bytes()
    told = json.loads(gzip.decompress(packed))

    for allowed in (names for name in told for names in (name, name.partition(".")[0])):
        (guess,) = sizes([allowed], {}, {})
        for real in sizes([allowed], told, {}):
            assert guess.vcpus is None or (real.vcpus or 0) <= guess.vcpus, real
            assert guess.memory_mib is None or (real.memory_mib or 0) <= guess.memory_mib, real
            assert guess.gpus is None or (real.gpus or 0) <= guess.gpus, real
    assert len(told) > 1000


@pytest.mark.parametrize("name", ["c5.metal", "u-6tb1.56xlarge", "x2idn", "odd", "r8i.metal-96xl"])
def test_an_instance_type_of_unknown_size_is_no_obstacle(name: str) -> None:
    world = a_world(
        an_environment(resources={"instanceTypes": ["c5.large", name], "maxvCpus": 1000}),
        job=a_job(container=required(100, 1_000_000)),
    )

    assert codes(world) == ["undetermined"]


@pytest.mark.parametrize("name", ["g4dn.xlarge", "g5", "p4d.24xlarge", "gr6.4xlarge", "p6-b200"])
def test_a_family_with_gpus_may_have_as_many_as_are_asked_for(name: str) -> None:
    world = a_world(
        an_environment(resources={"instanceTypes": [name]}), job=a_job(container=required(gpus=8))
    )

    assert codes(world) == ["undetermined"]


def test_a_family_means_all_its_types_that_ec2_told_of() -> None:
    world = a_world(
        an_environment(resources={"instanceTypes": ["c5"]}),
        job=a_job(container=required(64)),
        instance_types={
            "c5.large": an_instance_type(2, 4096),
            "c5.9xlarge": an_instance_type(36, 73_728),
            "c5d.24xlarge": an_instance_type(96, 196_608),  # another family
        },
    )

    found = first(world)

    assert found.code == "exceeds-instance-size"
    assert "at most c5.9xlarge (36 vCPUs" in found.evidence


def test_an_instance_type_without_enough_memory_for_sure_depends_on_what_the_system_keeps() -> None:
    tight = a_job(container=required(4, 16_000))
    types = {"g4dn.xlarge": an_instance_type(4, 16_384, 1)}
    environment = an_environment(resources={"instanceTypes": ["g4dn.xlarge"], "maxvCpus": 16})
    full = an_environment(
        resources={"instanceTypes": ["g4dn.xlarge"], "maxvCpus": 16, "desiredvCpus": 16}
    )

    (alone,) = diagnose(a_world(environment, job=tight, instance_types=types), NOON)
    behind = codes(a_world(full, job=tight, instance_types=types))
    beside = codes(a_world(environment, an_environment("roomy"), job=tight, instance_types=types))

    assert alone.code == "exceeds-instance-size"
    assert "16,384 MiB" in alone.evidence
    assert "leave them 5 %" in alone.evidence
    assert behind == ["at-max-vcpus", "exceeds-instance-size"]
    assert beside == ["undetermined"]


@pytest.mark.parametrize(
    ("memory_mib", "first_code"),
    [
        pytest.param(7_782, "at-max-vcpus", id="at most 95 %: fits"),
        pytest.param(7_783, "at-max-vcpus", id="more than 95 %: may not fit, told last"),
        pytest.param(8_064, "at-max-vcpus", id="63/64: still may fit"),
        pytest.param(8_065, "exceeds-instance-size", id="more than Linux can leave: never fits"),
    ],
)
def test_memory_counts_as_too_much_only_when_it_surely_is(memory_mib: int, first_code: str) -> None:
    full = an_environment(
        resources={"instanceTypes": ["m5.large"], "maxvCpus": 2, "desiredvCpus": 2}
    )

    found = codes(a_world(full, job=a_job(container=required(2, memory_mib))))

    assert found[0] == first_code
    assert ("exceeds-instance-size" in found) == (memory_mib > 7_782)


def test_on_eks_a_job_cannot_have_all_vcpus_of_an_instance() -> None:
    def eks(**resources: Any) -> dict[str, Any]:
        return an_environment(containerOrchestrationType="EKS", resources=resources)

    limits = {"cpu": "4", "memory": "1024Mi"}
    job = a_job(container=None, eksProperties=pod({"resources": {"limits": limits}}))

    assert codes(a_world(eks(instanceTypes=["m5.xlarge"]), job=job)) == ["exceeds-instance-size"]
    assert codes(a_world(eks(instanceTypes=["m5.2xlarge"]), job=job)) == ["undetermined"]


def test_what_an_instance_registered_settles_whether_the_memory_suffices() -> None:
    def instances(memory_mib: int) -> dict[str, Any]:
        return {
            CLUSTER: [
                {
                    "status": "ACTIVE",
                    "agentConnected": True,
                    "attributes": [{"name": "ecs.instance-type", "value": "m5.xlarge"}],
                    "registeredResources": [
                        {"name": "CPU", "integerValue": 4096},
                        {"name": "MEMORY", "integerValue": memory_mib},
                    ],
                }
            ]
        }

    environment = an_environment(resources={"instanceTypes": ["m5.xlarge"]})
    job = a_job(container=required(4, 15_800))

    enough = a_world(environment, job=job, container_instances=instances(15_900))
    short = a_world(environment, job=job, container_instances=instances(15_700))

    assert codes(enough) == ["undetermined"]
    assert first(short).code == "exceeds-instance-size"
    assert "15,700 MiB for containers" in first(short).evidence


def test_a_job_that_asks_for_exactly_the_vcpus_of_an_instance_fits() -> None:
    assert codes(a_world(job=a_job(container=required(16)))) == ["undetermined"]
    assert codes(a_world(job=a_job(container=required(17)))) == ["exceeds-instance-size"]


def test_a_job_that_asks_for_exactly_the_maximum_fits() -> None:
    environment = an_environment(resources={"maxvCpus": 8})

    assert codes(a_world(environment, job=a_job(container=required(8)))) == ["undetermined"]


def test_ec2_is_asked_for_types_families_and_what_batchs_choices_stand_for() -> None:
    assert patterns(["c5.large", "m5", "default_arm64", "c5.large"]) == (
        "c5.large",
        "m5.*",
        "m6g.*",
        "c6g.*",
        "r6g.*",
        "c7g.*",
    )


# ---- Kinds of jobs -----------------------------------------------------------------------------


def pod(*containers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"podProperties": {"containers": list(containers)} | more}


def test_the_containers_of_a_pod_add_up() -> None:
    eks = an_environment(
        containerOrchestrationType="EKS", resources={"instanceTypes": ["m5.xlarge"]}
    )
    container = {
        "resources": {"requests": {"cpu": "3"}, "limits": {"memory": "1024Mi", "cpu": "4"}}
    }
    job = a_job(container=None, eksProperties=pod(container, container))

    found = first(a_world(eks, job=job))

    assert found.code == "exceeds-instance-size"
    assert "6 vCPUs, 2,048 MiB" in found.evidence


def test_an_init_container_counts_by_itself() -> None:
    eks = an_environment(
        containerOrchestrationType="EKS", resources={"instanceTypes": ["m5.xlarge"]}
    )
    small = {"resources": {"requests": {"cpu": "0.25", "memory": "512Mi"}}}
    large = {"resources": {"requests": {"cpu": "8", "memory": "512Mi", "nvidia.com/gpu": "0"}}}
    job = a_job(container=None, eksProperties=pod(small, initContainers=[large]))

    assert "asks for 8 vCPUs, 512 MiB" in first(a_world(eks, job=job)).evidence


def test_a_container_job_does_not_run_on_eks() -> None:
    eks = an_environment(containerOrchestrationType="EKS")

    assert codes(a_world(eks)) == ["platform-mismatch"]


def test_the_containers_of_a_task_add_up() -> None:
    job = a_job(
        container=None,
        ecsProperties={"taskProperties": [{"containers": [required(10), required(10)]}]},
    )

    assert "20 vCPUs, 4,096 MiB" in first(a_world(job=job)).evidence


def test_each_node_needs_an_instance_of_its_own() -> None:
    nodes = {
        "numNodes": 4,
        "mainNode": 0,
        "nodeRangeProperties": [
            {"targetNodes": "0:", "container": required(2)},
            {"targetNodes": "0", "container": required(32)},  # overrides what is around it
        ],
    }
    job = a_job(container=None, nodeProperties=nodes)
    small = an_environment(resources={"maxvCpus": 37, "instanceTypes": ["c5"]})

    assert "asks for 32 vCPUs" in first(a_world(job=job)).evidence
    assert first(a_world(small, job=job)).evidence == (
        "the job needs 38 vCPUs on 4 nodes, ce may have 37 vCPUs at most"
    )


@pytest.mark.parametrize(
    ("targets", "total"),
    [
        pytest.param(["0:3"], 4, id="from, to"),
        pytest.param([":1"], 2, id="to"),
        pytest.param(["1:"], 3, id="from"),
        pytest.param(["2"], 1, id="one"),
        pytest.param([""], 4, id="not said"),
        pytest.param(["odd"], 4, id="not readable"),
        pytest.param(["0:9"], 4, id="beyond the last"),
        pytest.param(["0:1", "2:3"], 4, id="side by side"),
        pytest.param(["0:", "1:2"], 4, id="nested"),
    ],
)
def test_nodes_are_counted_once_however_their_ranges_are_written(
    targets: list[str], total: int
) -> None:
    ranges = [{"targetNodes": target, "container": required(1)} for target in targets]
    job = a_job(nodeProperties={"numNodes": 4, "nodeRangeProperties": ranges})

    needs = needs_of(job)

    assert needs.total == {"vcpu": total}
    assert sum(ask.nodes for ask in needs.asks) == total


def test_an_unmanaged_environment_has_instances_of_unknown_size() -> None:
    unmanaged = an_environment(type="UNMANAGED", computeResources=None, unmanagedvCpus=4)

    assert codes(a_world(unmanaged, job=a_job(container=required(64, gpus=8)))) == ["undetermined"]


def test_a_job_for_managed_instances_runs_only_there() -> None:
    managed = an_environment(resources={"type": "ECS_MANAGED_INSTANCES", "instanceTypes": []})
    job = a_job(platformCapabilities=["MANAGED_INSTANCES"])

    assert codes(a_world(managed, job=job)) == ["undetermined"]
    assert codes(a_world(job=job)) == ["platform-mismatch"]


@pytest.mark.parametrize(
    ("vcpus", "most_mib"),
    [(0.25, 2_048), (1, 8_192), (4, 30_720), (16, 122_880), (32, 249_856)],
)
def test_fargate_gives_so_much_memory_to_so_many_vcpus(vcpus: float, most_mib: int) -> None:
    def asks(vcpus: float, memory_mib: int) -> BatchSnapshot:
        fargate = an_environment(resources=FARGATE)
        job = a_job(container=required(vcpus, memory_mib), platformCapabilities=["FARGATE"])
        return a_world(fargate, job=job)

    assert codes(asks(vcpus, most_mib)) == ["undetermined"]
    assert codes(asks(vcpus, most_mib + 1)) == ["exceeds-instance-size"]
    assert codes(asks(33, 2_048)) == ["exceeds-instance-size"]


def test_an_array_child_is_found_in_the_queue() -> None:
    child = a_job(jobId=f"{JOB_ID}:7", jobArn=f"{ACCOUNT}:job/{JOB_ID}:7")

    found = first(a_world(job=child, snapshot=a_snapshot("a", f"{JOB_ID}:6", f"{JOB_ID}:7")))

    assert "number 3" in found.evidence


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "FAILED"])
def test_a_job_that_has_started_is_not_explained_by_its_queue(status: str) -> None:
    world = a_world(an_environment(status="INVALID"), job=a_job(status=status))

    (found,) = diagnose(world, NOON)

    assert found.code == "undetermined"
    assert status in found.evidence


def test_a_job_that_batch_cancelled_itself_is_explained_by_its_reason() -> None:
    reason = f"Canceled by JobStateTimeLimit action due to reason: {NO_CAPACITY[:39]}"

    assert codes(a_world(job=a_job(status="FAILED", statusReason=reason))) == [
        "insufficient-capacity"
    ]


def a_service_world(**changes: Any) -> BatchSnapshot:
    arn = f"{ACCOUNT}:service-environment/se"
    environment = {
        "serviceEnvironmentName": "se",
        "serviceEnvironmentArn": arn,
        "state": "ENABLED",
        "status": "VALID",
        "capacityLimits": [{"capacityUnit": "NUM_INSTANCES", "maxCapacity": 4}],
    } | changes.pop("environment", {})
    job = {
        "jobArn": f"{ACCOUNT}:service-job/{JOB_ID}",
        "jobId": JOB_ID,
        "serviceJobType": "SAGEMAKER_TRAINING",
        "status": "RUNNABLE",
        "capacityUsage": [{"capacityUnit": "NUM_INSTANCES", "quantity": 2}],
    } | changes.pop("job", {})
    queue = {
        "status": "VALID",
        "computeEnvironmentOrder": [],
        "serviceEnvironmentOrder": [{"order": 1, "serviceEnvironment": arn}],
    }
    return BatchSnapshot(job=job, queue=queue, environments=[environment], **changes)


def test_a_service_job_is_diagnosed_by_its_service_environment() -> None:
    used = {"totalCapacityUsage": [{"capacityUnit": "NUM_INSTANCES", "quantity": 3}]}
    front = {"jobs": [{"jobArn": "a/b"}, {"jobArn": f"{ACCOUNT}:service-job/{JOB_ID}"}]}
    larger = {"capacityUsage": [{"capacityUnit": "NUM_INSTANCES", "quantity": 5}]}

    assert codes(a_service_world()) == ["undetermined"]
    assert codes(a_service_world(environment={"state": "DISABLED"})) == [
        "compute-environment-disabled"
    ]
    assert codes(a_service_world(job=larger)) == ["exceeds-max-vcpus"]
    assert codes(a_service_world(snapshot={"queueUtilization": used})) == ["at-max-vcpus"]
    assert codes(a_service_world(snapshot={"frontOfQueue": front})) == ["waiting-its-turn"]
    assert codes(a_service_world(job={"status": "SCHEDULED"})) == ["insufficient-capacity"]
    assert "sm_job_stuck" in first(a_service_world()).page


def test_what_to_do_for_a_service_job_is_told_in_the_words_of_service_environments() -> None:
    def remedy(reason: str, **changes: Any) -> str:
        found = first(a_service_world(job={"statusReason": reason}, **changes))
        assert "sm_job_stuck" in found.page
        for word in ("maxvCpus", "EC2", "Spot", "ECS", "log driver"):
            assert word not in found.remedy
        return found.remedy

    full = {"totalCapacityUsage": [{"capacityUnit": "NUM_INSTANCES", "quantity": 4}]}

    assert "capacityLimits (maxCapacity)" in remedy(
        "MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE - Service environment(s) …"
    )
    assert "quota share's capacityLimits (maxCapacity) or borrowLimit" in remedy(
        "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED - Job requirements exceed …"
    )
    assert "SageMaker quotas" in remedy(NO_CAPACITY)
    assert "capacityLimits (maxCapacity)" in remedy("", snapshot={"queueUtilization": full})
    assert "SageMaker quotas" in remedy(BLOCKED)


def test_a_queue_of_service_jobs_needs_no_compute_environment() -> None:
    queue = {"jobQueueType": "SAGEMAKER_TRAINING", "computeEnvironmentOrder": []}

    assert queue_trouble(queue) is None
    assert queue_trouble(queue | {"serviceEnvironmentOrder": []}) is not None
    assert queue_trouble(queue | {"jobQueueType": "ECS"}) is not None


# ---- Waiting -----------------------------------------------------------------------------------


def test_a_full_environment_is_told_with_the_jobs_place_in_the_queue() -> None:
    full = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})

    taken, waiting = diagnose(a_world(full, snapshot=a_snapshot("a", JOB_ID)), NOON)

    assert taken.code == "at-max-vcpus"
    assert taken.evidence == "ce has 4 vCPUs of at most 4 vCPUs, the job needs 2 vCPUs"
    assert waiting.code == "waiting-its-turn"
    assert "number 2 in the queue, of 2 listed" in waiting.evidence


@pytest.mark.parametrize("at", [NOON_MS, NOON_MS // 1000], ids=["milliseconds", "seconds"])
def test_the_time_at_a_place_may_be_in_milliseconds_or_seconds(at: int) -> None:
    world = a_world(snapshot=a_snapshot("a", JOB_ID, at=at))

    found = first(world, NOON.replace(hour=14, minute=5))

    assert "since 2026-01-01T12:00:00Z (2 h 5 min)" in found.evidence


@pytest.mark.parametrize("at", [NOON_MS, NOON_MS // 1000], ids=["milliseconds", "seconds"])
def test_at_the_head_of_the_queue_nothing_is_left_to_wait_for(at: int) -> None:
    world = a_world(snapshot=a_snapshot(JOB_ID, "a", at=at))

    assert codes(world, NOON.replace(minute=10)) == ["waiting-its-turn"]
    assert codes(world, NOON.replace(minute=11)) == ["undetermined"]
    assert first(world, NOON.replace(minute=11)).evidence == (
        "the job is number 1 in the queue, of 2 listed, there since 2026-01-01T12:00:00Z (11 min);"
        " Batch gives no reason; ce can take the job (2 vCPUs, 2,048 MiB);"
        " ce wants 0 of at most 256 vCPUs"
    )


@pytest.mark.parametrize("since", [{}, {"earliestTimeAtPosition": 0}], ids=["missing", "zero"])
def test_a_head_of_the_queue_since_nobody_knows_when_does_not_wait_its_turn(
    since: Mapping[str, Any],
) -> None:
    front = {"jobs": [{"jobArn": f"{ACCOUNT}:job/{JOB_ID}", **since}]}

    assert codes(a_world(snapshot={"frontOfQueue": front})) == ["undetermined"]


def test_a_head_of_the_queue_that_a_reason_was_found_for_does_not_wait_its_turn_besides() -> None:
    full = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})
    head = a_snapshot(JOB_ID)

    assert codes(a_world(full, snapshot=head)) == ["at-max-vcpus"]
    assert codes(a_world(job=a_job(statusReason=NO_CAPACITY), snapshot=head)) == [
        "insufficient-capacity"
    ]


def test_behind_a_first_job_that_does_not_start_something_needs_repair() -> None:
    world = a_world(snapshot=a_snapshot("first", JOB_ID))

    fresh, later = first(world, NOON.replace(minute=10)), first(world, NOON.replace(hour=15))

    assert fresh.code == later.code == "waiting-its-turn"
    assert "Nothing needs repair" in fresh.remedy
    assert "Nothing needs repair" not in later.remedy
    assert later.evidence.endswith(
        "the first job of the queue, first, has not started since 2026-01-01T12:00:00Z (3 h)"
    )


def test_far_behind_a_first_job_that_does_not_start_something_needs_repair() -> None:
    world = a_world(snapshot=a_snapshot(*map(str, range(100))))

    assert "the first job of the queue, 0, has" in first(world, NOON.replace(hour=15)).evidence


def test_behind_a_first_job_that_waits_for_room_nothing_needs_repair() -> None:
    full = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})

    taken, waiting = diagnose(a_world(full, snapshot=a_snapshot("first", JOB_ID)), EVENING)

    assert (taken.code, waiting.code) == ("at-max-vcpus", "waiting-its-turn")
    assert "Nothing needs repair" in waiting.remedy


# ---- Shares ------------------------------------------------------------------------------------


def a_share_world(**changes: Any) -> BatchSnapshot:
    usage = [
        {"shareIdentifier": "red", "capacityUsage": [{"capacityUnit": "VCPU", "quantity": 120}]},
        {"shareIdentifier": "blue", "capacityUsage": [{"capacityUnit": "VCPU", "quantity": 8}]},
    ]
    snapshot = a_snapshot("a", "b", JOB_ID)
    snapshot["queueUtilization"]["fairshareUtilization"] = {"topCapacityUtilization": usage}
    parts = {"job": a_job(shareIdentifier="blue"), "snapshot": snapshot} | changes
    return a_world(**parts)


def test_a_job_behind_others_of_its_share_is_told_what_the_shares_hold() -> None:
    found = first(a_share_world(shares={"a": "red", "b": "blue"}), NOON)

    assert found.code == "fair-share"
    assert "number 3 in the queue, of 3 listed" in found.evidence
    assert "number 2 of its share blue" in found.evidence
    assert "shares hold: red 120 vCPUs, blue 8 vCPUs" in found.evidence
    assert "weight factor" in found.remedy


def test_the_first_job_of_a_share_waits_for_the_jobs_before_it() -> None:
    found = first(a_share_world(shares={"a": "red", "b": "red"}), EVENING)

    assert found.code == "fair-share"
    assert "number 1 of its share blue" in found.evidence


@pytest.mark.parametrize("reason", [BLOCKED, REQUIREMENT], ids=["without a cause", "in doubt"])
def test_a_head_that_batch_says_is_blocked_does_not_wait_its_turn(reason: str) -> None:
    head = a_world(GROWING, job=a_job(statusReason=reason), snapshot=a_snapshot(JOB_ID, "a"))
    of_share = replace(
        a_share_world(
            shares={"a": "red", "b": "red"}, job=a_job(shareIdentifier="blue", statusReason=reason)
        ),
        environments=(GROWING,),
    )
    behind = a_world(GROWING, job=a_job(statusReason=reason), snapshot=a_snapshot("a", JOB_ID))

    assert codes(head) == codes(of_share) == ["undetermined"]
    assert "Nothing needs repair" not in first(head).remedy
    assert codes(behind) == ["waiting-its-turn"]


@pytest.mark.parametrize(
    "front",
    [
        pytest.param((JOB_ID, "a"), id="the head"),
        pytest.param(("a", JOB_ID), id="no longer the head"),
        pytest.param(map(str, range(100)), id="not listed"),
    ],
)
def test_a_job_of_which_batch_sent_that_it_blocks_its_queue_does_not_wait_its_turn(
    front: Iterable[str],
) -> None:
    world = a_world(snapshot=a_snapshot(*front))

    assert codes(world) == ["waiting-its-turn"]
    assert codes(replace(world, blocks=True)) == ["undetermined"]


def test_a_job_that_blocks_its_queue_may_wait_for_others_to_end() -> None:
    full = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})

    assert codes(a_world(full, snapshot=a_snapshot(JOB_ID), blocks=True)) == ["at-max-vcpus"]


def test_a_job_is_first_of_its_share_only_where_the_shares_before_it_are_known() -> None:
    found = first(a_share_world(shares={"a": "red"}), EVENING)

    assert found.code == "fair-share"
    assert "of its share" not in found.evidence


def test_the_first_job_of_a_quota_share_is_a_head_wherever_it_stands_in_the_queue() -> None:
    arn = f"{ACCOUNT}:service-job/{JOB_ID}"
    head = {"jobArn": arn, "earliestTimeAtPosition": NOON_MS}
    snapshot = {
        "frontOfQueue": {"jobs": [{"jobArn": "a/b"}, {"jobArn": "a/c"}, head]},
        "frontOfQuotaShares": {"quotaShares": {"green": [{"jobArn": "a/b"}], "blue": [head]}},
    }
    world = a_service_world(snapshot=snapshot, job={"quotaShareName": "blue"})

    assert codes(world, NOON) == ["waiting-its-turn"]
    assert codes(world, EVENING) == ["undetermined"]
    assert "number 1 in the quota share blue, of 1 listed" in first(world, EVENING).evidence


def quota_shares(held: float | None, *fronts: str, at: int = NOON_MS) -> dict[str, Any]:
    """A snapshot in which the share "blue" has these jobs at its front, and holds so much."""
    usage = [{"capacityUnit": "ml.g5.xlarge", "quantity": held}]
    utilization = [{"quotaShareName": "blue", "capacityUsage": usage}] if held is not None else []
    front = [
        {"jobArn": f"{ACCOUNT}:service-job/{job_id}", "earliestTimeAtPosition": at}
        for job_id in fronts
    ]
    return {
        "frontOfQuotaShares": {"quotaShares": {"blue": front}},
        "queueUtilization": {"quotaShareUtilization": {"topCapacityUtilization": utilization}},
    }


@pytest.mark.parametrize("held", [None, 0], ids=["not told", "nothing"])
def test_the_first_of_a_quota_share_that_holds_nothing_is_not_at_the_limit(
    held: float | None,
) -> None:
    job = {"quotaShareName": "blue"}

    assert codes(a_service_world(snapshot=quota_shares(held, JOB_ID), job=job), EVENING) == [
        "undetermined"
    ]


def test_jobs_of_a_quota_share_wait_for_those_that_run() -> None:
    job = {"quotaShareName": "blue"}
    head = a_service_world(snapshot=quota_shares(3, JOB_ID), job=job)
    behind = a_service_world(snapshot=quota_shares(3, "a"), job=job)

    assert codes(head, EVENING) == ["share-limit"]
    assert "quota share blue hold 3 ml.g5.xlarge" in first(head).evidence
    assert "its limit, which is not known here, may leave no room" in first(head).evidence
    assert codes(behind, EVENING) == ["share-limit", "waiting-its-turn"]


def test_behind_the_stuck_first_job_of_a_quota_share_something_needs_repair() -> None:
    behind = a_service_world(snapshot=quota_shares(0, "a"), job={"quotaShareName": "blue"})

    found = first(behind, EVENING)

    assert found.code == "waiting-its-turn"
    assert "the first job of the quota share, a, has not started since" in found.evidence
    assert "Nothing needs repair" not in found.remedy


# ---- Consumable resources ------------------------------------------------------------------------


def consuming(*wanted: tuple[str, object], **changes: Any) -> dict[str, Any]:
    resources = [{"consumableResource": name, "quantity": quantity} for name, quantity in wanted]
    return a_job(consumableResourceProperties={"consumableResourceList": resources}, **changes)


def test_consumable_resources_are_named_without_their_arn() -> None:
    licence = f"{ACCOUNT}:consumable-resource/solver-licence"
    job = consuming((licence, 4), ("bandwidth", "2.5"))

    found = first(a_world(job=job, snapshot=a_snapshot(JOB_ID)), EVENING)

    assert found.code == "consumable-resource"
    assert "4 of solver-licence and 2.5 of bandwidth" in found.evidence
    assert "arn:" not in found.evidence
    assert "not known here" in found.evidence


def test_a_job_waits_for_what_it_consumes_when_its_turn_has_come() -> None:
    job = consuming(("licence", 1))
    full = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})

    assert codes(a_world(job=job, snapshot=a_snapshot(JOB_ID))) == ["consumable-resource"]
    assert codes(a_world(job=job, snapshot=a_snapshot("a", JOB_ID))) == [
        "waiting-its-turn",
        "consumable-resource",
    ]
    assert codes(a_world(full, job=job, snapshot=a_snapshot(JOB_ID))) == [
        "at-max-vcpus",
        "consumable-resource",
    ]


# ---- What is not known ---------------------------------------------------------------------------


def test_instances_that_nobody_was_asked_about_are_not_said_to_be_missing() -> None:
    environment = an_environment(resources={"desiredvCpus": 16})

    assert codes(a_world(environment)) == ["undetermined"]
    assert codes(a_world(environment, container_instances={CLUSTER: []})) == [
        "instances-not-joining"
    ]


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(an_environment("ce", status="INVALID"), id="invalid"),
        pytest.param(an_environment("ce", state="DISABLED"), id="disabled"),
        pytest.param(an_environment("ce", resources={"maxvCpus": 1}), id="too small"),
        pytest.param(an_environment("ce", resources=FARGATE), id="another platform"),
    ],
)
def test_an_environment_that_is_not_known_may_take_the_job(known: Mapping[str, Any]) -> None:
    world = a_world(known, queue=a_queue("ce", "other"), job=a_job(platformCapabilities=["EC2"]))

    (found,) = diagnose(world, NOON)

    assert found.code == "undetermined"
    assert "the environment other is not known here" in found.evidence


def test_an_environment_that_is_not_known_is_not_full() -> None:
    full = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})
    world = a_world(full, queue=a_queue("ce", "other"), snapshot=a_snapshot(used_vcpus=4))

    assert codes(world) == ["undetermined"]


# ---- Instances that are kept running -------------------------------------------------------------


def running(*registered: tuple[int, int]) -> dict[str, Any]:
    return {
        CLUSTER: [
            {
                "status": "ACTIVE",
                "agentConnected": True,
                "registeredResources": [
                    {"name": "CPU", "integerValue": cpu},
                    {"name": "MEMORY", "integerValue": memory_mib},
                ],
            }
            for cpu, memory_mib in registered
        ]
    }


def a_kept_world(least: int = 8, **changes: Any) -> BatchSnapshot:
    kept = {"minvCpus": least, "maxvCpus": 8, "desiredvCpus": 8, "instanceTypes": ["optimal"]}
    parts = {"job": a_job(container=required(4, 8_000))} | changes
    return a_world(an_environment(resources=kept), **parts)


def test_instances_that_run_without_a_job_are_not_held_by_others() -> None:
    assert codes(a_kept_world()) == ["undetermined"]
    assert "its instances have free is not known here" in first(a_kept_world()).evidence
    assert codes(a_kept_world(snapshot=a_snapshot(used_vcpus=8))) == ["at-max-vcpus"]
    assert codes(a_kept_world(least=0)) == ["at-max-vcpus"]


def test_a_job_that_fits_into_no_instance_that_is_kept_can_never_start() -> None:
    found = first(a_kept_world(container_instances=running((4096, 7_600), (4096, 7_500))))

    assert found.code == "exceeds-instance-size"
    assert "8,000 MiB" in found.evidence
    assert "7,600 MiB" in found.evidence
    assert "minvCpus" in found.remedy


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(a_kept_world(container_instances=running((4096, 8_000))), id="it fits"),
        pytest.param(
            a_kept_world(least=4, container_instances=running((4096, 7_600))), id="there is room"
        ),
        pytest.param(
            a_kept_world(container_instances={CLUSTER: [*running((4096, 7_600))[CLUSTER], {}]}),
            id="not all of them say what they offer",
        ),
        pytest.param(a_kept_world(), id="they are not known"),
    ],
)
def test_only_instances_that_are_all_kept_and_all_too_small_keep_a_job_out(
    world: BatchSnapshot,
) -> None:
    assert "exceeds-instance-size" not in codes(world)


# ---- Not in the queue: before it, and on the way to run ------------------------------------------


@pytest.mark.parametrize(
    ("depends_on", "array", "named"),
    [
        pytest.param([{"jobId": "a"}, {"jobId": "b"}], {}, "for a, b", id="jobs"),
        pytest.param(
            [{"jobId": str(number)} for number in range(7)], {}, "4, 2 others", id="many jobs"
        ),
        pytest.param(
            [{"jobId": "a", "type": "N_TO_N"}],
            {"index": 4},
            "for a (its index 4, N_TO_N)",
            id="a child",
        ),
        pytest.param(
            [{"jobId": "a", "type": "N_TO_N"}],
            {"size": 9, "statusSummary": {"PENDING": 9, "RUNNING": 0}},
            "for a (each child for its own index, N_TO_N)",
            id="an array",
        ),
        pytest.param(
            [{"type": "SEQUENTIAL"}],
            {"index": 4},
            "for the child before it, index 3 (SEQUENTIAL)",
            id="a child in a row",
        ),
    ],
)
def test_a_pending_job_names_what_it_waits_for(
    depends_on: Any, array: dict[str, Any], named: str
) -> None:
    job = a_job(status="PENDING", dependsOn=depends_on, arrayProperties=array)

    found = first(a_world(an_environment(status="INVALID"), job=job))

    assert found.code == "dependency-unfinished"
    assert named in found.evidence
    assert "Nothing needs repair" not in found.remedy


def test_a_pending_job_that_waits_for_nothing_is_not_said_to_wait_its_turn() -> None:
    found = first(a_world(job=a_job(status="PENDING")))

    assert found.code == "undetermined"
    assert "names no job that it waits for" in found.evidence


def test_a_broken_queue_goes_before_a_job_not_being_taken_up() -> None:
    job = a_job(status="SUBMITTED", dependsOn=[{"jobId": "a"}])

    assert codes(a_world(job=job, queue=a_queue("ce", status="INVALID"))) == [
        "queue-invalid",
        "not-taken-up",
    ]
    assert "the job waits for a" in first(a_world(job=job)).evidence


def test_what_fargate_may_have_is_told_too() -> None:
    evidence = first(a_world(an_environment(resources=FARGATE | {"desiredvCpus": None}))).evidence

    assert "ce may have 256 vCPUs at most" in evidence


def test_a_starting_job_is_not_explained_by_what_kept_it_waiting() -> None:
    job = a_job(status="STARTING", statusReason=MAX_RESOURCE)

    (found,) = diagnose(a_world(an_environment(status="INVALID"), job=job), NOON)

    assert found.code == "container-not-started"
    assert MAX_RESOURCE in found.evidence


def test_a_job_that_starts_on_fargate_is_told_what_it_needs_there() -> None:
    container = {
        "image": "registry.example/work:7",
        "executionRoleArn": "arn:aws:iam::111122223333:role/pulls",
        "secrets": [{}, {}],
        "volumes": [{}],
        "taskArn": "arn:aws:ecs:us-east-1:111122223333:task/c/0123",
        "networkConfiguration": {"assignPublicIp": "DISABLED"},
    }
    job = a_job(status="STARTING", container=container, platformCapabilities=["FARGATE"])

    found = first(BatchSnapshot(job=job))

    assert found.code == "container-not-started"
    assert found.evidence == (
        "the job's container on Fargate does not run yet, task 0123,"
        " image registry.example/work:7, execution role pulls, 2 secrets, 1 volume,"
        " no public address (assignPublicIp DISABLED)"
    )
    assert "NAT or VPC endpoints" in found.remedy


def test_a_job_that_starts_on_an_instance_is_told_which() -> None:
    instance = "arn:aws:ecs:us-east-1:111122223333:container-instance/c/4567"
    containers = [{"image": "a:1"}, {"image": "b:1", "dependsOn": [{"containerName": "a"}]}]
    task = {"containers": containers, "containerInstanceArn": instance}
    job = a_job(status="STARTING", container=None, ecsProperties={"taskProperties": [task]})

    evidence = first(BatchSnapshot(job=job)).evidence

    assert "on the ECS instance 4567" in evidence
    assert "image a:1, b:1" in evidence
    assert "some of its containers wait for others" in evidence


def test_a_pod_that_starts_is_told_with_how_to_see_its_events() -> None:
    properties = pod(
        {"image": "a:1"},
        podName="batch.1",
        nodeName="node-1",
        initContainers=[{}],
        metadata={"namespace": "jobs"},
    )

    found = first(
        BatchSnapshot(job=a_job(status="STARTING", container=None, eksProperties=properties))
    )

    assert (
        "the pod batch.1 do not run yet, on the node node-1, 1 init container must"
        in found.evidence
    )
    assert "kubectl describe pod batch.1 -n jobs" in found.remedy


def test_a_service_job_that_starts_is_told_with_its_training_job() -> None:
    training = "arn:aws:sagemaker:us-east-1:111122223333:training-job/batch-1"
    latest = {"serviceResourceId": {"name": "TrainingJobArn", "value": training}}

    found = first(a_service_world(job={"status": "STARTING", "latestAttempt": latest}))

    assert found.code == "container-not-started"
    assert "training job batch-1" in found.evidence


# ---- Room ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(an_environment("other", state="DISABLED"), id="disabled"),
        pytest.param(
            an_environment("other", resources={"instanceTypes": ["c5.large"]}), id="sizes"
        ),
        pytest.param(an_environment("other", resources=FARGATE), id="another platform"),
    ],
)
def test_what_jobs_hold_may_be_in_environments_that_do_not_take_the_job(
    other: Mapping[str, Any],
) -> None:
    job = a_job(container=required(4), platformCapabilities=["EC2"])
    empty = an_environment(resources={"maxvCpus": 8, "desiredvCpus": None})
    full = an_environment(resources={"maxvCpus": 8, "desiredvCpus": 8})
    held = a_snapshot(used_vcpus=30)

    assert codes(a_world(empty, job=job, snapshot=held)) == ["at-max-vcpus"]
    assert codes(a_world(empty, other, job=job, snapshot=held)) == ["undetermined"]
    assert codes(a_world(full, other, job=job, snapshot=held)) == ["at-max-vcpus"]


def test_an_environment_in_which_the_queue_holds_nothing_is_not_full_by_what_it_has_started() -> (
    None
):
    started = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})

    assert codes(a_world(started, snapshot=a_snapshot(used_vcpus=0))) == ["undetermined"]
    assert codes(a_world(started, snapshot=a_snapshot(used_vcpus=2))) == ["at-max-vcpus"]


def test_what_a_job_needs_is_not_told_where_it_is_not_known() -> None:
    full = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 4})
    fargate = an_environment(resources=FARGATE | {"maxvCpus": 8})
    job = a_job(container=None)

    assert first(a_world(full, job=job)).evidence == "ce has 4 vCPUs of at most 4 vCPUs"
    assert first(a_world(fargate, job=job, snapshot=a_snapshot(used_vcpus=8))).evidence == (
        "jobs of the queue hold 8 vCPUs of at most 8 vCPUs"
    )


def test_instances_started_for_the_job_itself_are_not_held_by_others() -> None:
    starting = an_environment(resources={"maxvCpus": 16, "desiredvCpus": 15})

    assert codes(a_world(starting, snapshot=a_snapshot(used_vcpus=0))) == ["undetermined"]
    assert codes(a_world(starting, snapshot=a_snapshot(used_vcpus=15))) == ["at-max-vcpus"]


def test_an_environment_with_just_enough_left_is_not_full() -> None:
    half = an_environment(resources={"maxvCpus": 4, "desiredvCpus": 2})

    assert codes(a_world(half, job=a_job(container=required(2)))) == ["undetermined"]
    assert codes(a_world(half, job=a_job(container=required(3)))) == ["at-max-vcpus"]


def test_instances_that_do_not_join_are_not_held_by_others() -> None:
    world = a_world(
        an_environment(resources={"maxvCpus": 16, "desiredvCpus": 16}),
        container_instances={CLUSTER: []},
    )

    assert codes(world) == ["instances-not-joining"]


def test_one_instance_that_joined_is_enough() -> None:
    world = a_world(
        an_environment(resources={"desiredvCpus": 16}),
        container_instances={CLUSTER: [{"agentConnected": False}, {"agentConnected": True}]},
    )

    assert codes(world) == ["undetermined"]


# ---- What others sent ----------------------------------------------------------------------------


@pytest.fixture
def payloads() -> Path:
    folder = Path(__file__).parents[4] / "shared" / "payloads"
    if not folder.is_dir():
        pytest.skip("the recorded payloads are kept outside the repository, and are not here")
    return folder


def recorded(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def test_a_recorded_job_that_a_gpu_instance_cannot_hold_is_explained(payloads: Path) -> None:
    (job,) = recorded(
        payloads / "describe-jobs/trainer-describe-jobs-RUNNABLE-misconfiguration-gpu.json"
    )["jobs"]
    queues = recorded(payloads / "describe-job-queues/trainer-describe-job-queues.json")
    environments = recorded(
        payloads / "describe-compute-environments/"
        "trainer-describe-compute-environments-valid-but-job-stuck.json"
    )
    world = BatchSnapshot(
        job=job,
        queue=queues["jobQueues"][0],
        environments=environments["computeEnvironments"],
        instance_types={"g4dn.xlarge": an_instance_type(4, 16_384, 1)},
    )

    (found,) = diagnose(world, NOON)

    assert found.code == "exceeds-instance-size"
    assert "16,000 MiB" in found.evidence
    assert "g4dn.xlarge (4 vCPUs, 16,384 MiB, 1 GPU)" in found.evidence
    assert "optimal" not in found.evidence


def test_every_recorded_answer_can_be_diagnosed(payloads: Path) -> None:
    jobs, queues, environments, snapshots = [], [], [], []
    for path in payloads.rglob("*.json"):
        answer = recorded(path)
        answer = answer.get("data", answer) if isinstance(answer, dict) else {}
        jobs += [*answer.get("jobs", []), answer, answer.get("detail", {})]
        queues += answer.get("jobQueues", [])
        environments += answer.get("computeEnvironments", [])
        snapshots += [answer] if "frontOfQueue" in answer else []

    assert jobs and queues and environments and snapshots  # noqa: PT018
    for job in jobs:
        for queue in [None, *queues]:
            for snapshot in [None, *snapshots]:
                world = BatchSnapshot(
                    job=job, queue=queue, environments=environments, snapshot=snapshot
                )
                assert diagnose(world, NOON)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (3, 3),
        (0, 0),
        ("0.25", 0.25),
        (-1, None),
        ("nan", None),
        ("1e999", None),
        (10**400, None),
        (True, None),
        (None, None),
        ([], None),
        ("many", None),
    ],
)
def test_a_number_is_read_wherever_one_is_meant(value: object, read: float | None) -> None:
    assert lenient.number(value) == read


@pytest.mark.parametrize("value", [0, None, -5, "soon", 10**20])
def test_what_is_no_time_is_read_as_none(value: object) -> None:
    assert lenient.moment(value) is None


def test_the_last_second_of_the_year_9999_is_a_time() -> None:
    assert lenient.moment(253_402_300_799_000) == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_untrusted_text_is_harmless_in_the_evidence() -> None:
    nasty = "x\n<script>\u202e\x00" * 100
    world = a_world(
        an_environment(
            nasty, statusReason=nasty, status="INVALID", resources={"instanceTypes": [nasty]}
        ),
        job=a_job(statusReason=f"MISCONFIGURATION:{nasty}", jobName=nasty),
        queue=None,
    )

    for found in diagnose(world, NOON):
        assert found.evidence.isprintable()
        assert "<" not in found.evidence
        assert len(found.evidence) < 1000


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["1e999", "9" * 5000, "0.25", "-1", "c5.large", "optimal", "g5", "INVALID"])
)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def replaced(value: Any, draw: st.DrawFn) -> Any:
    """`value` with some of its parts, at any depth, dropped or replaced by something odd."""
    match draw(st.integers(0, 9)):
        case 0:
            return draw(junk)
        case _ if isinstance(value, dict):
            return {
                key: replaced(inner, draw)
                for key, inner in value.items()
                if draw(st.integers(0, 9))
            }
        case _ if isinstance(value, list | tuple):
            return [replaced(inner, draw) for inner in value]
        case _:
            return value


RICH = {
    "job": a_job(
        statusReason=REQUIREMENT,
        nodeProperties={
            "numNodes": 2,
            "nodeRangeProperties": [
                {"targetNodes": "0:1", "container": required(gpus=1), "eksProperties": pod({})}
            ],
        },
        eksProperties=pod(
            {"resources": {"limits": {"cpu": "1", "memory": "1024Mi", "nvidia.com/gpu": 1}}},
            initContainers=[{"resources": {"requests": {"cpu": "500m"}}}],
        ),
        ecsProperties={"taskProperties": [{"containers": [required()]}]},
        arrayProperties={"statusSummary": {"RUNNABLE": 3}},
        dependsOn=[{"jobId": "a"}, {"jobId": "b", "type": "N_TO_N"}, {"type": "SEQUENTIAL"}],
        shareIdentifier="blue",
        latestAttempt={"serviceResourceId": {"value": "arn:a:b/c"}},
        capacityUsage=[{"capacityUnit": "NUM_INSTANCES", "quantity": 2}],
        consumableResourceProperties={
            "consumableResourceList": [{"consumableResource": "a", "quantity": 2}]
        },
    ),
    "queue": a_queue("ce", serviceEnvironmentOrder=[{"serviceEnvironment": "se"}]),
    "environments": [
        an_environment(resources={"allocationStrategy": "BEST_FIT", "desiredvCpus": 256}),
        an_environment(eksConfiguration={"eksClusterArn": "a"}),
        {"serviceEnvironmentName": "se", "capacityLimits": [{"maxCapacity": 1}]},
    ],
    "snapshot": a_snapshot("a", JOB_ID, used_vcpus=3)
    | {"frontOfQuotaShares": {"quotaShares": {"a": [{"jobArn": "b"}]}}},
    "instance_types": {"c5.4xlarge": an_instance_type(16, 32_768, 1)},
    "shares": {"a": "red", JOB_ID: "blue"},
    "container_instances": {
        CLUSTER: [
            {
                "attributes": [{"name": "ecs.instance-type", "value": "c5.4xlarge"}],
                "registeredResources": [{"name": "MEMORY", "integerValue": 30_000}],
            }
        ]
    },
}


@st.composite
def odd_worlds(draw: st.DrawFn) -> BatchSnapshot:
    return BatchSnapshot(**{key: replaced(value, draw) for key, value in RICH.items()})


@settings(max_examples=300, deadline=None)
@given(odd_worlds())
def test_whatever_the_answers_look_like_there_is_a_finding(world: BatchSnapshot) -> None:
    found = diagnose(world, NOON)

    assert found
    assert len({each.code for each in found}) == len(found)
    assert "undetermined" not in [each.code for each in found[:-1]]
    for each in found:
        assert each.code in CODES
        assert each.evidence.isprintable()


@settings(max_examples=100, deadline=None)
@given(odd_worlds(), st.sampled_from(["SUBMITTED", "PENDING", "SCHEDULED", "STARTING"]))
def test_whatever_a_job_outside_the_queue_looks_like_there_is_a_finding(
    world: BatchSnapshot, status: str
) -> None:
    job = {**world.job, "status": status} if isinstance(world.job, dict) else world.job

    found = diagnose(replace(world, job=job), NOON)

    assert found
    assert len({each.code for each in found}) == len(found)
    for each in found:
        assert each.evidence.isprintable()
        assert each.remedy.isprintable()


@settings(deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(RICH, junk)))
def test_answers_that_are_nonsense_leave_the_cause_undetermined(parts: dict[str, Any]) -> None:
    assert diagnose(BatchSnapshot(**cast("Any", parts)), NOON)


def test_diagnosis_loads_no_aws_client() -> None:
    code = (
        "import sys; import batch_watchdog.diagnosis; "
        "sys.exit('boto3' in sys.modules or 'aws_lambda_powertools' in sys.modules)"
    )
    layer = Path(__file__).parents[3] / "layers" / "watchdog"

    done = subprocess.run([sys.executable, "-c", code], cwd=layer, check=False)  # noqa: S603
    assert done.returncode == 0
