"""
Whether a changing call was justified at the second at which Batch received it.

This model is written apart from the package, from the design alone: it imports none of the
package's rules. It reads the policy's text, matches globs, and follows alarms, commands and the
jobs' true states by itself. Where it cannot know what the watchdog knew, it takes the reading in
which the call is justified:

* A call may rest on what was so at any second of the invocation that made it (time passes in an
  invocation only where others are faster, or where calls take time, and never more than
  `_INVOCATION`), or up to `_RACE` before: that long a change takes from the table through the
  stream to the function that makes the call.
* A live budget rings from when it was told to be reached, if so much was used then by a count of
  our own. It does so until its period is over, or the policy's budget is another one.
* Events tell whole seconds; where the plan has clocks that are wrong, they may be behind by
  `_JUMP`.
"""

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tests.simulation import live_budgets
from tests.simulation.live_budgets import Rung

if TYPE_CHECKING:
    from local.batch.simulated import Call
    from tests.simulation.history import History, Made

_RACE = timedelta(seconds=2)
_INVOCATION = timedelta(seconds=60)
_JUMP = timedelta(seconds=20)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_BATCH = timedelta(seconds=6)  # in which the events of one batch come
_SHOWN = timedelta(minutes=3)  # After it, every answer of Batch shows that a child has ended.
_PREFIX = "batch-watchdog:"

_WAITING = ("SUBMITTED", "PENDING", "RUNNABLE", "SCHEDULED")
_STARTED = ("STARTING", "RUNNING")
_ENDED = ("SUCCEEDED", "FAILED")
_HARDNESS = {"calm": 0, "cancel": 1, "terminate": 2}


# An invocation that fails may have written what it decided; a command that is refused has not.
_FAILED = re.compile(
    r"Crash|[A-Z]\w*(?:Error|Group|Exception)\b|others are changing the same, or this is a repeat"
)


def unjustified(seen: "History") -> Iterator[str]:
    """The changing calls that nothing asked for, each with what speaks against it."""
    if not seen.made:
        return
    model = _Model(seen)
    for made in seen.made:
        call = made.call
        against = model.against_queue(made) if call.queue else None
        if against:
            yield f"{call.at:%H:%M:%S} {call.api} {call.queue} {call.state}: {against}"
        for job_id in call.jobs:
            against = model.against(made, job_id)
            if against:
                yield f"{call.at:%H:%M:%S} {call.api} of {job_id} ({call.reason}): {against}"


# ---- What is read -------------------------------------------------------------------------


def _is_for_the_rest(reason: str) -> bool:
    """Whether a stop's reason is the rule that stops the rest of an array."""
    return "children failed" in reason or "the array was stopped before" in reason


def _span(text: object) -> timedelta | None:
    """A span as a policy or a tag writes it; None for all else."""
    written = text.strip() if isinstance(text, str) else ""
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", written) or re.fullmatch(
        r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", written
    )
    if not found or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return span if timedelta() < span <= timedelta(days=30) else None


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "yes", "1")


def _globs(value: Any) -> Sequence[str] | None:
    return [value] if isinstance(value, str) else value


def _any_glob(value: object, names: Sequence[str], arn: str = "") -> bool:
    globs = _globs(value)
    return globs is None or any(
        fnmatchcase(name, glob)
        for glob in globs
        for name in ((arn,) if glob.startswith("arn:") else names)
    )


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class _Job:
    """A job as rules see it, at a time."""

    name: str
    queue: str
    definition: str
    tags: Mapping[str, str]
    service: bool


def _matches(match: Mapping[str, Any] | None, job: _Job) -> bool:
    match = match or {}
    definition = _last(job.definition)
    return (
        _any_glob(match.get("name"), [job.name])
        and _covers_queue(match, job.queue)
        and _any_glob(
            match.get("definition"), [definition, definition.partition(":")[0]], job.definition
        )
        and all(job.tags.get(key) == value for key, value in match.get("tags", {}).items())
    )


def _covers_queue(match: Mapping[str, Any] | None, queue: str) -> bool:
    return _any_glob((match or {}).get("queue"), [_last(queue)], queue)


def _mode(tree: Mapping[str, Any], rule: Mapping[str, Any] | None) -> str:
    return str((rule or {}).get("mode") or tree.get("mode", "observe"))


@dataclass(frozen=True, slots=True)
class _Limit:
    """The limit of one job in one state."""

    enforced: bool
    how: str
    shortest: timedelta
    escalate: bool


def _limit(tree: Mapping[str, Any], job: _Job, status: str) -> _Limit | None:
    rule = next((each for each in tree.get("limit", ()) if _matches(each.get("match"), job)), None)
    given = (rule or {}).get(status)
    waits = status in ("RUNNABLE", "SCHEDULED")
    usual = "cancel" if waits else "terminate"
    how = str(given.get("action", usual)) if given else usual
    own = _span(job.tags.get(_PREFIX + status))
    spans: list[timedelta | None] = []
    if own:
        spans = [own]
    elif given:
        spans = [_span(given.get("after")), *map(_span, given.get("after_by_cause", {}).values())]
    shortest = min((span for span in spans if span), default=None)
    if shortest is None:
        return None
    escalate = bool(given and given.get("escalate"))
    return _Limit(_mode(tree, rule) == "enforce", how, shortest, escalate)


