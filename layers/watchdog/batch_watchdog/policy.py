"""
What an operator asks for: the policy, one TOML text.

`parse_policy` reads it, or says everything that is wrong with it, line by line. The tables
below are named as in the text, and their descriptions are the policy's documentation. What the
rest of the package asks is answered by `Policy`'s methods and `Limit`.
"""

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from batch_watchdog.changes import ARRAY_MAX, resource_name
from batch_watchdog.errors import PolicyError, Problem
from batch_watchdog.toml_lines import KeyPath, lines_of_keys

type Mode = Literal["observe", "enforce"]
type Action = Literal["cancel", "terminate", "warn"]
type Cause = Literal["misconfigured", "capacity"]

TAG_PREFIX = "batch-watchdog:"  # a job's own tags that begin so are meant for the watchdog
EXEMPT_TAG = TAG_PREFIX + "exempt"
LIMITED = ("RUNNABLE", "SCHEDULED", "STARTING", "RUNNING")  # the states that can have a limit

SPAN_MAX = timedelta(days=30)
GLOB_MAX = 256  # characters


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """
    How long one job may stay in one state, and what is done then: a rule and the job's own tags.

    `rule` names where the limit comes from, for people. `after` is None where only causes limit.
    """

    rule: str
    mode: Mode
    action: Action
    after: timedelta | None
    warn_after: timedelta | None = None
    after_by_cause: Mapping[Cause, timedelta] = field(default_factory=dict)
    escalate: bool = False

    def after_for(self, cause: Cause | None) -> timedelta | None:
        """The longest stay where the cause is known, or None where there is no limit."""
        return self.after_by_cause.get(cause, self.after) if cause else self.after

    @property
    def first_due(self) -> timedelta:
        """How far into the stay there can first be anything to say or do."""
        return min(
            span
            for span in (self.warn_after, self.after, *self.after_by_cause.values())
            if span is not None
        )


# ---- Spans and globs ----------------------------------------------------------------------

_SPAN = re.compile(
    r"(?=[0-9])(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?"
)
_ISO_SPAN = re.compile(
    r"P(?=[0-9T])(?:([0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})S)?)?"
)
_SPAN_SHAPE = 'expected a span such as "90s", "30m", "6h", "1h30m", "1d" or "PT30M"'


def parse_span(text: object) -> timedelta:
    """
    A span as a policy or a tag writes it: days, hours, minutes, seconds ("1d", "1h30m", "PT30M").

    Raises:
        ValueError: it has no unit, is not longer than nothing, or is longer than 30 days.
    """
    written = text if isinstance(text, str) else ""
    found = _SPAN.fullmatch(written) or _ISO_SPAN.fullmatch(written)
    if not found:
        raise ValueError(f"{_SPAN_SHAPE}, not {_shown(text)}")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    try:
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        span = timedelta.max
    if not timedelta() < span <= SPAN_MAX:
        raise ValueError(
            f"expected a span longer than nothing and at most {SPAN_MAX.days} days, "
            f"not {_shown(text)}"
        )
    return span


def span_text(span: timedelta) -> str:
    """A span as a policy writes it: "1h30m"."""
    left, parts = int(span.total_seconds()), []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _on_one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"expected one line without control characters, not {_shown(text)}")
    return text


