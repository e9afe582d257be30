"""The tables of the policy that describe guards."""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from batch_watchdog.policy.durations import shown
from batch_watchdog.policy.match import AlarmName, Job, Match, Table, Text
from batch_watchdog.policy.tables import Mode, Span
from batch_watchdog.policy.toml_positions import KeyPath


class AwsBudget(Table):
    """A threshold of an AWS Budget, by which a stage is raised. One of `percent` and `amount`."""

    name: AlarmName
    """The budget's name (or its ARN)."""
    percent: float | None = Field(
        default=None, strict=True, gt=0, le=1_000_000, allow_inf_nan=False
    )
    """The threshold that raises the stage, in per cent of the budgeted amount: this one, and no
    other. Of a budget of utilization or coverage: the threshold itself."""
    amount: float | None = Field(default=None, strict=True, gt=0, le=1e15, allow_inf_nan=False)
    """The threshold that raises the stage, as an amount in the budget's own unit."""
    forecast: bool = Field(default=False, strict=True)
    """Whether a FORECASTED message is meant, and not an ACTUAL one."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if (self.percent is None) == (self.amount is None):
            yield (), "expected one of percent and amount"

    def __str__(self) -> str:
        limit = f"{self.percent:g} %" if self.percent is not None else f"{self.amount:.15g}"
        return f"{self.name} ({limit})"


class BudgetShare(Table):
    """How much of a budget of this policy is used, by which a stage is raised."""

    name: AlarmName
    """The name of a [[budget]]."""
    percent: float = Field(default=100.0, strict=True, gt=0, le=1_000_000, allow_inf_nan=False)
    """The share of it, in per cent, that raises the stage once it is used."""

    def __str__(self) -> str:
        return f"{self.name} ({self.percent:.15g} %)"


class Stage(Table):
    """One stage of a guard: what raises it, and what it does to the jobs in the guard's scope."""

    alarms: tuple[AlarmName, ...] = ()
    """CloudWatch alarms, AWS Budgets or cost anomaly monitors, by name; any of them raises the
    stage. The name of a budget means a cost budget, and its threshold of 100 % or more. An empty
    list: only an operator raises the stage."""
    aws_budgets: Annotated[tuple[AwsBudget, ...], Field(max_length=100)] = ()
    """Other thresholds of AWS Budgets that raise the stage: [{ name = "monthly", percent = 80 }].
    Budgets of usage, utilization and coverage raise a stage only so."""
    budgets: Annotated[tuple[BudgetShare, ...], Field(max_length=100)] = ()
    """Budgets of this policy, counted live, that raise the stage once that much of them is used:
    [{ name = "imaging", percent = 100 }]. They count until their period is over."""
    forecast: bool = Field(default=False, strict=True)
    """Whether a FORECASTED message of a budget in `alarms` raises the stage too, and not only an
    ACTUAL one."""
    after_previous: Span | None = None
    """The stage is also raised when the one before has lasted this long."""
    action: Literal["cancel", "terminate"]
    """"cancel" stops what waits and lets finish what runs; "terminate" stops everything."""
    close_queues: bool = Field(default=False, strict=True)
    """Close the queues in scope to new jobs. They stay closed at later stages too, and are
    reopened on release."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if not self.model_fields_set & {"alarms", "aws_budgets", "budgets", "after_previous"}:
            yield (
                ("alarms",),
                "is missing: what raises this stage (alarms = [] if only an operator does)",
            )
        if self.forecast and not self.alarms:
            yield ("forecast",), "has no meaning without alarms"


class Guard(Table):
    """A spending rule: calm, until one of its stages is raised, and again after its release."""

    name: Annotated[Text, Field(max_length=64)]
    """What operators call it; no two guards share a name."""
    match: Match = Match()
    """The jobs in its scope; every job in every queue, unless given."""
    spare: Match | None = None
    """Jobs that it never stops."""
    release: Literal["auto", "manual"] = "auto"
    """"auto": released when all its alarms are OK; a budget counts until its period is
    over, an anomaly's until its day is over (UTC). "manual": by an operator only."""
    mode: Mode | None = None
    """This guard's own mode."""
    stage: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=2)]
    """Its stages, each a [[guard.stage]], the milder one first."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if self.spare and self.spare.everything:
            yield ("spare",), "would spare every job: expected name, queue, definition or tags"
        if self.release == "auto" and not any(
            stage.alarms or stage.aws_budgets or stage.budgets for stage in self.stage
        ):
            yield ("release",), 'expected "manual", as there is no alarm that could say OK'
        if self.stage[0].after_previous:
            yield ("stage", 0, "after_previous"), "has no meaning in the first stage"
        if [stage.action for stage in self.stage] not in (
            ["cancel"],
            ["terminate"],
            ["cancel", "terminate"],
        ):
            yield ("stage", 1, "action"), 'stages must grow harder: "cancel", then "terminate"'
        for index, stage in enumerate(self.stage):
            yield from self._skipped(index)
            if stage.close_queues and not self._is_for_whole_queues():
                yield (
                    ("stage", index, "close_queues"),
                    "would close queues to jobs outside the match too: match by queue only",
                )

    def _skipped(self, index: int) -> Iterator[tuple[KeyPath, str]]:
        """Yield what raises the milder stage already: naming it here too would skip that stage."""
        stage, milder = self.stage[index], self.stage[:index]
        seen = {alarm for each in milder for alarm in each.alarms}
        for alarm in sorted(seen & set(stage.alarms)):
            yield (
                ("stage", index, "alarms"),
                f"{shown(alarm)} raises the milder stage already, which it would skip; "
                "where it is an AWS Budget, name its thresholds: aws_budgets = "
                f"[{{ name = {json.dumps(alarm)}, percent = 80 }}] in the milder stage",
            )
        thresholds = {budget for each in milder for budget in each.aws_budgets}
        # For a budget, a bare name means its ACTUAL threshold of 100 %.
        thresholds |= {AwsBudget(name=alarm, percent=100) for alarm in seen}
        shares = {share for each in milder for share in each.budgets}
        named: tuple[tuple[str, Sequence[Table], Collection[Table]], ...] = (
            ("aws_budgets", stage.aws_budgets, thresholds),
            ("budgets", stage.budgets, shares),
        )
        for key, tables, taken in named:
            for which, table in enumerate(tables):
                if table in taken:
                    yield (
                        ("stage", index, key, which),
                        "raises the milder stage already, which it would skip",
                    )

    @property
    def live_budgets(self) -> frozenset[str]:
        """The names of the policy's budgets that raise one of its stages."""
        return frozenset(share.name for stage in self.stage for share in stage.budgets)

    def _is_for_whole_queues(self) -> bool:
        return not (self.match.name or self.match.definition or self.match.tags)

    def covers_queue(self, queue: str) -> bool:
        """Whether jobs of this queue (an ARN or a name) can be in its scope."""
        return self.match.matches_queue(queue)

    def covers(self, job: Job) -> bool:
        """Whether the job is in its scope, spared or not."""
        return self.match.matches(job)

    def spares(self, job: Job) -> bool:
        return self.spare is not None and self.spare.matches(job)
