"""Derive from a guard's state what is in ALARM, what is enforced, and when it terminates."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from batch_watchdog.guards.matching import base_of, name_of, named_stages, says_ok, signals_of
from batch_watchdog.guards.signals.evidence import Evidence, end_of
from batch_watchdog.guards.state import GuardState, LatestSignal, StageEntry, StageName, hardness
from batch_watchdog.notices.phrases import say
from batch_watchdog.policy.guard_tables import Guard, Stage
from batch_watchdog.policy.tables import Mode

BEFORE = datetime.min.replace(tzinfo=UTC)  # earlier than every event
_ANOMALIES_KEPT = 20  # of one monitor, to recognise a repeat
_GROWN = 1.01  # EventBridge and SNS may round an impact differently
_CLOCKS_DIFFER = timedelta(minutes=1)  # AWS's clock and ours, at most
BY_TIME = "after_previous"  # what led to a stage, if it was the time


# The begin and the end of an operator's hold.
type HoldSpan = tuple[datetime, datetime]


def in_alarm(state: GuardState, rule: Guard, now: datetime) -> frozenset[str]:
    """Return the signals that the policy still names and whose ALARM has not ended."""
    return frozenset(
        signal
        for signal, received in _named_in_alarm(state, rule)
        if not ((ends := ends_of(signal, received)) and ends <= now)
    )


def why_not_meant(state: GuardState, rule: Guard, now: datetime) -> str:
    """Return why nothing justifies the stage that is on any more; "" if something does."""
    entry = state.entry
    if entry is None:
        return say("the guard is calm")
    stage = stage_of(rule, entry.stage)
    if stage is None:
        return say("the policy has no stage {stage} for the guard any more", stage=entry.stage)
    if entry.by or rule.release == "manual":
        return ""
    active = in_alarm(state, rule, now)
    if not active:
        return say("no signal that the policy names for the guard is in ALARM any more")
    as_hard = [each for each in rule.stage if hardness(each.action) >= hardness(entry.stage)]
    reasons = {signal for each in as_hard for signal in signals_of(each)}
    if stage.after_previous is not None:
        reasons.add(BY_TIME)
    led = {base_of(signal) for signal in (*active, entry.signal)}
    if led & reasons or not entry.signal:
        return ""
    return say(
        "the policy no longer names any signal that led to the stage {stage}", stage=entry.stage
    )


def is_over(state: GuardState, rule: Guard, now: datetime) -> bool:
    """Check whether to release a guard without an OK: a period is over, and nothing is in ALARM."""
    if state.entry is None or rule.release == "manual" or state.by_operator:
        return False
    return bool(ended_signals(state, rule, now)) and not in_alarm(state, rule, now)


def operators_stage(state: GuardState, rule: Guard, mode: Mode, now: datetime) -> StageEntry | None:
    """
    Return the stage, set by an operator, to which a guard is to go back; None if it is not to.

    It goes back if an alarm has made it harder, and nothing justifies that any more: no alarm
    releases a guard that an operator raised. The operator's stage must have been set in this mode,
    must still be in the policy, and must not be harder than the stage that is on.
    """
    entry = state.entry
    if entry is None or entry.by or not state.by_operator or not why_not_meant(state, rule, now):
        return None
    back = next((each.entry for each in reversed(state.earlier) if each.entry.by), None)
    if back is None or back.mode != mode or stage_of(rule, back.stage) is None:
        return None
    return back if hardness(back.stage) <= hardness(entry.stage) else None


def in_force(state: GuardState, mode: Mode) -> StageName:
    """Return the stage, or calm if it was entered in observe mode and the mode is "enforce" now."""
    entry = state.entry
    return entry.stage if entry and (mode == "observe" or entry.mode == "enforce") else "calm"


def is_enforced(entry: StageEntry, mode: Mode) -> bool:
    """Check whether an entered stage is carried out, and not only reported."""
    return entry.mode == mode == "enforce"


def is_current(state: GuardState, run_id: str) -> bool:
    """Check whether a stop run belongs to the current stage. A run that does not must end."""
    return state.entry is not None and state.entry.run_id == run_id


def closes_queues(rule: Guard, stage: StageName) -> bool:
    """Check whether a guard closes queues at a stage: that stage or a milder one says so."""
    return any(
        each.close_queues and hardness(each.action) <= hardness(stage) for each in rule.stage
    )


def surely_in_alarm(state: GuardState, rule: Guard, now: datetime) -> frozenset[str]:
    """Return the signals in ALARM, without those that have had too little data since."""
    return frozenset(
        signal
        for signal in in_alarm(state, rule, now)
        if state.lacking.get(signal, BEFORE) <= state.alarms[signal].at
    )


def with_doubt(
    state: GuardState,
    rule: Guard,
    now: datetime,
    at: datetime,
    operator_holds: Sequence[HoldSpan],
) -> GuardState:
    """
    Return the state, with the time updated in which all signals in ALARM have too little data.

    Time under a hold is left out: it does not count for `after_previous` anyway.
    """
    is_doubted = bool(in_alarm(state, rule, now)) and not surely_in_alarm(state, rule, now)
    if is_doubted and state.in_doubt_since is None:
        entered = state.entry.since if state.entry else BEFORE
        return replace(state, in_doubt_since=max(min(now, at), entered))
    if not is_doubted and state.in_doubt_since:
        doubted = now - state.in_doubt_since - _held(state.in_doubt_since, now, operator_holds)
        return replace(state, in_doubt_since=None, doubted_for=state.doubted_for + doubted)
    return state


def to_latest_signal(evidence: Evidence, now: datetime) -> LatestSignal:
    """Return evidence as it is kept: a time in the future counts as the time of arrival."""
    to_come = evidence.at > now + _CLOCKS_DIFFER
    at = now if to_come else evidence.at
    return LatestSignal(
        state="OK" if evidence.state == "OK" else "ALARM",
        at=at,
        said=evidence.at if to_come else None,
        ends=evidence.ends_at(at),
        content=_digest(evidence),
        arn=evidence.arn,
        impacts={evidence.anomaly_id: evidence.impact} if evidence.anomaly_id else {},
    )


def _digest(evidence: Evidence) -> str:
    # The text of one alarm's message may differ by the route on which it arrives, and the text on
    # a live budget has another number each minute.
    if evidence.source in ("cloudwatch", "live"):
        return ""
    return hashlib.sha256(evidence.detail.encode("utf-8", "replace")).hexdigest()[:8]


def has_received(state: GuardState | None, rule: Guard, evidence: Evidence) -> bool:
    """Check whether evidence of a live budget is nothing new to a guard."""
    alarms = state.alarms if state else {}
    known = [alarms.get(signal) for _, signal in named_stages(rule, evidence)]
    if evidence.state == "OK":
        # An ALARM of a period that is over needs no OK. Any other period counts: an operator may
        # have changed how long the budget's periods are, and when they begin.
        return not any(each and _in_alarm_at(each, evidence.at) for each in known)
    ends = evidence.ends_at(evidence.at)
    return all(each and each.at >= evidence.at and each.ends == ends for each in known)


def _in_alarm_at(received: LatestSignal, at: datetime) -> bool:
    return received.state == "ALARM" and (received.ends is None or at < received.ends)


def following(received: LatestSignal, known: LatestSignal | None) -> LatestSignal:
    """Return new evidence as it is kept: a repeat of what was known before is still recognised."""
    if known is None:
        return received
    return replace(
        received,
        said=received.said or known.said,
        arn=received.arn or known.arn,
        impacts=_impacts(known, received),
    )


def with_anomaly(known: LatestSignal, received: LatestSignal) -> LatestSignal:
    """Add the anomaly of an older message to what is known, to recognise its second message."""
    return replace(known, impacts=_impacts(known, received))


def _impacts(known: LatestSignal, received: LatestSignal) -> Mapping[str, float]:
    """Return the impacts of the anomalies that were reported last."""
    others = [item for item in known.impacts.items() if item[0] not in received.impacts]
    return dict([*others, *received.impacts.items()][-_ANOMALIES_KEPT:])


def signal_of(alarms: Mapping[str, LatestSignal], signal: str, arn: str) -> str:
    """Return the signal of an alarm: with its ARN, if another alarm of that name is known."""
    known = alarms.get(signal)
    if not arn or known is None or known.arn in ("", arn):
        return signal
    return f"{signal}\n{arn}"


def signals_of_alarm(state: GuardState, evidence: Evidence) -> tuple[str, ...]:
    """Return the signals in ALARM of this CloudWatch alarm, whatever the policy names now."""
    return tuple(
        signal
        for signal, received in state.alarms.items()
        if says_ok(signal) and received.state == "ALARM" and name_of(signal) in evidence.names
        if not (received.arn and evidence.arn and received.arn != evidence.arn)
    )


def is_repeated_anomaly(received: LatestSignal, alarms: Mapping[str, LatestSignal]) -> bool:
    """
    Check whether an anomaly is known, with about this impact or more.

    It may arrive by two routes, which do not show the same names, so all signals are compared.
    """
    return any(
        key in known.impacts and impact <= known.impacts[key] * _GROWN
        for key, impact in received.impacts.items()
        for known in alarms.values()
    )


def raised_by_the_repeat(
    fresh: Sequence[tuple[Stage, str]],
    received: LatestSignal,
    alarms: Mapping[str, LatestSignal],
    rule: Guard,
) -> list[tuple[Stage, str]]:
    """
    Return the stages that a known anomaly raises, each with its signal: those that are harder than
    all that its earlier messages name. After a release it raises none.

    A harder stage may name the subscription, which only one of the routes shows.
    """

    def is_known_to(stage: Stage) -> bool:
        milder = [each for each in rule.stage if hardness(each.action) < hardness(stage.action)]
        signals = {signal for each in milder for signal in signals_of(each)}
        return is_repeated_anomaly(
            received,
            {
                signal: known
                for signal, known in alarms.items()
                if known.over or signal not in signals
            },
        )

    return [(stage, signal) for stage, signal in fresh if not is_known_to(stage)]


def is_newer(received: LatestSignal, known: LatestSignal) -> bool:
    if received.said and known.said and received.said <= known.said:
        return False  # Both had a time in the future: it is a repeat, or older.
    return _order(received) > _order(known)


def is_the_same(known: LatestSignal, received: LatestSignal) -> bool:
    """Check whether it is a repeat. One budget may send two messages with the same time."""
    same_time = received.said == known.said if received.said else received.at == known.at
    return same_time and (known.state, known.content) == (received.state, received.content)


def _order(received: LatestSignal) -> tuple[datetime, bool]:
    return received.at, received.state == "ALARM"


def _named_in_alarm(state: GuardState, rule: Guard) -> Iterator[tuple[str, LatestSignal]]:
    named = {signal for stage in rule.stage for signal in signals_of(stage)}
    for signal, received in state.alarms.items():
        if received.state == "ALARM" and not received.over and base_of(signal) in named:
            yield signal, received


def ended_signals(state: GuardState, rule: Guard, now: datetime) -> list[str]:
    """Return the signals that were in ALARM until their period was over."""
    return [
        signal
        for signal, received in _named_in_alarm(state, rule)
        if (ends := ends_of(signal, received)) and ends <= now
    ]


def ends_of(signal: str, received: LatestSignal) -> datetime | None:
    if received.ends or says_ok(signal):
        return received.ends
    # An older version has kept no end: it is that of the month, or of an anomaly's day.
    return end_of("day" if signal.startswith("anomaly:") else "month", received.at)


def stage_of(rule: Guard, action: StageName) -> Stage | None:
    return next((each for each in rule.stage if each.action == action), None)


def terminates_at(
    state: GuardState, rule: Guard, now: datetime, operator_holds: Sequence[HoldSpan] = ()
) -> datetime | None:
    """Return when `after_previous` leads to `terminate` if nothing changes; None if it does not."""
    harder = stage_of(rule, "terminate")
    if state.stage != "cancel" or state.entry is None or harder is None:
        return None
    if harder.after_previous is None or state.entry.by or why_not_meant(state, rule, now):
        return None
    if not surely_in_alarm(state, rule, now):
        return None
    since = max(state.entry.since, state.ringing_since or state.entry.since)
    return without_holds(since, harder.after_previous + state.doubted_for, operator_holds)


def without_holds(since: datetime, span: timedelta, holds: Sequence[HoldSpan]) -> datetime:
    """Return when a span of time is over that began at `since`, without the time under a hold."""
    at = since + span
    for begin, end in sorted(holds):
        if end > since and begin < at:
            at += end - max(begin, since)
    return at


def _held(since: datetime, until: datetime, holds: Sequence[HoldSpan]) -> timedelta:
    """Return how much of the time from `since` until `until` was under a hold."""
    held = (min(end, until) - max(begin, since) for begin, end in holds)
    return sum((span for span in held if span > timedelta()), timedelta())


def releasing_signals(state: GuardState, rule: Guard, now: datetime) -> list[str]:
    """Return the signals whose end will release the guard; none if only an operator can."""
    if rule.release == "manual" or state.by_operator:
        return []
    return sorted(in_alarm(state, rule, now))
