"""Find the problems in the facts of a check, each with a remedy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

from batch_watchdog.guards.state import GuardState, StageName, hardness
from batch_watchdog.health.facts import AlarmFact, Facts
from batch_watchdog.notices.phrases import Name, counted, say
from batch_watchdog.notices.text import iso, plain
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.match import Match
from batch_watchdog.policy.model import Policy
from batch_watchdog.policy.tables import ArrayRule, LimitRule

SILENCE = timedelta(minutes=10)  # the longest time without a sweep, which runs every minute
ON_ITS_WAY = timedelta(minutes=5)  # the longest time until the message of an alarm's change arrives

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    Something that is wrong. Its `key` is the same whenever it is found.

    A `doubtful` problem may be intended: it is announced only if the check before saw it absent.
    """

    key: str
    what: str
    remedy: str
    doubtful: bool = False


def alarms_of(policy: Policy) -> tuple[str, ...]:
    """Return the names of the alarms that guards name, each once."""
    names = (alarm for guard in policy.guard for stage in guard.stage for alarm in stage.alarms)
    return tuple(dict.fromkeys(map(alarm_name, names)))


def alarm_name(name_or_arn: str) -> str:
    """Return an alarm's name. A policy may have its ARN instead."""
    return name_or_arn.partition(":alarm:")[2] or name_or_arn


def problems(
    facts: Facts, policy: Policy, received: Sequence[str], guards: Mapping[str, GuardState]
) -> list[Problem]:
    """
    Return what is wrong. `received` are the alarms, budgets and monitors that have sent a message.
    `guards` are those about which anything was ever decided, by name.

    A fact that is not known is not reported as a problem.
    """
    found = [*_of_subscriptions(facts), *_of_letters(facts)]
    if facts.events_known and facts.last_event is None:
        found.append(
            Problem(
                key="events",
                what=say("No job event has arrived from AWS Batch for 14 days."),
                remedy=say(
                    "If jobs have run: see that the stack is in the region of the job queues."
                ),
                doubtful=True,
            )
        )
    return [
        *found,
        *_of_alarms(facts, policy, received),
        *_of_guards(facts, policy, guards),
        *_of_thresholds(facts, policy),
        *_of_globs(facts, policy),
    ]


def _of_subscriptions(facts: Facts) -> Iterator[Problem]:
    if facts.confirmed != 0:
        return
    if facts.pending:
        yield Problem(
            key="subscription",
            what=say("Nobody receives the notices: the subscription is not confirmed."),
            remedy=say(
                "Confirm it by the link in AWS's e-mail (look into spam); after three days "
                "subscribe again."
            ),
        )
    else:
        yield Problem(
            key="subscription",
            what=say("Nobody receives the notices: nobody is subscribed to their topic."),
            remedy=say(
                "Set the stack's parameter NoticeEmail, or subscribe to the topic in the output "
                "TopicArn."
            ),
        )


def _of_letters(facts: Facts) -> Iterator[Problem]:
    for queue, count in sorted((facts.dead_letters or {}).items()):
        if count:
            yield Problem(
                key=f"dead-letters:{queue}",
                what=counted(
                    count,
                    "{n} dead letter is in {queue}.",
                    "{n} dead letters are in {queue}.",
                    queue=Name(plain(queue)),
                ),
                remedy=say("Look at one of them, mend the cause, and redrive the queue."),
            )


def _of_alarms(facts: Facts, policy: Policy, received: Sequence[str]) -> Iterator[Problem]:
    if facts.alarms is None:
        return
    there = {each.name for each in facts.alarms} | set(map(alarm_name, received))
    for name in alarms_of(policy):
        if name not in there:
            yield Problem(
                key=f"alarm:{name}",
                what=say(
                    "A guard waits for the alarm {alarm}, which does not exist.",
                    alarm=Name(plain(name)),
                ),
                remedy=say(
                    "Correct the name in the policy, or create the alarm in this region or "
                    "us-east-1. (If it is an AWS Budget or an anomaly monitor: none of its "
                    "messages has come yet. Add the topic in the output SpendTopicArn as a "
                    "recipient.)"
                ),
            )


