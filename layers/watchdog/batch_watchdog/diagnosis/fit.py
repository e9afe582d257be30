"""Whether a compute environment can take a job: platform, maximum, instance sizes, GPUs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batch_watchdog.diagnosis.findings import GUIDE, Clue
from batch_watchdog.diagnosis.instance_types import Size, offers
from batch_watchdog.diagnosis.needs import Ask, Needs
from batch_watchdog.notices.phrases import row, say
from batch_watchdog.notices.text import plain

_TYPES_SHOWN = 3
_NEAREST_SHOWN = 2
NAME_MAX = 80
# The most memory, in MiB, that Fargate gives, by the number of vCPUs.
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
class Environment:
    shown: str  # the name, harmless
    known: bool  # False: the queue names it, and nothing else is known
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


def amount(quantity: float, unit: str = "vcpu") -> str:
    """ "1 vCPU", "16,384 MiB", "3 instances": a quantity of a capacity unit, for people."""
    count = f"{quantity:,.12g}"
    match unit:
        case "vcpu":
            return (
                say("{count} vCPU", count=count)
                if quantity == 1
                else say("{count} vCPUs", count=count)
            )
        case "gpu":
            return (
                say("{count} GPU", count=count)
                if quantity == 1
                else say("{count} GPUs", count=count)
            )
        case "NUM_INSTANCES":
            return (
                say("{count} instance", count=count)
                if quantity == 1
                else say("{count} instances", count=count)
            )
        case _:
            return say("{count} {unit}", count=count, unit=plain(unit, NAME_MAX))


def wish(ask: Ask) -> str:
    """What a job asks for on one instance, for people; "" where it does not say."""
    parts = ((ask.vcpus, "vcpu"), (ask.memory_mib, "MiB"), (ask.gpus, "gpu"))
    return row((amount(quantity, unit) for quantity, unit in parts if quantity), ", ")


WITH_TYPES = ("EC2", "EKS")


def misfits(environment: Environment, needs: Needs) -> Iterable[Clue]:
    mismatch = _mismatch(environment, needs)
    if mismatch:
        yield mismatch  # Its sizes are then irrelevant to the job.
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
            evidence=say(
                "{shown} is {kind}, where multi-node jobs do not run",
                shown=environment.shown,
                kind=kind,
            ),
            remedy=say("Submit the job to a queue with a managed On-Demand EC2 environment."),
            page=f"{GUIDE}mnp-ce.html",
        )
    known = needs.platform and environment.platform
    if not known or environment.platform in _RUNS_ON.get(needs.platform, {needs.platform}):
        return None
    return Clue(
        code="platform-mismatch",
        evidence=say(
            "the job is made for {platform}, {shown} is {other}",
            platform=needs.platform,
            shown=environment.shown,
            other=environment.platform,
        ),
    )


_RUNS_ON: Mapping[str, set[str]] = {"ECS": {"EC2", "FARGATE", "MANAGED_INSTANCES"}}


def _beyond_maximum(environment: Environment, needs: Needs) -> Clue | None:
    for unit, wanted in needs.total.items():
        most = environment.limits.get(unit)
        if most is not None and wanted > most:
            nodes = sum(ask.nodes for ask in needs.asks)
            across = say(" on {nodes} nodes", nodes=nodes) if needs.multi_node else ""
            return Clue(
                code="exceeds-max-vcpus",
                evidence=say(
                    "the job needs {wanted}{across}, {shown} may have {most} at most",
                    wanted=amount(wanted, unit),
                    across=across,
                    shown=environment.shown,
                    most=amount(most, unit),
                ),
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
        evidence=say(
            "the smallest instance type that {shown} allows has {smallest}, the environment may "
            "have {most} at most",
            shown=environment.shown,
            smallest=amount(smallest),
            most=amount(most),
        ),
    )


def _beyond_fargate(environment: Environment, ask: Ask) -> Clue | None:
    if ask.gpus:
        return Clue(
            code="no-gpu-instances",
            evidence=say(
                "the job asks for {gpus}, {shown} is Fargate, which has none",
                gpus=amount(ask.gpus, "gpu"),
                shown=environment.shown,
            ),
        )
    vcpus = ask.vcpus if ask.vcpus in _FARGATE_MIB else max(_FARGATE_MIB)
    if ask.vcpus <= vcpus and ask.memory_mib <= _FARGATE_MIB[vcpus]:
        return None
    return Clue(
        code="exceeds-instance-size",
        evidence=say(
            "the job asks for {wish}; Fargate ({shown}) gives at most {vcpus} with {memory}",
            wish=wish(ask),
            shown=environment.shown,
            vcpus=amount(vcpus),
            memory=amount(_FARGATE_MIB[vcpus], "MiB"),
        ),
        remedy=say("Submit the job to a queue with an EC2 environment, or with less."),
    )


def _without_gpu(environment: Environment, ask: Ask) -> Clue | None:
    offered = environment.sizes
    if not ask.gpus or not offered or any(size.gpus != 0 for size in offered):
        return None
    names = [plain(size.name, NAME_MAX) for size in offered[:_TYPES_SHOWN]]
    return Clue(
        code="no-gpu-instances",
        evidence=say(
            "the job asks for {gpus}, {shown} allows only instance types without: {names}{more}",
            gpus=amount(ask.gpus, "gpu"),
            shown=environment.shown,
            names=row(names, ", "),
            more=_more(offered, _TYPES_SHOWN),
        ),
    )


def _beyond_sizes(environment: Environment, ask: Ask) -> Clue | None:
    offered = environment.sizes
    if not offered or any(_takes(environment, size, ask) is not False for size in offered):
        return None
    return Clue(
        code="exceeds-instance-size",
        evidence=say(
            "the job asks for {wish} on one instance; {shown} has at most {most}",
            wish=wish(ask),
            shown=environment.shown,
            most=_most(offered, ask),
        ),
    )


def _beyond_running(environment: Environment, ask: Ask) -> Clue | None:
    """
    Return a clue if the job fits on no running instance, and the maximum allows no other one.

    This holds only for instances that the minimum keeps: others are removed when they are idle, and
    one that fits can start.
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
        evidence=say(
            "the job asks for {wish} on one instance; of the instances that {shown} keeps "
            "running, the largest offers {vcpus}, {memory_mib} for containers, and with a minimum "
            "of {kept} and a maximum of {most} no other is started",
            wish=wish(ask),
            shown=environment.shown,
            vcpus=amount(largest.vcpus),
            memory_mib=amount(largest.memory_mib, "MiB"),
            kept=amount(environment.kept),
            most=amount(most),
        ),
        remedy=say(
            "Raise the environment's maximum (maxvCpus) or lower its minimum (minvCpus), so that "
            "a larger instance can start, or submit the job with less."
        ),
    )


