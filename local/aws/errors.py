"""
Real boto3 clients whose calls are answered in this process.

botocore checks every request against its model of the service, as it always does; what it would
then send is handed to a function here instead. Nothing opens a socket and nothing needs an
account: not a credential, not a profile, not a file in the home folder.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.loaders import Loader
from botocore.model import OperationModel

_LOADER = Loader(include_default_search_paths=True)  # it keeps the models that it has read

type Responder = Callable[[str, dict[str, Any]], dict[str, Any]]


class ApiError(Exception):
    """
    An AWS service refuses a call: its error code, message and HTTP status.

    A client turns it into the exception that botocore's model has for the code.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class UnansweredServiceError(Exception):
    """A client of a service for which no responder was given. Retrying does not help."""


def session(responders: Mapping[str, Responder], region: str = "us-east-1") -> boto3.Session:
    """
    Make clients that are answered by `responders`, which are named as boto3 names services.

    A responder gets the operation's name ("DescribeJobs") and the parameters as the caller gave
    them, and returns what the client shall return. An `ApiError` reaches the caller as botocore's
    own exception, at once: nothing is retried.

    Raises (from a client's call):
        UnansweredServiceError: there is no responder for the service.
    """
    nowhere = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    core = botocore.session.Session(session_vars=nowhere)
    core.register_component("data_loader", _LOADER)
    own = boto3.Session(
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - there is nothing that it would open
        region_name=region,
        botocore_session=core,
    )

    def answer(
        model: OperationModel, context: dict[str, Any], **_: object
    ) -> tuple[AWSResponse, dict[str, Any]]:
        service = model.service_model.service_name
        responder = responders.get(service)
        if responder is None:
            raise UnansweredServiceError(
                f"{service} {model.name} was called, and only these are answered here: "
                f"{', '.join(sorted(responders)) or 'none'}"
            )
        try:
            return _response(200, responder(model.name, context["local_parameters"]))
        except ApiError as error:
            refusal = {"Error": {"Code": error.code, "Message": error.message}}
            return _response(error.status, refusal)

    own.events.register("before-parameter-build", _keep_parameters)
    # The stubs do not know that what a handler returns here is the answer.
    own.events.register("before-call", answer)  # type: ignore[arg-type]
    return own


def _keep_parameters(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    # By the time of the call they have become the text of an HTTP request.
    context["local_parameters"] = params


def _response(status: int, parsed: dict[str, Any]) -> tuple[AWSResponse, dict[str, Any]]:
    metadata = {
        "RequestId": "00000000-0000-0000-0000-000000000000",
        "HTTPStatusCode": status,
        "HTTPHeaders": {},
        "RetryAttempts": 0,
    }
    return AWSResponse("local:", status, HTTPHeaders(), None), parsed | {
        "ResponseMetadata": metadata
    }
