"""Stop runs: how many calls it takes to stop very many jobs, against the fewest possible."""

from collections.abc import Iterator

from batch_watchdog.aws.batch import STOP_MAX
from tests.benchmarks.measuring import Figure, cpu_seconds, without_collector
from tests.running import Running


def figures() -> Iterator[Figure]:
    with without_collector():
        for jobs in (100_000, 1_000_000):
            yield _of(jobs)


def _of(jobs: int) -> Figure:
    running = Running()
    running.submit(jobs)
    running.enter("cancel")
    seconds = cpu_seconds(lambda: running.run(minutes=5 + jobs / 100_000))
    assert running.alive() == 0
    return Figure(
        name=f"a stop run of {jobs:,} jobs",
        value=running.stop_calls / -(-jobs // STOP_MAX),
        unit="× the fewest calls that stop them",
        goal=1.03,
        is_count=True,
        note=f"{seconds:.0f} s of CPU, the simulated Batch's too",
    )
