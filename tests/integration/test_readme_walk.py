"""
From a clone to an enforced policy by the README alone: its own lines, run in an account that moto
plays; and wrong turns, each of which is answered with what to do.

What SAM CLI would do is done by the test. No program waits: its clock goes as far as it sleeps.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import live_account
from tests.live_account import LiveAccount
from tests.logs import an_array
from tests.unit.local.test_finish_build import ARM, library

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:Tried to parse AWS"),
]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.MULTILINE)
NAME = "batch-watchdog"
# Each program's clock: what it sleeps has passed at once.
CLOCK = """
import time
_monotonic, _slept = time.monotonic, []
time.sleep = _slept.append
time.monotonic = lambda: _monotonic() + sum(_slept)
"""
# The AWS CLI, as far as the README has it.
AWS = """
import argparse, boto3, os
parser = argparse.ArgumentParser(allow_abbrev=False)
for name in ("service", "operation", "out"):
    parser.add_argument(name)
for name in ("--function-name", "--cli-binary-format", "--payload"):
    parser.add_argument(name)
given = parser.parse_args()
functions = boto3.client("lambda", os.environ["AWS_REGION"])
answer = functions.invoke(FunctionName=given.function_name, Payload=given.payload)
open(given.out, "wb").write(answer["Payload"].read())
"""
# SAM CLI: it writes down what it was asked for, and a build is there.
SAM = """#!/bin/sh
test "$3" != build || cp -r built .aws-sam
echo "$@" >> sam.log
"""


def commands(section: str) -> list[str]:
    """The commands in the console blocks of a section of the README."""
    [text] = re.findall(rf"^##+ {section}\n(.*?)(?=^##+ |\Z)", README, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [without_comment(line) for block in blocks for line in COMMAND.findall(block)]


def command(start: str) -> str:
    """The first command of the README that begins so, without its comment."""
    every = COMMAND.findall(README)
    return next(without_comment(each) for each in every if f"{each} ".startswith(f"{start} "))


def without_comment(line: str) -> str:
    return re.split(r" +# ", line)[0]


[FIRST_POLICY] = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command has said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


class Clone:
    """A clone of the repository, beside an account: a shell in it."""

    def __init__(self, folder: Path, account: LiveAccount) -> None:
        self.account = account
        self.folder = folder / "batch-watchdog"
        self.folder.mkdir()
        names = "Makefile events functions layers local samconfig.toml template.yaml"
        for each in (*names.split(), "template-us-east-1.yaml"):
            (self.folder / each).symlink_to(ROOT / each)
        (self.folder / ".venv").symlink_to(sys.prefix)
        self._write("programs/sitecustomize.py", CLOCK)
        # What the environments are set up with is not to be asked for.
        make = f'exec {shutil.which("make")} -o .venv/.installed -o .venv-sam/.installed "$@"'
        self._write("programs/make", f"#!/bin/sh\n{make}\n")
        self._write("programs/aws.py", AWS)
        self._write("programs/aws", '#!/bin/sh\nexec .venv/bin/python programs/aws.py "$@"\n')
        self._write(".venv-sam/bin/python", SAM)
        layer = self.folder / "built/build/WatchdogLayer/python"
        for name in ("batch_watchdog", "botocore/data", "pydantic_core"):
            (layer / name).mkdir(parents=True)
        (layer / "pydantic_core/core.so").write_bytes(library(ARM))
        shutil.copy(ROOT / "template.yaml", self.folder / "built/build/template.yaml")

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def begin_anew(self) -> None:
        """Forget each policy and log; the address has confirmed its subscription."""
        for name in ("policy.toml", "log.jsonl", "sam.log"):
            (self.folder / name).unlink(missing_ok=True)
        ssm = self.account.client("ssm")
        ssm.delete_parameters(Names=[f"/batch-watchdog/{NAME}/policy"])
        self.account.confirm(confirmed=True)

    def policy(self, text: str) -> None:
        (self.folder / "policy.toml").write_text(text)

    def run(self, line: str, environment: Mapping[str, str | None] | None = None) -> Said:
        """Run a line in the shell. `environment` differs from that of the account in this."""
        variables: dict[str, str | None] = {
            **self.account.environment,
            "HOME": str(self.folder),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": None,
            "PATH": f"{self.folder / 'programs'}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "programs"),
            **(environment or {}),
        }
        done = subprocess.run(  # noqa: S602 - a user types it into a shell, too
            line,
            shell=True,
            cwd=self.folder,
            env={name: value for name, value in variables.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = Said(status=done.returncode, out=done.stdout, err=done.stderr)
        assert "Traceback" not in said.all, said.all
        return said

    def ask(self, question: str = '{"command": "check"}') -> Said:
        """The README's line for a command of the console, with this command."""
        line = command("aws lambda invoke").replace(
            "<ConsoleFunction>", self.account.stack.names["ConsoleFunction"]
        )
        return self.run(re.sub("--payload '.*'", f"--payload '{question}'", line))

    def sam(self) -> list[list[str]]:
        """What SAM CLI was asked for."""
        return [line.split() for line in (self.folder / "sam.log").read_text().splitlines()]


