"""
The policy in force: what an operator last put into the SSM parameter, if it can be used.

The stack does not own the parameter, so that no deployment can change a policy. Until an operator
has put one, the policy of an empty text is in force, which observes. Where one that was there is
gone, the last good one stays in force, as with a text that cannot be used.

A text that cannot be used, or not be read, changes nothing: the last good one stays in force, and
operators are told where the mistake is, once for each time that such a text is put. Where the last
good one cannot be used either (it was written for another version of the watchdog), or none is
known, the policy in force is unreadable: nothing new is stopped, closed or released by it.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from aws_lambda_powertools.utilities.parameters.base import BaseProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.exceptions import ClientError

from batch_watchdog.core.errors import PolicyError, UnreadPolicyError
from batch_watchdog.core.job_event import EPOCH
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import lines, say, subject
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.model import Policy, UnreadablePolicy, parse_policy
from batch_watchdog.store.decisions import Outcome, Recorder
from batch_watchdog.store.item_codec import Item, pack, unpack
from batch_watchdog.store.once import OnceKey
from batch_watchdog.store.table import Put, Table

MAX_AGE = 60  # seconds for which a container keeps the text
STOPS_MAX_AGE = 1  # where it decides a call: AWS allows 40 reads a second, for the whole account

_LAST_GOOD = ("POLICY", "LAST-GOOD")
_GONE = "there is no such parameter any more."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """
    The policy in force, with the text and the version of the parameter.

    Without a text it is the one that is in force until an operator puts one. With a problem it is
    the last good policy, or an unreadable one. `version` counts how often
    the parameter was put; it is 0 where there is none, or it could not be read (`unread`).
    """

    policy: Policy
    text: str | None = None
    version: int = 0
    problem: str = ""
    unread: bool = False


class _Parameters(BaseProvider):
    """
    Parameters of SSM, each as JSON: version and value, which is null where there is none.

    Powertools' own gives the value alone.
    """

    def __init__(self, ssm: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ssm = ssm

    def _get(self, name: str, **_: Any) -> str:
        try:
            parameter = self._ssm.get_parameter(Name=name)["Parameter"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise
            return json.dumps([0, None])
        return json.dumps([parameter.get("Version", 0), parameter["Value"]])

    def _get_multiple(self, path: str, **_: Any) -> dict[str, str]:
        raise NotImplementedError(path)


class PolicyLoader:
    """The policy's parameter, and the last good text in the table. `ssm` is a boto3 client."""

    def __init__(self, ssm: Any, parameter: str, table: Table, max_age: int = MAX_AGE) -> None:
        self._provider = _Parameters(ssm)
        self._provider_for_stops = _Parameters(ssm)
        self._parameter = parameter
        self._table = table
        self._max_age = max_age

    def current(self) -> Policy:
        """The policy in force."""
        return self._read().policy

    def current_for_stops(self) -> Policy:
        """
        The policy in force at this second, for what is about to be stopped.

        Raises:
            UnreadPolicyError: it cannot be read. The last good one may be older than the one that
                an operator has put meanwhile to stop nothing more.
        """
        reading = self._read_by(self._provider_for_stops, min(self._max_age, STOPS_MAX_AGE))
        if reading.unread:
            raise UnreadPolicyError(f"the policy could not be read ({self._parameter})")
        return reading.policy

    def settle(self, now: datetime) -> Policy:
        """
        The policy in force, once a minute.

        It is remembered as the last good one; or else operators are told what is wrong with the
        text that is not in force.
        """
        reading = self._read()
        recorder = Recorder(table=self._table, asked_by="sweep")
        if not reading.problem:
            if reading.text is None:
                return reading.policy  # Nobody has put one.
            recorder.decide([_LAST_GOOD], lambda _: self._remember(reading, recorder, now), now)
            return reading.policy
        entry = _told_once(reading, now)
        notice = _trouble(self._parameter, reading, entry.name)
        recorder.announce_once({entry: notice}, now).raise_failed()
        return reading.policy

    def _read(self) -> _Reading:
        return self._read_by(self._provider, self._max_age)

    def _read_by(self, provider: _Parameters, max_age: int) -> _Reading:
        version, unread = 0, False
        try:
            read = str(provider.get(self._parameter, max_age=max_age))
            version, text = json.loads(read)
            if text is not None:
                return _Reading(policy=_parsed(text), text=text, version=version)
            problem = _GONE
        except PolicyError as error:
            problem = str(error)
        except GetParameterError as error:
            problem, unread = f"it cannot be read: {error}", True
        item = self._table.get(*_LAST_GOOD)
        if item is None and problem == _GONE:
            return _Reading(policy=_parsed(""))
        policy = _last_good(item) if item else None
        policy = policy or UnreadablePolicy()
        return _Reading(policy=policy, version=version, problem=problem, unread=unread)

    def _remember(self, reading: _Reading, recorder: Recorder, now: datetime) -> Outcome:
        item = self._table.get(*_LAST_GOOD)
        if item and unpack(item["body"]) == reading.text:
            return Outcome()
        pk, sk = _LAST_GOOD
        put = Put(
            {"pk": pk, "sk": sk, "body": pack(reading.text)},
            read=int(item["version"]) if item else 0,
        )
        before = _last_good(item) if item else None
        if before and (before.mode, reading.policy.mode) == ("enforce", "observe"):
            # Once for each putting of a text: another container may have read the one before, and
            # have it remembered again for a minute.
            entry = OnceKey(f"mode:{reading.version}:{reading.policy.version}", EPOCH)
            notice = _disarmed(self._parameter, entry.name)
            recorder.announce_once({entry: notice}, now).raise_failed()
        return Outcome(puts=[put])


