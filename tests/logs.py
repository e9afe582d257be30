"""
Logs for replays: whole lives of jobs as AWS Batch tells them, and what may go wrong on their way.

All is drawn from a seed, and what must come of it is told beside the events.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PREFIX = "arn:aws:batch:us-east-1:111122223333:"
STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")

# Causes of failure: exit code, status reason, container reason. {} is different in each child.
CAUSES: Sequence[tuple[int | None, str, str]] = (
    (1, "Essential container in task exited", ""),
    (137, "Essential container in task exited", "OutOfMemoryError: Container killed, task {hex}"),
    (None, "Host EC2 (instance i-{hex}) terminated.", ""),
    (None, "Task failed to start", "CannotPullContainerError: image {hex} took {number} seconds"),
)


@dataclass(frozen=True, kw_only=True)
class Life:
    """An array's or a job's events in order of time, and how it truly ended."""

    job_id: str
    events: list[dict[str, Any]]
    size: int = 0
    failed: Mapping[int, int] = field(default_factory=dict)  # index: number of its cause
    ended: datetime = NOON

    @property
    def groups(self) -> list[int]:
        """How many children failed of each cause, the most first."""
        return sorted(Counter(self.failed.values()).values(), reverse=True)


def iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def event(at: datetime, detail: Mapping[str, Any], padding: int = 0) -> dict[str, Any]:
    """What EventBridge delivers of one change. `padding` makes its command so much longer."""
    return {
        "version": "0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{detail['jobId']}{detail['status']}{at}")),
        "detail-type": "Batch Job State Change",
        "source": "aws.batch",
        "account": "111122223333",
        "time": iso(at),
        "region": "us-east-1",
        "resources": [f"{PREFIX}job/{detail['jobId']}"],
        "detail": {
            "jobArn": f"{PREFIX}job/{detail['jobId']}",
            "jobName": "render",
            "jobQueue": f"{PREFIX}job-queue/gpu",
            "attempts": [],
            "createdAt": round(NOON.timestamp() * 1000),
            "retryStrategy": {"attempts": 1, "evaluateOnExit": []},
            "dependsOn": [],
            "jobDefinition": f"{PREFIX}job-definition/render:3",
            "parameters": {},
            "container": {
                "image": "111122223333.dkr.ecr.us-east-1.amazonaws.com/render:latest",
                "command": ["./render.sh", "x" * padding],
                "environment": [{"name": "STAGE", "value": "test"}],
                "volumes": [],
                "mountPoints": [],
                "ulimits": [],
                "networkInterfaces": [],
                "resourceRequirements": [
                    {"type": "VCPU", "value": "4"},
                    {"type": "MEMORY", "value": "8192"},
                ],
                "secrets": [],
            },
            "tags": {"resourceArn": f"{PREFIX}job/{detail['jobId']}", "team": "imaging"},
            "propagateTags": False,
            "platformCapabilities": ["EC2"],
            "eksAttempts": [],
            **detail,
        },
    }


def an_array(  # noqa: PLR0913 - each has a default
    size: int,
    *,
    seed: int = 1,
    failing: float = 0.02,
    begins: datetime = NOON,
    lasts: timedelta = timedelta(minutes=30),
    padding: int = 0,
) -> Life:
    """
    An array whose children become RUNNABLE at once and end one after the other.

    Each child tells four changes, and the parent its end, a second after the last child's.
    """
    random = Random(seed)  # noqa: S311 - it need only be the same each time
    job_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
    failed = {
        index: random.randrange(len(CAUSES)) for index in range(size) if random.random() < failing
    }
    events = []
    for index in range(size):
        starts = begins + timedelta(seconds=1 + random.random() * lasts.total_seconds() * 0.8)
        ends = starts + timedelta(seconds=5 + random.random() * lasts.total_seconds() * 0.19)
        child = {
            "jobId": f"{job_id}:{index}",
            "arrayProperties": {"index": index, "statusSummary": {}},
        }
        changes: list[tuple[datetime, dict[str, Any]]] = [
            (begins, {"status": "RUNNABLE"}),
            (starts, {"status": "STARTING"}),
            (starts + timedelta(seconds=4), {"status": "RUNNING"}),
            (ends, _end(failed.get(index), random, ends)),
        ]
        events += [event(at, child | change, padding) for at, change in changes]
    events.sort(key=lambda each: str(each["time"]))
    ended = datetime.fromisoformat(events[-1]["time"]) + timedelta(seconds=1)
    summary = dict.fromkeys(STATES, 0)
    summary |= {"SUCCEEDED": size - len(failed), "FAILED": len(failed)}
    parent = {
        "jobId": job_id,
        "status": "FAILED" if failed else "SUCCEEDED",
        "arrayProperties": {"size": size, "statusSummary": summary},
    }
    return Life(
        job_id=job_id,
        events=[*events, event(ended, parent)],
        size=size,
        failed=failed,
        ended=ended,
    )


def _end(cause: int | None, random: Random, at: datetime) -> dict[str, Any]:
    stream = f"render/default/{random.getrandbits(64):016x}"
    stopped = round(at.timestamp() * 1000)
    exit_code, reason, container_reason = CAUSES[0] if cause is None else CAUSES[cause]
    different = {"hex": f"{random.getrandbits(68):017x}", "number": random.randrange(1000)}
    container: dict[str, Any] = {"logStreamName": stream}
    if cause is None:
        exit_code = 0
    if exit_code is not None:
        container["exitCode"] = exit_code
    if container_reason:
        container["reason"] = container_reason.format(**different)
    reason = reason.format(**different)
    return {
        "status": "SUCCEEDED" if cause is None else "FAILED",
        "statusReason": reason,
        "startedAt": stopped - 5000,
        "stoppedAt": stopped,
        "container": container,
        "attempts": [
            {
                "container": container,
                "startedAt": stopped - 5000,
                "stoppedAt": stopped,
                "statusReason": reason,
            }
        ],
    }


def with_faults(  # noqa: PLR0913 - each has a default
    events: Iterable[dict[str, Any]],
    *,
    seed: int = 1,
    repeated: float = 0.0,
    late: float = 0.0,
    lost: float = 0.0,
    latest: timedelta = timedelta(seconds=40),
) -> list[dict[str, Any]]:
    """
    The events as they come through: some twice, some late (and so out of order), some never.

    The shares are of 1. The lines are in no order.
    """
    random = Random(seed)  # noqa: S311 - it need only be the same each time
    lines = []
    for each in events:
        if random.random() < lost:
            lines.append({"event": each, "deliver": False})
            continue
        copies = 2 if random.random() < repeated else 1
        for _ in range(copies):
            delay = random.random() * latest.total_seconds() if random.random() < late else 0
            at = datetime.fromisoformat(each["time"]) + timedelta(seconds=delay)
            lines.append({"event": each, "deliver_at": iso(at)} if delay else each)
    random.shuffle(lines)
    return lines


def write(path: Path, lines: Iterable[Any]) -> Path:
    """A log in a file; text is written as it is."""
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            print(line if isinstance(line, str) else json.dumps(line), file=file)
    return path
