"""A stop run gets to its end, at its pace, whatever goes wrong; and its report adds up."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.guards.stop_run.run import CLOSING
from batch_watchdog.store import operator_hold
from batch_watchdog.store.operator_hold import OperatorHold
from batch_watchdog.store.table import Key, Put
from local.aws.errors import ApiError
from local.aws.functions import Crash
from tests.running import MINUTE, NOON, POLICY, Running

pytestmark = pytest.mark.long


def bound(ids: int) -> float:
    return 1.02 * -(-ids // 50) + 5


# ---- How many calls, and how fast ---------------------------------------------------------


def test_a_hundred_thousand_jobs_with_four_arrays_take_as_few_calls_as_can_be() -> None:
    running = Running()
    running.submit(80_000)
    running.submit(4, array_size=5_000)

    running.enter("cancel").run(minutes=5)

    assert running.stop_calls <= bound(80_004)
    assert running.alive() == 0
    assert running.report()["cancelled"] == 100_000


@pytest.mark.parametrize(
    ("allowed", "configured"),
    [(10.0, 40.0), (20.0, 20.0)],
    ids=["more is configured than allowed", "as much is configured as allowed"],
)
def test_a_run_takes_hardly_longer_than_batch_wants(allowed: float, configured: float) -> None:
    running = Running(most=configured)
    jobs = running.submit(60_000)
    running.batch.rate = allowed

    running.enter("cancel").run(minutes=15)

    assert running.took.total_seconds() <= 1.1 * bound(60_000) / allowed
    assert running.stops == dict.fromkeys(jobs, 1)
    assert running.report()["cancelled"] == 60_000
    throttled = sum(call.throttled for call in running.batch.journal)
    assert throttled <= 0.1 * running.stop_calls


def test_a_run_keeps_below_the_configured_rate() -> None:
    running = Running(most=5)
    running.submit(5_000)

    running.enter("cancel").run(minutes=5)

    at = [call.at for call in running.batch.journal if call.jobs]
    assert min(b - a for a, b in pairwise(at)) >= timedelta(seconds=0.2)


def test_no_invocation_takes_longer_than_it_may() -> None:
    running = Running(most=2)
    running.submit(10_000)

    running.enter("cancel").run(minutes=5)

    assert timedelta(seconds=30) < running.longest < timedelta(seconds=60)
    assert running.report()["cancelled"] == 10_000


def test_two_runs_share_the_rate() -> None:
    other = POLICY.partition("[[guard]]")[2].replace("monthly", "daily")
    running = Running(f"{POLICY}\n[[guard]]{other}", most=5)
    running.submit(5_000)

    running.enter("cancel").enter("cancel", guard="daily").run(minutes=10)

    at = [call.at for call in running.batch.journal if call.jobs]
    assert min(b - a for a, b in pairwise(at)) >= timedelta(seconds=0.2)
    assert sorted(each["guard"] for each in running.reports()) == ["daily", "monthly"]
    assert running.alive() == 0


def test_a_batch_that_hardly_lets_through_anything_is_waited_for() -> None:
    running = Running(POLICY.replace("close_queues = true", ""))
    jobs = running.submit(1_000)
    running.batch.rate = 0.2

    running.enter("cancel").run(minutes=30)

    assert running.stops == dict.fromkeys(jobs, 1)
    told = running.report()
    assert 0 < told["cancelled"] < 1_000
    # Batch could not be asked of the others.
    assert told["cancelled"] + told["not_known"] == 1_000


def test_where_there_are_no_bulk_calls_jobs_are_stopped_one_by_one() -> None:
    running = Running(bulk=False, rate=20)
    jobs = running.submit(500)

    running.enter("cancel").run(minutes=10)

    assert running.stops.keys() == set(jobs)
    assert running.report()["cancelled"] == 500
    assert running.alive() == 0


# ---- Deaths -------------------------------------------------------------------------------


def a_small_run(**options: object) -> Running:
    running = Running(**options)  # type: ignore[arg-type]
    running.submit(1_120)
    running.submit(3, "spared-one")
    running.submit(1, array_size=5)
    return running


@cache
def steps_of_a_small_run() -> int:
    running = a_small_run().enter("cancel").run(minutes=2)
    assert running.report()["cancelled"] == 1_125
    return running.steps


@pytest.mark.parametrize("first", range(1, 24))
def test_a_run_that_dies_ten_times_gets_to_its_end_and_counts_no_job_twice(first: int) -> None:
    running = a_small_run()
    assert steps_of_a_small_run() < 276  # So that in all tests together it dies at each step.
    running.deaths = set(range(first, 276, 23))

    running.enter("cancel").run(minutes=90)

    assert running.steps > max(running.deaths)
    report = running.report()
    assert (report["cancelled"], report["spared"], report["found"]) == (1_125, 3, 1_128)
    assert running.alive() == 3


def test_a_run_whose_messages_are_lost_is_started_again_by_the_sweep() -> None:
    running = a_small_run().enter("cancel")
    running.lose_messages()

    running.run(minutes=10)

    assert running.report()["cancelled"] == 1_125


def test_who_is_spared_by_now_is_not_stopped_by_a_run_that_comes_back() -> None:
    running = Running()
    running.submit(100)
    call = running.batch.call
    new_policy = POLICY.replace("spared-*", "render")

    def dies(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if operation == "CancelJobs" and running.policy != new_policy:
            running.policy = new_policy
            raise Crash(operation)
        return call(operation, params)

    running.batch.call = dies  # type: ignore[method-assign]
    running.enter("cancel").run(minutes=10)

    assert running.policy == new_policy
    assert running.alive() == 100
    assert running.report()["spared"] == 100


def test_a_run_that_comes_back_under_another_policy_lists_anew() -> None:
    old_policy = POLICY.replace("spared-*", "render")
    running = Running(old_policy)
    running.submit(2_500)
    call = running.batch.call

    def dies(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("nextToken") and running.policy == old_policy:
            running.policy = POLICY
            raise Crash(operation)
        return call(operation, params)

    running.batch.call = dies  # type: ignore[method-assign]
    running.enter("cancel").run(minutes=10)

    report = running.report()
    assert (report["cancelled"], report["spared"], report["found"]) == (2_500, 0, 2_500)
    # What was judged by the policy in force need not be described to be judged again.
    assert running.calls["DescribeJobs"] == 0


def test_a_run_that_lost_a_race_goes_on_after_seconds_in_case_nobody_else_does() -> None:
    running = Running()
    running.submit(100)
    write, lost = running.table.write, list[Key]()

    def loses(puts: Sequence[Put]) -> None:
        """The first write of a chunk conflicts with one that is not made either."""
        if not lost and puts[-1].key[1].startswith("CHUNK#"):
            lost.append(puts[0].key)
            raise StaleItemError("/".join(puts[0].key))
        write(puts)

    running.table.write = loses  # type: ignore[method-assign]
    running.enter("cancel").run(minutes=5)

    assert lost
    assert running.took < timedelta(seconds=10)
    assert running.report()["cancelled"] == 100


def test_a_run_that_failed_goes_on_as_soon_as_its_message_comes_again() -> None:
    running = Running()
    running.submit(100)
    call, failed = running.batch.call, list[str]()

    def fails(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if operation == "ListJobs" and not failed:
            failed.append(operation)
            raise ApiError("AccessDeniedException", "not now", 403)
        return call(operation, params)

    running.batch.call = fails  # type: ignore[method-assign]
    with pytest.raises(ClientError):
        running.enter("cancel").run(minutes=5)
    running.call_again()

    assert running.stops.total() == 100


def test_a_run_that_dies_again_and_again_comes_through_lists_that_are_empty() -> None:
    running = Running()
    running.batch.add_world({"jobQueues": [{"jobQueueName": f"other-{n}"} for n in range(20)]})
    jobs = running.submit(10)
    running.deaths = set(range(100, 3_000, 100))

    running.enter("cancel").run(minutes=60)

    assert running.steps < 3_000
    assert running.stops.keys() == set(jobs)


def test_a_message_that_comes_twice_does_no_harm() -> None:
    running = a_small_run().enter("cancel")
    running.double_messages()

    running.run(minutes=10)

    assert max(running.stops.values()) == 1
    assert running.report()["cancelled"] == 1_125
    first = min(call.at for call in running.batch.journal if call.jobs)
    assert first >= NOON + CLOSING  # Not even the second one goes on before queues are closed.
    assert running.invocations <= 8


def test_a_second_message_for_a_run_that_is_at_work_is_dropped() -> None:
    running = Running(most=10)
    running.submit(10_000)
    sent: list[int] = []
    running.meanwhile(seconds=8, do=lambda: sent.append(running.call_again()))

    running.enter("cancel").run(minutes=5)

    assert sent == [0]
    assert max(running.stops.values()) == 1
    assert running.report()["cancelled"] == 10_000


def test_a_run_that_another_stage_overtakes_makes_way_at_once() -> None:
    running = Running(most=20)
    running.submit(20_000)
    running.meanwhile(seconds=8, do=lambda: running.enter("terminate"))

    running.enter("cancel").run(minutes=5)

    calls = [call for call in running.batch.journal if call.jobs]
    last_cancel = max(call.at for call in calls if call.api == "CancelJobs")
    first_terminate = min(call.at for call in calls if call.api == "TerminateJobs")
    assert last_cancel < NOON + timedelta(seconds=11)
    assert last_cancel < first_terminate < NOON + timedelta(seconds=16)
    assert running.report()["stage"] == "terminate"
    assert running.alive() == 0


# ---- Decided at the second of the call ------------------------------------------------------


def test_a_hold_stops_a_run_between_two_calls_and_jobs_that_start_meanwhile_are_left() -> None:
    running = Running()
    jobs = running.submit(250, seconds=86_400)
    call = running.batch.call

    def held_after(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = call(operation, params)
        if operation == "CancelJobs" and running.now < NOON + timedelta(minutes=1):
            running.table.write([operator_hold.put(OperatorHold(since=running.now))])
        return answer

    running.batch.call = held_after  # type: ignore[method-assign]
    running.enter("cancel").run(minutes=2)
    while_held = running.stops.copy()

    running.give_room(vcpus=5)
    running.table.write([operator_hold.put(OperatorHold(version=1))])
    running.run(minutes=10)

    assert while_held == dict.fromkeys(jobs[:50], 1)
    assert running.stops == dict.fromkeys([*jobs[:50], *jobs[55:]], 1)
    report = running.report()
    assert (report["cancelled"], report["left_running"], report["escaped"]) == (245, 5, 0)


def test_a_job_that_was_judged_too_long_ago_is_judged_again() -> None:
    running = Running(most=0.5)
    jobs = running.submit(1_000, seconds=86_400)
    running.meanwhile(seconds=40, do=lambda: running.give_room(vcpus=20))

    running.enter("cancel").run(minutes=10)

    assert len([job for job in jobs if job not in running.stops]) == 20
    assert running.report()["left_running"] == 20
    assert running.report()["escaped"] == 0


def test_a_run_that_dies_counts_what_it_had_stopped_and_does_not_stop_it_again() -> None:
    running = Running()
    jobs = running.submit(100)
    call = running.batch.call

    def dies(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = call(operation, params)
        if operation == "CancelJobs" and len(running.stops) == 50:
            raise Crash(operation)
        return answer

    running.batch.call = dies  # type: ignore[method-assign]
    running.enter("cancel").run(minutes=20)

    assert running.stops == dict.fromkeys(jobs, 1)
    assert running.report()["cancelled"] == 100


# ---- Accepted, and not ended ----------------------------------------------------------------


def test_jobs_that_do_not_end_are_counted_apart_and_each_is_announced_once() -> None:
    running = Running(POLICY.replace("close_queues = true", "close_queues = false"))
    jobs = running.submit(5)
    stubborn, call, asked = jobs[3:], running.batch.call, list[str]()

    def ignoring(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """Batch accepts the stop of two jobs, which are there all the same."""
        if operation == "TerminateJobs":
            asked.extend(params["jobs"])
            params = params | {"jobs": [job for job in params["jobs"] if job not in stubborn]}
        answer = call(operation, params)
        for each in (*answer.get("jobSummaryList", ()), *answer.get("jobs", ())):
            if each["jobId"] in asked:
                each["isTerminated"] = True
        return answer

    running.batch.call = ignoring  # type: ignore[method-assign]
    running.enter("terminate").run(minutes=5)
    report = running.report()
    assert (report["terminated"], report["not_ended"], report["found"]) == (3, 2, 5)
    assert sorted(report["not_ended_jobs"]) == sorted(stubborn)
    assert running.told("watchdog-trouble") == []

    running.run(minutes=60)
    (trouble,) = running.told("watchdog-trouble")
    assert (sorted(trouble["job_ids"]), trouble["not_ended"]) == (sorted(stubborn), 2)
    assert sorted(asked) == sorted(jobs)

    # An hour later, two more jobs are submitted, of which one does not end either.
    ending, staying = running.submit(2)
    stubborn.append(staying)
    running.run(minutes=60)
    (_, later) = running.told("watchdog-trouble")
    assert (later["job_ids"], later["not_ended"]) == ([staying], 1)
    assert sorted(asked) == sorted([*jobs, ending, staying])

    running.enter("calm").run(minutes=1)
    (released,) = running.told("guard-released")
    assert (released["terminated"], released["not_ended"]) == (4, 3)


@pytest.mark.parametrize("spare", ['name = "spared-*"', 'tags = { critical = "true" }'])
def test_a_service_job_that_a_late_list_shows_waiting_is_left_to_run(spare: str) -> None:
    running = Running(POLICY.replace('name = "spared-*"', spare))
    training = {"jobQueueName": "training", "jobQueueType": "SAGEMAKER_TRAINING"}
    running.batch.add_world({"jobQueues": [training]})
    job = running.batch.submit("train", "training", service=True)
    call = running.batch.call

    def late(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """The job runs; the lists of the first minute show it as it was before."""
        answer = call(operation, params)
        if operation == "ListServiceJobs":
            status = "RUNNABLE" if running.now < NOON + MINUTE else "RUNNING"
            summary = {"jobId": job, "jobName": "train", "createdAt": 1, "status": status}
            answer["jobSummaryList"] = [summary] if params.get("jobStatus") == status else []
        return answer | {"status": "RUNNING"} if operation == "DescribeServiceJob" else answer

    running.batch.call = late  # type: ignore[method-assign]
    running.enter("cancel").run(minutes=10)

    assert not running.stops
    assert running.report()["left_running"] == 1


def test_a_service_job_that_starts_after_its_stop_was_accepted_is_not_told_as_cancelled() -> None:
    running = Running()
    running.submit(2)
    training = {"jobQueueName": "training", "jobQueueType": "SAGEMAKER_TRAINING"}
    running.batch.add_world({"jobQueues": [training]})
    job = running.batch.submit("train", "training", service=True)
    call, asked = running.batch.call, list[str]()

    def shown() -> dict[str, Any]:
        return {"status": "RUNNING", "isTerminated": True} if asked else {"status": "RUNNABLE"}

    def starting(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """Batch accepts the stop of the service job, which waits, then starts, and runs on."""
        if operation == "TerminateServiceJobs":
            asked.extend(params["jobs"])
            return {"successful": params["jobs"], "errors": []}
        answer = call(operation, params)
        if operation == "ListServiceJobs":
            summary = {"jobId": job, "jobName": "train", "createdAt": 1} | shown()
            is_it = params.get("jobStatus") == summary["status"]
            answer["jobSummaryList"] = [summary] if is_it else []
        if operation == "DescribeServiceJob":
            answer |= shown()
        return answer

    running.batch.call = starting  # type: ignore[method-assign]
    running.enter("cancel").run(minutes=5)

    report = running.report()
    assert asked == [job]
    assert (report["cancelled"], report["not_ended"], report["found"]) == (2, 1, 3)
    assert report["not_ended_jobs"] == [job]


def test_a_child_that_failed_at_work_while_the_others_were_cancelled_was_left_to_run() -> None:
    running = Running()
    running.submit(array_size=3, seconds=75, outcome=1)
    running.run(minutes=1)
    running.give_room(vcpus=1)
    running.run(minutes=1)

    running.enter("cancel").run(minutes=30)

    report = running.report()
    assert (report["cancelled"], report["left_running"], report["escaped"]) == (2, 1, 0)


def test_a_list_that_is_late_does_not_make_a_job_count_as_still_there() -> None:
    running = Running()
    jobs = running.submit(3)
    call, gone = running.batch.call, list[dict[str, Any]]()

    def late(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """The list goes on showing what has ended."""
        answer = call(operation, params)
        if operation == "ListJobs" and params.get("jobStatus") == "RUNNABLE":
            gone.extend(each for each in answer["jobSummaryList"] if len(gone) < len(jobs))
            if running.stops and not answer["jobSummaryList"]:
                answer["jobSummaryList"] = [each | {"isCancelled": True} for each in gone]
        return answer

    running.batch.call = late  # type: ignore[method-assign]
    running.enter("cancel").run(minutes=30)

    assert (running.report()["cancelled"], running.report()["not_ended"]) == (3, 0)
    assert running.told("watchdog-trouble") == []


def test_a_job_that_succeeded_in_spite_of_its_stop_has_escaped() -> None:
    running = Running()
    jobs = running.submit(4)
    call = running.batch.call

    def succeeding(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = call(operation, params)
        for each in answer.get("jobs", ()):
            if each["jobId"] == jobs[0] and each["status"] == "FAILED":
                each["status"] = "SUCCEEDED"
        return answer

    running.batch.call = succeeding  # type: ignore[method-assign]
    running.enter("terminate").run(minutes=5)

    report = running.report()
    assert (report["terminated"], report["escaped"]) == (3, 1)
    assert report["escaped_jobs"] == [jobs[0]]


# ---- What Batch will not do ---------------------------------------------------------------


def test_what_batch_refuses_is_told_with_the_reason_and_the_jobs() -> None:
    running = Running()
    jobs = running.submit(120)
    running.batch.refusals = {job: ["AccessDenied"] * 20 for job in jobs[:7]}

    running.enter("cancel").run(minutes=10)

    report = running.report()
    assert (report["cancelled"], report["found"]) == (113, 120)
    assert list(report["failed"].values()) == [7]
    assert sorted(report["failed_jobs"]) == sorted(jobs[:7])


def test_what_batch_refuses_for_a_moment_is_stopped_all_the_same() -> None:
    running = Running()
    jobs = running.submit(120)
    running.batch.refusals = {
        **{job: ["ThrottlingException"] * 2 for job in jobs[:30]},
        **{job: ["ServerException"] for job in jobs[30:40]},
        **{job: ["ClientException"] for job in jobs[40:45]},
    }

    running.enter("cancel").run(minutes=10)

    assert running.report()["cancelled"] == 120
    assert running.report()["failed"] == {}
    assert running.alive() == 0


def test_a_job_that_starts_in_spite_of_its_stop_has_escaped() -> None:
    running = Running()
    jobs = running.submit(10)
    call = running.batch.call

    def late(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """Just before the first stop there is room for two jobs."""
        if operation == "CancelJobs" and not running.stops:
            running.give_room(vcpus=2)
        return call(operation, params)

    running.batch.call = late  # type: ignore[method-assign]
    running.enter("cancel").run(minutes=5)

    report = running.report()
    assert (report["cancelled"], report["escaped"], report["left_running"]) == (8, 2, 0)
    assert sorted(report["escaped_jobs"]) == sorted(jobs[:2])


def test_very_many_children_that_outlive_their_arrays_are_stopped_once_each() -> None:
    running = Running(terminate_cascades=False)
    arrays = running.submit(2, array_size=2_000)

    running.enter("terminate").run(minutes=10)

    children = [f"{array}:{index}" for array in arrays for index in range(2_000)]
    assert running.stops == dict.fromkeys([*arrays, *children], 1)
    assert running.stop_calls <= bound(4_002)
    assert running.report()["terminated"] == 4_000


def test_where_a_list_shows_children_and_nodes_the_whole_is_stopped() -> None:
    running = Running()
    (array,) = running.submit(1, array_size=3)
    (job,) = running.submit(1, nodes=2)
    call = running.batch.call

    def telling_more(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = call(operation, params)
        if operation == "ListJobs" and params["jobStatus"] == "RUNNABLE":
            parts = [f"{array}:{index}" for index in range(3)] + [f"{job}#{n}" for n in range(2)]
            more = [{"jobId": each, "jobName": "x", "status": "RUNNABLE"} for each in parts]
            answer = {"jobSummaryList": [*answer["jobSummaryList"], *more]}
        return answer

    running.batch.call = telling_more  # type: ignore[method-assign]
    running.enter("cancel").run(minutes=5)

    assert running.stops == {array: 1, job: 1}
    assert running.report()["cancelled"] == 4


# ---- Scope --------------------------------------------------------------------------------


def test_a_guard_that_the_policy_has_lost_stops_nothing_more() -> None:
    running = Running()
    jobs = running.submit(100)
    running.enter("cancel")
    running.policy = 'mode = "enforce"'

    running.run(minutes=10)

    assert not running.stops
    assert running.alive() == len(jobs)


def test_a_run_whose_stage_the_policy_loses_stops_nothing_more_until_it_is_back() -> None:
    running = Running()
    running.submit(100)
    running.enter("terminate")
    running.policy = POLICY.rpartition("[[guard.stage]]")[0]
    running.run(minutes=10)
    while_lost = len(running.stops)

    running.policy = POLICY
    running.run(minutes=10)

    assert (while_lost, len(running.stops)) == (0, 100)


def test_a_guard_that_is_to_observe_from_now_on_stops_nothing_more() -> None:
    running = Running()
    running.submit(100)
    running.enter("cancel")
    running.policy = POLICY.replace('"enforce"', '"observe"')
    running.run(minutes=10)
    while_observing = len(running.stops)

    running.policy = POLICY
    running.run(minutes=10)

    assert (while_observing, len(running.stops)) == (0, 100)


def test_a_scope_by_tags_asks_for_them() -> None:
    running = Running(
        POLICY.replace("spare =", 'match = { tags = { team = "a" } }\nspare =', 1).replace(
            "close_queues = true", ""
        )
    )
    ours = running.submit(130, tags={"team": "a"})
    running.submit(130, tags={"team": "b"})

    running.enter("cancel").run(minutes=5)

    assert running.stops == dict.fromkeys(ours, 1)
    assert running.report()["found"] == 130


@pytest.mark.parametrize("described", [True, False])
def test_who_is_spared_by_a_definition_is_not_stopped_where_lists_lack_it(
    monkeypatch: pytest.MonkeyPatch, *, described: bool
) -> None:
    running = Running(POLICY.replace('name = "spared-*"', 'definition = "kept"'))
    kept = running.submit(10, definition="kept:3")
    jobs = running.submit(10, definition="render:1")
    call = running.batch.call

    def lacks_it(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = call(operation, params)
        for summary in answer.get("jobSummaryList", ()):
            summary.pop("jobDefinition", None)
        return answer

    monkeypatch.setattr(running.batch, "call", lacks_it)
    running.batch.lacking = {} if described else {job: ["jobDefinition"] for job in kept}
    running.enter("cancel").run(minutes=20)

    assert running.stops == dict.fromkeys(jobs, 1)
    report = running.report()
    assert (report["cancelled"], report["spared"]) == (10, 10 if described else 0)


def test_in_observe_mode_a_run_counts_and_does_no_more() -> None:
    running = Running(POLICY.replace('"enforce"', '"observe"'))
    running.submit(2_500)
    running.submit(10, "spared-one")

    running.enter("cancel").run(minutes=20)

    assert not running.batch.journal
    assert running.calls["ListJobs"] == 7  # Five lists, of which one has three pages; once.
    report = running.report()
    assert (report["cancelled"], report["spared"], report["found"]) == (2_500, 10, 2_510)
