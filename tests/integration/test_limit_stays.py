"""Which stays are meant: where they begin, whose tags count, and what becomes of their stops."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.makers import ARRAY, JOB, an_event, at
from tests.watching import Watching

TWO_HOURS = """
mode = "enforce"
[[limit]]
RUNNABLE = { after = "2h", action = "cancel", escalate = true }
"""
OBSERVED = TWO_HOURS.replace("enforce", "observe")
SERVICE = "Batch Service Job State Change"


def moved(status: str, clock: str, job_id: str = JOB, **more: Any) -> Any:
    return an_event(clock, jobId=job_id, status=status, **more)


def served(status: str, clock: str, **more: Any) -> Any:
    event = an_event(clock, kind=SERVICE, status=status, serviceJobType="SAGEMAKER_TRAINING")
    del event["detail"]["tags"]
    event["detail"] |= more
    return event


def millis(clock: str) -> int:
    return int(at(clock).timestamp()) * 1_000


def asked(watching: Watching) -> list[str]:
    return [f"{call.at:%H:%M} {call.api}" for call in watching.stops]


# ---- A stop that was asked for is repeated only if it is meant ----------------------------


def refused_once(policy: str = TWO_HOURS, *lost: Any) -> Watching:
    """A stop was asked for at 14:00, and Batch has refused it."""
    watching = Watching(policy, [moved("RUNNABLE", "12:00")], lost)
    watching.batch.refusals[JOB] = ["ClientException"]
    return watching.run(at("12:00"), at("14:00"))


@pytest.mark.parametrize(
    "policy",
    [
        OBSERVED,
        'mode = "enforce"',
        TWO_HOURS.replace('"cancel", escalate = true', '"warn"'),
        TWO_HOURS.replace("2h", "24h"),
        TWO_HOURS.replace("[[limit]]\n", '[[limit]]\nmatch = { queue = "other" }\n'),
    ],
    ids=["observe", "no rule", "warn", "longer", "other queue"],
)
def test_a_stop_is_not_repeated_once_the_policy_no_longer_asks_for_it(policy: str) -> None:
    watching = refused_once()
    watching.policy = policy
    watching.run(at("14:01"), at("17:00"))

    assert asked(watching) == ["14:00 CancelJobs"]
    troubles = [each["id"] for each in watching.told("watchdog-trouble")]
    assert all(each.startswith("watchdog-trouble:mode:") for each in troubles)


def test_a_stop_is_not_repeated_of_a_job_that_is_exempt_by_a_tag_since() -> None:
    tags = {"batch-watchdog:exempt": "true"}
    watching = refused_once(TWO_HOURS, moved("RUNNABLE", "14:00:30", tags=tags))
    watching.run(at("14:01"), at("17:00"))

    assert asked(watching) == ["14:00 CancelJobs"]


def test_a_stop_is_not_repeated_of_a_job_that_an_operator_has_exempted_until_that_is_over() -> None:
    watching = refused_once()
    command = {"command": "exempt", "job_id": JOB, "until": "2026-01-01T15:00:00Z", "by": "jane"}
    watching.console.answer(command, at("14:01"))
    watching.run(at("14:01"), at("16:00"))

    assert asked(watching) == ["14:00 CancelJobs", "15:00 CancelJobs"]


def test_a_job_that_was_left_alone_is_stopped_as_soon_as_it_is_meant_again() -> None:
    watching = refused_once()
    watching.policy = OBSERVED
    watching.run(at("14:01"), at("14:29"))
    watching.policy = TWO_HOURS
    watching.run(at("14:30"), at("15:00"))

    assert asked(watching) == ["14:00 CancelJobs", "14:30 CancelJobs"]


def slips() -> list[Any]:
    """A job whose cancelling Batch accepts at 14:00, and that starts all the same."""
    return [
        moved("RUNNABLE", "14:00:10", isCancelled=True),
        moved("STARTING", "14:00:30", isCancelled=True),
    ]


@pytest.mark.parametrize(
    "policy",
    [TWO_HOURS, OBSERVED, 'mode = "enforce"', TWO_HOURS.replace("true", "false")],
    ids=["meant", "observe", "no rule", "no escalation"],
)
def test_a_job_that_has_started_is_terminated_only_if_that_is_still_meant(policy: str) -> None:
    watching = Watching(TWO_HOURS, [moved("RUNNABLE", "12:00"), *slips()])
    watching.run(at("12:00"), at("14:01"))
    watching.policy = policy
    watching.run(at("14:02"), at("15:00"))

    meant = policy == TWO_HOURS
    assert asked(watching)[1:] == ["14:02 TerminateJobs"] * meant
    told = "meant" if policy in (TWO_HOURS, TWO_HOURS.replace("true", "false")) else "not meant"
    assert len(watching.told("limit-escaped")) == (told == "meant")


def test_a_terminate_that_is_refused_is_tried_again_and_told_once() -> None:
    watching = Watching(TWO_HOURS, [moved("RUNNABLE", "12:00"), *slips()])
    watching.run(at("12:00"), at("14:01"))
    watching.batch.refusals[JOB] = ["ClientException"]
    watching.run(at("14:02"), at("15:00"))

    assert asked(watching) == ["14:00 CancelJobs", "14:02 TerminateJobs", "14:04 TerminateJobs"]
    assert len(watching.told("limit-escaped")) == 1


def test_a_job_that_cannot_be_stopped_is_no_new_job_to_the_listing() -> None:
    watching = Watching(TWO_HOURS, [moved("RUNNABLE", "12:00")])
    watching.batch.refusals[JOB] = ["ClientException"] * 99
    watching.run(at("12:00"), at("20:00"))

    assert len(watching.stops) == 5
    assert len(watching.told("watchdog-trouble")) == 1


# ---- Where a stay begins ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "stopped"),
    [((), "14:55"), (("12:55",), "14:50"), (("12:50",), "14:55"), (("12:50", "12:55"), "14:00")],
    ids=["all came", "the second is lost", "only the second came", "nothing came"],
)
def test_a_job_that_comes_back_without_an_attempt_begins_a_new_stay(
    lost: Sequence[str], stopped: str
) -> None:
    back = {"12:50": moved("STARTING", "12:50"), "12:55": moved("RUNNABLE", "12:55")}
    came = [event for clock, event in back.items() if clock not in lost]
    gone = [back[clock] for clock in lost]
    watching = Watching(TWO_HOURS, [moved("RUNNABLE", "12:00"), *came], gone)
    watching.run(at("12:00"), at("16:00"))

    # What neither Batch nor an event shows cannot be known.
    assert watching.stopped() == {JOB: stopped}


def test_events_that_come_late_and_in_disorder_prove_as_much() -> None:
    back = [moved("RUNNABLE", "12:55"), moved("STARTING", "12:50")]
    watching = Watching(TWO_HOURS, [moved("RUNNABLE", "12:00")], back).run(at("12:00"), at("13:30"))
    watching.receive(*back, now=at("13:30"))
    watching.run(at("13:31"), at("16:00"))

    assert watching.stopped() == {JOB: "14:55"}


PREEMPTED = {
    "preemptionSummary": {
        "preemptedAttemptCount": 1,
        "recentPreemptedAttempts": [
            {"startedAt": millis("12:12"), "stoppedAt": millis("13:30")},
            {"startedAt": millis("12:12"), "stoppedAt": millis("13:00")},
        ],
    }
}


@pytest.mark.parametrize(
    ("proof", "stopped"),
    [
        (PREEMPTED, "15:30"),
        ({"scheduledAt": millis("12:40"), "startedAt": millis("13:20")}, "15:20"),
        ({"scheduledAt": millis("12:40")}, "14:40"),
        ({"attempts": [{"stoppedAt": millis("13:10")}]} | PREEMPTED, "15:30"),
        ({}, "14:00"),
    ],
    ids=["preempted", "started", "scheduled", "preempted runs are attempts", "nothing"],
)
def test_a_service_jobs_stay_begins_no_earlier_than_batch_proves(
    proof: Mapping[str, Any], stopped: str
) -> None:
    """Though all events but the first are lost."""
    lost = [served("RUNNING", "12:12"), served("RUNNABLE", "13:30", **proof)]
    watching = Watching(TWO_HOURS, [served("RUNNABLE", "12:00")], lost)
    watching.run(at("12:00"), at("13:59"))
    watching.run(at("14:00"), at("18:00"))

    assert watching.stopped() == {JOB: stopped}


@pytest.mark.parametrize(
    ("told", "started", "stopped"),
    [(False, "08:00", "10:45"), (True, "08:00", "10:40"), (False, "09:10", "10:40")],
    ids=["nothing shows when but a list", "an event does", "AWS Batch does"],
)
def test_a_service_job_that_was_preempted_runs_since_it_came_back(
    told: bool,  # noqa: FBT001
    started: str,
    stopped: str,
) -> None:
    run = {"startedAt": millis("08:00"), "stoppedAt": millis("08:59")}
    proof = {"preemptionSummary": {"recentPreemptedAttempts": [run]}, "startedAt": millis(started)}
    back = served("RUNNING", "09:10", **proof)
    lost = [served("RUNNABLE", "09:00", **proof | {"startedAt": millis("08:00")})]
    events = [served("RUNNING", "08:00", startedAt=millis("08:00")), *([back] if told else [])]
    policy = ONE_HOUR.replace("1h", "90m")
    watching = Watching(policy, events, lost if told else [*lost, back])
    watching.run(at("08:00"), at("12:00"))

    assert watching.stopped() == {JOB: stopped}


def test_a_warning_of_one_stay_is_no_warning_of_the_next() -> None:
    policy = OBSERVED.replace("RUNNABLE = {", 'RUNNABLE = { warn_after = "30m",')
    events = [moved("RUNNABLE", "12:00"), moved("STARTING", "12:50"), moved("RUNNABLE", "12:55")]
    watching = Watching(policy, events).run(at("12:00"), at("16:00"))

    since = [notice["facts"]["since"] for notice in watching.told("limit-warning")]
    assert since == ["2026-01-01T12:00:00Z", "2026-01-01T12:55:00Z"]
    [notice] = watching.told("limit-enforced")
    assert notice["facts"]["since"] == "2026-01-01T12:55:00Z"


def test_a_job_that_the_listing_found_is_told_once_when_its_event_comes_late() -> None:
    event = moved("RUNNABLE", "12:03")
    watching = Watching(OBSERVED, lost=[event]).run(at("12:00"), at("12:29"))
    watching.receive(event, now=at("12:29"))
    watching.run(at("12:30"), at("17:00"))

    [notice] = watching.told("limit-enforced")
    assert notice["facts"]["since"] == "2026-01-01T12:03:00Z"


@pytest.mark.parametrize("policy", [TWO_HOURS, OBSERVED], ids=["enforce", "observe"])
def test_two_reminders_of_one_stay_that_come_due_at_once_are_told_as_one(policy: str) -> None:
    """The start in between was lost, and the limit is made shorter when both have passed it."""
    events = [moved("RUNNABLE", "12:00"), moved("RUNNABLE", "12:25")]
    watching = Watching(policy.replace("2h", "24h"), events).run(at("12:00"), at("15:59"))
    watching.policy = policy
    watching.run(at("16:00"), at("16:30"))

    [notice] = watching.told("limit-enforced")
    assert notice["facts"]["since"] == "2026-01-01T12:25:00Z"


# ---- Accepted is not stopped --------------------------------------------------------------

ONE_HOUR = """
mode = "enforce"
[[limit]]
RUNNING = { after = "1h", action = "terminate" }
"""


def runs_on(watching: Watching) -> None:
    """Have Batch accept each terminate, and end nothing."""
    call, taken = watching.batch.call, set[str]()

    def answered(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if operation == "TerminateJobs":
            taken.update(params["jobs"])
            return {"errors": []}
        answer = call(operation, params)
        if operation != "DescribeJobs":
            return answer
        jobs = [job | {"isTerminated": job["jobId"] in taken} for job in answer["jobs"]]
        return answer | {"jobs": jobs}

    watching.batch.call = answered  # type: ignore[method-assign]


def test_a_job_that_runs_on_after_its_terminate_was_accepted_is_told_once_and_watched() -> None:
    watching = Watching(ONE_HOUR, [moved("RUNNING", "12:00"), moved("SUCCEEDED", "18:00")])
    runs_on(watching)
    looks = described(watching)
    watching.run(at("12:00"), at("19:00"))

    [trouble] = watching.told("watchdog-trouble")
    assert trouble["severity"] == "critical"
    assert "has not ended: it is RUNNING" in trouble["text"]
    facts = trouble["facts"]
    assert (facts["job_id"], facts["status"], facts["asked"]) == (JOB, "RUNNING", "terminate")
    assert facts["asked_at"] == "2026-01-01T13:00:00Z"
    listed = {f"{hour}:{minute}" for hour in range(12, 20) for minute in ("00", "15", "30", "45")}
    watched = [clock for clock in looks if clock > "13:00" and clock not in listed]
    hourly = [f"{hour}:10" for hour in range(13, 19)]
    assert watched == ["13:02", "13:07", *hourly]


def test_a_job_that_ends_after_its_terminate_was_accepted_is_not_told_of() -> None:
    watching = Watching(ONE_HOUR, [moved("RUNNING", "12:00"), moved("FAILED", "13:06")])
    runs_on(watching)
    watching.run(at("12:00"), at("15:00"))

    assert watching.told("watchdog-trouble") == []


def test_a_cancelled_job_that_stays_runnable_is_told_after_an_hour() -> None:
    events = [moved("RUNNABLE", "11:00", job_id="ahead"), moved("RUNNABLE", "12:00")]
    policy = TWO_HOURS.replace("[[limit]]\n", '[[limit]]\nmatch = { name = "render" }\n')
    events[0]["detail"]["jobName"] = "other"
    watching = Watching(policy, events, lazy_cancel=True).run(at("12:00"), at("18:00"))

    [trouble] = watching.told("watchdog-trouble")
    assert trouble["severity"] == "warning"
    assert trouble["facts"]["asked"] == "cancel"
    assert trouble["facts"]["job_id"] == JOB
    assert "Still RUNNABLE 1 h after its stop" in trouble["subject"]


def test_what_was_asked_for_is_not_said_to_be_done() -> None:
    watching = Watching(TWO_HOURS, [moved("RUNNABLE", "12:00")], lazy_cancel=True)
    watching.run(at("12:00"), at("14:30"))

    [notice] = watching.told("limit-enforced")
    assert notice["subject"].startswith("Job is being cancelled,")
    assert "is being cancelled" in notice["text"]


# ---- Tags that events lack ----------------------------------------------------------------

TEN_MINUTES = {"batch-watchdog:RUNNABLE": "10m", "batch-watchdog:RUNNING": "5m"}


def described(watching: Watching) -> dict[str, int]:
    """When jobs were described, and how many: filled as time goes by."""
    seen: dict[str, int] = {}
    refuses = watching.refuses

    def noted(operation: str, params: Mapping[str, Any]) -> bool:
        if operation == "DescribeJobs":
            clock = f"{watching.batch.now:%H:%M}"
            seen[clock] = seen.get(clock, 0) + len(params["jobs"])
        return refuses(operation, params)

    watching.refuses = noted
    return seen


@pytest.mark.parametrize("made", [moved, served], ids=["job", "service job"])
@pytest.mark.parametrize(("status", "stopped"), [("RUNNABLE", "12:10"), ("RUNNING", "12:05")])
def test_an_own_tag_counts_where_the_event_lacks_it(
    made: Callable[..., Any], status: str, stopped: str
) -> None:
    lost = [made(status, "12:00:01", tags=TEN_MINUTES)]
    watching = Watching(TWO_HOURS, [made(status, "12:00")], lost).run(at("12:00"), at("13:00"))

    assert watching.stopped() == {JOB: stopped}


def test_a_tag_that_exempts_a_job_counts_where_the_event_lacks_it() -> None:
    lost = [moved("RUNNABLE", "12:00:01", tags={"batch-watchdog:exempt": "true"})]
    watching = Watching(TWO_HOURS, [moved("RUNNABLE", "12:00")], lost).run(at("12:00"), at("16:00"))

    assert watching.stops == []


def a_child(index: int, clock: str, **more: Any) -> Any:
    array = {"index": index, "statusSummary": {}}
    return moved("RUNNABLE", clock, job_id=f"{ARRAY}:{index}", arrayProperties=array, **more)


def test_one_look_shows_the_tags_of_all_children_of_an_array() -> None:
    events = [a_child(index, "12:00") for index in range(300)]
    lost = [a_child(index, "12:00:01", tags=TEN_MINUTES) for index in range(300)]
    watching = Watching(TWO_HOURS, events, lost)
    looks = described(watching)
    watching.run(at("12:00"), at("12:12"))

    assert looks["12:01"] <= 3  # One child, its array, and the array for its progress.
    assert len(watching.stopped()) == 300
    assert set(watching.stopped().values()) == {"12:10"}


def test_an_own_tag_counts_at_once_where_the_policy_has_no_limit() -> None:
    events = [moved("RUNNABLE", "12:01")]
    lost = [moved("RUNNABLE", "12:01:01", tags=TEN_MINUTES)]
    watching = Watching('mode = "enforce"', events, lost).run(at("12:01"), at("12:20"))

    assert watching.stopped() == {JOB: "12:11"}


HOUR = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "1h" }'


def test_a_job_that_came_back_while_it_was_exempt_has_a_new_stay() -> None:
    exempt = {"batch-watchdog:exempt": "true"}
    events = [
        moved("RUNNABLE", "12:00"),
        moved("STARTING", "12:30", tags=exempt),
        moved("RUNNABLE", "12:40", tags=exempt),
    ]
    lost = [moved("RUNNABLE", "12:40:01", tags={"team": "imaging"})]
    watching = Watching(HOUR, events, lost).run(at("12:00"), at("14:00"))

    assert watching.stopped() == {JOB: "13:40"}


def test_a_job_that_waited_for_capacity_may_start_when_there_is_room() -> None:
    policy = """
    mode = "enforce"
    [[limit]]
    RUNNABLE = { after = "2h", after_by_cause = { capacity = "6h", misconfigured = "30m" } }
    """
    full = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - …"
    lost = [moved("RUNNABLE", "14:25", statusReason="")]
    events = [moved("RUNNABLE", "12:00", statusReason=full)]
    watching = Watching(policy, events, lost).run(at("12:00"), at("16:00"))

    assert watching.stopped() == {JOB: "15:00"}  # The other cause is seen at 14:30.


def test_a_job_that_batch_does_not_show_is_looked_at_again() -> None:
    watching = Watching(TWO_HOURS, [moved("RUNNABLE", "12:00")])
    call = watching.batch.call

    def shy(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = call(operation, params)
        if operation == "DescribeJobs" and watching.batch.now < at("14:02"):
            return answer | {"jobs": []}
        return answer

    watching.batch.call = shy  # type: ignore[method-assign]
    watching.run(at("13:58"), at("15:00"))

    assert watching.stopped() == {JOB: "14:02"}


# ---- States before RUNNABLE ---------------------------------------------------------------

EARLY = """
mode = "enforce"
[[limit]]
SUBMITTED = { after = "30m" }
PENDING = { after = "1h", action = "terminate" }
"""


def test_a_job_that_waits_for_others_for_too_long_is_stopped() -> None:
    watching = Watching(EARLY, [moved("PENDING", "12:00")]).run(at("12:00"), at("14:00"))

    assert asked(watching) == ["13:00 TerminateJobs"]


def test_the_parent_of_an_array_that_waits_for_its_children_has_no_limit() -> None:
    summary = {"size": 2, "statusSummary": {"RUNNING": 2}}
    known = moved("PENDING", "12:00", job_id=ARRAY, arrayProperties=summary)
    bare = moved("PENDING", "12:00", job_id=ARRAY)  # An event need not say that it is one.
    watching = Watching(EARLY, [bare], [known]).run(at("12:00"), at("16:00"))

    assert watching.stops == []


def test_a_job_that_batch_does_not_take_up_is_found_by_listing_and_stopped() -> None:
    lost = [moved("SUBMITTED", "12:01", createdAt=millis("12:01"))]
    watching = Watching(EARLY, lost=lost).run(at("12:00"), at("13:00"))

    found = at("12:15") + timedelta(minutes=30)
    assert watching.stopped()[JOB] <= f"{found:%H:%M}"
