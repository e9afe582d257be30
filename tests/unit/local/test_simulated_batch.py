"""The simulated AWS Batch: what its API answers, what a log makes true, how its jobs run."""

import json
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from local.aws.errors import ApiError, session
from local.batch.work import Outcome
from tests.simulated import (
    ARN,
    MODEL,
    NOON,
    Batch,
    a_life,
    a_parent,
    a_service_event,
    an_event,
    complaints,
    ids,
    time_of,
)

# ---- The API itself -----------------------------------------------------------------------


def test_a_real_client_can_be_used_against_it() -> None:
    batch = Batch(*a_life("a")).with_queue()
    client = session({"batch": batch.it.call}).client("batch")

    assert ids(client.list_jobs(jobQueue="q", jobStatus="RUNNABLE")["jobSummaryList"]) == ["a"]  # type: ignore[arg-type]
    client.cancel_job(jobId="a", reason="r")
    assert client.describe_jobs(jobs=["a"])["jobs"][0]["isCancelled"] is True
    with pytest.raises(client.exceptions.ClientException):
        client.list_jobs(jobQueue="no-such-queue")


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("describe_jobs", {}),
        ("cancel_jobs", {"jobs": ["a"]}),
        ("terminate_jobs", {"jobs": "a", "reason": "r"}),
        ("update_job_queue", {"jobQueue": "q", "status": "DISABLED"}),
        ("terminate_service_job", {"jobId": "a"}),
    ],
)
def test_a_wrong_request_is_refused_by_the_client(method: str, parameters: dict[str, Any]) -> None:
    client: Any = session({"batch": Batch().it.call}).client("batch")

    with pytest.raises(ParamValidationError):
        getattr(client, method)(**parameters)


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        pytest.param("DescribeJobs", {"jobs": ["a"] * 101}, id="101 jobs to describe"),
        pytest.param("DescribeJobs", {"jobs": []}, id="no job to describe"),
        pytest.param("CancelJobs", {"jobs": ["a"] * 51, "reason": "r"}, id="51 jobs to cancel"),
        pytest.param("CancelJobs", {"jobs": [], "reason": "r"}, id="no job to cancel"),
        pytest.param("CancelJob", {"jobId": "a", "reason": "x" * 1025}, id="a long reason"),
        pytest.param("CancelJobs", {"jobs": ["a"], "reason": "x" * 1025}, id="for several"),
        pytest.param("ListJobs", {}, id="no scope"),
        pytest.param("ListJobs", {"jobQueue": "q", "arrayJobId": "p"}, id="two scopes"),
        pytest.param("ListJobs", {"jobQueue": "unknown"}, id="an unknown queue"),
        pytest.param("ListJobs", {"jobQueue": "q", "nextToken": "x"}, id="a made-up token"),
        pytest.param("ListJobs", {"jobQueue": "q", "maxResults": -1}, id="a negative page"),
        pytest.param("ListServiceJobs", {}, id="service jobs of no queue"),
        pytest.param("DescribeServiceJob", {"jobId": "a"}, id="a job that is no service job"),
        pytest.param("UpdateJobQueue", {"jobQueue": "unknown"}, id="a queue to update"),
        pytest.param("GetJobQueueSnapshot", {"jobQueue": "unknown"}, id="a snapshot"),
    ],
)
def test_what_batch_does_not_accept_is_a_client_exception(
    operation: str, parameters: dict[str, Any]
) -> None:
    batch = Batch(*a_life("a")).with_queue()

    with pytest.raises(ApiError) as caught:
        batch.ask(operation, **parameters)

    assert caught.value.code == "ClientException"


def test_an_operation_that_is_not_simulated_says_so() -> None:
    with pytest.raises(ApiError, match="CreateJobQueue is not simulated"):
        Batch().it.call("CreateJobQueue", {})


def test_jobs_that_nobody_knows_are_left_out() -> None:
    batch = Batch(*a_life("a"), a_service_event("s", "RUNNABLE", 0))

    assert ids(batch.ask("DescribeJobs", jobs=["x", "a", "a", "s", "a#0"])["jobs"]) == ["a"]


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="time cannot go back"):
        Batch().at(60).at(59)


# ---- A log as the truth -------------------------------------------------------------------


def test_each_event_is_true_from_its_own_time_on() -> None:
    batch = Batch(*a_life("a", start=1))

    seen = [batch.at(seconds).status("a") for seconds in (0, 1, 10.999, 11, 21, 60.999, 61)]

    started = ["STARTING", "RUNNING", "RUNNING", "SUCCEEDED"]
    assert seen == ["", "RUNNABLE", "RUNNABLE", *started]
    assert batch.sent == []


RETRIED = [
    an_event("a", "RUNNABLE", 0),
    an_event("a", "STARTING", 5),
    an_event("a", "RUNNING", 5),
    an_event("a", "RUNNING", 30),
    an_event("a", "RUNNABLE", 30, attempts=1),
    an_event("a", "STARTING", 30, attempts=1),
    an_event("a", "RUNNING", 40, attempts=1),
    an_event("a", "FAILED", 50, attempts=2),
]


def test_another_attempt_waits_behind_those_that_came_meanwhile() -> None:
    again = an_event("a", "RUNNABLE", 9, attempts=1)
    batch = Batch(an_event("a", "RUNNABLE", 0), an_event("b", "RUNNABLE", 5), again)
    batch.it.load([an_event("a", "RUNNABLE", 20, attempts=1), an_event("c", "RUNNABLE", 10)])

    assert batch.at(5).listed(jobQueue="q", jobStatus="RUNNABLE") == ["a", "b"]
    assert batch.at(30).listed(jobQueue="q", jobStatus="RUNNABLE") == ["b", "a", "c"]


@given(st.lists(st.sampled_from(RETRIED)).flatmap(lambda more: st.permutations(RETRIED + more)))
@settings(deadline=None, max_examples=50)
def test_neither_order_nor_repeats_of_a_log_matter(log: list[dict[str, Any]]) -> None:
    batch = Batch(*log)

    seen = [
        (batch.at(seconds).status("a"), len(batch.job("a")["attempts"]))
        for seconds in (0, 5, 29, 30, 40, 50)
    ]

    assert seen == [
        ("RUNNABLE", 0),
        ("RUNNING", 0),
        ("RUNNING", 0),
        ("STARTING", 1),
        ("RUNNING", 1),
        ("FAILED", 2),
    ]
    assert batch.listed(jobQueue="q", jobStatus="RUNNABLE") == []
    assert batch.listed(jobQueue="q", jobStatus="FAILED") == ["a"]


def test_an_event_is_true_in_time_whatever_else_is_planned() -> None:
    batch = Batch(*a_life("a"), an_event("b", "RUNNABLE", 5), an_event("b", "STARTING", 6))
    batch.at(5).cancel("a")
    planned = batch.it.next_at()
    batch.it.load([an_event("b", "STARTING", 5.5)])

    assert planned == NOON + timedelta(seconds=6)
    assert batch.it.next_at() == NOON + timedelta(seconds=6)
    assert batch.at(5.5).status("b") == "STARTING"


def test_what_is_loaded_late_counts_from_its_own_time_too() -> None:
    batch = Batch(*a_life("a")[:2]).at(100)

    batch.it.load(a_life("a"))

    assert batch.status("a") == "SUCCEEDED"
    batch.it.load(a_life("a")[:3])
    assert batch.status("a") == "SUCCEEDED"


def test_it_says_when_something_next_happens() -> None:
    batch = Batch(*a_life("a", start=5))

    assert batch.it.next_at() == NOON + timedelta(seconds=5)
    batch.at(5).cancel("a")
    assert batch.it.next_at() == NOON + timedelta(seconds=6)
    assert Batch().it.next_at() is None


@pytest.mark.parametrize(
    "event",
    [
        pytest.param("text", id="no object"),
        pytest.param({}, id="nothing in it"),
        pytest.param(an_event("a", "RUNNABLE", 0) | {"detail": None}, id="no detail"),
        pytest.param(an_event("", "RUNNABLE", 0), id="an empty id"),
        pytest.param(an_event("a", "", 0), id="no status"),
        pytest.param(an_event("a", "RUNNABLE", 0, jobId=7), id="an id that is no text"),
        pytest.param(an_event("a", "RUNNABLE", 0) | {"time": None}, id="no time"),
        pytest.param(an_event("a", "RUNNABLE", 0) | {"time": ["noon"]}, id="a strange time"),
        pytest.param(an_event("a", "RUNNABLE", 0) | {"time": "noon"}, id="a time in words"),
        pytest.param(an_event("a", "RUNNABLE", 0) | {"time": "2026-01-01T12:00:00"}, id="no zone"),
        pytest.param(an_event("a:10000", "RUNNABLE", 0), id="an index beyond any array"),
        pytest.param(an_event("a", "RUNNABLE", 0) | {"detail-type": "Scheduled Event"}, id="other"),
    ],
)
def test_what_is_malformed_is_passed_over(event: Any) -> None:
    batch = Batch(*a_life("good"), event)

    assert batch.at(60).status("good") == "SUCCEEDED"
    assert batch.status("a") == ""
    assert not batch.it.is_overruled(event)


def test_the_time_may_stand_under_another_name() -> None:
    event = an_event("a", "RUNNABLE", 0)
    event["event_time"] = event.pop("time")

    assert Batch(event).status("a") == "RUNNABLE"


def test_describe_jobs_shows_the_events_detail_as_far_as_the_api_knows_it() -> None:
    batch = Batch(
        an_event(
            "a",
            "NEW_STATE",
            0,
            attempts=1,
            brandNew={"x": 1},
            statusReason=None,
            parameters={"k": "v"},
            container={"exitCode": None, "image": "i", "vcpus": "two", "surprise": []},
        )
    )

    job = batch.job("a")

    assert job["status"] == "NEW_STATE"
    assert job["container"] == {"image": "i"}
    assert job["parameters"] == {"k": "v"}
    assert job["tags"] == {"team": "imaging"}
    assert job["startedAt"] == 0
    assert job["attempts"][0]["container"] == {"exitCode": 1}
    assert not {"brandNew", "statusReason", "isCancelled", "isTerminated"} & job.keys()


