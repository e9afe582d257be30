"""A stop is judged again in the second in which it is made, by what is known then."""

from dataclasses import replace
from typing import Any

import pytest

from batch_watchdog.actions.stop_rules import Grounds, says_on_what_it_rests, why_not
from batch_watchdog.core.effects import StopJobs
from batch_watchdog.guards.state import GuardState, LatestSignal, StageEntry, StopAction
from batch_watchdog.policy.model import Policy, UnreadablePolicy, parse_policy
from tests.makers import ARRAY, JOB, a_described_job, at

POLICY = """
mode = "enforce"
[[limit]]
match = { queue = "gpu" }
RUNNABLE = { after = "2h", action = "cancel", after_by_cause = { misconfigured = "30m" } }
[[guard]]
name = "g"
match = { queue = "gpu" }
spare = { tags = { critical = "true" } }
[[guard.stage]]
alarms = ["soft"]
action = "cancel"
[[array]]
match = { name = "render" }
stop_rest_when = { failed = 3 }
"""
BY_CAUSE = ', after_by_cause = { misconfigured = "30m" }'
BY_LIMIT = StopJobs(
    how="cancel", job_ids=(JOB,), reason="r", rule="r", status="RUNNABLE", since=(at("10:00"),)
)
BY_GUARD = StopJobs(how="cancel", job_ids=(JOB,), reason="r", rule="g", guard="g", run_id="run-1")
BY_ARRAY = StopJobs(how="terminate", job_ids=(ARRAY,), reason="r", rule="a", array_id=ARRAY)


def grounds(policy: str = POLICY, **changes: Any) -> Grounds:
    return replace(Grounds(policy=parse_policy(policy), now=at("12:00")), **changes)


def at_stage(stage: StopAction = "cancel", **changes: Any) -> dict[str, GuardState]:
    entry = StageEntry(run_id="run-1", stage=stage, since=at("11:00"), mode="enforce", why="soft")
    alarms = {"cloudwatch:soft": LatestSignal(state="ALARM", at=at("11:00"))}
    return {"g": GuardState(guard="g", entry=replace(entry, **changes), alarms=alarms)}


def an_array_job(failed: int = 4, **changes: Any) -> dict[str, Any]:
    properties = {"size": 10, "statusSummary": {"FAILED": failed, "RUNNING": 10 - failed}}
    return a_described_job(ARRAY, "PENDING", arrayProperties=properties, **changes)


# ---- A limit ------------------------------------------------------------------------------


def test_a_limits_stop_is_meant_while_all_is_as_it_was() -> None:
    assert why_not(BY_LIMIT, 0, a_described_job(), grounds()) == ""


@pytest.mark.parametrize(
    "policy",
    [
        "",
        POLICY.replace('"enforce"', '"observe"'),
        POLICY.replace('action = "cancel", after_by', 'action = "warn", after_by'),
        POLICY.replace('action = "cancel", after_by', 'action = "terminate", after_by'),
        POLICY.replace('"2h"', '"24h"'),
        POLICY.replace('queue = "gpu"', 'queue = "cpu"'),
        POLICY.replace("RUNNABLE", "SCHEDULED").replace(BY_CAUSE, ""),
    ],
    ids=[
        "no rule",
        "observes",
        "warns",
        "another action",
        "longer",
        "another queue",
        "another state",
    ],
)
def test_a_limits_stop_is_not_meant_under_a_policy_that_would_not_ask_for_it(policy: str) -> None:
    assert why_not(BY_LIMIT, 0, a_described_job(), grounds(policy))


@pytest.mark.parametrize(
    "tags", [{"batch-watchdog:exempt": "true"}, {"batch-watchdog:RUNNABLE": "3h"}]
)
def test_a_jobs_own_tags_count_as_they_are_now(tags: dict[str, str]) -> None:
    assert why_not(BY_LIMIT, 0, a_described_job(tags=tags), grounds())


@pytest.mark.parametrize("status", ["SUBMITTED", "STARTING", "RUNNING", "SUCCEEDED", "FAILED", "?"])
def test_a_job_that_has_moved_on_is_left_alone(status: str) -> None:
    assert why_not(BY_LIMIT, 0, a_described_job(status=status), grounds())


@pytest.mark.parametrize(
    "parts",
    [
        {"arrayProperties": {"size": 4, "statusSummary": {"RUNNING": 4}}},
        {"nodeProperties": {"nodeIndex": 0}, "jobId": f"{JOB}#0"},
    ],
)
def test_a_limits_stop_of_an_array_or_a_node_is_not_meant(parts: dict[str, Any]) -> None:
    policy = POLICY.replace("RUNNABLE", "PENDING").replace(BY_CAUSE, "")
    stop = replace(BY_LIMIT, status="PENDING")

    assert why_not(stop, 0, a_described_job(status="PENDING"), grounds(policy)) == ""
    assert why_not(stop, 0, a_described_job(status="PENDING") | parts, grounds(policy))


