"""The stack, as it is read from a template that moto has created."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.aws import stack as stacks
from local.aws.stack import Stack

NOTHING = "def lambda_handler(event, context): pass\n"

EVERYTHING = """
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: { source: [aws.batch] }
      Targets:
        - Id: queue
          Arn: !GetAtt Inbox.Arn
          DeadLetterConfig: { Arn: !GetAtt Letters.Arn }
  Inbox:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 90
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Letters.Arn, maxReceiveCount: 3 }
  Layer:
    Type: AWS::Serverless::LayerVersion
    Properties: { ContentUri: layer/ }
  Reader:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: reader/
      Layers: [!Ref Layer]
      Events:
        Inbox:
          Type: SQS
          Properties:
            Queue: !GetAtt Inbox.Arn
            BatchSize: 500
            MaximumBatchingWindowInSeconds: 7
            FunctionResponseTypes: [ReportBatchItemFailures]
            FilterCriteria: { Filters: [{ Pattern: '{"body": {"source": ["aws.batch"]}}' }] }
        Stream:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Table.StreamArn
            StartingPosition: TRIM_HORIZON
            BisectBatchOnFunctionError: true
            MaximumRetryAttempts: 4
            MaximumRecordAgeInSeconds: 600
            DestinationConfig: { OnFailure: { Type: SQS, Destination: !GetAtt Letters.Arn } }
        Alarm: { Type: SNS, Properties: { Topic: !Ref Topic } }
        Rule: { Type: EventBridgeRule, Properties: { Pattern: { source: [aws.cloudwatch] } } }
  Ticker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: ticker/
      EventInvokeConfig:
        MaximumRetryAttempts: 1
        MaximumEventAgeInSeconds: 120
        DestinationConfig: { OnFailure: { Type: SQS, Destination: !GetAtt Letters.Arn } }
      Events:
        Minute:
          Type: Schedule
          Properties: { Schedule: rate(1 minute), DeadLetterConfig: { Arn: !GetAtt Letters.Arn } }
        Hour: { Type: ScheduleV2, Properties: { ScheduleExpression: rate(1 hour), Input: "{}" } }
  Mail:
    Type: AWS::SNS::Subscription
    Condition: HasAddress
    Properties: { TopicArn: !Ref Topic, Protocol: email, Endpoint: !Ref Address }
"""


@pytest.fixture(scope="module")
def path(template: Callable[..., Path]) -> Path:
    return template(EVERYTHING, reader=NOTHING, ticker=NOTHING)


@pytest.fixture(scope="module")
def everything(path: Path) -> Stack:
    return stacks.read(path)


def arn(stack: Stack, logical_id: str) -> str:
    name = stack.names[logical_id].rpartition("/")[2]
    everything: list[str] = [*stack.functions, *stack.queues, *stack.topics]
    return next(each for each in everything if each.endswith(name))


def test_a_function_is_found_with_its_folder_and_its_environment(everything: Stack) -> None:
    ticker = everything.functions[arn(everything, "Ticker")]

    assert ticker.folder.name == "ticker"
    assert (ticker.handler, ticker.timeout_s) == ("handler.lambda_handler", 60)
    assert ticker.environment["TABLE_NAME"] == everything.table
    assert ticker.environment["TOPIC_ARN"] in everything.topics
    assert ticker.environment["POLICY_PARAMETER"] in everything.parameters


def test_what_moto_passes_over_is_made_up_for(everything: Stack) -> None:
    ticker = everything.functions[arn(everything, "Ticker")]

    assert (ticker.retries, ticker.max_age_s) == (1, 120)
    assert ticker.on_failure == arn(everything, "Letters")
    [alarm] = everything.subscriptions
    assert (alarm.topic, alarm.endpoint) == (arn(everything, "Topic"), arn(everything, "Reader"))
    [hourly] = [rule for rule in everything.rules if rule.scheduler]
    assert hourly.schedule == "rate(1 hour)"
    assert (hourly.targets[0].arn, hourly.targets[0].input) == (arn(everything, "Ticker"), "{}")


def test_a_function_without_such_a_part_has_lambdas_defaults(everything: Stack) -> None:
    reader = everything.functions[arn(everything, "Reader")]

    assert (reader.retries, reader.max_age_s, reader.on_failure) == (2, 21_600, "")


def test_queues_are_read_with_their_redrive_policy(everything: Stack) -> None:
    inbox = everything.queues[arn(everything, "Inbox")]

    assert (inbox.visibility_s, inbox.max_receives) == (90, 3)
    assert inbox.dead_letters == arn(everything, "Letters")


def test_event_sources_are_read_with_batches_filters_and_retries(everything: Stack) -> None:
    by_service = {each.source.split(":")[2]: each for each in everything.sources}
    queue, stream = by_service["sqs"], by_service["dynamodb"]

    assert (queue.batch_size, queue.window_s, queue.reports_failures) == (500, 7, True)
    assert queue.filters[0].matches({"body": {"source": "aws.batch"}})
    assert (stream.batch_size, stream.window_s, stream.reports_failures) == (100, 0, False)
    assert (stream.bisects, stream.retries, stream.max_age_s) == (True, 4, 600)
    assert stream.on_failure == arn(everything, "Letters")
    assert (everything.stream, everything.stream_view) == (stream.source, "NEW_AND_OLD_IMAGES")


def test_rules_are_read_with_patterns_schedules_and_targets(everything: Stack) -> None:
    patterns = [rule for rule in everything.rules if rule.pattern]
    [minute] = [rule for rule in everything.rules if rule.schedule == "rate(1 minute)"]

    targets = {rule.targets[0].arn for rule in patterns}
    assert targets == {arn(everything, "Inbox"), arn(everything, "Reader")}
    assert minute.targets[0].dead_letters == arn(everything, "Letters")


def test_a_condition_leaves_out_what_it_guards(everything: Stack, path: Path) -> None:
    having = stacks.read(path, {"Address": "someone@example.com"})

    assert "email" not in {each.protocol for each in everything.subscriptions}
    [mail] = [each for each in having.subscriptions if each.protocol == "email"]
    assert mail.endpoint == "someone@example.com"


def test_the_same_template_gives_the_same_names(everything: Stack, path: Path) -> None:
    assert stacks.read(path).names == everything.names


def test_no_account_is_asked_that_the_environment_names(
    path: Path, everything: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    assert stacks.read(path).names == everything.names


def test_the_watchdogs_own_stack_hangs_together(stack: Stack) -> None:
    known: dict[str, Any] = {**stack.functions, **stack.queues}
    known[stack.stream] = known[""] = None

    for source in stack.sources:
        assert {source.function, source.source, source.on_failure} <= known.keys()
    for rule in stack.rules:
        assert {arn for each in rule.targets for arn in (each.arn, each.dead_letters)} <= set(known)
    for function in stack.functions.values():
        assert (function.folder / "handler.py").is_file()