@pytest.mark.parametrize(
    ("oddity", "shown"),
    [
        ({"container": "none"}, {}),
        ({"container": {"resourceRequirements": "2"}}, {"container": {}}),
        (
            {"container": {"resourceRequirements": [7, {"type": "GPU", "value": "1"}]}},
            {"container": {"resourceRequirements": [{"type": "GPU", "value": "1"}]}},
        ),
        (
            {"container": {"resourceRequirements": [{"type": "VCPU"}], "memory": 7}},
            {"container": {"resourceRequirements": [], "memory": 7}},
        ),
        ({"tags": ["team"]}, {}),
        ({"tags": {"team": 7, "owner": "x"}}, {"tags": {"owner": "x"}}),
        ({"parameters": {"k": None}}, {"parameters": {}}),
        ({"jobName": 7}, {"jobName": ""}),
        ({"isCancelled": "yes"}, {}),
    ],
)
def test_what_is_in_a_wrong_shape_is_not_shown(
    oddity: dict[str, Any], shown: dict[str, Any]
) -> None:
    batch = Batch(an_event("a", "RUNNING", 0, **oddity))

    job = batch.job("a")

    assert {name: job[name] for name in oddity if name in job} == shown
    assert job["jobQueue"] == f"{ARN}job-queue/q"
    assert batch.listed(jobQueue="q") == ["a"]
    batch.ask("GetJobQueueSnapshot", jobQueue="q")


def test_a_stub_keeps_the_names_that_were_told_before() -> None:
    stub = an_event("a", "FAILED", 5)
    stub["detail"] = {"jobId": "a", "status": "FAILED"}
    batch = Batch(an_event("a", "RUNNING", 0), stub, an_event("b", "RUNNABLE", 0, jobName=None))

    job = batch.at(5).job("a")

    assert (job["jobName"], job["jobDefinition"]) == ("name-a", f"{ARN}job-definition/render:3")
    assert batch.job("b")["jobName"] == ""


def test_a_blocked_queue_gives_its_first_job_a_reason_until_it_moves() -> None:
    blocked = an_event("a", "RUNNABLE", 5, statusReason="MISCONFIGURATION:…")
    blocked["detail-type"] = "Batch Job Queue Blocked"
    late = an_event("a", "RUNNABLE", 12, statusReason="too late")
    late["detail-type"] = "Batch Job Queue Blocked"
    batch = Batch(*a_life("a"), blocked, late)

    assert "statusReason" not in batch.at(4).job("a")
    assert batch.at(5).job("a")["statusReason"] == "MISCONFIGURATION:…"
    assert batch.listed(jobQueue="q", jobStatus="RUNNABLE") == ["a"]
    assert "statusReason" not in batch.at(10).job("a")
    assert batch.at(12).status("a") == "STARTING"


def test_recorded_events_are_described_in_the_shape_of_the_api(payloads: Path) -> None:
    folders = ("batch-job-state-change", "batch-queue-blocked", "batch-service-job")
    files = [path for folder in folders for path in sorted((payloads / folder).glob("*.json"))]
    events = [json.loads(path.read_text(encoding="utf-8-sig")) for path in files]
    known = [event["detail"]["jobId"] for event in events if "jobId" in event.get("detail", {})]

    batch = Batch(*events)
    found = ids(batch.ask("DescribeJobs", jobs=known)["jobs"])
    queues = [each["jobQueueName"] for each in batch.ask("DescribeJobQueues")["jobQueues"]]

    assert len(found) > 10
    assert "740ee3ee-f235-4670-b19f-84da1bda6e76:12" in found
    for queue in queues:
        for status in ("RUNNABLE", "RUNNING", "PENDING", "SUCCEEDED", "FAILED"):
            batch.listed(jobQueue=queue, jobStatus=status)
            batch.listed(operation="ListServiceJobs", jobQueue=queue, jobStatus=status)
        batch.ask("GetJobQueueSnapshot", jobQueue=queue)
    service = "0bb17543-ece6-4480-b1a7-a556d344746b"
    assert batch.ask("DescribeServiceJob", jobId=service)["status"] == "SUCCEEDED"


# ---- Arrays in a log ----------------------------------------------------------------------


def test_a_parent_that_is_told_of_only_at_its_end_waits_pending_before() -> None:
    log = [*a_life("p:0"), *a_life("p:1", start=30), a_parent("p", "SUCCEEDED", 95, 2, SUCCEEDED=2)]
    batch = Batch(*log)

    assert batch.status("p") == "PENDING"
    assert batch.summary("p") == {"RUNNABLE": 1, "SUBMITTED": 1}
    assert batch.at(65).summary("p") == {"SUCCEEDED": 1, "RUNNING": 1}
    assert batch.job("p")["startedAt"] == 0
    assert batch.at(94).status("p") == "PENDING"
    assert not batch.it.is_overruled(log[-1])
    assert batch.summary("p") == {"SUCCEEDED": 2}
    assert batch.at(95).status("p") == "SUCCEEDED"
    assert batch.job("p")["arrayProperties"]["size"] == 2
    assert batch.listed(jobQueue="q", jobStatus="SUCCEEDED") == ["p"]
    assert batch.sent == []


def test_a_parent_that_the_log_never_mentions_is_made_up() -> None:
    batch = Batch(*a_life("p:0"), *a_life("p:3", end="FAILED", start=10))
    batch.it.load([*a_life("p:1"), *a_life("p:2")])

    assert batch.job("p") | {"arrayProperties": {}} == {
        "jobArn": f"{ARN}job/p",
        "jobId": "p",
        "jobName": "name-p",
        "jobQueue": f"{ARN}job-queue/q",
        "jobDefinition": f"{ARN}job-definition/render:3",
        "status": "PENDING",
        "attempts": [],
        "createdAt": 1767268000000,
        "startedAt": 0,
        "tags": {"team": "imaging"},
        "container": {"resourceRequirements": [{"type": "VCPU", "value": "2"}]},
        "arrayProperties": {},
    }
    assert batch.job("p")["arrayProperties"]["size"] == 4
    assert batch.at(69).status("p") == "PENDING"
    assert batch.at(70).status("p") == "FAILED"
    assert batch.summary("p") == {"SUCCEEDED": 3, "FAILED": 1}
    assert batch.sent == []  # Nobody was told by the log, so nobody is told here.


def test_a_made_up_parent_has_nothing_of_its_childs_run() -> None:
    container = {"image": "i", "exitCode": 0, "logStreamName": "l", "taskArn": "t"}
    ended: dict[str, Any] = {
        "startedAt": 1,
        "stoppedAt": 2,
        "statusReason": "done",
        "container": container,
    }

    parent = Batch(an_event("p:1", "SUCCEEDED", 0, attempts=1, **ended)).job("p")

    assert parent["container"] == {"image": "i"}
    assert (parent["startedAt"], parent["attempts"]) == (0, [])
    assert not {"stoppedAt", "statusReason"} & parent.keys()


def test_a_parent_whose_end_is_lost_ends_with_its_last_child() -> None:
    batch = Batch(a_parent("p", "PENDING", 0, 2, SUBMITTED=2), *a_life("p:0"), *a_life("p:1"))

    assert batch.at(59).status("p") == "PENDING"
    assert batch.at(60).status("p") == "SUCCEEDED"


def test_at_its_end_the_parents_own_count_is_the_truth() -> None:
    log = [*a_life("p:0"), a_parent("p", "FAILED", 70, 5, SUCCEEDED=2, FAILED=3)]

    assert Batch(*log).at(70).summary("p") == {"SUCCEEDED": 2, "FAILED": 3}


@pytest.mark.parametrize("first", [True, False])
def test_a_parents_end_may_be_told_by_a_stub(*, first: bool) -> None:
    stub = an_event("p", "SUCCEEDED", 70)
    stub["detail"] = {"jobId": "p", "status": "SUCCEEDED"}
    children = [*a_life("p:0"), *a_life("p:1")]
    batch = Batch(*([stub, *children] if first else [*children, stub]))

    assert batch.at(60).status("p") == "PENDING"
    assert batch.job("p")["jobName"] == "name-p"
    assert batch.at(70).status("p") == "SUCCEEDED"
    assert batch.job("p")["jobName"] == "name-p"
    assert batch.summary("p") == {"SUCCEEDED": 2}


def test_children_whose_end_is_not_told_get_it_where_there_is_only_one() -> None:
    log = [
        *a_life("p:0"),
        *a_life("p:1")[:3],
        a_parent("p", "FAILED", 70, 5, SUCCEEDED=1, FAILED=4),
    ]
    batch = Batch(*log)

    assert batch.at(69).listed(arrayJobId="p", jobStatus="FAILED") == []
    assert batch.status("p:1") == "RUNNING"
    assert batch.at(70).listed(arrayJobId="p", jobStatus="FAILED") == ["p:1", "p:2", "p:3", "p:4"]
    assert batch.job("p:4")["arrayProperties"] == {"index": 4, "statusSummary": {}}
    assert batch.job("p:4")["jobArn"] == f"{ARN}job/p:4"
    assert batch.job("p:4")["stoppedAt"] == int(NOON.timestamp() + 70) * 1000


@pytest.mark.parametrize("counts", [{}, {"FAILED": 2}, {"SUCCEEDED": 9}])
def test_a_count_that_does_not_add_up_tells_nothing_of_the_children(counts: dict[str, int]) -> None:
    batch = Batch(*a_life("p:0"), a_parent("p", "FAILED", 70, 5, **counts)).at(70)

    assert batch.status("p") == "FAILED"
    assert batch.listed(arrayJobId="p", jobStatus="SUCCEEDED") == ["p:0"]
    assert batch.listed(arrayJobId="p", jobStatus="FAILED") == []


