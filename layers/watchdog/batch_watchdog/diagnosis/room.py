"""Whether the environments of a queue have room for a job, and whether their instances join."""

from collections.abc import Mapping, Sequence

from batch_watchdog.diagnosis.environments import BatchSnapshot, EnvironmentVerdict
from batch_watchdog.diagnosis.findings import Clue
from batch_watchdog.diagnosis.fit import Environment, amount
from batch_watchdog.diagnosis.lenient import mapping
from batch_watchdog.diagnosis.needs import Needs
from batch_watchdog.diagnosis.queue_position import used
from batch_watchdog.notices.phrases import row, say


def full(world: BatchSnapshot, needs: Needs, judged: Sequence[EnvironmentVerdict]) -> Clue | None:
    """Return a clue if others hold all that the usable environments may have."""
    environments = [each.environment for each in judged if each.usable]
    held_by_unit = used(world)
    by_desired = [_full_by_desired(each, needs, held_by_unit) for each in environments]
    if environments and all(by_desired):
        return Clue(code="at-max-vcpus", evidence=row(filter(None, by_desired), "; "))
    if len(environments) < len(judged):
        return None  # What the jobs of the queue hold may be in the others.
    for unit, wanted in needs.total.items():
        limits = [each.limits.get(unit) for each in environments]
        most = sum(limit for limit in limits if limit is not None)
        held = held_by_unit.get(unit, 0)
        if limits and None not in limits and held and (held + wanted > most or held >= most):
            return Clue(
                code="at-max-vcpus",
                evidence=say(
                    "jobs of the queue hold {held} of at most {most}{needs}",
                    held=amount(held, unit),
                    most=amount(most, unit),
                    needs=_needs(wanted, unit),
                ),
            )
    return None


def not_joining(judged: Sequence[EnvironmentVerdict]) -> Clue | None:
    """Return a clue if usable environments want instances, and none of these takes tasks."""
    environments = [each.environment for each in judged if each.usable]
    waiting = [each for each in environments if each.desired and _joined(each) is False]
    if not waiting or any(_joined(each) for each in environments):
        return None
    parts = []
    for each in waiting:
        count = len(each.instances or ())
        some = (
            say("of {count} registered instances none is ready", count=count)
            if count
            else say("none has registered")
        )
        parts.append(
            say(
                "{shown} wants {desired} of instances, {some}",
                shown=each.shown,
                desired=amount(each.desired or 0),
                some=some,
            )
        )
    return Clue(code="instances-not-joining", evidence=row(parts, "; "))


def _full_by_desired(
    environment: Environment, needs: Needs, used: Mapping[str, float]
) -> str | None:
    desired, most = environment.desired, environment.limits.get("vcpu")
    if desired is None or most is None or _joined(environment) is False:
        return None
    if environment.kept >= desired:  # The minimum keeps these running, even without jobs.
        return None
    wanted = needs.total.get("vcpu", 0)
    # What no job of the queue holds may have been started for this job.
    by_others = used.get("vcpu") != 0
    if by_others and (desired >= most or desired + wanted > most):
        return say(
            "{shown} has {desired} of at most {most}{needs}",
            shown=environment.shown,
            desired=amount(desired),
            most=amount(most),
            needs=_needs(wanted, "vcpu"),
        )
    return None


def _needs(wanted: float, unit: str) -> str:
    return say(", the job needs {wanted}", wanted=amount(wanted, unit)) if wanted else ""


def _joined(environment: Environment) -> bool | None:
    """Whether an instance of the environment's cluster takes tasks; None: not known."""
    if environment.instances is None or environment.platform != "EC2":
        return None
    return any(
        each.get("agentConnected") is not False and each.get("status", "ACTIVE") == "ACTIVE"
        for each in map(mapping, environment.instances)
    )
