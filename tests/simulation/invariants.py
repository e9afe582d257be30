"""
What must hold after every history: each invariant a function that names what broke it.

The truth is the simulated Batch's own: when each job was in which state, which calls it got. What
the watchdog should have done about it is counted again here, from the policy and these times.
"""

import json
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from batch_watchdog.core.effects import STOP_MARK, SetQueueState, StopJobs
from batch_watchdog.core.job_event import ENDED, STARTED, WAITING, JobEvent, resource_name
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import queue_update_items
from batch_watchdog.guards.state import GuardState, StageName, hardness
from batch_watchdog.guards.stop_run import items as run_items
from batch_watchdog.limits import stop_results
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.text import iso, ranges
from batch_watchdog.policy.model import TAG_PREFIX, Policy, is_exempt
from batch_watchdog.store import operator_hold, sweep_cursor
from batch_watchdog.store.actions import Action
from local.batch.state import Call
from tests.simulation import justified, live_budgets
from tests.simulation.budgets import (
    i16_a_budgets_use_is_what_batch_saw,
    i16_what_is_told_to_be_used_is,
    i16_what_is_used_up_is_told,
)
from tests.simulation.chats import (
    i18_a_chat_is_told_what_the_topic_is_told,
    i18_no_conversation_has_many_messages,
)
from tests.simulation.history import NOON, History, Stay
from tests.simulation.rule_reports import (
    i17_what_passed_a_limit_is_counted_once_as_what_became_of_it,
)

type Invariant = Callable[[History], Iterator[str]]

_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_PROMPT = timedelta(minutes=2)  # from a limit's passing to the stop
_LISTED = timedelta(minutes=17)  # all jobs are listed every 15, in which a lost event is made good
_GUARD_PROMPT = timedelta(minutes=2)
_TURN = timedelta(seconds=2)  # of a stop run: the runs of all guards take turns
_PATROL = timedelta(minutes=9)  # a stop run looks again, for what no event told
_SETTLING = timedelta(minutes=20)  # after a fault: redelivery from a queue is the slowest
_LATE_SWEEP = timedelta(minutes=3)
_LEFT_OUT = timedelta(minutes=5)  # by so many answers, one after the other
_UNDER_WAY = timedelta(minutes=1)  # before the end: what was recorded is still being told
_BRAKED = timedelta(minutes=59)  # the brake counts by whole minutes
_MESSAGES_MAX = 12  # of one cause, in an hour
_RUNS_ON = timedelta(minutes=20)  # until it is told that a stop has not ended a job
_GONE = timedelta(minutes=5)  # until it is told that the policy has lost a guard that is raised
_JUMP = timedelta(seconds=20)  # by which an event may tell of a time before its own


# ---- Arrays -------------------------------------------------------------------------------


def i1_completions_are_recorded_once_and_delivered(seen: History) -> Iterator[str]:
    """An array's completion is recorded once and delivered at least once, with one id."""
    recorded = Counter(
        notice.facts["job_id"] for _, notice in seen.notices() if notice.kind == "array-completed"
    )
    for job_id, count in recorded.items():
        if count > 1:
            yield f"array {job_id} recorded {count} times"
    told = seen.told_ids()
    # What only fell with a job that it depends on is counted in that one's notice.
    fallen = {
        job_id
        for _, notice in seen.notices()
        if notice.kind == "job-failed"
        for job_id in (notice.facts["job_id"], *notice.facts.get("follower_ids", ()))
    }
    for job_id, job in seen.jobs.items():
        if job.kind != "array" or not job.ended or not _was_heard_of(seen, job_id):
            continue
        if seen.stays[job_id][-1].since > seen.ended - 3 * _MINUTE:
            continue  # Stragglers are still awaited.
        silent = any(rule.silent for _, policy in seen.policies for rule in policy.array)
        if not recorded[job_id] and not silent and job_id not in fallen:
            yield f"array {job_id} ended, and its completion was not recorded"
        if recorded[job_id] and f"array-completed:{job_id}" not in told:
            yield f"array {job_id}: its completion was never delivered"


def i2_counts_are_those_of_batch(seen: History) -> Iterator[str]:
    """The counts and failed indices of a completion are Batch's own; what we stopped is apart."""
    for _, notice in seen.notices():
        if notice.kind != "array-completed":
            continue
        facts, job_id = notice.facts, notice.facts["job_id"]
        children = {
            int(each.rpartition(":")[2]): job
            for each, job in seen.jobs.items()
            if job.parent_id == job_id
        }
        summary = seen.jobs[job_id].summary
        succeeded, failed = summary.get("SUCCEEDED", 0), summary.get("FAILED", 0)
        told = facts["size"], facts["succeeded"], facts["failed"] + facts["stopped"]
        if told != (seen.jobs[job_id].size, succeeded, failed):
            yield f"array {job_id}: told {told}, and it was {succeeded} and {failed}"
        ended = {index: job for index, job in children.items() if job.status == "FAILED"}
        ours = {index for index, job in ended.items() if job.reason.startswith(STOP_MARK)}
        if children and facts["stopped"] != len(ours):
            yield f"array {job_id}: told {facts['stopped']} stopped, and it was {sorted(ours)}"
        indices = ranges(ended.keys() - ours)
        if children and facts["failed_indices"] != indices:
            yield f"array {job_id}: told {facts['failed_indices']!r}, and it was {indices!r}"
        if sum(group["count"] for group in facts["groups"]) != facts["failed"]:
            yield f"array {job_id}: its groups do not add up to {facts['failed']}"


# ---- Limits -------------------------------------------------------------------------------


def i3_nobody_is_stopped_too_soon(seen: History) -> Iterator[str]:
    """No job is stopped before it has been in the state for the whole limit, in this attempt."""
    for action, job_id in _stops_by_limits(seen):
        decided = datetime.fromisoformat(action.at)
        stay = seen.status_at(job_id, decided)
        if stay is None or stay.status in ENDED:
            continue
        status = _reason(action).removeprefix(STOP_MARK).partition(" ")[0]
        if stay.status != status:
            # A stop that was tried again, or that escalates: the first is judged.
            if not _was_stopped_before(seen, job_id, decided):
                yield f"{job_id} was {stay.status} when stopped for being {status}"
            continue
        tolerance = _tolerance(seen, job_id, stay)
        # A sweep's calls take time: tags and policy may have changed since it began.
        known = [*_possible_limits(seen, job_id, status, decided)]
        known += _possible_limits(seen, job_id, status, seen.written_at[action.sk])
        shortest = min(known, default=None)
        if shortest is None:
            yield f"{job_id} has no limit in {status}, and was stopped"
        elif decided - seen.known_since(job_id, decided) + tolerance < shortest:
            yield f"{job_id} was stopped {decided - stay.since} into {status}, of {shortest}"


def _tolerance(seen: History, job_id: str, stay: Stay) -> timedelta:
    """
    By how much the watchdog may be wrong about the beginning of a stay.

    An event's clock may be behind. A sweep that is tried again has the time for which it was
    due: who has waited for another job, and is found by it, may have begun since.
    """
    unheard = _first_heard(seen, seen.jobs[job_id], stay) is None
    waited_before = any(each.status == "PENDING" for each in seen.stays[job_id])
    return _JUMP + (_LATE_SWEEP if unheard and waited_before else timedelta())


