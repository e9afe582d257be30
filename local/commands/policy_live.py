"""
Show a deployed stack's policy, put another one in force, or go back to an earlier one.

    python -m local policy-push FILE [--stack NAME]
    python -m local policy-show [--stack NAME]
    python -m local policy-undo [--stack NAME] [--version NUMBER]

Each command prints the account, the region and the stack, and what it changes. policy-push and
policy-undo wait until the policy is in force, and then print the problems that the watchdog finds.
"""

import argparse
import difflib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from batch_watchdog.core.errors import PolicyError
from batch_watchdog.notices.text import iso, plain
from batch_watchdog.policy.loader import MAX_AGE
from batch_watchdog.policy.model import Policy, parse_policy
from local.commands import live_stack
from local.commands.live_stack import DEFAULT_NAME, LiveError, LiveStack, told_in_words
from local.commands.policy_check import PolicyFileError, read_policy_to_store
from local.commands.policy_warnings import warnings

PATIENCE = timedelta(minutes=4)  # a policy that is not in force by then counts as an error
_PAUSE = 5  # seconds between two calls of the console
_KEPT = timedelta(seconds=MAX_AGE)


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of the parameter. `number` is 0 if there is no parameter yet."""

    number: int
    text: str
    at: str
    by: str

    def __str__(self) -> str:
        if not self.number:
            return self.by
        return f"version {self.number}, of {self.at}" + (f", by {self.by}" if self.by else "")


class _Parameter:
    """The stack's policy parameter, with its history. Operators own it, not the stack."""

    def __init__(self, stack: LiveStack) -> None:
        self.name = stack.output("PolicyParameter")
        self._stack = stack
        self._ssm = stack.session.client("ssm")

    def versions(self) -> list[_Version]:
        """Return the versions that AWS keeps (the last hundred), the current one last."""
        return self._history(self.name) or [self._before_the_first()]

    def _before_the_first(self) -> _Version:
        # Stacks of earlier versions had a parameter of this name, and owned it.
        former = self._history(f"/{self._stack.name}/policy")
        if former:
            origin = f"the parameter of an earlier version, /{self._stack.name}/policy"
            return _Version(0, former[-1].text, "", origin)
        return _Version(0, "", "", "what is in force until a policy is put")

    def _history(self, name: str) -> list[_Version]:
        pages = self._ssm.get_paginator("get_parameter_history").paginate(Name=name)
        try:
            found = [each for page in pages for each in page["Parameters"]]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise
            return []
        return sorted(
            (
                _Version(
                    each["Version"],
                    each["Value"],
                    iso(each["LastModifiedDate"]),
                    plain(each.get("LastModifiedUser", "")),
                )
                for each in found
            ),
            key=lambda each: each.number,
        )

    def put(self, text: str) -> int:
        """Write a text. Return its version."""
        answer = self._ssm.put_parameter(
            Name=self.name, Value=text, Type="String", Tier="Intelligent-Tiering", Overwrite=True
        )
        return int(answer["Version"])


# ---- The commands -------------------------------------------------------------------------


def push(arguments: Sequence[str]) -> int:
    """Put a file's policy in force. Return the exit status."""
    parser = _parser("policy-push", "Check a policy, and put it in force.")
    parser.add_argument("file", type=Path, metavar="FILE", help="a policy in TOML")
    options = parser.parse_args(arguments)

    def run() -> int:
        policy, text = read_policy_to_store(options.file)
        if not text.strip():  # `program > FILE` leaves an empty file if the program fails.
            raise LiveError(
                f"{options.file}: the file is empty. To put a policy without rules, which only "
                'observes, write mode = "observe" into it.'
            )
        stack = live_stack.find(options.stack)
        with told_in_words():
            parameter = _Parameter(stack)
            before = parameter.versions()[-1]
            print(f"{stack}, parameter {parameter.name}", flush=True)
            for warning in warnings(policy, len(text.encode())):
                print(f"Warning: {warning}.")
            return _put(stack, parameter, before, text, policy, str(options.file))

    return _run(run)


def undo(arguments: Sequence[str]) -> int:
    """Put an earlier policy in force again. Return the exit status."""
    parser = _parser("policy-undo", "Put the policy in force that was before the last change.")
    parser.add_argument("--version", type=int, help="this version of the parameter instead")
    options = parser.parse_args(arguments)

    def run() -> int:
        stack = live_stack.find(options.stack)
        with told_in_words():
            parameter = _Parameter(stack)
            *earlier, now = parameter.versions()
            print(f"{stack}, parameter {parameter.name}", flush=True)
            wanted = _wanted(earlier, now, options.version)
            try:
                policy = parse_policy(wanted.text)
            except PolicyError as error:
                raise LiveError(
                    f"The policy of {wanted} cannot be used: {error}\n"
                    "Choose another one with VERSION=…, or put a file: make policy-push FILE=…"
                ) from error
            return _put(stack, parameter, now, wanted.text, policy, str(wanted))

    return _run(run)


