"""Calls of AWS Batch: few, of the size that Batch takes, and no refusal is overlooked."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.errors import ApiError
from tests.fakes import Aws
from tests.makers import ARRAY, QUEUE

IDS = [f"job-{number:03}" for number in range(120)]


def sizes(aws: Aws) -> list[int]:
    """How many jobs each call named."""
    return [len(params["jobs"]) for _, params in aws.calls]


def names(aws: Aws) -> list[str]:
    return [name for name, _ in aws.calls]


def stop(aws: Aws, *job_ids: str, how: Any = "cancel", service: bool = False) -> dict[str, str]:
    return aws.batch.stop(how, job_ids, "batch-watchdog: why", service=service)


def refuse(code: str, *operations: str) -> Any:
    def answer(operation: str, params: dict[str, Any]) -> None:
        if operation in operations:
            raise ApiError(code, "refused")

    return answer


def errors(code: str, *job_ids: str) -> Any:
    """An answer that names errors for these of the jobs asked for."""

    def answer(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        bad = [job for job in params["jobs"] if job in job_ids]
        return {
            "successful": [job for job in params["jobs"] if job not in bad],
            "errors": [{"job": job, "code": code, "message": "not now"} for job in bad],
        }

    return answer


def in_turn(*answers: Any) -> Any:
    left = list(answers)

    def answer(operation: str, params: dict[str, Any]) -> Any:
        return left.pop(0)(operation, params)

    return answer


# ---- Asking -------------------------------------------------------------------------------


def test_a_hundred_jobs_are_described_a_call_and_forgotten_ones_left_out(aws: Aws) -> None:
    aws.jobs = {job: {"jobId": job} for job in IDS[10:]}

    found = aws.batch.describe([*IDS, *IDS])

    assert list(found) == IDS[10:]
    assert sizes(aws) == [100, 20]


def test_nothing_is_asked_about_nothing(aws: Aws) -> None:
    assert aws.batch.describe([]) == {}
    assert stop(aws) == {}
    assert aws.calls == []


def test_children_are_listed_page_by_page(aws: Aws) -> None:
    aws.add_array(ARRAY, size=10, failed=range(8))
    aws.add_array("other", size=5, failed=range(5))

    children = aws.batch.children(ARRAY, "FAILED")

    assert [child["jobId"] for child in children] == [f"{ARRAY}:{index}" for index in range(8)]
    assert [params.get("nextToken") for _, params in aws.calls] == [None, "3", "6"]
    assert aws.calls[0][1] == {"arrayJobId": ARRAY, "jobStatus": "FAILED"}


def test_live_children_are_those_that_have_not_ended(aws: Aws) -> None:
    aws.add_array(ARRAY, size=7)
    live = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
    for index, status in enumerate(live):
        aws.jobs[f"{ARRAY}:{index}"]["status"] = status

    found = aws.batch.live_children(ARRAY)

    # In the order in which jobs move, so that none slips through between two lists.
    assert [child["status"] for child in found] == list(live)


# ---- Stopping -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "service", "operation"),
    [
        ("cancel", False, "CancelJobs"),
        ("terminate", False, "TerminateJobs"),
        ("cancel", True, "TerminateServiceJobs"),
        ("terminate", True, "TerminateServiceJobs"),
    ],
)
def test_fifty_jobs_are_stopped_a_call(
    aws: Aws, how: str, operation: str, *, service: bool
) -> None:
    assert stop(aws, *IDS, *IDS[:5], how=how, service=service) == {}

    assert names(aws) == [operation] * 3
    assert sizes(aws) == [50, 50, 20]
    assert [job for _, params in aws.calls for job in params["jobs"]] == IDS
    assert {params["reason"] for _, params in aws.calls} == {"batch-watchdog: why"}


def test_a_reason_is_cut_to_what_batch_takes(aws: Aws) -> None:
    aws.batch.stop("cancel", ["a"], "x" * 2_000, service=False)

    assert len(aws.calls[0][1]["reason"]) == 1_024


@pytest.mark.parametrize("code", ["ThrottlingException", "ServerException"])
def test_jobs_whose_stop_failed_in_passing_are_tried_again_alone(aws: Aws, code: str) -> None:
    aws.on_call = in_turn(errors(code, "b", "c"), errors(code, "c"), errors(code))

    assert stop(aws, "a", "b", "c") == {}
    assert [params["jobs"] for _, params in aws.calls] == [["a", "b", "c"], ["b", "c"], ["c"]]


def test_what_goes_on_failing_in_passing_is_reported_in_the_end(aws: Aws) -> None:
    aws.on_call = errors("ThrottlingException", "b")

    assert stop(aws, "a", "b") == {"b": "ThrottlingException: not now"}
    assert 1 < len(aws.calls) <= 10


@pytest.mark.parametrize("code", ["ClientException", "ValidationException", "AccessDenied"])
def test_a_job_that_batch_will_not_stop_is_reported_and_not_tried_again(
    aws: Aws, code: str
) -> None:
    aws.on_call = errors(code, "b", "job-070")

    assert stop(aws, "b", *IDS) == {"b": f"{code}: not now", "job-070": f"{code}: not now"}
    assert len(aws.calls) == 3


def test_an_error_in_passing_that_becomes_another_is_reported_as_the_other(aws: Aws) -> None:
    aws.on_call = in_turn(errors("ServerException", "a", "b"), errors("ClientException", "b"))

    assert stop(aws, "a", "b") == {"b": "ClientException: not now"}


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnknownOperationException"])
@pytest.mark.parametrize(
    ("how", "service", "bulk", "single"),
    [
        ("cancel", False, "CancelJobs", "CancelJob"),
        ("terminate", False, "TerminateJobs", "TerminateJob"),
        ("cancel", True, "TerminateServiceJobs", "TerminateServiceJob"),
    ],
)
def test_where_bulk_calls_are_not_to_be_had_jobs_are_stopped_one_by_one(  # noqa: PLR0913
    aws: Aws, code: str, how: str, bulk: str, single: str, *, service: bool
) -> None:
    aws.on_call = refuse(code, bulk)

    assert stop(aws, "a", "b", how=how, service=service) == {}

    assert aws.calls[1:] == [
        (single, {"jobId": job, "reason": "batch-watchdog: why"}) for job in ("a", "b")
    ]


def test_of_jobs_stopped_one_by_one_each_refusal_is_reported(aws: Aws) -> None:
    def answer(operation: str, params: dict[str, Any]) -> None:
        if operation == "CancelJobs" or params["jobId"] == "b":
            raise ApiError("AccessDeniedException", f"no {operation}")

    aws.on_call = answer

    assert stop(aws, "a", "b", "c") == {"b": "AccessDeniedException: no CancelJob"}
    assert names(aws) == ["CancelJobs", "CancelJob", "CancelJob", "CancelJob"]


def test_a_call_that_fails_as_a_whole_is_not_passed_over(aws: Aws) -> None:
    aws.on_call = refuse("ServerException", "CancelJobs")

    with pytest.raises(ClientError, match="ServerException"):
        stop(aws, "a")


def test_a_queue_is_opened_and_closed(aws: Aws) -> None:
    aws.batch.set_queue_state(QUEUE, "DISABLED")

    assert aws.calls == [("UpdateJobQueue", {"jobQueue": QUEUE, "state": "DISABLED"})]
