"""
The only module that calls AWS Batch.

It reads in as few calls as Batch allows. It changes something only in `stop`, `stop_some` and
`set_queue_state`. https://docs.aws.amazon.com/batch/latest/APIReference/
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import batched, groupby
from typing import Any, Literal

from botocore.exceptions import ClientError

from batch_watchdog.core.job_event import STARTED, WAITING
from batch_watchdog.core.payload_parts import is_for_service_jobs

type Detail = Mapping[str, Any]  # in the API's own shape

DESCRIBE_MAX = 100  # jobs a DescribeJobs call
STOP_MAX = 50  # jobs a CancelJobs, TerminateJobs or TerminateServiceJobs call
_STOP_ROUNDS = 5  # for jobs whose stop was throttled or failed on Batch's side
REASON_MAX = 1_024  # characters

# Errors that are worth a retry, of a whole call or of one job in a bulk call.
PASSING = frozenset({"ThrottlingException", "TooManyRequestsException", "ServerException"})
_NO_BULK = frozenset(
    {"AccessDeniedException", "AccessDenied", "UnknownOperationException", "NotFoundException"}
)

_BULK: Mapping[tuple[str, bool], tuple[str, str]] = {
    ("cancel", False): ("cancel_jobs", "cancel_job"),
    ("terminate", False): ("terminate_jobs", "terminate_job"),
    # A service job can only be terminated.
    ("cancel", True): ("terminate_service_jobs", "terminate_service_job"),
    ("terminate", True): ("terminate_service_jobs", "terminate_service_job"),
}


def kinds_of(queue: Detail) -> list[bool]:
    """Return whether a queue holds service jobs; both answers, if it does not show its type."""
    return [is_for_service_jobs(queue)] if queue.get("jobQueueType") else [False, True]


def one_call_each[J](
    jobs: Iterable[J], is_service: Callable[[J], bool], out_of_time: Callable[[], bool]
) -> Iterator[tuple[tuple[J, ...], bool]]:
    """
    Yield the jobs that one call describes, in order, and whether these are service jobs.

    It ends when the time is up, but not before the first call: else nothing would ever get on.
    """
    begun = False
    for service, alike in groupby(jobs, is_service):
        for some in batched(alike, 1 if service else DESCRIBE_MAX, strict=False):
            if begun and out_of_time():
                return
            begun = True
            yield some, service


class BatchReader:
    """
    The read calls to AWS Batch. `client` is a boto3 client.

    `pace` is called before each call that stops, lists a page of, or describes jobs, so that a
    caller with very many calls can limit their rate.
    """

    def __init__(self, client: Any, pace: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._pace = pace

    def describe(self, job_ids: Iterable[str]) -> dict[str, Detail]:
        """Return the jobs that Batch knows, by id; others are left out."""
        found: dict[str, Detail] = {}
        for some in batched(dict.fromkeys(job_ids), DESCRIBE_MAX, strict=False):
            self._pace()
            answer = self._client.describe_jobs(jobs=list(some))
            found |= {detail["jobId"]: detail for detail in answer["jobs"]}
        return found

    def describe_service(self, job_ids: Iterable[str]) -> dict[str, Detail]:
        """Return the service jobs that Batch knows, by id; one call a job."""
        found: dict[str, Detail] = {}
        for job_id in dict.fromkeys(job_ids):
            self._pace()
            try:
                found[job_id] = self._client.describe_service_job(jobId=job_id)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ClientException":
                    raise  # ClientException: Batch does not know the job, or no longer.
        return found

    def queues(self) -> Iterator[Detail]:
        """Yield all queues; read page by page."""
        for page in self._client.get_paginator("describe_job_queues").paginate():
            yield from page["jobQueues"]

    def queue(self, queue: str) -> Detail | None:
        """Return one queue, named by its ARN or name."""
        return next(iter(self._client.describe_job_queues(jobQueues=[queue])["jobQueues"]), None)

    def environments(self, queue: Detail) -> list[Detail]:
        """Return the compute or service environments to which a queue sends its jobs."""
        found: list[Detail] = []
        for kind, describe in (
            ("computeEnvironment", self._client.describe_compute_environments),
            ("serviceEnvironment", self._client.describe_service_environments),
        ):
            names = [each[kind] for each in queue.get(f"{kind}Order") or ()]
            if names:
                found += describe(**{f"{kind}s": names})[f"{kind}s"]
        return found

    def snapshot(self, queue: str) -> Detail | None:
        """Return the head of a queue, or None if Batch has no snapshot of it."""
        try:
            answer: Detail = self._client.get_job_queue_snapshot(jobQueue=queue)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ClientException":
                raise
            return None
        return answer

    def page(
        self, queue: str, status: str, token: str | None, *, service: bool
    ) -> tuple[Sequence[Detail], str | None]:
        """
        Return one page of a queue's jobs in one state, and the token of the next, if there is one.
        """
        return self._page({"jobQueue": queue, "jobStatus": status}, token, service=service)

    def page_of_new(
        self, queue: str, created_after: int, token: str | None, *, service: bool
    ) -> tuple[Sequence[Detail], str | None]:
        """
        Return one page of a queue's jobs, in any state, that were created after this time (ms since
        1970).
        """
        newest = {"name": "AFTER_CREATED_AT", "values": [str(created_after)]}
        return self._page({"jobQueue": queue, "filters": [newest]}, token, service=service)

    def page_of_children(
        self, array_id: str, status: str, token: str | None
    ) -> tuple[Sequence[Detail], str | None]:
        """Return one page of an array's children in one state, and the token of the next."""
        return self._page({"arrayJobId": array_id, "jobStatus": status}, token, service=False)

    def children(self, array_id: str, status: str) -> Iterator[Detail]:
        """Yield an array's children in one state, as summaries; read page by page."""
        return self._pages({"arrayJobId": array_id, "jobStatus": status}, service=False)

    def live_children(self, array_id: str) -> Iterator[Detail]:
        """Yield an array's children that have not ended."""
        for status in (*WAITING, *STARTED):
            if status != "SCHEDULED":  # a state of service jobs only
                yield from self.children(array_id, status)

    def _pages(self, scope: Mapping[str, str], *, service: bool) -> Iterator[Detail]:
        token: str | None = None
        while True:
            summaries, token = self._page(scope, token, service=service)
            yield from summaries
            if not token:
                return

    def _page(
        self, scope: Mapping[str, Any], token: str | None, *, service: bool
    ) -> tuple[Sequence[Detail], str | None]:
        list_them = self._client.list_service_jobs if service else self._client.list_jobs
        more = {"nextToken": token} if token else {}
        self._pace()
        answer = list_them(**scope, **more)
        return answer["jobSummaryList"], answer.get("nextToken")