def i4_limits_are_enforced_in_time(seen: History) -> Iterator[str]:
    """Within two minutes of passing its limit a job is stopped, or it is recorded why not."""
    acts = _recorded_of_jobs(seen)
    for job_id, stays in seen.stays.items():
        job = seen.jobs.get(job_id)
        if job is None or job.kind in ("array", "node") or seen.has_other_tags(job_id):
            continue
        for stay in stays:
            yield from _too_late(seen, job, stay, acts.get(job_id, ()))


def _too_late(
    seen: History, job: JobEvent, stay: Stay, acts: Sequence[tuple[datetime, str]]
) -> Iterator[str]:
    until = stay.until or seen.ended
    for (begins, policy), ends in zip(
        seen.policies, [*(since for since, _ in seen.policies[1:]), seen.ended], strict=True
    ):
        limit = policy.limit_for(job, stay.status)
        if limit is None or limit.after is None:
            continue
        longest = max(limit.after, *limit.after_by_cause.values(), limit.after)
        since, known_at = _known_since(seen, job, stay, policy, begins)
        deadline = max(since + longest, begins + _MINUTE, known_at)
        deadline += _PROMPT + _slack(seen, deadline) + _missed(seen)
        for begin, end in _holds(seen):
            if begin <= deadline and end >= stay.since:
                deadline = max(deadline, end + _PROMPT)
        if min(until, ends) <= deadline or deadline < begins:
            continue
        if _is_excused(seen, job, stay, deadline):
            continue
        if not any(
            stay.since <= at <= deadline and status in ("", stay.status) for at, status in acts
        ):
            mode = limit.mode
            yield (
                f"{job.job_id} is {stay.status} since {iso(stay.since)}, for more than {longest} "
                f"({mode}), and nothing was recorded until {iso(deadline)}"
            )


def _missed(seen: History) -> timedelta:
    """What answers may cost that leave out a job, or a part of it: each time it is a minute."""
    disorder = seen.plan.disorder
    return _LEFT_OUT if disorder.left_out or disorder.lacking else timedelta()


def _known_since(
    seen: History, job: JobEvent, stay: Stay, policy: Policy, begins: datetime
) -> tuple[datetime, datetime]:
    """The stay's beginning, as far as the watchdog can know it, and when it came to know it."""
    looked_at_again = timedelta()
    for received in seen.received.get(job.job_id, ()):
        if (received.status, received.attempts) == (stay.status, stay.attempts):
            if received.told_at < stay.since - _MINUTE:
                # A list does not tell this stay from one before it, which is known: the reminder
                # of that one does, which comes due an hour after it was told in observe mode.
                looked_at_again = 60 * _MINUTE
                continue
            # Where nothing limits it in between, nothing reminds of it any more.
            in_force = seen.policies_from(received.at - _MINUTE, begins)
            shown = replace(
                job, tags=seen.tags_at(job.job_id, received.at)
            )  # They may change later.
            if all(each.first_due_after(shown, stay.status) is not None for each in in_force):
                # Its clock may be ahead.
                return max(stay.since, min(received.told_at, received.at)), received.at
    begun = max(stay.since, begins)
    # A list goes on with the next sweep that does not fail.
    failed = sum(
        folder == "sweep" and begun < at < begun + 120 * _MINUTE for at, folder, _ in seen.failures
    )
    listed = begun + _LISTED + looked_at_again + failed * _MINUTE
    return listed, _first_heard(seen, job, stay) or listed


def _first_heard(seen: History, job: JobEvent, stay: Stay) -> datetime | None:
    return next(
        (
            received.at
            for received in seen.received.get(job.job_id, ())
            if (received.status, received.attempts) == (stay.status, stay.attempts)
        ),
        None,
    )


def _slack(seen: History, due: datetime) -> timedelta:
    """What failed invocations of that time may have cost."""
    window = [at for at, folder, _ in seen.failures if due - _LISTED < at < due + _SETTLING]
    late = [at for at in seen.late_sweeps if due - _LISTED < at < due + _SETTLING]
    return min((len(window) + 4 * len(late)) * 2 * _MINUTE, _SETTLING)


def _is_excused(seen: History, job: JobEvent, stay: Stay, deadline: datetime) -> bool:
    exempt = any(
        command["command"] == "exempt" and command["job_id"] in (job.job_id, job.parent_id)
        for _, command, _ in seen.commands
    )
    braked = any(policy.safety.max_stops_per_hour < 100 for _, policy in seen.policies)
    # A stop that was accepted of it (by whomever) may take as long as it takes. A cancel does
    # nothing once a job has started.
    stopped = any(
        set(call.jobs) & {job.job_id, job.parent_id}
        and call.at <= deadline
        and (stay.status not in STARTED or call.api.startswith("Terminate"))
        for call in (*seen.journal, *seen.by_people)
    )
    return exempt or braked or stopped


def i3_the_brake_holds(seen: History) -> Iterator[str]:
    """Limits stop no more jobs in an hour than the policy allows, as Batch has accepted it."""
    most = max(policy.safety.max_stops_per_hour for _, policy in seen.policies)
    stays: dict[tuple[str, str, Stay | None], datetime] = {}
    for action, job_id in _stops_by_limits(seen):
        result = stop_results.of_job([action], job_id, action.effect.status)  # type: ignore[union-attr]
        if result is None or result.outcome != "accepted" or result.stop.escalates:
            continue
        begins = datetime.fromisoformat(action.at)
        calls = [call.at for call in _asked_by_limits(seen, job_id) if call.at >= begins]
        at = min(calls, default=begins)
        # One that is tried again is not counted.
        stays.setdefault((job_id, result.stop.status, seen.status_at(job_id, begins)), at)
    times = sorted(stays.values())
    for first, last in zip(times, times[most:], strict=False):
        if last - first < _BRAKED:
            yield f"more than {most} jobs were stopped from {iso(first)} to {iso(last)}"


def i5_who_observes_changes_nothing(seen: History) -> Iterator[str]:
    """What a guard asked for that always observed was not done."""
    enforcing = {
        rule.name
        for _, policy in seen.policies
        for rule in policy.guard
        if policy.mode_of(rule) == "enforce"
    }
    for call in seen.journal:
        if _guard_of(call.reason) and _guard_of(call.reason) not in enforcing:
            yield f"{call.api} of {call.jobs} at {iso(call.at)}: {call.reason}"
    for action in seen.actions:
        effect = action.effect
        if isinstance(effect, SetQueueState) and effect.guard not in enforcing:
            yield f"{effect.queue} was to be {effect.state} for {effect.guard}, which observes"


def i5_observing_changes_nothing(seen: History) -> Iterator[str]:
    """In observe mode no changing call is made."""
    if any(_enforces(policy) for _, policy in seen.policies):
        # One that has begun to observe may still be carrying out what was decided before.
        for (_, before), (begins, policy) in pairwise(seen.policies):
            ends = next((at for at, _ in seen.policies if at > begins), seen.ended)
            if _enforces(before) and not _enforces(policy):
                for call in seen.journal:
                    if begins + _SETTLING < call.at < ends:
                        yield f"{call.api} at {iso(call.at)}, while observing since {iso(begins)}"
        return
    for call in seen.journal:
        yield f"{call.api} of {call.jobs or call.queue} at {iso(call.at)}"


