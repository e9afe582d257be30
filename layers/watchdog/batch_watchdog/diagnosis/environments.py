"""
The compute environments of a job's queue, and whether they can take the job at all.

Only what is certain counts against an environment: a size, a state or a platform that is not
known is no obstacle.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch_watchdog.core.job_event import resource_name
from batch_watchdog.diagnosis.findings import GUIDE, Clue
from batch_watchdog.diagnosis.instance_types import Size, offers, registered, sizes
from batch_watchdog.diagnosis.lenient import items, mapping, number, text, texts
from batch_watchdog.diagnosis.needs import Ask, Needs, unit_of
from batch_watchdog.notices.text import plain

_TYPES_SHOWN = 3
_NEAREST_SHOWN = 2
_NAME_MAX = 80
_REASON_MAX = 160
# The most memory, in MiB, that Fargate gives to so many vCPUs.
# https://docs.aws.amazon.com/batch/latest/APIReference/API_ResourceRequirement.html
_FARGATE_MIB = {
    0.25: 2_048,
    0.5: 4_096,
    1: 8_192,
    2: 16_384,
    4: 30_720,
    8: 61_440,
    16: 122_880,
    32: 249_856,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSnapshot:
    """
    What AWS said, in the shapes of its API. What could not be asked stays None or empty.

    Any field in them may be missing or odd: that is read as "not said".
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    shown: str  # the name, harmless
    known: bool  # False: the queue names it, and that is all
    state: str
    status: str
    reason: str  # harmless
    platform: str  # "EC2", "FARGATE", "MANAGED_INSTANCES", "EKS", "SERVICE"; "" is not known
    managed: bool
    spot: bool
    best_fit: bool  # with On-Demand Instances: then maxvCpus is never exceeded
    limits: Mapping[str, float]  # the most it may hold, by capacity unit
    kept: float  # vCPUs that it keeps running, whether or not jobs need them
    desired: float | None  # vCPUs
    sizes: tuple[Size, ...]
    instances: Sequence[Any] | None  # None: not asked


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentVerdict:
    """What one environment means for one job."""

    environment: Environment
    broken: Clue | None  # it takes no job at all
    misfits: tuple[Clue, ...]  # it can never take this one
    tight: Clue | None  # it takes this one only if the system keeps very little memory
    fits: bool  # its numbers are known, and it can take this one for certain

    @property
    def usable(self) -> bool:
        return not self.broken and not self.misfits


