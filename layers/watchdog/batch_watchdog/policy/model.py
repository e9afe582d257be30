"""
The policy that an operator writes: one TOML text.

`parse_policy` reads it, or raises an error that names everything that is wrong with it. The rest of
the package uses the methods of `Policy`, and `Limit`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import Field

from batch_watchdog.core.effects import WaitCause
from batch_watchdog.core.job_event import STARTED, WAITING
from batch_watchdog.policy.budget_tables import Budget
from batch_watchdog.policy.durations import parse_span, shown
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.match import Job, Table
from batch_watchdog.policy.names import problems_of_names
from batch_watchdog.policy.tables import (
    Action,
    ArrayRule,
    LimitRule,
    Mode,
    Notify,
    RunnableLimit,
    Safety,
)
from batch_watchdog.policy.toml import did_you_mean, read_table

TAG_PREFIX = "batch-watchdog:"  # begins those tags of a job that are for the watchdog
EXEMPT_TAG = TAG_PREFIX + "exempt"
LIMITED = (*WAITING, *STARTED)  # the states that can have a limit: all that a job can leave


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """
    How long one job may stay in one state, and the action then, by a rule and the job's own tags.

    `rule` names the source of the limit, for people. `after` is None where only stays with some
    causes are limited.
    """

    rule: str
    mode: Mode
    action: Action
    after: timedelta | None
    warn_after: timedelta | None = None
    after_by_cause: Mapping[WaitCause, timedelta] = field(default_factory=dict)
    escalate: bool = False

    def after_for(self, cause: WaitCause | None) -> timedelta | None:
        """Return the longest stay for a cause (None: not known); None if there is no limit."""
        return self.after_by_cause.get(cause, self.after) if cause else self.after

    @property
    def stops(self) -> bool:
        """Whether a job that stays too long is stopped, and not only reported."""
        return self.mode == "enforce" and self.action != "warn"

    @property
    def first_due(self) -> timedelta:
        """The shortest stay after which a warning or the action can be due."""
        return min(
            span
            for span in (self.warn_after, self.after, *self.after_by_cause.values())
            if span is not None
        )


class Policy(Table):
    """
    What the watchdog does. An empty policy observes, limits nothing, guards nothing.

    Spans are written "90s", "30m", "6h", "1h30m", "1d" or "PT30M", up to 30 days.
    """

    readable: ClassVar[bool] = True  # False for the policy of a text that cannot be read
    mode: Mode = "observe"
    """"observe" reports what it would do and does nothing; "enforce" does it. A rule may have its
    own."""
    safety: Safety = Safety()
    notify: Notify = Notify()
    array: Annotated[tuple[ArrayRule, ...], Field(max_length=100)] = ()
    """Rules for array jobs."""
    limit: Annotated[tuple[LimitRule, ...], Field(max_length=100)] = ()
    """Rules for how long jobs may stay in a state."""
    guard: Annotated[tuple[Guard, ...], Field(max_length=100)] = ()
    """Guards of the spending."""
    budget: Annotated[tuple[Budget, ...], Field(max_length=100)] = ()
    """Budgets of what jobs use."""

    @cached_property
    def version(self) -> str:
        """Sixteen characters that change when the policy changes; comments make no difference."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]

    def mode_of(self, rule: ArrayRule | LimitRule | Guard) -> Mode:
        """The mode in which a rule is applied: its own, or the policy's."""
        return rule.mode or self.mode

    def label_of(self, rule: ArrayRule | LimitRule | Guard) -> str:
        """Return a rule's name for notices: "limit[1] (match queue gpu-*)", counted from 1."""
        if isinstance(rule, Guard):
            return f'guard "{rule.name}"'
        kind = "array" if isinstance(rule, ArrayRule) else "limit"
        rules: Sequence[Table] = getattr(self, kind)
        index = next(index for index, each in enumerate(rules, 1) if each is rule)
        return f"{kind}[{index}] ({rule.match})"

    def array_rule_for(self, job: Job) -> ArrayRule | None:
        """Return the first rule that matches an array job, or None."""
        return next((rule for rule in self.array if rule.match.matches(job)), None)

    @property
    def silence_depends_on_tags(self) -> bool:
        """Whether an array's tags may decide if its end is announced."""
        return any(rule.silent for rule in self.array) and any(
            rule.match.tags for rule in self.array
        )

    def limit_for(self, job: Job, status: str) -> Limit | None:
        """
        Return the limit of a job's stay in a state, or None where there is none.

        The job's own tags take precedence over the rules: a tag sets the longest stay, and the rule
        sets the action. A tag that cannot be read, or an unknown watchdog tag
        ("batch-watchdog:exempted"), may be meant to exempt the job or to give it more time: the
        rule then only warns, and names the problem.
        """
        if status not in LIMITED or is_exempt(job.tags):
            return None
        rule = next((rule for rule in self.limit if rule.match.matches(job)), None)
        limit = self.limit_of(rule, status) if rule else None
        own = _own_span(job.tags, status)
        elsewhere = {TAG_PREFIX + other for other in LIMITED if other != status}
        meant = {key: job.tags[key] for key in job.tags.keys() - elsewhere}
        problems = "; ".join(tag_problems(meant))
        if problems and limit:
            rule_name = f"{limit.rule}; {problems}"
            return replace(limit, rule=rule_name, action="warn", escalate=False)
        if own is None or problems:
            return limit
        warn_after = limit.warn_after if limit else None
        usual: Action = "terminate" if status in STARTED else "cancel"
        return Limit(
            rule=f"tag {TAG_PREFIX}{status}",
            mode=self.mode_of(rule) if rule else self.mode,
            action=limit.action if limit else usual,
            after=own,
            warn_after=warn_after if warn_after and warn_after < own else None,
            escalate=limit is not None and limit.escalate,
        )

    def first_due_after(self, job: Job, status: str) -> timedelta | None:
        """
        Return the stay after which a job must first be checked; None where no check is needed.

        Where the job's tags are not known (events need not carry them), rules that match by tags
        may apply too: the result can be too early, and is never too late for any of the rules.
        """
        if _own_span(job.tags, status) or is_exempt(job.tags):
            limit = self.limit_for(job, status)
            return limit.first_due if limit else None
        due = self._first_due.get(status)
        if not due:
            return None
        rules = _rules_that_may_count(self.limit, job)
        return min((due[number] for number in rules if number in due), default=None)

    @cached_property
    def _first_due(self) -> Mapping[str, Mapping[int, timedelta]]:
        """By state and by the rule's number, from 0: the stay after which the rule is first due."""
        return {
            status: {
                number: limit.first_due
                for number, rule in enumerate(self.limit)
                if (limit := self.limit_of(rule, status))
            }
            for status in LIMITED
        }

    def has_limits(self, status: str) -> bool:
        """Whether any rule limits a state. (A job's own tag can limit it nevertheless.)"""
        return bool(self._first_due.get(status))

    def guard_named(self, name: str) -> Guard | None:
        """A guard by its name; None where the policy has none of that name."""
        return next((guard for guard in self.guard if guard.name == name), None)

    def budget_named(self, name: str) -> Budget | None:
        """A budget by its name; None where the policy has none of that name."""
        return next((budget for budget in self.budget if budget.name == name), None)

    def guards_for_queue(self, queue: str) -> tuple[Guard, ...]:
        """Return the guards whose scope can include jobs of a queue (an ARN or a name)."""
        return tuple(guard for guard in self.guard if guard.covers_queue(queue))

    def guards_for(self, job: Job) -> tuple[Guard, ...]:
        """Return the guards that may stop a job: it is in their scope, and they do not spare it."""
        return tuple(guard for guard in self.guard if guard.covers(job) and not guard.spares(job))

    def limit_of(self, rule: LimitRule, status: str) -> Limit | None:
        """Return a rule's limit for a state, or None, for a job without tags of its own."""
        limit = rule.for_state(status)
        if limit is None:
            return None
        by_cause = limit.after_by_cause if isinstance(limit, RunnableLimit) else None
        return Limit(
            rule=self.label_of(rule),
            mode=self.mode_of(rule),
            action=limit.action,
            after=limit.after,
            warn_after=limit.warn_after,
            after_by_cause=by_cause.spans() if by_cause else {},
            escalate=isinstance(limit, RunnableLimit) and limit.escalate,
        )