def i6_who_is_exempt_or_spared_is_not_stopped(seen: History) -> Iterator[str]:
    """An exempt job is not stopped by a limit; a spared job not by a guard."""
    exempted = {
        command["job_id"]: at
        for at, command, problem in seen.commands
        if command["command"] == "exempt" and not problem
    }
    for action, job_id in _stops_by_limits(seen):
        job = seen.jobs[job_id]
        if is_exempt(seen.tags_at(job_id, datetime.fromisoformat(action.at))):
            yield f"{job_id} is exempt by its tag, and was stopped by a limit"
        since = exempted.get(job_id) or exempted.get(job.parent_id)
        if since and datetime.fromisoformat(action.at) > since + _MINUTE:
            again = _was_stopped_before(seen, job_id, since)
            if not again:
                yield f"{job_id} is exempt since {iso(since)}, and was stopped at {action.at}"
    for made in seen.made:
        call, name = made.call, _guard_of(made.call.reason)
        for job_id in call.jobs if name else ():
            for policy in _policies_around(seen, call.at):
                rule = next((each for each in policy.guard if each.name == name), None)
                # A call may take its time: it is decided when it begins.
                tags = (seen.job_at(job_id, made.since), seen.job_at(job_id, call.at))
                if rule and not all(map(rule.spares, tags)):
                    break
            else:
                yield f"{job_id} is spared by the guard {name}, and was stopped by it"


# ---- Guards -------------------------------------------------------------------------------


def i7_stages_are_entered_once_and_their_runs_finish(seen: History) -> Iterator[str]:
    """A stage is entered once per evidence; its run finishes, and its report adds up."""
    evidence: Counter[tuple[str, ...]] = Counter()
    ids = Counter(notice.id for _, notice in seen.notices() if notice.kind.startswith("guard-"))
    for notice_id, count in ids.items():
        if count > 1:
            yield f"{notice_id} was recorded {count} times"
    told = seen.told_ids()
    notices = [notice for _, notice in seen.notices() if notice.kind.startswith("guard-")]
    for notice in notices:
        facts = notice.facts
        if notice.id not in told:
            yield f"{notice.id} was never delivered"
        if notice.kind == "guard-raised" and facts["evidence"]:
            word = facts["evidence"]
            about = str(word.get("threshold")), str(word.get("at"))
            evidence[facts["guard"], word["alarm"], *about] += 1
        if notice.kind == "guard-report":
            yield from _untrue_report(seen, notice)
    for which, count in evidence.items():
        if count > 1:
            yield f"{which} raised its guard {count} times"
    yield from _milder_stages(seen)
    yield from _released_in_alarm(seen)
    yield from _unfinished_runs(seen)


def _milder_stages(seen: History) -> Iterator[str]:
    """Stages that were followed by none that is harder, though nobody asked for it."""
    last: dict[str, StageName] = {}  # stages that are enforced, by guard
    since: dict[str, datetime] = {}
    # Their ids end with the time at which the stage was entered: two writes may cross.
    told = [each for each in seen.notices() if each[1].kind in ("guard-raised", "guard-released")]
    for action, notice in sorted(told, key=lambda each: (each[1].id[-20:], each[1].kind)):
        facts = notice.facts
        if notice.kind == "guard-raised":
            name, stage = facts["guard"], facts["stage"]
            at = seen.written_at[action.sk]
            # A stage that the policy has changed since need not be meant any more.
            is_same = name in last and not _stages_changed(seen, name, since[name], at)
            if is_same:  # Nor need one whose budget has begun anew: a hold keeps it from a release.
                text = [text for begins, text in seen.texts if begins <= at][-1]
                tree = tomllib.loads(text)
                is_same = not live_budgets.has_ended(tree, name, since[name], at)
            if is_same and not facts["by"] and hardness(stage) <= hardness(last[name]):
                yield f"{notice.id}: {last[name]} was followed by {stage} at {action.at}"
            last.pop(name, None)
            if facts["mode"] == "enforce":
                last[name], since[name] = stage, at
        elif notice.kind == "guard-released":
            last.pop(facts["guard"], None)


def _stages_changed(seen: History, guard: str, since: datetime, until: datetime) -> bool:
    """Whether what raises or releases a guard was changed in a span of time."""
    rules = [
        next(((rule.stage, rule.release) for rule in policy.guard if rule.name == guard), None)
        for (begins, policy), ends in zip(
            seen.policies, [*(s for s, _ in seen.policies[1:]), seen.ended], strict=True
        )
        if begins <= until and ends >= since - _SETTLING
    ]
    return any(rule != rules[0] for rule in rules)


def _released_in_alarm(seen: History) -> Iterator[str]:
    """Releases that nobody asked for, while an alarm of the guard had been ringing for long."""
    freed: dict[str, datetime] = {}  # guards: after a release, an alarm must ring anew
    for action, notice in sorted(seen.notices(), key=lambda each: seen.written_at[each[0].sk]):
        name, at = notice.facts.get("guard"), seen.written_at[action.sk]
        if notice.kind != "guard-released":
            continue
        since = max(freed.get(name, NOON), _unchanged_since(seen, name, at))
        words = {  # the last of each alarm
            alarm: (told_at, state)
            for told_at, alarm, state in sorted(seen.alarms)
            if told_at <= at and alarm in _alarms_of(seen.policy_at(at), name) - seen.late_alarms
        }
        for alarm, (told_at, state) in words.items():
            is_known = since <= told_at < at - 2 * _SETTLING and not seen.letters
            if state == "ALARM" and is_known and not notice.facts["by"]:
                yield f"{notice.id}: released at {iso(at)}, and {alarm} rang since {iso(told_at)}"
        freed[name] = at


def _alarms_of(policy: Policy, guard: str) -> set[str]:
    stages = [stage for rule in policy.guard if rule.name == guard for stage in rule.stage]
    return {alarm for stage in stages for alarm in stage.alarms}


def _unchanged_since(seen: History, guard: str, at: datetime) -> datetime:
    """Since when the guard has had the alarms that it has at that time."""
    wanted = _alarms_of(seen.policy_at(at), guard)
    ends = (
        later
        for (_, policy), (later, _) in pairwise(seen.policies)
        if later <= at and _alarms_of(policy, guard) != wanted
    )
    return max(ends, default=NOON)


def _untrue_report(seen: History, notice: Notice) -> Iterator[str]:
    facts = notice.facts
    parts = ("cancelled", "terminated", "not_ended", "not_known", "left_running", "spared")
    total = sum(facts[part] for part in (*parts, "escaped")) + sum(facts["failed"].values())
    if total != facts["found"]:
        yield f"{notice.id}: {total} jobs are told of, of {facts['found']}"
    in_scope = [
        job
        for job in seen.jobs.values()
        if job.kind not in ("array", "node")
        and any(
            rule.covers(_whole(seen, job.job_id))
            for _, policy in seen.policies
            for rule in policy.guard
            if rule.name == facts["guard"]
        )
    ]
    if facts["found"] > len(in_scope):
        yield f"a report of {facts['guard']} tells of {facts['found']} jobs, of {len(in_scope)}"
    if facts["mode"] == "observe":
        return
    stopped = facts["cancelled"] + facts["terminated"]
    asked = {job for call in seen.journal if _guard_of(call.reason) for job in call.jobs}
    for action in seen.actions:  # A stop on arrival counts, even where a hold came in between.
        if isinstance(action.effect, StopJobs) and _guard_of(action.effect.reason):
            asked |= set(action.effect.job_ids)
    could = [job for job in in_scope if {job.job_id, job.parent_id} & asked]
    if stopped > len(could):
        yield f"a report of {facts['guard']} tells of {stopped} stopped, and {len(could)} were"


