"""Evidence: one state of a billing alarm, a budget or a cost anomaly."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from batch_watchdog.core.errors import EvidenceError
from batch_watchdog.core.job_event import EPOCH, TIMES_END
from batch_watchdog.notices.text import fact, plain

type Source = Literal["cloudwatch", "budget", "anomaly", "live"]
"""Where a word comes from; "live" is a budget of the policy, which the watchdog counts itself."""
type AlarmState = Literal["ALARM", "OK", "INSUFFICIENT_DATA"]
type Period = Literal["day", "month", "quarter", "year"]
_NUMBER_MAX = 10**18
# AWS updates the data of Budgets up to three times a day, 8 to 12 hours after the last update:
# https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-managing-costs.html
_USE_IS_LATE = timedelta(hours=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    One message of a billing signal: this alarm was in this state from this time (UTC) on.

    `alarm` is the name to show, `names` are all by which a policy may name it (an ARN too).
    A Budgets message and an anomaly are always in ALARM: neither has an OK later.
    INSUFFICIENT_DATA is neither an ALARM nor its end. Texts are for people: safe to show, not to
    calculate with, and "" if not given.

    `arn` is a CloudWatch alarm's, if known: two regions may have alarms with the same name.
    `anomaly_id` and `impact` (USD) distinguish anomalies, by whatever route they arrive. `limit` is
    the threshold of a budget's message, in numbers. `period` is the kind of period that it is
    about, and `over_at` the end of that, if the source gives it. `share` is the threshold, in per
    cent, of a live budget.
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
    arn: str = ""
    anomaly_id: str = ""
    impact: float = 0.0
    share: float = 0.0

    def ends_at(self, at: datetime) -> datetime | None:
        """Return when evidence that counts from `at` ends without an OK; None if it does not."""
        if self.period is None:
            return self.over_at
        end = end_of(self.period, at)
        return min(end, self.over_at) if self.over_at else end

    @property
    def may_be_of_the_period_before(self) -> bool:
        """
        Check whether it may be about use in the period before: AWS knows that hours later.

        A forecast, too, is made of what AWS knows, and its message does not show for which period.
        """
        if self.source != "budget" or self.period in (None, "day"):
            return False
        return end_of(self.period, self.at - _USE_IS_LATE) != end_of(self.period, self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimit:
    """
    The threshold of a budget that a message is about, in numbers; None where unknown.

    `percent` is its share of what is budgeted, or the threshold itself where that is in per cent.
    The slacks are by how much the two may be off, because the threshold was rounded.
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
    """A delivery that no guard needs; `why` is for the log."""

    why: str


# ---- Wrappings ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What the wrappings of a message have shown so far."""

    at: datetime | None = None
    subject: str = ""
    by_sns: bool = False
    partition: str = "aws"
    steps: int = 0


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
    """Parse a time as AWS writes it, into UTC; None for anything else."""
    try:
        return _time(value)
    except ValueError:
        return None


def _text(value: object) -> object:
    """Make text fit for UTF-8 (half a surrogate pair is not); return all else unchanged."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _soft(value: object) -> object:
    return _text(value) if isinstance(value, str) else ""


# If it cannot be read, the time of the event or message is used.
type TimeOrNone = Annotated[datetime | None, BeforeValidator(time_or_none)]
type SignalName = Annotated[
    str, BeforeValidator(_text), Field(min_length=1, max_length=2_048, pattern=r"\S")
]
type SoftText = Annotated[str, BeforeValidator(_soft)]  # never a reason to fail


def checked[Model: BaseModel](model: type[Model], what: str, value: object) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise EvidenceError(f"{what}: {plain(place, 80)}: {plain(first['msg'], 150)}") from error


def names_of(*names: str) -> frozenset[str]:
    return frozenset(fact(name) for name in names if name)


# ---- AWS Budgets --------------------------------------------------------------------------


def value_of(lines: Mapping[Any, Any], *names: str) -> str:
    """Return the first of these values that is given; names are compared by their letters only."""
    values = {re.sub(r"[^a-z]", "", str(key).lower()): value for key, value in lines.items()}
    return next((found for name in names if (found := _scalar(values.get(name)))), "")


def _scalar(value: object) -> str:
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < _NUMBER_MAX):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def end_of(period: Period, at: datetime) -> datetime:
    """Return the end of the calendar day, month, quarter or year (UTC) that a time is in."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return day + timedelta(days=1)
    months = {"month": 1, "quarter": 3, "year": 12}[period]
    passed = (day.month - 1) // months * months + months
    return day.replace(year=day.year + passed // 12, month=passed % 12 + 1, day=1)
