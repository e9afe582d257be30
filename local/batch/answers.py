"""Shows the simulated Batch's jobs: as an event's detail, and in the shapes of the API."""

from functools import cache, lru_cache
from typing import Any, cast

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

from local.batch.state import Job
from local.batch.work import Work, moments, stop_marks, tags_of, work_detail

_KINDS: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "list": (list,),
    "map": (dict,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}

_SUMMARY: dict[str, type] = {
    "jobArn": str,
    "jobName": str,
    "jobDefinition": str,
    "shareIdentifier": str,
    "statusReason": str,
    "createdAt": int,
    "scheduledAt": int,
    "startedAt": int,
    "stoppedAt": int,
    "isCancelled": bool,
    "isTerminated": bool,
}

_SUMMARY_END: dict[str, type] = {"exitCode": int, "reason": str}

_OF_ONE_RUN = ("exitCode", "reason", "logStreamName", "taskArn", "containerInstanceArn")
_OF_ONE_MOMENT = (
    "attempts",
    "eksAttempts",
    "preemptionSummary",
    "statusReason",
    "scheduledAt",
    "startedAt",
    "stoppedAt",
    "isCancelled",
    "isTerminated",
)


@cache
def shape(name: str) -> StructureShape:
    """Return a shape of Batch's API, by its name in botocore's model."""
    return cast("StructureShape", _model().shape_for(name))


@cache
def _model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("batch", "service-2"), "batch")


def conform(to: Shape, value: Any) -> Any:
    """
    Return the parts of `value` that conform to the shape.

    None if its type is wrong, or if a required member is missing or does not conform.
    """
    if type(value) not in _KINDS[to.type_name]:
        return None
    if isinstance(to, StructureShape):
        return _conform_structure(to, value)
    if isinstance(to, ListShape):
        return [kept for item in value if (kept := conform(to.member, item)) is not None]
    if isinstance(to, MapShape):
        each = {key: conform(to.value, item) for key, item in value.items()}
        return {key: item for key, item in each.items() if item is not None}
    return value


def _conform_structure(to: StructureShape, value: dict[str, Any]) -> dict[str, Any] | None:
    members = to.members
    found = {}
    for name, item in value.items():
        if item is not None and name in members:
            kept = conform(members[name], item)
            if kept is not None:
                found[name] = kept
    return found if all(name in found for name in to.required_members) else None


def event_detail(job: Job) -> dict[str, Any]:
    """Return the job as the `detail` of Batch's event."""
    return work_detail(job, job.work) if job.work else _told_detail(job)


def _told_detail(job: Job) -> dict[str, Any]:
    detail = job.told | {"jobId": job.id, "status": job.status} | stop_marks(job)
    if job.children:
        summary = job.children.summary()
        detail["arrayProperties"] = {"size": job.children.size, "statusSummary": summary}
        if job.children.tags:  # A child's tags are those that its array was submitted with.
            own = detail.get("tags")
            detail["tags"] = job.children.tags | (own if isinstance(own, dict) else {})
    if job.reason:
        detail["statusReason"] = job.reason
    if job.stopped_ms and not job.children:
        detail["stoppedAt"] = job.stopped_ms
    if job.cut:
        _add_cut_attempt(job, detail)
    return detail


def _add_cut_attempt(job: Job, detail: dict[str, Any]) -> None:
    """Add the attempt that a stop ended: the log shows a different end of it, or none."""
    container = detail.get("container")
    run = container if isinstance(container, dict) else {}
    where = {name: run[name] for name in _OF_ONE_RUN[2:] if name in run}
    attempt = {
        "container": where | {"exitCode": 137, "networkInterfaces": []},
        "stoppedAt": job.stopped_ms,
        "statusReason": job.reason,
    }
    if detail.get("startedAt"):
        attempt["startedAt"] = detail["startedAt"]
    detail["attempts"] = [*_list(detail.get("attempts")), attempt]
    if run:
        detail["container"] = run | {"exitCode": 137}


