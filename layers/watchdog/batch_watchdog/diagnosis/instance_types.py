"""
How much a container can get on the instance types that a compute environment may start.

The figures are those of EC2's DescribeInstanceTypes where these are available. Otherwise they are
read from the name, and are upper bounds: a job that asks for more cannot fit, and a job that asks
for less may.
https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batch_watchdog.diagnosis.lenient import items, mapping, number, text
from batch_watchdog.diagnosis.needs import Ask

# The families behind Batch's own choices.
# https://docs.aws.amazon.com/batch/latest/APIReference/API_ComputeResource.html
_X86 = ("m6i", "c6i", "r6i", "c7i")
_BUNDLES = {
    "optimal": _X86,
    "default_x86_64": _X86,
    "default_arm64": ("m6g", "c6g", "r6g", "c7g"),
}
_CPU_UNITS = 1_024  # of ECS, in a vCPU
_GIB_PER_VCPU = {"c": 2.0, "m": 4.0, "r": 8.0}
_VCPUS_PER_XLARGE = 4
_FIRST_REGULAR = 3  # generation; the sizes of c1, m1 and m2 follow no rule
# The largest size of the families c, m and r, as a multiple of xlarge: by generation, and where
# some families have less, by generation and the letter after it.
_LARGEST = {"3": 16, "4": 16, "5": 24, "6": 48, "7": 48, "8": 96, "9": 96}
_LARGEST |= {"6g": 16, "6i": 32, "7g": 16, "8g": 48, "9g": 48}

# Linux keeps at least 1/64 of the installed memory to describe the pages. AWS recommends to leave
# 5 % to the system and the ECS agent.
# https://docs.aws.amazon.com/batch/latest/userguide/ecs-reserved-memory.html
_AT_MOST_FREE = 63 / 64
_SURELY_FREE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """An instance type, or the largest of a family. None is "not known"."""

    name: str
    vcpus: float | None = None
    memory_mib: float | None = None  # installed
    gpus: float | None = None
    registered_mib: float | None = None  # what an instance of this type offered to containers
    from_name: bool = True  # upper bounds, read from the name
    family: bool = False  # the largest of a family

    def takes(self, ask: Ask) -> bool | None:
        """Whether the job fits, as far as is known; None: it depends on what the system keeps."""
        if self.vcpus is not None and ask.vcpus > self.vcpus:
            return False
        if self.gpus is not None and ask.gpus > self.gpus:
            return False
        return self.takes_memory(ask.memory_mib)

    def tells(self, ask: Ask) -> bool:
        """Whether all the figures are known that the job depends on."""
        figures = (self.vcpus, self.memory_mib, self.gpus if ask.gpus else 0)
        return None not in figures

    def takes_memory(self, asked_mib: float) -> bool | None:
        """Whether that much memory is available; None: it depends on what the system keeps."""
        if self.registered_mib is not None:
            return asked_mib <= self.registered_mib
        if self.memory_mib is None or asked_mib <= self.memory_mib * _SURELY_FREE:
            return True
        return False if asked_mib > self.memory_mib * _AT_MOST_FREE else None


def patterns(allowed: Iterable[str]) -> tuple[str, ...]:
    """
    Return the values of the filter `instance-type` of DescribeInstanceTypes.

    Types stay as they are. Families, and those behind Batch's own choices, become "c5.*".
    """
    wanted = (part for each in allowed for part in _BUNDLES.get(each, (each,)))
    return tuple(dict.fromkeys(each if "." in each else f"{each}.*" for each in wanted))


def sizes(
    allowed: Sequence[str],
    described: Mapping[str, Any],
    registered_mib: Mapping[str, float],
) -> tuple[Size, ...]:
    """
    Return the sizes of the allowed instance types, families and Batch's own choices.

    `described`: InstanceTypeInfo by name. `registered_mib`: by instance type, the memory that an
    instance of it registered.
    """
    found: dict[str, Size] = {}
    for each in (part for name in allowed for part in _BUNDLES.get(name, (name,))):
        known = [
            name
            for name in described
            if isinstance(name, str) and (name == each or name.startswith(f"{each}."))
        ]
        for name in known:
            found[name] = _described(name, mapping(described[name]))
        if not known:
            found[each] = _by_name(each)
    return tuple(
        replace(size, registered_mib=registered_mib.get(name)) for name, size in found.items()
    )


def _described(name: str, info: Mapping[Any, Any]) -> Size:
    gpus = [
        number(mapping(each).get("Count"))
        for each in items(mapping(info.get("GpuInfo")).get("Gpus"))
    ]
    return Size(
        name=name,
        vcpus=number(mapping(info.get("VCpuInfo")).get("DefaultVCpus")),
        memory_mib=number(mapping(info.get("MemoryInfo")).get("SizeInMiB")),
        gpus=sum(each or 0 for each in gpus),
        from_name=False,
    )


def _by_name(name: str) -> Size:
    family, _, size = name.partition(".")
    found = re.fullmatch(r"([a-z]+)([0-9]{1,2})([a-z0-9-]*)", family)
    if not found:
        return Size(name=name)
    letters, generation, options = found[1], int(found[2]), found[3]
    # The number of GPUs cannot be read from the name of a family that has them.
    gpus = None if letters in {"g", "gr", "p"} else 0.0
    xlarges = _xlarges(size) if size else _largest(letters, generation, options)
    if xlarges is None or generation < _FIRST_REGULAR:
        return Size(name=name, gpus=gpus, family=not size)
    vcpus = xlarges * _VCPUS_PER_XLARGE
    # c5n has more memory than its letter implies.
    ratio = None if family == "c5n" else _GIB_PER_VCPU.get(letters)
    return Size(
        name=name,
        # The 8xlarge of these two has 36 vCPUs.
        vcpus=36.0 if name in {"c4.8xlarge", "d2.8xlarge"} else vcpus,
        memory_mib=None if ratio is None else vcpus * ratio * 1024,
        gpus=gpus,
        family=not size,
    )


def _xlarges(size: str) -> float | None:
    if size == "large":
        return 0.5
    found = re.fullmatch(r"([0-9]{0,3})xlarge", size)
    return float(found[1] or 1) if found else None


def _largest(letters: str, generation: int, options: str) -> float | None:
    """The largest size of a family as a multiple of xlarge, for the families that we know."""
    if letters not in _GIB_PER_VCPU:
        return None
    return _LARGEST.get(f"{generation}{options[:1]}", _LARGEST.get(f"{generation}"))


def registered(instances: Iterable[Any]) -> dict[str, float]:
    """By instance type, the most memory that an ECS container instance registered, in MiB."""
    most: dict[str, float] = {}
    for instance in map(mapping, instances):
        kinds = (
            text(attribute.get("value"))
            for attribute in map(mapping, items(instance.get("attributes")))
            if attribute.get("name") == "ecs.instance-type"
        )
        memory = (
            number(resource.get("integerValue"))
            for resource in map(mapping, items(instance.get("registeredResources")))
            if resource.get("name") == "MEMORY"
        )
        kind, mib = next(kinds, ""), next(memory, None)
        if kind and mib:
            most[kind] = max(mib, most.get(kind, 0))
    return most


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one container instance registered."""

    vcpus: float
    memory_mib: float
    gpus: float

    def takes(self, ask: Ask) -> bool:
        return (
            ask.vcpus <= self.vcpus and ask.memory_mib <= self.memory_mib and ask.gpus <= self.gpus
        )


def offers(instances: Iterable[Any]) -> list[Offer] | None:
    """Return what each ECS container instance registered; None where one lacks CPU or memory."""
    found = []
    for instance in map(mapping, instances):
        resources = [mapping(each) for each in items(instance.get("registeredResources"))]
        amounts = {text(each.get("name")): number(each.get("integerValue")) for each in resources}
        cpu, memory = amounts.get("CPU"), amounts.get("MEMORY")
        if cpu is None or memory is None:
            return None
        gpus = [
            len(items(each.get("stringSetValue")))
            for each in resources
            if each.get("name") == "GPU"
        ]
        found.append(Offer(vcpus=cpu / _CPU_UNITS, memory_mib=memory, gpus=sum(gpus)))
    return found
