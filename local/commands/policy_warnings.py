"""Warn of parts of a valid policy that its author probably did not intend."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cache
from itertools import islice, product

from batch_watchdog.policy.durations import span_text
from batch_watchdog.policy.match import Match
from batch_watchdog.policy.model import LIMITED, Policy
from batch_watchdog.policy.tables import ArrayRule, LimitRule, StateLimit

# Maximum sizes of a standard and an advanced parameter of Parameter Store, in bytes.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
STANDARD_MAX = 4_096
ADVANCED_MAX = 8_192

_SHORT = timedelta(minutes=5)
_GLOBS = ("name", "queue", "definition")
_HOW_TO_COUNT = "; put it before, or leave it out"
_ALTERNATIVES_MAX = 1_000  # combinations of globs of one rule that are checked; beyond, none is

type Rule = ArrayRule | LimitRule


def warnings(policy: Policy, size: int) -> Iterator[str]:
    """Yield warnings of what is allowed, but probably not intended. `size` is in bytes."""
    if size > STANDARD_MAX:
        yield (
            f"{size:,} bytes need an advanced parameter, which costs money; "
            f"a standard one holds {STANDARD_MAX:,}"
        )
    if not (policy.array or policy.limit or policy.guard):
        yield "there are no rules: no job is ever limited, and no spending is guarded"
    for rule in policy.limit:
        for status in LIMITED:
            if limit := rule.for_state(status):
                where = f"{policy.label_of(rule)}, {status}"
                yield from _of_limit(where, limit, enforced=policy.mode_of(rule) == "enforce")
    kinds: tuple[Sequence[Rule], ...] = (policy.array, policy.limit)
    for rules in kinds:
        yield from _of_order(policy, rules)


def _of_limit(where: str, limit: StateLimit, *, enforced: bool) -> Iterator[str]:
    if limit.action == "warn":
        return
    soonest = min(limit.stops_after())
    if enforced and soonest < _SHORT:
        yield (
            f"{where}: {span_text(soonest)} is short: jobs that would have started in a moment "
            "are stopped; at least 5m is usual"
        )
    if limit.warn_after is None:
        yield f"{where}: it stops jobs without a warning before: set warn_after"
    elif limit.warn_after >= soonest:
        yield (
            f"{where}: some jobs are stopped after {span_text(soonest)}, and the warning comes "
            f"only after {span_text(limit.warn_after)}"
        )


def _of_order(policy: Policy, rules: Sequence[Rule]) -> Iterator[str]:
    for place, rule in enumerate(rules):
        earlier = rules[:place]
        label = policy.label_of(rule)
        takers = _takers(rule.match, earlier)
        if takers:
            everything = next((each for each in takers if each.match.everything), None)
            if everything is earlier[-1]:
                yield f"{label} never counts: the rule before it takes every job{_HOW_TO_COUNT}"
            else:
                who = " and ".join(policy.label_of(each) for each in takers[:3])
                yield f"{label} never counts: {who}, before it, takes its jobs{_HOW_TO_COUNT}"
            continue
        for other in earlier:
            for key in _GLOBS:
                both = _overlap(other.match, rule.match, key)
                if both:
                    yield (
                        f"{label} and {policy.label_of(other)} overlap ({key} {both[0]} and "
                        f"{both[1]}): a job that matches both gets the first of them"
                    )
                    break


# ---- Sets of jobs -------------------------------------------------------------------------


def _takers(match: Match, rules: Sequence[Rule]) -> list[Rule]:
    """Return rules that together match every job of a match; none if a job may be left over."""
    lists = [getattr(match, key) or (None,) for key in _GLOBS]
    takers: list[Rule] = []
    alternatives = list(islice(product(*lists), _ALTERNATIVES_MAX + 1))
    if len(alternatives) > _ALTERNATIVES_MAX:
        return []
    for globs in alternatives:
        single = dict(zip(_GLOBS, globs, strict=True))
        taker = next((rule for rule in rules if _takes(rule.match, single, match)), None)
        if taker is None:
            return []
        if not any(taker is each for each in takers):
            takers.append(taker)
    return takers


def _takes(wide: Match, single: dict[str, str | None], narrow: Match) -> bool:
    return wide.tags.items() <= narrow.tags.items() and all(
        _covers_any(getattr(wide, key), single[key], key) for key in _GLOBS
    )


def _covers_any(wide: Sequence[str] | None, glob: str | None, key: str) -> bool:
    if wide is None:
        return True
    return glob is not None and any(_covers(each, glob, key) for each in wide)


def _covers(wide: str, narrow: str, key: str = "") -> bool:
    """Whether `wide` matches every text that `narrow` matches; False if in doubt."""
    if wide in ("*", narrow):
        return True
    if wide.startswith("arn:") != narrow.startswith("arn:"):
        return False
    literal = not set(narrow) & set("*?[")
    # fnmatch can match a glob as if it were a text, but only if `wide` has no "?" and no "[".
    if not literal and set(wide) & set("?["):
        return False
    name = narrow.partition(":")[0] if key == "definition" and literal else narrow
    return fnmatchcase(narrow, wide) or fnmatchcase(name, wide)


def _overlap(one: Match, other: Match, key: str) -> tuple[str, str] | None:
    """Return globs of a key that share some names, neither covering the other; None if none do."""
    if not all(_meet(getattr(one, each), getattr(other, each)) for each in _GLOBS):
        return None
    if any(one.tags[tag] != other.tags[tag] for tag in one.tags.keys() & other.tags.keys()):
        return None
    for a, b in product(getattr(one, key) or (), getattr(other, key) or ()):
        if _share(a, b) and not _covers(a, b, key) and not _covers(b, a, key):
            return a, b
    return None


def _meet(some: Sequence[str] | None, others: Sequence[str] | None) -> bool:
    return some is None or others is None or any(_share(a, b) for a, b in product(some, others))


@cache
def _share(one: str, other: str) -> bool:
    """Whether a text can match both globs."""
    if one.startswith("arn:") != other.startswith("arn:"):
        return False
    return _shared(_signs(one), _signs(other))


def _signs(glob: str) -> tuple[str, ...]:
    """Split a glob into signs. A set in brackets is one sign."""
    signs: list[str] = []
    at = 0
    while at < len(glob):
        # A bracket right after the first one, or after its "!", does not close the set.
        end = glob.find("]", at + 2 + glob.startswith("[!", at)) if glob[at] == "[" else -1
        signs.append(glob[at : end + 1] if end > 0 else glob[at])
        at = end + 1 if end > 0 else at + 1
    return tuple(signs)


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    # row[n]: whether a text can match both the signs of `one` so far and the first n of `other`.
    row = [True] + [False] * len(other)
    for n, sign in enumerate(other):
        row[n + 1] = row[n] and sign == "*"
    for mine in one:
        new = [row[0] and mine == "*"]
        for n, sign in enumerate(other):
            if mine == "*" or sign == "*":
                new.append(row[n + 1] or new[n] or row[n])
            else:
                new.append(row[n] and _alike(mine, sign))
        row = new
    return row[-1]


def _alike(one: str, other: str) -> bool:
    """Whether one character can match both signs. Two sets of characters always count as alike."""
    for a, b in ((one, other), (other, one)):
        if a == "?":
            return True
        if len(b) == 1 and len(a) > 1:
            return fnmatchcase(b, a)
    return one == other or len(one) > 1 < len(other)