DEPLOYED = {"NoticeEmail": "ops@example.com", "SoftThreshold": "800", "HardThreshold": "1000"}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    with live_account.running() as account:
        account.deploy(DEPLOYED)
        yield Clone(tmp_path_factory.mktemp("clone"), account)


@pytest.fixture
def clone(deployed: Clone) -> Clone:
    """A clone beside an account with a stack, to which no policy has been put."""
    deployed.begin_anew()
    return deployed


# ---- The walk -----------------------------------------------------------------------------


def fine(said: Said) -> Said:
    assert said.status == 0, said.all
    return said


@pytest.mark.long
def test_the_readme_shows_of_the_demo_what_it_prints(clone: Clone) -> None:
    [shown] = re.findall(r"^\$ make demo .*\n((?:[^$].*\n)*)", README, re.MULTILINE)

    printed = fine(clone.run("make demo")).out.splitlines()

    assert [each for each in shown.splitlines() if each != "…" and each not in printed] == []


def test_the_readme_leads_from_a_clone_to_a_stack_that_works(clone: Clone) -> None:
    build, check, deploy, smoke, billing = commands("Deploy")

    fine(clone.run(build))
    assert "Nothing stands in the way: make deploy." in fine(clone.run(check)).out
    answers = {"EMAIL": "ops@example.com", "SOFT": "800", "HARD": "1000"}
    told = fine(clone.run(deploy, answers)).out
    assert "Confirm the subscription: AWS has written to ops@example.com." in told
    assert "batch-watchdog-spend-soft, batch-watchdog-spend-hard" in told
    assert "make policy-push FILE=policy.toml" in told
    *_, asked = clone.sam()
    assert dict(each.split("=") for each in asked if "=" in each) == DEPLOYED
    assert "The stack works." in fine(clone.run(smoke)).out

    refused = clone.run(billing)
    assert refused.status
    assert "it has the alarms. make deploy asks for the thresholds." in refused.err


def test_the_readme_leads_from_its_first_policy_to_one_that_is_enforced(clone: Clone) -> None:
    check, push, show, undo = commands("Policy")
    clone.policy(FIRST_POLICY)

    assert "the policy is fine" in fine(clone.run(check)).out
    told = fine(clone.run(push)).out
    assert "Warning" not in told
    assert "In force: policy" in told
    assert "mode observe." in told
    assert fine(clone.run(show)).out == FIRST_POLICY

    enforced = FIRST_POLICY.replace('mode = "observe"', 'mode = "enforce"')
    clone.policy(enforced)
    told = fine(clone.run(push)).out
    assert "The mode changes from observe to enforce: jobs are stopped from now on." in told
    assert "mode enforce." in told
    assert fine(clone.run(show)).out == enforced
    found = json.loads(fine(clone.ask()).out)
    assert found["policy"]["mode"] == "enforce"
    assert [each["what"] for each in found["problems"] if not each["doubtful"]] == []
    status = json.loads(fine(clone.ask('{"command": "status"}')).out)
    assert status["mode"] == "enforce"
    assert "rules" in json.loads(fine(clone.ask('{"command": "report"}')).out)
    tried = json.loads(fine(clone.ask('{"command": "test-notice", "by": "jane"}')).out)
    assert tried["decided"].startswith("sent: ")

    assert "no job is stopped any more" in fine(clone.run(undo)).out
    assert fine(clone.run(show)).out == FIRST_POLICY