class BatchApi(BatchReader):
    """The calls to AWS Batch: those that read, and those that change something."""

    def stop(
        self,
        how: Literal["cancel", "terminate"],
        job_ids: Sequence[str],
        reason: str,
        *,
        service: bool,
    ) -> dict[str, str]:
        """
        Cancel or terminate jobs, 50 a call.

        That a stop was accepted does not mean that the job has ended: check again later.

        Returns:
            The reason, for each job that Batch would not stop; the others were accepted.
        """
        refused: dict[str, str] = {}
        for some in batched(dict.fromkeys(job_ids), STOP_MAX, strict=False):
            left = list(some)
            for _ in range(_STOP_ROUNDS):
                errors = self.stop_some(how, left, reason, service=service)
                refused = {job: why for job, why in refused.items() if job not in left}
                refused |= {job: ": ".join(error) for job, error in errors.items()}
                left = [job for job, (code, _) in errors.items() if code in PASSING]
                if not left:
                    break
        return refused

    def stop_some(
        self,
        how: Literal["cancel", "terminate"],
        job_ids: Sequence[str],
        reason: str,
        *,
        service: bool,
    ) -> dict[str, tuple[str, str]]:
        """
        Cancel or terminate up to 50 jobs, once.

        Returns:
            Code and message of the error, for each job that was not accepted. If the code is one of
            `PASSING`, the stop may be tried again.
        """
        bulk, single = _BULK[how, service]
        job_ids, reason = list(job_ids), reason[:REASON_MAX]
        self._pace()
        try:
            answer = getattr(self._client, bulk)(jobs=job_ids, reason=reason)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NO_BULK:
                raise
            return self._stop_singly(single, job_ids, reason)
        return {
            error["job"]: (error["code"], error.get("message", ""))
            for error in answer.get("errors", ())
        }

    def _stop_singly(
        self, single: str, job_ids: list[str], reason: str
    ) -> dict[str, tuple[str, str]]:
        errors = {}
        for job_id in job_ids:
            self._pace()
            try:
                getattr(self._client, single)(jobId=job_id, reason=reason)
            except ClientError as error:
                details = error.response["Error"]
                errors[job_id] = details["Code"], details.get("Message", "")
        return errors

    def set_queue_state(self, queue: str, state: Literal["ENABLED", "DISABLED"]) -> None:
        """Open or close a queue. A closed one refuses new jobs; those in it still run."""
        self._client.update_job_queue(jobQueue=queue, state=state)