def _rules_that_may_count(rules: Sequence[LimitRule], job: Job) -> Iterator[int]:
    for number, rule in enumerate(rules):
        if rule.match.matches(job):
            yield number
            return
        if not knows_tags(job.tags) and rule.match.may_match(job):
            yield number


class UnreadablePolicy(Policy):
    """
    The policy in force where no text can be read: its mode is observe, and it has no rules.

    It does not show which rules an operator wants. So a rule that it lacks does not count as
    removed: raised guards stay raised, and closed queues stay closed.
    """

    readable: ClassVar[bool] = False


def parse_policy(text: str) -> Policy:
    """
    Read a policy from its TOML text. An empty text is the policy of a fresh deployment.

    Raises:
        PolicyError: names everything that is wrong, each with its line and key.
    """
    return read_table(Policy, text, problems_of_names)


# ---- A job's own tags ---------------------------------------------------------------------


def knows_tags(tags: Mapping[str, str]) -> bool:
    """
    Whether an event with these tags contains the job's own tags.

    AWS adds the tag `resourceArn`, and may leave out all others.
    """
    return len(tags) > ("resourceArn" in tags)


def is_exempt(tags: Mapping[str, str]) -> bool:
    """Whether a job's own tags say that no limit may stop it."""
    setting = tags.get(EXEMPT_TAG)
    return setting is not None and _YES_OR_NO.get(setting.strip().lower(), False)


def tag_problems(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is wrong with a job's watchdog tags. It quotes the tags: untrusted text."""
    return tuple(_tag_problems(tags))


_YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _tag_problems(tags: Mapping[str, str]) -> Iterator[str]:
    known = [EXEMPT_TAG, *(TAG_PREFIX + status for status in LIMITED)]
    for key, value in sorted(tags.items()):
        if not key.strip().casefold().startswith(TAG_PREFIX):
            continue
        if key not in known:
            yield f"tag {shown(key)}: unknown{did_you_mean(key, known)}"
        elif key == EXEMPT_TAG:
            if value.strip().lower() not in _YES_OR_NO:
                yield f"tag {key}: expected true or false, not {shown(value)}"
        else:
            try:
                parse_span(value.strip())
            except ValueError as error:
                yield f"tag {key}: {error}"


def _own_span(tags: Mapping[str, str], status: str) -> timedelta | None:
    setting = tags.get(TAG_PREFIX + status)
    try:
        return parse_span(setting.strip()) if setting else None
    except ValueError:
        return None
