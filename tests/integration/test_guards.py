"""Guards in the stack that template.yaml makes, on a simulated AWS Batch."""

import json
from datetime import timedelta

import pytest

from local.aws.stack import Stack
from tests.guarding import NOON, POLICY, Guarding


@pytest.fixture
def guarding(stack: Stack) -> Guarding:
    return Guarding(stack)


def four_running_and_five_waiting(guarding: Guarding) -> tuple[list[str], list[str]]:
    running = [guarding.submit() for _ in range(4)]
    guarding.run(minutes=2)
    waiting = [guarding.submit(queue=queue) for queue in ("gpu", "gpu", "cpu", "cpu", "cpu")]
    guarding.run(minutes=2)
    assert guarding.statuses(*running, *waiting) == ["RUNNING"] * 4 + ["RUNNABLE"] * 5
    return running, waiting


# ---- The mild stage -----------------------------------------------------------------------


def test_a_soft_alarm_cancels_what_waits_and_lets_finish_what_runs(guarding: Guarding) -> None:
    running, waiting = four_running_and_five_waiting(guarding)

    guarding.alarm("soft")
    guarding.run(minutes=10)

    assert guarding.statuses(*running) == ["RUNNING"] * 4
    assert guarding.statuses(*waiting) == ["FAILED"] * 5
    assert guarding.stops == dict.fromkeys(waiting, 1)
    assert {call.api for call in guarding.changes} == {"UpdateJobQueue", "CancelJobs"}
    assert all(
        detail["statusReason"].startswith('batch-watchdog: guard "monthly" is at cancel: ')
        for detail in guarding.describe(*waiting)
    )


def test_an_array_that_a_guard_stops_is_told_as_stopped_by_it(guarding: Guarding) -> None:
    array = guarding.submit(array_size=300)
    guarding.run(minutes=3)

    guarding.alarm("soft")
    guarding.run(minutes=5)
    guarding.alarm("hard")
    guarding.run(minutes=20)

    [told] = guarding.told("array-completed")
    facts = told["facts"]
    assert (facts["job_id"], facts["failed"], facts["groups"]) == (array, 0, [])
    assert facts["succeeded"] + facts["failed"] + facts["stopped"] == 300
    assert facts["stopped"] > 200
    assert facts["stopped_by"] == ["guard monthly"]
    assert told["subject"].startswith("Array stopped by guard monthly, ")
    assert "stopped by guard monthly" in told["text"]


def test_a_report_adds_up(guarding: Guarding) -> None:
    four_running_and_five_waiting(guarding)
    guarding.submit(tags={"critical": "true"})
    guarding.run(minutes=1)

    guarding.alarm("soft")
    guarding.run(minutes=10)

    facts = guarding.report()
    assert (facts["cancelled"], facts["left_running"], facts["spared"]) == (5, 4, 1)
    assert (facts["terminated"], facts["escaped"], facts["failed"]) == (0, 0, {})
    assert facts["found"] == 10
    assert facts["queues_closed"] == ["cpu", "gpu"]


def test_only_open_queues_are_closed_and_only_those_reopened(guarding: Guarding) -> None:
    guarding.alarm("soft")
    guarding.run(minutes=5)
    closed = list(guarding.queues_set)
    guarding.alarm("soft", "OK")
    guarding.run(minutes=5)

    assert closed == [("cpu", "DISABLED"), ("gpu", "DISABLED")]
    assert guarding.queues_set[2:] == [("cpu", "ENABLED"), ("gpu", "ENABLED")]
    assert guarding.state_of("shut") == "DISABLED"


def test_queues_are_closed_before_any_job_is_stopped(guarding: Guarding) -> None:
    four_running_and_five_waiting(guarding)

    guarding.alarm("soft")
    guarding.run(minutes=5)

    apis = [call.api for call in guarding.changes]
    assert apis == ["UpdateJobQueue"] * 2 + ["CancelJobs"]


def test_a_repeated_or_late_alarm_changes_nothing(guarding: Guarding) -> None:
    four_running_and_five_waiting(guarding)
    for minute in range(3):
        guarding.alarm("soft", ago=timedelta(minutes=minute))
        guarding.run(minutes=1)
    guarding.run(minutes=5)
    guarding.alarm("soft", "OK")
    guarding.run(minutes=5)
    guarding.alarm("soft", ago=timedelta(minutes=9))  # It rang before the OK, and comes after.
    guarding.run(minutes=5)

    assert guarding.kinds() == ["guard-raised", "guard-report", "guard-released"]
    assert max(guarding.stops.values()) == 1
    assert len(guarding.queues_set) == 4


