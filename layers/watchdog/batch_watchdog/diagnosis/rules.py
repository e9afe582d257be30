"""
The order in which causes are believed.

What makes a job impossible is weighed per environment: one that is broken, full or too small
explains nothing as long as another of the same queue can take the job. So it is said first
why *no* environment takes jobs, then what Batch itself says, then why the job fits into
none, then what it waits for. Batch's remark on a job's requirements is general, and Batch
makes it also for a while when an environment grows: there the numbers speak first.
https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from batch_watchdog.changes import ENDED, STARTED
from batch_watchdog.diagnosis.environments import (
    Environment,
    World,
    amount,
    queue_trouble,
    verdicts,
    wish,
)
from batch_watchdog.diagnosis.findings import (
    Clue,
    Finding,
    FindingCode,
    finding,
    in_order,
    merged,
)
from batch_watchdog.diagnosis.loosely import items, mapping, moment, number, text
from batch_watchdog.diagnosis.needs import Needs, is_service_job, needs_of, unit_of
from batch_watchdog.notices import iso, plain, span

# What Batch writes into a stuck job's `statusReason`. The more special stand first.
# https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable_misconfiguration.html
_REQUIREMENT = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
_REASONS: tuple[tuple[str, FindingCode], ...] = (
    (_REQUIREMENT, "exceeds-instance-size"),
    ("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", "insufficient-capacity"),
    ("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", "exceeds-max-vcpus"),
    ("MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE", "exceeds-max-vcpus"),
    ("MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED", "exceeds-max-vcpus"),
    ("MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED", "configuration-unsupported"),
    ("MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS", "permissions"),
    ("ACTION_REQUIRED", "compute-environment-invalid"),
    # Reasons that AWS may add.
    ("MISCONFIGURATION:", "configuration-unsupported"),
    ("CAPACITY:", "insufficient-capacity"),
)
_REASON_MAX = 240
_SHOWN_MAX = 5  # environments

_WITH_SAGEMAKER = "SCHEDULED"  # a state of service jobs only
_SAGEMAKER_REMEDY = "Wait, ask for another instance type, or check the account's SageMaker quotas."
_LISTED_MAX = 100  # so many of a queue's jobs are listed by GetJobQueueSnapshot
_HEAD_MAX = timedelta(minutes=10)  # later than that, the head of a queue is stuck for a cause


def diagnose(world: World, now: datetime | None = None) -> tuple[Finding, ...]:
    """
    Say why a job does not start, the likeliest reason first. Never raises, never empty.

    `undetermined` comes alone, when nothing else was found. `now` (with a time zone) only
    tells how long the job has been where it is in the queue.
    """
    job = mapping(world.job)
    started = text(job.get("status")) in (_WITH_SAGEMAKER, *STARTED, *ENDED)
    clues = _when_started(job) if started else _when_waiting(world, job, now)
    return tuple(finding(clue, service=is_service_job(job)) for clue in merged(clues))


def _when_started(job: Mapping[Any, Any]) -> list[Clue]:
    """A job that has its place: only what Batch says of it can tell why it hangs or ended."""
    said = _batch_says(job)
    if said:
        return [said]
    status = text(job.get("status"))
    reason = plain(text(job.get("statusReason")), _REASON_MAX)
    if status == _WITH_SAGEMAKER:
        evidence = "Batch has handed the job to SageMaker, which has no instances for it yet"
        return [Clue(code="insufficient-capacity", evidence=evidence, remedy=_SAGEMAKER_REMEDY)]
    return [
        Clue(
            code="undetermined",
            evidence=f"the job is {status}"
            + (f"; Batch says: {reason}" if reason else ", so it has found its place"),
            remedy="Look at its image, execution role, secrets and log: the queue is not to blame."
            if status in STARTED
            else "Look at its status reason and its log.",
        )
    ]


def _when_waiting(world: World, job: Mapping[Any, Any], now: datetime | None) -> list[Clue]:
    needs = needs_of(job)
    judged = verdicts(world, needs)
    usable = [each for each in judged if each.usable]
    broken = [each.broken for each in judged if each.broken]
    misfits = [] if usable else [misfit for each in judged for misfit in each.misfits]
    tight = [each.tight for each in usable if each.tight]
    if len(tight) < len(usable):
        tight = []  # There is one with room enough.
    trouble = queue_trouble(mapping(world.queue))
    environments = [each.environment for each in usable]

    clues = in_order([*([] if usable else broken), *([trouble] if trouble else [])])
    said = _batch_says(job)
    if _REQUIREMENT in text(job.get("statusReason")) and said:
        clues += _explained(said, [*in_order(misfits), *tight], environments)
        tight = []
    else:
        clues += [*([said] if said else []), *in_order(misfits)]
    clues += _waits_for(world, job, needs, environments, now)
    clues += tight
    clues = clues or _nothing_found(world, job, needs, environments, now)
    if usable and broken:
        aside = "; ".join(clue.evidence for clue in broken[:_SHOWN_MAX])
        clues[0] = replace(clues[0], evidence=f"{clues[0].evidence}; besides, {aside}")
    return clues


# ---- What Batch itself says ---------------------------------------------------------------


def _batch_says(job: Mapping[Any, Any]) -> Clue | None:
    reason = text(job.get("statusReason"))
    evidence = f"Batch says: {plain(reason, _REASON_MAX)}"
    codes = (code for known, code in _REASONS if known in reason)
    code = next(codes, None)
    return Clue(code=code, evidence=evidence) if code else None


def _explained(
    said: Clue, numbers: Sequence[Clue], environments: Iterable[Environment]
) -> list[Clue]:
    """Batch's remark on the job's requirements, made precise by the numbers if they can."""
    if numbers:
        evidence = f"{numbers[0].evidence}; {said.evidence}"
        return [replace(numbers[0], evidence=evidence), *numbers[1:]]
    growing = [
        f"{each.shown} wants {amount(each.desired)} now" for each in environments if each.desired
    ]
    note = "it says so also for a while when an environment grows"
    return [replace(said, evidence="; ".join([said.evidence, note, *growing[:_SHOWN_MAX]]))]


# ---- What a job waits for -----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    number: int  # 1 is the head
    of: int  # so many are listed
    since: datetime | None


def _waits_for(
    world: World,
    job: Mapping[Any, Any],
    needs: Needs,
    environments: Sequence[Environment],
    now: datetime | None,
) -> list[Clue]:
    if text(job.get("status")) in {"SUBMITTED", "PENDING"}:
        return _before_the_queue(job)
    full = _full(world, needs, environments)
    absent = _not_joining(environments)
    clues = [clue for clue in (full, absent) if clue]
    front = _fronts(world)[0]
    place = _place(world, job)
    if place:
        # At the head, nothing in the queue is before the job: that is no reason to wait long.
        fresh = now is None or place.since is None or now - place.since <= _HEAD_MAX
        if place.number > 1 or clues or fresh:
            clues.append(Clue(code="waiting-its-turn", evidence=_shown(place, now)))
    elif len(front) >= _LISTED_MAX:
        evidence = f"the job is not among the first {len(front)} of the queue"
        clues.append(Clue(code="waiting-its-turn", evidence=evidence))
    return clues or _held_resources(job)


def _before_the_queue(job: Mapping[Any, Any]) -> list[Clue]:
    summary = mapping(mapping(job.get("arrayProperties")).get("statusSummary"))
    counts = ((text(state), number(count)) for state, count in summary.items())
    children = [amount(count, state) for state, count in counts if state and count]
    if children:
        evidence = f"an array's parent stays PENDING while its children run: {', '.join(children)}"
        return [Clue(code="waiting-its-turn", evidence=evidence)]
    depends_on = len(items(job.get("dependsOn")))
    if depends_on:
        jobs = "1 other job" if depends_on == 1 else f"{depends_on} other jobs"
        evidence = f"the job depends on {jobs} and enters the queue when they are done"
        return [Clue(code="waiting-its-turn", evidence=evidence)]
    return []


def _full(world: World, needs: Needs, environments: Sequence[Environment]) -> Clue | None:
    """Whether others hold all that the usable environments may have."""
    used = _used(world)
    by_desired = [_full_by_desired(each, needs, used) for each in environments]
    if environments and all(by_desired):
        return Clue(code="at-max-vcpus", evidence="; ".join(filter(None, by_desired)))
    for unit, wanted in needs.total.items():
        limits = [each.limits.get(unit) for each in environments]
        most = sum(limit for limit in limits if limit is not None)
        held = used.get(unit, 0)
        if limits and None not in limits and held and (held + wanted > most or held >= most):
            return Clue(
                code="at-max-vcpus",
                evidence=f"jobs of the queue hold {amount(held, unit)} of at most"
                f" {amount(most, unit)}, the job needs {amount(wanted, unit)}",
            )
    return None


def _full_by_desired(
    environment: Environment, needs: Needs, used: Mapping[str, float]
) -> str | None:
    desired, most = environment.desired, environment.limits.get("vcpu")
    if desired is None or most is None or _joined(environment) is False:
        return None
    wanted = needs.total.get("vcpu", 0)
    # What is less than the maximum may have been started for this very job.
    by_others = used.get("vcpu") != 0
    if desired >= most or (by_others and desired + wanted > most):
        return (
            f"{environment.shown} has {amount(desired)} of at most {amount(most)},"
            f" the job needs {amount(wanted)}"
        )
    return None


def _used(world: World) -> Mapping[str, float]:
    utilization = mapping(mapping(world.snapshot).get("queueUtilization"))
    usage = map(mapping, items(utilization.get("totalCapacityUsage")))
    read = (
        (unit_of(text(each.get("capacityUnit"))), number(each.get("quantity"))) for each in usage
    )
    return {unit: quantity for unit, quantity in read if quantity is not None}


def _joined(environment: Environment) -> bool | None:
    """Whether an instance of the environment's cluster takes tasks; None: not known."""
    if environment.instances is None or environment.platform != "EC2":
        return None
    return any(
        each.get("agentConnected") is not False and each.get("status", "ACTIVE") == "ACTIVE"
        for each in map(mapping, environment.instances)
    )


