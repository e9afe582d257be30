"""
Read what a job asks for, in any of the shapes in which Batch describes jobs.

Every kind of job is covered: one container, several, a pod, several nodes, a service job. So are
amounts under `resourceRequirements` and, from older definitions, `vcpus` and `memory`.
https://docs.aws.amazon.com/batch/latest/APIReference/API_JobDetail.html
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from batch_watchdog.diagnosis.lenient import items, mapping, number, text, texts

# Where a job can run. "ECS" is any of the first three: the job does not say which.
type Platform = Literal["EC2", "FARGATE", "MANAGED_INSTANCES", "ECS", "EKS", "SERVICE", ""]

_NODES_MAX = 1_000  # https://docs.aws.amazon.com/batch/latest/APIReference/API_NodeProperties.html


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one instance must have free, and how many such instances. 0 is "not said"."""

    vcpus: float
    memory_mib: float
    gpus: float
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    platform: Platform
    multi_node: bool
    asks: tuple[Ask, ...]
    total: Mapping[str, float]  # of the whole job, by capacity unit: {"vcpu": 8}


def unit_of(name: str) -> str:
    """A capacity unit under one name: AWS writes "VCPU", "vCPU" and, for EKS, "cpu"."""
    return "vcpu" if name.lower() in {"vcpu", "cpu"} else name


def is_service_job(job: Mapping[Any, Any]) -> bool:
    return bool(text(job.get("serviceJobType"))) or ":service-job/" in text(job.get("jobArn"))


def needs_of(job: Mapping[Any, Any]) -> Needs:
    """Return what a job of DescribeJobs, DescribeServiceJob or an event asks for. Never raises."""
    if is_service_job(job):
        usage = (mapping(each) for each in items(job.get("capacityUsage")))
        total = {
            unit_of(text(each.get("capacityUnit"))): number(each.get("quantity")) or 0
            for each in usage
        }
        return Needs(platform="SERVICE", multi_node=False, asks=(), total=total)

    nodes = mapping(job.get("nodeProperties"))
    asks = tuple(_node_asks(nodes)) if nodes else (_ask(job),)
    return Needs(
        platform=_platform(job),
        multi_node=bool(nodes),
        asks=asks,
        total={"vcpu": sum(ask.vcpus * ask.nodes for ask in asks)},
    )


def _platform(job: Mapping[Any, Any]) -> Platform:
    ranges = items(mapping(job.get("nodeProperties")).get("nodeRangeProperties"))
    parts = [job, *(mapping(each) for each in ranges)]
    if any(mapping(part.get("eksProperties")) for part in parts):
        return "EKS"
    capabilities = set(texts(job.get("platformCapabilities")))
    if capabilities == {"FARGATE"}:
        return "FARGATE"
    if capabilities == {"MANAGED_INSTANCES"}:
        return "MANAGED_INSTANCES"
    # Without EKS, multi-node jobs run on EC2 only.
    if capabilities == {"EC2"} or mapping(job.get("nodeProperties")):
        return "EC2"
    says = mapping(job.get("container")) or mapping(job.get("ecsProperties"))
    return "ECS" if says or capabilities else ""


def _ask(part: Mapping[Any, Any], nodes: int = 1) -> Ask:
    """Add up the needs of the containers of one task or pod: they run at the same time."""
    pod = mapping(mapping(part.get("eksProperties")).get("podProperties"))
    if pod:
        # Init containers run before the others, one by one.
        running = _sum(_of_pod_container(each) for each in items(pod.get("containers")))
        first = [_of_pod_container(each) for each in items(pod.get("initContainers"))]
        vcpus, memory, gpus = (max(amounts) for amounts in zip(running, *first, strict=True))
    else:
        tasks = items(mapping(part.get("ecsProperties")).get("taskProperties"))
        containers = [each for task in tasks for each in items(mapping(task).get("containers"))]
        vcpus, memory, gpus = _sum(map(_of_container, containers or [part.get("container")]))
    return Ask(vcpus=vcpus, memory_mib=memory, gpus=gpus, nodes=nodes)


def _node_asks(properties: Mapping[Any, Any]) -> Iterable[Ask]:
    count = min(int(number(properties.get("numNodes")) or 0), _NODES_MAX)
    ranges = [mapping(each) for each in items(properties.get("nodeRangeProperties"))][:_NODES_MAX]
    spans = [_span(text(each.get("targetNodes")), count) for each in ranges]
    # A nested range overrides the one around it: each node belongs to the narrowest.
    owners = [
        min(
            (index for index, span in enumerate(spans) if node in span),
            key=lambda index: len(spans[index]),
            default=-1,
        )
        for node in range(count)
    ]
    for index, each in enumerate(ranges):
        if owned := owners.count(index):
            yield _ask(each, owned)


def _span(target: str, count: int) -> range:
    """The nodes of "0:3" (both ends count), ":3", "4:" or "5"."""
    found = re.fullmatch(r"([0-9]{0,6})(:?)([0-9]{0,6})", target)
    if not found or not target.strip(":"):
        return range(count)
    first, colon, last = found.groups()
    start = int(first or 0)
    end = int(last) if last else count - 1 if colon else start
    return range(start, min(end, count - 1) + 1)


def _sum(amounts: Iterable[tuple[float, float, float]]) -> tuple[float, float, float]:
    vcpus = memory = gpus = 0.0
    for each in amounts:
        vcpus, memory, gpus = vcpus + each[0], memory + each[1], gpus + each[2]
    return vcpus, memory, gpus


def _of_container(value: Any) -> tuple[float, float, float]:
    container = mapping(value)
    required = {
        text(mapping(each).get("type")): number(mapping(each).get("value"))
        for each in items(container.get("resourceRequirements"))
    }
    vcpus = required.get("VCPU") or number(container.get("vcpus")) or 0
    memory = required.get("MEMORY") or number(container.get("memory")) or 0
    return vcpus, memory, required.get("GPU") or 0


def _of_pod_container(value: Any) -> tuple[float, float, float]:
    # Batch scales by `requests`; where they are missing it copies the limits. It accepts
    # memory in MiB and whole or quarter vCPUs; other amounts are read as Kubernetes reads them.
    # https://docs.aws.amazon.com/batch/latest/userguide/memory-cpu-batch-eks.html
    resources = mapping(mapping(value).get("resources"))
    asked = {**mapping(resources.get("limits")), **mapping(resources.get("requests"))}
    memory = _quantity(asked.get("memory"), whole=2**20)
    return _quantity(asked.get("cpu")), memory, number(asked.get("nvidia.com/gpu")) or 0


_SUFFIXES = {"m": 0.001, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SUFFIXES |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def _quantity(value: Any, whole: int = 1) -> float:
    """An amount as Kubernetes writes it ("2048Mi", "0.25", "250m"), in units of `whole`."""
    found = re.fullmatch(r"([0-9.]{1,30})([A-Za-z]{0,2})", str(value).strip())
    if found is None or found[2] not in _SUFFIXES:
        return 0
    return (number(found[1]) or 0) * _SUFFIXES[found[2]] / whole
