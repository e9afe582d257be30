"""
Finish what `sam build` has built: drop what no function uses from the layer, and compile it.

boto3 brings the models of all AWS services, and the watchdog calls a few. Lambda imports compiled
modules in less than half the time, and cannot write them itself: /opt is read-only there.
"""

import ast
import compileall
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from py_compile import PycInvalidationMode

from local.commands.deploy import BUILT_FOR

_LAYER = Path(".aws-sam/build/WatchdogLayer/python")


def main(arguments: Sequence[str]) -> int:
    """Finish the layer in this folder; the built one, if none is given."""
    layer = Path(arguments[0]) if arguments else _LAYER
    if not (layer / "batch_watchdog").is_dir():
        print(f"{layer} is no built layer: run `make build`", file=sys.stderr)
        return 2
    finish(layer)
    if not arguments:
        # What is built for one architecture must not be deployed for the other.
        BUILT_FOR.write_text(os.environ.get("ARCHITECTURE") or "arm64", encoding="utf-8")
    return 0


def finish(layer: Path) -> None:
    """
    Drop the models of services that have no client, and compile all modules.

    Compiled modules are not compared with their sources: in a layer, these do not change.
    """
    used = set(clients_of(layer / "batch_watchdog"))
    for service in (layer / "botocore/data").iterdir():
        if service.is_dir() and service.name not in used:
            shutil.rmtree(service)
    mode = PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(layer, quiet=1, invalidation_mode=mode, workers=0):
        raise SystemExit(f"{layer}: not all modules could be compiled")


def clients_of(package: Path) -> Iterator[str]:
    """The services for which the package makes clients, by boto3's names."""
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="client" | "_client"),
                    args=[ast.Constant(value=str(service)), *_],
                ):
                    yield service
