"""
Judge the compute environments of a job's queue: whether they can take the job at all.

Only what is certain counts against an environment: a size, a state or a platform that is not known
does not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch_watchdog.core.job_event import resource_name
from batch_watchdog.core.payload_parts import is_for_service_jobs
from batch_watchdog.diagnosis.findings import Clue
from batch_watchdog.diagnosis.fit import NAME_MAX, WITH_TYPES, Environment, misfits, tight
from batch_watchdog.diagnosis.instance_types import registered, sizes
from batch_watchdog.diagnosis.lenient import items, mapping, number, text, texts
from batch_watchdog.diagnosis.needs import Needs, unit_of
from batch_watchdog.notices.phrases import say
from batch_watchdog.notices.text import plain

_REASON_MAX = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSnapshot:
    """
    AWS's responses, in the shapes of its API. A response that is not available is None or empty.

    Any field in them may be missing or malformed: it then counts as "not said".
    """

    job: Mapping[str, Any]
    """JobDetail of DescribeJobs, the answer of DescribeServiceJob, or an event's detail."""
    queue: Mapping[str, Any] | None = None
    """JobQueueDetail of DescribeJobQueues."""
    environments: Sequence[Mapping[str, Any]] = ()
    """Of DescribeComputeEnvironments or DescribeServiceEnvironments; more than the queue's own
    may be handed in."""
    snapshot: Mapping[str, Any] | None = None
    """The answer of GetJobQueueSnapshot."""
    instance_types: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """InstanceTypeInfo of EC2's DescribeInstanceTypes, by name; `patterns` says which."""
    container_instances: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Of ECS's DescribeContainerInstances, by cluster ARN. An empty sequence says that the
    cluster was asked and has none; a cluster that is missing was not asked."""
    shares: Mapping[str, str] = field(default_factory=dict)
    """The share identifiers of the jobs at the front of the queue, by job id."""
    blocks: bool = False
    """Batch has sent an event that the job blocks its queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentVerdict:
    """What one environment means for one job."""

    environment: Environment
    broken: Clue | None  # it takes no job at all
    misfits: tuple[Clue, ...]  # it can never take this one
    tight: Clue | None  # it takes this one only if the system keeps very little memory

    @property
    def usable(self) -> bool:
        return not self.broken and not self.misfits


def verdicts(world: BatchSnapshot, needs: Needs) -> list[EnvironmentVerdict]:
    """
    Return one for each environment that the queue names; for all given ones where it names none.

    An environment that is named and not given counts as usable: nothing is known against it.
    """
    given = [mapping(each) for each in items(world.environments)]
    queue = mapping(world.queue)
    named = dict.fromkeys(_named(queue))
    if not named:
        return [_verdict(_environment(each, world), needs) for each in given]
    found = []
    for key, name in named:
        details = [each for each in given if {name, resource_name(name)} & _names(each)]
        found += [_environment(each, world) for each in details[:1]]
        if not details:
            found.append(_environment({f"{key}Name": resource_name(name)}, world, known=False))
    return [_verdict(each, needs) for each in found]


def queue_trouble(queue: Mapping[Any, Any]) -> Clue | None:
    """
    Return what is wrong with the queue itself, or None.

    A DISABLED queue is not wrong: it takes no new jobs, and runs those that it has.
    """
    shown = plain(text(queue.get("jobQueueName")), NAME_MAX) or say("the queue")
    status = text(queue.get("status"))
    if status in {"INVALID", "DELETING", "DELETED"}:
        reason = plain(text(queue.get("statusReason")), _REASON_MAX)
        told = say(": {reason}", reason=reason) if reason else ""
        return Clue(
            code="queue-invalid",
            evidence=say("{shown} is {status}{told}", shown=shown, status=status, told=told),
        )
    orders = [queue.get("serviceEnvironmentOrder")]
    # A queue of service jobs has an empty list of compute environments.
    if not is_for_service_jobs(queue):
        orders.append(queue.get("computeEnvironmentOrder"))
    if any(isinstance(each, list | tuple) for each in orders) and not any(map(items, orders)):
        return Clue(
            code="queue-invalid", evidence=say("{shown} has no environment attached", shown=shown)
        )
    return None


# ---- Reading ------------------------------------------------------------------------------


