"""A simulated AWS Batch for tests, and events for its log."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

from local.batch.simulated import SimulatedBatch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ARN = "arn:aws:batch:us-east-1:111122223333:"
MODEL: ServiceModel = botocore.session.Session().get_service_model("batch")
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}


def complaints(shape: Shape, value: Any, place: str = "answer") -> Iterator[str]:
    """Where `value` is not as botocore's model says that AWS answers."""
    if isinstance(shape, StructureShape):
        if type(value) is not dict:
            yield f"{place} is no structure"
            return
        yield from (f"{place}.{each} is missing" for each in shape.required_members - value.keys())
        yield from (f"{place}.{each} is unknown" for each in value.keys() - shape.members.keys())
        for name in value.keys() & shape.members.keys():
            yield from complaints(shape.members[name], value[name], f"{place}.{name}")
    elif isinstance(shape, ListShape):
        for at, item in enumerate(value):
            yield from complaints(shape.member, item, f"{place}[{at}]")
    elif isinstance(shape, MapShape):
        for name, item in value.items():
            yield from complaints(shape.value, item, f"{place}.{name}")
    elif type(value) not in KINDS[shape.type_name]:
        yield f"{place} is {value!r}, not a {shape.type_name}"


class Batch:
    """A simulated Batch at noon, with what it has sent. Every answer is held against the model."""

    def __init__(self, *log: dict[str, Any], **how: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.it = SimulatedBatch(emit=self.sent.append, **how)
        self.it.advance_to(NOON)
        self.it.load(log)

    def at(self, seconds: float) -> "Batch":
        self.it.advance_to(NOON + timedelta(seconds=seconds))
        return self

    def ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        answer = self.it.call(operation, parameters)
        shape = MODEL.operation_model(operation).output_shape
        assert shape is not None
        assert sorted(complaints(shape, answer)) == []
        return answer

    def job(self, job_id: str) -> dict[str, Any]:
        [found] = self.ask("DescribeJobs", jobs=[job_id])["jobs"]
        assert isinstance(found, dict)
        return found

    def status(self, job_id: str) -> str:
        found = self.ask("DescribeJobs", jobs=[job_id])["jobs"]
        return str(found[0]["status"]) if found else ""

    def summary(self, job_id: str) -> dict[str, int]:
        counts = self.job(job_id)["arrayProperties"]["statusSummary"]
        return {status: count for status, count in counts.items() if count}

    def listed(self, **parameters: Any) -> list[str]:
        """All pages' ids."""
        ids: list[str] = []
        operation = parameters.pop("operation", "ListJobs")
        while True:
            answer = self.ask(operation, **parameters)
            ids += [job["jobId"] for job in answer["jobSummaryList"]]
            if "nextToken" not in answer:
                return ids
            parameters["nextToken"] = answer["nextToken"]

    def cancel(self, *ids: str, reason: str = "waited too long") -> None:
        for job_id in ids:
            self.ask("CancelJob", jobId=job_id, reason=reason)

    def terminate(self, *ids: str, reason: str = "too dear") -> None:
        for job_id in ids:
            self.ask("TerminateJob", jobId=job_id, reason=reason)

    def with_queue(self, vcpus: int = 4, **environment: Any) -> "Batch":
        """A queue "q" over one environment "ce"."""
        resources = {"maxvCpus": vcpus} | environment.pop("computeResources", {})
        order = [{"order": 1, "computeEnvironment": "ce"}]
        self.it.add_world(
            {
                "jobQueues": [{"jobQueueName": "q", "computeEnvironmentOrder": order}],
                "computeEnvironments": [
                    {"computeEnvironmentName": "ce", "computeResources": resources, **environment}
                ],
            }
        )
        return self

    def told(self, job_id: str) -> list[tuple[str, str]]:
        """When and what Batch sent of a job, by the clock."""
        return [
            (event["time"][11:19], event["detail"]["status"])
            for event in self.sent
            if event["detail"]["jobId"] == job_id
        ]


def time_of(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def attempt(stopped: float = 0, **more: Any) -> dict[str, Any]:
    stopped_ms = int((NOON + timedelta(seconds=stopped)).timestamp() * 1000)
    return {"container": {"exitCode": 1}, "stoppedAt": stopped_ms} | more


def an_event(
    job_id: str, status: str, seconds: float, *, attempts: int = 0, queue: str = "q", **more: Any
) -> dict[str, Any]:
    """A job is in a status since so many seconds after noon."""
    parent, _, index = job_id.rpartition(":")
    array = {"arrayProperties": {"index": int(index), "statusSummary": {}}} if parent else {}
    return {
        "version": "0",
        "id": f"{job_id} {status} {seconds}",
        "detail-type": "Batch Job State Change",
        "source": "aws.batch",
        "account": "111122223333",
        "time": time_of(seconds),
        "region": "us-east-1",
        "resources": [f"{ARN}job/{job_id}"],
        "detail": {
            "jobArn": f"{ARN}job/{job_id}",
            "jobName": f"name-{parent or job_id}",
            "jobId": job_id,
            "jobQueue": f"{ARN}job-queue/{queue}",
            "status": status,
            "attempts": [attempt(seconds)] * attempts,
            "createdAt": 1767268000000,
            "jobDefinition": f"{ARN}job-definition/render:3",
            "container": {"resourceRequirements": [{"type": "VCPU", "value": "2"}]},
            "tags": {"team": "imaging", "resourceArn": f"{ARN}job/{parent or job_id}"},
            **array,
            **more,
        },
    }


def a_life(job_id: str, *, start: float = 0, end: str = "SUCCEEDED") -> list[dict[str, Any]]:
    """RUNNABLE, STARTING after 10 s, RUNNING after 20 s, the end after 60 s."""
    steps = {"RUNNABLE": 0, "STARTING": 10, "RUNNING": 20, end: 60}
    return [an_event(job_id, status, start + after) for status, after in steps.items()]


def a_parent(job_id: str, status: str, seconds: float, size: int, **counts: int) -> dict[str, Any]:
    properties = {"size": size, "statusSummary": counts}
    return an_event(job_id, status, seconds, arrayProperties=properties)


def a_service_event(job_id: str, status: str, seconds: float) -> dict[str, Any]:
    event = an_event(job_id, status, seconds)
    unknown = ("jobDefinition", "container", "tags")
    detail = {name: item for name, item in event["detail"].items() if name not in unknown}
    detail |= {"jobArn": f"{ARN}service-job/{job_id}", "serviceJobType": "SAGEMAKER_TRAINING"}
    return event | {"detail-type": "Batch Service Job State Change", "detail": detail}


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [each["jobId"] for each in found]