type Span = Annotated[
    timedelta,
    BeforeValidator(parse_span),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^(?:{_SPAN.pattern}|{_ISO_SPAN.pattern})$",
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


# ---- The tables of a policy ---------------------------------------------------------------


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """What cannot be meant, though each key is fine by itself: where, and why."""
        yield from ()

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if found := tuple(self.contradictions()):
            raise PydanticCustomError("contradiction", "contradiction", {"found": found})
        return self


class Match(_Table):
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


class Safety(_Table):
    """What bounds the harm that a wrong policy can do."""

    max_stops_per_hour: int = Field(default=500, strict=True, ge=0, le=10_000_000)
    """Most jobs that limits may stop in an hour; the rest is held and an operator is asked.
    A guard has no such brake."""


class Notify(_Table):
    """What operators are told."""

    job_failures: bool = Field(default=True, strict=True)
    """Whether to tell of single jobs that ended FAILED."""
    digest_over: int = Field(default=5, strict=True, ge=1, le=1_000_000)
    """More notices of one kind than this in one go are folded into one."""


class StopRest(_Table):
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


class ArrayRule(_Table):
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


class AfterByCause(_Table):
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


class StateLimit(_Table):
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


class LimitRule(_Table):
    """
    How long jobs may stay in their states. The first rule that matches a job counts, even where
    it has no limit for the job's state: a rule without any exempts its jobs from those below.
    """

    match: Match = Match()
    """The jobs that this rule is for; every job, unless given."""
    mode: Mode | None = None
    """This rule's own mode."""
    RUNNABLE: RunnableLimit | None = None
    """Waiting for an instance."""
    SCHEDULED: StateLimit | None = None
    """Handed to the other service, which has not begun. Service jobs only."""
    STARTING: StartedLimit | None = None
    """On an instance, and not running yet."""
    RUNNING: StartedLimit | None = None
    """Running."""

    def for_state(self, status: str) -> StateLimit | None:
        match status:
            case "RUNNABLE":
                return self.RUNNABLE
            case "SCHEDULED":
                return self.SCHEDULED
            case "STARTING":
                return self.STARTING
            case "RUNNING":
                return self.RUNNING
            case _:
                return None


class Stage(_Table):
    """One stage of a guard: what raises it, and what it does to the jobs in the guard's scope."""

    alarms: tuple[AlarmName, ...] = ()
    """CloudWatch alarms, AWS Budgets or cost anomaly monitors, by name; any of them raises the
    stage. An empty list: only an operator does."""
    forecast: bool = Field(default=False, strict=True)
    """Whether a budget's FORECASTED message raises the stage too, and not only an ACTUAL one."""
    after_previous: Span | None = None
    """The stage is also raised when the one before has lasted so long."""
    action: Literal["cancel", "terminate"]
    """"cancel" stops what waits and lets finish what runs; "terminate" stops everything."""
    close_queues: bool = Field(default=False, strict=True)
    """Close the queues in scope to new jobs. They stay closed at later stages too, and are
    reopened on release."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if not self.model_fields_set & {"alarms", "after_previous"}:
            yield (
                ("alarms",),
                "is missing: what raises this stage (alarms = [] if only an operator does)",
            )
        if self.forecast and not self.alarms:
            yield ("forecast",), "has no meaning without alarms"


class Guard(_Table):
    """A spending rule: calm, until one of its stages is raised, and again after its release."""

    name: Annotated[Text, Field(max_length=64)]
    """What operators call it; no two guards share a name."""
    match: Match = Match()
    """The jobs in its scope; every job in every queue, unless given."""
    spare: Match | None = None
    """Jobs that it never stops."""
    release: Literal["auto", "manual"] = "auto"
    """"auto": released when all its alarms are OK (a budget never says so). "manual": by an
    operator only."""
    mode: Mode | None = None
    """This guard's own mode."""
    stage: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=2)]
    """Its stages, each a [[guard.stage]], the milder one first."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if self.spare and self.spare.everything:
            yield ("spare",), "would spare every job: expected name, queue, definition or tags"
        if self.release == "auto" and not any(stage.alarms for stage in self.stage):
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
        for index, stage in enumerate(self.stage):
            for alarm in sorted(seen & set(stage.alarms)):
                yield (
                    ("stage", index, "alarms"),
                    f"{_shown(alarm)} raises the milder stage already, which it would skip",
                )
            seen |= set(stage.alarms)
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


class Policy(_Table):
    """
    What the watchdog shall do. An empty policy observes, limits nothing, guards nothing.

    Spans are written "90s", "30m", "6h", "1h30m", "1d" or "PT30M", up to 30 days.
    """

    mode: Mode = "observe"
    """"observe" says what it would do and does nothing; "enforce" does it. A rule may have its
    own."""
    safety: Safety = Safety()
    notify: Notify = Notify()
    array: Annotated[tuple[ArrayRule, ...], Field(max_length=100)] = ()
    """Rules for array jobs."""
    limit: Annotated[tuple[LimitRule, ...], Field(max_length=100)] = ()
    """Rules for how long jobs may stay in a state."""
    guard: Annotated[tuple[Guard, ...], Field(max_length=100)] = ()
    """Guards of the spending."""

    @cached_property
    def version(self) -> str:
        """Sixteen characters that differ when the policy does; comments make no difference."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]

    def mode_of(self, rule: ArrayRule | LimitRule | Guard) -> Mode:
        """The mode in which a rule is applied: its own, or the policy's."""
        return rule.mode or self.mode

    def label_of(self, rule: ArrayRule | LimitRule | Guard) -> str:
        """What to call a rule in a notice: "limit[1] (match queue gpu-*)". Counted from 1."""
        if isinstance(rule, Guard):
            return f'guard "{rule.name}"'
        kind = "array" if isinstance(rule, ArrayRule) else "limit"
        rules: Sequence[_Table] = getattr(self, kind)
        index = next(index for index, each in enumerate(rules, 1) if each is rule)
        return f"{kind}[{index}] ({rule.match})"

    def array_rule_for(self, job: Job) -> ArrayRule | None:
        """The rule for an array job, if there is one."""
        return next((rule for rule in self.array if rule.match.matches(job)), None)

    def limit_for(self, job: Job, status: str) -> Limit | None:
        """
        How long a job may stay in a state, or None where nothing limits it.

        The job's own tags go before the rules: they say how long, and the rule what is done then.
        What of them cannot be read is passed over; `tag_problems` tells of it.
        """
        if status not in LIMITED or is_exempt(job.tags):
            return None
        rule = next((rule for rule in self.limit if rule.match.matches(job)), None)
        limit = self._limit_of(rule, status) if rule else None
        own = _own_span(job.tags, status)
        if own is None:
            return limit
        warn_after = limit.warn_after if limit else None
        usual: Action = "cancel" if status in ("RUNNABLE", "SCHEDULED") else "terminate"
        return Limit(
            rule=f"tag {TAG_PREFIX}{status}",
            mode=self.mode_of(rule) if rule else self.mode,
            action=limit.action if limit else usual,
            after=own,
            warn_after=warn_after if warn_after and warn_after < own else None,
            escalate=limit is not None and limit.escalate,
        )

    def first_due_after(self, job: Job, status: str) -> timedelta | None:
        """
        How far into a stay to look at a job for the first time; None where there is no need.

        Where the job's tags are not known (events need not carry them), rules that ask for tags
        may be meant too: this can be too early, and is never too late for any of the rules.
        """
        if _own_span(job.tags, status) or is_exempt(job.tags):
            limit = self.limit_for(job, status)
            return limit.first_due if limit else None
        limits = (self._limit_of(rule, status) for rule in self._rules_that_may_count(job))
        return min((limit.first_due for limit in limits if limit), default=None)

    def has_limits(self, status: str) -> bool:
        """Whether any rule limits a state. (A job's own tag can limit it nevertheless.)"""
        return any(rule.for_state(status) for rule in self.limit)

    def guards_for_queue(self, queue: str) -> tuple[Guard, ...]:
        """The guards whose scope reaches into a queue (an ARN or a name)."""
        return tuple(guard for guard in self.guard if guard.covers_queue(queue))

    def guards_for(self, job: Job) -> tuple[Guard, ...]:
        """The guards that may stop a job: it is in their scope, and they do not spare it."""
        return tuple(guard for guard in self.guard if guard.covers(job) and not guard.spares(job))

    def _rules_that_may_count(self, job: Job) -> Iterator[LimitRule]:
        # AWS itself adds a tag of this name to events.
        tags_are_known = bool(job.tags.keys() - {"resourceArn"})
        for rule in self.limit:
            if rule.match.matches(job):
                yield rule
                return
            if not tags_are_known and rule.match.may_match(job):
                yield rule

    def _limit_of(self, rule: LimitRule, status: str) -> Limit | None:
        limit = rule.for_state(status)
        if limit is None:
            return None
        by_cause = limit.after_by_cause if isinstance(limit, RunnableLimit) else None
        return Limit(
            rule=self.label_of(rule),
            mode=self.mode_of(rule),
            action=limit.action,
            after=limit.after,
            warn_after=limit.warn_after,
            after_by_cause=by_cause.spans() if by_cause else {},
            escalate=isinstance(limit, RunnableLimit) and limit.escalate,
        )


