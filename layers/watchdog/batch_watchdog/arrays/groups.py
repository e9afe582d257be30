"""
What did not succeed of an array: failures grouped by cause, and stops by who of us stopped.

A stop is known by the reason that we gave, which Batch keeps as the child's. Where the array was
stopped as a whole, AWS does not say what reason its children bear. If some of them bear ours, the
others ended otherwise. If none does, those count as stopped that never began, that Batch calls
cancelled or terminated, or that were killed, with no cause of their own.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from batch_watchdog.arrays.progress import (
    FAILED_CODE,
    PART_SIZE,
    Array,
    KnownCause,
    Part,
    indices_without_result,
)
from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.failure_cause import OTHER, FailureCause, normalise
from batch_watchdog.core.known_causes import NO_CAUSE_OF_ITS_OWN, known_cause
from batch_watchdog.core.stop_cause import stopper_in
from batch_watchdog.notices.links import DEFAULT_PLACE, LogPlace

GROUPS_MAX = 20  # groups of failures that a notice tells apart; the rest is "other"
_KILLED = (137, 143)  # exit codes of what was terminated: SIGKILL, SIGTERM
_STOPPED = re.compile(r"cancel|terminat|\bstopp", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Failures that share a cause."""

    cause: FailureCause
    indices: tuple[int, ...]
    example: KnownCause | None = None  # with the log of one of them
    words: str = ""  # Batch's own about one of them, where ids were left out of the cause
    unseen: int = 0  # counted by Batch, with no index known

    @property
    def count(self) -> int:
        return len(self.indices) + self.unseen

    @property
    def log_stream(self) -> str:
        return self.example.log_stream if self.example else ""

    @property
    def log_place(self) -> LogPlace:
        return self.example.log_place if self.example else DEFAULT_PLACE

    @property
    def container(self) -> str:
        return self.example.container if self.example else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsuccessful:
    """The children that did not succeed. The groups of stops are by who stopped them."""

    failures: list[Group]
    stops: list[Group]

    @property
    def stopped(self) -> int:
        return sum(group.count for group in self.stops)

    @property
    def stopped_indices(self) -> list[int]:
        return sorted(index for group in self.stops for index in group.indices)

    @property
    def stopped_by(self) -> list[str]:
        return [group.cause.stopper for group in self.stops]


def unsuccessful(array: Array, parts: Iterable[Part]) -> Unsuccessful:
    """
    Tell failures and stops apart; the largest group of each first.

    Of the failures there are at most 20 groups and "other". What only followed from other failures
    comes after these, however many it hit.
    """
    by_cause = _by_cause(array, list(parts))
    stops = _take_stops(array, by_cause)
    failures = _in_order(by_cause)
    unseen = (array.failed_by_batch or 0) - sum(len(each.indices) for each in (*failures, *stops))
    if unseen > 0 and array.stopper:
        stopper = stops.pop(0) if stops else Group(cause=_stop_by(array.stopper), indices=())
        stops.insert(0, replace(stopper, unseen=unseen))
    elif unseen > 0 and failures and failures[-1].cause == OTHER:
        failures[-1] = replace(failures[-1], unseen=unseen)
    elif unseen > 0:
        reason = normalise(array.reason) or "Batch counts these as failed and tells no more"
        failures.append(Group(cause=FailureCause(None, reason), indices=(), unseen=unseen))
    return Unsuccessful(failures=failures, stops=stops)