def test_a_second_alarm_that_changes_nothing_else_is_remembered(stack: Stack) -> None:
    guarding = Guarding(stack, POLICY.replace('"soft"', '"soft", "softer"'))
    guarding.alarm("soft")
    guarding.run(minutes=3)
    guarding.alarm("softer")
    guarding.run(minutes=3)
    guarding.alarm("soft", "OK")
    guarding.run(minutes=3)
    assert guarding.kinds() == ["guard-raised", "guard-report"]

    guarding.alarm("softer", "OK")
    guarding.run(minutes=3)

    assert guarding.kinds()[2:] == ["guard-released"]


def test_a_release_tells_what_was_stopped_while_the_stage_was_on(guarding: Guarding) -> None:
    four_running_and_five_waiting(guarding)
    guarding.alarm("soft")
    guarding.run(minutes=5)
    guarding.batch.call("UpdateJobQueue", {"jobQueue": "gpu", "state": "ENABLED"})
    late = guarding.submit()
    guarding.run(minutes=5)
    guarding.alarm("soft", "OK")
    guarding.run(minutes=2)

    (released,) = guarding.told("guard-released")
    assert guarding.statuses(late) == ["FAILED"]
    assert released["facts"]["cancelled"] == 6
    assert "- cancel, 10 min (from 20" in released["text"]
    assert ": 6 cancelled, 4 left to run.\n" in released["text"]
    assert released["subject"] == "Guard monthly: released after 10 min, 6 jobs stopped"


def test_a_release_tells_what_each_stage_did_and_leaves_out_what_is_nought(
    guarding: Guarding,
) -> None:
    four_running_and_five_waiting(guarding)
    guarding.submit(tags={"critical": "true"})
    guarding.run(minutes=1)
    guarding.alarm("soft")
    guarding.run(minutes=10)
    guarding.alarm("hard")
    guarding.run(minutes=10)
    guarding.alarm("hard", "OK")
    guarding.alarm("soft", "OK")
    guarding.run(minutes=2)

    (released,) = guarding.told("guard-released")
    facts = released["facts"]
    assert (facts["cancelled"], facts["terminated"]) == (5, 4)
    assert [(each["stage"], each["mode"]) for each in facts["stages"]] == [
        ("cancel", "enforce"),
        ("terminate", "enforce"),
    ]
    soft, hard = facts["stages"]
    assert (soft["cancelled"], soft["terminated"], soft["left_running"]) == (5, 0, 4)
    assert (hard["cancelled"], hard["terminated"], hard["spared"]) == (0, 4, 1)
    assert soft["until"] == hard["since"]
    assert soft["seconds"] == 600
    text = released["text"]
    assert ": 5 cancelled, 4 left to run, 1 spared.\n" in text
    assert ": 4 terminated, 1 spared.\n" in text
    assert "missed" not in text
    assert released["subject"].endswith(", 9 jobs stopped")


def test_a_report_of_one_job_has_one_job_in_it_and_no_row_of_noughts(guarding: Guarding) -> None:
    guarding.submit(vcpus=4_000)
    guarding.run(minutes=2)
    guarding.alarm("soft")
    guarding.run(minutes=10)

    (report,) = guarding.told("guard-report")
    assert report["subject"] == "Guard monthly: cancelled 1 of 1 job"
    assert "It found 1 job, of which:\n- 1 cancelled\n\n" in report["text"]


def test_a_retry_is_stopped_when_it_waits_again(guarding: Guarding) -> None:
    job = guarding.submit(seconds=600, attempts=3, outcome=1)
    guarding.run(minutes=2)
    # It takes all the room as soon as there is some, so that the retry has to wait.
    big = guarding.submit(queue="cpu", vcpus=16, tags={"critical": "true"})
    guarding.run(minutes=1)
    guarding.alarm("soft")
    guarding.run(minutes=5)
    assert guarding.statuses(job, big) == ["RUNNING", "RUNNABLE"]

    guarding.run(minutes=10)

    (detail,) = guarding.describe(job)
    assert (detail["status"], len(detail["attempts"])) == ("FAILED", 1)
    assert guarding.statuses(big) == ["RUNNING"]
    assert guarding.stops == {job: 1}
    assert len(guarding.told("guard-report")) == 1


