"""
Everything that this package raises on purpose.

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
  - PolicyError
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class WatchdogError(Exception):
    """Base class: catch this one to catch every error of the package."""


class SettingsError(WatchdogError):
    """An environment variable is missing or cannot be read. Retrying does not help."""


class MalformedEventError(WatchdogError):
    """What arrived is not what it claims to be. Retrying does not help: keep it, and say why."""


class EvidenceError(MalformedEventError):
    """What arrived speaks of money and cannot be understood: nothing may be concluded from it."""


class StaleItemError(WatchdogError):
    """Another writer was faster. Nothing was written: read again, and decide again."""


class UnwritableError(WatchdogError, ValueError):
    """A write is too large, or not one that DynamoDB takes. A smaller one may be possible."""


class HeldBackError(WatchdogError):
    """A stop run is not to go on: its stage is over, or an operator or the policy holds it back."""


class OutOfTimeError(WatchdogError):
    """This invocation must end. What is left to do is known: the next one goes on at once."""


class ThrottledError(OutOfTimeError):
    """AWS throttles, and slowing down does not help: the next invocation goes on later."""


class CommandError(WatchdogError):
    """A command cannot be carried out. `problems` say by key what was expected."""

    def __init__(self, problems: Mapping[str, str], text: str = "") -> None:
        self.problems = dict(problems)
        told = "; ".join(": ".join(filter(None, each)) for each in self.problems.items())
        super().__init__(text or told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    One thing that is wrong in a policy, and what was expected.

    `line` counts from 1. `key` is dotted ("limit[2].RUNNABLE.after"; lists count from 1), and
    empty where the text is no TOML at all.
    """

    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (f"line {self.line}", self.key, self.message) if part)


class UnreadPolicyError(WatchdogError):
    """The policy's parameter could not be read, and what may be stopped is not known."""


class PolicyError(WatchdogError):
    """
    A policy cannot be used. Retrying does not help: somebody must correct the text.

    As text it is one line for each of the `problems`.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
