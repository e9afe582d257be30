"""The work of the jobs of the simulator's own scheduler, and how Batch would show them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid5

from local.batch.state import BUSY, Job

NAMESPACE = UUID("6f1b3d0e-5f0a-4b6e-9a53-6a2b8a1f0c55")
_RECENT = 10  # preempted runs that a service job shows; AWS says only that it is a sliding window


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ends. Exit code 0 is success; None: it has no exit code (host lost)."""

    exit_code: int | None = 0
    reason: str = ""  # the container's: "OutOfMemoryError: Container killed due to memory usage"
    status_reason: str = "Essential container in task exited"
    seconds: float | None = None  # how long it runs; None: as submitted


type Ending = int | Outcome
# One for all attempts; or one for each; or by array index, and the indexes left out succeed; or a
# function of array index (0 for single jobs) and attempt (from 1).
type Plan = (
    Ending
    | Sequence[Ending]
    | Mapping[int, Ending | Sequence[Ending]]
    | Callable[[int, int], Ending]
)
type Platform = Literal["EC2", "FARGATE", "EKS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What was submitted; the children of an array share it. `vcpus` are those of one node."""

    name: str
    queue_arn: str
    definition_arn: str
    vcpus: float
    memory: int
    gpus: int
    seconds: float | Callable[[int, int], float]
    outcome: Plan
    attempts: int
    array_size: int | None
    depends_on: tuple[str, ...]
    tags: Mapping[str, str]
    nodes: int | None
    platform: Platform
    service: bool
    share: str

    @property
    def arn_start(self) -> str:
        """The ARN of this work's jobs without their ids."""
        kind = "service-job/" if self.service else "job/"
        return self.queue_arn.partition("job-queue/")[0] + kind

    def outcome_of(self, index: int, attempt: int) -> Outcome:
        plan = self.outcome
        if callable(plan):
            plan = plan(index, attempt)
        if isinstance(plan, Mapping):
            plan = plan.get(index, 0)
        if isinstance(plan, Sequence):
            plan = plan[min(attempt, len(plan)) - 1]
        return plan if isinstance(plan, Outcome) else Outcome(exit_code=plan)

    def run_ms(self, index: int, attempt: int) -> int:
        seconds = self.outcome_of(index, attempt).seconds
        if seconds is None:
            seconds = self.seconds(index, attempt) if callable(self.seconds) else self.seconds
        return round(seconds * 1000)


def attempt_record(job: Job, work: Work, outcome: Outcome) -> dict[str, Any]:
    """Return the attempt that has just ended, or the preempted run, as Batch records it."""
    ended = {
        "startedAt": job.started_ms,
        "stoppedAt": job.stopped_ms,
        "statusReason": outcome.status_reason,
    }
    if not job.started_ms:
        del ended["startedAt"]
    if work.service:
        return {"serviceResourceId": _training(job, work), **ended}
    if work.platform == "EKS":
        return {
            "containers": [_ended({"name": "default"}, outcome)],
            "podName": f"aws-batch.{_run_id(job)}",
            "nodeName": "ip-10-0-0-1.ec2.internal",
            **ended,
        }
    return {"container": _ended(_run(job, work), outcome), **ended}


def work_detail(job: Job, work: Work) -> dict[str, Any]:
    """Return the job as the `detail` of an event; DescribeJobs shows the same."""
    return _service_detail(job, work) if work.service else _job_detail(job, work)


def _job_detail(job: Job, work: Work) -> dict[str, Any]:
    arn = work.arn_start + job.id
    on_eks = work.platform == "EKS"
    detail: dict[str, Any] = {
        "jobArn": arn,
        "jobName": work.name,
        "jobId": job.id,
        "jobQueue": work.queue_arn,
        "status": job.status,
        "attempts": [] if on_eks else list(job.attempts),
        "createdAt": job.created_ms,
        "retryStrategy": {"attempts": work.attempts, "evaluateOnExit": []},
        "dependsOn": [{"jobId": each} for each in work.depends_on],
        "jobDefinition": work.definition_arn,
        "parameters": {},
        # A child's resourceArn is that of its parent.
        "tags": {**tags_of(job, work), "resourceArn": arn.rpartition(":")[0] if job.array else arn},
        "propagateTags": False,
        "platformCapabilities": [] if on_eks else [work.platform],
        "eksAttempts": list(job.attempts) if on_eks else [],
    }
    if work.share:
        detail["shareIdentifier"] = work.share
    if on_eks:
        limits = {"cpu": f"{work.vcpus:g}", "memory": f"{work.memory}Mi"}
        pod = {"name": "default", "image": "public.ecr.aws/docker/library/busybox:latest"}
        detail["eksProperties"] = {
            "podProperties": {"containers": [pod | {"resources": {"limits": limits}}]}
        }
    elif work.nodes:
        ranges = [{"targetNodes": "0:", "container": _container(work)}]
        detail["nodeProperties"] = {
            "numNodes": work.nodes,
            "mainNode": 0,
            "nodeRangeProperties": ranges,
        }
    else:
        detail["container"] = _container(work) | {"networkInterfaces": []}
        if job.status in BUSY:
            detail["container"] |= _run(job, work)
        elif job.stopped_ms and job.attempts and job.status != "RUNNABLE":
            detail["container"] |= job.attempts[-1]["container"]
    if job.array:
        detail["arrayProperties"] = {"index": job.index, "statusSummary": {}}
    if job.children:
        detail["arrayProperties"] = {
            "size": job.children.size,
            "statusSummary": job.children.summary(),
        }
    return detail | moments(job)


def _service_detail(job: Job, work: Work) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "attempts": list(job.attempts),
        "createdAt": job.created_ms,
        "jobArn": work.arn_start + job.id,
        "jobId": job.id,
        "jobName": work.name,
        "jobQueue": work.queue_arn,
        "retryStrategy": {"attempts": work.attempts, "evaluateOnExit": []},
        "serviceJobType": "SAGEMAKER_TRAINING",
        "status": job.status,
        "timeoutConfig": {"attemptDurationSeconds": 86_400},
    }
    if work.share:
        detail["shareIdentifier"] = work.share
    if job.scheduled_ms:
        detail["scheduledAt"] = job.scheduled_ms
    if job.preemptions:
        detail["preemptionSummary"] = {
            "preemptedAttemptCount": len(job.preemptions),
            "recentPreemptedAttempts": list(job.preemptions[-_RECENT:]),
        }
    if job.status in BUSY or job.attempts:
        detail["latestAttempt"] = {"serviceResourceId": _training(job, work)}
    return detail | moments(job)


