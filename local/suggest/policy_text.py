"""Writes a suggestion as the text of a policy, with its evidence in comments."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import reduce
from itertools import batched

from batch_watchdog.notices.text import iso, span
from batch_watchdog.policy.durations import span_text
from batch_watchdog.policy.match import GLOB_MAX
from batch_watchdog.policy.tables import Mode
from local.commands.policy_warnings import STANDARD_MAX
from local.suggest.limits import Evidence, Proposal, Suggestion, loose
from local.suggest.waits import History

_GLOBS_MAX = 100  # of one rule
_RULES_MAX = 99  # without the last rule, for all other jobs


def fitting(suggestion: Suggestion, history: History) -> Suggestion:
    """
    Return the part that fits into a standard parameter, with names that a policy can match.

    If it is too long, queues with the same limits share a rule. If it still is, limits of single
    definitions are left out, then those of queues, each time the one with the fewest starts.
    """
    kept = [each for each in suggestion.proposals if all(map(_can_match, _names(each)))]
    if not _fits(kept, history):
        while not _fits(_merged(kept), history) and kept:
            finer = [each for each in kept if each.definition]
            kept.remove(min(finer or kept, key=lambda each: each.evidence.started))
        kept = _merged(kept)
    queues = {queue for each in kept for queue in each.queues}
    without = list(suggestion.without)
    for queue in dict.fromkeys(queue for each in suggestion.proposals for queue in each.queues):
        if queue not in queues:
            why = "the policy has no room for it" if _can_match(queue) else "no glob has this name"
            without.append((queue, why))
    return Suggestion(proposals=tuple(kept), without=tuple(without))


def policy_text(suggestion: Suggestion, history: History, mode: Mode = "observe") -> str:
    return "\n".join(_lines(suggestion.proposals, history, mode)) + "\n"


def glob(name: str) -> str:
    """Return the TOML text of a glob that matches this name, and nothing else."""
    # A parameter cannot hold two braces in a row.
    escaped = "".join(f"[{each}]" if each in "*?[{" else each for each in name)
    if name.startswith("arn:"):  # A glob that begins like this would match ARNs only.
        escaped = "[a]" + escaped[1:]
    return json.dumps(escaped, ensure_ascii=False)


def _names(proposal: Proposal) -> list[str]:
    return [*proposal.queues, *filter(None, [proposal.definition])]


def _can_match(name: str) -> bool:
    return name.isprintable() and 0 < len(json.loads(glob(name))) <= GLOB_MAX


def _fits(proposals: Sequence[Proposal], history: History) -> bool:
    text = "\n".join(_lines(proposals, history, "observe")) + "\n"
    return len(text.encode()) <= STANDARD_MAX and len(proposals) <= _RULES_MAX


def _merged(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Join queues with the same limits in one rule; definitions' own limits stay before them."""
    by_limit: dict[tuple[timedelta, timedelta], list[Proposal]] = {}
    for each in proposals:
        if not each.definition:
            by_limit.setdefault((each.warn_after, each.after), []).append(each)
    return [each for each in proposals if each.definition] + [
        reduce(_joined, some)
        for same in by_limit.values()
        for some in batched(same, _GLOBS_MAX, strict=False)
    ]


def _joined(one: Proposal, other: Proposal) -> Proposal:
    a, b = one.evidence, other.evidence
    evidence = Evidence(
        started=a.started + b.started,
        median=max(a.median, b.median),
        longest=max(a.longest, b.longest),
        over=a.over + b.over,
        never_started=a.never_started + b.never_started,
        still_waiting=a.still_waiting + b.still_waiting,
        longest_open=max(a.longest_open, b.longest_open),
    )
    return replace(one, queues=(*one.queues, *other.queues), evidence=evidence)


def _lines(proposals: Sequence[Proposal], history: History, mode: Mode) -> Iterator[str]:
    waits = sum(len(stays) for stays in history.stays.values())
    period = ""
    if history.first and history.last:
        period = f", {iso(history.first)} to {iso(history.last)}"
    yield f"# By make suggest, from {waits:,} waits of {history.jobs:,} jobs{period}."
    yield ""
    yield f'mode = "{mode}"  # says what it would do; "enforce" does it'
    for each in proposals:
        yield ""
        yield "[[limit]]"
        yield from _evidence(each)
        queues = ", ".join(map(glob, each.queues))
        queues = f"[{queues}]" if len(each.queues) > 1 else queues
        definition = f", definition = {glob(each.definition)}" if each.definition else ""
        yield f"match = {{ queue = {queues}{definition} }}"
        yield (
            f'RUNNABLE = {{ warn_after = "{span_text(each.warn_after)}", '
            f'after = "{span_text(each.after)}", action = "cancel" }}'
        )
    yield ""
    yield "[[limit]]"
    yield "# All others: too little is known of them to stop any."
    yield f'RUNNABLE = {{ after = "{span_text(loose(history))}", action = "warn" }}'


def _evidence(proposal: Proposal) -> Iterator[str]:
    known = proposal.evidence
    of_each = "at most " if len(proposal.queues) > 1 else ""
    yield (
        f"# {known.started:,} waits ended with a start: half of them within {of_each}"
        f"{span(known.median)}, the longest after {span(known.longest)}."
    )
    if known.over:
        yield f"# {known.over:,} of these would have been stopped."
    if known.never_started:
        yield f"# {known.never_started:,} ended without a start."
    if known.still_waiting:
        yield (
            f"# {known.still_waiting:,} went on at the log's end, the longest for "
            f"{span(known.longest_open)}."
        )
