"""
Ask the questions of a deployment on a terminal, for `make deploy` and `make deploy-billing`.

Variables of the environment answer questions in advance. Enter takes the default.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local.commands.live_stack import LiveError

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_NONE = "none"
_TRIES = 3

type Ask = Callable[[str], str]
type Check = Callable[[str], str]  # what is wrong with an answer; "" if nothing is


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """
    A question, with its default.

    `variable` is the variable of the environment that answers it, and `wrong` checks an answer.
    """

    text: str
    variable: str
    default: str
    wrong: Check


def answer_to(question: Question, ask: Ask, *, can_ask: bool) -> str:
    """
    Return the environment's answer; else a person's, or the default if nobody can be asked.

    Raises:
        LiveError: the environment's answer is wrong, or a person's is wrong three times.
    """
    given = os.environ.get(question.variable)
    if given is None and not can_ask:
        given = question.default
    for _ in range(_TRIES if given is None else 1):
        shown = f" [{question.default or _NONE}]"
        said = given if given is not None else ask(f"{question.text}{shown}: ").strip()
        value = question.default if said == "" and given is None else said
        value = "" if value == _NONE else value
        problem = question.wrong(value)
        if not problem:
            return value
        if given is not None:
            raise LiveError(f"{question.variable}={given}: {problem}")
        print(problem, file=sys.stderr)
    raise LiveError(f"Nothing was deployed. {question.variable}=… in the environment answers it.")


def wrong_email(value: str) -> str:
    right = not value or _EMAIL.fullmatch(value)
    return "" if right else "Expected one e-mail address, or none."


def wrong_region(value: str) -> str:
    return "" if _REGION.fullmatch(value) else "Expected a region, such as eu-west-1."


def _wrong_amount(value: str) -> str:
    right = not value or (value.isdecimal() and int(value) > 0)
    return "" if right else "Expected whole US dollars, such as 800, or none."


def _wrong_above(soft: str) -> Check:
    def wrong(value: str) -> str:
        if problem := _wrong_amount(value):
            return problem
        if not value:
            return "The soft threshold has one, so this must: both thresholds, or none."
        if int(value) <= int(soft):
            return f"Expected more than the soft threshold, which is {soft}."
        return ""

    return wrong


def thresholds(present: Mapping[str, str], ask: Ask, *, can_ask: bool) -> tuple[str, str]:
    """
    Ask for the thresholds of the soft and the hard alarm. ("", "") means no alarms.

    Raises:
        LiveError: only one is given, or the hard one is not above the soft one.
    """
    soft = answer_to(
        Question(
            text="Charges (USD a month) at which to cancel waiting jobs; none: no alarms",
            variable="SOFT",
            default=_amount(present.get("SoftThreshold")),
            wrong=_wrong_amount,
        ),
        ask,
        can_ask=can_ask,
    )
    if not soft:
        if os.environ.get("HARD", _NONE) not in ("", _NONE):
            raise LiveError("HARD= without SOFT=: both thresholds, or none.")
        return "", ""
    hard = answer_to(
        Question(
            text="Charges (USD a month) at which to terminate all jobs",
            variable="HARD",
            default=_amount(present.get("HardThreshold")) or str(int(soft) * 5 // 4 + 1),
            wrong=_wrong_above(soft),
        ),
        ask,
        can_ask=can_ask,
    )
    return soft, hard


def _amount(value: str | None) -> str:
    """Return a stack's threshold as an answer: the whole dollars, or "" for 0."""
    return value.partition(".")[0] if value and float(value) > 0 else ""
