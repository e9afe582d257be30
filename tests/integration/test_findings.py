"""What notices say of why a job is stuck, and which limit counts for it."""

from pathlib import Path
from typing import Any

import pytest

from local.aws.stack import Stack
from local.replay import replay
from local.replay.event_log import read_log
from tests import logs
from tests.makers import JOB, an_event, at
from tests.watching import Watching

BY_CAUSE = """
mode = "enforce"
[[limit]]
[limit.RUNNABLE]
warn_after = "30m"
after = "2h"
action = "cancel"
after_by_cause = { capacity = "4h" }
[limit.STARTING]
after = "1h"
action = "terminate"
"""
ENVIRONMENT = {
    "computeEnvironmentName": "render",
    "computeResources": {
        "type": "EC2",
        "minvCpus": 0,
        "maxvCpus": 64,
        "desiredvCpus": 16,
        "instanceTypes": ["m6i"],
        "subnets": [],
    },
}


def moved(status: str, clock: str, **more: Any) -> Any:
    return an_event(clock, jobId=JOB, status=status, attempts=[], **more)


def test_the_head_of_a_queue_is_given_the_limit_of_no_cause() -> None:
    events = [moved("RUNNABLE", "12:00"), an_event("12:01", jobId="behind", status="RUNNABLE")]
    watching = Watching(BY_CAUSE, events).run(at("12:00"), at("15:00"))

    # The job behind it is the head from then on: it is seen at 14:16, and given 30 minutes.
    assert watching.stopped() == {JOB: "14:00", "behind": "14:46"}
    notice = watching.told("limit-enforced")[0]
    assert notice["facts"]["findings"] == ["undetermined"]
    assert "number 1 in the queue, of 2 listed, there since" in notice["text"]


def test_a_job_that_starts_for_too_long_is_told_with_what_to_look_at() -> None:
    events = [moved("RUNNABLE", "12:00"), moved("STARTING", "12:01")]
    watching = Watching(BY_CAUSE, events).run(at("12:00"), at("13:10"))

    [notice] = watching.told("limit-enforced")
    assert notice["facts"]["findings"] == ["container-not-started"]
    assert "whether the image can be pulled" in notice["text"]


def test_a_job_that_runs_for_too_long_is_told_without_findings() -> None:
    policy = 'mode = "enforce"\n[[limit]]\nRUNNING = { after = "1h", action = "terminate" }\n'
    events = [moved("RUNNING", "12:01", startedAt=1_767_268_860_000)]
    watching = Watching(policy, events).run(at("12:00"), at("13:10"))

    [notice] = watching.told("limit-enforced")
    assert notice["facts"]["findings"] == []


def replayed(  # noqa: PLR0913 - the parts of a replay
    stack: Stack,
    folder: Path,
    event: Any,
    environments: list[Any],
    policy: str,
    *,
    until: int,
) -> list[Any]:
    """The rows of a replay until this hour, in which a queue sends its jobs to `render`."""
    queue = {
        "jobQueueName": event["detail"]["jobQueue"].rpartition("/")[2],
        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "render"}],
    }
    rows: list[Any] = []
    replay.replay(
        read_log(logs.write(folder / "log.jsonl", [event])),
        stack=stack,
        write_row=rows.append,
        policy=policy,
        world={"jobQueues": [queue], "computeEnvironments": environments},
        until=logs.NOON.replace(hour=until),
    )
    return rows


@pytest.mark.parametrize(
    ("environments", "known"),
    [
        pytest.param([], "the environment render is not known here", id="nothing"),
        pytest.param([ENVIRONMENT], "render wants 16 of at most 64 vCPUs", id="an environment"),
    ],
)
def test_a_replay_says_of_instances_only_what_its_world_says(
    stack: Stack, tmp_path: Path, environments: list[Any], known: str
) -> None:
    event = logs.event(logs.NOON, {"jobId": "job-1", "status": "RUNNABLE"})

    rows = replayed(stack, tmp_path, event, environments, BY_CAUSE, until=13)

    [warning] = [row for row in rows if row.get("notice") == "limit-warning"]
    assert warning["facts"]["findings"] == ["undetermined"]
    assert known in warning["text"]


def test_a_remark_on_requirements_that_nothing_proves_leaves_a_job_its_longer_limit(
    stack: Stack, tmp_path: Path
) -> None:
    remark = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement is higher."
    needs = {"resourceRequirements": [{"type": "VCPU", "value": "4"}]}
    job = {"jobId": "job-1", "status": "RUNNABLE", "statusReason": remark, "container": needs}
    policy = BY_CAUSE.replace('capacity = "4h"', 'misconfigured = "1h"')

    rows = replayed(stack, tmp_path, logs.event(logs.NOON, job), [ENVIRONMENT], policy, until=15)

    [call] = [row for row in rows if row["kind"] == "call"]
    assert call["at"].startswith("2026-01-01T14:00")