def _unfinished_runs(seen: History) -> Iterator[str]:
    policy = seen.policies[-1][1]
    if operator_hold.read(seen.table).is_on:
        return
    # A run reports once Batch shows what became of its stops. One run works at a time, and each of
    # the others tries again every five seconds.
    takes = timedelta(minutes=1) + timedelta(seconds=6) * len(policy.guard)
    # One that fails keeps the others waiting, too.
    takes += timedelta(seconds=15) * sum(name == "stop_jobs" for _, name, _ in seen.failures)
    reported = {n.facts["run_id"] for _, n in seen.notices() if n.kind == "guard-report"}
    told_of = {n.facts["run_id"] for _, n in seen.notices() if ":guard-not-meant:" in n.id}
    for name, state in guard_items.read_all(seen.table).items():
        rule = next((rule for rule in policy.guard if rule.name == name), None)
        if rule is None or state.entry is None or state.entry.mode != policy.mode_of(rule):
            continue
        if state.entry.since > seen.ended - takes:
            continue
        run = run_items.read(seen.table, state.entry.run_id)
        if state.entry.run_id in told_of:
            continue
        if run is None or not run.reported or state.entry.run_id not in reported:
            yield f"the run {state.entry.run_id} has not finished"


def i8_nothing_starts_while_a_stage_is_on(seen: History) -> Iterator[str]:
    """While a stage is on, no job in scope starts that could have been stopped."""
    for name, begins, ends, stage in _stages(seen):
        for job_id, stays in seen.stays.items():
            job = seen.jobs.get(job_id)
            if job is None or job.kind in ("array", "node"):
                continue
            if not _in_scope_throughout(seen, name, job_id, begins, ends):
                continue
            prompt = _guard_prompt(seen, begins)
            for before, stay in pairwise([*stays, None]):
                if before is None:
                    continue
                waits = before.status in WAITING
                if not waits and not (stage == "terminate" and before.status in STARTED):
                    continue
                received = _first_heard(seen, job, before)
                # What an answer lacks or leaves out is asked for again by the run's next look.
                disorder = seen.plan.disorder
                is_prompt = received and not (disorder.lacking or disorder.left_out)
                late = _GUARD_PROMPT if is_prompt else _PATROL
                since = max(begins, before.since, received or begins)
                until = stay.since if stay else seen.ended
                # A run whose function fails each time goes on once the queue delivers it again.
                failed = sum(since < at < until for at, _, _ in seen.failures)
                slack = max(_slack(seen, since), failed * 4 * _MINUTE)
                bound = since + max(prompt, late) + slack
                if min(until, ends) > bound and not _stop_is_accepted(seen, job_id, bound):
                    yield (
                        f"{job_id} is {before.status} from {iso(since)} to {iso(until)}, while "
                        f"{name} is at {stage} from {iso(begins)} to {iso(ends)}"
                    )


def i8_what_runs_finishes_at_cancel(seen: History) -> Iterator[str]:
    """At `cancel`, what has started is left to run."""
    for job_id, stays in seen.stays.items():
        job = seen.jobs.get(job_id)
        name = _guard_of(job.reason) if job else ""
        if job is None or not name or f'guard "{name}" is at cancel' not in job.reason:
            continue
        ids = {job_id, job.parent_id}
        # Batch may take its time for a stop that it has accepted.
        asked = [
            call.at
            for call in seen.journal
            if ids & set(call.jobs) and call.reason == job.reason and not call.error
        ]
        for before, last in pairwise(stays):
            # What starts in the moment of its stop cannot be told from what waits.
            started = before.status in STARTED and last.status == "FAILED"
            latest = before.since + _MINUTE + _slack(seen, last.since)
            if started and all(at > latest for at in asked):
                yield f"{job_id} was {before.status} since {iso(before.since)}, and was stopped"


def i8_what_is_known_to_run_is_not_stopped_at_cancel(seen: History) -> Iterator[str]:
    """At `cancel`, no stop is asked for of a job of which an event has told that it started."""
    for action in seen.actions:
        effect = action.effect
        if not isinstance(effect, StopJobs) or '" is at cancel' not in effect.reason:
            continue
        asked = seen.written_at[action.sk]
        for job_id in effect.job_ids:
            stay = seen.status_at(job_id, asked)
            if stay is None or stay.status not in STARTED or not effect.service:
                continue  # To cancel other jobs does nothing, once they have started.
            received = _first_heard(seen, seen.jobs[job_id], stay)
            if stay.since + _SECOND < asked and received and received <= asked:
                yield f"{job_id} is {stay.status} since {iso(stay.since)}: stopped at {iso(asked)}"


def i9_only_what_a_guard_closed_is_reopened(seen: History) -> Iterator[str]:
    """Only queues that the guard closed are reopened by it; and those are, when all is calm."""
    closed: set[str] = set()
    decided = [
        (action.at, action.effect.queue)
        for action in seen.actions
        if isinstance(action.effect, SetQueueState) and action.effect.state == "DISABLED"
    ]
    for call in seen.journal:
        if call.api != "UpdateJobQueue" or call.error:
            continue
        if call.state == "DISABLED":
            closed.add(call.queue)
        # A closing that a release has overtaken was decided, and not made.
        elif not any(queue == call.queue and at <= iso(call.at) for at, queue in decided):
            yield f"{call.queue} was opened, and no guard had closed it"
    yield from _opened_against_people(seen)
    by_people = {call.queue for call in seen.by_people if call.queue}
    states = guard_items.read_all(seen.table)
    held = operator_hold.read(seen.table).is_on
    # A reopening waits while the stage of another entry holds the queue closed.
    waiting = {
        queue
        for queue, update in queue_update_items.read(seen.table).by_queue.items()
        if update.effect.state == "ENABLED" and not update.done
        if any(state.entry for state in states.values())
    }
    still_closed = {queue for state in states.values() for queue in state.closed} | waiting
    for queue in closed:
        name = resource_name(queue)
        if name in by_people or held:
            continue
        shut = seen.queues[queue] == "DISABLED"
        if shut != (queue in still_closed):
            yield f"{queue} is {seen.queues[queue]} at the end, and guards close {still_closed}"
    if not held and not any(state.entry for state in states.values()):
        yield from _closed_though_calm(seen, states)


def _closed_though_calm(seen: History, states: Mapping[str, GuardState]) -> Iterator[str]:
    policy = seen.policies[-1][1]
    observing = {rule.name for rule in policy.guard if policy.mode_of(rule) == "observe"}
    for name, state in states.items():  # Who observes by now opens nothing either.
        if state.closed and policy.mode == "enforce" and name not in observing:
            yield f"all guards are calm, and {name} still closes {state.closed}"


