"""
The tables that make up a policy, named as in its text.

Their docstrings are the policy's documentation: the JSON Schema is generated from them.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from batch_watchdog.core.effects import WaitCause
from batch_watchdog.core.job_event import ARRAY_MAX
from batch_watchdog.notices.languages import Language, LanguageCode
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.durations import ISO_SPAN_SHAPE, SPAN_SHAPE, parse_span, span_text
from batch_watchdog.policy.match import Match, Table
from batch_watchdog.policy.toml_positions import KeyPath

type Mode = Literal["observe", "enforce"]
type Action = Literal["cancel", "terminate", "warn"]


type Span = Annotated[
    timedelta,
    BeforeValidator(parse_span),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^(?:{SPAN_SHAPE.pattern}|{ISO_SPAN_SHAPE.pattern})$",
            "examples": ["90s", "30m", "6h", "1h30m", "1d", "PT30M"],
        }
    ),
]


def _span_or_none(value: object) -> timedelta:
    return timedelta() if value in ("0s", "0m", "0h") else parse_span(value)


type SpanOrNone = Annotated[
    timedelta,
    BeforeValidator(_span_or_none),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^(?:0[smh]|{SPAN_SHAPE.pattern}|{ISO_SPAN_SHAPE.pattern})$",
            "examples": ["15m", "1h", "0s"],
        }
    ),
]
type Percent = Annotated[int, Field(strict=True, ge=1, le=99)]


class Safety(Table):
    """What bounds the harm that a wrong policy can do."""

    max_stops_per_hour: int = Field(default=500, strict=True, ge=0, le=10_000_000)
    """Most jobs that limits may stop in an hour; the rest is postponed, and operators are notified.
    A guard has no such brake."""


class Notify(Table):
    """The notices that operators are sent."""

    job_failures: bool = Field(default=True, strict=True)
    """Whether to send a notice of each single job that ends FAILED."""
    digest_over: int = Field(default=5, strict=True, ge=1, le=1_000_000)
    """If one decision sends more notices of one kind than this, they are sent as one digest."""
    fold: SpanOrNone = timedelta(minutes=15)
    """
    How long notices of one kind and cause are collected after the first; then they are sent as one
    digest. It doubles, up to an hour, while more come. "0s": each is sent when it comes.
    """
    language: LanguageCode = "en"
    """The language of subjects and texts: "en" (English) or "ja" (Japanese). Facts stay as they
    are."""
    time_zone: str = "UTC"
    """The time zone of times in texts, as the IANA names it ("Asia/Tokyo"). In facts they are
    UTC."""

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, time_zone: str) -> str:
        try:
            ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"expected a time zone of the IANA's, such as 'Asia/Tokyo', not {time_zone[:100]!r}"
            ) from error
        return time_zone

    def worded(self, notice: Notice) -> Notice:
        """Return the notice in the policy's language and time zone."""
        return Language(self.language, self.time_zone).worded(notice)

    def say(self, phrase: str) -> str:
        """Return a phrase in the policy's language and time zone."""
        return Language(self.language, self.time_zone).say(phrase)


class StopRest(Table):
    """When to stop the children of an array that have not ended yet. Any of the two will do."""

    failed: int | None = Field(default=None, strict=True, ge=0, lt=ARRAY_MAX)
    """More children than this have failed. 0: the first failure stops the rest."""
    failed_percent: float | None = Field(
        default=None, strict=True, ge=0, lt=100, allow_inf_nan=False
    )
    """More per cent than this failed, of the children that have ended."""
    of_at_least: int = Field(default=1, strict=True, ge=1, le=ARRAY_MAX)
    """The number of children that must have ended before any is stopped."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if self.failed is None and self.failed_percent is None:
            yield (), "expected failed, failed_percent or both"

    def is_met(self, *, failed: int, ended: int) -> bool:
        """Whether to stop the rest, by the numbers of children that failed and that ended."""
        if ended < self.of_at_least:
            return False
        too_many = self.failed is not None and failed > self.failed
        return too_many or (
            self.failed_percent is not None and failed * 100 > self.failed_percent * ended
        )


class ArrayRule(Table):
    """What to do about array jobs. The first rule that matches an array counts."""

    match: Match = Match()
    """The arrays that this rule is for; every array, unless given."""
    mode: Mode | None = None
    """This rule's own mode."""
    progress: Annotated[tuple[Percent, ...], Field(max_length=20)] = ()
    """Percentages of ended children at which to send a notice of the progress."""
    stop_rest_when: StopRest | None = None
    """When to stop the children that have not ended yet. Never, unless given."""
    silent: bool = Field(default=False, strict=True)
    """Send no notices of these arrays, except of what the watchdog itself stops."""

    @field_validator("progress")
    @classmethod
    def _in_order(cls, progress: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(progress)))

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if self.silent and self.progress:
            yield ("progress",), "would never be told: this rule is silent"


