"""
The tables of which a policy is made, named as in its text.

Their descriptions are the policy's documentation: the JSON Schema is made from them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Protocol, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from batch_watchdog.changes import ARRAY_MAX, resource_name
from batch_watchdog.spans import ISO_SPAN_SHAPE, SPAN_SHAPE, parse_span, shown, span_text
from batch_watchdog.toml_lines import KeyPath

GLOB_MAX = 256  # characters

type Mode = Literal["observe", "enforce"]
type Action = Literal["cancel", "terminate", "warn"]
type Cause = Literal["misconfigured", "capacity"]


class Job(Protocol):
    """A job as rules see it. Queue and definition may be names or ARNs."""

    @property
    def job_name(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def definition(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _on_one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"expected one line without control characters, not {shown(text)}")
    return text


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
type Text = Annotated[str, Field(min_length=1, max_length=GLOB_MAX), AfterValidator(_on_one_line)]
type AlarmName = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_on_one_line)]
type Value = Annotated[str, Field(max_length=GLOB_MAX), AfterValidator(_on_one_line)]
type Globs = Annotated[
    tuple[Text, ...],
    BeforeValidator(_listed),
    Field(min_length=1, max_length=100),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": GLOB_MAX},
                {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1, "maxLength": GLOB_MAX},
                    "minItems": 1,
                    "maxItems": 100,
                },
            ]
        }
    ),
]
type Percent = Annotated[int, Field(strict=True, ge=1, le=99)]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """What cannot be meant, though each key is fine by itself: where, and why."""
        yield from ()

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if found := tuple(self.contradictions()):
            raise PydanticCustomError("contradiction", "contradiction", {"found": found})
        return self


class Match(Table):
    """
    Which jobs a rule is for: those to which all that is given applies. Nothing given: every job.

    Globs know `*`, `?` and `[abc]`, and mind upper and lower case. A list means any of them.
    """

    name: Globs | None = None
    """Globs on the job's name."""
    queue: Globs | None = None
    """Globs on the name (or the ARN) of the job queue."""
    definition: Globs | None = None
    """Globs on the job definition: "align" is every revision of it, "align:3" is one.
    Service jobs have no definition."""
    tags: Mapping[Text, Value] = Field(default_factory=dict)
    """Tags that the job has, each with exactly this value. Events of service jobs carry no tags."""

    def matches(self, job: Job) -> bool:
        return self.may_match(job) and all(
            job.tags.get(key) == value for key, value in self.tags.items()
        )

    def may_match(self, job: Job) -> bool:
        """Whether a job of this name, queue and definition matches, if its tags do."""
        definition = resource_name(job.definition)
        return (
            _any_glob(self.name, job.job_name)
            and self.matches_queue(job.queue)
            and _any_glob(
                self.definition,
                definition,
                definition.partition(":")[0],
                arn=job.definition,
            )
        )

    def matches_queue(self, queue: str) -> bool:
        """Whether jobs of this queue (an ARN or a name) can match."""
        return _any_glob(self.queue, resource_name(queue), arn=queue)

    @property
    def everything(self) -> bool:
        """Whether every job matches, because nothing is asked for."""
        return not (self.name or self.queue or self.definition or self.tags)

    def __str__(self) -> str:
        globs = (("name", self.name), ("queue", self.queue), ("definition", self.definition))
        parts = [f"{key} {' or '.join(value)}" for key, value in globs if value]
        if self.tags:
            parts.append("tags " + " and ".join(f"{key}={self.tags[key]}" for key in self.tags))
        return f"match {', '.join(parts)}" if parts else "every job"


def _any_glob(globs: Sequence[str] | None, *names: str, arn: str = "") -> bool:
    # Only a glob that is meant for ARNs may see one: "*batch*" would match all of them.
    return globs is None or any(
        fnmatchcase(name, glob)
        for glob in globs
        for name in ((arn,) if glob.startswith("arn:") else names)
    )


class Safety(Table):
    """What bounds the harm that a wrong policy can do."""

    max_stops_per_hour: int = Field(default=500, strict=True, ge=0, le=10_000_000)
    """Most jobs that limits may stop in an hour; the rest is held and an operator is asked.
    A guard has no such brake."""


class Notify(Table):
    """What operators are told."""

    job_failures: bool = Field(default=True, strict=True)
    """Whether to tell of single jobs that ended FAILED."""
    digest_over: int = Field(default=5, strict=True, ge=1, le=1_000_000)
    """More notices of one kind than this in one go are folded into one."""


class StopRest(Table):
    """When to stop the children of an array that have not ended yet. Any of the two will do."""

    failed: int | None = Field(default=None, strict=True, ge=0, lt=ARRAY_MAX)
    """More children than this have failed. 0: the first failure stops the rest."""
    failed_percent: float | None = Field(
        default=None, strict=True, ge=0, lt=100, allow_inf_nan=False
    )
    """More per cent than this failed, of the children that have ended."""
    of_at_least: int = Field(default=1, strict=True, ge=1, le=ARRAY_MAX)
    """So many children must have ended before anything is stopped."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if self.failed is None and self.failed_percent is None:
            yield (), "expected failed, failed_percent or both"

    def is_met(self, *, failed: int, ended: int) -> bool:
        """Whether the rest shall be stopped, when so many children failed of those that ended."""
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
    """Percentages of ended children at which to tell of the progress."""
    stop_rest_when: StopRest | None = None
    """When to stop the children that have not ended yet. Never, unless given."""
    silent: bool = Field(default=False, strict=True)
    """Tell nothing of these arrays, but for what the watchdog itself stops."""

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

    def spans(self) -> dict[Cause, timedelta]:
        spans: dict[Cause, timedelta | None] = {
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
    """Not taken up by AWS Batch. No event says that a job was submitted: it is found when the
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


