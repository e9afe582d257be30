"""Rules of arrays broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "children without a result are counted where an array failed",
        "arrays/groups.py",
        "if lacking := indices_without_result(array, parts):",
        "if lacking := []:",
        ("tests/unit/arrays/test_progress.py",),
    ),
    Mutant(
        "a silent rule by tags goes by the tags that Batch shows",
        "arrays/workflow.py",
        "if progress.is_done(array, parts) and not self.policy.silence_depends_on_tags:",
        "if progress.is_done(array, parts):",
        ("tests/unit/use_cases/test_job_events.py",),
    ),
    Mutant(
        "no stop of an array is announced while an operator holds the watchdog",
        "arrays/rules.py",
        "if held and stopping.array.rest_stopped_at != array.rest_stopped_at:",
        "if False:",
        ("tests/unit/arrays/test_rules.py",),
    ),
    Mutant(
        "an array's tags are those of now",
        "arrays/progress.py",
        'tags=array.tags if detail.get("tags") is None else _own(job.tags),',
        "tags=array.tags,",
        ("tests/unit/arrays/test_progress.py",),
    ),
    Mutant(
        "children are not stopped while an operator holds the watchdog",
        "arrays/workflow.py",
        "if not held and array_rules",
        "if array_rules",
        ("tests/unit/use_cases/test_job_events.py",),
    ),
    Mutant(
        "an array that was announced is not taken in again",
        "arrays/workflow.py",
        ("        if known and known.announced:\n            return Outcome()\n"),
        "",
    ),
    Mutant(
        "an announced array is not asked for again",
        "arrays/workflow.py",
        "if known is None or known.announced:",
        "if known is None:",
        ("tests/unit/use_cases/test_job_events.py",),
    ),
    Mutant(
        "the announcement and the state that says so are one write",
        "arrays/workflow.py",
        "told = replace(array, announced=True)",
        "told = array",
    ),
    Mutant(
        "a new array is reminded of",
        "arrays/workflow.py",
        "reminders = [] if known else [reminder_items.put(reminder([array.job_id], now))]",
        "reminders = [] if True else [reminder_items.put(reminder([array.job_id], now))]",
    ),
    Mutant(
        "what events did not tell of failures is asked for",
        "arrays/workflow.py",
        "return self.announce(array, self._filled(array, parts) if detail else parts, now)",
        "return self.announce(array, parts, now)",
    ),
    Mutant(
        "a part that is complete is looked at",
        "arrays/workflow.py",
        "if array != known or any(progress.may_be_done(array, part) for part in parts.values()):",
        "if array != known:",
        ("tests/unit/use_cases/test_job_events.py",),
    ),
    Mutant(
        "a part that has changed is written",
        "arrays/workflow.py",
        "if part != before[number]:",
        "if part == before[number]:",
        ("tests/unit/use_cases/test_job_events.py",),
    ),
    Mutant(
        "an array is done when all failures that Batch counts are known",
        "arrays/progress.py",
        "return failed == array.failed_by_batch",
        "return True",
    ),
    Mutant(
        "an array is done when all its indices are counted",
        "arrays/progress.py",
        "return sum(part.counted() for part in parts) >= array.size",
        "return sum(part.counted() for part in parts) >= array.size - 1",
        ("tests/unit/arrays/test_progress.py",),
    ),
    Mutant(
        "only children that have ended are counted",
        "arrays/progress.py",
        ("        if not change.ended:\n            continue\n"),
        "",
        ("tests/unit/arrays/test_progress.py",),
    ),
    Mutant(
        "a child that succeeded has succeeded",
        "arrays/progress.py",
        'if change.status == "SUCCEEDED":',
        'if change.status == "FAILED":',
    ),
    Mutant(
        "the rest of an array is stopped only while the rule says so",
        "arrays/rules.py",
        "if not rule.stop_rest_when.is_met(failed=failed, ended=succeeded + failed):",
        "if False:",
        (
            "tests/unit/arrays/test_rules.py",
            "tests/unit/actions/test_stop_rules.py",
        ),
    ),
)
