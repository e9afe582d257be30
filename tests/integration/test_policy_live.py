"""Putting a policy into force, seeing it, and taking it back, in an account that moto plays."""

import io
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from batch_watchdog.policy.model import parse_policy
from local.commands import live_stack, policy_live
from local.commands.live_stack import LiveStack

PARAMETER = "/batch-watchdog/batch-watchdog/policy"
FORMER = "/batch-watchdog/policy"  # of stacks of an earlier version
FIRST = 'mode = "observe"\n[[limit]]\nRUNNABLE = { warn_after = "1h", after = "2h" }\n'
ENFORCED = FIRST.replace("observe", "enforce")
TEMPLATE = """
Resources:
  Topic: { Type: AWS::SNS::Topic }
Outputs:
  PolicyParameter: { Value: !Sub "/batch-watchdog/${AWS::StackName}/policy" }
  ConsoleFunction: { Value: the-console }
"""

type Output = pytest.CaptureFixture[str]


class Account:
    """An account with a stack, and a console that reads the parameter as the real one does."""

    def __init__(self) -> None:
        self.ssm = boto3.client("ssm")
        self.kept = timedelta(seconds=20)  # how long the console keeps an old text
        self.now = 0.0
        self.refuses: Exception | None = None
        self.check: dict[str, Any] = {"problems": []}
        self._read_at = -1e9
        self._text = ""

    def text(self) -> str:
        return str(self.ssm.get_parameter(Name=PARAMETER)["Parameter"].get("Value"))

    def invoke(self, *, Payload: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803 - AWS's name
        if self.refuses:
            raise self.refuses
        if json.loads(Payload) == {"command": "check"}:
            return {"Payload": io.BytesIO(json.dumps(self.check).encode())}
        if self.now >= self._read_at + self.kept.total_seconds():
            self._read_at, self._text = self.now, self.text()
        answer = {"policy": parse_policy(self._text).version, "mode": "observe"}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        boto3.client("cloudformation").create_stack(
            StackName="batch-watchdog", TemplateBody=TEMPLATE
        )
        account = Account()
        account.ssm.put_parameter(Name=PARAMETER, Type="String", Value="# empty")
        monkeypatch.setattr("time.sleep", account.sleep)
        monkeypatch.setattr("time.monotonic", lambda: account.now)
        real = live_stack.find

        def find(name: str) -> LiveStack:
            stack = real(name)

            class Session:
                @staticmethod
                def client(service: str) -> Any:
                    return account if service == "lambda" else stack.session.client(service)

            return LiveStack(
                name=stack.name,
                account=stack.account,
                region=stack.region,
                outputs=stack.outputs,
                session=Session(),
            )

        monkeypatch.setattr(live_stack, "find", find)
        yield account


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


def put(file: Path, text: str, *options: str) -> int:
    file.write_text(text)
    return policy_live.push([*options, str(file)])


def test_a_policy_is_put_as_it_is_written_and_where_and_what_changes_is_told(
    account: Account, file: Path, capsys: Output
) -> None:
    assert put(file, FIRST) == 0
    capsys.readouterr()

    assert put(file, ENFORCED + "# at last\n") == 0

    assert account.text() == ENFORCED + "# at last\n"
    told = capsys.readouterr().out.splitlines()
    assert told[0] == (
        f"account 123456789012, region us-east-1, stack batch-watchdog, parameter {PARAMETER}"
    )
    assert {'-mode = "observe"', '+mode = "enforce"', "+# at last"} <= set(told)
    assert "The mode changes from observe to enforce: jobs are stopped from now on." in told
    assert f"The parameter holds {file} now, as version 3." in told
    assert told[-1] == f"In force: policy {parse_policy(ENFORCED).version}, mode enforce."


def test_it_waits_until_no_container_keeps_another_policy(account: Account, file: Path) -> None:
    account.kept = timedelta(seconds=90)
    assert put(file, FIRST) == 0
    assert 60 <= account.now < 90

    assert put(file, ENFORCED) == 0
    assert account.now >= 120


def test_a_policy_that_does_not_come_into_force_is_an_error(
    account: Account, file: Path, capsys: Output
) -> None:
    put(file, FIRST)
    account.kept = timedelta(days=1)

    assert put(file, ENFORCED) == 1

    assert "It is not in force after 4 minutes." in capsys.readouterr().err


def test_where_the_console_may_not_be_asked_that_is_said(
    account: Account, file: Path, capsys: Output
) -> None:
    account.refuses = ClientError({"Error": {"Code": "AccessDeniedException"}}, "Invoke")

    assert put(file, FIRST) == 0

    told = capsys.readouterr().out
    assert (
        "within two minutes. (To see that was not possible: AccessDeniedException for Invoke)"
        in told
    )
    assert "In force" not in told


def test_what_is_wrong_under_the_policy_that_was_put_is_told(
    account: Account, file: Path, capsys: Output
) -> None:
    alarm = {"what": "The alarm rings.", "what_to_do": "Set the stage.", "doubtful": False}
    queue = {"what": "No such queue.", "what_to_do": "Correct it.", "doubtful": True}
    account.check = {"problems": [alarm, queue]}

    assert put(file, FIRST) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"In force: policy {parse_policy(FIRST).version}, mode observe.",
        "Wrong: The alarm rings. Set the stage.",
    ]

    account.check = {"error": "no"}
    assert put(file, FIRST) == 0
    assert "(To see whether anything is wrong was not possible: " in capsys.readouterr().out