# ---- Evidence -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Evidence:
    """One message: of an alarm, a budget or an anomaly. `at` is its own time."""

    source: str
    names: frozenset[str]
    state: str
    at: datetime
    ends: datetime | None = None  # of a budget's period, or an anomaly's day
    forecast: bool = False
    percent: float | None = None  # of the budgeted amount, at the message's threshold
    amount: float | None = None  # the threshold itself
    is_cost: bool = True

    def names_stage(self, stage: Mapping[str, Any]) -> bool:
        """Whether a stage of a guard means this."""
        if self.source == "live":
            shares = ((each["name"], each.get("percent", 100)) for each in stage.get("budgets", ()))
            return any(name in self.names and share == self.percent for name, share in shares)
        if self.names & set(stage.get("alarms", ())):
            return self.source != "budget" or self._is_whole(stage)
        return self.source == "budget" and any(
            self._is_meant(given) for given in stage.get("aws_budgets", ())
        )

    def _is_whole(self, stage: Mapping[str, Any]) -> bool:
        """A budget's bare name: 100 % of its costs, actual, or forecast where the stage says so."""
        if self.forecast and not stage.get("forecast"):
            return False
        # A message that does not say its threshold may be meant.
        return self.is_cost and (self.percent is None or self.percent >= 100 - 1e-6)

    def _is_meant(self, given: Mapping[str, Any]) -> bool:
        if given.get("name") not in self.names or bool(given.get("forecast")) != self.forecast:
            return False
        if "amount" in given:
            return self.amount is None or abs(self.amount - float(given["amount"])) < 0.01
        wanted = float(given.get("percent", 100))
        return self.percent is None or abs(self.percent - wanted) < 0.5


def _of_budget(rung: Rung) -> _Evidence:
    return _Evidence(
        source="live",
        names=frozenset([rung.budget]),
        state="ALARM",
        at=rung.at,
        ends=rung.ends,
        percent=rung.percent,
    )


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _number(text: str) -> float | None:
    found = re.search(r"-?[\d,]*\.?\d+", text)
    return float(found[0].replace(",", "")) if found else None


def _read(payload: Mapping[str, Any]) -> Iterator[_Evidence]:
    for record in payload.get("Records", [payload]):
        sns = record.get("Sns")
        if sns is None:
            yield from _read_event(record)
            continue
        text = sns["Message"]
        if text.lstrip().startswith("{"):
            yield from _read_json(json.loads(text), _time(sns["Timestamp"]))
        elif "Budget Name:" in text:
            yield _read_budget(text, _time(sns["Timestamp"]))


def _read_event(event: Mapping[str, Any]) -> Iterator[_Evidence]:
    detail = event.get("detail") or {}
    if event.get("detail-type") == "CloudWatch Alarm State Change":
        at = _time(detail["state"]["timestamp"])
        names = frozenset([detail["alarmName"], *event.get("resources", ())])
        yield _Evidence("cloudwatch", names, detail["state"]["value"], at)
    elif event.get("detail-type") == "Anomaly Detected":
        yield _anomaly(detail, _time(event["time"]))


def _read_json(message: Mapping[str, Any], at: datetime) -> Iterator[_Evidence]:
    if "AlarmName" in message:
        names = frozenset([message["AlarmName"], message.get("AlarmArn", "")]) - {""}
        at = _time(message["StateChangeTime"]) if "StateChangeTime" in message else at
        yield _Evidence("cloudwatch", names, message["NewStateValue"], at)
    elif "anomalyId" in message:
        yield _anomaly(message, at)


def _anomaly(detail: Mapping[str, Any], at: datetime) -> _Evidence:
    keys = ("monitorName", "monitorArn", "subscriptionName", "subscriptionId")
    names = frozenset(str(detail[key]) for key in keys if detail.get(key))
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return _Evidence("anomaly", names, "ALARM", at, ends=day + timedelta(days=1))


def _read_budget(text: str, at: datetime) -> _Evidence:
    lines = dict(re.findall(r"^\s*([A-Za-z ]+):\s*(.*?)\s*$", text, re.MULTILINE))
    name = lines["Budget Name"]
    account = re.search(r"AWS Account (\d{12})", text)
    names = {name} | ({f"arn:aws:budgets::{account[1]}:budget/{name}"} if account else set())
    budgeted = _number(lines.get("Budgeted Amount", ""))
    threshold = _number(lines.get("Alert Threshold", ""))
    kind = lines.get("Budget Type", "Cost")
    percent = threshold * 100 / budgeted if threshold is not None and budgeted else None
    return _Evidence(
        source="budget",
        names=frozenset(names),
        state="ALARM",
        at=at,
        ends=_period_ends(text, at),
        forecast=lines.get("Alert Type", "").upper() == "FORECASTED",
        percent=percent,
        amount=threshold,
        is_cost=kind.lower() == "cost",
    )


