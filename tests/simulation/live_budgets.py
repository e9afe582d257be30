"""
What live budgets may have rung for, counted apart from the package: it imports none of its rules.

The count is Batch's own: each attempt from its start to its stop, with what the job asks for. Of an
attempt that has ended, the watchdog knows so once an event, or a look at the job, has told of it
and a sweep has counted that: until then it may be taken to run. So what is counted here is the most
that the watchdog can have counted at a second.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from tests.simulation.history import History

_HOUR = timedelta(hours=1)
_LOOK = timedelta(minutes=35)  # In so long what no event tells of is seen.
_COUNTED = timedelta(minutes=4)  # by a sweep; one may fail, and the next one sees to it
_LATE = timedelta(minutes=8)  # A sweep may be.
_JUMP = timedelta(seconds=20)  # by which an event may tell of a time before its own
_KINDS = ("budget-warning", "budget-reached")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """
    A share (per cent) of a budget, told at a time; `against` says why that cannot be so. `table` is
    the budget as the policy has it that the sweep had read, if it may have read one.
    """

    budget: str
    table: Mapping[str, Any] | None
    percent: float
    at: datetime
    ends: datetime
    against: str


@dataclass(frozen=True, slots=True)
class _Attempt:
    queue: str
    vcpus: float
    gpus: float
    start: datetime
    stop: datetime
    known: datetime  # that it has stopped


def rung(seen: "History", trees: Mapping[datetime, Mapping[str, Any]]) -> Iterator[Rung]:
    """The thresholds that were told, in order of time; by the policies from some times on."""
    attempts = list(_attempts(seen))
    told = [notice for _, notice in seen.notices() if notice.kind in _KINDS]
    for notice in sorted(told, key=lambda notice: str(notice.facts["counted_at"])):
        facts = notice.facts
        at = datetime.fromisoformat(facts["counted_at"])
        budgets = [
            each
            for tree in _in_force(trees, at)
            for each in tree.get("budget", ())
            if each["name"] == facts["budget"]
        ]
        shares = [_percent(each, attempts, at + timedelta(seconds=1)) for each in budgets]
        share = max(shares, default=0.0)
        against = "" if share >= facts["threshold"] - 1e-6 else f"{share:.3f} % at most are used"
        ends = max((_period(each, at)[1] for each in budgets), default=at)
        yield Rung(
            budget=facts["budget"],
            table=next(
                (each for each in budgets[::-1] if facts["limit"].items() <= each.items()), None
            ),
            percent=float(facts["threshold"]),
            at=at,
            ends=ends,
            against=against,
        )


def has_ended(tree: Mapping[str, Any], guard: str, since: datetime, until: datetime) -> bool:
    """Whether a period of a budget that a guard names ended in a span of time."""
    named = {
        share["name"]
        for rule in tree.get("guard", ())
        for stage in rule["stage"]
        for share in stage.get("budgets", ())
        if rule["name"] == guard
    }
    budgets = [each for each in tree.get("budget", ()) if each["name"] in named]
    return any(_period(each, since) != _period(each, until) for each in budgets)


def _in_force(trees: Mapping[datetime, Mapping[str, Any]], at: datetime) -> list[Mapping[str, Any]]:
    """The policies that a sweep may have read that tells of something at a time."""
    before = [since for since in trees if since <= at - timedelta(minutes=1)][-1:]
    first = before[0] if before else min(trees)
    return [tree for since, tree in trees.items() if first <= since <= at]


def _percent(budget: Mapping[str, Any], attempts: list[_Attempt], at: datetime) -> float:
    begins, _ = _period(budget, at)
    used = {"vcpu_hours": 0.0, "gpu_hours": 0.0, "usd": 0.0}
    rates = budget.get("rates", {})
    for each in attempts:
        if not fnmatchcase(each.queue, budget.get("match", {}).get("queue", "*")):
            continue
        until = at if at < each.known else min(at, each.stop)
        hours = max(0.0, (until - max(each.start, begins)) / _HOUR)
        used["vcpu_hours"] += each.vcpus * hours
        used["gpu_hours"] += each.gpus * hours
        price = each.vcpus * rates.get("vcpu_hour", 0) + each.gpus * rates.get("gpu_hour", 0)
        used["usd"] += price * hours
    shares = [100 * amount / float(budget[unit]) for unit, amount in used.items() if unit in budget]
    return max(shares)


def _period(budget: Mapping[str, Any], at: datetime) -> tuple[datetime, datetime]:
    zone = ZoneInfo(budget.get("time_zone", "UTC"))
    day = at.astimezone(zone).date()
    first = day if budget["per"] == "day" else day - timedelta(days=day.weekday())
    after = first + timedelta(days=1 if budget["per"] == "day" else 7)
    begins, ends = (
        datetime(each.year, each.month, each.day, tzinfo=zone).astimezone(UTC)
        for each in (first, after)
    )
    return begins, ends


def _attempts(seen: "History") -> Iterator[_Attempt]:
    jumps = _JUMP if seen.plan.event_rates.jumps else timedelta()
    is_late = seen.plan.event_rates.sweeps_late or any(
        step.kind == "late_sweeps" for step in seen.plan.steps
    )
    counted = _COUNTED + (_LATE if is_late else timedelta())
    for job_id, detail in seen.details.items():
        if (detail.get("arrayProperties") or {}).get("size") or "serviceJobType" in detail:
            continue
        vcpus, gpus = (thousandths / 1_000 for thousandths in needs(detail))
        made = detail.get("attempts") or detail.get("eksAttempts") or []
        spans = [(each.get("startedAt"), each.get("stoppedAt")) for each in made]
        if detail["status"] == "RUNNING":
            spans.append((detail["startedAt"], None))
        for number, (start, stop) in enumerate(spans):
            if not start:
                continue
            stopped = _time(stop) if stop else seen.ended + _HOUR
            told = [
                received.at
                for received in seen.received.get(job_id, ())
                if received.attempts > number or received.status in ("SUCCEEDED", "FAILED")
            ]
            known = max(stopped, min([*told, stopped + _LOOK]))
            yield _Attempt(
                queue=str(detail["jobQueue"]).rpartition("/")[2],
                vcpus=vcpus,
                gpus=gpus,
                start=_time(start) - jumps,
                stop=stopped,
                known=known + counted,
            )


def _time(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def needs(detail: Mapping[str, Any]) -> tuple[int, int]:
    """How many thousandths of vCPUs and of GPUs a job of the simulated Batch asks for."""
    nodes = detail.get("nodeProperties") or {}
    if nodes.get("numNodes"):
        [only] = nodes["nodeRangeProperties"]
        vcpus, gpus = _of_container(only["container"])
        return vcpus * nodes["numNodes"], gpus * nodes["numNodes"]
    pod = (detail.get("eksProperties") or {}).get("podProperties")
    if pod:
        resources = [each["resources"] for each in pod["containers"]]
        asked = [{**each.get("limits", {}), **each.get("requests", {})} for each in resources]
        vcpus = sum(round(float(each.get("cpu", 0)) * 1_000) for each in asked)
        return vcpus, sum(round(float(each.get("nvidia.com/gpu", 0)) * 1_000) for each in asked)
    return _of_container(detail.get("container") or {})


def _of_container(container: Mapping[str, Any]) -> tuple[int, int]:
    asked = {
        each["type"]: round(float(each["value"]) * 1_000)
        for each in container.get("resourceRequirements", ())
    }
    return asked.get("VCPU", 0), asked.get("GPU", 0)
