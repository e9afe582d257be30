"""Stacks: the template's own, and small ones around handlers of a test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from local.aws import stack as stacks
from local.aws.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The stack that template.yaml makes, as moto created it."""
    return stacks.read()


# What every function gets in the template; the handlers of tests need not use it.
_HEAD = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Address: { Type: String, Default: "" }
Conditions:
  HasAddress: !Not [!Equals [!Ref Address, ""]]
Globals:
  Function:
    Runtime: python3.13
    Handler: handler.lambda_handler
    Timeout: 60
    Environment:
      Variables:
        TABLE_NAME: !Ref Table
        TOPIC_ARN: !Ref Topic
        DEAD_LETTER_QUEUE_URL: !Ref Letters
        POLICY_PARAMETER: !Ref Policy
        STOP_QUEUE_URL: none
        STOP_CALLS_PER_SECOND: 10
Resources:
  Topic: { Type: AWS::SNS::Topic }
  Letters: { Type: AWS::SQS::Queue }
  Policy: { Type: AWS::SSM::Parameter, Properties: { Name: /policy, Type: String, Value: "#" } }
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      KeySchema:
        - { AttributeName: pk, KeyType: HASH }
        - { AttributeName: sk, KeyType: RANGE }
      AttributeDefinitions:
        - { AttributeName: pk, AttributeType: S }
        - { AttributeName: sk, AttributeType: S }
      StreamSpecification: { StreamViewType: NEW_AND_OLD_IMAGES }
"""

type MakeTemplate = Callable[..., Path]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> MakeTemplate:
    """Write a template of these resources, and a function's folder for each handler."""

    def make(resources: str, **handlers: str) -> Path:
        root = tmp_path_factory.mktemp("stack")
        for name, code in handlers.items():
            (root / name).mkdir()
            (root / name / "handler.py").write_text(code)
        path = root / "template.yaml"
        path.write_text(_HEAD + resources)
        return path

    return make