def _named(queue: Mapping[Any, Any]) -> Iterable[tuple[str, str]]:
    """Yield each attached environment: its kind, and its name or ARN as the queue gives it."""
    for key in ("computeEnvironment", "serviceEnvironment"):
        for each in map(mapping, items(queue.get(f"{key}Order"))):
            if name := text(each.get(key)):
                yield key, name


def _names(detail: Mapping[Any, Any]) -> set[str]:
    return {_name(detail), text(detail.get(_arn(detail)))} - {""}


def _arn(detail: Mapping[Any, Any]) -> str:
    service = "serviceEnvironmentArn" in detail or "serviceEnvironmentName" in detail
    return "serviceEnvironmentArn" if service else "computeEnvironmentArn"


def _name(detail: Mapping[Any, Any]) -> str:
    arn = _arn(detail)
    name = text(detail.get(arn.removesuffix("Arn") + "Name"))
    return name or resource_name(text(detail.get(arn)))


def _environment(
    detail: Mapping[Any, Any], world: BatchSnapshot, *, known: bool = True
) -> Environment:
    resources = mapping(detail.get("computeResources"))
    kind = text(resources.get("type"))
    managed = text(detail.get("type")) != "UNMANAGED"
    asked = mapping(world.container_instances)
    cluster = text(detail.get("ecsClusterArn"))
    instances = items(asked[cluster]) if cluster and cluster in asked else None
    platform = _platform(detail, kind, managed=managed) if known else ""
    types = texts(resources.get("instanceTypes")) if platform in WITH_TYPES else ()
    return Environment(
        shown=plain(_name(detail), NAME_MAX) or say("an environment"),
        known=known,
        state=plain(text(detail.get("state")), NAME_MAX),
        status=plain(text(detail.get("status")), NAME_MAX),
        reason=plain(text(detail.get("statusReason")), _REASON_MAX),
        platform=platform,
        managed=managed,
        spot=kind in {"SPOT", "FARGATE_SPOT"},
        best_fit=text(resources.get("allocationStrategy")) == "BEST_FIT" and kind == "EC2",
        limits=_limits(detail, resources),
        kept=number(resources.get("minvCpus")) or 0,
        desired=number(resources.get("desiredvCpus")),
        sizes=sizes(types, mapping(world.instance_types), registered(instances or ())),
        instances=instances,
    )


def _platform(detail: Mapping[Any, Any], kind: str, *, managed: bool) -> str:
    if _arn(detail) == "serviceEnvironmentArn":
        return "SERVICE"
    if detail.get("containerOrchestrationType") == "EKS" or mapping(detail.get("eksConfiguration")):
        return "EKS"
    if kind in {"FARGATE", "FARGATE_SPOT"}:
        return "FARGATE"
    if kind == "ECS_MANAGED_INSTANCES":
        return "MANAGED_INSTANCES"
    return "EC2" if kind in {"EC2", "SPOT"} or not managed else ""


def _limits(detail: Mapping[Any, Any], resources: Mapping[Any, Any]) -> Mapping[str, float]:
    most = {"vcpu": number(resources.get("maxvCpus"))} | {
        unit_of(text(each.get("capacityUnit"))): number(each.get("maxCapacity"))
        for each in map(mapping, items(detail.get("capacityLimits")))
    }
    return {unit: limit for unit, limit in most.items() if limit is not None}


# ---- Judging ------------------------------------------------------------------------------


def _verdict(environment: Environment, needs: Needs) -> EnvironmentVerdict:
    return EnvironmentVerdict(
        environment=environment,
        broken=_broken(environment),
        misfits=tuple(misfits(environment, needs)),
        tight=tight(environment, needs),
    )


def _broken(environment: Environment) -> Clue | None:
    """CREATING and UPDATING do not count: such an environment takes jobs, or soon will."""
    told = say(": {reason}", reason=environment.reason) if environment.reason else ""
    if environment.status == "INVALID":
        return Clue(
            code="compute-environment-invalid",
            evidence=say("{shown} is INVALID{told}", shown=environment.shown, told=told),
        )
    # Batch deletes only environments that were disabled before.
    if environment.status in {"DELETING", "DELETED"} or environment.state == "DISABLED":
        gone = environment.status if environment.status.startswith("DELET") else environment.state
        return Clue(
            code="compute-environment-disabled",
            evidence=say("{shown} is {gone}", shown=environment.shown, gone=gone),
        )
    return None
