"""
Reads CloudWatch alarms.

An alarm of several time series also runs its actions for each of them (a contributor), through SNS
and by invoking a function. A message about one contributor does not show the state of the alarm:
other contributors may be in another state.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Acting_Alarm_Changes.html
"""

import re
from datetime import datetime
from typing import Any

from batch_watchdog.core.errors import EvidenceError
from batch_watchdog.core.payload_parts import LenientModel
from batch_watchdog.guards.signals.evidence import (
    AlarmState,
    Envelope,
    Evidence,
    Ignored,
    SignalName,
    SoftText,
    TimeOrNone,
    checked,
    names_of,
    time_or_none,
)
from batch_watchdog.notices.text import fact, plain

_DATAPOINT = re.compile(r"datapoints?\s?[\[(]\s?([-+0-9.,eE]{1,40})")
_THRESHOLD = re.compile(r"thresholds?\s?[\[(]\s?([-+0-9.,eE]{1,40})")


class _AlarmMessage(LenientModel):
    AlarmName: SignalName
    AlarmArn: SoftText = ""
    NewStateValue: AlarmState
    NewStateReason: SoftText = ""
    StateChangeTime: TimeOrNone = None


class _State(LenientModel):
    value: AlarmState
    reason: SoftText = ""
    timestamp: TimeOrNone = None
    actionsSuppressedBy: SoftText = ""  # noqa: N815


class _AlarmDetail(LenientModel):
    alarmName: SignalName  # noqa: N815
    state: _State
    previousState: Any = None  # noqa: N815


def read_alarm_message(message: object, envelope: Envelope) -> Evidence | Ignored:
    if _is_of_one_contributor(message):
        return _OF_ONE_CONTRIBUTOR
    alarm = checked(_AlarmMessage, "a CloudWatch alarm by SNS", message)
    # Its previous state does not matter. A composite alarm whose actions were suppressed runs them
    # only when the suppression ends: it may have been in ALARM, or OK, since before that.
    return _alarm(
        name=alarm.AlarmName,
        arn=alarm.AlarmArn,
        state=alarm.NewStateValue,
        at=alarm.StateChangeTime or envelope.at,
        reason=alarm.NewStateReason,
    )


def read_alarm_event(event: dict[str, Any]) -> Evidence | Ignored:
    given = event.get("detail")
    if _is_of_one_contributor(given):
        return _OF_ONE_CONTRIBUTOR
    detail = checked(_AlarmDetail, "a CloudWatch alarm by EventBridge", given)
    state, previous = detail.state, detail.previousState
    if isinstance(previous, dict) and previous.get("value") == state.value:
        return Ignored(why=f"{plain(detail.alarmName)} was {state.value} before")
    # An alarm that is muted, or whose actions are suppressed, counts as in ALARM all the same: that
    # prevents notifications, and does not change the spending.
    suppressed = f" (its actions are suppressed: {state.actionsSuppressedBy})"
    return _alarm(
        name=detail.alarmName,
        arn=_first_resource(event),
        state=state.value,
        at=state.timestamp or time_or_none(event.get("time")),
        reason=state.reason + (suppressed if state.actionsSuppressedBy else ""),
    )


def read_alarm_action(payload: dict[str, Any], data: dict[Any, Any]) -> Evidence | Ignored:
    """Read the event with which CloudWatch invokes a function as the action of an alarm."""
    detail = {**data, "previousState": None}  # As with SNS, it does not matter.
    event = {"time": payload.get("time"), "resources": [payload.get("alarmArn")], "detail": detail}
    return read_alarm_event(event)


_OF_ONE_CONTRIBUTOR = Ignored(why="of one contributor to an alarm: no change of the alarm's state")


def _is_of_one_contributor(given: object) -> bool:
    """
    Check whether a message is about only one of an alarm's time series.

    AWS documents the key `alarmContributor` for events, and nothing for SNS messages: so any key
    with "contributor" in its name counts. A list or a number would be about all of them.
    """
    return isinstance(given, dict) and any(
        isinstance(value, dict | str) and value and "contributor" in str(key).lower()
        for key, value in given.items()
    )


def _first_resource(event: dict[str, Any]) -> str:
    match event.get("resources"):
        case [str(arn), *_]:
            return arn
    return ""


def _alarm(*, name: str, arn: str, state: AlarmState, at: datetime | None, reason: str) -> Evidence:
    if at is None:
        raise EvidenceError(f"a CloudWatch alarm without a time: {plain(name)!r}")
    amount, threshold = _DATAPOINT.search(reason), _THRESHOLD.search(reason)
    return Evidence(
        source="cloudwatch",
        alarm=fact(name),
        names=names_of(name, arn),
        arn=fact(arn),
        state=state,
        at=at,
        amount=amount[1] if amount else "",
        threshold=threshold[1] if threshold else "",
        detail=plain(reason, 500),
    )
