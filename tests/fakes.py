"""AWS, as far as the core speaks to it: real clients, answered in this process."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.aws.queues import DeadLetters, StopQueue
from batch_watchdog.store.item_codec import Item
from batch_watchdog.store.table import FIRST, LAST, Key, Put, Table
from local.aws.errors import ApiError, session

TOPIC = "arn:aws:sns:us-east-1:111122223333:notices"
DEAD_LETTERS = "https://sqs.us-east-1.amazonaws.com/111122223333/dead-letters"
STOPS = "https://sqs.us-east-1.amazonaws.com/111122223333/stops"
PAGE = 3  # jobs a page of ListJobs; AWS gives 1,000

_STOPS = {
    "CancelJob": 1,
    "TerminateJob": 1,
    "TerminateServiceJob": 1,
    "CancelJobs": 50,
    "TerminateJobs": 50,
    "TerminateServiceJobs": 50,
}


# Clients take long to make, so there is one of each, answered by the `Aws` that was made last.
_answering: "list[Aws]" = []


@cache
def _client(service: Any) -> Any:
    def answer(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        return _answering[0].answer(service, operation, params)

    return session({service: answer}).client(service)


class Aws:
    """
    Batch with the jobs that a test puts into `jobs`, a topic, and a dead-letter queue.

    What the services check of a request beyond botocore's model is checked here.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}  # as DescribeJobs shows them
        self.calls: list[tuple[str, dict[str, Any]]] = []  # of Batch
        self.on_call: Callable[[str, dict[str, Any]], dict[str, Any] | None] = lambda *_: None
        self.published: list[dict[str, Any]] = []
        self.on_publish: Callable[[dict[str, Any]], None] = lambda _: None
        self.kept: list[tuple[str, str]] = []  # dead letters: body and reason
        self.sent: list[dict[str, Any]] = []  # to the queue of stop runs
        _answering[:] = [self]
        self.batch = BatchApi(_client("batch"))
        self.sns = _client("sns")
        self.dead_letters = DeadLetters(_client("sqs"), DEAD_LETTERS)
        self.stop_queue = StopQueue(_client("sqs"), STOPS)

    def answer(self, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        match service:
            case "batch":
                return self._batch(operation, params)
            case "sns":
                return self._sns(params)
            case _:
                return self._sqs(params)

    @property
    def changing_calls(self) -> list[tuple[str, dict[str, Any]]]:
        return [call for call in self.calls if not call[0].startswith(("Describe", "List"))]

    def add_array(self, array_id: str, size: int, failed: Sequence[int] = (), **more: Any) -> None:
        """An array job that has ended, with all its children."""
        for index in range(size):
            status = "FAILED" if index in failed else "SUCCEEDED"
            self._add(f"{array_id}:{index}", status, index)
        summary = {"SUCCEEDED": size - len(failed), "FAILED": len(failed)}
        properties = {"size": size, "statusSummary": summary}
        parent = self._add(array_id, "FAILED" if failed else "SUCCEEDED", None)
        parent |= {"arrayProperties": properties, "stoppedAt": 1_767_269_400_000} | more

    def _add(self, job_id: str, status: str, index: int | None) -> dict[str, Any]:
        container = {"logStreamName": f"render/default/{job_id}"} if index is not None else {}
        job = self.jobs[job_id] = {
            "jobId": job_id,
            "jobName": "render",
            "jobQueue": "arn:aws:batch:us-east-1:111122223333:job-queue/gpu",
            "jobDefinition": "arn:aws:batch:us-east-1:111122223333:job-definition/render:3",
            "startedAt": 0,
            "status": status,
            "statusReason": "Essential container in task exited",
            "container": container | ({"exitCode": 1} if status == "FAILED" else {}),
        }
        return job

    # ---- Answering ------------------------------------------------------------------------

    def _batch(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((operation, params))
        answer = self.on_call(operation, params)
        if answer is not None:
            return answer
        if operation == "DescribeJobs":
            if len(params["jobs"]) > 100:
                raise ApiError("ClientException", "More than 100 jobs")
            return {"jobs": [self.jobs[job] for job in params["jobs"] if job in self.jobs]}
        if operation == "ListJobs":
            return self._list(params)
        if operation in _STOPS:
            return self._stop(params, _STOPS[operation])
        return {}

    def _list(self, params: dict[str, Any]) -> dict[str, Any]:
        first = int(params.get("nextToken", "0"))
        found = [
            {name: job[name] for name in ("jobId", "jobName", "status", "statusReason")}
            | {"container": {k: v for k, v in job["container"].items() if k == "exitCode"}}
            for job in self.jobs.values()
            if job["jobId"].startswith(f"{params['arrayJobId']}:")
            and job["status"] == params["jobStatus"]
        ]
        more = {"nextToken": str(first + PAGE)} if len(found) > first + PAGE else {}
        return {"jobSummaryList": found[first : first + PAGE], **more}

    def _stop(self, params: dict[str, Any], most: int) -> dict[str, Any]:
        if len(params.get("jobs", ())) > most:
            raise ApiError("ClientException", f"More than {most} jobs")
        if len(params["reason"]) > 1_024:
            raise ApiError("ClientException", "The reason is too long")
        return {"successful": params["jobs"], "errors": []} if "jobs" in params else {}

    def _sns(self, params: dict[str, Any]) -> dict[str, Any]:
        self.on_publish(params)
        subject = params.get("Subject", "-")
        if not 0 < len(subject) < 100 or not subject.isprintable():
            raise ApiError("InvalidParameter", f"Invalid parameter: Subject {subject!r}")
        if len(params["Message"].encode()) > 262_144:
            raise ApiError("InvalidParameter", "Invalid parameter: Message too long")
        is_json = "MessageStructure" in params
        if is_json and "default" not in json.loads(params["Message"]):
            raise ApiError("InvalidParameter", "Message Structure - No default entry in JSON")
        for name, attribute in params["MessageAttributes"].items():
            if not attribute["StringValue"]:
                raise ApiError("InvalidParameterValue", f"The attribute {name} must not be empty")
        self.published.append(params)
        return {"MessageId": f"message-{len(self.published)}"}

    def _sqs(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["QueueUrl"] == STOPS:
            self.sent.append(params)
        else:
            reason = params["MessageAttributes"]["reason"]["StringValue"]
            self.kept.append((params["MessageBody"], reason))
        return {"MessageId": "1", "MD5OfMessageBody": ""}


class RacedTable:
    """A table on which others write in between: before each of our writes, while there are any."""

    def __init__(self, table: Table, *others: Callable[[], None]) -> None:
        self._table = table
        self._others = list(others)
        self.writes = 0

    def get(self, pk: str, sk: str) -> Item | None:
        return self._table.get(pk, sk)

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        return self._table.get_many(keys)

    def query(self, pk: str, *, first: str = FIRST, last: str = LAST) -> Iterator[Item]:
        return self._table.query(pk, first=first, last=last)

    def latest(self, pk: str, most: int, *, first: str = FIRST, last: str = LAST) -> list[Item]:
        return self._table.latest(pk, most, first=first, last=last)

    def write(self, puts: Sequence[Put]) -> None:
        self.writes += 1
        if self._others:
            self._others.pop(0)()
        self._table.write(puts)
