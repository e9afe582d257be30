"""
All errors that this package raises on purpose.

* WatchdogError
  - SettingsError
  - MalformedEventError
    - EvidenceError
  - StaleItemError
  - UnwritableError
  - HeldBackError
  - OutOfTimeError
    - ThrottledError
  - CommandError
  - UnreadPolicyError
  - PolicyError
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class WatchdogError(Exception):
    """Base class: catch this one to catch every error of the package."""


class SettingsError(WatchdogError):
    """An environment variable is missing or cannot be read. Retrying does not help."""


class MalformedEventError(WatchdogError):
    """A message is malformed. Retrying does not help: keep it, and say why."""


class EvidenceError(MalformedEventError):
    """A billing message cannot be understood: nothing may be concluded from it."""


class StaleItemError(WatchdogError):
    """Another writer changed an item first. Nothing was written: read again, and decide again."""


class UnwritableError(WatchdogError, ValueError):
    """A write is too large, or DynamoDB does not accept it. A smaller one may be possible."""


class HeldBackError(WatchdogError):
    """A stop run must not go on: its stage is over, or an operator or the policy holds it back."""


class OutOfTimeError(WatchdogError):
    """This invocation must end. What is left is recorded: the next one continues at once."""


class ThrottledError(OutOfTimeError):
    """AWS throttles, and slowing down does not help: the next invocation continues later."""


class CommandError(WatchdogError):
    """A command cannot be carried out. `problems` say for each key what was expected."""

    def __init__(self, problems: Mapping[str, str], text: str = "") -> None:
        self.problems = dict(problems)
        joined = "; ".join(": ".join(filter(None, each)) for each in self.problems.items())
        super().__init__(text or joined)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    One thing that is wrong in a policy, and what was expected.

    `line` counts from 1. `key` is dotted ("limit[2].RUNNABLE.after"; lists count from 1), and
    empty if the text is not TOML.
    """

    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (f"line {self.line}", self.key, self.message) if part)


class UnreadPolicyError(WatchdogError):
    """The policy's parameter could not be read, so it is not known what may be stopped."""


class PolicyError(WatchdogError):
    """
    A policy cannot be used. Retrying does not help: somebody must correct the text.

    Its text has one line for each of the `problems`.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
