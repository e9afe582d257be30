"""
Read a policy as the watchdog does, and say in words what it means, or where it is wrong.

    python -m local policy-check FILE         exit status 0: it is valid; 2: it is not
    python -m local policy-check --schema     print the policy's JSON Schema, for editors
"""

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from batch_watchdog.core.errors import PolicyError
from batch_watchdog.policy.budget_tables import Budget
from batch_watchdog.policy.durations import span_text
from batch_watchdog.policy.guard_tables import Guard, Stage
from batch_watchdog.policy.model import LIMITED, Policy, parse_policy
from batch_watchdog.policy.tables import ArrayRule, LimitRule, RunnableLimit, StateLimit, StopRest
from local.commands.policy_warnings import ADVANCED_MAX, warnings

_HOW_TO_BEGIN = (
    "; the README has a policy to begin with, and events/policy.toml shows every setting"
)


class PolicyFileError(Exception):
    """
    A file cannot be read, or is not a policy that can be used.

    The message has one line for each problem. Each begins with the file and, if it is known, the
    line's number.
    """


def read_policy(path: Path) -> Policy:
    """
    Read a policy from a file.

    Raises:
        PolicyFileError: it cannot be read, or is not a policy. The message says where and why.
    """
    return _policy_in(_content_of(path), path)


def read_policy_to_store(path: Path) -> tuple[Policy, str]:
    """
    Read a policy that is to be stored in Parameter Store. Return the policy, and its text.

    Raises:
        PolicyFileError: it cannot be read, is not a policy, or cannot be stored in a parameter.
    """
    content = _content_of(path)
    policy = _policy_in(content, path)
    if len(content) > ADVANCED_MAX:
        raise PolicyFileError(
            f"{path}: {len(content):,} bytes: expected at most {ADVANCED_MAX:,}, "
            "which is all that a parameter can hold"
        )
    if (at := content.find(b"{{")) >= 0:
        raise PolicyFileError(
            f"{path}:{_line(content, at)}: a parameter cannot hold two braces in a row ({{{{), "
            "not even in a comment"
        )
    return policy, content.decode()


def _content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise PolicyFileError(
            f"{path}: cannot be read: {error.strerror or error}{_HOW_TO_BEGIN if missing else ''}"
        ) from error


def _policy_in(content: bytes, path: Path) -> Policy:
    try:
        return parse_policy(content.decode())
    except UnicodeDecodeError as error:
        raise PolicyFileError(
            f"{path}:{_line(content, error.start)}: not UTF-8: {error.reason}"
        ) from error
    except PolicyError as error:
        raise PolicyFileError(
            "\n".join(
                ": ".join(filter(None, (f"{path}:{each.line}", each.key, each.message)))
                for each in error.problems
            )
        ) from error


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


# ---- In words -----------------------------------------------------------------------------


def in_words(policy: Policy) -> Iterator[str]:
    """Yield lines that say what a policy means."""
    yield (
        "enforce: it stops jobs as the rules say."
        if policy.mode == "enforce"
        else "observe: it says what it would do, and stops nothing."
    )
    rules: Sequence[ArrayRule | LimitRule | Guard] = (*policy.array, *policy.limit, *policy.guard)
    if not rules and not policy.budget:
        yield "No rules: nothing is limited, nothing is guarded."
    for rule in rules:
        own = f" [{rule.mode}]" if rule.mode and rule.mode != policy.mode else ""
        yield f"{policy.label_of(rule)}{own}: {_rule_in_words(rule)}"
    for budget in policy.budget:
        yield f'budget "{budget.name}": {budget.match}; {_budget_in_words(budget)}'


def _rule_in_words(rule: ArrayRule | LimitRule | Guard) -> str:
    match rule:
        case ArrayRule():
            return "; ".join(_array_in_words(rule))
        case LimitRule():
            limits = ((status, rule.for_state(status)) for status in LIMITED)
            words = [_limit_in_words(status, limit) for status, limit in limits if limit]
            return "; ".join(words) or "no limits"
        case Guard():
            return "; ".join(_guard_in_words(rule))


