"""
Simulates AWS Batch: it answers the API's own requests, about jobs from a log or jobs that it runs
itself.

Its clock is virtual. Behaviour that AWS does not document is as harmless as possible by default,
and can be switched where a watchdog must work with both.
https://docs.aws.amazon.com/batch/latest/APIReference/API_Operations.html
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Literal

from local.aws.errors import ApiError
from local.batch.answers import conform, described, described_late, node_count, node_of, shape
from local.batch.disorder import Disorder, without
from local.batch.lists import list_children, list_nodes, list_queue, page, place_of
from local.batch.log import Log
from local.batch.scheduler import Scheduler
from local.batch.state import Call, Environment, Job, Queue, to_datetime, to_ms
from local.batch.work import Ending, Outcome, Plan, Platform, Work, tags_of
from local.batch.world import World

__all__ = ["ApiError", "Call", "Disorder", "Ending", "Outcome", "SimulatedBatch"]

type _Params = dict[str, Any]
type _Answer = dict[str, Any]

_CHANGING = frozenset(
    {
        "CancelJob",
        "CancelJobs",
        "TerminateJob",
        "TerminateJobs",
        "TerminateServiceJob",
        "TerminateServiceJobs",
        "UpdateJobQueue",
    }
)
_BULK_MAX = 50
_DESCRIBE_MAX = 100
_REASON_MAX = 1024
_SNAPSHOT_MAX = 100


class SimulatedBatch:
    """
    One region's AWS Batch.

    `emit` receives each event that the simulator sends, at its time; it may make calls, but must
    not move the clock. Jobs come from `load` (a log) and from `submit` (the own scheduler).

    How it behaves:
        rate: calls that are allowed a second, with bursts of one second's calls; None: no limit.
        bulk: whether CancelJobs, TerminateJobs and TerminateServiceJobs work; if not, they are
            "unknown" or "denied" (False is "unknown").
        lazy_cancel: a stopped RUNNABLE job stays RUNNABLE, marked, until it reaches the front.
        terminate_cascades: terminating an array parent terminates its children.
        explains: Batch gives the reason why a job can never start.
        disorder: other irregular behaviour of real Batch.

    Three attributes, by job id, make single jobs difficult: `refusals`, the error codes of the
    next attempts to stop it; `lacking`, the fields that its descriptions lack; `left_out`, how
    many of the next descriptions leave it out.
    """

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        *,
        emit: Callable[[dict[str, Any]], None],
        region: str = "us-east-1",
        account: str = "111122223333",
        rate: float | None = None,
        bulk: bool | Literal["unknown", "denied"] = True,
        lazy_cancel: bool = False,
        terminate_cascades: bool = True,
        explains: bool = False,
        disorder: Disorder | None = None,
    ) -> None:
        self.rate = rate
        self.bulk = bulk
        self.journal: list[Call] = []
        self.refusals: dict[str, list[str]] = {}
        self.lacking: dict[str, Sequence[str]] = {}
        self.left_out: dict[str, int] = {}
        self._world = World(
            emit=emit,
            region=region,
            account=account,
            lazy_cancel=lazy_cancel,
            terminate_cascades=terminate_cascades,
            disorder=disorder or Disorder(),
        )
        self._log = Log(self._world)
        self._scheduler = Scheduler(self._world, explains=explains)
        self._snapshots: dict[str, _Answer] = {}
        self._allowance = rate or 0.0
        self._allowance_ms = 0
        self._operations: dict[str, Callable[[_Params], _Answer]] = {
            "DescribeJobs": self._describe_jobs,
            "ListJobs": self._list_jobs,
            "CancelJob": partial(self._stop_one, "CancelJob"),
            "CancelJobs": partial(self._stop_many, "CancelJobs"),
            "TerminateJob": partial(self._stop_one, "TerminateJob"),
            "TerminateJobs": partial(self._stop_many, "TerminateJobs"),
            "DescribeServiceJob": self._describe_service_job,
            "ListServiceJobs": partial(self._list_in_queue, service=True),
            "TerminateServiceJob": partial(self._stop_one, "TerminateServiceJob"),
            "TerminateServiceJobs": partial(self._stop_many, "TerminateServiceJobs"),
            "DescribeJobQueues": self._describe_queues,
            "DescribeComputeEnvironments": self._describe_environments,
            "DescribeServiceEnvironments": self._describe_service_environments,
            "UpdateJobQueue": self._update_queue,
            "GetJobQueueSnapshot": self._snapshot,
        }

    # ---- Time -----------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return to_datetime(self._world.now_ms)

    def advance_to(self, now: datetime) -> None:
        """
        Move the clock to `now`, and play and do everything that is due until then, in order.

        Raises:
            ValueError: `now` lies in the past.
        """
        until_ms = to_ms(now)
        if until_ms < self._world.now_ms:
            raise ValueError(f"time cannot go back from {self.now} to {now}")
        while (due_ms := self._next_ms()) is not None and due_ms <= until_ms:
            self._world.now_ms = max(self._world.now_ms, due_ms)
            if self._log.next_ms() == due_ms:
                self._log.play()
            else:
                self._world.agenda.do_next()
        self._world.now_ms = until_ms

    def next_at(self) -> datetime | None:
        """Return when the log's next event or the next planned step is due; None: never."""
        due_ms = self._next_ms()
        return None if due_ms is None else to_datetime(due_ms)

    def _next_ms(self) -> int | None:
        told, planned = self._log.next_ms(), self._world.agenda.next_ms()
        if told is None or planned is None:
            return told if planned is None else planned
        return min(told, planned)

    # ---- Contents -------------------------------------------------------------------------

    def add_world(self, world: Mapping[str, Any]) -> None:
        """
        Add or replace `jobQueues`, environments and `snapshots`, in the API's shapes.

        Environments are `computeEnvironments` and `serviceEnvironments`. A name is enough: missing
        fields get the values of a healthy account. `snapshots` are answers of GetJobQueueSnapshot
        by queue (name or ARN), or a list of them, each with its `jobQueue`.

        Raises:
            ValueError: something has no name; the message says what.
        """
        for given in world.get("jobQueues", ()):
            self._add_queue(_arn_or_name("jobQueue", given), given)
        for given in world.get("computeEnvironments", ()):
            self._add_environment(_arn_or_name("computeEnvironment", given), given)
        for given in world.get("serviceEnvironments", ()):
            self._add_service_environment(_arn_or_name("serviceEnvironment", given), given)
        snapshots = world.get("snapshots", {})
        if not isinstance(snapshots, Mapping):
            snapshots = {_arn_or_name("jobQueue", each): each for each in snapshots}
        for queue, given in snapshots.items():
            answer = conform(shape("GetJobQueueSnapshotResponse"), given)
            self._snapshots[self._world.queue(queue).name] = answer or {}
        self._scheduler.wake()

    def _add_queue(self, arn_or_name: str, given: Mapping[str, Any]) -> None:
        queue = self._world.queue(arn_or_name)
        detail = conform(shape("JobQueueDetail"), queue.detail | dict(given))
        queue.detail = detail or queue.detail

    def _add_environment(self, arn_or_name: str, given: Mapping[str, Any]) -> None:
        name = arn_or_name.rpartition("/")[2]
        healthy: _Answer = {
            "computeEnvironmentName": name,
            "computeEnvironmentArn": self._world.arn(f"compute-environment/{name}"),
            "ecsClusterArn": self._world.arn(f"cluster/{name}").replace(":batch:", ":ecs:"),
            "type": "MANAGED",
            "state": "ENABLED",
            "status": "VALID",
            "statusReason": "ComputeEnvironment Healthy",
            "containerOrchestrationType": "ECS",
        }
        detail = healthy | dict(given)
        if detail["type"] == "MANAGED":
            resources = {"type": "EC2", "maxvCpus": 256}
            detail["computeResources"] = resources | detail.get("computeResources", {})
        detail = conform(shape("ComputeEnvironmentDetail"), detail) or healthy
        self._world.environments.setdefault(name, Environment(detail=detail)).detail = detail

    def _add_service_environment(self, arn_or_name: str, given: Mapping[str, Any]) -> None:
        name = arn_or_name.rpartition("/")[2]
        healthy: _Answer = {
            "serviceEnvironmentName": name,
            "serviceEnvironmentArn": self._world.arn(f"service-environment/{name}"),
            "serviceEnvironmentType": "SAGEMAKER_TRAINING",
            "state": "ENABLED",
            "status": "VALID",
            "capacityLimits": [],
        }
        detail = conform(shape("ServiceEnvironmentDetail"), healthy | dict(given))
        self._world.service_environments[name] = detail or healthy

    def load(self, events: Iterable[Any]) -> None:
        """
        Add the events of a log: each Batch event takes effect at its own time.

        Other events, and malformed ones, are passed over. Events of the past take effect at once.
        """
        self._log.load(events)
        while (due_ms := self._log.next_ms()) is not None and due_ms <= self._world.now_ms:
            self._log.play()

    @property
    def overruled(self) -> list[str]:
        """Stopped jobs that the log, as far as it was played, then shows started or SUCCEEDED."""
        return self._log.overruled

    def is_overruled(self, event: Any) -> bool:
        """Check whether a stop made this event of the log untrue: it must not be delivered."""
        return self._log.is_overruled(event)

    def submit(  # noqa: PLR0913 - each has a default
        self,
        name: str,
        queue: str,
        *,
        vcpus: float = 1,
        memory: int = 512,
        gpus: int = 0,
        seconds: float | Callable[[int, int], float] = 60,
        array_size: int | None = None,
        attempts: int = 1,
        outcome: Plan = 0,
        depends_on: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        nodes: int | None = None,
        platform: Platform = "EC2",
        service: bool = False,
        definition: str = "",
        share: str = "",
    ) -> str:
        """
        Submit a job to the simulator's own scheduler, and return its id.

        `memory` is in MiB; `vcpus`, `memory` and `gpus` are those of one node, or child.
        `seconds` is how long an attempt runs, `outcome` is how it ends: both may be functions
        of array index (0 for single jobs) and attempt (from 1). `definition` is "name:revision".

        Raises:
            ApiError: the queue is unknown or not ENABLED, or the array's size is not 2 to 10,000.
        """
        known = self._queue(queue)
        name_and_revision = (definition or f"{name}:1").rpartition("/")[2]
        work = Work(
            name=name,
            queue_arn=known.arn,
            definition_arn=self._world.arn(f"job-definition/{name_and_revision}"),
            vcpus=vcpus,
            memory=memory,
            gpus=gpus,
            seconds=seconds,
            outcome=outcome,
            attempts=attempts,
            array_size=array_size,
            depends_on=tuple(depends_on),
            tags=dict(tags or {}),
            nodes=nodes,
            platform=platform,
            service=service,
            share=share,
        )
        return self._scheduler.submit(known, work)

    # ---- Disturbances ---------------------------------------------------------------------

    def hold_updating(self, queue: str, seconds: float) -> None:
        """Make a queue UPDATING for some time: it refuses updates meanwhile."""
        self._keep_updating(self._queue(queue), round(seconds * 1000), {})

    def ignore_terminate(self, job_id: str, seconds: float | None = None) -> None:
        """Make a job run on after an accepted terminate: for some time, or to its own end."""
        self._world.ignoring[job_id] = seconds

    def preempt(self, job_id: str, wait_s: float = 0) -> bool:
        """
        Preempt a service job of `submit`: it is RUNNABLE again, for at least `wait_s`.

        Returns:
            Whether it had capacity, and no stop of it was accepted.
        """
        job = self._own(job_id)
        if not job.service:
            raise ValueError(f"{job_id} is not a service job: only these are preempted")
        return self._scheduler.preempt(job, round(wait_s * 1000))

    def requeue(self, job_id: str, wait_s: float = 0) -> bool:
        """
        Put a job of `submit` that has not begun to run back to RUNNABLE, without an attempt.

        Returns:
            Whether it was put back: it must be SCHEDULED or STARTING, and not stopped.
        """
        return self._scheduler.requeue(self._own(job_id), round(wait_s * 1000))

    def tag(self, job_id: str, tags: Mapping[str, str]) -> None:
        """Add or change tags of a job of `submit`, as TagResource does. No event is sent."""
        job = self._own(job_id)
        job.tags = dict(self._tags(job)) | dict(tags)
        job.version += 1

    def untag(self, job_id: str, *names: str) -> None:
        """Remove tags from a job of `submit`, as UntagResource does. No event is sent."""
        job = self._own(job_id)
        job.tags = {name: it for name, it in self._tags(job).items() if name not in names}
        job.version += 1

    @staticmethod
    def _tags(job: Job) -> Mapping[str, str]:
        return tags_of(job, job.work) if job.work else {}

    def _own(self, job_id: str) -> Job:
        job = self._world.jobs.get(job_id)
        if job is None or job.work is None:
            raise ValueError(f"{job_id} is not a job of submit()")
        return job

    # ---- Calls ----------------------------------------------------------------------------

    def call(self, operation: str, params: _Params) -> _Answer:
        """
        Answer one call of the API.

        Raises:
            ApiError: Batch refuses it.
        """
        answer = self._operations.get(operation)
        if answer is None:
            raise ApiError("UnknownOperationException", f"{operation} is not simulated", 404)
        try:
            self._spend_allowance()
            answered = answer(params)
        except ApiError as error:
            self._note(operation, params, error=error.code)
            raise
        refused = frozenset(each["job"] for each in answered.get("errors", ()))
        self._note(operation, params, refused=refused)
        return answered

    def _spend_allowance(self) -> None:
        if self.rate is None:
            return
        passed_s = (self._world.now_ms - self._allowance_ms) / 1000
        # A bucket of less than one call would never let one through.
        most = max(self.rate, 1.0)
        self._allowance = min(most, self._allowance + passed_s * self.rate)
        self._allowance_ms = self._world.now_ms
        if self._allowance < 1:
            raise ApiError("TooManyRequestsException", "Too Many Requests", 429)
        self._allowance -= 1

    def _note(
        self,
        operation: str,
        params: _Params,
        *,
        error: str = "",
        refused: frozenset[str] = frozenset(),
    ) -> None:
        if operation not in _CHANGING:
            return
        jobs = (params["jobId"],) if "jobId" in params else params.get("jobs", ())
        call = Call(
            at=self.now,
            api=operation,
            jobs=tuple(jobs),
            queue=params.get("jobQueue", ""),
            state=params.get("state", ""),
            reason=params.get("reason", ""),
            error=error,
            refused=refused,
        )
        self.journal.append(call)

    # ---- Stops ----------------------------------------------------------------------------

    def _stop_one(self, operation: str, params: _Params) -> _Answer:
        self._check_reason(params)
        self._refuse_if_told(params["jobId"])
        self._stop(operation, params["jobId"], params["reason"])
        return {}

    def _stop(self, operation: str, job_id: str, reason: str) -> None:
        job = self._world.jobs.get(job_id)
        # A job that is not found counts as stopped.
        if job and job.service == ("Service" in operation):
            self._world.stop(job, reason, terminate=not operation.startswith("Cancel"))

    def _stop_many(self, operation: str, params: _Params) -> _Answer:
        if self.bulk == "denied":
            raise ApiError("AccessDeniedException", f"not authorized: batch:{operation}", 403)
        if self.bulk is not True:
            raise ApiError("UnknownOperationException", f"unknown operation {operation}", 404)
        if not 0 < len(params["jobs"]) <= _BULK_MAX:
            raise ApiError("ClientException", f"jobs must have 1 to {_BULK_MAX} members")
        self._check_reason(params)
        successful, errors = [], []
        for job_id in params["jobs"]:
            try:
                self._refuse_if_told(job_id)
            except ApiError as error:
                errors.append({"job": job_id, "code": error.code, "message": error.message})
            else:
                self._stop(operation, job_id, params["reason"])
                successful.append(job_id)
        return {"successful": successful, "errors": errors}

    def _refuse_if_told(self, job_id: str) -> None:
        codes = self.refusals.get(job_id)
        if codes:
            raise ApiError(codes.pop(0), f"Refused: {job_id}")

    @staticmethod
    def _check_reason(params: _Params) -> None:
        if len(params["reason"]) > _REASON_MAX:
            raise ApiError("ClientException", f"reason is longer than {_REASON_MAX} characters")

    # ---- Jobs -----------------------------------------------------------------------------

    def _describe_jobs(self, params: _Params) -> _Answer:
        if not 0 < len(params["jobs"]) <= _DESCRIBE_MAX:
            raise ApiError("ClientException", f"jobs must have 1 to {_DESCRIBE_MAX} members")
        found = (self._describe_job(each) for each in dict.fromkeys(params["jobs"]))
        return {"jobs": [detail for detail in found if detail]}

    def _describe_job(self, job_id: str) -> _Answer | None:
        job = self._world.jobs.get(job_id)
        if job:
            return None if job.service else self._shown(job)
        whole, _, node = job_id.partition("#")
        job = self._world.jobs.get(whole)
        if job is None or not node.isdecimal() or int(node) >= node_count(job):
            return None
        return node_of(job, int(node))

    def _describe_service_job(self, params: _Params) -> _Answer:
        job = self._world.jobs.get(params["jobId"])
        if job is None or not job.service:
            raise ApiError("ClientException", f"Service job {params['jobId']} not found")
        detail = self._shown(job)
        if detail is None:
            raise ApiError("ClientException", f"Service job {params['jobId']} not found")
        return detail

    def _shown(self, job: Job) -> _Answer | None:
        """Return the job's description: late, incomplete or None, where that is set."""
        if self.left_out.get(job.id, 0) > 0:
            self.left_out[job.id] -= 1
            return None
        if self._world.dice.happens(self._world.disorder.left_out):
            return None
        detail = described_late(job)
        detail = detail and self._world.with_child_tags(detail, job)
        missing = [*self.lacking.get(job.id, ()), *self._world.dice.lacking_fields()]
        return without(detail, missing) if detail and missing else detail

    def _list_jobs(self, params: _Params) -> _Answer:
        scopes = [each for each in ("jobQueue", "arrayJobId", "multiNodeJobId") if params.get(each)]
        if len(scopes) != 1:
            raise ApiError(
                "ClientException", "exactly one of jobQueue, arrayJobId, multiNodeJobId is needed"
            )
        if scopes == ["jobQueue"]:
            return self._list_in_queue(params)
        parent = self._world.jobs.get(params[scopes[0]])
        if parent is None:
            return {"jobSummaryList": []}
        return list_children(parent, params) if parent.children else list_nodes(parent, params)

    def _list_in_queue(self, params: _Params, *, service: bool = False) -> _Answer:
        if not params.get("jobQueue"):
            raise ApiError("ClientException", "jobQueue is needed")
        return list_queue(self._queue(params["jobQueue"]), params, service=service)

    # ---- Queues and environments ----------------------------------------------------------

    def _queue(self, name_or_arn: str) -> Queue:
        queue = self._world.queues.get(name_or_arn.rpartition("/")[2])
        if queue is None:
            raise ApiError("ClientException", f"JobQueue {name_or_arn} not found")
        return queue

    def _describe_queues(self, params: _Params) -> _Answer:
        known = {name: each.detail for name, each in self._world.queues.items() if name}
        return self._describe_named("jobQueues", known, params)

    def _describe_environments(self, params: _Params) -> _Answer:
        known = {name: each.detail for name, each in self._world.environments.items()}
        return self._describe_named("computeEnvironments", known, params)

    def _describe_service_environments(self, params: _Params) -> _Answer:
        known = self._world.service_environments
        return self._describe_named("serviceEnvironments", known, params)

    @staticmethod
    def _describe_named(of: str, known: Mapping[str, _Answer], params: _Params) -> _Answer:
        asked = params.get(of)
        if asked:
            names = dict.fromkeys(each.rpartition("/")[2] for each in asked)
            return {of: [dict(known[name]) for name in names if name in known]}
        names_in_order = sorted(known)
        start = place_of(params)
        found = ((at + 1, known[names_in_order[at]]) for at in range(start, len(names_in_order)))
        return page(of, found, params, _DESCRIBE_MAX)

    def _update_queue(self, params: _Params) -> _Answer:
        queue = self._queue(params["jobQueue"])
        if queue.updating_until_ms > self._world.now_ms:
            # Like Batch's message for DeleteJobQueue: "Cannot delete, resource is being modified".
            raise ApiError("ClientException", "Cannot update, resource is being modified")
        changes = {name: item for name, item in params.items() if name != "jobQueue"}
        disorder, dice = self._world.disorder, self._world.dice
        takes_ms = dice.ms(disorder.updating_s)
        is_late = takes_ms > 0 and dice.happens(disorder.updates_late)
        if not is_late:
            queue.detail = queue.detail | changes
        if takes_ms:
            self._keep_updating(queue, takes_ms, changes if is_late else {})
        self._scheduler.wake()
        return {"jobQueueName": queue.name, "jobQueueArn": queue.arn}

    def _keep_updating(self, queue: Queue, takes_ms: int, changes: _Answer) -> None:
        until_ms = max(queue.updating_until_ms, self._world.now_ms + takes_ms)
        queue.updating_until_ms = until_ms
        status = str(queue.detail.get("status", "VALID"))
        queue.status_before = queue.status_before if status == "UPDATING" else status
        queue.detail = queue.detail | {"status": "UPDATING"}
        self._world.agenda.plan(until_ms, self._is_updated, queue, changes)

    def _is_updated(self, queue: Queue, changes: _Answer) -> None:
        queue.detail = queue.detail | changes
        if queue.updating_until_ms <= self._world.now_ms:
            queue.detail = queue.detail | {"status": queue.status_before}
        self._scheduler.wake()

    def _snapshot(self, params: _Params) -> _Answer:
        queue = self._queue(params["jobQueue"])
        given = self._snapshots.get(queue.name)
        if given is not None:
            return given
        front = [
            {
                "jobArn": described(job).get("jobArn", job.id),
                "earliestTimeAtPosition": max(job.since_ms, queue.front_left_ms),
            }
            for job in islice(queue.runnable.after(0), _SNAPSHOT_MAX)
        ]
        now_ms = self._world.now_ms
        usage = [{"capacityUnit": "vCPU", "quantity": float(queue.vcpus)}] if queue.vcpus else []
        return {
            "frontOfQueue": {"jobs": front, "lastUpdatedAt": now_ms},
            "queueUtilization": {"totalCapacityUsage": usage, "lastUpdatedAt": now_ms},
        }


def _arn_or_name(of: str, given: Any) -> str:
    names = (f"{of}Arn", f"{of}Name", of)
    found = [given[each] for each in names if given.get(each)] if isinstance(given, Mapping) else []
    if not found or not isinstance(found[0], str):
        raise ValueError(f"this is no {of}, for it has no {of}Name or {of}Arn: {given!r:.80}")
    return found[0]