def verdicts(world: BatchSnapshot, needs: Needs) -> list[EnvironmentVerdict]:
    """
    One for each environment that the queue names; for all given ones where it names none.

    One that is named and not given may be able to take the job: nothing is known against it.
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
    """A DISABLED queue is none: it takes no new jobs, and runs those that it has."""
    shown = plain(text(queue.get("jobQueueName")), _NAME_MAX) or "the queue"
    status = text(queue.get("status"))
    if status in {"INVALID", "DELETING", "DELETED"}:
        reason = plain(text(queue.get("statusReason")), _REASON_MAX)
        told = f": {reason}" if reason else ""
        return Clue(code="queue-invalid", evidence=f"{shown} is {status}{told}")
    orders = [queue.get(each) for each in ("computeEnvironmentOrder", "serviceEnvironmentOrder")]
    if any(isinstance(each, list | tuple) for each in orders) and not any(map(items, orders)):
        return Clue(code="queue-invalid", evidence=f"{shown} has no environment attached")
    return None


def amount(quantity: float, unit: str = "vcpu") -> str:
    """ "1 vCPU", "16,384 MiB", "3 instances": a quantity of a capacity unit, for people."""
    count = f"{quantity:,.12g}"
    match unit:
        case "vcpu":
            return f"{count} vCPU" if quantity == 1 else f"{count} vCPUs"
        case "gpu":
            return f"{count} GPU" if quantity == 1 else f"{count} GPUs"
        case "NUM_INSTANCES":
            return f"{count} instance" if quantity == 1 else f"{count} instances"
        case _:
            return f"{count} {plain(unit, _NAME_MAX)}"


def wish(ask: Ask) -> str:
    """What a job asks for on one instance, for people; "" where it does not say."""
    parts = ((ask.vcpus, "vcpu"), (ask.memory_mib, "MiB"), (ask.gpus, "gpu"))
    return ", ".join(amount(quantity, unit) for quantity, unit in parts if quantity)


# ---- Reading ------------------------------------------------------------------------------


def _named(queue: Mapping[Any, Any]) -> Iterable[tuple[str, str]]:
    """Each attached environment: its kind, and its name or ARN as it stands there."""
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
    types = texts(resources.get("instanceTypes")) if platform in _WITH_TYPES else ()
    return Environment(
        shown=plain(_name(detail), _NAME_MAX) or "an environment",
        known=known,
        state=plain(text(detail.get("state")), _NAME_MAX),
        status=plain(text(detail.get("status")), _NAME_MAX),
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


_WITH_TYPES = ("EC2", "EKS")


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
        misfits=tuple(_misfits(environment, needs)),
        tight=_tight(environment, needs),
        fits=_fits(environment, needs),
    )


def _broken(environment: Environment) -> Clue | None:
    """One that is CREATING or UPDATING is not: it takes jobs, or soon will."""
    told = f": {environment.reason}" if environment.reason else ""
    if environment.status == "INVALID":
        return Clue(
            code="compute-environment-invalid", evidence=f"{environment.shown} is INVALID{told}"
        )
    # Batch deletes only what was disabled before.
    if environment.status in {"DELETING", "DELETED"} or environment.state == "DISABLED":
        gone = environment.status if environment.status.startswith("DELET") else environment.state
        return Clue(code="compute-environment-disabled", evidence=f"{environment.shown} is {gone}")
    return None


def _misfits(environment: Environment, needs: Needs) -> Iterable[Clue]:
    mismatch = _mismatch(environment, needs)
    if mismatch:
        yield mismatch  # Its sizes then mean nothing to the job.
        return
    if beyond := _beyond_maximum(environment, needs):
        yield beyond
    for ask in needs.asks:
        beyond = (
            _beyond_fargate(environment, ask)
            if environment.platform == "FARGATE"
            else _without_gpu(environment, ask)
            or _beyond_sizes(environment, ask)
            or _beyond_running(environment, ask)
        )
        if beyond:
            yield beyond


def _mismatch(environment: Environment, needs: Needs) -> Clue | None:
    if needs.multi_node and (environment.spot or not environment.managed):
        kind = "Spot" if environment.spot else "UNMANAGED"
        return Clue(
            code="platform-mismatch",
            evidence=f"{environment.shown} is {kind}, where multi-node jobs do not run",
            remedy="Submit the job to a queue with a managed On-Demand EC2 environment.",
            page=f"{GUIDE}mnp-ce.html",
        )
    known = needs.platform and environment.platform
    if not known or environment.platform in _RUNS_ON.get(needs.platform, {needs.platform}):
        return None
    return Clue(
        code="platform-mismatch",
        evidence=f"the job is made for {needs.platform},"
        f" {environment.shown} is {environment.platform}",
    )


_RUNS_ON: Mapping[str, set[str]] = {"ECS": {"EC2", "FARGATE", "MANAGED_INSTANCES"}}


def _beyond_maximum(environment: Environment, needs: Needs) -> Clue | None:
    for unit, wanted in needs.total.items():
        most = environment.limits.get(unit)
        if most is not None and wanted > most:
            nodes = sum(ask.nodes for ask in needs.asks)
            across = f" on {nodes} nodes" if needs.multi_node else ""
            return Clue(
                code="exceeds-max-vcpus",
                evidence=f"the job needs {amount(wanted, unit)}{across},"
                f" {environment.shown} may have {amount(most, unit)} at most",
            )
    return _beyond_best_fit(environment)


def _beyond_best_fit(environment: Environment) -> Clue | None:
    """With BEST_FIT and On-Demand Instances alone, Batch never goes beyond the maximum."""
    known = [size.vcpus or 0 for size in environment.sizes if not size.from_name]
    smallest, most = min(known, default=0), environment.limits.get("vcpu")
    if (
        not environment.best_fit
        or len(known) < len(environment.sizes)
        or most is None
        or smallest <= most
    ):
        return None
    return Clue(
        code="exceeds-max-vcpus",
        evidence=f"the smallest instance type that {environment.shown} allows has"
        f" {amount(smallest)}, the environment may have {amount(most)} at most",
    )


def _beyond_fargate(environment: Environment, ask: Ask) -> Clue | None:
    if ask.gpus:
        return Clue(
            code="no-gpu-instances",
            evidence=f"the job asks for {amount(ask.gpus, 'gpu')}, {environment.shown} is Fargate,"
            " which has none",
        )
    vcpus = ask.vcpus if ask.vcpus in _FARGATE_MIB else max(_FARGATE_MIB)
    if ask.vcpus <= vcpus and ask.memory_mib <= _FARGATE_MIB[vcpus]:
        return None
    return Clue(
        code="exceeds-instance-size",
        evidence=f"the job asks for {wish(ask)}; Fargate ({environment.shown}) gives at most"
        f" {amount(vcpus)} with {amount(_FARGATE_MIB[vcpus], 'MiB')}",
        remedy="Submit the job to a queue with an EC2 environment, or with less.",
    )


def _without_gpu(environment: Environment, ask: Ask) -> Clue | None:
    offered = environment.sizes
    if not ask.gpus or not offered or any(size.gpus != 0 for size in offered):
        return None
    names = [plain(size.name, _NAME_MAX) for size in offered[:_TYPES_SHOWN]]
    return Clue(
        code="no-gpu-instances",
        evidence=f"the job asks for {amount(ask.gpus, 'gpu')}, {environment.shown} allows only"
        f" instance types without: {', '.join(names)}{_more(offered, _TYPES_SHOWN)}",
    )


def _beyond_sizes(environment: Environment, ask: Ask) -> Clue | None:
    offered = environment.sizes
    if not offered or any(_takes(environment, size, ask) is not False for size in offered):
        return None
    return Clue(
        code="exceeds-instance-size",
        evidence=f"the job asks for {wish(ask)} on one instance; {environment.shown} has at most"
        f" {_most(offered, ask)}",
    )


def _beyond_running(environment: Environment, ask: Ask) -> Clue | None:
    """
    Instances that run already are kept, none fits, and the maximum leaves no room for others.

    Only where the minimum keeps them: else they go when they are idle, and one that fits comes.
    """
    most, running = environment.limits.get("vcpu"), offers(environment.instances or ())
    if (
        environment.platform != "EC2"
        or most is None
        or not running
        or environment.kept + max(ask.vcpus, 1) <= most
        or any(offer.takes(ask) for offer in running)
    ):
        return None
    largest = max(running, key=lambda offer: (offer.memory_mib, offer.vcpus))
    return Clue(
        code="exceeds-instance-size",
        evidence=f"the job asks for {wish(ask)} on one instance; of the instances that"
        f" {environment.shown} keeps running, the largest offers {amount(largest.vcpus)},"
        f" {amount(largest.memory_mib, 'MiB')} for containers, and with a minimum of"
        f" {amount(environment.kept)} and a maximum of {amount(most)} no other is started",
        remedy="Raise the environment's maximum (maxvCpus) or lower its minimum (minvCpus), so that"
        " a larger instance can start, or submit the job with less.",
    )


def _takes(environment: Environment, size: Size, ask: Ask) -> bool | None:
    # On EKS the node's own pods need some of its vCPUs.
    # https://docs.aws.amazon.com/batch/latest/userguide/memory-cpu-batch-eks.html
    all_vcpus = environment.platform == "EKS" and ask.vcpus == size.vcpus
    return None if all_vcpus and size.takes(ask) else size.takes(ask)


def _tight(environment: Environment, needs: Needs) -> Clue | None:
    for ask in needs.asks:
        taken = [(size, _takes(environment, size, ask)) for size in environment.sizes]
        perhaps = tuple(size for size, takes in taken if takes is None)
        if perhaps and not any(takes for _, takes in taken):
            return Clue(
                code="exceeds-instance-size",
                evidence=f"the job asks for {wish(ask)} on one instance; {environment.shown} has"
                f" at most {_most(perhaps, ask)}, of which the system and its agents keep some"
                " (AWS recommends to leave them 5 % of the memory)",
            )
    return None


def _fits(environment: Environment, needs: Needs) -> bool:
    known = [size for size in environment.sizes if not size.from_name]
    return bool(needs.asks) and all(
        any(_takes(environment, size, ask) for size in known) for ask in needs.asks
    )


def _most(offered: Sequence[Size], ask: Ask) -> str:
    """The instance types that come nearest to what is asked, with their numbers."""

    def nearness(size: Size) -> tuple[int, float, float]:
        lacking = (
            size.gpus is not None and size.gpus < ask.gpus,
            size.vcpus is not None and size.vcpus < ask.vcpus,
            size.takes_memory(ask.memory_mib) is not True,
        )
        return -sum(lacking), size.vcpus or 0, size.memory_mib or 0

    best = sorted(offered, key=nearness, reverse=True)[:_NEAREST_SHOWN]
    shown = " or ".join(_figures(size, ask) for size in best)
    return f"{shown}{_more(offered, _NEAREST_SHOWN)}"


def _figures(size: Size, ask: Ask) -> str:
    bound = "at most " if size.family else ""
    figures = [f"{bound}{amount(size.vcpus)}"] if size.vcpus is not None else []
    if size.registered_mib is not None:
        figures.append(f"{amount(size.registered_mib, 'MiB')} for containers")
    elif size.memory_mib is not None:
        figures.append(amount(size.memory_mib, "MiB"))
    if ask.gpus and size.gpus is not None:
        figures.append(amount(size.gpus, "gpu"))
    name = plain(size.name, _NAME_MAX)
    source = ", by its name" if size.from_name else ""
    return f"{f'the largest {name}' if size.family else name} ({', '.join(figures)}{source})"


def _more(offered: Sequence[Size], shown: int) -> str:
    left = len(offered) - shown
    return f" and {left} more" if left > 0 else ""
