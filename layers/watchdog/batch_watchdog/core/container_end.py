"""Find how a container ended, which of several made the job fail, and where its log is."""

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
        Return a rank: the lower it is, the likelier this container made the job fail.

        Failed containers come first. Of these, the essential ones come first (the failure of
        another one does not end a task), and also those for whose success another container
        waits, even if they are not essential. Then an exit code of its own comes before the code
        of a container that was stopped.
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
    """
    Combine the payloads of one container.

    Exit code, reason and log stream are of the first that has them, the rest is of the first one.
    """
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
    """Return an exit code if it fits into 32 bits, signed or unsigned; else None."""
    return code if code is not None and -(2**31) <= code < 2**32 else None


def awaited_success(depends_on: Any) -> Iterator[str]:
    """Yield the containers of the task that must succeed before this container starts."""
    for each in depends_on if isinstance(depends_on, list) else ():
        match each:
            case {"containerName": str(name), "condition": "SUCCESS"}:
                yield name


def place_of(log: Any) -> LogPlace:
    """
    Return where a logConfiguration sends a log.

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
    """Return the logConfiguration of a multi-node job's main node, by its narrowest node range."""
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
