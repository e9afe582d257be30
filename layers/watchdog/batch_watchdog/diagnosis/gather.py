"""Read from AWS what a diagnosis needs: from Batch, EC2 and ECS."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import batched
from typing import Any

from botocore.exceptions import BotoCoreError

from batch_watchdog.aws.batch import BatchApi, Detail
from batch_watchdog.core.job_event import ENDED, STARTED
from batch_watchdog.diagnosis.environments import BatchSnapshot
from batch_watchdog.diagnosis.findings import Finding
from batch_watchdog.diagnosis.instance_types import patterns
from batch_watchdog.diagnosis.rules import diagnose
from batch_watchdog.store.decisions import ITEM_ERRORS

logger = logging.getLogger(__name__)

_NOT_IN_QUEUE = ("SCHEDULED", *STARTED, *ENDED)
_INSTANCES_MAX = 100  # container instances that are described, of one cluster
_PATTERNS_MAX = 50  # values of one filter, of the 200 that EC2 takes


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisGatherer:
    """
    Finds out why jobs are stuck at `now`. It lasts for one sweep: what it has read about a queue is
    used for all jobs in it. `ec2` and `ecs` are boto3 clients.

    If EC2 or ECS does not answer, a finding may be missing, but no stop is. Each call of a service
    that cannot be reached takes seconds, so that service is not called again.
    """

    batch: BatchApi
    ec2: Any
    ecs: Any
    now: datetime
    _surroundings: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _refused: dict[str, Exception] = field(default_factory=dict)
    _unreachable: set[str] = field(default_factory=set)
    _fronts: dict[str, frozenset[str]] = field(default_factory=dict)
    _shares: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _known: dict[tuple[str, str], tuple[Finding, ...]] = field(default_factory=dict)

    def findings(self, detail: Detail, *, blocks: bool = False) -> tuple[Finding, ...]:
        """
        Return why a job does not start, the likeliest reason first. Batch describes it as `detail`.

        `blocks`: Batch has sent an event that the job blocks its queue.

        Raises:
            Exception: one of `ITEM_ERRORS`: the calls about the queue failed, or an answer is
                malformed. They are made once for each queue.
        """
        if detail["status"] in _NOT_IN_QUEUE:  # Its queue is not the reason.
            return diagnose(BatchSnapshot(job=detail), self.now)
        queue = str(detail.get("jobQueue") or "")
        if queue in self._refused:
            raise self._refused[queue]
        if queue not in self._surroundings:
            try:
                self._surroundings[queue] = self._look_around(queue) if queue else {}
            except ITEM_ERRORS as error:
                self._refused[queue] = error
                raise
            self._fronts[queue] = _front(self._surroundings[queue].get("snapshot"))
        world = BatchSnapshot(job=detail, blocks=blocks, **self._surroundings[queue])
        if blocks or detail["jobId"] in self._fronts[queue]:  # Its findings depend on its place.
            if detail.get("shareIdentifier"):
                world = replace(world, shares=self._shares_at_the_front(queue))
            return diagnose(world, self.now)
        # Jobs that ask for the same and are not at the front have the same findings.
        alike = queue, _what_it_asks(detail)
        if alike not in self._known:
            self._known[alike] = diagnose(world, self.now)
        return self._known[alike]

    def _shares_at_the_front(self, queue: str) -> Mapping[str, str]:
        """Return the share identifiers of the jobs at the front, by id; read once, in one call."""
        if queue not in self._shares:
            front = _listed(self._surroundings[queue].get("snapshot"))
            details = self._told("batch", partial(self.batch.describe, front)) or {}
            self._shares[queue] = {
                job_id: str(each.get("shareIdentifier") or "") for job_id, each in details.items()
            }
        return self._shares[queue]

    def _told[T](self, service: str, ask: Callable[[], T]) -> T | None:
        """Return the answer of a service; None where the call fails."""
        if service in self._unreachable:
            return None
        try:
            return ask()
        except ITEM_ERRORS as error:
            logger.warning("a diagnosis does without: %s", error)
            if isinstance(error, BotoCoreError):
                self._unreachable.add(service)
            return None

    def _look_around(self, queue: str) -> dict[str, Any]:
        described = self.batch.queue(queue)
        environments = self.batch.environments(described) if described else []
        return {
            "queue": described,
            "environments": environments,
            "snapshot": self.batch.snapshot(queue),
            "instance_types": self._instance_types(environments),
            "container_instances": self._container_instances(environments),
        }

    def _instance_types(self, environments: Sequence[Detail]) -> dict[str, Any]:
        allowed = [
            name
            for environment in environments
            for name in environment.get("computeResources", {}).get("instanceTypes", ())
        ]
        found: dict[str, Any] = {}
        for some in batched(patterns(allowed), _PATTERNS_MAX, strict=False):
            # All pages or none: a part of a family says nothing about all of it.
            found |= self._told("ec2", partial(self._described_types, some)) or {}
        return found

    def _described_types(self, wanted: Sequence[str]) -> dict[str, Any]:
        pages = self.ec2.get_paginator("describe_instance_types").paginate(
            Filters=[{"Name": "instance-type", "Values": list(wanted)}]
        )
        return {each["InstanceType"]: each for page in pages for each in page["InstanceTypes"]}

    def _container_instances(self, environments: Sequence[Detail]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for environment in environments:
            if cluster := environment.get("ecsClusterArn"):
                instances = self._told("ecs", partial(self._instances_of, cluster))
                if instances is not None:
                    found[cluster] = instances
        return found

    def _instances_of(self, cluster: str) -> list[Any] | None:
        """Return all instances of a cluster; None where they are too many."""
        listed = self.ecs.list_container_instances(cluster=cluster, maxResults=_INSTANCES_MAX)
        arns = listed["containerInstanceArns"]
        if listed.get("nextToken"):  # Some of them say nothing about all.
            return None
        if not arns:
            return []
        described = self.ecs.describe_container_instances(cluster=cluster, containerInstances=arns)
        return list(described["containerInstances"])


_OWN = frozenset(  # fields in which similar jobs differ, and which do not affect why they wait
    {
        "attempts",
        "createdAt",
        "eksAttempts",
        "jobArn",
        "jobId",
        "jobName",
        "parameters",
        "startedAt",
        "tags",
    }
)
_OWN_OF_CONTAINER = frozenset({"command", "environment", "logStreamName", "taskArn"})


def _what_it_asks(detail: Detail) -> str:
    container = detail.get("container") or {}
    asked = {name: value for name, value in detail.items() if name not in _OWN}
    asked["container"] = {
        name: value for name, value in container.items() if name not in _OWN_OF_CONTAINER
    }
    return repr(asked)


def _front(snapshot: Detail | None) -> frozenset[str]:
    """Return the ids of the jobs whose place a snapshot contains."""
    shares = (snapshot or {}).get("frontOfQuotaShares", {}).get("quotaShares", {}).values()
    return frozenset([*_listed(snapshot), *(_id(each) for share in shares for each in share)])


def _listed(snapshot: Detail | None) -> list[str]:
    """The ids of the jobs at the front of the whole queue."""
    return [_id(each) for each in (snapshot or {}).get("frontOfQueue", {}).get("jobs", ())]


def _id(listed: Detail) -> str:
    return str(listed.get("jobArn", "")).rpartition("/")[2]