def _period_ends(text: str, at: datetime) -> datetime:
    """The end of the budget's period: a month, unless the message tells another."""
    found = re.search(r"current (day|month|quarter|year)", text)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    match found[1] if found else "month":
        case "day":
            return day + timedelta(days=1)
        case "quarter":
            months = 3 - (at.month - 1) % 3
        case "year":
            months = 13 - at.month
        case _:
            months = 1
    number = at.year * 12 + at.month - 1 + months
    return day.replace(year=number // 12, month=number % 12 + 1, day=1)


# ---- Guards -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Guard:
    """What may be known of a guard at a time."""

    stage: str = "calm"
    enforced: bool = False  # in the mode in which the stage was entered
    perhaps_observes: bool = False  # Enforced only if a delivery that failed had entered the stage.
    since: datetime | None = None  # entered here
    by_operator: bool = False
    by_time: bool = False  # The stage was entered because the milder one had lasted.
    rings: dict[str, _Evidence] = field(default_factory=dict)
    newest: dict[str, tuple[datetime, bool]] = field(default_factory=dict)  # by alarm: time, ALARM
    ringing_since: datetime | None = None
    asked: set[_Evidence] = field(default_factory=set)  # all that rang since it was calm
    unsure: dict[str, datetime] = field(default_factory=dict)  # what rings, of too little data
    unsure_since: datetime | None = None  # since when nothing rings for certain
    unsure_spans: list[tuple[datetime, datetime]] = field(default_factory=list)
    received: set[_Evidence] = field(default_factory=set)  # what was taken in for certain
    unknown: bool = False  # after a command that crashed
    released_at: datetime | None = None  # by an operator
    set_stage: str = ""  # what an operator asked for, under enforcement: no alarm ends that


@dataclass(frozen=True, slots=True)
class _Stage:
    """From `at` on: the stage, and from when on `terminate` is meant too (by time)."""

    at: datetime
    stage: str
    enforced: bool
    hardens_at: datetime | None
    unknown: bool
    by_operator: bool
    by_time: bool
    set_stage: str
    rings: tuple[_Evidence, ...]
    asked: frozenset[_Evidence]


# ---- The model ----------------------------------------------------------------------------


class _Model:
    def __init__(self, seen: "History") -> None:
        self._seen = seen
        self._trees = [(at, tomllib.loads(text)) for at, text in seen.texts]
        self._policy_times = [at for at, _ in self._trees]
        self._holds = list(_holds(seen))
        self._rung = list(live_budgets.rung(seen, dict(self._trees)))
        self._slack = _SECOND + (_JUMP if seen.plan.event_rates.jumps else timedelta())
        self._guards: dict[str, list[_Stage]] = {}

    # ---- What was so at a time ------------------------------------------------------------

    def _tree(self, at: datetime) -> Mapping[str, Any]:
        return self._trees[max(0, bisect_right(self._policy_times, at) - 1)][1]

    def _is_held(self, at: datetime) -> bool:
        return any(begins <= at < ends for begins, ends in self._holds)

    def _job(self, job_id: str, at: datetime) -> _Job | None:
        detail = self._seen.details.get(job_id)
        if detail is None:
            return None
        return _Job(
            name=detail.get("jobName", ""),
            queue=detail.get("jobQueue", ""),
            definition=detail.get("jobDefinition", ""),
            tags=self._seen.tags_at(job_id, at),
            service="serviceJobType" in detail,
        )

    def _status(self, job_id: str, at: datetime) -> str:
        stay = self._seen.status_at(job_id, at)
        return stay.status if stay else "SUBMITTED"

    def _moments(
        self, made: "Made", job_id: str = "", within: timedelta = _INVOCATION
    ) -> list[datetime]:
        """The seconds that the call may rest on: where something changed, and both ends."""
        until = max(made.call.at, made.since)  # Batch keeps whole milliseconds.
        since = max(made.since, until - within) - _RACE
        times = {since, until}
        times |= {at for at, _ in self._trees if since < at <= until}
        times |= {at for hold in self._holds for at in hold if since < at <= until}
        for stay in self._seen.stays.get(job_id, ()):
            times |= {stay.since} if since < stay.since <= until else set()
        for each in (job_id, job_id.partition(":")[0]):
            times |= {at for at, _ in self._seen.tags.get(each, ()) if since < at <= until}
        for command_at, _, _ in self._seen.commands:
            times |= {command_at} if since < command_at <= until else set()
        for delivery in self._seen.deliveries:
            times |= {t for t in (delivery.began, delivery.ended) if since < t <= until}
        return sorted(times, reverse=True)

    # ---- Jobs -----------------------------------------------------------------------------

    def against(self, made: "Made", job_id: str) -> str:
        """What speaks against a stop of a job; "" where it was justified."""
        call = made.call
        whole = job_id.partition("#")[0]
        if self._job(whole, call.at) is None:
            return ""  # Batch does not know it: nothing happens.
        status = self._status(whole, call.at)
        if status in _ENDED or (status in _STARTED and call.api.startswith("Cancel")):
            return ""  # Nothing changes.
        against = ""
        # A service job cannot be cancelled: it is looked at just before the call that may end it.
        looked_at = call.api.startswith("TerminateService") and '" is at cancel' in call.reason
        for at in self._moments(made, whole, _RACE if looked_at else _INVOCATION):
            found = self._against_at(call, whole, at)
            if not found:
                return ""
            against = against or found
        return against

    def _against_at(self, call: "Call", job_id: str, at: datetime) -> str:
        tree = self._tree(at)
        if self._is_held(at):
            return "an operator holds the watchdog"
        text = call.reason.removeprefix(_PREFIX).strip()
        if named := re.match(r'guard "(.*?)" is at', text):
            return self._against_guard(tree, call, job_id, at, named[1])
        if named := re.match(r"([A-Z]+) for more than ", text):
            return self._against_limit(tree, call, job_id, at, named[1])
        if _is_for_the_rest(text):
            return self._against_array(tree, job_id, at)
        tried = [
            self._against_limit(tree, call, job_id, at, self._status(job_id, at)),
            self._against_array(tree, job_id, at),
            *(
                self._against_guard(tree, call, job_id, at, str(rule.get("name")))
                for rule in tree.get("guard", ())
            ),
        ]
        return "" if "" in tried else f"nothing asks for it ({'; '.join(tried)})"

    # ---- Limits ---------------------------------------------------------------------------

    def _against_limit(
        self, tree: Mapping[str, Any], call: "Call", job_id: str, at: datetime, status: str
    ) -> str:
        job = self._job(job_id, at)
        limit = _limit(tree, job, status) if job else None
        if job is None or limit is None:
            return f"no rule limits {status}"
        against = self._against_rule(limit, job, job_id, at)
        return against or self._against_stay(limit, call, job_id, at, status=status)

    def _against_rule(self, limit: _Limit, job: _Job, job_id: str, at: datetime) -> str:
        against = {
            "the rule observes only": not limit.enforced,
            "the rule only warns": limit.how == "warn",
            "the job is exempt by its tag": _is_true(job.tags.get(_PREFIX + "exempt", "")),
            "the job is exempt by a command": self._is_exempt(job_id, at),
        }
        return next((why for why, is_so in against.items() if is_so), "")

    def _against_stay(
        self, limit: _Limit, call: "Call", job_id: str, at: datetime, *, status: str
    ) -> str:
        stays = [stay for stay in self._seen.stays.get(job_id, ()) if stay.since <= at]
        if not stays:
            return "no event has told of it"
        stay = stays[-1]
        if stay.status == status:
            lasted = at - self._seen.known_since(job_id, at) + self._slack
            if lasted < limit.shortest:
                return f"it is {status} for {at - stay.since}, of {limit.shortest}"
            terminates = limit.how == "terminate" or "Service" in call.api or status in _STARTED
            # What waits under action = "cancel" is not terminated.
            return "" if terminates or call.api.startswith("Cancel") else "the rule cancels only"
        waited = self._escaped_after(job_id, stays, status, at)
        if stay.status not in _STARTED or waited is None:
            return f"it is {stay.status} and not {status}"
        if not limit.escalate:
            return f"it is {stay.status}, and the rule does not escalate"
        is_over = waited + self._slack >= limit.shortest
        return "" if is_over else f"it was {status} for {waited}, of {limit.shortest}"

    def _escaped_after(
        self, job_id: str, stays: Sequence[Any], status: str, at: datetime
    ) -> timedelta | None:
        """
        How long a job had waited that started in spite of its stop; None for all others.

        Where no event told that it had started and come back, two waits cannot be told apart.
        """
        for place, stay in reversed(list(enumerate(stays[:-1]))):
            if stay.status in _STARTED:
                continue
            if stay.status == "SCHEDULED" != status:
                continue
            until = stay.until or stays[-1].since
            asked = any(
                made.call.reason.startswith(f"{_PREFIX} {status} ")
                and stay.since <= made.call.at <= until + _INVOCATION
                for made in self._seen.made
            )
            if stay.status == status and asked:
                last = max(stay.since, until.replace(microsecond=0) - _SECOND)
                waited: timedelta = until - self._seen.known_since(job_id, last, at)
                return waited
            if self._is_known_back(job_id, stays[:place], stay, at):
                return None
        return None

    def _is_known_back(self, job_id: str, before: Sequence[Any], stay: Any, at: datetime) -> bool:
        """Whether events had told that a job had started, and that it then came into a wait."""
        if stay.until and stay.until - stay.since < _BATCH:
            return False  # Of the changes that come at once the latest counts.
        since = max((each.since for each in before if each.status in _WAITING), default=stay.since)
        received = [each for each in self._seen.received.get(job_id, ()) if each.at < at - _RACE]
        starts = [
            each.told_at
            for each in received
            if each.status in _STARTED and since <= each.told_at < stay.since + _SECOND
        ]
        waits = [each.told_at for each in received if each.status == stay.status]
        return any(start < wait for start in starts for wait in waits)

    def _is_exempt(self, job_id: str, at: datetime) -> bool:
        ids = {job_id, job_id.partition(":")[0]}
        return any(
            command["command"] == "exempt"
            and not problem
            and command["job_id"] in ids
            and since <= at < _time(command["until"])
            for since, command, problem in self._seen.commands
        )

    # ---- Arrays ---------------------------------------------------------------------------

    def _against_array(self, tree: Mapping[str, Any], job_id: str, at: datetime) -> str:
        parent = job_id.partition(":")[0]
        job = self._job(parent, at)
        if job is None:
            return ""
        rules = (each for each in tree.get("array", ()) if _matches(each.get("match"), job))
        rule = next(rules, None)
        when = (rule or {}).get("stop_rest_when")
        if rule is None or when is None:
            return "no rule stops the rest of this array"
        if _mode(tree, rule) != "enforce":
            return "the rule observes only"
        of_array = f"{parent}:"
        ends = {
            child: stays[-1].since
            for child, stays in self._seen.stays.items()
            if child.startswith(of_array) and stays and stays[-1].status in _ENDED
        }
        failed = sum(
            1
            for child, ended_at in ends.items()
            if ended_at <= at and self._has_failed(child) and not self._was_stopped(child)
        )
        # Which of the latest ends were known is not known here: the fewest that may have been.
        known = sum(
            1
            for child, ended_at in ends.items()
            if ended_at <= at - _SHOWN and not self._ended_with_its_array(child)
        )
        ended = max(failed, known, int(when.get("of_at_least", 1)))
        too_many = "failed" in when and failed > when["failed"]
        share = "failed_percent" in when and failed * 100 > when["failed_percent"] * ended
        return "" if too_many or share else f"only {failed} of its children failed"

    def _has_failed(self, child: str) -> bool:
        return bool(self._seen.stays[child][-1].status == "FAILED")

    def _ended_with_its_array(self, child: str) -> bool:
        """Whether the rule that stops the rest of its array has stopped a child."""
        reason = self._seen.details.get(child, {}).get("statusReason", "")
        return reason.startswith(_PREFIX) and _is_for_the_rest(reason)

    def _was_stopped(self, child: str) -> bool:
        """Whether a child that ended FAILED was stopped: by the watchdog, or by a person."""
        reason = self._seen.details.get(child, {}).get("statusReason", "")
        ids = {child, child.partition(":")[0]}
        by_people = {call.reason for call in self._seen.by_people if ids & set(call.jobs)}
        return reason.startswith(_PREFIX) or reason in by_people - {""}

    # ---- Guards ---------------------------------------------------------------------------

    def _against_guard(
        self, tree: Mapping[str, Any], call: "Call", job_id: str, at: datetime, name: str
    ) -> str:
        job = self._job(job_id, at)
        rule = next((each for each in tree.get("guard", ()) if each.get("name") == name), None)
        if job is None or rule is None:
            return "the policy has no such guard"
        against = {
            "the guard observes only": _mode(tree, rule) != "enforce",
            "the job is not in the guard's scope": not _matches(rule.get("match"), job),
            "the guard spares the job": "spare" in rule and _matches(rule["spare"], job),
        }
        why = next((why for why, is_so in against.items() if is_so), "")
        return why or self._against_stage(rule, call, job_id, at)

    def _against_stage(
        self, rule: Mapping[str, Any], call: "Call", job_id: str, at: datetime
    ) -> str:
        stages = self._stages_on(rule, str(rule["name"]), at)
        if stages is None or "terminate" in stages:
            return ""
        if "cancel" not in stages:
            return "no stage of the guard is on"
        status = self._status(job_id, at)
        is_mild = call.api.startswith("Cancel") or ("Service" in call.api and status in _WAITING)
        return "" if is_mild else f"the guard is at cancel, and the job is {status}"

    def _stages_on(self, rule: Mapping[str, Any], name: str, at: datetime) -> set[str] | None:
        """The stages that may be on, of those that the policy has; None where it is not known."""
        timeline = self._timeline(name)
        place = bisect_right([each.at for each in timeline], at) - 1
        if place < 0:
            return set()
        now = timeline[place]
        if now.unknown:
            return None
        has = {str(each.get("action")) for each in rule.get("stage", ())}
        # An alarm may make an operator's stage harder, and when it is OK, that stage is on again.
        operators = {now.set_stage} & has
        if now.stage == "calm" or not now.enforced:
            return operators
        stages = {now.stage}
        by_time = {now.stage} if now.by_time else set()
        if now.hardens_at and at >= now.hardens_at:
            stages.add("terminate")
            by_time.add("terminate")
        if now.by_operator:
            return stages & has
        rings = [each for each in now.rings if not each.ends or at < each.ends]
        # Of two policies within a minute the sweep sees the later one: what rings counts by it. And
        # what a budget says may have reached the guard only once its stage was no stage any more.
        late = [r for r in rings if r.source == "live" and now.stage not in has]
        received = rings if at < now.at + timedelta(minutes=3) else late
        named = rule.get("stage", ())
        stages |= {str(s["action"]) for s in named if any(r.names_stage(s) for r in received)}
        asked_for = {
            each
            for each in stages
            if self._is_asked_for(each, rule, rings, now.asked, by_time=each in by_time)
        }
        return operators | asked_for

    def _is_meant(self, guard: _Guard, rule: Mapping[str, Any]) -> bool:
        if guard.by_operator:
            return guard.stage in {str(each.get("action")) for each in rule.get("stage", ())}
        rings, by_time = guard.rings.values(), guard.by_time
        return self._is_asked_for(guard.stage, rule, rings, guard.asked, by_time=by_time)

    @staticmethod
    def _is_asked_for(
        stage: str,
        rule: Mapping[str, Any],
        rings: Iterable[_Evidence],
        asked: Iterable[_Evidence],
        *,
        by_time: bool,
    ) -> bool:
        """
        Whether anything asks for a stage, by the policy in force, where no operator did.

        A guard does that only operators release. Else something must ring that the policy names;
        and what led to the stage (evidence, or the time that the milder stage had lasted), the
        policy must still take for a reason.
        """
        stages: Sequence[Mapping[str, Any]] = rule.get("stage", ())
        if stage not in {each["action"] for each in stages}:
            return False
        if rule.get("release", "auto") == "manual":
            return True
        as_hard = [each for each in stages if _HARDNESS[each["action"]] >= _HARDNESS[stage]]
        by_time = by_time and any(each.get("after_previous") for each in as_hard)
        led_to_it = any(each.names_stage(given) for each in asked for given in as_hard)
        still_rings = any(each.names_stage(given) for each in rings for given in stages)
        return still_rings and (led_to_it or by_time)

    def _timeline(self, name: str) -> list[_Stage]:
        if name not in self._guards:
            self._guards[name] = list(self._follow(name))
        return self._guards[name]

    def _follow(self, name: str) -> Iterator[_Stage]:
        """A guard's stages, as they may have been at the most."""
        guard, hardens_at = _Guard(), None
        for at, what in self._happenings(name):
            self._let_end(guard, at)
            rule = self._rule(name, at)
            if hardens_at and at >= hardens_at:  # From then on it is not milder by itself.
                guard.stage, guard.since, guard.by_time = "terminate", hardens_at, True
            match what:
                case ("ALARM", bool(for_certain), _Evidence() as evidence):
                    is_first = for_certain and evidence not in guard.received
                    if is_first and evidence in guard.rings.values():
                        observes = _mode(self._tree(at), rule) != "enforce"
                        guard.perhaps_observes = guard.perhaps_observes or observes
                    self._hear(guard, rule, evidence, at)
                    # A guard that the policy did not have, or that did not name it, heard nothing.
                    is_named = any(map(evidence.names_stage, (rule or {}).get("stage", ())))
                    guard.received |= {evidence} if for_certain and is_named else set()
                case ("STILL ALARM", _Evidence() as evidence):
                    self._hear_late(guard, rule, evidence, at)
                case ("OK", _Evidence() as evidence):
                    self._calm(guard, rule, evidence)
                case ("INSUFFICIENT_DATA", _Evidence() as evidence):
                    if guard.newest.get(key := self._key(evidence), (at,))[0] < evidence.at:
                        guard.unsure[key] = evidence.at
                case {"command": _}:
                    self._obey(guard, rule, what, at)
            self._take_seriously(guard, rule, at)
            self._be_unsure(guard, rule, at)
            hardens_at = self._hardens_at(guard, rule)
            guard.asked = set() if guard.stage == "calm" else guard.asked | {*guard.rings.values()}
            yield _Stage(
                at=at,
                stage=guard.stage,
                enforced=guard.enforced,
                hardens_at=hardens_at,
                unknown=guard.unknown,
                by_operator=guard.by_operator,
                by_time=guard.by_time,
                set_stage=guard.set_stage,
                rings=tuple(guard.rings.values()),
                asked=frozenset(guard.asked),
            )

    def _happenings(self, name: str) -> list[tuple[datetime, Any]]:
        found: list[tuple[datetime, int, Any]] = []
        for delivery in self._seen.deliveries:
            for evidence in _read(delivery.payload):
                if evidence.state == "ALARM":
                    told = "ALARM", delivery.went_well, evidence
                    found.append((delivery.began, 1, told))
                elif delivery.went_well:
                    found.append((delivery.ended, 2, (evidence.state, evidence)))
        for at, command, problem in self._seen.commands:
            if command.get("guard") == name and (not problem or _FAILED.match(problem)):
                found.append((at, 0, command | {"problem": problem}))
        for at, word in self._live():
            found.append((at, 1, word))
        for begins, ends in self._holds:
            found += [(begins, 3, None), (ends, 3, None)]
        found += [(at, 3, None) for at in self._policy_times]
        found.sort(key=lambda each: each[:2])
        return [(at, what) for at, _, what in found]

    def _live(self) -> Iterator[tuple[datetime, Any]]:
        """What live budgets say: that they ring; once the policy has others, that they do not."""
        for rung in self._rung:
            if rung.against:
                continue
            evidence = _of_budget(rung)
            yield rung.at, ("ALARM", False, evidence)
            yield self._told_by(rung), ("STILL ALARM", evidence)
            for at in self._policy_times:
                if not rung.at < at < rung.ends:
                    continue
                if self._budget(rung.budget, at) == rung.table:
                    # A guard that it has only now, or that names the budget only now, hears of it.
                    yield at, ("ALARM", False, evidence)
                elif swept := self._read_by(rung.budget, at):
                    if not self._is_told_anew(rung, swept):
                        yield swept, ("OK", replace(evidence, state="OK", at=swept))
                    break

    def _told_by(self, rung: Rung) -> datetime:
        """The end of the first sweep that went well: one that fails may have told no guard."""
        ends = (ended for _, ended in self._seen.swept if ended >= rung.at)
        return next(ends, rung.at)

    def _read_by(self, name: str, changed: datetime) -> datetime | None:
        """The end of the first sweep that went well and has read a changed budget."""
        began, ended = next((e for e in self._seen.swept if e[0] >= changed), (None, None))
        same = began and self._budget(name, began) == self._budget(name, changed)
        return ended if same else None

    def _is_told_anew(self, rung: Rung, until: datetime) -> bool:
        """
        Whether the same share rang again since: then it is over with that one, and not before.

        A sweep that had read the policy before may tell of a budget that is another one by then;
        another sweep, in the same second, of the one in force.
        """
        in_force = self._budget(rung.budget, until)
        return any(
            (each.budget, each.percent) == (rung.budget, rung.percent)
            and (
                rung.at < each.at <= until
                or (rung.at == each.at and each.table == in_force and each.table != rung.table)
            )
            for each in self._rung
        )

    def _budget(self, name: str, at: datetime) -> Mapping[str, Any] | None:
        budgets = self._tree(at).get("budget", ())
        return next((each for each in budgets if each["name"] == name), None)

    def _rule(self, name: str, at: datetime) -> Mapping[str, Any] | None:
        guards = self._tree(at).get("guard", ())
        return next((each for each in guards if each.get("name") == name), None)

    @staticmethod
    def _let_end(guard: _Guard, at: datetime) -> None:
        """What rang for a period that is over rings no longer."""
        guard.rings = {
            key: each for key, each in guard.rings.items() if not each.ends or at < each.ends
        }

    def _hear(
        self, guard: _Guard, rule: Mapping[str, Any] | None, evidence: _Evidence, at: datetime
    ) -> None:
        stages = [each for each in (rule or {}).get("stage", ()) if evidence.names_stage(each)]
        if rule is None or not stages or (evidence.ends and at >= evidence.ends):
            return
        released = guard.released_at
        if evidence.source == "live" and released and evidence.at <= released:
            return
        key = self._key(evidence)
        if (evidence.at, True) < guard.newest.get(key, (evidence.at, False)):
            return
        is_meant = self._is_meant(guard, rule)
        is_repeated = key in guard.rings and guard.rings[key].at == evidence.at
        # A message that comes again after a delivery that failed may be the first that is taken in:
        # it counts by the policy of then.
        changes_nothing = is_meant or evidence.source == "live"
        if evidence in guard.received or (is_repeated and changes_nothing):
            return
        guard.newest[key] = (evidence.at, True)
        if guard.unsure.get(key, evidence.at) <= evidence.at:
            guard.unsure.pop(key, None)
        if not guard.rings:
            guard.ringing_since = at
        guard.rings[key] = evidence
        hardest = max((str(each["action"]) for each in stages), key=_HARDNESS.__getitem__)
        enforced = _mode(self._tree(at), rule) == "enforce"
        in_force = guard.stage if (guard.enforced or not enforced) and is_meant else "calm"
        if _HARDNESS[hardest] > _HARDNESS[in_force]:
            guard.stage, guard.enforced, guard.since = hardest, enforced, at
            guard.by_operator = guard.by_time = guard.perhaps_observes = False

    def _hear_late(
        self, guard: _Guard, rule: Mapping[str, Any] | None, evidence: _Evidence, at: datetime
    ) -> None:
        """Hear of what an operator's command may have come before."""
        key = self._key(evidence)
        if guard.by_operator and guard.rings.get(key) == evidence:
            del guard.rings[key]
            since = guard.ringing_since
            self._hear(guard, rule, evidence, at)
            guard.ringing_since = since

    @staticmethod
    def _key(evidence: _Evidence) -> str:
        kind = "forecast" if evidence.forecast else evidence.source
        if kind == "live":
            return f"{kind}:{min(evidence.names)}:{evidence.percent}"
        return f"{kind}:{min(evidence.names, key=len)}:{evidence.amount}"

    def _calm(self, guard: _Guard, rule: Mapping[str, Any] | None, evidence: _Evidence) -> None:
        key = self._key(evidence)
        if (evidence.at, False) <= guard.newest.get(key, (evidence.at, False)) and (
            key in guard.newest
        ):
            return
        named = any(evidence.names_stage(each) for each in (rule or {}).get("stage", ()))
        # What rang while the policy named it rings no longer, though it is not named now.
        if not named and key not in map(self._key, guard.received):
            return
        guard.newest[key] = (evidence.at, False)
        rang = guard.rings.pop(key, None)
        auto = bool(rule) and (rule or {}).get("release", "auto") == "auto"
        if not (rang and named and auto) or guard.by_operator:
            return
        if not self._alarms_in_alarm(guard, rule):
            guard.stage, guard.since, guard.by_time = "calm", None, False

    @staticmethod
    def _alarms_in_alarm(guard: _Guard, rule: Mapping[str, Any] | None) -> list[_Evidence]:
        """What rings, of what the policy names still."""
        stages = (rule or {}).get("stage", ())
        return [
            each
            for each in guard.rings.values()
            if any(each.names_stage(stage) for stage in stages)
        ]

    def _obey(
        self,
        guard: _Guard,
        rule: Mapping[str, Any] | None,
        command: Mapping[str, Any],
        at: datetime,
    ) -> None:
        stage = command["stage"] if command["command"] == "set-stage" else "calm"
        has = {str(each.get("action")) for each in (rule or {}).get("stage", ())}
        if stage not in {*has, "calm"}:
            return  # It changes nothing, and what was not known before is not known now.
        guard.unknown = bool(command["problem"])
        if stage == "calm":
            guard.stage, guard.since, guard.by_operator = "calm", None, False
            guard.set_stage, guard.by_time = "", False
            guard.rings, guard.released_at = {}, at
            return
        enforced = rule is not None and _mode(self._tree(at), rule) == "enforce"
        is_on = stage == guard.stage and (guard.enforced or not enforced)
        if not (is_on and self._is_meant(guard, rule or {})):
            guard.stage, guard.enforced, guard.since = stage, enforced, at
            guard.by_operator, guard.set_stage = True, stage if enforced else ""
            guard.by_time = guard.perhaps_observes = False

    def _take_seriously(self, guard: _Guard, rule: Mapping[str, Any] | None, at: datetime) -> None:
        """A guard that observes no longer means the alarms that ring still."""
        if rule is None or guard.stage == "calm":
            return
        has = {str(stage["action"]) for stage in rule.get("stage", ())}
        if guard.enforced and (guard.stage in has or not guard.perhaps_observes):
            return
        if _mode(self._tree(at), rule) != "enforce":
            return
        meant = [
            str(stage["action"])
            for stage in rule.get("stage", ())
            for each in guard.rings.values()
            if each.source in ("cloudwatch", "live")
            and each.names_stage(stage)
            and self._key(each) not in guard.unsure
        ]
        if meant:
            guard.stage = max(meant, key=_HARDNESS.__getitem__)
            guard.enforced, guard.since = True, at
            guard.by_operator = guard.by_time = False

    def _be_unsure(self, guard: _Guard, rule: Mapping[str, Any] | None, at: datetime) -> None:
        """Keep account of the time in which all that rings is an alarm with too little data."""
        in_alarm = self._alarms_in_alarm(guard, rule)
        if in_alarm and all(self._key(each) in guard.unsure for each in in_alarm):
            guard.unsure_since = guard.unsure_since or at
        elif guard.unsure_since:
            guard.unsure_spans.append((guard.unsure_since, at))
            guard.unsure_since = None

    def _hardens_at(self, guard: _Guard, rule: Mapping[str, Any] | None) -> datetime | None:
        """When the time that the milder stage has lasted makes it harder, if nothing changes."""
        if guard.stage != "cancel" or guard.since is None or guard.by_operator:
            return None
        in_alarm = self._alarms_in_alarm(guard, rule)
        spans = [
            _span(stage.get("after_previous"))
            for stage in (rule or {}).get("stage", ())
            if stage.get("action") == "terminate"
        ]
        if not in_alarm or guard.unsure_since or not spans or spans[0] is None:
            return None
        since = max(guard.since, guard.ringing_since or guard.since)
        due, counted = since + spans[0], since
        for begins, ends in sorted([*self._holds, *guard.unsure_spans]):
            if begins < due and ends > counted:  # Such time does not count.
                ends_at = min(ends, self._seen.ended + _DAY)
                due += max(timedelta(), ends_at - max(begins, counted))
                counted = max(counted, ends_at)
        last = max((each.ends or datetime.max.replace(tzinfo=UTC)) for each in in_alarm)
        return due if due < last else None

    # ---- Queues ---------------------------------------------------------------------------

    def against_queue(self, made: "Made") -> str:
        """What speaks against opening or closing a queue."""
        against = ""
        for at in self._moments(made):
            found = self._against_queue_at(made.call, at)
            if not found:
                return ""
            against = against or found
        return against

    def _is_open(self, queue: str, at: datetime) -> bool:
        """Whether nobody has closed a queue since it was last opened, as Batch received it."""
        calls = [made.call for made in self._seen.made] + list(self._seen.by_people)
        name = queue.rpartition("/")[2]
        states = [
            (each.at, each.state)
            for each in calls
            if each.queue.rpartition("/")[2] == name and not each.error and each.at < at
        ]
        return not states or max(states)[1] != "DISABLED"

    def _against_queue_at(self, call: "Call", at: datetime) -> str:
        tree = self._tree(at)
        if self._is_held(at):
            return "an operator holds the watchdog"
        rules = [
            each
            for each in tree.get("guard", ())
            if _covers_queue(each.get("match"), call.queue) and _mode(tree, each) == "enforce"
        ]
        if call.state != "DISABLED" and self._is_open(call.queue, at):
            return ""  # It changes nothing.
        if call.state != "DISABLED":
            closed = any(
                made.call.state == "DISABLED"
                and made.call.queue == call.queue
                and made.call.at <= call.at
                for made in self._seen.made
            )
            if not closed:
                return "no guard has closed it"
            enforces = bool(rules) or tree.get("mode") == "enforce" or self._is_released(at)
            return "" if enforces else "the guards observe only"
        for rule in rules:
            stages = self._stages_on(rule, str(rule.get("name")), at)
            if stages is None or any(
                each.get("close_queues") and _HARDNESS[str(each["action"])] <= _HARDNESS[stage]
                for stage in stages
                for each in rule.get("stage", ())
            ):
                return ""
        return "no stage that closes it is on"

    def _is_released(self, at: datetime) -> bool:
        """
        Whether a release was decided that reopens queues, though the policy may observe by now.

        It is the release of a guard that was enforced, or an operator's of one that is lost.
        """
        by_operator = any(
            command.get("command") == "release" and self._rule(str(command["guard"]), then) is None
            for then, command, _ in self._seen.commands
            if then <= at
        )
        return by_operator or any(
            notice.kind == "guard-released"
            and (then := datetime.fromisoformat(action.at)) <= at
            and (rule := self._rule(notice.facts["guard"], then)) is not None
            and _mode(self._tree(then), rule) == "enforce"
            for action, notice in self._seen.notices()
        )


def _holds(seen: "History") -> Iterable[tuple[datetime, datetime]]:
    """When an operator held the watchdog for certain."""
    end = datetime.max.replace(tzinfo=UTC)
    begin: datetime | None = None
    for at, command, problem in seen.commands:
        if command["command"] == "hold" and not problem:
            begin = begin or at
        # One that crashed may have ended the hold.
        if (
            command["command"] == "resume"
            and begin is not None
            and (not problem or _FAILED.match(problem))
        ):
            yield begin, at
            begin = None
    if begin is not None:
        yield begin, end
