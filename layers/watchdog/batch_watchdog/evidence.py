"""
What money says: CloudWatch alarms, AWS Budgets and Cost Anomaly Detection, as evidence.

All that arrives ends in one of three ways: `Evidence`, `Ignored` with a reason for the log, or
an `EvidenceError` with a reason for the dead-letter queue. What reads like a word about money
and is not understood is never passed over in silence.

Evidence has its own time: an alarm's is that of its change of state. A Budgets message has only
its day, so the time at which SNS took it in counts; an anomaly, which is reported days after
it began, counts from when it was reported.

A Budgets message is about a period, and an anomaly about a day: after that, neither says anything
any more. A message that names no period is taken to be about a month. What an anomaly's message
calls its end is the last day that was unusual so far; AWS reports it up to a day late, so an
anomaly that ended earlier than on the day before is over.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html
https://docs.aws.amazon.com/cost-management/latest/userguide/cad-eventbridge.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from batch_watchdog.amounts import Amount, read_amounts
from batch_watchdog.changes import EPOCH, TIMES_END
from batch_watchdog.errors import EvidenceError
from batch_watchdog.notices import fact, plain

type Source = Literal["cloudwatch", "budget", "anomaly"]
type AlarmState = Literal["ALARM", "OK", "INSUFFICIENT_DATA"]
type Period = Literal["day", "month", "quarter", "year"]

# An SQS record around an SNS message around an EventBridge event needs five steps.
_STEPS_MAX = 8
_NUMBER_MAX = 10**18
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
_ACCOUNT = re.compile(r"^[ \t]*AWS Account ([0-9]{12})\b", re.MULTILINE)
_PARTITION = re.compile(r"arn:(aws[a-z-]*):")
_PERIOD = re.compile(r"(?:\bcurrent|\bper|\bthis) (day|month|quarter|year)\b|\b(yesterday|today)\b")
_ADJECTIVES: Mapping[str, Period] = {
    "daily": "day",
    "monthly": "month",
    "quarterly": "quarter",
    "annually": "year",
    "yearly": "year",
}
_PERIODS: tuple[Period, ...] = ("day", "month", "quarter", "year")
_BELOW = re.compile(r"<|&lt;|≤|\b(?:less|lower|below|under)\b", re.IGNORECASE)
_COMPARISON = re.compile(
    r"[<>=≤≥]|&[lg]t;|\b(?:greater|more|less|lower|higher|above|below|under|over|than|or|equal|to)\b",
    re.IGNORECASE,
)
_ANOMALY_IS_LATE = timedelta(days=1)
_DATAPOINT = re.compile(r"datapoints?\s?[\[(]\s?([-+0-9.,eE]{1,40})")
_THRESHOLD = re.compile(r"thresholds?\s?[\[(]\s?([-+0-9.,eE]{1,40})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    One word about money: this alarm was in this state from this time (UTC) on.

    `alarm` is the name to show, `names` are all by which a policy may name it (an ARN too).
    A Budgets message and an anomaly are always in ALARM: neither ever says OK again.
    INSUFFICIENT_DATA is neither an ALARM nor its end. What is text is for people: safe to show,
    not to calculate with, and "" where not given.

    `limit` is what a budget's message says in numbers. `period` is what it is about, and `over_at`
    when that is over, where the message itself says so.
    """

    source: Source
    alarm: str
    names: frozenset[str]
    state: AlarmState
    at: datetime
    forecasted: bool = False
    amount: str = ""
    threshold: str = ""
    detail: str = ""
    budget_type: str = ""
    budgeted: str = ""
    limit: "BudgetLimit | None" = None
    period: Period | None = None
    over_at: datetime | None = None

    def ends_at(self, at: datetime) -> datetime | None:
        """When evidence that counts from a time is over by itself; None where it is not."""
        if self.period is None:
            return None
        end = end_of(self.period, at)
        return min(end, self.over_at) if self.over_at else end


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimit:
    """
    The threshold of a budget that a message is about, in numbers; None where unknown.

    `percent` is its share of what is budgeted, or the threshold itself where that is in per cent.
    The slacks are by how much the two may be too small, because the threshold was rounded.
    """

    is_cost: bool
    is_ratio: bool = False
    below: bool = False
    amount: float | None = None
    percent: float | None = None
    amount_slack: float = 0.0
    percent_slack: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Rightly of no interest to a guard; `why` is for the log."""

    why: str


def records(payload: object) -> tuple[object, ...]:
    """The single deliveries in what Lambda was called with: its `Records`, or the event itself."""
    if isinstance(payload, dict) and isinstance(payload.get("Records"), list):
        return tuple(payload["Records"])
    return (payload,)


def read(delivered: object) -> Evidence | Ignored:
    """
    Say what one delivery means: an EventBridge event, an SNS record, or one in another.

    Raises:
        EvidenceError: it speaks of money and cannot be understood, or is nothing that AWS sends.
    """
    return _read(delivered, _Envelope())


# ---- Wrappings ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Envelope:
    """What the wrappings said so far."""

    at: datetime | None = None
    subject: str = ""
    by_sns: bool = False
    partition: str = "aws"
    steps: int = 0


def _read(thing: object, envelope: _Envelope) -> Evidence | Ignored:
    if envelope.steps > _STEPS_MAX:
        raise EvidenceError("wrapped in too many envelopes")
    deeper = replace(envelope, steps=envelope.steps + 1)
    match thing:
        case str():
            return _read_text(thing, deeper)
        case {"Records": [inside]} | {"Sns": inside} | {"body": str(inside)}:
            return _read(inside, deeper)
        case {"alarmData": dict(data)}:
            return _read_alarm_action(cast("dict[str, Any]", thing), data)
        case {"detail-type": str(detail_type)}:
            return _read_event(cast("dict[str, Any]", thing), detail_type)
        case {"Message": message}:
            return _read_notification(cast("dict[str, Any]", thing), message, deeper)
    return _read_content(thing, envelope)


def _read_notification(
    sns: dict[str, Any], message: object, envelope: _Envelope
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


def _read_text(text: str, envelope: _Envelope) -> Evidence | Ignored:
    text = text.removeprefix("\ufeff").strip()
    if text.startswith(("{", "[", '"')):
        try:
            inside = json.loads(text)
        except (ValueError, RecursionError):
            pass  # Then it is prose, or what became of JSON on its way: see below.
        else:
            return _read(inside, envelope)
    told: dict[str, str] = dict(reversed(_LINE.findall(text)))  # of two, the first counts
    if _told(told, "budgetname"):
        return _read_budget(told, text, envelope)
    if _SPEAKS_OF_MONEY.search(text):
        raise EvidenceError(f"speaks of money, and cannot be read: {plain(text, 100)!r}")
    return _nothing_known(envelope)


def _read_content(thing: object, envelope: _Envelope) -> Evidence | Ignored:
    match thing:
        case {"AlarmName": _} | {"NewStateValue": _}:
            return _read_alarm_message(thing, envelope)
        case {"anomalyId": _} | {"anomalyScore": _}:
            return _read_anomaly(thing, envelope.at)
        case dict() if _told(thing, "budgetname"):
            return _read_budget(thing, "", envelope)
    return _nothing_known(envelope)


def _nothing_known(envelope: _Envelope) -> Ignored:
    """A topic may be shared with others' messages, but whose subject is ours must be read."""
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
            return _read_alarm_event(event)
        case (("" | "aws.ce"), "Anomaly Detected"):
            return _read_anomaly(event.get("detail"), time_or_none(event.get("time")))
    # Above all changes of an alarm's configuration, and of single contributors to an alarm.
    return Ignored(why=f"an event {plain(detail_type, 80)!r}: no change of an alarm's state")


