"""What a suggestion makes of a history: waits, limits, and the text of a policy."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from batch_watchdog.policy.model import parse_policy
from local.commands.policy_warnings import STANDARD_MAX, warnings
from local.replay.event_log import Content, Line
from local.suggest.limits import loose, suggest
from local.suggest.policy_text import fitting, policy_text
from local.suggest.waits import Group, History, Stay, history_of
from tests.logs import NOON, PREFIX, event

GPU = Group("gpu", "render")


def a_line(minute: float, status: str, job: str = "job-1", **detail: Any) -> Line:
    at = NOON + timedelta(minutes=minute)
    value = event(at, {"jobId": job, "status": status, **detail})
    return Line(kind="event", content=Content(value), at=at, deliver_at=at)


def stays(*lines: Line) -> list[tuple[float, str]]:
    """The stays of a log, in minutes."""
    return [
        (stay.seconds / 60, stay.end)
        for stays in history_of(lines).stays.values()
        for stay in stays
    ]


def attempts(count: int) -> dict[str, Any]:
    return {"attempts": [{"container": {}}] * count}


def a_history(waits: Iterable[float], *others: Stay, group: Group = GPU) -> History:
    """So many minutes each of some jobs waited, and others."""
    started = [Stay(f"job-{n}", wait * 60, "started") for n, wait in enumerate(waits)]
    return History(stays={group: [*started, *others]}, jobs=7, first=NOON, last=NOON)


def policy_of(history: History, allow: float = 0.0) -> Any:
    text = policy_text(fitting(suggest(history, allow), history), history)
    policy = parse_policy(text)
    assert list(warnings(policy, len(text.encode()))) == []
    return policy


# ---- Waits --------------------------------------------------------------------------------


def test_a_wait_ends_with_the_start_whatever_the_order_of_the_events() -> None:
    lines = [a_line(0, "RUNNABLE"), a_line(7, "STARTING"), a_line(8, "RUNNING")]

    assert stays(*lines) == stays(*reversed(lines), *lines) == [(7, "started")]


def test_where_events_are_lost_a_wait_is_taken_for_too_long() -> None:
    assert stays(a_line(0, "RUNNABLE"), a_line(30, "SUCCEEDED")) == [(30, "started")]
    assert stays(a_line(0, "STARTING"), a_line(30, "SUCCEEDED")) == []


def test_a_job_that_ends_without_having_run_never_started() -> None:
    ran = round(NOON.timestamp() * 1000)

    assert stays(a_line(0, "RUNNABLE"), a_line(5, "FAILED")) == [(5, "never started")]
    assert stays(a_line(1, "RUNNABLE"), a_line(5, "FAILED", startedAt=ran)) == [
        (4, "never started")
    ]
    assert stays(a_line(0, "RUNNABLE"), a_line(5, "FAILED", startedAt=ran + 60_000)) == [
        (5, "started")
    ]
    assert stays(a_line(0, "RUNNABLE"), a_line(5, "FAILED", **attempts(1))) == [(5, "started")]


def test_each_attempt_waits_anew() -> None:
    assert stays(
        a_line(0, "RUNNABLE"),
        a_line(3, "RUNNING"),
        a_line(4, "RUNNABLE", **attempts(1)),
        a_line(9, "RUNNABLE", **attempts(1)),
        a_line(10, "RUNNABLE", **attempts(2)),
        a_line(12, "RUNNING", **attempts(2)),
    ) == [(3, "started"), (6, "started"), (2, "started")]


def test_what_goes_back_to_runnable_without_an_attempt_waits_anew() -> None:
    assert stays(
        a_line(0, "RUNNABLE"), a_line(3, "STARTING"), a_line(4, "RUNNABLE"), a_line(6, "STARTING")
    ) == [(3, "started"), (2, "started")]


def test_a_wait_that_the_end_of_the_log_cuts_off_is_still_going_on() -> None:
    other = a_line(90, "RUNNING", job="job-2")

    assert stays(a_line(0, "RUNNABLE"), other) == [(90, "still waiting")]


def test_a_service_job_waits_until_it_is_scheduled() -> None:
    lines = [a_line(0, "RUNNABLE"), a_line(5, "SCHEDULED"), a_line(9, "STARTING")]
    for line in lines:
        line.value["detail-type"] = "Batch Service Job State Change"

    assert stays(*lines) == [(5, "started")]


def test_nodes_and_what_is_no_state_of_a_job_are_passed_over() -> None:
    odd = a_line(0, "RUNNABLE")
    odd.value["detail"] = None
    blocked = a_line(0, "RUNNABLE", job="job-2")
    blocked.value["detail-type"] = "Batch Job Queue Blocked"

    assert stays(a_line(0, "RUNNABLE", job="job-1#0"), a_line(0, "WAITING"), odd, blocked) == []


def test_waits_are_grouped_by_the_names_of_queue_and_definition() -> None:
    history = history_of([a_line(0, "RUNNABLE"), a_line(1, "RUNNABLE", job="job-2", jobQueue="x")])

    assert list(history.stays) == [GPU, Group("x", "render")]
    assert history_of([]).stays == {}


# ---- Limits -------------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [0, 1, 14, 25, 60, 100, 700, 3000, 10_000])
@pytest.mark.parametrize("count", [30, 100, 1000])
def test_a_limit_is_above_each_wait_that_ended_with_a_start_and_warns_before(
    longest: float, count: int
) -> None:
    policy = policy_of(a_history([longest, *[0.0] * (count - 1)]))

    limit = policy.limit[0].RUNNABLE
    assert policy.limit[0].match.queue == ("gpu",)
    assert timedelta(minutes=longest) < limit.warn_after < limit.after
    assert limit.after >= timedelta(minutes=30)
    assert (policy.mode, limit.action) == ("observe", "cancel")


def test_of_few_waits_no_limit_is_made() -> None:
    history = a_history([1.0] * 29)

    assert suggest(history).without == (("gpu", "29 waits ended with a start, and 30 are needed"),)
    (only,) = policy_of(history).limit
    assert only.match.everything
    assert only.RUNNABLE.action == "warn"


def test_the_fewer_waits_there_are_the_looser_is_the_limit() -> None:
    limits = [policy_of(a_history([600.0] * count)).limit[0].RUNNABLE.after for count in (30, 1000)]

    assert limits == [timedelta(hours=36), timedelta(hours=18)]


def test_a_wait_that_goes_on_counts_while_it_may_still_end_with_a_start() -> None:
    cut_off, stuck = Stay("x", 120 * 60, "still waiting"), Stay("y", 9e5, "still waiting")

    assert policy_of(a_history([60.0] * 1000, cut_off, stuck)).limit[0].RUNNABLE.after == (
        timedelta(hours=6)
    )


def test_on_request_a_limit_may_stop_so_many_and_says_how_many() -> None:
    history = a_history([1.0] * 1998 + [600.0, 600.0])

    assert policy_of(history).limit[0].RUNNABLE.after == timedelta(hours=18)
    assert policy_of(history, 0.0005).limit[0].RUNNABLE.after == timedelta(hours=18)
    assert policy_of(history, 0.001).limit[0].RUNNABLE.after == timedelta(minutes=30)
    text = policy_text(suggest(history, 0.001), history)
    assert "# 2 of these would have been stopped." in text


def test_a_definition_that_waits_far_less_has_a_limit_of_its_own_before_the_queues() -> None:
    history = a_history([2000.0] * 100)
    history.stays[Group("gpu", "quick")] = [Stay("q", 5.0, "started")] * 200
    history.stays[Group("gpu", "rare")] = [Stay("r", 5.0, "started")] * 50

    quick, queue, _ = policy_of(history).limit

    assert (quick.match.queue, quick.match.definition) == (("gpu",), ("quick",))
    assert queue.match.definition is None
    assert quick.RUNNABLE.after < queue.RUNNABLE.after


def test_where_jobs_wait_longer_than_a_limit_can_be_there_is_none() -> None:
    history = a_history([50_000.0] * 40)

    assert suggest(history).without[0][1].startswith("jobs wait longer than any limit")
    assert loose(history) == timedelta(days=30)


def test_limits_that_a_replay_refutes_are_doubled_and_in_the_end_given_up() -> None:
    suggestion = suggest(a_history([60.0] * 1000))
    (first,) = suggestion.proposals
    spans = []
    while suggestion.proposals:
        spans.append(suggestion.proposals[0].after / timedelta(hours=1))
        suggestion = suggestion.widened(set(suggestion.proposals))

    assert spans == [3, 6, 12, 24, 48, 96, 240, 504]
    assert suggestion.without[0][0] == "gpu"
    assert first.after == timedelta(hours=3)


# ---- The text -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["*", "a[b]?", "{{x}}", 'say "hi"\\', "日本", "arn:x", "#", "-", "a'b"]
)
def test_a_name_full_of_marks_is_matched_alone(name: str) -> None:
    policy = policy_of(a_history([1.0] * 100, group=Group(name, name)))

    rule = policy.limit[0]
    job = a_line(0, "RUNNABLE", jobQueue=f"{PREFIX}job-queue/{name}").value["detail"]
    assert rule.match.matches_queue(job["jobQueue"])
    assert rule.match.matches_queue(name)
    assert not rule.match.matches_queue(f"x{name}")
    assert not rule.match.matches_queue("other")


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "x" * 257, "*" * 100, "\ud800"])
def test_a_name_that_no_glob_can_have_is_left_to_the_last_rule(name: str) -> None:
    history = a_history([1.0] * 100, group=Group(name, "d"))

    assert fitting(suggest(history), history).without == ((name, "no glob has this name"),)
    assert len(policy_of(history).limit) == 1


def test_what_a_standard_parameter_holds_is_what_there_are_most_waits_of() -> None:
    history = History(first=NOON, last=NOON)
    for n in range(150):
        name = f"queue-{n:03}-" + "x" * 60
        history.stays[Group(name, "d")] = [Stay("j", 60.0 * 1.05**n, "started")] * (100 + n)

    suggestion = fitting(suggest(history), history)

    text = policy_text(suggestion, history)
    assert STANDARD_MAX - 500 < len(text.encode()) <= STANDARD_MAX
    kept = {queue for each in suggestion.proposals for queue in each.queues}
    assert len(kept) + len(suggestion.without) == 150
    assert {why for _, why in suggestion.without} == {"the policy has no room for it"}
    assert parse_policy(text).limit[-1].match.everything


def test_queues_with_the_same_limits_share_a_rule_where_there_is_no_room() -> None:
    history = History(first=NOON, last=NOON)
    for n in range(60):
        history.stays[Group(f"queue-{n:03}", "d")] = [Stay("j", 60.0, "started")] * 100

    shared, last = policy_of(history).limit

    assert len(shared.match.queue) == 60
    assert last.match.everything