def _takes(environment: Environment, size: Size, ask: Ask) -> bool | None:
    # On EKS the node's own pods need some of its vCPUs.
    # https://docs.aws.amazon.com/batch/latest/userguide/memory-cpu-batch-eks.html
    all_vcpus = environment.platform == "EKS" and ask.vcpus == size.vcpus
    return None if all_vcpus and size.takes(ask) else size.takes(ask)


def tight(environment: Environment, needs: Needs) -> Clue | None:
    for ask in needs.asks:
        taken = [(size, _takes(environment, size, ask)) for size in environment.sizes]
        perhaps = tuple(size for size, takes in taken if takes is None)
        if perhaps and not any(takes for _, takes in taken):
            return Clue(
                code="exceeds-instance-size",
                evidence=say(
                    "the job asks for {wish} on one instance; {shown} has at most {most}, of "
                    "which the system and its agents keep some (AWS recommends to leave them 5 % "
                    "of the memory)",
                    wish=wish(ask),
                    shown=environment.shown,
                    most=_most(perhaps, ask),
                ),
            )
    return None


def fits(environment: Environment, needs: Needs) -> bool:
    """Whether an allowed instance type of known size takes what the job is known to ask for."""
    return bool(needs.asks) and all(
        ask.vcpus
        and ask.memory_mib
        and any(size.tells(ask) and _takes(environment, size, ask) for size in environment.sizes)
        for ask in needs.asks
    )


def _most(offered: Sequence[Size], ask: Ask) -> str:
    """Return the instance types that come nearest to what is asked, with their numbers."""

    def nearness(size: Size) -> tuple[int, float, float]:
        lacking = (
            size.gpus is not None and size.gpus < ask.gpus,
            size.vcpus is not None and size.vcpus < ask.vcpus,
            size.takes_memory(ask.memory_mib) is not True,
        )
        return -sum(lacking), size.vcpus or 0, size.memory_mib or 0

    best = sorted(offered, key=nearness, reverse=True)[:_NEAREST_SHOWN]
    shown = row((_figures(size, ask) for size in best), " or ")
    return say("{shown}{more}", shown=shown, more=_more(offered, _NEAREST_SHOWN))


def _figures(size: Size, ask: Ask) -> str:
    bound = say("at most ") if size.family else ""
    figures: list[str] = (
        [say("{bound}{vcpus}", bound=bound, vcpus=amount(size.vcpus))]
        if size.vcpus is not None
        else []
    )
    if size.registered_mib is not None:
        figures.append(
            say(
                "{registered_mib} for containers", registered_mib=amount(size.registered_mib, "MiB")
            )
        )
    elif size.memory_mib is not None:
        figures.append(amount(size.memory_mib, "MiB"))
    if ask.gpus and size.gpus is not None:
        figures.append(amount(size.gpus, "gpu"))
    name = plain(size.name, NAME_MAX)
    source = say(", by its name") if size.from_name else ""
    return say(
        "{type} ({figures}{source})",
        type=say("the largest {name}", name=name) if size.family else name,
        figures=row(figures, ", "),
        source=source,
    )


def _more(offered: Sequence[Size], shown: int) -> str:
    left = len(offered) - shown
    return say(" and {left} more", left=left) if left > 0 else ""