def test_what_no_event_tells_of_is_found_all_the_same(guarding: Guarding) -> None:
    guarding.alarm("soft")
    guarding.run(minutes=5)
    guarding.batch.call("UpdateJobQueue", {"jobQueue": "gpu", "state": "ENABLED"})
    started = [guarding.submit() for _ in range(4)]
    lost = {guarding.submit() for _ in range(3)}
    deliver = guarding.dispatcher.deliver
    received: list[str] = []

    def lossy(event: dict[str, dict[str, str]], body: str = "") -> None:
        received.append(event["detail"].get("jobId", ""))
        if event["detail"].get("jobId") not in {*lost, *started}:
            deliver(event, body)

    guarding.dispatcher.deliver = lossy  # type: ignore[assignment]
    guarding.run(minutes=6)

    assert lost <= set(received)
    assert set(guarding.statuses(*lost)) == {"FAILED"}


def test_new_jobs_are_left_alone_once_the_guard_is_released(guarding: Guarding) -> None:
    guarding.alarm("soft")
    guarding.run(minutes=5)
    guarding.alarm("soft", "OK")
    guarding.run(minutes=5)

    job = guarding.submit()
    guarding.run(minutes=10)

    assert guarding.statuses(job) == ["RUNNING"]
    assert not guarding.stops


def test_a_stop_that_is_lazily_carried_out_counts_once(stack: Stack) -> None:
    guarding = Guarding(stack, lazy_cancel=True)
    running, waiting = four_running_and_five_waiting(guarding)

    guarding.alarm("soft")
    guarding.run(minutes=20)

    assert guarding.stops == dict.fromkeys(waiting, 1)
    assert guarding.report()["cancelled"] == 5
    assert guarding.report()["left_running"] == len(running)


# ---- Arrays and service jobs --------------------------------------------------------------


def test_an_array_is_stopped_as_a_whole_and_counted_by_its_children(guarding: Guarding) -> None:
    array = guarding.submit(array_size=10)
    guarding.run(minutes=3)

    guarding.alarm("soft")
    guarding.run(minutes=10)

    assert guarding.stops == {array: 1}
    facts = guarding.report()
    assert (facts["cancelled"], facts["left_running"], facts["found"]) == (6, 4, 10)


def test_children_that_failed_before_their_array_was_stopped_do_not_count_as_stopped(
    guarding: Guarding,
) -> None:
    lengths = {0: 60, 1: 300}
    array = guarding.submit(
        array_size=4,
        seconds=lambda index, _: lengths.get(index, 86_400),
        outcome=lambda index, _: 1 if index == 0 else 0,
    )
    guarding.batch.ignore_terminate(f"{array}:1")
    guarding.run(minutes=3)

    guarding.alarm("hard")
    guarding.run(minutes=20)

    # The first had failed, the second ran to its end in spite of the stop.
    facts = guarding.report()
    assert (facts["found"], facts["terminated"]) == (3, 2)


def test_children_that_outlive_the_stop_of_their_array_are_stopped_singly(stack: Stack) -> None:
    guarding = Guarding(stack, terminate_cascades=False)
    array = guarding.submit(array_size=60)
    guarding.run(minutes=3)

    guarding.alarm("hard")
    guarding.run(minutes=10)

    children = [f"{array}:{index}" for index in range(60)]
    assert set(guarding.statuses(*children)) == {"FAILED"}
    assert guarding.report()["terminated"] == 60
    assert guarding.report()["found"] == 60


def test_an_array_of_which_nothing_waits_is_not_touched_at_cancel(guarding: Guarding) -> None:
    array = guarding.submit(array_size=4)
    guarding.run(minutes=3)

    guarding.alarm("soft")
    guarding.run(minutes=10)

    assert not guarding.stops
    assert guarding.report()["left_running"] == 4
    assert guarding.statuses(f"{array}:0") == ["RUNNING"]