def _not_joining(environments: Sequence[Environment]) -> Clue | None:
    waiting = [each for each in environments if each.desired and _joined(each) is False]
    if not waiting or any(_joined(each) for each in environments):
        return None
    parts = []
    for each in waiting:
        count = len(each.instances or ())
        some = f"of {count} registered instances none is ready" if count else "none has registered"
        parts.append(f"{each.shown} wants {amount(each.desired or 0)} of instances, {some}")
    return Clue(code="instances-not-joining", evidence="; ".join(parts))


def _fronts(world: World) -> list[Sequence[Any]]:
    """The jobs at the front of the queue, then those at the front of each quota share."""
    snapshot = mapping(world.snapshot)
    shares = mapping(mapping(snapshot.get("frontOfQuotaShares")).get("quotaShares"))
    front = items(mapping(snapshot.get("frontOfQueue")).get("jobs"))
    return [front, *map(items, shares.values())]


def _place(world: World, job: Mapping[Any, Any]) -> _Place | None:
    arn, job_id = text(job.get("jobArn")), text(job.get("jobId"))
    for front in _fronts(world):
        for index, each in enumerate(map(mapping, front)):
            listed = text(each.get("jobArn"))
            if listed and (listed == arn or listed.rpartition("/")[2] == job_id):
                since = moment(each.get("earliestTimeAtPosition"))
                return _Place(number=index + 1, of=len(front), since=since)
    return None


