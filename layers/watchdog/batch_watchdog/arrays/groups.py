"""Failures of an array, grouped by cause."""

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
from batch_watchdog.core.failure_cause import OTHER, FailureCause, normalise
from batch_watchdog.notices.links import DEFAULT_PLACE, LogPlace

GROUPS_MAX = 20  # groups of failures that a notice tells apart; the rest is "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Failures that share a cause."""

    cause: FailureCause
    indices: tuple[int, ...]
    example: KnownCause | None = None  # with the log of one of them
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


def groups(array: Array, parts: Iterable[Part]) -> list[Group]:
    """
    The failures by cause, the largest group first; at most 20 and "other".

    What only followed from other failures comes after these, however many it hit.
    """
    parts = list(parts)
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
            by_cause[known.cause] = replace(group, indices=group.indices + hit, example=example)
    if lacking := indices_without_result(array, parts):
        cause = FailureCause(None, normalise(array.reason) or "AWS Batch gives no reason")
        group = by_cause.get(cause, Group(cause=cause, indices=()))
        by_cause[cause] = replace(group, indices=tuple(sorted({*group.indices, *lacking})))
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
        found.append(Group(cause=OTHER, indices=tuple(indices), example=example))
    unseen = (array.failed_by_batch or 0) - sum(len(group.indices) for group in found)
    if unseen > 0 and rest:
        found[-1] = replace(found[-1], unseen=unseen)
    elif unseen > 0:
        reason = normalise(array.reason) or "Batch counts these as failed and tells no more"
        found.append(Group(cause=FailureCause(None, reason), indices=(), unseen=unseen))
    return found
