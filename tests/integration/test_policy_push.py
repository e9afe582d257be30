"""Putting a policy into force."""

from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from local.commands import policy_push

PARAMETER = "/batch-watchdog/policy"


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@mock_aws
def test_a_good_policy_is_put_into_the_parameter_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('mode = "enforce" # at last\n')

    assert policy_push.main([str(file), PARAMETER]) == 0

    answer = boto3.client("ssm").get_parameter(Name=PARAMETER)
    assert answer["Parameter"].get("Value") == 'mode = "enforce" # at last\n'


@mock_aws
def test_a_bad_policy_is_not_put_anywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('mode = "of"\n')

    assert policy_push.main([str(file), PARAMETER]) == 2

    assert f"{file}:1: mode" in capsys.readouterr().err
    assert boto3.client("ssm").describe_parameters()["Parameters"] == []