def _opened_against_people(seen: History) -> Iterator[str]:
    """Queues that people had closed long before a guard wanted to, and that it opened."""
    closed: dict[str, datetime] = {}  # by people, and by nobody else since
    kept: set[str] = set()
    own = {id(call) for call in seen.journal}
    for call in sorted((*seen.journal, *seen.by_people), key=lambda each: each.at):
        if call.api != "UpdateJobQueue" or call.error:
            continue
        queue = resource_name(call.queue)
        if id(call) not in own:
            kept.discard(queue)
            closed.pop(queue, None)
            if call.state == "DISABLED":
                closed[queue] = call.at
        elif call.state == "DISABLED":
            since = closed.get(queue)
            if since and call.at > since + _MINUTE + _slack(seen, call.at):
                kept.add(queue)
            closed.pop(queue, None)
        elif queue not in kept:
            closed.pop(queue, None)  # Closed by a person too: a closed queue doesn't tell that.
        else:
            yield f"{queue} was opened at {iso(call.at)}, and it was people who had closed it"


# ---- Notices ------------------------------------------------------------------------------


def i15_no_cause_brings_many_messages(seen: History) -> Iterator[str]:
    """No cause brings more than 12 messages an hour while the policy folds them."""
    by_cause: dict[tuple[object, ...], dict[str, datetime]] = {}
    for at, content in seen.published:
        facts = content["facts"]
        kind = facts.get("of", content["notice"])
        if kind == "watchdog-trouble":
            continue  # Troubles have a cause each.
        for each in facts.get("groups") or [facts]:
            finding = (each.get("findings") or [each.get("finding")])[0]
            about = [each.get(name) for name in ("queue", "rule", "guard", "cause")]
            cause = (kind.partition("-")[0] == "guard" or kind, finding, *about)
            # A delivery that is repeated has the same id.
            by_cause.setdefault(cause, {}).setdefault(content["id"], at)
    for cause, told in by_cause.items():
        times = sorted(told.values())
        for first in times:
            end = first + 60 * _MINUTE
            count = sum(first <= at < end for at in times)
            folded = all(policy.notify.fold for policy in seen.policies_from(first, end))
            if count > _MESSAGES_MAX and folded:
                yield f"{cause} brought {count} messages in the hour from {iso(first)} on"
                break


def i15_nothing_is_told_twice_by_being_folded(seen: History) -> Iterator[str]:
    """What a digest tells was not told alone, and no other digest tells it."""
    told: dict[str, set[str]] = {}
    for _, content in seen.published:
        ids = content["facts"]["ids"] if content["notice"] == "digest" else [content["id"]]
        for notice_id in ids:
            told.setdefault(notice_id, set()).add(content["id"])
        if content["notice"] == "digest":
            counted = sum(group["count"] for group in content["facts"]["groups"])
            count = content["facts"]["count"]
            if counted != count:
                yield f"{content['id']} tells of {count}, and its groups of {counted}"
    for notice_id, by in told.items():
        if len(by) > 1:
            yield f"{notice_id} was told by {sorted(by)}"


def i15_nothing_is_lost_by_being_folded(seen: History) -> Iterator[str]:
    """What was recorded to be told is told, or a digest that is still to come tells it."""
    told = seen.told_ids()
    for action, notice in seen.notices():
        if action.result is None or {"given_up", "handed_on"} & action.result.keys():
            continue  # It was not carried out, or not by this action.
        if notice.id not in told:
            yield f"{notice.id} was folded away"


def i15_the_first_of_a_cause_is_told_at_once(seen: History) -> Iterator[str]:
    """What is new goes out when it comes: the first of a cause, and a guard's every stage."""
    told_at: dict[str, datetime] = {}
    for at, content in seen.published:
        ids = content["facts"]["ids"] if content["notice"] == "digest" else [content["id"]]
        for notice_id in ids:
            told_at.setdefault(notice_id, at)
    causes: dict[tuple[object, ...], list[tuple[datetime, str]]] = {}
    for at, notice in _announced(seen):
        kind, facts = notice["notice"], notice["facts"]
        if kind in ("digest", "watchdog-trouble"):
            continue
        finding = (facts.get("findings") or [None])[0]
        about = [facts.get(name) for name in ("queue", "rule", "guard", "cause", "budget")]
        stage = facts.get("stage") if kind == "guard-raised" else None
        causes.setdefault((kind, finding, stage, *about), []).append((at, notice["id"]))
    for cause, notices in causes.items():
        of_kind = sum(other[0] == cause[0] for other in causes)
        first = min(at for at, _ in notices)
        by = first + 2 * _MINUTE + _slack(seen, first)
        failed = [at for at, what, _ in seen.failures if what == "act" and first <= at <= by]
        if failed:
            by = max(by, failed[-1] + _SETTLING)
        in_time = any(told_at.get(notice_id, seen.ended) <= by for _, notice_id in notices)
        if of_kind <= _MESSAGES_MAX and by < seen.ended and not in_time:
            yield f"{cause} came at {iso(first)}, and nothing of it was told by {iso(by)}"


# ---- Everything ---------------------------------------------------------------------------


def i10_nothing_is_lost(seen: History) -> Iterator[str]:
    """
    Every input is reflected in state, or lies in a dead-letter queue with a reason.

    No invocation fails but by a fault from outside: a mistake might be made good, and hide, else.
    """
    yield from seen.mistakes
    for at, reason, _ in seen.letters:
        if not reason:
            yield f"a dead letter of {iso(at)} has no reason"
    malformed = [r for _, r, _ in seen.letters if r.startswith(("detail", "event"))]
    buried = [r for _, r, _ in seen.letters if r.startswith("received")]
    if len(malformed) < seen.malformed and not buried:
        yield f"{seen.malformed} events were malformed, and {len(malformed)} were kept"
    # A notice tells a job's failure, or also that of those which depend on it.
    failures = [
        (notice.id, {notice.facts["job_id"], *notice.facts.get("follower_ids", ())})
        for _, notice in seen.notices()
        if notice.kind == "job-failed"
    ]
    failed = Counter(job_id for _, job_ids in failures for job_id in job_ids)
    told_ids = seen.told_ids()
    told = {job_id for id_, job_ids in failures if id_ in told_ids for job_id in job_ids}
    for job_id, job in seen.jobs.items():
        if failed[job_id] > 1:
            yield f"the failure of {job_id} was recorded {failed[job_id]} times"
        # A failure by which others follow waits for the sweep after a quiet time.
        is_late = seen.stays[job_id][-1].since > seen.ended - _UNDER_WAY - 2 * _MINUTE
        if failed[job_id] and job_id not in told and not is_late:
            yield f"the failure of {job_id} was never delivered"
        is_to_report = job.status == "FAILED" and job.kind in ("single", "multi-node", "service")
        received = any(each.status == "FAILED" for each in seen.received.get(job_id, ()))
        always = all(policy.notify.job_failures for _, policy in seen.policies)
        ours = job.reason.startswith(STOP_MARK)
        if ours and failed[job_id]:
            yield f"{job_id} was stopped by the watchdog, and told as news"
        if is_to_report and received and always and not (ours or failed[job_id] or is_late):
            yield f"{job_id} failed, and nobody was told"
    waiting = [
        action
        for action in seen.actions
        if action.result is None and seen.written_at[action.sk] < seen.ended - _UNDER_WAY
    ]
    given_up = sum("act" in reason or "tried" in reason for _, reason, _ in seen.letters)
    if waiting and not given_up:
        yield f"{len(waiting)} actions were not carried out: {waiting[0].sk}"


