"""Fill the parts of an array from AWS Batch's lists, where events were not received."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from batch_watchdog.arrays.progress import (
    FAILED_CODE,
    PART_SIZE,
    SUCCEEDED_CODE,
    UNKNOWN_CODE,
    Array,
    Part,
    part_of,
    unite,
    with_log,
)
from batch_watchdog.core.job_event import JobEvent


def correct(array: Array, parts: Iterable[Part], failures: Sequence[JobEvent]) -> list[Part]:
    """
    Return the parts with the failures that Batch lists.

    If its list is as long as its own count, failures that it does not list are removed.
    """
    listed = {child.index for child in failures}
    whole = len(listed) == array.failed_by_batch
    corrected = []
    for part in parts:
        first = part.number * PART_SIZE
        outcomes = bytearray(part.outcomes)
        for at, outcome in enumerate(outcomes):
            taken_back = whole and outcome >= FAILED_CODE and first + at not in listed
            if taken_back or (outcome == SUCCEEDED_CODE and first + at in listed):
                outcomes[at] = UNKNOWN_CODE
        of_part = [child for child in failures if part_of(child.index) == part.number]
        corrected.append(unite(replace(part, outcomes=bytes(outcomes)), of_part))
    return corrected


def without_log(parts: Iterable[Part]) -> list[int]:
    """Return one index for each cause whose log is not known, though there may be one."""
    found = []
    for part in parts:
        for number, known in enumerate(part.causes):
            at = part.outcomes.find(FAILED_CODE + number)
            told = known.has_log or known.cause.follows or known.cause.stopper
            if at >= 0 and not told:
                found.append(part.number * PART_SIZE + at)
    return found


def with_logs(parts: Iterable[Part], children: Iterable[JobEvent]) -> list[Part]:
    """Return the parts, with these children's logs added to the causes of their failures."""
    by_number = {part.number: part for part in parts}
    for child in children:
        part = by_number[part_of(child.index)]
        number = part.outcomes[child.index - part.number * PART_SIZE] - FAILED_CODE
        causes = list(part.causes)
        causes[number] = with_log(causes[number], child)
        by_number[part.number] = replace(part, causes=tuple(causes))
    return list(by_number.values())
