"""
The policy in force: what an operator last put into the SSM parameter, if it can be used.

A text that cannot be used, or not be read, changes nothing: the last good one stays in force,
and operators are told, once, where the mistake is.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from aws_lambda_powertools.utilities.parameters import SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from batch_watchdog.effects import Announce
from batch_watchdog.errors import PolicyError
from batch_watchdog.notices import Notice, plain, subject
from batch_watchdog.policy import Policy, parse_policy
from batch_watchdog.recorder import Outcome, Recorder
from batch_watchdog.store.ledger import Entry, Ledger
from batch_watchdog.store.table import Key, Put, Table, pack, unpack

MAX_AGE = 60  # seconds for which a container keeps the text

_LAST_GOOD = ("POLICY", "LAST-GOOD")


@dataclass(frozen=True, slots=True)
class _Reading:
    """The policy in force and its text; or, with a problem, the last good one."""

    policy: Policy
    text: str
    problem: str = ""


class Policies:
    """The policy's parameter, and the last good text in the table. `ssm` is a boto3 client."""

    def __init__(self, ssm: Any, parameter: str, table: Table, max_age: int = MAX_AGE) -> None:
        self._provider = SSMProvider(boto3_client=ssm)
        self._parameter = parameter
        self._table = table
        self._max_age = max_age

    def current(self) -> Policy:
        """The policy in force."""
        return self._read().policy

    def settle(self, now: datetime) -> Policy:
        """
        The policy in force, once a minute.

        It is remembered as the last good one; or else operators are told what is wrong with the
        text that is not in force.
        """
        reading = self._read()
        recorder = Recorder(table=self._table, asked_by="sweep")
        if not reading.problem:
            recorder.decide([_LAST_GOOD], lambda _: self._remember(reading.text), now)
            return reading.policy
        digest = hashlib.sha256(reading.problem.encode()).hexdigest()[:16]
        entry = Entry(f"bad-policy:{digest}", now.replace(hour=0, minute=0, second=0))
        notice = _trouble(self._parameter, reading.problem, digest)

        def decide(bucket: Key) -> Outcome:
            fresh, puts = Ledger(self._table).new(bucket, {digest: entry}, now)
            return Outcome(puts=puts, effects=[Announce(notices=(notice,))] if fresh else [])

        recorder.decide([entry.bucket], decide, now)
        return reading.policy

    def _read(self) -> _Reading:
        try:
            text = str(self._provider.get(self._parameter, max_age=self._max_age))
            return _Reading(_parsed(text), text)
        except PolicyError as error:
            problem = str(error)
        except GetParameterError as error:
            problem = f"it cannot be read: {error}"
        item = self._table.get(*_LAST_GOOD)
        text = unpack(item["body"]) if item else ""
        return _Reading(_parsed(text), text, problem)

    def _remember(self, text: str) -> Outcome:
        item = self._table.get(*_LAST_GOOD)
        if item and unpack(item["body"]) == text:
            return Outcome()
        pk, sk = _LAST_GOOD
        read = int(item["version"]) if item else 0
        return Outcome(puts=[Put({"pk": pk, "sk": sk, "body": pack(text)}, read=read)])


@lru_cache(maxsize=4)
def _parsed(text: str) -> Policy:
    return parse_policy(text)


def _trouble(parameter: str, problem: str, digest: str) -> Notice:
    problems = [plain(line, 500) for line in problem.splitlines()]
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:policy:{digest}",
        severity="critical",
        subject=subject("The new policy cannot be used; the last good one stays in force"),
        text="\n".join(
            [
                f"The policy in the parameter {plain(parameter)} cannot be used:",
                "",
                *problems[:20],
                "",
                "The last good policy stays in force (without one, nothing is stopped).",
                "What to do: correct the text, and put it with make policy-push FILE=…, which",
                "checks it first.",
            ]
        ),
        facts={"parameter": parameter, "problems": problems[:100]},
    )
