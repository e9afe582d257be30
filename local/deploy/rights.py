"""List the IAM actions that a deployment needs, and check whether IAM allows them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import batched
from typing import Any

# Actions that `sam deploy` itself calls.
OWN = (
    "cloudformation:CreateChangeSet",
    "cloudformation:DescribeChangeSet",
    "cloudformation:DescribeStackEvents",
    "cloudformation:DescribeStacks",
    "cloudformation:ExecuteChangeSet",
    "cloudformation:GetTemplateSummary",
    "iam:PassRole",
    "s3:GetObject",
    "s3:PutObject",
)
# Actions that SAM CLI calls to create its bucket, once for an account and region.
BUCKET = ("s3:CreateBucket", "s3:PutBucketPolicy", "s3:PutBucketVersioning")

# Actions that CloudFormation calls with the caller's rights, by type of resource: to create one,
# and to delete it again if the creation of another one fails. Of the permissions in the type's
# schema, they are those that the template's properties need. (A test compares them.)
BY_TYPE: Mapping[str, tuple[str, ...]] = {
    "AWS::CloudWatch::Alarm": ("cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"),
    "AWS::CloudWatch::Dashboard": ("cloudwatch:PutDashboard", "cloudwatch:DeleteDashboards"),
    "AWS::DynamoDB::Table": (
        "dynamodb:CreateTable",
        "dynamodb:DescribeTable",
        "dynamodb:UpdateContinuousBackups",
        "dynamodb:UpdateTimeToLive",
    ),
    "AWS::Events::Rule": (
        "events:DeleteRule",
        "events:DescribeRule",
        "events:PutRule",
        "events:PutTargets",
        "events:RemoveTargets",
    ),
    "AWS::IAM::ManagedPolicy": (
        "iam:AttachRolePolicy",
        "iam:CreatePolicy",
        "iam:DeletePolicy",
        "iam:DetachRolePolicy",
    ),
    "AWS::IAM::Role": (
        "iam:CreateRole",
        "iam:DeleteRole",
        "iam:DeleteRolePolicy",
        "iam:GetRole",
        "iam:PutRolePolicy",
    ),
    "AWS::KMS::Key": (
        "kms:CreateKey",
        "kms:EnableKeyRotation",
        "kms:PutKeyPolicy",
        "kms:ScheduleKeyDeletion",
    ),
    "AWS::Lambda::EventInvokeConfig": (
        "lambda:DeleteFunctionEventInvokeConfig",
        "lambda:PutFunctionEventInvokeConfig",
    ),
    "AWS::Lambda::EventSourceMapping": (
        "lambda:CreateEventSourceMapping",
        "lambda:DeleteEventSourceMapping",
        "lambda:GetEventSourceMapping",
    ),
    "AWS::Lambda::Function": (
        "lambda:CreateFunction",
        "lambda:DeleteFunction",
        "lambda:GetFunction",
        "lambda:PutFunctionRecursionConfig",
    ),
    "AWS::Lambda::LayerVersion": (
        "lambda:DeleteLayerVersion",
        "lambda:GetLayerVersion",
        "lambda:PublishLayerVersion",
    ),
    "AWS::Lambda::Permission": ("lambda:AddPermission", "lambda:RemovePermission"),
    "AWS::Logs::LogGroup": (
        "logs:CreateLogGroup",
        "logs:DeleteLogGroup",
        "logs:DescribeLogGroups",
        "logs:PutRetentionPolicy",
    ),
    "AWS::Logs::ResourcePolicy": ("logs:DeleteResourcePolicy", "logs:PutResourcePolicy"),
    "AWS::SNS::Subscription": ("sns:Subscribe", "sns:Unsubscribe"),
    "AWS::SNS::Topic": (
        "sns:CreateTopic",
        "sns:DeleteTopic",
        "sns:GetTopicAttributes",
        "sns:SetTopicAttributes",
    ),
    "AWS::SNS::TopicPolicy": ("sns:SetTopicAttributes",),
    "AWS::SQS::Queue": (
        "sqs:CreateQueue",
        "sqs:DeleteQueue",
        "sqs:GetQueueAttributes",
    ),
    "AWS::SQS::QueuePolicy": ("sqs:SetQueueAttributes",),
}

_AT_ONCE = 50  # actions in one call


def needed(template: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the actions that a deployment of a template needs."""
    types = {resource["Type"] for resource in template["Resources"].values()}
    return tuple(sorted({*OWN, *(action for kind in types for action in BY_TYPE[kind])}))


def source_of(caller: str, iam: Any) -> str:
    """
    Return the ARN of the user or role behind a caller's ARN.

    The ARN of a role's session differs from the role's, and lacks the role's path.
    """
    if ":assumed-role/" not in caller:
        return caller
    return str(iam.get_role(RoleName=caller.split("/")[1])["Role"]["Arn"])


def refused(iam: Any, source: str, actions: Sequence[str]) -> Iterator[str]:
    """Yield the actions that IAM would not allow. It only simulates them."""
    for some in batched(actions, _AT_ONCE, strict=False):
        pages = iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=source, ActionNames=list(some)
        )
        for page in pages:
            for result in page["EvaluationResults"]:
                if result["EvalDecision"] != "allowed":
                    yield str(result["EvalActionName"])
