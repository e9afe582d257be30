"""Rules of the overview, and of what is measured, broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_STATE = ("tests/unit/overview/test_state.py",)
_SWEEP = ("tests/integration/test_overview.py",)
_MEASURES = ("tests/unit/measures/test_measures.py",)

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "the longest waits are kept",
        "overview/state.py",
        "first = sorted(longest.values(), key=lambda job: (job.since, job.job_id))[:LONGEST_MAX]",
        "first = list(longest.values())[:LONGEST_MAX]",
        _STATE,
    ),
    Mutant(
        "queues are bounded",
        "overview/state.py",
        "len(waits.queues) >= QUEUES_MAX",
        "False",
        _STATE,
    ),
    Mutant(
        "arrays are bounded, and the first are kept",
        "overview/state.py",
        "for array in every[:ARRAYS_MAX]",
        "for array in every",
        _STATE,
    ),
    Mutant(
        "a sweep that is repeated does not lose what the first one saw",
        "use_cases/sweep_overview.py",
        "if known and (known.at >= self.at or not (known.count or self._arrays)):",
        "if known and not (known.count or self._arrays):",
        _SWEEP,
    ),
    Mutant(
        "an array that has ended is at work no more",
        "use_cases/sweep_overview.py",
        'if array.announced or detail.get("status") in ENDED:',
        "if array.announced:",
        _SWEEP,
    ),
    Mutant(
        "another listing begins with nothing",
        "use_cases/sweep_overview.py",
        "if kept is None or kept.at != began_at:",
        "if kept is None:",
        _SWEEP,
    ),
    Mutant(
        "only the queues that wait longest are measured",
        "measures/measures.py",
        "[:QUEUES_MAX]:",
        ":",
        _MEASURES,
    ),
    Mutant(
        "what a stop left alone is no stop",
        "measures/measures.py",
        "left = len(effect.job_ids) - accepted - refused",
        "left = len(effect.job_ids)",
        _MEASURES,
    ),
)
