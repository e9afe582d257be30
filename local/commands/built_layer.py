"""What is in a built layer: for which processor its libraries are, and what nothing in it reads."""

import struct
from collections.abc import Iterator
from pathlib import Path

# e_machine of an ELF file's header (elf.h), by AWS's name for the processor.
_MACHINES = {62: "x86_64", 183: "arm64"}
_MAGIC = b"\x7fELF"
_MACHINE_AT = 18

# Only pydantic looks at them, for plugins that the layer does not have.
_FOR_TOOLS = ("*.dist-info", "*.data", "*.egg-info", "requirements*", "bin")
_TESTS = ("test", "tests", "testing.py", "test_*.py")


# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_SIZE_MAX = 250_000_000  # bytes, of a function with its layers


class LayerError(Exception):
    """The layer is not as it must be. As text it says what is wrong."""


def processor_of(layer: Path) -> str:
    """
    The processor for which all libraries of the layer are, as AWS calls it.

    Raises:
        LayerError: it has none, or they are for several, or for one that Lambda does not have.
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
    See that Lambda takes it.

    Raises:
        LayerError: it is too large.
    """
    size = sum(path.stat().st_size for path in layer.rglob("*") if path.is_file())
    if size > _SIZE_MAX:
        raise LayerError(f"it has {size} bytes, and {_SIZE_MAX} are allowed with the function")


def _machine(path: Path) -> int | None:
    """For which machine a compiled file is; None for all other files."""
    with path.open("rb") as file:
        header = file.read(_MACHINE_AT + 2)
    if len(header) < _MACHINE_AT + 2 or not header.startswith(_MAGIC):
        return None
    (machine,) = struct.unpack_from("<H", header, _MACHINE_AT)
    return int(machine)


def leftovers(layer: Path) -> Iterator[Path]:
    """What no function reads: what tools have left at the top, and tests of libraries."""
    for pattern in _FOR_TOOLS:
        yield from layer.glob(pattern)
    for pattern in _TESTS:
        yield from layer.rglob(pattern)
