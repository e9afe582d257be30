"""Reads a replay's second input: a file about queues, environments and snapshots."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batch_watchdog.notices.text import plain
from local.replay.errors import InputError
from local.replay.log_values import parsed
from local.replay.words import named


def read_world(path: Path) -> dict[str, Any]:
    """
    Read `jobQueues`, `computeEnvironments`, `serviceEnvironments` and `snapshots` from a file.

    Raises:
        InputError: it cannot be read, or does not have the shapes of the API's answers.
    """
    try:
        text = path.read_text("utf-8-sig")
        world = parsed(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8, expected a JSON object") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno}), "
            "expected a JSON object"
        ) from error
    except RecursionError as error:
        lines = text.split("\n")
        line = 1 + lines.index(max(lines, key=len))
        raise InputError(f"{path}:{line}: nested too deeply, expected a JSON object") from error
    if not isinstance(world, dict):
        raise InputError(f"{path}:1: {named(world)}, expected a JSON object")
    for key, names in (
        ("jobQueues", ("jobQueueName", "jobQueueArn")),
        ("computeEnvironments", ("computeEnvironmentName", "computeEnvironmentArn")),
        ("serviceEnvironments", ("serviceEnvironmentName", "serviceEnvironmentArn")),
        ("snapshots", ()),
    ):
        if (problem := _problem_of_world(key, world.get(key, []), names)) is not None:
            line = text.count("\n", 0, max(0, text.find(f'"{key}"'))) + 1
            raise InputError(f"{path}:{line}: {problem}")
    return world


def _problem_of_world(key: str, given: Any, names: tuple[str, ...]) -> str | None:
    if key == "snapshots" and isinstance(given, dict):
        entries: Iterable[tuple[str, Any]] = (
            (f"{key}.{plain(name)}", of) for name, of in given.items()
        )
    elif isinstance(given, list):
        entries = ((f"{key}[{number}]", of) for number, of in enumerate(given))
        names = names or ("jobQueue",)
    else:
        return f"{key}: {named(given)}, expected a list of objects"
    for place, entry in entries:
        if not isinstance(entry, dict):
            return f"{place}: {named(entry)}, expected an object"
        for name in names:
            if not isinstance(entry.get(name, ""), str):
                return f"{place}.{name}: {named(entry[name])}, expected text"
        if names and not any(entry.get(name) for name in names):
            return f"{place}: no name, expected {' or '.join(names)}"
    return None