def i11_a_bad_policy_takes_no_effect(seen: History) -> Iterator[str]:
    """A bad policy never takes effect, is told, and never stops the watchdog."""
    swept = sweep_cursor.read(seen.table, NOON).minute
    if swept < seen.ended - 2 * _MINUTE:
        yield f"the last sweep was at {iso(swept)}, and it is {iso(seen.ended)}"
    told = [at for at, each in _announced(seen) if each["id"].startswith("watchdog-trouble:policy")]
    for begins in seen.bad_policies:
        replaced = [at for at, _ in seen.policies if begins <= at < begins + 3 * _MINUTE]
        disturbed = any(begins <= at < begins + _SETTLING for at, _, _ in seen.failures)
        late = any(begins <= at < begins + _SETTLING for at in seen.late_sweeps)
        if not told and not replaced and not disturbed and not late:
            yield f"the bad policy of {iso(begins)} was not told of"


def i12_every_changing_call_is_on_record(seen: History) -> Iterator[str]:
    """Every changing call is recorded before it is made, with rule and reason; its result after."""
    yield from seen.unrecorded
    for name in seen.overwritten:
        yield f"{name} was written by one who had not read its last version"
    done = [action for action in seen.actions if isinstance(action.effect, StopJobs)]
    for action in done:
        effect = action.effect
        if isinstance(effect, StopJobs) and not (effect.rule and effect.reason):
            yield f"the stop {action.sk} has no rule or no reason"
    asked = [each.effect for each in seen.actions if isinstance(each.effect, SetQueueState)]
    if any(not effect.guard for effect in asked):
        yield "a queue's closing names no guard"


def i13_every_changing_call_is_justified(seen: History) -> Iterator[str]:
    """
    Every changing call, first or repeated, is what policy, tags, exemptions, hold and evidence
    ask for at the second in which it is made.
    """
    yield from justified.unjustified(seen)


def i14_what_is_told_to_be_stopped_has_ended(seen: History) -> Iterator[str]:
    """
    A guard's report and release count as stopped only what a guard's stop has ended by then: their
    own, or another guard's that was faster.

    Children are counted by their array: one that fails by itself after the array's stop was decided
    counts too, and the call may come minutes later.
    """
    for action, notice in seen.notices():
        facts = notice.facts
        if notice.kind not in ("guard-report", "guard-released") or facts["mode"] == "observe":
            continue
        at = seen.written_at[action.sk]
        asked: dict[str, datetime] = {}
        for call in seen.journal:
            if _guard_of(call.reason) and call.at <= at:
                for job in call.jobs:
                    asked.setdefault(job, call.at)
        ended = [
            job_id
            for job_id, job in seen.jobs.items()
            if job.kind not in ("array", "node") and {job_id, job.parent_id} & asked.keys()
            for stay in seen.stays[job_id]
            if stay.status == "FAILED" and stay.since <= at
            if job.reason.startswith(STOP_MARK)
            or (job.parent_id in asked and stay.since >= asked[job.parent_id] - 3 * _MINUTE)
        ]
        # An array that is stopped while it is PENDING has no children yet, and counts whole.
        parents = {job.parent_id for job in seen.jobs.values()}
        unborn = sum(
            job.size or 0
            for job_id, job in seen.jobs.items()
            if job.kind == "array" and job_id in asked and job_id not in parents
            if any(stay.status == "FAILED" and stay.since <= at for stay in seen.stays[job_id])
        )
        told, were = facts["cancelled"] + facts["terminated"], len(ended) + unborn
        if told > were:
            yield f"{notice.id} of {iso(at)} tells of {told} stopped, and {were} were"


def i14_what_is_told_of_a_limits_stop_is_so(seen: History) -> Iterator[str]:
    """
    What has escaped a limit's stop was asked to stop; what was told to be stopped was asked.

    Else the latter is put right.
    """
    left = {
        (notice.facts["job_id"], datetime.fromisoformat(action.at))
        for action, notice in seen.notices()
        if ":left-alone:" in notice.id
    }
    # It is to be stopped again, and the brake, of which operators know, makes it wait.
    braked = any(notice.id.startswith("watchdog-trouble:brake") for _, notice in seen.notices())
    for action, notice in seen.notices():
        job_id, at = notice.facts.get("job_id", ""), datetime.fromisoformat(action.at)
        asked = [call.at for call in _asked_by_limits(seen, job_id)]
        if notice.kind == "limit-escaped" and not any(call <= at + _MINUTE for call in asked):
            yield f"{job_id} was told to have escaped at {iso(at)}, and was not asked to stop"
        if notice.kind != "limit-enforced" or notice.id.endswith(":observed"):
            continue
        put_right = any(job == job_id and later >= at for job, later in left)
        # A guard may have been faster, with the whole array, too.
        whole = {job_id, job_id.partition(":")[0]}
        of_it = (call for call in seen.journal if whole & {*call.jobs})
        is_asked = any(
            call.at >= at and (call.at in asked or _guard_of(call.reason)) for call in of_it
        )
        # The limit itself may be gone by then: operators know of the new policy.
        is_new = any(at <= since <= at + _SETTLING for since, _ in seen.policies)
        if not (is_asked or put_right or is_new or braked) and at < seen.ended - _SETTLING:
            yield f"{job_id} was told to be stopped at {iso(at)}; it was neither done nor put right"


def i14_what_is_told_of_an_arrays_stop_is_so(seen: History) -> Iterator[str]:
    """An array of which operators are told that its rest was not stopped after all, was not."""
    for action, notice in seen.notices():
        if notice.kind != "array-stopped" or not notice.id.endswith(":left-alone"):
            continue
        array_id = notice.facts["job_id"]
        asked = [
            call.at
            for call in seen.journal
            if not call.error and iso(call.at) <= action.at and "children failed" in call.reason
            if {each.partition(":")[0] for each in {*call.jobs} - call.refused} == {array_id}
        ]
        if asked:
            yield f"{array_id} was told to be left alone at {action.at}; it was asked at {asked}"


def i14_a_stay_that_passes_its_limit_is_told_once(seen: History) -> Iterator[str]:
    """
    What a limit does about a job is told once at a time; anew, where its stop was left alone.

    Two lists at once may each find a job of which no event has told: those are not meant. And what
    is told of a stay may be told of the next one later, where events tell late of its return.
    """
    told: Counter[tuple[str, str, datetime, datetime, str]] = Counter()
    for action, notice in seen.notices():
        job_id, at = str(notice.facts.get("job_id", "")), datetime.fromisoformat(action.at)
        received = {iso(each.told_at) for each in seen.received.get(job_id, ())}
        named, _, again = notice.id.rpartition("Z")
        stay = seen.status_at(job_id, at)
        if notice.kind == "limit-enforced" and stay and f"{named[-19:]}Z" in received:
            told[job_id, stay.status, stay.since, at, again] += 1
    for (job_id, status, since, *_), times in told.items():
        if times > 1:
            yield f"{job_id} is {status} since {iso(since)}, and that was told {times} times"


