"""What money says is understood, passed over with a reason, or refused with a reason."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch_watchdog.core.errors import EvidenceError
from batch_watchdog.guards.signals.envelope import read, records
from batch_watchdog.guards.signals.evidence import BudgetLimit, Evidence, Ignored, Period, end_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
YEAR_ZERO = "0001-01-01T00:00:00+14:00"
ARN = "arn:aws:cloudwatch:us-east-1:111122223333:alarm:batch-spend-80"


# ---- Makers -------------------------------------------------------------------------------


def an_sns_record(message: object, **changes: Any) -> dict[str, Any]:
    """What Lambda gets of a message that SNS took in at noon."""
    sns = {
        "Type": "Notification",
        "Subject": "None",
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-01-01T12:00:00.000Z",
        "TopicArn": "arn:aws:sns:us-east-1:111122223333:money",
    }
    return {"EventSource": "aws:sns", "Sns": sns | changes}


def an_alarm_message(**changes: Any) -> dict[str, Any]:
    """A CloudWatch alarm as SNS tells of it, in ALARM since a second before noon."""
    return {
        "AlarmName": "batch-spend-80",
        "AlarmArn": ARN,
        "NewStateValue": "ALARM",
        "OldStateValue": "OK",
        "NewStateReason": "Threshold Crossed: 1 datapoint [424.2 (01/01/26 06:00:00)] was greater "
        "than the threshold (400.0).",
        "StateChangeTime": "2026-01-01T11:59:59.250+0000",
    } | changes


def an_alarm_event(value: str = "ALARM", before: str = "OK", **changes: Any) -> dict[str, Any]:
    """The same alarm as EventBridge tells of it."""
    return {
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "time": "2026-01-01T12:00:00Z",
        "resources": [ARN],
        "detail": {
            "alarmName": "batch-spend-80",
            "state": {"value": value, "timestamp": "2026-01-01T11:59:59.250+0000"},
            "previousState": {"value": before},
        }
        | changes,
    }


def a_budget_text(**changes: str) -> str:
    """What AWS Budgets writes; a line is left out where it is given as ""."""
    lines = {
        "Budget Name": "monthly",
        "Budget Type": "Cost",
        "Budgeted Amount": "$1,000.00",
        "Alert Type": "ACTUAL",
        "Alert Threshold": "> $800.00",
        "ACTUAL Amount": "$1,234.56",
    } | {name.replace("_", " "): value for name, value in changes.items()}
    told = "\n".join(f"{name}: {value}" for name, value in lines.items() if value)
    return (
        "AWS Budget Notification January 01, 2026\nAWS Account 111122223333\n\n"
        "Dear AWS Customer,\n\nYou requested that we alert you when the ACTUAL Cost associated "
        f"with your budget is greater than $800.00.\n\n{told}\n\n[1] https://example.com/budgets\n"
    )


def an_anomaly(**changes: Any) -> dict[str, Any]:
    """An anomaly, as SNS and EventBridge tell of it."""
    return {
        "anomalyId": "a-1",
        "monitorName": "batch-monitor",
        "monitorArn": "arn:aws:ce::111122223333:anomalymonitor/m-1",
        "anomalyStartDate": "2025-12-30T00:00:00Z",
        "anomalyEndDate": "2025-12-31T00:00:00Z",
        "impact": {"totalImpact": 900, "totalActualSpend": 1301.5, "totalExpectedSpend": 300},
    } | changes


def evidence_of(delivered: object) -> Evidence:
    evidence = read(delivered)
    assert isinstance(evidence, Evidence), evidence
    return evidence


# ---- CloudWatch alarms --------------------------------------------------------------------


def test_an_alarm_says_the_same_by_sns_and_by_eventbridge() -> None:
    by_sns = evidence_of(an_sns_record(an_alarm_message(NewStateReason="")))

    assert by_sns == evidence_of(an_alarm_event())
    assert by_sns.names == {"batch-spend-80", ARN}
    assert by_sns.state == "ALARM"
    assert by_sns.at == datetime(2026, 1, 1, 11, 59, 59, 250_000, tzinfo=UTC)


def test_the_amount_is_taken_from_the_reason() -> None:
    evidence = evidence_of(an_sns_record(an_alarm_message()))

    assert (evidence.amount, evidence.threshold) == ("424.2", "400.0")


@pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA"])
def test_other_states_are_evidence_too(state: str) -> None:
    assert evidence_of(an_alarm_event(state, "ALARM")).state == state


@pytest.mark.parametrize("stamp", ["Thu, 01 Jan 2026 11:59:59 GMT", 1767268799, "", None])
def test_the_events_own_time_stands_in_for_one_that_cannot_be_read(stamp: object) -> None:
    evidence = evidence_of(an_alarm_event("OK", "ALARM", state={"value": "OK", "timestamp": stamp}))

    assert evidence.state == "OK"
    assert evidence.at == datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_an_alarm_whose_actions_are_suppressed_is_in_alarm_all_the_same() -> None:
    event = an_alarm_event()
    event["detail"]["state"]["actionsSuppressedBy"] = "WaitPeriod"

    assert evidence_of(event).state == "ALARM"
    assert "suppressed: WaitPeriod" in evidence_of(event).detail


A_CONTRIBUTOR: dict[str, Any] = {"id": "6d44", "attributes": {"ServiceName": "AWS Batch"}}
CONTRIBUTORS = [
    pytest.param(
        an_sns_record(an_alarm_message(NewStateValue=state, **of_one)), id=f"{id_}, {state}"
    )
    for state in ("ALARM", "OK")
    for id_, of_one in (
        ("contributor by SNS", {"AlarmContributorId": "6d44"}),
        ("contributor by SNS, as in events", {"alarmContributor": A_CONTRIBUTOR}),
        ("contributor by SNS, attributes", {"CONTRIBUTOR_ATTRIBUTES": {"ServiceName": "EC2"}}),
    )
] + [
    pytest.param(
        {
            "source": "aws.cloudwatch",
            "alarmArn": ARN,
            "time": "2026-01-01T12:00:00Z",
            "alarmData": an_alarm_event(state, alarmContributor=A_CONTRIBUTOR)["detail"],
        },
        id=f"contributor by Lambda, {state}",
    )
    for state in ("ALARM", "OK")
]


@pytest.mark.parametrize(
    "uninteresting",
    [
        pytest.param(an_alarm_event("ALARM", "ALARM"), id="same state, by EventBridge"),
        pytest.param(
            an_alarm_event() | {"detail-type": "CloudWatch Alarm Configuration Change"},
            id="configuration",
        ),
        pytest.param(
            an_alarm_event() | {"detail-type": "CloudWatch Alarm Contributor State Change"},
            id="contributor",
        ),
        *CONTRIBUTORS,
        pytest.param(an_alarm_event() | {"source": "custom.app"}, id="somebody else's event"),
        pytest.param(
            an_sns_record("You have chosen to subscribe", Type="SubscriptionConfirmation"),
            id="subscription",
        ),
        pytest.param(an_sns_record("Hello from SNS!"), id="plain text"),
        pytest.param(an_sns_record("Our budget: see AWS Budgets"), id="prose on budgets"),
        pytest.param(an_sns_record({"hello": "world"}), id="other JSON"),
        pytest.param(an_sns_record("{not JSON"), id="not quite JSON"),
    ],
)
def test_what_is_of_no_interest_is_ignored_with_a_reason(uninteresting: object) -> None:
    ignored = read(uninteresting)

    assert isinstance(ignored, Ignored)
    assert ignored.why


def test_half_a_character_in_a_reason_does_no_harm() -> None:
    message = an_alarm_message(NewStateReason="\ud83d 424.2")

    assert evidence_of(an_sns_record(message)).detail == "? 424.2"


@pytest.mark.parametrize("told", [{"alarmContributors": [A_CONTRIBUTOR]}, {"contributors": 2}])
def test_an_alarm_that_tells_of_all_its_contributors_counts(told: dict[str, Any]) -> None:
    assert evidence_of(an_sns_record(an_alarm_message(**told))).state == "ALARM"


@pytest.mark.parametrize("state", ["ALARM", "OK"])
def test_an_alarms_own_message_counts_whatever_its_state_was_before(state: str) -> None:
    message = an_alarm_message(NewStateValue=state, OldStateValue=state)
    detail = an_alarm_event(state, state)["detail"]

    assert evidence_of(an_sns_record(message)).state == state
    assert evidence_of({"alarmArn": ARN, "alarmData": detail}).state == state


def test_an_alarm_without_a_time_of_its_own_counts_from_when_it_was_sent() -> None:
    message = an_alarm_message()
    del message["StateChangeTime"]

    assert evidence_of(an_sns_record(message)).at == NOON


@pytest.mark.parametrize("stamp", ["yesterday", "", 1767268799, YEAR_ZERO])
def test_the_time_of_the_message_stands_in_for_one_that_cannot_be_read(stamp: object) -> None:
    message = an_alarm_message(NewStateValue="OK", OldStateValue="ALARM", StateChangeTime=stamp)

    evidence = evidence_of(an_sns_record(message))

    assert (evidence.state, evidence.at) == ("OK", NOON)


# ---- Budgets ------------------------------------------------------------------------------


def test_a_budgets_message_is_an_alarm_from_when_sns_took_it_in() -> None:
    evidence = evidence_of(an_sns_record(a_budget_text()))

    assert evidence == Evidence(
        source="budget",
        alarm="monthly",
        names=frozenset({"monthly", "arn:aws:budgets::111122223333:budget/monthly"}),
        state="ALARM",
        at=NOON,
        forecasted=False,
        amount="$1,234.56",
        threshold="more than $800.00",
        budgeted="$1,000.00",
        budget_type="Cost",
        period="month",
        limit=BudgetLimit(
            is_cost=True, amount=800.0, percent=80.0, amount_slack=0.005, percent_slack=0.0005
        ),
        detail="ACTUAL amount $1,234.56, alert threshold more than $800.00, budgeted $1,000.00",
    )


def test_actual_and_forecasted_are_told_apart() -> None:
    forecasted = a_budget_text(Alert_Type="FORECASTED", ACTUAL_Amount="", FORECASTED_Amount="$2.00")

    assert evidence_of(an_sns_record(forecasted)).forecasted
    assert evidence_of(an_sns_record(forecasted)).amount == "$2.00"
    assert not evidence_of(an_sns_record(a_budget_text())).forecasted


def test_without_an_alert_type_the_amount_tells_the_kind() -> None:
    text = a_budget_text(Alert_Type="", ACTUAL_Amount="", FORECASTED_Amount="$2.00")

    assert evidence_of(an_sns_record(text)).forecasted


@pytest.mark.parametrize(
    "name", ["team: batch: monthly", "Büdget — 予算 💸", "FORECASTED", "Alert Type", "a  b"]
)
def test_a_budget_may_be_called_anything(name: str) -> None:
    evidence = evidence_of(an_sns_record(a_budget_text(Budget_Name=name)))

    assert evidence.alarm == name
    assert not evidence.forecasted


@given(st.permutations(a_budget_text().split("\n")))
def test_the_lines_of_a_budgets_message_may_come_in_any_order(lines: list[str]) -> None:
    evidence = evidence_of(an_sns_record("\r\n".join(lines)))

    assert evidence == evidence_of(an_sns_record(a_budget_text()))


@pytest.mark.parametrize(
    "wrapped",
    [
        pytest.param(an_sns_record(a_budget_text())["Sns"], id="bare SNS message"),
        pytest.param({"Records": [an_sns_record(a_budget_text())]}, id="one record"),
        pytest.param(
            {"body": json.dumps(an_sns_record(a_budget_text())["Sns"])}, id="in an SQS record"
        ),
        pytest.param(
            {"body": json.dumps(an_sns_record(an_sns_record(a_budget_text())["Sns"]))},
            id="twice through SNS",
        ),
        pytest.param(an_sns_record(json.dumps(a_budget_text())), id="as a JSON string"),
        pytest.param(
            an_sns_record("\ufeff" + json.dumps(a_budget_text())), id="with a byte order mark"
        ),
        pytest.param(an_sns_record(a_budget_text() + "Budget Name: fake"), id="said twice"),
    ],
)
def test_wrappings_make_no_difference(wrapped: object) -> None:
    assert evidence_of(wrapped) == evidence_of(an_sns_record(a_budget_text()))


def test_a_budgets_message_in_json_is_understood() -> None:
    message = {"budgetName": "monthly", "notificationType": "ACTUAL", "ACTUAL Amount": 1234.5}

    evidence = evidence_of(an_sns_record(message))

    assert (evidence.source, evidence.alarm, evidence.amount) == ("budget", "monthly", "1234.5")


@pytest.mark.parametrize(
    ("threshold", "budgeted", "percent"),
    [
        ("> $1,200.00", "$1,000.00", 120),
        ("greater than $800.00", "$1,000.00", 80),
        ("&gt; $800.00", "$1,000.00", 80),
        ("> 800,00 €", "1.000,00 €", 80),
        ("> ¥80,000", "¥100,000", 80),
        ("> USD 800.00", "USD 1,000.00", 80),
        ("> 800.00 CHF", "1'000.00 CHF", 80),
        ("> 80%", "$1,000.00", 80),
        ("> 80 %", "", 80),
        ("> $800.00", "", None),
        ("> $800.00", "$0.00", None),
        ("> $800.00", "1,000.00 USD", None),
        ("> $800", "$1K", None),
        ("> 800", "1.000", None),  # It may be one, and it may be a thousand.
        ("> $800.00", "1.000,00 $", None),  # Two ways of writing.
        ("> 80% ($800.00)", "$1,000.00", None),
        ("> -$800.00", "$1,000.00", None),
        ("> much", "$1,000.00", None),
        ("", "$1,000.00", None),
    ],
)
def test_a_threshold_is_read_as_a_share_of_what_is_budgeted(
    threshold: str, budgeted: str, percent: float | None
) -> None:
    text = a_budget_text(Alert_Threshold=threshold, Budgeted_Amount=budgeted, ACTUAL_Amount="")

    limit = evidence_of(an_sns_record(text)).limit

    assert limit
    assert limit.percent == percent
    assert not limit.below


@pytest.mark.parametrize(
    ("kind", "amount", "is_cost"),
    [
        ("Cost", "$1.00", True),
        ("", "¥1", True),
        ("", "1.00 EUR", True),
        ("", "812.4 Hrs", False),
        ("", "63%", False),
        ("", "1.00 GB", False),
        ("Usage", "812.4 Hrs", False),
        ("RI Utilization", "63.4%", False),
        ("Savings Plans Coverage", "63.4%", False),
        ("Something new", "$1.00", False),
    ],
)
def test_a_budget_of_cost_is_told_apart_from_others(kind: str, amount: str, is_cost: bool) -> None:  # noqa: FBT001
    text = a_budget_text(
        Budget_Type=kind, ACTUAL_Amount=amount, Budgeted_Amount=amount, Alert_Threshold="> 1"
    )

    limit = evidence_of(an_sns_record(text)).limit

    assert limit
    assert limit.is_cost is is_cost


def test_a_threshold_that_alerts_below_keeps_its_direction() -> None:
    text = a_budget_text(
        Budget_Type="RI Utilization",
        Budgeted_Amount="80%",
        Alert_Threshold="< 80%",
        ACTUAL_Amount="63.4%",
    )

    evidence = evidence_of(an_sns_record(text))

    assert evidence.limit
    assert (evidence.limit.below, evidence.limit.is_ratio, evidence.limit.percent) == (
        True,
        True,
        80,
    )
    assert evidence.threshold == "less than 80%"


@pytest.mark.parametrize(
    ("sentence", "period"),
    [
        ("is greater than $1 for the current month.", "month"),
        ("is greater than $1 for the current\nquarter.", "quarter"),
        ("is greater than $1 for the current year.", "year"),
        ("is greater than $0.75 per day. Yesterday, the cost is $1.70.", "day"),
        ("is greater than $1.", "month"),
    ],
)
def test_a_budgets_message_says_what_period_it_is_about(sentence: str, period: str) -> None:
    text = a_budget_text(Budget_Name="per day").replace(
        "with your budget is greater than $800.00.", f"with your per day budget {sentence}"
    )

    assert evidence_of(an_sns_record(text)).period == period


@pytest.mark.parametrize(
    "name", ["day", "yesterday", "d", "current month", "this  month", "Budget Name day"]
)
def test_the_name_of_a_budget_does_not_hide_its_period(name: str) -> None:
    text = a_budget_text(Budget_Name=name).replace(
        "with your budget is greater than $800.00.",
        f"with your {name} budget is greater than $1 per day. Yesterday, the cost is $2.",
    )

    assert evidence_of(an_sns_record(text)).period == "day"


def test_the_name_of_a_budget_does_not_hide_its_period_where_a_line_ends_within_it() -> None:
    text = a_budget_text(Budget_Name="this month").replace(
        "with your budget is greater than $800.00.",
        "with your this\nmonth budget is greater than $1 per day. Yesterday, the cost is $2.",
    )

    assert evidence_of(an_sns_record(text)).period == "day"


@pytest.mark.parametrize(
    ("period", "when", "end"),
    [
        ("day", "2026-02-28T23:59:59", "2026-03-01"),
        ("month", "2026-12-31T08:00:00", "2027-01-01"),
        ("quarter", "2026-03-31T08:00:00", "2026-04-01"),
        ("quarter", "2026-10-01T00:00:00", "2027-01-01"),
        ("year", "2026-01-01T00:00:00", "2027-01-01"),
    ],
)
def test_periods_are_those_of_the_calendar_in_utc(period: Period, when: str, end: str) -> None:
    began = datetime.fromisoformat(when).replace(tzinfo=UTC)

    assert end_of(period, began) == datetime.fromisoformat(end).replace(tzinfo=UTC)


def test_a_budgets_arn_has_the_partition_of_its_topic() -> None:
    record = an_sns_record(a_budget_text())
    record["Sns"]["TopicArn"] = "arn:aws-cn:sns:cn-north-1:111122223333:billing"

    assert "arn:aws-cn:budgets::111122223333:budget/monthly" in evidence_of(record).names


def test_an_alarm_that_calls_the_function_itself_says_the_same() -> None:
    event = an_alarm_event()
    call = {
        "source": "aws.cloudwatch",
        "alarmArn": event["resources"][0],
        "accountId": "111122223333",
        "time": event["time"],
        "region": "us-east-1",
        "alarmData": event["detail"],
    }

    assert evidence_of(call) == evidence_of(event)


def test_an_alarms_event_through_sns_keeps_its_own_time() -> None:
    event = evidence_of(an_sns_record(an_alarm_event(), Timestamp="2026-01-01T15:00:00Z"))

    assert event == evidence_of(an_alarm_event())


# ---- Cost anomalies -----------------------------------------------------------------------


def test_an_anomaly_is_named_after_its_monitor_and_its_subscription() -> None:
    evidence = evidence_of(
        an_sns_record(an_anomaly(subscriptionName="at once", dimensionalValue="AWS Batch"))
    )

    assert evidence.alarm == "batch-monitor"
    assert evidence.names == {
        "batch-monitor",
        "at once",
        "arn:aws:ce::111122223333:anomalymonitor/m-1",
    }
    assert evidence.at == NOON
    assert evidence.detail == "$900.00 more than expected, in AWS Batch"


@pytest.mark.parametrize(
    ("last_day", "end"),
    [
        ("2025-12-31T00:00:00Z", "2026-01-02T00:00:00"),
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00"),
        ("2025-12-30T00:00:00Z", "2026-01-01T00:00:00"),
        (None, "2026-01-02T00:00:00"),
    ],
)
def test_an_anomaly_is_over_with_its_day_and_sooner_if_it_ended_long_ago(
    last_day: str | None, end: str
) -> None:
    evidence = evidence_of(an_sns_record(an_anomaly(anomalyEndDate=last_day)))

    assert evidence.ends_at(evidence.at) == datetime.fromisoformat(end).replace(tzinfo=UTC)


def test_an_anomaly_by_eventbridge_counts_from_its_event() -> None:
    event = {
        "source": "aws.ce",
        "detail-type": "Anomaly Detected",
        "time": "2026-01-01T12:00:00Z",
        "detail": an_anomaly(dimensionValue="AWS Batch"),
    }

    assert evidence_of(event).at == NOON
    assert evidence_of(event).detail == "$900.00 more than expected, in AWS Batch"


def test_an_anomaly_whose_delivery_has_no_time_counts_from_its_last_day() -> None:
    evidence = evidence_of(an_sns_record(an_anomaly(), Timestamp="<date>"))

    assert evidence.at == datetime(2025, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize("impact", [float("nan"), float("inf"), "much", None])
def test_an_impact_that_is_no_number_is_unknown(impact: object) -> None:
    evidence = evidence_of(an_sns_record(an_anomaly(impact={"totalImpact": impact})))

    assert evidence.impact == 0
    assert "an unknown amount" in evidence.detail


def test_white_space_in_a_time_does_no_harm() -> None:
    assert (
        evidence_of(an_sns_record(an_anomaly(), Timestamp="2026-01-01T12: 00: 00.000Z")).at == NOON
    )


# ---- What cannot be understood ------------------------------------------------------------


@pytest.mark.parametrize(
    ("puzzling", "reason"),
    [
        (an_sns_record(an_alarm_message(NewStateValue="ALERT")), "NewStateValue"),
        (an_sns_record(an_alarm_message(NewStateValue=None)), "NewStateValue"),
        (an_sns_record(an_alarm_message(AlarmName="")), "AlarmName"),
        (an_sns_record(an_alarm_message(AlarmName=7)), "AlarmName"),
        (an_sns_record(an_alarm_message(StateChangeTime="soon"), Timestamp=7), "without a time"),
        (an_sns_record(json.dumps(an_alarm_message())[:-9]), "speaks of money"),
        (an_sns_record("so much!", Subject='ALARM: "batch-spend-80" in US East'), "subject"),
        (an_sns_record([], Subject="AWS Budgets: monthly has exceeded"), "subject"),
        (an_alarm_event() | {"detail": None}, "EventBridge"),
        (an_alarm_event(state={"value": "ALARM"}) | {"time": "soon"}, "without a time"),
        (an_sns_record(a_budget_text(Budget_Name="")), "speaks of money"),
        (an_sns_record(a_budget_text(Alert_Type="GUESSED")), "neither ACTUAL nor FORECASTED"),
        (an_sns_record(a_budget_text(Alert_Type="", ACTUAL_Amount="")), "neither ACTUAL"),
        (an_sns_record(a_budget_text(), Timestamp=None), "without a time"),
        (an_sns_record(an_anomaly(monitorName="", monitorArn=None)), "names neither"),
        (an_sns_record({"anomalyId": "a", "monitorName": "m"}, Timestamp=""), "without a time"),
        ({"Records": [an_sns_record("a"), an_sns_record("b")]}, "neither an EventBridge"),
        ({"detail": {}}, "neither an EventBridge"),
        ([], "neither an EventBridge"),
        ("hello", "neither an EventBridge"),
        (None, "neither an EventBridge"),
    ],
)
def test_what_speaks_of_money_and_is_not_understood_is_refused(
    puzzling: object, reason: str
) -> None:
    with pytest.raises(EvidenceError, match=reason):
        read(puzzling)


def test_endless_wrapping_is_refused() -> None:
    message: Any = a_budget_text()
    for _ in range(9):
        message = an_sns_record(message)["Sns"]

    with pytest.raises(EvidenceError, match="too many envelopes"):
        read(message)


def test_a_payload_is_taken_apart_into_its_records() -> None:
    first, second = an_sns_record("a"), an_sns_record("b")

    assert records({"Records": [first, second]}) == (first, second)
    assert records(an_alarm_event()) == (an_alarm_event(),)


# ---- Whatever comes -----------------------------------------------------------------------

any_text = st.text(st.characters()) | st.sampled_from(
    ["ALARM", "OK", "2026-01-01T12:00:00Z", YEAR_ZERO, "ACTUAL", "Budget Name: x"]
)
KEYS = """
    Records Sns body Message Type Subject Timestamp AlarmName NewStateValue OldStateValue
    StateChangeTime detail detail-type source time resources alarmName state value timestamp
    previousState anomalyId monitorName impact totalImpact budgetName alertType