@pytest.mark.long
def test_the_readme_leads_from_kept_events_to_a_policy_of_ones_own(clone: Clone) -> None:
    [pull] = commands("A record of events")
    clone.account.keep(an_array(40).events)

    fine(clone.run(pull))
    kept = (clone.folder / "log.jsonl").read_text().splitlines()
    assert len(kept) == len(an_array(40).events)

    suggest, allowing = commands("A policy from your own history")
    fine(clone.run(suggest))
    assert fine(clone.run(command("make policy-check"))).out.count("limit[") == 2
    timeline, rows, report = commands("Replay")
    assert "in all" in fine(clone.run(timeline)).out
    assert '"kind": "notice"' in fine(clone.run(f"{rows} && cat out.jsonl")).out
    assert "<html" in fine(clone.run(f"{report} && cat report.html")).out
    fine(clone.run(allowing))


def test_to_delete_the_stack_says_what_stays_and_asks_sam(clone: Clone) -> None:
    told = fine(clone.run("make undeploy")).out

    assert f"the parameter /batch-watchdog/{NAME}/policy, as it is yours" in told
    assert "release all guards first" in told
    # SAM CLI itself does not read AWS_REGION, and in another region a stack may have this name.
    region = ["--region", "us-east-1"]
    assert clone.sam() == [["-m", "samcli", "delete", "--stack-name", NAME, *region]]


# ---- Wrong turns --------------------------------------------------------------------------


