"""Check names in a policy's tree: those of guards and budgets, and the budgets of stages."""

from collections.abc import Iterator, Mapping
from typing import Any

from batch_watchdog.policy.durations import shown
from batch_watchdog.policy.toml import Found, did_you_mean


def problems_of_names(tree: Mapping[str, Any]) -> Iterator[Found]:
    """Yield each name that two tables share, and each budget of a stage that does not exist."""
    for kind in ("guard", "budget"):
        seen: set[str] = set()
        for index, name in _names(tree, kind):
            if name in seen:
                yield (kind, index, "name"), f"another {kind} is called {shown(name)} already"
            seen.add(name)
    known = [name for _, name in _names(tree, "budget")]
    for guard_at, guard in _tables(tree.get("guard")):
        for stage_at, stage in _tables(guard.get("stage")):
            for at, name in _names(stage, "budgets"):
                if name not in known:
                    hint = did_you_mean(name, known) if known else "; the policy has no [[budget]]"
                    place = ("guard", guard_at, "stage", stage_at, "budgets", at, "name")
                    yield place, f"no budget is called {shown(name)}{hint}"


def _names(tree: Mapping[str, Any], key: str) -> Iterator[tuple[int, str]]:
    for index, table in _tables(tree.get(key)):
        if isinstance(name := table.get("name"), str):
            yield index, name


def _tables(value: object) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for index, table in enumerate(value if isinstance(value, list) else ()):
        if isinstance(table, dict):
            yield index, table