def _array_in_words(rule: ArrayRule) -> Iterator[str]:
    yield "silent" if rule.silent else "told when done"
    if rule.progress:
        yield f"progress at {', '.join(map(str, rule.progress))} %"
    if rule.stop_rest_when:
        yield f"the rest is stopped when {_stop_in_words(rule.stop_rest_when)}"


def _stop_in_words(when: StopRest) -> str:
    parts = [f"more than {when.failed} failed"] if when.failed is not None else []
    if when.failed_percent is not None:
        parts.append(f"more than {when.failed_percent:g} % failed")
    return f"{' or '.join(parts)} of at least {when.of_at_least}"


def _limit_in_words(status: str, limit: StateLimit) -> str:
    by_cause = limit.after_by_cause if isinstance(limit, RunnableLimit) else None
    spans = [f"{span_text(limit.after)}"] if limit.after else []
    spans += [
        f"{span_text(span)} if {'it waits for capacity' if cause == 'capacity' else cause}"
        for cause, span in (by_cause.spans() if by_cause else {}).items()
    ]
    warned = f", warned of at {span_text(limit.warn_after)}" if limit.warn_after else ""
    escalated = ", terminated if it starts" if _escalates(limit) else ""
    return f"{status} for {', '.join(spans)}, then {limit.action}{escalated}{warned}"


def _escalates(limit: StateLimit) -> bool:
    return isinstance(limit, RunnableLimit) and limit.escalate


def _guard_in_words(guard: Guard) -> Iterator[str]:
    yield str(guard.match)
    if guard.spare:
        yield f"spares {str(guard.spare).removeprefix('match ')}"
    for stage in guard.stage:
        yield _stage_in_words(stage)
    yield f"release {guard.release}"


def _budget_in_words(budget: Budget) -> str:
    limits = " or ".join(f"{limit:.15g} {unit}" for unit, limit in budget.limits.items())
    warned = f", warned of at {', '.join(map(str, budget.warn_at))} %" if budget.warn_at else ""
    return f"{limits} a {budget.per} ({budget.time_zone}){warned}"


def _stage_in_words(stage: Stage) -> str:
    raised = [*stage.alarms, *map(str, stage.budgets)]
    if stage.after_previous:
        raised.append(f"{span_text(stage.after_previous)} of the stage before")
    by = " or ".join(raised) or "an operator"
    return (
        f"{stage.action} by {by}"
        + (", forecasts too" if stage.forecast else "")
        + (", queues closed" if stage.close_queues else "")
    )


# ---- The schema ---------------------------------------------------------------------------


class _TomlSchema(GenerateJsonSchema):
    """Leaves out null, which TOML does not have, and the defaults of whole tables."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        default = schema.get("default", "")
        if default is None or isinstance(default, BaseModel):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def json_schema() -> str:
    """Return the policy's JSON Schema, as text."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Policy.model_json_schema(schema_generator=_TomlSchema),
        "title": "batch-watchdog policy",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


# ---- The command --------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return the exit status."""
    parser = argparse.ArgumentParser(
        prog="policy-check", description="Say what a policy means, or where it is wrong."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a policy in TOML")
    what.add_argument("--schema", action="store_true", help="print the policy's JSON Schema")
    chosen = parser.parse_args(arguments)
    if chosen.schema:
        print(json_schema(), end="")
        return 0
    try:
        policy, text = read_policy_to_store(chosen.file)
    except PolicyFileError as error:
        print(error, file=sys.stderr)
        return 2
    size = len(text.encode())
    print(f"{chosen.file}: the policy is fine ({size:,} bytes, version {policy.version}).")
    for line in in_words(policy):
        print(f"  {line}")
    for warning in warnings(policy, size):
        print(f"  Warning: {warning}.")
    return 0


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # A terminal may lack some characters.
    sys.exit(main())
