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
_SLICES = ("tests/integration/test_slices.py",)
_STORES = _contract("stores")
_STAYS = ("tests/integration/test_limit_stays.py",)
_MENDED = ("tests/simulation/test_simulation.py",)

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
        "        Wheel(self.table).file([reminder(open_ids, now)])",
        "        pass",
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
        "    return max(since, job.not_before or since)",
        "    return since - timedelta(minutes=3)",
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
        "policy.py",
        'return self.mode == "enforce" and self.action != "warn"',
        'return self.action != "warn"',
    ),
    Mutant(
        "who is looked at too soon is looked at again",
        "limit_watch.py",
        "            return _Look(again_in=put_off, stay=case.stay)",
        "            return _Look()",
    ),
    Mutant(
        "who was exempted by an operator is not stopped",
        "limit_watch.py",
        "            put_off = exemption.until - self.now\n",
        "            pass\n",
    ),
    Mutant(
        "who is exempt by a tag has no limit",
        "policy.py",
        "if status not in LIMITED or is_exempt(job.tags):",
        "if status not in LIMITED:",
    ),
    Mutant(
        "a job found waiting begins its stay when it is found",
        "limit_discovery.py",
        '.get(job.status, "")',
        '.get(job.status, "createdAt")',
    ),
    Mutant(
        "jobs that no event told of are found",
        "limit_discovery.py",
        "if not self._is_known(each)",
        "if False",
    ),
    Mutant(
        "a job that a late sweep finds is known since the answer that shows it",
        "sweep.py",
        "            clock=self.clock,\n            known=",
        "            clock=lambda: self.limits.now,\n            known=",
        _SLICES,
    ),
    Mutant(
        "a stop is decided once",
        "store/ledger.py",
        "if entry.digest not in self._known(entry.bucket):",
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
        "if progress.cursor.policy == version and not progress.cursor.refiling:",
        "if True:",
    ),
    Mutant(
        "what was stopped is looked at in its time, whatever the policy",
        "sweep.py",
        " and not row.content.awaits_stop",
        "",
        _LIMITS,
    ),
    Mutant(
        "the brake holds",
        "store/brake.py",
        "return max(0, min(wanted, most - sum(self.counts.values())))",
        "return wanted",
        _LIMITS,
    ),
    # ---- Guards ---------------------------------------------------------------------------
    Mutant(
        "an older word about money changes nothing",
        "guard.py",
        "if signal not in known or _is_newer(heard, known[signal])",
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
        "        if must_stop:\n            self.runner.batch.stop_some("
        "chunk.how, chunk.stop[:50], chunk.reason, service=chunk.service)\n"
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
        "        except StaleItemError:\n            return list(chunk)",
        "        except StaleItemError:\n            return []",
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
        "recorder.py",
        "return Outcome(puts=[*puts, *outcome.puts], effects=outcome.effects)",
        "return Outcome(puts=outcome.puts, effects=outcome.effects)",
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
        "        policy = _last_good(item) if item else None\n        return _Reading(",
        '        policy = _parsed("") if item else None\n        return _Reading(',
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
    # ---- What is carried out, and what of it gets lost ----
    Mutant(
        "a stop is judged again when it is made",
        "act.py",
        "if why := stop_rules.why_not(stop, place, shown.get(job_id), grounds):",
        'if why := "":',
        _unit("act"),
    ),
    Mutant(
        "a stop of an older version is not carried out blindly",
        "act.py",
        "        if not stop_rules.says_on_what_it_rests(stop):",
        "        if False:",
        _unit("act"),
    ),
    Mutant(
        "a hold ends a stop between two portions",
        "act.py",
        "            if held.is_on:\n                return progress.result",
        "            if False:\n                return progress.result",
        _unit("act"),
    ),
    Mutant(
        "a stop that ran out of time goes on where it ended",
        "act.py",
        "Actions(self.table).keep(action, progress)",
        "pass",
        _unit("act"),
    ),
    Mutant(
        "an exempted job is not stopped by a limit",
        "stop_rules.py",
        "    if {job.job_id, job.parent_id} & set(grounds.exempt):",
        "    if False:",
        _unit("stop_rules"),
    ),
    Mutant(
        "a limit's stop is judged by the policy's mode of now",
        "limits.py",
        '    if limit.mode != "enforce":\n        yield',
        "    if False:\n        yield",
        _unit("stop_rules"),
    ),
    Mutant(
        "a limit's stop is judged by the limit's length of now",
        "limits.py",
        "    if after is None or now - proven_since(since, job) < after:",
        "    if False:",
        _unit("stop_rules"),
    ),
    Mutant(
        "a guard's stop is judged by the guard's stage of now",
        "holds.py",
        "if state is None or state.entry is None or not is_current(state, run_id):",
        "if state is None or state.entry is None:",
        _unit("stop_rules"),
    ),
    Mutant(
        "a job that is shown in part is not stopped",
        "stop_rules.py",
        "    if any(detail.get(name) is None for name in named_by):",
        "    if False:",
        _unit("stop_rules"),
    ),
    Mutant(
        "the rest of an array is stopped only while the rule says so",
        "array_rules.py",
        "    if not rule.stop_rest_when.is_met(failed=failed, ended=succeeded + failed):",
        "    if False:",
        _unit("array_rules", "stop_rules"),
    ),
    Mutant(
        "a queue is not closed when no enforced stage asks for it any more",
        "holds.py",
        'return ("do", "") if held else ("drop", "no stage that is enforced closes the queue")',
        'return "do", ""',
        _unit("act"),
    ),
    Mutant(
        "a queue is not reopened while a stage holds it closed",
        "holds.py",
        'return ("wait", "a stage that is on holds the queue closed") if held else ("do", "")',
        'return "do", ""',
        _unit("act"),
    ),
    Mutant(
        "a refused update of a queue is kept",
        "act.py",
        "            self._remember(effect, why=why, refused=True, call=call)",
        "            pass",
        _unit("act"),
    ),
    Mutant(
        "a queue whose closing was refused is not reopened",
        "act.py",
        "if known and known.refused and (known.effect.state, effect.state) == _NEVER_CLOSED:",
        "if False:",
        _unit("act"),
    ),
    Mutant(
        "before a call is repeated, its refusal does not count any more",
        "act.py",
        "            update = replace(known, refused=False, calls=known.calls + 1)",
        "            update = replace(known, calls=known.calls + 1)",
        _unit("act"),
    ),
    Mutant(
        "a queue that others have closed is not reopened by a guard",
        "queue_watch.py",
        "            return update.refused\n",
        "            return False\n",
        _unit("queue_watch"),
    ),
    Mutant(
        "a queue that is UPDATING is waited for",
        "queue_watch.py",
        '        if status == "UPDATING":',
        "        if False:",
        _unit("queue_watch"),
    ),
    Mutant(
        "a queue that stays wrong is told, once",
        "queue_watch.py",
        "if self.now >= update.since + _TOLD_AFTER and not update.told:",
        "if self.now >= update.since + _TOLD_AFTER:",
        _unit("queue_watch"),
    ),
    Mutant(
        "an action without a result is found",
        "action_watch.py",
        'if "result" not in item]',
        'if "body" not in item]',
        _unit("action_watch"),
    ),
    Mutant(
        "an action that may still be filed is not passed over",
        "action_watch.py",
        "        return iso(min(self.now - _AGE, swept))",
        "        return iso(self.now - _AGE)",
        _unit("action_watch"),
    ),
    Mutant(
        "a lost action is tried at growing distances",
        "action_watch.py",
        "due_at=at + _AGE * 2**tries",
        "due_at=at + _AGE",
        _unit("action_watch"),
    ),
    Mutant(
        "a last good policy that cannot be read breaks nothing",
        "policies.py",
        "    except PolicyError:\n        return None",
        "    except ZeroDivisionError:\n        return None",
        _unit("policies"),
    ),
    Mutant(
        "the same bad policy put again is told again",
        "policies.py",
        'Entry(f"policy:{reading.version}:{digest}", EPOCH)',
        'Entry(f"policy:{digest}", EPOCH)',
        _unit("policies"),
    ),
    Mutant(
        "a mode that falls is told",
        "policies.py",
        'if before and (before.mode, reading.policy.mode) == ("enforce", "observe"):',
        "if False:",
        _unit("policies"),
    ),
    Mutant(
        "what arrives while no policy can be read is kept",
        "spend.py",
        "        if not policy.readable:",
        "        if False:",
        ("tests/integration/test_unreadable_policies.py",),
    ),
    # ---- Slices, and writes of every size -------------------------------------------------
    Mutant(
        "what does not fit into one write is split",
        "recorder.py",
        "parts = self.halves(key)",
        "parts: Sequence[K] = ()",
        _unit("recorder"),
    ),
    Mutant(
        "one that cannot be written keeps no other from being written",
        "recorder.py",
        "            if len(keys) == 1:\n",
        "            if keys:\n",
        _unit("recorder"),
    ),
    Mutant(
        "a bucket of the ledger is never full",
        "store/ledger.py",
        "while len(every) > _FULL:",
        "while False:",
        _STORES,
    ),
    Mutant(
        "what has been moved away in the ledger is remembered",
        "store/ledger.py",
        'for number in range(int(item.get("full", 0)))',
        "for number in range(0)",
        _STORES,
    ),
    Mutant(
        "a stop counts once it is written",
        "limit_record.py",
        "[read.put(count, self.now)] if count else [],",
        "[],",
        _LIMITS,
    ),
    Mutant(
        "an entry that is seen to in part goes on there",
        "sweep.py",
        "if row.number > done)",
        ")",
        _SLICES,
    ),
    Mutant(
        "a sweep keeps what it has done",
        "sweep.py",
        "if self.unsaved >= _UNSAVED_MAX or self.clock() - self.saved_at >= _UNSAVED_FOR:",
        "if False:",
        _SLICES,
    ),
    Mutant(
        "what two sweeps have seen is seen",
        "store/cursor.py",
        "at: self.seen.get(at, frozenset()) | other.seen.get(at, frozenset())",
        "at: self.seen.get(at, frozenset())",
        _STORES,
    ),
    Mutant(
        "a sweep that is short of time ends",
        "limit_watch.py",
        "            if begun and out_of_time():\n",
        "            if False:\n",
        _SLICES,
    ),
    Mutant(
        "a listing goes on at its page",
        "sweep.py",
        "discovery.go_on(listing.place)",
        "discovery.go_on(None)",
        _SLICES,
    ),
    Mutant(
        "known jobs are not described by the listing",
        "limit_discovery.py",
        "            return False\n        # One that has run",
        "            return False\n        return False\n        # One that has run",
        _SLICES,
    ),
    Mutant(
        "a job that nothing limits is not described by each listing",
        "limit_discovery.py",
        "unlimited_after = UNLIMITED_AGAIN if shows_all else None",
        "unlimited_after = None",
        _SLICES,
    ),
    Mutant(
        "what a hold or the brake postpones waits without a call",
        "limit_watch.py",
        "        if waits:\n            kind",
        "        waits = False\n        if waits:\n            kind",
        _SLICES,
    ),
    Mutant(
        "what a hold postpones is due when it ends",
        "limit_record.py",
        '{"held": wheel.MINUTE,',
        '{"held": timedelta(minutes=30),',
        _SLICES,
    ),
    Mutant(
        "a new policy goes on where it stopped",
        "sweep.py",
        "refiling = progress.cursor.refiling\n        if refiling is None:",
        "refiling = None\n        if refiling is None:",
        _SLICES,
    ),
    # ---- Diagnosis ------------------------------------------------------------------------
    Mutant(
        "the head of a queue waits its turn for ten minutes at most",
        "diagnosis/line.py",
        "return self.is_head and _long_ago(self.since, now)",
        "return False",
        _unit("diagnosis"),
    ),
    Mutant(
        "a head of which Batch does not say since when does not wait its turn",
        "diagnosis/line.py",
        "return since is None or now - since > _HEAD_MAX",
        "return since is not None and now - since > _HEAD_MAX",
        _unit("diagnosis"),
    ),
    Mutant(
        "the first of a share is a head",
        "diagnosis/line.py",
        "self.number == 1 or self.in_share == 1",
        "self.number == 1",
        _unit("diagnosis"),
    ),
    Mutant(
        "the first of a quota share is a head wherever it stands in the queue",
        "diagnosis/line.py",
        "for name, front in shares.items():",
        "for name, front in ():",
        _unit("diagnosis"),
    ),
    Mutant(
        "a job is first of its share only where the shares before it are known",
        "diagnosis/line.py",
        "if any(job_id not in known for job_id in ids):",
        "if not known:",
        _unit("diagnosis"),
    ),
    Mutant(
        "behind a first job that does not start, something needs repair",
        "diagnosis/rules.py",
        "remedy=_STANDSTILL_REMEDY if stuck else",
        "remedy=_STANDSTILL_REMEDY if False else",
        _unit("diagnosis"),
    ),
    Mutant(
        "an environment that is not known may take the job",
        "diagnosis/environments.py",
        "        if not details:\n",
        "        if False:\n",
        _unit("diagnosis"),
    ),
    Mutant(
        "instances that run without a job are not held by others",
        "diagnosis/rules.py",
        "if environment.kept >= desired:",
        "if False:",
        _unit("diagnosis"),
    ),
    Mutant(
        "only instances that are kept keep a job out",
        "diagnosis/environments.py",
        "or environment.kept + max(ask.vcpus, 1) <= most",
        "",
        _unit("diagnosis"),
    ),
    Mutant(
        "a job that starts is not explained by what kept it waiting",
        "diagnosis/rules.py",
        "if said and status in ENDED:",
        "if said:",
        _unit("diagnosis"),
    ),
    Mutant(
        "what is not known has no cause",
        "diagnosis/findings.py",
        '    "undetermined": None,',
        '    "undetermined": "capacity",',
        ("tests/integration/test_findings.py",),
    ),
    Mutant(
        "a place in the queue is never said of another job",
        "inquiry.py",
        'if detail["jobId"] in self._fronts[queue]:',
        "if False:",
        _unit("inquiry"),
    ),
    Mutant(
        "of jobs that start each has an answer of its own",
        "inquiry.py",
        'if detail["status"] in _NOT_IN_QUEUE:',
        "if False:",
        _unit("inquiry"),
    ),
    Mutant(
        "of some instances nothing is said of all",
        "inquiry.py",
        'if listed.get("nextToken"):',
        "if False:",
        _unit("inquiry"),
    ),
    Mutant(
        "instances that were not told of are not missing",
        "inquiry.py",
        "                    if instances is not None:\n",
        "                    if True:\n",
        _unit("inquiry"),
    ),
    Mutant(
        "a job that starts for too long is told with findings",
        "limit_watch.py",
        'self.inquiry.findings(detail) if case.stay.status != "RUNNING" else ()',
        'self.inquiry.findings(detail) if case.stay.status == "RUNNABLE" else ()',
        ("tests/integration/test_findings.py",),
    ),
    # ---- Which stays are meant, and what becomes of their stops ----------------------------
    Mutant(
        "a stop that is left alone is no longer waited for",
        "limit_watch.py",
        "case = replace(case, stay=replace(stay, stopped_at=None))",
        "case = replace(case, stay=stay)",
        _STAYS,
    ),
    Mutant(
        "what has started is terminated only if the policy still stops it",
        "limit_watch.py",
        "if not (case.stay.awaits_stop and case.limit.stops):",
        "if not case.stay.awaits_stop:",
        _STAYS,
    ),
    Mutant(
        "what has started is terminated only if the policy escalates",
        "limit_watch.py",
        "escalates = case.limit.escalate and not case.job.ended",
        "escalates = not case.job.ended",
        _STAYS,
    ),
    Mutant(
        "a job whose stop was accepted is looked at until it is gone",
        "limit_watch.py",
        "return _Look(again_in=limits.UNENDED_AGAIN, stay=stay, decisions=(told,))",
        "return _Look(decisions=(told,))",
        _STAYS,
    ),
    Mutant(
        "a job that goes on after its stop was accepted is reported",
        "limit_watch.py",
        "left = asked_at + limits.ends_within(case.job.status) - self.now",
        "left = timedelta(minutes=5)",
        _STAYS,
    ),
    Mutant(
        "a stay begins no earlier than later events allow",
        "limits.py",
        "return replace(stay, since=max([stay.since, *(each.at for each in seen)]))",
        "return stay",
        _STAYS,
    ),
    Mutant(
        "a stay is named by the first event of it",
        "limits.py",
        "        began = min(began, each.at)",
        "        began = stay.since",
        _STAYS,
    ),
    Mutant(
        "another stay in the same attempt is decided about anew",
        "limits.py",
        'return f"{self.stay.job_id}:{self.stay.attempts}:{self.stay.status}:{iso(at)}"',
        'return f"{self.stay.job_id}:{self.stay.attempts}:{self.stay.status}"',
        _STAYS,
    ),
    Mutant(
        "a preempted run proves when the wait began",
        "changes.py",
        "            *(attempt.stoppedAt for attempt in preempted or ()),\n",
        "",
        _STAYS,
    ),
    Mutant(
        "being scheduled or started proves when the wait began",
        "changes.py",
        "            self.scheduledAt,\n            self.startedAt,\n",
        "",
        _STAYS,
    ),
    Mutant(
        "an event without tags has its job looked at",
        "limits.py",
        "tags_known = unlimited_after is not None or knows_tags(change.tags)",
        "tags_known = True",
        _STAYS,
    ),
    Mutant(
        "children of an array are described once for their tags",
        "limit_watch.py",
        "stay.job_id for stay in some if not stay.service and stay not in looks",
        "stay.job_id for stay in some if not stay.service",
        _STAYS,
    ),
    Mutant(
        "a stop is repeated only if it is still meant",
        "limit_watch.py",
        "if not case.enforced:",
        "if not case.enforced and not case.stay.stops:",
        _STAYS,
    ),
    Mutant(
        "a job that Batch does not show is looked at again",
        "limit_watch.py",
        "if stay.missed < limits.MISSED_MAX:",
        "if False:",
        _STAYS,
    ),
    Mutant(
        "what moves on is noted",
        "observe.py",
        "sightings.file(self.table, limits.sightings(changes, policy, sent_at), sent_at)",
        "pass",
        _STAYS,
    ),
    Mutant(
        "sightings are read from the beginning of the stay on",
        "store/sightings.py",
        "first=_minute(since - MINUTE)",
        "first=_minute(since + 60 * MINUTE)",
        _contract("stores"),
    ),
    Mutant(
        "a stop is not meant where the policy observes",
        "limits.py",
        '    if limit.mode != "enforce":\n        yield',
        "    if False:\n        yield",
        _unit("limits"),
    ),
    Mutant(
        "a stop is not meant before the limit in force has passed",
        "limits.py",
        "if after is None or now - proven_since(since, job) < after:",
        "if after is None:",
        _unit("limits"),
    ),
    Mutant(
        "a job that has gone on is not stopped",
        "limits.py",
        "    if job.status != stop.status:\n        yield",
        "    if False:\n        yield",
        _unit("limits"),
    ),
    Mutant(
        "the parent of an array waits without a limit",
        "limit_watch.py",
        'if job.status != stay.status or job.kind in ("array", "node"):',
        "if job.status != stay.status:",
        _STAYS,
    ),
    Mutant(
        "a clock that is ahead does not put off a limit by a sighting",
        "limits.py",
        "at=min(change.at, sent_at),",
        "at=change.at,",
        _unit("limits"),
    ),
    Mutant(
        "a link leads into its partition's console",
        "notices.py",
        'host = _CONSOLES.get(parts[1] if is_arn else "aws")',
        'host = _CONSOLES.get("aws")',
        _unit("notices"),
    ),
    Mutant(
        "a log has a link only where it is in CloudWatch Logs",
        "notices.py",
        "is_there = self.driver in _CLOUDWATCH and not self.pod",
        "is_there = True",
        _unit("notices"),
    ),
    Mutant(
        "a log is in the group that the job names",
        "notices.py",
        "return (self.group or _DEFAULT_GROUP) if is_there else None",
        "return _DEFAULT_GROUP if is_there else None",
        _unit("notices"),
    ),
    Mutant(
        "an essential container counts before another",
        "changes.py",
        "return how > 2, not matters, how",
        "return how > 2, False, how",
        _unit("changes"),
    ),
    Mutant(
        "a container that was stopped is not the cause where another failed",
        "changes.py",
        "_STOPPED = (137, 143)",
        "_STOPPED = ()",
        _unit("changes"),
    ),
    Mutant(
        "a container that another waits for counts as essential",
        "changes.py",
        "matters = self.essential or self.name in awaited",
        "matters = self.essential",
        _unit("changes"),
    ),
    Mutant(
        "an init container may be the one that failed",
        "changes.py",
        '            ("init", pod.initContainers),\n            ("init", latest.initContainers),\n',
        "",
        _unit("changes"),
    ),
    Mutant(
        "an index below 0 is malformed",
        "changes.py",
        "        if negative:\n",
        "        if False:\n",
        _unit("changes"),
    ),
    Mutant(
        "an index that contradicts the id is malformed",
        "changes.py",
        "if told is not None and told != index:",
        "if False:",
        _unit("changes"),
    ),
    Mutant(
        "a cause comes before its consequences",
        "arrays.py",
        "return self.exit_code is None and blames_a_dependency(self.reason)",
        "return False",
        _unit("arrays"),
    ),
    Mutant(
        "a full disk is one cause",
        "arrays.py",
        "text = _DISK_FULL.sub(_disk_full, plain(reason, 2_048))",
        "text = plain(reason, 2_048)",
        _unit("arrays"),
    ),
    Mutant(
        "a temporary path is an id",
        "arrays.py",
        'text = _QUERY.sub("?*", _TEMPORARY.sub(r"\\1/*", text))',
        'text = _QUERY.sub("?*", text)',
        _unit("arrays"),
    ),
    Mutant(
        "a job that began failed by itself",
        "changes.py",
        "            and not self.attempts\n",
        "",
        _unit("changes"),
    ),
    Mutant(
        "a failure that others follow is kept back",
        "chains.py",
        "change.job_id for change in failures if change.followed or change.job_id in blamed",
        "change.job_id for change in failures if change.followed",
        _unit("chains"),
    ),
    Mutant(
        "a chain is told when it is over",
        "chain_watch.py",
        "if chains.may_go_on(chain, later.keys(), self.now)",
        "if False",
        _unit("chains"),
    ),
    Mutant(
        "a chain that is kept back is told in the end",
        "chain_watch.py",
        "return Outcome(puts=puts, effects=[announce] if notices else [])",
        "return Outcome(puts=puts)",
    ),
    Mutant(
        "a chain is told once",
        "chain_watch.py",
        "return Outcome(puts=puts, effects=[announce] if notices else [])",
        "return Outcome(effects=[announce] if notices else [])",
        _unit("chains"),
    ),
    Mutant(
        "a queue is blocked while one of its heads is",
        "blocked.py",
        "over=all(head.outcome for head in heads)",
        "over=any(head.outcome for head in heads)",
        _unit("blocked"),
    ),
    Mutant(
        "a job that the watchdog cancelled has not gone on",
        "blocked.py",
        "if job.reason.startswith(STOP_MARK):",
        "if False:",
        _unit("blocked"),
    ),
    Mutant(
        "of too many heads those that still block are kept",
        "blocked.py",
        "key=lambda head: (not head.outcome, head.at), reverse=True",
        "key=lambda head: head.at, reverse=True",
        _unit("blocked"),
    ),
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
        "another threshold is not the one that a stage names",
        "guard.py",
        "return abs(given - wanted) <= slack + _ROUNDING",
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
        "a message of a period that is over is over on arrival",
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
        "return _Fate.NOT_KNOWN if job in self._recent or job in self._unproven else fate",
        "return _Fate.NOT_KNOWN if job in self._unproven else fate",
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
        "            self._settle(stage)\n",
        "            pass\n",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "what was to be stopped on its arrival counts once its end is shown",
        "run_tally.py",
        "            if chunk.arrived or array_child(job_id):\n                self._unproven.add",
        "            if array_child(job_id):\n                self._unproven.add",
        _unit("runs"),
    ),
    Mutant(
        "a child that was stopped singly counts once its end is shown",
        "run_tally.py",
        "            if chunk.arrived or array_child(job_id):\n                self._unproven.add",
        "            if chunk.arrived:\n                self._unproven.add",
        _unit("runs"),
    ),
    Mutant(
        "of an array's children no more were stopped than have failed",
        "run_tally.py",
        "gone if failed is None else min(gone, failed)",
        "gone",
        _unit("runs"),
    ),
    Mutant(
        "of an array's children no more were stopped than are gone",
        "run_tally.py",
        "gone = max(0, min(asked, count - at_work) - alive)",
        "gone = asked - alive",
        _unit("runs"),
    ),
    Mutant(
        "only its reason shows that a job ended by its stop",
        "runs.py",
        'is_ours = detail["status"] == "FAILED" and detail.get("statusReason") == reason',
        'is_ours = detail["status"] == "FAILED"',
        _unit("runs"),
    ),
    Mutant(
        "after stops a look lists what has started too",
        "runs.py",
        'if action == "cancel" and run.reported and not run.thorough else STARTED',
        'if action == "cancel" and run.reported else STARTED',
        _unit("runs"),
    ),
    Mutant(
        "stops on arrival are asked about after the report, too",
        "stop_run.py",
        "if next(run_store.arrived(table, run.run_id, since), None) is None:",
        "if run.reported:",
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "children of an array that was never asked to stop failed by themselves",
        "stop_run.py",
        "        if not accepted:\n            failed = 0",
        "        if False:\n            failed = 0",
        _MENDED,
    ),
    Mutant(
        "a child that failed at work was not cancelled",
        "stop_run.py",
        "failed = sum(runs.failed_waiting(child, reason) for child in children)",
        "failed = len(children)",
        _MENDED,
    ),
    Mutant(
        "what a stage that observed would have stopped is not told as stopped",
        "guard_notices.py",
        '_facts(guard, "calm", "release", entry.mode)',
        '_facts(guard, "calm", "release", release.mode)',
        _MENDED,
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