@lru_cache(maxsize=4)
def _parsed(text: str) -> Policy:
    return parse_policy(text)


def _last_good(item: Item) -> Policy | None:
    """The last good policy; None where only another version of the watchdog could read it."""
    try:
        return _parsed(unpack(item["body"]))
    except PolicyError:
        return None


def _told_once(reading: _Reading, now: datetime) -> OnceKey:
    """What is told once: each putting of a bad text, and that it cannot be read once a day."""
    digest = hashlib.sha256(reading.problem.encode()).hexdigest()[:16]
    if reading.version:
        return OnceKey(f"policy:{reading.version}:{digest}", EPOCH)
    return OnceKey(f"policy:{digest}", now.replace(hour=0, minute=0, second=0, microsecond=0))


def _trouble(parameter: str, reading: _Reading, name: str) -> Notice:
    problems = [plain(line, 500) for line in reading.problem.splitlines()]
    readable = reading.policy.readable
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:{name}",
        severity="critical",
        subject=subject("The policy cannot be used; the last good one stays in force")
        if readable
        else subject("The policy cannot be used; nothing is stopped"),
        text=lines(
            [
                say(
                    "The policy in the parameter {parameter} cannot be used:",
                    parameter=plain(parameter),
                ),
                "",
                *problems[:20],
                "",
                say("The last good policy stays in force.")
                if readable
                else say(
                    "No earlier policy can be used either. Until one can, the watchdog stops no "
                    "job, and opens and closes no queue; guards that are raised stay raised."
                ),
                say(
                    "What to do: correct the text, and put it with make policy-push FILE=…, which "
                    "checks it first."
                ),
            ]
        ),
        facts={
            "parameter": parameter,
            "version": reading.version or None,
            "problems": problems[:100],
            "in_force": "last good" if reading.policy.readable else "none",
        },
    )


def _disarmed(parameter: str, name: str) -> Notice:
    """The notice that a new policy only observes, where the one before enforced."""
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:{name}",
        severity="warning",
        subject=subject("The new policy only observes: nothing is stopped any more"),
        text=lines(
            [
                say(
                    "The policy in the parameter {parameter} was changed: its mode was enforce, "
                    "and is observe now. A rule without a mode of its own only says what it would "
                    "do.",
                    parameter=plain(parameter),
                ),
                "",
                say(
                    "What to do: nothing, if it was meant. If not, take the change back with make "
                    "policy-undo."
                ),
            ]
        ),
        facts={"parameter": parameter, "before": "enforce", "mode": "observe"},
    )
