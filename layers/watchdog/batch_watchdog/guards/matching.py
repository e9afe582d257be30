"""Decide which stages of a guard an alarm, a budget or an anomaly raises."""

from collections.abc import Iterator

from batch_watchdog.guards.signals.evidence import Evidence
from batch_watchdog.guards.state import GuardState
from batch_watchdog.notices.phrases import Phrase, kept, say
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.guard_tables import AwsBudget, BudgetShare, Guard, Stage
from batch_watchdog.policy.model import Policy

CAN_SAY_OK = "cloudwatch:"
_FORECAST = "forecast:"
_WHOLE = 100.0  # per cent
_ROUNDING = 0.005  # of amounts and per cents, as floating-point numbers
_SLACK_MAX = 1.0  # per cent: a threshold that is rounded more coarsely may be a different one


def concerned(policy: Policy, evidence: Evidence) -> tuple[Guard, ...]:
    """Return the guards that name the alarm or budget, perhaps with another threshold."""
    return tuple(rule for rule in policy.guard if is_named(rule, evidence))


def is_named(rule: Guard, evidence: Evidence) -> bool:
    if evidence.source == "live":
        return evidence.alarm in rule.live_budgets
    budgets = (budget.name for stage in rule.stage for budget in stage.aws_budgets)
    if evidence.source == "budget" and any(name in evidence.names for name in budgets):
        return True
    return any(evidence.names & set(stage.alarms) for stage in rule.stage)


def named_stages(rule: Guard, evidence: Evidence) -> Iterator[tuple[Stage, str]]:
    """
    Yield the stages that name this evidence, each with the signal for it.

    A bare name means every alarm of that name, an ARN that one only: two stages may name one alarm.
    """
    match evidence.source:
        case "budget":
            yield from _stages_of_message(rule, evidence)
        case "live":
            for stage in rule.stage:
                for share in stage.budgets:
                    if (share.name, share.percent) == (evidence.alarm, evidence.share):
                        yield stage, _live(share)
        case _:
            for stage in rule.stage:
                if name := _policy_name_of(stage, evidence):
                    yield stage, _signal(evidence.source, name)


def _stages_of_message(rule: Guard, evidence: Evidence) -> Iterator[tuple[Stage, str]]:
    """Yield the stages that name a message of an AWS Budget."""
    if evidence.may_be_of_the_period_before:
        return
    for stage in rule.stage:
        if (name := _policy_name_of(stage, evidence)) and _is_whole_cost(evidence, stage):
            yield stage, _signal("budget", name, forecasted=evidence.forecasted)
        for budget in stage.aws_budgets:
            if budget.name in evidence.names and _is_threshold(evidence, budget):
                yield stage, _signal("budget", str(budget), forecasted=evidence.forecasted)


def _policy_name_of(stage: Stage, evidence: Evidence) -> str:
    # Use the policy's own name for the alarm: a name or an ARN. Not all routes by which an alarm's
    # messages arrive show its ARN, and one alarm must not count as two for a stage.
    named = evidence.names & set(stage.alarms)
    if not named:
        return ""
    return evidence.alarm if evidence.alarm in named else min(named)


def _is_whole_cost(evidence: Evidence, stage: Stage) -> bool:
    """Check whether a message fits a budget's bare name: 100 % or more of a cost budget."""
    limit = evidence.limit
    if limit is None or not limit.is_cost or limit.below or limit.percent is None:
        return False
    if limit.percent_slack > _SLACK_MAX:
        return False
    return limit.percent >= _WHOLE and (stage.forecast or not evidence.forecasted)


def _is_threshold(evidence: Evidence, budget: AwsBudget) -> bool:
    """Check whether a message is about exactly the threshold that a stage names."""
    limit = evidence.limit
    if limit is None or budget.forecast != evidence.forecasted:
        return False
    in_percent = budget.percent is not None
    wanted = budget.percent if in_percent else budget.amount
    given = limit.percent if in_percent else limit.amount
    slack = limit.percent_slack if in_percent else limit.amount_slack
    if wanted is None or given is None:
        return False
    if limit.below and not limit.is_ratio:
        return False  # Costs that are less than planned are not spending too much.
    if in_percent and slack > _SLACK_MAX:
        return False
    if not in_percent and 100 * slack > _SLACK_MAX * wanted:
        slack = 0.0
    return abs(given - wanted) <= slack + _ROUNDING


