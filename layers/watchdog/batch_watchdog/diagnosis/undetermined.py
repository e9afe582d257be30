"""Build the finding of a job for which no reason was found, from what is known about it."""

from collections.abc import Sequence
from datetime import datetime

from batch_watchdog.diagnosis.environments import BatchSnapshot
from batch_watchdog.diagnosis.findings import Clue
from batch_watchdog.diagnosis.fit import Environment, amount, fits, wish
from batch_watchdog.diagnosis.lenient import mapping, text
from batch_watchdog.diagnosis.needs import Needs
from batch_watchdog.diagnosis.queue_position import place_of, shown
from batch_watchdog.notices.phrases import row, say
from batch_watchdog.notices.text import plain

# What Batch says of a job that no instance type can take, and also while an environment grows.
REQUIREMENT = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
_REQUIREMENT_REMEDY = say(
    "If Batch still says so when the environment has stopped growing, compare what the job asks "
    "for with its instance types: allow larger ones, or submit the job with less."
)
# Begin the reasons of a blocked job that name no cause, or one that is in doubt.
_BLOCKED = ("UNDETERMINED", REQUIREMENT)
_REASON_MAX = 240
_SHOWN_MAX = 5  # environments


def is_blocked(world: BatchSnapshot) -> bool:
    """Whether Batch says that the job blocks its queue, without a certain cause."""
    reason = text(mapping(world.job).get("statusReason"))
    return world.blocks or reason.startswith(_BLOCKED)


def nothing_found(
    world: BatchSnapshot, needs: Needs, environments: Sequence[Environment], now: datetime
) -> list[Clue]:
    """Return what is known about a job that should start, as far as AWS shows, and does not."""
    reason = plain(text(mapping(world.job).get("statusReason")), _REASON_MAX)
    wanted = row(filter(None, map(wish, needs.asks[:1])), "; ")
    place = place_of(world)
    doubted = REQUIREMENT in reason
    known = [each for each in environments if each.known]
    unknown = [each.shown for each in environments if not each.known][:_SHOWN_MAX]
    able = [each for each in known if not doubted or fits(each, needs)]
    names = row((each.shown for each in able[:_SHOWN_MAX]), ", ")
    parts = [
        *([shown(place, now)] if place else []),
        say("Batch says: {reason}", reason=reason) if reason else say("Batch gives no reason"),
        say("it says so also for a while when an environment grows") if doubted else "",
        say(
            "{names} can take the job{more}",
            names=names,
            more=say(" ({wanted})", wanted=wanted) if wanted else "",
        )
        if names
        else "",
        *(_room(each) for each in known[:_SHOWN_MAX]),
        *(say("the environment {name} is not known here", name=name) for name in unknown),
        say("the queue's environments are not known here") if not environments else "",
    ]
    return [
        Clue(
            code="undetermined",
            evidence=row(filter(None, parts), "; "),
            remedy=_REQUIREMENT_REMEDY if doubted and not able else "",
        )
    ]


def _room(environment: Environment) -> str:
    desired, most = environment.desired, environment.limits.get("vcpu")
    if most is None:
        return ""
    if desired is None:
        return say("{shown} may have {most} at most", shown=environment.shown, most=amount(most))
    room = say(
        "{shown} wants {desired} of at most {most}",
        shown=environment.shown,
        desired=f"{desired:,.12g}",
        most=amount(most),
    )
    if environment.instances is None and 0 < environment.kept == desired:
        kept = say(", which it keeps running; what its instances have free is not known here")
        return row([room, kept], "")
    return room
