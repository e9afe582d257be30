"""
Finish the output of `sam build`: delete what no function uses from the layer, compile its modules,
and write the processor for which it was built into the template.

boto3 contains the models of all AWS services, and the watchdog calls a few. Lambda imports compiled
modules in less than half the time. It cannot compile them itself, because /opt is read-only there.

The processor is chosen when the stack is built. The built template has no parameter for it, so a
deployment cannot choose another one.
"""

import ast
import compileall
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import yaml
from samtranslator.yaml_helper import yaml_parse

from local.commands.built_layer import LayerError, check_size, leftovers, processor_of

_BUILD = Path(".aws-sam/build")
_PARAMETER = "Architecture"


def main(arguments: Sequence[str]) -> int:
    """Finish the build in a folder; by default, that of `sam build`. Return the exit status."""
    build = Path(arguments[0]) if arguments else _BUILD
    layer = build / "WatchdogLayer/python"
    if not (layer / "batch_watchdog").is_dir():
        print(f"{layer} is no built layer: run `make build`", file=sys.stderr)
        return 2
    try:
        finish(layer)
        check_size(layer)
        settle(build / "template.yaml", processor_of(layer))
    except LayerError as error:
        print(f"{layer}: {error}", file=sys.stderr)
        return 1
    return 0


def finish(layer: Path) -> None:
    """
    Delete models of services that the package does not use, and `leftovers`; compile all modules.

    Python does not compare the compiled modules with their sources, which do not change in a layer.

    Raises:
        LayerError: a module could not be compiled.
    """
    used = set(clients_of(layer / "batch_watchdog"))
    for service in (layer / "botocore/data").iterdir():
        if service.is_dir() and service.name not in used:
            shutil.rmtree(service)
    for path in list(leftovers(layer)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    mode = PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(layer, quiet=1, invalidation_mode=mode, workers=0):
        raise LayerError("not all modules could be compiled")


def clients_of(package: Path) -> Iterator[str]:
    """Yield the services for which the package makes clients, by boto3's names."""
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="client" | "_client"),
                    args=[ast.Constant(value=str(service)), *_],
                ):
                    yield service


def settle(template: Path, processor: str) -> None:
    """
    Replace the parameter Architecture in the built template by the processor.

    Raises:
        LayerError: the template says that the layer was to be built for another processor.
    """
    source = yaml_parse(template.read_text(encoding="utf-8"))
    if _PARAMETER not in source["Parameters"]:
        return  # This was done before.
    metadata = source["Resources"]["WatchdogLayer"].get("Metadata", {})
    # `sam build` leaves here the processor for which it has built.
    asked = metadata.get("BuildArchitecture")
    if isinstance(asked, str) and asked != processor:
        raise LayerError(f"its libraries are for {processor}, and {asked} was asked for")
    del source["Parameters"][_PARAMETER]
    interface = source["Metadata"]["AWS::CloudFormation::Interface"]
    interface["ParameterLabels"].pop(_PARAMETER, None)
    for group in interface["ParameterGroups"]:
        group["Parameters"] = [each for each in group["Parameters"] if each != _PARAMETER]
    text = yaml.safe_dump(_replaced(source, processor), sort_keys=False, allow_unicode=True)
    template.write_text(text, encoding="utf-8")


def _replaced(value: Any, processor: str) -> Any:
    match value:
        case {"Ref": str(name)} if name == _PARAMETER:
            return processor
        case dict():
            return {key: _replaced(each, processor) for key, each in value.items()}
        case list():
            return [_replaced(each, processor) for each in value]
        case _:
            return value