def _of_guards(facts: Facts, policy: Policy, guards: Mapping[str, GuardState]) -> Iterator[Problem]:
    """
    Yield each alarm in ALARM that has not raised its guard to the stage that names it.

    Its message arrived before the policy named it, or was lost. Only a message raises a guard: the
    present state of an alarm does not show what operators have decided since.
    """
    for guard in policy.guard:
        state = guards.get(guard.name) or GuardState(guard=guard.name)
        for alarm in facts.alarms or ():
            naming = [each for each in guard.stage if {alarm.name, alarm.arn} & set(each.alarms)]
            stage: StageName = max((each.action for each in naming), key=hardness, default="calm")
            if (
                alarm.state == "ALARM"
                and hardness(stage) > hardness(state.stage)
                and not _is_on_its_way(alarm, facts.at)
                and not _is_answered(alarm, state)
            ):
                parts = {
                    "alarm": Name(plain(alarm.name)),
                    "guard": Name(plain(guard.name)),
                    "stage": stage,
                }
                yield Problem(
                    key=f"not-raised:{guard.name}:{alarm.arn}",
                    what=say(
                        "The alarm {alarm} is in ALARM, and the guard {guard} is not at {stage}.",
                        **parts,
                    ),
                    remedy=say(
                        "An alarm raises a guard when it goes into ALARM: this one did so before "
                        "the policy named it, or its message was lost. If the guard is to be at "
                        "{stage}, set that stage (the command set-stage). If not, the next change "
                        "of the alarm into ALARM raises it.",
                        **parts,
                    ),
                )


def _is_on_its_way(alarm: AlarmFact, now: datetime) -> bool:
    return alarm.changed_at is not None and now - alarm.changed_at < ON_ITS_WAY


def _is_answered(alarm: AlarmFact, state: GuardState) -> bool:
    """Whether an operator has released the guard, or set its stage, after the alarm's change."""
    said = (state.released_at, state.entry.since if state.entry and state.entry.by else None)
    return any(at and (alarm.changed_at is None or alarm.changed_at <= at) for at in said)


def _of_thresholds(facts: Facts, policy: Policy) -> Iterator[Problem]:
    """Yield each later stage with a lower threshold than an earlier one, which it would skip."""
    by_name = {each.name: each for each in facts.alarms or () if each.over is not None}
    for guard in policy.guard:
        alarms = [
            (place, by_name[name])
            for place, stage in enumerate(guard.stage)
            for name in map(alarm_name, stage.alarms)
            if name in by_name
        ]
        for (earlier, soft), (later, hard) in combinations(alarms, 2):
            if earlier < later and soft.metric == hard.metric and _over(hard) < _over(soft):
                yield Problem(
                    key=f"thresholds:{guard.name}:{soft.name}:{hard.name}",
                    what=say(
                        "Guard {guard}: the alarm {hard} of a later stage goes into ALARM above "
                        "{most}, before {soft} (above {least}).",
                        guard=Name(plain(guard.name)),
                        hard=Name(plain(hard.name)),
                        most=Name(f"{hard.over:g}"),
                        soft=Name(plain(soft.name)),
                        least=Name(f"{soft.over:g}"),
                    ),
                    remedy=say(
                        "Correct the thresholds of the alarms (the stack's parameters "
                        "SoftThreshold and HardThreshold), or the order of the stages."
                    ),
                )


def _over(alarm: AlarmFact) -> float:
    return alarm.over or 0.0


def _of_globs(facts: Facts, policy: Policy) -> Iterator[Problem]:
    for label, matched in matches(facts, policy).items():
        for glob, queues in matched.items():
            if not queues:
                yield Problem(
                    key=f"glob:{label}:{glob}",
                    what=say(
                        "{rule}: no job queue is called {glob}.",
                        rule=Name(plain(label)),
                        glob=Name(plain(glob)),
                    ),
                    remedy=say("Correct the rule, if a queue was renamed or deleted."),
                    doubtful=True,
                )


