"""Deploying, in an account that moto plays: what is handed to SAM, and each wrong turn."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.commands import deploy, deploy_billing

OLDER = """
Parameters:
  NoticeEmail: { Type: String, Default: "" }
  SoftThreshold: { Type: Number, Default: 0 }
  HardThreshold: { Type: Number, Default: 0 }
Resources:
  PolicyParameter:
    Type: AWS::SSM::Parameter
    Properties: { Name: !Sub "/${AWS::StackName}/policy", Type: String, Value: "# empty" }
Outputs:
  SpendFunctionArn: { Value: "arn:aws:lambda:eu-west-1:111122223333:function:spend" }
"""

type Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("EMAIL", "SOFT", "HARD", "CHAT", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    built = tmp_path / "template.yaml"
    built.write_text("")
    monkeypatch.setattr(deploy, "BUILT", built)
    with mock_aws():
        yield


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The commands that were run, in place of SAM."""
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("local.commands.deploy.subprocess.run", run)
    return commands


def a_stack(name: str = "batch-watchdog", region: str = "eu-west-1", **values: str) -> None:
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]
    boto3.client("cloudformation", region_name=region).create_stack(
        StackName=name,
        TemplateBody=OLDER,
        Parameters=given,  # type: ignore[arg-type]
    )


def overrides(command: Sequence[str]) -> dict[str, str]:
    after = command[command.index("--parameter-overrides") + 1 :]
    return dict(each.split("=", 1) for each in after)


def test_a_new_stack_gets_what_was_built_and_says_what_is_next(
    ran: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("EMAIL", "ops@example.com")

    assert deploy.main([]) == 0

    [command] = ran
    assert command[command.index("--region") + 1] == "eu-west-1"
    assert "Architecture" not in overrides(command)
    assert overrides(command)["NoticeEmail"] == "ops@example.com"
    told = capsys.readouterr().out
    assert "AWS has written to ops@example.com" in told
    assert "make deploy-billing" in told


def test_a_region_that_only_the_default_answers_is_to_be_said_for_other_commands(
    ran: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Output
) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert deploy.main([]) == 0
    assert "export" not in capsys.readouterr().out

    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert deploy.main([]) == 0

    assert ran[1][ran[1].index("--region") + 1] == "us-east-1"
    assert "export AWS_REGION=us-east-1" in capsys.readouterr().out


def test_a_stack_keeps_what_it_has(
    ran: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    a_stack("team", "us-east-1", NoticeEmail="a@b.c", SoftThreshold="800", HardThreshold="1000")

    assert deploy.main(["--stack", "team"]) == 0

    given = overrides(ran[0])
    assert (given["NoticeEmail"], given["SoftThreshold"], given["HardThreshold"]) == (
        "a@b.c",
        "800",
        "1000",
    )


@pytest.mark.parametrize("chat", ["", "yes", "no"])
def test_a_chat_is_told_where_that_is_asked_for(
    ran: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, chat: str
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("CHAT", chat)

    assert deploy.main([]) == 0

    assert overrides(ran[0]).get("ChatTopic", "") == chat


def test_what_is_not_built_is_not_deployed(
    ran: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Output
) -> None:
    monkeypatch.setattr(deploy, "BUILT", tmp_path / "nothing")

    assert deploy.main([]) == 2

    assert not ran
    assert "Nothing is built" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "1st", "a b", "a" * 200])
def test_a_name_that_no_stack_can_have_is_refused(name: str, capsys: Output) -> None:
    assert deploy.main(["--stack", name]) == 2
    assert "STACK=" in capsys.readouterr().err


# ---- The billing alarms of a stack in another region ----------------------------------------


def billing() -> dict[str, str]:
    """The parameters of the alarms' stack. (moto makes no alarms.)"""
    stacks = boto3.client("cloudformation", region_name="us-east-1").describe_stacks()["Stacks"]
    found = [each for each in stacks if each["StackName"] == "batch-watchdog"]
    return {
        given["ParameterKey"]: given["ParameterValue"]
        for each in found
        for given in each["Parameters"]
    }


@pytest.mark.filterwarnings("ignore:Tried to parse AWS")
def test_the_alarms_are_put_where_the_charges_are_and_put_again(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    a_stack()
    monkeypatch.setenv("SOFT", "800")
    monkeypatch.setenv("HARD", "1000")

    assert deploy_billing.main([]) == 0

    put = billing()
    assert (put["SoftThreshold"], put["HardThreshold"]) == ("800", "1000")
    assert put["SpendFunctionArn"].endswith("function:spend")
    assert "batch-watchdog-spend-soft" in capsys.readouterr().out
    monkeypatch.setenv("HARD", "1200")
    assert deploy_billing.main([]) == 0
    assert billing()["HardThreshold"] == "1200"


@pytest.mark.parametrize("answers", [{}, {"SOFT": "800", "HARD": "700"}, {"HARD": "700"}])
def test_nothing_is_put_without_two_thresholds(
    answers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_stack()
    for name, value in answers.items():
        monkeypatch.setenv(name, value)

    assert deploy_billing.main([]) == 2
    assert billing() == {}


def test_a_stack_in_us_east_1_has_alarms_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    a_stack(region="us-east-1")

    assert deploy_billing.main([]) == 2
    assert "it has the alarms" in capsys.readouterr().err


def test_a_stack_that_is_not_there_is_told(capsys: Output) -> None:
    assert deploy_billing.main([]) == 2
    assert "There is no stack batch-watchdog" in capsys.readouterr().err