"""
keys = st.sampled_from(re.findall(r"[\w-]+", KEYS))
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys | any_text, inner, max_size=6)
        | inner.map(json.dumps)
    ),
    max_leaves=12,
)


@given(any_json)
@example(float("nan"))
@example({"budgetName": "x", "alertType": 10**5_000})
@example(an_sns_record(an_anomaly(impact={"totalImpact": 10**400})))
@example(an_sns_record("[" * 100_000))
@example(an_sns_record('{"AlarmName": "\\ud800", "NewStateValue": "OK"}'))
@settings(max_examples=500)
def test_nothing_but_an_evidence_error_is_ever_raised(thing: object) -> None:
    for delivered in (thing, *records(thing)):
        _read_or_refused(delivered)


def mutated(payload: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    """The payload with another value in one place, or without it where the value is `...`."""
    head, *rest = path
    changed = dict(payload)
    if rest:
        changed[head] = mutated(payload[head], tuple(rest), value)
    elif value is ...:
        del changed[head]
    else:
        changed[head] = value
    return changed


def places(payload: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, value in payload.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *deeper) for deeper in places(value))


@pytest.mark.parametrize("inside", [an_alarm_message(), an_anomaly()])
@given(data=st.data(), value=st.just(...) | any_json)
def test_a_message_with_anything_in_one_place_is_read_or_refused(
    inside: dict[str, Any], data: st.DataObject, value: object
) -> None:
    path = data.draw(st.sampled_from(list(places(inside))))

    _read_or_refused(an_sns_record(mutated(inside, path, value)))


@given(data=st.data(), value=st.just(...) | any_json)
def test_an_event_with_anything_in_one_place_is_read_or_refused(
    data: st.DataObject, value: object
) -> None:
    path = data.draw(st.sampled_from(list(places(an_alarm_event()))))

    _read_or_refused(mutated(an_alarm_event(), path, value))


def _read_or_refused(delivered: object) -> None:
    try:
        evidence = read(delivered)
    except EvidenceError as error:
        assert str(error).isprintable()  # noqa: PT017
        return
    if isinstance(evidence, Evidence):
        assert evidence.at.utcoffset() is not None
        json.dumps([evidence.alarm, *evidence.names], ensure_ascii=False).encode()


# ---- What AWS has really sent -------------------------------------------------------------


def recorded(payloads: Path, name: str) -> object:
    [path] = payloads.rglob(f"{name}.json")
    [delivered] = records(json.loads(path.read_text()))
    return delivered


CDK_BUDGET = "AwsCostNotificationStack-MonthlyCostBudget"


@pytest.mark.parametrize(
    ("name", "alarm", "state"),
    [
        ("alerta-alarm-to-insufficient-data-2019", "notificationCountAlarm", "INSUFFICIENT_DATA"),
        ("billing-estimatedcharges-2016", "Estimated Charges more than $1", "ALARM"),
        ("billing-estimatedcharges-2017", "cw-to-slack-Alarm-9THDKWBS1876", "ALARM"),
        ("billing-estimatedcharges-2020-real", "eng-1332", "ALARM"),
        ("notify-slack-alarm-message-minimal", "Example", "ALARM"),
        ("notify-slack-alarm-to-ok", "DBMigrationRequired", "OK"),
        ("aws-docs-anomaly-detection-ok-to-alarm", "EC2 CPU Utilization Anomaly", "ALARM"),
        ("aws-docs-composite-suppressed-ok-to-alarm", "ServiceAggregatedAlarm", "ALARM"),
        ("aws-docs-metric-math-insufficient-to-alarm", "TotalNetworkTrafficTooHigh", "ALARM"),
        ("aws-docs-single-metric-ok-to-alarm", "ServerCpuTooHigh", "ALARM"),
        ("aws-docs-cost-anomaly-eventbridge", "<your monitor name>", "ALARM"),
        ("budgets-sns-daily-actual-2023-real", "killswitch", "ALARM"),
        ("budgets-sns-in-sqs-forecasted-2026-real", "test", "ALARM"),
        ("budgets-sns-monthly-actual-2019-over-100pct", "billingThree", "ALARM"),
        ("budgets-sns-monthly-actual-2022-http-form", "Test Budget", "ALARM"),
        ("budgets-sns-monthly-actual-2024", CDK_BUDGET, "ALARM"),
        ("budgets-sns-monthly-forecasted-2024", CDK_BUDGET, "ALARM"),
        ("cost-anomaly-sns-2023-opg", "AWSServiceMonitor", "ALARM"),
    ],
)
def test_what_was_recorded_elsewhere_is_understood(
    payloads: Path, name: str, alarm: str, state: str
) -> None:
    evidence = evidence_of(recorded(payloads, name))

    assert (evidence.alarm, evidence.state) == (alarm, state)
    assert evidence.forecasted == ("forecasted" in name)


@pytest.mark.parametrize(
    "name",
    [
        "alerta-subscription-confirmation-2018",
        "notify-slack-plain-text-sns",
        "aws-docs-config-update-metric",
        "aws-docs-multi-series-contributor",
        "aws-docs-sns-lambda",
    ],
)
def test_what_was_recorded_elsewhere_and_is_of_no_interest_is_ignored(
    payloads: Path, name: str
) -> None:
    assert isinstance(read(recorded(payloads, name)), Ignored)