def show(arguments: Sequence[str]) -> int:
    """Print the policy in force. Return the exit status."""
    options = _parser("policy-show", "Print the policy in force.").parse_args(arguments)

    def run() -> int:
        stack = live_stack.find(options.stack)
        with told_in_words():
            parameter = _Parameter(stack)
            *earlier, now = parameter.versions()
        print(f"{stack}, parameter {parameter.name}", file=sys.stderr)
        if now.number:
            print(f"{now}; {len(earlier)} earlier ones are kept", file=sys.stderr, flush=True)
        else:
            print(
                f"There is no such parameter. Nobody has put a policy, and the watchdog observes; "
                "or somebody has deleted it, and the last good policy stays in force. This is "
                f"{now}. Put yours: make policy-push FILE=…",
                file=sys.stderr,
                flush=True,
            )
        print(now.text, end="" if now.text.endswith("\n") else "\n")
        return 0

    return _run(run)


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m local {name}", description=about)
    parser.add_argument("--stack", default=DEFAULT_NAME, help="the stack's name")
    return parser


def _run(command: Any) -> int:
    try:
        return int(command())
    except (LiveError, PolicyFileError) as error:
        print(error, file=sys.stderr)
        return 2


def _wanted(earlier: Sequence[_Version], now: _Version, number: int | None) -> _Version:
    """Return the version to go back to: `number`, or else the last one with a different text."""
    if number is not None:
        found = [each for each in earlier if each.number == number]
        known = ", ".join(str(each.number) for each in earlier[-20:]) or "none"
        if not found:
            raise LiveError(f"There is no earlier version {number} of the policy. Kept: {known}")
        return found[0]
    different = [each for each in earlier if each.text != now.text]
    if not different:
        raise LiveError(
            "There is nothing to take back: no other policy was in force before. To stop no job "
            'any more, set mode = "observe" in your file: make policy-push FILE=…'
        )
    return different[-1]


def _put(  # noqa: PLR0913, PLR0917 - what is put where, and what was there
    stack: LiveStack,
    parameter: _Parameter,
    before: _Version,
    text: str,
    policy: Policy,
    origin: str,
) -> int:
    if before.number and text == before.text:
        print(f"{origin} is what the parameter holds ({before}): nothing is changed.")
    else:
        for line in _difference(before, text, origin):
            print(line)
        number = parameter.put(text)
        print(f"The parameter holds {origin} now, as version {number}.", flush=True)
    return _wait(stack, policy, changed=not before.number or text != before.text)


def _difference(before: _Version, text: str, origin: str) -> Iterator[str]:
    yield from difflib.unified_diff(
        before.text.splitlines(), text.splitlines(), str(before), origin, lineterm=""
    )
    try:
        was = parse_policy(before.text).mode
    except PolicyError:
        was = None
    mode = parse_policy(text).mode
    if was and was != mode:
        then = "jobs are stopped from now on" if mode == "enforce" else "no job is stopped any more"
        yield f"The mode changes from {was} to {mode}: {then}."


# ---- Until it is in force -----------------------------------------------------------------


def _wait(stack: LiveStack, policy: Policy, *, changed: bool) -> int:
    """
    Wait until the watchdog reads this policy, and no container keeps an older one.

    The console reports the version that it reads; it reads the parameter as every function does. A
    container keeps a text for up to a minute. The sweep, which does all that is due, runs once a
    minute.
    """
    print("Waiting until it is in force ...", flush=True)
    began = time.monotonic()
    while True:
        waited = timedelta(seconds=time.monotonic() - began)
        status = _ask(stack, "status", "policy")
        if isinstance(status, str):
            print(f"It is in force within two minutes. (To see that was not possible: {status})")
            return 0
        seen = status.get("policy") == policy.version
        if seen and (waited >= _KEPT or not changed):
            break
        if waited >= PATIENCE:
            print(
                f"It is not in force after {int(PATIENCE.total_seconds() // 60)} minutes. The "
                f"watchdog reads version {plain(str(status.get('policy')))}, and this is "
                f"{policy.version}. Look for a notice about the policy: an older version of the "
                "software may not understand it (make deploy).",
                file=sys.stderr,
            )
            return 1
        time.sleep(_PAUSE)
    print(f"In force: policy {policy.version}, mode {policy.mode}.", flush=True)
    for line in _troubles(stack):
        print(line)
    return 0


def _troubles(stack: LiveStack) -> Iterator[str]:
    """Yield the problems that the watchdog's own check finds, without the doubtful ones."""
    found = _ask(stack, "check", "problems")
    if isinstance(found, str):
        yield f"(To see whether anything is wrong was not possible: {found})"
        return
    for each in found["problems"]:
        if not each["doubtful"]:
            yield f"Wrong: {plain(each['what'], 500)} {plain(each['what_to_do'], 500)}"


def _ask(stack: LiveStack, command: str, wanted: str) -> dict[str, Any] | str:
    """Return the console's answer if it has the key `wanted`; else a text that says why not."""
    try:
        answer = stack.session.client("lambda").invoke(
            FunctionName=stack.output("ConsoleFunction"),
            Payload=json.dumps({"command": command}).encode(),
        )
    except ClientError as error:
        return f"{error.response['Error']['Code']} for {error.operation_name}"
    content = answer["Payload"].read()
    try:
        told = json.loads(content)
    except ValueError:
        told = None
    if answer.get("FunctionError") or not isinstance(told, dict) or wanted not in told:
        return f"the console answered {plain(content.decode(errors='replace'))}"
    return told