def _by_cause(array: Array, parts: list[Part]) -> dict[FailureCause, Group]:
    by_cause: dict[FailureCause, Group] = {}
    for part in sorted(parts, key=lambda part: part.number):
        for number, known in enumerate(part.causes):
            first = part.number * PART_SIZE
            code = FAILED_CODE + number
            hit = tuple(first + at for at, seen in enumerate(part.outcomes) if seen == code)
            if not hit:
                continue
            group = by_cause.get(known.cause, Group(cause=known.cause, indices=()))
            example = group.example or (known if known.has_log else None)
            by_cause[known.cause] = replace(
                group,
                indices=group.indices + hit,
                example=example,
                words=group.words or known.words,
            )
    if lacking := indices_without_result(array, parts):
        cause = FailureCause(None, normalise(array.reason) or "AWS Batch gives no reason")
        group = by_cause.get(cause, Group(cause=cause, indices=()))
        by_cause[cause] = replace(group, indices=tuple(sorted({*group.indices, *lacking})))
    return by_cause


def _take_stops(array: Array, by_cause: dict[FailureCause, Group]) -> list[Group]:
    """Take out the groups that were stopped, as groups by who stopped them."""
    bear_it = any(cause.stopper and cause.stopper == array.stopper for cause in by_cause)
    stoppers = {
        cause: cause.stopper or ("" if bear_it else _stopper_of_all(array, cause))
        for cause in by_cause
    }
    named = [stopper for stopper in stoppers.values() if stopper]
    if named and all(stopper or cause.follows for cause, stopper in stoppers.items()):
        # Nothing failed by itself: what failed as a job before it had not succeeded, fell with us.
        stoppers = {cause: stopper or named[0] for cause, stopper in stoppers.items()}
    found: dict[str, Group] = {}
    for cause, stopper in stoppers.items():
        if stopper:
            group = by_cause.pop(cause)
            known = found.get(stopper, Group(cause=_stop_by(stopper), indices=()))
            indices = tuple(sorted({*known.indices, *group.indices}))
            example = known.example or group.example
            found[stopper] = replace(known, indices=indices, example=example)
    return sorted(found.values(), key=lambda group: (-len(group.indices), group.indices))


def _stopper_of_all(array: Array, cause: FailureCause) -> str:
    """Who stopped the whole array, where this cause is no other than that."""
    known = known_cause(None, cause.reason)
    if cause == OTHER or (known and known.code != NO_CAUSE_OF_ITS_OWN):
        return ""
    if cause.exit_code is not None:
        # What a guard's `cancel` leaves at work is not killed by it.
        is_killed = cause.exit_code in _KILLED and "is at cancel" not in array.reason
        return array.stopper if is_killed else ""
    # A reason that a person gave for the array is not ours, though its children have the same.
    is_ours = bool(stopper_in(array.reason))
    never_began = not cause.reason or (is_ours and cause.reason == normalise(array.reason))
    return array.stopper if never_began or _STOPPED.search(cause.reason) else ""


def _stop_by(stopper: str) -> FailureCause:
    return FailureCause(None, f"{STOP_MARK}{stopper}")


def _in_order(by_cause: dict[FailureCause, Group]) -> list[Group]:
    """The failures by cause, as many as are told apart, and the rest of them as one."""
    other = by_cause.pop(OTHER, None)
    by_size = sorted(by_cause.values(), key=lambda group: (-len(group.indices), group.indices))
    followed = [group for group in by_size if group.cause.follows]
    causes = [group for group in by_size if not group.cause.follows]
    # As many consequences as there is room for are named, and one at least.
    room = max(GROUPS_MAX - len(followed), GROUPS_MAX - 1)
    found = [*causes[:room], *followed[: GROUPS_MAX - len(causes[:room])]]
    rest = [*causes[room:], *followed[GROUPS_MAX - len(causes[:room]) :]]
    rest += [other] if other else []
    if rest:
        indices = sorted(index for group in rest for index in group.indices)
        example = next((group.example for group in rest if group.example), None)
        words = next((group.words for group in rest if group.words), "")
        found.append(Group(cause=OTHER, indices=tuple(indices), example=example, words=words))
    return found


def groups(array: Array, parts: Iterable[Part]) -> list[Group]:
    """The failures alone, as `unsuccessful` has them."""
    return unsuccessful(array, parts).failures
