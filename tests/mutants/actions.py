"""Rules of actions broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "a job that waits again after the decision is not terminated",
        "actions/stop_rules.py",
        "if stop.escalates and seen > since:",
        "if False:",
        ("tests/unit/actions/test_stop_rules.py",),
    ),
    Mutant(
        "that a job waited before it started is known to those who asked",
        "use_cases/act.py",
        'if not stop.escalates or (each.status == "RUNNABLE" and each.at >= asked_at)',
        'if not stop.escalates or each.status == "RUNNABLE"',
        ("tests/integration/test_stop_results.py",),
    ),
    Mutant(
        "an exempted job is not stopped by a limit",
        "actions/stop_rules.py",
        "if {job.job_id, job.parent_id} & set(grounds.exempt):",
        "if False:",
        ("tests/unit/actions/test_stop_rules.py",),
    ),
    Mutant(
        "a job of which a name is shown empty is not stopped",
        "core/payload_parts.py",
        '_NOTHING = (None, "")',
        "_NOTHING = (None,)",
        ("tests/unit/actions/test_stop_rules.py",),
    ),
    Mutant(
        "a job that is shown in part is not stopped",
        "actions/stop_rules.py",
        "if not shows(detail, named_by):",
        "if False:",
        ("tests/unit/actions/test_stop_rules.py",),
    ),
    Mutant(
        "a stay that has ended since does not count for the one after",
        "actions/stop_rules.py",
        "    since = max(since, seen)\n",
        "",
        ("tests/unit/actions/test_stop_rules.py",),
    ),
    Mutant(
        "an action without a result is found",
        "actions/unfinished.py",
        'lacking = [_unfinished(item) for item in some if "result" not in item]',
        'lacking = [_unfinished(item) for item in some if "body" not in item]',
        ("tests/unit/actions/test_unfinished.py",),
    ),
    Mutant(
        "an action that may still be filed is not passed over",
        "actions/unfinished.py",
        "return iso(min(self.now - _AGE, swept))",
        "return iso(self.now - _AGE)",
        ("tests/unit/actions/test_unfinished.py",),
    ),
    Mutant(
        "a lost action is tried at growing distances",
        "actions/unfinished.py",
        'return Unfinished(sk=str(item["sk"]), due_at=at + _AGE * 2**tries)',
        'return Unfinished(sk=str(item["sk"]), due_at=at + _AGE)',
        ("tests/unit/actions/test_unfinished.py",),
    ),
    Mutant(
        "an action that cannot be read keeps no other waiting",
        "actions/unfinished.py",
        "except ITEM_ERRORS as error:  # The sweep raises it, when it has seen to all others.",
        "except RecursionError as error:  # The sweep raises it, when it has seen to all others.",
        ("tests/unit/actions/test_unfinished.py",),
    ),
)
