"""
Make real boto3 clients whose calls are answered in this process.

botocore checks every request against its model of the service, as usual. Then, instead of sending
the request, it passes the request to a function here. No socket is opened. No account, credential,
profile or file in the home folder is needed.
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

_LOADER = Loader(include_default_search_paths=True)  # shared, because it caches the models

type Responder = Callable[[str, dict[str, Any]], dict[str, Any]]


class ApiError(Exception):
    """
    An AWS service's refusal of a call: error code, message and HTTP status.

    A client turns it into the exception that botocore's model has for the code.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class UnansweredServiceError(Exception):
    """No responder was given for a client's service. Retrying does not help."""


def session(responders: Mapping[str, Responder], region: str = "us-east-1") -> boto3.Session:
    """
    Make a session whose clients are answered by `responders`, by boto3's names of services.

    A responder gets the operation's name ("DescribeJobs") and the parameters as the caller gave
    them, and returns the client's answer. An `ApiError` reaches the caller as botocore's own
    exception, without retries.

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
    # botocore uses what this handler returns as the answer; the type stubs do not know that.
    own.events.register("before-call", answer)  # type: ignore[arg-type]
    return own


def _keep_parameters(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    # "before-call" gets the parameters only in serialized form, so they are kept here.
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
