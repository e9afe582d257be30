"""Reads the events of Cost Anomaly Detection."""

from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from batch_watchdog.core.errors import EvidenceError
from batch_watchdog.core.payload_parts import LenientModel
from batch_watchdog.guards.signals.evidence import (
    Evidence,
    SoftText,
    checked,
    end_of,
    names_of,
    time_or_none,
)
from batch_watchdog.notices.phrases import say
from batch_watchdog.notices.text import fact, plain

_ANOMALY_IS_LATE = timedelta(days=1)


class _Impact(LenientModel, allow_inf_nan=False):
    totalImpact: float | None = None  # noqa: N815
    totalActualSpend: float | None = None  # noqa: N815
    totalExpectedSpend: float | None = None  # noqa: N815


class _Anomaly(LenientModel):
    anomalyId: SoftText = ""  # noqa: N815
    monitorName: SoftText = ""  # noqa: N815
    monitorArn: SoftText = ""  # noqa: N815
    subscriptionName: SoftText = ""  # noqa: N815
    subscriptionId: SoftText = ""  # noqa: N815
    dimensionValue: SoftText = ""  # noqa: N815 EventBridge's word
    dimensionalValue: SoftText = ""  # noqa: N815 SNS's
    anomalyStartDate: SoftText = ""  # noqa: N815
    anomalyEndDate: SoftText = ""  # noqa: N815
    impact: Any = None


def read_anomaly(detail: object, told_at: datetime | None) -> Evidence:
    anomaly = checked(_Anomaly, "a cost anomaly", detail)
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
        names=names_of(*names),
        state="ALARM",
        at=at,
        amount=_dollars(impact.totalActualSpend),
        threshold=_dollars(impact.totalExpectedSpend),
        anomaly_id=fact(anomaly.anomalyId),
        impact=impact.totalImpact or 0.0,
        period="day",
        over_at=end_of("day", last_day) + _ANOMALY_IS_LATE if last_day else None,
        detail=say(
            "{amount} more than expected, in {where}" if where else "{amount} more than expected",
            amount=_dollars(impact.totalImpact) or say("an unknown amount"),
            where=where,
        ),
    )


def _dollars(amount: float | None) -> str:
    return "" if amount is None else f"${amount:,.2f}"
