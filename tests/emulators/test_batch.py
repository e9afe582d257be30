"""Jobs that really run, in fakecloud's AWS Batch, and what operators are told of them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.commands import servers
from tests.emulators.deployed import Deployed, a_minute, as_records, until
from tests.emulators.fakecloud import IMAGE, events_of
from tests.logs import iso

pytestmark = [pytest.mark.fakecloud, pytest.mark.enable_socket]

type Submit = Callable[..., str]

_FAILS_IN_THE_SECOND = 'test "$AWS_BATCH_JOB_ARRAY_INDEX" != 1 || exit 7'


@pytest.fixture(scope="module")
def client(batch: str) -> Any:
    """A client of AWS Batch, with a queue."""
    client = servers.client(batch, "batch")
    client.create_compute_environment(computeEnvironmentName="ce", type="UNMANAGED")
    client.create_job_queue(
        jobQueueName="queue",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "ce"}],
    )
    client.register_job_definition(
        jobDefinitionName="shell",
        type="container",
        containerProperties={"image": IMAGE, "vcpus": 1, "memory": 64},
    )
    return client


@pytest.fixture
def submit(client: Any) -> Submit:
    def submit(name: str, command: str, **more: Any) -> str:
        submitted = client.submit_job(
            jobName=name,
            jobQueue="queue",
            jobDefinition="shell",
            containerOverrides={"command": ["sh", "-c", command]},
            **more,
        )
        return str(submitted["jobId"])

    return submit


def an_array(client: Any, submit: Submit, name: str) -> tuple[str, list[dict[str, Any]]]:
    """An array of three, of which the second fails: its id, and what Batch would send of it."""
    array = submit(name, _FAILS_IN_THE_SECOND, arrayProperties={"size": 3})
    return array, events_of(client, [array, *(f"{array}:{index}" for index in range(3))])


def test_an_array_is_told_of_with_the_children_that_failed(
    over_batch: Deployed, client: Any, submit: Submit
) -> None:
    box = over_batch.subscriber("array")
    array, events = an_array(client, submit, "array")

    over_batch.invoke("JobEventsFunction", as_records(*events, sent=datetime.now(UTC)))

    facts = until("array-completed", over_batch, box)["facts"]
    assert (facts["job_id"], facts["job_name"], facts["queue"]) == (array, "array", "queue")
    assert (facts["succeeded"], facts["failed"], facts["failed_indices"]) == (2, 1, "1")
    assert [each["exit_code"] for each in facts["groups"]] == [7]


def test_a_job_is_told_of_with_the_one_that_depended_on_it(
    over_batch: Deployed, client: Any, submit: Submit
) -> None:
    box = over_batch.subscriber("single")
    first = submit("first", "exit 3")
    second = submit("second", "exit 0", dependsOn=[{"jobId": first}])
    events = events_of(client, [first, second])

    now = datetime.now(UTC)
    over_batch.invoke("JobEventsFunction", as_records(*events, sent=now - timedelta(minutes=5)))
    over_batch.invoke("SweepFunction", a_minute(now))

    notice = until("job-failed", over_batch, box)
    assert (notice["facts"]["job_id"], notice["facts"]["exit_code"]) == (first, 3)
    assert second in json.dumps(notice["facts"])


def test_an_array_whose_end_was_not_told_is_found_by_asking(
    over_batch: Deployed, client: Any, submit: Submit
) -> None:
    box = over_batch.subscriber("lost")
    array, events = an_array(client, submit, "lost")
    now = datetime.now(UTC)
    sent = now - timedelta(minutes=5)
    told = [each | {"time": iso(sent)} for each in events if each["detail"]["status"] != "FAILED"]

    over_batch.invoke("JobEventsFunction", as_records(*told, sent=sent))
    for minutes in range(5):
        over_batch.invoke("SweepFunction", a_minute(now - timedelta(minutes=4 - minutes)))

    facts = until("array-completed", over_batch, box)["facts"]
    assert (facts["job_id"], facts["failed_indices"]) == (array, "1")
