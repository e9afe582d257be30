"""Rules of blocked_queues broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "a head that no notice named is announced when it blocks alone",
        "blocked_queues/rules.py",
        "not (self.told and any(head.named for head in blocking))",
        "not self.told",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "a late event of another job is not dropped",
        "blocked_queues/rules.py",
        "if known and event.job_id in heads and event.at <= heads[event.job_id].at:",
        "if known and event.at <= known.latest:",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "SCHEDULED is not started",
        "blocked_queues/notices.py",
        "        case _ if head.reason in STARTED:\n",
        "        case _ if head.reason:\n",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "a queue is blocked while one of its heads is",
        "blocked_queues/rules.py",
        "return replace(blockage, heads=heads, over=all(head.outcome for head in heads))",
        "return replace(blockage, heads=heads, over=any(head.outcome for head in heads))",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "a job that the watchdog cancelled has not gone on",
        "blocked_queues/rules.py",
        "if job.reason.startswith(STOP_MARK):",
        "if False:",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "of too many heads those that still block are kept",
        "blocked_queues/rules.py",
        "latest = sorted(heads.values(), key=lambda head: (not head.outcome, head.at), reverse=True)",
        "latest = sorted(heads.values(), key=lambda head: head.at, reverse=True)",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "who of us cancelled the job that blocked a queue is named",
        "blocked_queues/notices.py",
        'if head.outcome == "cancelled-by-watchdog")',
        "if False)",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "one answer without a job does not end what it blocks",
        "blocked_queues/rules.py",
        "if head.missed < MISSED_MAX:",
        "if False:",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "only looks in a row at which a job is missing count",
        "blocked_queues/rules.py",
        "    head = replace(head, missed=0)\n",
        "",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "a notice waits until all that it names are shown",
        "blocked_queues/rules.py",
        "if not blocking or self.is_unsure:",
        "if not blocking or all(head.missed for head in blocking):",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "a queue whose job was not shown is asked about a minute later",
        "blocked_queues/workflow.py",
        "reminder_items.MINUTE if seen.is_unsure else _ASKED_AGAIN",
        "_ASKED_AGAIN",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
)