# ---- Times and names ----------------------------------------------------------------------


def _time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("a time must be text")  # noqa: TRY004 pydantic takes only ValueErrors
    # Some forwarders leave white space behind the colons ("13: 46: 29").
    at = datetime.fromisoformat(re.sub(r":\s+", ":", value.strip()))
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not EPOCH <= at < TIMES_END:
        raise ValueError("a time out of range")
    return at.astimezone(UTC)


def time_or_none(value: object) -> datetime | None:
    """A time (UTC) as AWS writes it; None for all else."""
    try:
        return _time(value)
    except ValueError:
        return None


def _text(value: object) -> object:
    """Text made fit for UTF-8 (half a surrogate pair is not); all else as it was."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _soft(value: object) -> object:
    return _text(value) if isinstance(value, str) else ""


type _Time = Annotated[datetime, BeforeValidator(_time)]
type _Name = Annotated[
    str, BeforeValidator(_text), Field(min_length=1, max_length=2_048, pattern=r"\S")
]
type _Soft = Annotated[str, BeforeValidator(_soft)]  # never a reason to fail


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


def _checked[Model: BaseModel](model: type[Model], what: str, value: object) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise EvidenceError(f"{what}: {plain(place, 80)}: {plain(first['msg'], 150)}") from error


def _names(*names: str) -> frozenset[str]:
    return frozenset(fact(name) for name in names if name)


# ---- CloudWatch alarms --------------------------------------------------------------------


class _AlarmMessage(_Lenient):
    AlarmName: _Name
    AlarmArn: _Soft = ""
    NewStateValue: AlarmState
    NewStateReason: _Soft = ""
    OldStateValue: _Soft = ""
    StateChangeTime: _Time | None = None


class _State(_Lenient):
    value: AlarmState
    reason: _Soft = ""
    timestamp: _Time | None = None
    actionsSuppressedBy: _Soft = ""  # noqa: N815


class _AlarmDetail(_Lenient):
    alarmName: _Name  # noqa: N815
    state: _State
    previousState: Any = None  # noqa: N815


def _read_alarm_message(message: object, envelope: _Envelope) -> Evidence | Ignored:
    alarm = _checked(_AlarmMessage, "a CloudWatch alarm by SNS", message)
    # A composite alarm whose actions were suppressed speaks by SNS only when that has ended, and
    # may be in ALARM since before: so an ALARM after an ALARM counts here.
    if alarm.NewStateValue == alarm.OldStateValue != "ALARM":
        return Ignored(why=f"{plain(alarm.AlarmName)} was {alarm.OldStateValue} before")
    return _alarm(
        name=alarm.AlarmName,
        arn=alarm.AlarmArn,
        state=alarm.NewStateValue,
        at=alarm.StateChangeTime or envelope.at,
        reason=alarm.NewStateReason,
    )


def _read_alarm_event(event: dict[str, Any]) -> Evidence | Ignored:
    detail = _checked(_AlarmDetail, "a CloudWatch alarm by EventBridge", event.get("detail"))
    state, previous = detail.state, detail.previousState
    if isinstance(previous, dict) and previous.get("value") == state.value:
        return Ignored(why=f"{plain(detail.alarmName)} was {state.value} before")
    # An alarm that is muted, or whose actions are suppressed, is in ALARM all the same: that
    # keeps people from being called, and says nothing of the money.
    suppressed = f" (its actions are suppressed: {state.actionsSuppressedBy})"
    return _alarm(
        name=detail.alarmName,
        arn=_first_resource(event),
        state=state.value,
        at=state.timestamp or time_or_none(event.get("time")),
        reason=state.reason + (suppressed if state.actionsSuppressedBy else ""),
    )


def _read_alarm_action(payload: dict[str, Any], data: dict[Any, Any]) -> Evidence | Ignored:
    """What CloudWatch calls a function with, where that is the action of an alarm."""
    event = {"time": payload.get("time"), "resources": [payload.get("alarmArn")], "detail": data}
    return _read_alarm_event(event)


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
        names=_names(name, arn),
        state=state,
        at=at,
        amount=amount[1] if amount else "",
        threshold=threshold[1] if threshold else "",
        detail=plain(reason, 500),
    )


# ---- AWS Budgets --------------------------------------------------------------------------


def _told(lines: Mapping[Any, Any], *names: str) -> str:
    """The first of these values that is there; names are compared by their letters alone."""
    values = {re.sub(r"[^a-z]", "", str(key).lower()): value for key, value in lines.items()}
    return next((told for name in names if (told := _scalar(values.get(name)))), "")


def _scalar(value: object) -> str:
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < _NUMBER_MAX):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _read_budget(lines: Mapping[Any, Any], prose: str, envelope: _Envelope) -> Evidence:
    name = _told(lines, "budgetname")
    kind = _told(lines, "alerttype", "notificationtype").upper()
    if not kind:
        # The sentence tells it too; but it holds the budget's name, which may be anything.
        kinds = [kind for kind in ("ACTUAL", "FORECASTED") if _told(lines, f"{kind.lower()}amount")]
        kind = kinds[0] if len(kinds) == 1 else ""
    if kind not in ("ACTUAL", "FORECASTED"):
        raise EvidenceError(
            f"a Budgets message of {plain(name)!r}: its alert type is neither ACTUAL nor "
            f"FORECASTED, but {plain(kind, 40)!r}"
        )
    if envelope.at is None:
        raise EvidenceError(f"a Budgets message of {plain(name)!r} without a time")
    account = _ACCOUNT.search(prose)
    arn = f"arn:{envelope.partition}:budgets::{account[1]}:budget/{name}" if account else ""
    amount = _told(lines, f"{kind.lower()}amount", "amount")
    threshold = _told(lines, "alertthreshold", "threshold")
    budgeted = _told(lines, "budgetedamount")
    budget_type = plain(_told(lines, "budgettype"), 60)
    limit = _limit(lines, budget_type, amount, threshold, budgeted)
    shown = plain(threshold.replace(">", "more than").replace("<", "less than"), 60)
    return Evidence(
        source="budget",
        alarm=fact(name),
        names=_names(name, arn),
        state="ALARM",
        at=envelope.at,
        forecasted=kind == "FORECASTED",
        amount=plain(amount, 60),
        threshold=shown,
        budgeted=plain(budgeted, 60),
        budget_type=budget_type,
        limit=limit,
        period=_period(lines, prose, name),
        detail=f"{kind} amount {plain(amount, 60) or 'unknown'}, alert threshold "
        + (shown or "unknown")
        + (f", budgeted {plain(budgeted, 60)}" if budgeted else ""),
    )


def _limit(
    lines: Mapping[Any, Any], budget_type: str, amount: str, threshold: str, budgeted: str
) -> BudgetLimit:
    bare = " ".join(_COMPARISON.sub(" ", threshold).split())
    if _told(lines, "thresholdtype").upper().startswith("PERCENT") and "%" not in bare:
        bare += "%"
    used, limit, whole = read_amounts([amount, bare, budgeted])
    kind = re.sub(r"[^a-z]", "", budget_type.lower()).removesuffix("budget")
    of_money = [each.is_money for each in (used, whole) if each]
    # Where the type is missing, the units say whether it is about money.
    is_cost = kind == "cost" or (not kind and bool(of_money) and all(of_money))
    is_ratio = kind.endswith(("utilization", "coverage")) or (
        not kind and used is not None and used.unit == "%"
    )
    percent, percent_slack = _percent(limit, whole)
    amount_of, amount_slack = _in_units(limit, whole)
    return BudgetLimit(
        is_cost=is_cost,
        is_ratio=is_ratio,
        below=bool(_BELOW.search(threshold)),
        amount=amount_of,
        percent=percent,
        amount_slack=amount_slack,
        percent_slack=percent_slack,
    )


def _percent(limit: Amount | None, whole: Amount | None) -> tuple[float | None, float]:
    if limit is None:
        return None, 0.0
    if limit.unit.startswith("%"):
        return float(limit.value), 0.0
    if whole is None or not whole.value or limit.unit.casefold() != whole.unit.casefold():
        return None, 0.0
    return float(100 * limit.value / whole.value), float(50 * limit.step / whole.value)


def _in_units(limit: Amount | None, whole: Amount | None) -> tuple[float | None, float]:
    """The threshold in the budget's own units, and by how much it may be too small."""
    if limit is None:
        return None, 0.0
    if not limit.unit.startswith("%") or (whole and whole.unit.startswith("%")):
        return float(limit.value), float(limit.step / 2)
    return (float(limit.value * whole.value / 100), 0.0) if whole else (None, 0.0)