# ---- A job's own tags ---------------------------------------------------------------------


def is_exempt(tags: Mapping[str, str]) -> bool:
    """Whether a job's own tags say that no limit may stop it."""
    return _YES_OR_NO.get(tags.get(EXEMPT_TAG, "").strip().lower(), False)


def tag_problems(tags: Mapping[str, str]) -> tuple[str, ...]:
    """What of a job's own tags cannot be read, in words. It quotes the tags: untrusted text."""
    return tuple(_tag_problems(tags))


_YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _tag_problems(tags: Mapping[str, str]) -> Iterator[str]:
    known = [EXEMPT_TAG, *(TAG_PREFIX + status for status in LIMITED)]
    for key, value in sorted(tags.items()):
        if not key.startswith(TAG_PREFIX):
            continue
        if key not in known:
            yield f"tag {_shown(key)}: unknown{_did_you_mean(key, known)}"
        elif key == EXEMPT_TAG:
            if value.strip().lower() not in _YES_OR_NO:
                yield f"tag {key}: expected true or false, not {_shown(value)}"
        else:
            try:
                parse_span(value.strip())
            except ValueError as error:
                yield f"tag {key}: {error}"


def _own_span(tags: Mapping[str, str], status: str) -> timedelta | None:
    try:
        return parse_span(tags.get(TAG_PREFIX + status, "").strip())
    except ValueError:
        return None