def test_what_is_in_force_already_is_not_put_again(
    account: Account, file: Path, capsys: Output
) -> None:
    put(file, FIRST)
    capsys.readouterr()

    assert put(file, FIRST) == 0

    told = capsys.readouterr().out
    assert "is what the parameter holds (version 2" in told
    assert "nothing is changed" in told
    assert account.ssm.get_parameter(Name=PARAMETER)["Parameter"].get("Version") == 2


def test_a_bad_policy_is_not_put_anywhere(account: Account, file: Path, capsys: Output) -> None:
    assert put(file, 'mode = "of"\n') == 2

    assert f"{file}:1: mode" in capsys.readouterr().err
    assert account.text() == "# empty"


@pytest.mark.usefixtures("account")
def test_a_stack_that_does_not_exist_is_told_with_those_that_do(file: Path, capsys: Output) -> None:
    assert put(file, FIRST, "--stack", "batch-watchdgo") == 2

    assert capsys.readouterr().err == (
        "There is no stack batch-watchdgo in account 123456789012, region us-east-1. Stacks of "
        "batch-watchdog there: batch-watchdog. STACK=…, or say another region or profile: "
        "AWS_REGION=…, AWS_PROFILE=…\n"
    )


def test_where_there_is_no_stack_at_all_to_deploy_is_the_advice(
    account: Account, file: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    del account
    monkeypatch.setenv("AWS_REGION", "eu-west-1")

    assert policy_live.show([]) == 2

    told = capsys.readouterr().err
    assert "region eu-west-1. No stack there is one of batch-watchdog. Deploy one" in told


def test_a_stack_of_something_else_is_refused(account: Account, capsys: Output) -> None:
    del account
    boto3.client("cloudformation").create_stack(
        StackName="other",
        TemplateBody="Resources: { Topic: { Type: AWS::SNS::Topic } }",
    )

    assert policy_live.show(["--stack", "other"]) == 2

    assert "The stack other has no output PolicyParameter" in capsys.readouterr().err


def test_the_first_policy_creates_the_parameter(
    account: Account, file: Path, capsys: Output
) -> None:
    account.ssm.delete_parameter(Name=PARAMETER)

    assert put(file, FIRST) == 0

    assert account.text() == FIRST
    told = capsys.readouterr().out
    assert "--- what is in force until a policy is put" in told
    assert f"The parameter holds {file} now, as version 1." in told


def test_the_policy_of_an_earlier_version_of_the_stack_is_shown_and_put_where_it_belongs_now(
    account: Account, file: Path, capsys: Output
) -> None:
    account.ssm.delete_parameter(Name=PARAMETER)
    account.ssm.put_parameter(Name=FORMER, Type="String", Value=ENFORCED)

    assert policy_live.show([]) == 0
    told = capsys.readouterr()
    assert told.out == ENFORCED
    assert f"the parameter of an earlier version, {FORMER}" in told.err

    assert put(file, told.out) == 0
    assert account.text() == ENFORCED
    assert "The mode changes" not in capsys.readouterr().out


# ---- Showing, and taking back -------------------------------------------------------------


def test_the_policy_in_force_alone_goes_to_standard_output(
    account: Account, file: Path, capsys: Output
) -> None:
    del account
    put(file, FIRST)
    capsys.readouterr()

    assert policy_live.show([]) == 0

    told = capsys.readouterr()
    assert told.out == FIRST
    assert "account 123456789012, region us-east-1, stack batch-watchdog" in told.err
    assert "version 2, of 20" in told.err
    assert "1 earlier ones are kept" in told.err


def test_the_last_change_is_taken_back_and_that_too(
    account: Account, file: Path, capsys: Output
) -> None:
    put(file, FIRST)
    put(file, ENFORCED)
    capsys.readouterr()

    assert policy_live.undo([]) == 0
    assert account.text() == FIRST
    told = capsys.readouterr().out
    assert '-mode = "enforce"' in told
    assert "no job is stopped any more" in told
    assert "In force" in told

    assert policy_live.undo([]) == 0
    assert account.text() == ENFORCED

    assert policy_live.undo(["--version", "2"]) == 0
    assert account.text() == FIRST


def test_where_there_is_no_policy_none_is_shown_and_nothing_can_be_taken_back(
    account: Account, capsys: Output
) -> None:
    account.ssm.delete_parameter(Name=PARAMETER)

    assert policy_live.show([]) == 0
    told = capsys.readouterr()
    assert told.out == "\n"
    assert "Nobody has put a policy, and the watchdog observes" in told.err

    assert policy_live.undo([]) == 2
    assert "There is nothing to take back" in capsys.readouterr().err


def test_there_may_be_nothing_to_take_back(account: Account, capsys: Output) -> None:
    assert policy_live.undo([]) == 2
    assert "There is nothing to take back" in capsys.readouterr().err

    assert policy_live.undo(["--version", "9"]) == 2
    assert "There is no earlier version 9 of the policy. Kept: none" in capsys.readouterr().err
    assert account.text() == "# empty"


def test_an_earlier_policy_that_cannot_be_used_is_not_put_again(
    account: Account, file: Path, capsys: Output
) -> None:
    account.ssm.put_parameter(Name=PARAMETER, Value='mode = "of"', Type="String", Overwrite=True)
    put(file, FIRST)

    assert policy_live.undo([]) == 2

    assert "cannot be used: " in capsys.readouterr().err
    assert account.text() == FIRST


# ---- The way to AWS -----------------------------------------------------------------------


def test_without_credentials_or_region_what_to_do_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Output
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert policy_live.show([]) == 2
    assert "Which region? Say it: AWS_REGION=" in capsys.readouterr().err

    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert policy_live.show([]) == 2
    assert "There are no credentials for AWS. Sign in" in capsys.readouterr().err
