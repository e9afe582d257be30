"""
Find why a job that is not in its queue does not go on: it is not there yet, or is about to run.

Batch's description of the job is the only source here.
https://docs.aws.amazon.com/batch/latest/userguide/job_states.html
"""

from collections.abc import Iterable, Mapping
from typing import Any

from batch_watchdog.core.job_event import resource_name
from batch_watchdog.diagnosis.findings import GUIDE, Clue
from batch_watchdog.diagnosis.fit import amount
from batch_watchdog.diagnosis.lenient import items, mapping, number, text
from batch_watchdog.diagnosis.needs import is_service_job
from batch_watchdog.notices.phrases import counted, row, say
from batch_watchdog.notices.text import plain

_NAME_MAX = 120
_REASON_MAX = 240
_SHOWN_MAX = 5  # jobs, or images
_BEFORE_STARTING = frozenset({"SUBMITTED", "PENDING"})  # states of a child before its queue


def before_the_queue(job: Mapping[Any, Any]) -> list[Clue]:
    """Return what a SUBMITTED or PENDING job waits for, as far as its description shows."""
    depends_on = _dependencies(job)
    children = _children(job)
    if children and not (depends_on and children.keys() <= _BEFORE_STARTING):
        counts = row((amount(count, state) for state, count in children.items()), ", ")
        evidence = say(
            "an array's parent stays PENDING while its children run: {counts}", counts=counts
        )
        return [Clue(code="waiting-its-turn", evidence=evidence)]
    waits = (
        say("the job waits for {depends_on}", depends_on=_listed(depends_on)) if depends_on else ""
    )
    if text(job.get("status")) == "SUBMITTED":
        evidence = row(filter(None, [say("Batch has not yet taken up the job"), waits]), "; ")
        return [Clue(code="not-taken-up", evidence=evidence)]
    return [Clue(code="dependency-unfinished", evidence=waits)] if waits else []


def waiting_for_nothing(job: Mapping[Any, Any]) -> Clue:
    """Return the clue of a PENDING job that names nothing that it waits for."""
    reason = plain(text(job.get("statusReason")), _REASON_MAX)
    says = say("Batch says: {reason}", reason=reason) if reason else say("Batch gives no reason")
    return Clue(
        code="undetermined",
        evidence=say("the job is PENDING, and names no job that it waits for; {says}", says=says),
        remedy=say(
            "See whether the jobs that it was to wait for still exist; if they have all ended, "
            "cancel the job and submit it again."
        ),
        page=f"{GUIDE}job_dependencies.html",
    )


def starting(job: Mapping[Any, Any]) -> Clue:
    """Return the clue of a STARTING job, whose container does not run yet."""
    if is_service_job(job):
        return _training(job)
    pod = mapping(mapping(job.get("eksProperties")).get("podProperties"))
    return _pod(pod) if pod else _task(job)


# ---- Dependencies -------------------------------------------------------------------------


def _children(job: Mapping[Any, Any]) -> dict[str, float]:
    summary = mapping(mapping(job.get("arrayProperties")).get("statusSummary"))
    counts = ((text(state), number(count)) for state, count in summary.items())
    return {state: count for state, count in counts if state and count}


def _dependencies(job: Mapping[Any, Any]) -> list[str]:
    index = number(mapping(job.get("arrayProperties")).get("index"))
    found = (_dependency(each, index) for each in map(mapping, items(job.get("dependsOn"))))
    return list(dict.fromkeys(filter(None, found)))


def _dependency(each: Mapping[Any, Any], index: float | None) -> str:
    job_id, kind = plain(text(each.get("jobId")), _NAME_MAX), text(each.get("type"))
    if kind == "SEQUENTIAL":
        if index is None:
            return say("its children, which run one after the other (SEQUENTIAL)")
        return (
            say("the child before it, index {index} (SEQUENTIAL)", index=f"{index - 1:.0f}")
            if index
            else ""
        )
    if kind == "N_TO_N" and job_id:
        which = (
            say("each child for its own index")
            if index is None
            else say("its index {index}", index=f"{index:.0f}")
        )
        return say("{job_id} ({which}, N_TO_N)", job_id=job_id, which=which)
    return job_id


def _listed(names: list[str]) -> str:
    left = len(names) - _SHOWN_MAX
    return row(
        [*names[:_SHOWN_MAX], *([say("{left} others", left=left)] if left > 0 else [])], ", "
    )


# ---- Starting -----------------------------------------------------------------------------


def _clue(job_is: str, facts: Iterable[str], *, remedy: str = "", page: str = "") -> Clue:
    evidence = row([job_is, *filter(None, facts)], ", ")
    return Clue(code="container-not-started", evidence=evidence, remedy=remedy, page=page)


