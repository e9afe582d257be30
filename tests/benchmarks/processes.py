"""What is measured in processes of its own: imports, the built layer, and replays."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import logs
from tests.benchmarks.measuring import Figure, growth

_ROOT = Path(__file__).parents[2]
_LAYER = _ROOT / "layers" / "watchdog"
_BUILDS = (_ROOT / ".build" / "lambda", _ROOT / ".aws-sam" / "build")
_ROUNDS = 5
_REPLAYED = (
    "every event goes through the real handlers and the stack's queues, and every sweep runs"
)

_BOTO = 'import boto3; boto3.Session("k", "s", region_name="eu-west-1").client("dynamodb")'
_OURS = """
import boto3
from batch_watchdog.aws.settings import Settings
from batch_watchdog import wiring
settings = Settings(table_name="t", topic_arn="a:b:c:d:e:f", dead_letter_queue_url="https://q",
    stop_queue_url="https://q", policy_parameter="/p", stop_calls_per_second=10)
session = boto3.Session("k", "s", region_name="eu-west-1")
made = wiring.Container(settings=settings, session=session)
made.job_event_intake, made.policies
"""


def figures() -> Iterator[Figure]:
    yield _imports()
    yield from _layer()
    yield from _replays()


def _imports() -> Figure:
    """Measure a function's cold start, against boto3 and one client; both compiled before."""
    ratios = []
    with tempfile.TemporaryDirectory() as compiled:
        kept = {"PYTHONPATH": str(_LAYER), "PYTHONPYCACHEPREFIX": compiled}
        environment = os.environ | kept | {"PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(_ROUNDS + 1):  # The first one compiles.
            ours = _cpu_of([sys.executable, "-c", _OURS], environment)
            boto = _cpu_of([sys.executable, "-c", _BOTO], environment)
            ratios.append(ours / boto)
    return Figure(
        name="import and clients of job_events",
        value=sorted(ratios[1:])[_ROUNDS // 2],
        unit="× boto3 and one client",
        goal=1.3,
        why="pydantic and its models of events and policies, and Powertools' logger and metrics",
    )


def _layer() -> Iterator[Figure]:
    layers = [each / "WatchdogLayer" / "python" for each in _BUILDS]
    built = next(filter(Path.is_dir, layers), None)
    if built is None:
        return
    files = [path for path in built.rglob("*") if path.is_file()]
    compiled = sum(path.suffix == ".pyc" for path in files)
    yield Figure(
        name="the built layer",
        value=sum(path.stat().st_size for path in files) / 1e6,
        unit="MB",
        goal=40,
        note=f"{compiled:,} modules compiled",
    )


def _replays() -> Iterator[Figure]:
    """A replay of arrays and single jobs, at three sizes."""
    seconds, peaks = {}, {}
    for events in (10_000, 30_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            log, out = Path(folder) / "log.jsonl", Path(folder) / "out.jsonl"
            arrays = [logs.an_array(1_000, seed=seed) for seed in range(events // 4_000)]
            lines = sorted(
                (event for array in arrays for event in array.events),
                key=lambda event: str(event["time"]),
            )
            logs.write(log, lines)
            command = [sys.executable, "-m", "local", "replay", str(log), "--out", str(out)]
            script = (
                "import resource,subprocess,sys,json;"
                f"subprocess.run({command!r}, check=True, stderr=subprocess.DEVNULL);"
                "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
                "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))"
            )
            told = subprocess.run(  # noqa: S603 - our own command
                [sys.executable, "-c", script], cwd=_ROOT, check=True, capture_output=True
            ).stdout
            seconds[events], peak = json.loads(told)
            peaks[events] = peak / 1024
    yield Figure(
        name="a replay of 100,000 events",
        value=seconds[100_000],
        unit="s of CPU",
        goal=20,
        note=f"grows {growth(seconds)}",
        why=_REPLAYED,
    )
    sizes = ", ".join(f"{value:.0f}" for value in peaks.values())
    yield Figure(
        name="the same",
        value=peaks[100_000],
        unit="MB at most",
        goal=300,
        note=f"10,000, 30,000 and 100,000 events: {sizes} MB",
        why="the simulated Batch and the table keep every job and every decision of the log",
    )


def _cpu_of(command: Sequence[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True)  # noqa: S603 - our own command
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
