"""Jobs that pass limits are counted once, followed to their end, and reported once a week."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.core.effects import STOP_MARK, Announce
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.model import UnreadablePolicy, parse_policy
from batch_watchdog.rule_reports import follow_items, tally_items
from batch_watchdog.rule_reports.followed import FollowedJob, RuleKey
from batch_watchdog.rule_reports.rules import limits_of
from batch_watchdog.rule_reports.workflow import MISSED_MAX, FollowUp, WeeklyReport
from batch_watchdog.store.actions import to_action
from batch_watchdog.store.item_codec import Item, unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Put, Table
from local.aws.errors import session
from tests.makers import JOB, an_event, at
from tests.watching import Watching

OBSERVE = '[[limit]]\nRUNNABLE = { after = "1h" }\n'
ENFORCE = f'mode = "enforce"\n{OBSERVE}'
FIRST_LOOK = at("13:15")  # in the quarter of an hour after the first ten minutes


def a_life(*changes: tuple[str, str], job_id: str = JOB) -> list[Any]:
    """A job's events: ("12:00", "RUNNABLE") and so on."""
    return [an_event(clock, jobId=job_id, status=status) for clock, status in changes]


STARTED: dict[str, Any] = {"startedAt": to_ms(at("14:31"))}
STARTS_LATE = [
    *a_life(("12:00", "RUNNABLE"), ("14:30", "STARTING")),
    an_event("14:31", status="RUNNING", **STARTED),
    an_event("15:00", status="SUCCEEDED", **STARTED, stoppedAt=to_ms(at("15:00"))),
]


def reported(watching: Watching, now: datetime) -> Mapping[str, Any]:
    [rule] = watching.console.answer({"command": "report"}, now)["rules"]
    return {name: rule[name] for name in ("jobs", "went_on", "ended", "stopped", "open", "exempted")
            if rule[name]}  # fmt: skip


def follow_up(
    table: Table, batch: BatchApi, now: datetime, out_of_time: Callable[[], bool] = lambda: False
) -> FollowUp:
    return FollowUp(table=table, batch=batch, now=now, out_of_time=out_of_time)


def test_a_job_that_would_have_been_stopped_is_counted_at_once_and_open() -> None:
    watching = Watching(OBSERVE, STARTS_LATE).run(at("12:00"), at("13:01"))

    assert reported(watching, at("13:01")) == {"jobs": 1, "open": 1}


def test_a_job_that_starts_after_all_is_counted_with_how_much_later_it_was() -> None:
    watching = Watching(OBSERVE, STARTS_LATE).run(at("12:00"), at("16:00"))

    [rule] = watching.console.answer({"command": "report"}, at("16:00"))["rules"]
    assert reported(watching, at("16:00")) == {"jobs": 1, "went_on": 1}
    assert rule["verdict"] == "not-safe"
    assert rule["later_seconds"]["longest"] == 91 * 60


def test_nobody_is_counted_below_the_limit() -> None:
    soon = a_life(("12:00", "RUNNABLE"), ("12:59", "STARTING"))
    watching = Watching(OBSERVE, soon).run(at("12:00"), at("16:00"))

    assert watching.console.answer({"command": "report"}, at("16:00"))["rules"] == []


def test_a_rule_that_only_warns_is_not_reported() -> None:
    warns = OBSERVE.replace('"1h"', '"1h", action = "warn"')
    watching = Watching(warns, STARTS_LATE).run(at("12:00"), at("16:00"))

    assert watching.console.answer({"command": "report"}, at("16:00"))["rules"] == []


def test_what_was_stopped_is_counted_once_it_has_ended() -> None:
    watching = Watching(ENFORCE, a_life(("12:00", "RUNNABLE"))).run(at("12:00"), at("14:30"))

    assert watching.stopped() == {JOB: "13:00"}
    assert reported(watching, at("14:30")) == {"jobs": 1, "stopped": 1}