# ---- Reading ------------------------------------------------------------------------------


def parse_policy(text: str) -> Policy:
    """
    Read a policy from its TOML text. An empty text is the policy of a fresh deployment.

    Raises:
        PolicyError: says everything that is wrong, each with its line and key.
    """
    # Some editors begin a file with a byte order mark, which TOML does not know.
    text = text.removeprefix("\ufeff")
    tree = _read_toml(text)
    same_names = tuple(_same_names(tree))
    try:
        policy = Policy.model_validate(tree)
    except ValidationError as error:
        found = [*_found(error), *same_names]
    else:
        if not same_names:
            return policy
        found = list(same_names)
    lines = lines_of_keys(text)
    problems = [_problem(path, message, lines) for path, message in found]
    raise PolicyError(sorted(problems, key=lambda problem: problem.line))


def _read_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).rpartition(" (at ")
        place_line = re.match(r"line ([0-9]+)", place)
        line = int(place_line[1]) if place_line else max(1, len(text.splitlines()))
        raise PolicyError([Problem(line=line, key="", message=f"not TOML: {message}")]) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or thousands of brackets: on the longest line.
        lines = text.split("\n")
        line = 1 + lines.index(max(lines, key=len))
        is_deep = isinstance(error, RecursionError)
        message = "nested too deeply" if is_deep else "a number of too many digits"
        raise PolicyError([Problem(line=line, key="", message=message)]) from error


