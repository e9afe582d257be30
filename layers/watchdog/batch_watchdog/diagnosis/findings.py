"""The causes that can keep a job from starting, each with a remedy and a page of AWS's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from batch_watchdog.core.effects import WaitCause
from batch_watchdog.notices.phrases import row, say

type FindingCode = Literal[
    "compute-environment-invalid",
    "compute-environment-disabled",
    "queue-invalid",
    "exceeds-max-vcpus",
    "no-gpu-instances",
    "exceeds-instance-size",
    "platform-mismatch",
    "configuration-unsupported",
    "permissions",
    "insufficient-capacity",
    "at-max-vcpus",
    "instances-not-joining",
    "consumable-resource",
    "share-limit",
    "fair-share",
    "waiting-its-turn",
    "dependency-unfinished",
    "not-taken-up",
    "container-not-started",
    "undetermined",
]

CODES: tuple[FindingCode, ...] = get_args(FindingCode.__value__)
# `after_by_cause` has limits by the cause for which a job waits in its queue. For a job outside its
# queue, or with an unknown cause (None), the policy's `after` is used.
CAUSE_OF: Mapping[FindingCode, WaitCause | None] = {
    "compute-environment-invalid": "misconfigured",
    "compute-environment-disabled": "misconfigured",
    "queue-invalid": "misconfigured",
    "exceeds-max-vcpus": "misconfigured",
    "no-gpu-instances": "misconfigured",
    "exceeds-instance-size": "misconfigured",
    "platform-mismatch": "misconfigured",
    "configuration-unsupported": "misconfigured",
    "permissions": "capacity",
    "insufficient-capacity": "capacity",
    "at-max-vcpus": "capacity",
    "instances-not-joining": "capacity",
    "consumable-resource": "capacity",
    "share-limit": "capacity",
    "fair-share": "capacity",
    "waiting-its-turn": "capacity",
    "dependency-unfinished": None,
    "not-taken-up": None,
    "container-not-started": None,
    "undetermined": None,
}

GUIDE = "https://docs.aws.amazon.com/batch/latest/userguide/"
_REFERENCE = "https://docs.aws.amazon.com/batch/latest/APIReference/"
_PARTS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One reason why a job does not start.

    `evidence` is one line with numbers, harmless to show; `remedy` is what to do next;
    `page` is the address of AWS's page about it.
    """

    code: FindingCode
    evidence: str
    remedy: str
    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """A finding before defaults: an empty remedy or page means the usual one of its code."""

    code: FindingCode
    evidence: str
    remedy: str = ""
    page: str = ""


def wait_cause(findings: Sequence[Finding]) -> WaitCause | None:
    """Return the cause that `after_by_cause` uses: that of the likeliest finding, if any."""
    return CAUSE_OF[findings[0].code] if findings else None


def finding(clue: Clue, *, service: bool) -> Finding:
    advice = _ADVICE[clue.code]
    of_service = _SERVICE_REMEDIES.get(clue.code, "")
    usual_page = f"{GUIDE}sm_job_stuck_in_runnable.html" if service else advice.page
    return Finding(
        code=clue.code,
        evidence=clue.evidence,
        remedy=clue.remedy or (of_service if service else "") or advice.remedy,
        page=clue.page or usual_page,
    )


def in_order(clues: Iterable[Clue]) -> list[Clue]:
    return sorted(clues, key=lambda clue: CODES.index(clue.code))


def merged(clues: Iterable[Clue]) -> list[Clue]:
    """Merge clues of the same code: at the place of the first, with the evidence of all."""
    same: dict[FindingCode, list[Clue]] = {}
    for clue in clues:
        same.setdefault(clue.code, []).append(clue)
    return [_joined(group) for group in same.values()]


