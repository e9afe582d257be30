"""Find a watchdog's stack in an AWS account by its name, or say what is wrong and what to do."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

DEFAULT_NAME = "batch-watchdog"

_SHOWN = 10  # maximum of other stacks that a message names


class LiveError(Exception):
    """A command cannot go on. The message says what is wrong, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStack:
    """A watchdog's stack that exists in an account."""

    name: str
    account: str
    region: str
    outputs: Mapping[str, str]
    session: Any

    def __str__(self) -> str:
        return f"account {self.account}, region {self.region}, stack {self.name}"

    def output(self, key: str) -> str:
        """
        Return an output of the stack.

        Raises:
            LiveError: the stack has no output of that name.
        """
        if key not in self.outputs:
            raise LiveError(
                f"The stack {self.name} has no output {key}: it is none of batch-watchdog, or of "
                "an older version. Name the right one with STACK=…, or update it (make deploy)."
            )
        return self.outputs[key]


@contextmanager
def told_in_words() -> Iterator[None]:
    """
    Turn boto3's exceptions into errors that say what to do.

    Raises:
        LiveError: AWS cannot be reached, or refuses a call.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise LiveError(
            "There are no credentials for AWS. Sign in (aws sso login, aws configure), or say "
            "which profile: AWS_PROFILE=…"
        ) from error
    except NoRegionError as error:
        raise LiveError("Which region? Say it: AWS_REGION=us-east-1") from error
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if "Expired" in code or code in ("InvalidClientTokenId", "UnrecognizedClientException"):
            raise LiveError(
                f"AWS does not accept the credentials: {message} Sign in anew."
            ) from error
        raise LiveError(f"AWS says no to {error.operation_name}: {code}: {message}") from error
    except ProfileNotFound as error:
        raise LiveError(f"{error}: correct AWS_PROFILE=…, or set it up (aws configure).") from error
    except EndpointConnectionError as error:
        raise LiveError(
            f"{error}. Is the region right (AWS_REGION=…), and is there a way to the internet?"
        ) from error
    except BotoCoreError as error:
        raise LiveError(f"AWS cannot be asked: {error}") from error
    except ResponseParserError as error:
        raise LiveError(f"What answers is not AWS, but perhaps a proxy: {error}") from error


def find(name: str) -> LiveStack:
    """
    Find the stack of this name, in the account and the region that the environment sets.

    Raises:
        LiveError: there is no such stack, or AWS cannot be reached or refuses a call.
    """
    with told_in_words():
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        stacks = session.client("cloudformation")
        account = str(session.client("sts").get_caller_identity()["Account"])
        region = stacks.meta.region_name
        try:
            (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            raise LiveError(_there_is_none(name, account, region, stacks)) from error
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
    return LiveStack(name=name, account=account, region=region, outputs=outputs, session=session)


def _there_is_none(name: str, account: str, region: str, stacks: Any) -> str:
    others = [
        stack["StackName"]
        for page in stacks.get_paginator("describe_stacks").paginate()
        for stack in page["Stacks"]
        if "PolicyParameter" in {each["OutputKey"] for each in stack.get("Outputs", [])}
    ]
    if others:
        there = f"Stacks of batch-watchdog there: {', '.join(sorted(others)[:_SHOWN])}. STACK=…"
    else:
        there = "No stack there is one of batch-watchdog. Deploy one: make deploy"
    return (
        f"There is no stack {name} in account {account}, region {region}. {there}, or say another "
        "region or profile: AWS_REGION=…, AWS_PROFILE=…"
    )