def test_service_jobs_are_stopped_while_they_wait_and_all_of_them_at_terminate(
    guarding: Guarding,
) -> None:
    training = {"jobQueueName": "training", "jobQueueType": "SAGEMAKER_TRAINING"}
    guarding.batch.add_world({"jobQueues": [training]})
    running = guarding.submit(queue="training", service=True)
    guarding.run(minutes=2)

    guarding.alarm("soft")
    guarding.run(minutes=5)
    at_cancel = guarding.report()
    guarding.alarm("hard")
    guarding.run(minutes=5)

    assert at_cancel["left_running"] == 1
    assert guarding.stops == {running: 1}
    assert [call.api for call in guarding.changes if call.jobs] == ["TerminateServiceJobs"]


# ---- The hard stage -----------------------------------------------------------------------


def test_a_hard_alarm_ends_everything_but_what_is_spared(guarding: Guarding) -> None:
    spared = guarding.submit(tags={"critical": "true"}, vcpus=0.25)
    guarding.run(minutes=1)
    jobs = [guarding.submit() for _ in range(9)]
    guarding.run(minutes=2)

    guarding.alarm("hard")
    guarding.run(minutes=10)

    assert set(guarding.statuses(*jobs)) == {"FAILED"}
    assert guarding.statuses(spared) == ["RUNNING"]
    assert guarding.report()["terminated"] == 9
    assert guarding.report()["spared"] == 1
    assert guarding.state_of("gpu") == "DISABLED"


@pytest.mark.parametrize("source", ["alarm", "budget"])
def test_two_hours_without_relief_end_everything(guarding: Guarding, source: str) -> None:
    running, waiting = four_running_and_five_waiting(guarding)
    getattr(guarding, source)("soft")
    guarding.run(minutes=115)
    assert guarding.statuses(*running) == ["RUNNING"] * 4

    guarding.run(minutes=15)

    assert set(guarding.statuses(*running, *waiting)) == {"FAILED"}
    assert [notice["facts"]["stage"] for notice in guarding.told("guard-report")] == [
        "cancel",
        "terminate",
    ]
    assert ("gpu", "ENABLED") not in guarding.queues_set


def test_at_terminate_what_starts_is_stopped_too(guarding: Guarding) -> None:
    guarding.alarm("hard")
    guarding.run(minutes=5)
    guarding.batch.call("UpdateJobQueue", {"jobQueue": "gpu", "state": "ENABLED"})

    job = guarding.submit()
    guarding.run(minutes=1)

    assert guarding.statuses(job) == ["FAILED"]
    assert [call.api for call in guarding.changes if call.jobs] == ["TerminateJobs"]


# ---- Modes, other guards, and operators ---------------------------------------------------


def test_in_observe_mode_nothing_is_changed_and_the_report_says_what_would_be(
    stack: Stack,
) -> None:
    guarding = Guarding(stack, POLICY.replace('"enforce"', '"observe"'))
    four_running_and_five_waiting(guarding)

    guarding.alarm("soft")
    guarding.run(minutes=20)
    guarding.alarm("soft", "OK")
    guarding.run(minutes=5)

    assert not guarding.changes
    facts = guarding.report()
    assert (facts["mode"], facts["cancelled"], facts["left_running"]) == ("observe", 5, 4)
    assert facts["queues_closed"] == ["cpu", "gpu"]
    assert guarding.kinds() == ["guard-raised", "guard-report", "guard-released"]


def test_in_observe_mode_a_stage_that_closes_no_queues_reports_none(stack: Stack) -> None:
    policy = POLICY.replace('"enforce"', '"observe"').replace("close_queues = true", "")
    guarding = Guarding(stack, policy)

    guarding.alarm("soft")
    guarding.run(minutes=5)

    assert guarding.report()["queues_closed"] == []


def release_the_first_of_two(guarding: Guarding) -> None:
    """Both guards close the queues, and the first that did is released."""
    for alarm, state in (("soft", "ALARM"), ("steep", "ALARM"), ("soft", "OK")):
        guarding.alarm(alarm, state)
        guarding.run(minutes=5)


def test_a_queue_reopens_when_no_guard_holds_it(stack: Stack) -> None:
    second = POLICY.partition("[[guard]]")[2].replace("monthly", "daily").replace("soft", "steep")
    guarding = Guarding(stack, f"{POLICY}\n[[guard]]{second.replace('hard', 'sheer')}")
    release_the_first_of_two(guarding)
    held = guarding.state_of("gpu")
    guarding.alarm("steep", "OK")
    guarding.run(minutes=5)

    assert (held, guarding.state_of("gpu")) == ("DISABLED", "ENABLED")
    assert len(guarding.queues_set) == 4


