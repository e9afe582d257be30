"""
Load the policy in force: the text that an operator last put into the SSM parameter, if it is valid.

The stack does not own the parameter, so a deployment cannot change a policy. Until an operator puts
a text, the policy of an empty text is in force; its mode is observe. If the parameter is deleted
later, the last good policy stays in force.

If the text is not valid or cannot be read, the last good policy stays in force, and operators are
notified of the mistake, once for each time that such a text is put. If the last good text is not
valid either (it was written for another version of the watchdog), or none is known, the policy in
force is unreadable: nothing new is stopped, closed or released by it.
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

MAX_AGE = 60  # seconds for which a Lambda execution environment caches the text
STOPS_MAX_AGE = 1  # before a stop: AWS allows 40 reads a second, for the whole account
# After the parameter could not be read, `current` does not ask for it again for so long. While SSM
# is down, each reading takes many seconds, and a function that waits for it again with each batch
# of events comes to nothing else.
UNREAD_MAX_AGE = 30

_LAST_GOOD = ("POLICY", "LAST-GOOD")
_GONE = "there is no such parameter any more."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """
    The policy in force, with the text and the version of the parameter.

    Without a text and without a problem, no operator has put a policy yet. With a problem, the
    policy is the last good one, or an unreadable one. `version` counts how often the parameter was
    put; it is 0 where the parameter does not exist, or could not be read (`unread`).
    """

    policy: Policy
    text: str | None = None
    version: int = 0
    problem: str = ""
    unread: bool = False


class _Parameters(BaseProvider):
    """
    Reads SSM parameters, each as JSON: [version, value]. A missing parameter is [0, null].

    Powertools' own SSM provider returns the value alone.
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
    """
    Loads the policy from its parameter, or the last good text from the table.

    `ssm` is a boto3 client.
    """

    def __init__(self, ssm: Any, parameter: str, table: Table, max_age: int = MAX_AGE) -> None:
        self._provider = _Parameters(ssm)
        self._provider_for_stops = _Parameters(ssm)
        self._unread = _Parameters(ssm)  # keeps the policy in force since a reading failed
        self._parameter = parameter
        self._table = table
        self._max_age = max_age

    def current(self) -> Policy:
        """
        Return the policy in force, to take in events and to send notices.

        If the parameter could not be read some seconds ago, it is not asked for again.
        """
        key = (self._parameter,)
        if self._unread.has_not_expired_in_cache(key):
            known: Policy = self._unread.fetch_from_cache(key)
            return known
        reading = self._read()
        if reading.unread:
            self._unread.add_to_cache(key, reading.policy, min(self._max_age, UNREAD_MAX_AGE))
        return reading.policy

    def current_for_stops(self) -> Policy:
        """
        Return the policy in force, at most a second old, to decide about a stop.

        Raises:
            UnreadPolicyError: the parameter cannot be read. The last good policy is not used here:
                an operator may have put a newer text, in order to stop nothing more.
        """
        reading = self._read_by(self._provider_for_stops, min(self._max_age, STOPS_MAX_AGE))
        if reading.unread:
            raise UnreadPolicyError(f"the policy could not be read ({self._parameter})")
        return reading.policy

    def settle(self, now: datetime) -> Policy:
        """
        Return the policy in force. The sweep calls this once a minute.

        A valid text is saved as the last good one. Otherwise operators are notified of what is
        wrong with it.
        """
        reading = self._read()
        recorder = Recorder(table=self._table, asked_by="sweep")
        if not reading.problem:
            if reading.text is None:
                return reading.policy  # No operator has put a policy yet.
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
            # Announced once for each time that a text is put: another execution environment may
            # have the text before in its cache, and save it again for up to a minute.
            entry = OnceKey(f"mode:{reading.version}:{reading.policy.version}", EPOCH)
            notice = _disarmed(self._parameter, entry.name)
            recorder.announce_once({entry: notice}, now).raise_failed()
        return Outcome(puts=[put])


@lru_cache(maxsize=4)
def _parsed(text: str) -> Policy:
    return parse_policy(text)


def _last_good(item: Item) -> Policy | None:
    """Return the last good policy; None where this version of the watchdog cannot read it."""
    try:
        return _parsed(unpack(item["body"]))
    except PolicyError:
        return None


def _told_once(reading: _Reading, now: datetime) -> OnceKey:
    """
    Return the key by which a problem is announced only once.

    A bad text is announced once for each time that it is put, an unread or missing one once a day.
    """
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
    """Build the notice that the policy's mode was changed from enforce to observe."""
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
