"""
Write the folder events/, for `make invoke` and tests: samples of all events that functions get.

    python -m local.commands.samples

A file is named after its function: `job_events.array_done.json`. Bodies of queue messages are
JSON in JSON, and actions are compressed, so the samples are generated and not written by hand.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from batch_watchdog.core.effects import Announce
from batch_watchdog.notices.notice import Notice
from batch_watchdog.store.actions import Actions
from batch_watchdog.store.item_codec import to_image
from batch_watchdog.store.memory_table import MemoryTable

EVENTS = Path(__file__).parents[2] / "events"

REGION, ACCOUNT = "us-east-1", "111122223333"
MOTO_ACCOUNT = "123456789012"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ARRAY = "0a1b2c3d-0000-4000-8000-000000000001"
SINGLE = "0a1b2c3d-0000-4000-8000-000000000002"
WAITING = "0a1b2c3d-0000-4000-8000-000000000003"


def samples() -> dict[str, Any]:
    """Return all samples, by the names of their files."""
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
        **_spend_alarm(),
        "stop_jobs.run.json": _queue_batch(
            json.dumps({"run_id": f"monthly-budget:cancel:{_iso(NOON)}"}), queue="StopQueue"
        ),
        "console.status.json": {"command": "status"},
        "console.hold.json": {"command": "hold", "by": "jane", "why": "a drill"},
        "console.set_stage.json": {
            "command": "set-stage",
            "guard": "monthly-budget",
            "stage": "terminate",
            "by": "jane",
        },
        "console.widget.json": _widget(page="overview"),
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


def _widget(**params: str) -> dict[str, Any]:
    """
    Build the event of a custom widget on a CloudWatch dashboard, as AWS documents it.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html
    """
    end = int(NOON.timestamp() * 1_000)
    return params | {
        "widgetContext": {
            "dashboardName": "batch-watchdog",
            "widgetId": "widget-1",
            "accountId": ACCOUNT,
            "locale": "en",
            "timezone": {"label": "UTC", "offsetISO": "+00:00", "offsetInMinutes": 0},
            "period": 300,
            "isAutoPeriod": True,
            "timeRange": {
                "mode": "relative",
                "start": end - 86_400_000,
                "end": end,
                "relativeStart": 86_400_000,
                "zoom": {"start": end - 7_200_000, "end": end - 3_600_000},
            },
            "theme": "light",
            "linkCharts": True,
            "title": "batch-watchdog",
            "forms": {"all": {}},
            "params": params,
            "width": 588,
            "height": 369,
        }
    }


def environment() -> dict[str, Any]:
    """Settings for `sam local invoke --env-vars`, to use the AWS that `make local-aws` starts."""
    return {
        "Parameters": {
            "AWS_ENDPOINT_URL": "http://host.docker.internal:5000",
            "TABLE_NAME": "Table",
            "TOPIC_ARN": f"arn:aws:sns:{REGION}:{MOTO_ACCOUNT}:NoticeTopic",
            "DEAD_LETTER_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{MOTO_ACCOUNT}"
            "/JobEventsDeadLetters",
            "POLICY_PARAMETER": "/batch-watchdog/local/policy",
            "STOP_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{MOTO_ACCOUNT}/StopQueue",
            "STOP_CALLS_PER_SECOND": "40",
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


def _spend_alarm() -> dict[str, Any]:
    """Build signals: an alarm (by event, by SNS), a budget, an anomaly, an unreadable message."""
    name = "batch-watchdog-spend-soft"
    arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
    reason = (
        "Threshold Crossed: 1 datapoint [424.2 (05/01/26 06:00:00)] was greater than the "
        "threshold (400.0)."
    )
    since = f"{NOON:%Y-%m-%dT%H:%M:%S}.000+0000"
    event = {
        "version": "0",
        "account": ACCOUNT,
        "time": _iso(NOON),
        "region": REGION,
    }
    alarm = {
        "AlarmName": name,
        "AlarmArn": arn,
        "AWSAccountId": ACCOUNT,
        "NewStateValue": "ALARM",
        "NewStateReason": reason,
        "StateChangeTime": since,
        "Region": "US East (N. Virginia)",
        "OldStateValue": "OK",
        "Trigger": {"MetricName": "EstimatedCharges", "Namespace": "AWS/Billing"},
    }
    budget = [
        f"AWS Budget Notification {NOON:%B %d, %Y}",
        f"AWS Account {ACCOUNT}",
        "",
        "You requested that we alert you when the ACTUAL Cost associated with your monthly-compute "
        "budget is greater than $400.00 for the current month.",
        "",
        "Budget Name: monthly-compute",
        "Budget Type: Cost",
        "Budgeted Amount: $500.00",
        "Alert Type: ACTUAL",
        "Alert Threshold: > $400.00",
        "ACTUAL Amount: $424.20",
    ]
    return {
        "spend_alarm.alarm_by_event.json": event
        | {
            "id": _uuid("alarm"),
            "detail-type": "CloudWatch Alarm State Change",
            "source": "aws.cloudwatch",
            "resources": [arn],
            "detail": {
                "alarmName": name,
                "state": {"value": "ALARM", "reason": reason, "timestamp": since},
                "previousState": {"value": "OK"},
            },
        },
        "spend_alarm.alarm_by_sns.json": _sns(f'ALARM: "{name}" in US East', json.dumps(alarm)),
        "spend_alarm.budget.json": _sns(
            "AWS Budgets: monthly-compute has exceeded your alert threshold", "\n".join(budget)
        ),
        "spend_alarm.anomaly.json": event
        | {
            "id": _uuid("anomaly"),
            "detail-type": "Anomaly Detected",
            "source": "aws.ce",
            "resources": [f"arn:aws:ce::{ACCOUNT}:anomalymonitor/{_uuid('monitor')}"],
            "detail": {
                "anomalyId": _uuid("anomaly"),
                "monitorName": "compute",
                "anomalyStartDate": "2026-01-04T00:00:00Z",
                "anomalyEndDate": "2026-01-04T00:00:00Z",
                "impact": {"totalImpact": 120.5, "totalActualSpend": 200.5},
            },
        },
        "spend_alarm.not_understood.json": _sns(
            f'ALARM: "{name}"', json.dumps(alarm | {"NewStateValue": "RINGING"})
        ),
    }


def _sns(subject: str, message: str) -> dict[str, Any]:
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:SpendTopic"
    notification = {
        "Type": "Notification",
        "MessageId": _uuid(message),
        "TopicArn": topic,
        "Subject": subject,
        "Message": message,
        "Timestamp": f"{NOON:%Y-%m-%dT%H:%M:%S}.700Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "MessageAttributes": {},
    }
    record = {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": f"{topic}:{_uuid(topic)}",
        "Sns": notification,
    }
    return {"Records": [record]}


def _queue_batch(*bodies: Any, queue: str = "JobEventsQueue") -> dict[str, Any]:
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
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
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
    """Return a sample as the text of its file."""
    return json.dumps(sample, indent=2) + "\n"


if __name__ == "__main__":
    for name, sample in {**samples(), "env.json": environment()}.items():
        (EVENTS / name).write_text(text_of(sample))