def test_a_parent_is_shown_as_its_own_events_tell_it() -> None:
    log = [a_parent("p", "PENDING", 30, 2), a_parent("p", "PENDING", 40, 2)]
    log[0]["detail"]["parameters"], log[1]["detail"]["parameters"] = {"k": "1"}, {"k": "2"}
    batch = Batch(*a_life("p:0"), *log)

    assert batch.at(0).job("p")["parameters"] == {"k": "1"}
    assert batch.at(40).job("p")["parameters"] == {"k": "2"}


def test_what_looked_like_a_single_job_may_turn_out_to_be_an_array() -> None:
    batch = Batch(an_event("p", "PENDING", 0))

    batch.it.load([*a_life("p:0"), *a_life("p:1")])

    assert batch.at(20).listed(jobQueue="q", jobStatus="PENDING") == ["p"]
    assert batch.summary("p") == {"RUNNING": 2}
    assert batch.at(60).status("p") == "SUCCEEDED"


def test_children_whose_end_nobody_can_know_stay_unlisted() -> None:
    log = [*a_life("p:0")[:3], a_parent("p", "FAILED", 70, 5, SUCCEEDED=2, FAILED=3)]
    batch = Batch(*log).at(70)

    assert batch.listed(arrayJobId="p", jobStatus="FAILED") == []
    assert batch.listed(arrayJobId="p", jobStatus="RUNNING") == ["p:0"]


@pytest.mark.parametrize("index", [2, 77])
def test_a_child_beyond_the_size_of_its_array_does_not_exist(index: int) -> None:
    log = [a_parent("p", "PENDING", 0, 2), *a_life("p:0"), *a_life("p:1"), *a_life(f"p:{index}")]

    batch = Batch(*log).at(60)

    assert batch.status(f"p:{index}") == ""
    assert batch.status("p") == "SUCCEEDED"


def test_listing_a_queue_shows_parents_and_not_children() -> None:
    batch = Batch(*a_life("p:0"), *a_life("p:1"), *a_life("a"))

    assert batch.listed(jobQueue="q", jobStatus="RUNNABLE") == ["a"]
    assert batch.listed(jobQueue="q", jobStatus="PENDING") == ["p"]
    assert batch.listed(arrayJobId="p", jobStatus="RUNNABLE") == ["p:0", "p:1"]
    assert batch.at(20).listed(arrayJobId="p") == ["p:0", "p:1"]  # RUNNING is the default.
    assert batch.listed(arrayJobId="unknown") == []
    assert batch.listed(arrayJobId="a") == []


# ---- Stops, in a log ----------------------------------------------------------------------


def test_a_cancelled_job_ends_a_second_later_with_the_reason_and_is_told_then() -> None:
    batch = Batch(*a_life("a")).at(5)

    batch.cancel("a", reason="waited 5 s")
    assert batch.status("a") == "RUNNABLE"
    assert batch.job("a")["isCancelled"] is True
    assert batch.sent == []

    job = batch.at(6).job("a")
    assert (job["status"], job["statusReason"]) == ("FAILED", "waited 5 s")
    assert job["isCancelled"] is True
    [event] = batch.sent
    assert event["detail-type"] == "Batch Job State Change"
    assert event["time"] == time_of(6)
    assert event["resources"] == [f"{ARN}job/a"]
    assert event["detail"]["statusReason"] == "waited 5 s"
    assert event["detail"]["tags"]["resourceArn"] == f"{ARN}job/a"
    assert batch.at(99).status("a") == "FAILED"


def test_what_the_log_says_of_a_stopped_job_is_set_aside_and_told_as_overruled() -> None:
    log = [*a_life("a"), *a_life("b"), an_event("c", "RUNNABLE", 0), an_event("c", "FAILED", 30)]
    batch = Batch(*log).at(5)
    before, after = an_event("a", "RUNNABLE", 5), an_event("a", "STARTING", 10)

    batch.cancel("a", "c")

    assert not batch.it.is_overruled(before)
    assert batch.it.is_overruled(after)
    assert not batch.it.is_overruled(an_event("b", "STARTING", 10))
    assert batch.it.overruled == []
    batch.at(99)
    assert batch.it.overruled == ["a"]  # Of "c" the log, too, says that it failed.
    batch.it.load([an_event("c", "STARTING", 5)])
    assert batch.it.overruled == ["a"]
    assert batch.status("a") == "FAILED"
    assert batch.status("b") == "SUCCEEDED"


@pytest.mark.parametrize("seconds", [10, 20])
def test_cancelling_what_has_started_succeeds_and_does_nothing(seconds: int) -> None:
    batch = Batch(*a_life("a")).at(seconds)

    batch.cancel("a")

    assert "isCancelled" not in batch.job("a")
    assert batch.at(60).status("a") == "SUCCEEDED"
    assert batch.it.overruled == []
    assert [call.api for call in batch.it.journal] == ["CancelJob"]


@pytest.mark.parametrize("seconds", [0, 10, 20])
def test_terminating_ends_whatever_has_not_ended(seconds: int) -> None:
    batch = Batch(*a_life("a")).at(seconds)

    batch.terminate("a")

    job = batch.at(seconds + 1).job("a")
    assert (job["status"], job["statusReason"]) == ("FAILED", "too dear")
    assert job["isTerminated"] is True
    assert len(job["attempts"]) == (seconds > 0)
    assert batch.at(99).it.overruled == ["a"]


def test_a_terminated_attempt_counts_as_one_that_was_made() -> None:
    container = {"logStreamName": "render/default/1", "taskArn": "t"}
    running = an_event("a", "RUNNING", 0, attempts=1, container=container, startedAt=1767268800000)
    batch = Batch(running).at(5)

    batch.terminate("a")

    attempts = batch.at(6).sent[0]["detail"]["attempts"]
    assert batch.sent[0]["detail"]["container"] == container | {"exitCode": 137}
    assert len(attempts) == 2
    assert attempts[-1] == {
        "container": {
            "logStreamName": "render/default/1",
            "taskArn": "t",
            "exitCode": 137,
            "networkInterfaces": [],
        },
        "startedAt": 1767268800000,
        "stoppedAt": int(NOON.timestamp() + 6) * 1000,
        "statusReason": "too dear",
    }


def test_a_reason_may_be_as_long_as_batch_allows() -> None:
    batch = Batch(*a_life("a"))

    batch.cancel("a", reason="x" * 1024)

    assert len(batch.at(1).job("a")["statusReason"]) == 1024


def test_stopping_twice_keeps_the_first_reason_and_tells_once() -> None:
    batch = Batch(*a_life("a")).at(5)

    batch.cancel("a", "a", reason="first")
    batch.terminate("a", reason="second")

    assert batch.at(9).job("a")["statusReason"] == "first"
    assert len(batch.sent) == 1
    batch.cancel("a", reason="third")
    assert batch.at(20).job("a")["statusReason"] == "first"
    assert len(batch.sent) == 1


def test_stopping_what_has_ended_changes_nothing() -> None:
    batch = Batch(*a_life("a")).at(60)

    batch.cancel("a")
    batch.terminate("a", "nobody")

    assert not {"isCancelled", "isTerminated"} & batch.at(70).job("a").keys()
    assert batch.sent == []


def test_a_pending_job_is_cancelled_when_those_it_waits_for_have_ended() -> None:
    waiting = an_event("b", "PENDING", 0, dependsOn=[{"jobId": "a"}, {"jobId": "lost"}])
    batch = Batch(*a_life("a"), waiting, an_event("b", "RUNNABLE", 60)).at(5)

    batch.cancel("b")

    assert batch.at(59).status("b") == "PENDING"
    assert batch.job("b")["isCancelled"] is True
    assert batch.at(61).status("b") == "FAILED"


def test_a_lazily_cancelled_job_stays_runnable_until_it_is_the_first() -> None:
    log = [*a_life("a"), an_event("b", "RUNNABLE", 1), an_event("c", "RUNNABLE", 2)]
    batch = Batch(*log, lazy_cancel=True).at(5)

    batch.cancel("b")

    assert batch.at(9).status("b") == "RUNNABLE"
    assert batch.job("b")["isCancelled"] is True
    assert batch.listed(jobQueue="q", jobStatus="RUNNABLE") == ["a", "b", "c"]
    assert batch.at(11).status("b") == "FAILED"  # "a" has started.
    batch.cancel("c")
    assert batch.at(12).status("c") == "FAILED"


def test_a_lazily_cancelled_job_ends_at_the_latest_when_it_would_have_started() -> None:
    log = [an_event("a", "RUNNABLE", 0), an_event("b", "RUNNABLE", 1), an_event("b", "STARTING", 9)]
    batch = Batch(*log, an_event("b", "RUNNABLE", 7), lazy_cancel=True).at(5)

    batch.cancel("b")

    assert batch.at(9).status("b") == "RUNNABLE"
    assert batch.at(10).status("b") == "FAILED"
    assert batch.it.overruled == ["b"]


def test_an_array_with_a_stopped_child_ends_when_all_its_children_have_ended() -> None:
    log = [*a_life("p:0"), *a_life("p:1", start=100), a_parent("p", "SUCCEEDED", 170, 2)]
    batch = Batch(*log).at(101)

    batch.cancel("p:1")
    batch.at(103)

    assert batch.summary("p") == {"SUCCEEDED": 1, "FAILED": 1}
    assert batch.status("p") == "FAILED"
    assert batch.told("p:1") == [("12:01:42", "FAILED")]
    assert batch.told("p") == [("12:01:43", "FAILED")]
    assert batch.job("p")["statusReason"] == "Array Child Job failed"
    assert batch.it.is_overruled(log[-1])
    assert batch.at(999).summary("p") == {"SUCCEEDED": 1, "FAILED": 1}
    assert batch.it.overruled == ["p:1"]
    assert len(batch.sent) == 2


