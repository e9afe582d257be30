"""Rules of budgets broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_RULES = ("tests/unit/budgets/test_rules.py",)
_RUNS = ("tests/unit/budgets/test_runs.py",)
_COUNTING = ("tests/unit/budgets/test_counting.py",)
_REPLAY = ("tests/integration/test_budgets.py",)

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "an end takes off what its start has brought",
        "budgets/usage.py",
        "use = _with_running(use, budget, run, queue, amounts, -1)",
        "use = _with_running(use, budget, run, queue, amounts, 0)",
        _RULES,
    ),
    Mutant(
        "what runs has used all of the days that are over",
        "budgets/usage.py",
        "_put(days, day, queue, scaled(each.amounts, ms))",
        "_put(days, day, queue, scaled(each.amounts, 0))",
        _RULES,
    ),
    Mutant(
        "a run is split at midnight of the budget's zone",
        "budgets/periods.py",
        "yield day, min(end, midnight) - begin",
        "yield day, end - begin",
        _RULES,
    ),
    Mutant(
        "a threshold is told once",
        "budgets/rules.py",
        "if reading.percent >= percent and key_of(percent) not in told:",
        "if reading.percent >= percent:",
        _RULES,
    ),
    Mutant(
        "a new period is told of anew",
        "budgets/rules.py",
        "state = replace(state, period=period.name, told={}, heavy=heavy)",
        "state = replace(state, period=period.name, heavy=heavy)",
        _RULES,
    ),
    Mutant(
        "where other jobs are counted the count begins anew",
        "budgets/rules.py",
        "if state is None or state.use.counting != budget.counting:",
        "if state is None:",
        _RULES,
    ),
    Mutant(
        "a forecast lies within the period",
        "budgets/rules.py",
        "return self.percent < WHOLE and at is not None and at < self.period.ends",
        "return self.percent < WHOLE and at is not None",
        _RULES,
    ),
    Mutant(
        "the limit of which most is used counts",
        "budgets/amounts.py",
        "return max(100 * units[unit] / limit for unit, limit in budget.limits.items())",
        "return min(100 * units[unit] / limit for unit, limit in budget.limits.items())",
        _RULES,
    ),
    Mutant(
        "all nodes of a multi-node job count",
        "budgets/amounts.py",
        "_whole(sum(ask.vcpus * ask.nodes for ask in asks) * 1_000),",
        "_whole(sum(ask.vcpus for ask in asks) * 1_000),",
        _RUNS,
    ),
    Mutant(
        "a nested suffix of memory is read as Kubernetes reads it",
        "diagnosis/needs.py",
        "return (number(found[1]) or 0) * _SUFFIXES[found[2]] / whole",
        "return number(found[1]) or 0",
        _RUNS,
    ),
    Mutant(
        "parents of arrays have no run of their own",
        "budgets/runs.py",
        'return not is_child and bool(array.get("size") or array.get("statusSummary"))',
        "return False",
        _RUNS,
    ),
    Mutant(
        "the start of a former attempt is not that of the latest",
        "budgets/runs.py",
        "if start and start >= over:",
        "if start:",
        _RUNS,
    ),
    Mutant(
        "each end counts once",
        "budgets/counting.py",
        'if ledger.knows("E", run.stop, run.job_id, run.attempt):',
        "if False:",
        _COUNTING,
    ),
    Mutant(
        "a start that comes after its end counts nothing",
        "budgets/counting.py",
        "if believed or any(ledger.knows_end(run.job_id, n, run.start) for n in (run.attempt, *more)):",
        "if believed:",
        _COUNTING,
    ),
    Mutant(
        "a run without a number is the one that was counted with the same start or end",
        "budgets/counting.py",
        "return replace(fact, run=replace(run, attempt=number))",
        "pass",
        _COUNTING,
    ),
    Mutant(
        "an end that is shown after all counts whole",
        "budgets/counting.py",
        "if run.stop == run.start:  # No end was shown. Should one be, it counts whole.",
        "if False:",
        _COUNTING,
    ),
    Mutant(
        "an end with a number is known by it, however its start was guessed",
        "budgets/counting.py",
        "        if not run.start:\n            start = min(",
        "        if True:\n            start = run.start or min(",
        _COUNTING,
    ),
    Mutant(
        "a job that does not list its attempts does not say which one runs",
        "budgets/runs.py",
        'if made or isinstance(detail.get("attempts"), list):',
        "if True:",
        _RUNS,
    ),
    Mutant(
        "a look that does not list the attempts ends no other one",
        "budgets/looks.py",
        "if mine or (shown.status in ENDED and not unnumbered):",
        "if mine or shown.status in ENDED:",
        _COUNTING,
    ),
    Mutant(
        "what is believed to run is looked at",
        "budgets/workflow.py",
        "self._counter.count(fact_rows.latest(found))",
        "self._counter.count(())",
        _COUNTING,
    ),
    Mutant(
        "what runs, and no event told of, is found by a listing",
        "budgets/listing.py",
        "unknown = [job_id for job_id in running if job_id not in self._believed_ids()]",
        "unknown: list[str] = []",
        _COUNTING,
    ),
    Mutant(
        "a guard hears of a budget that rings",
        "guards/matching.py",
        "if (share.name, share.percent) == (evidence.alarm, evidence.share):",
        "if False:",
        _REPLAY,
    ),
    Mutant(
        "a budget that is counted live rings until its period is over",
        "guards/signals/evidence.py",
        "            return self.over_at\n",
        "            return None\n",
        _REPLAY,
    ),
    Mutant(
        "a run that two budgets count is looked at for both",
        "budgets/workflow.py",
        "budgets = tuple(dict.fromkeys((*known.budgets, (name, counts))))",
        "budgets = known.budgets or ((name, counts),)",
        ("tests/integration/test_budgets.py",),
    ),
    Mutant(
        "a budget by tags counts a child by those of its array",
        "budgets/arrivals.py",
        "if (change.parent_id or not knows_tags(change.tags))",
        "if not knows_tags(change.tags)",
        ("tests/unit/budgets/test_arrivals.py",),
    ),
)
