"""The state of a budget as the table keeps it, with what was announced of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from batch_watchdog.budgets.usage import Use

FORECAST = "forecast"  # a key of `told`, as are percentages: "80"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heavy:
    """What one job name has used in a period by runs that ended, and what runs, as in `Running`."""

    used: int = 0
    running: int = 0
    starts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """
    A budget's use, and what was announced of it in a period.

    `heavy` are the jobs and arrays, by name, that use most. `told` has, by threshold in per cent,
    when it was found to be reached (milliseconds). It is valid for the digest `limits`, as `heavy`
    is for the digest `measured`: both change with the policy. `changed` counts such changes of the
    budget, so that what is announced again is a different notice.
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
        """The part of a notice's id that differs after the policy's budget has changed."""
        return f"{self.limits}-{self.changed}" if self.changed else self.limits
