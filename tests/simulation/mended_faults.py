"""Faults that an orderly world had hidden: small histories, each with the invariant it broke."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from local.batch.disorder import ChildTags, Disorder
from local.batch.work import Outcome
from tests.simulation.faults import Rates
from tests.simulation.plan import EventRates, Kind, Plan, Step

_I13 = "i13_every_changing_call_is_justified"


@dataclass(frozen=True, slots=True)
class Mended:
    """A history, and the name of the invariant that it broke."""

    plan: Plan
    broke: str


def _plan(policy: str, *steps: Step, minutes: int = 20, drain_s: float = 600) -> Plan:
    return Plan(
        seed=1,
        policy=policy,
        batch={},
        minutes=minutes,
        steps=steps,
        rates=Rates(),
        event_rates=EventRates(),
        wide=True,
        drain_s=drain_s,
    )


def _step(minute: float, kind: Kind, **what: object) -> Step:
    return Step(at=minute * 60, kind=kind, what=what)


def _job(minute: float, **what: object) -> Step:
    """A job that cannot start, unless something else is said of it."""
    return _step(minute, "job", **{"name": "render", "queue": "gpu", "gpus": 1, **what})


def _runs(minute: float, **what: object) -> Step:
    return _job(minute, **{"queue": "cpu", "gpus": 0, "seconds": 3_600, **what})


def _alarm(minute: float, state: str, alarm: str = "spend-80", **what: object) -> Step:
    return _step(minute, "alarm", alarm=alarm, state=state, by="sns", **what)


def _budget(minute: float, **what: object) -> Step:
    return _step(minute, "budget", **{"budget": "monthly", **what})


def _command(minute: float, command: str, **what: object) -> Step:
    return _step(minute, "command", command=command, **what)


def _policy(minute: float, text: str) -> Step:
    return _step(minute, "policy", text=text)


def _refused(minute: float, *codes: str, number: int = 0) -> Step:
    return _step(minute, "refusal", number=number, codes=codes or ("ClientException",))


_LIMIT = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "3m" }\n'
_ESCALATING = _LIMIT.replace('"3m"', '"3m", escalate = true')

# A job at minute 1 is asked to stop at minute 5 and Batch refuses; it is asked again at 7.
_ASKED_TWICE = (_job(1), _refused(2))
_BETWEEN = 6.0
# A stop crashes six times: the stream brings it for a minute.
_STUMBLES = tuple(_step(2, "stumble", before="CancelJobs") for _ in range(6))


def _repeated(*between: Step, policy: str = _LIMIT) -> Mended:
    return Mended(_plan(policy, *_ASKED_TWICE, *between), _I13)


_SPARING = """
mode = "enforce"
[[guard]]
name = "money"
spare = { tags = { critical = "true" } }
[[guard.stage]]
alarms = ["spend-80"]
action = "cancel"
close_queues = true
"""
_GUARD = """
mode = "enforce"
[[guard]]
name = "money"
[[guard.stage]]
alarms = ["spend-80"]
action = "cancel"
[[guard.stage]]
alarms = ["spend-100"]
action = "terminate"
"""
_HARDENING = _GUARD + 'after_previous = "15m"\n'
_BUDGET = _GUARD.replace('"spend-100"', '"monthly"')
_FIRST_JOB_SPARED = _step(6, "tags", number=0, tags={"critical": "true"})

# ---- A stop is repeated without asking whether it is still meant ---------------------------

_REPEATED: Mapping[str, Mended] = {
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
    "a stop is repeated after a hold in which the job's tag has exempted it": _repeated(
        _command(5.5, "hold", for_s=300),
        _step(6, "tags", number=0, tags={"batch-watchdog:exempt": "true"}),
    ),
    "a job that has started in spite of its stop is terminated in observe mode": Mended(
        _plan(
            _ESCALATING,
            _job(0.5, queue="small", gpus=0, vcpus=2, seconds=330),
            _job(1, queue="small", gpus=0, seconds=1_800),
            _refused(2, number=1),
            _policy(_BETWEEN, _ESCALATING.replace("enforce", "observe")),
        ),
        _I13,
    ),
    "a stop that the stream brings again is made though the policy observes by now": Mended(
        _plan(
            _LIMIT,
            _job(1),
            *_STUMBLES,
            _policy(5.2, _LIMIT.replace("enforce", "observe")),
        ),
        _I13,
    ),
    "jobs that a run has written down are stopped after a hold, though spared by now": Mended(
        _plan(
            _SPARING,
            _job(1),
            _step(2, "stumble", before="CancelJobs"),
            _alarm(5, "ALARM"),
            _command(5.2, "hold", for_s=240),
            _FIRST_JOB_SPARED,
            minutes=30,
        ),
        _I13,
    ),
    "a stop that the stream brings again is made though the job is exempt by now": Mended(
        _plan(_LIMIT, _job(1), *_STUMBLES, _command(5.2, "exempt", number=0)), _I13
    ),
    "a stop on arrival that the stream brings again is made though the guard is gone": Mended(
        _plan(
            _SPARING.replace("close_queues = true", ""),
            _alarm(1, "ALARM"),
            _job(4),
            *_STUMBLES,
            _policy(4.5, 'mode = "enforce"\n'),
            minutes=30,
        ),
        _I13,
    ),
    "a stop on arrival that the stream brings again is made though the guard is released": Mended(
        _plan(
            _SPARING.replace("close_queues = true", ""),
            _alarm(1, "ALARM"),
            _job(4),
            *_STUMBLES,
            _alarm(4.5, "OK"),
            minutes=30,
        ),
        _I13,
    ),
}

# ---- A stop that is on record is taken for one that was made --------------------------------

_TRUE = "i14_what_is_told_of_a_limits_stop_is_so"
# The second job waits from minute 1 until shortly after 6, when the first one ends.
_STARTS_AFTER_ALL = (
    _job(0.5, queue="small", gpus=0, vcpus=2, seconds=330),
    _job(1, queue="small", gpus=0, seconds=1_800),
)
_HELD = (*_STUMBLES, _command(5.2, "hold", for_s=120))

_ON_RECORD: Mapping[str, Mended] = {
    "a job that starts under a hold is terminated as if it had been asked to stop": Mended(
        _plan(_ESCALATING, *_STARTS_AFTER_ALL, *_HELD), _I13
    ),
    "a job that starts under a hold is told to have escaped": Mended(
        _plan(_LIMIT, *_STARTS_AFTER_ALL, *_HELD), _TRUE
    ),
    "a job that is exempt after a hold is told to be stopped": Mended(
        _plan(
            _LIMIT,
            _job(1),
            *_HELD,
            _step(6, "tags", number=0, tags={"batch-watchdog:exempt": "true"}),
            minutes=60,
        ),
        _TRUE,
    ),
    "stops that were held and are made later are counted in another hour": Mended(
        _plan(
            _LIMIT + "[safety]\nmax_stops_per_hour = 1\n",
            _job(1),
            *_STUMBLES,
            _command(5.2, "hold", for_s=4_000),
            _job(68),
            minutes=90,
        ),
        "i3_the_brake_holds",
    ),
}

# ---- The time that a message carries is taken for the time at which we act -----------------

_TIMES: Mapping[str, Mended] = {
    "an alarm that comes late has hardened when it comes": Mended(
        _plan(_HARDENING, _runs(1), _alarm(5, "ALARM", late_s=3_000), minutes=90), _I13
    ),
    "a stage hardens by time under a hold": Mended(
        _plan(
            _HARDENING,
            _runs(1),
            _alarm(5, "ALARM"),
            _command(6, "hold", for_s=2_000),
            minutes=60,
        ),
        _I13,
    ),
    "a job that a late sweep finds begins its stay at the sweep's own minute": Mended(
        replace(
            _plan(
                _LIMIT.replace("3m", "8m"),
                _runs(1, seconds=1_020),
                _runs(1.5, waits_for_previous=True),
                *(_runs(16, vcpus=8, queue="cpu") for _ in range(2)),
                _step(14.5, "late_sweeps", for_s=360),
                minutes=40,
            ),
            event_rates=EventRates(lost=1.0),
        ),
        _I13,
    ),
}

# ---- Old evidence rings for ever ------------------------------------------------------------

_STALE: Mapping[str, Mended] = {
    "a budget's message that an operator has released hardens another alarm's stage": Mended(
        _plan(
            _HARDENING.replace('"spend-80"', '"spend-80", "monthly"'),
            _runs(1),
            _budget(2),
            _command(8, "release", guard="money"),
            _runs(9),
            _alarm(12, "ALARM"),
            _alarm(16, "OK"),
            minutes=45,
        ),
        _I13,
    ),
    "a budget's message of a month that is over raises its guard": Mended(
        _plan(_BUDGET, _runs(1), _budget(5, days_ago=3)), _I13
    ),
    "an anomaly of another day raises its guard": Mended(
        _plan(_BUDGET, _runs(1), _step(5, "anomaly", monitor="monthly", days_ago=2)), _I13
    ),
    "a day's budget hardens a stage when its day is over": Mended(
        _plan(
            _HARDENING.replace('"spend-80"', '"spend-80", "daily"').replace("15m", "12h"),
            _runs(1, seconds=90_000),
            _budget(5, budget="daily", period="day"),
            minutes=60 * 13,
        ),
        _I13,
    ),
    "an operator's stage hardens by itself": Mended(
        _plan(
            _HARDENING,
            _runs(1),
            _command(4, "set-stage", guard="money", stage="cancel"),
            _alarm(5, "ALARM"),
            minutes=40,
        ),
        _I13,
    ),
}

# ---- A guard's stage is taken for a reason, though nothing asks for it any more ---------------

_CANCELS_ONLY = _GUARD.partition('[[guard.stage]]\nalarms = ["spend-100"]')[0]
_TERMINATES = _GUARD.replace('alarms = ["spend-80"]\naction = "cancel"\n[[guard.stage]]\n', "")
_RENAMED = _policy(8, _GUARD.replace("spend-100", "spend-new"))


def _unasked(*steps: Step, policy: str = _GUARD, minutes: int = 30) -> Mended:
    return Mended(_plan(policy, _runs(1), *steps, minutes=minutes), _I13)


_UNASKED: Mapping[str, Mended] = {
    "a stage that the policy no longer has terminates what arrives": _unasked(
        _alarm(5, "ALARM", "spend-100"), _policy(8, _CANCELS_ONLY), _runs(11)
    ),
    "a stage that the policy no longer has terminates what ran before": _unasked(
        _command(4, "hold", for_s=600),
        _alarm(5, "ALARM", "spend-100"),
        _policy(8, _TERMINATES.replace('"terminate"', '"cancel"')),
        policy=_TERMINATES,
    ),
    "an alarm that the policy no longer names terminates what ran before": _unasked(
        _command(4, "hold", for_s=600), _alarm(5, "ALARM", "spend-100"), _RENAMED
    ),
    "an alarm that the policy no longer names terminates what arrives": _unasked(
        _alarm(5, "ALARM", "spend-100"), _RENAMED, _alarm(10, "OK", "spend-100"), _runs(15)
    ),
    "an alarm that is no longer one of the stage terminates while a milder one rings": _unasked(
        _alarm(4, "ALARM"),
        _command(4.5, "hold", for_s=600),
        _alarm(5, "ALARM", "spend-100"),
        _RENAMED,
    ),
    "a stage by time terminates though the policy has no such time any more": _unasked(
        _alarm(2, "ALARM"),
        _policy(18.5, _GUARD),
        _runs(21),
        policy=_HARDENING,
    ),
    "what rang for a day terminates what starts before the first sweep of the next": _unasked(
        _budget(5, budget="daily", period="day"),
        _command(11 * 60, "hold", for_s=3_610),
        _runs(12 * 60 + 0.25),
        policy=_GUARD.replace("spend-100", "daily"),
        minutes=12 * 60 + 10,
    ),
    "a stage becomes harder by time while its alarm has too little data": _unasked(
        _alarm(4, "ALARM"), _alarm(9, "INSUFFICIENT_DATA"), policy=_HARDENING, minutes=40
    ),
    "time in which an alarm has too little data makes its stage harder": _unasked(
        _alarm(4, "ALARM"),
        _alarm(9, "INSUFFICIENT_DATA"),
        _alarm(16, "ALARM"),
        _alarm(21, "INSUFFICIENT_DATA"),
        policy=_HARDENING,
        minutes=40,
    ),
}

# ---- One threshold of a budget is not told apart from another --------------------------------

_THRESHOLDS: Mapping[str, Mended] = {
    "a budget's message of 50 per cent terminates": Mended(
        _plan(_BUDGET, _runs(1), _budget(5, percent=50)), _I13
    ),
    "a budget of utilization terminates": Mended(
        _plan(_BUDGET, _runs(1), _budget(5, measures="RI Utilization", percent=80)), _I13
    ),
    "a budget of usage terminates": Mended(
        _plan(_BUDGET, _runs(1), _budget(5, measures="Usage", percent=100)), _I13
    ),
}

# ---- A preempted or requeued job's stay begins anew ------------------------------------------

_ANEW: Mapping[str, Mended] = {
    "a service job's stay before its preemption counts for the one after": Mended(
        _plan(
            _LIMIT.replace("3m", "8m"),
            _step(1, "job", name="train", queue="train", service=True, seconds=3_600),
            _step(7, "batch", does="preempt", number=0, wait_s=3_600),
        ),
        _I13,
    ),
    "a stay before a start that leads back to RUNNABLE counts for the one after": Mended(
        _plan(
            _LIMIT.replace("3m", "8m"),
            _job(0.5, queue="small", gpus=0, vcpus=2, seconds=330),
            _job(1, queue="small", gpus=0, seconds=1_800),
            *(_step(at, "batch", does="requeue", number=1, wait_s=3_600) for at in (6.12, 6.15)),
        ),
        _I13,
    ),
    "a stay that ends between its stop and the call counts for the one after": Mended(
        _plan(
            _LIMIT,
            _job(0.5, queue="small", gpus=0, vcpus=2, seconds=330),
            _job(1, queue="small", gpus=0, seconds=1_800),
            *(_step(3, "stumble", before="CancelJobs") for _ in range(7)),
            *(_step(at, "batch", does="requeue", number=1, wait_s=3_600) for at in (6.12, 6.15)),
        ),
        _I13,
    ),
}

_WAITS_AGAIN: Mapping[str, Mended] = {
    "a job that has waited again is terminated for the wait before": Mended(
        replace(
            _plan(
                _ESCALATING,
                _job(0.5, queue="small", gpus=0, vcpus=2, seconds=330),
                _job(1, queue="small", gpus=0, seconds=3_600),
                _command(5.9, "hold", for_s=300),
                *(_step(at, "batch", does="requeue", number=1, wait_s=120) for at in (6.12, 6.15)),
                minutes=30,
            ),
            disorder=Disorder(slow_stops=1.0, slow_stop_s=(600, 600), cancelled_returns=True),
        ),
        _I13,
    ),
}

_CANCELLED_AND_RUNS: Mapping[str, Mended] = {
    "a job whose cancel came too late is never stopped by the limit of the state it is in": Mended(
        replace(
            _plan(
                _LIMIT + 'RUNNING = { after = "5m" }\n',
                _job(0.5, queue="small", gpus=0, vcpus=2, seconds=270),
                _job(1, queue="small", gpus=0, seconds=3_600),
                minutes=20,
            ),
            disorder=Disorder(slow_stops=1.0, slow_stop_s=(600, 600)),
        ),
        "i4_limits_are_enforced_in_time",
    ),
}

_TOLD_TWICE: Mapping[str, Mended] = {
    "a job of whose return nothing told is counted twice after a hold": Mended(
        _plan(
            _LIMIT.replace("3m", "8m"),
            _job(0.5, queue="small", gpus=0, vcpus=2, seconds=660),
            _job(1, queue="small", gpus=0, seconds=1_800),
            _step(1.5, "lose", number=1, status="STARTING"),
            *(_step(at, "batch", does="requeue", number=1, wait_s=3_600) for at in (11.62, 11.65)),
            _command(2, "hold", for_s=1_200),
            minutes=40,
        ),
        "i14_a_stay_that_passes_its_limit_is_told_once",
    ),
}

# ---- What an alarm says while the policy does not name it ------------------------------------

_NOT_NAMED = _HARDENING.replace("spend-80", "other-80")
_UNNAMED: Mapping[str, Mended] = {
    f"an alarm of a guard that says {state} while {where} seems to ring on": Mended(
        _plan(
            _HARDENING,
            _runs(1),
            _alarm(3, "ALARM"),
            _policy(5, between),
            _alarm(7, state),
            _policy(9, _HARDENING),
            minutes=30,
        ),
        _I13,
    )
    for state in ("OK", "INSUFFICIENT_DATA")
    for where, between in (
        ("the policy does not name it", _NOT_NAMED),
        ("the policy lacks the guard", 'mode = "enforce"\n'),
    )
}

# ---- Accepted is not stopped -----------------------------------------------------------------

_TOLD_STOPPED = "i14_what_is_told_to_be_stopped_has_ended"
_BY_HAND = _GUARD.replace('name = "money"', 'name = "money"\nrelease = "manual"')
_IGNORES = _step(2, "batch", does="ignore_terminate", number=0)
_ACCEPTED: Mapping[str, Mended] = {
    "a job that runs on after its limit has terminated it is not told": Mended(
        _plan(
            'mode = "enforce"\n[[limit]]\nRUNNING = { after = "4m" }\n',
            _runs(1, seconds=14_000),
            _IGNORES,
            minutes=40,
        ),
        "i14_what_runs_on_is_told",
    ),
    "a job that runs on after a guard has terminated it is not told": Mended(
        _plan(
            _GUARD, _runs(1, seconds=14_000), _IGNORES, _alarm(5, "ALARM", "spend-100"), minutes=40
        ),
        "i14_what_runs_on_is_told",
    ),
    "a report counts as stopped a job that runs on": Mended(
        _plan(
            _GUARD, _runs(1, seconds=14_000), _IGNORES, _alarm(5, "ALARM", "spend-100"), minutes=40
        ),
        _TOLD_STOPPED,
    ),
    "an array's children that start before their stop count as stopped": Mended(
        _plan(
            _GUARD,
            _alarm(1, "ALARM"),
            _runs(4, array_size=2),
            _alarm(12, "OK"),
        ),
        _TOLD_STOPPED,
    ),
    "an array's children that fail by themselves before their stop count as stopped": Mended(
        _plan(
            _GUARD,
            _alarm(1, "ALARM"),
            _runs(4, array_size=2, seconds=120, outcome=1),
            _alarm(12, "OK"),
        ),
        _TOLD_STOPPED,
    ),
    "children that an array's slow stop does not reach in time count as stopped": Mended(
        replace(
            _plan(
                _GUARD,
                _runs(1, vcpus=16, seconds=250),
                _runs(1.5, array_size=3),
                _alarm(5, "ALARM"),
                _alarm(15, "OK"),
            ),
            disorder=Disorder(slow_stops=1.0, slow_stop_s=(120, 120)),
        ),
        _TOLD_STOPPED,
    ),
    "a job that starts before it is stopped on its arrival counts as stopped": Mended(
        _plan(
            _GUARD,
            _job(0.5, queue="small", gpus=0, vcpus=2, seconds=220),
            _alarm(1, "ALARM"),
            _job(4, queue="small", gpus=0, seconds=3_600),
            *(_step(3, "stumble", before="CancelJobs") for _ in range(6)),
            _alarm(12, "OK"),
        ),
        _TOLD_STOPPED,
    ),
    "a job that ends before it is stopped on its arrival counts as stopped": Mended(
        _plan(
            _GUARD,
            _alarm(1, "ALARM", "spend-100"),
            _runs(4, seconds=20),
            _runs(4, seconds=20, array_size=2, outcome=1),
            *(_step(3, "stumble", before="TerminateJobs") for _ in range(8)),
            _alarm(12, "OK", "spend-100"),
        ),
        _TOLD_STOPPED,
    ),
    "what would have been stopped is told as stopped by a release": Mended(
        _plan(
            _BY_HAND.replace("enforce", "observe"),
            _job(1),
            _alarm(3, "ALARM"),
            _alarm(4, "OK"),
            _policy(8, _BY_HAND),
            _command(10, "release", guard="money"),
        ),
        _TOLD_STOPPED,
    ),
}

# ---- One decision too big loses all, own tags, actions given up, policies --------------------

_LOST: Mapping[str, Mended] = {
    "a job's own limit that events do not carry is enforced late": Mended(
        replace(
            _plan(
                _LIMIT.replace("3m", "6h"),
                _job(1, tags={"batch-watchdog:RUNNABLE": "6m"}),
                minutes=40,
            ),
            disorder=Disorder(events_without_tags=True),
        ),
        "i14_own_tags_are_honoured",
    ),
    "a notice that the stream gives up is lost": Mended(
        _plan(
            _LIMIT,
            _job(1),
            *(_step(2, "stumble", before="Publish") for _ in range(40)),
            drain_s=1_500,
        ),
        "i14_actions_are_carried_out",
    ),
    "a closing that the stream gives up is lost": Mended(
        _plan(
            _SPARING,
            _runs(1),
            *(_step(2, "stumble", before="UpdateJobQueue") for _ in range(40)),
            _alarm(5, "ALARM"),
            minutes=40,
        ),
        "i14_queues_are_as_guards_asked",
    ),
    "a queue that is UPDATING for long is not closed": Mended(
        _plan(
            _SPARING,
            _runs(1),
            _step(4, "batch", does="hold_updating", queue="cpu", seconds=1_500),
            _alarm(5, "ALARM"),
            minutes=60,
        ),
        "i14_queues_are_as_guards_asked",
    ),
    "a guard that vanishes while it is raised is not told": Mended(
        _plan(
            _SPARING,
            _runs(1),
            _alarm(3, "ALARM"),
            _policy(8, 'mode = "enforce"\n'),
            minutes=30,
        ),
        "i14_a_guard_that_vanishes_is_told",
    ),
    "a bad policy that is put twice is told once": Mended(
        _plan(
            _LIMIT,
            _step(2, "policy", text="[[limit]\n", bad=True),
            _policy(6, _LIMIT),
            _step(10, "policy", text="[[limit]\n", bad=True),
        ),
        "i11_each_bad_policy_is_told",
    ),
    "no policy that can be read stops the watchdog": Mended(
        _plan(_LIMIT, _job(1), _step(3, "forgotten", text='mode = "later"\n')),
        "i11_a_bad_policy_takes_no_effect",
    ),
}

_TOO_MANY_FAIL = """
mode = "enforce"
[[array]]
stop_rest_when = { failed_percent = 30, of_at_least = 3 }
"""

_ONE_OF_THREE = {
    4: Outcome(exit_code=1, seconds=330),
    **{index: Outcome(exit_code=0, seconds=330) for index in (5, 6)},
}

_OURS: Mapping[str, Mended] = {
    "children that a guard has cancelled count as failed, and stop the others": Mended(
        _plan(
            _TOO_MANY_FAIL + _GUARD.replace('mode = "enforce"', ""),
            _runs(1, array_size=9, queue="small", seconds=1_200),
            _alarm(4, "ALARM"),
        ),
        _I13,
    ),
    "children that a limit has terminated count as failed, and stop the others": Mended(
        _plan(
            _TOO_MANY_FAIL + '[[limit]]\nRUNNING = { after = "6m" }\n',
            _runs(1, array_size=9, queue="small", seconds=1_200),
            minutes=30,
        ),
        _I13,
    ),
    "children that a person has stopped count as failed, and stop the others": Mended(
        _plan(
            _TOO_MANY_FAIL,
            _runs(1, array_size=9, queue="small", seconds=1_200),
            _step(4, "person", does="cancel", number=0),
        ),
        _I13,
    ),
    # Four are terminated after six minutes each; then one of three fails.
    "children that a limit has terminated are not counted as ended": Mended(
        _plan(
            _TOO_MANY_FAIL + '[[limit]]\nRUNNING = { after = "6m" }\n',
            _runs(1, array_size=9, queue="small", outcome=_ONE_OF_THREE),
            minutes=30,
        ),
        _I13,
    ),
}

# ---- Children whose array alone has the tags ------------------------------------------------

_EXEMPT = {"batch-watchdog:exempt": "true"}
_TEAM_FIRST = _LIMIT.replace(
    "[[limit]]",
    '[[limit]]\nmatch = { tags = { team = "a" } }\nRUNNABLE = { after = "24h" }\n[[limit]]',
)
_OPEN = _SPARING.replace("close_queues = true\n", "")


def _array(minute: float, **tags: str) -> Step:
    return _job(minute, array_size=2, tags=tags)


def _retagged(minute: float, tags: Mapping[str, str]) -> Step:
    return _step(minute, "tags", number=0, tags=tags)


def _children(
    policy: str, *steps: Step, shown: ChildTags = "none", broke: str = _I13, minutes: int = 20
) -> Mended:
    return Mended(
        replace(_plan(policy, *steps, minutes=minutes), disorder=Disorder(child_tags=shown)), broke
    )


_ARRAYS: Mapping[str, Mended] = {
    "children are stopped that show their array's old tags, and it is exempt": _children(
        _LIMIT, _array(1, team="b"), _retagged(2, _EXEMPT), shown="as submitted"
    ),
    "children are stopped that show a shorter limit than their array has now": _children(
        _LIMIT,
        _array(1, **{"batch-watchdog:RUNNABLE": "4m"}),
        _retagged(2, {"batch-watchdog:RUNNABLE": "24h"}),
        shown="as submitted",
    ),
    "children are stopped by a limit's tag that their array has no more": _children(
        _LIMIT.replace("3m", "15m"),
        _array(1, **{"batch-watchdog:RUNNABLE": "4m"}),
        _retagged(2, {}),
        shown="as submitted",
    ),
    "children without tags are stopped at a later look, though their array is exempt": _children(
        _LIMIT,
        _array(1, **{"batch-watchdog:RUNNABLE": "8m"}),
        _retagged(6, _EXEMPT),
    ),
    "children without tags are stopped by a rule that is not for their array": _children(
        _TEAM_FIRST, _array(1, team="a")
    ),
    "a child's stop is carried out though its array is exempt by now": _children(
        _LIMIT, _array(1), *_STUMBLES, _retagged(4.5, _EXEMPT)
    ),
    "a guard stops children without tags as they arrive, though it spares their array": _children(
        _OPEN, _runs(1), _alarm(2, "ALARM"), _array(4, critical="true")
    ),
    "a guard stops children that show their array's old tags, though it spares it": _children(
        _OPEN.replace('action = "cancel"', 'action = "terminate"'),
        # Its children fail, and come back.
        _runs(1, array_size=2, tags={"team": "a"}, attempts=2, seconds=300, outcome=1),
        _retagged(3, {"critical": "true"}),
        _alarm(4, "ALARM"),
        shown="as submitted",
    ),
    "a guard stops children that show a tag which their array has no more": _children(
        _OPEN.replace('action = "cancel"', 'action = "terminate"').replace(
            "spare", 'match = { tags = { team = "a" } }\nspare'
        ),
        _runs(1, array_size=2, tags={"team": "a"}, attempts=2, seconds=300, outcome=1),
        _retagged(3, {"project": "b"}),
        _alarm(4, "ALARM"),
        shown="as submitted",
    ),
}

# ---- Lists show jobs as they were --------------------------------------------------------------

_LATE_LISTS: Mapping[str, Mended] = {
    "a service job that has started since it was listed is ended by a guard at cancel": Mended(
        replace(
            _plan(
                _CANCELS_ONLY,
                _step(3, "job", name="train", queue="train", service=True, seconds=3_600),
                _step(3.07, "batch", does="requeue", number=0, wait_s=120),
                _alarm(5.25, "ALARM"),
            ),
            disorder=Disorder(list_lag_s=60.0),
        ),
        _I13,
    ),
}

# ---- A live budget whose periods become others rings on for the one before ---------------------

_DAY = """
[[budget]]
name = "day"
per = "day"
vcpu_hours = 0.1
"""
_LIVE = _GUARD.replace('alarms = ["spend-80"]', 'budgets = [{ name = "day" }]') + _DAY
_PERIODS: Mapping[str, Mended] = {
    f"a guard that a budget by the day has raised stops by it though the budget is {what}": Mended(
        _plan(
            _LIVE,
            _runs(1, seconds=1_200),
            _policy(62, _LIVE.replace('per = "day"', changed)),
            _job(68),
            minutes=75,
        ),
        _I13,
    )
    for what, changed in (
        ("by the week, of other jobs", 'per = "week"\nmatch = { queue = "small" }'),
        ("of another time zone", 'per = "day"\ntime_zone = "Australia/Sydney"'),
    )
}

MENDED: Mapping[str, Mended] = {
    **_PERIODS,
    **_LATE_LISTS,
    **_ARRAYS,
    **_OURS,
    **_REPEATED,
    **_ON_RECORD,
    **_TIMES,
    **_STALE,
    **_UNASKED,
    **_THRESHOLDS,
    **_ANEW,
    **_TOLD_TWICE,
    **_CANCELLED_AND_RUNS,
    **_WAITS_AGAIN,
    **_UNNAMED,
    **_ACCEPTED,
    **_LOST,
}
