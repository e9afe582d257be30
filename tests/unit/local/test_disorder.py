"""The simulated AWS Batch when it is as disorderly as the real one."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.aws.errors import ApiError
from local.batch.disorder import FIELDS, ChildTags, Dice, Disorder
from tests.simulated import ARN, NOON, Batch, a_life, a_parent, an_event, ids, time_of


def disorderly(*log: dict[str, Any], **how: Any) -> Batch:
    return Batch(*log, disorder=Disorder(**how)).with_queue()


def service_job(batch: Batch, **how: Any) -> str:
    batch.it.add_world({"jobQueues": [{"jobQueueName": "train"}]})
    return batch.it.submit("t", "train", service=True, **how)


def described(batch: Batch, job_id: str) -> dict[str, Any]:
    return batch.ask("DescribeServiceJob", jobId=job_id)


def ms(seconds: float) -> int:
    return int(NOON.timestamp() * 1000 + seconds * 1000)


# ---- Queues that are UPDATING -------------------------------------------------------------


def queue(batch: Batch) -> tuple[str, str]:
    [shown] = batch.ask("DescribeJobQueues", jobQueues=["q"])["jobQueues"]
    return shown["state"], shown["status"]


def test_a_queue_that_is_updating_refuses_another_update_until_it_is_done() -> None:
    batch = disorderly(updating_s=(60, 60))

    batch.ask("UpdateJobQueue", jobQueue="q", state="DISABLED")
    assert queue(batch.at(59)) == ("DISABLED", "UPDATING")
    with pytest.raises(ApiError, match="Cannot update, resource is being modified") as refused:
        batch.ask("UpdateJobQueue", jobQueue="q", state="ENABLED")

    assert refused.value.code == "ClientException"
    assert [call.error for call in batch.it.journal] == ["", "ClientException"]
    assert queue(batch.at(60)) == ("DISABLED", "VALID")
    batch.ask("UpdateJobQueue", jobQueue="q", state="ENABLED")
    assert queue(batch) == ("ENABLED", "UPDATING")


def test_the_new_state_of_a_queue_may_show_only_at_the_end() -> None:
    batch = disorderly(updating_s=(60, 60), updates_late=1)

    batch.ask("UpdateJobQueue", jobQueue="q", state="DISABLED")

    assert queue(batch.at(59)) == ("ENABLED", "UPDATING")
    batch.it.submit("a", "q")
    assert queue(batch.at(60)) == ("DISABLED", "VALID")


def test_a_queue_may_be_updating_by_itself_and_is_then_as_it_was() -> None:
    batch = Batch().with_queue()
    batch.it.add_world({"jobQueues": [{"jobQueueName": "q", "status": "INVALID"}]})

    batch.it.hold_updating("q", 60)
    batch.at(30).it.hold_updating("q", 90)
    batch.at(60)
    with pytest.raises(ApiError, match="being modified"):
        batch.ask("UpdateJobQueue", jobQueue="q", state="DISABLED")

    assert queue(batch.at(119)) == ("ENABLED", "UPDATING")
    assert queue(batch.at(120)) == ("ENABLED", "INVALID")


# ---- Stops that take effect late, or never ------------------------------------------------


def test_a_slow_cancel_is_shown_at_once_and_ends_the_job_later() -> None:
    batch = disorderly(*a_life("a", start=0)[:1], slow_stops=1, slow_stop_s=(300, 300))

    batch.cancel("a", reason="first")
    batch.at(100).cancel("a", reason="second")

    job = batch.at(299).job("a")
    assert (job["status"], job["isCancelled"]) == ("RUNNABLE", True)
    assert batch.at(300).status("a") == "RUNNABLE"
    job = batch.at(301).job("a")
    assert (job["status"], job["statusReason"]) == ("FAILED", "first")
    assert batch.at(999).told("a") == [("12:05:01", "FAILED")]


@pytest.mark.parametrize("own", [True, False])
def test_a_slow_cancel_does_nothing_to_a_job_that_has_started_meanwhile(*, own: bool) -> None:
    log = a_life("a", start=1)
    batch = disorderly(*log, slow_stops=1, slow_stop_s=(15, 15)).at(1)
    job = batch.it.submit("own", "q", seconds=60) if own else "a"

    batch.cancel(job)

    found = batch.at(30).job(job)
    assert (found["status"], found["isCancelled"]) == ("RUNNING", True)
    assert batch.at(99).status(job) == "SUCCEEDED"
    assert batch.it.overruled == []


def test_a_terminate_may_follow_a_cancel_that_came_too_late() -> None:
    batch = disorderly(slow_stops=1, slow_stop_s=(10, 10))
    job = batch.it.submit("own", "q", seconds=600)

    batch.at(1).cancel(job)
    batch.at(20).terminate(job, reason="too dear")

    assert batch.at(30).status(job) == "RUNNING"
    assert batch.at(31).job(job)["statusReason"] == "too dear"


def test_asking_again_makes_a_slow_stop_no_faster() -> None:
    jobs = [f"j{n}" for n in range(100)]
    batch = disorderly(*(an_event(job, "RUNNABLE", 0) for job in jobs), slow_stops=0.5)

    batch.cancel(*jobs * 5)

    assert 30 < len(batch.at(1).listed(jobQueue="q", jobStatus="RUNNABLE")) < 70


def test_a_slow_stop_of_an_array_reaches_its_children_together() -> None:
    batch = disorderly(slow_stops=1, slow_stop_s=(60, 60))
    parent = batch.it.submit("array", "q", array_size=3, vcpus=9)

    batch.at(5).cancel(parent)
    assert batch.job(parent)["isCancelled"] is True
    assert batch.at(64).summary(parent) == {"RUNNABLE": 3}

    assert batch.at(67).summary(parent) == {"FAILED": 3}
    assert batch.status(parent) == "FAILED"


def test_a_job_that_ignores_a_terminate_runs_to_its_own_end_and_is_not_tried_again() -> None:
    batch = Batch().with_queue()
    job = batch.it.submit("own", "q", seconds=3600, outcome=1, attempts=3)
    batch.it.ignore_terminate(job)

    for seconds in (60, 120, 180):
        batch.at(seconds).terminate(job)

    found = batch.at(3600).job(job)
    assert (found["status"], found["isTerminated"]) == ("RUNNING", True)
    assert batch.at(3700).status(job) == "FAILED"
    assert batch.told(job)[-1] == ("13:00:05", "FAILED")


@pytest.mark.parametrize("own", [True, False])
def test_a_job_may_ignore_a_terminate_for_some_time(*, own: bool) -> None:
    batch = Batch(*a_life("a")[:3]).with_queue()
    job = batch.it.submit("own", "q", seconds=7200) if own else "a"
    batch.it.ignore_terminate(job, 3600)

    batch.at(60).terminate(job, reason="too dear")

    assert batch.at(3660).status(job) == "RUNNING"
    assert batch.at(3661).job(job)["statusReason"] == "too dear"


def test_a_job_that_ignores_a_terminate_is_ended_by_one_before_it_starts() -> None:
    batch = disorderly(*a_life("a"), ignores_terminate=1)

    batch.at(5).terminate("a")

    assert batch.at(6).status("a") == "FAILED"


def test_a_log_goes_on_for_a_job_that_ignores_a_terminate() -> None:
    batch = disorderly(*a_life("a"), ignores_terminate=1)

    batch.at(30).terminate("a")

    assert batch.at(59).status("a") == "RUNNING"
    assert not batch.it.is_overruled(an_event("a", "SUCCEEDED", 60))
    assert batch.at(60).status("a") == "SUCCEEDED"
    assert batch.it.overruled == []


def test_a_share_of_jobs_ignores_terminates_the_same_whenever_they_are_asked() -> None:
    log = [event for n in range(200) for event in a_life(f"j{n}")[:3]]
    batch = disorderly(*log, ignores_terminate=0.5, ignored_s=(600, 600)).at(30)
    jobs = [f"j{n}" for n in range(200)]

    batch.terminate(*jobs)
    running = {job for job in jobs if batch.at(32).status(job) == "RUNNING"}
    again = disorderly(*log, ignores_terminate=0.5).at(30)
    again.terminate(*reversed(jobs))

    assert 60 < len(running) < 140
    assert running == {job for job in jobs if again.at(32).status(job) == "RUNNING"}
    assert batch.at(631).listed(jobQueue="q", jobStatus="RUNNING") == []


# ---- A log that shows that a stop did not end a job ---------------------------------------


def test_a_job_that_the_log_shows_running_on_after_a_terminate_runs_on() -> None:
    later = an_event("a", "RUNNING", 3600, isTerminated=True)
    batch = Batch(*a_life("a")[:3], later, an_event("a", "FAILED", 7200, isTerminated=True))

    batch.at(60).terminate("a")

    assert batch.at(61).job("a")["isTerminated"] is True
    assert not batch.it.is_overruled(later)
    assert batch.at(3599).status("a") == "RUNNING"
    batch.at(3700).terminate("a", reason="again")
    assert batch.at(7199).status("a") == "RUNNING"
    assert batch.at(7200).status("a") == "FAILED"
    assert batch.it.overruled == []


def test_a_mark_of_before_says_so_too_and_one_of_another_attempt_does_not() -> None:
    marked = an_event("a", "RUNNING", 30, isTerminated=True)
    again = [an_event("a", status, 50, attempts=1) for status in ("RUNNABLE", "RUNNING")]
    batch = Batch(*a_life("a")[:3], marked, *again)

    batch.at(40).terminate("a")
    assert batch.at(45).status("a") == "RUNNING"

    batch.at(55).terminate("a")
    assert batch.at(57).status("a") == "FAILED"


@pytest.mark.parametrize(
    ("status", "mark", "stop", "goes_on"),
    [
        ("RUNNABLE", "isCancelled", "cancel", True),
        ("RUNNABLE", "isTerminated", "cancel", True),
        ("RUNNABLE", "isCancelled", "terminate", False),
        ("RUNNING", "isCancelled", "cancel", False),  # A cancel does nothing to it.
        ("FAILED", "isTerminated", "cancel", False),
        ("RUNNABLE", "other", "cancel", False),
    ],
)
def test_only_a_mark_of_the_same_kind_of_stop_proves_that_it_ended_nothing(
    status: str, mark: str, stop: str, *, goes_on: bool
) -> None:
    marks: dict[str, Any] = {mark: True}
    batch = Batch(an_event("a", "RUNNABLE", 0), an_event("a", status, 60, **marks))

    getattr(batch.at(5), stop)("a")

    assert batch.at(6).status("a") == ("RUNNABLE" if goes_on else "FAILED")


def test_a_mark_in_a_later_attempt_shows_that_the_job_went_on() -> None:
    failed = an_event("a", "RUNNABLE", 100, attempts=1)
    marked = an_event("a", "RUNNING", 200, attempts=1, isTerminated=True)
    batch = Batch(*a_life("a")[:3], failed, marked)

    batch.at(30).terminate("a")

    assert batch.at(99).status("a") == "RUNNING"
    assert batch.at(200).status("a") == "RUNNING"


def test_a_child_that_a_stop_did_not_end_keeps_its_array_open_until_the_log_ends_it() -> None:
    children = [event for n in range(2) for event in a_life(f"p:{n}")[:3]]
    marked = an_event("p:1", "RUNNING", 600, isTerminated=True)
    ends = [an_event("p:1", "FAILED", 900), a_parent("p", "FAILED", 901, 2, FAILED=2)]
    batch = Batch(a_parent("p", "PENDING", 0, 2), *children, marked, *ends)

    batch.at(60).terminate("p")

    assert batch.at(70).summary("p") == {"FAILED": 1, "RUNNING": 1}
    assert batch.at(899).status("p") == "PENDING"
    assert batch.at(905).status("p") == "FAILED"
    assert batch.summary("p") == {"FAILED": 2}


# ---- Lists and descriptions that lag ------------------------------------------------------


def test_a_list_may_show_the_state_of_some_seconds_ago_while_descriptions_are_current() -> None:
    batch = disorderly(*a_life("a"), list_lag_s=8, seed=3)
    seen: dict[str, float] = {}
    for tenth in range(0, 700, 5):
        batch.at(tenth / 10)
        for status in ("RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"):
            if ids_in(batch, status):
                seen.setdefault(status, tenth / 10)
        assert sum(len(ids_in(batch, each)) for each in seen) == (1 if seen else 0)
        lived = [("SUCCEEDED", 60), ("RUNNING", 20), ("STARTING", 10), ("RUNNABLE", 0)]
        assert batch.status("a") == next(each for each, at in lived if at <= tenth / 10)

    late = [at - true for at, true in zip(seen.values(), (0, 10, 20, 60), strict=True)]
    assert all(0 <= each <= 8.5 for each in late)
    assert max(late) > 1


def ids_in(batch: Batch, status: str) -> list[str]:
    found = batch.ask("ListJobs", jobQueue="q", jobStatus=status)["jobSummaryList"]
    assert all(each["status"] == status for each in found)
    return ids(found)


def test_children_service_jobs_and_filtered_lists_lag_too() -> None:
    batch = disorderly(a_parent("p", "PENDING", 0, 2), list_lag_s=1000, seed=1)
    parent = batch.it.submit("array", "q", array_size=2, vcpus=9)
    job = service_job(batch)
    newest = {"filters": [{"name": "JOB_NAME", "values": ["array"]}]}

    def shown() -> list[int]:
        return [
            len(batch.listed(arrayJobId=parent, jobStatus="RUNNABLE")),
            len(batch.listed(operation="ListServiceJobs", jobQueue="train", jobStatus="RUNNING")),
            len(batch.listed(jobQueue="q", **newest)),
        ]

    batch.at(10)
    assert batch.status(f"{parent}:1") == "RUNNABLE"
    assert described(batch, job)["status"] == "RUNNING"
    assert shown() == [0, 0, 0]
    batch.it.submit("never-ends", "q", vcpus=9)
    batch.at(999)
    assert shown()[0::2] == [2, 1]


def test_a_cancel_shows_late_in_a_list_that_lags() -> None:
    batch = disorderly(
        an_event("a", "RUNNABLE", 0), list_lag_s=100, slow_stops=1, slow_stop_s=(400, 400)
    )

    batch.at(200).cancel("a")
    [at_once] = batch.ask("ListJobs", jobQueue="q", jobStatus="RUNNABLE")["jobSummaryList"]

    assert "isCancelled" not in at_once
    assert batch.job("a")["isCancelled"] is True
    [later] = batch.at(300).ask("ListJobs", jobQueue="q", jobStatus="RUNNABLE")["jobSummaryList"]
    assert later["isCancelled"] is True


def test_an_array_in_a_list_that_lags_is_counted_as_it_is() -> None:
    log = [a_parent("p", "PENDING", 0, 2), *a_life("p:0"), *a_life("p:1")]
    batch = disorderly(*log, list_lag_s=5)

    for seconds, status in ((9, "RUNNABLE"), (30, "RUNNING")):
        [parent] = batch.at(seconds).ask("ListJobs", jobQueue="q", jobStatus="PENDING")[
            "jobSummaryList"
        ]
        assert parent["arrayProperties"]["statusSummary"][status] == 2


def test_a_description_may_lag_too() -> None:
    batch = disorderly(*a_life("a"), describe_lag_s=5, seed=1)
    seen = [batch.at(seconds / 2).status("a") for seconds in range(140)]

    assert seen[0] == ""
    assert [status for at, status in enumerate(seen) if status != seen[at - 1]] == [
        "",
        "RUNNABLE",
        "STARTING",
        "RUNNING",
        "SUCCEEDED",
    ]
    assert seen[20] == "RUNNABLE"
    assert batch.listed(jobQueue="q", jobStatus="SUCCEEDED") == ["a"]
    job = service_job(batch)
    with pytest.raises(ApiError, match="not found"):
        described(batch, job)


@pytest.mark.parametrize("lag", ["list_lag_s", "describe_lag_s"])
def test_what_is_shown_late_is_shown_in_order(lag: str) -> None:
    lived = ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    for seed in range(10):
        batch = disorderly(*a_life("a"), seed=seed, **{lag: 60})
        seen = []
        for seconds in range(130):
            batch.at(seconds)
            if lag == "describe_lag_s":
                seen += [batch.status("a")]
            else:
                seen += [each for each in lived if ids_in(batch, each)]
        shown = [each for each in seen if each]
        assert shown == sorted(shown, key=lived.index)
        assert shown[-1] == "SUCCEEDED"


# ---- Descriptions with gaps ---------------------------------------------------------------


def test_a_description_may_lack_fields() -> None:
    batch = Batch(*a_life("a"), a_parent("p", "PENDING", 0, 2)).at(30)
    batch.it.lacking = {"a": FIELDS, "p": FIELDS}

    a, p = batch.it.call("DescribeJobs", {"jobs": ["a", "p"]})["jobs"]

    missing = {"attempts", "createdAt", "tags", "jobName", "jobQueue", "startedAt"}
    assert not missing & a.keys()
    assert (a["jobId"], a["status"]) == ("a", "RUNNING")
    assert p["arrayProperties"] == {"size": 2}
    del batch.it.lacking["a"]
    assert missing <= batch.job("a").keys()


def test_a_share_of_descriptions_lacks_fields() -> None:
    batch = disorderly(an_event("a", "RUNNABLE", 0), lacking=0.5)

    answers = [batch.it.call("DescribeJobs", {"jobs": ["a"]})["jobs"][0] for _ in range(200)]

    whole = max(len(each) for each in answers)
    assert 60 < sum(len(each) == whole for each in answers) < 140
    named = set().union(*answers)
    for field in FIELDS[:-1]:
        assert any(field not in each for each in answers)
        assert field in named


def test_an_answer_may_leave_a_job_out() -> None:
    batch = Batch(an_event("a", "RUNNABLE", 0), an_event("b", "RUNNABLE", 0))
    job = service_job(batch)
    batch.it.left_out = {"a": 2, job: 1}

    seen = [ids(batch.ask("DescribeJobs", jobs=["a", "b"])["jobs"]) for _ in range(3)]

    assert seen == [["b"], ["b"], ["a", "b"]]
    with pytest.raises(ApiError, match="not found"):
        described(batch, job)
    assert described(batch, job)["status"] == "SUBMITTED"


def test_a_share_of_descriptions_leaves_a_job_out() -> None:
    batch = disorderly(an_event("a", "RUNNABLE", 0), left_out=0.5)

    found = [len(batch.ask("DescribeJobs", jobs=["a"])["jobs"]) for _ in range(200)]

    assert 60 < sum(found) < 140


# ---- Ways back to RUNNABLE ----------------------------------------------------------------


def test_a_preempted_service_job_waits_again_and_its_run_is_kept() -> None:
    batch = Batch()
    job = service_job(batch, seconds=600)
    batch.at(106)
    training = described(batch, job)["latestAttempt"]["serviceResourceId"]

    assert batch.it.preempt(job, wait_s=300)

    found = described(batch, job)
    assert (found["status"], found["attempts"]) == ("RUNNABLE", [])
    assert found["startedAt"] == 0
    assert "scheduledAt" not in found
    [run] = found["preemptionSummary"]["recentPreemptedAttempts"]
    assert run == {
        "serviceResourceId": training,
        "startedAt": ms(6),
        "stoppedAt": ms(106),
        "statusReason": "Job was preempted",
    }
    assert found["preemptionSummary"]["preemptedAttemptCount"] == 1
    assert batch.sent[-1]["detail"]["preemptionSummary"] == found["preemptionSummary"]
    assert batch.at(405).told(job)[-1] == ("12:01:46", "RUNNABLE")
    assert described(batch.at(410), job)["scheduledAt"] == ms(407)
    assert batch.at(9999).told(job)[-4:] == [
        ("12:06:47", "SCHEDULED"),
        ("12:06:48", "STARTING"),
        ("12:06:51", "RUNNING"),
        ("12:16:51", "SUCCEEDED"),
    ]


def test_preempted_runs_may_count_as_attempts_but_use_none_up() -> None:
    batch = Batch(disorder=Disorder(preempted_is_attempt=True))
    job = service_job(batch, seconds=60, attempts=2, outcome=[1, 0])

    batch.at(30).it.preempt(job)

    assert len(described(batch, job)["attempts"]) == 1
    assert described(batch.at(999), job)["status"] == "SUCCEEDED"
    assert len(described(batch, job)["attempts"]) == 3


def test_a_preemption_ends_no_later_run_than_its_own() -> None:
    for seed in range(20):
        batch = Batch(disorder=Disorder(seed=seed, preempted=1))
        job = service_job(batch, seconds=600)
        batch.at(6.5).it.preempt(job)
        dice = Dice(Disorder(seed=seed))
        drawn = [(dice.happens(1), dice.ms((0, 600))) for _ in range(2)]

        summary = described(batch.at(700), job)["preemptionSummary"]

        run = summary["recentPreemptedAttempts"][1]
        assert run["stoppedAt"] - run["startedAt"] == drawn[1][1]


def test_only_the_latest_preempted_runs_are_shown_and_all_are_counted() -> None:
    batch = Batch()
    job = service_job(batch, seconds=600)

    for n in range(12):
        batch.at(10 * n + 8).it.preempt(job)

    summary = described(batch, job)["preemptionSummary"]
    stopped = [each["stoppedAt"] for each in summary["recentPreemptedAttempts"]]
    assert stopped == [ms(10 * n + 8) for n in range(2, 12)]
    assert summary["preemptedAttemptCount"] == 12


@pytest.mark.parametrize("seconds", [0, 1.5, 99])
def test_a_job_that_has_no_capacity_is_not_preempted(seconds: float) -> None:
    batch = Batch()
    job = service_job(batch, seconds=10)

    assert not batch.at(seconds).it.preempt(job)


def test_only_service_jobs_of_submit_are_preempted() -> None:
    batch = Batch(an_event("a", "RUNNING", 0)).with_queue()
    job = batch.it.submit("own", "q")

    for each in (job, "a", "unknown"):
        with pytest.raises(ValueError, match=each):
            batch.it.preempt(each)


def test_a_starting_job_may_go_back_without_an_attempt_and_frees_its_place() -> None:
    batch = Batch().with_queue(vcpus=1)
    job, other = (batch.it.submit(name, "q", seconds=30) for name in "ab")

    assert batch.at(3).it.requeue(job, wait_s=60)

    assert batch.at(10).job(job)["attempts"] == []
    assert batch.status(other) == "RUNNING"
    assert not batch.it.requeue(other)
    assert batch.at(999).told(job) == [
        ("12:00:01", "RUNNABLE"),
        ("12:00:02", "STARTING"),
        ("12:00:03", "RUNNABLE"),
        ("12:01:04", "STARTING"),
        ("12:01:07", "RUNNING"),
        ("12:01:37", "SUCCEEDED"),
    ]


def test_a_scheduled_service_job_may_go_back() -> None:
    batch = Batch()
    job = service_job(batch, seconds=10)

    assert batch.at(2).it.requeue(job, wait_s=60)

    assert "preemptionSummary" not in described(batch.at(99), job)
    assert batch.told(job)[:5] == [
        ("12:00:01", "RUNNABLE"),
        ("12:00:02", "SCHEDULED"),
        ("12:00:02", "RUNNABLE"),
        ("12:01:03", "SCHEDULED"),
        ("12:01:04", "STARTING"),
    ]


def test_a_stopped_job_does_not_go_back() -> None:
    batch = disorderly(slow_stops=1, requeued=1)
    job = batch.it.submit("own", "q")

    batch.at(3).terminate(job)

    assert not batch.it.requeue(job)
    assert batch.at(6).status(job) == "RUNNING"


def test_a_stop_ends_a_job_that_waits_again() -> None:
    batch = Batch().with_queue()
    job = batch.it.submit("own", "q")

    batch.at(3).it.requeue(job, wait_s=60)
    batch.at(10).cancel(job)

    assert batch.at(999).told(job)[-1] == ("12:00:11", "FAILED")


def test_shares_of_starts_and_runs_lead_back() -> None:
    batch = disorderly(requeued=0.3, preempted=0.5, requeue_wait_s=(10, 20))
    jobs = [batch.it.submit("own", "q", seconds=5) for _ in range(50)]
    trained = [service_job(batch, seconds=50) for _ in range(50)]

    batch.at(99_999)

    back = sum(len(batch.told(job)) > 4 for job in jobs)
    assert 5 < back < 30
    assert all(batch.told(job)[-1][1] == "SUCCEEDED" for job in (*jobs, *trained))
    counts = [
        described(batch, job).get("preemptionSummary", {}).get("preemptedAttemptCount", 0)
        for job in trained
    ]
    assert 10 < sum(count > 0 for count in counts) < 40


# ---- Tags ---------------------------------------------------------------------------------


def test_tags_may_change_while_a_job_waits_and_no_event_says_so() -> None:
    batch = Batch().with_queue(vcpus=1)
    job = batch.it.submit("own", "q", vcpus=9, tags={"team": "x", "old": "1"})
    sent = len(batch.at(5).sent)

    batch.it.tag(job, {"batch-watchdog:exempt": "true"})
    batch.it.untag(job, "old")

    assert batch.job(job)["tags"] == {"team": "x", "batch-watchdog:exempt": "true"}
    assert len(batch.at(60).sent) == sent
    batch.cancel(job)
    [event] = batch.at(62).sent[sent:]
    assert event["detail"]["tags"]["batch-watchdog:exempt"] == "true"


NEW = {"team": "y"}


def test_children_have_the_tags_of_their_array() -> None:
    batch = Batch().with_queue()
    parent = batch.it.submit("own", "q", array_size=2, vcpus=9, tags={"team": "x"})

    batch.at(5).it.tag(parent, {"team": "y"})

    assert batch.job(f"{parent}:1")["tags"] == {"team": "y"}
    assert batch.job(parent)["tags"] == {"team": "y"}


@pytest.mark.parametrize(
    ("child_tags", "shown"), [("as submitted", {"team": "x"}), ("none", {}), ("as they are", NEW)]
)
def test_children_may_show_other_tags_than_their_array(
    child_tags: ChildTags, shown: dict[str, str]
) -> None:
    batch = disorderly(an_event("a", "RUNNABLE", 0), child_tags=child_tags).with_queue()
    parent = batch.it.submit("own", "q", array_size=2, vcpus=9, tags={"team": "x"})
    batch.it.tag(parent, NEW)

    batch.at(5)

    events = {each["detail"]["jobId"]: each["detail"]["tags"] for each in batch.sent}
    assert events[f"{parent}:1"] == shown | {"resourceArn": f"{ARN}job/{parent}"}
    assert batch.job(f"{parent}:1")["tags"] == shown
    assert batch.job(parent)["tags"] == NEW


def test_only_jobs_of_submit_can_be_tagged() -> None:
    with pytest.raises(ValueError, match="a is not a job of submit"):
        Batch(an_event("a", "RUNNABLE", 0)).it.tag("a", {})


def test_a_service_jobs_tags_are_described_and_in_no_event() -> None:
    batch = Batch()
    job = service_job(batch, seconds=10, tags={"team": "x"})

    batch.at(99).it.tag(job, {"more": "y"})

    assert described(batch, job)["tags"] == {"team": "x", "more": "y"}
    assert all("tags" not in event["detail"] for event in batch.sent)


def test_events_may_carry_no_tag_of_the_jobs_own() -> None:
    batch = disorderly(an_event("a", "RUNNABLE", 0), events_without_tags=True)
    job = batch.it.submit("own", "q", tags={"team": "x"})

    batch.cancel("a")
    batch.at(99)

    tags = [event["detail"]["tags"] for event in batch.sent if event["detail"]["jobId"] == job]
    assert tags == [{"resourceArn": f"{ARN}job/{job}"}] * 4
    assert {tuple(event["detail"]["tags"]) for event in batch.sent} == {("resourceArn",)}
    assert batch.job(job)["tags"] == {"team": "x"}
    assert batch.job("a")["tags"] == {"team": "imaging"}


# ---- All of it ----------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "updating_s": (1, 60),
    "updates_late": 0.5,
    "slow_stops": 0.5,
    "slow_stop_s": (1, 30),
    "ignores_terminate": 0.3,
    "ignored_s": (1, 100),
    "list_lag_s": 5,
    "preempted": 0.3,
    "requeued": 0.3,
    "requeue_wait_s": (0, 20),
    "events_without_tags": True,
}

steps = st.lists(
    st.tuples(
        st.sampled_from(["submit", "service", "array", "cancel", "terminate", "wait"]),
        st.integers(0, 30),
    ),
    max_size=30,
)


def a_story(steps: list[tuple[str, int]], seed: int) -> Batch:
    batch = disorderly(*a_life("a"), *a_life("p:0"), seed=seed, **EVERYTHING)
    batch.it.add_world({"jobQueues": [{"jobQueueName": "train"}]})
    jobs = ["a", "p:0"]
    clock = 0
    for what, number in steps:
        chosen = jobs[number % len(jobs)]
        match what:
            case "submit":
                jobs.append(batch.it.submit("b", "q", attempts=2, outcome=number % 2))
            case "service":
                batch.it.submit("s", "train", service=True)
            case "array":
                jobs.append(batch.it.submit("c", "q", array_size=2, outcome=number % 2))
            case "cancel":
                batch.cancel(chosen)
            case "terminate":
                batch.terminate(chosen)
            case _:
                clock += number
                batch.at(clock)
    return batch.at(1_000_000)


@given(steps=steps, seed=st.integers(0, 99))
@settings(deadline=None)
def test_whatever_is_done_to_a_disorderly_batch_each_job_ends_once(
    steps: list[tuple[str, int]], seed: int
) -> None:
    batch = a_story(steps, seed)

    for queue_name, operation in (("q", "ListJobs"), ("train", "ListServiceJobs")):
        for status in ("SUBMITTED", "PENDING", "RUNNABLE", "SCHEDULED", "STARTING", "RUNNING"):
            assert not batch.listed(operation=operation, jobQueue=queue_name, jobStatus=status)
    for job_id in {event["detail"]["jobId"] for event in batch.sent}:
        told = [status for _, status in batch.told(job_id)]
        assert not {"SUCCEEDED", "FAILED"} & set(told[:-1])
        assert told[-1] in {"SUCCEEDED", "FAILED"}
    assert batch.sent == a_story(steps, seed).sent


def test_without_disorder_nothing_is_drawn() -> None:
    plain, seeded = (Batch(disorder=each).with_queue() for each in (None, Disorder(seed=9)))
    for batch in (plain, seeded):
        job = batch.it.submit("own", "q", outcome=1, attempts=2)
        batch.at(99).terminate(job)

    assert plain.at(999).sent == seeded.at(999).sent
    assert plain.sent[-1]["time"] == time_of(100)