def test_a_run_that_another_stage_overtakes_ends(guarding: Guarding) -> None:
    for _ in range(300):
        guarding.submit()
    guarding.run(minutes=2)

    guarding.alarm("soft")
    guarding.run(minutes=0.105)
    guarding.alarm("hard")
    guarding.run(minutes=10)

    (report,) = guarding.told("guard-report")
    assert report["facts"]["stage"] == "terminate"
    last = max(call.at for call in guarding.changes if call.jobs)
    assert last - NOON < timedelta(minutes=2, seconds=50)
    assert max(guarding.stops.values()) <= 2
    assert len(guarding.stops) == 300


def test_while_the_watchdog_is_held_nothing_is_changed_and_all_of_it_afterwards(
    guarding: Guarding,
) -> None:
    running, waiting = four_running_and_five_waiting(guarding)
    guarding.command("hold", by="jane")
    guarding.alarm("soft")
    guarding.run(minutes=30)
    while_held = list(guarding.changes)

    guarding.command("resume", by="jane")
    guarding.run(minutes=10)

    assert not while_held
    assert guarding.statuses(*running, *waiting) == ["RUNNING"] * 4 + ["FAILED"] * 5
    assert guarding.state_of("gpu") == "DISABLED"
    assert guarding.kinds() == ["guard-raised", "guard-report"]


def test_a_stage_does_not_become_harder_by_time_during_a_hold(guarding: Guarding) -> None:
    guarding.alarm("soft")
    guarding.run(minutes=5)
    guarding.command("hold", by="jane")
    guarding.run(minutes=180)
    while_held = guarding.kinds()

    guarding.command("resume", by="jane")
    guarding.run(minutes=114)
    before = guarding.kinds()
    guarding.run(minutes=5)

    assert before == while_held == ["guard-raised", "guard-report"]
    assert guarding.kinds()[2:] == ["guard-raised", "guard-report"]


def test_a_queue_that_was_to_be_closed_during_a_hold_is_closed_afterwards(
    guarding: Guarding,
) -> None:
    guarding.alarm("soft")
    guarding.run(minutes=0.02)  # Decided, and about to be carried out.
    guarding.command("hold", by="jane")
    guarding.run(minutes=30)
    while_held = list(guarding.changes)

    guarding.command("resume", by="jane")
    guarding.run(minutes=1)

    assert not while_held
    assert guarding.state_of("gpu") == "DISABLED"


def test_queues_whose_closing_batch_refuses_are_told_neither_as_closed_nor_as_reopened(
    guarding: Guarding,
) -> None:
    guarding.batch.hold_updating("gpu", 600)
    guarding.alarm("soft")
    guarding.run(minutes=5)
    (report,) = guarding.told("guard-report")
    assert (report["facts"]["queues_closed"], report["facts"]["queues_not_closed"]) == (
        ["cpu"],
        ["gpu"],
    )
    assert "Not closed yet, as far as is known: gpu." in report["text"]

    guarding.alarm("soft", "OK")
    guarding.run(minutes=5)
    (release,) = guarding.told("guard-released")
    assert release["facts"]["queues_reopened"] == ["cpu"]
    assert "Never closed, though it was decided: gpu" in release["text"]
    assert guarding.queues_set == [("cpu", "DISABLED"), ("cpu", "ENABLED")]


def test_queues_that_wait_for_the_end_of_a_hold_are_told_as_still_closed(
    guarding: Guarding,
) -> None:
    guarding.alarm("soft")
    guarding.run(minutes=5)
    guarding.command("hold", by="jane")
    guarding.alarm("soft", "OK")
    guarding.run(minutes=5)

    (release,) = guarding.told("guard-released")
    assert release["facts"]["queues_reopened"] == []
    assert release["facts"]["queues_still_closed"] == ["cpu", "gpu"]

    guarding.command("resume", by="jane")
    guarding.run(minutes=1)
    assert guarding.state_of("cpu") == guarding.state_of("gpu") == "ENABLED"


def test_an_operator_may_set_a_stage_and_release_it(guarding: Guarding) -> None:
    running, waiting = four_running_and_five_waiting(guarding)

    guarding.command("set-stage", guard="monthly", stage="terminate", by="jane")
    guarding.run(minutes=5)
    guarding.command("release", guard="monthly", by="jane")
    guarding.run(minutes=5)

    assert set(guarding.statuses(*running, *waiting)) == {"FAILED"}
    assert guarding.state_of("gpu") == "ENABLED"
    assert guarding.told("guard-released")[0]["facts"]["by"] == "jane"


