"""
Faults that are known and not mended yet, each a small history and the invariant that it breaks.

Who mends one moves its plan to `regressions.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulation.faults import Rates
from tests.simulation.plan import EventRates, Kind, Plan, Step

_I13 = "i13_every_changing_call_is_justified"


@dataclass(frozen=True, slots=True)
class Known:
    """A history, and the name of the invariant that it breaks."""

    plan: Plan
    breaks: str


def _plan(policy: str, *steps: Step, minutes: int = 20, **batch: Any) -> Plan:
    return Plan(
        seed=1,
        policy=policy,
        batch=batch,
        minutes=minutes,
        steps=steps,
        rates=Rates(),
        event_rates=EventRates(),
        wide=True,
        drain_s=600,
    )


def _step(minute: float, kind: Kind, **what: object) -> Step:
    return Step(at=minute * 60, kind=kind, what=what)


def _job(minute: float, **what: object) -> Step:
    """A job that cannot start, unless something else is said of it."""
    return _step(minute, "job", **{"name": "render", "queue": "gpu", "gpus": 1, **what})


def _runs(minute: float, **what: object) -> Step:
    return _job(minute, **{"queue": "cpu", "gpus": 0, "seconds": 3_600, **what})


def _policy(minute: float, text: str) -> Step:
    return _step(minute, "policy", text=text)


def _refused(minute: float, *codes: str, number: int = 0) -> Step:
    return _step(minute, "refusal", number=number, codes=codes or ("ClientException",))


_LIMIT = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "3m" }\n'
_ESCALATING = _LIMIT.replace('"3m"', '"3m", escalate = true')

# A job at minute 1 is asked to stop at minute 5 and Batch refuses; it is asked again at 7.
_ASKED_TWICE = (_job(1), _refused(2))
_BETWEEN = 6.0


def _repeated(*between: Step, policy: str = _LIMIT) -> Known:
    return Known(_plan(policy, *_ASKED_TWICE, *between), _I13)


KNOWN: Mapping[str, Known] = {
    "a stop is repeated though the policy observes by now": _repeated(
        _policy(_BETWEEN, _LIMIT.replace("enforce", "observe"))
    ),
    "a stop is repeated though its rule is gone": _repeated(
        _policy(_BETWEEN, 'mode = "enforce"\n')
    ),
    "a stop is repeated though its rule only warns by now": _repeated(
        _policy(_BETWEEN, _LIMIT.replace('"3m"', '"3m", action = "warn"'))
    ),
    "a stop is repeated though its limit is 24 hours by now": _repeated(
        _policy(_BETWEEN, _LIMIT.replace("3m", "24h"))
    ),
    "a stop is repeated though the job is exempt by its tag by now": _repeated(
        _step(_BETWEEN, "tags", number=0, tags={"batch-watchdog:exempt": "true"})
    ),
    "a stop is repeated though the job's own limit is longer by now": _repeated(
        _step(_BETWEEN, "tags", number=0, tags={"batch-watchdog:RUNNABLE": "24h"})
    ),
}