def test_an_array_that_loses_a_child_still_waits_for_the_others_in_the_log() -> None:
    log = [*a_life("p:0"), *a_life("p:1"), a_parent("p", "SUCCEEDED", 60, 2, SUCCEEDED=2)]
    batch = Batch(*log).at(5)

    batch.cancel("p:1")

    assert batch.at(60).status("p") == "PENDING"
    assert batch.at(61).status("p") == "FAILED"
    assert batch.told("p") == [("12:01:01", "FAILED")]


def test_cancelling_a_parent_cancels_those_children_that_wait() -> None:
    log = [*a_life("p:0"), *a_life("p:1", start=30), a_parent("p", "SUCCEEDED", 95, 3, SUCCEEDED=3)]
    batch = Batch(*log).at(31)

    batch.cancel("p", reason="budget")

    assert batch.at(32).status("p:0") == "RUNNING"
    assert batch.listed(arrayJobId="p", jobStatus="FAILED") == ["p:1", "p:2"]
    assert batch.status("p") == "PENDING"
    assert batch.job("p")["isCancelled"] is True
    assert batch.at(61).job("p")["statusReason"] == "budget"
    assert batch.summary("p") == {"SUCCEEDED": 1, "FAILED": 2}
    assert batch.at(99).it.overruled == ["p", "p:1"]


def test_terminating_a_parent_ends_all_its_children() -> None:
    batch = Batch(*a_life("p:0"), *a_life("p:1", start=30)).at(31)

    batch.terminate("p")

    assert batch.at(33).status("p") == "FAILED"
    assert batch.summary("p") == {"FAILED": 2}
    assert batch.told("p") == [("12:00:33", "FAILED")]


def test_terminating_a_parent_need_not_reach_its_children() -> None:
    batch = Batch(*a_life("p:0"), *a_life("p:1"), terminate_cascades=False).at(5)

    batch.terminate("p")

    assert batch.job("p")["isTerminated"] is True
    assert batch.at(60).status("p") == "SUCCEEDED"


def test_an_array_of_which_only_the_parent_is_told_can_be_cancelled_whole() -> None:
    batch = Batch(a_parent("p", "PENDING", 0, 50), a_parent("p", "SUCCEEDED", 60, 50)).at(5)

    batch.cancel("p")

    assert batch.at(7).status("p") == "FAILED"
    assert len(batch.listed(arrayJobId="p", jobStatus="FAILED")) == 50
    assert Counter(len(event["detail"]["jobId"].split(":")) for event in batch.sent) == {
        2: 50,
        1: 1,
    }
    assert batch.at(60).it.overruled == ["p"]


def test_children_that_nobody_told_of_do_not_keep_a_stopped_array_alive() -> None:
    log = [
        *a_life("p:0"),
        *a_life("p:1")[:3],
        a_parent("p", "FAILED", 70, 5, SUCCEEDED=3, FAILED=2),
    ]
    batch = Batch(*log).at(5)

    batch.cancel("p:0")

    assert batch.at(70).status("p") == "PENDING"
    assert batch.at(71).status("p") == "FAILED"
    assert sum(batch.summary("p").values()) == 5
    assert batch.summary("p") == {"SUCCEEDED": 2, "FAILED": 3}


# ---- Service jobs -------------------------------------------------------------------------


def test_service_jobs_have_calls_of_their_own() -> None:
    log = [
        a_service_event("s", "RUNNABLE", 0),
        a_service_event("s", "SCHEDULED", 5),
        a_service_event("t", "RUNNABLE", 0),
        *a_life("a"),
    ]
    batch = Batch(*log).at(5)

    assert batch.ask("DescribeServiceJob", jobId="s")["status"] == "SCHEDULED"
    assert batch.listed(operation="ListServiceJobs", jobQueue="q", jobStatus="SCHEDULED") == ["s"]
    assert batch.listed(operation="ListServiceJobs", jobQueue="q", jobStatus="RUNNABLE") == ["t"]
    assert batch.listed(jobQueue="q", jobStatus="RUNNABLE") == ["a"]

    batch.cancel("s")
    batch.terminate("s")
    batch.ask("TerminateServiceJobs", jobs=["a"], reason="wrong kind")
    assert batch.at(6).ask("DescribeServiceJob", jobId="s")["status"] == "SCHEDULED"
    assert batch.status("a") == "RUNNABLE"

    batch.ask("TerminateServiceJob", jobId="s", reason="too dear")
    assert batch.ask("DescribeServiceJob", jobId="s")["isTerminated"] is True
    ended = batch.at(7).ask("DescribeServiceJob", jobId="s")
    assert (ended["status"], ended["statusReason"]) == ("FAILED", "too dear")
    [event] = batch.sent
    assert event["detail-type"] == "Batch Service Job State Change"
    answer = batch.ask("TerminateServiceJobs", jobs=["t", "unknown"], reason="too dear")
    assert answer == {"successful": ["t", "unknown"], "errors": []}
    assert batch.at(8).ask("DescribeServiceJob", jobId="t")["status"] == "FAILED"
    batch.it.load([a_service_event("u", "RUNNING", 8)])
    batch.ask("TerminateServiceJob", jobId="u", reason="too dear")
    assert batch.at(9).ask("DescribeServiceJob", jobId="u")["status"] == "FAILED"


# ---- Many at once, limits, and the journal ------------------------------------------------


def test_a_bulk_call_stops_each_job_and_counts_unknown_ones_as_stopped() -> None:
    batch = Batch(*(event for n in range(3) for event in a_life(f"j{n}"))).at(10)
    batch.it.refusals["j1"] = ["ThrottlingException", "ServerException"]

    asked = ["j0", "j1", "unknown", "j2"]
    answer = batch.ask("TerminateJobs", jobs=asked, reason="r")

    assert answer["successful"] == ["j0", "unknown", "j2"]
    assert answer["errors"] == [
        {"job": "j1", "code": "ThrottlingException", "message": "Refused: j1"}
    ]
    assert [batch.at(11).status(f"j{n}") for n in range(3)] == ["FAILED", "STARTING", "FAILED"]
    with pytest.raises(ApiError, match="ServerException"):
        batch.terminate("j1")
    batch.terminate("j1")
    assert batch.at(12).status("j1") == "FAILED"


@pytest.mark.parametrize(
    ("bulk", "code"),
    [
        (False, "UnknownOperationException"),
        ("unknown", "UnknownOperationException"),
        ("denied", "AccessDeniedException"),
    ],
)
def test_bulk_calls_may_not_be_there(bulk: Any, code: str) -> None:
    batch = Batch(*a_life("a"), bulk=bulk)
    client: Any = session({"batch": batch.it.call}).client("batch")

    with pytest.raises(ClientError) as caught:
        client.cancel_jobs(jobs=["a"], reason="r")

    assert caught.value.response["Error"]["Code"] == code
    batch.cancel("a")
    assert batch.at(1).status("a") == "FAILED"
    assert [(call.api, call.error) for call in batch.it.journal] == [
        ("CancelJobs", code),
        ("CancelJob", ""),
    ]


def test_calls_above_the_rate_are_throttled_and_do_nothing() -> None:
    batch = Batch(*a_life("a"), *a_life("b"), rate=2)

    batch.ask("DescribeJobs", jobs=["a"])
    batch.cancel("a")
    with pytest.raises(ApiError) as caught:
        batch.cancel("b")
    assert (caught.value.code, caught.value.status) == ("TooManyRequestsException", 429)
    with pytest.raises(ApiError):
        batch.ask("DescribeJobs", jobs=["a"])

    batch.at(0.5).cancel("b")
    assert [(call.jobs, call.throttled) for call in batch.it.journal] == [
        (("a",), False),
        (("b",), True),
        (("b",), False),
    ]
    batch.at(60).status("a")
    batch.status("b")
    with pytest.raises(ApiError):
        batch.status("a")  # What was not used is not saved up.


def test_the_journal_keeps_what_would_change_something() -> None:
    batch = Batch(*a_life("a")).at(3)

    batch.status("a")
    batch.listed(jobQueue="q")
    batch.ask("CancelJobs", jobs=["a", "b"], reason="r")
    batch.ask("UpdateJobQueue", jobQueue="q", state="DISABLED")

    first, second = batch.it.journal
    assert (first.at, first.api, first.jobs) == (batch.it.now, "CancelJobs", ("a", "b"))
    assert (first.queue, first.state, first.reason, first.error) == ("", "", "r", "")
    assert (second.api, second.jobs) == ("UpdateJobQueue", ())
    assert (second.queue, second.state, second.reason) == ("q", "DISABLED", "")


# ---- Lists --------------------------------------------------------------------------------


def test_a_list_comes_in_pages_of_a_thousand() -> None:
    batch = Batch(*(an_event(f"j{n}", "RUNNABLE", 0) for n in range(2500)))

    pages: list[int] = []
    token: dict[str, str] = {}
    while True:
        answer = batch.ask("ListJobs", jobQueue="q", jobStatus="RUNNABLE", **token)
        pages.append(len(answer["jobSummaryList"]))
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}

    assert pages == [1000, 1000, 500]
    short = batch.ask("ListJobs", jobQueue=f"{ARN}job-queue/q", jobStatus="RUNNABLE", maxResults=7)
    assert len(short["jobSummaryList"]) == 7


def test_a_page_that_is_exactly_full_has_no_next_one() -> None:
    batch = Batch(*(an_event(f"j{n}", "RUNNABLE", 0) for n in range(4)))

    first = batch.ask("ListJobs", jobQueue="q", jobStatus="RUNNABLE", maxResults=2)
    parameters = {"jobStatus": "RUNNABLE", "maxResults": 2, "nextToken": first["nextToken"]}
    assert "nextToken" not in batch.ask("ListJobs", jobQueue="q", **parameters)