def _training(job: Mapping[Any, Any]) -> Clue:
    resource = mapping(mapping(job.get("latestAttempt")).get("serviceResourceId"))
    name = plain(resource_name(text(resource.get("value"))), _NAME_MAX)
    return _clue(
        say("SageMaker has instances for the job, and has not begun the training"),
        [say("training job {name}", name=name) if name else ""],
        remedy=say(
            "See the training job in SageMaker: it downloads its image and its data, and needs "
            "rights and a network for both."
        ),
        page=f"{GUIDE}service-job-status.html",
    )


def _pod(pod: Mapping[Any, Any]) -> Clue:
    name, node = (plain(text(pod.get(key)), _NAME_MAX) for key in ("podName", "nodeName"))
    space = plain(text(mapping(pod.get("metadata")).get("namespace")), _NAME_MAX)
    first = len(items(pod.get("initContainers")))
    return _clue(
        say("the containers of the pod {name} do not run yet", name=name)
        if name
        else say("the containers of the pod do not run yet"),
        [
            say("on the node {node}", node=node) if node else "",
            counted(
                first,
                "{n} init container must end first",
                "{n} init containers must end first",
            )
            if first
            else "",
            _images(items(pod.get("containers"))),
        ],
        remedy=say(
            "See the pod's events (kubectl describe pod {name}{more}): whether its images can be "
            "pulled, its init containers end, and its secrets, volumes and service account are "
            "there.",
            name=name,
            more=say(" -n {space}", space=space) if space else "",
        )
        if name
        else say(
            "See the events of the job's pod: whether its images can be pulled, its init "
            "containers end, and its secrets, volumes and service account are there."
        ),
        page=f"{GUIDE}eks-jobs-map-running-job.html",
    )


def _task(job: Mapping[Any, Any]) -> Clue:
    tasks = [
        mapping(each) for each in items(mapping(job.get("ecsProperties")).get("taskProperties"))
    ]
    own = mapping(job.get("container"))
    containers = [each for task in tasks for each in items(task.get("containers"))] or [own]
    wholes = tasks or [own]
    fargate = "FARGATE" in items(job.get("platformCapabilities"))
    where = say("on Fargate") if fargate else say("on an ECS instance")
    if instance := _first(wholes, "containerInstanceArn"):
        where = say("on the ECS instance {instance}", instance=instance)
    task, role = _first(wholes, "taskArn"), _first(wholes, "executionRoleArn")
    return _clue(
        say("the job's container {where} does not run yet", where=where),
        [
            say("task {task}", task=task) if task else say("Batch names no task of it"),
            _images(containers),
            say("execution role {role}", role=role) if role else "",
            _count(containers, "secrets"),
            _count(wholes, "volumes"),
            _address(wholes) if fargate else "",
            _waits_for_others(containers),
        ],
        remedy=_FARGATE_REMEDY if fargate else "",
    )


_FARGATE_REMEDY = say(
    "See the ECS task and its events. It needs a free address in its subnet, a way to the image's "
    "registry, secrets and log (public address, NAT or VPC endpoints), and an execution role that "
    "may use them. A large image takes long to pull."
)


def _first(parts: Iterable[Mapping[Any, Any]], key: str) -> str:
    names = (plain(resource_name(text(each.get(key))), _NAME_MAX) for each in parts)
    return next(filter(None, names), "")


def _images(containers: Iterable[Any]) -> str:
    images = [plain(text(mapping(each).get("image")), _NAME_MAX) for each in containers]
    found = list(dict.fromkeys(filter(None, images)))
    return say("image {found}", found=_listed(found)) if found else ""


def _count(parts: Iterable[Any], key: str) -> str:
    count = sum(len(items(mapping(each).get(key))) for each in parts)
    return (
        say("{count} {key}", count=count, key=key if count > 1 else key.removesuffix("s"))
        if count
        else ""
    )


def _address(parts: Iterable[Mapping[Any, Any]]) -> str:
    given = (
        text(mapping(each.get("networkConfiguration")).get("assignPublicIp")) for each in parts
    )
    return say("no public address (assignPublicIp DISABLED)") if "DISABLED" in given else ""


def _waits_for_others(containers: Iterable[Any]) -> str:
    waiting = any(items(mapping(each).get("dependsOn")) for each in containers)
    return say("some of its containers wait for others (dependsOn)") if waiting else ""


def consumable_resources(job: Mapping[Any, Any]) -> list[Clue]:
    listed = mapping(job.get("consumableResourceProperties")).get("consumableResourceList")
    wanted = [
        say(
            "{quantity} of {resource}",
            quantity=f"{number(each.get('quantity')) or 0:,.12g}",
            resource=plain(resource_name(name), _NAME_MAX),
        )
        for each in map(mapping, items(listed))
        if (name := text(each.get("consumableResource")))
    ]
    if not wanted:
        return []
    evidence = say(
        "the job starts only when it can have {names}; how much of that is available is not known "
        "here",
        names=row(wanted, " and "),
    )
    return [Clue(code="consumable-resource", evidence=evidence)]
