"""The simulated Batch's own scheduler: submitted jobs start in turn, run, fail, are retried."""

from itertools import count
from math import inf
from uuid import uuid5

from local.aws.errors import ApiError
from local.batch.answers import vcpus_of
from local.batch.state import BUSY, ENDED, Array, Environment, Job, Queue
from local.batch.work import NAMESPACE, Outcome, Work, attempt_record
from local.batch.world import World

# How long Batch takes to move a job on.
_SUBMITTED_MS = 1000
_DISPATCH_MS = 1000
_SCHEDULED_MS = 1000
_STARTING_MS = 3000
_ARRAY_SIZES = range(2, 10_001)
_STUCK = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU)"
    " is higher than that can be met by the CE(s) attached to the job queue."
)


class Scheduler:
    """
    Starts jobs first in, first out in each queue; queues of higher priority come first.

    The job at the front waits until one of the queue's environments, tried in their order, has
    vCPUs for it. All jobs behind it wait too. If no environment can ever hold it, they wait until
    it is stopped; with `explains`, Batch then gives the cause, as the job's reason and in a "Queue
    Blocked" event.
    """

    def __init__(self, world: World, *, explains: bool) -> None:
        self._world = world
        self._explains = explains
        self._queues: dict[str, Queue] = {}  # that have had jobs
        self._awake = False
        self._numbers = count(1)
        # SageMaker's environments count instances, and are not simulated: they always have room.
        self._anywhere = Environment(detail={"computeResources": {"maxvCpus": inf}})
        world.on_released = world.on_front_left = self.wake
        world.on_dependency_ended = self._dependency_ended

    def submit(self, queue: Queue, work: Work) -> str:
        """
        Submit a job and return its id.

        Raises:
            ApiError: the queue is not ENABLED, or the array does not have 2 to 10,000 children.
        """
        if queue.detail["state"] != "ENABLED":
            raise ApiError("ClientException", f"JobQueue {queue.arn} is DISABLED")
        if work.array_size is not None and work.array_size not in _ARRAY_SIZES:
            raise ApiError("ClientException", "Array size must be between 2 and 10000")
        now = self._world.now_ms
        job = Job(
            id=str(uuid5(NAMESPACE, f"job {next(self._numbers)}")),
            queue=queue,
            service=work.service,
            work=work,
            created_ms=now,
        )
        if work.array_size:
            job.children = Array(size=work.array_size, own=True, parent=job)
        self._queues[queue.name] = queue
        self._world.begin(job, "SUBMITTED", now)
        self._world.wait_for(job, set(work.depends_on))
        self._world.agenda.plan(now + _SUBMITTED_MS, self._enter, job)
        return job.id

    def wake(self) -> None:
        """Plan a dispatch of the jobs that can start, if none is planned."""
        if not self._awake and self._queues:
            self._awake = True
            self._world.agenda.plan(self._world.now_ms + _DISPATCH_MS, self._dispatch)

    # ---- Before the start -----------------------------------------------------------------

    def _enter(self, job: Job) -> None:
        if job.stop or job.status in ENDED or job.work is None:
            return
        if self._has_failed_dependency(job.work):
            self._fail_unstarted(job)
        elif job.blockers:
            self._world.move(job, "PENDING", self._world.now_ms)
            self._world.report(job)
        elif job.children:
            self._spawn(job, job.children)
        else:
            self._queue_up(job)

    def _has_failed_dependency(self, work: Work) -> bool:
        known = (self._world.jobs.get(each) for each in work.depends_on)
        return any(job and job.status == "FAILED" for job in known)

    def _dependency_ended(self, waiter: Job, ended: Job) -> None:
        # A SUBMITTED job's entry is planned already; a failure ends all waiting.
        if waiter.status == "PENDING" and (ended.status == "FAILED" or not waiter.blockers):
            self._enter(waiter)

    def _fail_unstarted(self, job: Job) -> None:
        job.reason, job.stopped_ms = "Dependent Job failed", self._world.now_ms
        if job.children:
            job.children.final = {"FAILED": job.children.size}
        self._world.move(job, "FAILED", self._world.now_ms)
        self._world.report(job)

    def _spawn(self, parent: Job, array: Array) -> None:
        now = self._world.now_ms
        was_pending = parent.status == "PENDING"
        if not was_pending:
            self._world.move(parent, "PENDING", now)
        children = [
            Job(
                id=f"{parent.id}:{index}",
                queue=parent.queue,
                listed=False,
                array=array,
                index=index,
                work=parent.work,
                created_ms=now,
            )
            for index in range(array.size)
        ]
        for child in children:
            self._world.begin(child, "RUNNABLE", now)
        if not was_pending:
            self._world.report(parent)
        for child in children:
            self._world.report(child)
        self.wake()

    def _queue_up(self, job: Job) -> None:
        self._world.move(job, "RUNNABLE", self._world.now_ms)
        self._world.report(job)
        self.wake()

    # ---- The start ------------------------------------------------------------------------

    def _dispatch(self) -> None:
        self._awake = False
        for queue in sorted(self._queues.values(), key=lambda each: -each.detail["priority"]):
            while (job := queue.own.first()) and (place := self._place_for(job, queue)):
                self._take(job, place)

    def _place_for(self, job: Job, queue: Queue) -> Environment | None:
        work = job.work
        if work is None or work.service:
            return self._anywhere
        names = (each.rpartition("/")[2] for each in queue.environments)
        found = (self._world.environments.get(each) for each in names)
        able = [each for each in found if each and each.can_ever_hold(work)]
        if not able and self._explains and not job.reason:
            job.reason = _STUCK
            self._world.report(job, "Queue Blocked", queue.arn)
        return next((each for each in able if each.has_room(vcpus_of(job))), None)

    def _take(self, job: Job, place: Environment) -> None:
        job.environment = place
        place.used_vcpus += vcpus_of(job)
        job.reason = ""
        job.started_ms = job.stopped_ms = 0
        job.run += 1
        now = self._world.now_ms
        if job.service:
            job.scheduled_ms = now
            self._world.move(job, "SCHEDULED", now)
            self._world.agenda.plan(now + _SCHEDULED_MS, self._start, job, job.run)
            self._world.report(job)
        else:
            self._start(job, job.run)

    def _start(self, job: Job, run: int) -> None:
        if job.stop or run != job.run:
            return
        if job.service and self._must_requeue(job):
            self.requeue(job, self._wait_ms())
            return
        now = self._world.now_ms
        self._world.move(job, "STARTING", now)
        self._world.agenda.plan(now + _STARTING_MS, self._run, job, run)
        self._world.report(job)

    def _run(self, job: Job, run: int) -> None:
        if job.stop or job.work is None or run != job.run:
            return
        if self._must_requeue(job):
            self.requeue(job, self._wait_ms())
            return
        now = job.started_ms = self._world.now_ms
        run_ms = job.work.run_ms(max(job.index, 0), self._attempts_made(job) + 1)
        self._world.move(job, "RUNNING", now)
        self._world.agenda.plan(now + run_ms, self._finish, job, run)
        if job.service and self._world.dice.happens(self._world.disorder.preempted):
            at_ms = now + self._world.dice.ms((0, run_ms / 1000))
            self._world.agenda.plan(at_ms, self._preempt_run, job, run)
        self._world.report(job)

    # ---- The way back ---------------------------------------------------------------------

    def requeue(self, job: Job, wait_ms: int) -> bool:
        """
        Put a job that has not begun to run back into its queue, without an attempt.

        It stays there for at least `wait_ms`. A job for which a stop was accepted is not put back,
        except after a cancel where `Disorder.cancelled_returns` is set.

        Returns:
            Whether the job was put back.
        """
        if job.status not in {"SCHEDULED", "STARTING"} or self._is_kept(job):
            return False
        self._put_back(job, wait_ms)
        return True

    def preempt(self, job: Job, wait_ms: int) -> bool:
        """
        Take a service job's capacity away, as for another job, and queue it again.

        https://docs.aws.amazon.com/batch/latest/userguide/preemption.html

        Returns:
            Whether the job had capacity, and no stop of it was accepted.
        """
        if job.status not in {"SCHEDULED", *BUSY} or job.work is None or _was_stopped(job):
            return False
        job.stopped_ms = self._world.now_ms
        # AWS does not document the text of this reason.
        preempted = Outcome(exit_code=None, status_reason="Job was preempted")
        made = attempt_record(job, job.work, preempted)
        job.preemptions += (made,)
        if self._world.disorder.preempted_is_attempt:
            job.attempts += (made,)
        self._put_back(job, wait_ms)
        return True

    def _preempt_run(self, job: Job, run: int) -> None:
        if run == job.run:
            self.preempt(job, self._wait_ms())

    def _put_back(self, job: Job, wait_ms: int) -> None:
        job.run += 1
        self._world.release(job)
        job.started_ms = job.stopped_ms = job.scheduled_ms = 0
        job.rests = wait_ms > 0
        self._world.move(job, "RUNNABLE", self._world.now_ms)
        if job.rests:
            self._world.agenda.plan(self._world.now_ms + wait_ms, self._rested, job)
        self._world.report(job)
        self.wake()

    def _rested(self, job: Job) -> None:
        job.rests = False
        if job.turn:  # It has not been stopped meanwhile.
            job.queue.own.add(job)
            self.wake()

    def _must_requeue(self, job: Job) -> bool:
        happens = self._world.dice.happens(self._world.disorder.requeued)
        return happens and not self._is_kept(job)

    def _is_kept(self, job: Job) -> bool:
        """Check whether a job is not queued again because a stop of it was accepted."""
        came_too_late = self._world.disorder.cancelled_returns and not job.terminated
        return _was_stopped(job) and not came_too_late

    def _wait_ms(self) -> int:
        return self._world.dice.ms(self._world.disorder.requeue_wait_s)

    def _attempts_made(self, job: Job) -> int:
        """Count the attempts that the retry strategy counts; preempted runs are not among them."""
        preempted = len(job.preemptions) if self._world.disorder.preempted_is_attempt else 0
        return len(job.attempts) - preempted

    # ---- The end --------------------------------------------------------------------------

    def _finish(self, job: Job, run: int) -> None:
        if job.stop or job.work is None or run != job.run:
            return
        outcome = job.work.outcome_of(max(job.index, 0), self._attempts_made(job) + 1)
        now = job.stopped_ms = self._world.now_ms
        job.reason = outcome.status_reason
        job.attempts += (attempt_record(job, job.work, outcome),)
        if outcome.exit_code == 0:
            self._world.move(job, "SUCCEEDED", now)
        elif self._attempts_made(job) >= job.work.attempts or _was_stopped(job):
            self._world.move(job, "FAILED", now)
        else:
            self._world.release(job)
            job.reason = ""  # The attempt has it.
            job.started_ms = job.stopped_ms = job.scheduled_ms = 0
            self._world.move(job, "RUNNABLE", now)
        self._world.report(job)


def _was_stopped(job: Job) -> bool:
    """Check whether a stop was accepted, in effect or not: such a job is not retried."""
    return job.cancelled or job.terminated
