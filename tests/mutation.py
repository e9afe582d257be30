"""
Rules broken on purpose, one at a time, in a copy of the tree: the simulation must object, or tests.

A break that nobody notices means that the rule rests on nothing. One whose text is no longer
found must be brought up to date. Run by `make mutate`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.table import Table
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
_CORE = "layers/watchdog/batch_watchdog"
_COPIED = (
    "layers", "functions", "local", "tests", "events",
    "template.yaml", "pyproject.toml",
)  # fmt: skip
_HISTORIES = 300
_BROKEN = "broken by "  # So the simulation tells of a history.
_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    `rule` is the rule that is broken.

    `tests` are files for pytest, for what the simulation need not notice: what others make good,
    and what takes more jobs than a history has.
    """

    rule: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()


def _unit(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/unit/test_{name}.py" for name in names)


def _contract(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/contract/test_{name}.py" for name in names)


_LIMITS = ("tests/integration/test_limits.py",)

MUTANTS: Sequence[Mutant] = (
    # ---- Arrays ---------------------------------------------------------------------------
    Mutant(
        "an array that was announced is not taken in again",
        "array_watch.py",
        "        if known and known.announced:\n            return Outcome()\n",
        "",
    ),
    Mutant(
        "an announced array is not asked for again",
        "array_watch.py",
        "if known is None or known.announced:",
        "if known is None:",
        _unit("observe"),
    ),
    Mutant(
        "the announcement and the state that says so are one write",
        "array_watch.py",
        "told = replace(array, announced=True)",
        "told = array",
    ),
    Mutant(
        "a new array is reminded of",
        "array_watch.py",
        "reminders = [] if known else [wheel",
        "reminders = [] if True else [wheel",
    ),
    Mutant(
        "what events did not tell of failures is asked for",
        "array_watch.py",
        "self._filled(array, parts) if detail else parts",
        "parts",
    ),
    Mutant(
        "a part that is complete is looked at",
        "array_watch.py",
        "if array != known or any(arrays.may_be_done(array, part) for part in parts.values()):",
        "if array != known:",
        _unit("observe"),
    ),
    Mutant(
        "a part that has changed is written",
        "array_watch.py",
        "if part != before[number]:",
        "if part == before[number]:",
        _unit("observe"),
    ),
    Mutant(
        "an array is done when all failures that Batch counts are known",
        "arrays.py",
        "return failed == array.failed_by_batch",
        "return True",
    ),
    Mutant(
        "an array is done when all its indices are counted",
        "arrays.py",
        "sum(part.counted() for part in parts) >= array.size",
        "sum(part.counted() for part in parts) >= array.size - 1",
        _unit("arrays"),
    ),
    Mutant(
        "only children that have ended are counted",
        "arrays.py",
        "        if not change.ended:\n            continue\n",
        "",
        _unit("arrays"),
    ),
    Mutant(
        "a child that succeeded has succeeded",
        "arrays.py",
        'if change.status == "SUCCEEDED":',
        'if change.status == "FAILED":',
    ),
    Mutant(
        "the sweep asks for arrays in the next minute too",
        "sweep.py",
        "            Wheel(self.table).file([reminder(some, now)])",
        "            pass",
    ),
    # ---- Limits ---------------------------------------------------------------------------
    Mutant(
        "a stay begins when the event says, and no later than now",
        "limits.py",
        "since = min(change.at, now)",
        "since = change.at",
    ),
    Mutant(
        "a stay counts from its beginning, not from the last attempt's",
        "limits.py",
        "since = max(stay.since, job.attempt_stopped_at or stay.since)",
        "since = stay.since - timedelta(minutes=3)",
    ),
    Mutant(
        "the same state and the same attempt are the same stay",
        "limits.py",
        "return (job.status, job.attempts) == (stay.status, stay.attempts)",
        "return job.status == stay.status",
        _LIMITS,
    ),
    Mutant(
        "a stay that is over is left alone",
        "limits.py",
        "return (job.status, job.attempts) == (stay.status, stay.attempts)",
        "return True",
    ),
    Mutant(
        "nobody is stopped before the whole limit has passed",
        "limits.py",
        "if after is not None and lasted >= after:",
        "if after is not None and lasted >= after / 2:",
    ),
    Mutant(
        "a limit that has passed is enforced",
        "limits.py",
        "if after is not None and lasted >= after:",
        "if after is not None and lasted >= 2 * after:",
    ),
    Mutant(
        "a limit in observe mode stops nobody",
        "limits.py",
        'return self.limit.mode == "enforce" and self.limit.action != "warn"',
        'return self.limit.action != "warn"',
    ),
    Mutant(
        "who is looked at too soon is looked at again",
        "limit_watch.py",
        "again_in=limit.first_due - lasted)",
        "again_in=None)",
    ),
    Mutant(
        "who was exempted by an operator is not looked at",
        "limit_watch.py",
        "return self._exempted(job) or look(stay, job, detail)",
        "return look(stay, job, detail)",
    ),
    Mutant(
        "who is exempt by a tag has no limit",
        "policy.py",
        "if status not in LIMITED or is_exempt(job.tags):",
        "if status not in LIMITED:",
    ),
    Mutant(
        "a job found waiting begins its stay when it is found",
        "limit_watch.py",
        "    return max(now, proven or now)",
        "    return proven or now",
    ),
    Mutant(
        "jobs that no event told of are found",
        "limit_watch.py",
        'if (job_id, detail["status"], len(made)) not in known:',
        "if False:",
    ),
    Mutant(
        "a sweep that comes late counts from what Batch proves",
        "limit_watch.py",
        "    return max(now, proven or now)",
        "    return now",
    ),
    Mutant(
        "a stop is decided once",
        "store/ledger.py",
        "if entry.digest not in seen:",
        "if True:",
    ),
    Mutant(
        "the wheel is read from the cursor on",
        "store/cursor.py",
        "minute = now if all_of_them else self.minute",
        "minute = now + LOOKBACK",
    ),
    Mutant(
        "a minute that is over gets no more reminders",
        "store/stays.py",
        "by_minute[max(minute_from(at), soonest)].add(stay)",
        "by_minute[minute_from(at)].add(stay)",
    ),
    Mutant(
        "a new policy counts for jobs that wait",
        "sweep.py",
        "if is_new and cursor.policy:",
        "if False:",
    ),
    Mutant(
        "what was stopped is looked at in its time, whatever the policy",
        "sweep.py",
        "limits.see_to(stay for stay in ahead if not stay.stops)",
        "limits.see_to(ahead)",
        _LIMITS,
    ),
    Mutant(
        "the brake holds",
        "store/brake.py",
        "allowed = max(0, min(wanted, most - sum(used.values())))",
        "allowed = wanted",
        _LIMITS,
    ),
    # ---- Guards ---------------------------------------------------------------------------
    Mutant(
        "an older word about money changes nothing",
        "guard.py",
        "if signal not in known or _order(heard) > _order(known[signal])",
        "if True",
    ),
    Mutant(
        "a harder stage is entered, a milder one is not",
        "guard.py",
        "if hardness(stage.action) <= hardness(in_force(moment.state, moment.mode)):",
        "if False:",
        _unit("guard"),
    ),
    Mutant(
        "a guard is released when all its alarms are OK",
        "guard.py",
        "if left := ringing(state, rule, moment.now):",
        "if left := frozenset():",
    ),
    Mutant(
        "what an alarm told is remembered, though nothing follows from it",
        "guard_watch.py",
        "if decision.state == state and not decision.effects:",
        "if not decision.effects:",
    ),
    Mutant(
        "a guard in observe mode closes nothing",
        "guard.py",
        "or not is_enforced(state.entry, moment.mode)",
        "",
        _unit("guard"),
    ),
    Mutant(
        "queues that were closed already are not taken for the guard's own",
        "stop_run.py",
        'if each.get("state") == "ENABLED"]',
        "]",
    ),
    Mutant(
        "a release opens what the guard closed",
        "guard.py",
        "return [queue for queue in self.state.closed if queue not in self.held][:_QUEUES_AT_ONCE]",
        "return []",
    ),
    Mutant(
        "entering a stage starts its run",
        "guard_watch.py",
        "puts.append(run_store.put(runs.begin(name, entry, self.now), self.now))",
        "pass",
    ),
    Mutant(
        "a run that stands still is started again",
        "guard_watch.py",
        "if run is None or runs.is_over(run) or self.now < run.due_at:",
        "if True:",
    ),
    Mutant(
        "a run is that of the current stage",
        "guard.py",
        "return state.entry is not None and state.entry.run_id == run_id",
        "return state.entry is not None",
        _unit("guard"),
    ),
    Mutant(
        "a run that observes only counts",
        "runs.py",
        'observing=entry.mode == "observe",',
        "observing=False,",
    ),
    Mutant(
        "ids are written down before they are stopped",
        "stop_run.py",
        "        self._save(chunk)\n        if must_stop:\n"
        "            self._stop_chunk(replace(chunk, version=1), found.judged_at)\n",
        "        if must_stop:\n            self.runner.batch.stop_some(chunk.how, chunk.stop[:50], "
        "chunk.reason, service=chunk.service)\n"
        "        self._save(chunk)\n",
    ),
    Mutant(
        "what is spared is not stopped",
        "runs.py",
        '    if rule.spares(job):\n        return "spared"\n',
        "",
    ),
    Mutant(
        "at cancel, what has started is left to run",
        "holds.py",
        'return status in WAITING or (action == "terminate" and status in STARTED)',
        "return status in WAITING or status in STARTED",
    ),
    Mutant(
        "a run leaves to run what has started, at cancel",
        "runs.py",
        'if action == "cancel" and not waiting:',
        "if False:",
    ),
    Mutant(
        "what arrives while a stage is on is stopped",
        "arrival_watch.py",
        'if held and held.mode == "enforce" and entry and change.at >= _second(entry.since):',
        "if False:",
    ),
    Mutant(
        "what arrives under a guard that observes is not stopped",
        "arrival_watch.py",
        'if held and held.mode == "enforce" and entry and change.at >= _second(entry.since):',
        "if held and entry and change.at >= _second(entry.since):",
    ),
    Mutant(
        "who is spared is not stopped on arrival",
        "policy.py",
        "if guard.covers(job) and not guard.spares(job))",
        "if guard.covers(job))",
    ),
    Mutant(
        "a run that comes back judges by the rules in force",
        "stop_run.py",
        'if (self.run.phase != "listing" or by_other_rules)',
        'if self.run.phase != "listing"',
        ("tests/integration/test_stop_runs.py",),
    ),
    # ---- Everything -----------------------------------------------------------------------
    Mutant(
        "state and actions are one write",
        "recorder.py",
        "self.table.write([*puts, *actions])",
        "self.table.write(puts)\n        self.table.write(actions)",
    ),
    Mutant(
        "a lost race is decided again",
        "recorder.py",
        "            except StaleItemError:\n                lost += chunk",
        "            except StaleItemError:\n                lost += []",
    ),
    Mutant(
        "messages that lost a race come again",
        "observe.py",
        "return [message_id for job_id in lost for message_id in by_array[job_id]]",
        "return []",
        _unit("observe"),
    ),
    Mutant(
        "what cannot be understood is kept",
        "observe.py",
        "self.dead_letters.keep(message.body, str(error))",
        "pass",
    ),
    Mutant(
        "a write is refused where the item has changed",
        "store/table.py",
        'if (known["version"] if known else 0) != put.read:',
        "if known and not put.read:",
    ),
    Mutant(
        "a filed reminder is there",
        "store/wheel.py",
        "return self._table.get(*new.key) is not None",
        "return True",
    ),
    Mutant(
        "an action's result is recorded",
        "act.py",
        "actions.record(action, result)",
        "pass",
    ),
    Mutant(
        "a stop that comes late is decided anew",
        "act.py",
        "if cursors.read(self.table, asked_at).minute > asked_at + _STALE:",
        "if False:",
        _unit("act"),
    ),
    Mutant(
        "one array that cannot be asked about keeps no other from being told",
        "recorder.py",
        "except UNDECIDABLE as error:",
        "except ZeroDivisionError as error:",
        _unit("recorder"),
    ),
    Mutant(
        "a failure is told once",
        "observe.py",
        "            return Outcome(puts=puts, effects=[announce] if notices else [])",
        "            return Outcome(effects=[announce] if notices else [])",
    ),
    Mutant(
        "our own stops are no news",
        "jobs.py",
        "        and not change.reason.startswith(STOP_MARK)\n",
        "",
        _unit("observe"),
    ),
    Mutant(
        "a bad policy changes nothing",
        "policies.py",
        '        text = unpack(item["body"]) if item else ""\n        return _Reading(',
        '        text = ""\n        return _Reading(',
    ),
    Mutant(
        "a bad policy is told",
        "policies.py",
        "        if not reading.problem:",
        "        if True:",
    ),
    Mutant(
        "at most 50 jobs a call",
        "batch_api.py",
        "STOP_MAX = 50",
        "STOP_MAX = 60",
        _unit("batch_api"),
    ),
    Mutant(
        "jobs that were throttled are stopped again",
        "batch_api.py",
        "left = [job for job, (code, _) in errors.items() if code in PASSING]",
        "left = []",
        _unit("batch_api"),
    ),
    # ---- Guards: evidence that ends, thresholds, stops at the second of the call ------------
    Mutant(
        "a budget's name means its 100 per cent",
        "guard.py",
        "return limit.percent >= _WHOLE and (stage.forecast or not evidence.forecasted)",
        "return stage.forecast or not evidence.forecasted",
        _unit("guard"),
    ),
    Mutant(
        "a budget's name means costs",
        "guard.py",
        "if limit is None or not limit.is_cost or limit.below or limit.percent is None:",
        "if limit is None or limit.percent is None:",
        _unit("guard"),
    ),
    Mutant(
        "a lower threshold is not the one that a stage names",
        "guard.py",
        "return given + slack >= wanted",
        "return True",
        _unit("guard"),
    ),
    Mutant(
        "an amount that may be read in two ways is not read",
        "amounts.py",
        """        if "." in number:
            return None
""",
        "",
        _unit("evidence"),
    ),
    Mutant(
        "amounts in two units are not compared",
        "evidence.py",
        "if whole is None or not whole.value or limit.unit.casefold() != whole.unit.casefold():",
        "if whole is None or not whole.value:",
        _unit("evidence"),
    ),
    Mutant(
        "evidence is over with its period",
        "guard.py",
        "        if not ((ends := _ends(signal, heard)) and ends <= now)\n",
        "",
        _unit("guard"),
    ),
    Mutant(
        "a message of a period that is over raises nothing",
        "guard.py",
        "(heard.ends and heard.ends <= moment.now) or",
        "",
        _unit("guard"),
    ),
    Mutant(
        "a guard is released when the period of its budget is over",
        "guard.py",
        "if is_over(state, rule, moment.now):",
        "if False:",
        _unit("guard"),
    ),
    Mutant(
        "a release ends what rang before it",
        "guard.py",
        'signal: replace(heard, over=heard.state == "ALARM")',
        "signal: heard",
        _unit("guard"),
    ),
    Mutant(
        "evidence that is older than an operator's release does not ring",
        "guard.py",
        "(released_at and heard.at <= released_at)",
        "False",
        _unit("guard"),
    ),
    Mutant(
        "a stage that an operator set does not become harder by time",
        "guard.py",
        "or state.entry.by or not ringing",
        "or not ringing",
        _unit("guard"),
    ),
    Mutant(
        "the time under a hold does not count",
        "guard.py",
        "at += end - max(begin, since)",
        "pass",
        _unit("guard"),
    ),
    Mutant(
        "a hold that is over is kept",
        "store/operator_hold.py",
        "return replace(OperatorHold(version=self.version), past=tuple(spans))",
        "return OperatorHold(version=self.version)",
        _unit("console"),
    ),
    Mutant(
        "a time to come counts as that of the arrival",
        "guard.py",
        "to_come = evidence.at > now + _CLOCKS_DIFFER",
        "to_come = False",
        _unit("guard"),
    ),
    Mutant(
        "a repeat of a time to come is known",
        "guard.py",
        "return replace(heard, said=heard.said or known.said) if known else heard",
        "return heard",
        _unit("guard"),
    ),
    Mutant(
        "a release reopens the queues of a guard that the policy has lost",
        "guard.py",
        'if self.mode == "observe" and not self.state.reopens:',
        'if self.mode == "observe":',
        _unit("guard"),
    ),
    Mutant(
        "a guard that the policy has lost is announced",
        "guard_watch.py",
        "if state.entry and not self.rule(name):",
        "if False:",
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "a message that raises nothing is passed on, once",
        "spend.py",
        "if not decision.to_tell:",
        "if True:",
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "a stop is not made under a hold that came between two calls",
        "stop_run.py",
        "if operator_hold.read(table).is_on:",
        "if False:",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "jobs of an earlier invocation are judged again",
        "stop_run.py",
        "upto=len(chunk.stop) if judged_at else chunk.asked,",
        "upto=len(chunk.stop),",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "jobs that were judged too long ago are judged again",
        "stop_run.py",
        "if self.now - judged.at > runs.JUDGED_FOR or stage.policy != judged.by:",
        "if stage.policy != judged.by:",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "accepted is not stopped",
        "run_tally.py",
        "        if job in self._alive:\n            return _Fate.NOT_ENDED\n",
        "",
        _unit("runs"),
    ),
    Mutant(
        "a stop that no look has followed is not known",
        "run_tally.py",
        "return _Fate.NOT_KNOWN if job in self._recent else fate",
        "return fate",
        _unit("runs"),
    ),
    Mutant(
        "jobs that do not end are looked for before the report",
        "runs.py",
        "return bool(run.accepted or (run.alive and not run.reported)) and run.look < LOOKS_MAX",
        "return bool(run.accepted) and run.look < LOOKS_MAX",
        _unit("runs"),
    ),
    Mutant(
        "jobs that do not end are announced",
        "stop_run.py",
        "trouble = None if self.run.warned else self._still_there(stage)",
        "trouble = None",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "what a late list shows is asked about",
        "stop_run.py",
        "if runs.must_be_sure(self.run):",
        "if False:",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "a job that succeeded in spite of its stop has escaped",
        "stop_run.py",
        "            self._ask_how_they_ended(stage)\n",
        "            pass\n",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "what very many guards stop on arrival fits into a write",
        "arrival_watch.py",
        "_RUNS_AT_ONCE = 40",
        "_RUNS_AT_ONCE = 400",
        _unit("arrivals"),
    ),
    Mutant(
        "a guard's stop is judged by the guard's stage of now",
        "holds.py",
        '    if rule.spares(job):\n        return "the guard spares the job"\n',
        "",
        _unit("guard"),
    ),
)


def main(arguments: Sequence[str]) -> int:
    """Break each rule; 1 if nobody noticed one, or its text is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once")
    parser.add_argument("--only", default="", help="only rules that hold this text")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    chosen = [each for each in MUTANTS if options.only in each.rule]
    outdated = [each for each in chosen if _source(ROOT, each).count(each.old) != 1]
    for each in outdated:
        console.print(f"the text is not found once in {each.file}: {each.rule}", markup=False)
    if outdated:
        return 1
    with tempfile.TemporaryDirectory() as folder, _copies(Path(folder), options.jobs) as copies:
        copy = copies.get()
        if _run(copy, ()).returncode:
            console.print("the simulation fails as it is, without any rule broken")
            return 1
        copies.put(copy)

        def seen(mutant: Mutant) -> tuple[Mutant, str]:
            copy = copies.get()
            try:
                caught = _caught(copy, mutant)
            finally:
                copies.put(copy)
            mark = "✓" if caught else "✗"
            console.print(f"{mark} {mutant.rule}: {caught}", markup=False, soft_wrap=True)
            return mutant, caught

        with ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(seen, chosen))
    console.print(_table(results))
    survived = [mutant for mutant, caught in results if not caught]
    by_simulation = sum(caught.startswith(_BROKEN) for _, caught in results)
    console.print(
        f"{len(results)} rules broken: {by_simulation} noticed by the simulation, "
        f"{len(results) - by_simulation - len(survived)} by tests, {len(survived)} by nobody"
    )
    return 1 if survived else 0


@contextmanager
def _copies(folder: Path, count: int) -> Iterator[SimpleQueue[Path]]:
    copies: SimpleQueue[Path] = SimpleQueue()
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for number in range(count):
        copy = folder / str(number) / "repository"
        copy.mkdir(parents=True)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=ignored)
            else:
                shutil.copy(source, copy / name)
        copies.put(copy)
    yield copies


def _source(root: Path, mutant: Mutant) -> str:
    return (root / _CORE / mutant.file).read_text(encoding="utf-8")


def _caught(copy: Path, mutant: Mutant) -> str:
    """What objects to the broken rule, the simulation first, or "" if nobody does."""
    path, text = copy / _CORE / mutant.file, _source(copy, mutant)
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        ended = _run(copy, ())
        if not ended.returncode and mutant.tests:
            ended = _run(copy, mutant.tests)
    finally:
        path.write_text(text, encoding="utf-8")
    lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    telling = ("FAILED", "ERROR", _BROKEN)
    at = next((n for n, line in enumerate(lines) if line.startswith(telling)), None)
    if ended.returncode == 0:
        return ""
    if at is None:  # It did not get so far as to fail in a test: then it did not run.
        return lines[-1] if lines else "no output"
    found = lines[at : at + 2] if lines[at].startswith(_BROKEN) else lines[at : at + 1]
    return " ".join(found)


def _run(copy: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    python = [sys.executable, "-m"]
    if tests:
        command = [*python, "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n", "0", *tests]
    else:
        count = str(_HISTORIES)
        command = [*python, "tests.simulation", "--seeds", count, "--jobs", "1", "--stop"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{copy}:{copy / 'layers/watchdog'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(  # noqa: S603 - our own tests
        command,
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def _table(results: Sequence[tuple[Mutant, str]]) -> Table:
    table = Table("rule", "file", "what noticed", title="Rules broken on purpose")
    for mutant, caught in results:
        table.add_row(mutant.rule, mutant.file, Text(caught[:90] or "nobody"))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
