"""Histories that once broke an invariant, and those that chance brings too rarely."""

from collections.abc import Mapping
from dataclasses import replace

from local.batch.work import Outcome
from tests.simulation.faults import Rates
from tests.simulation.plan import EventRates, Kind, Plan, Step


def _plan(policy: str, *steps: Step, seed: int = 1, minutes: int = 30) -> Plan:
    return Plan(
        seed=seed,
        policy=policy,
        batch={},
        minutes=minutes,
        steps=steps,
        rates=Rates(),
        event_rates=EventRates(),
        wide=True,
    )


def _step(minute: float, kind: Kind, **what: object) -> Step:
    return Step(at=minute * 60, kind=kind, what=what)


def _job(minute: float, **what: object) -> Step:
    return _step(minute, "job", **{"name": "render", "queue": "gpu", "gpus": 1, **what})


def _alarm(minute: float, state: str, alarm: str = "spend-80") -> Step:
    return _step(minute, "alarm", alarm=alarm, state=state, by="sns")


_SHORT = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "3m" }\n'
_GUARD = """
mode = "enforce"
[[guard]]
name = "money"
[[guard.stage]]
alarms = ["spend-80"]
action = "cancel"
close_queues = true
"""

PLANS: Mapping[str, Plan] = {
    "a limit that is made longer counts for who waits": _plan(
        _SHORT.replace("3m", "8m"),
        _job(1),
        _step(4, "policy", text=_SHORT.replace("3m", "20m")),
    ),
    "a limit that is made shorter counts for who waits": _plan(
        _SHORT.replace("3m", "60m"),
        _job(1),
        _step(4, "policy", text=_SHORT.replace("3m", "8m")),
    ),
    "an event that comes after its limit is a reminder for the next minute": replace(
        _plan(_SHORT, _job(1), seed=5, minutes=13), event_rates=EventRates(delayed=1.0)
    ),
    "an event whose clock is ahead does not put off a limit": replace(
        _plan(_SHORT, _job(1), seed=5), event_rates=EventRates(jumps=1.0)
    ),
    "a job that no event told of begins its stay when it is found": replace(
        _plan(
            _SHORT.replace("3m", "12m"),
            _job(1, queue="small", gpus=0, seconds=600),
            _job(1.5, waits_for_previous=True),
        ),
        event_rates=EventRates(lost=1.0),
    ),
    "a sweep that is tried again counts from what Batch proves": replace(
        _plan(
            _SHORT + 'RUNNING = { after = "4m" }\n',
            _job(0.5),
            _job(0.3, queue="small", gpus=0, seconds=1_200),
            seed=33,
            minutes=10,
        ),
        rates=Rates(refused=0.1),
        event_rates=EventRates(lost=1.0),
    ),
    "what people closed stays closed": _plan(
        _GUARD,
        _step(1, "person", does="close", queue="cpu"),
        _job(2),
        _alarm(5, "ALARM"),
        _alarm(15, "OK"),
    ),
    "a guard is released when all its alarms are OK": _plan(
        _GUARD.replace('name = "money"', 'name = "money"\nrelease = "auto"').replace(
            '"spend-80"', '"spend-80", "spend-100"'
        ),
        _alarm(1, "ALARM"),
        _alarm(2, "ALARM", "spend-100"),
        _alarm(50, "OK"),
        _alarm(55, "OK", "spend-100"),
        minutes=60,
    ),
    "who closes what a guard has closed leaves no trace": _plan(
        _GUARD.replace('name = "money"', 'name = "money"\nrelease = "auto"'),
        _alarm(2, "ALARM"),
        _step(6, "person", does="close", queue="train"),
        _alarm(7, "OK"),
        _alarm(15, "ALARM"),
        _alarm(25, "OK"),
    ),
    "what runs finishes at cancel, and what arrives is stopped": _plan(
        _GUARD.replace("close_queues = true", ""),
        _job(1, queue="train", gpus=0, service=True, seconds=1_200),
        _job(1, queue="small", gpus=0, vcpus=2, seconds=1_200),
        _alarm(5, "ALARM"),
        _job(8, queue="small", gpus=0, vcpus=2),
        _job(8, queue="train", gpus=0, service=True),
    ),
    "a service job that starts as its stage is entered is left to run": _plan(
        _GUARD.replace("close_queues = true", ""),
        *(
            _job(5 - seconds / 60, queue="train", gpus=0, service=True, seconds=1_200)
            for seconds in range(8)
        ),
        _alarm(5, "ALARM"),
    ),
    "more jobs wait than a call takes": _plan(
        _GUARD,
        *(_job(1 + number / 100, queue="cpu", gpus=0, seconds=3_600) for number in range(130)),
        _alarm(5, "ALARM"),
        minutes=10,
    ),
    "more jobs are due in a minute than a call takes": replace(
        _plan(
            _SHORT,
            *(_job(1 + number / 100, queue="cpu", gpus=0, seconds=3_600) for number in range(75)),
            minutes=10,
        ),
        rates=Rates(partial=0.2),
    ),
    "a budget's message that all of it is spent terminates": _plan(
        _GUARD.replace('"cancel"', '"terminate"').replace("spend-80", "monthly"),
        _job(1, queue="cpu", gpus=0, seconds=3_600),
        _step(5, "budget", budget="monthly"),
    ),
    "a child that runs for longer than the others is waited for": _plan(
        _SHORT,
        *(
            _job(
                minute,
                queue="train",
                gpus=0,
                array_size=3,
                seconds=30,
                outcome={1: Outcome(exit_code=1, seconds=300)},
            )
            for minute in (1, 2)
        ),
    ),
}
