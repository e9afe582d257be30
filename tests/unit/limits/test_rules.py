"""The rules of limits: where a stay begins, and whether a stop is still meant."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from batch_watchdog.core.effects import StopJobs
from batch_watchdog.core.errors import StaleItemError
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.diagnosis.findings import Clue, FindingCode, finding
from batch_watchdog.limits import rules as limit_rules
from batch_watchdog.limits import sighting_items, stay_items, stays
from batch_watchdog.limits.stays import Sighting, Stay
from batch_watchdog.policy.model import Limit, parse_policy
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Put
from tests.makers import JOB, an_event, at, change

POLICY = """
mode = "enforce"
[[limit]]
RUNNABLE = { after = "2h", after_by_cause = { misconfigured = "30m" }, escalate = true }
"""
STOP = StopJobs(
    how="cancel", job_ids=(JOB,), reason="batch-watchdog: x", rule="limit[1]", status="RUNNABLE"
)
STAY = Stay(job_id=JOB, status="RUNNABLE", since=at("12:00"), attempts=0)


def a_job(status: str = "RUNNABLE", clock: str = "12:00", **detail: Any) -> JobEvent:
    return change(an_event(clock, status=status, **detail))


def seen(status: str, clock: str, attempts: int = 0) -> Sighting:
    return Sighting(job_id=JOB, status=status, attempts=attempts, at=at(clock))


ESCALATED: dict[str, Any] = {"how": "terminate", "escalates": True, "waited_until": at("14:00")}
WARNS = "the policy's action is warn"


@pytest.mark.parametrize(
    "tags",
    [
        {"batch-watchdog:exempt": "on"},
        {"batch-watchdog:exempt": ""},
        {"batch-watchdog:RUNNABLE": "0"},
        {"batch-watchdog:RUNNABLE": "10 minutes"},
        {"batch-watchdog:exempt": "on", "batch-watchdog:RUNNABLE": "10m"},
    ],
)
def test_no_job_is_stopped_whose_own_tag_cannot_be_read(tags: dict[str, str]) -> None:
    limit = parse_policy(POLICY).limit_for(a_job(tags=tags), "RUNNABLE")

    assert limit is not None
    assert (limit.stops, limit.escalate) == (False, False)
    assert "tag batch-watchdog:" in limit.rule
    assert why_not(a_job(tags=tags)) == WARNS


def test_a_tag_for_another_state_does_not_matter() -> None:
    assert why_not(a_job(tags={"batch-watchdog:RUNNING": "soon"})) == ""


@pytest.mark.parametrize("missing", ["jobName", "jobQueue"])
def test_an_event_without_a_name_or_a_queue_is_looked_at_by_the_next_sweep(missing: str) -> None:
    policy = POLICY.replace("[[limit]]", '[[limit]]\nmatch = { name = "*x*", queue = "*y*" }')
    event = an_event(tags={"team": "imaging"})
    del event["detail"][missing]

    begun = stays.begin(change(event), parse_policy(policy), at("12:00"))

    assert begun
    assert (begun[0], begun[1].tags_known) == (at("12:00"), False)


class ConflictingTable(MemoryTable):
    """Refuses the first write, as a transaction that fails is writing the same item."""

    refused = False

    def write(self, puts: Sequence[Put]) -> None:
        if not self.refused:
            self.refused = True
            raise StaleItemError("conflict")
        super().write(puts)


def test_a_sighting_whose_write_conflicts_is_written_again() -> None:
    table = ConflictingTable()
    sighting_items.file(table, [seen("RUNNABLE", "12:30")], at("12:30"))

    assert sighting_items.read(table, at("12:00"), [JOB])[JOB] == [seen("RUNNABLE", "12:30")]


# ---- A cause that takes the place of another one ------------------------------------------

HOURS = Limit(
    rule="limit[1]",
    mode="enforce",
    action="cancel",
    after=timedelta(hours=6),
    after_by_cause={"capacity": timedelta(hours=12), "misconfigured": timedelta(minutes=30)},
)


@pytest.mark.parametrize(
    ("code", "hours", "changed", "step", "again"),
    [
        ("undetermined", 7, None, "stop", 60),
        ("undetermined", 7, 0, None, 30),
        ("undetermined", 7, 20, None, 10),
        ("undetermined", 7, 30, "stop", 60),
        ("undetermined", 12, 0, "stop", 60),  # No cause has a longer limit.
        ("exceeds-instance-size", 5, 10, None, 20),
        ("at-max-vcpus", 12, 0, "stop", 60),
        ("undetermined", 11.75, 0, None, 15),  # until the longest limit has passed
        ("exceeds-instance-size", 11.5, 10, None, 20),
    ],
)
def test_a_new_cause_stops_a_job_only_some_time_later(
    code: FindingCode, hours: float, changed: int | None, step: str | None, again: int
) -> None:
    found = finding(Clue(code=code, evidence="x"), service=False)
    ago = None if changed is None else timedelta(minutes=changed)

    verdict = limit_rules.judge(HOURS, timedelta(hours=hours), [found], ago)

    assert (verdict.step, verdict.again_in) == (step, timedelta(minutes=again))


def test_a_new_cause_waits_its_whole_time_where_another_cause_has_no_limit() -> None:
    found = finding(Clue(code="exceeds-instance-size", evidence="x"), service=False)
    limit = replace(HOURS, after=None)

    verdict = limit_rules.judge(limit, timedelta(hours=11.75), [found], timedelta())

    assert (verdict.step, verdict.again_in) == (None, timedelta(minutes=30))


@pytest.mark.parametrize(
    ("after_h", "hours", "again"),
    [
        (2, 2, 15),
        (2, 11.9, 6),
        (3, 2.9, 6),  # before the shorter limit
        (None, 5, 60 * 7),  # No other cause has a limit.
    ],
)
def test_a_job_whose_cause_has_a_longer_limit_is_checked_again_once_a_shorter_one_has_passed(
    after_h: int | None, hours: float, again: int
) -> None:
    capacity = finding(Clue(code="at-max-vcpus", evidence="x"), service=False)
    after = timedelta(hours=after_h) if after_h else None
    limit = replace(HOURS, after=after, after_by_cause={"capacity": timedelta(hours=12)})

    verdict = limit_rules.judge(limit, timedelta(hours=hours), [capacity])

    assert (verdict.step, verdict.again_in) == (None, timedelta(minutes=again))


def test_a_stay_keeps_since_when_its_cause_is_another_one() -> None:
    first = stays.seen_with(STAY, "capacity", at("13:00"))
    same = stays.seen_with(first, "capacity", at("13:10"))
    other = stays.seen_with(same, None, at("13:20"))

    assert (first.cause, first.cause_since) == ("capacity", None)
    assert same == first
    assert (other.cause, other.cause_since) == ("undetermined", at("13:20"))
    assert stays.seen_with(other, None, at("13:30")) == other


def test_a_filed_stay_keeps_its_cause() -> None:
    stay = stays.seen_with(stays.seen_with(STAY, "capacity", at("13:00")), None, at("13:20"))
    child = replace(stay, job_id=f"{JOB}:3")
    (entry,) = stay_items.entries([(at("14:00"), stay), (at("14:00"), child)], at("13:20"))

    assert {*stay_items.read(unpack(entry.content))} == {stay, child}


# ---- Whether a stop is still meant --------------------------------------------------------


def why_not(
    job: JobEvent, policy: str = POLICY, clock: str = "14:00", since: str = "12:00", **stop: Any
) -> str:
    return limit_rules.why_not(
        replace(STOP, **stop), at(since), job, parse_policy(policy), at(clock)
    )


def test_a_stop_of_a_job_that_is_over_its_limit_is_meant() -> None:
    assert why_not(a_job()) == ""
    assert why_not(a_job(), clock="12:30", cause="misconfigured") == ""
    assert why_not(a_job("STARTING"), **ESCALATED) == ""


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (POLICY.replace("enforce", "observe"), "the policy only observes"),
        (POLICY.replace("[[limit]]", '[[limit]]\nmode = "observe"'), "the policy only observes"),
        ("", "nothing limits RUNNABLE for the job any more"),
        (POLICY.replace('"2h"', '"24h"'), "the job's limit has not passed"),
        (
            POLICY.replace('"2h",', '"2h", action = "terminate",'),
            "the policy's action is terminate",
        ),
    ],
)
def test_a_stop_is_not_meant_any_more_where_the_policy_says_otherwise(
    policy: str, why: str
) -> None:
    assert why_not(a_job(), policy) == why


def test_a_stop_is_not_meant_of_a_job_that_is_exempt_or_has_gone_on_or_begun_anew() -> None:
    tags = {"batch-watchdog:exempt": "true"}
    again: dict[str, Any] = {"attempts": [{"stoppedAt": 1_767_270_600_000}]}  # at 12:30

    assert why_not(a_job(tags=tags)) == "the job's own tag exempts it"
    assert why_not(a_job("STARTING")) == "the job is STARTING"
    assert why_not(a_job("FAILED")) == "the job is FAILED"
    assert why_not(a_job(**again)) == "the job's limit has not passed"
    assert why_not(a_job(), since="12:01") == "the job's limit has not passed"
    assert why_not(a_job(), clock="12:30") == "the job's limit has not passed"


def test_a_job_that_has_started_is_terminated_only_if_the_policy_escalates() -> None:
    left = POLICY.replace("true", "false")

    assert why_not(a_job("RUNNING"), left, **ESCALATED) == (
        "the policy leaves a job to run that has started"
    )
    assert why_not(a_job("RUNNABLE"), **ESCALATED) == "the job is RUNNABLE"


@pytest.mark.parametrize(
    ("policy", "escalated"),
    [
        (POLICY.replace('"2h"', '"3h"'), {}),
        (POLICY, {"waited_until": at("13:59")}),
        (POLICY.replace('"30m"', '"3h"'), {"cause": "misconfigured"}),
        (POLICY, {"waited_until": None}),  # as an older version recorded it
    ],
)
def test_a_job_that_has_started_is_terminated_only_if_it_had_waited_for_the_limit_of_now(
    policy: str, escalated: dict[str, Any]
) -> None:
    why = why_not(a_job("RUNNING"), policy, clock="20:00", **{**ESCALATED, **escalated})

    assert why == "the job had not waited for the whole limit"
    assert why_not(a_job("RUNNING"), **{**ESCALATED, "waited_until": at("12:30")}) == why
    by_cause = {**ESCALATED, "waited_until": at("12:30"), "cause": "misconfigured"}
    assert why_not(a_job("RUNNING"), **by_cause) == ""


# ---- Where a stay begins ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "since"),
    [
        ([], "12:00"),
        ([seen("RUNNABLE", "12:00")], "12:00"),
        ([seen("PENDING", "11:00")], "12:00"),
        ([seen("STARTING", "12:50")], "12:50"),
        ([seen("STARTING", "12:50"), seen("RUNNABLE", "12:55")], "12:55"),
        ([seen("RUNNABLE", "12:55")], "12:55"),
    ],
)
def test_a_stay_begins_no_earlier_than_the_latest_event(events: list[Sighting], since: str) -> None:
    assert stays.placed(STAY, events) == replace(STAY, since=at(since))


@pytest.mark.parametrize(
    ("events", "known"),
    [
        ([], "12:00"),
        ([seen("RUNNABLE", "11:50")], "11:50"),
        (
            [seen("RUNNABLE", "11:40"), seen("STARTING", "11:45"), seen("RUNNABLE", "11:50")],
            "11:50",
        ),
        ([seen("RUNNABLE", "11:40"), seen("RUNNABLE", "11:50")], "11:50"),
        ([seen("RUNNABLE", "11:40"), seen("RUNNABLE", "12:00")], "12:00"),
        ([seen("RUNNABLE", "11:50"), seen("STARTING", "11:50")], "11:50"),
        ([seen("RUNNABLE", "11:50", attempts=1)], "12:00"),
        ([seen("STARTING", "11:50")], "12:00"),
    ],
)
def test_a_stay_is_named_by_the_latest_event_if_that_begins_it(
    events: list[Sighting], known: str
) -> None:
    assert stays.first_known(STAY, events) == at(known)


@pytest.mark.parametrize(
    ("events", "anew"),
    [
        ([], False),
        ([seen("STARTING", "12:30"), seen("RUNNING", "12:31")], False),
        ([seen("RUNNABLE", "12:10"), seen("STARTING", "12:30")], False),
        ([seen("STARTING", "12:30"), seen("RUNNABLE", "12:30")], False),
        ([seen("RUNNABLE", "12:50"), seen("STARTING", "12:30")], True),
        ([seen("RUNNING", "12:30"), seen("STARTING", "12:50")], True),
        ([seen("STARTING", "11:30"), seen("RUNNABLE", "12:00")], False),
    ],
)
def test_a_job_waits_anew_that_has_come_back_since(events: list[Sighting], anew: bool) -> None:  # noqa: FBT001
    assert stays.waits_anew(STAY, events) is anew


def sightings(*events: Any, sent: str = "13:00") -> list[Sighting]:
    return list(stays.sightings([change(event) for event in events], at(sent)))


def test_the_latest_change_of_a_job_is_noted() -> None:
    events = [an_event(f"12:0{n}", status=each) for n, each in enumerate(("RUNNING", "STARTING"))]

    assert sightings(*events) == [seen("STARTING", "12:01")]
    assert sightings(*events, an_event("12:00:30", status="FAILED")) == []


def test_a_start_between_two_waits_is_kept_though_all_came_in_one_batch() -> None:
    events = (an_event("12:01", status="STARTING"), an_event("12:02"), an_event("12:00"))

    assert sightings(*events) == [seen("STARTING", "12:01"), seen("RUNNABLE", "12:02")]


def test_a_clock_that_is_ahead_does_not_put_off_a_limit() -> None:
    assert sightings(an_event("15:00"), sent="13:00") == [seen("RUNNABLE", "13:00")]


def test_a_change_is_noted_of_a_job_that_no_limit_is_meant_for_now() -> None:
    exempt = an_event(tags={"batch-watchdog:exempt": "true"})

    assert sightings(exempt) == [seen("RUNNABLE", "12:00")]
    assert sightings(an_event(tags={"team": "imaging"})) == [seen("RUNNABLE", "12:00")]


@pytest.mark.parametrize(
    "detail",
    [
        {"attempts": [{"startedAt": 1_767_270_600_000}]},
        {"preemptionSummary": {"recentPreemptedAttempts": [{"startedAt": 1_767_270_600_000}]}},
        {"startedAt": 1_767_270_000_000, "stoppedAt": 1_767_270_600_000},
    ],
    ids=["start of an attempt", "start of a preempted run", "end of a run"],
)
def test_each_start_and_end_of_a_run_proves_that_the_stay_began_later(detail: Any) -> None:
    assert a_job(**detail).not_before == at("12:30")


def test_times_that_batch_shows_in_another_shape_prove_nothing() -> None:
    odd: dict[str, Any] = {
        "startedAt": "2026-01-01T12:30:00Z",
        "scheduledAt": True,
        "preemptionSummary": None,
    }

    assert a_job(**odd).not_before is None
    assert a_job(preemptionSummary={"recentPreemptedAttempts": None}).not_before is None
    assert a_job(startedAt=1_767_270_600_000).not_before == at("12:30")


def test_what_has_been_stopped_may_stay_longer_while_it_waits() -> None:
    assert limit_rules.ends_within("RUNNING") == timedelta(minutes=10)
    assert limit_rules.ends_within("SCHEDULED") == timedelta(minutes=10)
    assert limit_rules.ends_within("PENDING") == timedelta(hours=1)