def _same_names(tree: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    guards, seen = tree.get("guard"), set()
    for index, guard in enumerate(guards if isinstance(guards, list) else ()):
        name = guard.get("name") if isinstance(guard, dict) else None
        if isinstance(name, str):
            if name in seen:
                yield ("guard", index, "name"), f"another guard is called {_shown(name)} already"
            seen.add(name)


def _found(error: ValidationError) -> Iterator[tuple[KeyPath, str]]:
    for each in error.errors(include_url=False):
        if each["type"] == "contradiction":
            for path, message in each["ctx"]["found"]:
                yield (*each["loc"], *path), message
        elif each["type"] == "too_short" and each["input"]:
            pass  # There were enough, but some were refused, and are told of by themselves.
        else:
            yield each["loc"], _message(each)


def _message(error: ErrorDetails) -> str:
    path, given, text = error["loc"], error["input"], error["msg"]
    match error["type"]:
        case "extra_forbidden":
            return _about_unknown_key(path)
        case "missing":
            about = _table_at(path[:-1]).model_fields[str(path[-1])].description or ""
            return f"is missing: {about.rstrip('.').replace('\n', ' ')}"
        case "value_error":
            return text.removeprefix("Value error, ")
        case "tuple_type" if isinstance(given, dict):
            header = ".".join(part for part in path if isinstance(part, str))
            return f"expected a list of tables: write [[{header}]] in place of [{header}]"
    for theirs, ours in _WORDS:
        text = re.sub(theirs, ours, text)
    return text if error["type"] in ("too_short", "too_long") else f"{text}, not {_shown(given)}"


# pydantic's words, and those of somebody who writes TOML.
_WORDS = (
    (r"^Input should be", "expected"),
    (r"a valid (dictionary|mapping).*", "a table"),
    (r"a valid tuple", "a list"),
    (r"a valid string", "a string"),
    (r"a valid integer", "a whole number"),
    (r"a valid number", "a number"),
    (r"a valid boolean", "true or false"),
    (r"^(String|Tuple|Value) should have", "expected"),
    (r" after validation", ""),
)


def _about_unknown_key(path: KeyPath) -> str:
    table, key = _table_at(path[:-1]), str(path[-1])
    if issubclass(table, StateLimit) and key in RunnableLimit.model_fields:
        return "only a limit of RUNNABLE can have this key"
    return f"unknown key{_did_you_mean(key, list(table.model_fields))}"


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), folded, n=1)
    return f"; did you mean {folded[close[0]]}?" if close else f"; expected {_one_of(known)}"


def _one_of(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _table_at(path: KeyPath) -> type[_Table]:
    """The kind of table that stands at a place of the policy."""
    table: type[_Table] = Policy
    for part in path:
        if isinstance(part, str):
            table = next(_tables_in(table.model_fields[part].annotation))
    return table


def _tables_in(annotation: Any) -> Iterator[type[_Table]]:
    if isinstance(annotation, type) and issubclass(annotation, _Table):
        yield annotation
    for part in get_args(annotation):
        yield from _tables_in(part)


def _problem(path: KeyPath, message: str, lines: Mapping[KeyPath, int]) -> Problem:
    # A place that is not in the text: the only element of what was written without brackets,
    # or pydantic's mark for a table's key in place of its value.
    while path and path not in lines and (isinstance(path[-1], int) or path[-1] == "[key]"):
        path = path[:-1]
    known = path
    while known and known not in lines:
        known = known[:-1]
    return Problem(line=lines.get(known, 1), key=_dotted(path), message=message)


def _dotted(path: Iterable[str | int]) -> str:
    key = ""
    for part in path:
        if isinstance(part, int):
            key += f"[{part + 1}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            key += f"{'.' if key else ''}{part if bare else _shown(part)}"
    return key


def _shown(value: object) -> str:
    """A value as it might stand in the text, shortened, without control characters."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
        case str():
            written = repr(value[:61])
        case int() if value.bit_length() > 64:  # noqa: PLR2004
            written = "a huge number"
        case _:
            written = str(value)
    return written if len(written) <= 62 else f"{written[:60]}…"  # noqa: PLR2004
