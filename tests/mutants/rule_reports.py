"""Rules of the rules' reports broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_FOLLOWED = ("tests/unit/rule_reports/test_followed.py",)
_TALLIES = ("tests/unit/rule_reports/test_tallies.py",)
_REPORTS = ("tests/unit/rule_reports/test_rule_reports.py",)
_FOLLOWING = ("tests/unit/rule_reports/test_following.py",)

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "a run before the wait is another",
        "rule_reports/followed.py",
        "begun = [run.start for run in runs if run.start >= since]",
        "begun = [run.start for run in runs if run.start]",
        _FOLLOWED,
    ),
    Mutant(
        "a job that started while it was decided on has gone on",
        "rule_reports/followed.py",
        "since = to_ms(followed.since)",
        "since = to_ms(followed.decided_at)",
        _FOLLOWED,
    ),
    Mutant(
        "a job that is being retried after a long run is open",
        "rule_reports/followed.py",
        """if not job.ended:
        return None
    decided""",
        """if not job.ended and all(not run.stop for run in runs):
        return None
    decided""",
        _FOLLOWED,
    ),
    Mutant(
        "a job that succeeds by a retry did so when that ended",
        "rule_reports/followed.py",
        "to_time(max(run.stop for run in runs))",
        "to_time(latest.stop)",
        _FOLLOWED,
    ),
    Mutant(
        "a run lasted until it was over, and not until a retry was",
        "rule_reports/followed.py",
        "return self.run_over or self.at",
        "return self.at",
        _TALLIES,
    ),
    Mutant(
        "a stop of ours is told apart",
        "rule_reports/followed.py",
        'return End(how="stopped" if job.reason.startswith(STOP_MARK) else "ended", at=at)',
        'return End(how="ended", at=at)',
        _FOLLOWED,
    ),
    Mutant(
        "what is not known to have ended is open",
        "rule_reports/tally.py",
        "return self.passed - self.went_on - self.ended - self.stopped - self.unknown",
        "return self.passed - self.went_on - self.ended - self.stopped",
        _TALLIES,
    ),
    Mutant(
        "the soonest of two tallies is that of both",
        "rule_reports/tally.py",
        "soonest = min(self.soonest, other.soonest)",
        "soonest = self.soonest",
        _TALLIES,
    ),
    Mutant(
        "an end before the decision takes no time",
        "rule_reports/tally.py",
        "lasted = max(0, round(",
        "lasted = max(-(10**9), round(",
        _TALLIES,
    ),
    Mutant(
        "a rule is not safe as long as something is open",
        "rule_reports/rules.py",
        "self.judged.passed and not self.judged.still_open and not self.judged.unknown",
        "self.judged.passed and not self.judged.unknown",
        _REPORTS,
    ),
    Mutant(
        "a rule is not safe as long as something is unknown",
        "rule_reports/rules.py",
        "self.judged.passed and not self.judged.still_open and not self.judged.unknown",
        "self.judged.passed and not self.judged.still_open",
        _REPORTS,
    ),
    Mutant(
        "a rule that has stopped nobody is not proven to be safe",
        "rule_reports/rules.py",
        "self.judged.passed and not self.judged.still_open and not self.judged.unknown",
        "not self.judged.still_open and not self.judged.unknown",
        _REPORTS,
    ),
    Mutant(
        "a rule is judged by four weeks",
        "rule_reports/rules.py",
        "for back in range(WEEKS)",
        "for back in range(WEEKS + 1)",
        _REPORTS,
    ),
    Mutant(
        "a rule is not safe before the policy has had it for a day",
        "rule_reports/rules.py",
        'return "safe" if is_known and self.has_lasted else "not-known"',
        'return "safe" if is_known else "not-known"',
        _REPORTS,
    ),
    Mutant(
        "a limit that the policy has no more is not safe",
        "rule_reports/rules.py",
        "return self.lasted is not None and self.lasted >= JUDGED_AFTER",
        "return self.lasted is None or self.lasted >= JUDGED_AFTER",
        _REPORTS,
    ),
    Mutant(
        "a report says since when it has looked",
        "rule_reports/rules.py",
        "return max(self.first, has.astimezone(UTC).date()) if has else self.first",
        "return self.first",
        _REPORTS,
    ),
    Mutant(
        "a rule that nobody has passed is as new as its newest limit",
        "rule_reports/rules.py",
        "since[key.rule] = max(span.since(key), since.get(key.rule, span.first))",
        "since[key.rule] = since.get(key.rule, span.since(key))",
        _REPORTS,
    ),
    Mutant(
        "a limit by cause is a limit of its own",
        "rule_reports/rules.py",
        "for after in {limit.after, *limit.after_by_cause.values()} if limit else ():",
        "for after in {limit.after} if limit else ():",
        _REPORTS,
    ),
    Mutant(
        "since when the policy has a limit is kept",
        "rule_reports/tally_items.py",
        "since = {_sk(key): self.has(key) or now for key in limits}",
        "since = {_sk(key): now for key in limits}",
        _FOLLOWING,
    ),
    Mutant(
        "a new policy is seen at once",
        "rule_reports/workflow.py",
        "is_kept = last is not None and last.policy == self.policy.version",
        "is_kept = True",
        _FOLLOWING,
    ),
    Mutant(
        "a policy that cannot be read has lost no limit",
        "rule_reports/workflow.py",
        "            if self.policy.readable:",
        "            if True:",
        _FOLLOWING,
    ),
    Mutant(
        "a longer limit is longer than the longest wait",
        "rule_reports/rules.py",
        "return timedelta(hours=self.judged.longest // _HOUR + 1)",
        "return timedelta(hours=self.judged.longest // _HOUR)",
        _REPORTS,
    ),
    Mutant(
        "only what has ended is said to be stopped",
        "rule_reports/notices.py",
        'enforced = sum(each.week.stopped for each in reports if each.key.mode == "enforce")',
        'enforced = sum(each.week.passed for each in reports if each.key.mode == "enforce")',
        _REPORTS,
    ),
    Mutant(
        "an end is counted once",
        "rule_reports/workflow.py",
        "fresh = remembered.fresh(some)",
        "fresh = list(dict.fromkeys(some))",
        _FOLLOWING,
    ),
    Mutant(
        "a job that Batch does not show is asked for again",
        "rule_reports/workflow.py",
        "if not _is_whole(detail) and job.missed < MISSED_MAX:",
        "if False:",
        _FOLLOWING,
    ),
    Mutant(
        "an end that does not show whether the job had run is asked for again",
        "rule_reports/workflow.py",
        'return detail.get("status") not in ENDED or shows_its_attempts(detail)',
        "return True",
        _FOLLOWING,
    ),
    Mutant(
        "jobs that could not be asked for wait",
        "rule_reports/workflow.py",
        "self._file(dict.fromkeys(some, self.now))",
        "pass",
        _FOLLOWING,
    ),
    Mutant(
        "a check of followed jobs asks AWS Batch nothing more when the time is up",
        "aws/batch.py",
        "if begun and out_of_time():",
        "if False:",
        _FOLLOWING,
    ),
    Mutant(
        "a check of followed jobs asks AWS Batch once even without any time",
        "aws/batch.py",
        "if begun and out_of_time():",
        "if out_of_time():",
        _FOLLOWING,
    ),
    Mutant(
        "followed jobs that there was no time to check are left to the next sweep",
        "rule_reports/workflow.py",
        "return done",
        "return len(jobs)",
        _FOLLOWING,
    ),
    Mutant(
        "followed jobs are described many at a time though there are service jobs among them",
        "rule_reports/follow_items.py",
        "(each.service, each.about, each.key.mode)",
        "(each.about, each.key.mode)",
        _FOLLOWING,
    ),
    Mutant(
        "a week is reported once",
        "rule_reports/workflow.py",
        "put = tally_items.put_last(replace(last, week=max(week, last.week)))",
        "put = tally_items.put_last(replace(last, week=last.week))",
        _FOLLOWING,
    ),
    Mutant(
        "the first sweep ever reports nothing",
        "rule_reports/workflow.py",
        "notice = self._notice(last) if last.week < week else None",
        "notice = self._notice(last) if last.week < week or not known else None",
        _FOLLOWING,
    ),
    Mutant(
        "a stop that is tried again is counted once",
        "limits/decisions.py",
        "return self.exempts or (passes and not (self.stop and self.case.stay.stops))",
        "return self.exempts or passes or self.stop is not None",
        _FOLLOWING,
    ),
    Mutant(
        "an exempt job counts when it passes its limit",
        "limits/stay_check.py",
        "if case.lasted < after:",
        "if True:",
        _FOLLOWING,
    ),
    Mutant(
        "an exempt job does not count before it passes its limit",
        "limits/stay_check.py",
        "if case.lasted < after:",
        "if False:",
        _FOLLOWING,
    ),
)
