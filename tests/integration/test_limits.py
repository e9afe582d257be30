"""Jobs that stay too long: warned of, stopped, looked at again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from batch_watchdog.store.item_codec import Item
from tests.makers import JOB, an_event, at
from tests.watching import Watching

SIX_HOURS = """
mode = "enforce"
[[limit]]
RUNNABLE = { warn_after = "1h", after = "2h", action = "cancel" }
"""


def moved(status: str, clock: str, attempts: int = 0, job_id: str = JOB, **more: Any) -> Any:
    made = [{"stoppedAt": 1_767_268_800_000, "container": {}}] * attempts
    return an_event(clock, jobId=job_id, status=status, attempts=made, **more)


def test_a_job_is_warned_of_and_cancelled_when_its_limit_has_passed_and_not_before() -> None:
    watching = Watching(SIX_HOURS, [moved("RUNNABLE", "12:00:30")]).run(at("12:00"), at("15:00"))

    assert watching.stopped() == {JOB: "14:01"}
    assert [notice["facts"]["waited_seconds"] for notice in watching.told("limit-warning")] == [
        3630
    ]
    [warning] = watching.told("limit-warning")
    assert "it will be cancelled in 59 min 30 s" in warning["text"]
    [notice] = watching.told("limit-enforced")
    assert notice["facts"]["limit_seconds"] == 7200
    assert notice["facts"]["since"] == "2026-01-01T12:00:30Z"
    assert notice["facts"]["mode"] == "enforce"


def test_in_observe_mode_it_is_said_what_would_be_done_and_nothing_is_done() -> None:
    policy = SIX_HOURS.replace("enforce", "observe")
    watching = Watching(policy, [moved("RUNNABLE", "12:00")]).run(at("12:00"), at("17:00"))

    assert watching.stops == []
    [notice] = watching.told("limit-enforced")
    assert "would be cancelled" in notice["text"]
    assert notice["facts"]["mode"] == "observe"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_of_an_arrays_children_subject_and_text_name_the_index(language: str) -> None:
    policy = SIX_HOURS + f'[notify]\nlanguage = "{language}"\n'
    events = [
        moved("RUNNABLE", "12:00", job_id=f"sweep:{index}", jobName="s" * 120,
              arrayProperties={"index": index})
        for index in (0, 9_999)
    ]  # fmt: skip
    watching = Watching(policy, events).run(at("12:00"), at("14:30"))

    for kind in ("limit-warning", "limit-enforced"):
        told = sorted(watching.told(kind), key=lambda each: str(each["id"]))
        assert [each["subject"][-5:].strip("s ") for each in told] == ["[0]", "9999]"]
        assert [
            f"s [{index}]" in each["text"] for each, index in zip(told, (0, 9_999), strict=True)
        ]
        assert all(len(each["subject"]) < 100 for each in told)


def test_a_job_whose_queue_is_shown_empty_is_not_stopped() -> None:
    watching = Watching(SIX_HOURS, [moved("RUNNABLE", "12:00", jobQueue="")])
    watching.run(at("12:00"), at("15:00"))

    assert watching.stops == []
    [told] = watching.told("limit-warning")
    assert "AWS Batch does not show its jobQueue" in told["text"]


def test_a_job_that_starts_in_time_is_left_alone() -> None:
    events = [moved("RUNNABLE", "12:00"), moved("STARTING", "13:59:59")]
    watching = Watching(SIX_HOURS, events).run(at("12:00"), at("15:00"))

    assert watching.stops == []


def test_another_attempt_begins_another_stay() -> None:
    events = [
        moved("RUNNABLE", "12:00"),
        moved("STARTING", "12:30"),
        moved("RUNNING", "12:31"),
        moved("RUNNABLE", "13:00", attempts=1),
    ]
    watching = Watching(SIX_HOURS, events).run(at("12:00"), at("16:00"))

    assert watching.stopped() == {JOB: "15:00"}


def test_a_job_whose_event_was_lost_is_found_by_listing() -> None:
    lost = [moved("RUNNABLE", "12:03")]
    watching = Watching(SIX_HOURS, lost=lost).run(at("12:00"), at("16:00"))

    assert watching.stopped() == {JOB: "14:15"}


def test_a_lost_retry_is_found_although_the_attempt_before_is_known() -> None:
    events = [moved("RUNNABLE", "12:00")]
    lost = [moved("RUNNING", "12:10"), moved("RUNNABLE", "12:20", attempts=1)]
    watching = Watching(SIX_HOURS, events, lost).run(at("12:00"), at("16:00"))

    assert watching.stopped() == {JOB: "14:30"}


def test_an_exempt_job_is_not_stopped() -> None:
    events = [moved("RUNNABLE", "12:00", tags={"batch-watchdog:exempt": "true"})]
    watching = Watching(SIX_HOURS, events).run(at("12:00"), at("16:00"))

    assert watching.stops == []


def test_a_cancelled_job_that_stays_runnable_is_not_cancelled_again() -> None:
    events = [moved("RUNNABLE", "12:00")]
    watching = Watching(SIX_HOURS, events, lazy_cancel=True).run(at("12:00"), at("16:00"))

    assert len(watching.stops) == 1


def test_a_stop_that_was_refused_is_tried_again() -> None:
    watching = Watching(SIX_HOURS, [moved("RUNNABLE", "12:00")])
    watching.batch.refusals[JOB] = ["ClientException"]
    watching.run(at("12:00"), at("16:00"))

    assert [f"{call.at:%H:%M}" for call in watching.stops] == ["14:00", "14:02"]


def test_a_job_that_cannot_be_stopped_is_tried_five_times_and_told_once() -> None:
    watching = Watching(SIX_HOURS, [moved("RUNNABLE", "12:00")])
    watching.batch.refusals[JOB] = ["ClientException"] * 99
    watching.run(at("12:00"), at("20:00"))

    assert [f"{call.at:%H:%M}" for call in watching.stops] == [
        "14:00", "14:02", "14:04", "14:06", "14:08",
    ]  # fmt: skip
    [trouble] = watching.told("watchdog-trouble")
    assert "asked 5 times" in trouble["text"]


def test_a_new_policy_does_not_bring_forward_the_look_at_what_was_stopped() -> None:
    watching = Watching(SIX_HOURS, [moved("RUNNABLE", "12:00")])
    watching.batch.refusals[JOB] = ["ClientException"]
    watching.run(at("12:00"), at("14:00"))
    watching.policy = SIX_HOURS.replace("1h", "30m")
    watching.run(at("14:01"), at("15:00"))

    assert [f"{call.at:%H:%M}" for call in watching.stops] == ["14:00", "14:02"]


def test_a_limit_for_known_causes_comes_first() -> None:
    policy = """
    mode = "enforce"
    [[limit]]
    RUNNABLE = { after = "3h", after_by_cause = { misconfigured = "30m" } }
    """
    disabled = {
        "jobQueues": [
            {
                "jobQueueName": "gpu",
                "jobQueueArn": "arn:aws:batch:us-east-1:111122223333:job-queue/gpu",
                "state": "ENABLED",
                "status": "VALID",
                "priority": 1,
                "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "spot"}],
            }
        ],
        "computeEnvironments": [
            {
                "computeEnvironmentName": "spot",
                "computeEnvironmentArn": "arn:aws:batch:us-east-1:1:compute-environment/spot",
                "state": "DISABLED",
                "status": "VALID",
                "type": "MANAGED",
                "computeResources": {"type": "EC2", "maxvCpus": 8, "subnets": []},
            }
        ],
    }
    watching = Watching(policy, [moved("RUNNABLE", "12:00")])
    watching.batch.add_world(disabled)
    watching.run(at("12:00"), at("13:00"))

    assert watching.stopped() == {JOB: "12:30"}
    [notice] = watching.told("limit-enforced")
    assert notice["facts"]["findings"][0] == "compute-environment-disabled"


def test_a_look_for_a_known_cause_is_no_warning() -> None:
    policy = """
    mode = "enforce"
    [[limit]]
    RUNNABLE = { warn_after = "1h", after = "3h", after_by_cause = { misconfigured = "30m" } }
    """
    watching = Watching(policy, [moved("RUNNABLE", "12:00")]).run(at("12:00"), at("14:00"))

    [warning] = watching.told("limit-warning")
    assert warning["facts"]["waited_seconds"] == 3600


def test_only_states_that_have_a_limit_are_listed_and_arrays_for_their_children() -> None:
    watching = Watching(SIX_HOURS, [moved("RUNNABLE", "12:00")])
    listed = set()

    def noted(operation: str, params: Mapping[str, Any]) -> bool:
        if operation == "ListJobs":
            listed.add(params["jobStatus"])
        return False

    watching.refuses = noted
    watching.run(at("12:00"), at("12:20"))

    assert listed == {"RUNNABLE", "PENDING"}


def test_a_running_job_is_terminated_by_its_own_tag() -> None:
    events = [moved("RUNNING", "12:00", tags={"batch-watchdog:RUNNING": "30m"})]
    watching = Watching('mode = "enforce"', events).run(at("12:00"), at("13:00"))

    assert watching.stopped() == {JOB: "12:30"}
    assert watching.stops[0].api == "TerminateJobs"


def test_the_brake_holds_what_is_too_much_and_asks() -> None:
    policy = SIX_HOURS + "[safety]\nmax_stops_per_hour = 2\n"
    ids = [f"job-{number}" for number in range(5)]
    events = [moved("RUNNABLE", "12:00", job_id=job_id) for job_id in ids]
    watching = Watching(policy, events).run(at("12:00"), at("14:50"))

    assert len(watching.stopped()) == 2
    [trouble] = watching.told("watchdog-trouble")
    assert trouble["facts"]["held"] == 3
    watching.run(at("14:51"), at("17:00"))
    assert sorted(watching.stopped()) == ids


def test_a_policy_that_begins_to_enforce_counts_for_jobs_that_wait_already() -> None:
    watching = Watching(SIX_HOURS.replace("enforce", "observe"), [moved("RUNNABLE", "12:00")])
    watching.run(at("12:00"), at("14:30"))
    watching.policy = SIX_HOURS
    watching.run(at("14:31"), at("14:35"))

    assert watching.stopped() == {JOB: "14:31"}


def test_a_blocked_queue_is_told_once_and_again_when_it_is_over() -> None:
    blocked = an_event("12:05", kind="Batch Job Queue Blocked", statusReason="CAPACITY:…")
    again = an_event("12:20", kind="Batch Job Queue Blocked", statusReason="CAPACITY:…")
    events = [moved("RUNNABLE", "12:00"), moved("STARTING", "12:30")]
    watching = Watching("", [*events, blocked, again]).run(at("12:00"), at("13:00"))

    assert [notice["facts"]["state"] for notice in watching.told("queue-blocked")] == [
        "blocked",
        "ended",
    ]


@pytest.mark.parametrize(("escalate", "calls"), [("false", 1), ("true", 2)])
def test_a_job_that_starts_in_spite_of_its_stop_is_told_and_escalated_only_if_asked(
    escalate: str, calls: int
) -> None:
    policy = SIX_HOURS.replace('"cancel"', f'"cancel", escalate = {escalate}')
    events = [
        moved("RUNNABLE", "12:00"),
        moved("RUNNABLE", "14:00:10", isCancelled=True),  # So the log says that it goes on.
        moved("STARTING", "14:00:30", isCancelled=True),
    ]
    watching = Watching(policy, events).run(at("12:00"), at("15:00"))

    [notice] = watching.told("limit-escaped")
    assert (notice["facts"]["status"], notice["facts"]["status_now"]) == ("RUNNABLE", "STARTING")
    assert ("escalated" in notice["facts"]) is (escalate == "true")
    assert [call.api for call in watching.stops] == ["CancelJobs", "TerminateJobs"][:calls]


def test_a_notice_says_whether_its_job_is_a_service_job() -> None:
    policy = "[[limit]]\nRUNNABLE = { warn_after = '1m', after = '6h' }\n"
    service = moved("RUNNABLE", "12:00", serviceJobType="SAGEMAKER_TRAINING")

    for event, facts in ((service, True), (moved("RUNNABLE", "12:00"), None)):
        watching = Watching(policy, [event]).run(at("12:00"), at("12:05"))
        [notice] = watching.told("limit-warning")
        assert notice["facts"].get("service") is facts
        assert "status_now" not in notice["facts"]


def test_a_cancel_that_came_too_late_does_not_keep_a_running_job_from_its_limit() -> None:
    policy = SIX_HOURS + 'RUNNING = { after = "30m", action = "terminate" }\n'
    cancelled = [
        moved(status, clock, isCancelled=True)
        for status, clock in (("RUNNABLE", "12:10"), ("STARTING", "12:20"), ("RUNNING", "12:21"))
    ]
    watching = Watching(policy, [moved("RUNNABLE", "12:00"), *cancelled])
    watching.run(at("12:00"), at("13:30"))

    assert [f"{call.at:%H:%M} {call.api}" for call in watching.stops] == ["12:51 TerminateJobs"]


def test_a_job_that_starts_between_the_decision_and_the_call_is_not_cancelled() -> None:
    events = [moved("RUNNABLE", "12:00"), moved("STARTING", "14:00:30")]
    watching = Watching(SIX_HOURS, events).run(at("12:00"), at("13:59"))
    watching.sweep(at("14:00"))
    watching.batch.advance_to(at("14:00:40"))
    watching.act()

    assert watching.stops == []


def test_a_bad_policy_changes_nothing_and_is_told_once_with_line_and_key() -> None:
    watching = Watching(SIX_HOURS, [moved("RUNNABLE", "12:00")]).run(at("12:00"), at("12:30"))
    watching.policy = 'mode = "enforce"\n[[limit]]\nRUNABLE = { after = "1m" }\n'
    watching.run(at("12:31"), at("15:00"))

    assert watching.stopped() == {JOB: "14:00"}
    [trouble] = watching.told("watchdog-trouble")
    assert "line 3: limit[1].RUNABLE" in trouble["text"]


@pytest.mark.parametrize("waiting", [10, 3_000])
def test_a_sweep_reads_as_much_however_many_jobs_wait(waiting: int) -> None:
    """As long as none is due, and the first looks, at their tags, are some minutes past."""
    events = [moved("RUNNABLE", "12:00", job_id=f"job-{number}") for number in range(waiting)]
    watching = Watching(SIX_HOURS, events).run(at("12:00"), at("12:05"))
    read: list[object] = []
    query = watching.table.query

    def counted(pk: str, **bounds: str) -> Iterator[Item]:
        items = list(query(pk, **bounds))
        read.extend(items)
        return iter(items)

    watching.table.query = counted  # type: ignore[method-assign]
    watching.run(at("12:06"), at("12:08"))

    assert read == []


def test_a_job_that_an_answer_shows_without_its_creation_is_told_of_once() -> None:
    # What was decided of a job is found again by when it was created.
    watching = Watching(SIX_HOURS, [moved("RUNNABLE", "12:00:30")])
    shown: dict[str, Sequence[str]] = {JOB: ("createdAt",)}
    watching.run(at("12:00"), at("13:00"))
    watching.batch.lacking |= shown
    watching.run(at("13:01"), at("13:03"))
    assert watching.told("limit-warning") == []

    watching.batch.lacking.clear()
    watching.run(at("13:04"), at("13:30"))
    assert len(watching.told("limit-warning")) == 1


def test_a_job_that_an_answer_shows_without_its_definition_has_no_other_rules_limit() -> None:
    policy = """
    mode = "enforce"
    [[limit]]
    match = { definition = "render" }
    RUNNABLE = { after = "6m", action = "cancel" }
    [[limit]]
    RUNNABLE = { after = "2m", action = "warn" }
    """
    watching = Watching(policy, [moved("RUNNABLE", "12:00:30")])
    shown: dict[str, Sequence[str]] = {JOB: ("jobDefinition",)}
    watching.run(at("12:00"), at("12:05"))
    watching.batch.lacking |= shown
    watching.run(at("12:06"), at("12:08"))
    assert watching.told("limit-enforced") == []

    watching.batch.lacking.clear()
    watching.run(at("12:09"), at("12:15"))
    assert [each["facts"]["limit_seconds"] for each in watching.told("limit-enforced")] == [360]


# ---- Jobs that are shown in part ----------------------------------------------------------


def shown_without(*fields: str, policy: str = SIX_HOURS, **job: Any) -> Watching:
    """A job in RUNNABLE since noon, of which each answer lacks these fields."""
    watching = Watching(policy, [moved("RUNNABLE", "12:00", **job)])
    watching.batch.lacking |= {JOB: fields}
    return watching


@pytest.mark.parametrize(
    ("field", "match"),
    [
        ("tags", 'tags = { team = "a" }'),
        ("createdAt", 'name = "render"'),
        ("jobQueue", 'queue = "gpu"'),
        ("jobDefinition", 'definition = "render"'),
    ],
)
def test_of_a_job_that_is_shown_in_part_operators_are_told_once_and_nothing_is_done(
    field: str, match: str
) -> None:
    policy = SIX_HOURS.replace("[[limit]]", f"[[limit]]\nmatch = {{ {match} }}")
    watching = shown_without(field, policy=policy, tags={"team": "a"})
    watching.run(at("12:00"), at("23:00"))

    assert watching.stopped() == {}
    [told] = watching.told("limit-warning")
    assert f"AWS Batch does not show its {field}: no limit can be applied." in told["text"]
    assert told["facts"]["rule"] == "not known, and none is applied"
    assert 3_600 <= told["facts"]["waited_seconds"] < 4_800

    watching.batch.lacking.clear()
    watching.run(at("23:00"), at("23:30"))
    assert list(watching.stopped()) == [JOB]


@pytest.mark.parametrize("field", ["tags", "createdAt"])
def test_of_a_job_that_is_shown_in_part_nothing_is_told_before_a_limit_may_have_passed(
    field: str,
) -> None:
    assert shown_without(field).run(at("12:00"), at("12:59")).published == []


def test_of_a_job_that_is_shown_in_part_nothing_is_told_where_nothing_can_limit_it() -> None:
    elsewhere = SIX_HOURS.replace("[[limit]]", '[[limit]]\nmatch = { queue = "other" }')
    exempt = {"command": "exempt", "job_id": JOB, "until": "2026-01-02T00:00:00Z", "by": "jane"}

    assert shown_without("tags", policy=elsewhere).run(at("12:00"), at("20:00")).published == []
    unlimited = SIX_HOURS.replace("RUNNABLE", "PENDING")
    assert shown_without("jobQueue", policy=unlimited).run(at("12:00"), at("20:00")).published == []
    watching = shown_without("tags")
    watching.console.answer(exempt, at("12:01"))
    assert watching.run(at("12:01"), at("20:00")).published == []


def test_of_a_job_that_is_shown_in_part_and_has_gone_on_nothing_is_told() -> None:
    watching = Watching(SIX_HOURS, [moved("RUNNABLE", "12:00"), moved("RUNNING", "12:30")])
    watching.batch.lacking |= {JOB: ("tags",)}

    assert watching.run(at("12:00"), at("20:00")).published == []
