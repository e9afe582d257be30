"""
Writes events/: one sample of everything that reaches a function.

    python -m local.samples

A file is named after its function: `job_events.array_done.json`. Bodies of queue messages are
JSON in JSON, and actions are compressed, so the samples are made here rather than by hand.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from batch_watchdog.effects import Announce
from batch_watchdog.notices import Notice
from batch_watchdog.store.actions import Actions
from batch_watchdog.store.table import MemoryTable, to_image

EVENTS = Path(__file__).parents[1] / "events"

REGION, ACCOUNT = "us-east-1", "111122223333"
MOTO_ACCOUNT = "123456789012"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ARRAY = "0a1b2c3d-0000-4000-8000-000000000001"
SINGLE = "0a1b2c3d-0000-4000-8000-000000000002"
WAITING = "0a1b2c3d-0000-4000-8000-000000000003"


def samples() -> dict[str, Any]:
    """All samples, by the names of their files."""
    succeeded = _ended("render", f"{ARRAY}:0", "SUCCEEDED", exit_code=0, at=NOON)
    failed = _ended("render", f"{ARRAY}:1", "FAILED", exit_code=137, at=NOON + timedelta(seconds=4))
    failed["container"]["reason"] = "OutOfMemoryError: Container killed due to memory usage"
    for index, child in enumerate((succeeded, failed)):
        child["arrayProperties"] = {"index": index, "statusSummary": {}}
    parent = _job("render", ARRAY, "FAILED") | {
        "statusReason": "Array Child Job failed",
        "arrayProperties": {"size": 2, "statusSummary": {"SUCCEEDED": 1, "FAILED": 1}},
    }
    single = _ended("nightly-report", SINGLE, "FAILED", exit_code=2, at=NOON)
    waiting = _job("train-model", WAITING, "RUNNABLE")
    blocked = waiting | {
        "statusReason": "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job asks for more than "
        "any instance of the compute environment has"
    }
    change = "Batch Job State Change"
    return {
        "job_events.array_done.json": _queue_batch(
            _event(change, succeeded, NOON),
            _event(change, failed, NOON + timedelta(seconds=4)),
            _event(change, parent, NOON + timedelta(seconds=5)),
        ),
        "job_events.job_failed.json": _queue_batch(_event(change, single, NOON)),
        "job_events.job_runnable.json": _queue_batch(_event(change, waiting, NOON)),
        "job_events.queue_blocked.json": _queue_batch(
            _event("Batch Job Queue Blocked", blocked, NOON + timedelta(minutes=10))
        ),
        "job_events.malformed.json": _queue_batch(
            "this is no JSON",
            _event(change, {"jobName": "without-id-and-status"}, NOON),
            _event(change, single, NOON),
        ),
        "sweep.every_minute.json": {
            "version": "0",
            "id": _uuid("sweep"),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            "time": _iso(NOON),
            "region": REGION,
            "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/batch-watchdog-every-minute"],
            "detail": {},
        },
        "act.announce.json": _stream_batch(
            Announce(
                notices=(
                    Notice(
                        kind="job-failed",
                        id=f"job-failed:{SINGLE}",
                        severity="warning",
                        subject="Job nightly-report failed",
                        text="The job nightly-report failed with exit code 2.",
                        facts={"job_id": SINGLE, "job_name": "nightly-report", "exit_code": 2},
                    ),
                )
            )
        ),
    }


def environment() -> dict[str, Any]:
    """The settings for `sam local invoke --env-vars`: AWS is what `local.runtime serve` offers."""
    return {
        "Parameters": {
            "AWS_ENDPOINT_URL": "http://host.docker.internal:5000",
            "TABLE_NAME": "Table",
            "TOPIC_ARN": f"arn:aws:sns:{REGION}:{MOTO_ACCOUNT}:NoticeTopic",
            "DEAD_LETTER_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{MOTO_ACCOUNT}"
            "/JobEventsDeadLetters",
            "POLICY_PARAMETER": "/local/policy",
        }
    }


def _job(name: str, job_id: str, status: str) -> dict[str, Any]:
    return {
        "jobArn": f"arn:aws:batch:{REGION}:{ACCOUNT}:job/{job_id}",
        "jobName": name,
        "jobId": job_id,
        "jobQueue": f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/gpu",
        "status": status,
        "attempts": [],
        "createdAt": _millis(NOON - timedelta(hours=1)),
        "retryStrategy": {"attempts": 1, "evaluateOnExit": []},
        "dependsOn": [],
        "jobDefinition": f"arn:aws:batch:{REGION}:{ACCOUNT}:job-definition/{name}:3",
        "parameters": {},
        "container": {
            "image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}:latest",
            "command": ["./run.sh"],
            "environment": [],
            "resourceRequirements": [
                {"type": "VCPU", "value": "4"},
                {"type": "MEMORY", "value": "8192"},
            ],
        },
        "tags": {
            "resourceArn": f"arn:aws:batch:{REGION}:{ACCOUNT}:job/{job_id}",
            "team": "imaging",
        },
        "propagateTags": False,
        "platformCapabilities": ["EC2"],
    }


def _ended(name: str, job_id: str, status: str, *, exit_code: int, at: datetime) -> dict[str, Any]:
    job = _job(name, job_id, status)
    container = {"exitCode": exit_code, "logStreamName": f"{name}/default/{_hex(job_id)}"}
    started, stopped = _millis(at - timedelta(minutes=50)), _millis(at)
    reason = "Essential container in task exited"
    job["container"] |= container
    return job | {
        "statusReason": reason,
        "startedAt": started,
        "stoppedAt": stopped,
        "attempts": [
            {
                "container": container,
                "startedAt": started,
                "stoppedAt": stopped,
                "statusReason": reason,
            }
        ],
    }


def _event(detail_type: str, detail: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    return {
        "version": "0",
        "id": _uuid(json.dumps(detail)),
        "detail-type": detail_type,
        "source": "aws.batch",
        "account": ACCOUNT,
        "time": _iso(at),
        "region": REGION,
        "resources": [detail[key] for key in ("jobArn", "jobQueue") if key in detail],
        "detail": detail,
    }


def _queue_batch(*bodies: Any) -> dict[str, Any]:
    records = []
    for body in bodies:
        text = body if isinstance(body, str) else json.dumps(body)
        sent = datetime.fromisoformat(body["time"]) if isinstance(body, dict) else NOON
        records.append(
            {
                "messageId": _uuid(text),
                "receiptHandle": "AQEB",
                "body": text,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(_millis(sent) + 700),
                    "SenderId": "AIDAEXAMPLE",
                    "ApproximateFirstReceiveTimestamp": str(_millis(sent) + 900),
                },
                "messageAttributes": {},
                "md5OfBody": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:JobEventsQueue",
                "awsRegion": REGION,
            }
        )
    return {"Records": records}


def _stream_batch(effect: Announce) -> dict[str, Any]:
    table = MemoryTable()
    puts = Actions(table).puts([effect], NOON, "job_events")
    table.write(puts)
    records = []
    for put in puts:
        item = table.get(*put.key) or {}
        image = {
            name: {"B": base64.b64encode(value["B"]).decode()} if "B" in value else value
            for name, value in to_image(item).items()
        }
        records.append(
            {
                "eventID": _hex(str(put.key)),
                "eventName": "INSERT",
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": REGION,
                "dynamodb": {
                    "ApproximateCreationDateTime": int(NOON.timestamp()),
                    "Keys": {"pk": image["pk"], "sk": image["sk"]},
                    "NewImage": image,
                    "SequenceNumber": "111",
                    "SizeBytes": len(json.dumps(image)),
                    "StreamViewType": "NEW_IMAGE",
                },
                "eventSourceARN": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/Table/stream/"
                f"{NOON:%Y-%m-%dT%H:%M:%S.000}",
            }
        )
    return {"Records": records}


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _uuid(text: str) -> str:
    digits = _hex(text)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def text_of(sample: Any) -> str:
    """A sample as it stands in its file."""
    return json.dumps(sample, indent=2) + "\n"


if __name__ == "__main__":
    for name, sample in {**samples(), "env.json": environment()}.items():
        (EVENTS / name).write_text(text_of(sample))
