"""
Diagnose why a job does not start: collect the causes, the likeliest first.

Each environment is judged separately: one that is broken, full or too small explains nothing as
long as another one of the same queue can take the job. So the order is: why *no* environment takes
jobs, what Batch itself says, why the job fits into no environment, what it waits for. Batch's
remark on a job's requirements is general, and Batch also makes it for a while when an environment
grows: it is a cause only where the numbers prove it, or no environment grows.
https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from batch_watchdog.core.job_event import ENDED, STARTED
from batch_watchdog.diagnosis.environments import (
    BatchSnapshot,
    EnvironmentVerdict,
    queue_trouble,
    verdicts,
)
from batch_watchdog.diagnosis.findings import Clue, Finding, FindingCode, finding, in_order, merged
from batch_watchdog.diagnosis.fit import Environment, fits
from batch_watchdog.diagnosis.lenient import mapping, text
from batch_watchdog.diagnosis.needs import Needs, is_service_job, needs_of
from batch_watchdog.diagnosis.outside_queue import (
    before_the_queue,
    consumable_resources,
    starting,
    waiting_for_nothing,
)
from batch_watchdog.diagnosis.queue_position import (
    LISTED_MAX,
    Place,
    front_of,
    held_by_quota_share,
    own_quota_share,
    place_of,
    shares_use,
    shown,
    stuck_head,
)
from batch_watchdog.diagnosis.room import full, not_joining
from batch_watchdog.diagnosis.undetermined import REQUIREMENT, is_blocked, nothing_found
from batch_watchdog.notices.phrases import row, say
from batch_watchdog.notices.text import plain

# What Batch writes into a stuck job's `statusReason`. The more specific reasons come first.
# https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable_misconfiguration.html
_QUOTA = "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED"
_REASONS: tuple[tuple[str, FindingCode], ...] = (
    (REQUIREMENT, "exceeds-instance-size"),
    ("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", "insufficient-capacity"),
    ("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", "exceeds-max-vcpus"),
    ("MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE", "exceeds-max-vcpus"),
    (_QUOTA, "exceeds-max-vcpus"),
    ("MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED", "configuration-unsupported"),
    ("MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS", "permissions"),
    ("ACTION_REQUIRED", "compute-environment-invalid"),
    # Reasons that AWS may add.
    ("MISCONFIGURATION:", "configuration-unsupported"),
    ("CAPACITY:", "insufficient-capacity"),
)
_REASON_MAX = 240
_SHOWN_MAX = 5  # environments
_NAME_MAX = 80

_WITH_SAGEMAKER = "SCHEDULED"  # a state of service jobs only
_QUOTA_REMEDY = say(
    "Raise the quota share's capacityLimits (maxCapacity) or borrowLimit to what the job needs, or "
    "terminate the job and submit it with less: as it is, it can never start."
)
_STANDSTILL_REMEDY = say(
    "See why the first job does not start (explain it), and repair that or cancel it: the jobs "
    "behind it wait for it."
)


def diagnose(world: BatchSnapshot, now: datetime) -> tuple[Finding, ...]:
    """
    Return why a job does not go on, the likeliest reason first. Never raises, never empty.

    `undetermined` is returned alone, when nothing else was found. `now` (with a time zone) shows
    how long the job has been at its place in the queue: a job that has been at the head for some
    time no longer waits for its turn.
    """
    job = mapping(world.job)
    status = text(job.get("status"))
    if status in (_WITH_SAGEMAKER, *STARTED, *ENDED):
        clues = _when_started(job, status)
    else:
        clues = _when_waiting(world, job, now)
    return tuple(finding(clue, service=is_service_job(job)) for clue in merged(clues))


def _when_started(job: Mapping[Any, Any], status: str) -> list[Clue]:
    """
    Return the clue of a job that has left its queue, by its description alone.

    Its status reason may still be the one for which it was stuck in the queue. Unless the job has
    ended, that is not a cause any more: it is only quoted.
    """
    said = _batch_says(job)
    if said and status in ENDED:
        return [said]
    reason = plain(text(job.get("statusReason")), _REASON_MAX)
    quoted = say("; Batch says: {reason}", reason=reason) if reason else ""
    if status == _WITH_SAGEMAKER:
        evidence = say("Batch has handed the job to SageMaker, which has no instances for it yet")
        return [Clue(code="insufficient-capacity", evidence=row([evidence, quoted], ""))]
    if status == "STARTING":
        clue = starting(job)
        return [replace(clue, evidence=row([clue.evidence, quoted], ""))]
    return [
        Clue(
            code="undetermined",
            evidence=say(
                "the job is {status}{quoted}",
                status=status,
                quoted=quoted or say(", so it has found its place"),
            ),
            remedy=say(
                "Look at its image, execution role, secrets and log: the queue is not to blame."
            )
            if status in STARTED
            else say("Look at its status reason and its log."),
        )
    ]


def _when_waiting(world: BatchSnapshot, job: Mapping[Any, Any], now: datetime) -> list[Clue]:
    needs = needs_of(job)
    judged = verdicts(world, needs)
    usable = [each for each in judged if each.usable]
    broken = [each.broken for each in judged if each.broken]
    misfits = [] if usable else [misfit for each in judged for misfit in each.misfits]
    tight = [each.tight for each in usable if each.tight]
    if len(tight) < len(usable):
        tight = []  # At least one has room enough.
    trouble = queue_trouble(mapping(world.queue))
    environments = [each.environment for each in usable]

    clues = in_order([*([] if usable else broken), *([trouble] if trouble else [])])
    if text(job.get("status")) == "PENDING":  # It may wait only for other jobs.
        waits = before_the_queue(job) or consumable_resources(job)
        return waits + clues or [waiting_for_nothing(job)]
    if text(job.get("status")) == "SUBMITTED":
        return clues + before_the_queue(job)
    said = _batch_says(job)
    if REQUIREMENT in text(job.get("statusReason")) and said:
        clues += _explained(said, [*in_order(misfits), *tight], environments, needs)
        tight = []
    else:
        clues += [*([said] if said else []), *in_order(misfits)]
    clues += _waits_for(world, needs, judged, now, explained=bool(clues))
    clues += tight
    clues = clues or nothing_found(world, needs, environments, now)
    if usable and broken:
        aside = row((clue.evidence for clue in broken[:_SHOWN_MAX]), "; ")
        clues[0] = replace(
            clues[0],
            evidence=say("{evidence}; besides, {aside}", evidence=clues[0].evidence, aside=aside),
        )
    return clues


# ---- What Batch itself says ---------------------------------------------------------------


def _batch_says(job: Mapping[Any, Any]) -> Clue | None:
    reason = text(job.get("statusReason"))
    evidence = say("Batch says: {reason}", reason=plain(reason, _REASON_MAX))
    codes = (code for known, code in _REASONS if known in reason)
    code = next(codes, None)
    remedy = _QUOTA_REMEDY if _QUOTA in reason else ""
    return Clue(code=code, evidence=evidence, remedy=remedy) if code else None


def _explained(
    said: Clue, numbers: Sequence[Clue], environments: Sequence[Environment], needs: Needs
) -> list[Clue]:
    """
    Return the numbers that prove Batch's remark on the job's requirements, and the remark.

    Without such numbers the remark counts only if no environment is growing, and EC2 shows no
    instance type that takes the job: a type's name shows no more than an upper bound.
    """
    if not numbers:
        grows = not environments or any(each.desired != 0 for each in environments)
        if grows or any(fits(_described(each), needs) for each in environments):
            return []
        note = say("no environment is growing: each of them wants 0 vCPUs")
        return [replace(said, evidence=row([said.evidence, note], "; "))]
    evidence = say("{evidence}; {also}", evidence=numbers[0].evidence, also=said.evidence)
    return [replace(numbers[0], evidence=evidence), *numbers[1:]]


def _described(environment: Environment) -> Environment:
    """Return the environment with those sizes only that EC2 has described."""
    sizes = tuple(size for size in environment.sizes if not size.from_name)
    return replace(environment, sizes=sizes)


# ---- What a job waits for -----------------------------------------------------------------


def _waits_for(
    world: BatchSnapshot,
    needs: Needs,
    judged: Sequence[EnvironmentVerdict],
    now: datetime,
    *,
    explained: bool,
) -> list[Clue]:
    """`explained`: a reason was found already; the head of the queue waits for that."""
    place = place_of(world)
    reasons = (full(world, needs, judged), not_joining(judged), _share(world, place))
    busy = [clue for clue in reasons if clue]
    resources = consumable_resources(mapping(world.job))
    if world.blocks or (place and place.is_head):
        known = is_blocked(world) or explained or busy or resources
        waits = place and not (known or place.is_stuck(now))
        return busy + resources + (_turn(world, place, now, standstill=False) if waits else [])
    turn = _turn(world, place, now, standstill=not (busy or explained))
    # Only at the head does a job wait for consumable resources; before, it waits for its turn.
    return busy + turn + resources


def _share(world: BatchSnapshot, place: Place | None) -> Clue | None:
    """Return a clue if jobs of the quota share hold capacity: its own limit may be reached."""
    name = place.quota_share if place else text(mapping(world.job).get("quotaShareName"))
    name = plain(name, _NAME_MAX)
    held = held_by_quota_share(world, name)
    if not held:
        return None
    evidence = say(
        "the jobs of the quota share {name} hold {held}; its limit, which is not known here, may "
        "leave no room for more",
        name=name,
        held=held,
    )
    return Clue(code="share-limit", evidence=evidence)


def _turn(
    world: BatchSnapshot, place: Place | None, now: datetime, *, standstill: bool
) -> list[Clue]:
    """`standstill`: no reason was found, so a job that has been first for long is named."""
    listed = len(front_of(world))
    share = plain(text(mapping(world.job).get("shareIdentifier")), _NAME_MAX)
    if place:
        evidence = shown(place, now)
    elif own_quota_share(world):
        evidence = say("the job is not the first of its quota share")
    elif listed >= LISTED_MAX:
        evidence = say("the job is not among the first {listed} of the queue", listed=listed)
    else:
        return []
    by_share = bool(share) and not (place and place.number == 1)
    stuck = stuck_head(world, now) if standstill else ""
    parts = [evidence, shares_use(world) if by_share else "", stuck]
    return [
        Clue(
            code="fair-share" if by_share else "waiting-its-turn",
            evidence=row(filter(None, parts), "; "),
            remedy=_STANDSTILL_REMEDY if stuck else "",
        )
    ]
