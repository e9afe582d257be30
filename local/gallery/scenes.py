"""The scenes of the gallery. Each has a policy, and a function that makes things happen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from local.batch.work import Outcome
from local.gallery.day import Day

_OUT_OF_MEMORY = Outcome(
    exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"
)
_SPOT = Outcome(exit_code=None, status_reason="Host EC2 (instance i-0a1b2c3d4e5f60718) terminated.")
_HOUR = 3_600  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """
    A run of the watchdog: its title and policy, and what happens (`play`).

    `alarms` says whether CloudWatch answers which alarms exist.
    """

    title: str
    policy: str
    play: Callable[[Day], None]
    alarms: bool = False


# ---- Arrays and jobs ----------------------------------------------------------------------


def _arrays(day: Day) -> None:
    day.submit("align-genomes", "cpu", seconds=300, array_size=40)
    day.pass_time(minutes=10)
    failing = {7: _SPOT, 8: _SPOT, 9: _SPOT, 31: _OUT_OF_MEMORY}
    day.submit("render-film", "cpu", seconds=300, array_size=40, outcome=failing)
    day.pass_time(minutes=10)


def _half_of_an_array(day: Day) -> None:
    day.submit("train-forest", "small", seconds=240, array_size=16)
    day.pass_time(minutes=20)


def _array_stopped(day: Day) -> None:
    day.submit("simulate-wind", "small", seconds=60, array_size=40, outcome=_failing_third)
    day.pass_time(minutes=20)


def _failing_third(index: int, _: int) -> int:
    return 1 if index % 3 == 1 else 0


def _array_and_guard(day: Day) -> None:
    day.submit("render-long", "small", seconds=600, array_size=30, outcome={0: 1})
    day.pass_time(minutes=12)
    day.alarm("spend-80-percent", "ALARM")
    day.pass_time(minutes=25)


def _single_jobs(day: Day) -> None:
    day.submit("nightly-report", "cpu", outcome=_OUT_OF_MEMORY)
    day.pass_time(minutes=30)
    first = day.submit("extract", "cpu", outcome=3)
    before = first
    for number in range(4):
        before = day.submit(f"transform-{number}", "cpu", depends_on=[before])
    day.pass_time(minutes=10)


# ---- Limits -------------------------------------------------------------------------------

_LIMIT = """
[[limit]]
match = { queue = "$gpu" }
RUNNABLE = { warn_after = "20m", after = "40m", action = "cancel" }
"""
_RUNNING = """
[[limit]]
RUNNING = { after = "30m", action = "terminate" }
"""


def _stuck(day: Day) -> None:
    day.submit("segment-scans", "gpu", vcpus=4, gpus=1)
    day.pass_time(minutes=45)


def _week_of_limits(day: Day) -> None:
    _stuck(day)
    day.pass_quiet_time(days=7)
    day.pass_time(minutes=5)


def _overruns(day: Day) -> None:
    job = day.submit("train-model", "cpu", seconds=48 * _HOUR)
    day.batch.ignore_terminate(job)
    day.pass_time(minutes=150)


def _slips_away(day: Day) -> None:
    day.moves(
        "segment-scans",
        "gpu",
        ("RUNNABLE", 0, False),
        ("RUNNABLE", 2_410, True),
        ("STARTING", 2_430, True),
    )
    day.pass_time(minutes=50)


def _cannot_be_stopped(day: Day) -> None:
    job = day.submit("segment-scans", "gpu", vcpus=4, gpus=1)
    day.batch.refusals[job] = ["ClientException"] * 50
    day.pass_time(minutes=90)


def _brake(day: Day) -> None:
    for number in range(3):
        day.submit(f"scan-{number}", "cpu", seconds=2 * _HOUR)
    day.pass_time(minutes=35)


# ---- Guards -------------------------------------------------------------------------------

_GUARD = """
[[guard]]
name = "$monthly-budget"
match = { queue = "$small" }
[[guard.stage]]
alarms = ["spend-80-percent"]
action = "cancel"
close_queues = true
[[guard.stage]]
alarms = ["spend-100-percent"]
action = "terminate"
"""
_BUDGET_GUARD = """
[[guard]]
name = "$monthly-budget"
match = { queue = "$small" }
[[guard.stage]]
aws_budgets = [{ name = "account-monthly", percent = 80 }]
action = "cancel"
"""


def _spending(day: Day) -> None:
    for number in range(6):
        day.submit(f"simulate-{number}", "small", vcpus=2, seconds=2 * _HOUR)
    day.pass_time(minutes=3)
    day.alarm("spend-80-percent", "ALARM")
    day.pass_time(minutes=10)
    day.alarm("spend-100-percent", "ALARM")
    day.pass_time(minutes=10)
    for name in ("spend-80-percent", "spend-100-percent"):
        day.alarm(name, "OK")
    day.pass_time(minutes=5)


def _budget_at_half(day: Day) -> None:
    day.budget_message("account-monthly", 50)
    day.pass_time(minutes=3)
    day.receive('{"AlarmName": "spend-80-percent", "NewStateValue": 5}', "ALARM")
    day.pass_time(minutes=3)


def _guard_lost(day: Day) -> None:
    day.submit("simulate", "small", seconds=2 * _HOUR)
    day.alarm("spend-80-percent", "ALARM")
    day.pass_time(minutes=10)
    day.put_policy('mode = "enforce"')
    day.pass_time(minutes=5)


def _queue_stays_open(day: Day) -> None:
    day.hold_updating("small", seconds=_HOUR)
    day.alarm("spend-80-percent", "ALARM")
    day.pass_time(minutes=20)


def _by_hand(day: Day) -> None:
    day.command("set-stage", guard="monthly-budget", stage="cancel")
    day.pass_time(minutes=5)
    day.command("release", guard="monthly-budget")
    day.pass_time(minutes=5)


# ---- Budgets ------------------------------------------------------------------------------

_BUDGET = """
[[budget]]
name = "$imaging"
per = "day"
time_zone = "Asia/Tokyo"
vcpu_hours = 8
warn_at = [50]
[[guard]]
name = "$imaging-guard"
match = { queue = "$cpu" }
[[guard.stage]]
budgets = [{ name = "$imaging", percent = 100 }]
action = "cancel"
"""


def _budgets(day: Day) -> None:
    day.submit("render", "cpu", vcpus=4, seconds=3 * _HOUR)
    day.pass_time(minutes=150)


# ---- The watchdog itself ------------------------------------------------------------------


def _policies(day: Day) -> None:
    day.pass_time(minutes=2)
    day.put_policy('mode = "observe"')
    day.pass_time(minutes=2)
    day.put_policy('mode = "enforse"')
    day.pass_time(minutes=2)


def _nobody_listens(day: Day) -> None:
    day.pass_time(minutes=63)


def _trials(day: Day) -> None:
    day.command("test-notice", kinds=["array-completed"])
    day.pass_time(minutes=1)


# ---- Storms -------------------------------------------------------------------------------


def _storm(day: Day) -> None:
    for number in range(40):
        day.submit(f"convert-{number}", "cpu", seconds=60 + 30 * number, outcome=_OUT_OF_MEMORY)
    day.pass_time(minutes=40)


def _flapping(day: Day) -> None:
    for _ in range(9):
        day.alarm("spend-80-percent", "ALARM")
        day.pass_time(minutes=3)
        day.alarm("spend-80-percent", "OK")
        day.pass_time(minutes=3)


_ENFORCED = 'mode = "enforce"\n'
_STOP_REST = "[[array]]\nstop_rest_when = { failed_percent = 20, of_at_least = 8 }\n"

SCENES: Sequence[Scene] = (
    Scene(title="Arrays", policy=_ENFORCED, play=_arrays),
    Scene(
        title="An array's progress", policy="[[array]]\nprogress = [50]\n", play=_half_of_an_array
    ),
    Scene(title="Too many children fail", policy=_ENFORCED + _STOP_REST, play=_array_stopped),
    Scene(title="Too many children fail, observing", policy=_STOP_REST, play=_array_stopped),
    Scene(title="A guard stops an array", policy=_ENFORCED + _GUARD, play=_array_and_guard),
    Scene(title="Jobs that fail", policy=_ENFORCED, play=_single_jobs),
    Scene(title="A job that cannot start", policy=_ENFORCED + _LIMIT, play=_stuck),
    Scene(title="A job that cannot start, observing", policy=_LIMIT, play=_stuck),
    Scene(title="A week of a limit that observes", policy=_LIMIT, play=_week_of_limits),
    Scene(title="A job that does not end", policy=_ENFORCED + _RUNNING, play=_overruns),
    Scene(
        title="A job that slips away",
        policy=f'{_ENFORCED}[[limit]]\nRUNNABLE = {{ after = "40m" }}\n',
        play=_slips_away,
    ),
    Scene(title="A job that cannot be stopped", policy=_ENFORCED + _LIMIT, play=_cannot_be_stopped),
    Scene(title="A queue that cannot be closed", policy=_ENFORCED + _GUARD, play=_queue_stays_open),
    Scene(
        title="More stops than the policy allows",
        policy=f"{_ENFORCED}[safety]\nmax_stops_per_hour = 1\n{_RUNNING}",
        play=_brake,
    ),
    Scene(title="Spending", policy=_ENFORCED + _GUARD, play=_spending),
    Scene(title="Spending, observing", policy=_GUARD, play=_spending),
    Scene(title="A stage set by hand", policy=_ENFORCED + _GUARD, play=_by_hand),
    Scene(title="Messages about money", policy=_ENFORCED + _BUDGET_GUARD, play=_budget_at_half),
    Scene(title="A guard that the policy has lost", policy=_ENFORCED + _GUARD, play=_guard_lost),
    Scene(title="Budgets", policy=_ENFORCED + _BUDGET, play=_budgets),
    Scene(title="Policies", policy=_ENFORCED, play=_policies),
    Scene(title="The daily check", policy=_GUARD, play=_nobody_listens, alarms=True),
    Scene(title="A test", policy="", play=_trials),
    Scene(title="A storm of failures", policy=_ENFORCED, play=_storm),
    Scene(title="An alarm that flaps", policy=_ENFORCED + _GUARD, play=_flapping),
)
