"""A rule broken on purpose."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    A rule, and how to break it: `old` becomes `new` in `file`, a path in the package.

    `tests` are the files for pytest that must fail. Without any, the simulation must fail.
    """

    rule: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
