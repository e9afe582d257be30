"""A budget as the table keeps it, and what of it has been told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from batch_watchdog.budgets.usage import Use

FORECAST = "forecast"  # in `told`, beside percentages: "80"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heavy:
    """What one user has used in a period: so many units of work, and what runs, as in `Running`."""

    used: int = 0
    running: int = 0
    starts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """
    A budget's use, and what was told of it in a period.

    `heavy` are the jobs and arrays, by name, that use most. `told` says of each threshold, in per
    cent, when it was found to be reached (milliseconds): by `limits`, which an operator may change.
    So is what `heavy` is `measured` in.
    """

    budget: str
    use: Use
    period: str
    limits: str
    told: Mapping[str, int] = field(default_factory=dict)
    heavy: Mapping[str, Heavy] = field(default_factory=dict)
    measured: str = ""
    version: int = 0