# ---- Budgets, and guards that are gone ------------------------------------------------------


def test_a_message_about_a_lower_threshold_stops_nothing_and_is_told_once(stack: Stack) -> None:
    guarding = Guarding(stack, POLICY.replace('"soft"', '"account-monthly"'))
    running, waiting = four_running_and_five_waiting(guarding)

    for _ in range(2):
        guarding.budget("account-monthly", threshold="$50.00")
        guarding.run(minutes=5)

    (alert,) = guarding.told("spend-alert")
    assert (alert["facts"]["percent"], alert["facts"]["amount"]) == (50, "$105.00")
    assert (alert["facts"]["budget"], alert["facts"]["alert_type"]) == ("account-monthly", "ACTUAL")
    assert not guarding.changes
    assert guarding.statuses(*running, *waiting) == ["RUNNING"] * 4 + ["RUNNABLE"] * 5


def test_two_thresholds_of_one_budget_raise_two_stages(stack: Stack) -> None:
    policy = POLICY.replace(
        'alarms = ["soft"]', 'aws_budgets = [{ name = "account", percent = 80 }]'
    ).replace('alarms = ["hard"]', 'aws_budgets = [{ name = "account", percent = 100 }]')
    guarding = Guarding(stack, policy)
    running, waiting = four_running_and_five_waiting(guarding)

    guarding.budget("account", threshold="$80.00")
    guarding.run(minutes=5)
    assert guarding.statuses(*running, *waiting) == ["RUNNING"] * 4 + ["FAILED"] * 5

    guarding.budget("account", threshold="$100.00")
    guarding.run(minutes=5)
    assert set(guarding.statuses(*running, *waiting)) == {"FAILED"}
    assert guarding.kinds() == ["guard-raised", "guard-report"] * 2
    assert not guarding.told("spend-alert")


def test_a_guard_that_the_policy_loses_is_told_once_and_its_release_reopens_its_queues(
    guarding: Guarding,
) -> None:
    guarding.alarm("soft")
    guarding.run(minutes=5)
    (parameter,) = guarding.dispatcher.parameters

    guarding.dispatcher.parameters[parameter] = 'mode = "observe"'
    guarding.run(minutes=30)
    (trouble,) = [each for each in guarding.told("watchdog-trouble") if "guard" in each["facts"]]
    assert trouble["facts"]["guard"] == "monthly"
    assert "cpu and gpu" in trouble["text"] or "gpu and cpu" in trouble["text"]
    assert guarding.state_of("gpu") == "DISABLED"

    guarding.command("release", guard="monthly", by="jane")
    guarding.run(minutes=5)
    assert guarding.state_of("gpu") == guarding.state_of("cpu") == "ENABLED"


def test_queues_that_a_lost_guard_has_left_closed_are_told_and_its_release_reopens_them(
    stack: Stack,
) -> None:
    first = POLICY.replace('mode = "enforce"', 'mode = "observe"').replace(
        'name = "monthly"', 'name = "monthly"\nmode = "enforce"'
    )
    second = (
        first.partition("[[guard]]")[2]
        .replace("monthly", "daily")
        .replace("soft", "steep")
        .replace("hard", "sheer")
    )
    guarding = Guarding(stack, f"{first}\n[[guard]]{second}")
    release_the_first_of_two(guarding)
    (parameter,) = guarding.dispatcher.parameters

    guarding.dispatcher.parameters[parameter] = f'mode = "observe"\n[[guard]]{second}'
    guarding.alarm("steep", "OK")
    guarding.run(minutes=30)
    assert guarding.state_of("gpu") == "DISABLED"
    (trouble,) = [each for each in guarding.told("watchdog-trouble") if "guard" in each["facts"]]
    assert trouble["facts"]["guard"] == "monthly"
    assert trouble["facts"]["queues_closed"] == ["cpu", "gpu"]
    assert 'the command "release" for the guard "monthly"' in trouble["text"]

    guarding.command("release", guard="monthly", by="jane")
    guarding.run(minutes=1)
    assert guarding.state_of("gpu") == guarding.state_of("cpu") == "ENABLED"
    assert len(guarding.told("watchdog-trouble")) == 1