@given(st.lists(st.integers(0, 39), max_size=60), st.integers(1, 7))
@settings(deadline=None, max_examples=50)
def test_paging_misses_no_job_that_stays_while_others_leave(leaving: list[int], size: int) -> None:
    batch = Batch(*(an_event(f"j{n}", "RUNNABLE", 0) for n in range(40)))
    leave = iter(leaving)
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = batch.ask("ListJobs", jobQueue="q", jobStatus="RUNNABLE", maxResults=size, **token)
        found += ids(answer["jobSummaryList"])
        for gone in [next(leave, None), next(leave, None)]:
            if gone is not None:
                batch.it.load([an_event(f"j{gone}", "RUNNING", 0)])
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}

    staying = [f"j{n}" for n in range(40) if n not in leaving]
    assert [each for each in found if each in staying] == staying
    assert len(found) == len(set(found))


def test_many_that_leave_are_forgotten_and_the_rest_stays_in_order() -> None:
    batch = Batch(*(an_event(f"j{n}", "RUNNABLE", 0) for n in range(3000)))
    token = batch.ask("ListJobs", jobQueue="q", jobStatus="RUNNABLE", maxResults=900)["nextToken"]

    batch.it.load([an_event(f"j{n}", "RUNNING", 0) for n in range(3000) if n % 3])

    rest = batch.listed(jobQueue="q", jobStatus="RUNNABLE", nextToken=token)
    assert rest == [f"j{n}" for n in range(900, 3000, 3)]


def test_filters_ignore_the_status_skip_children_and_show_the_latest_first() -> None:
    batch = Batch(
        *a_life("p:0"),
        an_event("old", "RUNNING", 0, createdAt=1000, jobName="Render-1"),
        an_event("new", "SUCCEEDED", 0, createdAt=3000, jobName="render-2"),
        an_event("other", "RUNNABLE", 0, createdAt=2000, jobName="x", shareIdentifier="team-a"),
    )

    def filtered(name: str, value: str, **more: Any) -> list[str]:
        filters = [{"name": name, "values": [value]}]
        return batch.listed(jobQueue="q", filters=filters, **more)

    assert filtered("JOB_NAME", "RENDER-*", jobStatus="FAILED") == ["new", "old"]
    assert filtered("JOB_NAME", "render") == []
    assert filtered("AFTER_CREATED_AT", "1000") == ["p", "new", "other"]
    assert filtered("BEFORE_CREATED_AT", "3000") == ["other", "old"]
    assert filtered("JOB_DEFINITION", "render", maxResults=1) == ["p", "new", "other", "old"]
    assert filtered("JOB_DEFINITION", f"{ARN}job-definition/render:4") == []
    assert filtered("SHARE_IDENTIFIER", "team-a") == ["other"]
    assert filtered("SHARE_IDENTIFIER", "team-a", jobStatus="RUNNING") == []
    for wrong in (("COLOUR", "red"), ("AFTER_CREATED_AT", "noon")):
        with pytest.raises(ApiError, match="ClientException"):
            filtered(*wrong)


def test_a_filtered_list_comes_in_pages_of_a_hundred() -> None:
    batch = Batch(*(an_event(f"j{n}", "RUNNABLE", 0) for n in range(250)))
    filters = [{"name": "JOB_NAME", "values": ["name-*"]}]

    assert len(batch.ask("ListJobs", jobQueue="q", filters=filters)["jobSummaryList"]) == 100
    assert len(set(batch.listed(jobQueue="q", filters=filters))) == 250


def test_a_list_shows_each_job_in_outline() -> None:
    ended: dict[str, Any] = {
        "container": {"exitCode": 1, "reason": "OutOfMemoryError", "image": "i"}
    }
    moments: dict[str, Any] = {
        "startedAt": 2000,
        "stoppedAt": 3000,
        "statusReason": "Essential container exited",
    }
    log = [an_event("a", "FAILED", 0, shareIdentifier="team-a", **ended, **moments)]
    batch = Batch(*log, an_event("b", "RUNNABLE", 0))

    [shown] = batch.ask("ListJobs", jobQueue="q", jobStatus="FAILED")["jobSummaryList"]
    assert shown == {
        "jobArn": f"{ARN}job/a",
        "jobId": "a",
        "jobName": "name-a",
        "jobDefinition": f"{ARN}job-definition/render:3",
        "status": "FAILED",
        "createdAt": 1767268000000,
        "shareIdentifier": "team-a",
        "container": {"exitCode": 1, "reason": "OutOfMemoryError"},
        **moments,
    }
    batch.cancel("b", reason="r")
    [_, stopped] = batch.at(1).ask("ListJobs", jobQueue="q", jobStatus="FAILED")["jobSummaryList"]
    assert (stopped["statusReason"], stopped["isCancelled"]) == ("r", True)
    assert stopped["stoppedAt"] == int(NOON.timestamp() + 1) * 1000 == batch.job("b")["stoppedAt"]
    assert "container" not in stopped


def test_a_list_shows_arrays_and_their_children_in_outline() -> None:
    batch = Batch(*a_life("p:0"), *a_life("p:1", end="FAILED"))

    [parent] = batch.ask("ListJobs", jobQueue="q", jobStatus="PENDING")["jobSummaryList"]
    children = batch.ask("ListJobs", arrayJobId="p", jobStatus="RUNNABLE")["jobSummaryList"]

    assert parent["arrayProperties"] == batch.job("p")["arrayProperties"]
    assert [child["arrayProperties"] for child in children] == [{"index": 0}, {"index": 1}]
    [ended] = batch.at(60).ask("ListJobs", jobQueue="q", jobStatus="FAILED")["jobSummaryList"]
    assert ended["jobId"] == "p"
    assert "stoppedAt" not in ended
    assert "stoppedAt" not in batch.job("p")