def _period(lines: Mapping[Any, Any], prose: str, name: str) -> Period:
    said = _told(lines, "timeunit", "budgetperiod", "period").lower()
    if said:
        return next((each for each in _PERIODS if each == said), _ADJECTIVES.get(said, "month"))
    # The budget's name stands in the sentence too, and may hold anything.
    sentence = " ".join(prose.replace(name, "").partition("Budget Name")[0].lower().split())
    found = _PERIOD.search(sentence)
    if found is None:
        return "month"
    return next((each for each in _PERIODS if each == found[1]), "day")


def end_of(period: Period, at: datetime) -> datetime:
    """When the calendar's day, month, quarter or year (UTC) in which a time lies is over."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return day + timedelta(days=1)
    months = {"month": 1, "quarter": 3, "year": 12}[period]
    passed = (day.month - 1) // months * months + months
    return day.replace(year=day.year + passed // 12, month=passed % 12 + 1, day=1)


# ---- Cost Anomaly Detection ---------------------------------------------------------------


class _Impact(_Lenient):
    totalImpact: float | None = None  # noqa: N815
    totalActualSpend: float | None = None  # noqa: N815
    totalExpectedSpend: float | None = None  # noqa: N815


class _Anomaly(_Lenient):
    monitorName: _Soft = ""  # noqa: N815
    monitorArn: _Soft = ""  # noqa: N815
    subscriptionName: _Soft = ""  # noqa: N815
    subscriptionId: _Soft = ""  # noqa: N815
    dimensionValue: _Soft = ""  # noqa: N815 EventBridge's word
    dimensionalValue: _Soft = ""  # noqa: N815 SNS's
    anomalyStartDate: _Soft = ""  # noqa: N815
    anomalyEndDate: _Soft = ""  # noqa: N815
    impact: Any = None


def _read_anomaly(detail: object, told_at: datetime | None) -> Evidence:
    anomaly = _checked(_Anomaly, "a cost anomaly", detail)
    names = (
        anomaly.monitorName,
        anomaly.subscriptionName,
        anomaly.monitorArn,
        anomaly.subscriptionId,
    )
    name = next((name for name in names if name.strip()), "")
    if not name:
        raise EvidenceError("a cost anomaly that names neither its monitor nor its subscription")
    at = told_at or time_or_none(anomaly.anomalyEndDate) or time_or_none(anomaly.anomalyStartDate)
    if at is None:
        raise EvidenceError(f"a cost anomaly of {plain(name)!r} without a time")
    try:
        impact = _Impact.model_validate(anomaly.impact)
    except ValidationError:
        impact = _Impact()
    where = plain(anomaly.dimensionValue or anomaly.dimensionalValue, 100)
    last_day = time_or_none(anomaly.anomalyEndDate)
    return Evidence(
        source="anomaly",
        alarm=fact(name),
        names=_names(*names),
        state="ALARM",
        at=at,
        amount=_dollars(impact.totalActualSpend),
        threshold=_dollars(impact.totalExpectedSpend),
        period="day",
        over_at=end_of("day", last_day) + _ANOMALY_IS_LATE if last_day else None,
        detail=f"{_dollars(impact.totalImpact) or 'an unknown amount'} more than expected"
        + (f", in {where}" if where else ""),
    )


def _dollars(amount: float | None) -> str:
    return "" if amount is None else f"${amount:,.2f}"
