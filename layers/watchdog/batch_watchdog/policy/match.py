"""What a rule of the policy matches: jobs by name, queue, definition and tags."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Protocol, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from batch_watchdog.core.job_event import resource_name
from batch_watchdog.policy.durations import shown
from batch_watchdog.policy.toml_positions import KeyPath

GLOB_MAX = 256  # characters


class Job(Protocol):
    """The attributes of a job that rules match. Queue and definition may be names or ARNs."""

    @property
    def job_name(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def definition(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


def listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def on_one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"expected one line without control characters, not {shown(text)}")
    return text


type Text = Annotated[str, Field(min_length=1, max_length=GLOB_MAX), AfterValidator(on_one_line)]
type AlarmName = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(on_one_line)]
type Value = Annotated[str, Field(max_length=GLOB_MAX), AfterValidator(on_one_line)]
type Globs = Annotated[
    tuple[Text, ...],
    BeforeValidator(listed),
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


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield what is wrong although each key is valid: the place, and a message."""
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
    """Globs on the job definition: "align" is every revision of it, "align:3" is one; so it is with
    ARNs. Service jobs have no definition."""
    tags: Mapping[Text, Value] = Field(default_factory=dict)
    """Tags that the job has, each with exactly this value. Events of service jobs carry no tags."""

    def matches(self, job: Job) -> bool:
        return all(
            job.tags.get(key) == value for key, value in self.tags.items()
        ) and self.may_match(job)

    def may_match(self, job: Job) -> bool:
        """Whether the name, queue and definition of a job match, whatever its tags are."""
        return (
            any_glob(self.name, job.job_name)
            and self.matches_queue(job.queue)
            and (self.definition is None or _fits_definition(self.definition, job.definition))
        )

    def matches_queue(self, queue: str) -> bool:
        """Whether jobs of this queue (an ARN or a name) can match."""
        return self.queue is None or _fits_queue(self.queue, queue)

    @property
    def everything(self) -> bool:
        """Whether every job matches, because no key is given."""
        return not (self.name or self.queue or self.definition or self.tags)

    def __str__(self) -> str:
        globs = (("name", self.name), ("queue", self.queue), ("definition", self.definition))
        parts = [f"{key} {' or '.join(value)}" for key, value in globs if value]
        if self.tags:
            parts.append("tags " + " and ".join(f"{key}={self.tags[key]}" for key in self.tags))
        return f"match {', '.join(parts)}" if parts else "every job"


def any_glob(globs: Sequence[str] | None, *names: str, arn: str = "") -> bool:
    """Whether any of the globs matches any of the names, or the ARN. None matches all."""
    # Only a glob that begins with "arn:" is compared with ARNs: "*batch*" would match them all.
    return globs is None or any(
        fnmatchcase(name, glob)
        for glob in globs
        for name in ((arn,) if glob.startswith("arn:") else names)
    )


# Cached, as many jobs have the same queue and definition.
@lru_cache(maxsize=4096)
def _fits_queue(globs: tuple[str, ...], queue: str) -> bool:
    return any_glob(globs, resource_name(queue), arn=queue)


@lru_cache(maxsize=4096)
def _fits_definition(globs: tuple[str, ...], definition: str) -> bool:
    name, arn = resource_name(definition), definition
    every_revision = name.partition(":")[0]
    return any_glob(globs, name, every_revision, arn=arn) or any_glob(
        globs, arn=arn.removesuffix(name) + every_revision
    )