def _joined(group: list[Clue]) -> Clue:
    parts = list(dict.fromkeys(clue.evidence for clue in group))
    left = len(parts) - _PARTS_SHOWN
    shown = [*parts[:_PARTS_SHOWN], *([say("and {left} more", left=left)] if left > 0 else [])]
    return replace(group[0], evidence=row(shown, "; "))


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Return the lines of a notice: the likeliest finding in full, the evidence of the others."""
    told: list[str] = []
    for each in findings[:1]:
        told += [
            "",
            say("{code}: {evidence}", code=each.code, evidence=each.evidence),
            say("What to do: {next_step}", next_step=each.remedy),
            say("See {page}", page=each.page),
        ]
    told += [
        say("Besides: {code}: {evidence}", code=each.code, evidence=each.evidence)
        for each in findings[1:]
    ]
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class _Advice:
    remedy: str
    page: str


_ADVICE: Mapping[FindingCode, _Advice] = {
    "compute-environment-invalid": _Advice(
        remedy=say(
            "Correct what the environment's status reason names (most often a role, subnet or "
            "launch template that is wrong or gone), or attach a valid environment to the queue."
        ),
        page=f"{GUIDE}invalid_compute_environment.html",
    ),
    "compute-environment-disabled": _Advice(
        remedy=say("Enable the environment, or attach one that is enabled to the queue."),
        page=f"{_REFERENCE}API_UpdateComputeEnvironment.html",
    ),
    "queue-invalid": _Advice(
        remedy=say(
            "Repair the queue (it needs at least one valid environment), or cancel the job and "
            "submit it to another queue."
        ),
        page=f"{GUIDE}job_queues.html",
    ),
    "exceeds-max-vcpus": _Advice(
        remedy=say(
            "Raise the environment's maximum (maxvCpus) to what the job needs, or cancel the job "
            "and submit it with less: as it is, it can never start."
        ),
        page=f"{GUIDE}job_stuck_in_runnable_misconfiguration.html",
    ),
    "no-gpu-instances": _Advice(
        remedy=say(
            "Attach an environment with GPU instance types (g and p families) to the queue, "
            "submit to a queue that has one, or take the GPU out of the job's requirements."
        ),
        page=f"{GUIDE}gpu-jobs.html",
    ),
    "exceeds-instance-size": _Advice(
        remedy=say(
            "Allow larger instance types in the environment, or cancel the job and submit it with "
            "less. Leave about 5 % of an instance's memory to the system and its agents."
        ),
        page=f"{GUIDE}memory-management.html",
    ),
    "platform-mismatch": _Advice(
        remedy=say(
            "Submit the job to a queue whose environments are of the job's platform, or attach "
            "such an environment to this queue."
        ),
        page=f"{GUIDE}compute_environments.html",
    ),
    "configuration-unsupported": _Advice(
        remedy=say(
            "Check that the environment's instance types exist in its Availability Zones and "
            "agree with its launch template and image."
        ),
        page=f"{GUIDE}job_stuck_in_runnable_misconfiguration.html",
    ),
    "permissions": _Advice(
        remedy=say(
            "Compare the permissions of the Batch service role with AWS's managed policy, or let "
            "the environment use the service-linked role."
        ),
        page=f"{GUIDE}security-iam-awsmanpol.html",
    ),
    "insufficient-capacity": _Advice(
        remedy=say(
            "Allow more instance types and Availability Zones, add an On-Demand environment "
            "behind a Spot one, check the account's EC2 quotas, or wait until AWS has capacity "
            "again."
        ),
        page=f"{GUIDE}job_stuck_in_runnable_capacity.html",
    ),
    "at-max-vcpus": _Advice(
        remedy=say(
            "Wait until running jobs end, raise the environment's maximum (maxvCpus), or stop "
            "jobs that matter less."
        ),
        page=f"{_REFERENCE}API_ComputeResource.html",
    ),
    "instances-not-joining": _Advice(
        remedy=say(
            "Look at the instances: they need a way to the ECS endpoints (public address, NAT or "
            "VPC endpoints), an instance role that ECS accepts, and an image with the ECS agent."
        ),
        page=f"{GUIDE}job_stuck_in_runnable.html",
    ),
    "consumable-resource": _Advice(
        remedy=say(
            "See how much of the resource is available (DescribeConsumableResource). Wait for the "
            "jobs that hold it, raise its total quantity, or let the job ask for less."
        ),
        page=f"{GUIDE}resource-aware-scheduling.html",
    ),
    "share-limit": _Advice(
        remedy=say(
            "See the share's capacity limits, and whether it may borrow (ListQuotaShares). Wait "
            "for the jobs of the share that run, raise its limits, or let it borrow."
        ),
        page=f"{GUIDE}quota-shares.html",
    ),
    "fair-share": _Advice(
        remedy=say(
            "Jobs of shares that have used less go first. To be faster: lower the weight factor "
            "of the job's share (a lower one gets more), or add capacity."
        ),
        page=f"{GUIDE}fair-share-scheduling.html",
    ),
    "waiting-its-turn": _Advice(
        remedy=say(
            "Nothing needs repair. To be faster: raise the job's priority, add capacity, or use a "
            "queue with less before it."
        ),
        page=f"{GUIDE}job_queue_viewing_status.html",
    ),
    "dependency-unfinished": _Advice(
        remedy=say(
            "See why the jobs that it depends on do not end. When one of them fails, Batch fails "
            "this job too; if one will never end, stop it, or cancel this job."
        ),
        page=f"{GUIDE}job_dependencies.html",
    ),
    "not-taken-up": _Advice(
        remedy=say(
            "See whether the queue and its environments are VALID, and whether AWS reports "
            "trouble with Batch; then cancel the job and submit it again."
        ),
        page=f"{GUIDE}job_states.html",
    ),
    "container-not-started": _Advice(
        remedy=say(
            "See the ECS task and its events: whether the image can be pulled (a large one takes "
            "long), what the execution role allows, secrets, volumes, and the instance's disk and "
            "agent."
        ),
        page=f"{GUIDE}job_states.html",
    ),
    "undetermined": _Advice(
        remedy=say(
            "Go through AWS's list: log driver, network of the instances, EC2 quotas, ECS agent."
        ),
        page=f"{GUIDE}job_stuck_in_runnable.html",
    ),
}

# What to do where it is not the same for service jobs.
_SERVICE_REMEDIES: Mapping[FindingCode, str] = {
    "exceeds-max-vcpus": say(
        "Raise the service environment's capacityLimits (maxCapacity) to what the job needs, or "
        "terminate the job and submit it with less: as it is, it can never start."
    ),
    "insufficient-capacity": say(
        "Wait, ask for another instance type, or check the account's SageMaker quotas."
    ),
    "at-max-vcpus": say(
        "Wait until running jobs end, raise the service environment's capacityLimits "
        "(maxCapacity), or stop jobs that matter less."
    ),
    "undetermined": say(
        "See whether the service environment is ENABLED and VALID, what its capacityLimits and "
        "the job's quota share leave free, and the account's SageMaker quotas."
    ),
}
