"""Moves the simulated Batch's jobs from status to status, for the log and the scheduler."""

from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import uuid5

from local.batch.answers import describe, event_detail, lasting, outlined, vcpus_of
from local.batch.disorder import Dice, Disorder
from local.batch.state import (
    BUSY,
    ENDED,
    WAITING,
    Agenda,
    Array,
    Environment,
    Job,
    Queue,
    Stop,
    event_time,
)
from local.batch.work import NAMESPACE, Outcome, attempt_record

# How much later Batch reports that a stopped job has failed, or that an array has ended.
_MOMENT_MS = 1000


def managed_environment(prefix: str, name: str, vcpus: int) -> dict[str, Any]:
    """Return a managed EC2 environment, as the API describes it. `prefix` begins its ARN."""
    return {
        "computeEnvironmentName": name,
        "computeEnvironmentArn": f"{prefix}compute-environment/{name}",
        "type": "MANAGED",
        "state": "ENABLED",
        "status": "VALID",
        "computeResources": {
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": vcpus,
            "instanceTypes": ["m6i", "c6i"],
            "subnets": ["subnet-0a1b2c3d"],
        },
    }


class World:
    """
    Jobs, queues and environments, and the rules that hold for every move of a job.

    A log and a scheduler move jobs; calls of the API stop them. `now_ms` is the only clock.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        emit: Callable[[dict[str, Any]], None],
        region: str,
        account: str,
        lazy_cancel: bool,
        terminate_cascades: bool,
        disorder: Disorder,
    ) -> None:
        self.now_ms = 0
        self.region = region
        self.account = account
        self.jobs: dict[str, Job] = {}
        self.queues: dict[str, Queue] = {}
        self.environments: dict[str, Environment] = {}
        self.service_environments: dict[str, dict[str, Any]] = {}  # as they are described
        self.agenda = Agenda()
        # Callbacks of the scheduler: capacity is free again; the job at the front of a queue has
        # left; a job that another one waited for has ended.
        self.on_released: Callable[[], None] = lambda: None
        self.on_front_left: Callable[[], None] = lambda: None
        self.on_dependency_ended: Callable[[Job, Job], None] = lambda *_: None
        # Callback of the log: whether it shows that a stop does not end the job.
        self.is_known_to_go_on: Callable[[Job, bool], bool] = lambda *_: False
        self.disorder = disorder
        self.dice = Dice(disorder)
        # Jobs that run on after a terminate was accepted, and for how many seconds.
        self.ignoring: dict[str, float | None] = {}
        self._emit = emit
        self._lazy_cancel = lazy_cancel
        self._terminate_cascades = terminate_cascades
        self._waiting: dict[str, list[Job]] = {}
        self._places = count(1)
        self._events = count(1)

    # ---- Things and their names -----------------------------------------------------------

    def arn(self, resource: str) -> str:
        return f"arn:aws:batch:{self.region}:{self.account}:{resource}"

    def queue(self, name_or_arn: str) -> Queue:
        """Return the queue of that name. A new one is made: ENABLED, VALID and empty."""
        name = name_or_arn.rpartition("/")[2]
        queue = self.queues.get(name)
        if queue is None:
            arn = name_or_arn if name_or_arn.startswith("arn:") else self.arn(f"job-queue/{name}")
            detail = {
                "jobQueueName": name,
                "jobQueueArn": arn,
                "state": "ENABLED",
                "status": "VALID",
                "statusReason": "JobQueue Healthy",
                "priority": 1,
                # Every queue that holds jobs has one, but nothing is known of it.
                "computeEnvironmentOrder": [
                    {"order": 1, "computeEnvironment": self.arn(f"compute-environment/{name}")}
                ],
            }
            queue = self.queues[name] = Queue(name=name, detail=detail)
        return queue

    # ---- Moves ----------------------------------------------------------------------------

    def begin(self, job: Job, status: str, at_ms: int) -> None:
        """Add a job."""
        self.jobs[job.id] = job
        job.listed_late = self.disorder.list_lag_s > 0
        job.described_late = self.disorder.describe_lag_s > 0
        if job.listed:
            jobs = job.queue.jobs
            job.queue.in_order &= not jobs or jobs[-1].created_ms <= job.created_ms
            jobs.append(job)
        if job.array:
            job.array.jobs[job.index] = job
        self.move(job, status, at_ms)

    def move(self, job: Job, status: str, at_ms: int) -> None:
        """Move a job to a status, or to the same one again in another attempt."""
        old, queue = job.status, job.queue
        self._leave(job)
        if job.array:
            job.array.count(old, status)
        if (old in BUSY) != (status in BUSY) and not job.children:
            taken = vcpus_of(job) if status in BUSY else 0
            queue.vcpus += taken - job.vcpus
            job.vcpus = taken
        job.status, job.since_ms = status, at_ms
        job.version += 1
        self._line_up(job)
        self._show_later(job)
        if status in ENDED:
            self._ended(job)
        if self._lazy_cancel:
            self._drop_cancelled_at_front(queue)

    def _leave(self, job: Job) -> None:
        if job.turn:
            self._take_turn(job)
        if not job.listed_late:
            self._unlist(job, job.status)

    @staticmethod
    def _unlist(job: Job, status: str) -> None:
        if job.place:
            job.place = 0
            job.queue.line(status, service=job.service).left()

    def _line_up(self, job: Job) -> None:
        queue = job.queue
        if not job.listed_late:
            self._list(job, job.status)
        if job.status == "RUNNABLE" and not job.children:
            job.turn = next(self._places)
            queue.runnable.add(job)
            if job.work and not job.rests:
                queue.own.add(job)

    def _list(self, job: Job, status: str) -> None:
        if job.listed:
            job.place = next(self._places)
            job.queue.line(status, service=job.service).add(job)

    # ---- Late lists and descriptions ------------------------------------------------------

    def _show_later(self, job: Job) -> None:
        """Plan when lists and descriptions show the job as it is now, where they lag behind."""
        if job.listed_late:
            at_ms = self.now_ms + self.dice.ms((0, self.disorder.list_lag_s))
            job.listed_from_ms = max(job.listed_from_ms, at_ms)  # changes show in their order
            self.agenda.plan(job.listed_from_ms, self._show_in_lists, job, outlined(job))
        if job.described_late:
            at_ms = self.now_ms + self.dice.ms((0, self.disorder.describe_lag_s))
            job.described_from_ms = max(job.described_from_ms, at_ms)
            self.agenda.plan(job.described_from_ms, self._show_described, job, describe(job))

    def _show_in_lists(self, job: Job, outline: dict[str, Any]) -> None:
        before = job.listed_as["status"] if job.listed_as else ""
        job.listed_as = outline
        if before != outline["status"]:
            self._unlist(job, before)
            self._list(job, outline["status"])

    @staticmethod
    def _show_described(job: Job, detail: dict[str, Any]) -> None:
        job.described_as = detail

    def release(self, job: Job) -> None:
        """Give the job's vCPUs back to its environment."""
        if job.environment:
            job.environment.used_vcpus -= vcpus_of(job)
            job.environment = None
            self.on_released()

    def _ended(self, job: Job) -> None:
        self.release(job)
        if job.array:
            self.settle(job.array)
        for waiter in self._waiting.pop(job.id, ()):
            waiter.blockers.discard(job.id)
            if waiter.stop is None:
                self.on_dependency_ended(waiter, job)
            elif not waiter.blockers:
                self.doom(waiter)

    def wait_for(self, job: Job, dependencies: set[str]) -> None:
        """Make the job wait until these have ended; unknown and ended jobs are ignored."""
        for each in sorted(dependencies):
            blocker = self.jobs.get(each)
            if blocker and blocker.status not in ENDED:
                job.blockers.add(each)
                self._waiting.setdefault(each, []).append(job)

    def _take_turn(self, job: Job) -> None:
        queue = job.queue
        at_front = queue.runnable.first() is job
        job.turn = 0
        queue.runnable.left()
        if job.work:
            queue.own.left()
        if at_front:
            queue.front_left_ms = self.now_ms
            self.on_front_left()

    def report(self, job: Job, what: str = "State Change", *resources: str) -> None:
        """Send Batch's event about the present state of the job."""
        detail = self.with_child_tags(event_detail(job), job)
        if self.disorder.events_without_tags and isinstance(detail.get("tags"), dict):
            named = detail["tags"].items()
            detail = detail | {"tags": {name: it for name, it in named if name == "resourceArn"}}
        kind = "service-job" if job.service else "job"
        self._emit(
            {
                "version": "0",
                "id": str(uuid5(NAMESPACE, f"event {next(self._events)}")),
                "detail-type": f"Batch {'Service ' if job.service else ''}Job {what}",
                "source": "aws.batch",
                "account": self.account,
                "time": event_time(self.now_ms // 1000),
                "region": self.region,
                "resources": [detail.get("jobArn") or self.arn(f"{kind}/{job.id}"), *resources],
                "detail": detail,
            }
        )

    # ---- Arrays ---------------------------------------------------------------------------

    def with_child_tags(self, detail: dict[str, Any], job: Job) -> dict[str, Any]:
        """Return a job's detail; an array child's has the tags that `Disorder.child_tags` sets."""
        tags, shows = detail.get("tags"), self.disorder.child_tags
        if job.array is None or shows == "as they are" or not isinstance(tags, dict):
            return detail
        own = {name: it for name, it in tags.items() if name == "resourceArn"}
        submitted = job.work.tags if job.work and shows == "as submitted" else {}
        return detail | {"tags": {**submitted, **own}}

    def unseen_child(self, parent: Job, array: Array, index: int) -> Job:
        """Make a child that no event has shown so far, from the detail of its parent."""
        told = lasting(parent.told) | {
            "jobId": f"{parent.id}:{index}",
            "jobArn": f"{parent.told.get('jobArn') or self.arn(f'job/{parent.id}')}:{index}",
            "arrayProperties": {"index": index, "statusSummary": {}},
        }
        child = Job(
            id=told["jobId"],
            queue=parent.queue,
            listed=False,
            array=array,
            index=index,
            told=told,
            created_ms=parent.created_ms,
        )
        self.begin(child, "SUBMITTED", self.now_ms)
        return child

    def settle(self, array: Array) -> None:
        """End the parent if all its children have ended."""
        parent = array.parent
        if parent is None or parent.status in ENDED or array.ending or array.ended() < array.size:
            return
        if array.touched_ms is None and array.told_end:
            return  # An event of the log will end it.
        array.ending = True
        if array.own or array.touched_ms is not None:
            self.agenda.plan(self.now_ms + _MOMENT_MS, self._end_and_report, parent, array)
        else:
            self._end_parent(parent, array)  # The log has no event of it, so none is sent.

    def _end_and_report(self, parent: Job, array: Array) -> None:
        self._end_parent(parent, array)
        self.report(parent)

    def _end_parent(self, parent: Job, array: Array) -> None:
        summary = array.summary()
        parent.stopped_ms = self.now_ms
        if summary["FAILED"]:
            parent.reason = parent.stop.reason if parent.stop else "Array Child Job failed"
        self.move(parent, "FAILED" if summary["FAILED"] else "SUCCEEDED", self.now_ms)

    # ---- Stops ----------------------------------------------------------------------------

    def stop(self, job: Job, reason: str, *, terminate: bool) -> None:
        """
        Cancel or terminate a job.

        It ends FAILED a second later. An ended job stays as it is, and a cancel does not end one
        that has started. A job that waits for others ends when these have ended. Where stops are
        slow, all this holds when the stop takes effect.
        """
        if not _can_stop(job, terminate=terminate):
            return
        self._mark(job, terminate=terminate)
        if terminate in job.pending_stops:
            return
        if self.dice.happens(self.disorder.slow_stops):
            job.pending_stops.add(terminate)
            at_ms = self.now_ms + self.dice.ms(self.disorder.slow_stop_s)
            self.agenda.plan(at_ms, self._stop_late, job, reason, terminate)
        else:
            self._take_effect(job, reason, terminate=terminate)

    def _stop_late(self, job: Job, reason: str, terminate: bool) -> None:  # noqa: FBT001 - planned
        job.pending_stops.discard(terminate)
        if _can_stop(job, terminate=terminate):
            self._take_effect(job, reason, terminate=terminate)

    def _take_effect(self, job: Job, reason: str, *, terminate: bool) -> None:
        if job.children and _has_children(job.children):
            self._stop_array(job, job.children, reason, terminate=terminate)
        elif job.stop is None and not self._goes_on(job, reason, terminate=terminate):
            self._end_soon(job, reason)

    def _goes_on(self, job: Job, reason: str, *, terminate: bool) -> bool:
        """Check whether the job goes on after an accepted stop: for some time, or to its end."""
        if self.is_known_to_go_on(job, terminate):
            return True
        if not terminate or job.status not in BUSY:
            return False
        if job.id in self.ignoring:
            seconds = self.ignoring[job.id]
            ignored_ms = None if seconds is None else round(seconds * 1000)
        elif self.dice.ignores_terminate(job.id):
            span = self.disorder.ignored_s
            ignored_ms = None if span is None else self.dice.ms(span)
        else:
            return False
        job.pending_stops.add(terminate)
        if ignored_ms is not None:
            self.agenda.plan(self.now_ms + ignored_ms, self._end_soon, job, reason)
        return True

    def _end_soon(self, job: Job, reason: str) -> None:
        """End the job soon. Only jobs that it waits for, or its place in the queue, delay it."""
        if job.stop or job.status in ENDED:
            return  # The first reason stays.
        job.stop = Stop(self.now_ms, reason)
        if job.array and job.array.touched_ms is None:
            job.array.touched_ms = self.now_ms
        if job.status == "PENDING":
            if not job.work:
                self.wait_for(job, _dependencies(job.told))
            if job.blockers:
                return
        if job.status == "RUNNABLE" and self._lazy_cancel:
            self._drop_cancelled_at_front(job.queue)
        else:
            self.doom(job)

    def _stop_array(self, parent: Job, array: Array, reason: str, *, terminate: bool) -> None:
        if terminate and not self._terminate_cascades:
            return
        parent.stop = parent.stop or Stop(self.now_ms, reason)
        if array.touched_ms is None:
            array.touched_ms = self.now_ms
        for index in range(array.size):
            child = array.jobs.get(index) or self.unseen_child(parent, array, index)
            if _can_stop(child, terminate=terminate):
                self._mark(child, terminate=terminate)
                if terminate not in child.pending_stops:
                    self._take_effect(child, reason, terminate=terminate)
        self.settle(array)

    def _mark(self, job: Job, *, terminate: bool) -> None:
        """Mark the job: a stop of it was accepted."""
        job.cancelled |= not terminate
        job.terminated |= terminate
        job.version += 1
        self._show_later(job)

    def doom(self, job: Job) -> None:
        """Plan the end of a stopped job."""
        if job.doomed or job.stop is None:
            return
        job.doomed = True
        if job.turn:
            self._take_turn(job)
        self.agenda.plan(self.now_ms + _MOMENT_MS, self._end_stopped, job, job.stop)

    def _drop_cancelled_at_front(self, queue: Queue) -> None:
        while (first := queue.runnable.first()) and first.stop:
            self.doom(first)

    def _end_stopped(self, job: Job, stop: Stop) -> None:
        job.stopped_ms, job.reason = self.now_ms, stop.reason
        if job.children:  # No child was made yet.
            job.children.final = {"FAILED": job.children.size}
        if job.status in BUSY:
            job.cut = True
            if job.work:
                outcome = Outcome(exit_code=137, status_reason=job.reason)
                job.attempts += (attempt_record(job, job.work, outcome),)
        self.move(job, "FAILED", self.now_ms)
        self.report(job)


def _has_children(array: Array) -> bool:
    """Check whether there are children to stop; a log may have no event of any of them."""
    return bool(array.jobs) or not array.own


def _can_stop(job: Job, *, terminate: bool) -> bool:
    if job.status in ENDED:
        return False
    if job.children and _has_children(job.children):
        return True
    return terminate or job.status in WAITING


def _dependencies(told: dict[str, Any]) -> set[str]:
    given = told.get("dependsOn")
    each = given if isinstance(given, list) else []
    ids = {one.get("jobId") for one in each if isinstance(one, dict)}
    return {one for one in ids if isinstance(one, str)}