def matches(facts: Facts, policy: Policy) -> dict[str, dict[str, list[str]]]:
    """Return the job queues that each glob matches, by rule; empty if they are not known."""
    if facts.queues is None:
        return {}
    rules: Sequence[ArrayRule | LimitRule | Guard] = (*policy.array, *policy.limit, *policy.guard)
    return {
        policy.label_of(rule): {
            glob: [queue for queue in facts.queues if Match(queue=(glob,)).matches_queue(queue)]
            for glob in rule.match.queue
            if not glob.startswith("arn:")
        }
        for rule in rules
        if rule.match.queue
    }


def news(
    found: Sequence[Problem], known: Sequence[str] | None, fine: Sequence[str]
) -> list[Problem]:
    """
    Return the new problems: those that the check before did not find (`known`: keys, or None).

    A doubtful problem is new only if the check before saw that it was not there (`fine`: keys).
    """
    return [
        each
        for each in found
        if (each.key in fine if each.doubtful else each.key not in (known or ()))
    ]


def fine_keys(facts: Facts, policy: Policy) -> list[str]:
    """Return the keys of doubtful problems that are certainly not there."""
    fine = ["events"] if facts.last_event else []
    return fine + [
        f"glob:{label}:{glob}"
        for label, matched in matches(facts, policy).items()
        for glob, queues in matched.items()
        if queues
    ]


# ---- The answer to an operator ------------------------------------------------------------


def answer(
    facts: Facts, policy: Policy, found: Sequence[Problem], swept_at: datetime | None
) -> dict[str, Any]:
    """Return everything that a check has found, for programs and people."""
    found = [*_of_sweep(facts, swept_at), *found]
    named = set(alarms_of(policy))
    return {
        "at": iso(facts.at),
        "fine": not found and not facts.not_known,
        "problems": [
            {"what": each.what, "what_to_do": each.remedy, "doubtful": each.doubtful}
            for each in found
        ],
        "not_known": dict(facts.not_known),
        "subscriptions": None
        if facts.confirmed is None
        else {"confirmed": facts.confirmed, "pending": facts.pending},
        "alarms": _alarms(facts, named),
        "ringing_and_named_by_no_guard": None
        if facts.in_alarm is None
        else _of_none(facts.in_alarm, named),
        "queues": {
            plain(label): {plain(glob): queues[:_SHOWN] for glob, queues in matched.items()}
            for label, matched in matches(facts, policy).items()
        },
        "last_event_in_the_hour_of": iso(facts.last_event) if facts.last_event else None,
        "swept_at": iso(swept_at) if swept_at else None,
        "dead_letters": dict(facts.dead_letters) if facts.dead_letters is not None else None,
        "policy": {"version": policy.version, "mode": policy.mode, "readable": policy.readable},
    }


def _of_sweep(facts: Facts, swept_at: datetime | None) -> Iterator[Problem]:
    if swept_at is None or facts.at - swept_at > SILENCE:
        yield Problem(
            key="sweep",
            what=say(
                "The sweep has not run for {lasted}: limits are not applied.",
                lasted=facts.at - swept_at,
            )
            if swept_at
            else say("The sweep has not run yet: limits are not applied."),
            remedy=say("Look at the logs and the schedule of the function SweepFunction."),
        )


def _alarms(facts: Facts, named: set[str]) -> Mapping[str, Any] | None:
    if facts.alarms is None:
        return None
    there = {name: [each for each in facts.alarms if each.name == name] for name in sorted(named)}
    return {
        plain(name): [{"state": each.state, "region": each.region} for each in some]
        for name, some in there.items()
    }


def _of_none(in_alarm: Sequence[str], named: set[str]) -> dict[str, Any]:
    others = [plain(each) for each in in_alarm if each not in named]
    return {"count": len(others), "names": others[:_SHOWN]}
