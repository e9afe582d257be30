"""How a container ended, which of several made the job fail, and where its log is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from batch_watchdog.core.job_event import ARRAY_MAX
from batch_watchdog.core.payload_parts import (
    NAME_MAX,
    TEXT_MAX,
    ContainerPayload,
    cut,
    shortened,
)
from batch_watchdog.notices.links import DEFAULT_PLACE, LogPlace

_NO_CONTAINER = ContainerPayload()
_STOPPED = (137, 143)  # by SIGKILL or SIGTERM: mostly since another container had ended


class ContainerEnd(NamedTuple):
    """How one container ended, as far as is known."""

    name: str
    exit_code: int | None
    reason: str
    stream: str
    essential: bool
    depends_on: Any
    log: Any

    def rank(self, awaited: set[str]) -> tuple[bool, bool, int]:
        """
        The lower, the likelier it is that this container made the job fail.

        Those that failed come first. Of these, the essential ones do (another's failure does not
        end a task), and those for whose success another container waits, which may not be
        essential. Then a code of its own counts more than having been stopped.
        """
        matters = self.essential or self.name in awaited
        out_of_memory = "memory" in self.reason.lower() or "oomkilled" in self.reason.lower()
        if self.exit_code in _STOPPED and not out_of_memory:
            how = 2
        elif self.exit_code:
            how = 0
        elif self.exit_code is None:
            how = 1 if self.reason else 4
        else:  # A pod's container that ended well has the reason "Completed".
            how = 3 if self.reason and self.reason != "Completed" else 5
        return how > 2, not matters, how  # noqa: PLR2004


def end_of(seen: Sequence[ContainerPayload]) -> ContainerEnd:
    """One container, as the first that shows a part of it has it."""
    first = seen[0] if seen else _NO_CONTAINER
    codes = (known_code(each.exitCode) for each in seen)
    return ContainerEnd(
        cut(first.name, NAME_MAX),
        next((code for code in codes if code is not None), None),
        cut(next((each.reason for each in seen if each.reason), None), TEXT_MAX),
        shortened(next((each.logStreamName for each in seen if each.logStreamName), None)),
        first.essential is not False,
        first.dependsOn,
        first.logConfiguration,
    )


def known_code(code: int | None) -> int | None:
    """An exit code as 32 bits, whether they are read with a sign or not; else none."""
    return code if code is not None and -(2**31) <= code < 2**32 else None


def awaited_success(depends_on: Any) -> Iterator[str]:
    """The containers of its task that a container starts after only if they succeed."""
    for each in depends_on if isinstance(depends_on, list) else ():
        match each:
            case {"containerName": str(name), "condition": "SUCCESS"}:
                yield name


def place_of(log: Any) -> LogPlace:
    """
    Where a logConfiguration sends a log.

    https://docs.aws.amazon.com/batch/latest/APIReference/API_LogConfiguration.html
    """
    if not isinstance(log, Mapping):
        return DEFAULT_PLACE
    options = log.get("options")
    options = options if isinstance(options, Mapping) else {}
    return LogPlace(
        driver=shortened(log.get("logDriver")),
        group=shortened(options.get("awslogs-group")),
        region=shortened(options.get("awslogs-region")),
    )


_NODES = re.compile(r"([0-9]{0,6})(:?)([0-9]{0,6})")


def log_of_nodes(nodes: Mapping[str, Any]) -> Any:
    """The logConfiguration of a multi-node job's main node: of the narrowest range that has it."""
    main, ranges = nodes.get("mainNode"), nodes.get("nodeRangeProperties")
    found: list[tuple[int, int, Any]] = []
    for each in ranges if isinstance(ranges, list) else ():
        targets = each.get("targetNodes") if isinstance(each, Mapping) else None
        span = _NODES.fullmatch(targets) if isinstance(targets, str) else None
        if span and isinstance(main, int):
            low = int(span[1] or 0)
            high = int(span[3] or ARRAY_MAX) if span[2] else low
            if low <= main <= high:
                found.append((high - low, len(found), _log_in_range(each)))
    return min(found)[2] if found else None


def _log_in_range(node_range: Mapping[str, Any]) -> Any:
    match node_range:
        case {"container": {"logConfiguration": log}}:
            return log
        case {"ecsProperties": {"taskProperties": [{"containers": [*containers]}, *_]}}:
            essential = (
                each
                for each in containers
                if isinstance(each, Mapping) and each.get("essential") is not False
            )
            return next(essential, {}).get("logConfiguration")
    return None