def test_a_stage_that_nothing_asks_for_any_more_stops_nothing_and_is_told_once(
    guarding: Guarding,
) -> None:
    guarding.alarm("hard")
    guarding.run(minutes=5)
    (parameter,) = guarding.dispatcher.parameters
    guarding.dispatcher.parameters[parameter] = POLICY.replace('"hard"', '"harder"')
    guarding.run(minutes=2)
    guarding.batch.call("UpdateJobQueue", {"jobQueue": "gpu", "state": "ENABLED"})

    job = guarding.submit()
    guarding.run(minutes=30)

    assert guarding.statuses(job) == ["RUNNING"]
    (trouble,) = [each for each in guarding.told("watchdog-trouble") if "guard" in each["facts"]]
    assert trouble["facts"]["stage"] == "terminate"
    assert 'the command "release" for the guard "monthly"' in trouble["text"]

    guarding.command("release", guard="monthly", by="jane")
    guarding.run(minutes=5)
    assert guarding.state_of("cpu") == "ENABLED"


@pytest.mark.parametrize("relief", ["OK", "policy"])
def test_what_an_operator_set_is_enforced_again_when_a_harder_alarm_is_over(
    guarding: Guarding, relief: str
) -> None:
    guarding.command("set-stage", guard="monthly", stage="cancel", by="jane")
    guarding.run(minutes=5)
    guarding.batch.call("UpdateJobQueue", {"jobQueue": "gpu", "state": "ENABLED"})
    guarding.alarm("hard")
    guarding.run(minutes=5)

    if relief == "OK":
        guarding.alarm("hard", "OK")
    else:
        (parameter,) = guarding.dispatcher.parameters
        guarding.dispatcher.parameters[parameter] = POLICY.replace('"hard"', '"harder"')
    guarding.run(minutes=30)
    jobs = [guarding.submit() for _ in range(6)]
    guarding.run(minutes=30)

    assert guarding.statuses(*jobs) == ["RUNNING"] * 4 + ["FAILED"] * 2
    assert not guarding.told("watchdog-trouble")


def test_what_runs_is_not_stopped_after_a_hold_if_the_policy_only_cancels_by_then(
    guarding: Guarding,
) -> None:
    running, _ = four_running_and_five_waiting(guarding)
    guarding.command("hold", by="jane")
    guarding.alarm("hard")
    guarding.run(minutes=5)
    (parameter,) = guarding.dispatcher.parameters
    guarding.dispatcher.parameters[parameter] = POLICY.partition(
        '[[guard.stage]]\nalarms = ["hard"]'
    )[0]

    guarding.command("resume", by="jane")
    guarding.run(minutes=30)

    assert guarding.statuses(*running) == ["RUNNING"] * 4
    assert not guarding.stops


def test_what_is_over_is_released_and_not_told_as_a_stage_that_nothing_asks_for(
    stack: Stack,
) -> None:
    guarding = Guarding(stack, POLICY.replace('"soft"', '"daily"'))
    guarding.sns(
        "AWS Budget Notification January 01, 2026\nAWS Account 111122223333\n\nYour daily budget "
        "for the current day has passed its threshold.\n\n"
        "Budget Name: daily\nBudget Type: Cost\nBudgeted Amount: $100.00\n"
        "Alert Type: ACTUAL\nAlert Threshold: > $100.00\nACTUAL Amount: $105.00\n",
        subject="AWS Budgets: daily has exceeded your alert threshold",
    )
    guarding.run(minutes=12 * 60 + 5)

    assert guarding.kinds()[-1] == "guard-released"
    assert not guarding.told("watchdog-trouble")


# ---- What is not understood ---------------------------------------------------------------


def test_a_word_about_money_that_is_not_understood_is_kept_and_told_once(
    guarding: Guarding,
) -> None:
    for _ in range(3):
        guarding.sns(json.dumps({"AlarmName": "soft", "NewStateValue": "RINGING"}))
        guarding.run(minutes=1)

    (trouble,) = guarding.told("watchdog-trouble")
    assert "NewStateValue" in trouble["text"]
    assert len(guarding.letters) == 3
    assert not guarding.changes


def test_what_does_not_concern_the_guards_is_passed_over(guarding: Guarding) -> None:
    guarding.alarm("disk-full")
    guarding.sns("The weather is fine.")
    guarding.run(minutes=5)

    assert not guarding.messages
    assert not guarding.letters