def test_a_stop_that_is_tried_again_is_counted_once() -> None:
    watching = Watching(ENFORCE, a_life(("12:00", "RUNNABLE")))
    watching.batch.refusals[JOB] = ["ClientException"]
    watching.run(at("12:00"), at("14:30"))

    assert len(watching.stops) == 2
    assert reported(watching, at("14:30")) == {"jobs": 1, "stopped": 1}


def test_a_job_that_an_operator_has_exempted_counts_as_exempt_when_it_passes_its_limit() -> None:
    warns = ENFORCE.replace('"1h"', '"1h", warn_after = "30m"')
    watching = Watching(warns, STARTS_LATE).run(at("12:00"), at("12:10"))
    exempt = {"command": "exempt", "job_id": JOB, "until": "2026-01-01T14:00:00Z", "by": "jane"}
    watching.console.answer(exempt, at("12:10"))
    watching.run(at("12:11"), at("12:59"))
    assert watching.console.answer({"command": "report"}, at("12:59"))["rules"] == []
    watching.run(at("13:00"), at("13:59"))

    assert not watching.stops
    assert reported(watching, at("13:59")) == {"exempted": 1}


def test_an_end_that_is_seen_twice_is_counted_once() -> None:
    watching = Watching(OBSERVE, STARTS_LATE).run(at("12:00"), at("15:30"))
    jobs = list(follow_items.all_filed(watching.table, at("15:30")))
    for _ in range(2):
        follow_up(watching.table, watching.sweeper.batch, at("15:31")).check(jobs * 2)

    assert reported(watching, at("15:31")) == {"jobs": 1, "went_on": 1}


def test_a_job_that_batch_does_not_show_is_asked_for_again_and_then_unknown() -> None:
    watching = Watching(OBSERVE, STARTS_LATE).run(at("12:00"), at("13:01"))
    clients = session({"batch": lambda *_: {"jobs": []}}, "us-east-1")
    batch, now = BatchApi(clients.client("batch")), FIRST_LOOK
    for look in range(MISSED_MAX + 1):
        assert reported(watching, now) == {"jobs": 1, "open": 1}
        [job] = [
            each for each in follow_items.all_filed(watching.table, now) if each.missed == look
        ]
        follow_up(watching.table, batch, now).check([job])
        now += timedelta(minutes=15)

    [rule] = watching.console.answer({"command": "report"}, now)["rules"]
    assert (rule["unknown"], rule["verdict"]) == (1, "not-known")


def test_an_end_that_does_not_show_whether_the_job_had_run_is_asked_for_again() -> None:
    stopped: dict[str, Any] = {"statusReason": f"{STOP_MARK}guard", "stoppedAt": to_ms(at("14:50"))}
    ends = an_event("14:50", status="FAILED", **STARTED, **stopped)
    watching = Watching(OBSERVE, [*STARTS_LATE[:3], ends])
    watching.batch.lacking[JOB] = ("attempts", "startedAt")
    watching.run(at("12:00"), at("16:00"))
    assert reported(watching, at("16:00")) == {"jobs": 1, "open": 1}

    watching.batch.lacking.clear()
    watching.run(at("16:01"), at("17:00"))
    assert reported(watching, at("17:00")) == {"jobs": 1, "went_on": 1}


def test_an_end_of_which_batch_never_shows_more_counts_as_it_is_shown() -> None:
    watching = Watching(ENFORCE, a_life(("12:00", "RUNNABLE")))
    watching.batch.lacking[JOB] = ("attempts", "startedAt")
    watching.run(at("12:00"), at("15:00"))

    assert reported(watching, at("15:00")) == {"jobs": 1, "stopped": 1}


