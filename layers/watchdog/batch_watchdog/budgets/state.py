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
    So is what `heavy` is `measured` in. `changed` says how often the policy's budget was: what is
    told anew is another notice.
    """

    budget: str
    use: Use
    period: str
    limits: str
    told: Mapping[str, int] = field(default_factory=dict)
    heavy: Mapping[str, Heavy] = field(default_factory=dict)
    measured: str = ""
    changed: int = 0
    version: int = 0

    @property
    def told_by(self) -> str:
        """By which the notices of a budget are known that the policy has changed meanwhile."""
        return f"{self.limits}-{self.changed}" if self.changed else self.limits