def i14_what_runs_on_is_told(seen: History) -> Iterator[str]:
    """A terminated job that runs on is told within a bounded time."""
    for made in seen.made:
        call = made.call
        if not call.api.startswith("Terminate") or call.error:
            continue
        for job_id in call.jobs:
            if job_id in call.refused:
                continue
            stay = seen.status_at(job_id, call.at)
            by = call.at + _RUNS_ON + _slack(seen, call.at)
            if stay is None or stay.status not in STARTED or by > seen.ended:
                continue
            later = seen.status_at(job_id, by)
            # What a guard stopped that nothing asks for any more is not looked at: that is told.
            given_up = f"watchdog-trouble:guard-vanished:{_guard_of(call.reason)}:"
            is_told = any(
                call.at < at <= by
                and (
                    (_names(content, job_id) and at > call.at + _MINUTE / 2)
                    or content["id"].startswith(given_up)
                    # Of what was stopped just before a release, it is not known yet.
                    or (content["notice"] == "guard-released" and content["facts"]["not_known"])
                )
                for at, content in _announced(seen)
            )
            held = any(begin <= by and end >= call.at for begin, end in _holds(seen))
            if later is not None and later.status not in ENDED and not (is_told or held):
                yield f"{job_id} was terminated at {iso(call.at)}, runs on, and nobody was told"


def _names(content: Mapping[str, Any], job_id: str) -> bool:
    """Whether a notice tells of a job, or of a guard's jobs that have not ended."""
    return job_id in json.dumps(content) or bool(content["facts"].get("not_ended"))


def i14_own_tags_are_honoured(seen: History) -> Iterator[str]:
    """A job's own limit is enforced in time, also where events carry no tags."""
    for problem in i4_limits_are_enforced_in_time(seen):
        job_id = problem.partition(" ")[0]
        tags = seen.tags_at(job_id, seen.ended)
        if any(key.startswith(TAG_PREFIX) for key in tags):
            yield problem


def i14_actions_are_carried_out(seen: History) -> Iterator[str]:
    """An action without a result is carried out later, whatever the stream has dropped."""
    if operator_hold.read(seen.table).is_on or seen.ended < seen.faults_until + _RUNS_ON:
        return
    for action in seen.actions:
        if action.result is None and seen.written_at[action.sk] < seen.ended - _RUNS_ON:
            yield f"{action.sk} has no result: {action.effect!r:.100}"


def i14_queues_are_as_guards_asked(seen: History) -> Iterator[str]:
    """A queue ends as a guard asked for last, or an operator was told."""
    last: dict[str, tuple[datetime, str, str]] = {}
    asked_at = dict(seen.written_at)
    for action in sorted(seen.actions, key=lambda each: each.sk):
        effect, at = action.effect, asked_at[action.sk]
        if action.result and "handed_on" in action.result:  # What was asked for stays as old.
            asked_at[action.result["handed_on"].rpartition("/")[2]] = at
        if isinstance(effect, SetQueueState) and at >= last.get(effect.queue, (at, ""))[0]:
            last[effect.queue] = at, effect.state, effect.guard
    if operator_hold.read(seen.table).is_on:
        return
    stages_on = any(state.entry for state in guard_items.read_all(seen.table).values())
    updates = queue_update_items.read(seen.table).by_queue if stages_on else {}
    for queue, (at, state, guard) in last.items():
        name = resource_name(queue)
        if queue in updates and updates[queue].effect.state == state == "ENABLED":
            continue  # It waits while a stage that is on holds the queue closed.
        if state == "DISABLED" and any(
            since >= at and not _closes_queues(policy, guard) for since, policy in seen.policies
        ):
            continue  # Nobody asks for it any more.
        by_people = any(call.queue and resource_name(call.queue) == name for call in seen.by_people)
        if by_people or seen.queues[queue] == state or at > seen.ended - _RUNS_ON:
            continue
        told = any(
            since >= at and content["notice"] == "watchdog-trouble" and name in content["text"]
            for since, content in _announced(seen)
        )
        if not told:
            yield f"{queue} was to be {state} at {iso(at)}, and is {seen.queues[queue]}"


def _closes_queues(policy: Policy, guard: str) -> bool:
    """Whether a policy has a guard close queues, and not only observe."""
    return any(
        policy.mode_of(rule) == "enforce" and any(stage.close_queues for stage in rule.stage)
        for rule in policy.guard
        if rule.name == guard
    )


def i14_a_guard_that_vanishes_is_told(seen: History) -> Iterator[str]:
    """Operators are told, once a stage, where the policy has lost its guard, or the stage."""
    for name, begins, ends, stage in _stages(seen):
        for (_, before), (at, policy) in pairwise([seen.policies[0], *seen.policies]):
            by = at + _GONE + _slack(seen, at)
            kept = _has_stage(policy, name, stage)
            if not _has_stage(before, name, stage):
                continue  # It was lost before, and that was told.
            back = any(at < since < by for since, _ in seen.policies)
            if kept or back or not begins <= at < ends or by > min(ends, seen.ended):
                continue
            if any(begin <= by and end >= at for begin, end in _holds(seen)):
                continue
            told = any(
                begins <= since <= by and name in json.dumps(content)
                for since, content in _announced(seen)
                if content["notice"] in ("watchdog-trouble", "guard-released", "digest")
            )
            if not told:
                yield f"{name} is at {stage}, the policy of {iso(at)} has lost it: nobody was told"


def _has_stage(policy: Policy, guard: str, stage: str) -> bool:
    stages = (each for rule in policy.guard if rule.name == guard for each in rule.stage)
    return any(each.action == stage for each in stages)


def i11_each_bad_policy_is_told(seen: History) -> Iterator[str]:
    """A bad policy that is put again is told again."""
    told = [at for at, each in _announced(seen) if each["id"].startswith("watchdog-trouble:policy")]
    for begins in seen.bad_policies:
        replaced = [at for at, _ in seen.policies if begins <= at < begins + 3 * _MINUTE]
        again = [at for at in seen.bad_policies if begins < at < begins + 3 * _MINUTE]
        disturbed = any(begins <= at < begins + _SETTLING for at, _, _ in seen.failures)
        late = any(begins <= at < begins + _SETTLING for at in seen.late_sweeps)
        if replaced or again or disturbed or late:
            continue
        if not any(begins <= at <= begins + 3 * _MINUTE for at in told):
            yield f"the bad policy of {iso(begins)} was not told"


ALL: Sequence[Invariant] = (
    i1_completions_are_recorded_once_and_delivered,
    i2_counts_are_those_of_batch,
    i3_nobody_is_stopped_too_soon,
    i3_the_brake_holds,
    i4_limits_are_enforced_in_time,
    i5_who_observes_changes_nothing,
    i5_observing_changes_nothing,
    i6_who_is_exempt_or_spared_is_not_stopped,
    i7_stages_are_entered_once_and_their_runs_finish,
    i8_nothing_starts_while_a_stage_is_on,
    i8_what_runs_finishes_at_cancel,
    i8_what_is_known_to_run_is_not_stopped_at_cancel,
    i9_only_what_a_guard_closed_is_reopened,
    i10_nothing_is_lost,
    i11_a_bad_policy_takes_no_effect,
    i12_every_changing_call_is_on_record,
)