ENFORCED = FIRST_POLICY.replace("observe", "enforce", 1)
GUARD = """
[[guard]]
name = "monthly"
[[guard.stage]]
alarms = ["batch-watchdog-spend-sotf"]
action = "cancel"
"""
CHECK, PUSH, SHOW, UNDO = commands("Policy")
SMOKE, PULL = command("make smoke"), command("make pull-events")
REPLAY, SUGGEST, DEPLOY = command("make replay"), command("make suggest"), command("make deploy")
NOBODY = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A wrong turn: a line that is run, and what is told."""

    line: str
    told: tuple[str, ...]
    policy: str = FIRST_POLICY
    environment: Mapping[str, str | None] = field(default_factory=dict)
    succeeds: bool = False  # it is no error, and only told


TURNS = {
    "another stack's name": Turn(
        line=f"{PUSH} STACK=batch-watchdgo",
        told=("There is no stack batch-watchdgo", f"there: {NAME}. STACK=…"),
    ),
    "another region": Turn(
        line=SHOW,
        environment={"AWS_REGION": "eu-west-1"},
        told=(f"There is no stack {NAME}", "region eu-west-1", "another region", "AWS_REGION=…"),
    ),
    "no region": Turn(
        line=PULL,
        environment={"AWS_REGION": None},
        told=("Which region? Say it: AWS_REGION=us-east-1",),
    ),
    "no credentials": Turn(
        line=PUSH,
        environment=NOBODY,
        told=("There are no credentials for AWS. Sign in", "AWS_PROFILE=…"),
    ),
    "no such profile": Turn(
        line=f"{DEPLOY} EMAIL=",
        environment={"AWS_PROFILE": "nobody", "AWS_REGION": None},
        told=("profile (nobody) could not be found", "correct AWS_PROFILE=…"),
    ),
    "a region that there is not": Turn(
        line=SHOW,
        environment={"AWS_REGION": "us-east1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        told=("Could not connect", "Is the region right (AWS_REGION=…)"),
    ),
    "a proxy answers": Turn(
        line=SHOW,
        environment={"AWS_ENDPOINT_URL_STS": "ENDPOINT/nothing"},
        told=("What answers is not AWS, but perhaps a proxy",),
    ),
    "a key that is misspelt": Turn(
        line=PUSH,
        policy=FIRST_POLICY.replace("mode", "mood"),
        told=("policy.toml:1: mood", "mode"),
    ),
    "a value that is misspelt": Turn(
        line=PUSH,
        policy=FIRST_POLICY.replace("cancel", "cancle"),
        told=("policy.toml:4: limit[1].RUNNABLE.action", "expected", "'cancel'"),
    ),
    "a rule that never counts": Turn(
        line=CHECK,
        policy=FIRST_POLICY + FIRST_POLICY[FIRST_POLICY.index("[[limit]]") :],
        told=("limit[2] (every job) never counts", "put it before, or leave it out"),
        succeeds=True,
    ),
    "no policy": Turn(
        line=PUSH,
        policy="",
        told=("policy.toml: cannot be read", "the README has a policy to begin with"),
    ),
    "a policy from a program that has failed": Turn(
        line=f"{SUGGEST}; {PUSH}",
        told=("policy.toml: the file is empty", 'write mode = "observe" into it'),
    ),
    "no file is named": Turn(
        line="make policy-push", told=("usage: make policy-check FILE=policy.toml",)
    ),
    "the same policy again": Turn(
        line=f"{PUSH} && {PUSH}",
        told=("policy.toml is what the parameter holds", "nothing is changed"),
        succeeds=True,
    ),
    "nothing to take back": Turn(
        line=f"{PUSH} && {UNDO}",
        told=("no other policy was in force before", 'mode = "observe"', "make policy-push"),
    ),
    "no log to replay": Turn(
        line=REPLAY, told=("log.jsonl: cannot be read", "make pull-events brings the events")
    ),
    "no log to learn of": Turn(
        line=SUGGEST, told=("log.jsonl: cannot be read", "make pull-events brings the events")
    ),
    "a log without events": Turn(
        line=f"> log.jsonl; {REPLAY}",
        told=("log.jsonl: no event is in it", "make pull-events brings the events"),
    ),
    "a log without events to learn of": Turn(
        line=f"> log.jsonl; {SUGGEST}",
        told=("log.jsonl: no event is in it", "make pull-events brings the events"),
    ),
    "no events are kept yet": Turn(
        line=PULL.replace("30d", "10m"),
        told=("None has been kept in this time", "AWS_REGION=…", "SINCE="),
        succeeds=True,
    ),
    "a smoke test without a stack": Turn(
        line=f"{SMOKE} STACK=night", told=("There is no stack night", f"there: {NAME}. STACK=…")
    ),
    "thresholds the wrong way round": Turn(
        line=f"{DEPLOY} EMAIL= SOFT=800 HARD=700",
        told=("HARD=700: Expected more than the soft threshold, which is 800.",),
    ),
    "an address that is none": Turn(
        line=f"{DEPLOY} EMAIL=me", told=("EMAIL=me: Expected one e-mail address, or none.",)
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_a_wrong_turn_is_answered_with_what_to_do(clone: Clone, turn: Turn) -> None:
    if turn.policy:
        clone.policy(turn.policy)
    endpoint = clone.account.environment["AWS_ENDPOINT_URL"]
    said = clone.run(
        turn.line,
        {
            name: value and value.replace("ENDPOINT", endpoint)
            for name, value in turn.environment.items()
        },
    )

    assert (said.status == 0) == turn.succeeds, said.all
    assert [text for text in turn.told if text not in said.all] == [], said.all


@pytest.mark.long
def test_a_subscription_that_is_not_confirmed_fails_the_smoke_test(clone: Clone) -> None:
    clone.account.confirm(confirmed=False)

    said = clone.run(SMOKE)

    assert said.status
    assert "the subscription is not confirmed. Confirm it by the link in AWS's e-mail" in said.out


@pytest.mark.long
def test_an_alarm_that_does_not_exist_is_told_of_by_check(clone: Clone) -> None:
    clone.policy(FIRST_POLICY + GUARD)
    fine(clone.run(PUSH))

    found = json.loads(clone.ask().out)

    [problem] = [each for each in found["problems"] if not each["doubtful"]]
    assert "batch-watchdog-spend-sotf, which does not exist" in problem["what"]
    assert "Correct the name in the policy" in problem["what_to_do"]