def test_another_attempt_begins_another_stay() -> None:
    noon_ms = 1_767_268_800_000
    attempts = [{"stoppedAt": noon_ms - 3_600_000}]

    assert why_not(BY_LIMIT, 0, a_described_job(attempts=attempts), grounds())


def test_each_job_of_a_stop_is_judged_by_its_own_time() -> None:
    stop = replace(BY_LIMIT, job_ids=("1", "2"), since=(at("10:00"), at("10:01")))

    whys = [why_not(stop, place, a_described_job(str(place + 1)), grounds()) for place in (0, 1)]

    assert whys == ["", "the job's limit has not passed"]


@pytest.mark.parametrize(("seen", "meant"), [("10:00", True), ("10:01", False), ("09:00", True)])
def test_a_stay_that_has_ended_since_does_not_count_for_the_one_after(
    seen: str,
    meant: bool,  # noqa: FBT001
) -> None:
    events = {JOB: at(seen), "another": at("11:59")}

    assert (not why_not(BY_LIMIT, 0, a_described_job(), grounds(seen_since=events))) is meant


@pytest.mark.parametrize(
    ("cause", "meant"), [("misconfigured", True), ("capacity", False), (None, False)]
)
def test_the_limit_is_that_of_the_cause_on_which_the_stop_rests(cause: Any, meant: bool) -> None:  # noqa: FBT001
    stop = replace(BY_LIMIT, since=(at("11:20"),), cause=cause)

    assert (not why_not(stop, 0, a_described_job(), grounds())) is meant


@pytest.mark.parametrize(
    ("status", "escalate", "meant"),
    [("STARTING", "true", True), ("STARTING", "false", False), ("RUNNABLE", "true", False)],
)
def test_a_job_that_has_started_is_terminated_only_if_the_policy_still_says_so(
    status: str,
    escalate: str,
    meant: bool,  # noqa: FBT001
) -> None:
    policy = POLICY.replace('"cancel", after_by', f'"cancel", escalate = {escalate}, after_by')
    stop = replace(BY_LIMIT, how="terminate", escalates=True, waited_until=at("12:00"))

    assert (not why_not(stop, 0, a_described_job(status=status), grounds(policy))) is meant


@pytest.mark.parametrize(
    ("changes", "seen", "why"),
    [
        ({}, "10:00", ""),
        ({}, "10:01", "the job has waited again since"),
        ({"attempts": 1}, "10:00", "the job is in another attempt"),
        ({"attempts": 0}, "10:00", ""),
    ],
)
def test_a_job_that_has_waited_again_is_not_terminated_for_the_wait_before(
    changes: dict[str, Any], seen: str, why: str
) -> None:
    policy = POLICY.replace('"cancel", after_by', '"cancel", escalate = true, after_by')
    escalation = replace(BY_LIMIT, how="terminate", escalates=True, waited_until=at("12:00"))
    stop, known = replace(escalation, **changes), grounds(policy, seen_since={JOB: at(seen)})

    assert why_not(stop, 0, a_described_job(status="RUNNING"), known) == why


@pytest.mark.parametrize("exempt", [JOB, ARRAY])
def test_an_exempted_job_or_array_is_left_alone(exempt: str) -> None:
    job_id = f"{ARRAY}:3" if exempt == ARRAY else JOB
    stop = replace(BY_LIMIT, job_ids=(job_id,))

    assert why_not(stop, 0, a_described_job(job_id), grounds()) == ""
    assert why_not(stop, 0, a_described_job(job_id), grounds(exempt={exempt}))


# ---- A guard ------------------------------------------------------------------------------


def test_a_guards_stop_is_meant_while_its_stage_is_on() -> None:
    assert why_not(BY_GUARD, 0, a_described_job(), grounds(guards=at_stage())) == ""


@pytest.mark.parametrize(
    ("policy", "states"),
    [
        (POLICY, {}),
        (POLICY, {"g": GuardState(guard="g")}),
        (POLICY, at_stage(run_id="run-2")),
        (POLICY, at_stage(mode="observe")),
        ("", at_stage()),
        (POLICY.replace('"enforce"', '"observe"'), at_stage()),
        (POLICY.replace('queue = "gpu"', 'queue = "cpu"'), at_stage()),
    ],
    ids=[
        "unknown",
        "released",
        "raised anew",
        "entered in observe mode",
        "gone",
        "observes",
        "scope",
    ],
)
def test_a_guards_stop_is_not_meant_when_the_guard_would_not_ask_for_it(
    policy: str, states: dict[str, GuardState]
) -> None:
    assert why_not(BY_GUARD, 0, a_described_job(), grounds(policy, guards=states))


def test_a_job_that_the_guard_spares_by_now_is_left_alone() -> None:
    job = a_described_job(tags={"critical": "true"})

    assert why_not(BY_GUARD, 0, job, grounds(guards=at_stage()))


