"""Checks of a built layer: its libraries' processor, its size, and the files that nobody reads."""

import struct
from collections.abc import Iterator
from pathlib import Path

# AWS's names of processors, by e_machine in the header of an ELF file (elf.h).
_MACHINES = {62: "x86_64", 183: "arm64"}
_MAGIC = b"\x7fELF"
_MACHINE_AT = 18

# Of the layer's code, only pydantic reads such files, to find plugins. The layer has no plugins.
_FOR_TOOLS = ("*.dist-info", "*.data", "*.egg-info", "requirements*", "bin")
_TESTS = ("test", "tests", "testing.py", "test_*.py")


# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_SIZE_MAX = 250_000_000  # bytes; Lambda's limit for a function and its layers together


class LayerError(Exception):
    """The layer cannot be used. The message says what is wrong with it."""


def processor_of(layer: Path) -> str:
    """
    Return AWS's name of the processor for which all libraries of the layer were compiled.

    Raises:
        LayerError: the layer has no library, or has libraries for several processors, or for one
            that Lambda does not have.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(layer.rglob("*")):
        if path.is_file() and (machine := _machine(path)) is not None:
            name = _MACHINES.get(machine, f"machine {machine}")
            found.setdefault(name, []).append(str(path.relative_to(layer)))
    if set(found) <= set(_MACHINES.values()) and len(found) == 1:
        return next(iter(found))
    if not found:
        raise LayerError("it has no compiled library, not even pydantic's")
    names = "; ".join(f"{name}: {', '.join(paths)}" for name, paths in sorted(found.items()))
    raise LayerError(f"its libraries are not for one processor of Lambda: {names}")


def check_size(layer: Path) -> None:
    """
    Check that the layer is not too large for Lambda.

    Raises:
        LayerError: it is too large.
    """
    size = sum(path.stat().st_size for path in layer.rglob("*") if path.is_file())
    if size > _SIZE_MAX:
        raise LayerError(f"it has {size} bytes, and {_SIZE_MAX} are allowed with the function")


def _machine(path: Path) -> int | None:
    """Return the machine (e_machine) of a compiled file; None for all other files."""
    with path.open("rb") as file:
        header = file.read(_MACHINE_AT + 2)
    if len(header) < _MACHINE_AT + 2 or not header.startswith(_MAGIC):
        return None
    (machine,) = struct.unpack_from("<H", header, _MACHINE_AT)
    return int(machine)


def leftovers(layer: Path) -> Iterator[Path]:
    """Yield what no function reads: files of tools at the layer's top, and libraries' tests."""
    for pattern in _FOR_TOOLS:
        yield from layer.glob(pattern)
    for pattern in _TESTS:
        yield from layer.rglob(pattern)
