"""Rules of use_cases broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "the sweep asks for arrays in the next minute too",
        "use_cases/sweep.py",
        "Reminders(self.table).file([reminder(open_ids, now)])",
        "pass",
    ),
    Mutant(
        "a job that a late sweep finds is known since the answer that shows it",
        "use_cases/sweep.py",
        ("            policy=self.limits.policy,\n            clock=self.clock,\n"),
        ("            policy=self.limits.policy,\n            clock=lambda: self.limits.now,\n"),
        ("tests/integration/test_slices.py",),
    ),
    Mutant(
        "a new policy counts for jobs that wait",
        "use_cases/sweep.py",
        "if progress.cursor.policy == version and not progress.cursor.refiling:",
        "if True:",
    ),
    Mutant(
        "what was stopped is looked at in its time, whatever the policy",
        "use_cases/sweep.py",
        "if (entry.minute, entry.key, row.number) > place and not row.content.awaits_stop",
        "if (entry.minute, entry.key, row.number) > place",
        ("tests/integration/test_limits.py",),
    ),
    Mutant(
        "messages that lost a race come again",
        "use_cases/job_events.py",
        "return [message_id for job_id in lost for message_id in by_array[job_id]]",
        "return []",
        ("tests/unit/use_cases/test_job_events.py",),
    ),
    Mutant(
        "what cannot be understood is kept",
        "use_cases/job_events.py",
        "self.dead_letters.keep(message.body, str(error))",
        "pass",
    ),
    Mutant(
        "a stop that comes late is decided anew",
        "use_cases/act.py",
        "if self.clock() > asked_at + _STALE:",
        "if False:",
        ("tests/unit/use_cases/test_act.py",),
    ),
    Mutant(
        "a stop of an older version is not carried out blindly",
        "use_cases/act.py",
        "if not stop_rules.says_on_what_it_rests(stop):",
        "if False:",
        ("tests/unit/use_cases/test_act.py",),
    ),
    Mutant(
        "a stop that ran out of time goes on where it ended",
        "use_cases/act.py",
        "Actions(self.table).keep(action, progress)",
        "pass",
        ("tests/unit/use_cases/test_act.py",),
    ),
    Mutant(
        "a refused update of a queue is kept",
        "use_cases/act.py",
        "self._remember(effect, why=why, refused=True, call=call)",
        "pass",
        ("tests/unit/use_cases/test_act.py",),
    ),
    Mutant(
        "a queue whose closing was refused is not reopened",
        "use_cases/act.py",
        "if known and known.refused and (known.effect.state, effect.state) == _NEVER_CLOSED:",
        "if False:",
        ("tests/unit/use_cases/test_act.py",),
    ),
    Mutant(
        "before a call is repeated, its refusal does not count any more",
        "use_cases/act.py",
        "update = replace(known, refused=False, calls=known.calls + 1)",
        "update = replace(known, calls=known.calls + 1)",
        ("tests/unit/use_cases/test_act.py",),
    ),
    Mutant(
        "what arrives while no policy can be read is kept",
        "use_cases/spend_alarm.py",
        "if not policy.readable:",
        "if False:",
        ("tests/integration/test_unreadable_policies.py",),
    ),
    Mutant(
        "an entry that is seen to in part goes on there",
        "use_cases/sweep.py",
        "yield from (row for row in _rows_of(entry) if row.number > done)",
        "yield from (row for row in _rows_of(entry))",
        ("tests/integration/test_slices.py",),
    ),
    Mutant(
        "a sweep keeps what it has done",
        "use_cases/sweep_progress.py",
        "if self.unsaved >= _UNSAVED_MAX or self.clock() - self.saved_at >= _UNSAVED_FOR:",
        "if False:",
        ("tests/integration/test_slices.py",),
    ),
    Mutant(
        "a listing goes on at its page",
        "use_cases/sweep.py",
        "for place in discovery.go_on(listing.place):",
        "for place in discovery.go_on(None):",
        ("tests/integration/test_slices.py",),
    ),
    Mutant(
        "a new policy goes on where it stopped",
        "use_cases/sweep.py",
        "refiling = progress.cursor.refiling",
        "refiling = None",
        ("tests/integration/test_slices.py",),
    ),
    Mutant(
        "what moves on is noted",
        "use_cases/job_events.py",
        "sighting_items.file(self.table, stays.sightings(changes, sent_at), sent_at)",
        "pass",
        ("tests/integration/test_limit_stays.py",),
    ),
    Mutant(
        "a message that raises nothing is passed on, once",
        "use_cases/spend_alarm.py",
        "if not decision.to_tell:",
        "if True:",
        ("tests/integration/test_guards.py",),
    ),
)