def _shown(place: _Place, now: datetime | None) -> str:
    since = ""
    if place.since:
        long = f" ({span((now - place.since).total_seconds())})" if now else ""
        since = f", there since {iso(place.since)}{long}"
    return f"the job is number {place.number} in the queue, of {place.of} listed{since}"


def _held_resources(job: Mapping[Any, Any]) -> list[Clue]:
    listed = mapping(job.get("consumableResourceProperties")).get("consumableResourceList")
    wanted = [
        amount(number(each.get("quantity")) or 0, text(each.get("consumableResource")))
        for each in map(mapping, items(listed))
    ]
    if not wanted:
        return []
    evidence = f"the job needs consumable resources, which others may hold: {', '.join(wanted)}"
    return [Clue(code="waiting-its-turn", evidence=evidence)]


def _nothing_found(
    world: World,
    job: Mapping[Any, Any],
    needs: Needs,
    environments: Sequence[Environment],
    now: datetime | None,
) -> list[Clue]:
    reason = plain(text(job.get("statusReason")), _REASON_MAX)
    wanted = "; ".join(filter(None, map(wish, needs.asks[:1])))
    names = ", ".join(each.shown for each in environments[:_SHOWN_MAX])
    place = _place(world, job)
    parts = [
        f"Batch says: {reason}" if reason else "Batch gives no reason",
        f"{names} can take the job{f' ({wanted})' if wanted else ''}"
        if environments
        else "the queue's environments are not known here",
        *([_shown(place, now)] if place else []),
    ]
    return [Clue(code="undetermined", evidence="; ".join(parts))]