def why_not_named(  # noqa: PLR0911 - each reason has its words
    rule: Guard, evidence: Evidence
) -> Phrase:
    """Return why a budget's message raises no stage, although the guard names the budget."""
    limit, threshold = evidence.limit, kept(evidence.threshold or say("unknown"))
    if evidence.may_be_of_the_period_before:
        return say(
            "it came in the first hours of its period and may be about the one before, so it "
            "raises no stage"
        )
    if limit is None or (limit.percent is None and limit.amount is None):
        return say(
            "its threshold ({threshold}) cannot be read, so it raises no stage", threshold=threshold
        )
    by_name = any(_policy_name_of(stage, evidence) for stage in rule.stage)
    if by_name and not limit.is_cost:
        return say("it is not a cost budget, which raises a stage only by aws_budgets")
    if limit.percent is None:
        return say(
            "its threshold ({threshold}) cannot be compared with what is budgeted ({budgeted}), so "
            "it raises no stage",
            threshold=threshold,
            budgeted=evidence.budgeted or say("unknown"),
        )
    if limit.percent_slack > _SLACK_MAX:
        return say(
            "its threshold ({threshold}) is rounded too coarsely to raise a stage",
            threshold=threshold,
        )
    if by_name and limit.percent >= _WHOLE and evidence.forecasted:
        return say("it is FORECASTED, which the stage does not ask for")
    return say("its threshold ({threshold}) is not one that a stage names", threshold=threshold)


def _signal(source: str, name: str, *, forecasted: bool = False) -> str:
    return f"{_FORECAST if forecasted else f'{source}:'}{name}"


def _live(share: BudgetShare) -> str:
    return f"live:{share}"


def lasting(stage: Stage) -> dict[str, Phrase]:
    """Return the signals of a stage that report their OK too, each with a text on its ALARM."""
    alarms = {
        CAN_SAY_OK + name: say("alarm {alarm} is in ALARM", alarm=plain(name, 100))
        for name in stage.alarms
    }
    shares = {
        _live(share): say("budget {budget} is used", budget=plain(str(share), 100))
        for share in stage.budgets
    }
    return alarms | shares


def signals_of(stage: Stage) -> Iterator[str]:
    for _, signals in (*told_by_aws(stage), *_counted_here(stage)):
        yield from signals


def told_by_aws(stage: Stage) -> Iterator[tuple[str, tuple[str, ...]]]:
    """
    Yield the alarms, and the thresholds of AWS Budgets, that raise a stage.

    Each comes with its name, as operators read it, and with its possible signals.
    """
    for name in stage.alarms:
        signals = tuple(_signal(source, name) for source in ("cloudwatch", "budget", "anomaly"))
        yield name, (*signals, *([_signal("budget", name, forecasted=True)] * stage.forecast))
    for budget in stage.aws_budgets:
        signal = _signal("budget", str(budget), forecasted=budget.forecast)
        yield alarm_of(signal), (signal,)


def _counted_here(stage: Stage) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the shares of the policy's own budgets that raise a stage, in the same form."""
    for share in stage.budgets:
        yield str(share), (_live(share),)


def waits_for(rule: Guard, state: GuardState) -> list[dict[str, str | None]]:
    """List what may raise each stage, with its latest state; None if no message was received."""
    received = {(base_of(signal), latest.state) for signal, latest in state.alarms.items()}
    return [
        {
            "stage": stage.action,
            "alarm": name,
            # If any of its signals is in ALARM, that counts.
            "heard": next(
                (said for said in ("ALARM", "OK") for each in signals if (each, said) in received),
                None,
            ),
        }
        for stage in rule.stage
        for name, signals in (*told_by_aws(stage), *_counted_here(stage))
    ]


def base_of(signal: str) -> str:
    """Return the signal without the alarm's ARN: see `signal_of`."""
    return signal.partition("\n")[0]


def says_ok(signal: str) -> bool:
    return signal.startswith(CAN_SAY_OK)


def name_of(signal: str) -> str:
    """Return the alarm's name (or ARN), as the policy writes it."""
    return base_of(signal).partition(":")[2]


def alarm_of(signal: str) -> str:
    """
    Return the alarm as operators read it: with its ARN if another alarm has the same name.

    A budget's forecast is marked, to distinguish it from the actual amount.
    """
    arn = signal.partition("\n")[2]
    name = f"{name_of(signal)} FORECASTED" if signal.startswith(_FORECAST) else name_of(signal)
    return f"{name} ({arn})" if arn else name


def subject_of(signal: str) -> str:
    kind = "day of anomaly monitor" if signal.startswith("anomaly:") else "period of budget"
    return f"the {kind} {plain(alarm_of(signal), 100)}"
