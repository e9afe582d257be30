"""
Read billing signals (CloudWatch alarms, AWS Budgets, Cost Anomaly Detection) as evidence.

Each delivery has one of three results: `Evidence`, `Ignored` with a reason for the log, or
an `EvidenceError` with a reason for the dead-letter queue. A message that seems to be about
spending and cannot be understood is never ignored.

Evidence has its own time. For an alarm it is the time of its change of state. A Budgets message has
only its day, so the time at which SNS received it counts. An anomaly is reported days after it
began, so the time of the report counts.

A Budgets message counts until its period is over, and an anomaly until its day is over. A message
that names no period is taken to be about a month. The end in an anomaly's message is the last day
that was unusual so far. AWS reports it up to a day late, so an anomaly that ended earlier than on
the day before is over.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html
https://docs.aws.amazon.com/cost-management/latest/userguide/cad-eventbridge.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html
"""

import json
import re
from dataclasses import replace
from typing import Any, cast

from batch_watchdog.core.errors import EvidenceError
from batch_watchdog.guards.signals.anomalies import read_anomaly
from batch_watchdog.guards.signals.budgets import read_budget
from batch_watchdog.guards.signals.cloudwatch import (
    read_alarm_action,
    read_alarm_event,
    read_alarm_message,
)
from batch_watchdog.guards.signals.evidence import (
    Envelope,
    Evidence,
    Ignored,
    time_or_none,
    value_of,
)
from batch_watchdog.notices.text import plain

# An SQS record around an SNS message around an EventBridge event needs five steps.
_STEPS_MAX = 8
_NOTHING_KNOWN = "neither an EventBridge event nor an SNS record nor an alarm"
_SPEAKS_OF_MONEY = re.compile(
    r"""
    ^[ \t]*AWS\ Budgets?\ Notification | ^[ \t]*Budget\ Name\s*:
    | "(AlarmName|NewStateValue|anomalyId|anomalyScore|budgetName)"\s*:
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_SUBJECT_OF_MONEY = re.compile(r'AWS Budgets?:|(ALARM|OK|INSUFFICIENT_DATA): "')
_LINE = re.compile(r"^[ \t]*([A-Za-z][A-Za-z ]{0,40}):(.*)$", re.MULTILINE)
_PARTITION = re.compile(r"arn:(aws[a-z-]*):")


def records(payload: object) -> tuple[object, ...]:
    """Return the single deliveries in a Lambda function's event: its `Records`, or the event."""
    if isinstance(payload, dict) and isinstance(payload.get("Records"), list):
        return tuple(payload["Records"])
    return (payload,)


def read(delivered: object) -> Evidence | Ignored:
    """
    Read one delivery: an EventBridge event, an SNS record, or one wrapped in another.

    Raises:
        EvidenceError: it is about spending and cannot be understood, or AWS does not send this.
    """
    return _read(delivered, Envelope())


def _read(thing: object, envelope: Envelope) -> Evidence | Ignored:
    if envelope.steps > _STEPS_MAX:
        raise EvidenceError("wrapped in too many envelopes")
    deeper = replace(envelope, steps=envelope.steps + 1)
    match thing:
        case str():
            return _read_text(thing, deeper)
        case {"Records": [inside]} | {"Sns": inside} | {"body": str(inside)}:
            return _read(inside, deeper)
        case {"alarmData": dict(data)}:
            return read_alarm_action(cast("dict[str, Any]", thing), data)
        case {"detail-type": str(detail_type)}:
            return _read_event(cast("dict[str, Any]", thing), detail_type)
        case {"Message": message}:
            return _read_notification(cast("dict[str, Any]", thing), message, deeper)
    return _read_content(thing, envelope)


def _read_notification(
    sns: dict[str, Any], message: object, envelope: Envelope
) -> Evidence | Ignored:
    kind, subject = sns.get("Type"), sns.get("Subject")
    if kind in ("SubscriptionConfirmation", "UnsubscribeConfirmation"):
        return Ignored(why=f"an SNS {kind}")
    partition = _PARTITION.match(str(sns.get("TopicArn")))
    inside = replace(
        envelope,
        at=time_or_none(sns.get("Timestamp")) or envelope.at,
        subject=subject if isinstance(subject, str) else "",
        by_sns=True,
        partition=partition[1] if partition else envelope.partition,
    )
    return _read(message, inside)


def _read_text(text: str, envelope: Envelope) -> Evidence | Ignored:
    text = text.removeprefix("\ufeff").strip()
    if text.startswith(("{", "[", '"')):
        try:
            inside = json.loads(text)
        except (ValueError, RecursionError):
            pass  # It is prose, or JSON that was damaged on its way: see below.
        else:
            return _read(inside, envelope)
    fields: dict[str, str] = dict(reversed(_LINE.findall(text)))  # of two, the first counts
    if value_of(fields, "budgetname"):
        return read_budget(fields, text, envelope)
    if _SPEAKS_OF_MONEY.search(text):
        raise EvidenceError(f"speaks of money, and cannot be read: {plain(text, 100)!r}")
    return _nothing_known(envelope)


def _read_content(thing: object, envelope: Envelope) -> Evidence | Ignored:
    match thing:
        case {"AlarmName": _} | {"NewStateValue": _}:
            return read_alarm_message(thing, envelope)
        case {"anomalyId": _} | {"anomalyScore": _}:
            return read_anomaly(thing, envelope.at)
        case dict() if value_of(thing, "budgetname"):
            return read_budget(thing, "", envelope)
    return _nothing_known(envelope)


def _nothing_known(envelope: Envelope) -> Ignored:
    """
    Ignore an SNS message of unknown content: others may use the topic too.

    Raises:
        EvidenceError: its subject is that of a billing signal, or it did not come through SNS.
    """
    if _SUBJECT_OF_MONEY.match(envelope.subject):
        raise EvidenceError(
            f"its subject speaks of money, and it cannot be read: {plain(envelope.subject, 100)!r}"
        )
    if not envelope.by_sns:
        raise EvidenceError(_NOTHING_KNOWN)
    return Ignored(why="an SNS message that is not about money")


def _read_event(event: dict[str, Any], detail_type: str) -> Evidence | Ignored:
    match event.get("source", ""), detail_type:
        case (("" | "aws.cloudwatch"), "CloudWatch Alarm State Change"):
            return read_alarm_event(event)
        case (("" | "aws.ce"), "Anomaly Detected"):
            return read_anomaly(event.get("detail"), time_or_none(event.get("time")))
    # Mostly changes of an alarm's configuration, and of single contributors to an alarm.
    return Ignored(why=f"an event {plain(detail_type, 80)!r}: no change of an alarm's state")
