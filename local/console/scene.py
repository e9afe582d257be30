"""
Simulate the day that the local operator's page shows. It goes on while the page is open.

It is deterministic until the page is first opened, so pictures and tests always show the same.
"""

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from local.aws import stack as stacks
from local.batch.work import Outcome
from local.commands import demo
from local.commands.demo import Day

POLICY = (
    demo.POLICY
    + """
[[budget]]
name = "imaging"
match = { queue = "*" }
per = "day"
vcpu_hours = 600
warn_at = [50, 80]
"""
)

_OUT_OF_MEMORY = Outcome(
    exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"
)
_SPOT = Outcome(exit_code=None, status_reason="Host EC2 (instance i-0a1b2c3d4e5f60718) terminated.")
_EVERY_MIN = 10  # virtual minutes between submissions by `pass_time`


class Scene:
    """A day whose first 31 minutes have passed. `pass_time` lets it go on."""

    def __init__(self) -> None:
        self.day = Day(stacks.read(), Console(file=io.StringIO()), policy=POLICY)
        self.day.batch.add_world(demo.world())
        self._next_jobs_in = float(_EVERY_MIN)
        self._number = 0
        self._begin()

    def pass_time(self, minutes: float) -> None:
        """Let virtual minutes pass. New jobs are submitted every ten minutes."""
        while minutes > 0:
            step = min(minutes, self._next_jobs_in)
            self.day.pass_time(step)
            minutes -= step
            self._next_jobs_in -= step
            if self._next_jobs_in <= 0:
                self._next_jobs_in = float(_EVERY_MIN)
                self._submit()

    def ask(self, event: Mapping[str, Any]) -> Any:
        """Return the console's answer to a command or a widget's event."""
        return self.day.ask_console(event)

    def _begin(self) -> None:
        batch = self.day.batch
        failing: dict[int, Outcome] = dict.fromkeys(range(310, 334), _SPOT)
        failing |= dict.fromkeys(range(17, 600, 53), _OUT_OF_MEMORY)
        batch.submit("align-genomes", "cpu", seconds=300, array_size=200)
        batch.submit("segment-scans", "gpu", vcpus=4, gpus=1)
        for number in range(6):
            batch.submit(f"simulate-{number}", "small", vcpus=2, seconds=3_600)
        self.day.pass_time(12)
        batch.submit(
            "render-film",
            "cpu",
            seconds=lambda index, _: 300 + index % 7 * 240 + index,
            array_size=600,
            outcome=failing,
        )
        batch.submit("train-forest", "large", vcpus=2, seconds=1_500, array_size=40)
        batch.submit("denoise-scans", "gpu", vcpus=2, gpus=1)
        self.day.pass_time(8)
        self.day.alarm("spend-80-percent", "ALARM")
        # The sweep lists all jobs every 15 minutes. After a listing, the waiting jobs are known.
        self.day.pass_time(11)

    def _submit(self) -> None:
        self._number += 1
        number, batch = self._number, self.day.batch
        batch.submit(
            f"render-scene-{number}",
            "cpu",
            seconds=lambda index, _: 300 + index % 11 * 60,
            array_size=120,
            outcome=dict.fromkeys(range(number % 40, 120, 41), _OUT_OF_MEMORY),
        )
        batch.submit(f"nightly-report-{number}", "night", vcpus=2, seconds=600)
