"""Real boto3 clients that are answered in this process."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from local.aws.errors import ApiError, UnansweredServiceError, session


class Notebook:
    """Answers every call with the same, and keeps what was asked."""

    def __init__(self, answer: dict[str, Any] | None = None) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._answer = answer or {}

    def __call__(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((operation, parameters))
        return self._answer


def refuse(code: str, status: int = 400) -> Any:
    def responder(operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        raise ApiError(code, "not now", status)

    return responder


def test_a_call_reaches_the_responder_as_the_caller_gave_it() -> None:
    notebook = Notebook({"jobs": []})
    batch = session({"batch": notebook}).client("batch")

    answer = batch.describe_jobs(jobs=["a", "b"])

    assert answer["jobs"] == []
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert notebook.asked == [("DescribeJobs", {"jobs": ["a", "b"]})]


@pytest.mark.parametrize(
    ("service", "method", "parameters", "operation"),
    [
        ("sns", "publish", {"TopicArn": "arn:aws:sns:::t", "Message": "m"}, "Publish"),
        ("sqs", "send_message", {"QueueUrl": "https://q", "MessageBody": "m"}, "SendMessage"),
        ("ssm", "get_parameter", {"Name": "/policy"}, "GetParameter"),
        ("ecs", "describe_clusters", {"clusters": ["c"]}, "DescribeClusters"),
        (
            "ec2",
            "describe_instance_types",
            {"InstanceTypes": ["m5.large"]},
            "DescribeInstanceTypes",
        ),
    ],
)
def test_every_service_can_be_answered_whatever_its_protocol(
    service: Any, method: str, parameters: dict[str, Any], operation: str
) -> None:
    notebook = Notebook({"Answer": 1})

    answer = getattr(session({service: notebook}).client(service), method)(**parameters)

    assert answer["Answer"] == 1
    [(asked, given)] = notebook.asked
    assert asked == operation
    assert given.items() >= parameters.items()


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="what is required is missing"),
        pytest.param({"jobs": "a"}, id="text in place of a list"),
        pytest.param({"jobs": ["a"], "job": "a"}, id="a parameter that does not exist"),
    ],
)
def test_a_wrong_request_is_refused_by_botocore_before_it_is_answered(
    parameters: dict[str, Any],
) -> None:
    notebook = Notebook()
    batch: Any = session({"batch": notebook}).client("batch")

    with pytest.raises(ParamValidationError):
        batch.describe_jobs(**parameters)

    assert notebook.asked == []


def test_a_refusal_becomes_the_exception_that_the_model_has_for_its_code() -> None:
    batch = session({"batch": refuse("ClientException")}).client("batch")

    with pytest.raises(batch.exceptions.ClientException, match="not now") as caught:
        batch.cancel_job(jobId="a", reason="r")

    assert caught.value.response["Error"] == {"Code": "ClientException", "Message": "not now"}


def test_a_refusal_without_an_exception_in_the_model_keeps_its_code_and_status() -> None:
    batch = session({"batch": refuse("TooManyRequestsException", 429)}).client("batch")

    with pytest.raises(ClientError) as caught:
        batch.cancel_job(jobId="a", reason="r")

    assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_a_service_without_a_responder_says_so_and_opens_no_socket() -> None:
    sns = session({"batch": Notebook(), "ecs": Notebook()}).client("sns")

    with pytest.raises(UnansweredServiceError, match=r"sns Publish .* only .*batch, ecs"):
        sns.publish(TopicArn="arn:aws:sns:us-east-1:111122223333:t", Message="m")


def test_an_error_of_the_responder_itself_is_not_hidden() -> None:
    def responder(operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        raise LookupError(operation)

    with pytest.raises(LookupError, match="DescribeJobs"):
        session({"batch": responder}).client("batch").describe_jobs(jobs=["a"])


def test_pages_are_followed_by_botocore_itself() -> None:
    def responder(operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if "nextToken" in parameters:
            return {"jobSummaryList": [{"jobId": "b", "jobName": "b"}]}
        return {"jobSummaryList": [{"jobId": "a", "jobName": "a"}], "nextToken": "1"}

    pages = session({"batch": responder}).client("batch").get_paginator("list_jobs")

    found = [
        job["jobId"] for page in pages.paginate(jobQueue="q") for job in page["jobSummaryList"]
    ]
    assert found == ["a", "b"]


def test_neither_a_profile_nor_credentials_of_the_machine_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "one-that-does-not-exist")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)

    made = session({"batch": Notebook({"jobs": []})}, region="eu-west-1")

    assert made.client("batch").describe_jobs(jobs=["a"])["jobs"] == []
    assert made.client("batch").meta.region_name == "eu-west-1"


def test_two_sessions_do_not_answer_for_each_other() -> None:
    one, other = Notebook({"jobs": []}), Notebook({"jobs": []})
    first, second = session({"batch": one}), session({"batch": other})

    first.client("batch").describe_jobs(jobs=["a"])
    second.client("batch").describe_jobs(jobs=["b"])

    assert one.asked == [("DescribeJobs", {"jobs": ["a"]})]
    assert other.asked == [("DescribeJobs", {"jobs": ["b"]})]
