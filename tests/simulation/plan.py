"""A history before it happens, drawn from a seed: the world, the jobs, and what people do."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from local.batch import Outcome
from local.batch_disorder import Disorder
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
    disorder: Disorder = Disorder()
    call_seconds: Mapping[str, float] = field(default_factory=dict)  # that a call of a service takes
    wide: bool = False  # what the world does that the package may not know how to bear yet
    drain_s: float = 35.5 * 60  # without faults, for all that is under way to come to its end


def draw(seed: int) -> Plan:
    """The plan of a seed."""
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


def a_policy(random: Random) -> str:
    """A policy that is right. Most enforce, some only observe."""
    lines = [f'mode = "{"enforce" if random.random() < 0.8 else "observe"}"']
    if random.random() < 0.1:
        lines += ["[safety]", f"max_stops_per_hour = {random.choice((1, 2, 5))}"]
    lines += ["[notify]", f"digest_over = {random.choice((1, 5, 5))}"]
    if random.random() < 0.1:
        lines += ["job_failures = false"]
    lines += _array_rule(random)
    for queue in ("gpu", ""):
        lines += _limit_rule(random, queue)
    for name in random.choice(((), ("money",), ("money",), ("money", "other"))):
        lines += _guard(random, name)
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
