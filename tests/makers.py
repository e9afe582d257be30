"""Makers: every argument has a default, and one day is the day of all tests."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from batch_watchdog.arrays.progress import Array, Part, unite
from batch_watchdog.core.batch_payloads import parse_event
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.notices.notice import Notice
from batch_watchdog.use_cases.job_events import Message

PREFIX = "arn:aws:batch:us-east-1:111122223333:"
QUEUE = PREFIX + "job-queue/gpu"
DEFINITION = PREFIX + "job-definition/render:3"
JOB = "5f3a1c9e-7b42-4d0e-9a65-2c8e1f0b7d34"
ARRAY = "0d9a7c31-4f6e-4b8a-b1d2-93c5e7f80a16"

STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
SPOT_LOSS = "Host EC2 (instance i-0a1b2c3d4e5f60718) terminated."
EXITED = "Essential container in task exited"


def at(clock: str) -> datetime:
    """at("12:31") or at("12:31:05") is that time on the day on which every test takes place."""
    return datetime.fromisoformat(f"2026-01-01T{clock}").replace(tzinfo=UTC)


# ---- What AWS Batch sends -----------------------------------------------------------------


def an_event(clock: str = "12:00", kind: str = "Batch Job State Change", **detail: Any) -> Any:
    """A single job that has become RUNNABLE."""
    job_id = detail.get("jobId", JOB)
    return {
        "version": "0",
        "id": "c8f9c4b5-76e5-d76a-f980-7011e206042b",
        "detail-type": kind,
        "source": "aws.batch",
        "account": "111122223333",
        "time": f"{at(clock):%Y-%m-%dT%H:%M:%SZ}",
        "region": "us-east-1",
        "resources": [f"{PREFIX}job/{job_id}"],
        "detail": {
            "jobArn": f"{PREFIX}job/{job_id}",
            "jobName": "render",
            "jobId": job_id,
            "jobQueue": QUEUE,
            "status": "RUNNABLE",
            "attempts": [],
            "createdAt": 1_767_268_000_000,
            "dependsOn": [],
            "jobDefinition": DEFINITION,
            "parameters": {},
            "container": {"command": ["render"], "environment": []},
            "tags": {"resourceArn": f"{PREFIX}job/{job_id}"},
            "propagateTags": False,
            "platformCapabilities": ["EC2"],
            "eksAttempts": [],
        }
        | detail,
    }


def a_failure(clock: str = "12:00", exit_code: int | None = 1, **detail: Any) -> Any:
    """A single job that has failed in its first attempt."""
    container = {"exitCode": exit_code, "logStreamName": "render/default/0123456789abcdef"}
    ended = {
        "status": "FAILED",
        "statusReason": EXITED,
        "container": container,
        "attempts": [{"container": container, "stoppedAt": 1_767_268_800_000}],
    }
    return an_event(clock, **ended | detail)


def a_child_event(
    index: int, status: str = "SUCCEEDED", clock: str = "12:00", **detail: Any
) -> Any:
    """A child of an array job that has succeeded."""
    array_id = detail.pop("array_id", ARRAY)
    made = a_failure if status == "FAILED" else an_event
    child = {
        "jobId": f"{array_id}:{index}",
        "status": status,
        "arrayProperties": {"index": index, "statusSummary": {}},
    }
    return made(clock, **child | detail)


def a_parent_event(size: int, failed: int = 0, clock: str = "12:10", **detail: Any) -> Any:
    """An array job that has ended, with so many failures."""
    summary = dict.fromkeys(STATES, 0) | {"SUCCEEDED": size - failed, "FAILED": failed}
    ended = {
        "jobId": detail.pop("array_id", ARRAY),
        "status": "FAILED" if failed else "SUCCEEDED",
        "arrayProperties": {"size": size, "statusSummary": summary},
    }
    reason = {"statusReason": "Array Child Job failed"} if failed else {}
    return an_event(clock, **ended | reason | detail)


def a_message(event: Any, number: int = 0, sent: str = "12:10") -> Message:
    """The queue's message with an event, or with a text."""
    body = event if isinstance(event, str) else json.dumps(event)
    return Message(f"message-{number}", body, at(sent))


def messages(*events: Any, sent: str = "12:10") -> list[Message]:
    return [a_message(event, number, sent) for number, event in enumerate(events)]


def a_described_job(job_id: str = JOB, status: str = "RUNNABLE", **changes: Any) -> dict[str, Any]:
    """A job as DescribeJobs shows it, without tags."""
    return {
        "jobId": job_id,
        "jobName": "render",
        "jobQueue": QUEUE,
        "jobDefinition": DEFINITION,
        "status": status,
        "attempts": [],
        "createdAt": 1_767_268_000_000,
        "startedAt": 0,
        "tags": {},
    } | changes


# ---- What is made of it -------------------------------------------------------------------


def change(event: Any) -> JobEvent:
    """The change that an event tells."""
    parsed = parse_event(json.dumps(event))
    assert isinstance(parsed, JobEvent)
    return parsed


def a_child(index: int, status: str = "SUCCEEDED", clock: str = "12:00", **detail: Any) -> JobEvent:
    return change(a_child_event(index, status, clock, **detail))


def a_parent(size: int, failed: int = 0, clock: str = "12:10", **detail: Any) -> JobEvent:
    return change(a_parent_event(size, failed, clock, **detail))


def an_array(**changes: Any) -> Array:
    """An array of ten children that is under way."""
    array = Array(
        job_id=ARRAY,
        job_name="render",
        queue=QUEUE,
        definition=DEFINITION,
        first_at=at("12:00"),
        size=10,
    )
    return replace(array, **changes)


def a_part(*children: JobEvent, number: int = 0) -> Part:
    """A part of an array, in which these children have ended."""
    return unite(Part(number=number), children)


def a_notice(**changes: Any) -> Notice:
    notice = Notice(
        kind="job-failed",
        id="job-failed:1",
        severity="warning",
        subject="Job failed, exit code 1: render",
        text="The job render failed.",
        facts={"job_id": "1", "job_name": "render", "queue": "gpu"},
    )
    return replace(notice, **changes)