def lasting(detail: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a job's detail that is the same at all times of its life."""
    kept = {name: item for name, item in detail.items() if name not in _OF_ONE_MOMENT}
    if isinstance(kept.get("container"), dict):
        container = kept["container"].items()
        kept["container"] = {name: item for name, item in container if name not in _OF_ONE_RUN}
    return kept | {"attempts": []}


def described(job: Job) -> dict[str, Any]:
    """Return the job as it is now, as DescribeJobs or DescribeServiceJob shows it."""
    # A description of own work is cheap to make; a parent's changes with each child.
    if job.work or job.children:
        return describe(job)
    return dict(_remembered(job, job.version))


def described_late(job: Job) -> dict[str, Any] | None:
    """
    Return the job as the API describes it, which may be its state some seconds ago.

    None if the API does not describe it yet.
    """
    if not job.described_late:
        return described(job)
    detail = job.described_as
    return detail and detail | _array_counts(job)


def describe(job: Job) -> dict[str, Any]:
    """Make the description of a job as it is now."""
    # Batch always gives these fields; a log may leave them out.
    detail: dict[str, Any] = {"startedAt": 0, "createdAt": job.created_ms, "tags": {}}
    detail |= dict.fromkeys(_named(job), "")
    detail |= {name: item for name, item in event_detail(job).items() if item is not None}
    if isinstance(detail.get("tags"), dict):  # Only events have this one.
        detail["tags"] = {name: it for name, it in detail["tags"].items() if name != "resourceArn"}
    if job.work:
        if job.service and (tags := tags_of(job, job.work)):  # Its events have none.
            detail["tags"] = dict(tags)
        return detail
    name = "DescribeServiceJobResponse" if job.service else "JobDetail"
    return conform(shape(name), detail) or _bare(job, detail)


@lru_cache(maxsize=20_000)
def _remembered(job: Job, version: int) -> dict[str, Any]:
    del version  # It is only a part of the cache's key.
    return describe(job)


def _named(job: Job) -> tuple[str, ...]:
    return ("jobName", "jobQueue", "serviceJobType" if job.service else "jobDefinition")


def _bare(job: Job, detail: dict[str, Any]) -> dict[str, Any]:
    """Return the least description, for a log that has a required field in a wrong shape."""
    bare: dict[str, Any] = {"jobId": job.id, "status": job.status, "startedAt": 0, "tags": {}}
    for name in _named(job):
        bare[name] = detail[name] if isinstance(detail[name], str) else ""
    return bare


def summarised(job: Job) -> dict[str, Any]:
    """Return the job as a list shows it, which may be its state some seconds ago."""
    return job.listed_as | _array_counts(job) if job.listed_as else outlined(job)


def listed_status(job: Job) -> str:
    """Return the status in which lists show the job; "" if they do not show it yet."""
    if not job.listed_late:
        return job.status
    return str(job.listed_as["status"]) if job.listed_as else ""


def outlined(job: Job) -> dict[str, Any]:
    """Return the summary of the job as it is now."""
    # Lists of a queue may have hundreds of thousands of jobs, so this does not make the detail.
    given = _outline(job, job.work) if job.work else _told_outline(job)
    summary: dict[str, Any] = {"jobName": "", "createdAt": job.created_ms}
    summary |= {name: it for name, it in given.items() if type(it) is _SUMMARY.get(name)}
    summary |= {"jobId": job.id, "status": job.status}
    if job.service:
        summary.pop("jobDefinition", None)
        return summary | {"serviceJobType": "SAGEMAKER_TRAINING"}
    container = given["container"] if isinstance(given.get("container"), dict) else {}
    ended = {name: it for name, it in container.items() if type(it) is _SUMMARY_END.get(name)}
    if ended:
        summary["container"] = ended
    if job.array:
        summary["arrayProperties"] = {"index": job.index}
    summary |= _array_counts(job)
    if nodes := node_count(job):
        summary["nodeProperties"] = {"numNodes": nodes}
    return summary


def _array_counts(job: Job) -> dict[str, Any]:
    if job.children is None:
        return {}
    counts = {"size": job.children.size, "statusSummary": job.children.summary()}
    return {"arrayProperties": counts}


def _outline(job: Job, work: Work) -> dict[str, Any]:
    outline: dict[str, Any] = {
        "jobArn": work.arn_start + job.id,
        "jobName": work.name,
        "jobDefinition": work.definition_arn,
    }
    if work.share:
        outline["shareIdentifier"] = work.share
    if job.scheduled_ms:
        outline["scheduledAt"] = job.scheduled_ms
    if job.stopped_ms and job.attempts:
        outline["container"] = job.attempts[-1].get("container")
    return outline | moments(job)


def _told_outline(job: Job) -> dict[str, Any]:
    outline = job.told | stop_marks(job)
    if job.reason:
        outline["statusReason"] = job.reason
    if job.stopped_ms and not job.children:
        outline["stoppedAt"] = job.stopped_ms
    return outline


def node_of(job: Job, index: int) -> dict[str, Any]:
    """Return one node of a multi-node parallel job, as DescribeJobs shows it."""
    detail = described(job)
    is_main = index == detail["nodeProperties"]["mainNode"]
    node = {name: item for name, item in detail.items() if name != "nodeProperties"}
    return node | {
        "jobArn": f"{detail.get('jobArn', job.id)}#{index}",
        "jobId": f"{job.id}#{index}",
        "nodeDetails": {"nodeIndex": index, "isMainNode": is_main},
    }


def node_summary(job: Job, index: int) -> dict[str, Any]:
    """Return one node of a multi-node parallel job, as ListJobs shows it."""
    node = node_of(job, index)
    return summarised(job) | {
        "jobArn": node["jobArn"],
        "jobId": node["jobId"],
        "nodeProperties": node["nodeDetails"],
    }


def node_count(job: Job) -> int:
    """Return the number of nodes; 0 if the job is not a multi-node parallel job."""
    if job.work:
        return job.work.nodes or 0
    properties = job.told.get("nodeProperties")
    if not isinstance(properties, dict) or not isinstance(properties.get("numNodes"), int):
        return 0
    return int(properties["numNodes"])


def vcpus_of(job: Job) -> float:
    """Return the vCPUs that a job uses while it starts and runs; 0 if they are not known."""
    if job.work:
        return job.work.vcpus * (job.work.nodes or 1)
    container = job.told.get("container")
    if not isinstance(container, dict):
        return 0
    for need in _list(container.get("resourceRequirements")):
        if isinstance(need, dict) and need.get("type") == "VCPU":
            return _number(need.get("value"))
    return _number(container.get("vcpus"))


def _number(text: object) -> float:
    try:
        return float(text) if isinstance(text, int | float | str) else 0
    except ValueError:
        return 0


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