class AwsBudget(Table):
    """A threshold of an AWS Budget, by which a stage is raised. One of `percent` and `amount`."""

    name: AlarmName
    """The budget's name (or its ARN)."""
    percent: float | None = Field(
        default=None, strict=True, gt=0, le=1_000_000, allow_inf_nan=False
    )
    """A threshold of at least so many per cent of the budgeted amount raises the stage. Of a budget
    of utilization or coverage: the threshold itself, and one below it where AWS Budgets alerts
    when less is used."""
    amount: float | None = Field(default=None, strict=True, gt=0, le=1e15, allow_inf_nan=False)
    """A threshold of at least this amount raises the stage, in the budget's own unit."""
    forecast: bool = Field(default=False, strict=True)
    """Whether a FORECASTED message is meant, and not an ACTUAL one."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if (self.percent is None) == (self.amount is None):
            yield (), "expected one of percent and amount"

    def __str__(self) -> str:
        limit = f"{self.percent:g} %" if self.percent is not None else f"{self.amount:.15g}"
        return f"{self.name} ({limit})"


class Stage(Table):
    """One stage of a guard: what raises it, and what it does to the jobs in the guard's scope."""

    alarms: tuple[AlarmName, ...] = ()
    """CloudWatch alarms, AWS Budgets or cost anomaly monitors, by name; any of them raises the
    stage. The name of a budget means a cost budget, and its threshold of 100 % or more. An empty
    list: only an operator raises the stage."""
    aws_budgets: Annotated[tuple[AwsBudget, ...], Field(max_length=100)] = ()
    """Other thresholds of AWS Budgets that raise the stage: [{ name = "monthly", percent = 80 }].
    Budgets of usage, utilization and coverage raise a stage only so."""
    forecast: bool = Field(default=False, strict=True)
    """Whether a FORECASTED message of a budget in `alarms` raises the stage too, and not only an
    ACTUAL one."""
    after_previous: Span | None = None
    """The stage is also raised when the one before has lasted so long."""
    action: Literal["cancel", "terminate"]
    """"cancel" stops what waits and lets finish what runs; "terminate" stops everything."""
    close_queues: bool = Field(default=False, strict=True)
    """Close the queues in scope to new jobs. They stay closed at later stages too, and are
    reopened on release."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if not self.model_fields_set & {"alarms", "aws_budgets", "after_previous"}:
            yield (
                ("alarms",),
                "is missing: what raises this stage (alarms = [] if only an operator does)",
            )
        if self.forecast and not self.alarms:
            yield ("forecast",), "has no meaning without alarms"


class Guard(Table):
    """A spending rule: calm, until one of its stages is raised, and again after its release."""

    name: Annotated[Text, Field(max_length=64)]
    """What operators call it; no two guards share a name."""
    match: Match = Match()
    """The jobs in its scope; every job in every queue, unless given."""
    spare: Match | None = None
    """Jobs that it never stops."""
    release: Literal["auto", "manual"] = "auto"
    """"auto": released when all its alarms are OK; a budget's message counts until its period is
    over, an anomaly's until its day is over (UTC). "manual": by an operator only."""
    mode: Mode | None = None
    """This guard's own mode."""
    stage: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=2)]
    """Its stages, each a [[guard.stage]], the milder one first."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if self.spare and self.spare.everything:
            yield ("spare",), "would spare every job: expected name, queue, definition or tags"
        if self.release == "auto" and not any(
            stage.alarms or stage.aws_budgets for stage in self.stage
        ):
            yield ("release",), 'expected "manual", as there is no alarm that could say OK'
        if self.stage[0].after_previous:
            yield ("stage", 0, "after_previous"), "has no meaning in the first stage"
        if [stage.action for stage in self.stage] not in (
            ["cancel"],
            ["terminate"],
            ["cancel", "terminate"],
        ):
            yield ("stage", 1, "action"), 'stages must grow harder: "cancel", then "terminate"'
        seen: set[str] = set()
        thresholds: set[AwsBudget] = set()
        for index, stage in enumerate(self.stage):
            for alarm in sorted(seen & set(stage.alarms)):
                yield (
                    ("stage", index, "alarms"),
                    f"{shown(alarm)} raises the milder stage already, which it would skip; "
                    "where it is an AWS Budget, name its thresholds: aws_budgets = "
                    f"[{{ name = {json.dumps(alarm)}, percent = 80 }}] in the milder stage",
                )
            seen |= set(stage.alarms)
            for which, budget in enumerate(stage.aws_budgets):
                if index and budget in thresholds:
                    yield (
                        ("stage", index, "aws_budgets", which),
                        "raises the milder stage already, which it would skip",
                    )
            thresholds |= set(stage.aws_budgets)
            # A bare name means 100 %, actual.
            whole = (AwsBudget(name=alarm, percent=100) for alarm in stage.alarms)
            thresholds |= set(whole)
            if stage.close_queues and not self._is_for_whole_queues():
                yield (
                    ("stage", index, "close_queues"),
                    "would close queues to jobs outside the match too: match by queue only",
                )

    def _is_for_whole_queues(self) -> bool:
        return not (self.match.name or self.match.definition or self.match.tags)

    def covers_queue(self, queue: str) -> bool:
        """Whether jobs of this queue (an ARN or a name) can be in its scope."""
        return self.match.matches_queue(queue)

    def covers(self, job: Job) -> bool:
        """Whether the job is in its scope, spared or not."""
        return self.match.matches(job)

    def spares(self, job: Job) -> bool:
        return self.spare is not None and self.spare.matches(job)