@pytest.mark.parametrize(("stage", "meant"), [("cancel", False), ("terminate", True)])
def test_a_job_that_has_started_may_finish_at_cancel(stage: StopAction, meant: bool) -> None:  # noqa: FBT001
    job = a_described_job(status="RUNNING")
    policy = POLICY.replace(
        'alarms = ["soft"]\naction = "cancel"',
        f"""
alarms = ["soft"]
action = "{stage}"
""",
    )

    assert (not why_not(BY_GUARD, 0, job, grounds(policy, guards=at_stage(stage)))) is meant


def test_no_exemption_counts_for_a_guard() -> None:
    job = a_described_job(tags={"batch-watchdog:exempt": "true"})

    assert why_not(BY_GUARD, 0, job, grounds(guards=at_stage(), exempt={JOB})) == ""


# ---- An array's rule ----------------------------------------------------------------------


def test_an_arrays_stop_is_meant_while_so_many_have_failed() -> None:
    array = an_array_job()

    assert why_not(BY_ARRAY, 0, array, grounds(array=array)) == ""


@pytest.mark.parametrize(
    "policy",
    [
        "",
        POLICY.replace('"enforce"', '"observe"'),
        POLICY.replace("failed = 3", "failed = 4"),
        POLICY.replace("stop_rest_when = { failed = 3 }", "progress = [50]"),
        POLICY.replace('name = "render"', 'name = "film"'),
    ],
)
def test_an_arrays_stop_is_not_meant_under_a_policy_that_would_not_ask_for_it(policy: str) -> None:
    array = an_array_job()

    assert why_not(BY_ARRAY, 0, array, grounds(policy, array=array))


@pytest.mark.parametrize(
    "array",
    [None, an_array_job(3), an_array_job() | {"status": "FAILED"}, an_array_job() | {"tags": None}],
    ids=["not shown", "fewer failed", "ended", "shown in part"],
)
def test_a_childs_stop_is_judged_by_its_array(array: dict[str, Any] | None) -> None:
    stop = replace(BY_ARRAY, job_ids=(f"{ARRAY}:7",))
    child = a_described_job(f"{ARRAY}:7", "RUNNING")

    assert why_not(stop, 0, child, grounds(array=an_array_job())) == ""
    assert why_not(stop, 0, child, grounds(array=array))


# ---- What is not known --------------------------------------------------------------------


@pytest.mark.parametrize("stop", [BY_LIMIT, BY_GUARD, BY_ARRAY])
@pytest.mark.parametrize("lacks", ["tags", "jobName", "jobQueue", "jobDefinition"])
def test_a_job_that_is_shown_in_part_is_left_alone(stop: StopJobs, lacks: str) -> None:
    job = an_array_job() if stop is BY_ARRAY else a_described_job()
    whole = grounds(guards=at_stage(), array=an_array_job())
    part = {name: value for name, value in job.items() if name != lacks}

    assert why_not(stop, 0, job, whole) == ""
    assert why_not(stop, 0, part, whole)
    assert why_not(stop, 0, None, whole)
    assert why_not(stop, 0, job | {"attempts": 7}, whole)


@pytest.mark.parametrize("stop", [BY_LIMIT, BY_GUARD, BY_ARRAY])
@pytest.mark.parametrize("empty", ["jobName", "jobQueue", "jobDefinition"])
def test_a_job_of_which_a_name_is_shown_empty_is_left_alone(stop: StopJobs, empty: str) -> None:
    job = an_array_job() if stop is BY_ARRAY else a_described_job()
    whole = grounds(guards=at_stage(), array=an_array_job())

    assert why_not(stop, 0, job | {empty: ""}, whole) == "AWS Batch shows only a part of the job"


def test_a_service_job_has_no_definition() -> None:
    job = a_described_job() | {"serviceJobType": "SAGEMAKER_TRAINING"}
    del job["jobDefinition"]

    assert why_not(replace(BY_LIMIT, service=True), 0, job, grounds()) == ""


@pytest.mark.parametrize("stop", [BY_LIMIT, BY_GUARD, BY_ARRAY])
def test_a_policy_that_cannot_be_read_stops_nobody(stop: StopJobs) -> None:
    policy: Policy = UnreadablePolicy()
    everything = grounds(guards=at_stage(), array=an_array_job())
    job = an_array_job() if stop is BY_ARRAY else a_described_job()

    assert why_not(stop, 0, job, replace(everything, policy=policy))


def test_a_stop_says_on_what_it_rests_or_is_of_an_older_version() -> None:
    old = StopJobs(how="cancel", job_ids=(JOB,), reason="r", rule="r")

    assert all(says_on_what_it_rests(stop) for stop in (BY_LIMIT, BY_GUARD, BY_ARRAY))
    assert not says_on_what_it_rests(old)
    assert not says_on_what_it_rests(replace(old, status="RUNNABLE"))
