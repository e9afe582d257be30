"""Rules of failed_jobs broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "our own stops are no news",
        "failed_jobs/notices.py",
        (
            "    return (\n"
            '        event.status == "FAILED"\n'
            '        and event.kind in ("single", "multi-node", "service")\n'
            "        and not event.reason.startswith(STOP_MARK)\n"
            "    )\n"
        ),
        (
            '    return event.status == "FAILED" and event.kind in ("single", "multi-node", "service")\n'
        ),
        ("tests/unit/use_cases/test_job_events.py",),
    ),
    Mutant(
        "a failure that others follow is kept back",
        "failed_jobs/chains.py",
        (
            "    return frozenset("
            "event.job_id for event in failures if event.followed or event.job_id in blamed)\n"
        ),
        ("    return frozenset(event.job_id for event in failures if event.followed)\n"),
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "a chain is told when it is over",
        "failed_jobs/workflow.py",
        "if chains.may_go_on(chain, later.keys(), self.now)",
        "if False",
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "a chain that is kept back is told in the end",
        "failed_jobs/workflow.py",
        "return Outcome(puts=puts, effects=[announce] if notices else [])",
        "return Outcome(puts=puts)",
    ),
    Mutant(
        "a chain is told once",
        "failed_jobs/workflow.py",
        "return Outcome(puts=puts, effects=[announce] if notices else [])",
        "return Outcome(effects=[announce] if notices else [])",
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "a failure that was told with its chain is not told again with more of it",
        "failed_jobs/workflow.py",
        "unannounced = (chains.narrowed(chain, fresh) for chain in found)",
        "unannounced = (chains.narrowed(chain, job_ids) for chain in found)",
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "what fell with a job that one of us stopped says so",
        "failed_jobs/notices.py",
        'stopper = stopper_in(known.reason) if known else ""',
        'stopper = ""',
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "an array that fell with a job is told with it",
        "arrays/workflow.py",
        "if self.policy.notify.job_failures and fell_with_another(array, parts):",
        "if False:",
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "an array of which a child succeeded has an end of its own",
        "arrays/fallen.py",
        'if array.summary.get("SUCCEEDED") or any(SUCCEEDED_CODE in part.outcomes for part in parts):',
        "if False:",
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "a failure by which an array falls is kept back for it",
        "use_cases/job_events.py",
        "held = chains.held([*news.values(), *fallen])",
        "held = chains.held(news.values())",
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "a failed service job is told as one",
        "failed_jobs/notices.py",
        '**({"service": True} if event.kind == "service" else {}),',
        "",
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "of a text that is too long both ends are kept",
        "failed_jobs/items.py",
        "reason=middle(event.reason, FACT_MAX),",
        "reason=event.reason[:FACT_MAX],",
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "one job that never began is one",
        "failed_jobs/notices.py",
        "*_why_not_begun(blamed, known, stopper, len(followers)),",
        "*_why_not_begun(blamed, known, stopper, 2),",
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
    Mutant(
        "one follower is one",
        "failed_jobs/notices.py",
        'counted(followers, "and {n} that depends on it", "and {n} that depend on it")',
        'counted(followers, "and {n} that depend on it", "and {n} that depend on it")',
        ("tests/unit/failed_jobs/test_chains.py",),
    ),
)