# Of histories in the wide world.
WIDER: Sequence[Invariant] = (
    i15_no_cause_brings_many_messages,
    i15_nothing_is_told_twice_by_being_folded,
    i15_nothing_is_lost_by_being_folded,
    i15_the_first_of_a_cause_is_told_at_once,
    i11_each_bad_policy_is_told,
    i13_every_changing_call_is_justified,
    i14_what_is_told_to_be_stopped_has_ended,
    i14_what_is_told_of_a_limits_stop_is_so,
    i14_what_is_told_of_an_arrays_stop_is_so,
    i14_a_stay_that_passes_its_limit_is_told_once,
    i14_what_runs_on_is_told,
    i14_own_tags_are_honoured,
    i14_actions_are_carried_out,
    i14_queues_are_as_guards_asked,
    i14_a_guard_that_vanishes_is_told,
    i16_a_budgets_use_is_what_batch_saw,
    i16_what_is_told_to_be_used_is,
    i16_what_is_used_up_is_told,
    i17_what_passed_a_limit_is_counted_once_as_what_became_of_it,
    i18_a_chat_is_told_what_the_topic_is_told,
    i18_no_conversation_has_many_messages,
)


def broken(seen: History) -> list[str]:
    """All that does not hold, each with the invariant's name."""
    checked = (*ALL, *WIDER) if seen.plan.wide else ALL
    return [f"{each.__name__}: {what}" for each in checked for what in each(seen)]


# ---- What they are made of ----------------------------------------------------------------


def _announced(seen: History) -> Iterator[tuple[datetime, Mapping[str, Any]]]:
    """What was recorded to be told, and when. It may be sent later, in a digest."""
    for action, notice in seen.notices():
        content = {"notice": notice.kind, "id": notice.id, "text": notice.text}
        yield seen.written_at[action.sk], content | {"facts": notice.facts}


def _was_heard_of(seen: History, array_id: str) -> bool:
    return any(
        received and (job_id == array_id or job_id.startswith(f"{array_id}:"))
        for job_id, received in seen.received.items()
    )


def _reason(action: Action) -> str:
    return action.effect.reason if isinstance(action.effect, StopJobs) else ""


def _stops_by_limits(seen: History) -> Iterator[tuple[Action, str]]:
    for action in seen.actions:
        effect = action.effect
        if isinstance(effect, StopJobs) and " for more than " in effect.reason:
            for job_id in effect.job_ids:
                yield action, job_id


def _was_stopped_before(seen: History, job_id: str, at: datetime) -> bool:
    return any(
        job_id == each and datetime.fromisoformat(action.at) < at
        for action, each in _stops_by_limits(seen)
    )


def _asked_by_limits(seen: History, job_id: str) -> list[Call]:
    """The calls by which limits have asked Batch to stop a job."""
    return [
        call
        for call in seen.journal
        if job_id in call.jobs and " for more than " in call.reason and not call.error
    ]


def _possible_limits(seen: History, job_id: str, status: str, at: datetime) -> Iterator[timedelta]:
    for _, policy in seen.policies:
        limit = policy.limit_for(seen.job_at(job_id, at), status)
        if limit and limit.mode == "enforce":
            yield from (limit.after_by_cause or {}).values()
            if limit.after is not None:
                yield limit.after


def _recorded_of_jobs(seen: History) -> dict[str, list[tuple[datetime, str]]]:
    """
    When anything was recorded about a job's limit: a stop, a notice, or why there was none.

    Beside it is the state that it is about, or "" where it is about all of them.
    """
    found: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for action in seen.actions:
        if isinstance(action.effect, StopJobs):
            for job_id in action.effect.job_ids:
                found[job_id].append((datetime.fromisoformat(action.at), action.effect.status))
    for action, notice in seen.notices():
        if notice.kind in ("limit-enforced", "limit-escaped") or notice.id.endswith(":after"):
            told = datetime.fromisoformat(action.at), str(notice.facts["status"])
            found[notice.facts["job_id"]].append(told)
    return found


def _holds(seen: History) -> Iterator[tuple[datetime, datetime]]:
    """When operators held the watchdog, with the time that it takes to go on."""
    begin: datetime | None = None
    for at, command, problem in seen.commands:
        if command["command"] == "hold" and begin is None:
            begin = at
        if command["command"] == "resume" and not problem and begin is not None:
            yield begin, at + _SETTLING / 2
            begin = None
    if begin is not None:
        yield begin, seen.ended


def _enforces(policy: Policy) -> bool:
    modes = {policy.mode}
    modes |= {policy.mode_of(rule) for rule in policy.limit}
    modes |= {policy.mode_of(rule) for rule in policy.guard}
    return "enforce" in modes


def _guard_of(reason: str) -> str:
    start = f'{STOP_MARK}guard "'
    return reason.removeprefix(start).partition('"')[0] if reason.startswith(start) else ""


def _whole(seen: History, job_id: str) -> JobEvent:
    """The job as rules match it."""
    return seen.jobs[job_id]


def _policies_around(seen: History, at: datetime) -> list[Policy]:
    return [
        policy
        for (since, policy), until in zip(
            seen.policies, [*(s for s, _ in seen.policies[1:]), seen.ended], strict=True
        )
        if since <= at and until >= at - _SETTLING
    ]


def _stages(seen: History) -> Iterator[tuple[str, datetime, datetime, str]]:
    """Guards' stages that were meant, as they were on record: guard, from, to, stage."""
    turns: dict[str, list[tuple[datetime, str, str]]] = defaultdict(list)
    for action, notice in sorted(seen.notices(), key=lambda each: seen.written_at[each[0].sk]):
        if notice.kind in ("guard-raised", "guard-released"):
            # An alarm's own time may be long before it came.
            at, facts = seen.written_at[action.sk], notice.facts
            turns[facts["guard"]].append((at, facts["stage"], facts["mode"]))
    for name, told in turns.items():
        for (begins, stage, mode), (ends, *_) in pairwise([*told, (seen.ended, "", "")]):
            if stage != "calm" and mode == "enforce":
                yield name, begins, ends, stage


def _in_scope_throughout(
    seen: History, name: str, job_id: str, begins: datetime, ends: datetime
) -> bool:
    """Whether a guard covers a job, in force and not held, from a time to another."""
    if seen.has_other_tags(job_id):
        return False
    is_held = any(begin < ends and end > begins for begin, end in _holds(seen))
    if is_held or _stages_changed(seen, name, begins, ends):
        return False
    during = [
        policy
        for (since, policy), until in zip(
            seen.policies, [*(s for s, _ in seen.policies[1:]), seen.ended], strict=True
        )
        if since < ends and until + _PATROL > begins
    ]
    job = _whole(seen, job_id)
    for policy in during:
        rule = next((each for each in policy.guard if each.name == name), None)
        if rule is None or policy.mode_of(rule) != "enforce":
            return False
        if not rule.covers(job) or rule.spares(job):
            return False
        others = [each for each in policy.guard if each.name != name and each.covers(job)]
        if any(each.spares(job) for each in others):
            return False
    return True


def _guard_prompt(seen: History, begins: datetime) -> timedelta:
    most = max(len(policy.guard) for _, policy in seen.policies)
    settling = _SETTLING if _slack(seen, begins) else timedelta()
    return _GUARD_PROMPT + most * _TURN + settling


def _stop_is_accepted(seen: History, job_id: str, until: datetime) -> bool:
    ids = {job_id, seen.jobs[job_id].parent_id}
    calls = (*seen.journal, *seen.by_people)
    return any(call.at <= until and set(call.jobs) & ids for call in calls)