def tags_of(job: Job, work: Work) -> Mapping[str, str]:
    """Return the tags of a job of submit(); a child has those of its array."""
    parent = job.array.parent if job.array else None
    changed = (parent or job).tags
    return work.tags if changed is None else changed


def moments(job: Job) -> dict[str, Any]:
    """Return when the job started and stopped, its reason, and the marks of its stops."""
    moments: dict[str, Any] = {}
    if job.reason:
        moments["statusReason"] = job.reason
    if job.started_ms:
        moments["startedAt"] = job.started_ms
    if job.stopped_ms and job.children is None:
        moments["stoppedAt"] = job.stopped_ms
    return moments | stop_marks(job)


def stop_marks(job: Job) -> dict[str, Any]:
    """Return the marks of the stops that Batch has accepted: present only when true."""
    marks = {"isCancelled": job.cancelled, "isTerminated": job.terminated}
    return {name: True for name, is_so in marks.items() if is_so}


def _container(work: Work) -> dict[str, Any]:
    needs = {"VCPU": f"{work.vcpus:g}", "MEMORY": str(work.memory)}
    if work.gpus:
        needs["GPU"] = str(work.gpus)
    return {
        "image": "public.ecr.aws/docker/library/busybox:latest",
        "command": ["sleep", "60"],
        "volumes": [],
        "environment": [],
        "mountPoints": [],
        "ulimits": [],
        "resourceRequirements": [{"value": each, "type": name} for name, each in needs.items()],
        "secrets": [],
    }


def _run(job: Job, work: Work) -> dict[str, Any]:
    """Return the task, the log stream and the instance of the latest attempt."""
    run, start = _run_id(job), work.queue_arn.replace(":batch:", ":ecs:").partition("job-queue/")[0]
    definition = work.definition_arn.rpartition("/")[2].rpartition(":")[0]
    where = {
        "taskArn": f"{start}task/AWSBatch/{run}",
        "logStreamName": f"{definition}/default/{run}",
        "networkInterfaces": [],
    }
    if work.platform == "EC2":
        where["containerInstanceArn"] = f"{start}container-instance/AWSBatch/{run[:8]}"
    return where


def _run_id(job: Job) -> str:
    attempt = len(job.attempts) + (job.status in BUSY) + len(job.preemptions)
    return uuid5(NAMESPACE, f"{job.id} attempt {attempt}").hex


def _ended(container: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    if outcome.exit_code is not None:
        container["exitCode"] = outcome.exit_code
    if outcome.reason:
        container["reason"] = outcome.reason
    return container


def _training(job: Job, work: Work) -> dict[str, str]:
    start = work.queue_arn.replace(":batch:", ":sagemaker:").partition("job-queue/")[0]
    value = f"{start}training-job/AWSBatch{work.name}{_run_id(job)}"
    return {"name": "TrainingJobArn", "value": value}
