"""
What operators may ask of the watchdog, as JSON.

    {"command": "set-stage", "guard": "monthly-budget", "stage": "terminate", "by": "jane"}

A command may be in an envelope, {"command": {…}}. It takes effect when it arrives, so a command
with a time is refused.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from batch_watchdog.core.errors import CommandError
from batch_watchdog.core.job_event import Time
from batch_watchdog.guards.state import StageName
from batch_watchdog.notices.notice import NoticeKind
from batch_watchdog.notices.text import plain

type Who = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
type Why = Annotated[str, Field(max_length=1_000)]
type GuardName = Annotated[str, Field(min_length=1, max_length=64)]


def _id_in(given: Any) -> Any:
    """Return the job's id in an id or ARN. A node is not a job of its own: its job's id is used."""
    if not isinstance(given, str):
        return given
    job_id = given.rpartition("/")[2] if given.startswith("arn:") else given
    return re.sub(r"(?<=.)#[0-9]+$", "", job_id)


# An index has no leading zeros: Batch does not know a child by such an id.
type JobId = Annotated[
    str,
    BeforeValidator(_id_in),
    Field(pattern=r"^[!-9;-~]{1,256}(:(0|[1-9][0-9]{0,4}))?$"),
]


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Status(_Command):
    """Show all guards and budgets, whether the watchdog is held, and which jobs are exempt."""

    command: Literal["status"]


class Check(_Command):
    """Check whether the watchdog can do its work, and say what to do if it cannot."""

    command: Literal["check"]


class Report(_Command):
    """Show what limits have stopped, or would have, this week and in four weeks, with results."""

    command: Literal["report"]


class Explain(_Command):
    """Show why a job does not start, and which rules apply to it."""

    command: Literal["explain"]
    job_id: JobId


class _ChangingCommand(_Command):
    """A command that changes something. It is recorded, with who asked for it."""

    by: Who
    why: Why = ""


class SetStage(_ChangingCommand):
    """Raise a guard to a stage, or return it to a milder one."""

    command: Literal["set-stage"]
    guard: GuardName
    stage: StageName


class Release(_ChangingCommand):
    """Return a guard to calm, and reopen the queues that it closed."""

    command: Literal["release"]
    guard: GuardName


class HoldAll(_ChangingCommand):
    """Change nothing from now on: stop no job, open or close no queue."""

    command: Literal["hold"]


class Resume(_ChangingCommand):
    """End a hold. What has come due meanwhile is done."""

    command: Literal["resume"]


class Exempt(_ChangingCommand):
    """Exempt a job, or an array with its children, from all limits until a time."""

    command: Literal["exempt"]
    job_id: JobId
    until: Time


class TrialNotice(_ChangingCommand):
    """Send notices that say that they are tests: one of each requested kind."""

    command: Literal["test-notice"]
    kinds: Annotated[tuple[NoticeKind, ...], Field(min_length=1, max_length=20)] = (
        "watchdog-trouble",
    )


type Command = Annotated[
    Status
    | Check
    | Report
    | Explain
    | TrialNotice
    | SetStage
    | Release
    | HoldAll
    | Resume
    | Exempt,
    Field(discriminator="command"),
]
type ChangingCommand = TrialNotice | SetStage | Release | HoldAll | Resume | Exempt

_COMMAND: TypeAdapter[Command] = TypeAdapter(Command)


def parse_command(event: Any) -> Command:
    """
    Read a command.

    Raises:
        CommandError: it is not a command; says which keys are wrong, and what was expected.
    """
    if not isinstance(event, Mapping):
        raise CommandError({"": f"expected a JSON object, not {type(event).__name__}"})
    given = dict(event)
    if "time" in given:
        raise CommandError({"time": "a command takes effect when it arrives: expected no time"})
    inner = given.get("command")
    try:
        return _COMMAND.validate_python(inner if isinstance(inner, Mapping) else given)
    except ValidationError as error:
        raise CommandError(dict(map(_problem, error.errors(include_url=False)))) from error


def _problem(error: Any) -> tuple[str, str]:
    """Return the key that is wrong, and what was expected."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tags = context.get("expected_tags") or ", ".join(sorted(_NAMES))
        return "command", f"expected one of {tags}"
    # The first part of the location is the command's own name.
    key = plain(".".join(map(str, error["loc"][1:])), 100)
    return key, "is no key of this command" if kind == "extra_forbidden" else str(error["msg"])


_NAMES = (
    "status",
    "check",
    "report",
    "explain",
    "test-notice",
    "set-stage",
    "release",
    "hold",
    "resume",
    "exempt",
)
