"""What a job takes, and when it ran, by what AWS Batch shows of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from batch_watchdog.budgets.amounts import amounts_of
from batch_watchdog.budgets.runs import Run, expected_run, runs_of, unnumbered

AT = 1_767_268_800_000  # 2026-01-01T12:00:00Z
HOUR = 3_600_000

PAYLOADS = Path(__file__).parents[4] / "shared" / "payloads"


def required(**amounts: str) -> dict[str, Any]:
    return {"resourceRequirements": [{"type": k, "value": v} for k, v in amounts.items()]}


def taken(**detail: Any) -> tuple[int, ...]:
    return amounts_of(detail)


# ---- What it takes ------------------------------------------------------------------------


def test_fractions_of_vcpus_count_as_such() -> None:
    assert taken(container=required(VCPU="0.25", MEMORY="512")) == (250, 0, 512 * 1_024, 0)


def test_older_definitions_name_vcpus_and_memory_themselves() -> None:
    old = {"vcpus": 15, "memory": 8192, "resourceRequirements": []}
    assert taken(container=old) == (15_000, 0, 8_192 * 1_024, 0)


def test_several_containers_add_up() -> None:
    containers = [required(VCPU="1", MEMORY="1024", GPU="2"), required(VCPU="0.5", MEMORY="512")]
    tasks = [{"containers": containers}]
    assert taken(ecsProperties={"taskProperties": tasks}) == (1_500, 2_000, 1_536 * 1_024, 0)


@pytest.mark.parametrize(
    ("resources", "amounts"),
    [
        ({"requests": {"cpu": "1", "memory": "1024Mi"}}, (1_000, 0, 1_048_576, 0)),
        ({"limits": {"cpu": "250m", "memory": "1Gi"}}, (250, 0, 1_048_576, 0)),
        (
            {
                "requests": {"cpu": "1", "memory": "1024Mi"},
                "limits": {"cpu": "4", "memory": "1024Mi", "nvidia.com/gpu": "2"},
            },
            (1_000, 2_000, 1_048_576, 0),
        ),
        ({"limits": {"cpu": "many", "memory": None}}, (0, 0, 0, 0)),
    ],
)
def test_a_pod_takes_what_it_requests_or_its_limits(
    resources: dict[str, Any], amounts: tuple[int, ...]
) -> None:
    pod = {"containers": [{"resources": resources}]}
    assert taken(eksProperties={"podProperties": pod}) == amounts


def test_a_multi_node_job_takes_all_of_its_nodes() -> None:
    ranges = [
        {"targetNodes": "0:3", "container": required(VCPU="2", MEMORY="1024")},
        {"targetNodes": "4:", "container": required(VCPU="8", GPU="1", MEMORY="2048")},
    ]
    nodes = {"numNodes": 6, "nodeRangeProperties": ranges}
    assert taken(nodeProperties=nodes) == (24_000, 2_000, 8_192 * 1_024, 0)


def test_node_properties_without_nodes_say_nothing() -> None:
    nodes = {"numNodes": 0, "nodeRangeProperties": []}
    assert taken(nodeProperties=nodes, container=required(VCPU="2"))[0] == 2_000


def test_a_service_job_takes_the_instances_that_its_request_names() -> None:
    payload = json.dumps({"ResourceConfig": {"InstanceCount": 3, "InstanceType": "ml.m5.large"}})
    job = {"serviceJobType": "SAGEMAKER_TRAINING", "serviceRequestPayload": payload}
    assert taken(**job) == (0, 0, 0, 3)
    assert taken(serviceJobType="SAGEMAKER_TRAINING", serviceRequestPayload="{") == (0, 0, 0, 0)


# ---- When it ran --------------------------------------------------------------------------


def shown(status: str, *attempts: tuple[int, int], **more: Any) -> list[Run]:
    made = [{"startedAt": start, "stoppedAt": stop} for start, stop in attempts]
    return runs_of({"jobId": "a", "status": status, "attempts": made, **more}, AT)


def run(attempt: int, start: int, stop: int = 0, *, guessed: bool = False) -> Run:
    return Run(job_id="a", attempt=attempt, start=start, stop=stop, guessed=guessed)


def test_each_attempt_is_a_run() -> None:
    attempts = (AT - 90, AT - 80), (AT - 50, AT - 40)
    assert shown("SUCCEEDED", *attempts, startedAt=AT - 50, stoppedAt=AT - 40) == [
        run(0, *attempts[0]),
        run(1, *attempts[1]),
    ]


def test_a_job_that_waits_again_tells_of_its_former_attempts() -> None:
    assert shown("RUNNABLE", (AT - 90, AT - 80)) == [run(0, AT - 90, AT - 80)]


def test_a_job_that_runs_has_begun_when_it_says() -> None:
    assert shown("RUNNING", startedAt=AT - 7) == [run(0, AT - 7)]


def test_the_start_of_a_former_attempt_is_not_that_of_the_latest() -> None:
    runs = shown("RUNNING", (AT - 900, AT - 500), startedAt=AT - 900)
    assert runs == [run(0, AT - 900, AT - 500), run(1, AT, guessed=True)]


def test_an_attempt_without_an_end_is_the_one_that_runs() -> None:
    made = [{"startedAt": AT - 9}]
    assert runs_of({"jobId": "a", "status": "RUNNING", "attempts": made}, AT) == [run(0, AT - 9)]


def test_an_attempt_that_never_started_is_no_run() -> None:
    made = [{"stoppedAt": AT - 5, "container": {"reason": "CannotPullContainerError"}}]
    [only] = runs_of({"jobId": "a", "status": "FAILED", "attempts": made, "startedAt": 0}, AT)
    assert only.start == 0


def test_a_job_that_shows_no_attempts_ran_as_it_says() -> None:
    assert shown("SUCCEEDED", startedAt=AT - 9, stoppedAt=AT - 2) == [
        run(unnumbered(AT - 9), AT - 9, AT - 2)
    ]


@pytest.mark.parametrize(
    ("lists", "number"),
    [({"attempts": []}, 0), ({}, unnumbered(AT - 9)), ({"eksAttempts": []}, unnumbered(AT - 9))],
)
def test_a_job_that_does_not_list_its_attempts_does_not_say_which_one_runs(
    lists: dict[str, Any], number: int
) -> None:
    detail = {"jobId": "a", "status": "RUNNING", "startedAt": AT - 9, **lists}
    assert runs_of(detail, AT) == [run(number, AT - 9)]


@pytest.mark.parametrize(
    "parent",
    [
        {"jobId": "a", "arrayProperties": {"size": 2, "statusSummary": {"SUCCEEDED": 2}}},
        {"jobId": "a#1", "nodeProperties": {"numNodes": 2}},
        {"jobId": "a", "jobArn": "arn:aws:batch:us-east-1:111122223333:job/a#1"},
    ],
)
def test_parents_and_nodes_have_no_run_of_their_own(parent: dict[str, Any]) -> None:
    times = {"startedAt": AT - 9, "stoppedAt": AT - 2, "status": "SUCCEEDED"}
    assert runs_of({**times, **parent}, AT) == []
    assert expected_run({**parent, "status": "STARTING"}) is None


def test_a_child_has() -> None:
    child = {"jobId": "a:12", "arrayProperties": {"index": 12, "statusSummary": {}}}
    runs = runs_of({**child, "status": "RUNNING", "startedAt": AT - 9}, AT)
    assert [each.start for each in runs] == [AT - 9]


def test_what_a_preempted_service_job_ran_before_counts_too() -> None:
    before = {"recentPreemptedAttempts": [{"startedAt": AT - 900, "stoppedAt": AT - 600}]}
    runs = shown("RUNNING", startedAt=AT - 50, preemptionSummary=before)
    assert [(each.start, each.stop) for each in runs] == [(AT - 900, AT - 600), (AT - 50, 0)]


@pytest.mark.parametrize("wrong", ["soon", None, True, -5, AT + 10 * HOUR, 10**40])
def test_what_is_no_time_is_not_shown(wrong: object) -> None:
    assert shown("RUNNING", startedAt=wrong) == [run(0, AT, guessed=True)]


@pytest.mark.skipif(not PAYLOADS.is_dir(), reason="recorded payloads are not here")
def test_recorded_events_show_their_runs() -> None:
    counted = {}
    for file in sorted((PAYLOADS / "batch-job-state-change").glob("*.json")):
        event = json.loads(file.read_text("utf-8-sig"))
        detail = event.get("detail") if isinstance(event, dict) else None
        if isinstance(detail, dict) and isinstance(detail.get("stoppedAt"), int):
            runs = runs_of(detail, detail["stoppedAt"])
            counted[file.name] = [(each.start, each.stop) for each in runs]
            assert runs[-1].stop == detail["stoppedAt"]
            assert any(amounts_of(detail))
    assert len(counted) > 5
