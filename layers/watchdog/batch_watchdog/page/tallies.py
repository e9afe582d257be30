"""Count what each rule of a policy has done lately, from recorded actions."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch_watchdog.core.effects import Announce, Effect, StopJobs, accepted_and_refused
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.model import Policy
from batch_watchdog.policy.tables import ArrayRule, LimitRule

_OF_LIMITS = {"limit-warning": "warned", "limit-enforced": "passed", "limit-escaped": "escaped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """A rule: its label, mode and text. `done` counts what it has done, by kind."""

    label: str
    mode: str
    text: str
    done: Mapping[str, int] = field(default_factory=dict)


def rule_rows(policy: Policy, recorded: Iterable[tuple[Effect, Any]]) -> list[RuleRow]:
    """
    Return all rules of a policy in order, with what each has done by these effects and results.

    The policy's budgets follow, and then rules that the policy no longer has.
    """
    done: dict[str, Counter[str]] = {}
    for effect, result in recorded:
        for rule, word, count in _told(effect, result):
            done.setdefault(rule, Counter())[word] += count
    rules: Sequence[ArrayRule | LimitRule | Guard] = (*policy.array, *policy.limit, *policy.guard)
    rows = [
        RuleRow(
            label=plain(policy.label_of(rule), 300),
            mode=policy.mode_of(rule),
            text=_text(rule.model_dump(mode="json", exclude_defaults=True)),
            done=done.pop(_key(policy.label_of(rule)), Counter()),
        )
        for rule in rules
    ]
    gone = [RuleRow(label=plain(rule, 300), mode="", text="", done=done[rule]) for rule in done]
    budgets = [
        RuleRow(
            label=f'budget "{plain(each.name, 64)}"',
            mode="counts",
            text=_text(each.model_dump(mode="json", exclude_defaults=True)),
        )
        for each in policy.budget
    ]
    return [*rows, *budgets, *gone]


def _told(effect: Effect, result: Any) -> Iterable[tuple[str, str, int]]:
    """Yield what an effect adds to the counts: the rule, what was done, and the number."""
    match effect:
        case StopJobs():
            rule = _key(effect.rule)
            accepted, refused = accepted_and_refused(result)
            yield rule, "asked to stop", len(effect.job_ids)
            yield rule, "accepted", accepted
            yield rule, "refused", refused
        case Announce():
            for notice in effect.notices:
                word = _OF_LIMITS.get(notice.kind)
                if word and notice.facts.get("rule"):
                    yield _key(str(notice.facts["rule"])), word, 1
                elif notice.kind.startswith("guard-") and notice.facts.get("guard"):
                    word = notice.kind.removeprefix("guard-")
                    yield _key(f'guard "{notice.facts["guard"]}"'), word, 1
                elif notice.kind == "array-stopped" and notice.facts.get("rule"):
                    yield _key(str(notice.facts["rule"])), "stopped the rest of", 1
        case _:
            pass


def _key(label: str) -> str:
    """A rule's label without the part that is about one job's tags."""
    return label.partition(";")[0]


def _text(settings: Mapping[str, Any]) -> str:
    return plain(", ".join(f"{key} = {json.dumps(value)}" for key, value in settings.items()), 800)