def test_a_list_shows_the_schedulers_jobs_as_describe_jobs_does() -> None:
    batch = Batch().with_queue(vcpus=9)
    oom = Outcome(exit_code=137, reason="OutOfMemoryError")
    failing = batch.it.submit("a", "q", outcome=oom, share="team-a")
    parent = batch.it.submit("b", "q", array_size=2)
    several = batch.it.submit("c", "q", nodes=2)
    batch.at(999)

    def shown(job_id: str, status: str, **scope: str) -> dict[str, Any]:
        found = batch.ask("ListJobs", jobStatus=status, **scope)["jobSummaryList"]
        [one] = [job for job in found if job["jobId"] == job_id]
        described = batch.job(job_id)
        compared = one.keys() - {"container", "arrayProperties", "nodeProperties"}
        assert {name: one[name] for name in compared} == {
            name: described[name] for name in compared
        }
        return dict(one)

    ended = shown(failing, "FAILED", jobQueue="q")
    assert ended["container"] == {"exitCode": 137, "reason": "OutOfMemoryError"}
    assert ended["shareIdentifier"] == "team-a"
    assert ended.keys() >= {"startedAt", "stoppedAt", "statusReason", "jobDefinition"}
    whole = shown(parent, "SUCCEEDED", jobQueue="q")
    assert whole["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 2
    child = shown(f"{parent}:1", "SUCCEEDED", arrayJobId=parent)
    assert child["arrayProperties"] == {"index": 1}
    assert shown(several, "SUCCEEDED", jobQueue="q")["nodeProperties"] == {"numNodes": 2}
    assert batch.listed(multiNodeJobId=several, jobStatus="SUCCEEDED") == [
        f"{several}#0",
        f"{several}#1",
    ]


def test_service_jobs_come_in_pages_of_a_hundred() -> None:
    batch = Batch(*(a_service_event(f"s{n}", "RUNNABLE", 0) for n in range(150)))

    answer = batch.ask("ListServiceJobs", jobQueue="q", jobStatus="RUNNABLE")

    assert len(answer["jobSummaryList"]) == 100
    assert answer["jobSummaryList"][0]["serviceJobType"] == "SAGEMAKER_TRAINING"


def test_the_nodes_of_a_multi_node_job_are_listed_and_described() -> None:
    nodes = {"numNodes": 3, "mainNode": 0, "nodeRangeProperties": []}
    batch = Batch(an_event("m", "RUNNING", 0, nodeProperties=nodes), *a_life("a"))

    assert batch.listed(jobQueue="q") == ["m"]
    assert batch.listed(multiNodeJobId="m") == ["m#0", "m#1", "m#2"]
    assert batch.listed(multiNodeJobId="m", jobStatus="RUNNABLE") == []
    assert batch.listed(multiNodeJobId="a", jobStatus="RUNNABLE") == []
    assert batch.job("m#1")["nodeDetails"] == {"nodeIndex": 1, "isMainNode": False}
    assert batch.status("m#3") == ""


# ---- Queues and environments --------------------------------------------------------------


def test_queues_that_only_the_log_mentions_exist_and_can_be_closed() -> None:
    batch = Batch(an_event("a", "RUNNABLE", 0, queue="b"), an_event("c", "RUNNABLE", 9, queue="a"))

    first, second = batch.ask("DescribeJobQueues")["jobQueues"]
    assert (first["jobQueueName"], second["jobQueueName"]) == ("a", "b")
    assert (first["state"], first["status"]) == ("ENABLED", "VALID")

    answer = batch.ask("UpdateJobQueue", jobQueue=f"{ARN}job-queue/a", state="DISABLED")
    assert answer == {"jobQueueName": "a", "jobQueueArn": f"{ARN}job-queue/a"}
    [closed] = batch.ask("DescribeJobQueues", jobQueues=["a", "unknown"])["jobQueues"]
    assert closed["state"] == "DISABLED"
    assert batch.at(9).status("c") == "RUNNABLE"


def test_a_world_is_shown_as_it_was_given() -> None:
    queue = {
        "jobQueueName": "gpu",
        "jobQueueArn": "arn:aws:batch:eu-west-1:444455556666:job-queue/gpu",
        "state": "DISABLED",
        "status": "INVALID",
        "statusReason": "broken",
        "priority": 7,
        "computeEnvironmentOrder": [],
        "unknown": 1,
    }
    environment = {
        "computeEnvironmentArn": f"{ARN}compute-environment/own",
        "computeEnvironmentName": "own",
        "type": "UNMANAGED",
        "status": "DELETING",
    }
    service_environment = {
        "serviceEnvironmentName": "se",
        "capacityLimits": [{"capacityUnit": "NUM_INSTANCES", "maxCapacity": 4}],
    }
    batch = Batch()
    batch.it.add_world(
        {
            "jobQueues": [queue],
            "computeEnvironments": [environment | {"unknown": 1}],
            "serviceEnvironments": [service_environment | {"unknown": 1}],
        }
    )

    del queue["unknown"]
    assert batch.ask("DescribeJobQueues", jobQueues=["gpu"])["jobQueues"] == [queue]
    [shown] = batch.ask("DescribeComputeEnvironments")["computeEnvironments"]
    assert environment.items() <= shown.items()
    assert "computeResources" not in shown
    [shown] = batch.ask("DescribeServiceEnvironments", serviceEnvironments=["se"])[
        "serviceEnvironments"
    ]
    assert shown == service_environment | {
        "serviceEnvironmentArn": f"{ARN}service-environment/se",
        "serviceEnvironmentType": "SAGEMAKER_TRAINING",
        "state": "ENABLED",
        "status": "VALID",
    }


def test_recorded_worlds_are_taken_in(payloads: Path) -> None:
    batch = Batch()
    for folder in ("describe-job-queues", "describe-compute-environments"):
        for path in sorted((payloads / folder).glob("*.json")):
            world = json.loads(path.read_text())
            batch.it.add_world(world.get("data", world))

    assert len(batch.ask("DescribeJobQueues")["jobQueues"]) >= 4
    assert len(batch.ask("DescribeComputeEnvironments")["computeEnvironments"]) >= 4


@pytest.mark.parametrize(
    ("world", "message"),
    [
        ({"jobQueues": [{"state": "ENABLED"}]}, "no jobQueue, .* jobQueueName"),
        ({"jobQueues": ["q"]}, "no jobQueue, .* 'q'"),
        ({"computeEnvironments": [{}]}, "no computeEnvironment, "),
        ({"snapshots": [{"frontOfQueue": {}}]}, "no jobQueue, .*frontOfQueue"),
    ],
)
def test_a_world_with_nameless_things_is_refused(world: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batch().it.add_world(world)


def test_queues_and_environments_come_in_pages() -> None:
    batch = Batch()
    batch.it.add_world({"jobQueues": [{"jobQueueName": f"q{n}"} for n in range(5)]})
    first = batch.ask("DescribeJobQueues", maxResults=3)
    second = batch.ask("DescribeJobQueues", maxResults=3, nextToken=first["nextToken"])

    shown = [each["jobQueueName"] for each in first["jobQueues"] + second["jobQueues"]]
    assert shown == ["q0", "q1", "q2", "q3", "q4"]
    assert "nextToken" not in second


def test_a_snapshot_shows_the_first_hundred_in_the_order_of_dispatch() -> None:
    log = [an_event(f"j{n}", "RUNNABLE", n) for n in range(150)]
    log += [an_event("j0", "STARTING", 200), an_event("p:0", "RUNNABLE", 0)]
    batch = Batch(*log).at(200)

    snapshot = batch.ask("GetJobQueueSnapshot", jobQueue="q")
    front = snapshot["frontOfQueue"]["jobs"]

    assert len(front) == 100
    assert [each["jobArn"].rpartition("/")[2] for each in front[:3]] == ["p:0", "j1", "j2"]
    assert front[2]["earliestTimeAtPosition"] == int(NOON.timestamp() + 200) * 1000
    usage = snapshot["queueUtilization"]["totalCapacityUsage"]
    assert usage == [{"capacityUnit": "vCPU", "quantity": 2.0}]
    batch.it.load([an_event("j0", "SUCCEEDED", 200)])
    snapshot = batch.ask("GetJobQueueSnapshot", jobQueue="q")
    assert snapshot["queueUtilization"]["totalCapacityUsage"] == []


@pytest.mark.parametrize("as_list", [False, True])
def test_a_given_snapshot_replaces_the_simulated_one(*, as_list: bool) -> None:
    snapshot = {
        "frontOfQueue": {
            "jobs": [{"jobArn": f"{ARN}job/z", "earliestTimeAtPosition": 1}],
            "lastUpdatedAt": 2,
        }
    }
    given_as: Any = {f"{ARN}job-queue/q": snapshot}
    if as_list:
        given_as = [snapshot | {"jobQueue": "q"}]
    batch = Batch(*a_life("a"))

    batch.it.add_world({"snapshots": given_as})

    assert batch.ask("GetJobQueueSnapshot", jobQueue="q") == snapshot


# ---- The simulator's own scheduler --------------------------------------------------------


def most_at_once(batch: Batch) -> int:
    """The largest number of jobs that were between STARTING and their end at one time."""
    busy, most = 0, 0
    for event in batch.sent:
        status = event["detail"]["status"]
        busy += {"STARTING": 1, "SUCCEEDED": -1}.get(status, 0)
        most = max(most, busy)
    return most


@pytest.mark.parametrize(("vcpus", "at_once"), [(4, 2), (20, 10)])
def test_ten_jobs_of_two_vcpus_run_as_many_at_a_time_as_there_is_room_for(
    vcpus: int, at_once: int
) -> None:
    batch = Batch().with_queue(vcpus=vcpus)
    jobs = [batch.it.submit(f"job-{n}", "q", vcpus=2, seconds=60) for n in range(10)]

    batch.at(30)
    assert len(batch.listed(jobQueue="q", jobStatus="RUNNING")) == at_once
    assert len(batch.listed(jobQueue="q", jobStatus="RUNNABLE")) == 10 - at_once
    batch.at(600)

    assert most_at_once(batch) == at_once
    assert batch.listed(jobQueue="q", jobStatus="SUCCEEDED") == jobs


def test_more_room_lets_the_waiting_start() -> None:
    batch = Batch().with_queue(vcpus=4)
    for n in range(10):
        batch.it.submit(f"job-{n}", "q", vcpus=2, seconds=600)

    batch.at(30).with_queue(vcpus=20).at(40)

    assert len(batch.listed(jobQueue="q", jobStatus="RUNNING")) == 10


def test_a_life_is_told_as_batch_tells_it() -> None:
    batch = Batch().with_queue()
    job = batch.it.submit("render", "q", vcpus=0.5, tags={"team": "x"}, definition="render:7")

    assert batch.status(job) == "SUBMITTED"
    batch.at(999)

    assert batch.told(job) == [
        ("12:00:01", "RUNNABLE"),
        ("12:00:02", "STARTING"),
        ("12:00:05", "RUNNING"),
        ("12:01:05", "SUCCEEDED"),
    ]
    event = batch.sent[-1]
    assert event["source"] == "aws.batch"
    assert event["resources"] == [f"{ARN}job/{job}"]
    detail = event["detail"]
    assert detail["tags"] == {"team": "x", "resourceArn": f"{ARN}job/{job}"}
    assert detail["jobDefinition"] == f"{ARN}job-definition/render:7"
    assert detail["container"]["exitCode"] == 0
    assert detail["container"]["resourceRequirements"][0] == {"value": "0.5", "type": "VCPU"}
    [made] = detail["attempts"]
    assert made["stoppedAt"] - made["startedAt"] == 60_000
    assert made["container"]["logStreamName"].startswith("render/default/")
    assert len({event["id"] for event in batch.sent}) == 4
    shape = MODEL.shape_for("JobDetail")
    started = [each["detail"] for each in batch.sent if "startedAt" in each["detail"]]
    assert [list(complaints(shape, each)) for each in started] == [[], []]


def test_a_failed_attempt_waits_in_line_again_while_attempts_are_left() -> None:
    batch = Batch().with_queue(vcpus=1)
    failed = Outcome(exit_code=137, reason="OutOfMemoryError: Container killed", seconds=10)
    job = batch.it.submit("a", "q", attempts=3, outcome=[failed, failed, 0])
    other = batch.it.submit("b", "q", seconds=10)

    assert batch.at(16).status(job) == "RUNNABLE"
    assert batch.job(job)["startedAt"] == 0
    batch.at(999)

    statuses = [status for _, status in batch.told(job)]
    assert statuses == ["RUNNABLE", "STARTING", "RUNNING"] * 3 + ["SUCCEEDED"]
    again = [event["detail"] for event in batch.sent if event["detail"]["status"] == "RUNNABLE"]
    assert [len(detail["attempts"]) for detail in again if detail["jobId"] == job] == [0, 1, 2]
    assert again[-1]["attempts"][-1]["stoppedAt"] > 0
    assert again[-1]["attempts"][0]["container"]["reason"].startswith("OutOfMemoryError")
    streams = {each["container"]["logStreamName"] for each in batch.job(job)["attempts"]}
    assert len(streams) == 3
    order = [event["detail"]["jobId"] for event in batch.sent if event["detail"]["attempts"]]
    assert order.index(other) < order.index(job, 1)  # The retry had to wait behind it.


def test_a_job_fails_when_its_attempts_are_used_up() -> None:
    batch = Batch().with_queue()
    lost = Outcome(exit_code=None, status_reason="Host EC2 (instance i-0) terminated.")
    job = batch.it.submit("a", "q", attempts=2, outcome=lost)

    described = batch.at(999).job(job)

    assert described["status"] == "FAILED"
    assert described["statusReason"] == "Host EC2 (instance i-0) terminated."
    assert len(described["attempts"]) == 2
    assert "exitCode" not in described["container"]


def test_an_array_is_told_by_its_children_and_its_parent() -> None:
    batch = Batch().with_queue()
    parent = batch.it.submit("a", "q", array_size=3, outcome={1: 2}, seconds=lambda i, _: 10 + i)

    batch.at(999)

    assert batch.told(parent) == [("12:00:01", "PENDING"), ("12:00:18", "FAILED")]
    assert [status for _, status in batch.told(f"{parent}:1")][-1] == "FAILED"
    child = next(each["detail"] for each in batch.sent if each["detail"]["jobId"] == f"{parent}:1")
    assert child["arrayProperties"] == {"index": 1, "statusSummary": {}}
    assert child["tags"]["resourceArn"] == f"{ARN}job/{parent}"
    detail = batch.sent[-1]["detail"]
    assert detail["attempts"] == []
    assert "containerInstanceArn" not in detail["container"]
    assert detail["arrayProperties"] == {
        "size": 3,
        "statusSummary": {
            "STARTING": 0,
            "FAILED": 1,
            "RUNNING": 0,
            "SUCCEEDED": 2,
            "RUNNABLE": 0,
            "SUBMITTED": 0,
            "PENDING": 0,
        },
    }
    assert batch.job(parent)["statusReason"] == "Array Child Job failed"
    assert batch.job(parent)["startedAt"] == 0


def test_a_large_array_ends() -> None:
    batch = Batch().with_queue(vcpus=500)
    parent = batch.it.submit("a", "q", array_size=10_000, attempts=2, outcome=lambda i, _: i == 77)

    batch.at(86_400)

    assert batch.summary(parent) == {"SUCCEEDED": 9999, "FAILED": 1}
    assert batch.listed(arrayJobId=parent, jobStatus="FAILED") == [f"{parent}:77"]
    assert len(batch.sent) == 4 * 10_000 + 3 + 2
    assert Counter(event["detail"]["status"] for event in batch.sent)["RUNNABLE"] == 10_001


@pytest.mark.parametrize(
    ("environment", "needs"),
    [
        pytest.param({"status": "INVALID"}, {}, id="environment invalid"),
        pytest.param({"state": "DISABLED"}, {}, id="environment disabled"),
        pytest.param({}, {"vcpus": 8}, id="more than all vCPUs"),
        pytest.param({}, {"vcpus": 2, "nodes": 3}, id="more nodes than fit"),
        pytest.param({"computeResources": {"instanceTypes": ["m5"]}}, {"gpus": 1}, id="no GPU"),
        pytest.param({}, {"gpus": 1}, id="no GPU among the optimal"),
        pytest.param(
            {"computeResources": {"instanceTypes": ["m5.large", "c5.large"]}},
            {"vcpus": 4},
            id="instances too small",
        ),
        pytest.param({}, {"platform": "FARGATE"}, id="Fargate on instances"),
        pytest.param({"computeResources": {"type": "FARGATE"}}, {}, id="instances on Fargate"),
    ],
)
def test_what_can_never_fit_stays_runnable(
    environment: dict[str, Any], needs: dict[str, Any]
) -> None:
    batch = Batch(explains=True).with_queue(**environment)
    stuck = batch.it.submit("stuck", "q", **needs)

    job = batch.at(86_400).job(stuck)

    assert job["status"] == "RUNNABLE"
    assert job["statusReason"].startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - ")
    [blocked] = [each for each in batch.sent if each["detail-type"] == "Batch Job Queue Blocked"]
    assert blocked["resources"] == [f"{ARN}job/{stuck}", f"{ARN}job-queue/q"]


@pytest.mark.parametrize(
    ("resources", "needs"),
    [
        ({"instanceTypes": ["p3.2xlarge"]}, {"gpus": 1, "vcpus": 4}),
        ({"instanceTypes": ["m5.large", "m5.xlarge"]}, {"vcpus": 4}),
        ({"type": "FARGATE_SPOT"}, {"platform": "FARGATE", "vcpus": 0.25}),
        ({}, {"platform": "EKS"}),
        ({}, {"nodes": 2, "vcpus": 2}),
    ],
)
def test_what_fits_runs(resources: dict[str, Any], needs: dict[str, Any]) -> None:
    batch = Batch().with_queue(computeResources=resources)
    job = batch.it.submit("a", "q", outcome=[1, 0], attempts=2, **needs)

    for seconds in (0, 3, 10, 68, 80, 200):
        assert batch.at(seconds).job(job)["jobId"] == job
        batch.ask("ListJobs", jobQueue="q")

    assert batch.status(job) == "SUCCEEDED"


def test_the_reason_goes_when_the_cause_is_mended() -> None:
    batch = Batch(explains=True).with_queue(status="INVALID")
    job = batch.it.submit("a", "q")

    assert "statusReason" in batch.at(60).job(job)
    batch.with_queue(status="VALID")
    assert "statusReason" not in batch.at(70).job(job)
    assert batch.status(job) == "RUNNING"


def test_a_stuck_job_blocks_those_behind_it_until_it_is_cancelled() -> None:
    batch = Batch().with_queue()
    stuck = batch.it.submit("stuck", "q", vcpus=99)
    behind = batch.it.submit("behind", "q")

    assert batch.at(600).status(behind) == "RUNNABLE"
    assert "statusReason" not in batch.job(stuck)
    front = batch.ask("GetJobQueueSnapshot", jobQueue="q")["frontOfQueue"]["jobs"]
    assert [each["jobArn"].rpartition("/")[2] for each in front] == [stuck, behind]
    batch.cancel(stuck)
    assert batch.at(610).status(behind) == "RUNNING"
    assert batch.status(stuck) == "FAILED"


def test_the_second_environment_takes_what_the_first_has_no_room_for() -> None:
    order = [{"order": n, "computeEnvironment": f"ce{n}"} for n in (2, 1)]
    batch = Batch()
    batch.it.add_world(
        {
            "jobQueues": [{"jobQueueName": "q", "computeEnvironmentOrder": order}],
            "computeEnvironments": [
                {"computeEnvironmentName": "ce1", "computeResources": {"maxvCpus": 2}},
                {"computeEnvironmentName": "ce2", "computeResources": {"maxvCpus": 4}},
            ],
        }
    )
    for n in range(5):
        batch.it.submit(f"{n}", "q", vcpus=2)

    assert len(batch.at(10).listed(jobQueue="q")) == 3


def test_of_queues_that_share_an_environment_the_one_of_higher_priority_comes_first() -> None:
    order = [{"order": 1, "computeEnvironment": "ce"}]
    batch = Batch().with_queue(vcpus=1)
    urgent = {"jobQueueName": "urgent", "priority": 9, "computeEnvironmentOrder": order}
    batch.it.add_world({"jobQueues": [urgent]})
    batch.it.submit("a", "q")
    first = batch.it.submit("b", "urgent")

    assert batch.at(10).listed(jobQueue="urgent") == [first]
    assert batch.listed(jobQueue="q") == []


def test_a_closed_queue_takes_no_new_job_and_still_runs_those_it_has() -> None:
    batch = Batch().with_queue()
    job = batch.it.submit("a", "q")
    batch.ask("UpdateJobQueue", jobQueue="q", state="DISABLED")

    with pytest.raises(ApiError, match="DISABLED"):
        batch.it.submit("b", "q")

    assert batch.at(99).status(job) == "SUCCEEDED"
    batch.ask("UpdateJobQueue", jobQueue="q", state="ENABLED")
    batch.it.submit("b", "q")


def test_a_queue_can_be_given_another_environment() -> None:
    batch = Batch().with_queue(status="INVALID")
    batch.it.add_world({"computeEnvironments": [{"computeEnvironmentName": "healthy"}]})
    job = batch.it.submit("a", "q")
    order = [{"order": 1, "computeEnvironment": "healthy"}]

    batch.at(60).ask("UpdateJobQueue", jobQueue="q", computeEnvironmentOrder=order)

    assert batch.at(70).status(job) == "RUNNING"


@pytest.mark.parametrize("size", [0, 1, 10_001])
def test_an_array_has_two_to_ten_thousand_children(size: int) -> None:
    with pytest.raises(ApiError, match="between 2 and 10000"):
        Batch().with_queue().it.submit("a", "q", array_size=size)


def test_a_job_cannot_be_submitted_to_an_unknown_queue() -> None:
    with pytest.raises(ApiError, match="not found"):
        Batch().it.submit("a", "q")


def test_a_job_waits_pending_for_those_it_depends_on() -> None:
    batch = Batch().with_queue()
    first = batch.it.submit("first", "q")
    second = batch.it.submit("second", "q", depends_on=[first])
    third = batch.it.submit("third", "q", depends_on=[second], array_size=2)

    batch.at(999)

    assert [status for _, status in batch.told(second)][:2] == ["PENDING", "RUNNABLE"]
    assert batch.told(second)[1][0] == batch.told(first)[-1][0]
    assert [status for _, status in batch.told(third)] == ["PENDING", "SUCCEEDED"]


def test_a_job_whose_dependency_ends_while_it_is_submitted_never_waits() -> None:
    batch = Batch().with_queue()
    first = batch.it.submit("first", "q", seconds=10)
    second = batch.at(14.5).it.submit("second", "q", depends_on=[first])

    batch.at(999)

    assert batch.told(first)[-1] == ("12:00:15", "SUCCEEDED")
    assert [status for _, status in batch.told(second)] == [
        "RUNNABLE",
        "STARTING",
        "RUNNING",
        "SUCCEEDED",
    ]


def test_a_job_cancelled_while_it_is_submitted_is_told_of_only_as_failed() -> None:
    batch = Batch().with_queue()
    job = batch.it.submit("a", "q")

    batch.cancel(job)

    assert batch.at(99).told(job) == [("12:00:01", "FAILED")]


def test_a_job_fails_with_the_one_it_depends_on() -> None:
    batch = Batch().with_queue()
    first = batch.it.submit("first", "q", outcome=1)
    second = batch.it.submit("second", "q", depends_on=[first])

    assert batch.at(999).job(second)["statusReason"] == "Dependent Job failed"
    assert [status for _, status in batch.told(second)] == ["PENDING", "FAILED"]
    late = batch.it.submit("late", "q", depends_on=[first], array_size=2)
    assert batch.at(1010).status(late) == "FAILED"
    assert batch.summary(late) == {"FAILED": 2}


def test_a_cancelled_pending_job_ends_after_those_it_depends_on() -> None:
    batch = Batch().with_queue()
    first = batch.it.submit("first", "q")
    second = batch.it.submit("second", "q", depends_on=[first])
    array = batch.it.submit("array", "q", depends_on=[first], array_size=2)

    batch.at(10).cancel(second, array)

    assert batch.at(60).status(second) == "PENDING"
    assert batch.at(99).job(second)["statusReason"] == "waited too long"
    assert batch.summary(array) == {"FAILED": 2}


def test_a_stop_frees_what_the_job_has_taken_and_is_not_retried() -> None:
    batch = Batch().with_queue(vcpus=1)
    running = batch.it.submit("a", "q", attempts=3, seconds=600)
    waiting = batch.it.submit("b", "q", attempts=3, seconds=600)
    next_one = batch.it.submit("c", "q", seconds=600)

    batch.at(10).cancel(running, waiting)
    assert batch.at(20).status(running) == "RUNNING"
    assert batch.status(waiting) == "FAILED"
    batch.terminate(running)

    job = batch.at(30).job(running)
    assert (job["status"], job["statusReason"]) == ("FAILED", "too dear")
    assert job["attempts"][-1]["container"]["exitCode"] == 137
    assert batch.status(next_one) == "RUNNING"
    assert batch.told(running)[-1] == ("12:00:21", "FAILED")
    batch.at(5000)
    assert batch.status(running) == batch.status(waiting) == "FAILED"


@pytest.mark.parametrize("seconds", [0, 1.5, 3, 10])
def test_a_terminated_array_ends_at_any_stage(seconds: float) -> None:
    batch = Batch().with_queue()
    parent = batch.it.submit("a", "q", array_size=3, seconds=600)
    other = batch.it.submit("b", "q", seconds=5)

    batch.at(seconds).terminate(parent)

    assert batch.at(seconds + 2).status(parent) == "FAILED"
    assert batch.summary(parent) == {"FAILED": 3}
    assert batch.at(60).status(other) == "SUCCEEDED"


def test_a_cancelled_array_ends_after_its_running_children() -> None:
    batch = Batch().with_queue(vcpus=2)
    parent = batch.it.submit("a", "q", array_size=6, seconds=60)

    batch.at(30).cancel(parent, reason="budget")

    assert batch.at(32).summary(parent) == {"FAILED": 4, "RUNNING": 2}
    assert batch.at(99).summary(parent) == {"FAILED": 4, "SUCCEEDED": 2}
    assert batch.job(parent)["statusReason"] == "budget"


def test_lazily_cancelled_jobs_of_the_scheduler_end_when_their_turn_comes() -> None:
    batch = Batch(lazy_cancel=True).with_queue(vcpus=1)
    jobs = [batch.it.submit(f"{n}", "q", seconds=60) for n in range(4)]

    batch.at(10).cancel(*jobs[2:])

    assert batch.at(20).listed(jobQueue="q", jobStatus="RUNNABLE") == jobs[1:]
    assert batch.at(70).listed(jobQueue="q") == [jobs[1]]
    assert batch.at(80).listed(jobQueue="q", jobStatus="FAILED") == jobs[2:]


def test_a_service_job_is_scheduled_before_it_starts() -> None:
    batch = Batch()
    batch.it.add_world({"jobQueues": [{"jobQueueName": "train"}]})
    job = batch.it.submit("t", "train", service=True, seconds=10, attempts=2, outcome=[1, 0])

    for seconds in (0, 2, 5, 10, 17, 99):
        batch.at(seconds).ask("DescribeServiceJob", jobId=job)

    one_attempt = ["RUNNABLE", "SCHEDULED", "STARTING", "RUNNING"]
    assert [status for _, status in batch.told(job)] == [*one_attempt * 2, "SUCCEEDED"]
    assert {event["detail-type"] for event in batch.sent} == {"Batch Service Job State Change"}
    assert all("tags" not in event["detail"] for event in batch.sent)
    assert batch.listed(operation="ListServiceJobs", jobQueue="train", jobStatus="SUCCEEDED") == [
        job
    ]


@pytest.mark.parametrize("seconds", [0, 1, 2, 3, 6])
def test_a_service_job_is_terminated_in_any_state(seconds: float) -> None:
    batch = Batch()
    batch.it.add_world({"jobQueues": [{"jobQueueName": "train"}]})
    job = batch.it.submit("t", "train", service=True, seconds=600)

    batch.at(seconds).ask("TerminateServiceJob", jobId=job, reason="too dear")

    assert batch.at(seconds + 1).ask("DescribeServiceJob", jobId=job)["status"] == "FAILED"
    told = [status for _, status in batch.at(99).told(job)]
    assert told[-1] == "FAILED"
    assert "STARTING" not in told or seconds > 2


def test_a_log_and_the_scheduler_go_side_by_side() -> None:
    batch = Batch(*a_life("a"), *a_life("p:0")).with_queue()
    job = batch.it.submit("own", "q")
    batch.it.load([an_event(job, "FAILED", 3)])

    assert batch.at(10).status(job) == "RUNNING"  # Of its own jobs a log tells nothing.
    assert not batch.it.is_overruled(an_event(job, "FAILED", 3))
    assert batch.at(99).status("a") == "SUCCEEDED"
    assert batch.status("p") == "SUCCEEDED"


def test_the_same_submissions_give_the_same_events() -> None:
    def story() -> list[dict[str, Any]]:
        batch = Batch().with_queue()
        dice = random.Random(7)  # noqa: S311 - the same dice each time
        for n in range(20):
            batch.it.submit(f"{n}", "q", seconds=dice.randint(1, 99), outcome=dice.randint(0, 1))
        return batch.at(9999).sent

    assert story() == story()


# ---- Whatever is done ---------------------------------------------------------------------

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")

steps = st.lists(
    st.tuples(
        st.sampled_from(["submit", "array", "cancel", "terminate", "wait"]),
        st.integers(0, 30),
    ),
    max_size=30,
)


@given(steps=steps, lazy=st.booleans())
@settings(deadline=None)
def test_whatever_is_done_lists_counts_events_and_descriptions_agree(
    steps: list[tuple[str, int]], *, lazy: bool
) -> None:
    logged = [f"l{n}" for n in range(4)]
    log = [event for n, job_id in enumerate(logged) for event in a_life(job_id, start=9 * n)]
    log += [*a_life("p:0"), *a_life("p:1", end="FAILED"), *a_life("p:2", start=30)]
    batch = Batch(*log, lazy_cancel=lazy).with_queue(vcpus=4)
    clock = 0
    jobs = [*logged, "p", "p:0", "p:1", "p:2"]

    for what, number in steps:
        match what:
            case "submit":
                after = [jobs[-1]] if number % 3 == 0 else []
                jobs.append(batch.it.submit("a", "q", vcpus=number % 4 + 1, depends_on=after))
            case "array":
                parent = batch.it.submit("a", "q", array_size=2, attempts=2, outcome=number % 2)
                jobs += [parent, f"{parent}:0", f"{parent}:1"]
            case "cancel":
                batch.cancel(jobs[number % len(jobs)])
            case "terminate":
                batch.terminate(jobs[number % len(jobs)])
            case _:
                clock += number
                batch.at(clock)
        check_agreement(batch, jobs)

    check_agreement(batch.at(100_000), jobs)
    known = batch.ask("DescribeJobs", jobs=jobs)["jobs"]
    assert {job["status"] for job in known} <= {"SUCCEEDED", "FAILED"}
    for job_id in jobs:
        told = [status for _, status in batch.told(job_id)]
        assert not {"SUCCEEDED", "FAILED"} & set(told[:-1])


def check_agreement(batch: Batch, jobs: list[str]) -> None:
    described = {job["jobId"]: job for job in batch.ask("DescribeJobs", jobs=jobs)["jobs"]}
    shown = {status: batch.listed(jobQueue="q", jobStatus=status) for status in STATUSES}
    for status, listed in shown.items():
        assert sorted(listed) == sorted(
            job_id
            for job_id, job in described.items()
            if job["status"] == status and ":" not in job_id
        )
    for parent in (job for job in described.values() if "size" in job.get("arrayProperties", {})):
        summary = parent["arrayProperties"]["statusSummary"]
        assert sum(summary.values()) == parent["arrayProperties"]["size"]
        for status in STATUSES[2:]:
            children = batch.listed(arrayJobId=parent["jobId"], jobStatus=status)
            assert len(children) == summary[status] or parent["status"] == "FAILED"
    own = [described[each] for each in shown["STARTING"] + shown["RUNNING"] if "-" in each]
    needs = [float(job["container"]["resourceRequirements"][0]["value"]) for job in own]
    assert sum(needs) <= 4


@pytest.mark.parametrize("told", [-5, 6, 10_000])
def test_an_event_with_an_impossible_index_makes_nothing_true(told: int) -> None:
    job_id = "array:7" if told >= 0 else "array:-5"
    detail = {"jobId": job_id, "status": "RUNNING", "arrayProperties": {"index": told}}
    event = {
        "time": "2026-01-01T12:00:00Z",
        "detail-type": "Batch Job State Change",
        "detail": detail | {"jobQueue": f"{ARN}job-queue/q"},
    }
    batch = Batch(event).at(10)

    assert batch.ask("DescribeJobs", jobs=[job_id, "array"])["jobs"] == []