def test_a_check_stops_asking_when_the_time_is_up_and_goes_on_there() -> None:
    table, asked = MemoryTable(), []

    def shown(operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        ids = params.get("jobs") or [params["jobId"]]
        asked.append(ids)
        jobs = [an_event(jobId=each, status="RUNNABLE")["detail"] for each in ids]
        return {"jobs": jobs} if operation == "DescribeJobs" else jobs[0]

    batch = BatchApi(session({"batch": shown}, "us-east-1").client("batch"))
    key = RuleKey(rule="a", status="RUNNABLE", limit_seconds=60, action="cancel", mode="observe")
    some = [
        FollowedJob(
            job_id=f"{number:03}",
            about=f"{number:03}",
            key=key,
            since=at("12:00"),
            decided_at=at("12:01"),
            service=number % 50 == 0,
        )
        for number in range(250)
    ]
    [entry] = follow_items.entries(some, FIRST_LOOK)
    jobs = list(follow_items.read(unpack(entry.content)))
    looks = follow_up(table, batch, FIRST_LOOK, lambda: len(asked) % 2 == 0)
    done = []
    for _ in range(4):
        done.append(looks.check(jobs))
        jobs = jobs[done[-1] :]

    assert done == [200, 46, 2, 2]
    assert sorted(job for call in asked for job in call) == [job.job_id for job in some]
    again = list(follow_items.all_filed(table, FIRST_LOOK))
    assert (len(again), {job.missed for job in again}) == (250, {0})


def test_a_check_without_any_time_still_asks_once() -> None:
    watching = Watching(OBSERVE, a_life(("12:00", "RUNNABLE"))).run(at("12:00"), at("13:01"))
    [job] = follow_items.all_filed(watching.table, at("13:01"))
    jobs = [replace(job, job_id=f"{number}", service=True) for number in range(3)]
    looks = follow_up(watching.table, watching.sweeper.batch, FIRST_LOOK, lambda: True)

    assert looks.check(jobs) == 1


def test_one_job_that_cannot_be_read_leaves_the_others() -> None:
    both = [*STARTS_LATE, *a_life(("12:00", "RUNNABLE"), ("15:00", "STARTING"), job_id="b")]
    watching = Watching(OBSERVE, both).run(at("12:00"), at("13:01"))
    watching.refuses = lambda operation, _: (
        operation == "DescribeJobs" and watching.batch.now.minute == 15
    )
    with pytest.raises(ExceptionGroup):
        watching.run(at("13:02"), FIRST_LOOK)
    watching.refuses = lambda *_: False
    watching.run(FIRST_LOOK + timedelta(minutes=1), at("16:00"))

    assert reported(watching, at("16:00")) == {"jobs": 2, "went_on": 1, "open": 1}


def test_the_children_of_an_array_are_followed_one_by_one() -> None:
    events = [
        an_event("12:00", jobId=f"array:{index}", status="RUNNABLE",
                 arrayProperties={"index": index, "statusSummary": {}})
        for index in range(3)
    ] + [
        an_event("14:00", jobId="array:1", status=status,
                 arrayProperties={"index": 1, "statusSummary": {}})
        for status in ("STARTING", "RUNNING")
    ]  # fmt: skip
    watching = Watching(OBSERVE, events).run(at("12:00"), at("15:30"))

    assert reported(watching, at("15:30")) == {"jobs": 3, "went_on": 1, "open": 2}


# ---- The weekly notice ----------------------------------------------------------------------

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
KEY = RuleKey(rule="r", status="RUNNABLE", limit_seconds=60, action="cancel", mode="observe")


class Told(MemoryTable):
    """A table with the notices that are written into it."""

    def __init__(self) -> None:
        super().__init__(self._heard)
        self.notices: list[Notice] = []

    def _heard(self, _name: str, _old: Item | None, item: Item) -> None:
        if str(item["pk"]).startswith("ACTION"):
            effect = to_action(item).effect
            assert isinstance(effect, Announce)
            self.notices += effect.notices

    @property
    def ids(self) -> list[str]:
        return [notice.id for notice in self.notices]


def weekly_at(table: MemoryTable, now: datetime, policy: str = OBSERVE) -> None:
    WeeklyReport(table=table, policy=parse_policy(policy), now=now).process()


def a_table(now: datetime) -> Told:
    table = Told()
    table.write(list(tally_items.passed(table, {KEY: (1, 0)}, now)))
    return table


def test_a_week_is_reported_once_when_it_is_over() -> None:
    table = a_table(at("12:00"))
    weekly_at(table, at("12:00"))
    weekly_at(table, MONDAY - timedelta(minutes=1))
    assert table.ids == []
    for minute in range(3):
        weekly_at(table, MONDAY + timedelta(minutes=minute))

    assert table.ids == ["rule-report:2025-12-29"]


def test_the_first_sweep_ever_reports_nothing() -> None:
    table = a_table(at("12:00"))

    weekly_at(table, MONDAY)

    assert table.ids == []


def test_a_month_without_a_job_over_its_limit_is_not_reported() -> None:
    table = Told()
    weekly_at(table, at("12:00"))
    weekly_at(table, MONDAY)

    assert table.ids == []


def test_the_report_is_in_the_language_of_the_policy() -> None:
    table = a_table(at("12:00"))
    weekly_at(table, at("12:00"))
    weekly_at(table, MONDAY)

    [notice] = table.notices
    assert "の週" in parse_policy('[notify]\nlanguage = "ja"\n').notify.worded(notice).subject


# ---- Since when a limit is observed ---------------------------------------------------------


def since(table: MemoryTable, policy: str) -> set[datetime | None]:
    last = tally_items.read_last(table)
    assert last
    return {last.has(key) for key in limits_of(parse_policy(policy)) if key.limit_seconds}


def test_since_when_the_policy_has_a_limit_is_kept_as_long_as_it_has_it() -> None:
    table = Told()
    more = OBSERVE + '[[limit]]\nRUNNING = { after = "1d", action = "terminate" }\n'
    weekly_at(table, at("12:00"))
    weekly_at(table, at("13:00"))
    weekly_at(table, at("14:00"), more)
    weekly_at(table, MONDAY, more)
    assert since(table, OBSERVE) == {at("12:00")}
    assert since(table, more) == {at("12:00"), at("14:00")}

    for changed in (OBSERVE.replace("1h", "2h"), ENFORCE):
        weekly_at(table, MONDAY + timedelta(hours=1), changed)
        assert since(table, changed) == {MONDAY + timedelta(hours=1)}
        assert since(table, OBSERVE) == {None}


def test_a_policy_that_cannot_be_read_has_lost_no_limit() -> None:
    table = Told()
    weekly_at(table, at("12:00"))

    WeeklyReport(table=table, policy=UnreadablePolicy(), now=at("13:00")).process()
    WeeklyReport(table=table, policy=UnreadablePolicy(), now=MONDAY).process()
    weekly_at(table, MONDAY + timedelta(hours=1))

    assert since(table, OBSERVE) == {at("12:00")}


def test_a_new_policy_reports_no_week_anew() -> None:
    table = a_table(at("12:00"))
    weekly_at(table, at("12:00"))
    weekly_at(table, MONDAY)
    weekly_at(table, MONDAY + timedelta(hours=1), ENFORCE)

    assert table.ids == ["rule-report:2025-12-29"]


def test_what_an_older_version_has_kept_says_nothing_of_limits() -> None:
    table = Told()
    table.write([Put({"pk": "RULE-REPORT", "sk": "LAST", "week": "2026-01-05"}, read=0)])

    weekly_at(table, MONDAY)

    assert since(table, OBSERVE) == {MONDAY}


def test_a_limit_of_yesterday_is_not_said_to_be_safe() -> None:
    gone = a_life(("12:00", "RUNNABLE"), ("14:00", "FAILED"))
    watching = Watching(OBSERVE, gone).run(at("12:00"), at("16:00"))

    def rule(days: float) -> Mapping[str, Any]:
        now = at("16:00") + timedelta(days=days)
        [found] = watching.console.answer({"command": "report"}, now)["rules"]
        return dict(found)

    assert (rule(0.5)["ended"], rule(0.5)["verdict"]) == (1, "not-known")
    week_after = rule(8)
    assert (week_after["four_weeks"]["ended"], week_after["verdict"]) == (1, "safe")
    assert week_after["since"] == "2026-01-01"
