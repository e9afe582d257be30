"""A history before it happens, drawn from a seed: the world, the jobs, and what people do."""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any, Literal

from batch_watchdog.core.errors import PolicyError
from batch_watchdog.policy.model import parse_policy
from local.batch.disorder import ChildTags, Disorder
from local.batch.work import Outcome
from tests.simulation.faults import Rates

ACCOUNT = "arn:aws:batch:us-east-1:111122223333:"
QUEUES = ("cpu", "gpu", "small", "train")
ALARMS = ("spend-80", "spend-100", "other-80")


type Kind = Literal[
    "job",
    "policy",
    "alarm",
    "budget",
    "anomaly",
    "command",
    "person",
    "malformed",
    "tags",
    "batch",
    "refusal",
    "lose",
    "stumble",
    "late_sweeps",
    "forgotten",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that happens at a second of the history."""

    at: float
    kind: Kind
    what: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRates:
    """How often an event is repeated, late (by seconds, or by hours), lost, or has a wrong time."""

    repeated: float = 0.0
    reordered: float = 0.0
    delayed: float = 0.0
    lost: float = 0.0
    jumps: float = 0.0
    sweeps_late: float = 0.0  # of a sweep's own event


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    seed: int
    policy: str
    batch: Mapping[str, Any]
    minutes: int
    steps: tuple[Step, ...]
    rates: Rates
    event_rates: EventRates
    broken: frozenset[str] = field(default_factory=frozenset)  # environments that are invalid
    disorder: Disorder = field(default_factory=Disorder)
    call_seconds: Mapping[str, float] = field(
        default_factory=dict
    )  # that a call of a service takes
    wide: bool = False  # all that the world does happens, and is judged by all invariants
    drain_s: float = 35.5 * 60  # without faults, for all that is under way to come to its end


# Random histories do all that the world does. An orderly one serves where they would be too slow.
WIDE = True


def draw(seed: int, *, wide: bool = WIDE) -> Plan:
    """The plan of a seed."""
    plan = _orderly(seed)
    if not wide:
        return plan
    plan = _widened(plan, Random(f"{seed} wide"))  # noqa: S311 - as below
    plan = _with_other_stages(plan, Random(f"{seed} stages"))  # noqa: S311 - as below
    plan = _with_tagged_arrays(plan, Random(f"{seed} arrays"))  # noqa: S311 - as below
    plan = _with_returns(plan, Random(f"{seed} returns"))  # noqa: S311 - as below
    return _with_live_budgets(plan, Random(f"{seed} live budgets"))  # noqa: S311 - as below


def _orderly(seed: int) -> Plan:
    random = Random(seed)  # noqa: S311 - it need only be the same each time
    minutes = random.choice((30, 45, 45, 60, 60, 90, 90, 240))
    calm = random.random() < 0.25
    hard = random.choice((1.0, 1.0, 3.0))
    rates = Rates()
    if not calm:
        rates = Rates(
            crash=_perhaps(random, 0.7, 0.002 * hard),
            refused=_perhaps(random, 0.6, 0.002 * hard),
            partial=_perhaps(random, 0.6, 0.4),
            conflicts=_perhaps(random, 0.6, random.choice((0.01, 0.05))),
            interleaved=_perhaps(random, 0.6, random.choice((0.01, 0.02, 0.05))),
            redelivered=_perhaps(random, 0.6, 0.02 * hard),
        )
    steps = [*_jobs(random, minutes), *_others(random, minutes, calm=calm)]
    return Plan(
        seed=seed,
        policy=a_policy(random),
        batch={
            "lazy_cancel": random.random() < 0.3,
            "terminate_cascades": random.random() < 0.7,
            "explains": random.random() < 0.5,
            "bulk": random.choice((True, True, True, "unknown", "denied")),
        },
        minutes=minutes,
        steps=tuple(sorted(steps, key=lambda step: step.at)),
        rates=rates,
        event_rates=EventRates(
            repeated=_perhaps(random, 0.6, 0.1),
            reordered=_perhaps(random, 0.6, 0.2),
            delayed=_perhaps(random, 0.4, 0.06),
            lost=_perhaps(random, 0.4, 0.05),
            jumps=_perhaps(random, 0.3, 0.03),
        ),
        broken=frozenset(name for name in QUEUES if random.random() < 0.05),
    )


def _perhaps(random: Random, share: float, rate: float) -> float:
    return rate if random.random() < share else 0.0


# ---- Policies -----------------------------------------------------------------------------


_FOLDS = ("15m", "1m", "3m", "5m")


def a_policy(random: Random) -> str:
    """A policy that is right. Most enforce, some only observe."""
    lines = [f'mode = "{"enforce" if random.random() < 0.8 else "observe"}"']
    if random.random() < 0.1:
        lines += ["[safety]", f"max_stops_per_hour = {random.choice((1, 2, 5))}"]
    digest_over = random.choice((1, 5, 5))
    lines += ["[notify]", f"digest_over = {digest_over}"]
    place = len(lines)
    if random.random() < 0.1:
        lines += ["job_failures = false"]
    lines += _array_rule(random)
    for queue in ("gpu", ""):
        lines += _limit_rule(random, queue)
    for name in random.choice(((), ("money",), ("money",), ("money", "other"))):
        lines += _guard(random, name)
    # Short windows close more often. By the text, so that all else is as it would be without.
    fold = _FOLDS[zlib.crc32("".join(lines).encode()) % len(_FOLDS)]
    lines.insert(place, f'fold = "{"0s" if digest_over == 1 else fold}"')
    return "\n".join(lines) + "\n"


def _array_rule(random: Random) -> list[str]:
    if random.random() < 0.4:
        return []
    if random.random() < 0.1:
        return ["[[array]]", "silent = true"]
    lines = ["[[array]]", "progress = [50]"]
    if random.random() < 0.4:
        lines += ["stop_rest_when = { failed_percent = 30, of_at_least = 3 }"]
    return lines


def _limit_rule(random: Random, queue: str) -> list[str]:
    if random.random() < 0.2:
        return []
    after = random.choice((8, 12, 20, 30))
    parts = [
        f'after = "{after}m"',
        f'action = "{random.choice(("cancel", "cancel", "terminate"))}"',
    ]
    if random.random() < 0.4:
        parts += [f'warn_after = "{after // 2}m"']
    if random.random() < 0.3:
        parts += ['after_by_cause = { misconfigured = "5m" }']
    if random.random() < 0.3:
        parts += ["escalate = true"]
    lines = ["[[limit]]"]
    if queue:
        lines += [f'match = {{ queue = "{queue}" }}']
    if random.random() < 0.1:
        lines += ['mode = "observe"']
    lines += [f"RUNNABLE = {{ {', '.join(parts)} }}"]
    if random.random() < 0.4:
        lines += [f'RUNNING = {{ after = "{random.choice((10, 15))}m" }}']
    return lines


def _guard(random: Random, name: str) -> list[str]:
    alarms = ("spend-80", "spend-100") if name == "money" else ("other-80", "")
    close = random.random() < 0.5
    queue = "*" if name == "money" else random.choice(("cpu", "small"))
    lines = [
        "[[guard]]",
        f'name = "{name}"',
        f'match = {{ queue = "{queue}" }}',
        f'release = "{random.choice(("auto", "auto", "manual"))}"',
    ]
    if random.random() < 0.15:
        lines += ['mode = "observe"']
    if random.random() < 0.5:
        lines += ['spare = { tags = { critical = "true" } }']
    lines += ["[[guard.stage]]", f'alarms = ["{alarms[0]}"]', 'action = "cancel"']
    lines += [f"close_queues = {str(close).lower()}"]
    if alarms[1]:
        lines += ["[[guard.stage]]", f'alarms = ["{alarms[1]}"]', 'action = "terminate"']
        if random.random() < 0.5:
            lines += ['after_previous = "15m"']
    return lines


BAD_POLICIES = (
    'mode = "enfroce"\n',
    "[[limit]\n",
    'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "soon", action = "terminate" }\n',
    'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "1s", acton = "cancel" }\n',
)


# ---- Jobs ---------------------------------------------------------------------------------


def _jobs(random: Random, minutes: int) -> list[Step]:
    return [
        Step(at=random.random() * minutes * 60 * 0.7, kind="job", what=_job(random))
        for _ in range(random.choice((2, 5, 8, 12)))
    ]


def _job(random: Random) -> dict[str, Any]:
    queue = random.choices(QUEUES, (4, 2, 3, 1))[0]
    what: dict[str, Any] = {
        "name": random.choice(("render", "align", "train")),
        "queue": queue,
        "vcpus": random.choice((1, 1, 2)),
        "gpus": 1 if queue == "gpu" and random.random() < 0.7 else 0,
        "seconds": random.choice((5, 30, 120, 600, 1500)),
        "attempts": random.choice((1, 1, 2, 3)),
        "tags": random.choice(
            (
                {},
                {},
                {"team": "imaging"},
                {"critical": "true"},
                {"batch-watchdog:exempt": "true"},
                {"batch-watchdog:RUNNABLE": "6m"},
            )
        ),
        "outcome": random.choice((0, 0, 0, 1, Outcome(exit_code=None, status_reason="Host lost"))),
    }
    if queue == "train":
        return what | {"service": True, "tags": {}}
    if random.random() < 0.4:
        size = random.choice((2, 3, 5, 9))
        failing = {index: _failure(random) for index in range(size) if random.random() < 0.2}
        return what | {"array_size": size, "outcome": _plan(random, failing)}
    if random.random() < 0.1:
        return what | {"nodes": 2}
    return what | ({"waits_for_previous": True} if random.random() < 0.2 else {})


def _plan(random: Random, failing: Mapping[int, Outcome]) -> Any:
    return dict(failing) if random.random() < 0.8 else 1


def _failure(random: Random) -> Outcome:
    return Outcome(exit_code=1, seconds=random.choice((None, 90, 400)))


# ---- What else happens --------------------------------------------------------------------


def _others(random: Random, minutes: int, *, calm: bool) -> list[Step]:
    def sometime() -> float:
        return random.random() * minutes * 60 * 0.9

    drawn: list[Step] = []
    for _ in range(random.choice((0, 0, 1, 2))):
        drawn += _alarm(random, sometime)
    drawn += _policies(random, sometime)
    drawn += [
        Step(at=sometime(), kind="command", what=_command(random))
        for _ in range(random.choice((0, 0, 0, 1, 2)))
    ]
    drawn += [
        Step(at=sometime(), kind="person", what=_person(random))
        for _ in range(random.choice((0, 0, 1)))
    ]
    if not calm and random.random() < 0.2:
        drawn.append(Step(at=sometime(), kind="malformed", what={"number": random.randrange(4)}))
    return drawn


def _policies(random: Random, sometime: Callable[[], float]) -> Iterator[Step]:
    if random.random() < 0.3:
        yield Step(at=sometime(), kind="policy", what={"text": a_policy(random)})
    if random.random() < 0.2:
        what = {"text": random.choice(BAD_POLICIES), "bad": True}
        yield Step(at=sometime(), kind="policy", what=what)


def _alarm(random: Random, sometime: Callable[[], float]) -> list[Step]:
    name, begins = random.choice(ALARMS), sometime()
    by = random.choice(("sns", "eventbridge"))
    steps = [
        Step(at=begins, kind="alarm", what={"alarm": name, "state": "ALARM", "by": by}),
    ]
    if random.random() < 0.7:
        ends = begins + random.choice((60, 300, 900, 1800))
        steps.append(Step(at=ends, kind="alarm", what={"alarm": name, "state": "OK", "by": by}))
    return steps


def _command(random: Random) -> dict[str, Any]:
    guard = random.choice(("money", "money", "other"))
    return random.choice(
        (
            {
                "command": "set-stage",
                "guard": guard,
                "stage": random.choice(("cancel", "terminate")),
            },
            {"command": "release", "guard": guard},
            {"command": "hold", "for_s": random.choice((120, 600))},
            {"command": "exempt"},
            {"command": "status"},
        )
    )


def _person(random: Random) -> dict[str, Any]:
    return random.choice(
        (
            {"does": "close", "queue": random.choice(QUEUES)},
            {"does": "open", "queue": random.choice(QUEUES)},
            {"does": "cancel"},
        )
    )


# ---- The wide world -----------------------------------------------------------------------

_OTHER_TAGS: Sequence[Mapping[str, str]] = (
    {},
    {"critical": "true"},
    {"batch-watchdog:exempt": "true"},
    {"batch-watchdog:RUNNABLE": "24h"},
    {"batch-watchdog:RUNNABLE": "6m"},
)
_BUDGETS = ("monthly", "monthly", "daily")


def _widened(plan: Plan, random: Random) -> Plan:
    """The plan, with what the world does that is less orderly."""
    jobs = [step for step in plan.steps if step.kind == "job"]
    policy = _with_budgets(random, plan.policy)
    rare = random.random()
    if rare < 0.004:
        policy, jobs = _many_guards(policy), jobs[:2]
        plan = replace(plan, minutes=30, steps=tuple(s for s in plan.steps if s.at < 1_700))
    elif rare < 0.01:
        jobs = [*jobs, *_many_jobs(random)]
        plan = replace(plan, minutes=45, steps=tuple(s for s in plan.steps if s.at < 2_600))
    jobs = [step for step in jobs if step.at < plan.minutes * 60]
    others = [step for step in plan.steps if step.kind != "job"]
    jobs = [replace(step, what=_wider_job(random, step.what)) for step in jobs]
    jobs.sort(key=lambda step: step.at)
    steps = [*jobs, *others, *_around_stops(random, policy, jobs), *_money(random, plan.minutes)]
    last = plan.minutes * 60
    return replace(
        plan,
        policy=policy,
        steps=tuple(sorted((s for s in steps if s.at < last), key=lambda step: step.at)),
        event_rates=replace(plan.event_rates, sweeps_late=_perhaps(random, 0.3, 0.03)),
        disorder=_disorder(random, plan.seed),
        call_seconds={"batch": 0.15, "table": 0.01} if random.random() < 0.05 else {},
        wide=True,
    )


def _disorder(random: Random, seed: int) -> Disorder:
    return Disorder(
        seed=seed,
        updating_s=random.choice(((0, 0), (0, 0), (1, 20), (5, 240))),
        updates_late=_perhaps(random, 0.3, 0.5),
        slow_stops=_perhaps(random, 0.3, 0.2),
        ignores_terminate=_perhaps(random, 0.2, 0.1),
        ignored_s=random.choice((None, (60, 4_000))),
        list_lag_s=_perhaps(random, 0.3, 20.0),
        lacking=_perhaps(random, 0.1, 0.05),
        left_out=_perhaps(random, 0.1, 0.05),
        preempted=_perhaps(random, 0.4, 0.3),
        requeued=_perhaps(random, 0.4, 0.2),
        requeue_wait_s=random.choice(((0, 0), (60, 900))),
        preempted_is_attempt=random.random() < 0.3,
        events_without_tags=random.random() < 0.2,
    )


def _wider_job(random: Random, what: Mapping[str, Any]) -> Mapping[str, Any]:
    """A job that may have a longer own limit, or critical work."""
    if random.random() < 0.2 and not what.get("service"):
        return {**what, "tags": random.choice(_OTHER_TAGS)}
    return what


def _many_jobs(random: Random) -> Iterator[Step]:
    """Jobs that cannot start, each with another limit of its own."""
    begins = random.random() * 600
    for number in range(130):
        tags = {"batch-watchdog:RUNNABLE": f"{240 + number}s"}
        what = {"name": "stuck", "queue": "gpu", "gpus": 1, "tags": tags}
        yield Step(at=begins + number / 100, kind="job", what=what)


def _many_guards(policy: str) -> str:
    start = policy.partition("[[guard]]")[0]
    return start + "".join(
        f'[[guard]]\nname = "money {number}"\nmatch = {{ queue = "cpu" }}\n'
        '[[guard.stage]]\nalarms = ["spend-80"]\naction = "cancel"\nclose_queues = true\n'
        '[[guard.stage]]\nalarms = ["spend-100"]\nafter_previous = "15m"\naction = "terminate"\n'
        for number in range(60)
    )


def _around_stops(random: Random, policy: str, jobs: Sequence[Step]) -> Iterator[Step]:
    """What people do while a stop is under way, or is about to be."""
    for number, step in enumerate(jobs[:20]):
        yield from _about_job(random, number, step.at)

    def then() -> float:
        begun = random.choice(jobs).at if jobs else 0.0
        return begun + random.choice((200, 400, 700, 900, 1_300)) + random.random() * 120

    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        yield Step(at=then(), kind="policy", what={"text": _changed(random, policy)})
    if random.random() < 0.3:
        what = {"command": "hold", "for_s": random.choice((20, 90, 300, 1_200))}
        yield Step(at=then(), kind="command", what=what)
    if random.random() < 0.2 and jobs:
        what = {"command": "exempt", "number": random.randrange(len(jobs))}
        yield Step(at=then(), kind="command", what=what)
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        before = random.choice(("CancelJobs", "TerminateJobs", "UpdateJobQueue", "Publish"))
        at, many = then(), random.choice((1, 3, 6, 25))
        yield from (Step(at=at, kind="stumble", what={"before": before}) for _ in range(many))
    if random.random() < 0.1:
        what = {"for_s": random.choice((90, 200, 400))}
        yield Step(at=then(), kind="late_sweeps", what=what)


def _about_job(random: Random, number: int, begins: float) -> Iterator[Step]:
    if random.random() < 0.15:
        codes = random.choice(
            (("ClientException",), ("ClientException",) * 2, ("ServerException",))
        )
        yield Step(at=begins + 30, kind="refusal", what={"number": number, "codes": codes})
    if random.random() < 0.15:
        what = {"number": number, "tags": random.choice(_OTHER_TAGS)}
        yield Step(at=begins + random.random() * 1_500, kind="tags", what=what)
    if random.random() < 0.05:
        does = random.choice(("ignore_terminate", "requeue", "preempt"))
        at = begins + random.choice((3, 4, 5, 60, 400))
        yield Step(at=at, kind="batch", what={"does": does, "number": number})


def _changed(random: Random, policy: str) -> str:
    """The policy, with one thing changed that a stop under way may rest on."""
    return random.choice(_CHANGES)(policy)


def _without(kind: str, policy: str) -> str:
    tables = re.split(r"(?m)^(?=\[\[)", policy)
    return "".join(each for each in tables if not each.startswith(f"[[{kind}"))


def _warning(policy: str) -> str:
    policy = policy.replace(", escalate = true", "")
    return re.sub(r'(RUNNABLE = .*action = )"\w+"', r'\1"warn"', policy)


def _sparing(policy: str) -> str:
    spare = 'spare = { tags = { critical = "true" } }\n'
    if spare in policy:
        return policy.replace(spare, "")
    return re.sub(r"(?m)^(release = .*\n)", rf"\1{spare}", policy)


_CHANGES: Sequence[Callable[[str], str]] = (
    lambda policy: policy.replace('mode = "enforce"', 'mode = "observe"'),
    lambda policy: _without("limit", policy),
    lambda policy: _without("guard", policy),
    lambda policy: re.sub(r'(\{|, )after = "\d+m"', r'\1after = "24h"', policy),
    _warning,
    _sparing,
    lambda policy: policy + "# the same\n",
)


def _with_other_stages(plan: Plan, random: Random) -> Plan:
    """The plan, in which the stages and alarms of a guard may change while it is raised."""
    if "[[guard]]" not in plan.policy or random.random() < 0.7:
        return plan
    last = plan.minutes * 60
    steps = (step for step in _other_stages(plan.policy, random, last) if 0 <= step.at < last)
    return replace(plan, steps=tuple(sorted((*plan.steps, *steps), key=lambda step: step.at)))


def _other_stages(policy: str, random: Random, last: int) -> Iterator[Step]:
    begins = 90 + random.random() * last * 0.4
    alarm = random.choice(("spend-80", "spend-100", "spend-100"))
    runs = {"name": "render", "queue": "cpu", "vcpus": 1, "seconds": 1_500}
    yield Step(at=begins - 60, kind="job", what=runs)
    yield _told(begins, alarm, "ALARM")
    if random.random() < 0.4:
        yield _told(begins + 1, "spend-80", "ALARM")
    if random.random() < 0.4:
        what = {"command": "hold", "for_s": random.choice((300, 900))}
        yield Step(at=begins - 5, kind="command", what=what)
    if random.random() < 0.3:
        yield _told(begins + random.choice((100, 400)), "spend-80", "INSUFFICIENT_DATA")
    if random.random() < 0.2:
        what = {"text": policy.replace('release = "auto"', 'release = "manual"')}
        yield Step(at=begins - 90, kind="policy", what=what)
        policy = str(what["text"])
    changes = begins + random.choice((20, 120, 500, 1_000))
    changed = random.choice(_OTHER_STAGES)(policy)
    yield Step(at=changes, kind="policy", what={"text": changed, "stages": True})
    yield Step(at=changes + random.choice((5, 70, 200)), kind="job", what=runs)
    then = changes + random.choice((100, 300))
    if random.random() < 0.4:
        yield _told(then, alarm, "OK")
    if random.random() < 0.3:
        what = {"command": random.choice(("release", "set-stage")), "guard": "money"}
        what |= {"stage": "terminate"} if what["command"] == "set-stage" else {}
        yield Step(at=then + 100, kind="command", what=what)
    if random.random() < 0.4:
        yield _told(then + 200, random.choice(("spend-80", "spend-new")), "ALARM")
        yield Step(at=then + 240, kind="job", what=runs)
    if random.random() < 0.3:
        yield Step(at=then + 500, kind="policy", what={"text": policy, "stages": True})


def _with_returns(plan: Plan, random: Random) -> Plan:
    """The plan, in which jobs come back to RUNNABLE, and no event tells that they had left it."""
    jobs = [step for step in plan.steps if step.kind == "job"]
    if not jobs or random.random() < 0.8:
        return plan
    steps = [
        Step(at=step.at + 0.1, kind="lose", what={"number": number, "status": "STARTING"})
        for number, step in enumerate(jobs[:20])
    ]
    if random.random() < 0.5:  # All that comes due meanwhile is seen to at once.
        begins = random.choice(jobs).at + 60
        what = {"command": "hold", "for_s": random.choice((1_200, 2_400))}
        steps.append(Step(at=begins, kind="command", what=what))
    steps = [*plan.steps, *(step for step in steps if step.at < plan.minutes * 60)]
    return replace(
        plan,
        steps=tuple(sorted(steps, key=lambda step: step.at)),
        disorder=replace(
            plan.disorder,
            requeued=0.5,
            requeue_wait_s=random.choice(((900, 2_400), (30, 300))),
            slow_stops=max(plan.disorder.slow_stops, random.choice((0.0, 0.5))),
            cancelled_returns=random.random() < 0.5,
        ),
    )


_HARD_RATE = 0.004
_CHILD_TAGS: Sequence[ChildTags] = ("as they are", "as submitted", "none", "none")


def _with_tagged_arrays(plan: Plan, random: Random) -> Plan:
    """The plan, in which children need not show their array's tags, and rules may ask for them."""
    disorder = replace(plan.disorder, child_tags=random.choice(_CHILD_TAGS))
    by_tag = random.random() < 0.3

    def of_team(policy: str) -> str:
        rule = '[[limit]]\nmatch = { tags = { team = "imaging" } }\nRUNNABLE = { after = "24h" }\n'
        return policy.replace("[[limit]]", f"{rule}[[limit]]", 1) if by_tag else policy

    steps = [
        replace(step, what={**step.what, "text": of_team(step.what["text"])})
        if step.kind == "policy" and "text" in step.what and not step.what.get("bad")
        else step
        for step in plan.steps
    ]
    last = plan.minutes * 60
    # Where very much fails, the sweeps of yet more jobs would hardly ever come to their end.
    more = (
        0 if max(plan.rates.crash, plan.rates.refused) > _HARD_RATE else random.choice((0, 0, 1, 2))
    )
    for _ in range(more):
        size, queue = random.choice((2, 3, 5)), random.choice(("cpu", "gpu", "small"))
        tags = random.choice((*_OTHER_TAGS[1:], {"team": "imaging"}))
        what = {"name": "render", "queue": queue, "gpus": int(queue == "gpu"), "seconds": 900}
        what |= {"array_size": size, "tags": tags}
        steps.append(Step(at=random.random() * last * 0.6, kind="job", what=what))
    steps.sort(key=lambda step: step.at)
    return replace(plan, policy=of_team(plan.policy), steps=tuple(steps), disorder=disorder)


_STAGE = r"\[\[guard\.stage\]\]\n"
_OF_TABLE = r"(?:[^\[\n].*\n)*?"
_HARD = rf'{_STAGE}({_OF_TABLE})action = "terminate"\n(?:after_previous.*\n)?'


def _without_time(policy: str) -> str:
    return re.sub(r"(?m)^after_previous.*\n", "", policy)


_OTHER_STAGES: Sequence[Callable[[str], str]] = (
    lambda policy: re.sub(_HARD, "", policy),
    # Nothing is terminated any more: what terminated, cancels.
    lambda policy: re.sub(
        rf'{_STAGE}{_OF_TABLE}action = "cancel"\n(?:close_queues.*\n)?{_HARD}',
        r'[[guard.stage]]\n\1action = "cancel"\n',
        _without_time(policy),
    ),
    lambda policy: policy.replace('"spend-100"', '"spend-new"'),
    lambda policy: policy.replace('"spend-80"', '"spend-new"'),
    lambda policy: (
        policy.replace('"spend-80"', '"spend"')
        .replace('"spend-100"', '"spend-80"')
        .replace('"spend"', '"spend-100"')
    ),
    _without_time,
)


def _with_budgets(random: Random, policy: str) -> str:
    """The policy, whose stages name budgets and a monitor of anomalies too, in a half of all."""
    if random.random() < 0.5:
        return policy
    soft, hard = random.choice((("monthly", "daily"), ("monthly", "monitor"), ("daily", "monthly")))
    policy = policy.replace('alarms = ["spend-80"]', f'alarms = ["spend-80", "{soft}"]')
    forecast = "\nforecast = true" if random.random() < 0.2 else ""
    hard_alarms = f'alarms = ["spend-100", "{hard}"]{forecast}'
    if knows_aws_budgets() and random.random() < 0.5:
        hard_alarms = 'alarms = ["spend-100"]\naws_budgets = [{ name = "daily", percent = 80 }]'
    return policy.replace('alarms = ["spend-100"]', hard_alarms)


@cache
def knows_aws_budgets() -> bool:
    """Whether the package reads `aws_budgets` of a stage yet."""
    budgets = 'aws_budgets = [{ name = "monthly", percent = 80 }]'
    stage = f'[[guard.stage]]\nalarms = ["a"]\n{budgets}\naction = "cancel"\n'
    try:
        parse_policy(f'[[guard]]\nname = "money"\n{stage}')
    except PolicyError:
        return False
    return True


def _money(random: Random, minutes: int) -> Iterator[Step]:
    """What AWS says of money: late, of other thresholds, of periods that are over."""

    def sometime() -> float:
        return random.random() * minutes * 60 * 0.8

    for _ in range(random.choice((0, 0, 1, 1, 2))):
        budget: dict[str, Any] = {
            "budget": random.choice(_BUDGETS),
            "percent": random.choice((50, 80, 100, 100, 120)),
            "forecast": random.random() < 0.2,
            "days_ago": random.choice((0, 0, 0, 3, 40)),
            "measures": random.choice(("Cost", "Cost", "Cost", "RI Utilization", "Usage")),
        }
        if budget["budget"] == "daily":
            budget["period"] = "day"
        yield Step(at=sometime(), kind="budget", what=budget)
    if random.random() < 0.15:
        what = {"monitor": "monitor", "days_ago": random.choice((0, 0, 2))}
        yield Step(at=sometime(), kind="anomaly", what=what)
    if random.random() < 0.3:
        late_s = random.choice((400, 2_000, 6_000))
        at, alarm = sometime(), random.choice(ALARMS)
        yield _told(at, alarm, "ALARM", late_s=late_s)
        if random.random() < 0.5:
            yield _told(at + random.choice((60, 900)), alarm, "OK")
    if random.random() < 0.3:
        at, alarm = sometime(), random.choice(ALARMS)
        guard = "other" if alarm == "other-80" else "money"
        yield _told(at, alarm, "ALARM")
        yield Step(at=at + 300, kind="command", what={"command": "release", "guard": guard})
        yield _told(at + random.choice((400, 900)), alarm, random.choice(("ALARM", "OK")))


def _told(at: float, alarm: str, state: str, **more: Any) -> Step:
    what = {"alarm": alarm, "state": state, "by": "sns", **more}
    return Step(at=at, kind="alarm", what=what)


# ---- Budgets, counted live ----------------------------------------------------------------

_LIVE_BUDGETS = """
[[budget]]
name = "all"
per = "day"
time_zone = "{zone}"
{limits}
warn_at = [1, 50]
[[budget]]
name = "gpu"
match = {{ queue = "gpu" }}
per = "week"
gpu_hours = 100000
memory_gib_hours = 1000000
"""
_ROOMY = "vcpu_hours = 1.5"
# Of these a history that lasts for an hour uses up some, or all.
_LIMITS = ("vcpu_hours = 0.02", "vcpu_hours = 0.1", "vcpu_hours = 0.4", _ROOMY)
_DEARER = "usd = 0.3\nrates = {{ vcpu_hour = {price}, gpu_hour = 0.5 }}"
# The clocks of these show midnight at noon in London, one hour later, 90 minutes, and three hours.
_ZONES = ("Asia/Tokyo", "Pacific/Fiji", "Australia/Sydney", "Australia/Adelaide", "UTC")
_LIVE_GUARD = """
[[guard]]
name = "live"
match = {{ queue = "{queue}" }}
release = "{release}"
[[guard.stage]]
budgets = [{{ name = "all", percent = 50 }}]
action = "cancel"
close_queues = {close}
[[guard.stage]]
budgets = [{{ name = "all" }}]
action = "terminate"
"""


def _with_live_budgets(plan: Plan, random: Random) -> Plan:
    """The plan, with live budgets in each of its policies; in some of them they stop jobs."""
    zone = random.choice(_ZONES)
    limits = random.choice((*_LIMITS, _DEARER.format(price=1)))
    stops = random.random() < 0.6
    if not stops:
        zone, limits = "Asia/Tokyo", _ROOMY
    names = _naming(random) if stops else (lambda policy: policy)

    def budgeted(text: str, limits: str) -> str:
        return names(text) + _LIVE_BUDGETS.format(zone=zone, limits=limits)

    steps = [
        replace(step, what={**step.what, "text": budgeted(step.what["text"], limits)})
        if step.kind == "policy" and "text" in step.what
        else step
        for step in plan.steps
    ]
    if stops and random.random() < 0.4:
        # An operator changes a limit, or what an hour costs, and may take it back.
        other = random.choice((*_LIMITS, *(_DEARER.format(price=price) for price in (1, 8))))
        at = random.random() * plan.minutes * 60 * 0.8
        steps.append(_of_limits(at, budgeted(plan.policy, other)))
        if random.random() < 0.4:
            later = at + random.choice((20, 200, 900))
            steps.append(_of_limits(later, budgeted(plan.policy, limits)))
    last = plan.minutes * 60
    kept = (step for step in steps if step.at < last)
    return replace(
        plan,
        policy=budgeted(plan.policy, limits),
        steps=tuple(sorted(kept, key=lambda step: step.at)),
    )


def _of_limits(at: float, text: str) -> Step:
    return Step(at=at, kind="policy", what={"text": text, "limits": True})


def _naming(random: Random) -> Callable[[str], str]:
    """What has stages of a policy name live budgets: those of its guard, or of one more."""
    soft, hard = random.choice(((50, 100), (1, 50), (1, 100)))
    own = random.random() < 0.5
    guard = _LIVE_GUARD.format(
        queue=random.choice(("*", "cpu")),
        release=random.choice(("auto", "auto", "manual")),
        close=random.choice(("true", "false")),
    )

    def named(policy: str) -> str:
        if own or "[[guard]]" not in policy:
            return policy + guard
        for alarm, percent in (("spend-80", soft), ("spend-100", hard)):
            share = f'budgets = [{{ name = "all", percent = {percent} }}]'
            policy = re.sub(rf'(?m)^(alarms = \["{alarm}".*\n)', rf"\1{share}\n", policy)
        return policy

    return named