class AfterByCause(Table):
    """Other limits where the diagnosis knows why the job waits. They go before `after`."""

    misconfigured: Span | None = None
    """Longest stay of a job that cannot start however long it waits: its environment is invalid,
    disabled or too small, or the job asks for what no instance has."""
    capacity: Span | None = None
    """Longest stay of a job that waits for capacity or for its turn."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if not self.spans():
            yield (), "expected misconfigured, capacity or both"

    def spans(self) -> dict[WaitCause, timedelta]:
        spans: dict[WaitCause, timedelta | None] = {
            "misconfigured": self.misconfigured,
            "capacity": self.capacity,
        }
        return {cause: span for cause, span in spans.items() if span is not None}


class StateLimit(Table):
    """How long a job may stay in one state, without a break and in one attempt."""

    warn_after: Span | None = None
    """When to warn, and say why the job is stuck. Sooner than `after`."""
    after: Span | None = None
    """Longest stay; then the action follows."""
    action: Action = "cancel"
    """What to do then. "warn" stops nothing. "terminate" also stops a job that has started in
    the same moment. A service job is stopped by TerminateServiceJob either way."""

    def stops_after(self) -> list[timedelta]:
        """All stays after which the action can follow."""
        return [self.after] if self.after else []

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        stops = self.stops_after()
        if not stops:
            hint = ' (for a warning alone: after = "…", action = "warn")' * bool(self.warn_after)
            yield ("after",), f"is missing: the longest stay{hint}"
        elif self.warn_after and self.warn_after >= max(stops):
            yield (
                ("warn_after",),
                f"expected less than {span_text(max(stops))}, when the action follows, not "
                + span_text(self.warn_after),
            )


class RunnableLimit(StateLimit):
    """How long a job may stay RUNNABLE, without a break and in one attempt."""

    after_by_cause: AfterByCause | None = None
    """Other limits for known causes. Without `after`, only these causes are limited."""
    escalate: bool = Field(default=False, strict=True)
    """Terminate a job that started although it was cancelled. Otherwise it is left to run."""

    def stops_after(self) -> list[timedelta]:
        by_cause = self.after_by_cause.spans().values() if self.after_by_cause else ()
        return [*super().stops_after(), *by_cause]

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        yield from super().contradictions()
        if self.escalate and self.action == "warn":
            yield ("escalate",), 'has no meaning with action = "warn", which stops nothing'


class StartedLimit(StateLimit):
    """How long a job may stay STARTING or RUNNING, in one attempt."""

    action: Literal["terminate", "warn"] = "terminate"
    """What to do then. "warn" stops nothing."""

    @field_validator("action", mode="before")
    @classmethod
    def _is_no_cancel(cls, action: object) -> object:
        if action == "cancel":
            raise ValueError(
                "cancel does nothing to a job that has started, though AWS Batch accepts it: "
                "expected 'terminate' or 'warn'"
            )
        return action


class LimitRule(Table):
    """
    How long jobs may stay in their states. The first rule that matches a job counts, even where
    it has no limit for the job's state: a rule without any exempts its jobs from those below.
    """

    match: Match = Match()
    """The jobs that this rule is for; every job, unless given."""
    mode: Mode | None = None
    """This rule's own mode."""
    SUBMITTED: StateLimit | None = None
    """Not yet evaluated by AWS Batch. No event reports the submission: the job is found when the
    waiting jobs are listed, every 15 minutes."""
    PENDING: StateLimit | None = None
    """Waiting for the jobs that it depends on. A job that is cancelled then ends when these have
    ended. The parent of an array, which is PENDING while its children run, has no limit."""
    RUNNABLE: RunnableLimit | None = None
    """Waiting for an instance."""
    SCHEDULED: StateLimit | None = None
    """Handed to the other service, which has not begun. Service jobs only."""
    STARTING: StartedLimit | None = None
    """On an instance, and not running yet."""
    RUNNING: StartedLimit | None = None
    """Running."""

    def for_state(self, status: str) -> StateLimit | None:
        limits: dict[str, StateLimit | None] = {
            "SUBMITTED": self.SUBMITTED,
            "PENDING": self.PENDING,
            "RUNNABLE": self.RUNNABLE,
            "SCHEDULED": self.SCHEDULED,
            "STARTING": self.STARTING,
            "RUNNING": self.RUNNING,
        }
        return limits.get(status)
