"""
Group an array's children that did not succeed: failures by cause, stops by guard or rule.

A stop is recognised by the watchdog's reason, which Batch keeps as the child's reason. If the array
was stopped as a whole, AWS does not say which reason its children get. If some of them have the
watchdog's reason, the others ended for another reason. If none has, these children count as
stopped, provided that they have no cause of their own: children that never began, that Batch calls
cancelled or terminated, or that were killed.
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
from batch_watchdog.core import known_causes
from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.failure_cause import OTHER, FailureCause, normalise
from batch_watchdog.core.stop_cause import stopper_in
from batch_watchdog.notices.links import DEFAULT_PLACE, LogPlace

GROUPS_MAX = 20  # groups of failures that a notice lists; the rest is "other"
_KILLED = (137, 143)  # exit codes of terminated containers: SIGKILL, SIGTERM
_STOPPED = re.compile(r"cancel|terminat|\bstopp", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Failures that share a cause."""

    cause: FailureCause
    indices: tuple[int, ...]
    example: KnownCause | None = None  # with the log of one of them
    words: str = ""  # Batch's own text about one of them, if the cause leaves out ids
    code: str = ""  # of the known cause, if the text was cut
    unseen: int = 0  # counted by Batch, at unknown indices

    @property
    def count(self) -> int:
        return len(self.indices) + self.unseen

    @property
    def known(self) -> known_causes.KnownCause | None:
        """What is known of the cause, if AWS or Linux have a name for it."""
        found = known_causes.by_code(self.code)
        return found or known_causes.known_cause(
            self.cause.exit_code, self.words or self.cause.reason
        )

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
    """The children that did not succeed. Stops are grouped by guard or rule."""

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
    Separate failures and stops; the largest group of each is first.

    There are at most 20 groups of failures, and "other". Failures that only followed from other
    failures come after these, however many children they hit.
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
                code=group.code if group.words else known.code,
            )
    if lacking := indices_without_result(array, parts):
        cause = FailureCause(None, normalise(array.reason) or "AWS Batch gives no reason")
        group = by_cause.get(cause, Group(cause=cause, indices=()))
        by_cause[cause] = replace(group, indices=tuple(sorted({*group.indices, *lacking})))
    return by_cause


def _take_stops(array: Array, by_cause: dict[FailureCause, Group]) -> list[Group]:
    """Remove the groups that were stopped, and return them as one group for each stopper."""
    bear_it = any(cause.stopper and cause.stopper == array.stopper for cause in by_cause)
    stoppers = {
        cause: cause.stopper or ("" if bear_it else _stopper_of_all(array, cause))
        for cause in by_cause
    }
    named = [stopper for stopper in stoppers.values() if stopper]
    if named and all(stopper or cause.follows for cause, stopper in stoppers.items()):
        # Nothing failed on its own: children that failed with a dependency failed by our stop.
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
    """Return who stopped the whole array, if that explains this cause; else ""."""
    known = known_causes.known_cause(None, cause.reason)
    if cause == OTHER or (known and known.code != known_causes.NO_CAUSE_OF_ITS_OWN):
        return ""
    if cause.exit_code is not None:
        # A guard's `cancel` does not kill a child that has started.
        is_killed = cause.exit_code in _KILLED and "is at cancel" not in array.reason
        return array.stopper if is_killed else ""
    # A person's reason for the array's stop is not ours, though its children have the same.
    is_ours = bool(stopper_in(array.reason))
    never_began = not cause.reason or (is_ours and cause.reason == normalise(array.reason))
    return array.stopper if never_began or _STOPPED.search(cause.reason) else ""


def _stop_by(stopper: str) -> FailureCause:
    return FailureCause(None, f"{STOP_MARK}{stopper}")


def _in_order(by_cause: dict[FailureCause, Group]) -> list[Group]:
    """Return the failures by cause: as many groups as may be listed, and the rest as one."""
    other = by_cause.pop(OTHER, None)
    by_size = sorted(by_cause.values(), key=lambda group: (-len(group.indices), group.indices))
    followed = [group for group in by_size if group.cause.follows]
    causes = [group for group in by_size if not group.cause.follows]
    # Consequences get the room that causes leave, and always room for one.
    room = max(GROUPS_MAX - len(followed), GROUPS_MAX - 1)
    found = [*causes[:room], *followed[: GROUPS_MAX - len(causes[:room])]]
    rest = [*causes[room:], *followed[GROUPS_MAX - len(causes[:room]) :]]
    rest += [other] if other else []
    if rest:
        indices = sorted(index for group in rest for index in group.indices)
        example = next((group.example for group in rest if group.example), None)
        shown = next((group for group in rest if group.words), rest[0])
        found.append(
            Group(
                cause=OTHER,
                indices=tuple(indices),
                example=example,
                words=shown.words,
                code=shown.code,
            )
        )
    return found


def groups(array: Array, parts: Iterable[Part]) -> list[Group]:
    """Return only the failures, as `unsuccessful` groups them."""
    return unsuccessful(array, parts).failures
