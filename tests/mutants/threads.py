"""Rules of threads broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_RULES = ("tests/unit/threads/test_rules.py",)
_STORMS = ("tests/integration/test_many_notices.py",)

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "what follows on the same cause is collected",
        "threads/rules.py",
        "if is_new or (sort and sort not in told and _has_room(notice, told)):",
        "if True:",
        _RULES,
    ),
    Mutant(
        "a guard that becomes harder is told at once",
        "threads/rules.py",
        "return f\"{notice.kind}:{notice.facts.get('stage', '')}\"",
        "return notice.kind",
        _RULES,
    ),
    Mutant(
        "troubles are told at once, but not without end",
        "threads/rules.py",
        "return len(told) < (_THRESHOLDS_MAX if notice.kind in _OF_BUDGETS else _NEWS_MAX)",
        "return True",
        _RULES,
    ),
    Mutant(
        "windows grow while the storm lasts",
        "threads/rules.py",
        "window = min(2 * self.window, max(LONGEST, self.window))",
        "window = self.window",
        _RULES,
    ),
    Mutant(
        "a thread with something in it is not over",
        "threads/rules.py",
        "return self.closes_at <= now and not self.collected.count",
        "return self.closes_at <= now",
        _RULES,
    ),
    Mutant(
        "the groups of what is collected are bounded",
        "threads/rules.py",
        "key = new.key if new.key in groups or len(groups) < GROUPS_MAX else _OTHERS.key",
        "key = new.key",
        _RULES,
    ),
    Mutant(
        "the threads of a kind that begin in an hour are bounded",
        "threads/items.py",
        "if key not in self._began and len(self._began) >= THREADS_MAX:",
        "if False:",
        _STORMS,
    ),
    Mutant(
        "what is collected is told when the window closes",
        "threads/workflow.py",
        "effects=[Announce(notices=(digest(thread),))],",
        "effects=[],",
        _STORMS,
    ),
    Mutant(
        "what was told in a digest is not told by the next one",
        "threads/rules.py",
        "closes_at=now + window, collected=Collected())",
        "closes_at=now + window)",
        _STORMS,
    ),
    Mutant(
        "what is collected is not told at once as well",
        "threads/workflow.py",
        "return [each for each in notices if not ({each.id, rules.key_of(each)} & folded.keys())]",
        "return list(notices)",
        _STORMS,
    ),
)
